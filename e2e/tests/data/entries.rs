//! The entries of a stream, and which change makes which.

use std::collections::HashSet;

use mongodb::bson::{doc, oid::ObjectId};
use serde_json::{Value, json};
use tidegate_tests::servers::{Redis, RedisOptions};

use crate::scene::{Scene, entries, inventory, inventory_stages, transaction};
use crate::types::{assert_plain, every_type};

#[tokio::test]
async fn an_entry_has_the_fields_of_its_change() {
    let scene = Scene::shared().await;
    let mut host = scene.ready_host(&[scene.plain()]).await;
    let things = scene.collection("things.of.mine");
    things.insert_one(doc! { "_id": 1, "n": 1 }).await.unwrap();
    scene.wait_length("out", 1).await;
    things.update_one(doc! { "_id": 1 }, doc! { "$set": { "n": 2 } }).await.unwrap();
    // The document is looked up when the update is read: wait, so that it is this state that is found.
    scene.wait_length("out", 2).await;
    things.replace_one(doc! { "_id": 1 }, doc! { "m": 3 }).await.unwrap();
    things.delete_one(doc! { "_id": 1 }).await.unwrap();
    let found = scene.wait_entries("out", 4).await;
    assert_eq!(host.stop().await, Some(0));

    let ns = format!("{}.things.of.mine", scene.names.database());
    let expected = [
        ("insert", Some(json!({ "_id": 1, "n": 1 }))),
        ("update", Some(json!({ "_id": 1, "n": 2 }))),
        ("replace", Some(json!({ "_id": 1, "m": 3 }))),
        ("delete", None),
    ];
    assert_eq!(found.len(), expected.len());
    for (entry, (op, doc)) in found.iter().zip(expected) {
        assert_eq!((entry.text("op"), entry.text("ns"), entry.json("key")), (op, &*ns, json!({ "_id": 1 })));
        match doc {
            Some(doc) => {
                assert_eq!(entry.names(), ["doc", "id", "key", "ns", "op"], "{op}");
                assert_eq!(entry.doc(), doc, "{op}");
            }
            None => assert_eq!(entry.names(), ["id", "key", "ns", "op"], "{op}"),
        }
    }
    let ids: HashSet<&str> = found.iter().map(|entry| entry.id()).collect();
    assert_eq!(ids.len(), 4, "every change has an id of its own: {ids:?}");
}

#[tokio::test]
async fn an_envelope_holds_the_whole_change() {
    let scene = Scene::shared().await;
    let sinks = format!(
        "{{ out: {}, events: {} }}",
        scene.stream_sink("out", "debezium"),
        scene.stream_sink("events", "cloudevents")
    );
    let source = scene.source().replacen("{ mongodb: {", "{ mongodb: { ddl: deliver,", 1);
    let mut host = scene.ready_host(&[scene.pipeline("orders", &source, "[]", &sinks)]).await;
    let things = scene.collection("things");
    let id = ObjectId::new();
    things.insert_one(every_type(id)).await.unwrap();
    scene.wait_length("out", 1).await;
    things.update_one(doc! { "_id": id }, doc! { "$set": { "int32": 2 }, "$unset": { "yes": "" } }).await.unwrap();
    scene.wait_length("out", 2).await;
    things.delete_one(doc! { "_id": id }).await.unwrap();
    things.drop().await.unwrap();
    // The collection was made by the first insert: that and its drop are events, but nothing that Debezium has.
    let events = scene.wait_entries("events", 5).await;
    let envelopes = scene.wait_entries("out", 3).await;
    assert_eq!(host.stop().await, Some(0));

    let (db, inner) =
        (scene.names.database(), |text: &Value| serde_json::from_str::<Value>(text.as_str().unwrap()).unwrap());
    for (entry, (op, code)) in envelopes.iter().zip([("insert", "c"), ("update", "u"), ("delete", "d")]) {
        assert_eq!(entry.names(), ["id", "key", "ns", "op", "value"]);
        let (key, value) = (entry.json("key"), entry.json("value"));
        assert_eq!(
            (entry.text("op"), &value["op"], inner(&key["id"])),
            (op, &json!(code), json!({ "$oid": id.to_hex() }))
        );
        let source = &value["source"];
        assert_eq!(
            (&source["name"], &source["db"], &source["collection"]),
            (&json!("orders"), &json!(db), &json!("things"))
        );
        assert!(source["ts_ms"].as_i64() <= value["ts_ms"].as_i64(), "{value}");
    }
    let values: Vec<Value> = envelopes.iter().map(|entry| entry.json("value")).collect();
    assert_eq!(inner(&values[0]["after"])["date"], json!({ "$date": 1_769_860_800_123_i64 }));
    assert_eq!(inner(&values[1]["after"])["int32"], json!(2));
    assert_eq!(values[1]["updateDescription"]["removedFields"], json!(["yes"]));
    assert_eq!(inner(&values[1]["updateDescription"]["updatedFields"]), json!({ "int32": 2 }));
    assert_eq!((&values[2]["before"], &values[2]["after"]), (&json!(null), &json!(null)));

    let types: Vec<Value> = events.iter().map(|entry| entry.json("event")["type"].clone()).collect();
    let expected = ["create", "insert", "update", "delete", "drop"].map(|op| json!(format!("io.github.tidegate.{op}")));
    assert_eq!(types, expected);
    let insert = events[1].json("event");
    assert_eq!((insert["id"].as_str(), insert["subject"].as_str()), (Some(events[1].id()), Some(&*id.to_hex())));
    assert_eq!(insert["source"], json!(format!("/tidegate/orders/{db}/things")));
    assert_plain(&insert["data"]["doc"]);
}

