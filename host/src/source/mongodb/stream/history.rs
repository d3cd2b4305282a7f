//! How much history is left: a pipeline that stands still for longer than that loses its position.
//!
//! The oplog is a ring. From its oldest entry to where the pipeline stands is what it may still fall behind before changes are lost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bson::{Bson, Document, Timestamp, doc};
use mongodb::{
    Client,
    error::{Error, Result},
};

use crate::{
    error::{Code, Fault},
    source::mongodb::faults::{Phase, Place, fault, redacted, told},
};

/// How often the oplog is looked at: two reads of one entry each.
const INTERVAL: Duration = Duration::from_secs(30);

/// The time of the oldest entry of the oplog.
pub(in crate::source::mongodb) async fn oldest(client: &Client) -> Result<Timestamp> {
    let oplog = client.database("local").collection::<Document>("oplog.rs");
    let entry = oplog.find_one(doc! {}).sort(doc! { "$natural": 1 }).projection(doc! { "ts": 1 }).await?;
    match entry.as_ref().and_then(|entry| entry.get("ts")) {
        Some(Bson::Timestamp(time)) => Ok(*time),
        _ => Err(Error::custom("there is no oplog here; behind a mongos each shard has its own")),
    }
}

/// The fault for an oldest entry that cannot be found out.
pub(in crate::source::mongodb) fn not_found(error: &Error, place: &Place) -> Fault {
    let message = format!(
        "the position is lost, and the oldest entry of the oplog at {} cannot be read: {}; grant the user the role `read` on the database \
         `local`, or set `on_lost_position: newest`",
        place.hosts,
        redacted(&told(error), place.password.as_deref())
    );
    Fault::fatal(Code::MongoPositionLost, message)
}

/// Whether the oplog has its full size: before that nothing falls off.
pub(in crate::source::mongodb) async fn is_full(client: &Client) -> Result<bool> {
    let stats = client.database("local").run_command(doc! { "collStats": "oplog.rs" }).await?;
    let number = |key: &str| match stats.get(key) {
        Some(Bson::Int32(number)) => f64::from(*number),
        Some(Bson::Int64(number)) => *number as f64,
        Some(Bson::Double(number)) => *number,
        _ => 0.0,
    };
    Ok(number("size") >= number("maxSize") * 0.9)
}

/// Tells how much history is left, until it is aborted or may not read the oplog.
pub(in crate::source::mongodb) async fn watch(
    client: Client,
    place: Place,
    second: Arc<AtomicU32>,
    warning: Duration,
    on_history: Arc<dyn Fn(Duration) + Send + Sync>,
) {
    let mut warned = false;
    let hosts = &place.hosts;
    loop {
        match oldest(&client).await {
            Ok(oldest) => {
                let left = Duration::from_secs(second.load(Ordering::Relaxed).saturating_sub(oldest.time).into());
                on_history(left);
                let short = left < warning && is_full(&client).await.unwrap_or(true);
                if short && !warned {
                    tracing::warn!(
                        event = "source_history_short",
                        hosts,
                        seconds = left.as_secs(),
                        "the oplog reaches only {} further back than the pipeline: standing still for longer loses changes; a bigger oplog \
                         keeps more",
                        humantime::format_duration(left)
                    );
                }
                warned = short;
            }
            // A server that is away is told of elsewhere.
            Err(error) if fault(&error, Phase::Reading, &place).code == Code::MongoUnreachable => {}
            Err(error) => {
                tracing::info!(
                    event = "source_history_unknown",
                    hosts,
                    "how far the oplog reaches back is not shown: {}; it takes the role `read` on the database `local`",
                    told(&error)
                );
                return;
            }
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
