//! Figures for Prometheus, the status page and the live line.
//!
//! Everything is counted through handles that are looked up once, so that counting is one atomic addition. All names
//! stand in [`names`]. The kinds of a counter with label `kind` exist from the start at 0, so that a rate sees the first one.

mod families;
mod lag;
pub mod names;
mod own;
mod process;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use prometheus_client::{
    encoding::text,
    metrics::{counter, gauge},
    registry::{Registry, Unit},
};

use families::{
    Families, OfHttp, OfPart, OfPipeline, OfPipelineKind, OfPlugin, OfShadow, OfSide, OfSink, OfStage, OfStageKind,
};
use names::Name;
use own::Own;

pub use lag::Lag;
pub use own::{MAX_NAME_LENGTH, MAX_NAMES, is_name};
pub use process::resident_bytes;
pub use prometheus_client::metrics::histogram::Histogram;

/// Only grows.
pub type Counter = counter::Counter;
/// Goes up and down, in whole numbers.
pub type Gauge = gauge::Gauge;
/// Goes up and down.
pub type FloatGauge = gauge::Gauge<f64, AtomicU64>;

/// What `/metrics` answers with.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics of a host. Cloning gives another handle to the same figures.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    families: Families,
    own: Mutex<HashMap<String, Arc<Own>>>,
}

