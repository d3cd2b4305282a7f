//! Reads the source: opens it, joins small reads into batches, and opens it again where it stopped when it fails.

use std::{sync::Arc, time::Instant};

use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    frontier::Progress,
    hold::Opening,
    retry::{Backoff, RetryPolicy, pause},
    session::Budget,
};
use crate::{
    batch::Batch,
    error::Fault,
    position::Positions,
    source::{AnySource, BatchLimits, Read, Source as _},
    status::{PipelineStatus, State},
};

/// A batch with its share of the pipeline's bytes.
pub(super) struct Loaded {
    pub(super) batch: Batch,
    pub(super) changes: u64,
    pub(super) newest: Option<i64>,
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

pub(super) struct Reader {
    pub(super) pipeline: Arc<str>,
    pub(super) source: AnySource,
    /// See [`AnySource::tells_its_end`].
    pub(super) tells_its_end: bool,
    pub(super) limits: BatchLimits,
    /// Where the source is opened, and from then on where it stands.
    pub(super) at: Positions,
    /// What makes the opening positions durable; none where the pipeline goes on.
    pub(super) opening: Option<Opening>,
    pub(super) budget: Budget,
    pub(super) batches: mpsc::Sender<Loaded>,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) retry: RetryPolicy,
    pub(super) status: PipelineStatus,
    pub(super) drain: CancellationToken,
    pub(super) abort: CancellationToken,
    /// Read already, but too much for the batch it would have been joined to.
    pub(super) held: Option<Batch>,
}

/// Why reading ended.
enum Ended {
    /// The source has no more, or the pipeline drains.
    Done,
    /// The source failed; what was read is on its way.
    Failed(Fault),
}

impl Reader {
    /// Runs until the source ends, the pipeline drains, or only the operator can help.
    pub(super) async fn run(mut self) -> Result<(), Fault> {
        let ended = self.run_source().await;
        // Those who have what was read end when nobody can send them more; then all receipts come back.
        let Self { mut source, batches, held, .. } = self;
        drop((batches, held));
        // What stopped it is told at once, whatever the sinks are doing.
        if ended.is_ok() {
            source.settle().await;
        }
        ended
    }

    async fn run_source(&mut self) -> Result<(), Fault> {
        let drain = self.drain.clone();
        let mut backoff = Backoff::new(&self.retry);
        loop {
            let opened = tokio::select! {
                opened = self.source.open(&self.at) => opened,
                () = drain.cancelled() => return Ok(()),
            };
            let failed = match opened {
                Ok(positions) => {
                    // A new pipeline begins where its source was opened first, also when it is opened again before the first batch. One
                    // that begins anew is further than it was.
                    for (partition, position) in positions.iter() {
                        if self.at.get(partition).is_none_or(|at| at < position) {
                            self.at.set(partition, position.clone());
                        }
                    }
                    if let Some(mut opening) = self.opening.take()
                        && !opening.keep(&self.at).await?
                    {
                        return Ok(());
                    }
                    let position = self.at.iter().next().map(|(_, position)| position);
                    self.status.source_opened(position);
                    self.status.opening_stored();
                    if let Some(position) = position {
                        self.status.checkpointed(position);
                    }
                    if self.status.state() != State::Draining {
                        self.status.set_state(State::Running);
                    }
                    self.progress.send_modify(|progress| {
                        progress.open = true;
                        progress.behind = self.tells_its_end;
                        progress.last_change = Instant::now();
                    });
                    match self.read(&mut backoff).await? {
                        Ended::Done => return Ok(()),
                        Ended::Failed(fault) => fault,
                    }
                }
                Err(fault) => fault,
            };
            let delay = backoff.after(&failed).inspect_err(|fault| self.status.source_failed(fault))?;
            self.status.source_failed(&failed);
            self.status.metrics().source_retries.inc();
            tracing::warn!(
                event = "source_retry",
                pipeline = %self.pipeline,
                code = failed.code.as_str(),
                "the source is tried again: {}",
                failed.message
            );
            self.status.source_waiting(delay);
            if !pause(delay, &drain).await {
                return Ok(());
            }
            self.status.source_trying();
        }
    }

