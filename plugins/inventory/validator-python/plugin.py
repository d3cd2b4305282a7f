"""Checks inventory and transaction documents by the rules of the schema version they have."""

from tidegate_plugin import (
    DATE,
    DATE_OR_ISO8601,
    INTEGER,
    ISO8601,
    STRING,
    Change,
    ConfigError,
    Manifest,
    Rules,
    Validator,
    Verdict,
    accept,
    export,
    integer_from,
    one_of,
    optional,
    quoted,
    reject,
    required,
    type_name,
)

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "kinds": {
            "description": "Kind of the documents in each collection.",
            "type": "object",
            "additionalProperties": {"enum": ["inventory", "transaction"]},
            "default": {"inventory": "inventory", "transactions": "transaction"},
        }
    },
}

INVENTORY_V1 = Rules(
    required("product_id", STRING),
    required("warehouse_id", STRING),
    required("quantity", integer_from(0)),
    required("last_updated", DATE_OR_ISO8601),
    optional("category", STRING),
    optional("brand", STRING),
    optional("sku", STRING),
    optional("threshold_min", INTEGER),
    optional("threshold_max", INTEGER),
)
INVENTORY_V2 = INVENTORY_V1.and_(required("currency", STRING))
INVENTORY_V3 = INVENTORY_V2.with_("last_updated", required("updated_at", DATE))

TRANSACTION_V1 = Rules(
    required("transaction_id", STRING),
    required("product_id", STRING),
    required("warehouse_id", STRING),
    required("quantity", INTEGER),
    required("transaction_type", one_of("sale", "restock", "return", "adjustment")),
    required("timestamp", ISO8601),
    optional("order_id", STRING),
    optional("customer_id", STRING),
    optional("notes", STRING),
)
TRANSACTION_V2 = TRANSACTION_V1.and_(required("currency", STRING))
TRANSACTION_V3 = TRANSACTION_V2.with_("timestamp", required("occurred_at", DATE))

RULES = {
    "inventory": {"v1": INVENTORY_V1, "v2": INVENTORY_V2, "v3": INVENTORY_V3},
    "transaction": {"v1": TRANSACTION_V1, "v2": TRANSACTION_V2, "v3": TRANSACTION_V3},
}


class InventoryValidator(Validator):
    manifest = Manifest(
        name="inventory-validator",
        version="0.1.0",
        description="Checks inventory and transaction documents by the rules of their schema version",
        config_schema=SCHEMA,
    )

    def configure(self, config: dict) -> None:
        for name in config:
            if name != "kinds":
                raise ConfigError(f"unknown field `{name}`, expected `kinds`")
        self.kinds: dict[str, str] = config.get("kinds", SCHEMA["properties"]["kinds"]["default"])
        for kind in self.kinds.values():
            if kind not in RULES:
                raise ConfigError(f"unknown variant `{kind}`, expected `inventory` or `transaction`")

    def validate(self, change: Change) -> Verdict:
        document = change.document
        if document is None:
            return accept()
        kind = self.kinds.get(change.collection)
        if kind is None:
            known = ", ".join(sorted(self.kinds))
            return reject("", f"collection {change.collection} is of no known kind, known are {known}")
        version = document.get("_schema_version", "v1")
        rules = RULES[kind].get(version) if isinstance(version, str) else None
        if rules is None:
            found = quoted(version, whole=True) if isinstance(version, str) else type_name(version)
            return reject("_schema_version", f"must be one of v1, v2, v3, is {found}")
        return rules.check(document)


export(InventoryValidator)
