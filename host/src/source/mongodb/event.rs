//! Events of a change stream, read from the raw reply in one pass and without copying.

use std::{collections::HashMap, sync::Arc};

use bson::{
    cstr,
    raw::{RawDocument, RawDocumentBuf},
    spec::ElementType,
};
use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    change::{Change, Doc, Headers, Namespace, Operation},
    format::elements::{Element, Elements, Malformed, kind},
    position::Position,
};

/// A position begins with its epoch, four bytes, big endian: it is raised whenever what follows is no continuation of what was
/// read before, so that later positions sort behind earlier ones all the same.
pub(super) const EPOCH_BYTES: usize = 4;
/// The fifth byte of a position in a copy, which comes before the stream.
pub(super) const PHASE_COPY: u8 = 0;
/// The same of a position in the stream.
pub(super) const PHASE_STREAM: u8 = 1;

/// A position is `[epoch, 4 bytes, big endian][phase, 1 byte][the resume token's _data, text]`. MongoDB makes the text of
/// its tokens so that they sort as the events do; so positions sort as bytes.
pub(super) fn position(epoch: u32, token: &str) -> Position {
    let mut bytes = Vec::with_capacity(EPOCH_BYTES + 1 + token.len());
    bytes.extend_from_slice(&epoch.to_be_bytes());
    bytes.push(PHASE_STREAM);
    bytes.extend_from_slice(token.as_bytes());
    Position::new(bytes)
}

/// The epoch of a position; none for bytes this source did not make.
pub(super) fn epoch_of(position: &Position) -> Option<u32> {
    position.as_bytes().first_chunk::<EPOCH_BYTES>().map(|bytes| u32::from_be_bytes(*bytes))
}

/// The positions of the changes of one batch, in one buffer.
#[derive(Debug, Default)]
pub(super) struct Places {
    epoch: u32,
    buffer: Vec<u8>,
    ends: Vec<usize>,
}

impl Places {
    /// Of this epoch.
    pub(super) fn new(epoch: u32) -> Self {
        Self { epoch, ..Self::default() }
    }

    /// The next one.
    pub(super) fn add(&mut self, token: &str) {
        self.buffer.extend_from_slice(&self.epoch.to_be_bytes());
        self.buffer.push(PHASE_STREAM);
        self.buffer.extend_from_slice(token.as_bytes());
        self.ends.push(self.buffer.len());
    }

    /// All of them, in the order they were added.
    pub(super) fn finish(self) -> impl Iterator<Item = Position> {
        let buffer = Bytes::from(self.buffer);
        let mut from = 0;
        self.ends.into_iter().map(move |end| Position::new(buffer.slice(std::mem::replace(&mut from, end)..end)))
    }
}

/// The token of a position; none for bytes this source did not make.
pub(super) fn token_of(position: &Position) -> Option<&str> {
    let (head, token) = position.as_bytes().split_at_checked(EPOCH_BYTES + 1)?;
    (head.last() == Some(&PHASE_STREAM) && !token.is_empty()).then(|| std::str::from_utf8(token).ok()).flatten()
}

/// The cluster time of a token: it begins with `82`, the kind of a timestamp in the server's sortable form, then the timestamp, in
/// hexadecimal. None for tokens of another form, such as those of managed services.
pub(super) fn token_time(token: &str) -> Option<u64> {
    u64::from_str_radix(token.strip_prefix("82")?.get(..16)?, 16).ok()
}

/// The version of a resume token, which stands behind its timestamp.
pub(super) fn version_of(token: &str) -> Option<&str> {
    token.get(18..22).filter(|version| version.starts_with("2B"))
}

/// The time of the newest change that a stream behind this token will not bring. A token of an event has the event's own; that of a
/// stream without events (a high water mark) has the time before which all was told, one step into the future of an idle server, which
/// would refuse to read as late as that.
pub(super) fn told_until(token: &str) -> Option<u64> {
    // Behind the time, as numbers in the sortable form: `2B` and two digits for the version, then the kind, 0 (`29`) for a mark.
    let is_mark = token.get(18..20) == Some("2B") && token.get(22..24) == Some("29");
    token_time(token).map(|time| if is_mark { time.saturating_sub(1) } else { time })
}

/// The text of a resume token.
pub(super) fn token_text(token: &[u8]) -> Option<&str> {
    Elements::of(token).ok()?.find(b"_data").ok()??.as_str()
}

