//! The frontier: the newest position that every sink has safely, moved in order and never past a hole.

mod order;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytestring::ByteString;
use tokio::sync::{Mutex, OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use self::order::Order;
use super::retry::{Backoff, RetryPolicy};
use crate::{
    checkpoint::Store,
    error::Fault,
    plugin::StageChain,
    position::{Position, Positions},
    receipt::Receipts,
    status::PipelineStatus,
};

/// What the parts tell the frontier.
pub(super) enum Event {
    /// A batch is on its way to the sinks. Told in the order of the batches, before any sink has it.
    Sent(Sent),
    /// A sink has a batch safely.
    Safe {
        /// Number of the batch.
        batch: u64,
        /// The sink.
        sink: usize,
    },
    /// A sink holds a batch in memory of its own, and writes it later.
    Held {
        /// Number of the batch.
        batch: u64,
        /// The sink.
        sink: usize,
    },
    /// A sink has safely all that it held.
    Flushed {
        /// Number of the last batch.
        through: u64,
        /// The sink.
        sink: usize,
    },
}

/// A batch on its way.
pub(super) struct Sent {
    pub(super) batch: u64,
    pub(super) partition: ByteString,
    pub(super) position: Option<Position>,
    /// Changes in it, as read.
    pub(super) changes: u64,
    /// When the newest of them happened.
    pub(super) newest: Option<i64>,
    /// The bytes it holds until it is safe.
    pub(super) permit: Option<OwnedSemaphorePermit>,
    /// Positions in other partitions, of batches that it stands for as well.
    pub(super) earlier: Positions,
    /// For the source: told when it is safe.
    pub(super) receipts: Receipts,
}

/// How far the pipeline has come, for those who wait for it to be quiet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// The source is open.
    pub(super) open: bool,
    /// The source may have more: it tells when it has not, and has not told since the last change.
    pub(super) behind: bool,
    /// When a change was last read.
    pub(super) last_change: Instant,
    /// Changes read.
    pub(super) read: u64,
    /// Changes of batches that are safe.
    pub(super) safe: u64,
    /// Changes of batches that are not, but will be as soon as the pipeline drains.
    pub(super) held: u64,
}

impl Default for Progress {
    fn default() -> Self {
        Self { open: false, behind: false, last_change: Instant::now(), read: 0, safe: 0, held: 0 }
    }
}

/// Ends when no change was read for so long, the source has no more for now, and all that were read are safe, or will be with the drain. Silence alone says nothing
/// of a server that answers late.
pub(super) async fn quiet(progress: &mut watch::Receiver<Progress>, quiet: Duration) {
    loop {
        let now = *progress.borrow_and_update();
        if now.open && !now.behind && now.read == now.safe + now.held {
            let left = quiet.saturating_sub(now.last_change.elapsed());
            if left.is_zero() {
                return;
            }
            // Something new starts the wait again; the wait itself is what was asked for.
            let _ = tokio::time::timeout(left, progress.changed()).await;
        } else if progress.changed().await.is_err() {
            // The reader and the frontier are gone: the pipeline ends anyway.
            std::future::pending::<()>().await;
        }
    }
}

/// What the frontier knows of the batches on their way.
#[derive(Default)]
pub(super) struct Underway {
    order: Order,
    batch: u64,
    /// Newer than what is stored.
    unwritten: Option<Position>,
}

/// The task that moves the frontier and writes the checkpoint.
pub(super) struct Frontier {
    pub(super) pipeline: Arc<str>,
    pub(super) sinks: usize,
    pub(super) store: Option<Arc<Mutex<Store>>>,
    pub(super) generations: Option<Arc<StageChain>>,
    pub(super) retry: RetryPolicy,
    pub(super) status: PipelineStatus,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) abort: CancellationToken,
    /// Where everything before is safe.
    pub(super) positions: Positions,
    /// Where a new pipeline began, in each partition: told before its first batch is read.
    pub(super) opening: Option<oneshot::Receiver<Positions>>,
    pub(super) underway: Underway,
    /// Whether the source is told what is safe; a dry run leaves it where it was.
    pub(super) acknowledges: bool,
}

