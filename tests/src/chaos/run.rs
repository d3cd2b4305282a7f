//! A run from start to end: round after round, then the check.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;

use super::fault::Fault;
use super::ledger::{Verdict, Written, judge};
use super::report::Report;
use super::scenario::Scenario;
use super::sink::{Observer, letters};
use super::world::{COLLECTION, World};
use super::writer::{Writer, WriterOptions};
use crate::Host;
use crate::eventually::poll;

/// How long the pipeline may take to overcome a fault: longer than any time-out in it.
const PATIENCE: Duration = Duration::from_secs(100);
/// How long the sink must stand still until it counts as all there is.
const QUIET: Duration = Duration::from_millis(700);
/// How long it may stand still until nothing more is expected.
const STILL: Duration = Duration::from_secs(20);
/// Ends of tidegate by itself after which a run is given up.
const ENDS: usize = 3;

/// Changes that are written at least.
const LEAST: i64 = 500;

pub(super) struct Run<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) world: World,
    pub(super) host: Host,
    /// The folder the host runs in.
    pub(super) number: usize,
    pub(super) writer: Writer,
    pub(super) random: StdRng,
    /// Of the plugin.
    pub(super) version: u32,
    observer: Observer,
    report: Report,
    started: Instant,
}

impl<'a> Run<'a> {
    /// Starts servers, tidegate and the writer.
    pub(super) async fn start(scenario: &'a Scenario) -> Self {
        let started = Instant::now();
        let world = World::start(scenario).await;
        let mut host = world.host(0);
        // From then on every write is seen.
        host.wait_ready().await;
        let options = WriterOptions { rate: scenario.rate, seed: scenario.seed, ..WriterOptions::default() };
        let writer = Writer::start(&world.mongodb_uri, &world.source, COLLECTION, options)
            .await
            .unwrap_or_else(|error| panic!("starting the writer: {error:#}"));
        Self {
            observer: Observer::new(&world).await,
            report: Report::new(scenario.target, scenario.mode, scenario.seed),
            random: StdRng::seed_from_u64(scenario.seed),
            scenario,
            world,
            host,
            number: 0,
            writer,
            version: 0,
            started,
        }
    }

    /// All rounds, then the check.
    pub(super) async fn finish(mut self, mut on_round: impl FnMut(usize, Fault)) -> Report {
        // A kill before anything arrived is a case of its own, and of luck: the rest of the run shall not hang on it.
        let mut goes_on = self.scenario.impatient || self.recover(None).await;
        let rounds = self.scenario.faults.len();
        for (round, fault) in self.scenario.faults.iter().copied().enumerate() {
            if !goes_on {
                break;
            }
            on_round(round, fault);
            self.count(fault);
            self.pause(0..300).await;
            self.strike(fault).await;
            self.report.rounds += 1;
            // What takes a minute would be put down to the faults that come after it.
            let may_haste = self.scenario.impatient && round + 1 < rounds && !fault.is_slow();
            let is_hasty = may_haste && self.random.random_ratio(1, 5);
            goes_on = is_hasty || self.recover(Some(fault)).await;
        }
        if goes_on {
            // Few changes prove little: a fault that keeps the writer waiting leaves it less time.
            let end = poll(PATIENCE, async || match self.writer.written() {
                written if written >= LEAST => Ok(()),
                written => Err(format!("only {written} changes were written")),
            });
            if let Err(state) = end.await {
                self.trouble(state);
            }
        }
        self.check().await
    }

