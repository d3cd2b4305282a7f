//! MongoDB to MongoDB: how fast what exists is copied and what waits is caught up with, against bare loops with the same driver, and how
//! late a change is in the target.

mod bare;
mod delay;
mod report;
mod run;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use bson::{Document, doc};
use clap::Args;
use mongodb::Client;

use crate::{documents, progress, servers};

pub(crate) use bare::{Task, run as bare};

/// MongoDB to MongoDB, on the server that MONGODB_URI names.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Documents that are copied.
    #[arg(long, default_value_t = 1_000_000)]
    documents: u64,
    /// Changes that wait and are caught up with.
    #[arg(long, default_value_t = 500_000)]
    events: u64,
    /// Rounds of all contenders.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Seconds of writing 1,000 changes a second, for the delay.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
enum Contender {
    /// A cursor into bulk writes.
    Bare,
    /// tidegate with its checkpoint in a file.
    File,
    /// tidegate with its checkpoint in the target: effectively once.
    Sink,
    /// The bare loop again: what differs is noise.
    BareAgain,
    /// A cursor into inserts, which is right only for a target that is empty, and once.
    BareInserts,
}

impl Contender {
    const ALL: [Self; 5] = [Self::Bare, Self::File, Self::Sink, Self::BareAgain, Self::BareInserts];

    const fn title(self) -> &'static str {
        match self {
            Self::Bare => "bare loop",
            Self::File => "tidegate, `checkpoint: file`",
            Self::Sink => "tidegate, `checkpoint: sink`",
            Self::BareAgain => "bare loop again",
            Self::BareInserts => "bare loop of inserts",
        }
    }

    const fn is_bare(self) -> bool {
        matches!(self, Self::Bare | Self::BareAgain | Self::BareInserts)
    }
}

/// What all runs share.
struct Plan {
    program: PathBuf,
    tidegate: PathBuf,
    client: Client,
    source: String,
    target: String,
    work: PathBuf,
    /// `_data` of the resume token before the waiting changes.
    token: String,
}

impl Plan {
    fn source(&self) -> mongodb::Collection<Document> {
        self.client.database(&self.source).collection(servers::COLLECTION)
    }

    fn target(&self) -> mongodb::Collection<Document> {
        self.client.database(&self.target).collection(servers::COLLECTION)
    }
}

pub(crate) async fn bench(options: Options, tidegate: Option<PathBuf>, out: &Path) -> Result<()> {
    let program = std::env::current_exe().context("cannot tell where this program is")?;
    let beside = program.parent().context("this program is in no folder")?.to_owned();
    let tidegate = tidegate.unwrap_or_else(|| beside.join("tidegate"));
    ensure!(tidegate.is_file(), "{}: build it with `cargo build --release -p tidegate`", tidegate.display());
    let work = tempfile::tempdir().context("cannot make a folder for the state of the runs")?;
    let client = servers::mongodb().await?;
    let name = format!("tidegate_bench_{}", std::process::id());
    let (source, target) = (name.clone(), format!("{name}_copy"));
    let mut plan = Plan { program, tidegate, client, source, target, work: work.path().into(), token: String::new() };
    let measured = measure(&mut plan, &options).await;
    for database in [&plan.source, &plan.target] {
        plan.client.database(database).drop().await?;
    }
    plan.client.database("tidegate_bench").drop().await?;
    let report = measured?;
    std::fs::create_dir_all(out)?;
    let path = out.join("mirror.md");
    std::fs::write(&path, report.markdown()).with_context(|| format!("{}: cannot write", path.display()))?;
    let path = out.join("mirror.json");
    std::fs::write(&path, serde_json::to_string_pretty(&report)? + "\n")
        .with_context(|| format!("{}: cannot write", path.display()))?;
    progress(&report.markdown());
    Ok(())
}

async fn measure(plan: &mut Plan, options: &Options) -> Result<report::Report> {
    progress(&format!("inserting {} documents", options.documents));
    insert(plan, options.documents).await?;
    // The first reading finds caches cold: it counts for nobody.
    run::copy(plan, Contender::Bare, options.documents).await?;
    let mut copies = Vec::new();
    for round in 0..options.rounds {
        for contender in turns(round) {
            let figures = run::copy(plan, contender, options.documents).await?;
            progress(&format!("copy, round {}: {:<30} {:>8.0}/s", round + 1, contender.title(), figures.rate));
            copies.push((round, contender, figures));
        }
    }
    plan.source().drop().await?;
    run::prepare(plan).await?;
    progress(&format!("{} changes wait", options.events));
    insert(plan, options.events).await?;
    run::follow(plan, Contender::Bare, options.events).await?;
    let mut follows = Vec::new();
    for round in 0..options.rounds {
        for contender in turns(round) {
            let figures = run::follow(plan, contender, options.events).await?;
            progress(&format!("follow, round {}: {:<30} {:>8.0}/s", round + 1, contender.title(), figures.rate));
            follows.push((round, contender, figures));
        }
    }
    let delay = delay::measure(plan, options.seconds).await?;
    let version = plan.client.database("admin").run_command(doc! { "buildInfo": 1 }).await?;
    let version = version.get_str("version")?.to_owned();
    report::Report::new(version, options.documents, options.events, copies, follows, delay)
}

/// Who comes first in a round meets the same neighbours as the others over the rounds.
fn turns(round: u32) -> [Contender; 5] {
    let mut order = Contender::ALL;
    order.rotate_left(round as usize % Contender::ALL.len());
    order
}

async fn insert(plan: &Plan, documents: u64) -> Result<()> {
    const BATCH: u64 = 10_000;
    let collection = plan.source().clone_with_type::<bson::RawDocumentBuf>();
    for from in (0..documents).step_by(BATCH as usize) {
        let batch = (from..(from + BATCH).min(documents)).map(documents::inventory);
        collection.insert_many(batch).ordered(false).await?;
    }
    Ok(())
}
