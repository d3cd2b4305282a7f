//! Keys of Redis as a source, into MongoDB. A name begins with the row of parity it proves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use mongodb::bson::{Binary, Bson, DateTime, Document, doc, spec::BinarySubtype};
use redis::aio::MultiplexedConnection;
use tidegate_tests::servers::{Redis, RedisOptions};
use tidegate_tests::{Host, eventually};

use crate::scene::{PATIENCE, Scene, all};

/// Keys of this test, and more settings of `keys`.
fn source(scene: &Scene, more: &str) -> String {
    let (url, keys) = (&scene.redis_url, scene.names.key("*"));
    format!(
        r#"{{ redis: {{ url: "{url}", database: d, collection: keys, keys: {{ patterns: ["{keys}"], {more} }} }} }}"#
    )
}

/// A pipeline `main` into this test's database, with the position beside the data.
fn once(scene: &Scene, more: &str, mode: &str) -> String {
    let (uri, database) = (&scene.mongodb_uri, scene.names.database());
    let sink = format!(r#"{{ mongodb: {{ uri: "{uri}", database: "{database}", mode: {mode} }} }}"#);
    format!(
        r#"  main: {{ source: {}, sinks: {{ out: {sink} }}, checkpoint: {{ sink: {{ lease: 2s, name: "{database}" }} }} }}"#,
        source(scene, more)
    )
}

/// The same with its checkpoint in a file.
fn plain(scene: &Scene, more: &str, mode: &str) -> String {
    let (uri, database) = (&scene.mongodb_uri, scene.names.database());
    let sink = format!(r#"{{ out: {{ mongodb: {{ uri: "{uri}", database: "{database}", mode: {mode} }} }} }}"#);
    scene.pipeline("main", &source(scene, more), "[]", &sink)
}

/// Runs a command whose first argument is a key of this test.
async fn run(scene: &Scene, redis: &mut MultiplexedConnection, command: &str, key: &str, more: &[&str]) {
    let mut run = redis::cmd(command);
    run.arg(scene.names.key(key)).arg(more);
    let () = run.query_async(redis).await.unwrap();
}

/// The documents of this test without the names of its keys' own prefix, by key.
async fn documents(scene: &Scene) -> BTreeMap<String, Document> {
    let prefix = scene.names.key("");
    let found = all(&scene.collection("keys")).await.into_iter().map(|mut document| {
        let id = document.remove("_id").unwrap();
        (id.as_str().unwrap().strip_prefix(&prefix).unwrap().to_owned(), document)
    });
    found.collect()
}

/// Waits until the documents are these.
async fn wait(scene: &Scene, expected: &[(&str, Document)]) {
    let expected: BTreeMap<String, Document> =
        expected.iter().map(|(key, document)| ((*key).to_owned(), document.clone())).collect();
    eventually(PATIENCE, "the documents of the keys", async || {
        let found = documents(scene).await;
        if found == expected { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

fn set(members: &[&str]) -> Document {
    doc! { "type": "set", "value": members }
}

const QUICK: &str = "interval: 50ms, notifications: off";

#[tokio::test]
async fn b2_sets_are_mirrored_with_members_added_and_removed_and_the_set_deleted() {
    let scene = Scene::shared().await;
    let mut redis = scene.redis().await;
    run(&scene, &mut redis, "SADD", "a", &["2", "1"]).await;
    run(&scene, &mut redis, "SADD", "b", &["x"]).await;
    let mut host = scene.ready_host(&[plain(&scene, QUICK, "mirror")]).await;
    wait(&scene, &[("a", set(&["1", "2"])), ("b", set(&["x"]))]).await;
    run(&scene, &mut redis, "SADD", "a", &["3"]).await;
    run(&scene, &mut redis, "SREM", "a", &["1"]).await;
    // One that appears later.
    run(&scene, &mut redis, "SADD", "c", &["y"]).await;
    wait(&scene, &[("a", set(&["2", "3"])), ("b", set(&["x"])), ("c", set(&["y"]))]).await;
    run(&scene, &mut redis, "DEL", "b", &[]).await;
    // The last member takes the set with it.
    run(&scene, &mut redis, "SREM", "c", &["y"]).await;
    wait(&scene, &[("a", set(&["2", "3"]))]).await;
    assert_eq!(host.stop().await, Some(0));
}

#[tokio::test]
async fn b2_changes_carry_what_was_added_and_removed() {
    let scene = Scene::shared().await;
    let mut redis = scene.redis().await;
    run(&scene, &mut redis, "SADD", "s", &["1", "2"]).await;
    run(&scene, &mut redis, "HSET", "h", &["a", "1", "b", "2"]).await;
    let mut host = scene.ready_host(&[plain(&scene, QUICK, "append")]).await;
    let journal = scene.collection("keys");
    let count = async |count: u64| {
        eventually(PATIENCE, "changes", async || {
            let found = journal.count_documents(doc! {}).await.unwrap();
            if found == count { Ok(()) } else { Err(found) }
        })
        .await;
    };
    count(2).await;
    let () = redis::pipe()
        .atomic()
        .cmd("SADD")
        .arg(scene.names.key("s"))
        .arg("3")
        .cmd("SREM")
        .arg(scene.names.key("s"))
        .arg("1")
        .query_async(&mut redis)
        .await
        .unwrap();
    count(3).await;
    let () = redis::pipe()
        .atomic()
        .cmd("HSET")
        .arg(scene.names.key("h"))
        .arg(&["a", "9", "c", "3"])
        .cmd("HDEL")
        .arg(scene.names.key("h"))
        .arg("b")
        .query_async(&mut redis)
        .await
        .unwrap();
    count(4).await;
    run(&scene, &mut redis, "DEL", "s", &[]).await;
    count(5).await;
    let changes = all(&journal).await;
    let seen = |at: usize| (changes[at].get_str("op").unwrap(), changes[at].get_document("update").ok().cloned());
    assert_eq!(seen(0).0, "insert");
    assert_eq!(seen(2), ("update", Some(doc! { "added": ["3"], "changed": [], "removed": ["1"] })));
    let field = |field: &str, value: &str| doc! { "field": field, "value": value };
    let expected = doc! { "added": [field("c", "3")], "changed": [field("a", "9")], "removed": [field("b", "2")] };
    assert_eq!(seen(3), ("update", Some(expected)));
    assert_eq!(seen(4), ("delete", None));
    assert_eq!(host.stop().await, Some(0));
}

#[tokio::test]
async fn b2_members_have_documents_of_their_own_where_that_is_asked_for() {
    let scene = Scene::shared().await;
    let mut redis = scene.redis().await;
    run(&scene, &mut redis, "SADD", "s", &["1", "2"]).await;
    run(&scene, &mut redis, "HSET", "h", &["f", "v"]).await;
    run(&scene, &mut redis, "ZADD", "z", &["1.5", "m"]).await;
    run(&scene, &mut redis, "SET", "t", &["text"]).await;
    let mut host = scene.ready_host(&[once(&scene, &format!("{QUICK}, shape: member"), "mirror")]).await;
    let key = |key: &str| scene.names.key(key);
    let member =
        |of: &str| doc! { "_id": { "key": key("s"), "member": of }, "key": key("s"), "type": "set", "member": of };
    let hash =
        doc! { "_id": { "key": key("h"), "field": "f" }, "key": key("h"), "type": "hash", "field": "f", "value": "v" };
    let zset = doc! { "_id": { "key": key("z"), "member": "m" }, "key": key("z"), "type": "zset", "member": "m", "score": 1.5 };
    let text = |text: &str| doc! { "_id": key("t"), "type": "string", "value": text };
    let expect = async |expected: Vec<Document>| {
        let expected: BTreeSet<String> = expected.iter().map(|document| format!("{document:?}")).collect();
        eventually(PATIENCE, "the documents of the members", async || {
            let found: BTreeSet<String> =
                all(&scene.collection("keys")).await.iter().map(|document| format!("{document:?}")).collect();
            if found == expected { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await;
    };
    expect(vec![member("1"), member("2"), hash, zset.clone(), text("text")]).await;
    run(&scene, &mut redis, "SREM", "s", &["1"]).await;
    run(&scene, &mut redis, "SADD", "s", &["3"]).await;
    run(&scene, &mut redis, "DEL", "h", &[]).await;
    run(&scene, &mut redis, "SET", "t", &["other"]).await;
    expect(vec![member("2"), member("3"), zset, text("other")]).await;
    assert_eq!(host.stop().await, Some(0));
}

#[tokio::test]
async fn b2_all_types_bytes_and_expiry_arrive() {
    let scene = Scene::shared().await;
    let mut redis = scene.redis().await;
    run(&scene, &mut redis, "SET", "text", &["Zoë"]).await;
    run(&scene, &mut redis, "HSET", "hash", &["b.c", "2", "$a", "1"]).await;
    run(&scene, &mut redis, "RPUSH", "list", &["2", "1", "2"]).await;
    run(&scene, &mut redis, "ZADD", "zset", &["2", "b", "-inf", "a", "0.1", "c"]).await;
    run(&scene, &mut redis, "SADD", "set", &["m"]).await;
    let () =
        redis::cmd("SADD").arg(scene.names.key("bytes")).arg(&b"\xff\0"[..]).query_async(&mut redis).await.unwrap();
    let () = redis::cmd("HSET")
        .arg(scene.names.key("fields"))
        .arg(&b"\xfe"[..])
        .arg("v")
        .query_async(&mut redis)
        .await
        .unwrap();
    run(&scene, &mut redis, "SET", "session", &["s"]).await;
    run(&scene, &mut redis, "PEXPIREAT", "session", &["4102444800123"]).await;
    // Neither is mirrored.
    run(&scene, &mut redis, "XADD", "stream", &["*", "a", "b"]).await;
    run(&scene, &mut redis, "SET", "tmp:1", &["x"]).await;
    let more = format!(r#"{QUICK}, exclude: ["{}"]"#, scene.names.key("tmp:*"));
    let mut host = scene.ready_host(&[plain(&scene, &more, "mirror")]).await;
    let bytes = |bytes: &[u8]| Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() };
    let score = |member: &str, score: f64| doc! { "member": member, "score": score };
    wait(
        &scene,
        &[
            ("text", doc! { "type": "string", "value": "Zoë" }),
            ("hash", doc! { "type": "hash", "value": { "$a": "1", "b.c": "2" } }),
            ("list", doc! { "type": "list", "value": ["2", "1", "2"] }),
            (
                "zset",
                doc! { "type": "zset", "value": [score("a", f64::NEG_INFINITY), score("c", 0.1), score("b", 2.0)] },
            ),
            ("set", set(&["m"])),
            ("bytes", doc! { "type": "set", "value": [bytes(b"\xff\0")] }),
            ("fields", doc! { "type": "hash", "value": [{ "field": bytes(b"\xfe"), "value": "v" }] }),
            (
                "session",
                doc! { "type": "string", "value": "s", "expires_at": DateTime::from_millis(4_102_444_800_123) },
            ),
        ],
    )
    .await;
    // A key may become another type.
    run(&scene, &mut redis, "DEL", "text", &[]).await;
    run(&scene, &mut redis, "SADD", "text", &["now"]).await;
    eventually(PATIENCE, "the other type", async || documents(&scene).await.get("text") == Some(&set(&["now"]))).await;
    assert_eq!(host.stop().await, Some(0));
}

/// A Redis of its own that tells of keys, and a host that scans once a day.
async fn told(more: &str) -> (Redis, Scene, MultiplexedConnection, Host) {
    let args = ["--notify-keyspace-events", "KA"].map(String::from).to_vec();
    let redis = Redis::start(RedisOptions { args, ..RedisOptions::default() }).await;
    let mut scene = Scene::shared().await;
    scene.redis_url = redis.url();
    let mut connection = scene.redis().await;
    run(&scene, &mut connection, "SADD", "first", &["1"]).await;
    let mut host = scene.ready_host(&[plain(&scene, &format!("interval: 24h, {more}"), "mirror")]).await;
    // From here on only what the server tells can bring anything.
    host.wait_event("source_keys_scanned").await;
    wait(&scene, &[("first", set(&["1"]))]).await;
    (redis, scene, connection, host)
}

#[tokio::test]
async fn b2_notifications_bring_changes_renames_and_expiry_at_once() {
    let (mut server, scene, mut redis, mut host) = told("").await;
    run(&scene, &mut redis, "SADD", "s", &["1"]).await;
    run(&scene, &mut redis, "RENAME", "first", &[&scene.names.key("second")]).await;
    run(&scene, &mut redis, "PSETEX", "short", &["300", "x"]).await;
    wait(&scene, &[("second", set(&["1"])), ("s", set(&["1"]))]).await;
    run(&scene, &mut redis, "SREM", "s", &["1"]).await;
    wait(&scene, &[("second", set(&["1"]))]).await;
    // The server goes and comes back without its data: what was not told is found.
    server.kill();
    server.restart().await;
    wait(&scene, &[]).await;
    let mut redis = scene.redis().await;
    run(&scene, &mut redis, "SADD", "s", &["2"]).await;
    wait(&scene, &[("s", set(&["2"]))]).await;
    assert_eq!(host.stop().await, Some(0));
    server.stop().await;
}

#[tokio::test]
async fn b5_scans_come_every_interval_until_notifications_are_turned_on() {
    let mut server = Redis::start(RedisOptions::default()).await;
    let mut scene = Scene::shared().await;
    scene.redis_url = server.url();
    let mut redis = scene.redis().await;
    let mut host = scene.ready_host(&[plain(&scene, "interval: 100ms", "mirror")]).await;
    let line = host.wait_event("source_notifications").await.to_string();
    assert!(line.contains("TG0416") && line.contains("CONFIG SET notify-keyspace-events KA"), "{line}");
    run(&scene, &mut redis, "SADD", "early", &["1"]).await;
    wait(&scene, &[("early", set(&["1"]))]).await;
    run(&scene, &mut redis, "DEL", "early", &[]).await;
    wait(&scene, &[]).await;
    let () =
        redis::cmd("CONFIG").arg("SET").arg("notify-keyspace-events").arg("KA").query_async(&mut redis).await.unwrap();
    host.wait_log(PATIENCE, "notifications on", |line| line.to_string().contains("Redis tells of changes of keys"))
        .await;
    run(&scene, &mut redis, "SADD", "s", &["1"]).await;
    wait(&scene, &[("s", set(&["1"]))]).await;
    assert_eq!(host.stop().await, Some(0));
    server.stop().await;
}

/// Applies a journal: the documents that are left, by key, after a look at the order.
fn applied(journal: &[Document]) -> BTreeMap<String, Document> {
    let mut documents = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for change in journal {
        assert!(ids.insert(change.get_str("id").unwrap().to_owned()), "twice: {change:?}");
        let key = change.get_document("key").unwrap().get_str("_id").unwrap().to_owned();
        let op = change.get_str("op").unwrap();
        let was: Option<Document> = match change.get_document("doc") {
            Ok(document) => documents.insert(key, document.clone()),
            Err(_) => documents.remove(&key),
        };
        assert_eq!(was.is_some(), op != "insert", "{change:?}");
        assert_ne!(was.as_ref(), change.get_document("doc").ok(), "nothing changed: {change:?}");
    }
    documents
}

#[tokio::test]
async fn b3_what_changed_while_it_was_down_is_found_and_nothing_is_stored_twice() {
    let scene = Scene::shared().await;
    let mut redis = scene.redis().await;
    for n in 0..300 {
        run(&scene, &mut redis, "SADD", &format!("k{n}"), &["1"]).await;
    }
    let pipelines = [once(&scene, QUICK, "append")];
    let mut host = scene.ready_host(&pipelines).await;
    let journal = scene.collection("keys");
    let count = async |count: u64| {
        eventually(PATIENCE, "changes", async || {
            let found = journal.count_documents(doc! {}).await.unwrap();
            if found >= count { Ok(()) } else { Err(found) }
        })
        .await;
    };
    count(300).await;
    assert_eq!(host.stop().await, Some(0));
    run(&scene, &mut redis, "DEL", "k1", &[]).await;
    run(&scene, &mut redis, "SADD", "k2", &["2"]).await;
    run(&scene, &mut redis, "SADD", "new", &["1"]).await;
    let mut host = scene.ready_host(&pipelines).await;
    count(303).await;
    // A scan that begins after all of that brings nothing more.
    run(&scene, &mut redis, "SADD", "last", &["1"]).await;
    count(304).await;
    assert_eq!(host.stop().await, Some(0));
    let changes = all(&journal).await;
    assert_eq!(changes.len(), 304);
    let left = applied(&changes);
    assert_eq!(left.len(), 301);
    assert!(!left.contains_key(&scene.names.key("k1")));
    assert_eq!(left[&scene.names.key("k2")].get_array("value").unwrap().len(), 2);
}

#[tokio::test]
async fn b3_kills_leave_every_change_once_and_in_order() {
    let scene = Scene::shared().await;
    let pipelines = [once(&scene, QUICK, "append")];
    let mut host = scene.ready_host(&pipelines).await;
    let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let (told, counted) = (Arc::clone(&stop), Arc::clone(&rounds));
    let (mut redis, prefix) = (scene.redis().await, scene.names.key(""));
    let writes = tokio::spawn(async move {
        let mut round = 0_u32;
        while !told.load(Ordering::Relaxed) {
            round += 1;
            let mut writes = redis::pipe();
            for n in 0..40_u32 {
                let key = format!("{prefix}{}", (round * 7 + n) % 200);
                match (round + n) % 5 {
                    0 => writes.cmd("DEL").arg(key),
                    1 => writes.cmd("SREM").arg(key).arg(round % 3),
                    _ => writes.cmd("SADD").arg(key).arg(round % 3).arg(round),
                };
            }
            let () = writes.query_async(&mut redis).await.unwrap();
            counted.store(round, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let journal = scene.collection("keys");
    for kill in 1..=4 {
        eventually(PATIENCE, "more in the journal", async || {
            journal.count_documents(doc! {}).await.unwrap() >= kill * 300
        })
        .await;
        host.kill();
        let more = rounds.load(Ordering::Relaxed) + 10;
        eventually(PATIENCE, "more writes", async || rounds.load(Ordering::Relaxed) >= more).await;
        host = scene.ready_host(&pipelines).await;
    }
    stop.store(true, Ordering::Relaxed);
    writes.await.unwrap();
    let mut redis = scene.redis().await;
    let keys: Vec<String> = redis::cmd("KEYS").arg(scene.names.key("*")).query_async(&mut redis).await.unwrap();
    let mut expected = BTreeMap::new();
    for key in keys {
        let mut members: Vec<String> = redis::cmd("SMEMBERS").arg(&key).query_async(&mut redis).await.unwrap();
        members.sort();
        expected.insert(key, members);
    }
    eventually(PATIENCE, "the last state", async || {
        let left = applied(&all(&journal).await);
        let left: BTreeMap<String, Vec<String>> = left
            .into_iter()
            .map(|(key, document)| {
                let members = document.get_array("value").unwrap().iter();
                (key, members.map(|member| member.as_str().unwrap().to_owned()).collect())
            })
            .collect();
        left == expected
    })
    .await;
    assert_eq!(host.stop().await, Some(0));
}

#[tokio::test]
async fn b3_a_host_that_lost_what_it_knew_delivers_all_again_and_nothing_doubles() {
    let scene = Scene::shared().await;
    let mut redis = scene.redis().await;
    run(&scene, &mut redis, "SADD", "a", &["1"]).await;
    run(&scene, &mut redis, "SADD", "b", &["1"]).await;
    let pipelines = [once(&scene, QUICK, "mirror")];
    let mut host = scene.ready_host(&pipelines).await;
    wait(&scene, &[("a", set(&["1"])), ("b", set(&["1"]))]).await;
    assert_eq!(host.stop().await, Some(0));
    std::fs::remove_dir_all(scene.dir.path().join(".tidegate")).unwrap();
    run(&scene, &mut redis, "SADD", "b", &["2"]).await;
    let mut host = scene.ready_host(&pipelines).await;
    let line = host.wait_event("source_keys_unsure").await.to_string();
    assert!(line.contains("TG0413"), "{line}");
    // What vanished before its first scan, it cannot know of.
    host.wait_event("source_keys_scanned").await;
    wait(&scene, &[("a", set(&["1"])), ("b", set(&["1", "2"]))]).await;
    run(&scene, &mut redis, "DEL", "a", &[]).await;
    wait(&scene, &[("b", set(&["1", "2"]))]).await;
    assert_eq!(host.stop().await, Some(0));
}

#[tokio::test]
async fn b4_keys_that_vanished_are_removed_marked_or_kept_also_while_nobody_looked() {
    for (on_vanished, name) in [("remove", "r"), ("mark", "m"), ("keep", "k")] {
        let scene = Scene::shared().await;
        let mut redis = scene.redis().await;
        run(&scene, &mut redis, "SADD", "gone", &["1"]).await;
        run(&scene, &mut redis, "HSET", "stays", &["a", "1"]).await;
        let pipelines = [once(&scene, &format!("{QUICK}, on_vanished: {on_vanished}"), "mirror")];
        let stays = doc! { "type": "hash", "value": { "a": "1" } };
        let mut host = scene.ready_host(&pipelines).await;
        wait(&scene, &[("gone", set(&["1"])), ("stays", stays.clone())]).await;
        assert_eq!(host.stop().await, Some(0));
        run(&scene, &mut redis, "DEL", "gone", &[]).await;
        run(&scene, &mut redis, "SADD", name, &["1"]).await;
        let mut host = scene.ready_host(&pipelines).await;
        eventually(PATIENCE, "the scan after it", async || documents(&scene).await.contains_key(name)).await;
        match on_vanished {
            "remove" => wait(&scene, &[(name, set(&["1"])), ("stays", stays)]).await,
            "keep" => {
                run(&scene, &mut redis, "SADD", "another", &["1"]).await;
                let (one, kept) = (set(&["1"]), ("gone", set(&["1"])));
                wait(&scene, &[("another", one.clone()), kept, (name, one), ("stays", stays)]).await;
            }
            _ => {
                let marked = async || {
                    let found = documents(&scene).await.remove("gone");
                    found.filter(|found| matches!(found.get("vanished_at"), Some(Bson::DateTime(_))))
                };
                let found = eventually(PATIENCE, "the mark", marked).await;
                assert_eq!(found.get_array("value").unwrap().len(), 1);
                // Once, not at each scan; and it is whole again when the key is.
                run(&scene, &mut redis, "SADD", "another", &["1"]).await;
                eventually(PATIENCE, "a later scan", async || documents(&scene).await.contains_key("another")).await;
                assert_eq!(documents(&scene).await["gone"], found);
                run(&scene, &mut redis, "SADD", "gone", &["1"]).await;
                eventually(PATIENCE, "no mark", async || documents(&scene).await["gone"] == set(&["1"])).await;
            }
        }
        assert_eq!(host.stop().await, Some(0));
    }
}

#[tokio::test]
async fn b2_many_keys_are_mirrored_and_a_key_that_is_too_big_is_told_once() {
    let scene = Scene::shared().await;
    let mut redis = scene.redis().await;
    for part in 0..30 {
        let mut writes = redis::pipe();
        for n in 0..1000 {
            writes.cmd("SADD").arg(scene.names.key(&format!("n{}", part * 1000 + n))).arg(n).arg("x");
        }
        let () = writes.query_async(&mut redis).await.unwrap();
    }
    run(&scene, &mut redis, "SET", "big", &[&"x".repeat(5000)]).await;
    let more = format!("{QUICK}, max_bytes: 4KiB");
    let mut host = scene.ready_host(&[plain(&scene, &more, "mirror")]).await;
    let keys = scene.collection("keys");
    eventually(PATIENCE, "all keys", async || {
        let found = keys.count_documents(doc! {}).await.unwrap();
        if found == 30_000 { Ok(()) } else { Err(found) }
    })
    .await;
    let letters = scene.wait_dead_letters(1).await;
    assert!(letters[0].to_string().contains("max_bytes"), "{letters:?}");
    run(&scene, &mut redis, "SADD", "last", &["1"]).await;
    eventually(PATIENCE, "a new key", async || keys.count_documents(doc! {}).await.unwrap() == 30_001).await;
    // That a key is gone is known at the end of a scan, which has met the big one again.
    run(&scene, &mut redis, "DEL", "last", &[]).await;
    eventually(PATIENCE, "a later scan", async || keys.count_documents(doc! {}).await.unwrap() == 30_000).await;
    assert_eq!(host.metric("tidegate_events_in_total", &[]).await, Some(30_003.0));
    assert_eq!(scene.dead_letters().len(), 1);
    assert_eq!(host.stop().await, Some(0));
}

#[tokio::test]
async fn b2_a_server_that_tells_only_how_long_a_key_lives_brings_no_change_with_each_scan() {
    let mut server = Redis::start(RedisOptions::default()).await;
    let mut scene = Scene::shared().await;
    scene.redis_url = server.url();
    let mut redis = scene.redis().await;
    run(&scene, &mut redis, "SET", "a", &["x", "PXAT", "4102444800500"]).await;
    // As servers before 7.0.
    let rights = ["SETUSER", "reader", "on", ">pw", "~*", "&*", "+@all", "-pexpiretime"];
    let () = redis::cmd("ACL").arg(&rights).query_async(&mut redis).await.unwrap();
    scene.redis_url = server.url().replace("redis://", "redis://reader:pw@");
    let mut host = scene.ready_host(&[plain(&scene, QUICK, "mirror")]).await;
    let expires = async || documents(&scene).await.get("a")?.get_datetime("expires_at").ok().copied();
    let at = eventually(PATIENCE, "the key", expires).await.timestamp_millis();
    assert!(at.abs_diff(4_102_444_800_500) < 60_000, "{at}");
    // So many that the clock goes on between the server's time and the time that a key has left.
    let mut many = redis::pipe();
    for n in 0..3000 {
        many.cmd("SET").arg(scene.names.key(&format!("m{n}"))).arg("x").arg("PXAT").arg("4102444800500").ignore();
    }
    let () = many.query_async(&mut redis).await.unwrap();
    let keys = scene.collection("keys");
    eventually(PATIENCE, "all keys", async || keys.count_documents(doc! {}).await.unwrap() == 3001).await;
    // Scans later.
    for n in 0..5 {
        run(&scene, &mut redis, "SADD", &format!("s{n}"), &["1"]).await;
        eventually(PATIENCE, "another key", async || documents(&scene).await.contains_key(&format!("s{n}"))).await;
    }
    assert_eq!(host.metric("tidegate_events_in_total", &[]).await, Some(3006.0));
    run(&scene, &mut redis, "PERSIST", "a", &[]).await;
    eventually(PATIENCE, "no end", async || expires().await.is_none()).await;
    assert_eq!(host.stop().await, Some(0));
    server.stop().await;
}

#[tokio::test]
async fn a_dry_run_of_keys_stores_nothing() {
    let scene = Scene::shared().await;
    let mut redis = scene.redis().await;
    run(&scene, &mut redis, "SADD", "a", &["1"]).await;
    let mut host = scene.host_with(
        "log: { level: info, format: json }",
        &[plain(&scene, QUICK, "mirror")],
        &["--dry-run", "--exit-when-idle", "200ms"],
    );
    assert_eq!(host.wait_exit(PATIENCE).await, Some(0), "{}", host.stderr());
    assert!(host.stdout().contains("\"set\""), "{}", host.stdout());
    let files = std::fs::read_dir(scene.dir.path().join(".tidegate")).into_iter().flatten();
    let names: Vec<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.iter().all(|name| !name.contains(".keys.")), "{names:?}");
}

#[tokio::test]
async fn a_right_that_is_missing_is_named() {
    let mut server = Redis::start(RedisOptions::default()).await;
    let mut scene = Scene::shared().await;
    scene.redis_url = server.url();
    let mut redis = scene.redis().await;
    run(&scene, &mut redis, "SADD", "a", &["1"]).await;
    let rights = ["SETUSER", "reader", "on", ">pw", "~*", "+scan", "+type", "+memory|usage", "+time", "+pttl"];
    let () = redis::cmd("ACL").arg(&rights).query_async(&mut redis).await.unwrap();
    scene.redis_url = server.url().replace("redis://", "redis://reader:pw@");
    let mut host = scene.host(&[plain(&scene, "interval: 50ms", "mirror")]);
    assert_eq!(host.wait_exit(PATIENCE).await, Some(1));
    let told = host.stderr() + &host.stdout();
    assert!(told.contains("TG0402") && told.contains("+smembers"), "{told}");
    server.stop().await;
}
