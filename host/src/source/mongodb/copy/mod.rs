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

mod place;
mod plan;
mod progress;
mod read;

use std::{collections::VecDeque, sync::Arc, time::Instant};

use bson::{Bson, raw::RawDocumentBuf};
use bytes::Bytes;
use bytestring::ByteString;
use mongodb::Client;
use tokio::{sync::mpsc, task::JoinSet};
use xxhash_rust::xxh3::xxh3_64;

use self::{
    place::{By, Part, Place as At, Span},
    progress::Counter,
    read::Brought,
};
use super::{
    describe,
    event::{Names, Reply, epoch_of},
    faults::{Phase, Place as Server, fault},
    order,
};
use crate::{
    batch::Batch,
    change::{Change, Doc, Headers, Namespace, Operation},
    error::{Code, Fault},
    format::elements::{Element, Elements, Malformed},
    position::{Position, Positions, WHOLE},
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
    partition: ByteString,
    namespace: Arc<Namespace>,
    span: Span,
    /// Where it stands: what is there or before it was read.
    at: Position,
    /// In a range that is not read by order, or not any more: when this reading began, and how many documents it has seen.
    counted: Option<(u64, u64)>,
}

/// What makes a collection in the target.
#[derive(Clone, Debug)]
struct Schema {
    partition: ByteString,
    namespace: Arc<Namespace>,
    operation: Operation,
}

