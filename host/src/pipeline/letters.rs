//! The dead letter of a pipeline: where a change goes that cannot go on. Once it is durable there the change counts as
//! delivered.

use std::sync::Arc;

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::retry::{Backoff, RetryPolicy, pause};
use crate::{
    batch::{SharedOutbound, Unreadable},
    change::{Change, SCHEMA_VERSION},
    dead_letter::{DeadLetter, DeadLetterWriter, Letter},
    error::{Code, Fault},
    plugin::stage::Casualty,
    sink::Writes,
    status::PipelineStatus,
    telemetry::metrics::DeadLetterKind,
};

/// A handle for everybody who has dead letters.
#[derive(Clone)]
pub(super) struct Letters(Arc<Inner>);

struct Inner {
    pipeline: Arc<str>,
    writer: Mutex<DeadLetterWriter>,
    retry: RetryPolicy,
    status: PipelineStatus,
    log_fields: Arc<[String]>,
    abort: CancellationToken,
}

impl Letters {
    pub(super) fn new(
        pipeline: &Arc<str>,
        writer: DeadLetterWriter,
        retry: RetryPolicy,
        status: PipelineStatus,
        log_fields: Arc<[String]>,
        abort: CancellationToken,
    ) -> Self {
        let (pipeline, writer) = (Arc::clone(pipeline), Mutex::new(writer));
        Self(Arc::new(Inner { pipeline, writer, retry, status, log_fields, abort }))
    }

    /// Checks that dead letters can be written, before there is one.
    pub(super) async fn open(&self) -> Result<(), Fault> {
        let mut backoff = Backoff::new(&self.0.retry);
        loop {
            let opened = self.0.writer.lock().await.open().await;
            match opened {
                Ok(()) => return Ok(()),
                Err(fault) => self.again(fault, &mut backoff).await?,
            }
        }
    }

    /// Writes what the stages put out of the stream, and what the source could not read.
    pub(super) async fn bury(&self, casualties: Vec<Casualty>, unreadable: &[Unreadable]) -> Result<(), Fault> {
        if casualties.is_empty() && unreadable.is_empty() {
            return Ok(());
        }
        let mut letters = Vec::with_capacity(casualties.len() + unreadable.len());
        for casualty in casualties {
            self.tell_dead(
                &casualty.change,
                casualty.kind,
                &casualty.reason,
                Some((&casualty.plugin, casualty.generation)),
            );
            let letter = Letter::Change(Box::new(casualty.change));
            letters.push(DeadLetter {
                plugin: Some(casualty.plugin.to_string()),
                generation: Some(casualty.generation),
                plugin_version: Some(casualty.version.to_string()),
                plugin_digest: Some(casualty.digest.to_string()),
                violations: casualty.violations.into_iter().map(|found| (found.path, found.message)).collect(),
                original: casualty.original.map(|original| Box::new(Arc::unwrap_or_clone(original))),
                ..self.letter(casualty.kind, letter, format!("stages[{}]", casualty.stage), &casualty.reason)
            });
        }
        for Unreadable { id, raw, reason } in unreadable {
            self.0.status.metrics().dead_letters(DeadLetterKind::Unreadable).inc();
            tracing::warn!(
                event = "change_unreadable",
                pipeline = %self.0.pipeline,
                correlation_id = %id,
                "what the source read is no change and goes to the dead letter: {reason}"
            );
            let letter = Letter::Raw { id: id.clone(), raw: raw.clone() };
            letters.push(self.letter(DeadLetterKind::Unreadable, letter, "source".to_owned(), reason));
        }
        self.write(&letters).await
    }

    fn letter(&self, kind: DeadLetterKind, letter: Letter, stage: String, reason: &str) -> DeadLetter {
        DeadLetter::new(&self.0.pipeline, kind, letter, stage, reason)
    }

