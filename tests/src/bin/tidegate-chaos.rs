//! `./dev chaos`: the proof by killing, at length.
#![allow(clippy::print_stdout, reason = "the report is printed on standard output")]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use serde_json::json;
use tidegate_tests::chaos::{Fault, Mirror, MirrorReport, Mode, Report, ScaleOut, Scenario, Servers, Target};

/// Writes to a real MongoDB while tidegate, its servers and the network are killed, frozen, filled up and cut, and then looks for
/// every change at the sink; then mirrors a million documents under way. Ends with 1 when a change is missing, out of order, or (in
/// mode once) doubled, or when the mirror differs in a byte.
#[derive(Debug, Parser)]
#[command(name = "tidegate-chaos", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    alone: Option<Alone>,
    /// Kills of tidegate, into each target; kills that fall into another fault come on top
    #[arg(long, default_value_t = 200)]
    kills: usize,
    /// Other faults, into each target
    #[arg(long, default_value_t = 100)]
    faults: usize,
    /// What everything left to chance is drawn from; none: a new one, which is printed
    #[arg(long)]
    seed: Option<u64>,
    /// Where changes go; with one of them, nothing is mirrored behind it
    #[arg(long, value_enum, default_value_t = To::Both)]
    target: To,
    /// What is promised
    #[arg(long, value_enum, default_value_t = Mode::Once)]
    mode: Mode,
    /// These kinds of fault instead of all, one round each unless --rounds says more
    #[arg(long, value_enum, value_delimiter = ',', conflicts_with_all = ["kills", "faults"])]
    only: Vec<Fault>,
    /// Rounds of each kind of --only
    #[arg(long, default_value_t = 1, requires = "only")]
    rounds: usize,
    /// Changes a second
    #[arg(long, default_value_t = 1000)]
    rate: u32,
    /// Where the figures are written
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../bench/results/chaos.json"))]
    json: PathBuf,
}

/// A part of it alone.
#[derive(Debug, Subcommand)]
enum Alone {
    /// Copies many documents between two MongoDB servers while writers change them and tidegate is killed, and compares every byte
    Mirror(MirrorArguments),
    /// Runs plugins on several hosts that share a subscription of Pub/Sub, kills hosts, and looks for every change in Redis
    ScaleOut(ScaleOutArguments),
}

#[derive(Debug, Args)]
struct MirrorArguments {
    /// Documents that are there when it begins
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(i64).range(1000..))]
    documents: i64,
    /// Tasks that insert, update, replace and delete meanwhile, at full speed
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    writers: u32,
    /// Kills of tidegate during the copy; one more comes behind it
    #[arg(long, default_value_t = 2)]
    kills: usize,
    /// What everything left to chance is drawn from; none: a new one, which is printed
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Debug, Args)]
struct ScaleOutArguments {
    /// Changes that are written
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(i32).range(100..))]
    changes: i32,
    /// Documents that they are of
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i32).range(1..))]
    documents: i32,
    /// Hosts that share the subscription
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    workers: u32,
    /// Kills, each of one of all hosts
    #[arg(long, default_value_t = 20)]
    kills: usize,
    /// What everything left to chance is drawn from; none: a new one, which is printed
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum To {
    Redis,
    Mongodb,
    Both,
}

