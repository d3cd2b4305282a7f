//! Collections that get their name by a rename: while they are copied, and from where nobody watches.

use std::collections::{BTreeMap, BTreeSet};

use bson::{Document, doc};
use futures::TryStreamExt as _;
use mongodb::Client;

use super::{LIMITS, config, decoded, source};
use crate::{
    batch::Batch,
    change::{Change, Operation},
    config::{MongodbSourceConfig, OnLostPosition, Snapshot, SourceDdl},
    position::Positions,
    source::{
        BatchLimits, Read, Source as _,
        mongodb::{MongodbSource, Selection},
    },
    testing::Server,
};

/// Documents by namespace and `_id`.
type Content = BTreeMap<String, BTreeMap<String, Document>>;

/// A source, and what a mirror makes of it.
struct Mirror {
    config: MongodbSourceConfig,
    /// Whether it drops and renames as the source does.
    follows: bool,
    source: MongodbSource,
    /// What is safe.
    at: Positions,
    content: Content,
    /// How many documents were copied of each namespace.
    copied: BTreeMap<String, usize>,
    /// Keys that came by the stream.
    inserted: BTreeSet<String>,
    ends: i32,
}

impl Mirror {
    /// Opened, so that the copy is planned, but nothing of it read.
    async fn open(config: MongodbSourceConfig, follows: bool) -> Self {
        let ddl = if follows { SourceDdl::Deliver } else { SourceDdl::Ignore };
        let config = MongodbSourceConfig { ddl, ..config };
        let mut source = made(&config, follows);
        let at = source.open(&Positions::default()).await.unwrap();
        let (content, copied, inserted) = (Content::new(), BTreeMap::new(), BTreeSet::new());
        Self { config, follows, source, at, content, copied, inserted, ends: 9000 }
    }

    fn apply(&mut self, change: &Change) {
        let ns = change.namespace.as_str().to_owned();
        match change.operation {
            Operation::Drop if self.follows => drop(self.content.remove(&ns)),
            Operation::Rename if self.follows => {
                let description = decoded(&change.document).unwrap();
                let to = description.get_document("to").unwrap();
                let to = format!("{}.{}", to.get_str("db").unwrap(), to.get_str("coll").unwrap());
                let Some(renamed) = self.content.remove(&ns) else { return };
                if description.contains_key("dropTarget") {
                    self.content.remove(&to);
                }
                self.content.entry(to).or_default().extend(renamed);
            }
            Operation::Insert | Operation::Update | Operation::Replace | Operation::Delete | Operation::Read => {
                let id = decoded(&change.key).unwrap().to_string();
                if change.operation == Operation::Insert {
                    self.inserted.insert(id.clone());
                }
                let documents = self.content.entry(ns.clone()).or_default();
                match decoded(&change.document) {
                    Some(document) => drop(documents.insert(id, document)),
                    None if change.operation == Operation::Delete => drop(documents.remove(&id)),
                    None => {}
                }
                if change.operation == Operation::Read {
                    *self.copied.entry(ns).or_default() += 1;
                }
            }
            _ => {}
        }
    }

    fn take(&mut self, batch: Batch) {
        for change in &batch.changes {
            self.apply(change);
        }
        if let Some(position) = batch.position {
            let before = self.at.get(&batch.partition);
            assert!(before.is_none_or(|before| before <= &position), "{} went back", batch.partition);
            self.at.set(&batch.partition, position);
        }
    }

    /// So many batches, as a pipeline reads them: opened again where it stands after a fault that may pass.
    async fn batches(&mut self, count: usize) {
        for _ in 0..count {
            match tokio::time::timeout(std::time::Duration::from_secs(60), self.source.next()).await.expect("an answer")
            {
                Ok(Read::Batch(batch)) => self.take(batch),
                Ok(Read::End) => panic!("an end"),
                Err(fault) => {
                    assert!(fault.is_transient(), "{fault}");
                    self.source.open(&self.at).await.unwrap();
                }
            }
        }
    }

    /// Reads until the stream brings a document that is written last; with `stopping` the host is killed now and then.
    async fn catch_up_in(&mut self, client: &Client, collection: &str, stopping: bool) {
        self.ends += 1;
        let last = doc! { "_id": self.ends };
        client.database("shop").collection::<Document>(collection).insert_one(last.clone()).await.unwrap();
        let last = last.to_string();
        for round in 0.. {
            // More than there are places of a new copy before the rename that it is for.
            for _ in 0..1 + round % 9 {
                if self.inserted.contains(&last) {
                    return;
                }
                self.batches(1).await;
            }
            if stopping {
                self.source = made(&self.config, self.follows);
                self.source.open(&self.at).await.unwrap();
            }
        }
    }

