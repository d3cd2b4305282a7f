//! One run of one contender, timed at the sink.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Serialize;

use crate::{
    contender::{Contender, Plan, tail},
    process::Measured,
    servers::Servers,
};

/// How often the sink is asked: 1 in 500 of the shortest run, and too seldom to cost Redis anything.
const POLL: Duration = Duration::from_millis(5);
/// A run in which nothing arrives for so long has failed.
const STALLED: Duration = Duration::from_secs(60);

/// The figures of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Run {
    pub(crate) contender: Contender,
    pub(crate) round: u32,
    /// From the first entry in Redis to the last.
    pub(crate) events_per_second: f64,
    /// From the start of the process to the first entry.
    pub(crate) first_entry_seconds: f64,
    /// Of the process, from its start to its end: start-up and plugins included.
    pub(crate) cpu_seconds: f64,
    /// Of the process, from the first entry to the last.
    pub(crate) cpu_seconds_streaming: f64,
    /// Most resident memory of the process.
    pub(crate) peak_memory_bytes: u64,
    /// Of mongod, from the start of the process to the last entry.
    pub(crate) mongod_cpu_seconds: f64,
    /// Of Redis, likewise.
    pub(crate) redis_cpu_seconds: f64,
}

/// When so many entries were first seen, and the CPU time of the process then.
struct Seen {
    at: Instant,
    entries: u64,
    cpu: f64,
}

/// Runs a contender from the prepared start to the last event, and checks what arrived.
///
/// # Errors
/// When it fails, stalls, or does not deliver each event exactly once.
pub(crate) async fn run(servers: &mut Servers, plan: &Plan, contender: Contender, round: u32) -> Result<Run> {
    let log = plan.work.join("run.log");
    let run = timed(servers, plan, contender, round, &log).await;
    run.with_context(|| format!("{} failed in round {round}; the end of its log:\n{}", contender.title(), tail(&log)))
}

async fn timed(
    servers: &mut Servers,
    plan: &Plan,
    contender: Contender,
    round: u32,
    log: &std::path::Path,
) -> Result<Run> {
    servers.empty_streams().await?;
    let streams = contender.streams();
    let command = plan.command(contender, log)?;
    let before = servers.cpu().await?;
    let started = Instant::now();
    let mut process = Measured::spawn(command)?;

    let first = arrival(servers, &mut process, &streams, 1).await?;
    let last = arrival(servers, &mut process, &streams, plan.events).await?;
    let after = servers.cpu().await?;
    while !process.has_ended()? {
        process.note_memory();
        ensure!(last.at.elapsed() < STALLED, "it delivered all events but does not end");
        tokio::time::sleep(POLL).await;
    }
    let (cpu_seconds, peak_memory_bytes) = (process.cpu_seconds()?, process.peak_memory());
    let status = process.wait()?;
    ensure!(status.success(), "it ended with {status}");
    servers.check(contender, plan.events).await?;

    let between = last.at.duration_since(first.at).as_secs_f64();
    ensure!(between > 0.0, "all events arrived at once: more events are needed to measure a rate");
    Ok(Run {
        contender,
        round,
        events_per_second: (last.entries - first.entries) as f64 / between,
        first_entry_seconds: first.at.duration_since(started).as_secs_f64(),
        cpu_seconds,
        cpu_seconds_streaming: last.cpu - first.cpu,
        peak_memory_bytes,
        mongod_cpu_seconds: after.mongod - before.mongod,
        redis_cpu_seconds: after.redis - before.redis,
    })
}

/// Waits until at least so many entries are in the streams.
async fn arrival(servers: &mut Servers, process: &mut Measured, streams: &[String], wanted: u64) -> Result<Seen> {
    let (mut entries, mut moved) = (0, Instant::now());
    loop {
        // Asked in this order, so that what a process delivered before it ended is counted.
        let ended = process.has_ended()?;
        let now = servers.count(streams).await?;
        let at = Instant::now();
        if now >= wanted {
            process.note_memory();
            return Ok(Seen { at, entries: now, cpu: process.cpu_seconds()? });
        }
        if now > entries {
            (entries, moved) = (now, at);
        }
        if ended || moved.elapsed() > STALLED {
            bail!("it {} at {now} entries of {wanted}", if ended { "ended" } else { "stalled" });
        }
        process.note_memory();
        tokio::time::sleep(POLL).await;
    }
}
