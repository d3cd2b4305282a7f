"""Says where each change goes."""

from tidegate_plugin import Change, Destination, Manifest, Router, Routing, export


class {{Name}}(Router):
    manifest = Manifest(
        name="{{name}}",
        version="0.1.0",
        description="What {{name}} is for",
        config_schema={
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "field": {"description": "Field that names the target.", "type": "string", "default": "region"}
            },
        },
    )

    def configure(self, config: dict) -> None:
        self.field = config.get("field", "region")

    def route(self, change: Change) -> Routing:
        # A delete has a document only where the source is asked for the one before.
        document = change.document or change.before or {}
        region = document.get(self.field)
        if isinstance(region, str):
            return Destination(target=f"items:{region}")
        return Destination(target="items:elsewhere")


export({{Name}})
