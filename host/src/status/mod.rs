//! What the host is doing now, as `/api/v1/status`, `/health`, `/readiness` and the live line tell it.
//!
//! The parts of a pipeline report through [`PipelineStatus`]; the plugin host reports through [`Status`]. Updates are a
//! short lock for each batch at most, and a snapshot is taken only when somebody asks.

mod circuit;
mod health;
mod view;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use indexmap::IndexMap;
use serde::Serialize;

use crate::{
    error::{Code, Fault},
    plugin::PluginControl,
    position::Position,
    source::mongodb::CopyProgress,
    telemetry::metrics::{Gauge, Metrics, PipelineMetrics, SinkMetrics, StageMetrics},
};

pub use circuit::{Circuit, CircuitState};
pub use health::{Health, Readiness, Reason};
pub use view::{
    CheckpointView, CountsView, FrontierView, InFlightView, PipelineView, PluginView, SinkView, SourceView, StageView,
    StatusView,
};

/// The state of a whole host. Cloning gives another handle to the same state.
#[derive(Clone, Debug)]
pub struct Status(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    metrics: Metrics,
    started_at: SystemTime,
    pipelines: Mutex<IndexMap<String, PipelineStatus>>,
    plugins: Mutex<BTreeMap<String, PluginEntry>>,
    /// What tells how it stands with each plugin's swap.
    swaps: Mutex<Option<PluginControl>>,
}

#[derive(Clone, Debug, Default)]
struct PluginEntry {
    loaded: Option<LoadedPlugin>,
    error: Option<Problem>,
    compiling: Option<Compiling>,
}

/// A plugin is being compiled.
#[derive(Clone, Copy, Debug)]
struct Compiling {
    since: std::time::Instant,
    bytes: usize,
}

/// A loaded generation of a plugin.
#[derive(Clone, Debug)]
pub struct LoadedPlugin {
    /// Its file.
    pub file: PathBuf,
    /// Counts from 1 in this run of the host.
    pub generation: u64,
    /// As its manifest says.
    pub version: String,
    /// SHA-256 of the file, in hexadecimal.
    pub digest: String,
    /// What it exports: `validator`, `migrator`, `router`, `transformer`.
    pub roles: Vec<String>,
    /// When it was ready.
    pub loaded_at: SystemTime,
}

/// What is wrong, since when.
#[derive(Clone, Debug, Serialize)]
pub struct Problem {
    /// Since when.
    #[serde(serialize_with = "view::time")]
    pub since: SystemTime,
    /// Stable code.
    #[serde(serialize_with = "view::code")]
    pub code: Code,
    /// What, why and the way out.
    pub reason: String,
    /// How often it was tried again.
    pub attempt: u32,
}

/// What a pipeline is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Plugins, sinks and the source are being opened.
    Starting,
    /// Changes move as they come.
    Running,
    /// Something is down and tried again with backoff; the problem says what.
    Retrying,
    /// Another host runs it; this one waits to take over.
    Standby,
    /// Nothing is read or delivered until the operator resumes it, or until what the problem tells of is over.
    Paused,
    /// The host is asked to stop: what is in flight is finished.
    Draining,
    /// The source came to its end and everything is delivered.
    Finished,
    /// Only the operator can help; the problem says how.
    Stopped,
}

impl State {
    /// As it stands on the status page.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Standby => "standby",
            Self::Paused => "paused",
            Self::Draining => "draining",
            Self::Finished => "finished",
            Self::Stopped => "stopped",
        }
    }
}

/// What a sink is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SinkState {
    /// Not opened yet.
    #[default]
    Connecting,
    /// It takes writes.
    Connected,
    /// It is down and tried again with backoff.
    Retrying,
    /// Only the operator can help.
    Failed,
}

