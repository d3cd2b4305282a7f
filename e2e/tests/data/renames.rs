//! Collections that get their name by a rename, between two servers: nothing of them is missing in a mirror.

use futures::TryStreamExt as _;
use mongodb::Client;
use mongodb::bson::{Document, RawDocumentBuf, doc};
use tempfile::TempDir;
use tidegate_tests::servers::{Mongo, MongoOptions};
use tidegate_tests::{Cli, Host, HostOptions, eventually};

use crate::scene::{PATIENCE, config};

/// Two servers, and a folder that outlives the host.
struct Pair {
    source: Mongo,
    target: Mongo,
    dir: TempDir,
}

impl Pair {
    async fn start() -> Self {
        let (source, target) =
            tokio::join!(Mongo::start(MongoOptions::default()), Mongo::start(MongoOptions::default()));
        Self { source, target, dir: tempfile::tempdir().unwrap() }
    }

    fn host(&self, source: &str, sink: &str) -> Host {
        let pipeline = format!(
            r#"  main: {{ source: {{ mongodb: {{ uri: "{}", database: shop, snapshot: initial{source} }} }},
                  sinks: {{ out: {{ mongodb: {{ uri: "{}"{sink} }} }} }}, checkpoint: {{ sink: {{ lease: 2s }} }} }}"#,
            self.source.uri(),
            self.target.uri()
        );
        let options = HostOptions { dir: Some(self.dir.path().to_owned()), ..HostOptions::default() };
        Host::start_with(&config("log: { level: info, format: json }", &[pipeline]), options)
    }

    async fn assert_verified(&self) {
        let verified = Cli::run(&["verify", self.source.uri(), self.target.uri(), "--database", "shop"], b"").await;
        assert_eq!(verified.status.code(), Some(0), "{}", String::from_utf8_lossy(&verified.stdout));
    }
}

async fn fill(client: &Client, name: &str, count: i32) {
    let collection = client.database("shop").collection::<Document>(name);
    for from in (0..count).step_by(1000) {
        let documents = (from..count.min(from + 1000)).map(|n| doc! { "_id": n, "of": name, "text": "x".repeat(2000) });
        collection.insert_many(documents).await.unwrap();
    }
}

async fn out(client: &Client, from: &str, to: &str) {
    let out =
        doc! { "aggregate": from, "pipeline": [{ "$match": { "_id": { "$gte": 50 } } }, { "$out": to }], "cursor": {} };
    client.database("shop").run_command(out).await.unwrap();
}

async fn rename(client: &Client, from: &str, to: &str) {
    let rename = doc! { "renameCollection": format!("shop.{from}"), "to": format!("shop.{to}"), "dropTarget": true };
    client.database("admin").run_command(rename).await.unwrap();
}

async fn raw(client: &Client, name: &str) -> Vec<RawDocumentBuf> {
    let collection = client.database("shop").collection::<RawDocumentBuf>(name);
    collection.find(doc! {}).sort(doc! { "_id": 1 }).await.unwrap().try_collect().await.unwrap()
}

/// Waits until the target has all that happened before.
async fn caught_up(source: &Client, target: &Client, n: i32) {
    source.database("shop").collection("end").insert_one(doc! { "_id": n }).await.unwrap();
    eventually(PATIENCE, "the target has the last document", async || {
        let end = target.database("shop").collection::<Document>("end");
        end.find_one(doc! { "_id": n }).await.unwrap().is_some()
    })
    .await;
}

#[tokio::test]
async fn c6_what_is_renamed_while_it_is_copied_is_whole_after_kills_and_verify_agrees() {
    let pair = Pair::start().await;
    let (source, target) = (pair.source.client().await, pair.target.client().await);
    fill(&source, "events", 20_000).await;
    fill(&source, "archive", 100).await;
    let (more, sink) = (", full_document: off, ddl: deliver", ", ddl: { drop: apply, rename: apply }");
    let mut host = pair.host(more, sink);
    host.wait_event("copy_started").await;
    // As logs are turned, with a writer that does not wait.
    rename(&source, "events", "archive").await;
    fill(&source, "events", 300).await;
    let archive = source.database("shop").collection::<Document>("archive");
    archive.update_many(doc! { "_id": { "$lt": 500 } }, doc! { "$push": { "list": 1 } }).await.unwrap();
    archive.delete_many(doc! { "_id": { "$gte": 19_900 } }).await.unwrap();
    host.wait_event("rename_copied").await;
    host.kill();
    archive.update_many(doc! { "_id": { "$lt": 500 } }, doc! { "$push": { "list": 2 } }).await.unwrap();
    out(&source, "events", "summary").await;
    let mut host = pair.host(more, sink);
    caught_up(&source, &target, 1).await;
    pair.assert_verified().await;
    // What is renamed behind the copy is renamed in the target, and not copied.
    let copied = host.log().iter().filter(|line| line["event"] == "rename_copied").count();
    out(&source, "events", "summary").await;
    rename(&source, "summary", "events").await;
    caught_up(&source, &target, 2).await;
    pair.assert_verified().await;
    assert_eq!(host.log().iter().filter(|line| line["event"] == "rename_copied").count(), copied);
    assert_eq!(host.stop().await, Some(0));
}

#[tokio::test]
async fn c6_out_onto_a_watched_name_is_mirrored_with_and_without_changes_of_collections() {
    let pair = Pair::start().await;
    let (source, target) = (pair.source.client().await, pair.target.client().await);
    fill(&source, "orders", 1000).await;
    fill(&source, "report", 70).await;
    let watched = ", collections: [report, end]";
    let mut host = pair.host(&format!("{watched}, ddl: deliver"), ", ddl: { drop: apply, rename: apply }");
    caught_up(&source, &target, 1).await;
    for round in 2..4 {
        out(&source, "orders", "report").await;
        source.database("shop").collection("report").insert_one(doc! { "_id": 5000 + round }).await.unwrap();
        caught_up(&source, &target, round).await;
        assert!(raw(&source, "report").await == raw(&target, "report").await);
    }
    assert_eq!(host.stop().await, Some(0));
    // Where drops are not told, what was there before stays; what is there now is there too.
    let mut host = pair.host(watched, "");
    source
        .database("shop")
        .collection::<Document>("orders")
        .delete_many(doc! { "_id": { "$gte": 900 } })
        .await
        .unwrap();
    source.database("shop").collection::<Document>("orders").insert_one(doc! { "_id": 7000 }).await.unwrap();
    out(&source, "orders", "report").await;
    caught_up(&source, &target, 5).await;
    let (here, mut there) = (raw(&source, "report").await, raw(&target, "report").await);
    assert!(there.len() > here.len());
    there.retain(|document| here.contains(document));
    assert!(here == there, "{} of {} documents", there.len(), here.len());
    assert_eq!(host.stop().await, Some(0));
}
