//! What a source begins with: a copy, or the stream; and how one follows the other.

mod given;
mod lost;
mod renamed;
mod stream;

use std::{collections::HashSet, sync::atomic::Ordering::Relaxed};

use mongodb::Client;

pub use self::renamed::sinks_follow_renames;
pub(super) use self::{
    lost::{Losses, Point},
    renamed::{Renamed, Renames},
};
use super::{
    Copy, MongodbSource,
    copy::{self, Planned},
    event::{epoch_of, position},
};
use crate::{
    config::{FullDocument, OnLostPosition, PipelineConfig, Secret, SinkConfig, Snapshot, SourceDdl},
    error::{Code, Fault},
    mongodb::MongoConnector,
    position::{Positions, WHOLE},
    sink::mongodb::target::Targets,
};

/// What is begun with.
pub(super) enum Begin {
    /// The stream, at these positions.
    Stream(Positions),
    /// A copy, which stands at these positions and is open.
    Copy(Positions),
    /// Nothing: the copy is done, and it was all that was asked for.
    Ended,
}

/// Where copied documents go, to see which collections are missing there.
pub struct Target {
    uri: Secret,
    names: Targets,
}

impl Target {
    /// The MongoDB sink of a pipeline that has one.
    pub fn of(pipeline: &PipelineConfig) -> Option<Self> {
        pipeline.sinks.values().find_map(|sink| match sink {
            SinkConfig::Mongodb(config) => Some(Self { uri: config.uri.clone(), names: Targets::new(config) }),
            _ => None,
        })
    }

    /// The collections that are there, by database and name.
    async fn collections(&self) -> Result<HashSet<(String, String)>, Fault> {
        let mut connector = MongoConnector::new(self.uri.clone());
        let client: Client = connector.client().await?;
        let mut found = HashSet::new();
        for database in connector.answer(client.list_database_names().into_future()).await? {
            let handle = client.database(&database);
            for collection in connector.answer(handle.list_collection_names().into_future()).await? {
                found.insert((database.clone(), collection));
            }
        }
        Ok(found)
    }
}

/// The epoch of what begins anew: greater than any that a sink may have, also one that got a little further than the others.
pub(super) fn next_epoch(epoch: u32) -> u32 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    epoch.saturating_add(1).max(u32::try_from(since.as_secs()).unwrap_or(u32::MAX))
}

impl MongodbSource {
    /// Finds out what comes first, and opens it where it is a copy.
    pub(super) async fn begin(&mut self, from: &Positions) -> Result<Begin, Fault> {
        let snapshot = self.config.snapshot;
        let epoch = from.whole().and_then(epoch_of);
        match (epoch, snapshot) {
            (None, Snapshot::Never) => Ok(Begin::Stream(from.clone())),
            (None, _) => self.begin_copy(0, false, false).await,
            (Some(epoch), Snapshot::Always) if !self.hooks.copied.load(Relaxed) => {
                self.begin_copy(next_epoch(epoch), true, true).await
            }
            (Some(_), Snapshot::Never) if self.config.on_lost_position != OnLostPosition::CopyAgain => {
                if copy::is_unfinished(from) {
                    tracing::warn!(
                        event = "copy_given_up",
                        "a copy was begun and not finished, and `snapshot: never` is set: the rest of it is not made"
                    );
                }
                Ok(Begin::Stream(from.clone()))
            }
            (Some(_), _) if copy::is_unfinished(from) => self.open_copy(from.clone(), false, true).await,
            (Some(_), Snapshot::Only) => {
                tracing::info!(event = "copy_done", "the copy was finished before: there is nothing more to do");
                Ok(Begin::Ended)
            }
            (Some(_), _) => Ok(Begin::Stream(from.clone())),
        }
    }

    /// Begins a copy of all that is wanted, and the stream before it. With `announced` the positions are handed out as batches, since an
    /// older checkpoint is there already; with `all` also what the target has.
    pub(super) async fn begin_copy(&mut self, epoch: u32, announced: bool, all: bool) -> Result<Begin, Fault> {
        let opener = self.opener().await?;
        opener.images.check(&opener.client, &self.selection, &opener.scope, &opener.place).await?;
        let (token, cursor, first) = opener.begin(&Point::Now).await?;
        let Some(token) = token.or_else(|| first.last_token()) else {
            return Err(Fault::fatal(
                Code::MongoError,
                format!(
                    "MongoDB at {} gives no resume token for a stream without events, so nothing says where changes go on behind a copy; \
                     use `snapshot: never`",
                    opener.place.hosts
                ),
            ));
        };
        drop(cursor);
        let there = match (self.config.snapshot, &self.target) {
            (Snapshot::Missing, Some(target)) if !all => Some((&target.names, target.collections().await?)),
            _ => None,
        };
        let wanted = |database: &str, collection: &str| {
            self.selection.matches(database, collection)
                && there.as_ref().is_none_or(|(targets, there)| !there.contains(&targets.names(database, collection)))
        };
        let schemas = self.config.ddl == SourceDdl::Deliver;
        let database = self.selection.one_database();
        let planned = copy::planned(&opener.client, &opener.place, epoch, database, schemas, wanted).await?;
        let Planned { mut positions, unwatched } = planned;
        for namespace in unwatched {
            tracing::warn!(
                event = "copy_unwatched",
                ns = namespace,
                "{namespace} is a time-series collection, which has no change stream: what it has now is copied, what comes later is not \
                 mirrored"
            );
        }
        let empty = positions.is_empty();
        positions.set(WHOLE, position(epoch, &token));
        self.hooks.copied.store(true, Relaxed);
        if empty {
            tracing::info!(event = "copy_done", collections = 0, documents = 0, "there is nothing to copy");
            return Ok(if self.is_at_its_end() { Begin::Ended } else { Begin::Stream(positions) });
        }
        self.open_copy(positions, announced, false).await
    }

    async fn open_copy(&mut self, positions: Positions, announced: bool, resumed: bool) -> Result<Begin, Fault> {
        let (client, place) = self.client().await?;
        let report = self.hooks.on_copy.clone();
        self.copy = Some(Copy::resume(&client, &place, &positions, announced, resumed, report).await?);
        self.hooks.copied.store(true, Relaxed);
        self.after_copy = positions.whole().cloned();
        Ok(Begin::Copy(positions))
    }

    /// Whether nothing comes behind the copy.
    pub(super) fn is_at_its_end(&self) -> bool {
        self.config.snapshot == Snapshot::Only
    }

    /// Whether the documents may be ahead of the stream: a copy was or may have been made. A lookup of all updates settles that too, and so
    /// does a post-image of each.
    pub(super) fn needs_to_catch_up(&self) -> bool {
        matches!(self.config.full_document, FullDocument::Off | FullDocument::WhenAvailable)
            && (self.config.snapshot != Snapshot::Never || self.config.on_lost_position == OnLostPosition::CopyAgain)
    }
}
