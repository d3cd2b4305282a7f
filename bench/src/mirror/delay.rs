//! How late a change is in the target, at 1,000 changes a second.

use std::{
    process::Stdio,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use bson::{Document, doc};
use futures::StreamExt as _;
use serde::Serialize;

use super::{Contender, Plan, run};
use crate::process::Measured;

const A_SECOND: u64 = 1000;

/// Milliseconds from the writer's clock before the write to the change in a change stream of the target; both on one machine.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Delay {
    pub(super) changes: usize,
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
}

pub(super) async fn measure(plan: &Plan, seconds: u64) -> Result<Vec<(Contender, Delay)>> {
    let mut delays = Vec::new();
    for contender in [Contender::File, Contender::Sink] {
        delays.push((contender, one(plan, contender, seconds).await?));
    }
    Ok(delays)
}

async fn one(plan: &Plan, contender: Contender, seconds: u64) -> Result<Delay> {
    plan.client.database(&plan.target).drop().await?;
    plan.source().drop().await?;
    let state = plan.work.join("live-state");
    if state.exists() {
        std::fs::remove_dir_all(&state)?;
    }
    let mut command = run::live(plan, contender)?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _host = Measured::spawn(command)?;
    // What is written before the host watches is not mirrored: it is written again until it is.
    let probe = Instant::now();
    while plan.target().estimated_document_count().await? == 0 {
        ensure!(probe.elapsed() < Duration::from_secs(30), "the mirror does not begin");
        plan.source().insert_one(doc! { "probe": true }).await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let wanted = usize::try_from(seconds * A_SECOND)?;
    let mut stream = plan.target().watch().await?;
    let seen = tokio::spawn(async move {
        let mut delays = Vec::with_capacity(wanted);
        while delays.len() < wanted {
            let event = stream.next().await.context("the stream of the target ended")??;
            let sent = event.full_document.as_ref().and_then(|document| document.get_f64("sent").ok());
            delays.extend(sent.map(|sent| now() - sent));
        }
        anyhow::Ok(delays)
    });
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    let mut written = 0;
    while written < wanted {
        ticks.tick().await;
        let batch: Vec<Document> =
            (0..A_SECOND / 100).map(|_| doc! { "sent": now(), "text": "x".repeat(200) }).collect();
        written += batch.len();
        plan.source().insert_many(batch).await?;
    }
    let mut delays = tokio::time::timeout(Duration::from_secs(60), seen).await.context("changes are missing")???;
    delays.sort_by(f64::total_cmp);
    let at = |share: f64| delays.get(((delays.len() - 1) as f64 * share) as usize).copied().unwrap_or_default();
    Ok(Delay { changes: delays.len(), p50: at(0.5), p99: at(0.99), max: at(1.0) })
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1000.0
}
