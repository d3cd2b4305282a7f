"""Says of each change whether it may pass."""

from tidegate_plugin import STRING, Change, Manifest, Rules, Validator, Verdict, export, integer_from, required

RULES = Rules(required("name", STRING), required("quantity", integer_from(0)))


class {{Name}}(Validator):
    manifest = Manifest(name="{{name}}", version="0.1.0", description="What {{name}} is for")

    def validate(self, change: Change) -> Verdict:
        return RULES.check(change.document or {})


export({{Name}})