/// One reply of the server, shared by all changes made from it.
#[derive(Debug)]
pub(super) struct Reply {
    /// All its bytes; documents are slices of them.
    buffer: Bytes,
    /// The events, an array document inside the buffer.
    events: Bytes,
    /// The post-batch resume token, where the server sent one.
    pub(super) token: Option<String>,
    /// The newest cluster time the server knew of.
    pub(super) operation_time: Option<u64>,
}

impl Reply {
    /// Takes the document of a reply apart.
    pub(super) fn new(buffer: Bytes) -> Result<Self, Malformed> {
        let mut events = None;
        let mut token = None;
        let mut cursor = None;
        let mut operation_time = None;
        for element in Elements::of(&buffer)? {
            let element = element?;
            match element.name {
                b"cursor" => cursor = Some(element),
                b"operationTime" if element.kind == kind::TIMESTAMP => operation_time = element.as_u64(),
                _ => {}
            }
        }
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
        Ok(Self { events, token, operation_time, buffer })
    }

    /// The events behind the first `skip` bytes of their array, with the offset after each. After an error there is nothing more.
    pub(super) fn events(&self, skip: usize) -> impl Iterator<Item = Result<(&[u8], usize), Malformed>> {
        // An array is a document: its length, then elements, then the terminator.
        let end = self.events.len().saturating_sub(1);
        let mut at = skip.max(4);
        std::iter::from_fn(move || {
            let rest = self.events.get(at..end).filter(|rest| !rest.is_empty())?;
            let event = event_at(rest);
            at = event.as_ref().map_or(end, |(_, length)| at + length);
            Some(event.map(|(event, _)| (event, at)))
        })
    }

    /// The token behind everything in this reply.
    pub(super) fn last_token(&self) -> Option<String> {
        self.token.clone().or_else(|| {
            let (event, _) = self.events(0).last()?.ok()?;
            token_text(Event::read(event).ok()?.token?).map(str::to_owned)
        })
    }

    /// Whether there is no event behind the first `skip` bytes.
    pub(super) fn is_read(&self, skip: usize) -> bool {
        skip.max(4) + 1 >= self.events.len()
    }

    pub(super) fn doc(&self, bytes: &[u8]) -> Result<Doc, Malformed> {
        Doc::from_bytes(self.buffer.slice_ref(bytes)).map_err(|_| Malformed("a document is cut off"))
    }
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

/// The members of an event this source reads.
#[derive(Default)]
pub(super) struct Event<'a> {
    /// The resume token.
    pub(super) token: Option<&'a [u8]>,
    /// `insert`, `drop`, ...
    pub(super) operation: &'a str,
    pub(super) database: &'a str,
    pub(super) collection: &'a str,
    key: Option<&'a [u8]>,
    document: Option<&'a [u8]>,
    before: Option<&'a [u8]>,
    update: Option<&'a [u8]>,
    /// What the server says of a change of a collection.
    description: Option<&'a [u8]>,
    /// What a collection is called now.
    to: Option<&'a [u8]>,
    cluster_time: Option<u64>,
    wall_time: Option<i64>,
    /// The session of the transaction it is part of.
    pub(super) session: Option<&'a [u8]>,
    /// The number of that transaction in its session.
    pub(super) transaction: Option<i64>,
}