    /// Reads until something ends it. What was joined so far is sent in every case.
    async fn read(&mut self, backoff: &mut Backoff) -> Result<Ended, Fault> {
        loop {
            let (mut batch, mut ended) = match self.held.take() {
                Some(held) => (held, None),
                None => {
                    let first = tokio::select! {
                        read = self.source.next() => read,
                        () = self.drain.cancelled() => return Ok(Ended::Done),
                    };
                    match first {
                        Ok(Read::Batch(batch)) => (batch, None),
                        Ok(Read::End) => return Ok(Ended::Done),
                        Err(fault) => return Ok(Ended::Failed(fault)),
                    }
                }
            };
            backoff.reset();
            if batch.changes.is_empty() && batch.unreadable.is_empty() {
                self.status.metrics().lag.read_nothing();
            } else if !batch.is_barrier() {
                ended = self.fill(&mut batch).await;
            }
            if let Some(position) = &batch.position {
                self.at.set(&batch.partition, position.clone());
            }
            if !self.send(batch).await {
                return Ok(Ended::Done);
            }
            if let Some(ended) = ended {
                return Ok(ended);
            }
        }
    }

    /// Joins what comes within the linger to a batch that has room.
    async fn fill(&mut self, batch: &mut Batch) -> Option<Ended> {
        let deadline = tokio::time::Instant::now() + self.limits.linger;
        let mut bytes = batch.size();
        while batch.changes.len() < self.limits.max_events && bytes < self.limits.max_bytes {
            let more = tokio::select! {
                biased;
                more = self.source.next() => more,
                () = tokio::time::sleep_until(deadline) => return None,
                () = self.drain.cancelled() => return None,
            };
            match more {
                Ok(Read::Batch(mut more)) => {
                    bytes += more.size();
                    if batch.changes.len() + more.changes.len() > self.limits.max_events
                        || bytes > self.limits.max_bytes
                        || batch.partition != more.partition
                        || more.is_barrier()
                    {
                        self.held = Some(more);
                        return None;
                    }
                    batch.changes.append(&mut more.changes);
                    batch.unreadable.append(&mut more.unreadable);
                    batch.receipts.append(&mut more.receipts);
                    if more.position.is_some() {
                        batch.position = more.position;
                    }
                }
                Ok(Read::End) => return Some(Ended::Done),
                Err(fault) => return Some(Ended::Failed(fault)),
            }
        }
        None
    }

    /// Sends a batch on when there is room for it; false when nobody takes it any more.
    async fn send(&self, batch: Batch) -> bool {
        let bytes = batch.size();
        let (oldest, newest) = (batch.changes.first(), batch.changes.last());
        let (oldest, newest) = (oldest.and_then(|c| c.happened_at()), newest.and_then(|c| c.happened_at()));
        let changes = (batch.changes.len() + batch.unreadable.len()) as u64;
        let metrics = self.status.metrics();
        if changes > 0 {
            metrics.events_in.inc_by(changes);
            metrics.bytes_in.inc_by(bytes as u64);
            metrics.batches.inc();
            metrics.lag.read(oldest);
            self.progress.send_modify(|progress| {
                progress.read += changes;
                progress.behind = self.tells_its_end;
                progress.last_change = Instant::now();
            });
        }
        self.status.source_read(batch.position.as_ref(), newest);
        let permit = tokio::select! {
            permit = self.budget.take(bytes) => permit,
            () = self.abort.cancelled() => return false,
        };
        let in_use = i64::from(self.budget.all) - i64::try_from(self.budget.permits.available_permits()).unwrap_or(0);
        metrics.inflight_bytes.set(in_use.saturating_mul(1024));
        self.batches.send(Loaded { batch, changes, newest, permit }).await.is_ok()
    }
}
