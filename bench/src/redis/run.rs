//! One run of one contender, timed where it writes.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

use super::{
    job::{Contender, Job, Output},
    store::{self, Store},
};
use crate::{contender::tail, process::Measured};

/// How often it is looked what is there: too seldom to cost Redis anything.
const POLL: Duration = Duration::from_millis(5);
/// A run in which nothing arrives for so long has failed.
const STALLED: Duration = Duration::from_secs(60);

/// What all runs share.
pub(super) struct Plan {
    pub(super) program: PathBuf,
    pub(super) tidegate: PathBuf,
    pub(super) work: PathBuf,
    /// In each run.
    pub(super) entries: u64,
}

/// The figures of a run.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figures {
    /// Entries a second, from the first that was seen where they go to the last.
    pub(super) rate: f64,
    /// Of the process, from its start to its end.
    pub(super) cpu_seconds: f64,
    /// Of Redis meanwhile.
    pub(super) redis_cpu_seconds: f64,
    pub(super) peak_memory_bytes: u64,
    /// What was written, as a number; the same for all who do the job. Of the first run of each alone.
    #[serde(skip)]
    pub(super) digest: Option<u64>,
}

/// Runs it, and checks how much was written; with `whole`, what was written too.
pub(super) async fn run(
    store: &mut Store,
    plan: &Plan,
    job: Job,
    contender: Contender,
    whole: bool,
) -> Result<Figures> {
    let log = plan.work.join("run.log");
    let figures = timed(store, plan, job, contender, whole, &log).await;
    figures.with_context(|| {
        format!("{}: {} failed; the end of its log:\n{}", job.title(), contender.title(job), tail(&log))
    })
}

async fn timed(
    store: &mut Store,
    plan: &Plan,
    job: Job,
    contender: Contender,
    whole: bool,
    log: &Path,
) -> Result<Figures> {
    store.empty(job).await?;
    let lines = plan.work.join("lines.jsonl");
    let mut command = if contender.is_bare() { bare(plan, job) } else { tidegate(plan, job, contender)? };
    command.stdin(Stdio::null()).stdout(File::create(&lines)?).stderr(File::create(log)?);
    let before = store.cpu().await?;
    let mut process = Measured::spawn(command)?;
    // How much was there, and since when: the first that was seen, and the last.
    let (mut first, mut last) = (None, (Instant::now(), 0));
    loop {
        // Asked in this order, so that what a process wrote before it ended is counted.
        let ended = process.has_ended()?;
        process.note_memory();
        let there = written(store, job, contender, &lines).await?;
        let now = Instant::now();
        if there > last.1 {
            last = (now, there);
            first.get_or_insert(last);
        }
        if ended {
            break;
        }
        ensure!(last.0.elapsed() < STALLED, "it stalled at {there}");
        tokio::time::sleep(POLL).await;
    }
    let redis_cpu_seconds = store.cpu().await? - before;
    let (cpu_seconds, peak_memory_bytes) = (process.cpu_seconds()?, process.peak_memory());
    ensure!(process.wait()?.success(), "it did not end well");
    let digest = check(store, plan, job, whole, &lines).await?;
    let (first, at_first) = first.context("nothing was written")?;
    let (last, at_last) = last;
    let seconds = last.duration_since(first).as_secs_f64();
    ensure!(seconds > 0.0, "all came at once: take more entries");
    Ok(Figures {
        rate: plan.entries as f64 * (at_last - at_first) as f64 / at_last as f64 / seconds,
        cpu_seconds,
        redis_cpu_seconds,
        peak_memory_bytes,
        digest,
    })
}

/// How much is there, in bytes or entries.
async fn written(store: &mut Store, job: Job, contender: Contender, lines: &Path) -> Result<u64> {
    let there = match job.output() {
        Output::Lines => return Ok(fs::metadata(lines)?.len()),
        output => store.written(output).await?,
    };
    // The position is a key more.
    let record = contender == Contender::Sink && job.output() != Output::Entries;
    Ok(there.saturating_sub(u64::from(record)))
}

async fn check(store: &mut Store, plan: &Plan, job: Job, whole: bool, lines: &Path) -> Result<Option<u64>> {
    if job == Job::Group {
        let pending = store.pending(job).await?;
        ensure!(pending == 0, "{pending} entries were not acknowledged");
    }
    let (count, digest) = match job.output() {
        Output::Lines => {
            let text = fs::read(lines)?;
            (text.iter().filter(|byte| **byte == b'\n').count() as u64, Some(xxh3_64(&text)))
        }
        output if whole => store.digest(output).await.map(|(count, digest)| (count, Some(digest)))?,
        // As many as documents, or one more for the position.
        output => (store.written(output).await?.min(plan.entries), None),
    };
    ensure!(count == plan.entries, "{count} of {} arrived", plan.entries);
    Ok(digest)
}

fn bare(plan: &Plan, job: Job) -> Command {
    let mut command = Command::new(&plan.program);
    let job = clap::ValueEnum::to_possible_value(&job).map(|job| job.get_name().to_owned()).unwrap_or_default();
    command.arg("bare-redis").args(["--job", &job, "--entries", &plan.entries.to_string()]);
    command
}

/// What is not said here is left at its default, as most people would leave it.
fn tidegate(plan: &Plan, job: Job, contender: Contender) -> Result<Command> {
    let mut source = job.source();
    source["url"] = json!(store::input_url()?);
    let sink = match job.sink() {
        None => json!("stdout"),
        Some(mut sink) => {
            sink["url"] = json!(store::output_url()?);
            json!({ "redis": sink })
        }
    };
    let checkpoint = if contender == Contender::Sink { "sink" } else { "file" };
    let mut pipeline = json!({ "source": { "redis": source }, "sinks": { "out": sink } });
    if job != Job::Group {
        pipeline["checkpoint"] = json!(checkpoint);
    }
    start(plan, &pipeline, &["--exit-when-idle", "1s"])
}

/// tidegate with this one pipeline and nothing known.
pub(super) fn start(plan: &Plan, pipeline: &Value, arguments: &[&str]) -> Result<Command> {
    let state = plan.work.join("state");
    if state.exists() {
        fs::remove_dir_all(&state)?;
    }
    let config = json!({
        "state": { "dir": state },
        "admin": { "listen": "127.0.0.1:0" },
        "log": { "level": "warn", "format": "json" },
        "plugins": { "dir": plan.work.join("no-plugins") },
        "pipelines": { "bench": pipeline },
    });
    fs::create_dir_all(plan.work.join("no-plugins"))?;
    let path = plan.work.join("redis.yaml");
    fs::write(&path, serde_json::to_vec_pretty(&config)?)?;
    let mut command = Command::new(&plan.tidegate);
    command.arg("run").arg(path).args(arguments);
    Ok(command)
}
