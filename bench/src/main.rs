//! End-to-end benchmark: the same events from a real MongoDB into a real Redis, by a bare loop and by tidegate.
//!
//! Documents are inserted once. Each contender is a child process that reads that section of the oplog from its start
//! into empty streams, and is timed at the sink: from the first entry Redis has to the last. Contenders take turns, the
//! bare loop runs twice in each round (what differs between its two runs is noise), and medians are reported.
//! `bench/README.md` says how to run it and how to read it.

mod bare;
mod contender;
mod documents;
mod measure;
mod mirror;
mod process;
mod pubsub;
mod redis;
mod report;
mod servers;

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand};

use crate::{
    contender::{Contender, Plan},
    report::Report,
    servers::Servers,
};

/// Measures tidegate end to end against a bare loop, on the servers that MONGODB_URI and REDIS_URL name.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Documents to insert, and events each run delivers.
    #[arg(long, default_value_t = 300_000, value_parser = clap::value_parser!(u64).range(1000..))]
    events: u64,
    /// Rounds of all contenders.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Folder for end-to-end.json and end-to-end.md.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/results"))]
    out: PathBuf,
    /// The tidegate to measure; the default is the one beside this program.
    #[arg(long)]
    tidegate: Option<PathBuf>,
    /// Folder with the three inventory plugins; the default is `plugins` in the target folder of this program.
    #[arg(long)]
    plugins: Option<PathBuf>,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// The bare loop, as the benchmark starts it.
    #[command(hide = true)]
    Bare(bare::Task),
    /// The same from MongoDB to MongoDB.
    #[command(hide = true)]
    BareMirror(mirror::Task),
    Mirror(mirror::Options),
    /// The bare loops of the benchmark of Redis.
    #[command(hide = true)]
    BareRedis(redis::Task),
    /// The same for keys.
    #[command(hide = true)]
    BareKeys(redis::KeysTask),
    Redis(redis::Options),
    /// The same from MongoDB to Pub/Sub.
    #[command(hide = true)]
    BarePubsub(pubsub::Task),
    Pubsub(pubsub::Options),
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let result = match options.role {
        Some(Role::Bare(task)) => bare::run(task).await,
        Some(Role::BareMirror(task)) => mirror::bare(task).await,
        Some(Role::Mirror(mirror)) => mirror::bench(mirror, options.tidegate, &options.out).await,
        Some(Role::BareRedis(task)) => redis::bare(task).await,
        Some(Role::BareKeys(task)) => redis::bare_keys(task).await,
        Some(Role::Redis(redis)) => redis::bench(redis, options.tidegate, &options.out).await,
        Some(Role::BarePubsub(task)) => pubsub::bare(task).await,
        Some(Role::Pubsub(pubsub)) => pubsub::bench(pubsub, options.tidegate, &options.out).await,
        None => bench(options).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn bench(options: Options) -> Result<()> {
    let program = std::env::current_exe().context("cannot tell where this program is")?;
    let beside = program.parent().context("this program is in no folder")?;
    let tidegate = options.tidegate.unwrap_or_else(|| beside.join("tidegate"));
    let plugins = options.plugins.unwrap_or_else(|| beside.join("../plugins"));
    ensure!(tidegate.is_file(), "{}: build it with `cargo build --release -p tidegate`", tidegate.display());
    let mut servers = Servers::connect().await?;
    let work = tempfile::tempdir().context("cannot make a folder for the state of the runs")?;
    let database = format!("tidegate_bench_{}", std::process::id());

    let mut plan = Plan {
        program,
        tidegate,
        plugins,
        database,
        events: options.events,
        work: work.path().into(),
        token: String::new(),
    };
    let result = rounds(&mut servers, &mut plan, options.rounds).await;
    let cleaned = servers.clean(&plan.database).await;
    let runs = result?;
    cleaned.context("the measurements are done, but the benchmark's own data could not be removed")?;

    let report = Report::new(&servers, &plan, options.rounds, &runs).await?;
    write(&options.out, &report)?;
    Ok(std::io::stdout().lock().write_all(report.markdown().as_bytes())?)
}

async fn rounds(servers: &mut Servers, plan: &mut Plan, rounds: u32) -> Result<Vec<measure::Run>> {
    servers.create(&plan.database).await?;
    plan.prepare()?;
    plan.token = servers.token(&plan.database).await?;
    progress(&format!("inserting {} documents", plan.events));
    servers.insert(&plan.database, plan.events).await?;

    // The first read after the inserts finds caches cold and the oplog still being flushed: it counts for nobody.
    measure::run(servers, plan, Contender::Bare, 0).await?;
    let mut runs = Vec::new();
    for round in 1..=rounds {
        let mut order = Contender::ALL;
        // Whoever comes first in a round meets the same neighbours as the others over the rounds.
        order.rotate_left(round as usize % Contender::ALL.len());
        for contender in order {
            let run = measure::run(servers, plan, contender, round).await?;
            progress(&format!("round {round}: {:<24} {:>8.0} events/s", contender.title(), run.events_per_second));
            runs.push(run);
        }
    }
    Ok(runs)
}

fn write(out: &Path, report: &Report) -> Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("{}: cannot make the folder", out.display()))?;
    for (name, text) in [("end-to-end.json", report.json()?), ("end-to-end.md", report.markdown())] {
        let path = out.join(name);
        std::fs::write(&path, text).with_context(|| format!("{}: cannot write", path.display()))?;
    }
    Ok(())
}

/// A line for whoever waits; the result alone goes to standard output.
fn progress(line: &str) {
    let _ = writeln!(std::io::stderr(), "bench: {line}");
}
