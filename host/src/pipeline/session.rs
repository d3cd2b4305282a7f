//! One session of a pipeline: from taking it to the end of all its parts.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, mpsc, oneshot, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{
    Pipeline, Stop,
    frontier::{self, Frontier, Progress},
    hold::{Keep, Opening, Start, Taker},
    latest,
    letters::Letters,
    processor, reader,
    retry::Backoff,
    sinks,
};
use crate::{
    checkpoint::Store,
    config::{CheckpointConfig, DeadLetterConfig, FileSinkConfig},
    dead_letter::DeadLetterWriter,
    error::{Code, Fault},
    sink::AnySink,
    source::{AnySource, BatchLimits, Hooks},
};

/// How a session ended well.
pub(super) enum Ended {
    /// The source has no more, or the pipeline was told to stop; all is safe.
    Done,
    /// The pipeline was paused; all is safe.
    Paused,
}

/// How many batches wait between two parts, beside the one each works on.
const DEPTH: usize = 2;

/// How many batches' worth of bytes may be in flight.
const BATCHES_IN_FLIGHT: usize = 6;

/// The bytes a pipeline may have in flight, counted in KiB.
#[derive(Clone)]
pub(super) struct Budget {
    pub(super) permits: Arc<Semaphore>,
    pub(super) all: u32,
}

impl Budget {
    fn new(limits: &BatchLimits) -> Self {
        let kib = (limits.max_bytes / 1024 + 1).saturating_mul(BATCHES_IN_FLIGHT);
        let all = u32::try_from(kib).unwrap_or(u32::MAX).min(u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX));
        Self { permits: Arc::new(Semaphore::new(all as usize)), all }
    }

    /// Waits until there is room for a batch. One that is bigger than all the room takes all of it.
    pub(super) async fn take(&self, bytes: usize) -> Option<tokio::sync::OwnedSemaphorePermit> {
        let kib = u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX).min(self.all);
        Arc::clone(&self.permits).acquire_many_owned(kib).await.ok()
    }
}

/// The tokens of one session: what ends it does not end the pipeline.
struct Tokens {
    drain: CancellationToken,
    abort: CancellationToken,
}

impl Pipeline {
    pub(super) async fn session(&self, stop: &Stop, paused: &mut watch::Receiver<bool>) -> Result<Ended, Fault> {
        // A part that fails ends the others: nobody sends into a channel that nobody reads.
        let tokens = Tokens { drain: stop.drain.child_token(), abort: stop.abort.child_token() };
        let letters = self.letters(&tokens);
        tokio::select! {
            opened = letters.open() => opened?,
            () = tokens.drain.cancelled() => return Ok(Ended::Done),
            Ok(_) = paused.wait_for(|paused| *paused) => return Ok(Ended::Paused),
        }
        let mut sinks: Vec<(String, AnySink)> = self
            .config
            .sinks
            .iter()
            .map(|(name, config)| match self.mode.dry_run {
                true => (name.clone(), AnySink::dry(name)),
                false => {
                    let sink = AnySink::new(config, self.config.record(&self.name), name);
                    (name.clone(), sink.from_source(&self.config.source))
                }
            })
            .collect();
        let taken = tokio::select! {
            taken = self.take(&mut sinks, &tokens.drain) => taken?,
            Ok(_) = paused.wait_for(|paused| *paused) => return Ok(Ended::Paused),
        };
        let Some(start) = taken else { return Ok(Ended::Done) };
        self.run_parts(start, sinks, letters, stop, &tokens, paused).await
    }

    fn letters(&self, tokens: &Tokens) -> Letters {
        let nowhere = DeadLetterConfig::File(FileSinkConfig { path: "/dev/null".into() });
        let place = if self.mode.dry_run { &nowhere } else { &self.dead_letter };
        let writer = DeadLetterWriter::new(place);
        let (status, fields) = (self.status.clone(), Arc::clone(&self.log_fields));
        Letters::new(&self.name, writer, self.retry(), status, fields, tokens.abort.clone())
    }

