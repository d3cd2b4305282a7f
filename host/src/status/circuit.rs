//! Whether a source or sink works, waits for its next try, or is being tried.

use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::{Now, PipelineStatus, view};

/// What is done with a source or sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CircuitState {
    /// It works, or was not tried yet.
    #[default]
    Closed,
    /// It failed and waits for the next try; without one, only the operator can help.
    Open,
    /// It failed and is being tried again.
    HalfOpen,
}

impl CircuitState {
    /// As the metric tells it.
    const fn number(self) -> i64 {
        match self {
            Self::Closed => 0,
            Self::Open => 1,
            Self::HalfOpen => 2,
        }
    }
}

/// How it stands with a source or sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Circuit {
    /// What is done with it.
    pub state: CircuitState,
    /// Failures in a row.
    #[serde(skip_serializing_if = "is_zero")]
    pub attempt: u32,
    /// When it is tried again.
    #[serde(serialize_with = "view::optional_time", skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<SystemTime>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Circuit {
    pub(super) fn fail(&mut self) {
        *self = Self { state: CircuitState::Open, attempt: self.attempt.saturating_add(1), retry_at: None };
    }

    fn wait(&mut self, delay: Duration) {
        self.retry_at = SystemTime::now().checked_add(delay);
    }

    fn again(&mut self) {
        if self.state == CircuitState::Open {
            *self = Self { state: CircuitState::HalfOpen, retry_at: None, ..*self };
        }
    }
}

impl PipelineStatus {
    /// After [`Self::source_failed`]: the source is tried again after this wait.
    pub fn source_waiting(&self, delay: Duration) {
        self.update(|now| now.source_circuit.wait(delay));
    }

    /// The wait is over and the source is opened again.
    pub fn source_trying(&self) {
        self.update(|now| now.source_circuit.again());
    }

    /// After [`Self::sink_failed`]: the sink is tried again after this wait.
    pub fn sink_waiting(&self, index: usize, delay: Duration) {
        self.update_sink(index, |sink| sink.circuit.wait(delay));
    }

    /// The wait is over and the sink is tried again.
    pub fn sink_trying(&self, index: usize) {
        self.update_sink(index, |sink| sink.circuit.again());
    }

    pub(super) fn show_circuits(&self, now: &Now) {
        self.0.source_circuit.set(now.source_circuit.state.number());
        for (sink, gauge) in now.sinks.iter().zip(&self.0.sink_circuits) {
            gauge.set(sink.circuit.state.number());
        }
    }
}