impl<'a> Event<'a> {
    /// One pass over the elements.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut event = Self::default();
        let document = |element: Element<'a>| (element.kind == kind::DOCUMENT).then_some(element.value);
        for element in Elements::of(bytes)? {
            let element = element?;
            match element.name {
                b"_id" => event.token = document(element),
                b"operationType" => event.operation = element.as_str().unwrap_or_default(),
                b"ns" => {
                    for part in Elements::of(document(element).ok_or(Malformed("`ns` is no document"))?)? {
                        let part = part?;
                        match part.name {
                            b"db" => event.database = part.as_str().unwrap_or_default(),
                            b"coll" => event.collection = part.as_str().unwrap_or_default(),
                            _ => {}
                        }
                    }
                }
                b"documentKey" => event.key = document(element),
                b"fullDocument" => event.document = document(element),
                b"fullDocumentBeforeChange" => event.before = document(element),
                b"updateDescription" => event.update = document(element),
                b"operationDescription" => event.description = document(element),
                b"to" => event.to = document(element),
                b"clusterTime" if element.kind == kind::TIMESTAMP => event.cluster_time = element.as_u64(),
                b"lsid" => event.session = document(element),
                b"txnNumber" if element.kind == kind::INT64 => {
                    event.transaction = element.as_u64().map(u64::cast_signed);
                }
                b"wallTime" if element.kind == kind::DATE => event.wall_time = element.as_u64().map(u64::cast_signed),
                _ => {}
            }
        }
        Ok(event)
    }

    /// What happened to a document; none for events about collections and databases.
    pub(super) fn document_operation(&self) -> Option<Operation> {
        match self.operation {
            "insert" => Some(Operation::Insert),
            "update" => Some(Operation::Update),
            "replace" => Some(Operation::Replace),
            "delete" => Some(Operation::Delete),
            _ => None,
        }
    }

    /// `database.collection`; a dropped database has no collection, and `invalidate` has neither.
    pub(super) fn namespace(&self) -> String {
        format!("{}.{}", self.database, self.collection)
    }

    /// Whether it lacks what a change needs to say where it was.
    pub(super) fn is_without_place(&self) -> bool {
        self.database.is_empty() || (self.collection.is_empty() && self.operation != "dropDatabase")
    }

    /// What happened to a collection or database; none for what is not delivered, such as `invalidate` and sharding.
    pub(super) fn ddl_operation(&self) -> Option<Operation> {
        match self.operation {
            "create" => Some(Operation::Create),
            "drop" => Some(Operation::Drop),
            "rename" => Some(Operation::Rename),
            "dropDatabase" => Some(Operation::DropDatabase),
            "createIndexes" => Some(Operation::CreateIndexes),
            "dropIndexes" => Some(Operation::DropIndexes),
            "modify" => Some(Operation::Modify),
            _ => None,
        }
    }

    /// The description of a change of a collection: the server's own where it sends one, with the new name of what was renamed, which
    /// servers before 6.0 say elsewhere. Such events are rare, so this may copy.
    fn described(&self) -> Result<Doc, Malformed> {
        const BROKEN: Malformed = Malformed("a description is cut off");
        let mut described = RawDocumentBuf::new();
        if let Some(description) = self.description {
            described = RawDocumentBuf::from_bytes(description.to_vec()).map_err(|_| BROKEN)?;
        }
        if let Some(to) = self.to.filter(|_| !matches!(described.get("to"), Ok(Some(_)))) {
            described.append(cstr!("to"), RawDocument::from_bytes(to).map_err(|_| BROKEN)?);
        }
        Ok(Doc::from(described))
    }

    /// The change, but for its id, which is written to the end of `ids`.
    pub(super) fn into_change(
        self,
        operation: Operation,
        token: &str,
        reply: &Reply,
        names: &mut Names,
        ids: &mut String,
    ) -> Result<Change, Malformed> {
        write_id(ids, self.cluster_time.unwrap_or_default(), xxh3_64(token.as_bytes()));
        let described = if operation.is_ddl() { Some(self.described()?) } else { None };
        let doc = |bytes: Option<&[u8]>| bytes.map(|bytes| reply.doc(bytes)).transpose();
        Ok(Change {
            id: bytestring::ByteString::new(),
            operation,
            namespace: names.get(self.database, self.collection),
            key: doc(self.key)?,
            document: if described.is_some() { described } else { doc(self.document)? },
            before: doc(self.before)?,
            update: doc(self.update)?,
            cluster_time: self.cluster_time,
            wall_time: self.wall_time,
            headers: Headers::default(),
            position: None,
        })
    }
}

/// The changes of one reply, as a source makes them; what is no change of a document is left out.
///
/// # Errors
/// As a source stops at: the reply or an event in it is no BSON.
pub(crate) fn changes(reply: Bytes) -> Result<Vec<Change>, Malformed> {
    let reply = Reply::new(reply)?;
    let (mut names, mut ids) = (Names::default(), String::new());
    let mut changes = Vec::new();
    for event in reply.events(0) {
        let event = Event::read(event?.0)?;
        let token = event.token.and_then(token_text).unwrap_or_default().to_owned();
        if let Some(operation) = event.document_operation().or_else(|| event.ddl_operation()) {
            changes.push(event.into_change(operation, &token, &reply, &mut names, &mut ids)?);
        }
    }
    let _ = (reply.last_token(), reply.is_read(0), token_of(&position(0, reply.token.as_deref().unwrap_or_default())));
    Ok(changes)
}

/// Length of an id: cluster time and token hash, 16 hexadecimal digits each.
pub(super) const ID_LENGTH: usize = 33;

