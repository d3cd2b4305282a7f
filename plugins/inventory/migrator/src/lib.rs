//! Brings inventory and transaction documents to schema version v3, step by step: v1 to v2 gives them a `currency`, v2
//! to v3 makes their date text a BSON date of a new name.

use inventory_model::{Kind, Kinds, Version};
use tidegate_plugin::prelude::*;

const SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "currency": {
      "description": "Currency of documents of version v1.",
      "type": "string",
      "minLength": 1,
      "default": "USD"
    },
    "kinds": {
      "description": "Kind of the documents in each collection.",
      "type": "object",
      "additionalProperties": { "enum": ["inventory", "transaction"] },
      "default": { "inventory": "inventory", "transactions": "transaction" }
    }
  }
}"#;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    currency: String,
    kinds: Kinds,
}

impl Default for Config {
    fn default() -> Self {
        Self { currency: "USD".to_owned(), kinds: Kinds::default() }
    }
}

struct InventoryMigrator {
    config: Config,
}

impl Plugin for InventoryMigrator {
    type Config = Config;

    fn manifest() -> Manifest {
        Manifest::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
            .description(env!("CARGO_PKG_DESCRIPTION"))
            .config_schema(SCHEMA)
    }

    fn configure(config: Config) -> Result<Self, String> {
        if config.currency.trim().is_empty() {
            return Err("currency must not be empty: give the currency of documents that name none, such as USD".into());
        }
        Ok(Self { config })
    }
}

/// A step from one version to the next. Its edits leave all other fields as they are.
struct Step {
    name: &'static str,
    from: Version,
    to: Version,
    run: fn(&Config, Kind, &mut DocumentEditor<'_>) -> Result<(), String>,
}

/// Every version but the last has one.
static STEPS: [Step; 2] = [
    Step { name: "v1->v2", from: Version::V1, to: Version::V2, run: add_currency },
    Step { name: "v2->v3", from: Version::V2, to: Version::V3, run: date_from_text },
];

fn add_currency(config: &Config, _: Kind, document: &mut DocumentEditor<'_>) -> Result<(), String> {
    match document.get("currency") {
        None => document.set("currency", &config.currency),
        Some(Value::String(_)) => document,
        Some(other) => return Err(format!("currency must be a string, is {}", other.type_name())),
    };
    Ok(())
}

fn date_from_text(_: &Config, kind: Kind, document: &mut DocumentEditor<'_>) -> Result<(), String> {
    let (old, new) = match kind {
        Kind::Inventory => ("last_updated", "updated_at"),
        Kind::Transaction => ("timestamp", "occurred_at"),
    };
    let date = match document.get(old) {
        Some(Value::DateTime(date)) => date,
        Some(Value::String(text)) => DateTime::parse_iso8601(text).map_err(|error| format!("{old} is {error}"))?,
        Some(other) => return Err(format!("{old} must be a date or ISO 8601 text, is {}", other.type_name())),
        None => return Err(format!("{old} is missing")),
    };
    document.replace(old, new, date);
    Ok(())
}

impl Migrator for InventoryMigrator {
    fn migrate(&mut self, change: &Change<'_>) -> Result<Migration, String> {
        let document = change.document().ok_or("there is no document")?;
        let from = Version::of(&document).map_err(|violation| violation.to_string())?;
        let mut version = from;
        let mut editor = DocumentEditor::new(document);
        let kind = self.config.kinds.of(change)?;
        while let Some(step) = STEPS.iter().find(|step| step.from == version) {
            (step.run)(&self.config, kind, &mut editor).map_err(|error| format!("step {}: {error}", step.name))?;
            version = step.to;
        }
        if version == from {
            return Ok(Migration::unchanged(version.name()));
        }
        editor.set(Version::FIELD, version.name());
        let document = editor.finish().map_err(|error| error.to_string())?;
        Ok(Migration::migrated(document, from.name(), version.name()))
    }
}

tidegate_plugin::export_migrator!(InventoryMigrator);

#[cfg(test)]
mod tests;
