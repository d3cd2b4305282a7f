//! The status as `/api/v1/status` shows it. Names here are an interface: they stay.

use std::{path::PathBuf, time::SystemTime};

use indexmap::IndexMap;
use serde::{Serialize, Serializer};

use crate::{
    error::Code,
    plugin::view::PluginLive,
    position::Position,
    source::mongodb::CopyProgress,
    telemetry::metrics::{DeadLetterKind, resident_bytes},
};

use super::{Circuit, PipelineStatus, PluginEntry, Problem, SinkState, State, Status, lock};

/// Most hexadecimal digits of a position that are shown: a resume token is some 300 digits long, and the ends tell two apart.
const POSITION_DIGITS: usize = 40;

/// A host at one moment.
#[derive(Debug, Serialize)]
pub struct StatusView {
    /// Of the host.
    pub version: &'static str,
    /// When the host started (RFC 3339, UTC), as all times here.
    #[serde(serialize_with = "time")]
    pub started_at: SystemTime,
    /// Memory of the host in RAM; none where the system does not tell.
    pub resident_memory_bytes: Option<u64>,
    /// By name, in the order of the configuration.
    pub pipelines: IndexMap<String, PipelineView>,
    /// By name.
    pub plugins: IndexMap<String, PluginView>,
}

/// A pipeline at one moment.
#[derive(Debug, Serialize)]
pub struct PipelineView {
    /// What it is doing.
    pub state: State,
    /// Why it is retrying, paused or stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// Where changes come from.
    pub source: SourceView,
    /// Plugins, in order.
    pub stages: Vec<StageView>,
    /// Where changes go, in order.
    pub sinks: Vec<SinkView>,
    /// Since the host started.
    pub counts: CountsView,
    /// Age of the newest change whose delivery is safe; 0 when there is no more.
    pub lag_seconds: f64,
    /// Read and not yet safe.
    pub in_flight: InFlightView,
    /// The newest batch that all sinks have; none before the first.
    pub frontier: Option<FrontierView>,
    /// The stored position; none before the first.
    pub checkpoint: Option<CheckpointView>,
}

/// A source at one moment.
#[derive(Debug, Serialize)]
pub struct SourceView {
    /// What it is, without secrets.
    pub description: String,
    /// Whether it is open.
    pub connected: bool,
    /// Where it stands, shortened.
    pub position: Option<String>,
    /// How long the pipeline may stand still before the source loses its position; none where that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_seconds: Option<u64>,
    /// When the newest change it gave happened.
    #[serde(serialize_with = "optional_time")]
    pub last_change_at: Option<SystemTime>,
    /// How far the copy of what existed already is; none where none was made since the host started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copy: Option<CopyProgress>,
    /// Why it is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// Whether it works, waits for its next try, or is being tried.
    pub circuit: Circuit,
    /// Times it was opened again.
    pub retries: u64,
}

/// A stage.
#[derive(Debug, Serialize)]
pub struct StageView {
    /// The plugin.
    pub plugin: String,
    /// Calls of it in this pipeline.
    pub calls: u64,
    /// Changes it got.
    pub changes: u64,
    /// Changes it rejected.
    pub rejects: u64,
    /// Calls that failed.
    pub failures: u64,
    /// It failed on everything, so that it is given no more changes.
    pub breaker_open: bool,
}

/// A sink at one moment.
#[derive(Debug, Serialize)]
pub struct SinkView {
    /// Its name in the configuration.
    pub name: String,
    /// What it is, without secrets.
    pub description: String,
    /// What it is doing.
    pub state: SinkState,
    /// Why it is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// Whether it works, waits for its next try, or is being tried.
    pub circuit: Circuit,
    /// Times it was opened or written to again.
    pub retries: u64,
    /// Deliveries it confirmed.
    pub events_out: u64,
    /// Bytes of them.
    pub bytes_out: u64,
    /// Batches written to it.
    pub writes: u64,
}

/// Counts since the host started.
#[derive(Debug, Serialize)]
pub struct CountsView {
    /// Changes read.
    pub events_in: u64,
    /// Bytes of them.
    pub bytes_in: u64,
    /// Deliveries that sinks confirmed, all together.
    pub events_out: u64,
    /// Batches read.
    pub batches: u64,
    /// Changes dropped on purpose.
    pub filtered: u64,
    /// Dead letters by kind; kinds without any are left out.
    pub dead_letters: IndexMap<&'static str, u64>,
}

/// What is read and not yet safe.
#[derive(Debug, Serialize)]
pub struct InFlightView {
    /// Batches.
    pub batches: u64,
    /// Their bytes.
    pub bytes: i64,
}

/// The frontier.
#[derive(Debug, Serialize)]
pub struct FrontierView {
    /// Number of the batch in this run.
    pub batch: u64,
    /// Where it ends, shortened.
    pub position: Option<String>,
}

/// The stored position.
#[derive(Debug, Serialize)]
pub struct CheckpointView {
    /// Shortened.
    pub position: String,
    /// When it was stored.
    #[serde(serialize_with = "time")]
    pub at: SystemTime,
    /// Where.
    pub path: Option<PathBuf>,
}

/// A plugin at one moment. What is absent was never loaded.
#[derive(Debug, Serialize)]
pub struct PluginView {
    /// Its file.
    pub file: Option<PathBuf>,
    /// The generation in use; 0: none.
    pub generation: u64,
    /// As its manifest says.
    pub version: Option<String>,
    /// SHA-256 of the file.
    pub digest: Option<String>,
    /// What it exports.
    pub roles: Vec<String>,
    /// When it was ready.
    #[serde(serialize_with = "optional_time")]
    pub loaded_at: Option<SystemTime>,
    /// Why its newest file is not in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
    /// How it stands with its swap: probation, candidate, previous generation, bars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap: Option<PluginLive>,
}

