//! Sends inventory and transaction documents to targets made of their fields, such as a stream for each warehouse.

mod template;

use std::collections::BTreeMap;

use inventory_model::{Kind, Kinds};
use template::Template;
use tidegate_plugin::prelude::*;

const SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "target": {
      "description": "Target with fields of the document in braces; a.b reaches into documents. Default: the kind, a colon and {warehouse_id}.",
      "type": "string",
      "minLength": 1,
      "examples": ["inventory:{warehouse_id}"]
    },
    "targets": {
      "description": "Target of each kind, before `target`.",
      "type": "object",
      "additionalProperties": false,
      "properties": { "inventory": { "type": "string" }, "transaction": { "type": "string" } }
    },
    "target_without_document": {
      "description": "Target of a change without a document whose key lacks a field; none: the sink's own.",
      "type": "string",
      "minLength": 1
    },
    "sink": { "description": "Name of the only sink to send to; none: all.", "type": "string", "minLength": 1 },
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
    target: Option<String>,
    #[serde(default)]
    targets: BTreeMap<Kind, String>,
    target_without_document: Option<String>,
    sink: Option<String>,
    #[serde(default)]
    kinds: Kinds,
}

struct InventoryRouter {
    inventory: Template,
    transaction: Template,
    target_without_document: Option<String>,
    sink: Option<String>,
    kinds: Kinds,
}

impl Plugin for InventoryRouter {
    type Config = Config;

    fn manifest() -> Manifest {
        Manifest::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
            .description(env!("CARGO_PKG_DESCRIPTION"))
            .config_schema(SCHEMA)
    }

    fn configure(mut config: Config) -> Result<Self, String> {
        for (name, text) in [("target_without_document", &config.target_without_document), ("sink", &config.sink)] {
            if text.as_deref() == Some("") {
                return Err(format!("{name} must not be empty: leave it out for the default"));
            }
        }
        let mut template = |kind, name: &str| {
            let (option, text) = match (config.targets.remove(&kind), &config.target) {
                (Some(text), _) => (format!("targets.{name}"), text),
                (None, Some(text)) => ("target".to_owned(), text.clone()),
                (None, None) => ("target".to_owned(), format!("{name}:{{warehouse_id}}")),
            };
            Template::parse(&text).map_err(|error| format!("{option} {text:?}: {error}"))
        };
        Ok(Self {
            inventory: template(Kind::Inventory, "inventory")?,
            transaction: template(Kind::Transaction, "transaction")?,
            target_without_document: config.target_without_document,
            sink: config.sink,
            kinds: config.kinds,
        })
    }
}

impl InventoryRouter {
    /// None: the sink's own target.
    fn target(&self, change: &Change<'_>) -> Result<Option<String>, String> {
        let template = match self.kinds.of(change)? {
            Kind::Inventory => &self.inventory,
            Kind::Transaction => &self.transaction,
        };
        match change.document() {
            Some(document) => template.fill(&document).map(Some).map_err(|error| format!("no target: {error}")),
            None => Ok(template.fill(&change.key()).ok().or_else(|| self.target_without_document.clone())),
        }
    }
}

impl Router for InventoryRouter {
    fn route(&mut self, change: &Change<'_>) -> Result<Routing, String> {
        let target = self.target(change)?;
        Ok(Destination { sink: self.sink.clone(), target, ..Destination::everywhere() }.into())
    }
}

tidegate_plugin::export_router!(InventoryRouter);

#[cfg(test)]
mod tests;
