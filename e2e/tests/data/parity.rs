//! Rows of what people run today and must be able to replace, each proved on real servers. A name begins with its row.

use mongodb::bson::{Bson, DateTime, Document, doc};
use serde_json::{Value, json};
use tidegate_tests::field;

use crate::scene::{Scene, inventory, transaction};
use crate::types::{assert_plain, every_type};

#[tokio::test]
async fn a2_every_operation_is_captured_or_only_inserts() {
    let scene = Scene::shared().await;
    // A plain pipeline, and one that asks its source for inserts alone.
    let inserts = format!(
        r#"{{ mongodb: {{ uri: "{}", database: "{}", pipeline: [{{ $match: {{ operationType: insert }} }}] }} }}"#,
        scene.mongodb_uri,
        scene.names.database()
    );
    let sinks = format!("{{ out: {} }}", scene.stream_sink("inserts", "json"));
    let mut host = scene.ready_host(&[scene.plain(), scene.pipeline("inserts", &inserts, "[]", &sinks)]).await;
    let things = scene.collection("things");
    things.insert_one(doc! { "_id": 1 }).await.unwrap();
    things.update_one(doc! { "_id": 1 }, doc! { "$set": { "a": 1 } }).await.unwrap();
    things.replace_one(doc! { "_id": 1 }, doc! { "a": 2 }).await.unwrap();
    things.delete_one(doc! { "_id": 1 }).await.unwrap();
    things.insert_one(doc! { "_id": 2 }).await.unwrap();
    let all = scene.wait_entries("out", 5).await;
    let inserts = scene.wait_entries("inserts", 2).await;
    assert_eq!(host.stop().await, Some(0));
    let ops = |entries: &[crate::scene::Entry]| entries.iter().map(|e| e.text("op").to_owned()).collect::<Vec<_>>();
    assert_eq!(ops(&all), ["insert", "update", "replace", "delete", "insert"]);
    assert_eq!(ops(&inserts), ["insert", "insert"]);
}

#[tokio::test]
async fn a4_values_arrive_as_plain_json() {
    let scene = Scene::shared().await;
    let mut host = scene.ready_host(&[scene.plain()]).await;
    let id = mongodb::bson::oid::ObjectId::new();
    scene.collection("things").insert_one(every_type(id)).await.unwrap();
    let entry = scene.wait_entries("out", 1).await.remove(0);
    assert_eq!(host.stop().await, Some(0));
    assert_eq!(entry.doc()["_id"], id.to_hex());
    assert_eq!(entry.json("key"), json!({ "_id": id.to_hex() }));
    assert_plain(&entry.doc());
}

#[tokio::test]
async fn e3_migrates_over_two_steps_and_names_the_one_that_fails() {
    let scene = Scene::shared().await;
    // No validator before it, so that a step can fail at all.
    let stages = r#"[{ plugin: inventory-migrator, config: { currency: EUR } }]"#;
    let sinks = format!("{{ out: {} }}", scene.stream_sink("out", "json"));
    let mut host = scene.ready_host(&[scene.pipeline("main", &scene.source(), stages, &sinks)]).await;
    let with = |mut document: Document, more: Document| {
        document.extend(more);
        document
    };
    let stock = scene.collection("inventory");
    let documents = [
        inventory(1, "WH-1"),
        with(inventory(2, "WH-1"), doc! { "_schema_version": "v1" }),
        with(inventory(3, "WH-1"), doc! { "_schema_version": "v2", "currency": "CHF" }),
        doc! { "_id": 4, "_schema_version": "v3", "updated_at": DateTime::from_millis(0) },
        with(inventory(5, "WH-1"), doc! { "currency": 1 }),
        with(inventory(6, "WH-1"), doc! { "last_updated": "soon" }),
    ];
    stock.insert_many(&documents).await.unwrap();
    scene.collection("transactions").insert_one(transaction(7, "WH-1")).await.unwrap();
    let found = scene.wait_entries("out", 5).await;
    let letters = scene.wait_dead_letters(2).await;
    assert_eq!(host.stop().await, Some(0));

    let migrated = |id: i32, more: Value| {
        let mut document = json!({ "_id": id, "product_id": format!("P-{id}"), "warehouse_id": "WH-1", "quantity": 5,
            "updated_at": "2026-01-31T12:00:00.000Z", "_schema_version": "v3" });
        document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        document
    };
    let expected = [
        migrated(1, json!({ "currency": "EUR" })),
        migrated(2, json!({ "currency": "EUR" })),
        migrated(3, json!({ "currency": "CHF" })),
        json!({ "_id": 4, "_schema_version": "v3", "updated_at": "1970-01-01T00:00:00.000Z" }),
        json!({ "_id": 7, "transaction_id": "T-7", "product_id": "P-1", "warehouse_id": "WH-1", "quantity": -2,
            "transaction_type": "sale", "occurred_at": "2026-01-31T11:00:00.000Z", "currency": "EUR",
            "_schema_version": "v3" }),
    ];
    assert_eq!(found.iter().map(crate::scene::Entry::doc).collect::<Vec<_>>(), expected);
    assert!(found.iter().all(|entry| entry.text("h.schema_version") == "v3"));
    let reasons: Vec<&str> = letters.iter().map(|letter| letter["reason"].as_str().unwrap()).collect();
    assert!(reasons[0].contains("step v1->v2"), "{reasons:?}");
    assert!(reasons[1].contains("step v2->v3"), "{reasons:?}");
    assert_eq!(letters[0]["plugin"], "inventory-migrator");
    // It holds what came in, not what the first step made of it.
    assert_eq!(letters[1]["change"]["doc"], Bson::Document(documents[5].clone()).into_canonical_extjson());
}