fn write_id(out: &mut String, time: u64, token: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let hex = |number: u64| (0..16).rev().map(move |place| (number >> (place * 4)) as usize & 15);
    let digit = |nibble: usize| char::from(DIGITS.get(nibble).copied().unwrap_or(b'0'));
    out.extend(hex(time).map(digit));
    out.push('-');
    out.extend(hex(token).map(digit));
}

/// Namespaces, each made once.
#[derive(Debug, Default)]
pub(super) struct Names {
    last: Option<Arc<Namespace>>,
    all: HashMap<String, Arc<Namespace>>,
    text: String,
}

impl Names {
    /// The shared namespace of a collection.
    pub(super) fn get(&mut self, database: &str, collection: &str) -> Arc<Namespace> {
        if let Some(last) = &self.last
            && last.collection() == collection
            && last.database() == database
        {
            return last.clone();
        }
        self.text.clear();
        self.text.extend([database, ".", collection]);
        let namespace = match self.all.get(&self.text) {
            Some(namespace) => namespace.clone(),
            None => {
                let namespace = Arc::new(Namespace::new(database, collection));
                self.all.insert(self.text.clone(), namespace.clone());
                namespace
            }
        };
        self.last = Some(namespace.clone());
        namespace
    }
}

#[cfg(test)]
mod tests {
    use bson::{Timestamp, doc};

    use super::{Event, ID_LENGTH, Names, Reply, epoch_of, position, token_of, token_time, told_until};
    use crate::change::Operation;

    #[test]
    fn positions_sort_as_tokens_do_and_come_back() {
        let (earlier, later) = (position(0, "8265"), position(0, "8266AB"));
        assert!(earlier < later);
        assert!(later < position(1, "8265"), "another epoch comes later");
        assert_eq!((token_of(&later), epoch_of(&position(7, "82"))), (Some("8266AB"), Some(7)));
        assert_eq!(token_of(&crate::position::Position::new(vec![1, 2])), None);
    }

    #[test]
    fn a_mark_says_less_than_an_event_of_its_time() {
        // In the form that servers from 4.2 on give.
        let mark = "826560A0B1000000052B0229296E04";
        let change = "826560A0B1000000052B022C0100296E5A1004AB46645F696400290004";
        let time = 0x6560_A0B1_0000_0005;
        assert_eq!((token_time(mark), told_until(mark)), (Some(time), Some(time - 1)));
        assert_eq!((token_time(change), told_until(change)), (Some(time), Some(time)));
        assert_eq!(told_until("8265"), None);
    }

    #[test]
    fn a_reply_is_read_without_copying() {
        let event = |n: i32| {
            doc! {
                "_id": { "_data": format!("82{n}") }, "operationType": "insert", "clusterTime": Timestamp { time: 1, increment: n as u32 },
                "ns": { "db": "d", "coll": "a.b" }, "documentKey": { "_id": n }, "fullDocument": { "_id": n },
            }
        };
        let reply = doc! { "cursor": { "nextBatch": [event(1), event(2)], "id": 7_i64, "postBatchResumeToken": { "_data": "83" } } };
        let reply = Reply::new(reply.to_vec().unwrap().into()).unwrap();
        assert_eq!(reply.token.as_deref(), Some("83"));
        let all: Vec<_> = reply.events(0).collect::<Result<_, _>>().unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(reply.events(all[0].1).count(), 1);
        assert!(!reply.is_read(all[0].1) && reply.is_read(all[1].1));
        let (mut names, mut ids) = (Names::default(), String::new());
        let change =
            Event::read(all[1].0).unwrap().into_change(Operation::Insert, "822", &reply, &mut names, &mut ids).unwrap();
        assert_eq!(change.namespace.as_str(), "d.a.b");
        assert_eq!(change.cluster_time, Some((1 << 32) | 2));
        assert_eq!(ids.len(), ID_LENGTH);
        assert!(ids.starts_with("0000000100000002-"));
        let inside = reply.buffer.as_ptr_range();
        assert!(inside.contains(&change.document.unwrap().as_bytes().as_ptr()));
    }

    #[test]
    fn broken_replies_are_errors() {
        let reply = doc! { "cursor": { "nextBatch": [{ "_id": { "_data": "82" } }] } }.to_vec().unwrap();
        for at in 0..reply.len() {
            for byte in [0, 1, 2, 3, 4, 0x7F, 0xFF] {
                let mut bad = reply.clone();
                bad[at] = byte;
                if let Ok(reply) = Reply::new(bad.into()) {
                    for event in reply.events(0).flatten() {
                        let _ = Event::read(event.0);
                    }
                }
            }
        }
    }
}