/// What a pipeline consists of; nothing here holds a password.
#[derive(Clone, Debug, Default)]
pub struct PipelineParts {
    /// The source for people, without secrets: `mongodb shop.inventory`.
    pub source: String,
    /// Plugins of the stages, in order.
    pub stages: Vec<String>,
    /// Names of the sinks, in order, each with a description without secrets: `redis inventory`.
    pub sinks: Vec<(String, String)>,
    /// Where the position is kept; none for a pipeline without positions.
    pub checkpoint: Option<PathBuf>,
}

/// Where a pipeline reports what it does. Cloning gives another handle to the same pipeline.
#[derive(Clone, Debug)]
pub struct PipelineStatus(Arc<PipelineInner>);

#[derive(Debug)]
struct PipelineInner {
    name: String,
    parts: PipelineParts,
    metrics: PipelineMetrics,
    sinks: Vec<SinkMetrics>,
    stages: Vec<StageMetrics>,
    source_circuit: Gauge,
    sink_circuits: Vec<Gauge>,
    now: Mutex<Now>,
}

#[derive(Debug)]
struct Now {
    state: State,
    problem: Option<Problem>,
    source_connected: bool,
    source_problem: Option<Problem>,
    checkpoint_problem: Option<Problem>,
    source_circuit: Circuit,
    source_position: Option<Position>,
    source_history: Option<Duration>,
    copy: Option<CopyProgress>,
    last_change_at: Option<SystemTime>,
    opening_stored: bool,
    sinks: Vec<SinkNow>,
    frontier: Option<(u64, Option<Position>)>,
    checkpoint: Option<(Position, SystemTime)>,
    in_flight: u64,
}

#[derive(Clone, Debug, Default)]
struct SinkNow {
    state: SinkState,
    problem: Option<Problem>,
    circuit: Circuit,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Status {
    /// No pipelines and no plugins yet.
    pub fn new(metrics: Metrics) -> Self {
        Self(Arc::new(Inner {
            metrics,
            started_at: SystemTime::now(),
            pipelines: Mutex::default(),
            plugins: Mutex::default(),
            swaps: Mutex::default(),
        }))
    }

    /// Shows candidates, probations and bars too.
    pub fn watch_plugins(&self, control: PluginControl) {
        *lock(&self.0.swaps) = Some(control);
    }

    /// The figures that the counts are taken from.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Adds a pipeline, starting. All pipelines are added before the first runs, so that readiness waits for all.
    pub fn add_pipeline(&self, name: &str, parts: PipelineParts) -> PipelineStatus {
        let metrics = &self.0.metrics;
        let pipeline = PipelineStatus(Arc::new(PipelineInner {
            metrics: metrics.pipeline(name),
            sinks: parts.sinks.iter().map(|(sink, _)| metrics.sink(name, sink)).collect(),
            source_circuit: metrics.circuit(name, "source"),
            sink_circuits: parts.sinks.iter().map(|(sink, _)| metrics.circuit(name, &format!("sink {sink}"))).collect(),
            stages: parts.stages.iter().map(|plugin| metrics.stage(name, plugin)).collect(),
            now: Mutex::new(Now {
                state: State::Starting,
                problem: None,
                source_connected: false,
                source_problem: None,
                checkpoint_problem: None,
                source_circuit: Circuit::default(),
                source_position: None,
                source_history: None,
                copy: None,
                last_change_at: None,
                opening_stored: false,
                sinks: vec![SinkNow::default(); parts.sinks.len()],
                frontier: None,
                checkpoint: None,
                in_flight: 0,
            }),
            name: name.to_owned(),
            parts,
        }));
        pipeline.0.metrics.up.set(0);
        lock(&self.0.pipelines).insert(name.to_owned(), pipeline.clone());
        pipeline
    }

    /// A pipeline is not in the configuration any more.
    pub fn remove_pipeline(&self, name: &str) {
        lock(&self.0.pipelines).shift_remove(name);
    }

    /// The pipelines, in the order of the configuration.
    pub fn pipelines(&self) -> Vec<PipelineStatus> {
        lock(&self.0.pipelines).values().cloned().collect()
    }

    /// A generation of a plugin is in use from now on; an earlier problem is over.
    pub fn plugin_loaded(&self, plugin: &str, loaded: LoadedPlugin) {
        let generation = i64::try_from(loaded.generation).unwrap_or(i64::MAX);
        self.0.metrics.plugin(plugin).generation.set(generation);
        lock(&self.0.plugins).insert(plugin.to_owned(), PluginEntry { loaded: Some(loaded), ..PluginEntry::default() });
    }

    /// A component of so many bytes is being compiled; none: no longer.
    pub fn plugin_compiling(&self, plugin: &str, bytes: Option<usize>) {
        let compiling = bytes.map(|bytes| Compiling { since: std::time::Instant::now(), bytes });
        lock(&self.0.plugins).entry(plugin.to_owned()).or_default().compiling = compiling;
    }

    /// The newest file of a plugin does not load, or is gone; what is loaded stays in use.
    pub fn plugin_failed(&self, plugin: &str, fault: &Fault) {
        let mut plugins = lock(&self.0.plugins);
        let entry = plugins.entry(plugin.to_owned()).or_default();
        entry.error = Some(Problem::next(entry.error.take(), fault));
    }

    /// The newest file of a plugin is the one in use again.
    pub fn plugin_recovered(&self, plugin: &str) {
        if let Some(entry) = lock(&self.0.plugins).get_mut(plugin) {
            entry.error = None;
        }
    }
}

impl Problem {
    /// The problem after one more failure; it is as old as the first of them.
    fn next(before: Option<Self>, fault: &Fault) -> Self {
        let (since, attempt) =
            before.map_or_else(|| (SystemTime::now(), 1), |old| (old.since, old.attempt.saturating_add(1)));
        Self { since, code: fault.code, reason: fault.message.clone(), attempt }
    }
}

impl PipelineStatus {
    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its figures.
    pub fn metrics(&self) -> &PipelineMetrics {
        &self.0.metrics
    }