#[tokio::test]
async fn e4_version_and_correlation_id_are_attributes_and_in_the_log() {
    let scene = Scene::shared().await;
    let mut host = scene.host_with("log: { level: debug, format: json }", &[scene.inventory()], &[]);
    host.wait_ready().await;
    scene.collection("inventory").insert_many((0..20).map(|n| inventory(n, "WH-1"))).await.unwrap();
    let found = scene.wait_entries("WH-1", 20).await;
    assert_eq!(host.stop().await, Some(0));
    let log = host.log();
    for entry in &found {
        assert_eq!(entry.text("h.schema_version"), "v3");
        let of_it = |line: &&Value| field(line, "correlation_id").and_then(Value::as_str) == Some(entry.id());
        let lines: Vec<&Value> = log.iter().filter(of_it).collect();
        assert!(!lines.is_empty(), "no log line about {}", entry.id());
        assert!(lines.iter().all(|line| field(line, "schema_version") == Some(&"v3".into())), "{lines:?}");
    }
}

/// Inserts a good document and, for each case, one with a field changed or taken away; asserts that exactly the good one is
/// delivered, and that each other one is a dead letter with one violation, at that field.
async fn one_violation_each(collection: &str, good: fn(i32, &str) -> Document, cases: &[(&str, Option<Bson>)]) {
    let scene = Scene::shared().await;
    let mut host = scene.ready_host(&[scene.inventory()]).await;
    let broken = (1..).zip(cases).map(|(id, (field, value))| {
        let mut document = good(id, "WH-1");
        match value {
            Some(value) => document.insert(*field, value.clone()),
            None => document.remove(field),
        };
        document
    });
    let documents: Vec<Document> = broken.chain([good(0, "WH-1")]).collect();
    scene.collection(collection).insert_many(&documents).await.unwrap();
    let found = scene.wait_entries("WH-1", 1).await;
    let letters = scene.wait_dead_letters(cases.len()).await;
    assert_eq!(host.stop().await, Some(0));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].doc()["_id"], 0);
    assert_eq!(scene.entries("out").await, [], "nothing went to the sink's own stream");
    assert_eq!(letters.len(), cases.len());
    for (letter, (field, value)) in letters.iter().zip(cases) {
        let violations = letter["violations"].as_array().unwrap();
        assert_eq!(violations.len(), 1, "{field} {value:?}: {violations:?}");
        assert_eq!(violations[0]["path"], *field, "{value:?}");
        let message = violations[0]["message"].as_str().unwrap();
        let expected = if value.is_none() { "missing" } else { "must be" };
        assert!(message.contains(expected), "{field} {value:?}: {message}");
        assert_eq!(letter["plugin"], "inventory-validator");
    }
}

#[tokio::test]
async fn e5_inventory_rules() {
    let one = || Some(Bson::Int32(1));
    one_violation_each(
        "inventory",
        inventory,
        &[
            ("product_id", None),
            ("product_id", one()),
            ("warehouse_id", None),
            ("warehouse_id", Some(Bson::Null)),
            ("quantity", None),
            ("quantity", Some(Bson::Int32(-1))),
            ("quantity", Some(Bson::Double(1.5))),
            ("quantity", Some("1".into())),
            ("last_updated", None),
            ("last_updated", Some("yesterday".into())),
            ("last_updated", Some(Bson::Int64(1_769_860_800_000))),
            ("category", one()),
            ("brand", one()),
            ("sku", one()),
            ("threshold_min", Some("1".into())),
            ("threshold_max", Some(Bson::Double(0.5))),
            ("_schema_version", Some("v9".into())),
        ],
    )
    .await;
}