    async fn catch_up(&mut self, client: &Client, stopping: bool) {
        self.catch_up_in(client, "end", stopping).await;
    }

    /// Nothing is missing, and where the mirror follows, nothing is there that the source has not.
    async fn assert_same(&self, client: &Client) {
        let mut source = content(client, &self.config).await;
        let mut mirror = self.content.clone();
        mirror.retain(|_, documents| !documents.is_empty());
        source.retain(|_, documents| !documents.is_empty());
        if !self.follows {
            mirror.retain(|ns, _| source.contains_key(ns));
            for (ns, documents) in &mut mirror {
                documents.retain(|id, _| source[ns].contains_key(id));
            }
        }
        let sizes = |content: &Content| content.iter().map(|(ns, all)| (ns.clone(), all.len())).collect::<Vec<_>>();
        assert_eq!(sizes(&mirror), sizes(&source));
        assert!(mirror == source, "documents differ");
    }
}

fn made(config: &MongodbSourceConfig, follows: bool) -> MongodbSource {
    source(config.clone(), BatchLimits { max_events: 50, ..LIMITS }).0.for_sinks(follows)
}

fn copying(server: &Server, collections: &[&str]) -> MongodbSourceConfig {
    MongodbSourceConfig { snapshot: Snapshot::Initial, ..config(server.mongodb_uri(), collections) }
}

async fn content(client: &Client, config: &MongodbSourceConfig) -> Content {
    let selection = Selection::new(config);
    let mut content = Content::new();
    for name in client.database("shop").list_collection_names().await.unwrap() {
        if selection.matches("shop", &name) {
            let found = client.database("shop").collection::<Document>(&name).find(doc! {}).await.unwrap();
            let found: Vec<Document> = found.try_collect().await.unwrap();
            let by_id = found.into_iter().map(|found| (doc! { "_id": found.get("_id") }.to_string(), found));
            content.insert(format!("shop.{name}"), by_id.collect());
        }
    }
    content
}

async fn fill(client: &Client, name: &str, range: std::ops::Range<i32>, text: usize) {
    let documents = range.map(|n| doc! { "_id": n, "in": name, "text": "x".repeat(text) });
    client.database("shop").collection::<Document>(name).insert_many(documents).await.unwrap();
}

async fn rename(client: &Client, from: &str, to: &str) {
    let rename = doc! { "renameCollection": from, "to": to, "dropTarget": true };
    client.database("admin").run_command(rename).await.unwrap();
}

async fn out(client: &Client, from: &str, to: &str) {
    let out = doc! { "aggregate": from, "pipeline": [{ "$out": to }], "cursor": {} };
    client.database("shop").run_command(out).await.unwrap();
}

