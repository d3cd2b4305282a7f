//! Updates of documents that a copy may have read in a later state.
//!
//! A copied document is as it was when it was read, and the stream begins before that: an update that the copy has already would be
//! applied to its own result. So until the stream has passed the copy's end, updates get their whole document, whatever the
//! configuration says. A document that was looked up is newer than its update too, so the next updates of that document are looked up as
//! well, until one is met that happened after the look. That is exact: every description that is left meets the very state it was made on.

use std::collections::HashMap;

use mongodb::{Client, error::Result};
use xxhash_rust::xxh3::Xxh3;

use super::lookup;
use crate::change::{Change, Operation};

/// Batches after which what is not needed any more is forgotten.
const SWEEP: u32 = 64;

/// How far the stream is behind the documents.
#[derive(Debug)]
pub(in crate::source::mongodb) struct CatchUp {
    /// No document that was copied is newer.
    until: u64,
    /// Documents that were looked up, by a hash of namespace and key, and the time of the look. Two of the same hash cost a look too many.
    ahead: HashMap<u64, u64>,
    passed: bool,
    batches: u32,
}

impl CatchUp {
    /// Until this time; without one it never ends.
    pub(in crate::source::mongodb) fn new(until: Option<u64>) -> Self {
        Self { until: until.unwrap_or(u64::MAX), ahead: HashMap::new(), passed: false, batches: 0 }
    }

    /// Gives the updates of a batch that need one their document. One whose document is gone loses its description: the delete follows.
    pub(in crate::source::mongodb) async fn attach(&mut self, changes: &mut [Change], client: &Client) -> Result<()> {
        // The same for each try: nothing is kept before the answer is there, so that a cancelled call can be made again.
        let hashes: Vec<Option<u64>> = changes.iter().map(|change| self.needed(change)).collect();
        let looked = lookup::attach(changes, |index, _| hashes.get(index).is_some_and(Option::is_some), client).await?;
        let mut newest = 0;
        for (change, hash) in changes.iter_mut().zip(hashes) {
            newest = newest.max(change.cluster_time.unwrap_or_default());
            if let Some(hash) = hash {
                if change.document.is_none() {
                    change.update = None;
                }
                self.ahead.insert(hash, looked.unwrap_or(u64::MAX));
            }
        }
        self.passed |= newest > self.until;
        self.batches += 1;
        if self.passed && self.batches.is_multiple_of(SWEEP) {
            self.ahead.retain(|_, time| *time >= newest);
        }
        Ok(())
    }

    /// The hash of an update that is to be looked up.
    fn needed(&self, change: &Change) -> Option<u64> {
        if change.operation != Operation::Update || change.document.is_some() {
            return None;
        }
        let mut hash = Xxh3::new();
        hash.update(change.namespace.as_str().as_bytes());
        hash.update(change.key.as_ref()?.as_bytes());
        let hash = hash.digest();
        let time = change.cluster_time.unwrap_or_default();
        (time <= self.until || self.ahead.get(&hash).is_some_and(|looked| time <= *looked)).then_some(hash)
    }

    /// Whether all that comes meets the state it was made on.
    pub(in crate::source::mongodb) fn is_over(&self) -> bool {
        self.passed && self.ahead.is_empty()
    }
}