impl To {
    fn targets(self) -> Vec<Target> {
        match self {
            Self::Redis => vec![Target::Redis],
            Self::Mongodb => vec![Target::Mongodb],
            Self::Both => vec![Target::Redis, Target::Mongodb],
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match chaos(&Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("tidegate-chaos: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn chaos(arguments: &Arguments) -> Result<bool> {
    match arguments.alone {
        Some(Alone::Mirror(MirrorArguments { documents, writers, kills, seed })) => {
            let mirror = Mirror { documents, writers, kills, seed: drawn(seed) };
            return Ok(run_mirror(&mirror).await?.is_good());
        }
        Some(Alone::ScaleOut(ScaleOutArguments { changes, documents, workers, kills, seed })) => {
            let run = ScaleOut { changes, documents, workers: workers as usize, kills, seed: drawn(seed) };
            return run_scale_out(&run).await;
        }
        None => {}
    }
    let seed = drawn(arguments.seed);
    let mut reports: Vec<Report> = Vec::new();
    for target in arguments.target.targets() {
        let mut whole: Option<Report> = None;
        for scenario in scenarios(arguments, target, seed) {
            let report = run(&Scenario { rate: arguments.rate, ..scenario }).await;
            match &mut whole {
                Some(whole) => whole.add(report),
                None => whole = Some(report),
            }
        }
        let report = whole.context("no rounds: --kills and --faults are 0")?;
        print(&report);
        reports.push(report);
    }
    let mut mirror = None;
    if arguments.only.is_empty() && arguments.target == To::Both {
        mirror = Some(run_mirror(&Mirror { documents: 1_000_000, writers: 4, kills: 2, seed }).await?);
    }
    let file = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "seed": seed,
        "targets": reports.iter().map(Report::json).collect::<Vec<_>>(),
        "mirror": mirror.as_ref().map(MirrorReport::json),
    });
    std::fs::write(&arguments.json, format!("{file:#}\n"))
        .with_context(|| format!("writing {}", arguments.json.display()))?;
    println!("figures: {}", arguments.json.display());
    Ok(reports.iter().all(Report::is_good) && mirror.is_none_or(|mirror| mirror.is_good()))
}

fn drawn(seed: Option<u64>) -> u64 {
    let seed = seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    println!("seed {seed}: --seed {seed} draws the same faults again");
    seed
}

async fn run_mirror(mirror: &Mirror) -> Result<MirrorReport> {
    let bar = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("mirror {elapsed} {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    let report = mirror.run(|step| bar.set_message(step)).await.context("mirror")?;
    bar.finish_and_clear();
    print_mirror(&report);
    Ok(report)
}

async fn run_scale_out(run: &ScaleOut) -> Result<bool> {
    let bar = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("scale-out {elapsed} {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    let report = run.run(|step| bar.set_message(step)).await.context("scale-out")?;
    bar.finish_and_clear();
    let verdict = &report.verdict;
    println!("\nplugins on {} hosts: {:.0} seconds", run.workers, report.elapsed.as_secs_f64());
    row("kills of the publisher", report.publisher_kills);
    row("kills of workers", report.worker_kills);
    row("changes checked", count(verdict.changes));
    row("gaps", count(verdict.gaps.len()));
    row("doubles (allowed)", count(verdict.doubles.len()));
    row("steps back (allowed)", count(verdict.steps_back.len()));
    row("stale in the end", count(report.stale.len()));
    row("dead letters", count(verdict.letters));
    println!("  read by each worker since its last start: {:?}", report.shares);
    for trouble in &report.trouble {
        println!("  {trouble}");
    }
    Ok(report.is_good())
}

fn scenarios(arguments: &Arguments, target: Target, seed: u64) -> Vec<Scenario> {
    if arguments.only.is_empty() {
        let drawn = Scenario::draw(target, arguments.mode, arguments.kills, arguments.faults, seed);
        return drawn.into_iter().filter(|scenario| !scenario.faults.is_empty()).collect();
    }
    let only = Scenario { seed, ..Scenario::of(target, arguments.mode, &arguments.only) };
    let rounds = only.faults.repeat(arguments.rounds);
    // A fault that does not apply here (Redis is not everybody's target) is passed over.
    let faults: Vec<Fault> = rounds.into_iter().filter(|f| f.applies(target, arguments.mode, only.servers)).collect();
    if faults.is_empty() { vec![] } else { vec![Scenario { faults, ..only }] }
}

async fn run(scenario: &Scenario) -> Report {
    let bar = ProgressBar::new(scenario.faults.len() as u64);
    let style = ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len} rounds {elapsed} {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let servers = match scenario.servers {
        Servers::One => "",
        Servers::Three => ", three MongoDB servers",
    };
    bar.set_prefix(format!("into {}{servers}", scenario.target.name()));
    let report = scenario
        .run(|round, fault| {
            bar.set_position(round as u64);
            bar.set_message(fault.name());
        })
        .await;
    bar.finish_and_clear();
    report
}

fn row(name: &str, value: impl std::fmt::Display) {
    println!("  {name:<24} {:>10}", value.to_string());
}

fn count(count: usize) -> String {
    HumanCount(count as u64).to_string()
}

fn print_mirror(report: &MirrorReport) {
    println!("\na mirror of {} documents", HumanCount(report.documents.unsigned_abs()));
    row("kills", report.kills);
    row("writes meanwhile", HumanCount(report.writes));
    row("copied after", format!("{:.1} s", report.copied.as_secs_f64()));
    row("caught up after", format!("{:.1} s", report.caught_up.as_secs_f64()));
    row("peak memory", format!("{} MB", report.peak_memory / 1_000_000));
    row("documents compared", count(report.compared));
    row("differences", count(report.differences.len()));
    if let Some(first) = report.differences.first() {
        println!("  the first difference: {first:?}");
    }
    for trouble in &report.trouble {
        println!("  {trouble}");
    }
}

fn print(report: &Report) {
    let verdict = &report.verdict;
    println!("\ninto {}, {}: {:.0} seconds", report.target.name(), report.mode.name(), report.elapsed.as_secs_f64());
    println!("  {:<24} {:>10}   longest until overcome", "fault", "times");
    for (fault, times) in &report.faults {
        let longest =
            report.recovery.get(fault).map_or_else(String::new, |time| format!("{:.1} s", time.as_secs_f64()));
        println!("  {fault:<24} {:>10}   {longest:>8}", count(*times));
    }
    row("rounds", count(report.rounds));
    row("changes checked", count(verdict.changes));
    row("gaps", count(verdict.gaps.len()));
    row("doubles", count(verdict.doubles.len()));
    row("steps back", count(verdict.steps_back.len()));
    row("dead letters", count(verdict.letters));
    for (code, times) in &report.ends {
        row(&format!("ended by {code}"), count(*times));
    }
    for (what, changes) in [
        ("missing", &verdict.gaps),
        ("doubled", &verdict.doubles),
        ("stepped back", &verdict.steps_back),
        ("never written", &verdict.strangers),
        ("wrongly in the dead letter", &verdict.innocents),
    ] {
        if let Some((key, seq)) = changes.first() {
            println!("  first {what}: change {seq} of document {key}");
        }
    }
    if let (Some((double, first)), Mode::Once) = (verdict.double_ids.first(), report.mode) {
        println!("  the first double came under the id {double}, and before under {first}");
    }
    for trouble in &report.trouble {
        println!("  {trouble}");
    }
}
