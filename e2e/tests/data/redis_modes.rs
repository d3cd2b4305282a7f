//! The modes of the Redis sink between real servers, and the rows of parity that they are for.

use std::collections::BTreeMap;

use futures::TryStreamExt as _;
use mongodb::bson::{Document, doc};
use redis::AsyncCommands as _;
use serde_json::{Value, json};
use tidegate_tests::servers::{Mongo, MongoOptions, Redis, RedisOptions, shared};
use tidegate_tests::{Host, Signal, eventually};

use crate::scene::{Flood, PATIENCE, Scene, numbered, wait_not_ready};

/// A sink of that mode; its keys begin with this test's own prefix. `{` and `}` of templates must be written as they are.
fn sink(scene: &Scene, options: &str) -> String {
    format!(r#"{{ redis: {{ url: "{}", {} }} }}"#, scene.redis_url, options.replace("OWN", &scene.names.key("k")))
}

fn pipeline(scene: &Scene, options: &str, checkpoint: &str) -> String {
    let (source, sink) = (scene.source(), sink(scene, options));
    let checkpoint = checkpoint.replace("OWN", scene.names.database());
    format!("  main: {{ source: {source}, sinks: {{ out: {sink} }}{checkpoint} }}")
}

const IN_SINK: &str = r#", checkpoint: { sink: { lease: 2s, name: "OWN" } }"#;

/// All strings under this test's prefix, as JSON.
async fn strings(scene: &Scene) -> BTreeMap<String, Value> {
    let prefix = scene.names.key("k");
    let mut redis = scene.redis().await;
    let mut found = BTreeMap::new();
    for key in keys(scene).await {
        let text: Option<String> = redis.get(&key).await.unwrap();
        let Some(text) = text else { continue };
        found.insert(key[prefix.len()..].to_owned(), serde_json::from_str(&text).unwrap());
    }
    found
}

async fn keys(scene: &Scene) -> Vec<String> {
    let mut redis = scene.redis().await;
    let pattern = format!("{}*", scene.names.key("k"));
    let keys: Vec<String> = redis.scan_match(&pattern).await.unwrap().try_collect().await.unwrap();
    keys
}

/// What the strings should be: `:COLLECTION:ID` for each document.
async fn expected(scene: &Scene, collections: &[&str]) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for name in collections {
        let documents: Vec<Document> = scene.collection(name).find(doc! {}).await.unwrap().try_collect().await.unwrap();
        for document in documents {
            let id = document.get_i32("_id").unwrap();
            all.insert(format!(":{name}:{id}"), mongodb::bson::Bson::Document(document).into_relaxed_extjson());
        }
    }
    all
}

/// Waits until Redis is what MongoDB is.
async fn wait_same(scene: &Scene, collections: &[&str]) {
    eventually(PATIENCE, "Redis holds what MongoDB has", async || {
        let (found, expected) = (strings(scene).await, expected(scene, collections).await);
        if found == expected { Ok(()) } else { Err(format!("{} keys of {}", found.len(), expected.len())) }
    })
    .await;
}

async fn ignored(host: &mut Host) -> f64 {
    host.metric("tidegate_events_ignored_total", &[]).await.unwrap_or_default()
}

async fn written(host: &mut Host) -> f64 {
    host.metric("tidegate_events_out_total", &[]).await.unwrap_or_default()
}

#[tokio::test]
async fn a1_all_collections_of_a_database_arrive_and_one_that_is_made_later() {
    let scene = Scene::shared().await;
    let options = r#"mode: string, key: "OWN:{collection}:{_id}""#;
    scene.collection("first").insert_one(doc! { "_id": 0, "n": 0 }).await.unwrap();
    let mut host = scene.ready_host(&[pipeline(&scene, options, "")]).await;
    for name in ["first", "second"] {
        scene.collection(name).insert_many((1..50).map(|n| doc! { "_id": n, "n": n })).await.unwrap();
    }
    // Made while the pipeline runs.
    scene.database.create_collection("third").await.unwrap();
    scene.collection("third").insert_many((0..50).map(|n| doc! { "_id": n, "n": n })).await.unwrap();
    scene.collection("second").update_many(doc! { "n": { "$lt": 10 } }, doc! { "$set": { "more": 1 } }).await.unwrap();
    scene.collection("first").delete_one(doc! { "_id": 0 }).await.unwrap();
    scene.collection("third").delete_many(doc! { "n": { "$gte": 25 } }).await.unwrap();
    wait_same(&scene, &["first", "second", "third"]).await;
    assert_eq!(host.stop().await, Some(0));
    assert!(scene.dead_letters().is_empty());
}

