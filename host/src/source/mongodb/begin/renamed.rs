//! Collections that get a name by a rename, and so come without an event for each document.
//!
//! What is read under a name ends where the collection is renamed: of one that is renamed while it is copied the rest is missing, and one
//! that comes from a name that is not watched is missing altogether. So the collection of the new name is copied at that place of the stream, which
//! goes on when the copy is done. The documents may then be ahead of the stream, as behind the first copy.
//!
//! Where changes of collections are delivered, the copy begins with a `drop` of the new name: what stood there is gone with every rename that
//! the server lets happen, and servers before 6.0 do not say whether there was anything.

use std::sync::Arc;

use super::{
    super::{
        Copy, MongodbSource, copy,
        event::{Event, Names, Reply, token_time},
        select::Selection,
        stream::not_open,
    },
    OnLostPosition, PipelineConfig, Positions, SinkConfig, Snapshot, SourceDdl, WHOLE,
};
use crate::{
    batch::Batch,
    change::{Change, Namespace, Operation},
    config::{DdlAction, MongodbSourceConfig, RedisMode, WriteMode},
    error::Fault,
    format::elements::Malformed,
};

/// Whether the sinks of a pipeline need only be told of a rename: they do the same, or write down that it happened.
pub fn sinks_follow_renames(pipeline: &PipelineConfig) -> bool {
    pipeline.sinks.values().all(|sink| match sink {
        SinkConfig::Mongodb(sink) => sink.mode == WriteMode::Append || sink.ddl.rename == DdlAction::Apply,
        SinkConfig::Redis(sink) => matches!(sink.mode, RedisMode::Stream | RedisMode::List | RedisMode::Pubsub),
        // An entry for each change.
        _ => true,
    })
}

/// A rename to a name that is watched.
#[derive(Debug)]
pub(in crate::source::mongodb) struct Renamed {
    from: Arc<Namespace>,
    to: Arc<Namespace>,
    /// Whether the old name is watched too, so that the rename itself is a change of what is selected.
    from_watched: bool,
    /// Whether the new name is copied.
    pub(in crate::source::mongodb) copied: bool,
}

/// What decides on renames.
#[derive(Debug)]
pub(in crate::source::mongodb) struct Renames {
    /// Where the copies of all collections stand.
    pub(in crate::source::mongodb) copies: Positions,
    delivered: bool,
    /// Whether the sinks follow renames.
    followed: bool,
    snapshot: Snapshot,
    on_lost: OnLostPosition,
    /// Another mirror may do to this deployment what is done to its target.
    both_ways: bool,
}

impl Renames {
    pub(in crate::source::mongodb) fn new(config: &MongodbSourceConfig, followed: bool) -> Self {
        Self {
            copies: Positions::default(),
            delivered: config.ddl == SourceDdl::Deliver,
            followed,
            snapshot: config.snapshot,
            on_lost: config.on_lost_position,
            both_ways: config.skip_mirrored,
        }
    }

    /// What an event renames to a watched name, unless it is enough to deliver it.
    pub(in crate::source::mongodb) fn look(
        &self,
        event: &Event<'_>,
        token: &str,
        selection: &Selection,
        names: &mut Names,
    ) -> Option<Renamed> {
        let (database, collection) = event.renamed_to()?;
        if !selection.matches(database, collection) {
            return None;
        }
        let from = names.get(event.database, event.collection);
        let from_watched = selection.matches(event.database, event.collection);
        let time = event.cluster_time.or_else(|| token_time(token));
        let while_copied =
            copy::ended(&self.copies, &from).is_some_and(|ended| time.is_none_or(|renamed| renamed <= ended));
        let is_known = from_watched && !is_silent(event.collection) && self.delivered && self.followed;
        let copied = match self.snapshot {
            // Only what a lost position made necessary is ever copied.
            Snapshot::Never => while_copied && self.on_lost == OnLostPosition::CopyAgain,
            _ => while_copied || !is_known,
        };
        let to = names.get(database, collection);
        (copied || !is_known).then_some(Renamed { from, to, from_watched, copied })
    }

