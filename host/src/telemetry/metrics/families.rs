//! The families of all metrics, registered once.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, histogram::exponential_buckets, info::Info},
    registry::{Metric, Registry},
};

use super::{
    Counter, FloatGauge, Gauge, Histogram, Lag,
    names::{self, Name},
    process::Process,
    unit,
};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct OfPipeline {
    pub(super) pipeline: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct OfPipelineKind {
    pub(super) pipeline: String,
    pub(super) kind: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct OfPart {
    pub(super) pipeline: String,
    pub(super) part: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct OfSink {
    pub(super) pipeline: String,
    pub(super) sink: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct OfStage {
    pub(super) pipeline: String,
    pub(super) plugin: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct OfStageKind {
    pub(super) pipeline: String,
    pub(super) plugin: String,
    pub(super) kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct OfPlugin {
    pub(super) plugin: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct OfShadow {
    pub(super) plugin: String,
    pub(super) result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct OfHttp {
    pub(super) plugin: String,
    pub(super) outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct OfSide {
    pub(super) plugin: String,
    pub(super) generation: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct PluginOwn {
    pub(super) plugin: String,
    pub(super) name: String,
}

macro_rules! families {
    ($($field:ident: $labels:ty => $metric:ty, $name:ident;)+) => {
        /// One family for each name.
        #[derive(Debug)]
        pub(super) struct Families {
            $(pub(super) $field: Family<$labels, $metric>,)+
        }

        impl Families {
            pub(super) fn registered(registry: &mut Registry, version: &str) -> Self {
                let families = Self { $($field: Make::make(),)+ };
                $(register(registry, &names::$name, families.$field.clone());)+
                register(registry, &names::BUILD_INFO, Info::new([("version", version.to_owned())]));
                registry.register_collector(Box::new(Process));
                families
            }
        }
    };
}

families! {
    events_in: OfPipeline => Counter, EVENTS_IN;
    bytes_in: OfPipeline => Counter, BYTES_IN;
    batches: OfPipeline => Counter, BATCHES;
    events_filtered: OfPipeline => Counter, EVENTS_FILTERED;
    source_retries: OfPipeline => Counter, SOURCE_RETRIES;
    copy_documents: OfPipeline => Gauge, SOURCE_COPY;
    copy_expected: OfPipeline => Gauge, SOURCE_COPY_EXPECTED;
    source_ddl: OfPipelineKind => Counter, SOURCE_DDL;
    source_positions_lost: OfPipeline => Counter, SOURCE_POSITIONS_LOST;
    source_history: OfPipeline => Gauge, SOURCE_HISTORY_SECONDS;
    dead_letters: OfPipelineKind => Counter, DEAD_LETTERS;
    events_out: OfSink => Counter, EVENTS_OUT;
    events_skipped: OfSink => Counter, EVENTS_SKIPPED;
    events_ignored: OfSink => Counter, EVENTS_IGNORED;
    events_missing: OfSink => Counter, EVENTS_MISSING;
    bytes_out: OfSink => Counter, BYTES_OUT;
    sink_writes: OfSink => Counter, SINK_WRITES;
    sink_retries: OfSink => Counter, SINK_RETRIES;
    sink_write_seconds: OfSink => Histogram, SINK_WRITE_SECONDS;
    plugin_calls: OfStage => Counter, PLUGIN_CALLS;
    plugin_changes: OfStage => Counter, PLUGIN_CHANGES;
    plugin_call_seconds: OfStage => Histogram, PLUGIN_CALL_SECONDS;
    plugin_rejects: OfStage => Counter, PLUGIN_REJECTS;
    plugin_failures: OfStageKind => Counter, PLUGIN_FAILURES;
    plugin_bisect_calls: OfStage => Counter, PLUGIN_BISECT_CALLS;
    plugin_instances_retired: OfStage => Counter, PLUGIN_INSTANCES_RETIRED;
    plugin_breaker_open: OfStage => Gauge, PLUGIN_BREAKER_OPEN;
    plugin_swaps: OfPlugin => Counter, PLUGIN_SWAPS;
    plugin_swap_failures: OfPlugin => Counter, PLUGIN_SWAP_FAILURES;
    plugin_generation: OfPlugin => Gauge, PLUGIN_GENERATION;
    plugin_taken_back: OfPlugin => Counter, PLUGIN_TAKEN_BACK;
    plugin_probation: OfPlugin => Gauge, PLUGIN_PROBATION;
    plugin_shadow: OfPlugin => Gauge, PLUGIN_SHADOW;
    plugin_shadow_changes: OfShadow => Counter, PLUGIN_SHADOW_CHANGES;
    plugin_shadow_change_seconds: OfSide => FloatGauge, PLUGIN_SHADOW_CHANGE_SECONDS;
    plugin_log_lines_dropped: OfPlugin => Counter, PLUGIN_LOG_LINES_DROPPED;
    plugin_http_requests: OfHttp => Counter, PLUGIN_HTTP_REQUESTS;
    plugin_http_seconds: OfPlugin => Histogram, PLUGIN_HTTP_SECONDS;
    plugin_counter: PluginOwn => Counter, PLUGIN_COUNTER;
    plugin_gauge: PluginOwn => FloatGauge, PLUGIN_GAUGE;
    lag: OfPipeline => Lag, LAG_SECONDS;
    frontier_batches: OfPipeline => Gauge, FRONTIER_BATCHES;
    inflight_bytes: OfPipeline => Gauge, INFLIGHT_BYTES;
    checkpoint_writes: OfPipeline => Counter, CHECKPOINT_WRITES;
    checkpoint_failures: OfPipeline => Counter, CHECKPOINT_FAILURES;
    pipeline_up: OfPipeline => Gauge, PIPELINE_UP;
    circuit_state: OfPart => Gauge, CIRCUIT_STATE;
}

/// Makes an empty family; only histograms need to know how.
trait Make {
    fn make() -> Self;
}

macro_rules! make_by_default {
    ($($metric:ty),+) => {
        $(impl<L: Clone + std::hash::Hash + Eq> Make for Family<L, $metric> {
            fn make() -> Self {
                Self::default()
            }
        })+
    };
}
make_by_default!(Counter, Gauge, FloatGauge, Lag);

impl<L: Clone + std::hash::Hash + Eq> Make for Family<L, Histogram> {
    fn make() -> Self {
        // 10 us to 10.5 s: a plugin call on one change takes some 10 us, a write that hangs is cut off at 10 s.
        Self::new_with_constructor(|| Histogram::new(exponential_buckets(1e-5, 2.0, 21)))
    }
}

fn register(registry: &mut Registry, name: &Name, metric: impl Metric) {
    match unit(name) {
        Some(unit) => registry.register_with_unit(name.stem(), name.help, unit, metric),
        None => registry.register(name.stem(), name.help, metric),
    }
}
