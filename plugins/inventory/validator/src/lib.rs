//! Checks inventory and transaction documents by the rules of the schema version they have.

use inventory_model::{Kind, Kinds, Version};
use tidegate_plugin::prelude::*;

const SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "kinds": {
      "description": "Kind of the documents in each collection.",
      "type": "object",
      "additionalProperties": { "enum": ["inventory", "transaction"] },
      "default": { "inventory": "inventory", "transactions": "transaction" }
    }
  }
}"#;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    kinds: Kinds,
}

struct InventoryValidator {
    kinds: Kinds,
}

impl Plugin for InventoryValidator {
    type Config = Config;

    fn manifest() -> Manifest {
        Manifest::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
            .description(env!("CARGO_PKG_DESCRIPTION"))
            .config_schema(SCHEMA)
    }

    fn configure(config: Config) -> Result<Self, String> {
        Ok(Self { kinds: config.kinds })
    }
}

impl Validator for InventoryValidator {
    fn validate(&mut self, change: &Change<'_>) -> Verdict {
        let Some(document) = change.document() else { return Verdict::Accept };
        let kind = match self.kinds.of(change) {
            Ok(kind) => kind,
            Err(reason) => return Verdict::reject("", reason),
        };
        let version = match Version::of(&document) {
            Ok(version) => version,
            Err(violation) => return Verdict::reject(violation.path, violation.message),
        };
        let violations = match (kind, version) {
            (Kind::Inventory, Version::V1) => INVENTORY_V1.check(&document),
            (Kind::Inventory, Version::V2) => INVENTORY_V2.check(&document),
            (Kind::Inventory, Version::V3) => INVENTORY_V3.check(&document),
            (Kind::Transaction, Version::V1) => TRANSACTION_V1.check(&document),
            (Kind::Transaction, Version::V2) => TRANSACTION_V2.check(&document),
            (Kind::Transaction, Version::V3) => TRANSACTION_V3.check(&document),
        };
        violations.into()
    }
}

static INVENTORY_V1: Rules<9> = Rules([
    Field::required("product_id", Type::String),
    Field::required("warehouse_id", Type::String),
    Field::required("quantity", Type::IntegerFrom(0)),
    Field::required("last_updated", Type::DateOrIso8601),
    Field::optional("category", Type::String),
    Field::optional("brand", Type::String),
    Field::optional("sku", Type::String),
    Field::optional("threshold_min", Type::Integer),
    Field::optional("threshold_max", Type::Integer),
]);
static INVENTORY_V2: Rules<10> = INVENTORY_V1.and(Field::required("currency", Type::String));
static INVENTORY_V3: Rules<10> = INVENTORY_V2.with("last_updated", Field::required("updated_at", Type::Date));

static TRANSACTION_V1: Rules<9> = Rules([
    Field::required("transaction_id", Type::String),
    Field::required("product_id", Type::String),
    Field::required("warehouse_id", Type::String),
    Field::required("quantity", Type::Integer),
    Field::required("transaction_type", Type::OneOf(&["sale", "restock", "return", "adjustment"])),
    Field::required("timestamp", Type::Iso8601),
    Field::optional("order_id", Type::String),
    Field::optional("customer_id", Type::String),
    Field::optional("notes", Type::String),
]);
static TRANSACTION_V2: Rules<10> = TRANSACTION_V1.and(Field::required("currency", Type::String));
static TRANSACTION_V3: Rules<10> = TRANSACTION_V2.with("timestamp", Field::required("occurred_at", Type::Date));

tidegate_plugin::export_validator!(InventoryValidator);

#[cfg(test)]
mod tests;