    /// The changes that it is delivered as, before the documents.
    pub(in crate::source::mongodb) fn changes(
        &self,
        renamed: &Renamed,
        event: Event<'_>,
        token: &str,
        reply: &Reply,
        names: &mut Names,
        ids: &mut String,
    ) -> Result<Vec<Change>, Malformed> {
        let mut changes = Vec::new();
        if !self.delivered {
            return Ok(changes);
        }
        let dropped = event.drop_of(&renamed.to);
        if renamed.from_watched {
            changes.push(event.into_change(Operation::Rename, token, reply, names, ids)?);
        }
        // A drop that comes back from the other mirror would be one of what stands here now.
        if !self.both_ways {
            changes.push(dropped.into_change(Operation::Drop, &format!("{token} drop"), reply, names, ids)?);
        }
        Ok(changes)
    }
}

/// Whether the server fills a collection of that name without an event for each document, to rename it then: for `convertToCapped`, and before
/// 6.0 for a rename to another database.
fn is_silent(collection: &str) -> bool {
    let behind = collection.strip_prefix("tmp").and_then(|rest| rest.get(5..)).unwrap_or_default();
    behind == ".renameCollection" || behind.starts_with(".convertToCapped.")
}

impl Renamed {
    /// Tells that its documents are in no event and in no copy.
    pub(in crate::source::mongodb) fn tell_left_out(&self) {
        let Self { from, to, .. } = self;
        tracing::warn!(
            event = "rename_not_copied",
            ns = to.as_str(),
            from = from.as_str(),
            "{to} was called {from} before: its documents are not sent, as `snapshot: never` asks for, only what changes from now on"
        );
    }
}

impl MongodbSource {
    /// Begins the copy of what was renamed: what is to be handed out is, in this order, the places before its ranges, so that they are known
    /// when the stream's own is behind the rename; the batch that ends with the rename; and the documents. Cancelling it loses nothing.
    pub(in crate::source::mongodb) async fn copy_renamed(&mut self) -> Result<(), Fault> {
        let Some((renamed, batch)) = &self.renamed else { return Ok(()) };
        let (client, place) = self.client.clone().ok_or_else(not_open)?;
        let Some(behind) = batch.position.clone() else { return Err(not_open()) };
        let (copies, schemas) = (&self.renames.copies, self.config.ddl == SourceDdl::Deliver);
        let planned = copy::again(&client, &place, copies, self.epoch, &renamed.to, schemas).await?;
        let mut positions = planned.clone();
        positions.set(WHOLE, behind.clone());
        let is_there = copy::is_unfinished(&positions);
        let begun = match is_there {
            true => Some(Copy::resume(&client, &place, &positions, false, false, self.hooks.on_copy.clone()).await?),
            false => None,
        };
        // From here on nothing waits.
        let Renamed { from, to, .. } = renamed;
        tracing::info!(
            event = "rename_copied",
            ns = to.as_str(),
            from = from.as_str(),
            "{to} was called {from} before, {}",
            if is_there {
                "and its documents came by no event: they are copied, then the stream goes on"
            } else {
                "and is not there any more: what became of it follows"
            }
        );
        for (partition, position) in planned.iter() {
            self.renames.copies.set(partition, position.clone());
            let (partition, position) = (partition.into(), Some(position.clone()));
            self.ready.push_back(Batch { partition, position, ..Batch::default() });
        }
        self.ready.extend(self.renamed.take().map(|(_, batch)| batch));
        if begun.is_some() {
            (self.copy, self.stream, self.after_copy) = (begun, None, Some(behind));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::is_silent;

    #[test]
    fn collections_that_the_server_fills_in_silence_are_known_by_their_names() {
        for name in ["tmpaNob4.renameCollection", "tmpmaQDH.convertToCapped.z", "tmp12345.convertToCapped.a.b"] {
            assert!(is_silent(name), "{name}");
        }
        for name in
            ["tmp.agg_out.7d81b142", "renameCollection", "tmpaNob4", "tmpaNob4.renameCollections", "tmpäöüß", ""]
        {
            assert!(!is_silent(name), "{name}");
        }
    }
}
