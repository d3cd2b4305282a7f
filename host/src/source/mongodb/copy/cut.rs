//! Batches, cut off the replies of a range, and the place of each document in it.

use bson::{Bson, raw::RawDocumentBuf};
use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::{Copy, Range, now, place};
use crate::{
    batch::Batch,
    change::{Change, Doc, Headers, Operation},
    error::{Code, Fault},
    format::elements::{Element, Elements, Malformed},
    position::Position,
    source::{
        BatchLimits,
        mongodb::{event::Reply, order},
    },
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
        let hash = xxh3_64(range.namespace.as_str().as_bytes());
        for document in reply.events(offset) {
            let (bytes, next) = document.map_err(malformed)?;
            if batch.changes.len() >= limits.max_events || (size > 0 && size + bytes.len() > limits.max_bytes) {
                break;
            }
            let id = Elements::of(bytes).map_err(malformed)?.find(b"_id").map_err(malformed)?;
            let id = id.ok_or_else(|| malformed(Malformed("a document has no `_id`")))?;
            let key = Key::of(&id).ok_or_else(|| malformed(Malformed("an `_id` cannot be read")))?;
            let position =
                range.behind(self.epoch, &id, &key).ok_or_else(|| malformed(Malformed("an `_id` is too big")))?;
            offset = next;
            if position <= range.at {
                continue;
            }
            batch.changes.push(Change {
                id: format!("copy-{:x}-{hash:016x}-{:016x}", self.epoch, xxh3_64(&key.document)).into(),
                operation: Operation::Read,
                namespace: range.namespace.clone(),
                key: Doc::from_bytes(key.document).ok(),
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
    /// The position behind the next document.
    fn behind(&mut self, epoch: u32, id: &Element<'_>, key: &Key) -> Option<Position> {
        if self.counted.is_none() {
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
