//! Batches, cut off the replies of a stream.

use std::{sync::atomic::Ordering, time::Duration};

use bytestring::ByteString;
use tokio::time::Instant;

use super::Current;
use crate::{
    batch::Batch,
    change::Operation,
    config::{FullDocument, SourceDdl},
    error::{Code, Fault},
    format::elements::Malformed,
    source::mongodb::{
        MongodbSource,
        begin::Renamed,
        documents::attach,
        event::{self, Event, ID_LENGTH, Places, position, seconds, token_time},
        faults::{Phase, Place, fault},
        select::is_internal,
    },
};

/// Least time between two batches that move the position of an idle stream alone.
const IDLE: Duration = Duration::from_secs(1);

impl MongodbSource {
    /// Cuts one batch off the current reply, or says that there is nothing to hand out yet. One that ends with a rename whose collection is to be
    /// copied waits for that.
    pub(in crate::source::mongodb) async fn cut(&mut self) -> Result<Option<Batch>, Fault> {
        let Some((client, place)) = &self.client else { return Err(not_open()) };
        let Some(stream) = &mut self.stream else { return Err(not_open()) };
        let Some(Current { reply, offset }) = &stream.current else { return Ok(None) };
        let reply = reply.clone();
        let mut offset = *offset;
        let malformed = |cause: Malformed| {
            Fault::transient(
                Code::MongoError,
                format!("an answer of MongoDB at {} cannot be read: {cause}", place.hosts),
            )
        };
        let mut batch = Batch::default();
        let (mut ids, mut places, mut size, mut last_token) = (String::new(), Places::new(self.epoch), 0, None);
        let (mut ddl, mut renamed, mut left_out) = (Vec::new(), None, Vec::new());
        let mut loops = self.loops.clone();
        for event in reply.events(offset) {
            let (bytes, next) = event.map_err(malformed)?;
            let event = Event::read(bytes).map_err(malformed)?;
            let token = event.token.and_then(event::token_text).ok_or_else(|| no_token(place))?;
            let before = || last_token.map(|token| position(self.epoch, token)).or_else(|| stream.last.0.clone());
            let mirrored = loops.is_mirrored(&event, before);
            let looked = self.renames.look(&event, token, &self.selection, &mut self.names);
            if let Some(copied) = looked.as_ref().filter(|looked| looked.copied) {
                let delivers = self.config.ddl == SourceDdl::Deliver;
                if delivers && !batch.changes.is_empty() {
                    break;
                }
                ddl.push((event.operation.to_owned(), event.namespace(), delivers));
                let changes = self.renames.changes(copied, event, token, &reply, &mut self.names, &mut ids);
                for change in changes.map_err(malformed)? {
                    places.add(token);
                    batch.changes.push(change);
                }
                (last_token, offset, renamed) = (Some(token), next, looked);
                break;
            }
            let delivered = || event.ddl_operation().filter(|_| self.config.ddl == SourceDdl::Deliver);
            let operation = event.document_operation().or_else(delivered);
            // What happened to a collection stands alone: all before it is for another state of the target than all behind it.
            let alone = operation.is_some_and(Operation::is_ddl);
            match operation {
                // tidegate's own among them: each write there would cause the next.
                Some(_) if mirrored || is_internal(event.database, event.collection) => {}
                Some(_) if event.is_without_place() => return Err(projected(place)),
                Some(operation) => {
                    if batch.changes.len() >= self.limits.max_events || (alone && !batch.changes.is_empty()) {
                        break;
                    }
                    if alone {
                        ddl.push((event.operation.to_owned(), event.namespace(), true));
                    }
                    let id_start = ids.len();
                    let change =
                        event.into_change(operation, token, &reply, &mut self.names, &mut ids).map_err(malformed)?;
                    let grown = size + change.size();
                    if !batch.changes.is_empty() && grown > self.limits.max_bytes {
                        ids.truncate(id_start);
                        break;
                    }
                    size = grown;
                    places.add(token);
                    batch.changes.push(change);
                }
                None if event.operation.is_empty() => return Err(projected(place)),
                None => ddl.push((event.operation.to_owned(), event.namespace(), false)),
            }
            last_token = Some(token);
            offset = next;
            left_out.extend(looked);
            if alone {
                break;
            }
        }
        let at_end = reply.is_read(offset);
        let token = if at_end && renamed.is_none() { reply.token.as_deref().or(last_token) } else { last_token };
        if at_end && reply.token.is_some() && token != last_token {
            loops.end();
        }
        batch.position = loops.hold(token.map(|token| position(self.epoch, token)));
        let second = token.and_then(token_time).map(seconds);
        let ids = ByteString::from(ids);
        for (change, position) in batch.changes.iter_mut().zip(places.finish()) {
            change.position = Some(position);
        }
        for (index, change) in batch.changes.iter_mut().enumerate() {
            if let Some(id) = ids.get(index * ID_LENGTH..(index + 1) * ID_LENGTH) {
                change.id = ids.slice_ref(id);
            }
        }
        if self.config.full_document == FullDocument::Lookup {
            let all = attach(&mut batch.changes, |_, _| true, client).await;
            all.map_err(|error| fault(&error, Phase::LookingUp, place))?;
        } else if let Some(catch_up) = &mut self.catch_up {
            let attached = catch_up.attach(&mut batch.changes, client).await;
            attached.map_err(|error| fault(&error, Phase::LookingUp, place))?;
            if catch_up.is_over() {
                self.catch_up = None;
            }
        }
        // From here on nothing waits: a cancelled call before this point cuts the same batch again.
        self.loops = loops;
        for (kind, namespace, delivered) in ddl {
            let namespace = namespace.trim_end_matches('.');
            if delivered {
                tracing::info!(event = "source_ddl", kind, ns = namespace, "a change of a collection: delivered");
            } else if matches!(&*kind, "drop" | "rename" | "dropDatabase" | "invalidate") {
                tracing::warn!(event = "source_ddl", kind, ns = namespace, "not a change of a document: passed over");
            } else {
                tracing::info!(event = "source_ddl", kind, ns = namespace, "not a change of a document: passed over");
            }
            (self.hooks.on_ddl)(&kind, namespace);
        }
        left_out.iter().for_each(Renamed::tell_left_out);
        if let Some(second) = second {
            stream.second.store(second, Ordering::Relaxed);
        }
        stream.current = (!at_end).then_some(Current { reply, offset });
        let (last_position, last_time) = &stream.last;
        let moved = batch.position.is_some() && batch.position != *last_position;
        if batch.changes.is_empty() && renamed.is_none() && !(moved && last_time.elapsed() >= IDLE) {
            return Ok(None);
        }
        self.losses.progressed();
        stream.last = (batch.position.clone().or_else(|| last_position.clone()), Instant::now());
        match renamed {
            Some(renamed) => self.renamed = Some((renamed, batch)),
            None => return Ok(Some(batch)),
        }
        Ok(None)
    }
}

pub(in crate::source::mongodb) fn not_open() -> Fault {
    Fault::transient(Code::MongoError, "the change stream is not open")
}

fn no_token(place: &Place) -> Fault {
    Fault::fatal(
        Code::MongoError,
        format!(
            "MongoDB at {} sends events without a resume token of the known form ({{_data: text}}), so no position can be kept; \
             if the source's `pipeline` changes `_id`, take that out",
            place.hosts
        ),
    )
}

fn projected(place: &Place) -> Fault {
    Fault::fatal(
        Code::MongoConfiguration,
        format!(
            "events from MongoDB at {} have no `operationType` or `ns`: the source's `pipeline` takes them out; let it keep \
             `_id`, `operationType`, `ns`, `documentKey` and `clusterTime`",
            place.hosts
        ),
    )
}
