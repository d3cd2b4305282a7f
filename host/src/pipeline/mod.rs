//! A pipeline: reader, lanes, sinks, frontier and dead letter, joined by bounded channels.
//!
//! ```text
//! source -> reader -> processor (lanes of stages) -> sinks -> frontier -> checkpoint
//!                         \_ rejected, failed -> dead letter
//! ```
//! Reading, processing and writing overlap; what is between them is bounded in batches by the channels and in bytes by one
//! budget for the pipeline, which a batch holds from the moment it is read until it is safe. That is the back-pressure.

mod frontier;
mod hold;
mod lane;
mod latest;
mod letters;
mod processor;
mod reader;
pub mod replay;
mod retry;
mod session;
mod sinks;

use std::{sync::Arc, time::Duration};

use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    config::{DeadLetterConfig, PipelineConfig},
    error::{Code, Fault, Severity},
    plugin::{PluginEngine, StageChain},
    source::{AnySource, BatchLimits},
    state::StateDir,
    status::{PipelineStatus, State},
    telemetry::metrics::Metrics,
};

use retry::{Backoff, RetryPolicy};
use session::Ended;

/// Everything a pipeline is made of. It runs in *sessions*: each takes the pipeline for this host, opens source and sinks at the stored
/// positions and moves changes until something ends it; most pipelines need one.
pub struct Pipeline {
    /// Its name.
    pub name: Arc<str>,
    /// What the configuration says of it.
    pub config: PipelineConfig,
    /// Its source, without secrets.
    pub source: Arc<str>,
    /// How batches are cut.
    pub limits: BatchLimits,
    /// The stages; none for a pipeline without plugins.
    pub stages: Option<(PluginEngine, Arc<StageChain>)>,
    /// Where the stages come from, while their plugins are being compiled.
    pub installing: Option<Installing>,
    /// Where changes go that cannot go on.
    pub dead_letter: DeadLetterConfig,
    /// What this host keeps.
    pub state: Arc<StateDir>,
    /// Fields of the document that log lines about a change show.
    pub log_fields: Arc<[String]>,
    /// Each delivered change says which plugins it was given to.
    pub provenance: bool,
    /// Where it reports.
    pub status: PipelineStatus,
    /// For the figures of its stages.
    pub metrics: Metrics,
    /// How it is run.
    pub mode: Mode,
    /// Whether it has begun a copy since the host started.
    pub copied: Arc<std::sync::atomic::AtomicBool>,
}

/// What came of loading the plugins of a pipeline.
pub type Installed = Result<(PluginEngine, Arc<StageChain>), Vec<Fault>>;
/// It is under way.
pub type Installing = oneshot::Receiver<Installed>;

/// How the pipelines of a host are run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mode {
    /// Drain when the source has been quiet for so long and all is safe.
    pub exit_when_idle: Option<Duration>,
    /// Wait while another host runs the pipeline.
    pub standby: bool,
    /// Print what the sinks would get, and write nothing.
    pub dry_run: bool,
}

/// How a pipeline is asked to end.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Read nothing more, finish what is in flight, write the checkpoint.
    pub drain: CancellationToken,
    /// Give up what is in flight; it will be read again.
    pub abort: CancellationToken,
}

impl Pipeline {
    /// The plugins are there, or will not be.
    fn installed(&mut self, installed: Result<Installed, oneshot::error::RecvError>) -> Result<(), Fault> {
        let lost = |_| {
            let message =
                format!("the plugins of pipeline {} were not loaded: the thread that compiles broke", self.name);
            vec![Fault::fatal(Code::Internal, message)]
        };
        match installed.map_err(lost).and_then(|installed| installed) {
            Ok(stages) => {
                self.stages = Some(stages);
                Ok(())
            }
            Err(faults) => {
                for fault in &faults {
                    tracing::error!(event = "start_failed", pipeline = %self.name, code = fault.code.as_str(), "{}", fault.message);
                }
                let none =
                    || Fault::fatal(Code::Internal, format!("the plugins of pipeline {} were not loaded", self.name));
                let first = faults.into_iter().next().unwrap_or_else(none);
                self.status.stopped(&first);
                Err(first)
            }
        }
    }