impl Status {
    /// What is true now.
    pub fn view(&self) -> StatusView {
        let pipelines = self.pipelines().iter().map(|pipeline| (pipeline.name().to_owned(), pipeline.view())).collect();
        StatusView {
            version: env!("CARGO_PKG_VERSION"),
            started_at: self.0.started_at,
            resident_memory_bytes: resident_bytes(),
            pipelines,
            plugins: self.plugins(),
        }
    }

    /// What is true of the plugins now, by name.
    pub fn plugins(&self) -> IndexMap<String, PluginView> {
        // Asked before the entries are locked: plugins tell of themselves while they are.
        let control = lock(&self.0.swaps).clone();
        let mut swaps = control.map(|control| control.list(false)).unwrap_or_default();
        let mut shown = |name: &str, entry: &PluginEntry| {
            let swap = swaps.iter().position(|swap| swap.plugin == name).map(|at| swaps.swap_remove(at));
            PluginView { swap, ..entry.view() }
        };
        lock(&self.0.plugins).iter().map(|(name, entry)| (name.clone(), shown(name, entry))).collect()
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.view().serialize(serializer)
    }
}

impl PipelineStatus {
    /// What is true now.
    pub fn view(&self) -> PipelineView {
        let inner = &*self.0;
        let now = lock(&inner.now);
        let state = now.effective_state();
        let problem = match state {
            State::Retrying | State::Paused | State::Stopped => now.first_problem().cloned(),
            _ => None,
        };
        let sinks = inner.parts.sinks.iter().zip(&now.sinks).zip(&inner.sinks);
        let stages = inner.parts.stages.iter().zip(&inner.stages);
        let metrics = &inner.metrics;
        let dead_letters =
            DeadLetterKind::ALL.into_iter().map(|kind| (kind.as_str(), metrics.dead_letters(kind).get()));
        PipelineView {
            state,
            problem,
            source: SourceView {
                description: inner.parts.source.clone(),
                connected: now.source_connected,
                position: now.source_position.as_ref().map(short),
                history_seconds: now.source_history.map(|left| left.as_secs()),
                last_change_at: now.last_change_at,
                copy: now.copy.clone(),
                problem: now.source_problem.clone(),
                circuit: now.source_circuit,
                retries: metrics.source_retries.get(),
            },
            stages: stages
                .map(|(plugin, figures)| StageView {
                    plugin: plugin.clone(),
                    calls: figures.calls.get(),
                    changes: figures.changes.get(),
                    rejects: figures.rejects.get(),
                    failures: figures.failures_total(),
                    breaker_open: figures.breaker_open.get() != 0,
                })
                .collect(),
            sinks: sinks
                .map(|(((name, description), sink), figures)| SinkView {
                    name: name.clone(),
                    description: description.clone(),
                    state: sink.state,
                    problem: sink.problem.clone(),
                    circuit: sink.circuit,
                    retries: figures.retries.get(),
                    events_out: figures.events_out.get(),
                    bytes_out: figures.bytes_out.get(),
                    writes: figures.writes.get(),
                })
                .collect(),
            counts: CountsView {
                events_in: metrics.events_in.get(),
                bytes_in: metrics.bytes_in.get(),
                events_out: inner.sinks.iter().map(|sink| sink.events_out.get()).sum(),
                batches: metrics.batches.get(),
                filtered: metrics.events_filtered.get(),
                dead_letters: dead_letters.filter(|(_, count)| *count > 0).collect(),
            },
            lag_seconds: metrics.lag.seconds(),
            in_flight: InFlightView { batches: now.in_flight, bytes: metrics.inflight_bytes.get() },
            frontier: now
                .frontier
                .as_ref()
                .map(|(batch, position)| FrontierView { batch: *batch, position: position.as_ref().map(short) }),
            checkpoint: now.checkpoint.as_ref().map(|(position, at)| CheckpointView {
                position: short(position),
                at: *at,
                path: inner.parts.checkpoint.clone(),
            }),
        }
    }
}

impl PluginEntry {
    fn view(&self) -> PluginView {
        let loaded = self.loaded.as_ref();
        PluginView {
            file: loaded.map(|loaded| loaded.file.clone()),
            generation: loaded.map_or(0, |loaded| loaded.generation),
            version: loaded.map(|loaded| loaded.version.clone()),
            digest: loaded.map(|loaded| loaded.digest.clone()),
            roles: loaded.map_or_else(Vec::new, |loaded| loaded.roles.clone()),
            loaded_at: loaded.map(|loaded| loaded.loaded_at),
            error: self.error.clone(),
            swap: None,
        }
    }
}

/// The hexadecimal text of a position, its middle left out when it is long.
fn short(position: &Position) -> String {
    let hex = position.to_hex();
    if hex.len() <= POSITION_DIGITS {
        return hex;
    }
    let (head, tail) = (hex.get(..POSITION_DIGITS / 2), hex.get(hex.len() - POSITION_DIGITS / 2..));
    format!("{}...{}", head.unwrap_or_default(), tail.unwrap_or_default())
}

pub(super) fn time<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_millis(*at))
}

pub(super) fn optional_time<S: Serializer>(at: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => time(at, serializer),
        None => serializer.serialize_none(),
    }
}

pub(super) fn code<S: Serializer>(code: &Code, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(code.as_str())
}