impl Frontier {
    /// Runs until everybody who could tell it something is gone; then all that is safe is checkpointed. Between the writes it keeps
    /// the lease alive.
    pub(super) async fn run(mut self, mut events: mpsc::UnboundedReceiver<Event>) -> Result<(), Fault> {
        let (interval, renewal) = match &self.store {
            Some(store) => {
                let store = store.lock().await;
                (store.interval, store.renewal())
            }
            None => (Duration::from_secs(1), None),
        };
        let ticks = |every: Duration| {
            let mut ticks = tokio::time::interval(every.max(Duration::from_millis(1)));
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            ticks
        };
        let (mut write_at, mut renew_at) = (ticks(interval), ticks(renewal.unwrap_or(Duration::from_secs(1))));
        let mut backoff = Backoff::new(&self.retry);
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.take(event),
                    None => break,
                },
                _ = write_at.tick(), if self.underway.unwritten.is_some() => {
                    if self.write().await? {
                        backoff.reset();
                        renew_at.reset();
                    } else {
                        // The data goes on meanwhile: what is not stored is only sent again after a crash.
                        write_at.reset_after(backoff.delay());
                    }
                }
                _ = renew_at.tick(), if renewal.is_some() => self.renew().await?,
            }
        }
        while !self.write().await? {
            if !backoff.wait(&self.abort).await {
                break;
            }
        }
        if let Some(store) = &self.store {
            store.lock().await.release().await;
        }
        Ok(())
    }

    async fn renew(&mut self) -> Result<(), Fault> {
        let Some(store) = &self.store else { return Ok(()) };
        match store.lock().await.renew().await {
            Err(fault) if fault.is_transient() => {
                self.status.checkpoint_failed(Some(&fault));
                Ok(())
            }
            Ok(()) => {
                // Where nothing happens no write would say that the store is back.
                self.status.checkpoint_failed(None);
                Ok(())
            }
            Err(fault) => Err(fault),
        }
    }

    fn take(&mut self, event: Event) {
        let ready = match event {
            Event::Sent(sent) => {
                self.underway.order.sent(sent, self.sinks);
                self.underway.order.ready()
            }
            Event::Safe { batch, sink } => self.underway.order.safe(batch, sink),
            Event::Held { batch, sink } => {
                self.underway.order.held(batch, sink);
                Vec::new()
            }
            Event::Flushed { through, sink } => self.underway.order.flushed(through, sink),
        };
        let held = self.underway.order.held_changes();
        let safe: u64 = ready.iter().map(|sent| sent.changes).sum();
        let metrics = self.status.metrics();
        for Sent { batch, partition, position, changes, newest, permit, earlier, receipts } in ready {
            self.underway.batch = batch;
            if changes > 0 {
                metrics.lag.safe(newest);
            }
            self.status.frontier(batch, position.as_ref());
            for (partition, position) in earlier.iter() {
                self.positions.set(partition, position.clone());
                self.underway.unwritten = Some(position.clone());
            }
            if let Some(position) = position {
                self.positions.set(&partition, position.clone());
                self.underway.unwritten = Some(position);
            }
            if self.acknowledges {
                for receipt in receipts {
                    receipt.safe();
                }
            }
            drop(permit);
        }
        // Both at once: what is counted twice in between would look as if all was done.
        self.progress.send_if_modified(|progress| {
            progress.safe += safe;
            std::mem::replace(&mut progress.held, held) != held || safe > 0
        });
        self.status.set_in_flight(self.underway.order.batches());
    }

    /// Stores what is safe; false when that is to be tried again.
    async fn write(&mut self) -> Result<bool, Fault> {
        let Some(position) = self.underway.unwritten.clone() else { return Ok(true) };
        // Partitions of which nothing was read yet belong to the checkpoint as well.
        if let Some(Ok(opening)) = self.opening.as_mut().map(oneshot::Receiver::try_recv) {
            for (partition, position) in opening.iter() {
                if self.positions.get(partition).is_none() {
                    self.positions.set(partition, position.clone());
                }
            }
            self.opening = None;
        }
        let Some(store) = &self.store else {
            self.status.checkpointed(&position);
            self.underway.unwritten = None;
            return Ok(true);
        };
        let generations = self.generations.as_ref().map(|chain| chain.current().generations()).unwrap_or_default();
        let written = store.lock().await.store(&self.positions, self.underway.batch, generations).await;
        let metrics = self.status.metrics();
        match written {
            Ok(()) => {
                metrics.checkpoint_writes.inc();
                self.underway.unwritten = None;
                self.status.checkpoint_failed(None);
                self.status.checkpointed(&position);
                Ok(true)
            }
            Err(fault) => {
                metrics.checkpoint_failures.inc();
                self.status.checkpoint_failed(Some(&fault));
                tracing::error!(
                    event = "checkpoint_failed",
                    pipeline = %self.pipeline,
                    code = fault.code.as_str(),
                    "{}", fault.message
                );
                if fault.is_transient() { Ok(false) } else { Err(fault) }
            }
        }
    }
}

#[cfg(test)]
mod tests;