    /// Runs until the source ends, it is told to stop, or only the operator can help. While `paused` is true nothing runs, and the
    /// pipeline is nobody's.
    ///
    /// # Errors
    /// What stopped it. What was in flight is read again at the next start.
    pub async fn run(mut self, stop: Stop, mut paused: watch::Receiver<bool>) -> Result<(), Fault> {
        if let Some(installing) = self.installing.take() {
            tokio::select! {
                installed = installing => self.installed(installed)?,
                () = stop.drain.cancelled() => {
                    self.status.set_state(State::Finished);
                    return Ok(());
                }
            }
        }
        let mut backoff = Backoff::new(&self.retry());
        let mut swaps = self.stages.as_ref().map(|(_, chain)| chain.swaps());
        loop {
            if *paused.borrow_and_update() {
                self.status.set_state(State::Paused);
                tracing::info!(event = "pipeline_paused", pipeline = %self.name, "pipeline {} is paused", self.name);
                tokio::select! {
                    resumed = paused.wait_for(|paused| !paused) => if resumed.is_err() { return Ok(()) },
                    () = stop.drain.cancelled() => {
                        self.status.set_state(State::Finished);
                        return Ok(());
                    }
                }
                tracing::info!(event = "pipeline_resumed", pipeline = %self.name, "pipeline {} goes on", self.name);
                self.status.set_state(State::Starting);
            }
            let began = std::time::Instant::now();
            if let Some(swaps) = &mut swaps {
                swaps.mark_unchanged();
            }
            match self.session(&stop, &mut paused).await {
                Ok(Ended::Paused) => {}
                Ok(Ended::Done) => {
                    self.status.set_state(State::Finished);
                    return Ok(());
                }
                Err(fault) if self.goes_on(&fault) && !stop.drain.is_cancelled() => {
                    tracing::warn!(
                        event = "pipeline_rewinds",
                        pipeline = %self.name,
                        code = fault.code.as_str(),
                        "pipeline {} begins again at the stored position: {}",
                        self.name,
                        fault.message
                    );
                    self.status.set_state(State::Starting);
                    // One that ran well for a while had another cause than the last.
                    if began.elapsed() > Duration::from_secs(30) {
                        backoff.reset();
                    }
                    if !backoff.wait(&stop.drain).await {
                        self.status.set_state(State::Finished);
                        return Ok(());
                    }
                }
                Err(fault) if fault.is_pause() && self.can_pause() && !stop.drain.is_cancelled() => {
                    if !self.wait_out(&fault, &stop, &mut paused, swaps.as_mut()).await {
                        self.status.set_state(State::Finished);
                        return Ok(());
                    }
                }
                Err(fault) => {
                    self.status.stopped(&fault);
                    return Err(fault);
                }
            }
        }
    }

    /// How source and sinks are tried again.
    fn retry(&self) -> RetryPolicy {
        RetryPolicy::from(&self.config.retry)
    }

    /// Whether what was in flight can be read again, and there is somebody who will see to it: what ends when it is idle is not
    /// watched.
    fn can_pause(&self) -> bool {
        let source = &self.config.source;
        let comes_again = AnySource::has_positions(source) || AnySource::is_acknowledged(source);
        comes_again && self.mode.exit_when_idle.is_none()
    }

    /// Pauses for a fault, until another generation of a plugin runs or the operator says anything; false when the host ends.
    async fn wait_out(
        &self,
        fault: &Fault,
        stop: &Stop,
        paused: &mut watch::Receiver<bool>,
        swaps: Option<&mut watch::Receiver<u64>>,
    ) -> bool {
        self.status.paused(Some(fault));
        tracing::error!(
            event = "pipeline_paused",
            pipeline = %self.name,
            code = fault.code.as_str(),
            "pipeline {} is paused: {}",
            self.name,
            fault.message
        );
        let swapped = async {
            match swaps {
                Some(swaps) => swaps.changed().await.is_ok(),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            true = swapped => {}
            Ok(()) = paused.changed() => {}
            () = stop.drain.cancelled() => return false,
        }
        tracing::info!(event = "pipeline_resumed", pipeline = %self.name, "pipeline {} goes on", self.name);
        self.status.set_state(State::Starting);
        true
    }

    /// Whether a new session helps: the position went back, or another host has the pipeline and this one stands by.
    fn goes_on(&self, fault: &Fault) -> bool {
        fault.severity == Severity::Rewind || (self.mode.standby && fault.code == Code::Fenced)
    }
}
