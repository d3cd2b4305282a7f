//! Effectively once: sinks that keep the position beside the data.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use redis::AsyncCommands as _;
use tidegate_tests::servers::{Mongo, MongoOptions, Redis, RedisOptions};
use tidegate_tests::{Host, HostOptions, Signal, eventually};

use crate::scene::{Flood, PATIENCE, Scene, all, assert_exactly, config, numbered};

/// A pipeline `main` into one stream, with the position in Redis.
fn into_redis(scene: &Scene) -> String {
    let (source, sink, record) = (scene.source(), scene.stream_sink("out", "json"), scene.names.database());
    format!(
        r#"  main: {{ source: {source}, sinks: {{ out: {sink} }}, checkpoint: {{ sink: {{ lease: 2s, name: "{record}" }} }} }}"#
    )
}

/// A pipeline `main` into the journal `copy.things`, with the position in MongoDB.
fn into_mongodb(scene: &Scene, mode: &str) -> String {
    let (source, record) = (scene.source(), scene.names.database());
    let (uri, database) = (&scene.mongodb_uri, copy(scene));
    let sink = format!(r#"{{ mongodb: {{ uri: "{uri}", database: "{database}", mode: {mode} }} }}"#);
    format!(
        r#"  main: {{ source: {source}, sinks: {{ out: {sink} }}, checkpoint: {{ sink: {{ lease: 2s, name: "{record}" }} }} }}"#
    )
}

fn copy(scene: &Scene) -> String {
    format!("{}-copy", scene.names.database())
}

async fn journal(scene: &Scene) -> Vec<i32> {
    let client = scene.database.client();
    let entries = client.database(&copy(scene)).collection::<Document>("things");
    all(&entries).await.iter().map(|entry| entry.get_document("doc").unwrap().get_i32("n").unwrap()).collect()
}

#[tokio::test]
async fn kills_leave_no_double_in_redis() {
    let scene = Scene::shared().await;
    let mut host = scene.ready_host(&[into_redis(&scene)]).await;
    let flood = Flood::start(scene.collection("things"));
    for _ in 0..4 {
        let length = scene.wait_length("out", 1).await;
        scene.wait_length("out", length + 700).await;
        host.kill();
        host = scene.ready_host(&[into_redis(&scene)]).await;
    }
    let total = flood.stop().await;
    scene.wait_last("out", total - 1).await;
    assert_eq!(host.stop().await, Some(0));
    assert_exactly(&scene.entries("out").await, total);
}

#[tokio::test]
async fn kills_leave_no_double_in_mongodb() {
    let scene = Scene::shared().await;
    let mut host = scene.ready_host(&[into_mongodb(&scene, "append")]).await;
    let flood = Flood::start(scene.collection("things"));
    for round in 1..=4 {
        eventually(PATIENCE, "more in the journal", async || journal(&scene).await.len() >= round * 500).await;
        host.kill();
        host = scene.ready_host(&[into_mongodb(&scene, "append")]).await;
    }
    let total = flood.stop().await;
    eventually(PATIENCE, "all in the journal", async || {
        let last = journal(&scene).await.last().copied();
        if last == Some(total - 1) { Ok(()) } else { Err(last) }
    })
    .await;
    assert_eq!(host.stop().await, Some(0));
    assert_eq!(journal(&scene).await, (0..total).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_mirror_has_what_the_source_has() {
    let scene = Scene::shared().await;
    let mut host = scene.ready_host(&[into_mongodb(&scene, "mirror")]).await;
    let things = scene.collection("things");
    things.insert_many(numbered(0..500)).await.unwrap();
    things.update_many(doc! { "n": { "$lt": 100 } }, doc! { "$set": { "changed": true } }).await.unwrap();
    things.replace_one(doc! { "_id": 7 }, doc! { "n": 7, "replaced": 1 }).await.unwrap();
    things.delete_many(doc! { "n": { "$gte": 400 } }).await.unwrap();
    things.delete_one(doc! { "_id": 0 }).await.unwrap();
    things.insert_one(doc! { "_id": 0, "again": true }).await.unwrap();
    let all = async |database: &str| -> Vec<Document> {
        self::all(&scene.database.client().database(database).collection::<Document>("things")).await
    };
    let source = all(scene.names.database()).await;
    eventually(PATIENCE, "the mirror is the source", async || {
        let mirror = all(&copy(&scene)).await;
        if mirror == source { Ok(()) } else { Err(format!("{} of {}", mirror.len(), source.len())) }
    })
    .await;
    assert_eq!(host.stop().await, Some(0));
}

#[tokio::test]
async fn a_guilty_change_is_dead_lettered_and_the_rest_of_its_transaction_is_written() {
    let scene = Scene::shared().await;
    let target = scene.database.client().database(&copy(&scene));
    let rule = doc! { "n": { "$lt": 50 } };
    target.create_collection("things").validator(rule).await.unwrap();
    let mut host = scene.ready_host(&[into_mongodb(&scene, "mirror")]).await;
    scene.collection("things").insert_many(numbered(0..52)).await.unwrap();
    scene.collection("things").insert_one(doc! { "_id": 99, "n": 1 }).await.unwrap();
    let letters = scene.wait_dead_letters(2).await;
    assert!(letters.iter().all(|letter| letter["reason"].as_str().unwrap().contains("121")), "{letters:?}");
    let mirror = target.collection::<Document>("things");
    eventually(PATIENCE, "the others are there", async || {
        let count = mirror.count_documents(doc! {}).await.unwrap();
        if count == 51 { Ok(()) } else { Err(count) }
    })
    .await;
    assert_eq!(host.stop().await, Some(0));
}

#[tokio::test]
async fn a_target_of_another_type_goes_to_the_dead_letter_before_the_position_moves() {
    let scene = Scene::shared().await;
    let key = scene.names.key("out");
    let () = scene.redis().await.set(&key, "text").await.unwrap();
    let mut host = scene.ready_host(&[into_redis(&scene)]).await;
    scene.collection("things").insert_many(numbered(0..20)).await.unwrap();
    let letters = scene.wait_dead_letters(20).await;
    assert!(letters[0]["reason"].as_str().unwrap().contains("WRONGTYPE"), "{letters:?}");
    let () = scene.redis().await.del(&key).await.unwrap();
    scene.collection("things").insert_many(numbered(20..40)).await.unwrap();
    scene.wait_last("out", 39).await;
    assert_eq!(host.stop().await, Some(0));
    assert_eq!(scene.entries("out").await.len(), 20);
}

#[tokio::test]
async fn a_lost_tail_is_written_again() {
    let mut redis = Redis::start(RedisOptions { aof: true, ..Default::default() }).await;
    let mut scene = Scene::shared().await;
    scene.redis_url = redis.url();
    let mut host = scene.ready_host(&[into_redis(&scene)]).await;
    scene.collection("things").insert_many(numbered(0..100)).await.unwrap();
    scene.wait_last("out", 99).await;
    scene.collection("things").insert_many(numbered(100..200)).await.unwrap();
    scene.wait_last("out", 199).await;
    redis.kill();
    redis.lose_tail(20_000);
    redis.restart().await;
    // The host notices by itself and reads again what the server has lost.
    scene.wait_last("out", 199).await;
    host.wait_event("pipeline_rewinds").await;
    scene.collection("things").insert_many(numbered(200..210)).await.unwrap();
    scene.wait_last("out", 209).await;
    assert_eq!(host.stop().await, Some(0));
    assert_exactly(&scene.entries("out").await, 210);
}

fn other_host(scene: &Scene, pipeline: String, args: &[&str]) -> (tempfile::TempDir, Host) {
    let dir = tempfile::tempdir().unwrap();
    let options = HostOptions {
        dir: Some(dir.path().to_owned()),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        ..HostOptions::default()
    };
    let _ = scene;
    let host = Host::start_with(&config("log: { level: info, format: json }", &[pipeline]), options);
    (dir, host)
}

#[tokio::test]
async fn a_second_host_says_who_holds_the_pipeline() {
    let scene = Scene::shared().await;
    for pipeline in [into_redis(&scene), into_mongodb(&scene, "append")] {
        let mut first = scene.ready_host(std::slice::from_ref(&pipeline)).await;
        let (_dir, mut second) = other_host(&scene, pipeline, &[]);
        assert_eq!(second.wait_exit(Duration::from_secs(20)).await, Some(1));
        assert!(second.stderr().contains("TG0611") && second.stderr().contains("process "), "{}", second.stderr());
        assert_eq!(first.stop().await, Some(0));
        std::fs::remove_dir_all(scene.dir.path().join(".tidegate")).unwrap();
    }
}

#[tokio::test]
async fn a_standby_takes_over_from_a_frozen_host_which_writes_nothing_more_when_it_wakes() {
    let scene = Scene::shared().await;
    for pipeline in [into_redis(&scene), into_mongodb(&scene, "append")] {
        let redis = pipeline.contains("redis:");
        let mut first = scene.ready_host(std::slice::from_ref(&pipeline)).await;
        let (_dir, mut second) = other_host(&scene, pipeline, &["--standby"]);
        second.wait_event("pipeline_standby").await;
        let flood = Flood::start(scene.collection("things"));
        flood.more(500).await;
        first.signal(Signal::STOP);
        let began = std::time::Instant::now();
        second.wait_ready().await;
        assert!(began.elapsed() < Duration::from_secs(10), "took over after {:?}", began.elapsed());
        flood.more(500).await;
        first.signal(Signal::CONT);
        assert_eq!(first.wait_exit(Duration::from_secs(30)).await, Some(1));
        assert!(first.stderr().contains("TG0612"), "{}", first.stderr());
        flood.more(300).await;
        let total = flood.stop().await;
        if redis {
            scene.wait_last("out", total - 1).await;
            assert_exactly(&scene.entries("out").await, total);
        } else {
            eventually(PATIENCE, "all in the journal", async || {
                journal(&scene).await.len() >= usize::try_from(total).unwrap()
            })
            .await;
            assert_eq!(journal(&scene).await, (0..total).collect::<Vec<_>>());
        }
        assert_eq!(second.stop().await, Some(0));
        scene.database.drop().await.unwrap();
        std::fs::remove_dir_all(scene.dir.path().join(".tidegate")).unwrap();
    }
}

#[tokio::test]
async fn a_host_with_another_checkpoint_place_stops_instead_of_beginning_from_now() {
    let scene = Scene::shared().await;
    let mut host = scene.ready_host(&[into_redis(&scene)]).await;
    scene.collection("things").insert_many(numbered(0..10)).await.unwrap();
    scene.wait_last("out", 9).await;
    assert_eq!(host.stop().await, Some(0));
    let mut other = scene.host(&[scene.plain()]);
    assert_eq!(other.wait_exit(Duration::from_secs(20)).await, Some(1));
    assert!(other.stderr().contains("TG0613"), "{}", other.stderr());
}

#[tokio::test]
async fn a_three_member_set_that_elects_another_primary_gets_each_change_once() {
    let mut mongo = Mongo::start(MongoOptions::three_members()).await;
    let mut scene = Scene::shared().await;
    scene.mongodb_uri = format!("{}&w=majority", mongo.uri());
    scene.database = mongodb::Client::with_uri_str(&scene.mongodb_uri).await.unwrap().database(scene.names.database());
    let mut host = scene.ready_host(&[into_mongodb(&scene, "append")]).await;
    let flood = Flood::start(scene.collection("things"));
    flood.more(500).await;
    mongo.step_down().await;
    flood.more(500).await;
    let primary = mongo.primary().await;
    mongo.kill(primary);
    flood.more(500).await;
    mongo.restart(primary).await;
    let total = flood.stop().await;
    eventually(PATIENCE, "all in the journal", async || {
        let count = journal(&scene).await.len();
        if count >= usize::try_from(total).unwrap() { Ok(()) } else { Err(count) }
    })
    .await;
    assert_eq!(host.stop().await, Some(0));
    assert_eq!(journal(&scene).await, (0..total).collect::<Vec<_>>());
}