/// A copy that is under way.
pub(super) struct Copy {
    epoch: u32,
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

/// What a copy is made of.
pub(super) struct Planned {
    /// Before the first document of each range.
    pub(super) positions: Positions,
    /// Collections that are copied, and of which no stream tells.
    pub(super) unwatched: Vec<String>,
}

/// Cuts what is wanted into ranges.
pub(super) async fn plan(
    client: &Client,
    server: &Server,
    epoch: u32,
    database: Option<&str>,
    schemas: bool,
    wanted: impl Fn(&str, &str) -> bool,
) -> Result<Planned, Fault> {
    let bad = |error: mongodb::error::Error| fault(&error, Phase::Copying, server);
    let collections = plan::collections(client, database, wanted).await.map_err(bad)?;
    let positions = plan::ranges(client, epoch, &collections, schemas, plan::RANGE).await.map_err(bad)?;
    Ok(Planned { positions, unwatched: plan::unwatched(&collections) })
}

/// The epoch of a copy that is not at its end, by these positions: one of the stream's epoch, since a plan is stored before its stream.
pub(super) fn is_unfinished(positions: &Positions) -> bool {
    unfinished(positions).next().is_some()
}

fn unfinished(positions: &Positions) -> impl Iterator<Item = (&str, &Position, Span)> {
    let epoch = positions.whole().and_then(epoch_of);
    positions.iter().filter_map(move |(partition, position)| match place::read(position)? {
        (of, At::Underway(span)) if Some(of) == epoch => Some((partition, position, *span)),
        _ => None,
    })
}

impl Copy {
    /// Goes on with the ranges that are not done. Positions that are `announced` are handed out first, so that they are stored.
    pub(super) async fn resume(
        client: &Client,
        server: &Server,
        positions: &Positions,
        announced: bool,
        resumed: bool,
        report: OnCopy,
    ) -> Result<Self, Fault> {
        let epoch = positions.whole().and_then(epoch_of).unwrap_or_default();
        let after = positions.whole().and_then(super::event::token_of).and_then(super::event::told_until);
        let mut names = Names::default();
        let began = now();
        let (mut ranges, mut creates, mut indexes) = (Vec::new(), VecDeque::new(), VecDeque::new());
        for (partition, position, span) in unfinished(positions) {
            let Some((namespace, part)) = place::part_of(partition) else { continue };
            let Some(namespace) = Namespace::parse(namespace) else { continue };
            let namespace = names.get(namespace.database(), namespace.collection());
            let partition = ByteString::from(partition);
            let schema = |operation| Schema { partition: partition.clone(), namespace: namespace.clone(), operation };
            match part {
                Part::Create => creates.push_back(schema(Operation::Create)),
                Part::Indexes => indexes.push_back(schema(Operation::CreateIndexes)),
                Part::Range(_) => {
                    let counted = (span.by != By::Order).then_some((began, 0));
                    ranges.push(Range { partition, namespace, span, at: position.clone(), counted });
                }
            }
        }
        let mut announce = VecDeque::new();
        if announced {
            // The stream's last: the ranges count from the moment it has their epoch.
            let (stream, ranges): (Vec<_>, Vec<_>) = positions.iter().partition(|(partition, _)| *partition == WHOLE);
            announce.extend(ranges.into_iter().chain(stream).map(|(name, position)| (name.into(), position.clone())));
        }
        let mut counter = Counter::new();
        let mut by_collection: indexmap::IndexMap<&str, (u64, u64)> = indexmap::IndexMap::new();
        for (partition, position) in positions.iter() {
            if let (Some((namespace, Part::Range(_))), Some((of, at))) =
                (place::part_of(partition), place::read(position))
                && of == epoch
            {
                let (done, all) = by_collection.entry(namespace).or_default();
                *done += u64::from(at == At::Done);
                *all += 1;
            }
        }
        for (namespace, (done, all)) in by_collection {
            let Some(parsed) = Namespace::parse(namespace) else { continue };
            let collection = client.database(parsed.database()).collection::<bson::Document>(parsed.collection());
            let documents = collection.estimated_document_count().await;
            let documents = documents.map_err(|error| fault(&error, Phase::Copying, server))?;
            counter.add(namespace, documents, done, all);
        }
        let progress = counter.now();
        tracing::info!(
            event = "copy_started",
            hosts = server.hosts,
            collections = progress.collections.len(),
            documents = progress.of_documents,
            read = progress.documents,
            "{}: {} documents in {} collections, {} of them read",
            if resumed { "the copy goes on where it stopped" } else { "the documents that are there are copied first" },
            progress.of_documents,
            progress.collections.len(),
            progress.documents,
        );
        report(progress);
        let (sender, brought) = mpsc::channel(READERS);
        let waiting = (0..ranges.len()).collect();
        let (client, server) = (client.clone(), server.clone());
        let told = (Instant::now(), Instant::now());
        let readers = JoinSet::new();
        let current = None;
        Ok(Self {
            epoch,
            creates,
            indexes,
            ranges,
            waiting,
            readers,
            sender,
            brought,
            current,
            announce,
            client,
            server,
            after,
            counter,
            report,
            told,
        })
    }

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
                Brought::End => {
                    self.readers.join_next().await;
                    return Ok(self.range_done(index));
                }
            }
        }
    }

    /// What makes a collection, as the server says of it now; a position alone where there is nothing to make.
    async fn describe(&self, schema: Schema) -> Result<Batch, Fault> {
        let Schema { partition, namespace, operation } = schema;
        let described = describe::collection(&self.client, &namespace).await;
        let described = described.map_err(|error| fault(&error, Phase::Copying, &self.server))?;
        let document = described.and_then(|described| match operation {
            Operation::Create => Some(described.create),
            _ => described.indexes,
        });
        let position = place::done(self.epoch);
        let mut batch = Batch { partition, position: Some(position.clone()), ..Batch::default() };
        if let Some(document) = document {
            let hash = xxh3_64(namespace.as_str().as_bytes());
            let id = format!("copy-{:x}-{hash:016x}-{operation}", self.epoch).into();
            let change = describe::change(id, operation, &namespace, document);
            batch.changes.push(Change { position: Some(position), ..change });
        }
        Ok(batch)
    }

    fn range_done(&mut self, index: usize) -> Option<Batch> {
        let range = self.ranges.get(index)?;
        let partition = range.partition.clone();
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
        let position = Some(place::done(self.epoch));
        Some(Batch { partition, position, ..Batch::default() })
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

    /// Cuts one batch off a reply, and says how far that is.
    fn cut(
        &mut self,
        index: usize,
        reply: &Reply,
        offset: usize,
        limits: &BatchLimits,
    ) -> Result<(Batch, usize), Fault> {
        let hosts = &self.server.hosts;
        let malformed = |cause: Malformed| {
            Fault::transient(Code::MongoError, format!("an answer of MongoDB at {hosts} cannot be read: {cause}"))
        };
        let Some(range) = self.ranges.get_mut(index) else { return Ok((Batch::default(), usize::MAX)) };
        let mut batch = Batch { partition: range.partition.clone(), ..Batch::default() };
        let (mut offset, mut size) = (offset, 0);
        let hash = xxh3_64(range.namespace.as_str().as_bytes());
        for document in reply.events(offset) {
            let (bytes, next) = document.map_err(malformed)?;
            if batch.changes.len() >= limits.max_events || (size > 0 && size + bytes.len() > limits.max_bytes) {
                break;
            }
            let id = Elements::of(bytes).map_err(malformed)?.find(b"_id").map_err(malformed)?;
            let key = match &id {
                Some(id) => Some(Key::of(id).ok_or_else(|| malformed(Malformed("an `_id` cannot be read")))?),
                // A time-series collection does not ask for one.
                None if range.span.by == By::Natural => None,
                None => return Err(malformed(Malformed("a document has no `_id`"))),
            };
            let place = range.behind(self.epoch, id.as_ref().zip(key.as_ref()));
            let position = place.ok_or_else(|| malformed(Malformed("an `_id` is too big")))?;
            offset = next;
            if position <= range.at {
                continue;
            }
            batch.changes.push(Change {
                id: format!(
                    "copy-{:x}-{hash:016x}-{:016x}",
                    self.epoch,
                    xxh3_64(key.as_ref().map_or(bytes, |key| &key.document))
                )
                .into(),
                operation: Operation::Read,
                namespace: range.namespace.clone(),
                key: key.and_then(|key| Doc::from_bytes(key.document).ok()),
                document: Some(reply.doc(bytes).map_err(malformed)?),
                before: None,
                update: None,
                cluster_time: None,
                wall_time: None,
                headers: Headers::default(),
                position: Some(position.clone()),
            });
            batch.position = Some(position);
            size += bytes.len();
        }
        if let Some(position) = &batch.position {
            range.at = position.clone();
            self.counter.read(range.namespace.as_str(), batch.changes.len() as u64);
        }
        Ok((batch, offset))
    }
}