#[tokio::test]
async fn the_router_sends_to_a_stream_for_each_warehouse() {
    // A server of its own, because the names of the streams are those of the documentation.
    let redis = Redis::start(RedisOptions::default()).await;
    let mut scene = Scene::shared().await;
    scene.redis_url = redis.url();
    let sinks = format!(r#"{{ cache: {{ redis: {{ url: "{}", stream: "inventory" }} }} }}"#, redis.url());
    let stages = inventory_stages("inventory:{warehouse_id}");
    let mut host = scene.ready_host(&[scene.pipeline("main", &scene.source(), &stages, &sinks)]).await;
    scene.collection("inventory").insert_one(inventory(1, "WH-EAST-1")).await.unwrap();
    scene.collection("inventory").insert_one(inventory(2, "WH-WEST-1")).await.unwrap();
    scene.collection("transactions").insert_one(transaction(3, "WH-EAST-1")).await.unwrap();
    scene.collection("inventory").delete_one(doc! { "_id": 1 }).await.unwrap();

    let mut connection = scene.redis().await;
    tidegate_tests::eventually(crate::scene::PATIENCE, "the delete in the sink's own stream", async || {
        entries(&mut connection, "inventory").await.len() == 1
    })
    .await;
    assert_eq!(host.stop().await, Some(0));
    let east = entries(&mut connection, "inventory:WH-EAST-1").await;
    let west = entries(&mut connection, "inventory:WH-WEST-1").await;
    let own = entries(&mut connection, "inventory").await;
    assert_eq!((east.len(), west.len(), own.len()), (2, 1, 1));
    for entry in east.iter().chain(&west) {
        assert_eq!(entry.names(), ["doc", "h.migrated_from", "h.schema_version", "id", "key", "ns", "op"]);
        assert_eq!(entry.text("h.migrated_from"), "v1");
        assert_eq!(entry.text("h.schema_version"), "v3");
    }
    assert_eq!(
        (&east[0].doc()["_id"], &east[1].doc()["_id"], &west[0].doc()["_id"]),
        (&json!(1), &json!(3), &json!(2))
    );
    // Its key says nothing about a warehouse, so it goes where the sink sends by itself.
    assert_eq!((own[0].text("op"), own[0].json("key")), ("delete", json!({ "_id": 1 })));
    assert!(!own[0].fields.contains_key("doc"));
}

#[tokio::test]
async fn updates_of_a_document_that_is_gone_pass_the_plugins_by() {
    let scene = Scene::shared().await;
    let pipelines = [scene.inventory()];
    let stock = scene.collection("inventory");
    let mut host = scene.ready_host(&pipelines).await;
    stock.insert_one(inventory(1, "WH-1")).await.unwrap();
    scene.wait_length("WH-1", 1).await;
    assert_eq!(host.stop().await, Some(0));
    // While nobody looks, so that the document is gone for sure when the update is read.
    stock.update_one(doc! { "_id": 1 }, doc! { "$set": { "quantity": 7 } }).await.unwrap();
    stock.delete_one(doc! { "_id": 1 }).await.unwrap();
    let mut host = scene.ready_host(&pipelines).await;
    let found = scene.wait_entries("out", 2).await;
    assert_eq!(host.stop().await, Some(0));
    let ops: Vec<&str> = found.iter().map(|entry| entry.text("op")).collect();
    assert_eq!(ops, ["update", "delete"]);
    for entry in &found {
        assert_eq!(entry.json("key"), json!({ "_id": 1 }));
        assert!(!entry.fields.contains_key("doc"), "{entry:?}");
    }
    assert!(scene.dead_letters().is_empty(), "{:?}", scene.dead_letters());
}
