//! Dead letters: changes that a stage, a sink or a source could not take, kept with the reason and fit to be fed back.
//!
//! ```json
//! {"at":"2026-01-31T12:00:00.000Z","reason":"...","stage":"...","plugin":"...","generation":1,
//!  "violations":[{"path":"...","message":"..."}],"id":"...","change":{...}}
//! ```
//! The change is written as in [`crate::format::lines`]; what was no change at all stands under `raw` instead. Members without
//! a value are left out. A file of dead letters is a file of changes: a `file` source reads it as it is.

use redis::{Cmd, Pipeline, Value, aio::ConnectionLike as _};

use crate::{
    change::Change,
    config::{DeadLetterConfig, RedisDeadLetterConfig},
    error::{Code, Fault},
    files::AppendFile,
    format::{
        json::write_str,
        lines::write_change,
        time::{now_millis, write_iso8601},
    },
    redis::{Connector, told},
};

/// What a dead letter is about.
#[derive(Clone, Debug)]
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
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// What it is about.
    pub letter: Letter,
    /// Which part of the pipeline gave it up: `source`, the stage, or the sink by name.
    pub stage: String,
    /// The plugin of a stage.
    pub plugin: Option<String>,
    /// The generation of that plugin.
    pub generation: Option<u64>,
    /// Why.
    pub reason: String,
    /// What a validator found: path in the document and message.
    pub violations: Vec<(String, String)>,
    /// When, in milliseconds since 1970.
    pub at: i64,
}

impl DeadLetter {
    /// A dead letter of now, without plugin and violations.
    pub fn new(letter: Letter, stage: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            letter,
            stage: stage.into(),
            plugin: None,
            generation: None,
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

    /// Writes it as a JSON object, without a line end.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"at\":\"");
        write_iso8601(out, self.at, true);
        out.extend_from_slice(b"\",\"reason\":");
        write_str(out, &self.reason);
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
        out.push(b'}');
    }
}

/// Where dead letters are kept.
pub enum DeadLetterWriter {
    /// A file.
    File(AppendFile),
    /// A Redis stream: `id`, `reason`, `plugin` and the whole letter as JSON in `dead_letter`.
    Redis(Box<RedisDeadLetters>),
}

/// Dead letters in a Redis stream.
pub struct RedisDeadLetters {
    connector: Connector,
    stream: String,
}

impl DeadLetterWriter {
    /// The place a configuration names; nothing is opened yet.
    pub fn new(config: &DeadLetterConfig) -> Self {
        match config {
            DeadLetterConfig::File(config) => Self::file(config.path.clone()),
            DeadLetterConfig::Redis(config) => Self::Redis(Box::new(RedisDeadLetters::new(config))),
        }
    }

    /// A file, such as the default `STATE_DIR/PIPELINE.dead.jsonl`.
    pub fn file(path: impl Into<std::path::PathBuf>) -> Self {
        Self::File(AppendFile::new(path.into(), Code::DeadLetterWrite))
    }

    /// Opens the file or connects.
    ///
    /// # Errors
    /// When that fails; transient when trying again may help.
    pub async fn open(&mut self) -> Result<(), Fault> {
        match self {
            Self::File(file) => file.open().await,
            Self::Redis(redis) => redis.ping().await,
        }
    }

    /// Keeps dead letters. All of them are durable, as far as the place promises, when this returns.
    ///
    /// # Errors
    /// When they could not be kept; on a second try some may be kept twice.
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
        }
    }
}

impl RedisDeadLetters {
    fn new(config: &RedisDeadLetterConfig) -> Self {
        Self { connector: Connector::new(config.url.clone(), config.timeout.0), stream: config.stream.clone() }
    }

    async fn ping(&mut self) -> Result<(), Fault> {
        let mut connection = self.connector.connection().await?;
        match redis::cmd("PING").query_async::<Value>(&mut connection).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.connector.lost(&error)),
        }
    }

    async fn write(&mut self, letters: &[DeadLetter]) -> Result<(), Fault> {
        let mut connection = self.connector.connection().await?;
        let mut commands = Pipeline::with_capacity(letters.len());
        commands.atomic();
        for letter in letters {
            let mut text = Vec::new();
            letter.write_json(&mut text);
            let mut command = Cmd::with_capacity(11, text.len() + letter.reason.len() + 128);
            command.arg("XADD").arg(&self.stream).arg("*").arg("id").arg(letter.id()).arg("reason").arg(&letter.reason);
            if let Some(plugin) = &letter.plugin {
                command.arg("plugin").arg(plugin);
            }
            command.arg("dead_letter").arg(text);
            commands.add_command(command);
        }
        let replies = match connection.req_packed_commands(&commands, letters.len() + 1, 1).await {
            Ok(replies) => replies,
            Err(error) => return Err(self.connector.lost(&error)),
        };
        let replies = match replies.into_iter().next() {
            Some(Value::Array(replies)) if replies.len() == letters.len() => replies,
            Some(Value::ServerError(error)) => return Err(self.connector.rejected(&error)),
            _ => {
                self.connector.disconnect();
                let message = format!("Redis at {} gave no reply for each dead letter", self.connector.place());
                return Err(Fault::transient(Code::DeadLetterWrite, message));
            }
        };
        // All go to one stream, so what the server refuses of one it refuses of all.
        let refused = replies.into_iter().find_map(|reply| match reply {
            Value::ServerError(error) => Some(error),
            _ => None,
        });
        match refused {
            None => Ok(()),
            Some(error) => Err(Fault::fatal(
                Code::DeadLetterWrite,
                format!(
                    "dead letters cannot be added to the stream `{}` of Redis at {}: {}",
                    self.stream,
                    self.connector.place(),
                    told(&error)
                ),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{DeadLetter, DeadLetterWriter, Letter};
    use crate::format::lines::read_change;

    #[tokio::test]
    async fn dead_letters_are_lines_that_can_be_fed_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dead.jsonl");
        let mut writer = DeadLetterWriter::file(&path);
        writer.open().await.unwrap();
        let change = read_change(br#"{"op":"insert","ns":"d.c","doc":{"_id":1}}"#, "in:1").unwrap();
        let rejected = DeadLetter {
            plugin: Some("validator".into()),
            generation: Some(3),
            violations: vec![("quantity".into(), "is \"negative\"".into())],
            at: 0,
            ..DeadLetter::new(Letter::Change(Box::new(change.clone())), "1", "2 violations")
        };
        let raw = Letter::Raw { id: "in:2".into(), raw: "no {change".into() };
        writer.write(&[rejected, DeadLetter::new(raw, "source", "in:2:1: expected value")]).await.unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let first: serde_json::Value = serde_json::from_str(lines[0]).unwrap();
        assert_eq!(first["at"], "1970-01-01T00:00:00.000Z");
        assert_eq!(first["generation"], 3);
        assert_eq!(first["violations"][0]["message"], "is \"negative\"");
        assert_eq!(read_change(lines[0].as_bytes(), "dead:1").unwrap(), change);
        let second: serde_json::Value = serde_json::from_str(lines[1]).unwrap();
        assert_eq!((&second["raw"], &second["id"]), (&"no {change".into(), &"in:2".into()));
        assert!(read_change(lines[1].as_bytes(), "dead:2").is_err());
    }
}