    /// Takes the pipeline for this host; none when it was told to stop meanwhile.
    async fn take(&self, sinks: &mut [(String, AnySink)], drain: &CancellationToken) -> Result<Option<Start>, Fault> {
        if !AnySource::has_positions(&self.config.source) {
            return Ok(Some(Start { keep: Keep::Nowhere, from: Default::default(), fresh: false }));
        }
        if self.mode.dry_run {
            let from = crate::checkpoint::stored(&self.config, &self.state, &self.name, &self.source).await?;
            return Ok(Some(Start { keep: Keep::Nowhere, from: from.unwrap_or_default(), fresh: false }));
        }
        let taker = Taker {
            pipeline: &self.name,
            source: &self.source,
            state: &self.state,
            standby: self.mode.standby,
            status: &self.status,
            stop: drain,
            backoff: Backoff::new(&self.retry()),
        };
        match (Store::new(&self.config.checkpoint, &self.state, &self.name, &self.source), &self.config.checkpoint) {
            (Some(store), _) => taker.store(store).await,
            (None, CheckpointConfig::Sink(config)) => taker.sinks(sinks, config.lease.0).await,
            (None, _) => Err(Fault::fatal(Code::Internal, "a checkpoint has no store; this is a defect of tidegate")),
        }
    }

    async fn run_parts(
        &self,
        start: Start,
        sinks: Vec<(String, AnySink)>,
        letters: Letters,
        stop: &Stop,
        tokens: &Tokens,
        paused: &mut watch::Receiver<bool>,
    ) -> Result<Ended, Fault> {
        let Start { keep, from, fresh } = start;
        let budget = Budget::new(&self.limits);
        let (progress, mut seen) = watch::channel(Progress::default());
        let (to_processor, from_reader) = mpsc::channel(1);
        let (to_frontier, from_parts) = mpsc::unbounded_channel();
        let mut parts: JoinSet<Result<(), Fault>> = JoinSet::new();

        let store = match &keep {
            Keep::Store(store) => Some(Arc::clone(store)),
            Keep::Nowhere | Keep::Sinks => None,
        };
        let place = match &store {
            Some(store) => store.lock().await.place(),
            None => {
                let places = sinks.iter().map(|(_, sink)| crate::sink::Keeper::place(sink));
                places.collect::<Vec<_>>().join("; ")
            }
        };
        let lease = match (&keep, &self.config.checkpoint) {
            (Keep::Sinks, CheckpointConfig::Sink(config)) => Some(config.lease.0),
            _ => None,
        };
        let sink_count = sinks.len();
        let mut to_sinks = Vec::with_capacity(sink_count);
        let mut begins = Vec::new();
        for (index, (sink_name, sink)) in sinks.into_iter().enumerate() {
            let (to_sink, batches) = mpsc::channel(DEPTH);
            to_sinks.push(to_sink);
            let keeping = lease.map(|lease| {
                let begin = fresh.then(|| {
                    let (begin, told) = oneshot::channel();
                    begins.push(begin);
                    told
                });
                let renewal = (lease / 3).max(Duration::from_millis(10));
                sinks::Keeping { renewal, source: Arc::clone(&self.source), begin }
            });
            let hold = sink.latest().map(latest::Hold::new);
            let task = sinks::SinkTask {
                pipeline: Arc::clone(&self.name),
                name: sink_name,
                index,
                sink,
                batches,
                acks: to_frontier.clone(),
                letters: letters.clone(),
                retry: self.retry(),
                status: self.status.clone(),
                abort: tokens.abort.clone(),
                keeping,
                hold,
            };
            parts.spawn(task.run());
        }

        let (to_opening, opened) = oneshot::channel();
        let opening = fresh.then(|| Opening {
            pipeline: Arc::clone(&self.name),
            state: Arc::clone(&self.state),
            store: store.clone(),
            sinks: begins,
            frontier: Some(to_opening),
            place,
        });
        let generations = self.stages.as_ref().map(|(_, chain)| Arc::clone(chain));
        let frontier = Frontier {
            pipeline: Arc::clone(&self.name),
            sinks: sink_count,
            store,
            generations,
            retry: self.retry(),
            status: self.status.clone(),
            progress: progress.clone(),
            abort: tokens.abort.clone(),
            positions: from.clone(),
            opening: fresh.then_some(opened),
            underway: frontier::Underway::default(),
            acknowledges: !self.mode.dry_run,
        };
        parts.spawn(frontier.run(from_parts));
        parts.spawn(
            processor::Processor {
                pipeline: Arc::clone(&self.name),
                lanes: usize::from(self.config.lanes),
                stages: self.stages.clone(),
                letters,
                to_frontier,
                to_sinks,
                status: self.status.clone(),
                metrics: self.metrics.clone(),
                provenance: self.provenance,
            }
            .run(from_reader),
        );
        let (ddl, copying) = (self.metrics.pipeline(&self.name), self.status.clone());
        let (lost, history, standing) = (ddl.clone(), ddl.clone(), self.status.clone());
        let caught_up = progress.clone();
        let hooks = Hooks {
            copied: Arc::clone(&self.copied),
            on_ddl: Arc::new(move |kind, _| ddl.ddl(kind)),
            on_copy: Arc::new(move |progress| copying.source_copies(progress)),
            on_lost: Arc::new(move || {
                lost.positions_lost.inc();
            }),
            on_caught_up: Arc::new(move || {
                caught_up.send_if_modified(|progress| std::mem::take(&mut progress.behind));
            }),
            on_history: Arc::new(move |left| {
                history.history(left);
                standing.source_history(left);
            }),
        };
        let source = AnySource::new(&self.config, self.limits, hooks);
        parts.spawn(
            reader::Reader {
                pipeline: Arc::clone(&self.name),
                source: if self.mode.dry_run { source.dry() } else { source },
                tells_its_end: AnySource::tells_its_end(&self.config.source),
                limits: self.limits,
                at: from,
                opening,
                budget,
                batches: to_processor,
                progress,
                retry: self.retry(),
                status: self.status.clone(),
                drain: tokens.drain.clone(),
                abort: tokens.abort.clone(),
                held: None,
            }
            .run(),
        );
        let ended = self.watch_parts(parts, &mut seen, stop, tokens, paused).await;
        let now = *seen.borrow();
        // The parts leave without a word when they are told to give up.
        if ended.is_ok() && stop.abort.is_cancelled() && now.read != now.safe {
            return Err(self.given_up(now));
        }
        ended
    }

