//! The name, kind, labels, unit and meaning of every metric, once.
//!
//! `docs/operations.md` lists the same names; a test holds the two together.

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size; its series end in `_bucket`, `_sum` and `_count`.
    Histogram,
    /// Always 1, says something with its labels; its name ends in `_info`.
    Info,
}

/// One metric as it stands at `/metrics`.
#[derive(Clone, Copy, Debug)]
pub struct Name {
    /// As a query writes it.
    pub full: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it counts or measures in.
    pub unit: &'static str,
    /// What it means, without the full stop.
    pub help: &'static str,
}

impl Name {
    /// The name as the registry wants it: without the suffixes it adds by itself.
    pub(super) fn stem(&self) -> &'static str {
        let name = match self.kind {
            Kind::Counter => self.full.strip_suffix("_total"),
            Kind::Info => self.full.strip_suffix("_info"),
            Kind::Gauge | Kind::Histogram => None,
        }
        .unwrap_or(self.full);
        match self.suffix_unit(name) {
            Some(unit) => name.strip_suffix(unit).and_then(|name| name.strip_suffix('_')).unwrap_or(name),
            None => name,
        }
    }

    /// The unit, where the name ends with it: only then may OpenMetrics say it.
    pub(super) fn open_metrics_unit(&self) -> Option<&'static str> {
        self.suffix_unit(self.full.strip_suffix("_total").unwrap_or(self.full))
    }

    fn suffix_unit(&self, name: &str) -> Option<&'static str> {
        let known = matches!(self.unit, "bytes" | "seconds");
        (known && name.strip_suffix(self.unit).is_some_and(|rest| rest.ends_with('_'))).then_some(self.unit)
    }
}

macro_rules! names {
    ($($constant:ident = $kind:ident $full:literal [$($label:literal),*] $unit:literal, $help:literal;)+) => {
        $(
            #[doc = $help]
            pub const $constant: Name =
                Name { full: $full, kind: Kind::$kind, labels: &[$($label),*], unit: $unit, help: $help };
        )+

        /// All metrics, in the order of the documentation.
        pub const ALL: &[Name] = &[$($constant,)+];
    };
}

