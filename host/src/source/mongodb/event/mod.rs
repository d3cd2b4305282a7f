//! Events of a change stream, read from the raw reply in one pass and without copying.

mod names;
mod position;
mod reply;

use bson::{
    cstr,
    raw::{RawDocument, RawDocumentBuf},
};
use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use self::names::write_id;
pub(super) use self::{
    names::{ID_LENGTH, Names},
    position::{
        EPOCH_BYTES, PHASE_COPY, Places, epoch_of, position, seconds, timestamp, token_of, token_text, token_time,
        told_until, version_of,
    },
    reply::{Reply, newest},
};
use crate::{
    change::{Change, Doc, Headers, Namespace, Operation},
    format::elements::{Element, Elements, Malformed, kind},
};

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
    pub(super) cluster_time: Option<u64>,
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

    /// Database and collection that a collection is called by now.
    pub(super) fn renamed_to(&self) -> Option<(&'a str, &'a str)> {
        let to = self.to.filter(|_| self.operation == "rename")?;
        let name = |name: &[u8]| Elements::of(to).ok()?.find(name).ok()??.as_str();
        Some((name(b"db")?, name(b"coll")?))
    }

    /// The drop of a collection at the same time.
    pub(super) fn drop_of<'b>(&self, namespace: &'b Namespace) -> Event<'b> {
        let (database, collection) = (namespace.database(), namespace.collection());
        let (cluster_time, wall_time) = (self.cluster_time, self.wall_time);
        Event { operation: "drop", database, collection, cluster_time, wall_time, ..Event::default() }
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

#[cfg(test)]
mod tests {
    use bson::{Timestamp, doc};

    use super::{Event, ID_LENGTH, Names, Reply};
    use crate::change::Operation;

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
