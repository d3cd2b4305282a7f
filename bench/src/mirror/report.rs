//! Medians over the rounds.

use std::{fmt::Write as _, time::SystemTime};

use anyhow::Result;
use serde::Serialize;

use super::{Contender, delay::Delay, run::Figures};

type Runs = Vec<(u32, Contender, Figures)>;

#[derive(Debug, Serialize)]
pub(super) struct Report {
    date: String,
    mongodb: String,
    cores: usize,
    documents: u64,
    events: u64,
    copies: Runs,
    follows: Runs,
    delays: Vec<(Contender, Delay)>,
}

impl Report {
    pub(super) fn new(
        mongodb: String,
        documents: u64,
        events: u64,
        copies: Runs,
        follows: Runs,
        delays: Vec<(Contender, Delay)>,
    ) -> Result<Self> {
        let date = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let cores = std::thread::available_parallelism()?.get();
        Ok(Self { date, mongodb, cores, documents, events, copies, follows, delays })
    }

    pub(super) fn markdown(&self) -> String {
        let mut out = String::from("# MongoDB to MongoDB\n\n");
        let Self { date, mongodb, cores, documents, events, .. } = self;
        let _ = writeln!(
            out,
            "{date}; MongoDB {mongodb}, source and target one server, on one machine with {cores} cores; documents of 275 to 300 bytes; medians."
        );
        table(&mut out, &format!("Copy of {documents} documents"), &self.copies);
        table(&mut out, &format!("Catching up with {events} waiting inserts"), &self.follows);
        let _ = writeln!(
            out,
            "\n## Delay at 1,000 changes a second\n\n| | changes | p50 | p99 | most |\n|---|---|---|---|---|"
        );
        for (contender, delay) in &self.delays {
            let Delay { changes, p50, p99, max } = delay;
            let _ = writeln!(out, "| {} | {changes} | {p50:.1} ms | {p99:.1} ms | {max:.1} ms |", contender.title());
        }
        out
    }
}

fn table(out: &mut String, title: &str, runs: &Runs) {
    let _ = writeln!(
        out,
        "\n## {title}\n\n| | a second | to the bare loop | seconds | CPU s | memory |\n|---|---|---|---|---|---|"
    );
    for contender in Contender::ALL {
        let of = |figure: fn(&Figures) -> f64| {
            median(runs.iter().filter(|run| run.1 == contender).map(|run| figure(&run.2)))
        };
        let ratio = median(runs.iter().filter(|run| run.1 == contender).filter_map(|run| {
            let bare = runs.iter().find(|other| other.0 == run.0 && other.1 == Contender::Bare)?;
            Some(run.2.rate / bare.2.rate)
        }));
        let _ = writeln!(
            out,
            "| {} | {:.0} | {ratio:.2} | {:.1} | {:.1} | {:.0} MB |",
            contender.title(),
            of(|figures| figures.rate),
            of(|figures| figures.seconds),
            of(|figures| figures.cpu_seconds),
            of(|figures| figures.peak_memory_bytes as f64) / 1e6,
        );
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or_default();
    let last = values.len().saturating_sub(1);
    (at(last / 2) + at(last.div_ceil(2))) / 2.0
}
