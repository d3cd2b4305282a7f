//! The documents that are there when a stream begins: read once, in ranges of `_id`, several at a time.
//!
//! The token of the stream is taken first. What is written while the copy runs is so in the stream too, and comes after the copy: whoever
//! mirrors whole documents by their key ends with what the source has. A range is read in the order of the index on `_id`, from a
//! bound on, so that a copy that was stopped goes on behind the last document that is safe.
//!
//! With `ddl: deliver` the collections themselves come as well: each as a `create` before all documents, and its indexes as `create_indexes` behind them,
//! where making them costs least and unique ones meet documents of one time.
//!
//! What cannot be placed in that order (an `_id` that is a Decimal128 or holds one, code; a collection with a collation of its own;
//! a capped collection, which is read as it lies) is read again from the start of its range, or from the first such document.

mod again;
mod begin;
mod cut;
mod describe;
mod place;
mod plan;
mod progress;
mod read;

use std::{collections::VecDeque, sync::Arc, time::Instant};

use bytestring::ByteString;
use mongodb::Client;
use tokio::{sync::mpsc, task::JoinSet};

pub(super) use self::{
    again::{again, ended},
    begin::{Planned, is_unfinished, planned},
};
use self::{
    place::{Places, Round, Span},
    progress::Counter,
    read::Brought,
};
use super::{
    event::Reply,
    faults::{Phase, Place as Server, fault},
};
use crate::{
    batch::Batch,
    change::{Change, Namespace, Operation},
    error::Fault,
    position::Position,
    source::BatchLimits,
};

pub use progress::{CollectionProgress, CopyProgress};

/// Told how far a copy is, about once a second.
pub type OnCopy = Arc<dyn Fn(&CopyProgress) + Send + Sync>;

/// Ranges that are read at the same time.
const READERS: usize = 4;
/// Least time between two reports.
const REPORT: std::time::Duration = std::time::Duration::from_secs(1);
/// Least time between two lines in the log.
const LOG: std::time::Duration = std::time::Duration::from_secs(10);

/// A range that is to be read.
#[derive(Clone, Debug)]
struct Range {
    round: Round,
    partition: ByteString,
    namespace: Arc<Namespace>,
    span: Span,
    places: Places,
    /// Where it stands: what is there or before it was read.
    at: Position,
    /// In a range that is not read by order, or not any more: when this reading began, and how many documents it has seen.
    counted: Option<(u64, u64)>,
}

/// What makes a collection in the target.
#[derive(Clone, Debug)]
struct Schema {
    round: Round,
    partition: ByteString,
    namespace: Arc<Namespace>,
    operation: Operation,
}

/// A copy that is under way.
pub(super) struct Copy {
    /// Before the ranges.
    creates: VecDeque<Schema>,
    /// Behind them.
    indexes: VecDeque<Schema>,
    ranges: Vec<Range>,
    waiting: VecDeque<usize>,
    readers: JoinSet<()>,
    sender: mpsc::Sender<(usize, Brought)>,
    brought: mpsc::Receiver<(usize, Brought)>,
    current: Option<(usize, Reply, usize)>,
    /// Positions that nobody has stored yet.
    announce: VecDeque<(ByteString, Position)>,
    client: Client,
    server: Server,
    /// No document is read as it was before this time.
    after: Option<u64>,
    counter: Counter,
    report: OnCopy,
    /// When the last report and the last line were given.
    told: (Instant, Instant),
}

