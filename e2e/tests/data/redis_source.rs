//! Redis streams as a source, into MongoDB and through a second tidegate. A name begins with the row of parity it proves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

use mongodb::bson::{Bson, Document, doc, oid::ObjectId};
use tidegate_tests::eventually;
use tidegate_tests::servers::{Redis, RedisOptions};
use tokio::task::JoinHandle;

use crate::scene::{PATIENCE, Scene, all};
use crate::types::every_type;

/// Streams of this test, and more settings of the source.
fn source(scene: &Scene, streams: &str, more: &str) -> String {
    let (url, streams) = (&scene.redis_url, scene.names.key(streams));
    format!(r#"{{ redis: {{ url: "{url}", streams: ["{streams}"], discover_every: 100ms, {more} }} }}"#)
}

/// A sink: this test's database, a collection for each stream by the rule of the source.
fn sink(scene: &Scene, mode: &str) -> String {
    format!(
        r#"{{ mongodb: {{ uri: "{}", database: "{}", mode: {mode} }} }}"#,
        scene.mongodb_uri,
        scene.names.database()
    )
}

/// A pipeline `main`, with the position beside the data.
fn once(scene: &Scene, source: &str, mode: &str) -> String {
    let (sink, record) = (sink(scene, mode), scene.names.database());
    format!(
        r#"  main: {{ source: {source}, sinks: {{ out: {sink} }}, checkpoint: {{ sink: {{ lease: 2s, name: "{record}" }} }} }}"#
    )
}

/// A pipeline `main` with its checkpoint in a file.
fn plain(scene: &Scene, source: &str, mode: &str) -> String {
    scene.pipeline("main", source, "[]", &format!("{{ out: {} }}", sink(scene, mode)))
}

async fn add(scene: &Scene, stream: &str, fields: &[(&str, &str)]) -> String {
    let mut add = redis::cmd("XADD");
    add.arg(scene.names.key(stream)).arg("*").arg(fields);
    add.query_async(&mut scene.redis().await).await.unwrap()
}

/// Waits until a collection of this test holds so many documents.
async fn wait_count(scene: &Scene, collection: &str, count: u64) {
    eventually(PATIENCE, &format!("{count} documents in {collection}"), async || {
        let found = scene.collection(collection).count_documents(doc! {}).await.unwrap();
        if found == count { Ok(()) } else { Err(found) }
    })
    .await;
}

/// Adds entries with rising numbers to several streams in turns, until told to stop.
struct Flood {
    stop: Arc<AtomicBool>,
    added: Arc<AtomicI32>,
    task: JoinHandle<BTreeMap<String, Vec<(String, i32)>>>,
}

impl Flood {
    async fn start(scene: &Scene, streams: &[&str]) -> Self {
        let (stop, added) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI32::new(0)));
        let (told, count) = (Arc::clone(&stop), Arc::clone(&added));
        let streams: Vec<(String, String)> =
            streams.iter().map(|stream| ((*stream).to_owned(), scene.names.key(stream))).collect();
        let mut redis = scene.redis().await;
        let task = tokio::spawn(async move {
            let mut all: BTreeMap<String, Vec<(String, i32)>> = BTreeMap::new();
            while !told.load(Ordering::Relaxed) {
                for (name, key) in &streams {
                    let from = count.load(Ordering::Relaxed);
                    let mut entries = redis::pipe();
                    for n in from..from + 50 {
                        entries.cmd("XADD").arg(key).arg("*").arg("n").arg(n).arg("text").arg("x".repeat(100));
                    }
                    let ids: Vec<String> = entries.query_async(&mut redis).await.unwrap();
                    all.entry(name.clone()).or_default().extend(ids.into_iter().zip(from..));
                    count.store(from + 50, Ordering::Relaxed);
                }
            }
            all
        });
        Self { stop, added, task }
    }

    async fn more(&self, count: i32) {
        let until = self.added.load(Ordering::Relaxed) + count;
        eventually(PATIENCE, "more entries", async || self.added.load(Ordering::Relaxed) >= until).await;
    }

    async fn stop(self) -> BTreeMap<String, Vec<(String, i32)>> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

