//! What became of a letter after it was written: replayed, failed again, dropped.
//!
//! The host only ever adds letters. Marks stand beside them (a file of their own, a hash) so that nothing has to change what a
//! running host writes to; a MongoDB collection has them in the document.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use super::DeadLetter;
use crate::telemetry::metrics::DeadLetterKind;

/// What a mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MarkState {
    /// It was replayed, and the sinks have it.
    Replayed,
    /// It was replayed and failed again.
    Failed,
    /// It was given up.
    Dropped,
}

/// A mark on one letter. It holds for what was written before it: a letter that comes in again later is open again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Key of the letter.
    pub key: String,
    /// What became of it.
    pub state: MarkState,
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// How it failed again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<Box<Again>>,
}

/// How a letter failed when it was replayed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Again {
    /// As in a letter.
    pub kind: String,
    /// As in a letter.
    pub stage: String,
    /// As in a letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    /// As in a letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// As in a letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin_version: Option<String>,
    /// As in a letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin_digest: Option<String>,
    /// As in a letter.
    pub reason: String,
    /// As in a letter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub violations: Vec<(String, String)>,
    /// The sinks that refused it, where all others have it: the next replay writes to these alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sinks: Vec<String>,
}

impl Mark {
    /// Whether it speaks of this writing of the letter.
    pub(super) fn covers(&self, letter: &DeadLetter) -> bool {
        letter.at <= self.at
    }
}

impl Again {
    /// Puts the newest failure in place of the first one.
    pub(super) fn overlay(&self, letter: &mut DeadLetter) {
        letter.kind = DeadLetterKind::from_name(&self.kind).unwrap_or(letter.kind);
        letter.stage.clone_from(&self.stage);
        letter.plugin.clone_from(&self.plugin);
        letter.generation = self.generation;
        letter.plugin_version.clone_from(&self.plugin_version);
        letter.plugin_digest.clone_from(&self.plugin_digest);
        letter.reason.clone_from(&self.reason);
        letter.violations.clone_from(&self.violations);
    }
}

/// A key in sixteen bytes: what is remembered of a letter for as long as letters are read.
pub(super) fn short(key: &str) -> u128 {
    xxh3_128(key.as_bytes())
}
