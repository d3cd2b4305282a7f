//! Redis to Redis and to JSON Lines: how fast streams are read and written, each job by a bare loop with the same client library and by
//! tidegate, in turns; and what `redis-benchmark` says the server can do at most.

mod bare;
mod job;
mod keys;
mod limit;
mod report;
mod run;
mod store;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use self::{
    job::{Contender, Job},
    report::Report,
    run::{Figures, Plan},
    store::Store,
};
use crate::progress;

pub(crate) use self::{
    bare::{Task, run as bare},
    keys::{Task as KeysTask, bare as bare_keys},
};

/// Redis as source and sink, on the server that REDIS_URL names.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Entries that each run reads and writes.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1000..))]
    entries: u64,
    /// Rounds of all contenders.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Keys that are mirrored into the MongoDB that MONGODB_URI names; 0: none.
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    /// These jobs alone, and no keys.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Job>,
}

/// A run that counts.
type Run = (u32, Job, Contender, Figures);

pub(crate) async fn bench(options: Options, tidegate: Option<PathBuf>, out: &Path) -> Result<()> {
    let program = std::env::current_exe().context("cannot tell where this program is")?;
    let beside = program.parent().context("this program is in no folder")?.to_owned();
    let tidegate = tidegate.unwrap_or_else(|| beside.join("tidegate"));
    ensure!(tidegate.is_file(), "{}: build it with `cargo build --release -p tidegate`", tidegate.display());
    let work = tempfile::tempdir().context("cannot make a folder for the state of the runs")?;
    let plan = Plan { program, tidegate, work: work.path().into(), entries: options.entries };
    let mut store = Store::connect().await?;
    let measured = measure(&mut store, &plan, &options).await;
    let cleaned = store.clean().await;
    let report = measured?;
    cleaned.context("the measurements are done, but the benchmark's own data could not be removed")?;
    std::fs::create_dir_all(out)?;
    for (name, text) in [("redis.md", report.markdown()), ("redis.json", serde_json::to_string_pretty(&report)? + "\n")]
    {
        let path = out.join(name);
        std::fs::write(&path, text).with_context(|| format!("{}: cannot write", path.display()))?;
    }
    progress(&report.markdown());
    Ok(())
}

async fn measure(store: &mut Store, plan: &Plan, options: &Options) -> Result<Report> {
    let jobs: Vec<Job> =
        Job::ALL.into_iter().filter(|job| options.only.is_empty() || options.only.contains(job)).collect();
    let mut keys = None;
    if options.only.is_empty() && options.keys > 0 {
        keys = Some((options.keys, keys::measure(plan, options.keys).await?));
    }
    let mut runs: Vec<Run> = Vec::new();
    for job in &jobs {
        store.load(*job, plan.entries).await?;
        same_work(store, plan, *job).await?;
        for round in 0..options.rounds {
            let mut contenders = job.contenders().to_vec();
            // Who comes first in a round meets the same neighbours as the others over the rounds.
            let turn = round as usize % contenders.len();
            contenders.rotate_left(turn);
            for contender in contenders {
                let figures = run::run(store, plan, *job, contender, false).await?;
                progress(&format!(
                    "{job:?}, round {}: {:<30} {:>8.0}/s",
                    round + 1,
                    contender.title(*job),
                    figures.rate
                ));
                runs.push((round, *job, contender, figures));
            }
        }
    }
    let limits = match jobs.iter().any(|job| job.input() == Job::Read.input()) {
        true => limit::measure(plan.entries)?,
        false => None,
    };
    Report::new(store.version().await?, plan.entries, options.rounds, jobs, runs, limits, keys)
}

/// All who do a job write the same, to the byte. These first runs find caches cold: they count for nobody.
async fn same_work(store: &mut Store, plan: &Plan, job: Job) -> Result<()> {
    let mut digest = None;
    for contender in job.contenders().iter().filter(|contender| **contender != Contender::BareAgain) {
        let figures = run::run(store, plan, job, *contender, true).await?;
        let first = *digest.get_or_insert(figures.digest);
        ensure!(
            figures.digest == first,
            "{}: {} writes something else than the bare loop, so their rates do not compare",
            job.title(),
            contender.title(job)
        );
    }
    Ok(())
}
