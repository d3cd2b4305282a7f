//! The nouns of a stream: a change, its documents and its names.
//!
//! Everything a change holds is a slice of the buffer it was read into ([`bytes::Bytes`]): a change is made, passed from
//! task to task and dropped without copying or parsing its documents. They are BSON until a sink or a plugin needs
//! something else, so every BSON type arrives as it was sent.

use std::{fmt, sync::Arc};

use bson::raw::{RawDocument, RawDocumentBuf};
use bytes::Bytes;
use bytestring::ByteString;
use smallvec::SmallVec;

use crate::position::Position;

/// A BSON document as bytes, of which length and terminator were checked; the elements are checked when they are read.
#[derive(Clone, PartialEq, Eq)]
pub struct Doc(Bytes);

impl Doc {
    /// Takes the bytes of one BSON document.
    ///
    /// # Errors
    /// When the length prefix or the terminating NUL do not fit the bytes.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, bson::error::Error> {
        RawDocument::from_bytes(&bytes)?;
        Ok(Self(bytes))
    }

    /// Takes a document that lies inside `buffer`, without copying it; one from elsewhere is copied.
    pub fn inside(buffer: &Bytes, document: &RawDocument) -> Self {
        let bytes = document.as_bytes();
        let (outer, inner) = (buffer.as_ptr_range(), bytes.as_ptr_range());
        if outer.start <= inner.start && inner.end <= outer.end {
            Self(buffer.slice_ref(bytes))
        } else {
            Self(Bytes::copy_from_slice(bytes))
        }
    }

    /// The document, to read elements from.
    pub fn as_raw(&self) -> &RawDocument {
        // The bytes were checked by every constructor; an empty document stands in for what cannot happen.
        const EMPTY: &[u8] = &[5, 0, 0, 0, 0];
        RawDocument::from_bytes(&self.0).or_else(|_| RawDocument::from_bytes(EMPTY)).unwrap_or_else(|_| unreachable!())
    }

    /// A copy with bytes of its own: what was read together shares one buffer, which any part of it keeps alive.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }

    /// The bytes as they came.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<RawDocumentBuf> for Doc {
    fn from(document: RawDocumentBuf) -> Self {
        Self(Bytes::from(document.into_bytes()))
    }
}

impl fmt::Debug for Doc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_raw().fmt(f)
    }
}

/// What happened: to a document, or to a collection or database as a whole ([`Operation::is_ddl`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A document was inserted.
    Insert,
    /// Fields of a document were changed.
    Update,
    /// A document was replaced by another with the same key.
    Replace,
    /// A document was deleted.
    Delete,
    /// A document that was there before the stream began, read by a copy.
    Read,
    /// A collection or view was made.
    Create,
    /// A collection or view was dropped.
    Drop,
    /// A collection got another name.
    Rename,
    /// A database was dropped.
    DropDatabase,
    /// Indexes were made.
    CreateIndexes,
    /// Indexes were dropped.
    DropIndexes,
    /// Options of a collection or of an index were changed.
    Modify,
}

impl Operation {
    /// All of them: those of documents first, in the order of the plugin contract.
    pub const ALL: [Self; 12] = [
        Self::Insert,
        Self::Update,
        Self::Replace,
        Self::Delete,
        Self::Read,
        Self::Create,
        Self::Drop,
        Self::Rename,
        Self::DropDatabase,
        Self::CreateIndexes,
        Self::DropIndexes,
        Self::Modify,
    ];

    /// Whether it is about a collection or database and not about a document. Such a change has no key; it passes all stages by,
    /// goes to every sink, and stands in a batch of its own.
    pub const fn is_ddl(self) -> bool {
        match self {
            Self::Insert | Self::Update | Self::Replace | Self::Delete | Self::Read => false,
            Self::Create
            | Self::Drop
            | Self::Rename
            | Self::DropDatabase
            | Self::CreateIndexes
            | Self::DropIndexes
            | Self::Modify => true,
        }
    }

    /// The name used in configuration, files, streams, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Replace => "replace",
            Self::Delete => "delete",
            Self::Read => "read",
            Self::Create => "create",
            Self::Drop => "drop",
            Self::Rename => "rename",
            Self::DropDatabase => "drop_database",
            Self::CreateIndexes => "create_indexes",
            Self::DropIndexes => "drop_indexes",
            Self::Modify => "modify",
        }
    }

    /// The operation of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.as_str() == name)
    }
}

