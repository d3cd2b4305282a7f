//! Time-series collections: what they have is copied, once; nobody tells of what comes later.

use std::collections::BTreeMap;

use futures::TryStreamExt as _;
use mongodb::bson::{Bson, DateTime, Document, doc};
use mongodb::{Client, Database};
use tidegate_tests::eventually;
use tidegate_tests::servers::{Mongo, MongoOptions, Version};

use crate::scene::{PATIENCE, Scene, all, numbered};

fn copy(scene: &Scene) -> Database {
    scene.database.client().database(&format!("{}-copy", scene.names.database()))
}

fn mirror(scene: &Scene, snapshot: &str, kept: bool) -> String {
    let (uri, database) = (&scene.mongodb_uri, scene.names.database());
    let source =
        format!(r#"{{ mongodb: {{ uri: "{uri}", database: "{database}", snapshot: {snapshot}, ddl: deliver }} }}"#);
    let sink = format!(r#"{{ mongodb: {{ uri: "{uri}", database: "{}" }} }}"#, copy(scene).name());
    let checkpoint =
        if kept { format!(r#"{{ sink: {{ lease: 2s, name: "{database}" }} }}"#) } else { "file".to_owned() };
    format!("  main: {{ source: {source}, sinks: {{ out: {sink} }}, checkpoint: {checkpoint} }}")
}

/// Measurements of these numbers, five at a time from as many places.
fn measured(range: std::ops::Range<i32>) -> Vec<Document> {
    let at = |n: i32| DateTime::from_millis(1_700_000_000_000 + i64::from(n / 5) * 60_000);
    range.map(|n| doc! { "_id": n, "t": at(n), "m": { "place": n % 5 }, "v": f64::from(n) / 3.0 }).collect()
}

/// All documents, those without an `_id` first.
async fn sorted(database: &Database, name: &str) -> Vec<BTreeMap<String, Bson>> {
    let collection = database.collection::<Document>(name);
    let found = collection.find(doc! {}).sort(doc! { "_id": 1, "t": 1 }).await.unwrap();
    let found: Vec<Document> = found.try_collect().await.unwrap();
    // A server keeps measurements by field: in which order it gives them back is its own.
    found.into_iter().map(|document| document.into_iter().collect()).collect()
}

async fn wait_equal(scene: &Scene, name: &str) {
    eventually(PATIENCE, &format!("the mirror of {name} is the source"), async || {
        let (source, mirror) = (sorted(&scene.database, name).await, sorted(&copy(scene), name).await);
        let other = source.iter().zip(&mirror).find(|(a, b)| a != b);
        if source == mirror { Ok(()) } else { Err(format!("{} of {}: {other:?}", mirror.len(), source.len())) }
    })
    .await;
}

async fn copied_once(version: Version) {
    let mongo = Mongo::start(MongoOptions::of(version)).await;
    for kept in [false, true] {
        let scene = Scene::on(mongo.uri(), "redis://127.0.0.1:1").await;
        let options = doc! { "timeField": "t", "metaField": "m", "granularity": "minutes" };
        let make = doc! { "create": "series", "timeseries": options, "expireAfterSeconds": 900_000_000 };
        scene.database.run_command(make.clone()).await.unwrap();
        if version < Version::V6_0 {
            // Its server tells of no collection that was made.
            copy(&scene).run_command(make).await.unwrap();
        }
        let series = scene.collection("series");
        series.insert_many(measured(0..3500)).await.unwrap();
        scene.collection("things").insert_many(numbered(0..10)).await.unwrap();
        let mut host = scene.host(&[mirror(&scene, "initial", kept)]);
        let told = host.wait_event("copy_unwatched").await;
        assert!(told.to_string().contains(".series"), "{told}");
        eventually(PATIENCE, "some of them", async || {
            copy(&scene).collection::<Document>("series").estimated_document_count().await.unwrap() > 0
        })
        .await;
        host.kill();
        // It is read again from its start, and what the target has is not added again.
        let mut host = scene.host(&[mirror(&scene, "initial", kept)]);
        wait_equal(&scene, "series").await;
        host.wait_event("copy_done").await;
        series.insert_many(measured(3500..3600)).await.unwrap();
        scene.collection("things").insert_many(numbered(10..20)).await.unwrap();
        wait_equal(&scene, "things").await;
        assert_eq!(sorted(&copy(&scene), "series").await.len(), 3500, "nobody tells of those");
        assert_eq!(host.stop().await, Some(0));
        // Another copy brings what came since, and that alone.
        let mut host = scene.host(&[mirror(&scene, "always", kept)]);
        host.wait_event("copy_done").await;
        wait_equal(&scene, "series").await;
        assert_eq!(host.stop().await, Some(0));
        assert_eq!(scene.dead_letters(), Vec::<serde_json::Value>::new());
    }
}

#[tokio::test]
async fn c6_time_series_are_copied_once_and_again_with_the_next_copy() {
    copied_once(Version::V6_0).await;
}

#[tokio::test]
async fn c6_time_series_are_copied_once_and_again_with_the_next_copy_on_5_0() {
    copied_once(Version::V5_0).await;
}

/// One without an `_id`, and two of one `_id` at different times: a time-series collection takes all of them.
#[tokio::test]
async fn a_time_series_may_hold_what_no_other_collection_does() {
    let scene = Scene::shared().await;
    scene.database.run_command(doc! { "create": "series", "timeseries": { "timeField": "t" } }).await.unwrap();
    let at = |n: i64| Bson::from(DateTime::from_millis(1_700_000_000_000 + n));
    let documents = [doc! { "t": at(0), "v": 1 }, doc! { "_id": 1, "t": at(1) }, doc! { "_id": 1, "t": at(2) }];
    scene.database.run_command(doc! { "insert": "series", "documents": documents.to_vec() }).await.unwrap();
    let mut host = scene.host(&[mirror(&scene, "initial", true)]);
    wait_equal(&scene, "series").await;
    host.wait_event("copy_done").await;
    assert_eq!(host.stop().await, Some(0));
    assert_eq!(scene.dead_letters(), Vec::<serde_json::Value>::new());
}

/// A file of changes into a time-series collection that is made while the pipeline runs, and was a plain one before.
#[tokio::test]
async fn what_a_time_series_does_not_take_is_dead_lettered() {
    let scene = Scene::shared().await;
    let name = scene.names.database();
    let line = |n: i32, op: &str, doc: &str| {
        format!(r#"{{"id":"c-{n}-{op}","op":"{op}","ns":"{name}.series","key":{{"_id":{n}}}{doc}}}"#) + "\n"
    };
    let whole = |n: i32| format!(r#","doc":{{"_id":{n},"t":{{"$date":"2026-01-01T00:00:00Z"}}}}"#);
    let lines = [
        line(1, "insert", &whole(1)),
        line(2, "insert", &whole(2)),
        line(1, "replace", &whole(1)),
        line(2, "delete", ""),
        line(3, "insert", r#","doc":{"_id":3}"#),
        line(4, "insert", &whole(4)),
    ];
    std::fs::write(scene.dir.path().join("in.jsonl"), lines.concat()).unwrap();
    let client: &Client = scene.database.client();
    let target = client.database(&format!("{name}-copy"));
    target.run_command(doc! { "create": "series", "timeseries": { "timeField": "t" } }).await.unwrap();
    let sink = format!(r#"{{ mongodb: {{ uri: "{}", database: "{name}-copy" }} }}"#, scene.mongodb_uri);
    let mut host =
        scene.host(&[scene.pipeline("main", "{ file: { path: in.jsonl } }", "[]", &format!("{{ out: {sink} }}"))]);
    assert_eq!(host.wait_exit(PATIENCE).await, Some(0), "{}", host.stderr());
    let ids: Vec<i32> =
        all(&target.collection("series")).await.iter().map(|found| found.get_i32("_id").unwrap()).collect();
    assert_eq!(ids, [1, 2, 4]);
    let letters = scene.dead_letters();
    let refused: Vec<&str> = letters.iter().map(|letter| letter["change"]["id"].as_str().unwrap()).collect();
    assert_eq!(refused, ["c-1-replace", "c-2-delete", "c-3-insert"], "{letters:?}");
    assert!(letters[0]["reason"].as_str().unwrap().contains("time-series collection"), "{}", letters[0]);
}
