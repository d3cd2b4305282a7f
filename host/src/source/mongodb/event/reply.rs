//! A reply of the server: an array of events or documents, of which all that is made from it are slices.

use bson::{Bson, Document, spec::ElementType};
use bytes::Bytes;

use super::{Event, position::token_text};
use crate::{
    change::Doc,
    format::elements::{Elements, Malformed, kind},
};

/// One reply of the server, shared by all changes made from it.
#[derive(Debug)]
pub(in crate::source::mongodb) struct Reply {
    /// All its bytes; documents are slices of them.
    pub(super) buffer: Bytes,
    /// The events, an array document inside the buffer.
    events: Bytes,
    /// Where the events begin that are to be read.
    start: usize,
    /// The post-batch resume token, where the server sent one.
    pub(in crate::source::mongodb) token: Option<String>,
    /// What is read is not newer.
    pub(in crate::source::mongodb) operation_time: Option<u64>,
    /// The newest time that the server knew of. A collection may be gone by what is newer than what is read.
    pub(in crate::source::mongodb) newest: Option<u64>,
}

impl Reply {
    /// Takes the document of a reply apart.
    pub(in crate::source::mongodb) fn new(buffer: Bytes) -> Result<Self, Malformed> {
        let mut events = None;
        let mut token = None;
        let mut cursor = None;
        let (mut operation_time, mut newest) = (None, None);
        for element in Elements::of(&buffer)? {
            let element = element?;
            match element.name {
                b"cursor" => cursor = Some(element),
                b"operationTime" if element.kind == kind::TIMESTAMP => operation_time = element.as_u64(),
                b"$clusterTime" => {
                    let time = Elements::of(element.value)?.find(b"clusterTime")?;
                    newest = time.filter(|time| time.kind == kind::TIMESTAMP).and_then(|time| time.as_u64());
                }
                _ => {}
            }
        }
        let newest = newest.max(operation_time);
        let cursor = cursor.ok_or(Malformed("a reply has no cursor"))?;
        for element in Elements::of(cursor.value)? {
            let element = element?;
            match element.name {
                b"firstBatch" | b"nextBatch" => events = Some(buffer.slice_ref(element.value)),
                b"postBatchResumeToken" => token = token_text(element.value).map(str::to_owned),
                _ => {}
            }
        }
        let events = events.ok_or(Malformed("a reply has no batch"))?;
        Ok(Self { events, start: 0, token, operation_time, newest, buffer })
    }

    /// The events behind the first `skip` bytes of their array, with the offset after each. After an error there is nothing more.
    pub(in crate::source::mongodb) fn events(
        &self,
        skip: usize,
    ) -> impl Iterator<Item = Result<(&[u8], usize), Malformed>> {
        // An array is a document: its length, then elements, then the terminator.
        let end = self.events.len().saturating_sub(1);
        let mut at = skip.max(self.start).max(4);
        std::iter::from_fn(move || {
            let rest = self.events.get(at..end).filter(|rest| !rest.is_empty())?;
            let event = event_at(rest);
            at = event.as_ref().map_or(end, |(_, length)| at + length);
            Some(event.map(|(event, _)| (event, at)))
        })
    }

    /// The token behind everything in this reply.
    pub(in crate::source::mongodb) fn last_token(&self) -> Option<String> {
        self.token.clone().or_else(|| {
            let (event, _) = self.events(0).last()?.ok()?;
            token_text(Event::read(event).ok()?.token?).map(str::to_owned)
        })
    }

    /// Whether there is no event behind the first `skip` bytes.
    pub(in crate::source::mongodb) fn is_read(&self, skip: usize) -> bool {
        skip.max(self.start).max(4) + 1 >= self.events.len()
    }

    /// Passes over the events up to a token. Whether all that comes is behind it.
    pub(in crate::source::mongodb) fn pass_over(&mut self, until: &str) -> bool {
        let mut start = 0;
        let mut behind = false;
        for event in self.events(0) {
            let Ok((event, next)) = event else { break };
            // One without a token is an error for who reads it.
            let token = Event::read(event).ok().and_then(|event| token_text(event.token?));
            behind = token.is_none_or(|token| token > until);
            if behind {
                break;
            }
            start = next;
        }
        self.start = start;
        if let Some(token) = self.token.as_mut().filter(|token| token.as_str() < until) {
            until.clone_into(token);
        }
        behind || self.token.as_deref().is_some_and(|token| token > until)
    }

    pub(in crate::source::mongodb) fn doc(&self, bytes: &[u8]) -> Result<Doc, Malformed> {
        Doc::from_bytes(self.buffer.slice_ref(bytes)).map_err(|_| Malformed("a document is cut off"))
    }
}

/// The newest time that a server knew of when it gave this answer; none where it tells none.
pub(in crate::source::mongodb) fn newest(answer: &Document) -> Option<u64> {
    let time = |time: &Bson| time.as_timestamp().map(|time| u64::from(time.time) << 32 | u64::from(time.increment));
    let cluster = answer.get_document("$clusterTime").ok().and_then(|told| told.get("clusterTime")).and_then(time);
    cluster.max(answer.get("operationTime").and_then(time))
}

/// The document in the element at the start, and the length of the whole element.
fn event_at(rest: &[u8]) -> Result<(&[u8], usize), Malformed> {
    const CUT: Malformed = Malformed("an event is cut off");
    let name = rest.iter().skip(1).position(|byte| *byte == 0).ok_or(CUT)?;
    let start = name + 2;
    let value = rest.get(start..).ok_or(CUT)?;
    let length = value.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes) as usize).ok_or(CUT)?;
    if rest.first() != Some(&(ElementType::EmbeddedDocument as u8)) || length < 5 {
        return Err(Malformed("an event is no document"));
    }
    Ok((value.get(..length).ok_or(CUT)?, start + length))
}
