//! The own check: both sides in the order of `_id`, byte for byte.

use std::cmp::Ordering;

use anyhow::Result;
use mongodb::bson::raw::RawBsonRef;
use mongodb::bson::{RawDocumentBuf, doc};
use mongodb::{Collection, Cursor};

/// As many differences are kept: where there are more, nobody looks at each.
const KEPT: usize = 100;

/// A document that is not the same on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// It is in the source alone.
    Missing(i64),
    /// It is in the target alone.
    Surplus(i64),
    /// Its bytes differ.
    Other(i64),
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Compared {
    /// Documents of the source.
    pub(super) documents: usize,
    /// The first of them.
    pub(super) differences: Vec<Difference>,
}

/// Compares collections whose `_id`s are 64-bit integers, on servers that nobody writes to.
///
/// # Errors
/// When a side cannot be read.
pub(super) async fn compare(
    source: &Collection<RawDocumentBuf>,
    target: &Collection<RawDocumentBuf>,
) -> Result<Compared> {
    let (mut here, mut there) = (Side::open(source).await?, Side::open(target).await?);
    let mut compared = Compared::default();
    loop {
        let order = match (here.id, there.id) {
            (None, None) => return Ok(compared),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(here), Some(there)) => here.cmp(&there),
        };
        let difference = match order {
            Ordering::Less => here.id.map(Difference::Missing),
            Ordering::Greater => there.id.map(Difference::Surplus),
            Ordering::Equal if here.bytes() != there.bytes() => here.id.map(Difference::Other),
            Ordering::Equal => None,
        };
        if compared.differences.len() < KEPT {
            compared.differences.extend(difference);
        }
        if order.is_le() {
            compared.documents += 1;
            here.advance().await?;
        }
        if order.is_ge() {
            there.advance().await?;
        }
    }
}

struct Side {
    cursor: Cursor<RawDocumentBuf>,
    /// Of the document the cursor is at; none behind the last.
    id: Option<i64>,
}

impl Side {
    async fn open(collection: &Collection<RawDocumentBuf>) -> Result<Self> {
        let cursor = collection.find(doc! {}).sort(doc! { "_id": 1 }).batch_size(10_000).await?;
        let mut side = Self { cursor, id: None };
        side.advance().await?;
        Ok(side)
    }

    async fn advance(&mut self) -> Result<()> {
        self.id = match self.cursor.advance().await? {
            true => match self.cursor.current().get("_id")? {
                Some(RawBsonRef::Int64(id)) => Some(id),
                other => anyhow::bail!("a document with the `_id` {other:?}"),
            },
            false => None,
        };
        Ok(())
    }

    fn bytes(&self) -> &[u8] {
        self.cursor.current().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{RawDocumentBuf, rawdoc};

    use super::{Difference, compare};
    use crate::TestNames;
    use crate::servers::shared;

    #[tokio::test]
    async fn what_differs_is_found() {
        let client = mongodb::Client::with_uri_str(&shared().await.mongodb_uri).await.unwrap();
        let database = client.database(TestNames::new().database());
        let (source, target) = (database.collection("source"), database.collection("target"));
        let document = |id: i64| rawdoc! { "_id": id, "n": 1 };
        source.insert_many([1, 2, 3, 5, 6, 8].map(document)).await.unwrap();
        let mut there: Vec<RawDocumentBuf> = [0, 1, 3, 4, 5, 8, 9].map(document).to_vec();
        // Equal as numbers, and not to the byte.
        there[2] = rawdoc! { "_id": 3_i64, "n": 1_i64 };
        target.insert_many(there).await.unwrap();
        let found = compare(&source, &target).await.unwrap();
        use Difference::{Missing, Other, Surplus};
        assert_eq!(found.differences, [Surplus(0), Missing(2), Other(3), Surplus(4), Missing(6), Surplus(9)]);
        assert_eq!(found.documents, 6);
        let same = compare(&source, &source).await.unwrap();
        assert_eq!((same.documents, same.differences.len()), (6, 0));
        database.drop().await.unwrap();
    }
}