#[tokio::test]
async fn what_is_renamed_while_it_is_copied_is_read_to_its_end() {
    let (server, client) = Server::mongod(false).await;
    // Before the first document is read, and in the middle: replies of 4 MiB, of which a few are read ahead.
    for (batches, stopping) in [(0, false), (0, true), (3, false), (3, true)] {
        for follows in [true, false] {
            fill(&client, "a", 0..90, 400_000).await;
            fill(&client, "b", 200..210, 10).await;
            let mut mirror = Mirror::open(copying(&server, &[]), follows).await;
            mirror.batches(batches).await;
            let half = mirror.copied.get("shop.a").copied().unwrap_or_default();
            assert!(half < 90, "{half} documents before the rename");
            rename(&client, "shop.a", "shop.b").await;
            // As logs are turned.
            fill(&client, "a", 50..60, 20).await;
            let b = client.database("shop").collection::<Document>("b");
            b.update_one(doc! { "_id": 1 }, doc! { "$set": { "later": 1 } }).await.unwrap();
            b.delete_one(doc! { "_id": 2 }).await.unwrap();
            b.insert_one(doc! { "_id": 1000 }).await.unwrap();
            mirror.catch_up(&client, stopping).await;
            mirror.assert_same(&client).await;
            // Now that nothing is copied any more, whoever follows needs no second copy.
            let copied = mirror.copied.clone();
            // What is done at one and the same time counts as while it was copied.
            fill(&client, "end", 0..10, 10).await;
            rename(&client, "shop.b", "shop.c").await;
            mirror.catch_up(&client, false).await;
            mirror.assert_same(&client).await;
            assert_eq!(mirror.copied == copied, follows, "{:?}", mirror.copied);
            client.database("shop").drop().await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_is_renamed_again_and_again_while_it_is_copied_is_found() {
    let (server, client) = Server::mongod(false).await;
    for follows in [true, false] {
        fill(&client, "a", 0..100, 10).await;
        fill(&client, "e", 0..100, 10).await;
        fill(&client, "x", 500..600, 10).await;
        let watched = ["a", "b", "c", "d", "e", "f", "g", "end"];
        let mut mirror = Mirror::open(copying(&server, &watched), follows).await;
        // When the first of these is met, there is no `f` any more.
        rename(&client, "shop.e", "shop.f").await;
        rename(&client, "shop.f", "shop.g").await;
        rename(&client, "shop.a", "shop.b").await;
        rename(&client, "shop.b", "shop.c").await;
        // A name that is not watched lies between.
        rename(&client, "shop.c", "shop.y").await;
        rename(&client, "shop.y", "shop.d").await;
        rename(&client, "shop.x", "shop.b").await;
        rename(&client, "shop.d", "shop.a").await;
        fill(&client, "d", 50..70, 10).await;
        mirror.catch_up(&client, true).await;
        mirror.assert_same(&client).await;
        client.database("shop").drop().await.unwrap();
    }
}

#[tokio::test]
async fn what_comes_from_a_name_that_is_not_watched_is_copied() {
    let (server, client) = Server::mongod(false).await;
    // One cursor on the collection, and one on the database.
    for (collections, stopping) in [(&["items"][..], false), (&["items", "end"], true)] {
        for follows in [true, false] {
            fill(&client, "items", 0..10, 10).await;
            fill(&client, "other", 5..120, 10).await;
            let mut mirror = Mirror::open(copying(&server, collections), follows).await;
            while mirror.copied.get("shop.items") != Some(&10) {
                mirror.batches(1).await;
            }
            out(&client, "other", "items").await;
            fill(&client, "items", 300..310, 10).await;
            out(&client, "items", "other").await;
            rename(&client, "shop.other", "shop.items").await;
            let items = client.database("shop").collection::<Document>("items");
            items.delete_one(doc! { "_id": 7 }).await.unwrap();
            items.update_one(doc! { "_id": 8 }, doc! { "$set": { "later": 1 } }).await.unwrap();
            items.insert_one(doc! { "_id": 1000 }).await.unwrap();
            mirror.catch_up_in(&client, collections.last().unwrap(), stopping).await;
            mirror.assert_same(&client).await;
            client.database("shop").drop().await.unwrap();
        }
    }
}

/// The temporary collections of servers of each version, with and without events for what is in them.
#[tokio::test]
async fn what_the_server_itself_moves_into_place_is_there() {
    for variable in ["TIDEGATE_MONGOD_4_4", "TIDEGATE_MONGOD_5_0", "TIDEGATE_MONGOD"] {
        let (server, client) = Server::mongod_of(variable, false, &[]).await;
        for follows in [true, false] {
            let database = client.database("shop");
            fill(&client, "items", 0..50, 10).await;
            client
                .database("elsewhere")
                .collection("moved")
                .insert_many((0..60).map(|n| doc! { "_id": n }))
                .await
                .unwrap();
            let mut mirror = Mirror::open(copying(&server, &[]), follows).await;
            mirror.catch_up(&client, false).await;
            rename(&client, "elsewhere.moved", "shop.moved").await;
            mirror.catch_up(&client, false).await;
            mirror.assert_same(&client).await;
            database.run_command(doc! { "convertToCapped": "items", "size": 100_000 }).await.unwrap();
            out(&client, "moved", "outed").await;
            mirror.catch_up(&client, false).await;
            mirror.assert_same(&client).await;
            database.drop().await.unwrap();
        }
    }
}

#[tokio::test]
async fn without_a_snapshot_nothing_is_copied_at_a_rename_but_what_a_lost_position_began() {
    let (server, client) = Server::mongod(false).await;
    let never = |on_lost_position| MongodbSourceConfig {
        snapshot: Snapshot::Never,
        on_lost_position,
        ..copying(&server, &["items", "end"])
    };
    for choice in [OnLostPosition::Stop, OnLostPosition::CopyAgain] {
        fill(&client, "other", 0..20, 10).await;
        let mut mirror = Mirror::open(never(choice), true).await;
        out(&client, "other", "items").await;
        fill(&client, "items", 100..110, 10).await;
        mirror.catch_up(&client, false).await;
        let ids: BTreeSet<&String> = mirror.content["shop.items"].keys().collect();
        assert_eq!((ids.len(), mirror.copied.len()), (10, 0), "{ids:?}");
        client.database("shop").drop().await.unwrap();
    }
}
