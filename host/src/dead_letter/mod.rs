//! Dead letters: changes that a stage, a sink or a source could not take, kept with the reason, looked at, and replayed.
//!
//! ```json
//! {"at":"2026-01-31T12:00:00.000Z","kind":"rejected","reason":"...","pipeline":"...","stage":"...","plugin":"...",
//!  "generation":1,"plugin_version":"...","plugin_digest":"...","violations":[{"path":"...","message":"..."}],"id":"...","change":{...},"original":{...}}
//! ```
//! The change is written as in [`crate::format::lines`], as the stage got it; `original` is the same change as the source read
//! it, where an earlier stage made another of it. What was no change at all stands under `raw` instead. Members without a
//! value are left out. A file of dead letters is a file of changes: a `file` source reads it as it is.
//!
//! One letter has one key, `PIPELINE/CHANGE_ID/STAGE`. A host that was killed between a letter and its checkpoint writes it
//! again with the same key: a MongoDB collection then holds it once, and what reads a file or a stream shows it once.

mod file;
pub mod letters;
mod marks;
pub(crate) mod mongodb;
mod read;
mod redis;
#[cfg(test)]
mod tests;

use crate::{
    change::Change,
    config::DeadLetterConfig,
    error::{Code, Fault},
    files::AppendFile,
    format::{
        json::write_str,
        lines::write_change,
        time::{now_millis, write_iso8601},
    },
    telemetry::metrics::DeadLetterKind,
};

pub use letters::{Kept, Letters, Select, State};
pub use marks::{Again, Mark, MarkState};

/// What a dead letter is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Letter {
    /// A change.
    Change(Box<Change>),
    /// Text that was no change.
    Raw {
        /// Derived from where it stood.
        id: bytestring::ByteString,
        /// The text.
        raw: String,
    },
}

/// One dead letter.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// What it is about.
    pub letter: Letter,
    /// The change as the source read it, where an earlier stage made another of it.
    pub original: Option<Box<Change>>,
    /// The pipeline that gave it up.
    pub pipeline: String,
    /// Why, in one word.
    pub kind: DeadLetterKind,
    /// Which part of the pipeline gave it up: `source`, `stages[N]`, or `sinks.NAME`.
    pub stage: String,
    /// The plugin of a stage.
    pub plugin: Option<String>,
    /// The generation of that plugin.
    pub generation: Option<u64>,
    /// The version of that plugin, as its manifest says.
    pub plugin_version: Option<String>,
    /// SHA-256 of that plugin's file.
    pub plugin_digest: Option<String>,
    /// Why, in a sentence.
    pub reason: String,
    /// What a validator found: path in the document and message.
    pub violations: Vec<(String, String)>,
    /// When, in milliseconds since 1970.
    pub at: i64,
}

impl DeadLetter {
    /// A dead letter of now, without plugin and violations.
    pub fn new(
        pipeline: &str,
        kind: DeadLetterKind,
        letter: Letter,
        stage: impl Into<String>,
        reason: impl Into<String>,
    ) -> Self {
        Self {
            letter,
            original: None,
            pipeline: pipeline.to_owned(),
            kind,
            stage: stage.into(),
            plugin: None,
            generation: None,
            plugin_version: None,
            plugin_digest: None,
            reason: reason.into(),
            violations: Vec::new(),
            at: now_millis(),
        }
    }

    /// Id of the change, or of the text.
    pub fn id(&self) -> &str {
        match &self.letter {
            Letter::Change(change) => &change.id,
            Letter::Raw { id, .. } => id,
        }
    }

    /// The change, where it is one.
    pub fn change(&self) -> Option<&Change> {
        match &self.letter {
            Letter::Change(change) => Some(change),
            Letter::Raw { .. } => None,
        }
    }

    /// What makes two letters the same one: `PIPELINE/CHANGE_ID/STAGE`.
    pub fn key(&self) -> String {
        format!("{}/{}/{}", self.pipeline, self.id(), self.stage)
    }

