//! What a copy begins with: a plan, or the places where one that was stopped stands.

use std::{collections::VecDeque, time::Instant};

use bytestring::ByteString;
use mongodb::Client;
use tokio::{sync::mpsc, task::JoinSet};

use super::{
    Copy, OnCopy, READERS, Range, Schema, now,
    place::{self, By, Part, Place as At, Places, Round, Span},
    plan,
    progress::Counter,
};
use crate::{
    change::{Namespace, Operation},
    error::Fault,
    position::{Position, Positions, WHOLE},
    source::mongodb::{
        event::{Names, epoch_of, token_of, told_until},
        faults::{Phase, Place as Server, fault},
    },
};

/// What a copy is made of.
pub(in crate::source::mongodb) struct Planned {
    /// Before the first document of each range.
    pub(in crate::source::mongodb) positions: Positions,
    /// Collections that are copied, and of which no stream tells.
    pub(in crate::source::mongodb) unwatched: Vec<String>,
}

/// Cuts what is wanted into ranges.
pub(in crate::source::mongodb) async fn planned(
    client: &Client,
    server: &Server,
    epoch: u32,
    database: Option<&str>,
    schemas: bool,
    wanted: impl Fn(&str, &str) -> bool,
) -> Result<Planned, Fault> {
    let bad = |error: mongodb::error::Error| fault(&error, Phase::Copying, server);
    let collections = plan::collections(client, database, wanted).await.map_err(bad)?;
    let positions =
        plan::ranges(client, Round { epoch, began: 0 }, &collections, schemas, plan::RANGE).await.map_err(bad)?;
    Ok(Planned { positions, unwatched: plan::unwatched(&collections) })
}

/// The epoch of a copy that is not at its end, by these positions: one of the stream's epoch, since a plan is stored before its stream.
pub(in crate::source::mongodb) fn is_unfinished(positions: &Positions) -> bool {
    unfinished(positions).next().is_some()
}

fn unfinished(positions: &Positions) -> impl Iterator<Item = (&str, &Position, Round, Span)> {
    let epoch = positions.whole().and_then(epoch_of);
    positions.iter().filter_map(move |(partition, position)| match place::read(position)? {
        (round, At::Underway(span)) if Some(round.epoch) == epoch => Some((partition, position, round, *span)),
        _ => None,
    })
}

impl Copy {
    /// Goes on with the ranges that are not done. Positions that are `announced` are handed out first, so that they are stored.
    pub(in crate::source::mongodb) async fn resume(
        client: &Client,
        server: &Server,
        positions: &Positions,
        announced: bool,
        resumed: bool,
        report: OnCopy,
    ) -> Result<Self, Fault> {
        let epoch = positions.whole().and_then(epoch_of).unwrap_or_default();
        let after = positions.whole().and_then(token_of).and_then(told_until);
        let mut names = Names::default();
        let began = now();
        let (mut ranges, mut creates, mut indexes) = (Vec::new(), VecDeque::new(), VecDeque::new());
        // A copy of single collections, in the middle of the stream.
        let mut again = true;
        for (partition, position, round, span) in unfinished(positions) {
            let Some((namespace, part)) = place::part_of(partition) else { continue };
            let Some(namespace) = Namespace::parse(namespace) else { continue };
            let namespace = names.get(namespace.database(), namespace.collection());
            let partition = ByteString::from(partition);
            again &= round.began > 0;
            let schema =
                |operation| Schema { round, partition: partition.clone(), namespace: namespace.clone(), operation };
            match part {
                Part::Create => creates.push_back(schema(Operation::Create)),
                Part::Indexes => indexes.push_back(schema(Operation::CreateIndexes)),
                Part::Range(_) => {
                    let counted = (span.by != By::Order).then_some((began, 0));
                    let Some(places) = Places::new(round, &span) else { continue };
                    ranges.push(Range { round, partition, namespace, span, places, at: position.clone(), counted });
                }
            }
        }
        let mut announce = VecDeque::new();
        if announced {
            // The stream's last: the ranges count from the moment it has their epoch.
            let (stream, ranges): (Vec<_>, Vec<_>) = positions.iter().partition(|(partition, _)| *partition == WHOLE);
            announce.extend(ranges.into_iter().chain(stream).map(|(name, position)| (name.into(), position.clone())));
        }
        let mut counter = Counter::new();
        let mut by_collection: indexmap::IndexMap<&str, (u64, u64)> = indexmap::IndexMap::new();
        let told = |namespace: &str| !again || ranges.iter().any(|range| range.namespace.as_str() == namespace);
        for (partition, position) in positions.iter() {
            if let (Some((namespace, Part::Range(_))), Some((of, at))) =
                (place::part_of(partition), place::read(position))
                && of.epoch == epoch
                && told(namespace)
            {
                let (done, all) = by_collection.entry(namespace).or_default();
                *done += u64::from(matches!(at, At::Done(_)));
                *all += 1;
            }
        }
        for (namespace, (done, all)) in by_collection {
            let Some(parsed) = Namespace::parse(namespace) else { continue };
            let collection = client.database(parsed.database()).collection::<bson::Document>(parsed.collection());
            let documents = collection.estimated_document_count().await;
            let documents = documents.map_err(|error| fault(&error, Phase::Copying, server))?;
            counter.add(namespace, documents, done, all);
        }
        let progress = counter.now();
        tracing::info!(
            event = "copy_started",
            hosts = server.hosts,
            collections = progress.collections.len(),
            documents = progress.of_documents,
            read = progress.documents,
            "{}: {} documents in {} collections, {} of them read",
            match (resumed, again) {
                (true, _) => "the copy goes on where it stopped",
                (false, true) => "a collection that was renamed is copied",
                (false, false) => "the documents that are there are copied first",
            },
            progress.of_documents,
            progress.collections.len(),
            progress.documents,
        );
        report(progress);
        let (sender, brought) = mpsc::channel(READERS);
        let waiting = (0..ranges.len()).collect();
        let (client, server) = (client.clone(), server.clone());
        let told = (Instant::now(), Instant::now());
        let readers = JoinSet::new();
        let current = None;
        Ok(Self {
            creates,
            indexes,
            ranges,
            waiting,
            readers,
            sender,
            brought,
            current,
            announce,
            client,
            server,
            after,
            counter,
            report,
            told,
        })
    }
}