#[tokio::test]
async fn b1_streams_of_a_pattern_land_in_collections_by_rule_and_new_ones_are_found() {
    let scene = Scene::shared().await;
    add(&scene, "app:orders", &[("sku", "A"), ("n", "1")]).await;
    // The names of a test have a prefix of their own: the rule takes the last part.
    let prefix = scene.names.key("app:orders");
    let part = prefix.split(':').count();
    let rule = format!(r#"database: shop, collection: "{{{part}}}_log""#);
    let mut host = scene.ready_host(&[plain(&scene, &source(&scene, "app:*", &rule), "mirror")]).await;
    wait_count(&scene, "orders_log", 1).await;
    // A stream that appears later.
    let id = add(&scene, "app:stock", &[("n", "2"), ("text", "Zoë")]).await;
    add(&scene, "other", &[("n", "3")]).await;
    wait_count(&scene, "stock_log", 1).await;
    assert_eq!(all(&scene.collection("stock_log")).await, [doc! { "_id": id, "n": "2", "text": "Zoë" }]);
    assert_eq!(host.stop().await, Some(0));
    let mut names = scene.database.list_collection_names().await.unwrap();
    names.sort();
    assert_eq!(names, ["orders_log", "stock_log"]);
}

#[tokio::test]
async fn b3_kills_leave_every_entry_once() {
    let scene = Scene::shared().await;
    let (first, second) = (scene.names.key("f:1"), scene.names.key("f:2"));
    let pipelines = [once(&scene, &source(&scene, "f:*", "database: d"), "append")];
    let mut host = scene.ready_host(&pipelines).await;
    let flood = Flood::start(&scene, &["f:1", "f:2"]).await;
    let (first, second) = (scene.collection(&first), scene.collection(&second));
    for round in 1..=4 {
        eventually(PATIENCE, "more in the journal", async || {
            first.count_documents(doc! {}).await.unwrap() >= round * 300
        })
        .await;
        host.kill();
        flood.more(200).await;
        host = scene.ready_host(&pipelines).await;
    }
    let added = flood.stop().await;
    for (name, collection) in [("f:1", first), ("f:2", second)] {
        let expected: Vec<Document> =
            added[name].iter().map(|(id, n)| doc! { "_id": id, "n": n.to_string(), "text": "x".repeat(100) }).collect();
        eventually(PATIENCE, "all entries", async || {
            let found = collection.count_documents(doc! {}).await.unwrap();
            if found >= expected.len() as u64 { Ok(()) } else { Err(found) }
        })
        .await;
        // In the order they were written in: each once, and in the order of the stream.
        let found: Vec<Document> =
            all(&collection).await.into_iter().map(|entry| entry.get_document("doc").unwrap().clone()).collect();
        assert!(found == expected, "{} entries instead of {}", found.len(), expected.len());
    }
    assert_eq!(host.stop().await, Some(0));
}

#[tokio::test]
async fn b3_what_mongodb_has_is_not_stored_twice() {
    let scene = Scene::shared().await;
    let stream = scene.names.key("s");
    for n in 0..300 {
        add(&scene, "s", &[("n", &n.to_string())]).await;
    }
    let pipelines = [plain(&scene, &source(&scene, "s", "database: d"), "mirror")];
    let mut host = scene.ready_host(&pipelines).await;
    wait_count(&scene, &stream, 300).await;
    assert_eq!(host.stop().await, Some(0));
    let before = all(&scene.collection(&stream)).await;
    // From the checkpoint nothing is read again; without it all is, and nothing doubles.
    let mut host = scene.ready_host(&pipelines).await;
    add(&scene, "s", &[("n", "300")]).await;
    wait_count(&scene, &stream, 301).await;
    assert_eq!(host.metric("tidegate_events_in_total", &[]).await, Some(1.0));
    assert_eq!(host.stop().await, Some(0));
    std::fs::remove_dir_all(scene.dir.path().join(".tidegate")).unwrap();
    let mut host = scene.ready_host(&pipelines).await;
    add(&scene, "s", &[("n", "301")]).await;
    wait_count(&scene, &stream, 302).await;
    assert_eq!(host.stop().await, Some(0));
    assert_eq!(all(&scene.collection(&stream)).await[..300], before);
}

#[tokio::test]
async fn b5_at_most_count_entries_of_a_stream_are_read_in_a_round() {
    let mut redis = Redis::start(RedisOptions::default()).await;
    let mut scene = Scene::shared().await;
    scene.redis_url = redis.url();
    for n in 0..40 {
        add(&scene, "s:1", &[("n", &n.to_string())]).await;
        add(&scene, "s:2", &[("n", &n.to_string())]).await;
    }
    let mut host = scene.ready_host(&[plain(&scene, &source(&scene, "s:*", "database: d, count: 7"), "mirror")]).await;
    wait_count(&scene, &scene.names.key("s:1"), 40).await;
    wait_count(&scene, &scene.names.key("s:2"), 40).await;
    // Both streams come in each round, so that a long one does not hold up the others: six rounds of 7 at most, a batch of each.
    assert_eq!(host.metric("tidegate_batches_total", &[]).await, Some(12.0));
    assert_eq!(host.stop().await, Some(0));
    redis.stop().await;
}

#[tokio::test]
async fn two_tidegates_are_chained_without_loss() {
    let scene = Scene::shared().await;
    let (id, target) = (ObjectId::new(), format!("{}-copy", scene.names.database()));
    for format in ["bson", "extjson"] {
        let stream = format!("chain-{format}");
        let things = scene.collection(format);
        let from = format!(
            r#"{{ mongodb: {{ uri: "{}", database: "{}", collections: [{format}] }} }}"#,
            scene.mongodb_uri,
            scene.names.database()
        );
        let there = format!("{{ out: {} }}", scene.stream_sink(&stream, format));
        let back = source(&scene, &stream, &format!("entries: tidegate, format: {format}"));
        let copy = format!(r#"{{ out: {{ mongodb: {{ uri: "{}", database: "{target}" }} }} }}"#, scene.mongodb_uri);
        // Names of their own, so that each pair begins anew.
        let pipelines = [
            scene.pipeline(&format!("there-{format}"), &from, "[]", &there),
            scene.pipeline(&format!("back-{format}"), &back, "[]", &copy),
        ];
        let mut host = scene.ready_host(&pipelines).await;
        things.insert_one(every_type(id)).await.unwrap();
        things.insert_one(doc! { "_id": 1, "n": Bson::Int64(1) }).await.unwrap();
        things.insert_one(doc! { "_id": 2 }).await.unwrap();
        things.update_one(doc! { "_id": 1 }, doc! { "$set": { "changed": 1.5 } }).await.unwrap();
        things.replace_one(doc! { "_id": 1 }, doc! { "replaced": true }).await.unwrap();
        things.delete_one(doc! { "_id": 2 }).await.unwrap();
        let copied = scene.database.client().database(&target).collection::<Document>(format);
        let source: Vec<Vec<u8>> = all(&things).await.iter().map(|document| document.to_vec().unwrap()).collect();
        eventually(PATIENCE, "the copy is the source, byte by byte", async || {
            let copy: Vec<Vec<u8>> = all(&copied).await.iter().map(|document| document.to_vec().unwrap()).collect();
            if copy == source { Ok(()) } else { Err(format!("{} of {}", copy.len(), source.len())) }
        })
        .await;
        assert_eq!(host.stop().await, Some(0));
    }
}

#[tokio::test]
async fn an_entry_that_is_no_change_goes_to_the_dead_letter() {
    let scene = Scene::shared().await;
    let mut host =
        scene.ready_host(&[plain(&scene, &source(&scene, "s", "database: d, json_fields: [j]"), "mirror")]).await;
    let bad = add(&scene, "s", &[("j", "{")]).await;
    add(&scene, "s", &[("j", "[1]")]).await;
    let letters = scene.wait_dead_letters(1).await;
    wait_count(&scene, &scene.names.key("s"), 1).await;
    assert_eq!(host.stop().await, Some(0));
    let (reason, raw) = (letters[0]["reason"].as_str().unwrap(), letters[0]["raw"].as_str().unwrap());
    assert!(
        reason.contains(&format!("the entry {bad} of the stream")) && reason.contains("`j` is no JSON"),
        "{reason}"
    );
    assert!(raw.contains(r#"["j","{"]"#), "{raw}");
}

#[tokio::test]
async fn a_trimmed_gap_stops_the_pipeline_and_is_told_when_it_goes_on() {
    let scene = Scene::shared().await;
    let key = scene.names.key("s");
    let pipeline = |more: &str| [plain(&scene, &source(&scene, "s", &format!("database: d, {more}")), "mirror")];
    add(&scene, "s", &[("n", "0")]).await;
    let mut host = scene.ready_host(&pipeline("")).await;
    wait_count(&scene, &key, 1).await;
    assert_eq!(host.stop().await, Some(0));
    for n in 1..=5 {
        add(&scene, "s", &[("n", &n.to_string())]).await;
    }
    let trim = async |length: u32| {
        let mut trim = redis::cmd("XTRIM");
        let () = trim.arg(&key).arg("MAXLEN").arg(length).query_async(&mut scene.redis().await).await.unwrap();
    };
    trim(2).await;
    let mut host = scene.host(&pipeline(""));
    let stopped = host.wait_event("pipeline_stopped").await;
    assert_eq!(tidegate_tests::field(&stopped, "code").unwrap(), "TG0410");
    host.kill();
    let mut host = scene.ready_host(&pipeline("on_lost_position: oldest")).await;
    wait_count(&scene, &key, 3).await;
    assert_eq!(host.metric("tidegate_source_positions_lost_total", &[]).await, Some(1.0));
    let told = host.wait_event("source_position_lost").await;
    assert!(told.to_string().contains("3 entries of the stream"), "{told}");
    assert_eq!(host.stop().await, Some(0));
}

#[tokio::test]
async fn a_redis_that_is_gone_for_a_while_loses_nothing() {
    let mut redis = Redis::start(RedisOptions { aof: true, ..Default::default() }).await;
    let mut scene = Scene::shared().await;
    scene.redis_url = redis.url();
    let key = scene.names.key("s");
    let mut host = scene.ready_host(&[plain(&scene, &source(&scene, "s", "database: d"), "mirror")]).await;
    for n in 0..50 {
        add(&scene, "s", &[("n", &n.to_string())]).await;
    }
    redis.kill();
    host.wait_event("source_retry").await;
    redis.restart().await;
    for n in 50..100 {
        add(&scene, "s", &[("n", &n.to_string())]).await;
    }
    wait_count(&scene, &key, 100).await;
    assert_eq!(host.stop().await, Some(0));
    redis.stop().await;
}

#[tokio::test]
async fn a_group_loses_nothing_when_hosts_are_killed() {
    let scene = Scene::shared().await;
    let key = scene.names.key("s");
    let group = "database: d, group: { name: g, consumer: one, claim_after: 1s }";
    let pipelines = [plain(&scene, &source(&scene, "s", group), "append")];
    let mut host = scene.ready_host(&pipelines).await;
    let flood = Flood::start(&scene, &["s"]).await;
    let journal = scene.collection(&key);
    for round in 1..=4 {
        eventually(PATIENCE, "more in the journal", async || {
            journal.count_documents(doc! {}).await.unwrap() >= round * 500
        })
        .await;
        host.kill();
        host = scene.ready_host(&pipelines).await;
    }
    let added = flood.stop().await.remove("s").unwrap();
    let pending = async || {
        let (count, _, _, _): (u64, redis::Value, redis::Value, redis::Value) =
            redis::cmd("XPENDING").arg(&key).arg("g").query_async(&mut scene.redis().await).await.unwrap();
        count
    };
    let read = async || {
        let found = journal.distinct("doc.n", doc! {}).await.unwrap().len();
        (found, pending().await)
    };
    eventually(PATIENCE, "all is read and acknowledged", async || {
        let now = read().await;
        if now == (added.len(), 0) { Ok(()) } else { Err(now) }
    })
    .await;
    assert_eq!(host.stop().await, Some(0));
    // What was under way at each of the four kills may be there twice, and no more than that.
    let doubles = journal.count_documents(doc! {}).await.unwrap() - added.len() as u64;
    assert!(doubles <= 4 * 10_000, "{doubles} doubles of {}", added.len());
}

#[tokio::test]
async fn a_drained_group_has_acknowledged_everything() {
    let scene = Scene::shared().await;
    let key = scene.names.key("s");
    for n in 0..500 {
        add(&scene, "s", &[("n", &n.to_string())]).await;
    }
    let group = "database: d, group: { name: g, consumer: one }";
    let pipelines = [plain(&scene, &source(&scene, "s", group), "append")];
    let mut host = scene.host_with("log: { level: info, format: json }", &pipelines, &["--exit-when-idle", "500ms"]);
    assert_eq!(host.wait_exit(Duration::from_secs(60)).await, Some(0));
    assert_eq!(scene.collection(&key).count_documents(doc! {}).await.unwrap(), 500);
    let (count, _, _, _): (u64, redis::Value, redis::Value, redis::Value) =
        redis::cmd("XPENDING").arg(&key).arg("g").query_async(&mut scene.redis().await).await.unwrap();
    assert_eq!(count, 0);
}
