//! The copy of one collection in the middle of the stream, because of a rename.

use bson::doc;
use mongodb::Client;

use super::{
    place::{self, Part, Place, Round},
    plan,
};
use crate::{
    change::Namespace,
    error::Fault,
    position::Positions,
    source::mongodb::{
        event::newest,
        faults::{Phase, Place as Server, fault},
    },
};

/// When the last copy of a collection ended, by the places in it; none where it was not copied.
pub(in crate::source::mongodb) fn ended(positions: &Positions, namespace: &Namespace) -> Option<u64> {
    let ends = places(positions, namespace).map(|(_, place)| match place {
        Place::Done(time) => time,
        Place::Underway(_) => u64::MAX,
    });
    ends.max()
}

/// The positions before the first document of a new copy of a collection, behind those of all its copies before. One that is not there has
/// a place that is done: it was renamed again, and that rename must find when it was looked for.
pub(in crate::source::mongodb) async fn again(
    client: &Client,
    server: &Server,
    before: &Positions,
    epoch: u32,
    namespace: &Namespace,
    schemas: bool,
) -> Result<Positions, Fault> {
    let bad = |error: mongodb::error::Error| fault(&error, Phase::Copying, server);
    let wanted = |_: &str, name: &str| name == namespace.collection();
    let found = plan::collections(client, Some(namespace.database()), wanted).await.map_err(bad)?;
    let now = client.database(namespace.database()).run_command(doc! { "ping": 1 }).await.map_err(bad)?;
    let now = newest(&now);
    let last = places(before, namespace).map(|(round, _)| round.began.saturating_add(1)).max();
    // A copy ends behind where it begins, and an idle server's clock stands still: no later than its last reading is what counts.
    let round = Round { epoch, began: now.map(|now| now.saturating_sub(1)).max(last).unwrap_or(1) };
    let mut positions = plan::ranges(client, round, &found, schemas, plan::RANGE).await.map_err(bad)?;
    let first = place::partition(namespace.as_str(), Part::Range(0));
    if positions.get(&first).is_none() {
        positions.set(&first, place::done(round, now));
    }
    Ok(positions)
}

fn places(positions: &Positions, namespace: &Namespace) -> impl Iterator<Item = (Round, Place)> {
    positions.iter().filter_map(|(partition, position)| {
        let (of, _) = place::part_of(partition)?;
        if of == namespace.as_str() { place::read(position) } else { None }
    })
}