impl Metrics {
    /// All at zero. A host has one; tests may have many.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let families = Families::registered(&mut registry, env!("CARGO_PKG_VERSION"));
        Self(Arc::new(Inner { registry, families, own: Mutex::default() }))
    }

    /// The handles of a pipeline; the same figures for the same name.
    pub fn pipeline(&self, pipeline: &str) -> PipelineMetrics {
        let families = &self.0.families;
        let labels = OfPipeline { pipeline: pipeline.to_owned() };
        PipelineMetrics {
            events_in: families.events_in.get_or_create_owned(&labels),
            bytes_in: families.bytes_in.get_or_create_owned(&labels),
            batches: families.batches.get_or_create_owned(&labels),
            events_filtered: families.events_filtered.get_or_create_owned(&labels),
            source_retries: families.source_retries.get_or_create_owned(&labels),
            positions_lost: families.source_positions_lost.get_or_create_owned(&labels),
            copy_documents: families.copy_documents.get_or_create_owned(&labels),
            copy_expected: families.copy_expected.get_or_create_owned(&labels),
            dead_letters: DeadLetterKind::ALL.map(|kind| {
                let labels = OfPipelineKind { pipeline: pipeline.to_owned(), kind: kind.as_str().to_owned() };
                families.dead_letters.get_or_create_owned(&labels)
            }),
            lag: families.lag.get_or_create_owned(&labels),
            frontier_batches: families.frontier_batches.get_or_create_owned(&labels),
            inflight_bytes: families.inflight_bytes.get_or_create_owned(&labels),
            checkpoint_writes: families.checkpoint_writes.get_or_create_owned(&labels),
            checkpoint_failures: families.checkpoint_failures.get_or_create_owned(&labels),
            up: families.pipeline_up.get_or_create_owned(&labels),
            pipeline: pipeline.into(),
            metrics: self.clone(),
        }
    }

    /// How it stands with a part of a pipeline: `source` or `sink NAME`.
    pub fn circuit(&self, pipeline: &str, part: &str) -> Gauge {
        let labels = OfPart { pipeline: pipeline.to_owned(), part: part.to_owned() };
        self.0.families.circuit_state.get_or_create_owned(&labels)
    }

    /// The handles of a sink of a pipeline.
    pub fn sink(&self, pipeline: &str, sink: &str) -> SinkMetrics {
        let families = &self.0.families;
        let labels = OfSink { pipeline: pipeline.to_owned(), sink: sink.to_owned() };
        SinkMetrics {
            events_out: families.events_out.get_or_create_owned(&labels),
            events_skipped: families.events_skipped.get_or_create_owned(&labels),
            events_ignored: families.events_ignored.get_or_create_owned(&labels),
            events_missing: families.events_missing.get_or_create_owned(&labels),
            bytes_out: families.bytes_out.get_or_create_owned(&labels),
            writes: families.sink_writes.get_or_create_owned(&labels),
            retries: families.sink_retries.get_or_create_owned(&labels),
            write_seconds: families.sink_write_seconds.get_or_create_owned(&labels),
        }
    }

    /// The handles of a plugin in a pipeline; stages of one pipeline that name the same plugin share them.
    pub fn stage(&self, pipeline: &str, plugin: &str) -> StageMetrics {
        let families = &self.0.families;
        let labels = OfStage { pipeline: pipeline.to_owned(), plugin: plugin.to_owned() };
        StageMetrics {
            calls: families.plugin_calls.get_or_create_owned(&labels),
            changes: families.plugin_changes.get_or_create_owned(&labels),
            call_seconds: families.plugin_call_seconds.get_or_create_owned(&labels),
            rejects: families.plugin_rejects.get_or_create_owned(&labels),
            failures: FailureKind::ALL.map(|kind| {
                let labels =
                    OfStageKind { pipeline: pipeline.to_owned(), plugin: plugin.to_owned(), kind: kind.as_str() };
                families.plugin_failures.get_or_create_owned(&labels)
            }),
            bisect_calls: families.plugin_bisect_calls.get_or_create_owned(&labels),
            instances_retired: families.plugin_instances_retired.get_or_create_owned(&labels),
            breaker_open: families.plugin_breaker_open.get_or_create_owned(&labels),
        }
    }

    /// The handles of a plugin, whatever the pipeline.
    pub fn plugin(&self, plugin: &str) -> PluginMetrics {
        let families = &self.0.families;
        let labels = OfPlugin { plugin: plugin.to_owned() };
        let side = |generation| {
            let labels = OfSide { plugin: plugin.to_owned(), generation };
            families.plugin_shadow_change_seconds.get_or_create_owned(&labels)
        };
        let own =
            Arc::clone(self.0.own.lock().unwrap_or_else(PoisonError::into_inner).entry(plugin.to_owned()).or_default());
        PluginMetrics {
            swaps: families.plugin_swaps.get_or_create_owned(&labels),
            swap_failures: families.plugin_swap_failures.get_or_create_owned(&labels),
            generation: families.plugin_generation.get_or_create_owned(&labels),
            taken_back: families.plugin_taken_back.get_or_create_owned(&labels),
            probation: families.plugin_probation.get_or_create_owned(&labels),
            shadow: families.plugin_shadow.get_or_create_owned(&labels),
            shadow_changes: ShadowResult::ALL.map(|result| {
                let labels = OfShadow { plugin: plugin.to_owned(), result: result.as_str() };
                families.plugin_shadow_changes.get_or_create_owned(&labels)
            }),
            shadow_seconds: (side("running"), side("candidate")),
            log_lines_dropped: families.plugin_log_lines_dropped.get_or_create_owned(&labels),
            own,
            plugin: plugin.into(),
            metrics: self.clone(),
        }
    }

    /// All figures as OpenMetrics text; send it as [`CONTENT_TYPE`].
    pub fn encode(&self) -> String {
        let mut text = String::with_capacity(16 << 10);
        // Writing into a string cannot fail, and no metric of ours does.
        let _ = text::encode(&mut text, &self.0.registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// The unit that OpenMetrics adds to a name.
fn unit(name: &Name) -> Option<Unit> {
    match name.open_metrics_unit()? {
        "bytes" => Some(Unit::Bytes),
        "seconds" => Some(Unit::Seconds),
        other => Some(Unit::Other(other.to_owned())),
    }
}

/// The figures of a pipeline.
#[derive(Clone, Debug)]
pub struct PipelineMetrics {
    /// Changes read.
    pub events_in: Counter,
    /// Bytes of the changes read.
    pub bytes_in: Counter,
    /// Batches read, those without changes too.
    pub batches: Counter,
    /// Changes a stage dropped on purpose or routed nowhere.
    pub events_filtered: Counter,
    /// Times the source was opened again after a fault.
    pub source_retries: Counter,
    /// Positions that the source no longer had.
    pub positions_lost: Counter,
    /// Documents that the copy has read.
    pub copy_documents: Gauge,
    /// Documents that are to be copied, about.
    pub copy_expected: Gauge,
    /// How far the pipeline is behind.
    pub lag: Lag,
    /// Number of the newest batch of this run that all sinks have.
    pub frontier_batches: Gauge,
    /// Bytes read and not yet safe.
    pub inflight_bytes: Gauge,
    /// Positions stored.
    pub checkpoint_writes: Counter,
    /// Positions that could not be stored.
    pub checkpoint_failures: Counter,
    /// 1 while the pipeline runs; the status keeps it, see [`PipelineStatus`](crate::status).
    pub up: Gauge,
    dead_letters: [Counter; DeadLetterKind::ALL.len()],
    pipeline: Arc<str>,
    metrics: Metrics,
}

impl PipelineMetrics {
    /// The counter of dead letters of a kind.
    pub fn dead_letters(&self, kind: DeadLetterKind) -> &Counter {
        let [rejected, failed, trap, timeout, memory, result, output, breaker, unreadable, refused] =
            &self.dead_letters;
        match kind {
            DeadLetterKind::Rejected => rejected,
            DeadLetterKind::Failed => failed,
            DeadLetterKind::Trap => trap,
            DeadLetterKind::Timeout => timeout,
            DeadLetterKind::Memory => memory,
            DeadLetterKind::Result => result,
            DeadLetterKind::Output => output,
            DeadLetterKind::Breaker => breaker,
            DeadLetterKind::Unreadable => unreadable,
            DeadLetterKind::Refused => refused,
        }
    }

    /// Dead letters of all kinds.
    pub fn dead_letters_total(&self) -> u64 {
        self.dead_letters.iter().map(Counter::get).sum()
    }

    /// How much history the source has left; there is no figure before the first.
    pub fn history(&self, left: std::time::Duration) {
        let labels = OfPipeline { pipeline: self.pipeline.to_string() };
        self.metrics
            .0
            .families
            .source_history
            .get_or_create(&labels)
            .set(i64::try_from(left.as_secs()).unwrap_or(i64::MAX));
    }

    /// Counts an event without a document, such as `drop`; these are rare, so that looking the counter up is no matter.
    pub fn ddl(&self, kind: &str) {
        let labels = OfPipelineKind { pipeline: self.pipeline.to_string(), kind: kind.to_owned() };
        self.metrics.0.families.source_ddl.get_or_create(&labels).inc();
    }
}

/// The figures of a sink of a pipeline.
#[derive(Clone, Debug)]
pub struct SinkMetrics {
    /// Deliveries the sink has confirmed.
    pub events_out: Counter,
    /// Deliveries the sink had already.
    pub events_skipped: Counter,
    /// Deliveries that the sink is told to do nothing with.
    pub events_ignored: Counter,
    /// Updates of documents that the target does not have.
    pub events_missing: Counter,
    /// Bytes of the changes the sink has confirmed.
    pub bytes_out: Counter,
    /// Writes, repeated ones too.
    pub writes: Counter,
    /// Times the sink was opened or written to again after a fault.
    pub retries: Counter,
    /// Time of one write, in seconds; see [`SinkMetrics::observe`].
    pub write_seconds: Histogram,
}

impl SinkMetrics {
    /// Counts a write and its time.
    pub fn observe(&self, took: Duration) {
        self.writes.inc();
        self.write_seconds.observe(took.as_secs_f64());
    }
}

/// The figures of a plugin in a pipeline.
#[derive(Clone, Debug)]
pub struct StageMetrics {
    /// Calls.
    pub calls: Counter,
    /// Changes handed over.
    pub changes: Counter,
    /// Time of one call, in seconds; see [`StageMetrics::observe`].
    pub call_seconds: Histogram,
    /// Changes rejected.
    pub rejects: Counter,
    /// Extra calls made to find the guilty change.
    pub bisect_calls: Counter,
    /// Instances thrown away.
    pub instances_retired: Counter,
    /// 1 while the breaker of a stage is open.
    pub breaker_open: Gauge,
    failures: [Counter; FailureKind::ALL.len()],
}

impl StageMetrics {
    /// Counts a call, its changes and its time.
    pub fn observe(&self, changes: usize, took: Duration) {
        self.calls.inc();
        self.changes.inc_by(changes as u64);
        self.call_seconds.observe(took.as_secs_f64());
    }

    /// The counter of failed calls of a kind.
    pub fn failures(&self, kind: FailureKind) -> &Counter {
        let [trap, timeout, memory, result, output] = &self.failures;
        match kind {
            FailureKind::Trap => trap,
            FailureKind::Timeout => timeout,
            FailureKind::Memory => memory,
            FailureKind::Result => result,
            FailureKind::Output => output,
        }
    }

    /// Failed calls of all kinds.
    pub fn failures_total(&self) -> u64 {
        self.failures.iter().map(Counter::get).sum()
    }
}

/// The figures of a plugin, and those it counts itself.
#[derive(Clone, Debug)]
pub struct PluginMetrics {
    /// Generations that took over from a running one.
    pub swaps: Counter,
    /// New files that did not load.
    pub swap_failures: Counter,
    /// Generation in use.
    pub generation: Gauge,
    /// Generations that the host took back.
    pub taken_back: Counter,
    /// 1 while the generation in use is on probation.
    pub probation: Gauge,
    /// 1 while a candidate is in the shadow.
    pub shadow: Gauge,
    /// Mean time for a change in the shadow: of the running generation, of the candidate.
    pub shadow_seconds: (FloatGauge, FloatGauge),
    shadow_changes: [Counter; ShadowResult::ALL.len()],
    /// Log lines beyond the limit.
    pub log_lines_dropped: Counter,
    own: Arc<Own>,
    plugin: Arc<str>,
    metrics: Metrics,
}

/// What came of an HTTP request of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpOutcome {
    /// There was a response, whatever its status.
    Answered,
    /// It was not sent: not granted, or no request at all.
    Refused,
    /// There was no response, or too large a one.
    Failed,
}

impl HttpOutcome {
    /// The value of the label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

impl PluginMetrics {
    /// The counter of changes in the shadow of which that came.
    pub fn shadow_changes(&self, result: ShadowResult) -> &Counter {
        let [equal, different, new_reject, gone_reject, failed, dropped] = &self.shadow_changes;
        match result {
            ShadowResult::Equal => equal,
            ShadowResult::Different => different,
            ShadowResult::NewReject => new_reject,
            ShadowResult::GoneReject => gone_reject,
            ShadowResult::Failed => failed,
            ShadowResult::Dropped => dropped,
        }
    }

    /// Counts an HTTP request of the plugin.
    pub fn http(&self, outcome: HttpOutcome, took: std::time::Duration) {
        let (families, plugin) = (&self.metrics.0.families, self.plugin.to_string());
        let labels = OfHttp { plugin: plugin.clone(), outcome: outcome.as_str() };
        families.plugin_http_requests.get_or_create_owned(&labels).inc();
        families.plugin_http_seconds.get_or_create_owned(&OfPlugin { plugin }).observe(took.as_secs_f64());
    }

    /// Adds to a counter of the plugin's own. False when it was dropped: the name is none ([`is_name`]), or the plugin
    /// has [`MAX_NAMES`] of them already.
    #[must_use]
    pub fn count(&self, name: &str, add: u64) -> bool {
        self.own.count(&self.metrics.0.families, &self.plugin, name, add)
    }

    /// Sets a gauge of the plugin's own. False when it was dropped, as in [`PluginMetrics::count`].
    #[must_use]
    pub fn gauge(&self, name: &str, value: f64) -> bool {
        self.own.gauge(&self.metrics.0.families, &self.plugin, name, value)
    }
}

macro_rules! kinds {
    ($(#[doc = $about:literal])+ $type:ident { $(#[doc = $doc:literal] $kind:ident = $name:literal,)+ }) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $type { $(#[doc = $doc] $kind,)+ }

        impl $type {
            /// All of them.
            pub const ALL: [Self; [$(Self::$kind),+].len()] = [$(Self::$kind),+];

            /// As it stands in label `kind`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$kind => $name,)+ }
            }

            /// The one of that name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.into_iter().find(|kind| kind.as_str() == name)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

kinds! {
    /// Why a change is in the dead letter.
    DeadLetterKind {
        /// A plugin rejected it.
        Rejected = "rejected",
        /// A plugin said that it could not do its work on it.
        Failed = "failed",
        /// A plugin trapped on it.
        Trap = "trap",
        /// A plugin took too long on it.
        Timeout = "timeout",
        /// A plugin asked for too much memory on it.
        Memory = "memory",
        /// A plugin's result for it cannot be used.
        Result = "result",
        /// A plugin returned too much for it.
        Output = "output",
        /// A plugin did not see it, since it had failed on everything before.
        Breaker = "breaker",
        /// The source could not read it as a change.
        Unreadable = "unreadable",
        /// A sink will never take it.
        Refused = "refused",
    }
}

kinds! {
    /// How a call of a plugin failed.
    FailureKind {
        /// It trapped.
        Trap = "trap",
        /// It took too long.
        Timeout = "timeout",
        /// It asked for too much memory.
        Memory = "memory",
        /// Its result cannot be used.
        Result = "result",
        /// It returned too much.
        Output = "output",
    }
}

kinds! {
    /// What came of comparing a change in the shadow.
    ShadowResult {
        /// The candidate made the same of it.
        Equal = "equal",
        /// It made something else.
        Different = "different",
        /// It alone rejects it.
        NewReject = "new_reject",
        /// The running generation alone rejects it.
        GoneReject = "gone_reject",
        /// It failed on it.
        Failed = "failed",
        /// It did not get it, since it was behind.
        Dropped = "dropped",
    }
}

impl From<FailureKind> for DeadLetterKind {
    fn from(kind: FailureKind) -> Self {
        match kind {
            FailureKind::Trap => Self::Trap,
            FailureKind::Timeout => Self::Timeout,
            FailureKind::Memory => Self::Memory,
            FailureKind::Result => Self::Result,
            FailureKind::Output => Self::Output,
        }
    }
}

#[cfg(test)]
mod deploy_tests;
#[cfg(test)]
mod tests;