    /// The figures of its sinks, in the order of the configuration.
    pub fn sinks(&self) -> &[SinkMetrics] {
        &self.0.sinks
    }

    /// What it is doing: `Retrying` follows from a source or sink that is down.
    pub fn state(&self) -> State {
        lock(&self.0.now).effective_state()
    }

    /// It runs, drains or has finished. Retrying is told by the source and the sinks, stopping by [`Self::stopped`].
    pub fn set_state(&self, state: State) {
        self.update(|now| {
            now.state = state;
            now.problem = None;
        });
    }

    /// It pauses: for a fault, or none when the operator asked for it. [`Self::set_state`] tells that it goes on.
    pub fn paused(&self, fault: Option<&Fault>) {
        self.update(|now| {
            now.state = State::Paused;
            now.problem = fault.map(|fault| Problem::next(None, fault));
            now.source_connected = false;
        });
    }

    /// It stopped and only the operator can help.
    pub fn stopped(&self, fault: &Fault) {
        self.update(|now| {
            now.state = State::Stopped;
            now.problem = Some(Problem::next(None, fault));
            now.source_connected = false;
        });
    }

    /// The source is open, at this position when it has positions.
    pub fn source_opened(&self, position: Option<&Position>) {
        self.update(|now| {
            now.source_connected = true;
            now.source_problem = None;
            now.source_circuit = Circuit::default();
            if position.is_some() {
                now.source_position = position.cloned();
            }
        });
    }

    /// How much further back than the pipeline stands the source's history reaches.
    pub fn source_history(&self, left: Duration) {
        self.update(|now| now.source_history = Some(left));
    }

    /// The source copies what exists already, and is so far.
    pub fn source_copies(&self, progress: &CopyProgress) {
        let gauge = |documents| i64::try_from(documents).unwrap_or(i64::MAX);
        self.0.metrics.copy_documents.set(gauge(progress.documents));
        self.0.metrics.copy_expected.set(gauge(progress.of_documents));
        self.update(|now| now.copy = Some(progress.clone()));
    }