    /// Waits until what is written now is at the sink; false when nothing more can be expected.
    pub(super) async fn recover(&mut self, from: Option<Fault>) -> bool {
        let (started, n) = (Instant::now(), self.writer.newest() + 1);
        let mut state = String::new();
        while started.elapsed() < PATIENCE {
            if !self.revive(from).await {
                return false;
            }
            match self.observer.newest().await {
                Ok((newest, _)) if newest >= n => {
                    if let Some(fault) = from {
                        let longest = self.report.recovery.entry(fault.name()).or_default();
                        *longest = started.elapsed().max(*longest);
                    }
                    return true;
                }
                Ok((newest, length)) => {
                    state = format!("the newest of {length} at the sink is {newest}, awaited is {n}")
                }
                Err(error) => state = format!("{error:#}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.trouble(format!("after {from:?}: not overcome within {PATIENCE:?}: {state}"));
        false
    }

    /// Starts tidegate again where it ended by itself, as a supervisor would; that is trouble, since nothing here is a reason to.
    async fn revive(&mut self, after: Option<Fault>) -> bool {
        if self.host.is_running() {
            return true;
        }
        let status = self.host.wait_exit(PATIENCE).await;
        let log = self.host.stderr();
        let last = log.lines().last().unwrap_or_default();
        let code = serde_json::from_str::<Value>(last).ok().and_then(|line| line["code"].as_str().map(str::to_owned));
        let code = code.unwrap_or_else(|| format!("{status:?}"));
        *self.report.ends.entry(code).or_default() += 1;
        self.trouble(format!("after {after:?}: tidegate ended by itself with {status:?}: {last}"));
        self.start_host().await;
        self.report.ends.values().sum::<usize>() < ENDS
    }

    /// Kills tidegate and starts it again.
    pub(super) async fn kill(&mut self) {
        self.host.kill();
        self.start_host().await;
    }

    /// Starts tidegate again; the one before has ended.
    async fn start_host(&mut self) {
        self.keep_log().await;
        self.host = self.world.host(self.number);
    }

    /// Puts another tidegate in the place of this one.
    pub(super) async fn replace_host(&mut self, host: Host) {
        self.host.kill();
        self.keep_log().await;
        self.host = host;
    }

    async fn keep_log(&mut self) {
        let _ = self.host.wait_exit(PATIENCE).await;
        let file = OpenOptions::new().create(true).append(true).open(self.log_file());
        let _ = file.and_then(|mut file| file.write_all(self.host.stderr().as_bytes()));
    }

    /// A line for each arrival, in order: key, sequence number and change id.
    async fn keep_arrivals(&mut self) {
        let Ok(arrivals) = self.observer.arrivals().await else { return };
        let lines: String = arrivals.iter().map(|a| format!("{} {} {}\n", a.key, a.seq, a.id)).collect();
        let _ = std::fs::write(self.world.dir.path().join("arrivals.txt"), lines);
    }

    fn log_file(&self) -> PathBuf {
        self.world.dir.path().join("tidegate.log")
    }

    pub(super) fn count(&mut self, fault: Fault) {
        *self.report.faults.entry(fault.name()).or_default() += 1;
    }

    pub(super) fn trouble(&mut self, what: String) {
        self.report.trouble.push(what);
    }

    /// Lets some milliseconds pass, by chance.
    pub(super) async fn pause(&mut self, milliseconds: std::ops::Range<u64>) {
        let pause = self.random.random_range(milliseconds);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }

    /// Stops the writer, waits until everything is there or nothing more comes, stops tidegate, and compares.
    async fn check(mut self) -> Report {
        let writer = std::mem::replace(&mut self.writer, Writer::none());
        match writer.stop().await {
            Ok(written) => {
                self.wait_complete(&written).await;
                if self.host.is_running() {
                    let code = self.host.stop().await;
                    if code != Some(0) {
                        self.trouble(format!("the end by SIGTERM was {code:?}"));
                    }
                }
                match self.verdict(&written).await {
                    Ok(verdict) => self.report.verdict = verdict,
                    Err(error) => self.trouble(format!("the sink cannot be read: {error:#}")),
                }
            }
            Err(error) => self.trouble(format!("writing failed: {error:#}")),
        }
        self.report.elapsed = self.started.elapsed();
        if !self.report.is_good() {
            self.host.kill();
            self.keep_log().await;
            self.keep_arrivals().await;
            self.world.dir.disable_cleanup(true);
            self.trouble(format!(
                "state, dead letters, log and arrivals are kept in {}",
                self.world.dir.path().display()
            ));
        }
        self.report
    }

    async fn wait_complete(&mut self, written: &Written) {
        let (mut length, mut moved, mut looked) = (0, Instant::now(), Instant::now());
        while moved.elapsed() < STILL && self.revive(None).await {
            match self.observer.newest().await {
                Ok((_, now)) if now == length => {}
                Ok((_, now)) => (length, moved) = (now, Instant::now()),
                Err(_) => {}
            }
            if moved.elapsed() > QUIET && looked.elapsed() > QUIET {
                if self.verdict(written).await.is_ok_and(|verdict| verdict.gaps.is_empty()) {
                    return;
                }
                looked = Instant::now();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn verdict(&mut self, written: &Written) -> Result<Verdict> {
        let arrivals = self.observer.arrivals().await?;
        let mut verdict = judge(written, &arrivals, &letters(&self.world)?);
        verdict.gaps.extend(self.observer.copy_lacks(written).await?);
        Ok(verdict)
    }

    /// Waits for a condition on tidegate's log; makes a note where it does not come.
    pub(super) async fn wait_events(&mut self, event: &str, count: usize) -> bool {
        let end = poll(Duration::from_secs(30), async || {
            let found = self.events(event);
            if found >= count { Ok(()) } else { Err(format!("{found} of {count} lines with event={event}")) }
        });
        let end = end.await;
        end.map_err(|state| self.trouble(state)).is_ok()
    }

    pub(super) fn events(&self, event: &str) -> usize {
        let wanted = format!("\"event\":\"{event}\"");
        self.host.stderr().lines().filter(|line| line.contains(&wanted)).count()
    }
}
