//! One run of one contender, timed at the target.

use std::{
    fs::{self, File},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use bson::doc;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Contender, Plan};
use crate::{
    contender::{copy as copy_state, tail},
    process::Measured,
    servers,
};

const POLL: Duration = Duration::from_millis(20);
const STALLED: Duration = Duration::from_secs(60);

/// The figures of a run.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figures {
    /// Documents or changes a second, from the first in the target to the last.
    pub(super) rate: f64,
    /// From the start of the process to the last.
    pub(super) seconds: f64,
    pub(super) cpu_seconds: f64,
    pub(super) peak_memory_bytes: u64,
}

/// Copies all that exists into an empty target.
pub(super) async fn copy(plan: &Plan, contender: Contender, documents: u64) -> Result<Figures> {
    plan.target().drop().await?;
    let command = match contender.is_bare() {
        true => bare(plan, contender, None, documents),
        false => {
            let state = plan.work.join("copy-state");
            if state.exists() {
                fs::remove_dir_all(&state)?;
            }
            // A record of an earlier run would say that all was copied.
            plan.client.database(&plan.target).drop().await?;
            tidegate(plan, contender, "only", &state, &["--exit-when-idle", "5s"])?
        }
    };
    timed(plan, contender, command, documents).await
}

/// Lets tidegate store where it begins, before there is anything to read; every run goes on from there.
pub(super) async fn prepare(plan: &mut Plan) -> Result<()> {
    plan.client.database(&plan.source).create_collection(servers::COLLECTION).await?;
    for contender in [Contender::File, Contender::Sink] {
        plan.client.database(&plan.target).drop().await?;
        let state = prepared(plan, contender);
        let mut command = tidegate(plan, contender, "never", &state, &["--exit-when-idle", "5s"])?;
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        ensure!(status.success(), "tidegate ended with {status} before it had anything to do");
    }
    // The record in the target is put back before each run.
    let records = plan.client.database(&plan.target).collection::<bson::Document>("tidegate_positions");
    let record = records.find_one(doc! {}).await?.context("no position in the target")?;
    fs::write(plan.work.join("record"), bson::serialize_to_vec(&record)?)?;
    plan.token = {
        let source = plan.client.database(&plan.source);
        let stream = source.run_command(doc! {
            "aggregate": servers::COLLECTION, "pipeline": [{ "$changeStream": {} }], "cursor": {},
        });
        let reply = stream.await?;
        let token = reply.get_document("cursor")?.get_document("postBatchResumeToken")?;
        token.get_str("_data")?.to_owned()
    };
    Ok(())
}

/// Catches up with changes that wait.
pub(super) async fn follow(plan: &Plan, contender: Contender, events: u64) -> Result<Figures> {
    plan.client.database(&plan.target).drop().await?;
    let command = match contender.is_bare() {
        true => bare(plan, contender, Some(&plan.token), events),
        false => {
            if contender == Contender::Sink {
                let record = bson::deserialize_from_slice::<bson::Document>(&fs::read(plan.work.join("record"))?)?;
                let records = plan.client.database(&plan.target).collection("tidegate_positions");
                records.insert_one(record).await?;
            }
            let state = plan.work.join("follow-state");
            if state.exists() {
                fs::remove_dir_all(&state)?;
            }
            copy_state(&prepared(plan, contender), &state)?;
            tidegate(plan, contender, "never", &state, &["--exit-when-idle", "5s"])?
        }
    };
    timed(plan, contender, command, events).await
}

/// tidegate as a mirror that goes on.
pub(super) fn live(plan: &Plan, contender: Contender) -> Result<Command> {
    tidegate(plan, contender, "never", &plan.work.join("live-state"), &[])
}

fn prepared(plan: &Plan, contender: Contender) -> std::path::PathBuf {
    plan.work.join(if contender == Contender::Sink { "prepared-sink" } else { "prepared-file" })
}

fn bare(plan: &Plan, contender: Contender, token: Option<&str>, documents: u64) -> Command {
    let mut command = Command::new(&plan.program);
    command.arg("bare-mirror").args(["--source", &plan.source, "--target", &plan.target]);
    command.args(["--documents", &documents.to_string()]);
    command.args((contender == Contender::BareInserts).then_some("--insert"));
    command.args(token.map(|token| ["--token".to_owned(), token.to_owned()]).into_iter().flatten());
    command
}

fn tidegate(
    plan: &Plan,
    contender: Contender,
    snapshot: &str,
    state: &std::path::Path,
    arguments: &[&str],
) -> Result<Command> {
    let checkpoint: Value = if contender == Contender::Sink { json!("sink") } else { json!("file") };
    let source = json!({ "uri": "${MONGODB_URI}", "database": plan.source, "collections": [servers::COLLECTION], "snapshot": snapshot });
    let config = json!({
        "state": { "dir": state },
        "admin": { "listen": "127.0.0.1:0" },
        "log": { "level": "info", "format": "json" },
        "plugins": { "dir": plan.work.join("no-plugins") },
        "pipelines": { "mirror": {
            "source": { "mongodb": source },
            "sinks": { "copy": { "mongodb": { "uri": "${MONGODB_URI}", "database": plan.target } } },
            "checkpoint": checkpoint,
        } },
    });
    fs::create_dir_all(plan.work.join("no-plugins"))?;
    let path = plan.work.join("mirror.yaml");
    fs::write(&path, serde_json::to_vec_pretty(&config)?)?;
    let mut command = Command::new(&plan.tidegate);
    command.arg("run").arg(path).args(arguments);
    Ok(command)
}

async fn timed(plan: &Plan, contender: Contender, mut command: Command, wanted: u64) -> Result<Figures> {
    let log = plan.work.join("run.log");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
    let figures = timed_run(plan, command, wanted).await;
    figures.with_context(|| format!("{} failed; the end of its log:\n{}", contender.title(), tail(&log)))
}

async fn timed_run(plan: &Plan, command: Command, wanted: u64) -> Result<Figures> {
    let started = Instant::now();
    let mut process = Measured::spawn(command)?;
    let mut first: Option<(Instant, u64)> = None;
    let (mut count, mut moved) = (0, started);
    let last = loop {
        let ended = process.has_ended()?;
        process.note_memory();
        let now = plan.target().estimated_document_count().await?;
        if now > count {
            (count, moved) = (now, Instant::now());
        }
        if now > 0 && first.is_none() {
            first = Some((Instant::now(), now));
        }
        if now >= wanted {
            break Instant::now();
        }
        if ended || moved.elapsed() > STALLED {
            // The estimate is the server's own counter.
            let counted = plan.target().count_documents(doc! {}).await?;
            let how = if ended { "ended" } else { "stalled" };
            bail!("it {how} at {now} of {wanted} by the server's estimate, at {counted} when they are counted");
        }
        tokio::time::sleep(POLL).await;
    };
    while !process.has_ended()? {
        process.note_memory();
        ensure!(last.elapsed() < STALLED, "all is there, but it does not end");
        tokio::time::sleep(POLL).await;
    }
    let (cpu_seconds, peak_memory_bytes) = (process.cpu_seconds()?, process.peak_memory());
    ensure!(process.wait()?.success(), "it did not end well");
    let (first, at_first) = first.context("all came at once: take more documents")?;
    Ok(Figures {
        rate: (wanted - at_first) as f64 / (last - first).as_secs_f64(),
        seconds: (last - started).as_secs_f64(),
        cpu_seconds,
        peak_memory_bytes,
    })
}
