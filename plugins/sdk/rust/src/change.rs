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
    /// By its number in a batch; a later version of the contract may have more, which this one takes for updates.
    pub(crate) fn of_number(number: u32) -> Self {
        match number {
            0 => Self::Insert,
            2 => Self::Replace,
            3 => Self::Delete,
            4 => Self::Read,
            _ => Self::Update,
        }
    }

    pub(crate) fn number(self) -> u32 {
        match self {
            Self::Insert => 0,
            Self::Update => 1,
            Self::Replace => 2,
            Self::Delete => 3,
            Self::Read => 4,
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
        self.raw.changes.len() / stride(self.raw)
    }

    /// Whether there is no change; the host sends no such batch.
    pub fn is_empty(&self) -> bool {
        self.raw.changes.is_empty()
    }

    /// The changes.
    pub fn changes(&self) -> impl ExactSizeIterator<Item = Change<'a>> + use<'a> {
        let batch = self.raw;
        batch.changes.chunks_exact(stride(batch)).map(move |raw| Change { batch, raw })
    }

    pub(crate) fn arena_size(&self) -> usize {
        self.raw.arena.len()
    }
}

/// Where the numbers of a change stand: the table in `wit/types.wit`.
pub(crate) mod place {
    pub(crate) const ID: usize = 0;
    pub(crate) const OPERATION: usize = 2;
    pub(crate) const NAMESPACE: usize = 3;
    pub(crate) const KEY: usize = 4;
    pub(crate) const DOCUMENT: usize = 6;
    pub(crate) const BEFORE: usize = 8;
    pub(crate) const UPDATE: usize = 10;
    pub(crate) const CLUSTER_TIME: usize = 12;
    pub(crate) const WALL_TIME: usize = 14;
    pub(crate) const HEADERS: usize = 16;
    /// Numbers of a change in this version; a host of a later one may send more.
    pub(crate) const COUNT: u32 = 18;
}

/// Numbers a header has.
pub(crate) const HEADER_NUMBERS: usize = 4;

fn stride(batch: &types::Batch) -> usize {
    (batch.stride as usize).max(1)
}

/// One change, borrowed from its batch.
#[derive(Clone, Copy)]
pub struct Change<'a> {
    batch: &'a types::Batch,
    raw: &'a [u32],
}

impl<'a> Change<'a> {
    fn number(&self, at: usize) -> u32 {
        self.raw.get(at).copied().unwrap_or_default()
    }

    fn span(&self, at: usize) -> types::Span {
        types::Span { offset: self.number(at), length: self.number(at + 1) }
    }

    fn wide(&self, at: usize) -> u64 {
        u64::from(self.number(at)) | u64::from(self.number(at + 1)) << 32
    }

    fn document_at(&self, at: usize) -> Option<Document<'a>> {
        arena::bytes(&self.batch.arena, self.span(at)).map(Document::new)
    }

    /// The change's id: the same after a restart, and the correlation id of all log lines.
    pub fn id(&self) -> &'a str {
        arena::text(&self.batch.arena, self.span(place::ID)).unwrap_or_default()
    }

    /// What happened.
    pub fn operation(&self) -> Operation {
        Operation::of_number(self.number(place::OPERATION))
    }

    /// Where the document lives.
    pub fn namespace(&self) -> Namespace<'a> {
        let raw = self.batch.namespaces.get(self.number(place::NAMESPACE) as usize);
        raw.map_or(Namespace { database: "", collection: "" }, |raw| Namespace {
            database: &raw.database,
            collection: &raw.collection,
        })
    }

    /// The whole document key: `_id`, and the fields of the shard key where there is one.
    pub fn key(&self) -> Document<'a> {
        self.document_at(place::KEY).unwrap_or(Document::EMPTY)
    }

    /// The document after the change. A delete has none, nor has an update whose document was gone when it was looked up.
    pub fn document(&self) -> Option<Document<'a>> {
        self.document_at(place::DOCUMENT)
    }

    /// The document before the change, where the source was asked for it.
    pub fn before(&self) -> Option<Document<'a>> {
        self.document_at(place::BEFORE)
    }

    /// The source's description of an update (MongoDB's `updateDescription`).
    pub fn update(&self) -> Option<Document<'a>> {
        self.document_at(place::UPDATE)
    }

    /// The value of a header, such as `schema_version`, that the source or an earlier stage gave the change.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers().find(|(header, _)| *header == name).map(|(_, value)| value)
    }

    /// All headers.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let arena = &self.batch.arena;
        let (first, count) = (self.number(place::HEADERS) as usize, self.number(place::HEADERS + 1) as usize);
        let list = self.batch.headers.chunks_exact(HEADER_NUMBERS).skip(first).take(count);
        list.filter_map(|numbers| {
            let &[name, name_length, value, value_length] = numbers else { return None };
            let name = arena::text(arena, types::Span { offset: name, length: name_length })?;
            Some((name, arena::text(arena, types::Span { offset: value, length: value_length }).unwrap_or_default()))
        })
    }

    /// The source's logical time: seconds since 1970 in the upper 32 bits, a counter in the lower.
    pub fn cluster_time(&self) -> Option<u64> {
        Some(self.wide(place::CLUSTER_TIME)).filter(|&time| time != 0)
    }

    /// When it happened by the server's clock.
    pub fn wall_time(&self) -> Option<DateTime> {
        Some(DateTime(self.wide(place::WALL_TIME).cast_signed())).filter(|time| time.0 != 0)
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
