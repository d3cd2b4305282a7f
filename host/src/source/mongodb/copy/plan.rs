//! What is to be copied: collections, each cut into ranges of `_id`.

use bson::{Bson, Document, doc};
use futures::TryStreamExt as _;
use mongodb::{
    Client,
    error::Result,
    options::{AggregateOptions, ReadConcern},
    results::CollectionType,
};

use super::place::{self, By, Part, Round, Span};
use crate::position::Positions;

/// A range is about so many documents.
pub(super) const RANGE: u64 = 250_000;
/// Most ranges of one collection.
const MOST_RANGES: u64 = 64;
/// Documents that are looked at for each boundary: with one alone, ranges would differ widely.
const SAMPLES: u64 = 20;
/// Databases of the server's own.
const OWN: [&str; 3] = ["admin", "config", "local"];

/// A collection or view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Collection {
    pub(super) database: String,
    pub(super) name: String,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It has so many documents, as the server estimates them.
    Documents { about: u64, by: By },
    /// It shows documents of others.
    View,
    /// It has documents, but no change stream, and no index on `_id`.
    Timeseries,
}

impl Collection {
    pub(super) fn namespace(&self) -> String {
        format!("{}.{}", self.database, self.name)
    }
}

/// The collections and views that are wanted, by database and name; what is called `system.` is the server's.
pub(super) async fn collections(
    client: &Client,
    database: Option<&str>,
    wanted: impl Fn(&str, &str) -> bool,
) -> Result<Vec<Collection>> {
    let databases = match database {
        Some(database) => vec![database.to_owned()],
        None => client.list_database_names().await?.into_iter().filter(|name| !OWN.contains(&&**name)).collect(),
    };
    let mut found = Vec::new();
    for database in databases {
        let handle = client.database(&database);
        let mut listed: Vec<_> = handle.list_collections().await?.try_collect().await?;
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        for listed in listed {
            if listed.name.starts_with("system.") || !wanted(&database, &listed.name) {
                continue;
            }
            let kind = match listed.collection_type {
                CollectionType::View => Kind::View,
                CollectionType::Timeseries => Kind::Timeseries,
                _ => {
                    let by = match (listed.options.capped, &listed.options.collation) {
                        (Some(true), _) => By::Natural,
                        (_, Some(_)) => By::Count,
                        _ => By::Order,
                    };
                    let about = handle.collection::<Document>(&listed.name).estimated_document_count().await?;
                    Kind::Documents { about, by }
                }
            };
            found.push(Collection { database: database.clone(), name: listed.name, kind });
        }
    }
    Ok(found)
}

/// The names of those that no change stream tells of.
pub(super) fn unwatched(collections: &[Collection]) -> Vec<String> {
    collections.iter().filter(|collection| collection.kind == Kind::Timeseries).map(Collection::namespace).collect()
}

/// The ranges of the collections, as positions before their first documents; with `schemas`, also before what makes them in the target.
pub(super) async fn ranges(
    client: &Client,
    round: Round,
    collections: &[Collection],
    schemas: bool,
    range: u64,
) -> Result<Positions> {
    let mut positions = Positions::default();
    for collection in collections {
        let namespace = collection.namespace();
        let mut set = |part, span: &Span| {
            if let Some(position) = place::begin(round, span) {
                positions.set(&place::partition(&namespace, part), position);
            }
        };
        if schemas {
            let whole = Span { min: None, max: None, by: By::Order };
            set(Part::Create, &whole);
            set(Part::Indexes, &whole);
        }
        let (about, by) = match collection.kind {
            Kind::Documents { about, by } => (about, by),
            Kind::Timeseries => (0, By::Natural),
            Kind::View => continue,
        };
        let bounds = if by == By::Order { bounds(client, collection, about / range).await? } else { Vec::new() };
        let starts = std::iter::once(None).chain(bounds.iter().cloned().map(Some));
        let ends = bounds.iter().cloned().map(Some).chain(std::iter::once(None));
        for (number, (min, max)) in starts.zip(ends).enumerate() {
            set(Part::Range(number), &Span { min, max, by });
        }
    }
    Ok(positions)
}

/// Values of `_id` between ranges of about the same size, in order. They are taken from a random sample: the server gives one quickly, where
/// counting its way through an index would read all of it.
async fn bounds(client: &Client, collection: &Collection, ranges: u64) -> Result<Vec<Bson>> {
    let ranges = ranges.min(MOST_RANGES);
    if ranges < 2 {
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
