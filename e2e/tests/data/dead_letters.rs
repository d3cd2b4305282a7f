//! Changes that cannot go on: where they are kept, and that nothing else is held up.

use mongodb::bson::Bson;
use serde_json::{Value, json};
use tidegate_tests::servers::{Redis, RedisOptions};

use crate::scene::{PATIENCE, Scene, entries, inventory, inventory_stages, numbers};

/// `2026-01-31T12:00:00.000Z`
pub(crate) fn is_time(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    text.len() == 24 && text.ends_with('Z') && text.as_bytes()[10] == b'T'
}

#[tokio::test]
async fn a_letter_tells_what_who_where_when_and_why() {
    let scene = Scene::shared().await;
    let mut host = scene.ready_host(&[scene.inventory()]).await;
    let mut bad = inventory(1, "WH-1");
    bad.insert("quantity", -1_i64);
    bad.insert("sku", 7.0);
    bad.insert("weight", "1.50".parse::<mongodb::bson::Decimal128>().unwrap());
    scene.collection("inventory").insert_many([inventory(0, "WH-1"), bad.clone(), inventory(2, "WH-1")]).await.unwrap();
    let letters = scene.wait_dead_letters(1).await;
    let delivered = scene.wait_entries("WH-1", 2).await;
    assert_eq!(host.metric("tidegate_dead_letters_total", &[("kind", "rejected")]).await, Some(1.0));
    assert_eq!(host.stop().await, Some(0));

    let ids: Vec<Value> = delivered.iter().map(|entry| entry.doc()["_id"].clone()).collect();
    assert_eq!(ids, [0, 2], "the others are delivered");
    assert_eq!(letters.len(), 1);
    let letter = &letters[0];
    let names: Vec<&str> = letter.as_object().unwrap().keys().map(String::as_str).collect();
    let plugin = ["plugin", "generation", "plugin_version", "plugin_digest"];
    let expected =
        [&["at", "kind", "reason", "pipeline", "stage"][..], &plugin, &["violations", "id", "change"]].concat();
    assert_eq!(names, expected);
    assert!(is_time(&letter["at"]), "{letter}");
    assert_eq!(
        (&letter["plugin"], &letter["generation"], &letter["stage"]),
        (&json!("inventory-validator"), &json!(1), &json!("stages[0]"))
    );
    assert_eq!(letter["plugin_version"], "0.1.0");
    assert_eq!(letter["plugin_digest"].as_str().unwrap().len(), 64, "{letter}");
    assert!(!letter["reason"].as_str().unwrap().is_empty());
    let violations = letter["violations"].as_array().unwrap();
    let paths: Vec<&str> = violations.iter().map(|violation| violation["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["quantity", "sku"]);
    assert!(violations.iter().all(|violation| !violation["message"].as_str().unwrap().is_empty()));
    // The change is whole: types and all.
    let change = &letter["change"];
    assert_eq!(change["doc"], Bson::Document(bad).into_canonical_extjson());
    assert_eq!((&change["op"], &change["key"]), (&json!("insert"), &json!({ "_id": { "$numberInt": "1" } })));
    assert_eq!(change["ns"], format!("{}.inventory", scene.names.database()));
    assert_eq!(change["id"], letter["id"]);
}

#[tokio::test]
async fn letters_can_be_mended_and_fed_back() {
    let scene = Scene::shared().await;
    let mut host = scene.ready_host(&[scene.inventory()]).await;
    let mut bad = inventory(1, "WH-1");
    bad.remove("product_id");
    scene.collection("inventory").insert_one(bad).await.unwrap();
    let letters = scene.wait_dead_letters(1).await;
    assert_eq!(host.stop().await, Some(0));
    // As a person would do it: the field put in, the line otherwise as it was.
    let mut letter = letters[0].clone();
    letter["change"]["doc"]["product_id"] = json!("P-1");
    let mended = scene.dir.path().join("mended.jsonl");
    std::fs::write(&mended, format!("{letter}\n")).unwrap();
    let stages = inventory_stages(&scene.names.key("{warehouse_id}"));
    let sinks = format!("{{ out: {} }}", scene.stream_sink("out", "json"));
    let source = format!(r#"{{ file: {{ path: "{}" }} }}"#, mended.display());
    let mut host = scene.host(&[scene.pipeline("again", &source, &stages, &sinks)]);
    assert_eq!(host.wait_exit(PATIENCE).await, Some(0));
    let delivered = scene.entries("WH-1").await;
    assert_eq!(delivered.len(), 1);
    assert_eq!(
        (delivered[0].id(), &delivered[0].doc()["product_id"]),
        (letters[0]["id"].as_str().unwrap(), &json!("P-1"))
    );
}

#[tokio::test]
async fn letters_go_to_a_redis_stream_where_configured() {
    let scene = Scene::shared().await;
    let stages = inventory_stages(&scene.names.key("{warehouse_id}"));
    let pipeline = format!(
        r#"  main: {{ source: {}, stages: {stages}, sinks: {{ out: {} }}, dead_letter: {{ redis: {{ url: "{}", stream: "{}" }} }} }}"#,
        scene.source(),
        scene.stream_sink("out", "json"),
        scene.redis_url,
        scene.names.key("dead")
    );
    let mut host = scene.ready_host(&[pipeline]).await;
    let mut bad = inventory(1, "WH-1");
    bad.insert("quantity", "many");
    scene.collection("inventory").insert_one(bad).await.unwrap();
    let found = scene.wait_entries("dead", 1).await;
    assert_eq!(host.stop().await, Some(0));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].names(), ["dead_letter", "id", "kind", "plugin", "reason", "stage"]);
    assert_eq!(found[0].text("plugin"), "inventory-validator");
    let letter = found[0].json("dead_letter");
    assert_eq!((&letter["violations"][0]["path"], &letter["id"]), (&json!("quantity"), &json!(found[0].id())));
    assert!(scene.dead_letters().is_empty(), "and not into the default file");
}

#[tokio::test]
async fn a_stream_that_is_no_stream_costs_its_own_changes_alone() {
    let scene = Scene::shared().await;
    let mut redis = scene.redis().await;
    let () = redis::cmd("SET").arg(scene.names.key("WH-TEXT")).arg("text").query_async(&mut redis).await.unwrap();
    let mut host = scene.ready_host(&[scene.inventory()]).await;
    let stock = scene.collection("inventory");
    stock.insert_many((0..30).map(|n| inventory(n, if n % 3 == 1 { "WH-TEXT" } else { "WH-1" }))).await.unwrap();
    let letters = scene.wait_dead_letters(10).await;
    let delivered = scene.wait_entries("WH-1", 20).await;
    assert_eq!(host.get("/readiness").await.0, 200);
    assert_eq!(host.metric("tidegate_dead_letters_total", &[("kind", "refused")]).await, Some(10.0));
    assert_eq!(host.metric("tidegate_events_out_total", &[("sink", "out")]).await, Some(20.0));
    assert_eq!(host.stop().await, Some(0));
    assert_eq!((letters.len(), delivered.len()), (10, 20));
    for (n, letter) in (0..).zip(&letters) {
        assert_eq!(letter["change"]["key"]["_id"]["$numberInt"], (n * 3 + 1).to_string());
        assert_eq!(letter["stage"], "sinks.out");
        assert!(letter["reason"].as_str().unwrap().contains("WRONGTYPE"), "{letter}");
        assert!(letter.get("plugin").is_none(), "no plugin is to blame: {letter}");
    }
    let kept: String = redis::cmd("GET").arg(scene.names.key("WH-TEXT")).query_async(&mut redis).await.unwrap();
    assert_eq!(kept, "text");
}

#[tokio::test]
async fn a_line_that_is_no_change_is_a_letter_and_the_next_ones_go_on() {
    let scene = Scene::shared().await;
    let input = scene.dir.path().join("in.jsonl");
    let lines = [
        r#"{"op":"insert","ns":"d.c","doc":{"_id":0,"n":0}}"#,
        "no json at all",
        r#"{"op":"insert","ns":"d.c"}"#,
        r#"{"op":"insert","ns":"d.c","doc":{"_id":1,"n":1}}"#,
    ];
    std::fs::write(&input, lines.join("\n")).unwrap();
    let source = format!(r#"{{ file: {{ path: "{}" }} }}"#, input.display());
    let sinks = format!("{{ out: {} }}", scene.stream_sink("out", "json"));
    let mut host = scene.host(&[scene.pipeline("main", &source, "[]", &sinks)]);
    assert_eq!(host.wait_exit(PATIENCE).await, Some(0));
    assert_eq!(numbers(&scene.entries("out").await), [0, 1]);
    let letters = scene.dead_letters();
    assert_eq!(letters.len(), 2, "{letters:?}");
    assert_eq!((&letters[0]["stage"], &letters[0]["raw"]), (&json!("source"), &json!("no json at all")));
    assert!(letters[1]["reason"].as_str().unwrap().contains("doc"), "{}", letters[1]);
}

#[tokio::test]
async fn a_dead_letter_that_cannot_be_kept_stops_the_pipeline_before_anything_is_lost() {
    let redis = Redis::start(RedisOptions::default()).await;
    let scene = Scene::shared().await;
    let stages = inventory_stages(&scene.names.key("{warehouse_id}"));
    let mut connection = redis.connection().await;
    let () = redis::cmd("SET").arg("dead").arg("no stream").query_async(&mut connection).await.unwrap();
    let pipeline = format!(
        r#"  main: {{ source: {}, stages: {stages}, sinks: {{ out: {} }}, dead_letter: {{ redis: {{ url: "{}", stream: dead }} }} }}"#,
        scene.source(),
        scene.stream_sink("out", "json"),
        redis.url(),
    );
    let mut host = scene.ready_host(std::slice::from_ref(&pipeline)).await;
    let mut bad = inventory(1, "WH-1");
    bad.remove("quantity");
    scene.collection("inventory").insert_many([bad, inventory(2, "WH-1")]).await.unwrap();
    assert_eq!(host.wait_exit(PATIENCE).await, Some(1));
    assert!(host.stderr().contains("TG0604"), "{}", host.stderr());
    // Mended by the operator: the change was not passed over.
    let () = redis::cmd("DEL").arg("dead").query_async(&mut connection).await.unwrap();
    let mut host = scene.ready_host(&[pipeline]).await;
    scene.wait_length("WH-1", 1).await;
    assert_eq!(host.stop().await, Some(0));
    let letters = entries(&mut connection, "dead").await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].json("dead_letter")["change"]["doc"]["_id"], json!({ "$numberInt": "1" }));
}
