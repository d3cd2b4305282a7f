//! Medians over the rounds.

use std::{fmt::Write as _, time::SystemTime};

use anyhow::Result;
use serde::Serialize;

use super::{Contender, Job, Run, run::Figures};
use crate::report::Spread;

#[derive(Debug, Serialize)]
pub(super) struct Report {
    date: String,
    mongodb: String,
    cores: usize,
    events: u64,
    rounds: u32,
    runs: Vec<Run>,
}

impl Report {
    pub(super) fn new(mongodb: String, events: u64, rounds: u32, runs: Vec<Run>) -> Result<Self> {
        let date = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        Ok(Self { date, mongodb, cores: std::thread::available_parallelism()?.get(), events, rounds, runs })
    }

    pub(super) fn markdown(&self) -> String {
        let mut out = String::from("# MongoDB to Pub/Sub\n\n");
        let Self { date, mongodb, cores, events, rounds, .. } = self;
        let _ = writeln!(
            out,
            "{date}; MongoDB {mongodb} and Google's emulator, all on one machine with {cores} cores; {events} inserts of 275 to 300 bytes; \
             {rounds} rounds in turns, medians. The bare loop has the same driver and the same client of Pub/Sub, up to 4,000 messages \
             (2,000 with ordering keys) under way; both publish the same to the byte. `./dev bench pubsub` measures it again."
        );
        for job in Job::ALL {
            self.table(&mut out, job);
        }
        out
    }

    fn table(&self, out: &mut String, job: Job) {
        let _ = writeln!(
            out,
            "\n## {}\n\n| | a second [min - max] | to the bare loop [min - max] | CPU s/100k | memory |\n|---|---|---|---|---|",
            job.title()
        );
        for contender in Contender::ALL {
            let own = || self.runs.iter().filter(|run| run.1 == job && run.2 == contender);
            let spread = |figure: fn(&Figures) -> f64| Spread::of(own().map(|run| figure(&run.3)));
            let bare = |round| {
                let of_round = |run: &&Run| (run.0, run.1, run.2) == (round, job, Contender::Bare);
                self.runs.iter().find(of_round).map(|run| run.3.rate)
            };
            let ratio = Spread::of(own().filter_map(|run| Some(run.3.rate / bare(run.0)?)));
            let rate = spread(|figures| figures.rate);
            let _ = writeln!(
                out,
                "| {} | {:.0} [{:.0} - {:.0}] | {:.2} [{:.2} - {:.2}] | {:.2} | {:.0} MB |",
                contender.title(),
                rate.median,
                rate.min,
                rate.max,
                ratio.median,
                ratio.min,
                ratio.max,
                spread(|figures| figures.cpu_seconds).median * 100_000.0 / self.events as f64,
                spread(|figures| figures.peak_memory_bytes as f64).median / 1e6,
            );
        }
    }
}
