//! Medians over the rounds.

use std::{fmt::Write as _, fs, time::SystemTime};

use anyhow::Result;
use serde::Serialize;

use super::{
    Run,
    job::{Contender, Job},
    keys::Mirrored,
    limit::Limit,
    run::Figures,
};
use crate::report::Spread;

#[derive(Debug, Serialize)]
pub(super) struct Report {
    date: String,
    redis: String,
    cores: usize,
    processor: Option<String>,
    entries: u64,
    rounds: u32,
    jobs: Vec<Job>,
    runs: Vec<Run>,
    limits: Option<Vec<Limit>>,
    /// How many, and what they took.
    keys: Option<(u64, Vec<Mirrored>)>,
}

impl Report {
    pub(super) fn new(
        redis: String,
        entries: u64,
        rounds: u32,
        jobs: Vec<Job>,
        runs: Vec<Run>,
        limits: Option<Vec<Limit>>,
        keys: Option<(u64, Vec<Mirrored>)>,
    ) -> Result<Self> {
        let date = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let cores = std::thread::available_parallelism()?.get();
        let about = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = about.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let processor = processor.map(|(_, name)| name.to_owned());
        Ok(Self { date, redis, cores, processor, entries, rounds, jobs, runs, limits, keys })
    }

    pub(super) fn markdown(&self) -> String {
        let mut out = String::from("# Redis\n\n");
        let Self { date, redis, cores, processor, entries, rounds, .. } = self;
        let processor = processor.as_deref().map(|name| format!(" ({name})")).unwrap_or_default();
        let _ = writeln!(
            out,
            "{date}; Redis {redis}, in memory alone, source and target one server; on one machine with {cores} cores{processor}; {entries} entries \
             of 230 to 300 bytes; {rounds} rounds in turns, medians. The bare loop is a task that reads 1,000 entries ahead and one that \
             writes them as a pipeline, with the same client library; both write the same to the byte. `./dev bench redis` measures it again."
        );
        for job in &self.jobs {
            self.table(&mut out, *job);
        }
        if let Some((count, all)) = &self.keys {
            let _ = writeln!(
                out,
                "\n## {count} keys (strings, hashes and sets) mirrored into MongoDB\n\n| once each | seconds | keys a second | CPU s | memory |\n|---|---|---|---|---|"
            );
            for Mirrored { by, seconds, cpu_seconds, peak_memory_bytes } in all {
                let (rate, memory) = (*count as f64 / seconds, *peak_memory_bytes as f64 / 1e6);
                let _ = writeln!(out, "| {by} | {seconds:.1} | {rate:.0} | {cpu_seconds:.1} | {memory:.0} MB |");
            }
        }
        if let Some(limits) = &self.limits {
            out += "\n## The server alone\n\n| `redis-benchmark`, one connection | a second |\n|---|---|\n";
            for Limit { what, rate } in limits {
                let _ = writeln!(out, "| {what} | {rate:.0} |");
            }
        }
        out
    }

    fn table(&self, out: &mut String, job: Job) {
        let _ = writeln!(
            out,
            "\n## {}\n\n| | a second [min - max] | to the bare loop [min - max] | CPU s/100k | Redis CPU s/100k | memory |\n|---|---|---|---|---|---|",
            job.title()
        );
        for contender in job.contenders() {
            let own = || self.runs.iter().filter(|run| run.1 == job && run.2 == *contender);
            let spread = |figure: fn(&Figures) -> f64| Spread::of(own().map(|run| figure(&run.3)));
            let bare = |round| {
                let of_round = |run: &&Run| (run.0, run.1, run.2) == (round, job, Contender::Bare);
                self.runs.iter().find(of_round).map(|run| run.3.rate)
            };
            let ratio = Spread::of(own().filter_map(|run| Some(run.3.rate / bare(run.0)?)));
            let rate = spread(|figures| figures.rate);
            let per = 100_000.0 / self.entries as f64;
            let _ = writeln!(
                out,
                "| {} | {:.0} [{:.0} - {:.0}] | {:.2} [{:.2} - {:.2}] | {:.2} | {:.2} | {:.0} MB |",
                contender.title(job),
                rate.median,
                rate.min,
                rate.max,
                ratio.median,
                ratio.min,
                ratio.max,
                spread(|figures| figures.cpu_seconds).median * per,
                spread(|figures| figures.redis_cpu_seconds).median * per,
                spread(|figures| figures.peak_memory_bytes as f64).median / 1e6,
            );
        }
    }
}