impl Copy {
    /// The next documents, or a position alone; none when all is read. Cancelling it loses nothing.
    pub(super) async fn next(&mut self, limits: &BatchLimits) -> Result<Option<Batch>, Fault> {
        if let Some((partition, position)) = self.announce.pop_front() {
            return Ok(Some(Batch { partition, position: Some(position), ..Batch::default() }));
        }
        if let Some(schema) = self.creates.front().cloned() {
            let batch = self.describe(schema).await?;
            self.creates.pop_front();
            return Ok(Some(batch));
        }
        loop {
            if let Some((index, reply, offset)) = self.current.take() {
                let (batch, offset) = self.cut(index, &reply, offset, limits)?;
                if !reply.is_read(offset) {
                    self.current = Some((index, reply, offset));
                }
                if !batch.changes.is_empty() {
                    self.tell();
                    return Ok(Some(batch));
                }
                continue;
            }
            while self.readers.len() < READERS
                && let Some(index) = self.waiting.pop_front()
                && let Some(range) = self.ranges.get(index)
            {
                let task = read::Task::new(&self.client, &self.server, range, self.after);
                self.readers.spawn(task.run(index, self.sender.clone()));
            }
            if self.readers.is_empty() && self.brought.is_empty() {
                if let Some(schema) = self.indexes.front().cloned() {
                    let batch = self.describe(schema).await?;
                    self.indexes.pop_front();
                    return Ok(Some(batch));
                }
                self.finish();
                return Ok(None);
            }
            let Some((index, brought)) = self.brought.recv().await else { return Ok(None) };
            match brought {
                Brought::Documents(reply) => self.current = Some((index, reply, 0)),
                Brought::Failed(fault) => return Err(fault),
                Brought::End(time) => {
                    self.readers.join_next().await;
                    return Ok(self.range_done(index, time));
                }
            }
        }
    }

    /// What makes a collection, as the server says of it now; a position alone where there is nothing to make.
    async fn describe(&self, schema: Schema) -> Result<Batch, Fault> {
        let Schema { round, partition, namespace, operation } = schema;
        let described = describe::collection(&self.client, &namespace).await;
        let (described, time) = described.map_err(|error| fault(&error, Phase::Copying, &self.server))?;
        let document = described.and_then(|described| match operation {
            Operation::Create => Some(described.create),
            _ => described.indexes,
        });
        let position = place::done(round, time);
        let mut batch = Batch { partition, position: Some(position.clone()), ..Batch::default() };
        if let Some(document) = document {
            let id = format!("{}{operation}", cut::id(round, &namespace)).into();
            let change = describe::change(id, operation, &namespace, document);
            batch.changes.push(Change { position: Some(position), ..change });
        }
        Ok(batch)
    }

    fn range_done(&mut self, index: usize, time: Option<u64>) -> Option<Batch> {
        let range = self.ranges.get(index)?;
        let (partition, position) = (range.partition.clone(), place::done(range.round, time));
        if let Some(done) = self.counter.range_done(range.namespace.as_str()) {
            tracing::info!(
                event = "copy_collection_done",
                ns = range.namespace.as_str(),
                documents = done.documents,
                "{} is copied: {} documents",
                range.namespace,
                done.documents
            );
        }
        self.tell();
        Some(Batch { partition, position: Some(position), ..Batch::default() })
    }

    fn finish(&mut self) {
        self.counter.finish();
        let progress = self.counter.now();
        tracing::info!(
            event = "copy_done",
            collections = progress.collections.len(),
            documents = progress.documents,
            "all {} documents that were there are read: the changes since the copy began follow",
            progress.documents
        );
        (self.report)(progress);
    }

    fn tell(&mut self) {
        let (reported, logged) = &mut self.told;
        if reported.elapsed() < REPORT {
            return;
        }
        *reported = Instant::now();
        let progress = self.counter.now();
        (self.report)(progress);
        if logged.elapsed() < LOG {
            return;
        }
        *logged = Instant::now();
        let left = progress.seconds_left.map(|left| format!(", about {left} s left")).unwrap_or_default();
        let underway: Vec<String> = progress
            .collections
            .iter()
            .filter(|(_, collection)| !collection.done && collection.documents > 0)
            .map(|(name, collection)| format!("{name} {} %", collection.percent()))
            .collect();
        tracing::info!(
            event = "copy_progress",
            documents = progress.documents,
            of_documents = progress.of_documents,
            rate = progress.rate,
            seconds_left = progress.seconds_left,
            "{} % of the documents are read ({} of about {}, {} a second{left}): {}",
            progress.percent(),
            progress.documents,
            progress.of_documents,
            progress.rate,
            underway.join(", ")
        );
    }
}

/// Milliseconds since 1970: a reading that begins later has a greater number, unless the clock is set back.
fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
