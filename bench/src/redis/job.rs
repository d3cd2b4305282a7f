//! What is done, and by whom: each job once by a loop that a person would write, and by tidegate.

use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Value, json};

/// A way for entries of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Job {
    /// `XREAD` of entries with plain fields, as JSON Lines into a file.
    Read,
    /// The same as a consumer of a group, which acknowledges them.
    Group,
    /// `XREAD` of what a tidegate wrote (JSON), as it is into another stream.
    Chain,
    /// Documents (BSON) into a stream, as JSON.
    Stream,
    /// Documents (BSON) into a string each, as JSON.
    String,
    /// Documents (BSON) into a hash each.
    Hash,
}

/// Where a job ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Standard output, which is a file.
    Lines,
    /// The stream [`OUT`].
    Entries,
    /// A string for each document.
    Strings,
    /// A hash for each document.
    Hashes,
}

/// The stream that is written to.
pub(super) const OUT: &str = "tidegate-bench:out";
/// The consumer group.
pub(super) const GROUP: &str = "tidegate-bench";
/// Names of keys of documents: the database and collection, and the `_id`.
pub(super) const KEYS: &str = "bench:inventory:";

impl Job {
    pub(super) const ALL: [Self; 6] = [Self::Read, Self::Group, Self::Chain, Self::Stream, Self::String, Self::Hash];

    /// A heading.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Read => "Source: `XREAD` into JSON Lines",
            Self::Group => "Source: `XREADGROUP` and `XACK` into JSON Lines",
            Self::Chain => "A chain: entries of a tidegate into another stream",
            Self::Stream => "Sink: `mode: stream`",
            Self::String => "Sink: `mode: string`",
            Self::Hash => "Sink: `mode: hash`",
        }
    }

    /// The stream that is read.
    pub(super) const fn input(self) -> &'static str {
        match self {
            Self::Read | Self::Group => "tidegate-bench:fields",
            Self::Chain => "tidegate-bench:json",
            Self::Stream | Self::String | Self::Hash => "tidegate-bench:bson",
        }
    }

    pub(super) const fn output(self) -> Output {
        match self {
            Self::Read | Self::Group => Output::Lines,
            Self::Chain | Self::Stream => Output::Entries,
            Self::String => Output::Strings,
            Self::Hash => Output::Hashes,
        }
    }

    /// Who does it. A group has no position, and standard output keeps none.
    pub(super) const fn contenders(self) -> &'static [Contender] {
        match self.output() {
            Output::Lines => &[Contender::Bare, Contender::File, Contender::BareAgain],
            _ => &[Contender::Bare, Contender::File, Contender::Sink, Contender::BareAgain],
        }
    }

    /// `source.redis`, but for the URL.
    pub(super) fn source(self) -> Value {
        let mut source = json!({ "streams": [self.input()] });
        match self {
            Self::Read => {}
            Self::Group => source["group"] = json!({ "name": GROUP, "consumer": "bench" }),
            Self::Chain => source["entries"] = json!("tidegate"),
            Self::Stream | Self::String | Self::Hash => {
                source["entries"] = json!("tidegate");
                source["format"] = json!("bson");
            }
        }
        source
    }

    /// `sinks.out.redis`, but for the URL; none: `stdout`.
    pub(super) fn sink(self) -> Option<Value> {
        match self {
            Self::Read | Self::Group => None,
            Self::Chain | Self::Stream => Some(json!({ "stream": OUT })),
            Self::String => Some(json!({ "mode": "string" })),
            Self::Hash => Some(json!({ "mode": "hash" })),
        }
    }
}

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Contender {
    /// A loop with the same client library, pipelines, and nothing else.
    Bare,
    /// tidegate with its checkpoint in a file.
    File,
    /// tidegate with its checkpoint in the sink: effectively once.
    Sink,
    /// The bare loop again: what differs is noise.
    BareAgain,
}

impl Contender {
    pub(super) const fn title(self, job: Job) -> &'static str {
        match (self, job) {
            (Self::Bare, _) => "bare loop",
            (Self::File, Job::Group) => "tidegate",
            (Self::File, _) => "tidegate, `checkpoint: file`",
            (Self::Sink, _) => "tidegate, `checkpoint: sink`",
            (Self::BareAgain, _) => "bare loop again",
        }
    }

    pub(super) const fn is_bare(self) -> bool {
        matches!(self, Self::Bare | Self::BareAgain)
    }
}
