//! One run of one contender, timed on its way to the emulator.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use serde_json::json;

use super::{Cloud, Contender, Job, relay::Relay};
use crate::{
    contender::{copy, tail},
    process::Measured,
    servers,
};

/// How often it is looked whether a process goes on.
const POLL: Duration = Duration::from_millis(20);
/// A run in which nothing is answered for so long has failed.
const STALLED: Duration = Duration::from_secs(60);

/// What all runs share.
pub(super) struct Plan {
    pub(super) program: PathBuf,
    pub(super) tidegate: PathBuf,
    pub(super) work: PathBuf,
    pub(super) database: String,
    /// In each run.
    pub(super) events: u64,
    /// `_data` of the resume token before the first insert.
    pub(super) token: String,
    pub(super) cloud: Cloud,
}

/// The figures of a run.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figures {
    /// Changes a second, from when requests flow to the last answer.
    pub(super) rate: f64,
    /// Of the process, from its start to its end.
    pub(super) cpu_seconds: f64,
    pub(super) peak_memory_bytes: u64,
}

/// Lets tidegate store where it begins, before there is anything to read; every run goes on from there.
pub(super) async fn prepare(plan: &Plan) -> Result<()> {
    let endpoint = format!("http://{}", plan.cloud.address);
    for job in Job::ALL {
        let log = plan.work.join("prepare.log");
        let mut command = tidegate(plan, job, &endpoint, &prepared(plan, job))?;
        let status = command.stderr(File::create(&log)?).status().context("tidegate does not start")?;
        ensure!(status.success(), "tidegate ended with {status} before it had anything to do:\n{}", tail(&log));
    }
    Ok(())
}

fn prepared(plan: &Plan, job: Job) -> PathBuf {
    plan.work.join(match job {
        Job::Unordered => "unordered",
        Job::Ordered => "ordered",
    })
}

/// Runs it to its end.
pub(super) async fn run(plan: &Plan, job: Job, contender: Contender) -> Result<Figures> {
    let log = plan.work.join("run.log");
    let figures = timed(plan, job, contender, &log).await;
    figures
        .with_context(|| format!("{}: {} failed; the end of its log:\n{}", job.title(), contender.title(), tail(&log)))
}

async fn timed(plan: &Plan, job: Job, contender: Contender, log: &Path) -> Result<Figures> {
    let relay = Relay::before(&plan.cloud.address).await?;
    let mut command = match contender {
        Contender::Bare | Contender::BareAgain => bare(plan, job, &relay.endpoint()),
        Contender::Tidegate => {
            let state = plan.work.join("state");
            if state.exists() {
                fs::remove_dir_all(&state)?;
            }
            copy(&prepared(plan, job), &state)?;
            tidegate(plan, job, &relay.endpoint(), &state)?
        }
    };
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(log)?);
    let started = Instant::now();
    let mut process = Measured::spawn(command)?;
    while !process.has_ended()? {
        process.note_memory();
        ensure!(relay.idle().unwrap_or_else(|| started.elapsed()) < STALLED, "it stalled");
        tokio::time::sleep(POLL).await;
    }
    let (cpu_seconds, peak_memory_bytes) = (process.cpu_seconds()?, process.peak_memory());
    ensure!(process.wait()?.success(), "it did not end well");
    let (seconds, part) = relay.measured()?;
    Ok(Figures { rate: plan.events as f64 * part / seconds, cpu_seconds, peak_memory_bytes })
}

fn bare(plan: &Plan, job: Job, endpoint: &str) -> Command {
    let mut command = Command::new(&plan.program);
    command.arg("bare-pubsub").args(["--database", &plan.database, "--token", &plan.token, "--endpoint", endpoint]);
    command.args(["--topic", &plan.cloud.topic(), "--events", &plan.events.to_string()]);
    command.args((job == Job::Ordered).then_some("--ordered"));
    command
}

/// What is not said here is left at its default, as most people would leave it.
fn tidegate(plan: &Plan, job: Job, endpoint: &str, state: &Path) -> Result<Command> {
    let mut sink = json!({ "project": Cloud::project(), "endpoint": endpoint, "topic": plan.cloud.name });
    if job == Job::Unordered {
        sink["ordering"] = json!(false);
    }
    let source = json!({ "uri": "${MONGODB_URI}", "database": plan.database, "collections": [servers::COLLECTION] });
    let config = json!({
        "state": { "dir": state },
        "admin": { "listen": "127.0.0.1:0" },
        "log": { "level": "warn", "format": "json" },
        "plugins": { "dir": plan.work.join("no-plugins") },
        "pipelines": { "bench": {
            "source": { "mongodb": source },
            "sinks": { "out": { "pubsub": sink } },
        } },
    });
    fs::create_dir_all(plan.work.join("no-plugins"))?;
    let path = plan.work.join("pubsub.yaml");
    fs::write(&path, serde_json::to_vec_pretty(&config)?)?;
    let mut command = Command::new(&plan.tidegate);
    command.arg("run").arg(path).args(["--exit-when-idle", "1s"]).stdin(Stdio::null()).stdout(Stdio::null());
    Ok(command)
}