#[tokio::test]
async fn e5_what_is_allowed_passes() {
    let scene = Scene::shared().await;
    let mut host = scene.ready_host(&[scene.inventory()]).await;
    let mut full = inventory(1, "WH-1");
    full.extend(doc! {
        "category": "c", "brand": "b", "sku": "s", "threshold_min": 0, "threshold_max": 9_i64, "of_no_rule": [1, 2],
    });
    let mut date = inventory(2, "WH-1");
    date.insert("last_updated", DateTime::from_millis(0));
    let mut integral = inventory(3, "WH-1");
    integral.insert("quantity", 0.0);
    scene.collection("inventory").insert_many([full, date, integral]).await.unwrap();
    let found = scene.wait_entries("WH-1", 3).await;
    assert_eq!(host.stop().await, Some(0));
    assert_eq!(found[0].doc()["of_no_rule"], json!([1, 2]));
    assert_eq!(found[1].doc()["updated_at"], "1970-01-01T00:00:00.000Z");
    assert!(scene.dead_letters().is_empty());
}

#[tokio::test]
async fn e6_transaction_rules() {
    let one = || Some(Bson::Int32(1));
    one_violation_each(
        "transactions",
        transaction,
        &[
            ("transaction_id", None),
            ("transaction_id", one()),
            ("product_id", None),
            ("product_id", one()),
            ("warehouse_id", None),
            ("warehouse_id", one()),
            ("quantity", None),
            ("quantity", Some(Bson::Double(0.5))),
            ("quantity", Some("2".into())),
            ("transaction_type", None),
            ("transaction_type", Some("theft".into())),
            ("timestamp", None),
            ("timestamp", Some("2026-02-30T00:00:00Z".into())),
            ("timestamp", Some(Bson::DateTime(DateTime::from_millis(0)))),
            ("order_id", one()),
            ("customer_id", one()),
            ("notes", one()),
        ],
    )
    .await;
}

#[tokio::test]
async fn e6_every_type_of_transaction_passes() {
    let scene = Scene::shared().await;
    let mut host = scene.ready_host(&[scene.inventory()]).await;
    let types = ["sale", "restock", "return", "adjustment"];
    let documents = (0..).zip(types).map(|(id, kind)| {
        let mut document = transaction(id, "WH-1");
        document.insert("transaction_type", kind);
        document
    });
    scene.collection("transactions").insert_many(documents).await.unwrap();
    let found = scene.wait_entries("WH-1", 4).await;
    assert_eq!(host.stop().await, Some(0));
    let kinds: Vec<Value> = found.iter().map(|entry| entry.doc()["transaction_type"].clone()).collect();
    assert_eq!(kinds, types);
}

#[tokio::test]
async fn e7_invalid_documents_are_logged_kept_and_not_published() {
    let scene = Scene::shared().await;
    let settings = "log: { level: info, format: json, fields: [warehouse_id] }";
    let mut host = scene.host_with(settings, &[scene.inventory()], &[]);
    host.wait_ready().await;
    let mut bad = inventory(1, "WH-1");
    bad.insert("quantity", -1);
    scene.collection("inventory").insert_many([bad, inventory(2, "WH-1")]).await.unwrap();
    let found = scene.wait_entries("WH-1", 1).await;
    let letters = scene.wait_dead_letters(1).await;
    assert_eq!(host.stop().await, Some(0));
    assert_eq!((found.len(), letters.len()), (1, 1));
    assert_eq!(found[0].doc()["_id"], 2);
    let lines = host.log();
    let told: Vec<&Value> = lines.iter().filter(|line| line["event"] == "change_dead_lettered").collect();
    assert_eq!(told.len(), 1);
    let line = told[0];
    assert_eq!(line["level"], "warn");
    assert_eq!(line["correlation_id"], letters[0]["id"]);
    assert_eq!((&line["plugin"], &line["generation"]), (&json!("inventory-validator"), &json!(1)));
    assert_eq!((&line["warehouse_id"], &line["document_id"]), (&json!("WH-1"), &json!("1")));
    assert!(line["message"].as_str().unwrap().contains("quantity"), "the line says why: {line}");
}