impl From<crate::config::OperationName> for Operation {
    fn from(name: crate::config::OperationName) -> Self {
        use crate::config::OperationName as Name;
        match name {
            Name::Insert => Self::Insert,
            Name::Update => Self::Update,
            Name::Replace => Self::Replace,
            Name::Delete => Self::Delete,
            Name::Read => Self::Read,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a document lives: `database.collection`. Sources share one for all changes of a collection. What happened to a whole
/// database has the name of the database alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Namespace {
    full: Box<str>,
    dot: usize,
}

impl Namespace {
    /// From the two names; no collection: the database.
    pub fn new(database: &str, collection: &str) -> Self {
        if collection.is_empty() {
            return Self { full: database.into(), dot: database.len() };
        }
        Self { full: format!("{database}.{collection}").into_boxed_str(), dot: database.len() }
    }

    /// From `database.collection`; the collection may hold more dots, the database none.
    pub fn parse(full: &str) -> Option<Self> {
        let dot = full.find('.')?;
        (dot > 0 && dot + 1 < full.len()).then(|| Self { full: full.into(), dot })
    }

    /// As [`Namespace::parse`], for a change of that operation: of a dropped database it is the database alone.
    pub fn parse_for(operation: Operation, full: &str) -> Option<Self> {
        match operation {
            Operation::DropDatabase => (!full.is_empty() && !full.contains('.')).then(|| Self::new(full, "")),
            _ => Self::parse(full),
        }
    }

    /// The database.
    pub fn database(&self) -> &str {
        self.full.get(..self.dot).unwrap_or_default()
    }

    /// The collection; empty for a database.
    pub fn collection(&self) -> &str {
        self.full.get(self.dot + 1..).unwrap_or_default()
    }

    /// `database.collection`, or `database` alone.
    pub fn as_str(&self) -> &str {
        &self.full
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.full)
    }
}

/// A header: something known about a change that is not in its document (schema version, provenance, what stages add).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Lower case, words joined by `_`.
    pub name: ByteString,
    /// Text.
    pub value: ByteString,
}

/// The headers of one change: few, so a list is quicker than a map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(SmallVec<[Header; 1]>);

impl Headers {
    /// The value of a header.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|header| header.name == name).map(|header| &*header.value)
    }

    /// Sets a header; an earlier value of that name is replaced.
    pub fn set(&mut self, name: ByteString, value: ByteString) {
        match self.0.iter_mut().find(|header| header.name == name) {
            Some(header) => header.value = value,
            None => self.0.push(Header { name, value }),
        }
    }

    /// All of them, in the order they were first set.
    pub fn iter(&self) -> std::slice::Iter<'_, Header> {
        self.0.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl FromIterator<Header> for Headers {
    fn from_iter<I: IntoIterator<Item = Header>>(headers: I) -> Self {
        Self(headers.into_iter().collect())
    }
}

/// Name of the header with the schema version a migrator or validator found or made.
pub const SCHEMA_VERSION: &str = "schema_version";

/// One change: of one document, or of a collection or database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Derived from the position in the source, so it is the same after a restart: the correlation id of every log
    /// line, and what consumers drop doubles by.
    pub id: ByteString,
    /// What happened.
    pub operation: Operation,
    /// Where.
    pub namespace: Arc<Namespace>,
    /// The whole document key: `_id`, and the shard key where there is one. Orders the changes of one document.
    pub key: Option<Doc>,
    /// The document after the change; none for deletes, and where a looked-up document is gone. Of a change of a collection: the
    /// server's description of it, which may be empty.
    pub document: Option<Doc>,
    /// The document before the change, where the source was asked for it.
    pub before: Option<Doc>,
    /// The source's own description of an update.
    pub update: Option<Doc>,
    /// Seconds since 1970 in the upper half, a counter in the lower; none where the source has none.
    pub cluster_time: Option<u64>,
    /// Milliseconds since 1970, UTC, by the server's clock; none where the source has none.
    pub wall_time: Option<i64>,
    /// What is known beside the document.
    pub headers: Headers,
    /// Where the source stands behind this change, in the partition of its batch; none for a source without positions. What a stage
    /// made of a change has its position.
    pub position: Option<Position>,
}

impl Change {
    /// When it happened, in milliseconds since 1970: the wall time, else the seconds of the cluster time.
    pub fn happened_at(&self) -> Option<i64> {
        self.wall_time.or_else(|| self.cluster_time.map(|time| i64::try_from(time >> 32).unwrap_or(0) * 1000))
    }

    /// A copy to be held for long: with bytes of its own, see [`Doc::detached`], and without what says how the document came to be
    /// as it is.
    #[must_use]
    pub fn detached(&self) -> Self {
        let copy = |document: &Option<Doc>| document.as_ref().map(Doc::detached);
        let text = |text: &ByteString| ByteString::from(String::from(&**text));
        let headers = self.headers.iter().map(|header| Header { name: text(&header.name), value: text(&header.value) });
        Self {
            id: text(&self.id),
            operation: self.operation,
            namespace: Arc::clone(&self.namespace),
            key: copy(&self.key),
            document: copy(&self.document),
            before: None,
            update: None,
            cluster_time: self.cluster_time,
            wall_time: self.wall_time,
            headers: headers.collect(),
            position: self.position.as_ref().map(Position::detached),
        }
    }

    /// Bytes of its documents: what bounds are counted in.
    pub fn size(&self) -> usize {
        [&self.key, &self.document, &self.before, &self.update]
            .into_iter()
            .flatten()
            .map(|doc| doc.as_bytes().len())
            .sum::<usize>()
            + 128
    }

    /// The value of `_id` as text for logs: hex for an ObjectId, JSON for the rest.
    pub fn document_id(&self) -> String {
        let Some(key) = &self.key else { return String::new() };
        match key.as_raw().get("_id") {
            Ok(Some(bson::raw::RawBsonRef::ObjectId(id))) => id.to_hex(),
            Ok(Some(bson::raw::RawBsonRef::String(text))) => text.to_owned(),
            Ok(Some(value)) => {
                let mut out = Vec::new();
                crate::format::json::write_value(&mut out, value, crate::format::json::Style::Relaxed);
                String::from_utf8_lossy(&out).into_owned()
            }
            _ => String::new(),
        }
    }
}
