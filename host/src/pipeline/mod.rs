//! A pipeline: reader, lanes, sinks, frontier and dead letter, joined by bounded channels.
//!
//! ```text
//! source -> reader -> processor (lanes of stages) -> sinks -> frontier -> checkpoint
//!                         \_ rejected, failed -> dead letter
//! ```
//! Reading, processing and writing overlap; what is between them is bounded in batches by the channels and in bytes by one
//! budget for the pipeline, which a batch holds from the moment it is read until it is safe. That is the back-pressure.

mod frontier;
mod lane;
mod letters;
mod processor;
mod reader;
mod retry;
mod sinks;

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    checkpoint::Checkpoint,
    dead_letter::DeadLetterWriter,
    error::Fault,
    plugin::{PluginEngine, StageChain},
    sink::AnySink,
    source::{AnySource, BatchLimits},
    status::{PipelineStatus, State},
    telemetry::metrics::Metrics,
};

use frontier::{Frontier, Progress};
use letters::Letters;

/// Everything a pipeline is made of.
pub struct Pipeline {
    /// Its name.
    pub name: Arc<str>,
    /// Where changes come from.
    pub source: AnySource,
    /// How batches are cut.
    pub limits: BatchLimits,
    /// Parallel lanes.
    pub lanes: usize,
    /// The stages; none for a pipeline without plugins.
    pub stages: Option<(PluginEngine, Arc<StageChain>)>,
    /// Where changes go, by name.
    pub sinks: Vec<(String, AnySink)>,
    /// Where changes go that cannot go on.
    pub dead_letter: DeadLetterWriter,
    /// Where the position is kept, and how often it is written; none for a source without positions.
    pub checkpoint: Option<(Checkpoint, Duration)>,
    /// Fields of the document that log lines about a change show.
    pub log_fields: Arc<[String]>,
    /// Where it reports.
    pub status: PipelineStatus,
    /// For the figures of its stages.
    pub metrics: Metrics,
}

/// How a pipeline is asked to end.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Read nothing more, finish what is in flight, write the checkpoint.
    pub drain: CancellationToken,
    /// Give up what is in flight; it will be read again.
    pub abort: CancellationToken,
}

/// How many batches wait between two parts, beside the one each works on.
const DEPTH: usize = 2;

/// How many batches' worth of bytes may be in flight.
const BATCHES_IN_FLIGHT: usize = 6;

/// The bytes a pipeline may have in flight, counted in KiB.
#[derive(Clone)]
struct Budget {
    permits: Arc<Semaphore>,
    all: u32,
}

impl Budget {
    fn new(limits: &BatchLimits) -> Self {
        let kib = (limits.max_bytes / 1024 + 1).saturating_mul(BATCHES_IN_FLIGHT);
        let all = u32::try_from(kib).unwrap_or(u32::MAX).min(u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX));
        Self { permits: Arc::new(Semaphore::new(all as usize)), all }
    }

    /// Waits until there is room for a batch. One that is bigger than all the room takes all of it.
    async fn take(&self, bytes: usize) -> Option<tokio::sync::OwnedSemaphorePermit> {
        let kib = u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX).min(self.all);
        Arc::clone(&self.permits).acquire_many_owned(kib).await.ok()
    }
}

impl Pipeline {
    /// Runs until the source ends, it is told to stop, or only the operator can help. With `exit_when_idle` it drains by
    /// itself when the source has been quiet that long and everything read is safe.
    ///
    /// # Errors
    /// What stopped it. What was in flight is read again at the next start.
    pub async fn run(self, stop: Stop, exit_when_idle: Option<Duration>) -> Result<(), Fault> {
        let Self { name, source, limits, lanes, stages, sinks, dead_letter, checkpoint, log_fields, status, metrics } = self;
        // A part that fails ends the others: nobody sends into a channel that nobody reads.
        let abort = stop.abort.child_token();
        let drain = stop.drain.child_token();
        let letters = Letters::new(&name, dead_letter, status.clone(), log_fields, abort.clone());
        letters.open().await.inspect_err(|fault| status.stopped(fault))?;

        let budget = Budget::new(&limits);
        let (progress, mut seen) = watch::channel(Progress::default());
        let (to_processor, from_reader) = mpsc::channel(1);
        let (to_frontier, from_parts) = mpsc::unbounded_channel();
        let mut parts: JoinSet<Result<(), Fault>> = JoinSet::new();

        let sink_count = sinks.len();
        let mut to_sinks = Vec::with_capacity(sink_count);
        for (index, (sink_name, sink)) in sinks.into_iter().enumerate() {
            let (to_sink, batches) = mpsc::channel(DEPTH);
            to_sinks.push(to_sink);
            let task = sinks::SinkTask {
                pipeline: Arc::clone(&name),
                name: sink_name,
                index,
                sink,
                batches,
                acks: to_frontier.clone(),
                letters: letters.clone(),
                status: status.clone(),
                abort: abort.clone(),
            };
            parts.spawn(task.run());
        }

        let generations = stages.as_ref().map(|(_, chain)| Arc::clone(chain));
        let resume = checkpoint.as_ref().map(|(checkpoint, _)| checkpoint.clone());
        parts.spawn(
            Frontier::new(
                Arc::clone(&name),
                sink_count,
                checkpoint,
                generations,
                status.clone(),
                progress.clone(),
            )
            .run(from_parts),
        );
        parts.spawn(
            processor::Processor {
                pipeline: Arc::clone(&name),
                lanes,
                stages,
                letters,
                to_frontier,
                to_sinks,
                status: status.clone(),
                metrics,
            }
            .run(from_reader),
        );
        parts.spawn(
            reader::Reader {
                pipeline: Arc::clone(&name),
                source,
                limits,
                checkpoint: resume,
                budget,
                batches: to_processor,
                progress,
                status: status.clone(),
                drain: drain.clone(),
                abort: abort.clone(),
            }
            .run(),
        );

        let mut failed = None;
        loop {
            let idle = async {
                match exit_when_idle {
                    Some(quiet) => frontier::quiet(&mut seen, quiet).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                part = parts.join_next() => match part {
                    None => break,
                    Some(Ok(Ok(()))) => {}
                    Some(Ok(Err(fault))) => {
                        failed.get_or_insert(fault);
                        abort.cancel();
                    }
                    Some(Err(cause)) => {
                        failed.get_or_insert(Fault::fatal(
                            crate::error::Code::Internal,
                            format!("a part of pipeline `{name}` broke: {cause}; this is a defect of tidegate, please report it"),
                        ));
                        abort.cancel();
                    }
                },
                () = idle, if !drain.is_cancelled() => {
                    tracing::info!(event = "pipeline_idle", pipeline = %name, "pipeline {name} is quiet and all is safe: it ends");
                    drain.cancel();
                }
                () = abort.cancelled(), if failed.is_none() && stop.abort.is_cancelled() => {
                    parts.abort_all();
                    failed = Some(Fault::fatal(
                        crate::error::Code::ShutdownTimeout,
                        format!("pipeline `{name}` was not drained in time: what was in flight is read again at the next start"),
                    ));
                }
            }
        }
        match failed {
            Some(fault) => {
                status.stopped(&fault);
                Err(fault)
            }
            None => {
                status.set_state(State::Finished);
                Ok(())
            }
        }
    }
}

/// Where the files of a pipeline lie in the state directory.
pub fn dead_letter_file(state: &std::path::Path, pipeline: &str) -> PathBuf {
    state.join(format!("{pipeline}.dead.jsonl"))
}
