//! A mirror: the target is what the source is, to the byte, whatever is written, in whatever order, and whatever the target makes
//! of it.

use mongodb::bson::{Bson, Document, RawDocumentBuf, Timestamp, doc, rawdoc};
use mongodb::options::IndexOptions;
use mongodb::{Client, Collection, Database, IndexModel};
use tidegate_tests::servers::{Mongo, MongoOptions};
use tidegate_tests::{Host, eventually};

use crate::scene::{Flood, PATIENCE, Scene};

/// How a pipeline `main` from this test's database into its copy is made.
#[derive(Clone, Copy)]
struct Way {
    /// More of the source's options.
    source: &'static str,
    /// More of the sink's options.
    sink: &'static str,
    /// Whether the position is kept in the target.
    keeps: bool,
}

/// Whole documents, each write for itself.
const PLAIN: Way = Way { source: "", sink: "", keeps: false };
/// Whole documents, in transactions.
const KEEPING: Way = Way { keeps: true, ..PLAIN };
/// Updates as they are.
const DESCRIBED: Way = Way { source: ", full_document: off", ..KEEPING };

fn copy(scene: &Scene) -> Database {
    scene.database.client().database(&format!("{}-copy", scene.names.database()))
}

fn pipeline(scene: &Scene, way: Way) -> String {
    let (uri, name) = (&scene.mongodb_uri, scene.names.database());
    let source = format!(r#"{{ mongodb: {{ uri: "{uri}", database: "{name}"{} }} }}"#, way.source);
    let sink = format!(r#"{{ mongodb: {{ uri: "{uri}", database: "{{database}}-copy"{} }} }}"#, way.sink);
    let checkpoint = match way.keeps {
        true => format!(r#", checkpoint: {{ sink: {{ lease: 2s, name: "{name}" }} }}"#),
        false => String::new(),
    };
    format!("  main: {{ source: {source}, sinks: {{ out: {sink} }}{checkpoint} }}")
}

/// The bytes of all documents, by `_id`.
async fn bytes(collection: &Collection<RawDocumentBuf>) -> Vec<RawDocumentBuf> {
    let mut found = collection.find(doc! {}).sort(doc! { "_id": 1 }).await.unwrap();
    let mut documents = Vec::new();
    while found.advance().await.unwrap() {
        documents.push(found.current().to_owned());
    }
    documents
}

/// Waits until the copy of a collection is what the source is.
async fn equal(scene: &Scene, name: &str) {
    let source = bytes(&scene.database.collection(name)).await;
    eventually(PATIENCE, "the mirror is the source", async || {
        let mirror = bytes(&copy(scene).collection(name)).await;
        if mirror == source {
            return Ok(());
        }
        let other = mirror.iter().zip(&source).find(|(mirror, source)| mirror != source);
        Err(format!("{} documents instead of {}; {other:?}", mirror.len(), source.len()))
    })
    .await;
}

/// A host that has seen the stream begin and is stopped: what is written now comes in one batch.
async fn stopped(scene: &Scene, way: Way) {
    let mut host = scene.ready_host(&[pipeline(scene, way)]).await;
    scene.collection("first").insert_one(doc! { "_id": 1 }).await.unwrap();
    equal(scene, "first").await;
    assert_eq!(host.stop().await, Some(0));
}

async fn started(scene: &Scene, way: Way) -> Host {
    scene.ready_host(&[pipeline(scene, way)]).await
}

async fn unique(collection: &Collection<Document>, field: &str) {
    let options = IndexOptions::builder().unique(true).name(format!("only_{field}")).build();
    collection.create_index(IndexModel::builder().keys(doc! { field: 1 }).options(options).build()).await.unwrap();
}

fn big() -> String {
    // So that the server describes an update instead of replacing the document.
    "x".repeat(500)
}

#[tokio::test]
async fn updates_are_applied_as_updates_to_the_byte() {
    let scene = Scene::shared().await;
    stopped(&scene, DESCRIBED).await;
    let things = scene.collection("things");
    let base = || {
        doc! {
            "s": { "m": 1, "b": { "c": 1 } }, "a": [1, 2, 3, 4, { "b": [1, 2, 3], "x": big() }], "n": { "0": 1, "1": { "k": [1, 2] } },
            "e": [], "big": big(),
        }
    };
    let literal = |field: &str, value: i32, input: &str| {
        doc! { "$setField": { "field": { "$literal": field }, "input": input, "value": value } }
    };
    let dotted =
        doc! { "a.b": 1, "c.d": { "e.f": [1, 2, 3], "big": big() }, "$x": 1, "": { "$y": { "z": 1 } }, "big": big() };
    let updates: Vec<Vec<Document>> = vec![
        vec![doc! { "$set": { "s.m": 2, "z": 1, "a.1": 9, "b": 2, "10": 1, "9": 1, "s.b.new": 1 } }],
        vec![doc! { "$unset": { "s.b": "", "a.4.x": "" } }],
        vec![doc! { "$push": { "a": { "$each": [7, 8] } } }, doc! { "$pop": { "a": -1 } }],
        vec![doc! { "$push": { "a.4.b": { "$each": [], "$slice": 1 } } }],
        vec![doc! { "$set": { "n.0": 5, "n.7": 1, "n.1.k.1": 3, "n.1.k.2": 4 } }],
        vec![doc! { "$rename": { "s": "t" }, "$inc": { "a.0": 5 } }, doc! { "$set": { "t.m": 3 } }],
        vec![doc! { "$set": { "v": { "$dollar": 1, "do.t": 2 }, "e.0": { "k": 1 } } }, doc! { "$set": { "e.0.k": 2 } }],
        vec![
            doc! { "$unset": { "a": "" } },
            doc! { "$set": { "a": { "0": 1 } } },
            doc! { "$set": { "a.0": 2, "a.1": 3 } },
        ],
    ];
    let shrunk = doc! { "$concatArrays": [[9], { "$slice": ["$a", 1, 1] }] };
    let nested = doc! { "$map": { "input": { "$slice": ["$a", 1, 10] }, "in": {
        "$cond": [{ "$eq": [{ "$type": "$$this" }, "object"] }, { "x": "$$this.x", "b": [4] }, "$$this"],
    } } };
    let pipelines: Vec<Document> = vec![
        doc! { "$set": { "z": 1, "b": 2, "a": shrunk } },
        doc! { "$set": { "a": nested } },
        doc! { "$set": { "s.z": 1, "s.a": 2, "zz": 1, "y": 2 } },
    ];
    let strange: Vec<Document> = vec![
        doc! { "$replaceWith": literal("a.b", 2, "$$ROOT") },
        doc! { "$replaceWith": literal("new.dotted", 2, "$$ROOT") },
        doc! { "$replaceWith": literal("$x", 2, "$$ROOT") },
        doc! { "$replaceWith": { "$setField": { "field": "c.d", "input": "$$ROOT", "value":
        { "$setField": { "field": "e.f", "input": { "$getField": "c.d" }, "value": [1] } } } } },
        doc! { "$replaceWith": { "$unsetField": { "field": "a.b", "input": "$$ROOT" } } },
    ];
    let (one, two, three) =
        (updates.len(), updates.len() + pipelines.len(), updates.len() + pipelines.len() + strange.len());
    for n in 0..three {
        let mut document = doc! { "_id": i32::try_from(n).unwrap() };
        document.extend(if n < two { base() } else { dotted.clone() });
        things.insert_one(document).await.unwrap();
    }
    // In batches of their own, and all together in one.
    let mut host = started(&scene, DESCRIBED).await;
    equal(&scene, "things").await;
    assert_eq!(host.stop().await, Some(0));
    for (n, updates) in updates.iter().enumerate() {
        for update in updates {
            things.update_one(doc! { "_id": i32::try_from(n).unwrap() }, update.clone()).await.unwrap();
        }
    }
    for (n, stage) in pipelines.iter().enumerate() {
        things.update_one(doc! { "_id": i32::try_from(one + n).unwrap() }, vec![stage.clone()]).await.unwrap();
    }
    for (n, stage) in strange.iter().enumerate() {
        things.update_one(doc! { "_id": i32::try_from(two + n).unwrap() }, vec![stage.clone()]).await.unwrap();
    }
    // Several changes of one document, described ones behind a whole one.
    things.insert_one(doc! { "_id": "many", "a": [1], "big": big() }).await.unwrap();
    for n in 0..5 {
        things.update_one(doc! { "_id": "many" }, doc! { "$push": { "a": n }, "$set": { "n": n } }).await.unwrap();
    }
    things.delete_one(doc! { "_id": "many" }).await.unwrap();
    things.insert_one(doc! { "_id": "many", "a": [2], "big": big() }).await.unwrap();
    things.update_one(doc! { "_id": "many" }, doc! { "$push": { "a": 3 }, "$set": { "a.0": 1 } }).await.unwrap_err();
    things.update_one(doc! { "_id": "many" }, doc! { "$push": { "a": 3 } }).await.unwrap();
    let mut host = started(&scene, DESCRIBED).await;
    equal(&scene, "things").await;
    assert_eq!(host.stop().await, Some(0));
    assert_eq!(scene.dead_letters(), Vec::<serde_json::Value>::new());
}

#[tokio::test]
async fn documents_that_a_server_would_change_arrive_as_they_are() {
    for way in [PLAIN, KEEPING] {
        let scene = Scene::shared().await;
        let mut host = started(&scene, way).await;
        let things = scene.database.collection::<RawDocumentBuf>("things");
        things.insert_one(rawdoc! { "_id": 1, "$x": 1, "$y": { "$z": 1 } }).await.unwrap();
        things.insert_one(rawdoc! { "_id": 2, "n": 1 }).await.unwrap();
        let empty = Bson::Timestamp(Timestamp { time: 0, increment: 0 });
        let stage = doc! { "$replaceWith": { "$literal": { "_id": 2, "t": empty, "": 1, "a.b": { "c.d": 2 } } } };
        things.update_one(doc! { "_id": 2 }, vec![stage]).await.unwrap();
        equal(&scene, "things").await;
        assert_eq!(host.stop().await, Some(0));
    }
}

#[tokio::test]
async fn a_unique_value_that_changes_hands_within_a_batch_arrives() {
    for way in [PLAIN, KEEPING, DESCRIBED] {
        let scene = Scene::shared().await;
        let (things, mirror) = (scene.collection("things"), copy(&scene).collection("things"));
        unique(&things, "u").await;
        unique(&mirror, "u").await;
        stopped(&scene, way).await;
        let documents = (1..=6).map(|n| doc! { "_id": n, "u": n, "big": big() });
        things.insert_many(documents).await.unwrap();
        let mut host = started(&scene, way).await;
        equal(&scene, "things").await;
        assert_eq!(host.stop().await, Some(0));

        let set =
            async |id: i32, u: i32| things.update_one(doc! { "_id": id }, doc! { "$set": { "u": u } }).await.unwrap();
        // Swapped, by way of a third value.
        set(1, 100).await;
        set(2, 1).await;
        set(1, 2).await;
        // Deleted, and given to a new document; then that one back.
        things.delete_one(doc! { "_id": 3 }).await.unwrap();
        things.insert_one(doc! { "_id": 30, "u": 3, "big": big() }).await.unwrap();
        things.delete_one(doc! { "_id": 30 }).await.unwrap();
        things.insert_one(doc! { "_id": 31, "u": 3, "big": big() }).await.unwrap();
        // Moved on in a row.
        set(6, 7).await;
        set(5, 6).await;
        set(4, 5).await;
        things.insert_one(doc! { "_id": 40, "u": 4 }).await.unwrap();
        let mut host = started(&scene, way).await;
        equal(&scene, "things").await;
        assert_eq!(host.stop().await, Some(0));
        assert_eq!(scene.dead_letters(), Vec::<serde_json::Value>::new());
    }
}

#[tokio::test]
async fn what_is_new_at_the_source_and_there_at_the_target_is_replaced() {
    for way in [PLAIN, KEEPING, DESCRIBED] {
        let scene = Scene::shared().await;
        let (things, mirror) = (scene.collection("things"), copy(&scene).collection::<Document>("things"));
        mirror.insert_many((0..20).map(|n| doc! { "_id": n, "older": true })).await.unwrap();
        stopped(&scene, way).await;
        things.insert_many((0..100).map(|n| doc! { "_id": n, "n": n, "big": big() })).await.unwrap();
        for n in 30..60 {
            things.delete_one(doc! { "_id": n }).await.unwrap();
            things.insert_one(doc! { "_id": n, "again": true }).await.unwrap();
        }
        things.update_many(doc! { "_id": { "$gt": 50 } }, doc! { "$inc": { "n": 1 } }).await.unwrap();
        let mut host = started(&scene, way).await;
        equal(&scene, "things").await;
        // One by one: each is new to a batch of its own.
        for n in 100..110 {
            things.insert_one(doc! { "_id": n, "n": n }).await.unwrap();
        }
        equal(&scene, "things").await;
        assert_eq!(host.stop().await, Some(0));
        assert_eq!(scene.dead_letters(), Vec::<serde_json::Value>::new());
    }
}

#[tokio::test]
async fn a_value_that_is_unique_at_the_target_alone_is_dead_lettered_with_its_index() {
    for way in [PLAIN, KEEPING, DESCRIBED] {
        let scene = Scene::shared().await;
        unique(&copy(&scene).collection("things"), "u").await;
        stopped(&scene, way).await;
        let documents = (0..50).map(|n| doc! { "_id": n, "u": if n == 20 { 10 } else { n }, "big": big() });
        scene.collection("things").insert_many(documents).await.unwrap();
        scene.collection("things").update_one(doc! { "_id": 30 }, doc! { "$set": { "u": 31 } }).await.unwrap();
        let mut host = started(&scene, way).await;
        let letters = scene.wait_dead_letters(2).await;
        for letter in &letters {
            let reason = letter["reason"].as_str().unwrap();
            assert!(reason.contains("E11000") && reason.contains("only_u"), "{reason}");
        }
        let mirror: Collection<Document> = copy(&scene).collection("things");
        eventually(PATIENCE, "the others are there", async || {
            let count = mirror.count_documents(doc! { "_id": { "$nin": [20, 30, 31] } }).await.unwrap();
            if count == 47 { Ok(()) } else { Err(count) }
        })
        .await;
        assert_eq!(host.stop().await, Some(0));
        assert_eq!(letters.len(), 2, "{letters:?}");
    }
}

#[tokio::test]
async fn an_update_of_a_document_that_is_not_there_is_counted_and_said() {
    let scene = Scene::shared().await;
    let things = scene.collection("things");
    let documents = (0..10).map(|n| doc! { "_id": n, "a": { "b": n }, "big": big() });
    things.insert_many(documents).await.unwrap();
    stopped(&scene, DESCRIBED).await;
    things.update_many(doc! {}, doc! { "$set": { "a.b": 7, "c": 1 } }).await.unwrap();
    things.insert_one(doc! { "_id": 99, "a": { "b": 1 }, "big": big() }).await.unwrap();
    things.update_one(doc! { "_id": 99 }, doc! { "$set": { "a.b": 7 } }).await.unwrap();
    let mut host = started(&scene, DESCRIBED).await;
    host.wait_event("sink_document_missing").await;
    let mirror = copy(&scene).collection::<Document>("things");
    eventually(PATIENCE, "the other update", async || mirror.find_one(doc! { "a.b": 7 }).await.unwrap().is_some())
        .await;
    assert_eq!(mirror.count_documents(doc! {}).await.unwrap(), 1, "no fragment was made a document");
    let missing = host.metric("tidegate_events_missing_total", &[("pipeline", "main"), ("sink", "out")]).await;
    assert_eq!(missing, Some(10.0));
    assert_eq!(host.stderr().matches("sink_document_missing").count(), 1, "{}", host.stderr());
    assert_eq!(host.stop().await, Some(0));
}

#[tokio::test]
async fn what_the_target_refuses_of_an_update_is_dead_lettered_with_the_reason() {
    let scene = Scene::shared().await;
    let target = copy(&scene);
    target.create_collection("things").validator(doc! { "n": { "$lt": 50 } }).await.unwrap();
    let things = scene.collection("things");
    stopped(&scene, DESCRIBED).await;
    things.insert_many((0..4).map(|n| doc! { "_id": n, "n": n, "big": big() })).await.unwrap();
    let mut host = started(&scene, DESCRIBED).await;
    equal(&scene, "things").await;
    // Somebody else's doing, which leaves no room for more.
    let mirror = target.collection::<Document>("things");
    mirror.update_one(doc! { "_id": 2 }, doc! { "$set": { "junk": "x".repeat((16 << 20) - 2000) } }).await.unwrap();
    things.update_one(doc! { "_id": 1 }, doc! { "$set": { "n": 60 } }).await.unwrap();
    things.update_one(doc! { "_id": 2 }, doc! { "$set": { "more": "y".repeat(5000) } }).await.unwrap();
    things.update_one(doc! { "_id": 3 }, doc! { "$set": { "n": 40 } }).await.unwrap();
    let letters = scene.wait_dead_letters(2).await;
    for (letter, code) in letters.iter().zip(["121", "17419"]) {
        assert!(letter["reason"].as_str().unwrap().contains(code), "{letter}");
    }
    eventually(PATIENCE, "the update behind them", async || mirror.find_one(doc! { "n": 40 }).await.unwrap().is_some())
        .await;
    assert_eq!(host.stop().await, Some(0));
}

#[tokio::test]
async fn upsert_gathers_and_deletes_nothing() {
    let scene = Scene::shared().await;
    let way = Way { sink: ", mode: upsert", ..PLAIN };
    let mut host = started(&scene, way).await;
    let things = scene.collection("things");
    things.insert_many((0..10).map(|n| doc! { "_id": n, "n": n })).await.unwrap();
    things.update_one(doc! { "_id": 1 }, doc! { "$set": { "n": 100 } }).await.unwrap();
    things.delete_many(doc! { "_id": { "$gt": 4 } }).await.unwrap();
    things.replace_one(doc! { "_id": 0 }, doc! { "last": true }).await.unwrap();
    let mirror = copy(&scene).collection::<Document>("things");
    eventually(PATIENCE, "the last change", async || mirror.find_one(doc! { "last": true }).await.unwrap().is_some())
        .await;
    assert_eq!(mirror.count_documents(doc! {}).await.unwrap(), 10);
    assert_eq!(mirror.find_one(doc! { "_id": 1 }).await.unwrap().unwrap(), doc! { "_id": 1, "n": 100 });
    let passed = host.metric("tidegate_events_ignored_total", &[("pipeline", "main"), ("sink", "out")]).await;
    assert_eq!(passed, Some(5.0));
    assert_eq!(host.stop().await, Some(0));
}

#[tokio::test]
async fn a_document_under_another_shard_key_is_written_anew() {
    for keeps in [false, true] {
        let scene = Scene::shared().await;
        let (uri, name) = (&scene.mongodb_uri, scene.names.database());
        let line = |n: i32, region: &str, more: &str| {
            format!(
                r#"{{"id":"c-{n}-{region}{more}","op":"insert","ns":"{name}.things","key":{{"region":"{region}","_id":{n}}},"doc":{{"_id":{n},"region":"{region}","more":"{more}"}}}}"#
            )
        };
        // The second is the same document, which moved in between; the last changes its `_id`, which nothing can mirror.
        let other = line(3, "eu", "").replacen(r#""doc":{"_id":3"#, r#""doc":{"_id":4"#, 1);
        let lines = [line(1, "eu", ""), line(2, "eu", ""), line(1, "us", "again"), line(3, "eu", "first"), other];
        std::fs::write(scene.dir.path().join("in.jsonl"), lines.join("\n") + "\n").unwrap();
        let sink = format!(r#"{{ mongodb: {{ uri: "{uri}", database: "{name}-copy" }} }}"#);
        let checkpoint =
            if keeps { format!(r#", checkpoint: {{ sink: {{ name: "{name}" }} }}"#) } else { String::new() };
        let batch = "batch: { max_events: 1 }";
        let pipeline = format!(
            "  main: {{ source: {{ file: {{ path: in.jsonl }} }}, {batch}, sinks: {{ out: {sink} }}{checkpoint} }}"
        );
        let mut host = scene.host(&[pipeline]);
        assert_eq!(host.wait_exit(PATIENCE).await, Some(0), "{}", host.stderr());
        let found: Vec<Document> = crate::scene::all(&copy(&scene).collection("things")).await;
        let document = |n: i32, region: &str, more: &str| doc! { "_id": n, "region": region, "more": more };
        assert_eq!(found, [document(1, "us", "again"), document(2, "eu", ""), document(3, "eu", "first")]);
        let letters = scene.dead_letters();
        assert_eq!(letters.len(), 1, "{letters:?}");
        assert!(letters[0]["reason"].as_str().unwrap().contains("(66 ImmutableField)"), "{letters:?}");
    }
}

#[tokio::test]
async fn two_mirrors_of_the_same_documents_meet_and_go_on() {
    let scene = Scene::shared().await;
    let one = pipeline(&scene, PLAIN);
    let two = one.replacen("main", "other", 1);
    let mut host = scene.ready_host(&[one, two]).await;
    let flood = Flood::start(scene.collection("things"));
    flood.more(3000).await;
    flood.stop().await;
    equal(&scene, "things").await;
    assert_eq!(host.stop().await, Some(0));
    assert_eq!(scene.dead_letters(), Vec::<serde_json::Value>::new());
}

#[tokio::test]
async fn a_write_concern_is_kept_to() {
    let scene = Scene::shared().await;
    let mut host = started(&scene, Way { sink: ", write_concern: { w: 1, j: false, wtimeout: 5s }", ..PLAIN }).await;
    scene.collection("things").insert_many(crate::scene::numbered(0..10)).await.unwrap();
    equal(&scene, "things").await;
    assert_eq!(host.stop().await, Some(0));
    for keeps in [false, true] {
        let scene = Scene::shared().await;
        let mut host = started(&scene, Way { sink: ", write_concern: { w: 2, wtimeout: 1s }", keeps, ..PLAIN }).await;
        scene.collection("things").insert_many(crate::scene::numbered(0..10)).await.unwrap();
        // More members than the replica set has.
        assert_eq!(host.wait_exit(PATIENCE).await, Some(1));
        assert!(host.stderr().contains("UnsatisfiableWriteConcern"), "{}", host.stderr());
    }
}

/// Updates of a few documents, one after the other, of many kinds.
async fn churn(things: &Collection<Document>, round: i32) {
    for n in 0..400 {
        let id = doc! { "_id": n % 20 };
        let stage = |fields: Document| vec![doc! { "$set": fields }];
        match (n + round) % 9 {
            0 => drop(things.delete_one(id).await.unwrap()),
            1 | 2 => {
                let document = doc! { "a": [1, 2, { "b": [1] }], "s": { "n": 0 }, "c": 0, "big": big() };
                drop(things.replace_one(id, document).upsert(true).await.unwrap());
            }
            3 => drop(things.update_one(id, doc! { "$push": { "a": n }, "$inc": { "c": 1 } }).await.unwrap()),
            4 => drop(
                things
                    .update_one(id, doc! { "$set": { "s.n": n, format!("f{n}"): n }, "$unset": { "x": "" } })
                    .await
                    .unwrap(),
            ),
            5 => drop(
                things
                    .update_one(id, stage(doc! { "a": { "$slice": [{ "$ifNull": ["$a", [0]] }, 2] } }))
                    .await
                    .unwrap(),
            ),
            6 => drop(things.update_one(id, stage(doc! { "z": n, "x": n })).await.unwrap()),
            _ => drop(things.update_one(id, doc! { "$inc": { "c": 1, "s.m": 2 } }).await.unwrap()),
        }
    }
}

#[tokio::test]
async fn kills_between_updates_leave_the_mirror_equal_to_the_byte() {
    let scene = Scene::shared().await;
    let way = Way { source: ", full_document: off", sink: "", keeps: true };
    let small = |scene: &Scene| pipeline(scene, way).replacen("sinks:", "batch: { max_events: 40 }, sinks:", 1);
    let mut host = scene.ready_host(&[small(&scene)]).await;
    let things = scene.collection("things");
    for round in 0..6 {
        let writer = tokio::spawn({
            let things = things.clone();
            async move { churn(&things, round).await }
        });
        let before = host.metric("tidegate_events_out_total", &[("pipeline", "main"), ("sink", "out")]).await;
        eventually(PATIENCE, "some of the round", async || {
            let now = host.metric("tidegate_events_out_total", &[("pipeline", "main"), ("sink", "out")]).await;
            if now.unwrap_or(0.0) > before.unwrap_or(0.0) + 50.0 { Ok(()) } else { Err(now) }
        })
        .await;
        host.kill();
        host = scene.ready_host(&[small(&scene)]).await;
        writer.await.unwrap();
    }
    equal(&scene, "things").await;
    let missing = host.metric("tidegate_events_missing_total", &[("pipeline", "main"), ("sink", "out")]).await;
    assert_eq!(missing.unwrap_or(0.0), 0.0);
    assert_eq!(host.stop().await, Some(0));
    assert_eq!(scene.dead_letters(), Vec::<serde_json::Value>::new());
    // Nothing of ours is in anybody's document.
    let client: &Client = scene.database.client();
    let names = client.database(copy(&scene).name()).list_collection_names().await.unwrap();
    assert!(names.iter().all(|name| ["things", "tidegate_positions"].contains(&name.as_str())), "{names:?}");
}

#[tokio::test]
async fn two_mirrors_that_watch_each_other_do_not_go_round() {
    let options = || MongoOptions { cache_mb: 256, ..MongoOptions::default() };
    let (east, west) = (Mongo::start(options()).await, Mongo::start(options()).await);
    let mut scene = Scene::shared().await;
    scene.mongodb_uri = east.uri().to_owned();
    let name = scene.names.database().to_owned();
    let database = async |mongo: &Mongo| Client::with_uri_str(mongo.uri()).await.unwrap().database(&name);
    let (here, there) = (database(&east).await, database(&west).await);
    let one_way = |pipeline: &str, from: &Mongo, to: &Mongo| {
        let source = format!(
            r#"{{ mongodb: {{ uri: "{}", database: "{name}", full_document: off, skip_mirrored: true }} }}"#,
            from.uri()
        );
        let sink = format!(r#"{{ mongodb: {{ uri: "{}", database: "{name}" }} }}"#, to.uri());
        format!(
            "  {pipeline}: {{ source: {source}, sinks: {{ out: {sink} }}, checkpoint: {{ sink: {{ lease: 2s }} }} }}"
        )
    };
    let both = [one_way("westward", &east, &west), one_way("eastward", &west, &east)];
    let mut host = scene.ready_host(&both).await;
    let write = |database: &Database, side: &'static str| {
        let things = database.collection::<Document>("things");
        tokio::spawn(async move {
            for n in 0..500 {
                let id = format!("{side}-{n}");
                things.insert_one(doc! { "_id": &id, "n": n, "big": big() }).await.unwrap();
                things.update_one(doc! { "_id": &id }, doc! { "$inc": { "n": 1000 } }).await.unwrap();
            }
        })
    };
    let same = async |count: usize| {
        eventually(PATIENCE, "both sides are equal", async || {
            let here = bytes(&here.collection("things")).await;
            let there = bytes(&there.collection("things")).await;
            if here == there && here.len() == count { Ok(()) } else { Err((here.len(), there.len())) }
        })
        .await;
    };
    let writers = (write(&here, "east"), write(&there, "west"));
    let things = there.collection::<Document>("things");
    eventually(PATIENCE, "some on the other side", async || {
        things.find_one(doc! { "_id": "east-50" }).await.unwrap().is_some()
    })
    .await;
    host.kill();
    let mut host = scene.ready_host(&both).await;
    writers.0.await.unwrap();
    writers.1.await.unwrap();
    same(1000).await;
    assert_eq!(host.stop().await, Some(0));

    // From a known beginning, so that every change can be counted.
    let mut host = scene.ready_host(&both).await;
    let writers = (write(&here.clone(), "late-east"), write(&there.clone(), "late-west"));
    writers.0.await.unwrap();
    writers.1.await.unwrap();
    same(2000).await;
    // Behind these no change of an earlier round can be under way.
    here.collection("things").insert_one(doc! { "_id": "x" }).await.unwrap();
    there.collection("things").insert_one(doc! { "_id": "y" }).await.unwrap();
    same(2002).await;
    for pipeline in ["westward", "eastward"] {
        let read = host.metric("tidegate_events_in_total", &[("pipeline", pipeline)]).await;
        assert_eq!(read, Some(1001.0), "{pipeline} read what the other had written");
        let missing = host.metric("tidegate_events_missing_total", &[("pipeline", pipeline), ("sink", "out")]).await;
        assert_eq!(missing.unwrap_or(0.0), 0.0);
    }
    assert_eq!(host.stop().await, Some(0));
}
