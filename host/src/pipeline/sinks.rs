//! Writes batches to one sink, in order, each until it is safe.

use std::{sync::Arc, time::Instant};

use smallvec::{SmallVec, smallvec};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Duration, Interval, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use super::{
    frontier::Event,
    hold::{Begin, Opening},
    latest::{Flush, Hold},
    letters::Letters,
    retry::{Backoff, RetryPolicy, pause},
};
use crate::{
    batch::SharedOutbound,
    error::{Fault, Severity},
    sink::{AnySink, Keeper as _, Sink as _, Writes, Wrote},
    status::PipelineStatus,
};

pub(super) struct SinkTask {
    pub(super) pipeline: Arc<str>,
    pub(super) name: String,
    pub(super) index: usize,
    pub(super) sink: AnySink,
    pub(super) batches: mpsc::Receiver<SharedOutbound>,
    pub(super) acks: mpsc::UnboundedSender<Event>,
    pub(super) letters: Letters,
    pub(super) retry: RetryPolicy,
    pub(super) status: PipelineStatus,
    pub(super) abort: CancellationToken,
    /// For a sink that keeps positions, which was claimed and is open already.
    pub(super) keeping: Option<Keeping>,
    /// For a sink that writes only the newest value of each document, now and then.
    pub(super) hold: Option<Hold>,
}

/// What a sink that keeps positions needs.
pub(super) struct Keeping {
    /// How often the lease is renewed.
    pub(super) renewal: Duration,
    pub(super) source: Arc<str>,
    /// The opening positions, in a pipeline that begins.
    pub(super) begin: Option<oneshot::Receiver<Begin>>,
}

