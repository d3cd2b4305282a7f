//! What a checkpoint says, wherever it is kept.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    error::{Code, Fault},
    position::Positions,
};

/// The form of a record that this program writes, and the newest it reads.
pub(super) const VERSION: u32 = 2;

/// A generation that touched what a checkpoint stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageGeneration {
    /// The plugin.
    pub plugin: String,
    /// Its generation in the run that wrote the checkpoint.
    pub generation: u64,
    /// As its manifest says; empty in checkpoints of before it was kept.
    #[serde(default)]
    pub version: String,
    /// SHA-256 of its file, in hexadecimal.
    pub digest: String,
}

/// What the positions of a record belong to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The form of the record.
    pub version: u32,
    /// The pipeline.
    pub pipeline: String,
    /// Its source, without secrets.
    pub source: String,
    /// Number of the batch in the run that wrote it.
    #[serde(default)]
    pub batch: u64,
    /// When it was written, RFC 3339.
    #[serde(default)]
    pub at: String,
    /// The plugins that ran then.
    #[serde(default)]
    pub stages: Vec<StageGeneration>,
}

impl About {
    /// Of now.
    pub fn new(pipeline: &str, source: &str, batch: u64, stages: Vec<StageGeneration>) -> Self {
        Self {
            version: VERSION,
            pipeline: pipeline.to_owned(),
            source: source.to_owned(),
            batch,
            at: humantime::format_rfc3339_millis(std::time::SystemTime::now()).to_string(),
            stages,
        }
    }

    /// Whether a pipeline may go on from here.
    ///
    /// # Errors
    /// [`Code::CheckpointUnreadable`]: it was written by a newer program, or belongs to another pipeline or source.
    pub fn check(&self, place: &str, pipeline: &str, source: &str) -> Result<(), Fault> {
        let why = if self.version > VERSION {
            format!("its form is {}, this program reads up to {VERSION}", self.version)
        } else if self.pipeline != pipeline {
            format!("it belongs to pipeline `{}`", self.pipeline)
        } else if kind(&self.source) != kind(source) {
            format!("it belongs to the source {}, the pipeline reads {source}", self.source)
        } else {
            return Ok(());
        };
        Err(unusable(place, pipeline, &why))
    }
}

/// The fault for a record that says nothing this pipeline can use.
pub(super) fn unusable(place: &str, pipeline: &str, why: &str) -> Fault {
    Fault::fatal(
        Code::CheckpointUnreadable,
        format!(
            "the checkpoint of pipeline `{pipeline}` in {place} cannot be used: {why}; to begin anew on purpose, run \
             `tidegate checkpoint reset CONFIG {pipeline}`"
        ),
    )
}

/// `mongodb` of `mongodb shop.orders`: other collections may be read from the same position, another system may not.
fn kind(source: &str) -> &str {
    source.split([' ', ',']).next().unwrap_or_default()
}

/// A host that runs a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Of its state directory, made at random: a host that starts again in it has the same.
    pub id: String,
    /// Name of the machine.
    pub host: String,
    /// Number of the process.
    pub pid: u32,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {} on {}", self.pid, self.host)
    }
}

/// What a store has of a pipeline.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Rises with each host that takes the pipeline over.
    pub fence: u64,
    /// None where nothing was stored yet.
    pub about: Option<About>,
    /// Where the pipeline stands.
    pub positions: Positions,
    /// Who runs it, and for how long that is good without a further sign.
    pub held: Option<(Holder, Duration)>,
}

/// What became of the wish to run a pipeline.
#[derive(Clone, Debug)]
pub enum Claim {
    /// It is ours, and nobody with a lower fence may write any more.
    Taken(Found),
    /// Another host runs it, for at least so long.
    Held(Holder, Duration),
}

/// The fault for a host that another one took the pipeline from.
pub fn fenced(pipeline: &str, place: &str, by: Option<&Holder>) -> Fault {
    let by = by.map_or_else(|| "another host".to_owned(), ToString::to_string);
    Fault::fatal(
        Code::Fenced,
        format!(
            "pipeline `{pipeline}` was taken over by {by} ({place}): this host writes nothing more; it was silent for longer than the \
             lease, or two hosts were started for one pipeline: stop one of them, or run them with --standby"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::About;

    #[test]
    fn what_is_foreign_is_refused() {
        let about = About::new("orders", "mongodb shop.orders", 1, Vec::new());
        let refused = |about: &About, pipeline: &str, source: &str| {
            about.check("here", pipeline, source).err().map(|fault| fault.message).unwrap_or_default()
        };
        assert_eq!(refused(&about, "orders", "mongodb shop.[orders,items]"), "");
        assert!(refused(&about, "orders", "file a.jsonl").contains("belongs to the source mongodb shop.orders"));
        assert!(refused(&about, "other", "mongodb shop.orders").contains("belongs to pipeline `orders`"));
        assert!(refused(&About { version: 3, ..about }, "orders", "mongodb shop").contains("its form is 3"));
    }
}