    /// The source is down and will be opened again.
    pub fn source_failed(&self, fault: &Fault) {
        self.update(|now| {
            now.source_connected = false;
            now.source_problem = Some(Problem::next(now.source_problem.take(), fault));
            now.source_circuit.fail();
        });
    }

    /// The checkpoint cannot be read or written, and is tried again; none: it can.
    pub fn checkpoint_failed(&self, fault: Option<&Fault>) {
        self.update(|now| {
            now.checkpoint_problem = fault.map(|fault| Problem::next(now.checkpoint_problem.take(), fault));
        });
    }

    /// A batch was read: where it ends, and when its newest change happened (milliseconds since 1970), if it has any.
    pub fn source_read(&self, position: Option<&Position>, newest: Option<i64>) {
        self.update(|now| {
            if position.is_some() {
                now.source_position = position.cloned();
            }
            let at = newest
                .and_then(|ms| u64::try_from(ms).ok())
                .and_then(|ms| SystemTime::UNIX_EPOCH.checked_add(std::time::Duration::from_millis(ms)));
            now.last_change_at = at.or(now.last_change_at);
        });
    }

    /// The position at which the source was opened is durably stored, or the source has none: a crash from here on loses
    /// nothing.
    pub fn opening_stored(&self) {
        self.update(|now| now.opening_stored = true);
    }

    /// The sink at `index` takes writes.
    pub fn sink_connected(&self, index: usize) {
        self.update_sink(index, |sink| *sink = SinkNow { state: SinkState::Connected, ..SinkNow::default() });
    }

    /// The sink at `index` is down, and tried again where the fault allows it.
    pub fn sink_failed(&self, index: usize, fault: &Fault) {
        self.update_sink(index, |sink| {
            sink.state = if fault.is_transient() { SinkState::Retrying } else { SinkState::Failed };
            sink.problem = Some(Problem::next(sink.problem.take(), fault));
            sink.circuit.fail();
        });
    }

    /// How many batches are read and not yet safe; their bytes are in the metrics.
    pub fn set_in_flight(&self, batches: u64) {
        self.update(|now| now.in_flight = batches);
    }

    /// All sinks have this batch and all before it.
    pub fn frontier(&self, batch: u64, position: Option<&Position>) {
        self.0.metrics.frontier_batches.set(i64::try_from(batch).unwrap_or(i64::MAX));
        self.update(|now| {
            let position = position.cloned().or_else(|| now.frontier.take().and_then(|(_, position)| position));
            now.frontier = Some((batch, position));
        });
    }

    /// A position is durably stored.
    pub fn checkpointed(&self, position: &Position) {
        self.update(|now| now.checkpoint = Some((position.clone(), SystemTime::now())));
    }

    fn update(&self, act: impl FnOnce(&mut Now)) {
        let mut now = lock(&self.0.now);
        act(&mut now);
        self.0.metrics.up.set(i64::from(now.effective_state() == State::Running));
        self.show_circuits(&now);
    }

    fn update_sink(&self, index: usize, act: impl FnOnce(&mut SinkNow)) {
        self.update(|now| {
            if let Some(sink) = now.sinks.get_mut(index) {
                act(sink);
            }
        });
    }
}

impl Now {
    /// A source or sink that is down makes a starting or running pipeline a retrying one.
    fn effective_state(&self) -> State {
        match self.state {
            State::Starting | State::Running if self.first_problem().is_some() => State::Retrying,
            other => other,
        }
    }

    /// Why the pipeline is stopped, paused or retrying.
    fn first_problem(&self) -> Option<&Problem> {
        let parts = || {
            let sinks = || self.sinks.iter().find_map(|sink| sink.problem.as_ref());
            self.source_problem.as_ref().or_else(sinks).or(self.checkpoint_problem.as_ref())
        };
        self.problem.as_ref().or_else(|| match self.state {
            State::Starting | State::Running | State::Draining => parts(),
            _ => None,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests;
