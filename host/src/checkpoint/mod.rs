//! Stored positions.

pub mod file;

use std::future::Future;

use serde::{Deserialize, Serialize};

use crate::{error::Fault, position::Position};

/// What a checkpoint says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Kind and place of the source, without secrets: [`crate::source::AnySource::describe`].
    pub source: String,
    /// Where the source goes on: every change before it is safe at every sink, or in the dead letter.
    pub position: Position,
    /// Batches that were safe when this was written, counted from the start of that run.
    pub batches: u64,
    /// When this was written, RFC 3339 in UTC.
    pub at: String,
    /// The plugins that were running, by name: what an operator wants to know after a crash.
    #[serde(default)]
    pub generations: std::collections::BTreeMap<String, StoredGeneration>,
}

/// A plugin that was running when a checkpoint was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredGeneration {
    /// Counted from 1 in that run.
    pub generation: u64,
    /// SHA-256 of the component, hexadecimal.
    pub digest: String,
}

/// Keeps one checkpoint for each pipeline.
pub trait CheckpointStore: Send + Sync {
    /// The checkpoint of a pipeline; none when it has never run. `source` is what it reads from now: a checkpoint of
    /// another kind of source is refused.
    ///
    /// # Errors
    /// Fatal, when there is one that cannot be read or used.
    fn load(&self, pipeline: &str, source: &str) -> impl Future<Output = Result<Option<Stored>, Fault>> + Send;

    /// Replaces the checkpoint. It is durable when this returns; a crash leaves either the old or the new one.
    ///
    /// # Errors
    /// When it cannot be written; the old one is then still there.
    fn store(&self, pipeline: &str, stored: &Stored) -> impl Future<Output = Result<(), Fault>> + Send;
}
