//! What happens to collections and databases as a whole, from a real server into another database of it, into Redis and into files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use mongodb::Database;
use mongodb::bson::{Document, doc};
use serde_json::json;
use tidegate_tests::{Host, eventually};

use crate::scene::{PATIENCE, Scene, all, inventory_stages, numbered};

/// Everything is mirrored, but for renames.
const DROPS: &str = "{ drop: apply }";
/// Everything is mirrored, with the position in the sink.
const ALL: &str = "{ drop: apply, rename: apply }";

/// This test's database, with what happens to its collections.
fn source(scene: &Scene) -> String {
    let (uri, database) = (&scene.mongodb_uri, scene.names.database());
    format!(r#"{{ mongodb: {{ uri: "{uri}", database: "{database}", ddl: deliver }} }}"#)
}

/// The mirror, a database beside it.
fn mirror(scene: &Scene, ddl: &str) -> String {
    let (uri, database) = (&scene.mongodb_uri, copy(scene).name().to_owned());
    format!(r#"{{ mongodb: {{ uri: "{uri}", database: "{database}", ddl: {ddl} }} }}"#)
}

fn copy(scene: &Scene) -> Database {
    scene.database.client().database(&format!("{}-copy", scene.names.database()))
}

fn changes(scene: &Scene) -> PathBuf {
    scene.dir.path().join("changes.jsonl")
}

/// A pipeline `main` into the mirror `out` and a file of changes.
fn mirroring(scene: &Scene, ddl: &str) -> String {
    let (out, file) = (mirror(scene, ddl), changes(scene));
    let sinks = format!(r#"{{ out: {out}, file: {{ file: {{ path: "{}" }} }} }}"#, file.display());
    scene.pipeline("main", &source(scene), "[]", &sinks)
}

/// The same into the mirror alone, which keeps the position.
fn keeping(scene: &Scene, ddl: &str) -> String {
    let (source, out, record) = (source(scene), mirror(scene, ddl), scene.names.database());
    format!(
        r#"  main: {{ source: {source}, sinks: {{ out: {out} }}, checkpoint: {{ sink: {{ lease: 2s, name: "{record}" }} }} }}"#
    )
}

/// Waits until the mirror has all that happened before.
async fn caught_up(scene: &Scene, n: i32) {
    scene.collection("end").insert_one(doc! { "_id": n }).await.unwrap();
    eventually(PATIENCE, "the mirror has the last document", async || {
        let copy = copy(scene).collection::<Document>("end");
        copy.find_one(doc! { "_id": n }).await.unwrap().is_some()
    })
    .await;
}

async fn batch(database: &Database, command: Document) -> Vec<Document> {
    let answer = database.run_command(command).await.unwrap();
    let batch = answer.get_document("cursor").unwrap().get_array("firstBatch").unwrap();
    batch.iter().map(|found| found.as_document().unwrap().clone()).collect()
}

/// All collections and views with their options, indexes and documents, but for what tidegate keeps there for itself.
async fn described(database: &Database) -> BTreeMap<String, (Document, Vec<Document>, Vec<Document>)> {
    let mut found = BTreeMap::new();
    for mut info in batch(database, doc! { "listCollections": 1, "cursor": { "batchSize": 1000 } }).await {
        let name = info.get_str("name").unwrap().to_owned();
        if name.starts_with("tidegate_") || name.starts_with("system.") {
            continue;
        }
        info.get_document_mut("info").unwrap().remove("uuid");
        let (mut indexes, mut documents) = (Vec::new(), Vec::new());
        if info.get_str("type").unwrap() == "collection" {
            indexes = batch(database, doc! { "listIndexes": &name }).await;
            indexes.sort_by_key(|index| index.get_str("name").unwrap().to_owned());
            documents = all(&database.collection(&name)).await;
        }
        found.insert(name, (info, indexes, documents));
    }
    found
}

async fn assert_mirrored(scene: &Scene) {
    let (source, copy) = (described(&scene.database).await, described(&copy(scene)).await);
    assert_eq!(source.keys().collect::<Vec<_>>(), copy.keys().collect::<Vec<_>>());
    for (name, wanted) in source {
        assert_eq!(copy[&name], wanted, "{name}");
    }
}

/// Reads all that was written to the file once more, from the start, with the same mirror and no checkpoint.
async fn replay(scene: &mut Scene, ddl: &str) {
    let file = changes(scene);
    let kept = std::mem::replace(&mut scene.dir, tempfile::tempdir().unwrap());
    let source = format!(r#"{{ file: {{ path: "{}" }} }}"#, file.display());
    let sinks = format!("{{ out: {} }}", mirror(scene, ddl));
    let mut host = scene.host(&[scene.pipeline("main", &source, "[]", &sinks)]);
    assert_eq!(host.wait_exit(PATIENCE).await, Some(0), "{}", host.stderr());
    assert_eq!(scene.dead_letters(), Vec::<serde_json::Value>::new());
    scene.dir = kept;
}

async fn ready(scene: &Scene, pipeline: String) -> Host {
    scene.ready_host(&[pipeline]).await
}

async fn run(database: &Database, command: Document) {
    database.run_command(command).await.unwrap();
}

/// One of each kind that a server of this version has.
async fn make_collections(db: &Database) {
    for options in [
        doc! { "create": "plain" },
        doc! { "create": "capped", "capped": true, "size": 5000, "max": 10 },
        doc! { "create": "series", "timeseries": { "timeField": "t", "metaField": "m", "granularity": "minutes" } },
        doc! { "create": "view", "viewOn": "plain", "pipeline": [{ "$match": { "n": 1 } }] },
        doc! { "create": "baseless", "viewOn": "nothing", "pipeline": [] },
        doc! { "create": "french", "collation": { "locale": "fr", "strength": 2 } },
        doc! { "create": "valid", "validator": { "n": { "$gt": 0 } }, "validationLevel": "moderate", "validationAction": "warn" },
        doc! {
            "create": "clustered", "expireAfterSeconds": 50_000,
            "clusteredIndex": { "key": { "_id": 1 }, "unique": true, "name": "by id" },
        },
        doc! { "create": "images", "changeStreamPreAndPostImages": { "enabled": true } },
    ] {
        run(db, options).await;
    }
}

async fn make_indexes(db: &Database) {
    let plain = |indexes: Vec<Document>| doc! { "createIndexes": "plain", "indexes": indexes };
    for command in [
        plain(vec![
            doc! { "key": { "n": 1 }, "name": "unique", "unique": true, "sparse": true },
            doc! {
                "key": { "b": 1, "c": -1 }, "name": "partial", "partialFilterExpression": { "b": { "$gt": 1 } },
                "collation": { "locale": "de" },
            },
        ]),
        plain(vec![doc! { "key": { "at": 1 }, "name": "ttl", "expireAfterSeconds": 100_000 }]),
        plain(vec![
            doc! { "key": { "x": "text", "y": "text" }, "name": "text", "weights": { "x": 5 }, "default_language": "german" },
        ]),
        plain(vec![doc! { "key": { "g": "2dsphere" }, "name": "geo", "hidden": true }]),
        plain(vec![doc! { "key": { "$**": 1 }, "name": "wild", "wildcardProjection": { "zz": 1 } }]),
        plain(vec![doc! { "key": { "h": "hashed" }, "name": "hash" }]),
        plain(vec![doc! { "key": { "u": 1 }, "name": "becomes unique" }]),
        doc! { "createIndexes": "made by its index", "indexes": [{ "key": { "a": 1 }, "name": "a" }, { "key": { "b": 1 }, "name": "b" }] },
    ] {
        run(db, command).await;
    }
}

async fn modify(db: &Database) {
    for command in [
        doc! { "collMod": "plain", "index": { "name": "ttl", "expireAfterSeconds": 77_000 } },
        doc! { "collMod": "plain", "index": { "keyPattern": { "b": 1, "c": -1 }, "hidden": true } },
        doc! { "collMod": "plain", "index": { "name": "becomes unique", "prepareUnique": true } },
        doc! { "collMod": "plain", "index": { "name": "becomes unique", "unique": true } },
        doc! { "collMod": "plain", "changeStreamPreAndPostImages": { "enabled": true } },
        doc! { "collMod": "valid", "validator": { "n": { "$gte": 0 } }, "validationLevel": "strict", "validationAction": "error" },
        doc! { "collMod": "view", "viewOn": "capped", "pipeline": [{ "$match": { "n": 2 } }] },
        doc! { "collMod": "capped", "cappedSize": 9000, "cappedMax": 22 },
        doc! { "collMod": "clustered", "expireAfterSeconds": 60_000 },
        doc! { "collMod": "series", "timeseries": { "granularity": "hours" } },
    ] {
        run(db, command).await;
    }
}

async fn drop(db: &Database) {
    for command in [
        doc! { "dropIndexes": "plain", "index": "hash" },
        doc! { "dropIndexes": "plain", "index": ["wild", "geo"] },
        doc! { "drop": "baseless" },
        doc! { "drop": "images" },
        doc! { "drop": "series" },
    ] {
        run(db, command).await;
    }
}

async fn rename(scene: &Scene) {
    let (db, full) = (&scene.database, |name: &str| format!("{}.{name}", scene.names.database()));
    run(db, doc! { "create": "french", "collation": { "locale": "fr", "strength": 2 } }).await;
    run(db, doc! { "convertToCapped": "french", "size": 4096 }).await;
    scene.collection("old").insert_many(numbered(0..5)).await.unwrap();
    run(db, doc! { "aggregate": "old", "pipeline": [{ "$out": "outed" }], "cursor": {} }).await;
    run(db, doc! { "aggregate": "old", "pipeline": [{ "$match": { "n": 1 } }, { "$out": "outed" }], "cursor": {} })
        .await;
    let admin = db.client().database("admin");
    run(&admin, doc! { "renameCollection": full("old"), "to": full("new") }).await;
    scene.collection("new").insert_many(numbered(5..10)).await.unwrap();
    scene.collection("new").delete_one(doc! { "_id": 2 }).await.unwrap();
    scene.collection("old").insert_many(numbered(20..25)).await.unwrap();
    scene.collection("over").insert_many(numbered(30..35)).await.unwrap();
    run(&admin, doc! { "renameCollection": full("old"), "to": full("over"), "dropTarget": true }).await;
    scene.collection("over").delete_one(doc! { "_id": 21 }).await.unwrap();
}

#[tokio::test]
async fn c6_what_happens_to_collections_happens_to_the_mirror_and_once_more_when_it_is_read_again() {
    let mut scene = Scene::shared().await;
    let mut host = ready(&scene, mirroring(&scene, DROPS)).await;
    make_collections(&scene.database).await;
    scene.collection("plain").insert_many((0..3).map(|n| doc! { "_id": n, "n": n, "u": n })).await.unwrap();
    make_indexes(&scene.database).await;
    caught_up(&scene, 1).await;
    assert_mirrored(&scene).await;
    modify(&scene.database).await;
    caught_up(&scene, 2).await;
    assert_mirrored(&scene).await;
    drop(&scene.database).await;
    caught_up(&scene, 3).await;
    assert_mirrored(&scene).await;
    assert_eq!(host.stop().await, Some(0));
    assert_eq!(scene.dead_letters(), Vec::<serde_json::Value>::new());
    // The whole of it comes again, over a mirror that has it all.
    replay(&mut scene, DROPS).await;
    assert_mirrored(&scene).await;
    // And over none.
    copy(&scene).drop().await.unwrap();
    replay(&mut scene, DROPS).await;
    assert_mirrored(&scene).await;
}

#[tokio::test]
async fn c6_renames_are_mirrored_with_the_position_in_the_sink_and_once_more_after_a_crash() {
    let scene = Scene::shared().await;
    let mut host = ready(&scene, keeping(&scene, ALL)).await;
    rename(&scene).await;
    caught_up(&scene, 1).await;
    assert_mirrored(&scene).await;
    assert_eq!(host.stop().await, Some(0));
    // As a host leaves it that is killed between a rename and the position behind it.
    let (admin, database) = (scene.database.client().database("admin"), scene.names.database());
    for name in [database.to_owned(), copy(&scene).name().to_owned()] {
        run(
            &admin,
            doc! { "renameCollection": format!("{name}.new"), "to": format!("{name}.over"), "dropTarget": true },
        )
        .await;
    }
    scene.collection("new").insert_many(numbered(50..55)).await.unwrap();
    let mut host = ready(&scene, keeping(&scene, ALL)).await;
    caught_up(&scene, 2).await;
    assert_mirrored(&scene).await;
    assert_eq!(host.stop().await, Some(0));
    assert_eq!(scene.dead_letters(), Vec::<serde_json::Value>::new());
}

/// Inserts, drops and inserts in one go, so that a reply of the server holds it all.
async fn insert_drop_insert(scene: &Scene) {
    let things = scene.collection("things");
    for round in 0..5 {
        things.insert_many(numbered(round * 10..round * 10 + 5)).await.unwrap();
        things.drop().await.unwrap();
    }
    things.insert_many(numbered(90..93)).await.unwrap();
}

#[tokio::test]
async fn a_drop_that_is_applied_stands_between_what_came_before_and_behind_it() {
    for kept in [false, true] {
        let scene = Scene::shared().await;
        let pipeline = if kept { keeping(&scene, DROPS) } else { mirroring(&scene, DROPS) };
        let mut host = ready(&scene, pipeline).await;
        insert_drop_insert(&scene).await;
        caught_up(&scene, 1).await;
        assert_eq!(all(&copy(&scene).collection("things")).await, numbered(90..93));
        scene.database.drop().await.unwrap();
        caught_up(&scene, 2).await;
        assert_mirrored(&scene).await;
        assert_eq!(host.stop().await, Some(0));
        assert_eq!(scene.dead_letters(), Vec::<serde_json::Value>::new());
    }
}

#[tokio::test]
async fn a_drop_that_is_ignored_leaves_the_target_alone_and_is_counted() {
    let scene = Scene::shared().await;
    let mut host = ready(&scene, keeping(&scene, "{}")).await;
    let things = scene.collection("things");
    things.insert_many(numbered(0..3)).await.unwrap();
    things.drop().await.unwrap();
    things.insert_many(numbered(3..5)).await.unwrap();
    things.drop().await.unwrap();
    caught_up(&scene, 1).await;
    assert_eq!(all(&copy(&scene).collection("things")).await, numbered(0..5));
    let ignored = host.metric("tidegate_events_ignored_total", &[("pipeline", "main"), ("sink", "out")]).await;
    assert_eq!(ignored, Some(2.0));
    assert_eq!(host.stop().await, Some(0));
    let told = host.log().iter().filter(|line| line["event"] == "sink_ddl_ignored").count();
    assert_eq!(told, 1, "once for each namespace");
}

#[tokio::test]
async fn what_the_target_has_in_another_form_stays_and_is_told() {
    let scene = Scene::shared().await;
    let copy = copy(&scene);
    run(&copy, doc! { "create": "things", "capped": true, "size": 4096 }).await;
    run(&copy, doc! { "createIndexes": "others", "indexes": [{ "key": { "a": 1 }, "name": "one", "unique": true }] })
        .await;
    copy.collection("others").insert_one(doc! { "_id": 0, "a": 7 }).await.unwrap();
    let mut host = ready(&scene, mirroring(&scene, DROPS)).await;
    run(&scene.database, doc! { "create": "things", "validator": { "n": 1 } }).await;
    run(&scene.database, doc! { "createIndexes": "others", "indexes": [{ "key": { "b": 1 }, "name": "one" }] }).await;
    caught_up(&scene, 1).await;
    assert_eq!(host.stop().await, Some(0));
    let told: Vec<_> = host.log().into_iter().filter(|line| line["event"] == "sink_ddl_differs").collect();
    assert_eq!(told.len(), 2, "{told:?}");
    for (line, parts) in told.iter().zip([["validator", "capped"], ["\"b\"", "\"a\""]]) {
        let line = line.to_string().replace('\\', "");
        assert!(parts.iter().all(|part| line.contains(part)), "{line}");
    }
    let found = described(&copy).await;
    assert!(found["things"].0.get_document("options").unwrap().get_bool("capped").unwrap());
    assert!(found["others"].1.iter().any(|index| index.get_document("key").unwrap().contains_key("a")));
    assert_eq!(scene.dead_letters(), Vec::<serde_json::Value>::new());
}

#[tokio::test]
async fn an_index_that_the_target_refuses_goes_to_the_dead_letter_and_the_rest_goes_on() {
    let scene = Scene::shared().await;
    let doubles = [doc! { "_id": "x", "n": 7 }, doc! { "_id": "y", "n": 7 }];
    copy(&scene).collection("things").insert_many(doubles).await.unwrap();
    let mut host = ready(&scene, keeping(&scene, ALL)).await;
    let index = doc! { "key": { "n": 1 }, "name": "n", "unique": true };
    let fine = doc! { "key": { "m": 1 }, "name": "m" };
    run(&scene.database, doc! { "createIndexes": "things", "indexes": [index, fine] }).await;
    caught_up(&scene, 1).await;
    let letters = scene.wait_dead_letters(1).await;
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert!(letters[0]["reason"].as_str().unwrap().contains("11000"), "{}", letters[0]);
    assert_eq!((&letters[0]["change"]["op"], &letters[0]["kind"]), (&json!("create_indexes"), &json!("refused")));
    let indexes = batch(&copy(&scene), doc! { "listIndexes": "things" }).await;
    assert!(indexes.iter().any(|index| index.get_str("name").unwrap() == "m"), "{indexes:?}");
    assert_eq!(host.stop().await, Some(0));
}

#[tokio::test]
async fn changes_of_collections_pass_plugins_by_and_arrive_in_redis_and_files() {
    let scene = Scene::shared().await;
    let file = changes(&scene);
    let sinks = format!(
        r#"{{ out: {}, file: {{ file: {{ path: "{}" }} }} }}"#,
        scene.stream_sink("out", "json"),
        file.display()
    );
    // The router sends documents elsewhere; what has no document goes to the sink's own stream.
    let stages = inventory_stages(&scene.names.key("{warehouse_id}"));
    let mut host = ready(&scene, scene.pipeline("main", &source(&scene), &stages, &sinks)).await;
    let db = &scene.database;
    run(db, doc! { "create": "things" }).await;
    run(db, doc! { "createIndexes": "things", "indexes": [{ "key": { "a": 1 }, "name": "a" }] }).await;
    run(db, doc! { "collMod": "things", "index": { "name": "a", "hidden": true } }).await;
    run(db, doc! { "dropIndexes": "things", "index": "a" }).await;
    let full = |name: &str| format!("{}.{name}", scene.names.database());
    run(&db.client().database("admin"), doc! { "renameCollection": full("things"), "to": full("items") }).await;
    db.drop().await.unwrap();
    let found = scene.wait_entries("out", 7).await;
    assert_eq!(host.stop().await, Some(0));
    let seen: Vec<_> = found.iter().map(|entry| (entry.text("op"), entry.text("ns").to_owned(), entry.doc())).collect();
    let database = scene.names.database();
    let spec = |hidden: bool| {
        let mut spec = json!({ "v": 2, "key": { "a": 1 }, "name": "a" });
        if hidden {
            spec["hidden"] = json!(true);
        }
        json!({ "indexes": [spec] })
    };
    let expected = [
        ("create", full("things"), json!({ "idIndex": { "v": 2, "key": { "_id": 1 }, "name": "_id_" } })),
        ("create_indexes", full("things"), spec(false)),
        ("modify", full("things"), json!({ "index": { "name": "a", "hidden": true } })),
        ("drop_indexes", full("things"), spec(true)),
        ("rename", full("things"), json!({ "to": { "db": database, "coll": "items" } })),
        ("drop", full("items"), json!({})),
        ("drop_database", database.to_owned(), json!({})),
    ];
    assert_eq!(seen, expected);
    assert!(found.iter().all(|entry| entry.names() == ["doc", "id", "ns", "op"]), "{:?}", found[0].names());
    let lines = scene.json_lines("changes.jsonl");
    let ops: Vec<_> = lines.iter().map(|line| line["op"].as_str().unwrap()).collect();
    assert_eq!(ops, seen.iter().map(|(op, ..)| *op).collect::<Vec<_>>());
    assert_eq!(lines[4]["doc"], json!({ "to": { "db": database, "coll": "items" } }));
}
