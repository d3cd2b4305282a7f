//! Dead letters in a Redis stream: an entry each, with `id`, `kind`, `stage`, `reason`, `plugin` and the whole letter as JSON in
//! `dead_letter`. Marks stand in the hash `STREAM:marks`, by the key of the letter.

use redis::{Cmd, FromRedisValue, Pipeline, Value, aio::ConnectionLike as _};

use super::{
    DeadLetter, Kept, Mark,
    letters::{Found, PAGE},
};
use crate::{
    config::RedisDeadLetterConfig,
    doctor::Finding,
    error::{Code, Fault},
    redis::{Connector, told},
};

/// Writes to the stream.
pub struct RedisDeadLetters {
    connector: Connector,
    stream: String,
}

impl RedisDeadLetters {
    pub(super) fn new(config: &RedisDeadLetterConfig) -> Self {
        let rights = format!("~{} +ping +multi +exec +xadd", config.stream);
        Self {
            connector: Connector::new(config.url.clone(), config.timeout.0).tls(&config.tls).rights(rights),
            stream: config.stream.clone(),
        }
    }

    pub(super) async fn examine(&mut self) -> Vec<Finding> {
        self.connector.examine(true).await.0
    }

    pub(super) async fn ping(&mut self) -> Result<(), Fault> {
        let mut connection = self.connector.connection().await?;
        match redis::cmd("PING").query_async::<Value>(&mut connection).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.connector.lost(&error)),
        }
    }

    pub(super) async fn write(&mut self, letters: &[DeadLetter]) -> Result<(), Fault> {
        let mut connection = self.connector.connection().await?;
        let mut commands = Pipeline::with_capacity(letters.len());
        commands.atomic();
        for letter in letters {
            let text = letter.to_json();
            let mut command = Cmd::with_capacity(15, text.len() + letter.reason.len() + 128);
            command.arg("XADD").arg(&self.stream).arg("*").arg("id").arg(letter.id());
            command.arg("kind").arg(letter.kind.as_str()).arg("stage").arg(&letter.stage);
            command.arg("reason").arg(&letter.reason);
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

/// Reads the stream.
pub(super) struct RedisLetters {
    connector: Connector,
    stream: String,
    pipeline: String,
    /// The entry after the last one read.
    from: String,
}

type Entry = (String, Vec<(String, Vec<u8>)>);

impl RedisLetters {
    pub(super) fn new(config: &RedisDeadLetterConfig, pipeline: &str) -> Self {
        let commands = "+xrange +hmget +hset +multi +exec +xdel +hdel";
        let rights = format!("~{0} ~{0}:marks {commands}", config.stream);
        Self {
            connector: Connector::new(config.url.clone(), config.timeout.0).tls(&config.tls).rights(rights),
            stream: config.stream.clone(),
            pipeline: pipeline.to_owned(),
            from: "-".to_owned(),
        }
    }

    fn marks(&self) -> String {
        format!("{}:marks", self.stream)
    }

    async fn ask<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, Fault> {
        let mut connection = self.connector.connection().await?;
        command.query_async(&mut connection).await.map_err(|error| self.connector.lost(&error))
    }

    pub(super) async fn page(&mut self) -> Result<Vec<Found>, Fault> {
        loop {
            let mut range = redis::cmd("XRANGE");
            range.arg(&self.stream).arg(&self.from).arg("+").arg("COUNT").arg(PAGE);
            let entries: Vec<Entry> = self.ask(&range).await?;
            let Some((last, _)) = entries.last() else { return Ok(Vec::new()) };
            self.from = after(last);
            let mut page: Vec<Found> = entries.into_iter().filter_map(|entry| self.found(entry)).collect();
            // A stream may hold the letters of other pipelines alone for long.
            if page.is_empty() {
                continue;
            }
            let mut asked = redis::cmd("HMGET");
            asked.arg(self.marks());
            for found in &page {
                asked.arg(&found.key);
            }
            let marks: Vec<Option<Vec<u8>>> = self.ask(&asked).await?;
            for (found, mark) in page.iter_mut().zip(marks) {
                found.mark = mark.and_then(|text| serde_json::from_slice(&text).ok());
            }
            return Ok(page);
        }
    }

    fn found(&self, (entry, fields): Entry) -> Option<Found> {
        let text = fields.into_iter().find_map(|(name, value)| (name == "dead_letter").then_some(value));
        let letter = match &text {
            Some(text) => DeadLetter::read_json(text, &self.pipeline),
            None => Err("it has no field `dead_letter`".to_owned()),
        };
        if letter.as_ref().is_ok_and(|letter| letter.pipeline != self.pipeline) {
            return None;
        }
        let letter =
            letter.map_err(|cause| format!("entry {entry} of the stream `{}` is no dead letter: {cause}", self.stream));
        let key = letter.as_ref().map(DeadLetter::key).unwrap_or_default();
        Some(Found { letter, key, mark: None, entry, size: text.map_or(0, |text| text.len()), parts: 0 })
    }

    pub(super) async fn mark(&mut self, marks: &[Mark]) -> Result<(), Fault> {
        let mut command = redis::cmd("HSET");
        command.arg(self.marks());
        for mark in marks {
            let text = serde_json::to_vec(mark)
                .map_err(|cause| Fault::fatal(Code::Internal, format!("a mark cannot be written: {cause}")))?;
            command.arg(&mark.key).arg(text);
        }
        self.ask(&command).await
    }

    pub(super) async fn remove(&mut self, letters: &[Kept]) -> Result<(), Fault> {
        if letters.is_empty() {
            return Ok(());
        }
        let mut commands = Pipeline::new();
        commands.atomic().cmd("XDEL").arg(&self.stream);
        for kept in letters {
            commands.arg(&kept.entry);
        }
        commands.ignore().cmd("HDEL").arg(self.marks());
        for kept in letters {
            commands.arg(&kept.key);
        }
        commands.ignore();
        let mut connection = self.connector.connection().await?;
        commands.query_async(&mut connection).await.map_err(|error| self.connector.lost(&error))
    }
}

/// The smallest id behind this one. Not `(ID`, which servers before 6.2 do not know.
fn after(entry: &str) -> String {
    match entry.split_once('-').and_then(|(time, number)| Some((time, number.parse::<u64>().ok()?))) {
        Some((time, number)) => match number.checked_add(1) {
            Some(next) => format!("{time}-{next}"),
            None => format!("{}-0", time.parse::<u64>().unwrap_or_default().saturating_add(1)),
        },
        None => format!("{entry}-1"),
    }
}