    /// Writes it as a JSON object, without a line end.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"at\":\"");
        write_iso8601(out, self.at, true);
        out.extend_from_slice(b"\",\"kind\":\"");
        out.extend_from_slice(self.kind.as_str().as_bytes());
        out.extend_from_slice(b"\",\"reason\":");
        write_str(out, &self.reason);
        out.extend_from_slice(b",\"pipeline\":");
        write_str(out, &self.pipeline);
        out.extend_from_slice(b",\"stage\":");
        write_str(out, &self.stage);
        if let Some(plugin) = &self.plugin {
            out.extend_from_slice(b",\"plugin\":");
            write_str(out, plugin);
        }
        if let Some(generation) = self.generation {
            out.extend_from_slice(b",\"generation\":");
            out.extend_from_slice(itoa::Buffer::new().format(generation).as_bytes());
        }
        for (name, value) in
            [(",\"plugin_version\":", &self.plugin_version), (",\"plugin_digest\":", &self.plugin_digest)]
        {
            if let Some(value) = value {
                out.extend_from_slice(name.as_bytes());
                write_str(out, value);
            }
        }
        if !self.violations.is_empty() {
            out.extend_from_slice(b",\"violations\":[");
            for (index, (path, message)) in self.violations.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(b"{\"path\":");
                write_str(out, path);
                out.extend_from_slice(b",\"message\":");
                write_str(out, message);
                out.push(b'}');
            }
            out.push(b']');
        }
        out.extend_from_slice(b",\"id\":");
        write_str(out, self.id());
        match &self.letter {
            Letter::Change(change) => {
                out.extend_from_slice(b",\"change\":");
                write_change(out, change);
            }
            Letter::Raw { raw, .. } => {
                out.extend_from_slice(b",\"raw\":");
                write_str(out, raw);
            }
        }
        if let Some(original) = &self.original {
            out.extend_from_slice(b",\"original\":");
            write_change(out, original);
        }
        out.push(b'}');
    }

    /// The same as bytes.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_json(&mut out);
        out
    }
}

/// Where dead letters are kept.
pub enum DeadLetterWriter {
    /// A file.
    File(AppendFile),
    /// A Redis stream.
    Redis(Box<redis::RedisDeadLetters>),
    /// A MongoDB collection.
    Mongodb(Box<mongodb::MongodbDeadLetters>),
}

impl DeadLetterWriter {
    /// The place a configuration names; nothing is opened yet.
    pub fn new(config: &DeadLetterConfig) -> Self {
        match config {
            DeadLetterConfig::File(config) => Self::file(config.path.clone()),
            DeadLetterConfig::Redis(config) => Self::Redis(Box::new(redis::RedisDeadLetters::new(config))),
            DeadLetterConfig::Mongodb(config) => Self::Mongodb(Box::new(mongodb::MongodbDeadLetters::new(config))),
        }
    }

    /// A file, such as the default `STATE_DIR/PIPELINE.dead.jsonl`.
    pub fn file(path: impl Into<std::path::PathBuf>) -> Self {
        Self::File(AppendFile::new(path.into(), Code::DeadLetterWrite))
    }

    /// Whether letters could be kept there, as far as it can be told without keeping one.
    pub(crate) async fn examine(&mut self) -> Vec<crate::doctor::Finding> {
        match self {
            Self::File(_) => Vec::new(),
            Self::Redis(redis) => redis.examine().await,
            Self::Mongodb(mongodb) => mongodb.examine().await,
        }
    }

    /// Opens the file or connects.
    ///
    /// # Errors
    /// When that fails; transient when trying again may help.
    pub async fn open(&mut self) -> Result<(), Fault> {
        match self {
            Self::File(file) => file.open().await,
            Self::Redis(redis) => redis.ping().await,
            Self::Mongodb(mongodb) => mongodb.open().await,
        }
    }

    /// Keeps dead letters. All of them are durable, as far as the place promises, when this returns.
    ///
    /// # Errors
    /// When they could not be kept. On a second try a file or a stream may hold some twice; they have the same key.
    pub async fn write(&mut self, letters: &[DeadLetter]) -> Result<(), Fault> {
        if letters.is_empty() {
            return Ok(());
        }
        match self {
            Self::File(file) => {
                let mut lines = Vec::new();
                for letter in letters {
                    letter.write_json(&mut lines);
                    lines.push(b'\n');
                }
                file.append(lines).await
            }
            Self::Redis(redis) => redis.write(letters).await,
            Self::Mongodb(mongodb) => mongodb.write(letters).await,
        }
    }
}
