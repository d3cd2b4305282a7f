"""Makes zero or more changes of each."""

from tidegate_plugin import Change, Manifest, Output, Transformation, Transformer, export, unchanged


class {{Name}}(Transformer):
    manifest = Manifest(name="{{name}}", version="0.1.0", description="What {{name}} is for")

    def transform(self, change: Change) -> Transformation:
        document = change.document
        if document is None:
            return unchanged()
        if document.get("draft") is True:
            # Drafts end here, and are counted as filtered.
            return []
        document.pop("internal_note", None)
        return Output(document, headers={"cleaned": "yes"})


export({{Name}})