names! {
    EVENTS_IN = Counter "tidegate_events_in_total" ["pipeline"] "changes", "Changes read from the source";
    BYTES_IN = Counter "tidegate_bytes_in_total" ["pipeline"] "bytes", "Bytes of the changes read from the source";
    BATCHES = Counter "tidegate_batches_total" ["pipeline"] "batches", "Batches read from the source, those without changes too";
    EVENTS_FILTERED = Counter "tidegate_events_filtered_total" ["pipeline"] "changes", "Changes that a stage dropped on purpose or routed nowhere";
    SOURCE_RETRIES = Counter "tidegate_source_retries_total" ["pipeline"] "attempts", "Times the source was opened again after a fault";
    SOURCE_COPY = Gauge "tidegate_source_copy_documents" ["pipeline"] "documents", "Documents that the copy has read; 0 without one";
    SOURCE_COPY_EXPECTED = Gauge "tidegate_source_copy_expected_documents" ["pipeline"] "documents", "Documents that are to be copied, as the server estimates them; 0 without a copy";
    SOURCE_DDL = Counter "tidegate_source_ddl_total" ["pipeline", "kind"] "events", "Events without a document, such as drop, rename and invalidate";
    SOURCE_POSITIONS_LOST = Counter "tidegate_source_positions_lost_total" ["pipeline"] "positions", "Positions the source no longer had, so that it went on elsewhere (on_lost_position)";
    SOURCE_HISTORY_SECONDS = Gauge "tidegate_source_history_seconds" ["pipeline"] "seconds", "How long the pipeline may stand still before the source loses its position; absent where the oplog cannot be read";
    DEAD_LETTERS = Counter "tidegate_dead_letters_total" ["pipeline", "kind"] "changes", "Changes put in the dead letter, by cause";
    EVENTS_OUT = Counter "tidegate_events_out_total" ["pipeline", "sink"] "deliveries", "Deliveries the sink has confirmed";
    EVENTS_SKIPPED = Counter "tidegate_events_skipped_total" ["pipeline", "sink"] "deliveries", "Deliveries a sink that keeps its position had already, after a restart";
    EVENTS_IGNORED = Counter "tidegate_events_ignored_total" ["pipeline", "sink"] "deliveries", "Deliveries that the sink is told to do nothing with: changes of collections and databases, and what its mode leaves out";
    EVENTS_MISSING = Counter "tidegate_events_missing_total" ["pipeline", "sink"] "updates", "Updates without their document whose document the target does not have, so that nothing was written";
    BYTES_OUT = Counter "tidegate_bytes_out_total" ["pipeline", "sink"] "bytes", "Bytes of the changes the sink has confirmed";
    SINK_WRITES = Counter "tidegate_sink_writes_total" ["pipeline", "sink"] "writes", "Writes to the sink, of a batch or of several that waited together; first attempts and repeated ones";
    SINK_RETRIES = Counter "tidegate_sink_retries_total" ["pipeline", "sink"] "attempts", "Times a sink was opened or written to again after a fault";
    SINK_WRITE_SECONDS = Histogram "tidegate_sink_write_seconds" ["pipeline", "sink"] "seconds", "Time of one write to the sink";
    PLUGIN_CALLS = Counter "tidegate_plugin_calls_total" ["pipeline", "plugin"] "calls", "Calls of the plugin";
    PLUGIN_CHANGES = Counter "tidegate_plugin_changes_total" ["pipeline", "plugin"] "changes", "Changes handed to the plugin";
    PLUGIN_CALL_SECONDS = Histogram "tidegate_plugin_call_seconds" ["pipeline", "plugin"] "seconds", "Time of one call of the plugin, on the clock";
    PLUGIN_REJECTS = Counter "tidegate_plugin_rejects_total" ["pipeline", "plugin"] "changes", "Changes the plugin rejected";
    PLUGIN_FAILURES = Counter "tidegate_plugin_failures_total" ["pipeline", "plugin", "kind"] "calls", "Calls of the plugin that failed, by cause";
    PLUGIN_BISECT_CALLS = Counter "tidegate_plugin_bisect_calls_total" ["pipeline", "plugin"] "calls", "Extra calls made to find the change that a failed call is owed to";
    PLUGIN_INSTANCES_RETIRED = Counter "tidegate_plugin_instances_retired_total" ["pipeline", "plugin"] "instances", "Instances thrown away after a failure or because they grew";
    PLUGIN_BREAKER_OPEN = Gauge "tidegate_plugin_breaker_open" ["pipeline", "plugin"] "0 or 1", "1 while the breaker of a stage with the plugin is open, since the plugin failed on everything";
    PLUGIN_SWAPS = Counter "tidegate_plugin_swaps_total" ["plugin"] "swaps", "Generations that took over from a running one";
    PLUGIN_SWAP_FAILURES = Counter "tidegate_plugin_swap_failures_total" ["plugin"] "files", "New files that did not load, so that the running generation stayed";
    PLUGIN_GENERATION = Gauge "tidegate_plugin_generation" ["plugin"] "number", "Generation that new batches are processed by";
    PLUGIN_TAKEN_BACK = Counter "tidegate_plugin_taken_back_total" ["plugin"] "generations", "Generations that the host took back within their probation";
    PLUGIN_PROBATION = Gauge "tidegate_plugin_probation" ["plugin"] "0 or 1", "1 while the generation that runs has to prove itself";
    PLUGIN_SHADOW = Gauge "tidegate_plugin_shadow" ["plugin"] "0 or 1", "1 while a candidate is tried on copies of live batches";
    PLUGIN_SHADOW_CHANGES = Counter "tidegate_plugin_shadow_changes_total" ["plugin", "result"] "changes", "Changes that candidates got in the shadow, by what came of comparing";
    PLUGIN_SHADOW_CHANGE_SECONDS = Gauge "tidegate_plugin_shadow_change_seconds" ["plugin", "generation"] "seconds", "Mean time for a change in the newest shadow, of the running generation and of the candidate";
    PLUGIN_LOG_LINES_DROPPED = Counter "tidegate_plugin_log_lines_dropped_total" ["plugin"] "lines", "Log lines of the plugin beyond its limit a second";
    PLUGIN_HTTP_REQUESTS = Counter "tidegate_plugin_http_requests_total" ["plugin", "outcome"] "requests", "HTTP requests of the plugin, by what came of them";
    PLUGIN_HTTP_SECONDS = Histogram "tidegate_plugin_http_seconds" ["plugin"] "seconds", "Time of one HTTP request of the plugin";
    PLUGIN_COUNTER = Counter "tidegate_plugin_counter_total" ["plugin", "name"] "the plugin's own", "Counters of the plugin's own";
    PLUGIN_GAUGE = Gauge "tidegate_plugin_gauge" ["plugin", "name"] "the plugin's own", "Gauges of the plugin's own";
    LAG_SECONDS = Gauge "tidegate_lag_seconds" ["pipeline"] "seconds", "Age of the newest change whose delivery is safe; 0 when the source has no more";
    FRONTIER_BATCHES = Gauge "tidegate_frontier_batches" ["pipeline"] "batches", "Number of the newest batch of this run that all sinks have, with all before it";
    INFLIGHT_BYTES = Gauge "tidegate_inflight_bytes" ["pipeline"] "bytes", "Bytes of the batches that are read and not yet safe in all sinks";
    CHECKPOINT_WRITES = Counter "tidegate_checkpoint_writes_total" ["pipeline"] "writes", "Positions stored durably";
    CHECKPOINT_FAILURES = Counter "tidegate_checkpoint_failures_total" ["pipeline"] "writes", "Positions that could not be stored";
    PIPELINE_UP = Gauge "tidegate_pipeline_up" ["pipeline"] "0 or 1", "1 while the pipeline runs, 0 while it starts, retries, has ended or has stopped";
    CIRCUIT_STATE = Gauge "tidegate_circuit_state" ["pipeline", "part"] "0, 1 or 2", "0 while the source or sink works, 1 while it waits for its next try, 2 while it is tried again";
    BUILD_INFO = Info "tidegate_build_info" ["version"] "1", "Version of the host";
    PROCESS_RESIDENT_MEMORY = Gauge "process_resident_memory_bytes" [] "bytes", "Memory of the host that is in RAM";
    PROCESS_CPU_SECONDS = Counter "process_cpu_seconds_total" [] "seconds", "CPU time the host has used, user and system";
    PROCESS_START_TIME = Gauge "process_start_time_seconds" [] "seconds", "When the host was started, in seconds since 1970";
}

#[cfg(test)]
mod tests {
    use super::{ALL, BUILD_INFO, BYTES_IN, Kind, PROCESS_CPU_SECONDS, SINK_WRITE_SECONDS};

    #[test]
    fn names_follow_the_conventions_of_the_format() {
        for name in ALL {
            assert_eq!(name.kind == Kind::Counter, name.full.ends_with("_total"), "{}", name.full);
            assert!(!name.help.ends_with('.'), "{}: the encoder adds the full stop", name.full);
        }
        assert_eq!(
            (PROCESS_CPU_SECONDS.stem(), PROCESS_CPU_SECONDS.open_metrics_unit()),
            ("process_cpu", Some("seconds"))
        );
        assert_eq!(
            (SINK_WRITE_SECONDS.stem(), SINK_WRITE_SECONDS.open_metrics_unit()),
            ("tidegate_sink_write", Some("seconds"))
        );
        assert_eq!((BYTES_IN.stem(), BYTES_IN.open_metrics_unit()), ("tidegate_bytes_in", None));
        assert_eq!(BUILD_INFO.stem(), "tidegate_build");
    }
}
