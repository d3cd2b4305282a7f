//! Whether the host is alive, and whether it is ready.

use std::fmt;

use indexmap::IndexMap;
use serde::Serialize;

use super::{Compiling, Now, PipelineStatus, SinkState, State, Status, lock};

/// Why the host is not ready, or not healthy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// The pipeline it is about; none: the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// The part: `source`, `sink NAME`, `plugin NAME`, `checkpoint`, `pipeline`.
    pub part: String,
    /// The stable code, where a fault is the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// What is missing.
    pub reason: String,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(pipeline) = &self.pipeline {
            write!(f, "{pipeline}: ")?;
        }
        write!(f, "{}: {}", self.part, self.reason)
    }
}

/// Whether everything is in place, whatever the lag.
#[derive(Clone, Debug, Serialize)]
pub struct Readiness {
    /// Plugins are loaded, sinks connected, sources open and their opening positions durably stored.
    pub ready: bool,
    /// What is missing.
    pub reasons: Vec<Reason>,
}

/// Whether it makes sense to let the host live.
#[derive(Clone, Debug, Serialize)]
pub struct Health {
    /// At least one pipeline is not stopped.
    pub healthy: bool,
    /// The state of each pipeline.
    pub pipelines: IndexMap<String, State>,
    /// Why pipelines have stopped.
    pub reasons: Vec<Reason>,
    /// What does not make the host unhealthy, and wants somebody's eye: plugins whose newest file is not in use.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Reason>,
}

impl Status {
    /// Ready only when plugins are loaded, sinks connected, sources open and their opening positions durably stored. A
    /// pipeline that has finished lacks nothing; one that drains or has stopped is not ready, and one that stands by only where that is enough.
    pub fn readiness(&self, standby_is_enough: bool) -> Readiness {
        let pipelines = self.pipelines();
        let mut reasons = Vec::new();
        if pipelines.is_empty() {
            reasons.push(Reason {
                pipeline: None,
                part: "host".to_owned(),
                code: None,
                reason: "the pipelines are not set up yet".to_owned(),
            });
        }
        let waits = |pipeline: &PipelineStatus| standby_is_enough && pipeline.state() == State::Standby;
        for pipeline in pipelines.iter().filter(|pipeline| !waits(pipeline)) {
            self.missing(pipeline, &mut reasons);
        }
        Readiness { ready: reasons.is_empty(), reasons }
    }

    /// Healthy while at least one pipeline is not stopped: starting again would help none of them.
    pub fn health(&self) -> Health {
        let pipelines = self.pipelines();
        let states: IndexMap<String, State> =
            pipelines.iter().map(|pipeline| (pipeline.name().to_owned(), pipeline.state())).collect();
        let healthy = states.is_empty() || states.values().any(|state| *state != State::Stopped);
        let reasons = pipelines
            .iter()
            .filter(|pipeline| pipeline.state() == State::Stopped)
            .map(|pipeline| stopped(pipeline.name(), &lock(&pipeline.0.now)))
            .collect();
        let plugins = lock(&self.0.plugins);
        let warnings = plugins.iter().filter_map(|(plugin, entry)| {
            let error = entry.error.as_ref()?;
            let (part, code) = (format!("plugin {plugin}"), Some(error.code.as_str()));
            Some(Reason { pipeline: None, part, code, reason: error.reason.clone() })
        });
        Health { healthy, pipelines: states, reasons, warnings: warnings.collect() }
    }

    fn missing(&self, pipeline: &PipelineStatus, reasons: &mut Vec<Reason>) {
        let name = pipeline.name();
        let reason =
            |part: String, code, reason: String| Reason { pipeline: Some(name.to_owned()), part, code, reason };
        let now = lock(&pipeline.0.now);
        match now.state {
            State::Finished => return,
            State::Stopped => return reasons.push(stopped(name, &now)),
            State::Paused => return reasons.push(paused(name, &now)),
            State::Draining => {
                return reasons.push(reason("pipeline".to_owned(), None, "the host is shutting down".to_owned()));
            }
            State::Standby => {
                return reasons.push(reason(
                    "pipeline".to_owned(),
                    None,
                    "another host runs it; this one stands by".to_owned(),
                ));
            }
            State::Starting | State::Running | State::Retrying => {}
        }
        {
            let plugins = lock(&self.0.plugins);
            let mut told: Vec<&str> = Vec::new();
            for plugin in &pipeline.0.parts.stages {
                let entry = plugins.get(plugin);
                if told.contains(&plugin.as_str()) || entry.is_some_and(|entry| entry.loaded.is_some()) {
                    continue;
                }
                told.push(plugin);
                let error = entry.and_then(|entry| entry.error.as_ref());
                reasons.push(reason(
                    format!("plugin {plugin}"),
                    error.map(|error| error.code.as_str()),
                    match (error, entry.and_then(|entry| entry.compiling)) {
                        (Some(error), _) => error.reason.clone(),
                        (None, Some(Compiling { since, bytes })) => {
                            format!(
                                "being compiled ({bytes} bytes), for {} s; that is done once",
                                since.elapsed().as_secs()
                            )
                        }
                        (None, None) => "not loaded yet".to_owned(),
                    },
                ));
            }
        }
        for ((sink, _), state) in pipeline.0.parts.sinks.iter().zip(&now.sinks) {
            if state.state != SinkState::Connected {
                reasons.push(reason(
                    format!("sink {sink}"),
                    state.problem.as_ref().map(|problem| problem.code.as_str()),
                    state
                        .problem
                        .as_ref()
                        .map_or_else(|| "not connected yet".to_owned(), |problem| problem.reason.clone()),
                ));
            }
        }
        if !now.source_connected {
            let problem = now.source_problem.as_ref();
            reasons.push(reason(
                "source".to_owned(),
                problem.map(|problem| problem.code.as_str()),
                problem.map_or_else(|| "not open yet".to_owned(), |problem| problem.reason.clone()),
            ));
        }
        if let Some(problem) = &now.checkpoint_problem {
            reasons.push(reason("checkpoint".to_owned(), Some(problem.code.as_str()), problem.reason.clone()));
        } else if !now.opening_stored {
            reasons.push(reason("checkpoint".to_owned(), None, "the opening position is not stored yet".to_owned()));
        }
    }
}

fn stopped(name: &str, now: &Now) -> Reason {
    whole(name, now, "stopped")
}

fn paused(name: &str, now: &Now) -> Reason {
    whole(name, now, "it is paused")
}

/// The whole pipeline, and not a part of it, is the reason.
fn whole(name: &str, now: &Now, without_problem: &str) -> Reason {
    Reason {
        pipeline: Some(name.to_owned()),
        part: "pipeline".to_owned(),
        code: now.problem.as_ref().map(|problem| problem.code.as_str()),
        reason: now.problem.as_ref().map_or_else(|| without_problem.to_owned(), |problem| problem.reason.clone()),
    }
}