#[tokio::test]
async fn a2_inserts_alone_where_nothing_else_is_wanted() {
    let scene = Scene::shared().await;
    let source = format!(
        r#"{{ mongodb: {{ uri: "{}", database: "{}", operations: [insert] }} }}"#,
        scene.mongodb_uri,
        scene.names.database()
    );
    // Names of any field are fine where nothing is ever changed or deleted.
    let sinks = format!(
        "{{ out: {}, log: {} }}",
        sink(&scene, r#"mode: hash, key: "OWN:{sku}""#),
        scene.stream_sink("log", "json")
    );
    let mut host = scene.ready_host(&[scene.pipeline("main", &source, "[]", &sinks)]).await;
    let things = scene.collection("things");
    things.insert_one(doc! { "_id": 1, "sku": "A", "at": { "city": "x" } }).await.unwrap();
    things.update_one(doc! { "_id": 1 }, doc! { "$set": { "sku": "B" } }).await.unwrap();
    things.replace_one(doc! { "_id": 1 }, doc! { "sku": "C" }).await.unwrap();
    things.delete_one(doc! { "_id": 1 }).await.unwrap();
    things.insert_one(doc! { "_id": 2, "sku": "D" }).await.unwrap();
    let log = scene.wait_entries("log", 2).await;
    let last = format!("{}:D", scene.names.key("k"));
    eventually(PATIENCE, "the last is there", async || keys(&scene).await.contains(&last)).await;
    assert_eq!(host.stop().await, Some(0));
    assert_eq!(log.iter().map(|entry| entry.text("op")).collect::<Vec<_>>(), ["insert", "insert"]);
    let mut redis = scene.redis().await;
    let first: BTreeMap<String, String> = redis.hgetall(format!("{}:A", scene.names.key("k"))).await.unwrap();
    let expected = [("_id", "1"), ("at.city", "x"), ("sku", "A")].map(|(name, value)| (name.into(), value.into()));
    assert_eq!(first, expected.into());
    assert_eq!(keys(&scene).await.len(), 2);
}

/// Counts up 50 documents, one step each, until each has reached `to`.
async fn count_up(scene: &Scene, from: i32, to: i32) {
    for n in from..to {
        let change = doc! { "$set": { "n": n + 1 } };
        scene.collection("counters").update_many(doc! {}, change).await.unwrap();
    }
}

async fn reached(scene: &Scene, n: i32) -> bool {
    let found = strings(scene).await;
    found.len() == 50 && found.values().all(|document| document["n"] == json!(n))
}

#[tokio::test]
async fn a3_only_the_newest_value_is_written_now_and_then_and_a_kill_loses_none() {
    let scene = Scene::shared().await;
    for checkpoint in ["", IN_SINK] {
        let hour = r#"mode: string, key: "OWN:{collection}:{_id}", latest: { flush_every: 1h }"#;
        let mut host = scene.ready_host(&[pipeline(&scene, hour, checkpoint)]).await;
        scene.collection("counters").insert_many((0..50).map(|id| doc! { "_id": id, "n": 0 })).await.unwrap();
        count_up(&scene, 0, 40).await;
        eventually(PATIENCE, "all of it is read", async || {
            host.metric("tidegate_events_in_total", &[]).await.unwrap_or_default() >= 2050.0
        })
        .await;
        assert_eq!((written(&mut host).await, strings(&scene).await.len()), (0.0, 0), "it is held");
        host.kill();

        // What was held was never confirmed: it is read again. Stopped in good order, the host writes it before it ends.
        let mut host = scene.ready_host(&[pipeline(&scene, hour, checkpoint)]).await;
        count_up(&scene, 40, 60).await;
        eventually(PATIENCE, "all of it is read again", async || {
            host.metric("tidegate_events_in_total", &[]).await.unwrap_or_default() >= 3050.0
        })
        .await;
        assert_eq!(written(&mut host).await, 0.0);
        assert_eq!(host.stop().await, Some(0));
        assert!(reached(&scene, 60).await, "{:?}", strings(&scene).await);

        // By time: many changes, few writes.
        let second = hour.replace("1h", "1s");
        let mut host = scene.ready_host(&[pipeline(&scene, &second, checkpoint)]).await;
        let began = std::time::Instant::now();
        count_up(&scene, 60, 160).await;
        eventually(PATIENCE, "the newest values", async || reached(&scene, 160).await).await;
        let most = 50.0 * (began.elapsed().as_secs_f64() + 1.0);
        let (out, passed) = (written(&mut host).await, ignored(&mut host).await);
        assert!(
            (50.0..=most).contains(&out) && out + passed >= 5000.0,
            "{out} writes, {passed} overtaken, {most} at most"
        );
        scene.collection("counters").delete_many(doc! {}).await.unwrap();
        eventually(PATIENCE, "deletes arrive too", async || strings(&scene).await.is_empty()).await;
        assert_eq!(host.stop().await, Some(0));
        scene.collection("counters").drop().await.unwrap();
        std::fs::remove_dir_all(scene.dir.path().join(".tidegate")).unwrap();
    }
}

#[tokio::test]
async fn what_is_held_is_bounded_and_keeps_nobody_from_reading_on() {
    let scene = Scene::shared().await;
    // Far more than the pipeline may have in flight: six batches of 64 KiB.
    let options = r#"mode: string, key: "OWN:{collection}:{_id}", latest: { flush_every: 1h, flush_max: 3000 }"#;
    let pipeline = pipeline(&scene, options, "").replacen("{ source", "{ batch: { max_bytes: 64KiB }, source", 1);
    let mut host = scene.ready_host(std::slice::from_ref(&pipeline)).await;
    scene.collection("things").insert_many(numbered(0..2900)).await.unwrap();
    let read = async |host: &mut Host| host.metric("tidegate_events_in_total", &[]).await.unwrap_or_default();
    eventually(PATIENCE, "all are read", async || read(&mut host).await >= 2900.0).await;
    eventually(PATIENCE, "all batches are held, more than the pipeline may have in flight", async || {
        host.status().await["pipelines"]["main"]["in_flight"]["batches"].as_u64() > Some(6)
    })
    .await;
    assert_eq!(written(&mut host).await, 0.0);
    scene.collection("things").insert_many(numbered(2900..3100)).await.unwrap();
    eventually(PATIENCE, "a full hold is written", async || written(&mut host).await >= 3000.0).await;
    host.signal(Signal::TERM);
    assert_eq!(host.wait_exit(PATIENCE).await, Some(0));
    assert_eq!(strings(&scene).await.len(), 3100);
}

#[tokio::test]
async fn what_is_held_is_written_before_an_idle_end() {
    let scene = Scene::shared().await;
    let options = r#"mode: hash, key: "OWN:{_id}", latest: { flush_every: 1h }"#;
    let settings = "log: { level: info, format: json }";
    let mut host = scene.host_with(settings, &[pipeline(&scene, options, "")], &["--exit-when-idle", "500ms"]);
    host.wait_event("source_opened").await;
    scene.collection("things").insert_many(numbered(0..20)).await.unwrap();
    assert_eq!(host.wait_exit(PATIENCE).await, Some(0));
    assert_eq!(keys(&scene).await.len(), 20);
}

#[tokio::test]
async fn a5_redis_and_mongodb_are_lost_and_come_back_and_nothing_is_missing() {
    let mut mongo = Mongo::start(MongoOptions::default()).await;
    let mut redis = Redis::start(RedisOptions { aof: true, ..Default::default() }).await;
    let separator = if mongo.uri().contains('?') { '&' } else { '?' };
    let uri = format!("{}{separator}w=majority&journal=true&serverSelectionTimeoutMS=1000", mongo.uri());
    let scene = Scene::on(&uri, &redis.url()).await;
    let options = r#"mode: string, key: "OWN:{collection}:{_id}", latest: { flush_every: 200ms }"#;
    let mut host = scene.ready_host(&[pipeline(&scene, options, "")]).await;
    let flood = Flood::start(scene.collection("things"));
    for _ in 0..2 {
        flood.more(500).await;
        redis.kill();
        wait_not_ready(&mut host, "sink out", "TG0401").await;
        flood.more(500).await;
        redis.restart().await;
        host.wait_ready().await;
        flood.more(500).await;
        mongo.kill(0);
        wait_not_ready(&mut host, "source", "TG0301").await;
        mongo.restart(0).await;
        host.wait_ready().await;
    }
    flood.more(500).await;
    flood.stop().await;
    wait_same(&scene, &["things"]).await;
    assert_eq!(host.stop().await, Some(0));
    assert!(scene.dead_letters().is_empty());
}

#[tokio::test]
async fn kills_leave_hashes_and_sets_as_the_source_is() {
    let scene = Scene::on(&shared().await.mongodb_uri, &shared().await.redis_url).await;
    let (hash, list) =
        (sink(&scene, r#"mode: hash, key: "OWN:{_id}""#), sink(&scene, r#"mode: list, key: "OWN-list""#));
    let set = sink(&scene, r#"mode: set, key: "OWN-set""#);
    let main = format!(
        "  main: {{ source: {}, sinks: {{ hash: {hash}, list: {list}, set: {set} }}{} }}",
        scene.source(),
        IN_SINK.replace("OWN", scene.names.database())
    );
    let mut host = scene.ready_host(std::slice::from_ref(&main)).await;
    let things = scene.collection("things");
    let flood = Flood::start(things.clone());
    for round in 1..=4 {
        flood.more(700).await;
        let changed = doc! { "$set": { "round": round }, "$unset": { "text": "" } };
        things.update_many(doc! { "n": { "$mod": [7, round] } }, changed).await.unwrap();
        things.delete_many(doc! { "n": { "$mod": [10, round] } }).await.unwrap();
        host.kill();
        host = scene.ready_host(std::slice::from_ref(&main)).await;
    }
    let total = flood.stop().await;
    let mut redis = scene.redis().await;
    let prefix = scene.names.key("k");
    let source: Vec<Document> = things.find(doc! {}).await.unwrap().try_collect().await.unwrap();
    let expected: BTreeMap<String, BTreeMap<String, String>> = source
        .iter()
        .map(|document| {
            let text = |value: &mongodb::bson::Bson| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let fields = document.iter().map(|(name, value)| (name.clone(), text(value)));
            (document.get_i32("_id").unwrap().to_string(), fields.collect())
        })
        .collect();
    eventually(PATIENCE, "the hashes are the documents", async || {
        let mut found = BTreeMap::new();
        for key in keys(&scene).await {
            if let Some(id) = key.strip_prefix(&format!("{prefix}:")) {
                let fields: BTreeMap<String, String> = redis.hgetall(&key).await.unwrap();
                found.insert(id.to_owned(), fields);
            }
        }
        if found == expected { Ok(()) } else { Err(format!("{} of {}", found.len(), expected.len())) }
    })
    .await;
    assert_eq!(host.stop().await, Some(0));
    let members: std::collections::BTreeSet<String> = redis.smembers(format!("{prefix}-set")).await.unwrap();
    assert_eq!(members, expected.into_keys().collect());
    // Each change once, in the order of the source.
    let entries: Vec<String> = redis.lrange(format!("{prefix}-list"), 0, -1).await.unwrap();
    let changes: Vec<Value> = entries.iter().map(|entry| serde_json::from_str(entry).unwrap()).collect();
    let inserts: Vec<i64> =
        changes.iter().filter(|c| c["op"] == "insert").map(|c| c["doc"]["n"].as_i64().unwrap()).collect();
    assert_eq!(inserts, (0..i64::from(total)).collect::<Vec<_>>());
    let ids: std::collections::BTreeSet<&str> = changes.iter().map(|change| change["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), changes.len(), "no change twice");
}

#[tokio::test]
async fn an_old_letter_is_replayed_only_where_redis_has_nothing_newer() {
    let scene = Scene::shared().await;
    let options = r#"mode: hash, key: "OWN:{_id}""#;
    let key = format!("{}:1", scene.names.key("k"));
    let () = scene.redis().await.set(&key, "of somebody else").await.unwrap();
    let mut host = scene.ready_host(&[pipeline(&scene, options, "")]).await;
    let things = scene.collection("things");
    things.insert_many([doc! { "_id": 1, "n": 1 }, doc! { "_id": 2, "n": 1 }]).await.unwrap();
    let letters = scene.wait_dead_letters(1).await;
    assert!(letters[0]["reason"].as_str().unwrap().contains("WRONGTYPE"), "{letters:?}");
    let () = scene.redis().await.del(&key).await.unwrap();
    things.update_one(doc! { "_id": 1 }, doc! { "$set": { "n": 2 } }).await.unwrap();
    let n = async || scene.redis().await.hget::<_, _, Option<String>>(&key, "n").await.unwrap();
    eventually(PATIENCE, "the newer state", async || n().await.as_deref() == Some("2")).await;
    let replay = async |more: &[&str]| {
        let file = scene.dir.path().join("tidegate.yaml");
        let args = [&["dlq", "replay", file.to_str().unwrap(), "main", "--all", "--yes"][..], more].concat();
        let output = tidegate_tests::Cli::run_in(scene.dir.path(), &args, b"").await;
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    let told = replay(&[]).await;
    assert!(told.contains("--overwrite"), "{told}");
    assert_eq!(n().await.as_deref(), Some("2"));
    let told = replay(&["--overwrite"]).await;
    assert_eq!(n().await.as_deref(), Some("1"), "{told}");
    assert_eq!(host.stop().await, Some(0));
}
