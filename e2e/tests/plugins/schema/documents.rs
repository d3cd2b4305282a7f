//! Documents of the inventory, good ones and such that are wrong in every way.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

pub(super) fn inventory() -> Value {
    json!({ "product_id": "P-1", "warehouse_id": "W-1", "quantity": 3, "last_updated": "2026-01-31T12:00:00Z", "sku": "S-1",
        "category": "tools", "threshold_min": 1, "threshold_max": { "$numberLong": "9007199254740993" },
        "price": { "$numberDecimal": "12.50" }, "maker": { "$oid": "5f0000000000000000000001" } })
}

pub(super) fn transaction() -> Value {
    json!({ "transaction_id": "T-1", "product_id": "P-1", "warehouse_id": "W-1", "quantity": -3, "transaction_type": "sale",
        "timestamp": "2026-01-31T12:00:00Z", "notes": "" })
}

/// The same document as another version has it.
pub(super) fn of_version(mut document: Value, version: &str) -> Value {
    if version != "absent" {
        document["_schema_version"] = version.into();
    }
    if matches!(version, "v2" | "v3") {
        document["currency"] = "CHF".into();
    }
    if version == "v3" {
        let fields = document.as_object_mut().unwrap();
        let new = if fields.remove("last_updated").is_some() { "updated_at" } else { "occurred_at" };
        fields.remove("timestamp");
        fields.insert(new.to_owned(), json!({ "$date": "2026-01-31T12:00:00Z" }));
    }
    document
}

/// Values that a field may wrongly or rightly have: all types of BSON, and the edges of those that rules look into.
fn values() -> Vec<Value> {
    vec![
        json!("text"),
        json!(""),
        json!(0),
        json!(-1),
        json!({ "$numberLong": "7" }),
        json!({ "$numberLong": "-9007199254740993" }),
        json!({ "$numberDouble": "4.0" }),
        json!({ "$numberDouble": "1.5" }),
        json!({ "$numberDouble": "1e300" }),
        json!({ "$numberDouble": "9007199254740994" }),
        json!({ "$numberDouble": "NaN" }),
        json!({ "$numberDouble": "Infinity" }),
        json!({ "$numberDecimal": "5" }),
        json!({ "$numberDecimal": "NaN" }),
        json!(true),
        json!(null),
        json!([]),
        json!(["sale", 1]),
        json!({}),
        json!({ "a": { "b": 1 } }),
        json!({ "$date": "2026-01-31T12:00:00Z" }),
        json!({ "$date": { "$numberLong": "-62135596800001" } }),
        json!({ "$date": { "$numberLong": "253402300800000" } }),
        json!({ "$oid": "5f0000000000000000000001" }),
        json!({ "$binary": { "base64": "AAEC", "subType": "00" } }),
        json!({ "$uuid": "01234567-89ab-4def-8123-456789abcdef" }),
        json!({ "$timestamp": { "t": 1, "i": 2 } }),
        json!({ "$regularExpression": { "pattern": "a", "options": "i" } }),
        json!({ "$code": "f()" }),
        json!({ "$symbol": "sale" }),
        json!({ "$minKey": 1 }),
        json!("2026-01-31T12:00:00+01:00"),
        json!("2026-01-31 12:00"),
        json!("2026-01-31"),
        json!("2026-02-29T12:00:00Z"),
        json!("restock"),
        json!("theft"),
        json!("v2"),
        json!("v9"),
    ]
}

/// Good documents of every version, and such with one to three fields gone or of another value.
pub(super) fn documents(count: usize) -> Vec<(&'static str, Value)> {
    let mut random = StdRng::seed_from_u64(0x5eed);
    let values = values();
    let mut all = vec![("elsewhere", inventory()), ("inventory", json!({})), ("transactions", json!({}))];
    // Every value where a rule looks into it; the fields that only want text are left to chance.
    for (collection, good, version, field) in [
        ("inventory", inventory(), "v1", "quantity"),
        ("inventory", inventory(), "absent", "last_updated"),
        ("inventory", inventory(), "v3", "updated_at"),
        ("inventory", inventory(), "v1", "currency"),
        ("inventory", inventory(), "v1", "_schema_version"),
        ("transactions", transaction(), "v2", "quantity"),
        ("transactions", transaction(), "v1", "transaction_type"),
        ("transactions", transaction(), "absent", "timestamp"),
    ] {
        for value in &values {
            let mut document = of_version(good.clone(), version);
            document[field] = value.clone();
            all.push((collection, document));
        }
    }
    while all.len() < count {
        let of_inventory = random.random_bool(0.5);
        let version = ["absent", "v1", "v2", "v3"][random.random_range(0..4)];
        let (collection, good) =
            if of_inventory { ("inventory", inventory()) } else { ("transactions", transaction()) };
        let mut document = of_version(good, version);
        let fields = ["_schema_version", "currency", "updated_at", "occurred_at", "brand", "order_id", "customer_id"];
        let mut names: Vec<String> = fields.iter().map(|name| (*name).to_owned()).collect();
        names.extend(document.as_object().unwrap().keys().cloned());
        // One in four stays good.
        for _ in 0..random.random_range(0..4) {
            let name = &names[random.random_range(0..names.len())];
            if random.random_bool(0.2) {
                document.as_object_mut().unwrap().remove(name);
            } else {
                document[name.as_str()] = values[random.random_range(0..values.len())].clone();
            }
        }
        all.push((collection, document));
    }
    all
}
