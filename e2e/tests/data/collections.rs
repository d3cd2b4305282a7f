//! Collections and databases that are dropped and renamed, and what is watched.

use mongodb::bson::doc;
use tidegate_tests::servers::{Mongo, MongoOptions, shared};
use tidegate_tests::{Host, eventually};

use crate::scene::{PATIENCE, Scene, assert_exactly, numbered, numbers};

/// Waits until so many events of a kind were counted.
async fn wait_ddl(host: &mut Host, kind: &str, count: f64) {
    eventually(PATIENCE, &format!("{count} of {kind}"), async || {
        let found = host.metric("tidegate_source_ddl_total", &[("pipeline", "main"), ("kind", kind)]).await;
        if found == Some(count) { Ok(()) } else { Err(found) }
    })
    .await;
}

/// Drops, renames and drops the database, with inserts in between; then restarts behind it all. `gone` is how the stream tells
/// that the database is dropped, and how often that was told before.
async fn survives(scene: &Scene, pipeline: String, gone: (&str, f64)) {
    let (gone, told) = gone;
    let mut host = scene.ready_host(std::slice::from_ref(&pipeline)).await;
    let (things, others) = (scene.collection("things"), scene.collection("others"));
    things.insert_many(numbered(0..5)).await.unwrap();
    things.drop().await.unwrap();
    things.insert_many(numbered(5..10)).await.unwrap();
    scene.wait_last("out", 9).await;
    wait_ddl(&mut host, "drop", 1.0).await;

    // Away and back, over a collection that is there: the target is dropped by the rename.
    let rename = |from: &str, to: &str| {
        let full = |name: &str| format!("{}.{name}", scene.names.database());
        let admin = scene.database.client().database("admin");
        let command = doc! { "renameCollection": full(from), "to": full(to), "dropTarget": true };
        async move { admin.run_command(command).await.unwrap() }
    };
    rename("things", "others").await;
    others.insert_many(numbered(10..15)).await.unwrap();
    rename("others", "things").await;
    things.insert_many(numbered(15..20)).await.unwrap();
    scene.wait_last("out", 19).await;

    scene.database.drop().await.unwrap();
    things.insert_many(numbered(20..25)).await.unwrap();
    scene.wait_last("out", 24).await;
    wait_ddl(&mut host, gone, told + 1.0).await;
    scene.database.drop().await.unwrap();
    wait_ddl(&mut host, gone, told + 2.0).await;
    things.insert_many(numbered(25..30)).await.unwrap();
    scene.wait_last("out", 29).await;
    assert_eq!(host.get("/readiness").await.0, 200);
    assert!(host.is_running());
    assert_eq!(host.stop().await, Some(0));

    // A stop right behind an `invalidate` must not wedge the stored position either.
    scene.database.drop().await.unwrap();
    things.insert_many(numbered(30..35)).await.unwrap();
    let mut host = scene.ready_host(std::slice::from_ref(&pipeline)).await;
    scene.wait_last("out", 34).await;
    assert_eq!(host.stop().await, Some(0));
}

#[tokio::test]
async fn a_database_stream_goes_on_behind_drops_and_renames() {
    let scene = Scene::shared().await;
    survives(&scene, scene.plain(), ("dropDatabase", 0.0)).await;
    assert_exactly(&scene.entries("out").await, 35);
}

/// The pipeline of a scene that watches these collections alone.
fn watching(scene: &Scene, collections: &str) -> String {
    let source = format!(
        r#"{{ mongodb: {{ uri: "{}", database: "{}", collections: [{collections}] }} }}"#,
        scene.mongodb_uri,
        scene.names.database()
    );
    let sinks = format!("{{ out: {} }}", scene.stream_sink("out", "json"));
    scene.pipeline("main", &source, "[]", &sinks)
}

#[tokio::test]
async fn a_stream_of_collections_goes_on_behind_drops_and_renames() {
    let scene = Scene::shared().await;
    survives(&scene, watching(&scene, "things, more"), ("dropDatabase", 0.0)).await;
    // What was in the collection that is not watched is not sent.
    let expected: Vec<i32> = (0..35).filter(|n| !(10..15).contains(n)).collect();
    assert_eq!(numbers(&scene.entries("out").await), expected);
}

#[tokio::test]
async fn a_stream_of_one_collection_goes_on_behind_drops_and_renames() {
    let scene = Scene::shared().await;
    // The server tells such a stream that its collection is dropped, not that the database is.
    survives(&scene, watching(&scene, "things"), ("drop", 1.0)).await;
    let expected: Vec<i32> = (0..35).filter(|n| !(10..15).contains(n)).collect();
    assert_eq!(numbers(&scene.entries("out").await), expected);
}

#[tokio::test]
async fn a_cluster_stream_sees_every_database_and_its_filter_is_kept() {
    let mongo = Mongo::start(MongoOptions::default()).await;
    let scene = Scene::on(mongo.uri(), &shared().await.redis_url).await;
    let source = format!(
        r#"{{ mongodb: {{ uri: "{}", pipeline: [{{ $match: {{ "ns.coll": {{ $ne: hidden }} }} }}] }} }}"#,
        scene.mongodb_uri
    );
    let sinks = format!("{{ out: {} }}", scene.stream_sink("out", "json"));
    let mut host = scene.ready_host(&[scene.pipeline("main", &source, "[]", &sinks)]).await;
    let client = scene.database.client();
    client.database("one").collection("things").insert_many(numbered(0..3)).await.unwrap();
    client.database("one").collection("hidden").insert_many(numbered(100..103)).await.unwrap();
    client.database("two").collection("things").insert_many(numbered(3..6)).await.unwrap();
    let found = scene.wait_entries("out", 6).await;
    assert_eq!(host.stop().await, Some(0));
    assert_exactly(&found, 6);
    let names: Vec<&str> = found.iter().map(|entry| entry.text("ns")).collect();
    assert_eq!(names, ["one.things", "one.things", "one.things", "two.things", "two.things", "two.things"]);
}

#[tokio::test]
async fn a_collection_made_later_is_watched_too() {
    let scene = Scene::shared().await;
    let mut host = scene.ready_host(&[scene.plain()]).await;
    for (at, name) in (0..).zip(["first", "second", "third"]) {
        scene.collection(name).insert_many(numbered(at * 10..at * 10 + 10)).await.unwrap();
        scene.wait_last("out", at * 10 + 9).await;
    }
    assert_eq!(host.stop().await, Some(0));
    assert_exactly(&scene.entries("out").await, 30);
}

#[tokio::test]
async fn documents_that_exist_already_are_not_sent_and_the_log_says_so() {
    let scene = Scene::shared().await;
    let things = scene.collection("things");
    things.insert_many(numbered(100..200)).await.unwrap();
    let mut host = scene.ready_host(&[scene.plain()]).await;
    let opened = host.wait_event("source_opened").await;
    let message = opened["message"].as_str().unwrap();
    assert!(message.contains("exist already") && message.contains("not sent"), "{message}");
    things.insert_many(numbered(0..5)).await.unwrap();
    scene.wait_last("out", 4).await;
    assert_eq!(host.stop().await, Some(0));
    assert_exactly(&scene.entries("out").await, 5);
    // A restart says that it goes on, and not that it begins.
    let mut host = scene.ready_host(&[scene.plain()]).await;
    let opened = host.wait_event("source_opened").await;
    assert!(!opened["message"].as_str().unwrap().contains("not sent"), "{opened}");
    assert_eq!(host.stop().await, Some(0));
}
