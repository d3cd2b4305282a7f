"""Brings documents to another schema version."""

from tidegate_plugin import Change, Manifest, Migration, Migrator, as_float, export, failed, migrated, unchanged


class {{Name}}(Migrator):
    manifest = Manifest(name="{{name}}", version="0.1.0", description="What {{name}} is for")

    def migrate(self, change: Change) -> Migration:
        document = change.document or {}
        if document.get("_schema_version") == "v2":
            return unchanged("v2")
        # Version 1 had the price in units, version 2 has it in hundredths.
        price = as_float(document.pop("price", None))
        if price is None:
            return failed("price is missing or no number")
        document["price_cents"] = round(price * 100)
        document["_schema_version"] = "v2"
        return migrated(document, "v1", "v2")


export({{Name}})
