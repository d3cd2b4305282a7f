//! Batches, cut off the replies of a range, and the place of each document in it.

use std::fmt::Write as _;

use bytes::Bytes;
use bytestring::ByteString;
use xxhash_rust::xxh3::xxh3_64;

use super::{
    Copy, Range, now,
    place::{By, Round},
};
use crate::{
    batch::Batch,
    change::{Change, Doc, Headers, Namespace, Operation},
    error::{Code, Fault},
    format::elements::{Element, Elements, Malformed},
    position::Position,
    source::{BatchLimits, mongodb::event::Reply},
};

impl Copy {
    /// Cuts one batch off a reply, and says how far that is.
    pub(super) fn cut(
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
        let mut parts = Parts::new(range.round, &range.namespace);
        for document in reply.events(offset) {
            let (bytes, next) = document.map_err(malformed)?;
            if batch.changes.len() >= limits.max_events || (size > 0 && size + bytes.len() > limits.max_bytes) {
                break;
            }
            let id = Elements::of(bytes).map_err(malformed)?.find(b"_id").map_err(malformed)?;
            // A time-series collection does not ask for one.
            if id.is_none() && range.span.by != By::Natural {
                return Err(malformed(Malformed("a document has no `_id`")));
            }
            offset = next;
            if !parts.add(range, id.as_ref(), bytes) {
                continue;
            }
            batch.changes.push(Change {
                id: ByteString::new(),
                operation: Operation::Read,
                namespace: range.namespace.clone(),
                key: None,
                document: Some(reply.doc(bytes).map_err(malformed)?),
                before: None,
                update: None,
                cluster_time: None,
                wall_time: None,
                headers: Headers::default(),
                position: None,
            });
            size += bytes.len();
        }
        parts.finish(&mut batch.changes);
        if let Some(position) = batch.changes.last().and_then(|change| change.position.clone()) {
            range.at = position.clone();
            batch.position = Some(position);
            self.counter.read(range.namespace.as_str(), batch.changes.len() as u64);
        }
        Ok((batch, offset))
    }
}

impl Range {
    /// Adds the position behind the next document.
    fn behind(&mut self, id: Option<&Element<'_>>, out: &mut Vec<u8>) {
        if self.counted.is_none() && id.is_some_and(|id| self.places.behind(id, out)) {
            return;
        }
        let (began, count) = self.counted.get_or_insert_with(|| (now(), 0));
        *count += 1;
        self.places.counted(*began, *count, out);
    }
}

/// What the ids of all that is read of a collection in a round begin with.
pub(super) fn id(round: Round, namespace: &Namespace) -> String {
    let hash = xxh3_64(namespace.as_str().as_bytes());
    match round {
        Round { epoch, began: 0 } => format!("copy-{epoch:x}-{hash:016x}-"),
        Round { epoch, began } => format!("copy-{epoch:x}.{began:x}-{hash:016x}-"),
    }
}

/// Ids, keys and positions of the changes of one batch, in one buffer each.
struct Parts {
    /// What all ids begin with.
    id: String,
    ids: String,
    keys: Vec<u8>,
    positions: Vec<u8>,
    /// Where those of each change end.
    ends: Vec<(usize, usize, usize)>,
}

impl Parts {
    fn new(round: Round, namespace: &Namespace) -> Self {
        let id = id(round, namespace);
        Self { id, ids: String::new(), keys: Vec::new(), positions: Vec::new(), ends: Vec::new() }
    }

    /// Of the next document of a range, with its `_id` where it has one; false for one that was read before.
    fn add(&mut self, range: &mut Range, id: Option<&Element<'_>>, document: &[u8]) -> bool {
        let start = self.positions.len();
        range.behind(id, &mut self.positions);
        if self.positions.get(start..).is_none_or(|position| position <= range.at.as_bytes()) {
            self.positions.truncate(start);
            return false;
        }
        let start = self.keys.len();
        if let Some(id) = id {
            key(id, &mut self.keys);
        }
        let key = self.keys.get(start..).filter(|key| !key.is_empty());
        let hash = xxh3_64(key.unwrap_or(document));
        let _ = write!(self.ids, "{}{hash:016x}", self.id);
        self.ends.push((self.ids.len(), self.keys.len(), self.positions.len()));
        true
    }

    /// Gives the changes theirs.
    fn finish(self, changes: &mut [Change]) {
        let (ids, keys) = (ByteString::from(self.ids), Bytes::from(self.keys));
        let positions = Bytes::from(self.positions);
        let mut from = (0, 0, 0);
        for (change, to) in changes.iter_mut().zip(self.ends) {
            if let Some(id) = ids.get(from.0..to.0) {
                change.id = ids.slice_ref(id);
            }
            change.key = Doc::from_bytes(keys.slice(from.1..to.1)).ok();
            change.position = Some(Position::new(positions.slice(from.2..to.2)));
            from = to;
        }
    }
}

/// Adds `{_id: value}`, whose length the server's limit on documents keeps small.
fn key(id: &Element<'_>, out: &mut Vec<u8>) {
    let length = 4 + 1 + 4 + id.value.len() + 1;
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    out.push(id.kind);
    out.extend_from_slice(b"_id\0");
    out.extend_from_slice(id.value);
    out.push(0);
}
