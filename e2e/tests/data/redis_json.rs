//! `mode: json` on a Redis with the JSON module.

use std::collections::BTreeMap;

use futures::TryStreamExt as _;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, doc};
use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;
use serde_json::Value;
use tidegate_tests::servers::{Redis, RedisOptions};
use tidegate_tests::{Host, eventually};

use crate::scene::{Flood, PATIENCE, Scene};
use crate::types::every_type;

async fn server() -> Redis {
    Redis::start(RedisOptions { aof: true, stack: true, ..Default::default() }).await
}

async fn scene(redis: &Redis) -> Scene {
    let mut scene = Scene::shared().await;
    scene.redis_url = redis.url();
    scene
}

fn pipeline(scene: &Scene, more: &str, rest: &str) -> String {
    let sink = format!(r#"{{ redis: {{ url: "{}", mode: json, key: "doc:{{_id}}"{more} }} }}"#, scene.redis_url);
    format!("  main: {{ source: {}, sinks: {{ out: {sink} }}{rest} }}", scene.source())
}

/// What a path leads to in one document, as the module prints it; none where there is no such key.
async fn at(redis: &mut MultiplexedConnection, key: &str, path: &str) -> Option<Value> {
    let found: Option<String> = redis::cmd("JSON.GET").arg(key).arg(path).query_async(redis).await.unwrap();
    found.map(|text| serde_json::from_str(&text).unwrap())
}

async fn all(redis: &mut MultiplexedConnection) -> BTreeMap<String, Value> {
    let keys: Vec<String> = redis.keys("doc:*").await.unwrap();
    let mut found = BTreeMap::new();
    for key in keys {
        if let Some(document) = at(redis, &key, ".").await {
            found.insert(key, document);
        }
    }
    found
}

async fn expected(scene: &Scene) -> BTreeMap<String, Value> {
    let documents: Vec<Document> = scene.collection("things").find(doc! {}).await.unwrap().try_collect().await.unwrap();
    documents
        .into_iter()
        .map(|document| {
            (format!("doc:{}", document.get("_id").unwrap()), Bson::Document(document).into_relaxed_extjson())
        })
        .collect()
}

async fn wait_same(scene: &Scene, redis: &mut MultiplexedConnection) {
    eventually(PATIENCE, "Redis holds what MongoDB has", async || {
        let (found, expected) = (all(redis).await, expected(scene).await);
        if found == expected { Ok(()) } else { Err(format!("{} keys of {}", found.len(), expected.len())) }
    })
    .await;
}

#[tokio::test]
async fn documents_are_json_that_paths_lead_into_and_go_when_they_are_deleted() {
    let server = server().await;
    let (scene, mut redis) = (scene(&server).await, server.connection().await);
    let mut host = scene.ready_host(&[pipeline(&scene, ", format: extjson", "")]).await;
    let things = scene.collection("things");
    things.insert_one(doc! { "_id": 1, "at": { "city": "x" }, "list": [1, { "b": 2 }] }).await.unwrap();
    things.insert_one(every_type(ObjectId::new())).await.unwrap();
    things.insert_one(doc! { "_id": 2, "gone": true }).await.unwrap();
    things.update_one(doc! { "_id": 1 }, doc! { "$set": { "at.city": "y" }, "$unset": { "list": "" } }).await.unwrap();
    things.delete_one(doc! { "_id": 2 }).await.unwrap();
    things.insert_one(doc! { "_id": 3, "last": true }).await.unwrap();
    eventually(PATIENCE, "the last is there", async || at(&mut redis, "doc:3", "$").await.is_some()).await;
    assert_eq!(at(&mut redis, "doc:1", "$.at.city").await, Some(serde_json::json!(["y"])));
    assert_eq!(at(&mut redis, "doc:1", "$.list").await, Some(serde_json::json!([])));
    assert_eq!(at(&mut redis, "doc:2", "$").await, None);
    // Each type as the format says, as the module gives it back.
    let typed = things.find_one(doc! { "_id": { "$type": "objectId" } }).await.unwrap().unwrap();
    let key = format!("doc:{}", typed.get_object_id("_id").unwrap());
    let found: Bson = at(&mut redis, &key, ".").await.unwrap().try_into().unwrap();
    // As text: no NaN equals another.
    assert_eq!(found.to_string(), Bson::Document(typed).to_string());
    assert_eq!(redis.key_type::<_, String>("doc:1").await.unwrap(), "ReJSON-RL");
    assert_eq!(host.stop().await, Some(0));
    assert!(scene.dead_letters().is_empty());
}

#[tokio::test]
async fn what_lives_for_a_while_is_renewed_by_each_change() {
    let server = server().await;
    let (scene, mut redis) = (scene(&server).await, server.connection().await);
    let mut host = scene.ready_host(&[pipeline(&scene, ", ttl: 1h", "")]).await;
    let things = scene.collection("things");
    things.insert_one(doc! { "_id": 1, "n": 0 }).await.unwrap();
    eventually(PATIENCE, "it is there", async || at(&mut redis, "doc:1", "$").await.is_some()).await;
    let left: i64 = redis.ttl("doc:1").await.unwrap();
    assert!((3500..=3600).contains(&left), "{left}");
    let () = redis.expire("doc:1", 1000).await.unwrap();
    things.update_one(doc! { "_id": 1 }, doc! { "$set": { "n": 1 } }).await.unwrap();
    let renewed = async || redis.clone().ttl::<_, i64>("doc:1").await.unwrap() > 3500;
    eventually(PATIENCE, "the change renews it", renewed).await;
    assert_eq!(at(&mut redis, "doc:1", ".n").await, Some(1.into()));
    assert_eq!(host.stop().await, Some(0));
}

#[tokio::test]
async fn kills_of_host_and_server_leave_what_the_source_has() {
    for rest in ["", ", checkpoint: { sink: { lease: 2s } }"] {
        let mut server = server().await;
        let scene = scene(&server).await;
        let main = [pipeline(&scene, "", rest)];
        let mut host: Host = scene.ready_host(&main).await;
        let things = scene.collection("things");
        let flood = Flood::start(things.clone());
        for round in 1..=3 {
            flood.more(400).await;
            let (changed, gone) = (doc! { "n": { "$mod": [7, round] } }, doc! { "n": { "$mod": [10, round] } });
            things.update_many(changed, doc! { "$set": { "in": { "round": round } } }).await.unwrap();
            things.delete_many(gone).await.unwrap();
            host.kill();
            if round == 2 {
                server.kill();
                server.restart().await;
            }
            host = scene.ready_host(&main).await;
        }
        flood.stop().await;
        wait_same(&scene, &mut server.connection().await).await;
        assert_eq!(host.stop().await, Some(0));
        assert!(scene.dead_letters().is_empty());
    }
}

#[tokio::test]
async fn a_key_of_another_type_is_left_alone_and_the_change_kept() {
    for rest in ["", ", checkpoint: { sink: { lease: 2s } }"] {
        let server = server().await;
        let (scene, mut redis) = (scene(&server).await, server.connection().await);
        let mut host = scene.ready_host(&[pipeline(&scene, "", rest)]).await;
        let () = redis.set("doc:1", "of somebody else").await.unwrap();
        scene.collection("things").insert_many([1, 2].map(|id| doc! { "_id": id })).await.unwrap();
        eventually(PATIENCE, "the other is there", async || at(&mut redis, "doc:2", "$").await.is_some()).await;
        let letters = scene.wait_dead_letters(1).await;
        let reason = letters[0]["reason"].as_str().unwrap();
        assert!(reason.contains("WRONGTYPE") && reason.contains("string"), "{reason}");
        assert_eq!(redis.get::<_, String>("doc:1").await.unwrap(), "of somebody else");
        assert_eq!(host.stop().await, Some(0));
    }
}

#[tokio::test]
async fn an_old_letter_takes_no_document_back() {
    let server = server().await;
    let (scene, mut redis) = (scene(&server).await, server.connection().await);
    let mut host = scene.ready_host(&[pipeline(&scene, "", "")]).await;
    let () = redis.set("doc:1", "of somebody else").await.unwrap();
    let things = scene.collection("things");
    things.insert_one(doc! { "_id": 1, "n": 1 }).await.unwrap();
    scene.wait_dead_letters(1).await;
    let () = redis.del("doc:1").await.unwrap();
    things.update_one(doc! { "_id": 1 }, doc! { "$set": { "n": 2 } }).await.unwrap();
    eventually(PATIENCE, "the newer state", async || at(&mut redis, "doc:1", ".n").await == Some(2.into())).await;
    let replay = async |more: &[&str]| {
        let file = scene.dir.path().join("tidegate.yaml");
        let args = [&["dlq", "replay", file.to_str().unwrap(), "main", "--all", "--yes"][..], more].concat();
        let output = tidegate_tests::Cli::run_in(scene.dir.path(), &args, b"").await;
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    let told = replay(&[]).await;
    assert!(told.contains("--overwrite"), "{told}");
    assert_eq!(at(&mut redis, "doc:1", ".n").await, Some(2.into()));
    let told = replay(&["--overwrite"]).await;
    assert_eq!(at(&mut redis, "doc:1", ".n").await, Some(1.into()), "{told}");
    assert_eq!(host.stop().await, Some(0));
}
