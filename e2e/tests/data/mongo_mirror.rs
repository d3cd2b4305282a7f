//! The configuration of `examples/mongo-mirror`, as it stands there, between two servers of their own.

use std::collections::BTreeMap;
use std::path::Path;

use futures::TryStreamExt as _;
use mongodb::bson::{Document, RawDocumentBuf, doc};
use mongodb::{Client, IndexModel};
use tempfile::TempDir;
use tidegate_tests::servers::{Mongo, MongoOptions};
use tidegate_tests::{Cli, Host, HostOptions, eventually};

use crate::scene::{PATIENCE, numbered};

const EXAMPLE: &str = include_str!("../../../examples/mongo-mirror/mirror.yaml");

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

    async fn clients(&self) -> (Client, Client) {
        (self.source.client().await, self.target.client().await)
    }

    fn host(&self, databases: &str, level: &str) -> Host {
        let env = [
            ("SOURCE_URI", self.source.uri()),
            ("TARGET_URI", self.target.uri()),
            ("DATABASES", databases),
            ("LOG_LEVEL", level),
            ("ADMIN_PORT", "0"),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Host::start_with(EXAMPLE, HostOptions { dir: Some(self.dir.path().to_owned()), env, ..HostOptions::default() })
    }
}

async fn databases(client: &Client) -> Vec<String> {
    let mut names = client.list_database_names().await.unwrap();
    names.retain(|name| !["admin", "config", "local", "tidegate"].contains(&&**name));
    names
}

/// All documents of a server, by collection and `_id`, but for what tidegate keeps.
async fn content(client: &Client) -> BTreeMap<String, Vec<RawDocumentBuf>> {
    let mut content = BTreeMap::new();
    for database in databases(client).await {
        let handle = client.database(&database);
        for name in handle.list_collection_names().await.unwrap() {
            if name.starts_with("tidegate") {
                continue;
            }
            let found = handle.collection::<RawDocumentBuf>(&name).find(doc! {}).sort(doc! { "_id": 1 }).await.unwrap();
            content.insert(format!("{database}.{name}"), found.try_collect().await.unwrap());
        }
    }
    content
}

async fn wait_same(source: &Client, target: &Client) {
    eventually(PATIENCE, "the target is the source", async || {
        let (here, there) = (content(source).await, content(target).await);
        let lengths = |all: &BTreeMap<String, Vec<RawDocumentBuf>>| -> Vec<(String, usize)> {
            all.iter().map(|(name, documents)| (name.clone(), documents.len())).collect()
        };
        if here == there { Ok(()) } else { Err(format!("{:?} against {:?}", lengths(&here), lengths(&there))) }
    })
    .await;
}

/// One database, those of a pattern, or all; and the level of the log.
#[tokio::test]
async fn c4_one_several_or_all_databases_are_mirrored_and_the_log_is_as_loud_as_asked_for() {
    for (chosen, level, expected) in [
        ("shop_a", "warn", vec!["shop_a"]),
        ("shop_*", "debug", vec!["shop_a", "shop_b"]),
        ("*", "info", vec!["other", "shop_a", "shop_b"]),
    ] {
        let pair = Pair::start().await;
        let (source, target) = pair.clients().await;
        for name in ["other", "shop_a", "shop_b"] {
            source.database(name).collection("things").insert_many(numbered(0..20)).await.unwrap();
        }
        let mut host = pair.host(chosen, level);
        let there = async |document: Document| {
            for name in &expected {
                let things = target.database(name).collection::<Document>("things");
                eventually(PATIENCE, &format!("{document} in {name}"), async || {
                    things.find_one(document.clone()).await.unwrap().is_some()
                })
                .await;
            }
        };
        there(doc! { "_id": 19 }).await;
        for name in ["other", "shop_a", "shop_b"] {
            source.database(name).collection("things").insert_one(doc! { "_id": "late" }).await.unwrap();
            // A collection that comes later.
            source.database(name).collection("more").insert_one(doc! { "_id": 1 }).await.unwrap();
        }
        there(doc! { "_id": "late" }).await;
        assert_eq!(host.stop().await, Some(0));
        assert_eq!(databases(&target).await, expected, "{chosen}");
        let levels: Vec<String> =
            host.log().iter().map(|line| line["level"].as_str().unwrap_or_default().to_owned()).collect();
        let has = |level: &str| levels.iter().any(|one| one == level);
        assert_eq!((has("debug"), has("info")), (level == "debug", level != "warn"), "{level}");
    }
}

/// What the README of the example says: copied, followed, the same schema, and `verify` finds nothing.
#[tokio::test]
async fn c2_the_example_applies_every_operation_and_verify_agrees() {
    let pair = Pair::start().await;
    let (source, target) = pair.clients().await;
    let shop = source.database("shop");
    let items = shop.collection::<Document>("items");
    items.insert_many(numbered(0..2000)).await.unwrap();
    items.create_index(IndexModel::builder().keys(doc! { "n": 1 }).build()).await.unwrap();
    shop.create_collection("capped").capped(true).size(1_000_000).await.unwrap();
    shop.collection("capped").insert_many(numbered(0..50)).await.unwrap();
    let mut host = pair.host("*", "debug");
    host.wait_event("copy_done").await;
    items.update_one(doc! { "_id": 7 }, doc! { "$set": { "price.now": 5 }, "$unset": { "text": "" } }).await.unwrap();
    items.update_one(doc! { "_id": 9 }, doc! { "$push": { "list": { "$each": [1, 2, 3] } } }).await.unwrap();
    items.update_one(doc! { "_id": 9 }, doc! { "$pop": { "list": 1 } }).await.unwrap();
    items.update_one(doc! { "_id": 9 }, doc! { "$set": { "list.0": { "a": 1 } } }).await.unwrap();
    items.replace_one(doc! { "_id": 10 }, doc! { "z": 1, "a": 2 }).await.unwrap();
    items.delete_one(doc! { "_id": 8 }).await.unwrap();
    shop.collection("capped").insert_many(numbered(50..60)).await.unwrap();
    shop.collection("made").insert_one(doc! { "_id": 1 }).await.unwrap();
    host.kill();
    items.update_many(doc! { "n": { "$lt": 100 } }, doc! { "$inc": { "count": 1 } }).await.unwrap();
    let mut host = pair.host("*", "debug");
    wait_same(&source, &target).await;
    let applied = |operation: &str| {
        host.log().iter().any(|line| line["event"] == "change_delivered" && line["operation"] == operation)
    };
    assert!(applied("update"), "every applied change is in the log at debug");
    let verified = Cli::run(&["verify", pair.source.uri(), pair.target.uri(), "--database", "shop"], b"").await;
    assert_eq!(verified.status.code(), Some(0), "{}", String::from_utf8_lossy(&verified.stdout));
    assert_eq!(host.stop().await, Some(0));
    let letters = Path::new(".tidegate").join("mirror.dead.jsonl");
    let letters = std::fs::read_to_string(pair.dir.path().join(letters)).unwrap_or_default();
    assert_eq!(letters, "");
}
