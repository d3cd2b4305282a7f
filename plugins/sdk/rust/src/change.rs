use std::fmt;

use crate::arena;
use crate::bindings::types;
use crate::bson::{DateTime, Document};

/// What happened to the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// It is new.
    Insert,
    /// Some of its fields changed.
    Update,
    /// Another document took its place.
    Replace,
    /// It is gone.
    Delete,
    /// It was there before the stream began, and a copy read it.
    Read,
}

impl Operation {
    pub(crate) fn of(operation: types::Operation) -> Self {
        match operation {
            types::Operation::Insert => Self::Insert,
            types::Operation::Update => Self::Update,
            types::Operation::Replace => Self::Replace,
            types::Operation::Delete => Self::Delete,
            types::Operation::Read => Self::Read,
        }
    }

    pub(crate) fn raw(self) -> types::Operation {
        match self {
            Self::Insert => types::Operation::Insert,
            Self::Update => types::Operation::Update,
            Self::Replace => types::Operation::Replace,
            Self::Delete => types::Operation::Delete,
            Self::Read => types::Operation::Read,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Replace => "replace",
            Self::Delete => "delete",
            Self::Read => "read",
        })
    }
}

/// Where the document lives. Prints as `database.collection`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Namespace<'a> {
    /// Name of the database.
    pub database: &'a str,
    /// Name of the collection, which may have dots in it.
    pub collection: &'a str,
}

impl fmt::Display for Namespace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.database, self.collection)
    }
}

/// Changes in the order of their source.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    raw: &'a types::Batch,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(raw: &'a types::Batch) -> Self {
        Self { raw }
    }

    /// How many changes there are.
    pub fn len(&self) -> usize {
        self.raw.changes.len()
    }

    /// Whether there is no change; the host sends no such batch.
    pub fn is_empty(&self) -> bool {
        self.raw.changes.is_empty()
    }

    /// The changes.
    pub fn changes(&self) -> impl ExactSizeIterator<Item = Change<'a>> + use<'a> {
        let batch = self.raw;
        batch.changes.iter().map(move |raw| Change { batch, raw })
    }

    pub(crate) fn arena_size(&self) -> usize {
        self.raw.arena.len()
    }
}

/// One change, borrowed from its batch.
#[derive(Clone, Copy)]
pub struct Change<'a> {
    batch: &'a types::Batch,
    raw: &'a types::Change,
}

impl<'a> Change<'a> {
    fn document_at(&self, span: types::Span) -> Option<Document<'a>> {
        arena::bytes(&self.batch.arena, span).map(Document::new)
    }

    /// The change's id: the same after a restart, and the correlation id of all log lines.
    pub fn id(&self) -> &'a str {
        arena::text(&self.batch.arena, self.raw.id).unwrap_or_default()
    }

    /// What happened.
    pub fn operation(&self) -> Operation {
        Operation::of(self.raw.operation)
    }

    /// Where the document lives.
    pub fn namespace(&self) -> Namespace<'a> {
        let raw = self.batch.namespaces.get(self.raw.namespace as usize);
        raw.map_or(Namespace { database: "", collection: "" }, |raw| Namespace {
            database: &raw.database,
            collection: &raw.collection,
        })
    }

    /// The whole document key: `_id`, and the fields of the shard key where there is one.
    pub fn key(&self) -> Document<'a> {
        self.document_at(self.raw.key).unwrap_or(Document::EMPTY)
    }

    /// The document after the change. A delete has none, nor has an update whose document was gone when it was looked up.
    pub fn document(&self) -> Option<Document<'a>> {
        self.document_at(self.raw.document)
    }

    /// The document before the change, where the source was asked for it.
    pub fn before(&self) -> Option<Document<'a>> {
        self.document_at(self.raw.before)
    }

    /// The source's description of an update (MongoDB's `updateDescription`).
    pub fn update(&self) -> Option<Document<'a>> {
        self.document_at(self.raw.update)
    }

    /// The value of a header, such as `schema_version`, that the source or an earlier stage gave the change.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers().find(|(header, _)| *header == name).map(|(_, value)| value)
    }

    /// All headers.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let batch = self.batch;
        arena::entries(&batch.headers, self.raw.headers).iter().filter_map(|header| {
            Some((arena::text(&batch.arena, header.name)?, arena::text(&batch.arena, header.value).unwrap_or_default()))
        })
    }

    /// The source's logical time: seconds since 1970 in the upper 32 bits, a counter in the lower.
    pub fn cluster_time(&self) -> Option<u64> {
        Some(self.raw.cluster_time).filter(|&time| time != 0)
    }

    /// When it happened by the server's clock.
    pub fn wall_time(&self) -> Option<DateTime> {
        Some(DateTime(self.raw.wall_time)).filter(|time| time.0 != 0)
    }
}

impl fmt::Debug for Change<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change")
            .field("id", &self.id())
            .field("operation", &self.operation())
            .field("namespace", &self.namespace())
            .field("key", &self.key())
            .field("document", &self.document())
            .finish_non_exhaustive()
    }
}
