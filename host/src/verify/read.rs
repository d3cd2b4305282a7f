//! Reads ranges of one collection of one side.

use std::collections::HashMap;

use bson::{Bson, Document, RawDocument, RawDocumentBuf, doc};
use mongodb::{Collection, action::Find, error::Error, options::Hint};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::side::{Side, in_time};
use crate::{
    error::{Code, Fault},
    format::elements::Elements,
    source::mongodb::order,
};

/// Documents of one reply: what a cursor holds in memory.
const REPLY: u32 = 1000;

/// From one `_id`, which belongs to it, to another, which does not; none: to where the collection begins or ends. One from MaxKey is
/// of that one document.
#[derive(Clone, Debug, Default)]
pub(super) struct Range {
    pub(super) from: Option<Bson>,
    pub(super) to: Option<Bson>,
}

/// What tells two ranges apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hashed {
    pub(super) documents: u64,
    hash: u128,
}

/// A document of a range, without its content.
pub(super) struct Listed {
    pub(super) id: Bson,
    pub(super) hash: u128,
    pub(super) size: usize,
}

/// A collection of one side.
pub(super) struct Reader<'a> {
    side: &'a Side,
    database: String,
    collection: String,
}

/// An `_id` as a key: equal for values that the server takes for equal, such as 1 and 1.0, as far as that can be told.
pub(super) fn key_of(document: &RawDocument) -> Vec<u8> {
    let id = Elements::of(document.as_bytes()).ok().and_then(|elements| elements.find(b"_id").ok().flatten());
    id.map_or_else(Vec::new, |id| {
        // No kind of value sorts with a first byte of 0: the two ways cannot meet.
        order::key(&id).unwrap_or_else(|| [&[0, id.kind], id.value].concat())
    })
}

impl<'a> Reader<'a> {
    pub(super) fn new(side: &'a Side, database: &str, collection: &str) -> Self {
        Self { side, database: database.to_owned(), collection: collection.to_owned() }
    }

    pub(super) fn name(&self) -> String {
        format!("{}.{}", self.database, self.collection)
    }

    pub(super) async fn indexes(&self) -> Result<Vec<Document>, Fault> {
        self.side.indexes(&self.database, &self.collection).await
    }

    fn collection(&self) -> Collection<RawDocumentBuf> {
        self.side.collection(&self.database, &self.collection)
    }

    /// About how many documents there are.
    pub(super) async fn estimate(&self) -> Result<u64, Fault> {
        let collection = self.collection();
        self.side.ask(async || in_time(collection.estimated_document_count().into_future()).await).await
    }

    /// The `_id` behind so many documents of a range; none where it has fewer.
    pub(super) async fn nth(&self, range: &Range, n: u64) -> Result<Option<Bson>, Fault> {
        let collection = self.collection();
        let found = self.side.ask(async || {
            // Answered from the index alone.
            let find = find(&collection, range).skip(n).limit(1).projection(doc! { "_id": 1 });
            let mut cursor = in_time(find.into_future()).await?;
            Ok(if in_time(cursor.advance()).await? { Some(cursor.current().to_owned()) } else { None })
        });
        found.await?.map(|document| self.id(&document)).transpose()
    }

    /// Counts and hashes the documents of a range in the order of their `_id`.
    pub(super) async fn hash(&self, range: &Range) -> Result<Hashed, Fault> {
        let collection = self.collection();
        let hash = async || {
            let (mut documents, mut hash) = (0, Xxh3::new());
            let mut cursor = in_time(find(&collection, range).into_future()).await?;
            while in_time(cursor.advance()).await? {
                documents += 1;
                hash.update(cursor.current().as_bytes());
            }
            Ok::<_, Error>(Hashed { documents, hash: hash.digest128() })
        };
        self.side.ask(hash).await
    }

