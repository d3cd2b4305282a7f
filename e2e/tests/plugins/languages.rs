//! The same plugin in every language gives the same results.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tidegate_tests::{Cli, plugin};

/// The inventory validator in each language.
const VALIDATORS: [&str; 6] = [
    "inventory-validator",
    "inventory-validator-c",
    "inventory-validator-go",
    "inventory-validator-js",
    "inventory-validator-ts",
    "inventory-validator-python",
];

/// Values that a field may wrongly or rightly have. JSON has one number for Int32 and Int64 and none for a double without a
/// fraction, so those are left out which only BSON can tell apart.
fn values() -> Vec<Value> {
    vec![
        json!("text"),
        json!(""),
        json!("a \"quoted\" text with ümlauts, tabs\t and emoji \u{1f980}, longer than forty characters"),
        json!("\u{0}\u{7f}\u{200b}'"),
        json!(0),
        json!(-1),
        json!(2_147_483_648_i64),
        json!({ "$numberLong": "9007199254740993" }),
        json!(1.5),
        json!(-0.25),
        json!(1e300),
        json!({ "$numberDouble": "NaN" }),
        json!({ "$numberDouble": "-Infinity" }),
        json!({ "$numberDecimal": "12.50" }),
        json!(true),
        json!(null),
        json!([]),
        json!({ "a": 1 }),
        json!({ "$date": "2026-01-31T12:00:00Z" }),
        json!({ "$date": { "$numberLong": "-62135596800001" } }),
        json!({ "$oid": "5f0000000000000000000001" }),
        json!({ "$binary": { "base64": "AAEC", "subType": "00" } }),
        json!({ "$timestamp": { "t": 1, "i": 2 } }),
        json!({ "$regularExpression": { "pattern": "a", "options": "i" } }),
        json!("2026-01-31T12:00:00Z"),
        json!("2026-02-29T12:00:00Z"),
        json!("2026-01-31 12:00"),
        json!("2026-01-31"),
        json!("sale"),
        json!("v2"),
    ]
}

fn inventory() -> Value {
    json!({ "product_id": "P-1", "warehouse_id": "W-1", "quantity": 3, "last_updated": "2026-01-31T12:00:00Z" })
}

fn transaction() -> Value {
    json!({
        "transaction_id": "T-1", "product_id": "P-1", "warehouse_id": "W-1", "quantity": -3, "transaction_type": "sale",
        "timestamp": "2026-01-31T12:00:00Z",
    })
}

/// Every field of every kind and version with every value, thinned out to about 200, and documents with several faults.
fn documents() -> Vec<(&'static str, Value)> {
    let mut documents = vec![
        ("inventory", inventory()),
        ("transactions", transaction()),
        ("inventory", json!({})),
        ("transactions", json!({})),
        ("elsewhere", inventory()),
        ("inventory", json!({ "product_id": 1, "warehouse_id": null, "quantity": "3", "last_updated": 5, "sku": [] })),
    ];
    let fields =
        ["product_id", "quantity", "last_updated", "updated_at", "category", "threshold_min", "_schema_version"];
    let of_transactions = ["transaction_id", "quantity", "transaction_type", "timestamp", "_schema_version"];
    let kinds: [(&str, Value, &[&str]); 2] =
        [("inventory", inventory(), &fields), ("transactions", transaction(), &of_transactions)];
    let mut number = 0;
    for (collection, good, fields) in kinds {
        for version in [None, Some("v2"), Some("v3")] {
            for field in fields {
                for value in values() {
                    number += 1;
                    if number % 5 != 0 {
                        continue;
                    }
                    let mut document = good.clone();
                    if let Some(version) = version {
                        document["_schema_version"] = version.into();
                    }
                    document[*field] = value;
                    documents.push((collection, document));
                }
            }
        }
    }
    documents
}

/// What became of each change, by id: nothing, or what was found wrong.
async fn verdicts(validator: &str, input: &str) -> BTreeMap<String, Value> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("plugins")).unwrap();
    std::fs::copy(plugin(validator), dir.path().join("plugins/v.wasm")).unwrap();
    let config = "admin: { listen: 127.0.0.1:0 }\npipelines:\n  p: { source: stdin, stages: [{ plugin: v }], sinks: { out: stdout } }\n";
    std::fs::write(dir.path().join("tidegate.yaml"), config).unwrap();
    let output = Cli::run_in(dir.path(), &["run", "tidegate.yaml"], input.as_bytes()).await;
    assert_eq!(output.status.code(), Some(0), "{validator}: {}", String::from_utf8_lossy(&output.stderr));
    let lines = |text: &[u8]| -> Vec<Value> {
        let text = String::from_utf8(text.to_vec()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let id = |line: &Value| line["id"].as_str().unwrap().to_owned();
    let mut verdicts: BTreeMap<String, Value> =
        lines(&output.stdout).iter().map(|line| (id(line), json!("accept"))).collect();
    let dead = std::fs::read(dir.path().join(".tidegate/p.dead.jsonl")).unwrap_or_default();
    for letter in lines(&dead) {
        assert_eq!(letter["kind"], "rejected", "{validator}: {letter}");
        verdicts.insert(id(&letter), letter["violations"].clone());
    }
    verdicts
}

#[tokio::test]
async fn six_validators_say_the_same_of_each_document() {
    let documents = documents();
    assert!(documents.len() >= 200, "{} documents", documents.len());
    let input: String = documents
        .iter()
        .enumerate()
        .map(|(number, (collection, document))| {
            let mut document = document.clone();
            document["_id"] = number.into();
            json!({ "id": format!("{number:04}"), "op": "insert", "ns": format!("shop.{collection}"), "doc": document })
                .to_string()
                + "\n"
        })
        .collect();
    let rust = verdicts(VALIDATORS[0], &input).await;
    assert_eq!(rust.len(), documents.len());
    let rejected = rust.values().filter(|verdict| verdict.is_array()).count();
    assert!(rejected >= 100 && documents.len() - rejected >= 15, "{rejected} of {} rejected", documents.len());
    for validator in &VALIDATORS[1..] {
        let other = verdicts(validator, &input).await;
        for (id, verdict) in &rust {
            let document = &documents[id.parse::<usize>().unwrap()];
            assert_eq!(other.get(id), Some(verdict), "{validator} of {document:?}");
        }
    }
}
