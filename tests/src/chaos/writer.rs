//! The writer: inserts and whole replacements, each made exactly once whatever happens to MongoDB meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use mongodb::bson::{Document, doc};
use mongodb::error::{Error, ErrorKind, WriteFailure};
use mongodb::options::{CollectionOptions, WriteConcern};
use mongodb::{Client, Collection};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::ledger::Written;
use crate::guests::MARKER;

/// How a [`Writer`] writes.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// How many documents there are.
    pub keys: i32,
    /// Writers side by side, each with documents of its own.
    pub tasks: i32,
    /// Changes a second, of all of them.
    pub rate: u32,
    /// Which document is next.
    pub seed: u64,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self { keys: 200, tasks: 8, rate: 1000, seed: 0 }
    }
}

/// Tasks that write until they are stopped.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<Result<Written>>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    /// Changes confirmed.
    written: AtomicI64,
    /// Changes begun: each document carries its number.
    begun: AtomicI64,
    /// How many of the next changes are to be marked.
    to_mark: AtomicU32,
}

impl Writer {
    /// Starts writing into this collection, which nobody else writes to.
    ///
    /// # Errors
    /// When the connection string cannot be used.
    pub async fn start(uri: &str, database: &str, collection: &str, options: WriterOptions) -> Result<Self> {
        let client = Client::with_uri_str(uri).await.context("connecting to MongoDB")?;
        let majority = CollectionOptions::builder().write_concern(WriteConcern::majority()).build();
        let collection = client.database(database).collection_with_options::<Document>(collection, majority);
        let shared = Arc::new(Shared::default());
        let tasks = (0..options.tasks)
            .map(|task| tokio::spawn(write(collection.clone(), Arc::clone(&shared), options.clone(), task)))
            .collect();
        Ok(Self { shared, tasks })
    }

    /// One that writes nothing.
    pub(super) fn none() -> Self {
        Self { shared: Arc::default(), tasks: Vec::new() }
    }

    /// How many changes MongoDB has confirmed.
    #[must_use]
    pub fn written(&self) -> i64 {
        self.shared.written.load(Ordering::Relaxed)
    }

    /// The field `n` of the newest document.
    #[must_use]
    pub fn newest(&self) -> i64 {
        self.shared.begun.load(Ordering::Relaxed)
    }

    /// Marks so many of the next changes for the plugins that trap on a mark.
    pub fn mark(&self, count: u32) {
        self.shared.to_mark.fetch_add(count, Ordering::Relaxed);
    }

    /// Whether all changes to be marked have been begun.
    #[must_use]
    pub fn has_marked(&self) -> bool {
        self.shared.to_mark.load(Ordering::Relaxed) == 0
    }

    /// Finishes what was begun; returns what there is.
    ///
    /// # Errors
    /// When a document is not what this writer left: somebody else wrote, or MongoDB lost what it had confirmed.
    pub async fn stop(self) -> Result<Written> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut all = Written::default();
        for task in self.tasks {
            let written = task.await.context("a writer panicked")??;
            all.last.extend(written.last);
            all.marked.extend(written.marked);
        }
        Ok(all)
    }
}

async fn write(
    collection: Collection<Document>,
    shared: Arc<Shared>,
    options: WriterOptions,
    task: i32,
) -> Result<Written> {
    let mut random = StdRng::seed_from_u64(options.seed.wrapping_add(u64::from(task.unsigned_abs())));
    let keys: Vec<i32> = (task..options.keys).step_by(usize::try_from(options.tasks)?).collect();
    let period = Duration::from_secs(1) * options.tasks.unsigned_abs() / options.rate.max(1);
    let mut pace = tokio::time::interval(period.max(Duration::from_micros(1)));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut written = Written::default();
    while !shared.stop.load(Ordering::Relaxed) {
        pace.tick().await;
        let key = keys[random.random_range(0..keys.len())];
        let seq = written.last.get(&key).map_or(0, |last| last + 1);
        let n = shared.begun.fetch_add(1, Ordering::Relaxed) + 1;
        let is_marked =
            shared.to_mark.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_sub(1)).is_ok();
        if is_marked {
            written.marked.insert((key, seq));
        }
        let text = if is_marked { MARKER.to_owned() } else { "x".repeat(random.random_range(0..300)) };
        let document = doc! { "_id": key, "seq": seq, "n": n, "text": text };
        put(&collection, &document, key, seq).await?;
        written.last.insert(key, seq);
        shared.written.fetch_add(1, Ordering::Relaxed);
    }
    Ok(written)
}

/// Makes one change, once: what was not confirmed is tried again, and the number of the change before it in the filter makes a
/// second time impossible.
async fn put(collection: &Collection<Document>, document: &Document, key: i32, seq: i32) -> Result<()> {
    const PAUSE: Duration = Duration::from_millis(50);
    let mut is_first = true;
    loop {
        let done = if seq == 0 {
            match collection.insert_one(document).await {
                Err(error) if is_duplicate_key(&error) => Ok(false),
                result => result.map(|_| true),
            }
        } else {
            let before = doc! { "_id": key, "seq": seq - 1 };
            collection.replace_one(before, document).await.map(|result| result.matched_count == 1)
        };
        match done {
            Ok(true) => return Ok(()),
            // An earlier try was made after all; then its document is there.
            Ok(false) if !is_first => match collection.find_one(doc! { "_id": key }).await {
                Ok(Some(found)) if found == *document => return Ok(()),
                Ok(found) => bail!("the document {key} was to be {document} and is {found:?}"),
                Err(_) => {}
            },
            Ok(false) => bail!("the document {key} is not what was written before change {seq}"),
            Err(_) => {}
        }
        is_first = false;
        tokio::time::sleep(PAUSE).await;
    }
}

fn is_duplicate_key(error: &Error) -> bool {
    matches!(&*error.kind, ErrorKind::Write(WriteFailure::WriteError(error)) if error.code == 11000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eventually;
    use crate::servers::{Mongo, MongoOptions};

    #[tokio::test]
    async fn each_change_is_made_once_over_kills_of_mongodb() {
        let mut mongo = Mongo::start(MongoOptions::default()).await;
        let client = mongo.client().await;
        let items = client.database("d").collection::<Document>("items");
        let writer = Writer::start(mongo.uri(), "d", "items", WriterOptions::default()).await.unwrap();
        for round in 1..=2 {
            eventually(Duration::from_secs(30), "changes", async || writer.written() > round * 500).await;
            mongo.kill(0);
            mongo.restart(0).await;
        }
        writer.mark(3);
        eventually(Duration::from_secs(30), "marks", async || writer.has_marked()).await;
        let written = writer.stop().await.unwrap();
        assert_eq!(written.marked.len(), 3);
        let mut cursor = items.find(doc! {}).await.unwrap();
        let mut found = std::collections::BTreeMap::new();
        while cursor.advance().await.unwrap() {
            let document = cursor.deserialize_current().unwrap();
            found.insert(document.get_i32("_id").unwrap(), document.get_i32("seq").unwrap());
        }
        assert_eq!(found, written.last);
        // MongoDB's own book: one entry of the oplog for each change.
        let entries = client
            .database("local")
            .collection::<Document>("oplog.rs")
            .count_documents(doc! { "ns": "d.items", "op": { "$in": ["i", "u"] } })
            .await
            .unwrap();
        assert_eq!(usize::try_from(entries).unwrap(), written.changes());
    }
}