    /// Writes what a sink will never take, but for the first `buried`, which are in the dead letter already.
    pub(super) async fn bury_refused(
        &self,
        batches: &[SharedOutbound],
        writes: &Writes<'_>,
        buried: usize,
        sink: &str,
    ) -> Result<(), Fault> {
        let refused = writes.refused().get(buried..).unwrap_or_default();
        if refused.is_empty() {
            return Ok(());
        }
        let letters: Vec<DeadLetter> = refused
            .iter()
            .filter_map(|refused| {
                let change = writes.get(refused.index)?.change;
                let reason = format!("sink `{sink}` refused it: {}", refused.reason);
                self.tell_dead(change, DeadLetterKind::Refused, &reason, None);
                let mut all = batches.iter().flat_map(|batch| &batch.changes);
                let routed = all.find(|routed| std::ptr::eq(&raw const routed.change, change));
                let letter = Letter::Change(Box::new(change.clone()));
                Some(DeadLetter {
                    original: routed.and_then(|routed| routed.original.as_deref()).map(|o| Box::new(o.clone())),
                    ..self.letter(DeadLetterKind::Refused, letter, format!("sinks.{sink}"), &reason)
                })
            })
            .collect();
        self.write(&letters).await
    }

    async fn write(&self, letters: &[DeadLetter]) -> Result<(), Fault> {
        let mut backoff = Backoff::new(&self.0.retry);
        loop {
            let written = self.0.writer.lock().await.write(letters).await;
            match written {
                Ok(()) => return Ok(()),
                Err(fault) => self.again(fault, &mut backoff).await?,
            }
        }
    }

    /// After a fault: waits for the next try; an error when there will be none.
    async fn again(&self, fault: Fault, backoff: &mut Backoff) -> Result<(), Fault> {
        tracing::error!(
            event = "dead_letter_failed",
            pipeline = %self.0.pipeline,
            code = fault.code.as_str(),
            "a dead letter cannot be written, nothing goes on without it: {}",
            fault.message
        );
        let delay = backoff.after(&fault).map_err(stopped)?;
        if pause(delay, &self.0.abort).await { Ok(()) } else { Err(stopped(fault)) }
    }

    fn tell_dead(&self, change: &Change, kind: DeadLetterKind, reason: &str, plugin: Option<(&str, u64)>) {
        self.0.status.metrics().dead_letters(kind).inc();
        let (plugin, generation) = plugin.unzip();
        tracing::warn!(
            event = "change_dead_lettered",
            pipeline = %self.0.pipeline,
            correlation_id = %change.id,
            schema_version = change.headers.get(SCHEMA_VERSION),
            collection = %change.namespace.collection(),
            operation = change.operation.as_str(),
            document_id = %change.document_id(),
            chosen_fields = %Chosen(change, &self.0.log_fields),
            plugin,
            generation,
            kind = kind.as_str(),
            "change goes to the dead letter: {reason}"
        );
    }

    /// A line for each change that is safe in a sink, at level debug.
    pub(super) fn tell_delivered(&self, writes: &Writes<'_>, sink: &str) {
        for index in 0..writes.len() {
            let Some(delivery) = writes.get(index) else { continue };
            if writes.refused().iter().any(|refused| refused.index == index) {
                continue;
            }
            let change = delivery.change;
            tracing::debug!(
                event = "change_delivered",
                pipeline = %self.0.pipeline,
                sink,
                target_name = delivery.target(),
                correlation_id = %change.id,
                schema_version = change.headers.get(SCHEMA_VERSION),
                collection = %change.namespace.collection(),
                operation = change.operation.as_str(),
                document_id = %change.document_id(),
                chosen_fields = %Chosen(change, &self.0.log_fields),
                "change delivered"
            );
        }
    }
}

fn stopped(fault: Fault) -> Fault {
    Fault::fatal(Code::DeadLetterWrite, format!("the dead letter cannot be written: {}", fault.message))
}

/// The fields of the document that the operator wants to see in the log, as a JSON object.
struct Chosen<'a>(&'a Change, &'a [String]);

impl std::fmt::Display for Chosen<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("{")?;
        let document = self.0.document.as_ref().filter(|_| !self.1.is_empty());
        let found = document.into_iter().flat_map(|document| {
            self.1.iter().filter_map(|name| Some((name, document.as_raw().get(name).ok().flatten()?)))
        });
        for (at, (name, value)) in found.enumerate() {
            let mut text = Vec::new();
            crate::format::json::write_value(&mut text, value, crate::format::json::Style::Plain);
            let comma = if at > 0 { "," } else { "" };
            write!(f, "{comma}{}:{}", serde_json::Value::from(name.as_str()), String::from_utf8_lossy(&text))?;
        }
        f.write_str("}")
    }
}