impl Range {
    /// The position behind the next document, which has this `_id`.
    fn behind(&mut self, epoch: u32, id: Option<(&Element<'_>, &Key)>) -> Option<Position> {
        if self.counted.is_none()
            && let Some((id, key)) = id
        {
            if let Some(sorts) = order::key(id) {
                // What was read last is where the next reading begins.
                self.span.min = Some(key.value.clone());
                return place::behind(epoch, &sorts, &self.span);
            }
            self.counted = Some((now(), 0));
        }
        let (began, count) = self.counted.as_mut()?;
        *count += 1;
        place::counted(epoch, *began, *count, &self.span)
    }
}

/// An `_id` by itself.
struct Key {
    /// `{_id: value}`.
    document: Bytes,
    value: Bson,
}

impl Key {
    fn of(id: &Element<'_>) -> Option<Self> {
        let length = 4 + 1 + 4 + id.value.len() + 1;
        let mut bytes = Vec::with_capacity(length);
        bytes.extend_from_slice(&u32::try_from(length).ok()?.to_le_bytes());
        bytes.push(id.kind);
        bytes.extend_from_slice(b"_id\0");
        bytes.extend_from_slice(id.value);
        bytes.push(0);
        let document = RawDocumentBuf::from_bytes(bytes).ok()?;
        let value = Bson::try_from(document.get("_id").ok()??).ok()?;
        Some(Self { value, document: Bytes::from(document.into_bytes()) })
    }
}

/// Milliseconds since 1970: a reading that begins later has a greater number, unless the clock is set back.
fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