    /// Counts all documents, and hashes them whatever their order is; with `sort`, that of their fields does not count either.
    pub(super) async fn hash_unordered(&self, sort: bool) -> Result<Hashed, Fault> {
        let collection = self.collection();
        let hash = async || {
            let (mut documents, mut hash) = (0, 0_u128);
            let mut cursor = in_time(collection.find(doc! {}).batch_size(REPLY).into_future()).await?;
            while in_time(cursor.advance()).await? {
                documents += 1;
                // A sum, since two equal documents must not cancel each other out.
                hash = hash.wrapping_add(match sort {
                    true => sorted_hash(cursor.current()),
                    false => xxh3_128(cursor.current().as_bytes()),
                });
            }
            Ok::<_, Error>(Hashed { documents, hash })
        };
        self.side.ask(hash).await
    }

    /// The documents of a range by the key of their `_id`.
    pub(super) async fn list(&self, range: &Range) -> Result<HashMap<Vec<u8>, Listed>, Fault> {
        let collection = self.collection();
        let list = async || {
            let mut listed = Vec::new();
            let mut cursor = in_time(find(&collection, range).into_future()).await?;
            while in_time(cursor.advance()).await? {
                let document = cursor.current();
                let bytes = document.as_bytes();
                let id = document.get("_id").ok().flatten().and_then(|id| Bson::try_from(id).ok());
                listed.push((key_of(document), id, xxh3_128(bytes), bytes.len()));
            }
            Ok::<_, Error>(listed)
        };
        let listed = self.side.ask(list).await?;
        let of = |(key, id, hash, size): (_, Option<Bson>, _, _)| {
            Ok((key, Listed { id: id.ok_or_else(|| self.no_id())?, hash, size }))
        };
        listed.into_iter().map(of).collect()
    }

    /// The documents with one of these `_id`s, by its key.
    pub(super) async fn fetch(&self, ids: &[&Bson]) -> Result<HashMap<Vec<u8>, RawDocumentBuf>, Fault> {
        let collection = self.collection();
        let fetch = async || {
            let filter = doc! { "_id": { "$in": ids.iter().map(|id| (*id).clone()).collect::<Vec<_>>() } };
            let mut cursor = in_time(collection.find(filter).into_future()).await?;
            let mut found = HashMap::new();
            while in_time(cursor.advance()).await? {
                let document = cursor.current();
                found.insert(key_of(document), document.to_owned());
            }
            Ok::<_, Error>(found)
        };
        self.side.ask(fetch).await
    }

    fn id(&self, document: &RawDocument) -> Result<Bson, Fault> {
        let id = document.get("_id").ok().flatten().and_then(|id| Bson::try_from(id).ok());
        id.ok_or_else(|| self.no_id())
    }

    fn no_id(&self) -> Fault {
        let message = format!(
            "a document of {} has no `_id` that can be sent back, for instance text that is not UTF-8: leave the collection out with \
             --collection '!{}'",
            self.name(),
            self.collection
        );
        Fault::fatal(Code::VerifyRead, message)
    }
}

/// Of a document with its fields sorted by name.
fn sorted_hash(document: &RawDocument) -> u128 {
    let mut elements: Vec<_> = Elements::of(document.as_bytes()).into_iter().flatten().flatten().collect();
    elements.sort_by_key(|element| element.name);
    let mut hash = Xxh3::new();
    for element in elements {
        hash.update(element.name);
        hash.update(&[0, element.kind]);
        hash.update(element.value);
    }
    hash.digest128()
}

/// In the order of the index on `_id`. Its bounds are places in the index, so they reach over all types of values, as `$gt` does not.
fn find<'a>(collection: &'a Collection<RawDocumentBuf>, range: &Range) -> Find<'a, RawDocumentBuf> {
    // A query with `min` and without `max` ends before MaxKey, on every version.
    if range.from == Some(Bson::MaxKey) {
        return collection.find(doc! { "_id": Bson::MaxKey });
    }
    let mut find =
        collection.find(doc! {}).sort(doc! { "_id": 1 }).hint(Hint::Keys(doc! { "_id": 1 })).batch_size(REPLY);
    if let Some(from) = &range.from {
        find = find.min(doc! { "_id": from.clone() });
    }
    if let Some(to) = &range.to {
        find = find.max(doc! { "_id": to.clone() });
    }
    find
}
