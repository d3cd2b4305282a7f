//! What is to be copied: collections, each cut into ranges of `_id`.

use bson::{Bson, Document, doc};
use futures::TryStreamExt as _;
use mongodb::{
    Client,
    error::Result,
    options::{AggregateOptions, ReadConcern},
    results::CollectionType,
};

use super::place::{self, By, Span};
use crate::position::Positions;

/// A range is about so many documents.
pub(super) const RANGE: u64 = 250_000;
/// Most ranges of one collection.
const MOST_RANGES: u64 = 64;
/// Documents that are looked at for each boundary: with one alone, ranges would differ widely.
const SAMPLES: u64 = 20;
/// Databases of the server's own.
const OWN: [&str; 3] = ["admin", "config", "local"];

/// A collection that is copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Collection {
    pub(super) database: String,
    pub(super) name: String,
    /// Documents, as the server estimates them.
    pub(super) documents: u64,
    by: By,
}

impl Collection {
    pub(super) fn namespace(&self) -> String {
        format!("{}.{}", self.database, self.name)
    }
}

/// The collections with documents of their own that are wanted, by database and name. Views have none, `system.` is the server's, and
/// of time-series collections, which have no change stream, the names are given back.
pub(super) async fn collections(
    client: &Client,
    database: Option<&str>,
    wanted: impl Fn(&str, &str) -> bool,
) -> Result<(Vec<Collection>, Vec<String>)> {
    let databases = match database {
        Some(database) => vec![database.to_owned()],
        None => client.list_database_names().await?.into_iter().filter(|name| !OWN.contains(&&**name)).collect(),
    };
    let (mut found, mut left_out) = (Vec::new(), Vec::new());
    for database in databases {
        let handle = client.database(&database);
        let mut listed: Vec<_> = handle.list_collections().await?.try_collect().await?;
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        for listed in listed {
            if listed.name.starts_with("system.") || !wanted(&database, &listed.name) {
                continue;
            }
            match listed.collection_type {
                CollectionType::View => continue,
                CollectionType::Timeseries => {
                    left_out.push(format!("{database}.{}", listed.name));
                    continue;
                }
                _ => {}
            }
            let by = match (listed.options.capped, &listed.options.collation) {
                (Some(true), _) => By::Natural,
                (_, Some(_)) => By::Count,
                _ => By::Order,
            };
            let documents = handle.collection::<Document>(&listed.name).estimated_document_count().await?;
            found.push(Collection { database: database.clone(), name: listed.name, documents, by });
        }
    }
    Ok((found, left_out))
}

/// The ranges of the collections, as positions before their first documents.
pub(super) async fn ranges(client: &Client, epoch: u32, collections: &[Collection], range: u64) -> Result<Positions> {
    let mut positions = Positions::default();
    for collection in collections {
        let bounds = bounds(client, collection, range).await?;
        let namespace = collection.namespace();
        let starts = std::iter::once(None).chain(bounds.iter().cloned().map(Some));
        let ends = bounds.iter().cloned().map(Some).chain(std::iter::once(None));
        for (number, (min, max)) in starts.zip(ends).enumerate() {
            if let Some(position) = place::begin(epoch, &Span { min, max, by: collection.by }) {
                positions.set(&place::partition(&namespace, number), position);
            }
        }
    }
    Ok(positions)
}

/// Values of `_id` between ranges of about the same size, in order. They are taken from a random sample: the server gives one quickly, where
/// counting its way through an index would read all of it.
async fn bounds(client: &Client, collection: &Collection, range: u64) -> Result<Vec<Bson>> {
    let ranges = (collection.documents / range).min(MOST_RANGES);
    if ranges < 2 || collection.by != By::Order {
        return Ok(Vec::new());
    }
    let size = i64::try_from(ranges * SAMPLES).unwrap_or(i64::MAX);
    let stages =
        [doc! { "$sample": { "size": size } }, doc! { "$project": { "_id": 1 } }, doc! { "$sort": { "_id": 1 } }];
    let mut options = AggregateOptions::default();
    options.read_concern = Some(ReadConcern::majority());
    let sampled = client.database(&collection.database).collection::<Document>(&collection.name);
    let sampled: Vec<Document> = sampled.aggregate(stages).with_options(options).await?.try_collect().await?;
    let mut ids: Vec<Bson> = sampled.into_iter().filter_map(|mut document| document.remove("_id")).collect();
    // The same document may be drawn twice.
    ids.dedup();
    let step = (ids.len() / usize::try_from(ranges).unwrap_or(1)).max(1);
    Ok(ids.into_iter().skip(step).step_by(step).collect())
}
