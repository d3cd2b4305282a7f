//! What exists is copied, then changes follow: `snapshot` of a MongoDB source.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures::TryStreamExt as _;
use mongodb::bson::{Bson, Document, RawDocumentBuf, doc};
use mongodb::{Collection, Database};
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;
use tidegate_tests::servers::shared;
use tidegate_tests::{Host, eventually, field};
use tokio::task::JoinHandle;

use crate::scene::{PATIENCE, Scene, numbered};

fn copy(scene: &Scene) -> Database {
    scene.database.client().database(&format!("{}-copy", scene.names.database()))
}

/// A pipeline `main` that copies and follows into another database of the same server.
fn mirror(scene: &Scene, snapshot: &str, more_source: &str, mode: &str, checkpoint: &str) -> String {
    let (uri, database) = (&scene.mongodb_uri, scene.names.database());
    let source =
        format!(r#"{{ mongodb: {{ uri: "{uri}", database: "{database}", snapshot: {snapshot}{more_source} }} }}"#);
    let sink = format!(r#"{{ mongodb: {{ uri: "{uri}", database: "{}", mode: {mode} }} }}"#, copy(scene).name());
    let checkpoint = match checkpoint {
        "sink" => format!(r#"{{ sink: {{ lease: 2s, name: "{database}" }} }}"#),
        other => other.to_owned(),
    };
    format!("  main: {{ source: {source}, sinks: {{ out: {sink} }}, checkpoint: {checkpoint} }}")
}

/// All documents of a collection by the order of their `_id`, as they are to the byte.
async fn raw(database: &Database, name: &str) -> Vec<RawDocumentBuf> {
    let collection = database.collection::<RawDocumentBuf>(name);
    collection.find(doc! {}).sort(doc! { "_id": 1 }).await.unwrap().try_collect().await.unwrap()
}

async fn wait_equal(scene: &Scene, names: &[&str]) {
    for name in names {
        eventually(PATIENCE, &format!("the mirror of {name} is the source"), async || {
            let (source, mirror) = (raw(&scene.database, name).await, raw(&copy(scene), name).await);
            if source == mirror {
                return Ok(());
            }
            let other = source.iter().zip(&mirror).find(|(a, b)| a != b);
            Err(format!("{} of {} documents, first difference {other:?}", mirror.len(), source.len()))
        })
        .await;
    }
}

/// Writes at full speed until told to stop: inserts, updates, replaces and deletes of documents that are there and of its own.
struct Writers {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<()>>,
}

impl Writers {
    fn start(collections: &[Collection<Document>], there: i32) -> Self {
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let task = |(number, collection): (usize, &Collection<Document>)| {
            let (collection, stop, written) = (collection.clone(), Arc::clone(&stop), Arc::clone(&written));
            tokio::spawn(async move {
                let mut random = rand::rngs::StdRng::seed_from_u64(number as u64);
                let mut next = there;
                while !stop.load(Ordering::Relaxed) {
                    let id = random.random_range(0..next);
                    let value: i32 = random.random();
                    match random.random_range(0..10) {
                        0..3 => {
                            let document = doc! { "_id": next, "n": next, "list": [1, 2, 3], "sub": { "a": value } };
                            collection.insert_one(document).await.unwrap();
                            next += 1;
                        }
                        3..5 => drop(collection.delete_one(doc! { "_id": id }).await.unwrap()),
                        5..6 => {
                            let document = doc! { "n": id, "replaced": value };
                            collection.replace_one(doc! { "_id": id }, document).await.unwrap();
                        }
                        6..7 => {
                            let update = doc! { "$push": { "list": { "$each": [value], "$slice": -4 } } };
                            collection.update_one(doc! { "_id": id }, update).await.unwrap();
                        }
                        7..8 => {
                            let update = doc! { "$unset": { "text": "" }, "$set": { "sub.b": value } };
                            collection.update_one(doc! { "_id": id }, update).await.unwrap();
                        }
                        _ => drop(
                            collection.update_one(doc! { "_id": id }, doc! { "$set": { "v": value } }).await.unwrap(),
                        ),
                    }
                    written.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let tasks = collections.iter().enumerate().map(task).collect();
        Self { stop, written, tasks }
    }

    async fn more(&self, writes: u64) {
        let until = self.written.load(Ordering::Relaxed) + writes;
        eventually(PATIENCE, "more writes", async || self.written.load(Ordering::Relaxed) >= until).await;
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

async fn fill(collection: &Collection<Document>, count: i32) {
    for from in (0..count).step_by(10_000) {
        collection.insert_many(numbered(from..(from + 10_000).min(count))).await.unwrap();
    }
}

async fn copied(host: &mut Host) -> Value {
    host.status().await["pipelines"]["main"]["source"]["copy"].clone()
}

/// Waits until nothing is copied any more. A host that found the copy done tells of none.
async fn wait_copied(host: &mut Host) {
    host.wait_ready().await;
    eventually(PATIENCE, "the end of the copy", async || {
        let copy = copied(host).await;
        if copy.is_null() || copy["done"] == true { Ok(()) } else { Err(copy.to_string()) }
    })
    .await;
}

/// The parity row: what is missing in the target is copied, what is there is left alone, changes follow for all of it, and writers go on
/// all the time; killed on the way.
#[tokio::test]
async fn c1_missing_collections_are_copied_then_changes_follow_without_gap_or_double() {
    const THERE: i32 = 60_000;
    let scene = Scene::shared().await;
    let (first, second) = (scene.collection("first"), scene.collection("second"));
    fill(&first, THERE).await;
    fill(&second, THERE).await;
    scene.collection("known").insert_many(numbered(0..5)).await.unwrap();
    copy(&scene).collection("known").insert_one(doc! { "_id": "kept" }).await.unwrap();
    let config = mirror(&scene, "missing", "", "mirror", "sink");
    let writers = Writers::start(&[first.clone(), second.clone()], THERE);
    let mut host = scene.host(std::slice::from_ref(&config));
    // Twice in the copy, unless it is quicker than we are, and once behind it.
    let mut resumed = false;
    for part in [0.2, 0.6] {
        eventually(PATIENCE, "a part is copied", async || {
            let count = copy(&scene).collection::<Document>("first").estimated_document_count().await.unwrap()
                + copy(&scene).collection::<Document>("second").estimated_document_count().await.unwrap();
            if count as f64 > part * 2.0 * f64::from(THERE) { Ok(()) } else { Err(count) }
        })
        .await;
        host.kill();
        host = scene.host(std::slice::from_ref(&config));
        // It copies by now, or has nothing more to copy.
        host.wait_ready().await;
        resumed |= host.log().iter().any(|line| {
            line["event"] == "copy_started" && line["message"].as_str().unwrap().contains("goes on where it stopped")
        });
    }
    assert!(resumed, "no kill met the copy under way");
    wait_copied(&mut host).await;
    writers.more(500).await;
    host.kill();
    host = scene.host(std::slice::from_ref(&config));
    host.wait_ready().await;
    writers.more(500).await;
    writers.stop().await;
    scene.collection("known").insert_one(doc! { "_id": 5, "new": true }).await.unwrap();
    wait_equal(&scene, &["first", "second"]).await;
    let known = raw(&copy(&scene), "known").await;
    let ids: Vec<Bson> =
        known.iter().map(|document| document.get("_id").unwrap().unwrap().try_into().unwrap()).collect();
    assert_eq!(ids, [Bson::Int32(5), "kept".into()], "what the target had is not copied, what changes is mirrored");
    assert_eq!(host.stop().await, Some(0));
    assert!(scene.dead_letters().is_empty());
}

/// A person sees how much is done.
#[tokio::test]
async fn c5_progress_and_every_change_are_told() {
    let scene = Scene::shared().await;
    fill(&scene.collection("things"), 30_000).await;
    scene.collection("few").insert_many(numbered(0..3)).await.unwrap();
    let config = mirror(&scene, "initial", "", "mirror", "file");
    let mut host = scene.host_with("log: { level: debug, format: json }", &[config], &[]);
    let started = host.wait_event("copy_started").await;
    assert_eq!(field(&started, "documents"), Some(&30_003.into()));
    assert_eq!(field(&started, "collections"), Some(&2.into()));
    host.wait_event("copy_done").await;
    let done: Vec<(String, u64)> = host
        .log()
        .into_iter()
        .filter(|line| line["event"] == "copy_collection_done")
        .map(|line| (line["ns"].as_str().unwrap().to_owned(), line["documents"].as_u64().unwrap()))
        .collect();
    let database = scene.names.database();
    assert_eq!(done.iter().map(|(_, count)| count).sum::<u64>(), 30_003);
    assert!(done.contains(&(format!("{database}.few"), 3)), "{done:?}");
    let copy = copied(&mut host).await;
    assert_eq!(copy["done"], true);
    assert_eq!(copy["collections"][format!("{database}.things")]["documents"], 30_000);
    assert_eq!(host.metric("tidegate_source_copy_documents", &[("pipeline", "main")]).await, Some(30_003.0));
    assert_eq!(host.metric("tidegate_source_copy_expected_documents", &[("pipeline", "main")]).await, Some(30_003.0));
    scene.collection("few").insert_one(doc! { "_id": "now" }).await.unwrap();
    wait_equal(&scene, &["few", "things"]).await;
    eventually(PATIENCE, "the change in the log", async || {
        host.log().iter().any(|line| {
            line["event"] == "change_delivered" && line["operation"] == "insert" && line["document_id"] == "now"
        })
    })
    .await;
    assert_eq!(host.stop().await, Some(0));
}

/// A journal takes every document that was there, and every change since; what it has twice are a `read` and a change.
#[tokio::test]
async fn a_journal_of_a_copy_has_no_document_twice_after_kills() {
    const THERE: i32 = 40_000;
    let scene = Scene::shared().await;
    fill(&scene.collection("things"), THERE).await;
    let config = mirror(&scene, "initial", "", "append", "sink");
    let journal = copy(&scene).collection::<Document>("things");
    let mut host = scene.host(std::slice::from_ref(&config));
    for part in [5_000, 20_000] {
        eventually(PATIENCE, "a part is copied", async || journal.estimated_document_count().await.unwrap() > part)
            .await;
        host.kill();
        host = scene.host(std::slice::from_ref(&config));
    }
    wait_copied(&mut host).await;
    scene.collection("things").insert_many(numbered(THERE..THERE + 10)).await.unwrap();
    eventually(PATIENCE, "all of it", async || {
        let count = journal.count_documents(doc! {}).await.unwrap();
        if count >= THERE as u64 + 10 { Ok(()) } else { Err(count) }
    })
    .await;
    assert_eq!(host.stop().await, Some(0));
    let entries: Vec<Document> = journal.find(doc! {}).await.unwrap().try_collect().await.unwrap();
    let mut numbers: Vec<(String, i32)> = entries
        .iter()
        .map(|entry| {
            (entry.get_str("op").unwrap().to_owned(), entry.get_document("doc").unwrap().get_i32("n").unwrap())
        })
        .collect();
    numbers.sort_by_key(|(_, n)| *n);
    let expected: Vec<(String, i32)> =
        (0..THERE + 10).map(|n| (if n < THERE { "read" } else { "insert" }.to_owned(), n)).collect();
    assert!(numbers == expected, "{} entries", numbers.len());
}

#[tokio::test]
async fn a_copy_alone_ends_and_never_runs_again() {
    let scene = Scene::shared().await;
    fill(&scene.collection("things"), 1000).await;
    let config = mirror(&scene, "only", "", "append", "file");
    let mut host = scene.host(std::slice::from_ref(&config));
    assert_eq!(host.wait_exit(PATIENCE).await, Some(0));
    scene.collection("things").insert_many(numbered(1000..1010)).await.unwrap();
    let mut host = scene.host(&[config]);
    assert_eq!(host.wait_exit(PATIENCE).await, Some(0));
    assert_eq!(copy(&scene).collection::<Document>("things").count_documents(doc! {}).await.unwrap(), 1000);
}

#[tokio::test]
async fn a_copy_for_each_start_brings_the_target_back_in_line() {
    let scene = Scene::shared().await;
    fill(&scene.collection("things"), 1000).await;
    let config = mirror(&scene, "always", "", "mirror", "sink");
    for round in 0..3 {
        let mut host = scene.host(std::slice::from_ref(&config));
        host.wait_event("copy_done").await;
        host.wait_ready().await;
        scene.collection("things").insert_one(doc! { "_id": 5000 + round }).await.unwrap();
        wait_equal(&scene, &["things"]).await;
        assert_eq!(host.stop().await, Some(0));
        copy(&scene).collection::<Document>("things").delete_many(doc! { "n": { "$lt": 500 } }).await.unwrap();
        copy(&scene).collection::<Document>("things").insert_one(doc! { "_id": 7000 + round }).await.unwrap();
        copy(&scene).collection::<Document>("things").delete_one(doc! { "_id": 7000 + round }).await.unwrap();
    }
}

async fn listed(database: &Database, command: Document) -> Vec<Document> {
    let mut found: Vec<Document> = database.run_cursor_command(command).await.unwrap().try_collect().await.unwrap();
    found.retain(|found| {
        !found.get_str("name").is_ok_and(|name| name.starts_with("system.") || name.starts_with("tidegate"))
    });
    found.sort_by_key(|found| found.get_str("name").unwrap().to_owned());
    for found in &mut found {
        if let Ok(info) = found.get_document_mut("info") {
            info.remove("uuid");
        }
    }
    found
}

/// Collections, options, indexes and views of what is copied are those of the source.
#[tokio::test]
async fn c6_options_indexes_and_views_are_copied_with_the_documents() {
    let scene = Scene::shared().await;
    let source = &scene.database;
    for command in [
        doc! { "create": "plain" },
        doc! { "create": "capped", "capped": true, "size": 100_000, "max": 50 },
        doc! { "create": "collated", "collation": { "locale": "de", "strength": 1 } },
        doc! { "create": "valid", "validator": { "n": { "$gte": 0 } }, "validationAction": "error" },
        doc! { "create": "empty" },
        doc! { "create": "view", "viewOn": "plain", "pipeline": [{ "$match": { "n": 1 } }] },
        doc! { "create": "series", "timeseries": { "timeField": "t" } },
    ] {
        source.run_command(command).await.unwrap();
    }
    let indexes = [
        doc! { "key": { "n": 1 }, "name": "unique", "unique": true },
        doc! { "key": { "text": "text" }, "name": "text" },
        doc! { "key": { "n": -1 }, "name": "partial", "partialFilterExpression": { "n": { "$gt": 10 } } },
    ];
    source.run_command(doc! { "createIndexes": "plain", "indexes": indexes.to_vec() }).await.unwrap();
    for name in ["plain", "capped", "valid"] {
        source.collection(name).insert_many(numbered(0..30)).await.unwrap();
    }
    let texts = (0..30).map(|n| doc! { "_id": format!("ä{}", 30 - n), "n": n });
    source.collection("collated").insert_many(texts).await.unwrap();
    let config = mirror(&scene, "missing", ", ddl: deliver", "mirror", "sink");
    let mut host = scene.host(&[config]);
    let unwatched = host.wait_event("copy_unwatched").await;
    assert!(field(&unwatched, "ns").unwrap().as_str().unwrap().ends_with(".series"), "{unwatched}");
    host.wait_event("copy_done").await;
    wait_equal(&scene, &["capped", "collated", "plain", "valid"]).await;
    let capped = async |database: &Database| -> Vec<Document> {
        let capped = database.collection::<Document>("capped");
        capped.find(doc! {}).sort(doc! { "$natural": 1 }).await.unwrap().try_collect().await.unwrap()
    };
    assert_eq!(capped(&copy(&scene)).await, capped(source).await, "in the order of the capped collection");
    eventually(PATIENCE, "the same collections", async || {
        let list = doc! { "listCollections": 1 };
        let (here, there) = (listed(source, list.clone()).await, listed(&copy(&scene), list).await);
        if here == there { Ok(()) } else { Err(format!("{here:?}\n{there:?}")) }
    })
    .await;
    eventually(PATIENCE, "the same indexes", async || {
        let list = doc! { "listIndexes": "plain" };
        let (here, there) = (listed(source, list.clone()).await, listed(&copy(&scene), list).await);
        if here == there { Ok(()) } else { Err(format!("{here:?}\n{there:?}")) }
    })
    .await;
    assert_eq!(host.stop().await, Some(0));
    assert!(scene.dead_letters().is_empty(), "{:?}", scene.dead_letters());
}

#[tokio::test]
async fn what_is_missing_needs_one_place_to_be_missing_in() {
    let scene = Scene::shared().await;
    let source = format!(
        r#"{{ mongodb: {{ uri: "{}", database: "{}", snapshot: missing }} }}"#,
        shared().await.mongodb_uri,
        scene.names.database()
    );
    let sinks = format!("{{ out: {} }}", scene.stream_sink("out", "json"));
    let mut host = scene.host(&[scene.pipeline("main", &source, "[]", &sinks)]);
    assert_eq!(host.wait_exit(PATIENCE).await, Some(2));
    let log = host.stderr();
    assert!(
        log.contains("TG0106") && log.contains("has not exactly one") && log.contains("snapshot: initial"),
        "{log}"
    );
}