/// Ends when what is held is to be written.
async fn due(hold: Option<&Hold>) {
    match hold.and_then(Hold::deadline) {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

impl SinkTask {
    /// Runs until there are no more batches.
    pub(super) async fn run(mut self) -> Result<(), Fault> {
        match self.keeping.take() {
            Some(keeping) => {
                let ended = self.run_keeping(keeping).await;
                // Also after a failure: what holds the record for nothing only makes the next host wait.
                self.sink.release().await;
                ended
            }
            None => self.run_plain().await,
        }
    }

    async fn run_plain(&mut self) -> Result<(), Fault> {
        let mut next = None;
        if !self.open(&mut next).await? {
            return Ok(());
        }
        self.status.sink_connected(self.index);
        loop {
            let batch = match next.take() {
                Some(batch) => Some(batch),
                None => tokio::select! {
                    biased;
                    () = due(self.hold.as_ref()) => {
                        if !self.flush(false).await? {
                            return Ok(());
                        }
                        continue;
                    }
                    batch = self.batches.recv() => batch,
                },
            };
            let Some(batch) = batch else { break };
            let batches = self.gather(batch, &mut next);
            if !self.take(&batches, false).await? {
                return Ok(());
            }
        }
        self.flush(false).await.map(drop)
    }

    /// What waits behind a batch and is to be written with it. What must not be is left in `next`.
    fn gather(&mut self, first: SharedOutbound, next: &mut Option<SharedOutbound>) -> SmallVec<[SharedOutbound; 4]> {
        let (mut changes, most) = (first.changes.len(), self.sink.gathers());
        let mut batches = smallvec![first];
        // Looked at last: it goes through all changes, which sinks that gather nothing need not pay for.
        if changes >= most || batches.iter().any(|batch: &SharedOutbound| batch.is_barrier()) {
            return batches;
        }
        while changes < most {
            let Ok(batch) = self.batches.try_recv() else { break };
            if batch.is_barrier() {
                *next = Some(batch);
                break;
            }
            changes += batch.changes.len();
            batches.push(batch);
        }
        batches
    }

    async fn run_keeping(&mut self, keeping: Keeping) -> Result<(), Fault> {
        let mut renew = tokio::time::interval(keeping.renewal);
        renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
        if let Some(mut begin) = keeping.begin
            && !self.begin(&mut begin, &keeping.source, &mut renew).await?
        {
            return Ok(());
        }
        loop {
            let batch = tokio::select! {
                batch = self.batches.recv() => batch,
                _ = renew.tick() => {
                    self.renew().await?;
                    continue;
                }
                () = due(self.hold.as_ref()) => {
                    if !self.flush(true).await? {
                        return Ok(());
                    }
                    continue;
                }
            };
            let Some(batch) = batch else { break };
            if !self.take(&[batch], true).await? {
                return Ok(());
            }
        }
        if !self.flush(true).await? {
            return Ok(());
        }
        let mut backoff = Backoff::new(&self.retry);
        while let Err(fault) = self.sink.settle().await {
            if !self.again(&fault, &mut backoff).await? {
                break;
            }
        }
        Ok(())
    }

    /// Stores the opening positions; false when the pipeline ends before there are any.
    async fn begin(
        &mut self,
        begin: &mut oneshot::Receiver<Begin>,
        source: &str,
        renew: &mut Interval,
    ) -> Result<bool, Fault> {
        let Begin { positions, done } = loop {
            tokio::select! {
                begin = &mut *begin => match begin {
                    Ok(begin) => break begin,
                    Err(_) => return Ok(false),
                },
                _ = renew.tick() => self.renew().await?,
            }
        };
        let about = Opening::about(&self.pipeline, source);
        let mut backoff = Backoff::new(&self.retry);
        while let Err(fault) = self.sink.begin(&about, &positions).await {
            if !self.again(&fault, &mut backoff).await? {
                return Ok(false);
            }
        }
        let _ = done.send(());
        Ok(true)
    }

    /// Keeps the lease; a server that is away may have let it go, which the fence of the next write tells.
    async fn renew(&mut self) -> Result<(), Fault> {
        match self.sink.renew().await {
            Ok(()) => {
                self.status.sink_connected(self.index);
                Ok(())
            }
            Err(fault) => self.tell(&fault),
        }
    }

    /// Opens the sink; false when there will never be anything to write. A batch that comes meanwhile is kept in `next`.
    async fn open(&mut self, next: &mut Option<SharedOutbound>) -> Result<bool, Fault> {
        let mut backoff = Backoff::new(&self.retry);
        loop {
            let fault = match self.sink.open().await {
                Ok(()) => return Ok(true),
                Err(fault) => fault,
            };
            let delay = self.after(&fault, &mut backoff)?;
            tokio::select! {
                again = pause(delay, &self.abort) => if !again { return Ok(false) },
                batch = self.batches.recv(), if next.is_none() => match batch {
                    Some(batch) => *next = Some(batch),
                    None => return Ok(false),
                },
            }
            self.status.sink_trying(self.index);
        }
    }

    /// Writes batches, or holds them; false when the pipeline was aborted.
    async fn take(&mut self, batches: &[SharedOutbound], keeping: bool) -> Result<bool, Fault> {
        let sink = self.index;
        let has_any =
            |batch: &SharedOutbound| batch.changes.iter().any(|routed| routed.for_sink(sink).next().is_some());
        // The frontier lives until the last sink is gone.
        match &mut self.hold {
            // Behind what is held even a batch with nothing for this sink has to wait.
            Some(hold) if !hold.is_empty() || batches.iter().any(has_any) => {
                for batch in batches {
                    hold.add(batch, sink);
                    let _ = self.acks.send(Event::Held { batch: batch.number, sink });
                }
                if hold.is_full() { self.flush(keeping).await } else { Ok(true) }
            }
            _ => {
                let written = self.write(batches, keeping).await?;
                for batch in batches.iter().filter(|_| written) {
                    let _ = self.acks.send(Event::Safe { batch: batch.number, sink });
                }
                Ok(written)
            }
        }
    }

    /// Writes all that is held; false when the pipeline was aborted.
    async fn flush(&mut self, keeping: bool) -> Result<bool, Fault> {
        let Some(hold) = self.hold.as_mut().filter(|hold| !hold.is_empty()) else { return Ok(true) };
        let Flush { batches, through, changes, overtaken } = hold.take();
        for batch in &batches {
            if !self.write(std::slice::from_ref(batch), keeping).await? {
                return Ok(false);
            }
        }
        if let Some(metrics) = self.status.sinks().get(self.index) {
            metrics.events_ignored.inc_by(overtaken);
        }
        tracing::debug!(
            event = "latest_flushed",
            pipeline = %self.pipeline,
            sink = %self.name,
            changes,
            overtaken,
            "the newest values of {changes} documents are written; {overtaken} older ones were overtaken"
        );
        let _ = self.acks.send(Event::Flushed { through, sink: self.index });
        Ok(true)
    }

    /// Writes batches until all of them are safe or in the dead letter; false when the pipeline was aborted. A sink that keeps positions
    /// gets one at a time, and is told of empty ones too.
    async fn write(&mut self, batches: &[SharedOutbound], keeping: bool) -> Result<bool, Fault> {
        let mut writes = Writes::of_all(batches, self.index);
        if writes.is_empty() && !keeping {
            return Ok(true);
        }
        let bytes: usize = writes.pending().map(|(_, delivery)| delivery.change.size()).sum();
        let mut backoff = Backoff::new(&self.retry);
        let (mut failed_before, mut buried) = (false, 0);
        loop {
            let start = Instant::now();
            let written = self.sink.write(&mut writes).await;
            if let Some(metrics) = self.status.sinks().get(self.index)
                && !writes.is_empty()
            {
                metrics.observe(start.elapsed());
            }
            match written {
                Ok(wrote) => {
                    // Durable in the dead letter before the sink's position moves over it, and before the batch counts as safe.
                    self.letters.bury_refused(batches, &writes, buried, &self.name).await?;
                    buried = writes.refused().len();
                    if wrote == Wrote::All {
                        break;
                    }
                }
                Err(fault) => {
                    failed_before = true;
                    if !self.again(&fault, &mut backoff).await? {
                        return Ok(false);
                    }
                }
            }
        }
        if failed_before {
            self.status.sink_connected(self.index);
            tracing::info!(
                event = "sink_recovered",
                pipeline = %self.pipeline,
                sink = %self.name,
                "sink {} takes writes again", self.name
            );
        }
        let written = writes.len() - writes.refused().len() - writes.skipped() - writes.ignored() - writes.missed();
        if let Some(metrics) = self.status.sinks().get(self.index) {
            metrics.events_out.inc_by(written as u64);
            metrics.events_skipped.inc_by(writes.skipped() as u64);
            metrics.events_ignored.inc_by(writes.ignored() as u64);
            metrics.events_missing.inc_by(writes.missed() as u64);
            metrics.bytes_out.inc_by(if written > 0 { bytes as u64 } else { 0 });
        }
        if tracing::enabled!(tracing::Level::DEBUG) {
            self.letters.tell_delivered(&writes, &self.name);
        }
        Ok(true)
    }

    /// After a fault: waits for the next try; false when the pipeline was aborted meanwhile.
    async fn again(&self, fault: &Fault, backoff: &mut Backoff) -> Result<bool, Fault> {
        let delay = self.after(fault, backoff)?;
        let again = pause(delay, &self.abort).await;
        self.status.sink_trying(self.index);
        Ok(again)
    }

    /// After a fault: how long to wait before the next try; an error when there will be none.
    fn after(&self, fault: &Fault, backoff: &mut Backoff) -> Result<Duration, Fault> {
        match backoff.after(fault) {
            Ok(delay) => {
                self.tell(fault)?;
                self.status.sink_waiting(self.index, delay);
                Ok(delay)
            }
            Err(last) => Err(self.tell(&last).err().unwrap_or(last)),
        }
    }

    /// Says that a fault is tried again; any other than a transient one ends the pipeline, or sends it back.
    fn tell(&self, fault: &Fault) -> Result<(), Fault> {
        if fault.severity != Severity::Rewind {
            self.status.sink_failed(self.index, fault);
        }
        if !fault.is_transient() {
            let message = format!("sink `{}`: {}", self.name, fault.message);
            return Err(Fault { severity: fault.severity, code: fault.code, message });
        }
        if let Some(metrics) = self.status.sinks().get(self.index) {
            metrics.retries.inc();
        }
        tracing::warn!(
            event = "sink_retry",
            pipeline = %self.pipeline,
            sink = %self.name,
            code = fault.code.as_str(),
            "sink {} is tried again: {}",
            self.name,
            fault.message
        );
        Ok(())
    }
}
