//! Writes batches to one sink, in order, each until it is safe.

use std::{sync::Arc, time::Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{frontier::Event, letters::Letters, retry::Backoff};
use crate::{
    batch::SharedOutbound,
    error::Fault,
    sink::{AnySink, Sink as _, Writes},
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
    pub(super) status: PipelineStatus,
    pub(super) abort: CancellationToken,
}

impl SinkTask {
    /// Runs until there are no more batches.
    pub(super) async fn run(mut self) -> Result<(), Fault> {
        let mut backoff = Backoff::new();
        loop {
            match self.sink.open().await {
                Ok(()) => break,
                Err(fault) if !self.again(&fault, &mut backoff).await? => return Ok(()),
                Err(_) => {}
            }
        }
        self.status.sink_connected(self.index);
        while let Some(batch) = self.batches.recv().await {
            if !self.write(&batch).await? {
                return Ok(());
            }
            // The frontier lives until the last sink is gone.
            let _ = self.acks.send(Event::Safe { batch: batch.number });
        }
        Ok(())
    }

    /// Writes one batch until all of it is safe or in the dead letter; false when the pipeline was aborted.
    async fn write(&mut self, batch: &SharedOutbound) -> Result<bool, Fault> {
        let mut writes = Writes::new(batch.for_sink(self.index));
        if writes.is_empty() {
            return Ok(true);
        }
        let bytes: usize = writes.pending().map(|(_, delivery)| delivery.change.size()).sum();
        let mut backoff = Backoff::new();
        let mut failed_before = false;
        loop {
            let start = Instant::now();
            let written = self.sink.write(&mut writes).await;
            if let Some(metrics) = self.status.sinks().get(self.index) {
                metrics.observe(start.elapsed());
            }
            match written {
                Ok(()) => break,
                Err(fault) if !self.again(&fault, &mut backoff).await? => return Ok(false),
                Err(_) => failed_before = true,
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
        let refused = writes.refused();
        if let Some(metrics) = self.status.sinks().get(self.index) {
            metrics.events_out.inc_by((writes.len() - refused.len()) as u64);
            metrics.bytes_out.inc_by(bytes as u64);
        }
        if tracing::enabled!(tracing::Level::DEBUG) {
            self.letters.tell_delivered(&writes, &self.name);
        }
        self.letters.bury_refused(&writes, &self.name).await?;
        Ok(true)
    }

    /// After a fault: waits for the next try; false when the pipeline was aborted meanwhile.
    async fn again(&self, fault: &Fault, backoff: &mut Backoff) -> Result<bool, Fault> {
        self.status.sink_failed(self.index, fault);
        if !fault.is_transient() {
            return Err(Fault::fatal(fault.code, format!("sink `{}`: {}", self.name, fault.message)));
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
        Ok(backoff.wait(&self.abort).await)
    }
}
