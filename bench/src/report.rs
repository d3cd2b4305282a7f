//! Medians over the rounds, as JSON for programs and as a table for people.

use std::{fmt::Write as _, process::Command, time::SystemTime};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::{
    contender::{Contender, Plan},
    measure::Run,
    servers::Servers,
};

/// Figures of processes and servers are given for so many events.
const PER: f64 = 100_000.0;

/// Everything a later reader needs to judge the figures.
#[derive(Debug, Serialize)]
pub(crate) struct Report<'a> {
    date: String,
    tidegate: String,
    mongodb: String,
    redis: String,
    cores: usize,
    events: u64,
    rounds: u32,
    contenders: Vec<Summary>,
    runs: &'a [Run],
}

/// Medians of one contender.
#[derive(Debug, Serialize)]
struct Summary {
    contender: Contender,
    events_per_second: Spread,
    /// Of each round's rate to that of the bare loop in the same round.
    ratio_to_bare: Spread,
    cpu_seconds_per_100k: f64,
    cpu_seconds_streaming_per_100k: f64,
    peak_memory_bytes: f64,
    mongod_cpu_seconds_per_100k: f64,
    redis_cpu_seconds_per_100k: f64,
    first_entry_seconds: f64,
}

/// The middle of some figures, and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of no values: zeros.
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<_> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or_default();
        let last = values.len().saturating_sub(1);
        Self { median: (at(last / 2) + at(last.div_ceil(2))) / 2.0, min: at(0), max: at(last) }
    }
}

impl<'a> Report<'a> {
    /// Sums the runs up.
    ///
    /// # Errors
    /// When the servers or tidegate do not tell their versions.
    pub(crate) async fn new(servers: &Servers, plan: &Plan, rounds: u32, runs: &'a [Run]) -> Result<Self> {
        let (mongodb, redis) = servers.versions().await?;
        let version = Command::new(&plan.tidegate).arg("--version").output().context("tidegate does not start")?;
        Ok(Self {
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            tidegate: String::from_utf8_lossy(&version.stdout).trim().trim_start_matches("tidegate ").to_owned(),
            mongodb,
            redis,
            cores: std::thread::available_parallelism()?.get(),
            events: plan.events,
            rounds,
            contenders: Contender::ALL.into_iter().map(|contender| summary(contender, plan.events, runs)).collect(),
            runs,
        })
    }

    /// For programs.
    ///
    /// # Errors
    /// When a figure is no number JSON knows.
    pub(crate) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// For people.
    pub(crate) fn markdown(&self) -> String {
        let mut out = String::from("# End to end: MongoDB change stream to Redis stream\n\n");
        let Self { date, tidegate, mongodb, redis, cores, events, rounds, .. } = self;
        let _ = writeln!(
            out,
            "{date}; tidegate {tidegate}, MongoDB {mongodb}, Redis {redis}, all on one machine with {cores} cores; {events} events, \
             {rounds} rounds, medians.\n"
        );
        out += "| contender | events/s [min - max] | ratio to (a) [min - max] | CPU s/100k (streaming alone) | peak MB | \
                mongod CPU s/100k | Redis CPU s/100k |\n|---|---|---|---|---|---|---|\n";
        for summary in &self.contenders {
            let (rate, ratio) = (summary.events_per_second, summary.ratio_to_bare);
            let _ = writeln!(
                out,
                "| {} | {:.0} [{:.0} - {:.0}] | {:.3} [{:.3} - {:.3}] | {:.2} ({:.2}) | {:.0} | {:.2} | {:.2} |",
                summary.contender.title(),
                rate.median,
                rate.min,
                rate.max,
                ratio.median,
                ratio.min,
                ratio.max,
                summary.cpu_seconds_per_100k,
                summary.cpu_seconds_streaming_per_100k,
                summary.peak_memory_bytes / 1e6,
                summary.mongod_cpu_seconds_per_100k,
                summary.redis_cpu_seconds_per_100k,
            );
        }
        out
    }
}

fn summary(contender: Contender, events: u64, runs: &[Run]) -> Summary {
    let own = || runs.iter().filter(move |run| run.contender == contender);
    let median = |figure: fn(&Run) -> f64| Spread::of(own().map(figure)).median;
    let per = |figure: fn(&Run) -> f64| median(figure) * PER / events as f64;
    let ratio = |run: &Run| {
        let bare = runs.iter().find(|other| other.contender == Contender::Bare && other.round == run.round)?;
        Some(run.events_per_second / bare.events_per_second)
    };
    Summary {
        contender,
        events_per_second: Spread::of(own().map(|run| run.events_per_second)),
        ratio_to_bare: Spread::of(own().filter_map(ratio)),
        cpu_seconds_per_100k: per(|run| run.cpu_seconds),
        cpu_seconds_streaming_per_100k: per(|run| run.cpu_seconds_streaming),
        peak_memory_bytes: median(|run| run.peak_memory_bytes as f64),
        mongod_cpu_seconds_per_100k: per(|run| run.mongod_cpu_seconds),
        redis_cpu_seconds_per_100k: per(|run| run.redis_cpu_seconds),
        first_entry_seconds: median(|run| run.first_entry_seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[test]
    fn the_median_of_an_even_count_lies_between_the_middle_two() {
        let spread = |values: &[f64]| Spread::of(values.iter().copied());
        assert_eq!(spread(&[3.0, 1.0, 2.0]), Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(spread(&[4.0, 1.0, 3.0, 2.0]), Spread { median: 2.5, min: 1.0, max: 4.0 });
        assert_eq!(spread(&[]), Spread { median: 0.0, min: 0.0, max: 0.0 });
    }
}
