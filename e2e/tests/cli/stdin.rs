//! Plugins tried with no server: changes on standard input, results on standard output.

use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate_tests::{Cli, plugin};

const PLUGINS: [&str; 3] = ["inventory-validator", "inventory-migrator", "inventory-router"];

/// A folder with the inventory plugins and a pipeline through them.
fn folder() -> TempDir {
    let dir = tempfile::Builder::new().prefix("tidegate-cli-").tempdir().unwrap();
    std::fs::create_dir(dir.path().join("plugins")).unwrap();
    for name in PLUGINS {
        std::fs::copy(plugin(name), dir.path().join(format!("plugins/{name}.wasm"))).unwrap();
    }
    let config = "admin: { listen: 127.0.0.1:0 }
state: { dir: state }
log: { format: json }
pipelines:
  try:
    source: stdin
    stages:
      - plugin: inventory-validator
      - plugin: inventory-migrator
        config: { currency: CHF }
      - plugin: inventory-router
        config: { target: \"inventory:{warehouse_id}\" }
    sinks: { out: stdout }
";
    std::fs::write(dir.path().join("tidegate.yaml"), config).unwrap();
    dir
}

fn json_lines(text: &[u8]) -> Vec<Value> {
    String::from_utf8_lossy(text)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

fn item(id: &str, quantity: Value) -> Value {
    json!({ "id": id, "op": "insert", "ns": "shop.inventory", "doc": {
        "_id": id,
        "product_id": "P-1",
        "warehouse_id": "WH-EAST-1",
        "quantity": quantity,
        "last_updated": "2026-01-31T12:00:00Z",
    } })
}

#[tokio::test]
async fn inventory_plugins_on_standard_input() {
    let dir = folder();
    let input = [
        item("a", json!(5)).to_string(),
        "this is no JSON".to_owned(),
        item("b", json!("many")).to_string(),
        json!({ "op": "insert", "ns": "shop.inventory", "dok": {} }).to_string(),
        String::new(),
        json!({ "id": "c", "op": "delete", "ns": "shop.inventory", "key": { "_id": "a" } }).to_string(),
        item("d", json!(7)).to_string(),
    ]
    .join("\n");
    let output = Cli::run_in(dir.path(), &["run", "tidegate.yaml"], input.as_bytes()).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");

    let out = json_lines(&output.stdout);
    let ids: Vec<&str> = out.iter().map(|line| line["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["a", "c", "d"], "{stderr}");
    let first = &out[0];
    assert_eq!(first["headers"]["schema_version"], "v3", "{first}");
    assert_eq!(first["headers"]["migrated_from"], "v1", "{first}");
    assert_eq!(first["target"], "inventory:WH-EAST-1", "{first}");
    let doc = &first["doc"];
    assert_eq!(doc["currency"], "CHF", "{doc}");
    assert_eq!(doc["_schema_version"], "v3", "{doc}");
    assert_eq!(doc["updated_at"], json!({ "$date": { "$numberLong": "1769860800000" } }), "{doc}");
    assert_eq!(doc["last_updated"], Value::Null, "{doc}");
    assert_eq!(doc["quantity"], json!({ "$numberInt": "5" }), "{doc}");
    assert_eq!((&out[1]["op"], &out[1]["doc"]), (&json!("delete"), &Value::Null), "a delete passes by");

    let dead = json_lines(&std::fs::read(dir.path().join("state/try.dead.jsonl")).unwrap());
    let of = |id: &str| {
        dead.iter().find(|letter| letter["id"] == id).unwrap_or_else(|| panic!("no dead letter {id}: {dead:#?}"))
    };
    assert_eq!(dead.len(), 3, "{dead:#?}");
    // Line and column, as an editor counts them.
    let no_json = of("stdin:2");
    assert!(no_json["reason"].as_str().unwrap().starts_with("stdin:2:2: "), "{no_json}");
    assert_eq!((&no_json["raw"], &no_json["stage"]), (&json!("this is no JSON"), &json!("source")));
    let misspelt = of("stdin:4");
    let reason = misspelt["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("stdin:4:") && reason.contains("`dok`") && reason.contains("did you mean `doc`?"),
        "{reason}"
    );
    let column: usize = reason.split(':').nth(2).unwrap().parse().unwrap();
    assert_eq!(&misspelt["raw"].as_str().unwrap()[column - 1..column + 4], "\"dok\"", "{misspelt}");
    let rejected = of("b");
    assert_eq!(rejected["plugin"], "inventory-validator", "{rejected}");
    assert_eq!(rejected["stage"], "stages[0]", "{rejected}");
    assert_eq!(rejected["violations"][0]["path"], "quantity", "{rejected}");
    assert_eq!(rejected["change"]["doc"]["quantity"], "many", "{rejected}");
}

#[tokio::test]
async fn dead_letters_mended_go_back_in() {
    let dir = folder();
    let run = async |input: String| {
        let output = Cli::run_in(dir.path(), &["run", "tidegate.yaml"], input.as_bytes()).await;
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        json_lines(&output.stdout)
    };
    assert!(run(item("b", json!("many")).to_string()).await.is_empty());
    let letter = std::fs::read_to_string(dir.path().join("state/try.dead.jsonl")).unwrap();
    let out = run(letter.replace("\"many\"", "3")).await;
    assert_eq!(out.len(), 1);
    assert_eq!((&out[0]["id"], &out[0]["doc"]["quantity"]), (&json!("b"), &json!({ "$numberInt": "3" })));
}

#[tokio::test]
async fn no_input_is_a_clean_end() {
    let dir = folder();
    let output = Cli::run_in(dir.path(), &["run", "tidegate.yaml"], b"").await;
    assert_eq!((output.status.code(), output.stdout), (Some(0), vec![]), "{}", String::from_utf8_lossy(&output.stderr));
}
