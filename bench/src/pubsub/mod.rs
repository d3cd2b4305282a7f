//! MongoDB to Google's Pub/Sub emulator: the same changes by a bare loop with the same clients and by tidegate, in turns.

mod bare;
mod relay;
mod report;
mod run;
mod topic;

use std::{
    path::{Path, PathBuf},
    sync::Once,
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use google_cloud_auth::credentials::{Credentials, anonymous};

use self::{
    report::Report,
    run::{Figures, Plan},
    topic::Cloud,
};
use crate::{progress, servers::Servers};

pub(crate) use self::bare::{Task, run as bare};

/// MongoDB to Pub/Sub, on the server that MONGODB_URI names and the emulator that PUBSUB_EMULATOR_HOST names.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Changes that each run publishes.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1000..))]
    events: u64,
    /// Rounds of all contenders.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

/// Whether messages have ordering keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
enum Job {
    /// None: a request holds up to 1,000 messages.
    Unordered,
    /// The document's, which is another in each message: a request for each.
    Ordered,
}

impl Job {
    const ALL: [Self; 2] = [Self::Unordered, Self::Ordered];

    const fn title(self) -> &'static str {
        match self {
            Self::Unordered => "`ordering: false`: up to 1,000 messages in a request",
            Self::Ordered => "`ordering: true`, each document once: a request for each message",
        }
    }
}

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
enum Contender {
    Bare,
    Tidegate,
    /// What differs from the first is noise.
    BareAgain,
}

impl Contender {
    const ALL: [Self; 3] = [Self::Bare, Self::Tidegate, Self::BareAgain];

    const fn title(self) -> &'static str {
        match self {
            Self::Bare => "bare loop",
            Self::Tidegate => "tidegate",
            Self::BareAgain => "bare loop again",
        }
    }
}

/// A run that counts.
type Run = (u32, Job, Contender, Figures);

/// An emulator asks nobody who they are.
fn nobody() -> Credentials {
    anonymous::Builder::new().build()
}

/// The client wants the process's provider of cryptography even where nothing is encrypted.
fn provider() {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
}

pub(crate) async fn bench(options: Options, tidegate: Option<PathBuf>, out: &Path) -> Result<()> {
    provider();
    let program = std::env::current_exe().context("cannot tell where this program is")?;
    let beside = program.parent().context("this program is in no folder")?.to_owned();
    let tidegate = tidegate.unwrap_or_else(|| beside.join("tidegate"));
    ensure!(tidegate.is_file(), "{}: build it with `cargo build --release -p tidegate`", tidegate.display());
    let work = tempfile::tempdir().context("cannot make a folder for the state of the runs")?;
    let database = format!("tidegate_bench_{}", std::process::id());
    let cloud = Cloud::connect(&database).await?;
    let mut servers = Servers::connect().await?;
    let work = work.path().to_owned();
    let mut plan = Plan { program, tidegate, work, database, events: options.events, token: String::new(), cloud };
    let measured = measure(&servers, &mut plan, options.rounds).await;
    let cleaned = servers.clean(&plan.database).await;
    let report = measured?;
    cleaned.context("the measurements are done, but the benchmark's own data could not be removed")?;
    std::fs::create_dir_all(out)?;
    for (name, text) in
        [("pubsub.md", report.markdown()), ("pubsub.json", serde_json::to_string_pretty(&report)? + "\n")]
    {
        let path = out.join(name);
        std::fs::write(&path, text).with_context(|| format!("{}: cannot write", path.display()))?;
    }
    progress(&report.markdown());
    Ok(())
}

async fn measure(servers: &Servers, plan: &mut Plan, rounds: u32) -> Result<Report> {
    servers.create(&plan.database).await?;
    run::prepare(plan).await?;
    plan.token = servers.token(&plan.database).await?;
    progress(&format!("inserting {} documents", plan.events));
    servers.insert(&plan.database, plan.events).await?;
    let mut runs: Vec<Run> = Vec::new();
    for job in Job::ALL {
        same_work(plan, job).await?;
        for round in 0..rounds {
            let mut order = Contender::ALL;
            // Who comes first in a round meets the same neighbours as the others over the rounds.
            order.rotate_left(round as usize % Contender::ALL.len());
            for contender in order {
                let figures = run::run(plan, job, contender).await?;
                let (round, title) = (round + 1, contender.title());
                progress(&format!("{job:?}, round {round}: {title:<20} {:>8.0}/s", figures.rate));
                runs.push((round, job, contender, figures));
            }
        }
    }
    let (mongodb, _) = servers.versions().await?;
    Report::new(mongodb, plan.events, rounds, runs)
}

/// Both publish the same, to the byte. These first runs find caches cold: they count for nobody.
async fn same_work(plan: &Plan, job: Job) -> Result<()> {
    let mut found = Vec::new();
    for contender in [Contender::Bare, Contender::Tidegate] {
        plan.cloud.subscribe().await?;
        run::run(plan, job, contender).await?;
        progress(&format!("{job:?}: reading back what {} published", contender.title()));
        found.push(plan.cloud.digest(plan.events).await?);
        plan.cloud.unsubscribe().await?;
    }
    ensure!(
        found.first() == found.last(),
        "{}: tidegate publishes something else than the bare loop, so their rates do not compare",
        job.title()
    );
    Ok(())
}