#[tokio::test]
async fn e8_log_lines_have_the_fields() {
    let scene = Scene::shared().await;
    let settings = "log: { level: debug, format: json, fields: [warehouse_id] }";
    let mut host = scene.host_with(settings, &[scene.inventory()], &[]);
    host.wait_ready().await;
    let id = mongodb::bson::oid::ObjectId::new();
    let mut document = inventory(1, "WH-1");
    document.insert("_id", id);
    scene.collection("inventory").insert_one(document).await.unwrap();
    let entry = scene.wait_entries("WH-1", 1).await.remove(0);
    assert_eq!(host.stop().await, Some(0));
    let log = host.log();
    let line = log.iter().find(|line| line["event"] == "change_delivered").expect("a line about the change");
    let expected = [
        ("level", json!("debug")),
        ("correlation_id", json!(entry.id())),
        ("schema_version", json!("v3")),
        ("collection", json!("inventory")),
        ("operation", json!("insert")),
        ("document_id", json!(id.to_hex())),
        ("warehouse_id", json!("WH-1")),
        ("pipeline", json!("main")),
        ("sink", json!("out")),
    ];
    for (name, value) in expected {
        assert_eq!(line[name], value, "{name} of {line}");
    }
    // Every line of the log is one JSON object with a time, a level and an event.
    for text in host.stderr().lines() {
        let line: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let time = line["timestamp"].as_str().unwrap();
        assert!(time.len() == 27 && time.ends_with('Z'), "{time}");
        assert!(["trace", "debug", "info", "warn", "error"].contains(&line["level"].as_str().unwrap()), "{line}");
        assert!(line["event"].is_string() || line["library"].is_string(), "{line}");
    }
}

#[tokio::test]
async fn e9_health_readiness_metrics() {
    let scene = Scene::shared().await;
    let mut host = scene.ready_host(&[scene.inventory()]).await;
    let mut bad = inventory(0, "WH-1");
    bad.remove("quantity");
    let documents: Vec<Document> = std::iter::once(bad).chain((1..=100).map(|n| inventory(n, "WH-1"))).collect();
    scene.collection("inventory").insert_many(documents).await.unwrap();
    scene.wait_length("WH-1", 100).await;
    let stored = tidegate_tests::eventually(crate::scene::PATIENCE, "all is checkpointed", async || {
        let metrics = host.metrics().await;
        let out = metrics.get("tidegate_events_out_total", &[("pipeline", "main"), ("sink", "out")]);
        let writes = metrics.get("tidegate_checkpoint_writes_total", &[("pipeline", "main")]);
        if out == Some(100.0) && writes > Some(0.0) { Ok(metrics) } else { Err((out, writes)) }
    })
    .await;
    let main = ("pipeline", "main");
    let exact = [
        ("tidegate_events_in_total", vec![main], 101.0),
        ("tidegate_dead_letters_total", vec![main, ("kind", "rejected")], 1.0),
        ("tidegate_plugin_rejects_total", vec![main, ("plugin", "inventory-validator")], 1.0),
        ("tidegate_plugin_changes_total", vec![main, ("plugin", "inventory-validator")], 101.0),
        ("tidegate_plugin_changes_total", vec![main, ("plugin", "inventory-router")], 100.0),
        ("tidegate_plugin_generation", vec![("plugin", "inventory-migrator")], 1.0),
        ("tidegate_pipeline_up", vec![main], 1.0),
        ("tidegate_sink_retries_total", vec![main, ("sink", "out")], 0.0),
        ("tidegate_source_retries_total", vec![main], 0.0),
    ];
    for (name, labels, value) in exact {
        assert_eq!(stored.get(name, &labels), Some(value), "{name} {labels:?}");
    }
    for name in [
        "tidegate_bytes_in_total",
        "tidegate_bytes_out_total",
        "tidegate_batches_total",
        "tidegate_sink_writes_total",
        "tidegate_sink_write_seconds_count",
        "tidegate_plugin_calls_total",
        "tidegate_plugin_call_seconds_count",
        "tidegate_frontier_batches",
        "process_resident_memory_bytes",
    ] {
        assert!(stored.get(name, &[]).is_some_and(|value| value > 0.0), "{name}: {:?}", stored.get(name, &[]));
    }
    let lag = stored.get("tidegate_lag_seconds", &[main]);
    assert!(lag.is_some_and(|lag| (0.0..60.0).contains(&lag)), "{lag:?}");

    let (health, body) = host.get("/health").await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((health, &body["healthy"], &body["pipelines"]["main"]), (200, &json!(true), &json!("running")));
    let (ready, body) = host.get("/readiness").await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((ready, &body["ready"], &body["reasons"]), (200, &json!(true), &json!([])));
    let status = host.status().await;
    assert_eq!(status["pipelines"]["main"]["counts"]["events_in"], 101, "{status}");
    assert_eq!(host.get("/nothing").await.0, 404);
    assert_eq!(host.stop().await, Some(0));
}