    /// Waits until all parts have ended; one that fails ends the others.
    async fn watch_parts(
        &self,
        mut parts: JoinSet<Result<(), Fault>>,
        seen: &mut watch::Receiver<Progress>,
        stop: &Stop,
        tokens: &Tokens,
        paused: &mut watch::Receiver<bool>,
    ) -> Result<Ended, Fault> {
        let name = &self.name;
        let mut failed: Option<Fault> = None;
        let mut pausing = false;
        loop {
            let idle = async {
                match self.mode.exit_when_idle {
                    Some(quiet) => frontier::quiet(seen, quiet).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                part = parts.join_next() => {
                    let fault = match part {
                        None => break,
                        Some(Ok(Ok(()))) => continue,
                        Some(Ok(Err(fault))) => fault,
                        Some(Err(cause)) if cause.is_cancelled() => continue,
                        Some(Err(cause)) => Fault::fatal(
                            Code::Internal,
                            format!("a part of pipeline `{name}` broke: {cause}; this is a defect of tidegate, please report it"),
                        ),
                    };
                    failed.get_or_insert(fault);
                    tokens.drain.cancel();
                    tokens.abort.cancel();
                }
                () = idle, if !tokens.drain.is_cancelled() => {
                    tracing::info!(event = "pipeline_idle", pipeline = %name, "pipeline {name} is quiet and all is safe: it ends");
                    tokens.drain.cancel();
                }
                Ok(_) = paused.wait_for(|paused| *paused), if !tokens.drain.is_cancelled() => {
                    pausing = true;
                    tokens.drain.cancel();
                }
                () = stop.abort.cancelled(), if failed.is_none() => {
                    parts.abort_all();
                    failed = Some(self.given_up(*seen.borrow()));
                }
            }
        }
        match failed {
            Some(fault) => Err(fault),
            None if pausing && !stop.drain.is_cancelled() => Ok(Ended::Paused),
            None => Ok(Ended::Done),
        }
    }

    fn given_up(&self, progress: Progress) -> Fault {
        Fault::fatal(
            Code::ShutdownTimeout,
            format!(
                "pipeline `{}` was not drained in time: {} changes that were read are not safe, and are read again at the next start",
                self.name,
                progress.read.saturating_sub(progress.safe)
            ),
        )
    }
}
