//! The inventory router's next version, which the demo swaps in while the stream runs: what is low in stock goes to a
//! stream of alerts as well.

use tidegate_plugin::prelude::*;

const SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "target": { "description": "Stream of a change; {warehouse_id} is filled in.", "type": "string", "minLength": 1 },
    "alerts": { "description": "Stream of low stock.", "type": "string", "minLength": 1, "default": "alerts:low-stock" },
    "below": { "description": "Fewer than this is low.", "type": "integer", "default": 10 }
  },
  "required": ["target"]
}"#;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    target: String,
    #[serde(default = "alerts")]
    alerts: String,
    #[serde(default = "ten")]
    below: i64,
}

fn alerts() -> String {
    "alerts:low-stock".to_owned()
}

fn ten() -> i64 {
    10
}

struct LowStock(Config);

impl Plugin for LowStock {
    type Config = Config;

    fn manifest() -> Manifest {
        Manifest::new("inventory-router", env!("CARGO_PKG_VERSION"))
            .description(env!("CARGO_PKG_DESCRIPTION"))
            .config_schema(SCHEMA)
    }

    fn configure(config: Config) -> Result<Self, String> {
        Ok(Self(config))
    }
}

impl Router for LowStock {
    fn route(&mut self, change: &Change<'_>) -> Result<Routing, String> {
        let Some(document) = change.document() else { return Ok(Destination::everywhere().into()) };
        let [warehouse, quantity] = document.fields(["warehouse_id", "quantity"]);
        let warehouse = warehouse.and_then(|value| value.as_str()).ok_or("no target: warehouse_id is missing")?;
        let mut routing = Routing::from(Destination::target(self.0.target.replace("{warehouse_id}", warehouse)));
        if change.namespace().collection == "inventory"
            && quantity.and_then(|value| value.as_integer()).is_some_and(|quantity| quantity < self.0.below)
        {
            routing = routing.and(Destination::target(self.0.alerts.clone()));
        }
        Ok(routing)
    }
}

tidegate_plugin::export_router!(LowStock);

#[cfg(test)]
mod tests {
    use super::LowStock;
    use tidegate_plugin::{bson::DocumentBuf, testing};

    fn targets(collection: &str, quantity: i32) -> Vec<Option<String>> {
        let mut router: LowStock = testing::configure(r#"{"target": "inventory:{warehouse_id}"}"#).unwrap();
        let document = DocumentBuf::new().with("warehouse_id", "WH-1").with("quantity", quantity);
        let change = testing::insert("shop", collection).document(document);
        let routing = testing::route(&mut router, &[change]).remove(0).unwrap();
        routing.destinations().map(|destination| destination.target.clone()).collect()
    }

    #[test]
    fn low_stock_goes_to_the_alerts_as_well() {
        let stream = Some("inventory:WH-1".to_owned());
        assert_eq!(targets("inventory", 9), [stream.clone(), Some("alerts:low-stock".to_owned())]);
        assert_eq!(targets("inventory", 10), std::slice::from_ref(&stream));
        assert_eq!(targets("transactions", 1), [stream]);
    }
}
