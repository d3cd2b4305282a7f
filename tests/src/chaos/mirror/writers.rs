//! Who change the source while it is copied: every kind of write, at full speed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context as _, Result};
use mongodb::Collection;
use mongodb::bson::{RawDocumentBuf, doc, rawdoc};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::task::JoinHandle;

use super::Mirror;

/// Tasks that write until they are stopped.
pub(super) struct Writers {
    stop: Arc<AtomicBool>,
    /// Confirmed writes.
    written: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<Result<()>>>,
}

impl Writers {
    pub(super) fn start(items: &Collection<RawDocumentBuf>, mirror: &Mirror) -> Self {
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let tasks = (0..mirror.writers)
            .map(|number| {
                let (stop, written) = (Arc::clone(&stop), Arc::clone(&written));
                tokio::spawn(write(items.clone(), mirror.clone(), number, stop, written))
            })
            .collect();
        Self { stop, written, tasks }
    }

    /// Finishes what was begun; returns how many writes were confirmed.
    ///
    /// # Errors
    /// When a write failed.
    pub(super) async fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.context("a writer panicked")?.context("a writer failed")?;
        }
        Ok(self.written.load(Ordering::Relaxed))
    }
}

async fn write(
    items: Collection<RawDocumentBuf>,
    mirror: Mirror,
    number: u32,
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
) -> Result<()> {
    let mut random = StdRng::seed_from_u64(mirror.seed.wrapping_add(u64::from(number)));
    // New documents of each writer are its own; the others are everybody's.
    let mut next = mirror.documents + i64::from(number);
    while !stop.load(Ordering::Relaxed) {
        let id = random.random_range(0..mirror.documents);
        let one = doc! { "_id": id };
        match random.random_range(0..10) {
            0..3 => {
                items.insert_one(rawdoc! { "_id": next, "n": next, "list": [1, 2, 3], "sub": { "a": 1 } }).await?;
                next += i64::from(mirror.writers);
            }
            3 | 4 => {
                items.delete_one(one).await?;
            }
            5 => {
                items.replace_one(one, rawdoc! { "n": id, "r": random.random::<f64>() }).await?;
            }
            6 => {
                let push = doc! { "$push": { "list": { "$each": [id], "$slice": -4 } } };
                items.update_one(one, push).await?;
            }
            7 => {
                let change = doc! { "$unset": { "text": "" }, "$set": { "sub.b": id } };
                items.update_one(one, change).await?;
            }
            _ => drop(items.update_one(one, doc! { "$set": { "v": random.random::<f64>() } }).await?),
        }
        written.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
