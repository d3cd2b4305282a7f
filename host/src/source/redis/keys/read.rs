//! What keys there are, and what they hold.

use std::collections::HashSet;

use redis::{
    Pipeline, RedisError, ServerError, Value,
    aio::{ConnectionLike as _, MultiplexedConnection},
};

use super::{
    super::look::is_pattern,
    value::{document, read, type_of},
};
use crate::{
    change::Doc,
    config::{KeyType, KeysConfig},
    redis::glob,
};

/// Keys that one step of a scan looks at.
const STEP: usize = 1000;
/// Bytes of keys that are read at once.
const BYTES: u64 = 8 << 20;
/// The largest document that MongoDB takes.
const DOCUMENT: usize = 16 << 20;

/// The keys that are wanted.
#[derive(Clone)]
pub(super) struct Selection {
    matching: Vec<String>,
    exclude: Vec<String>,
    types: Vec<KeyType>,
}

impl Selection {
    pub(super) fn new(config: &KeysConfig) -> Self {
        let types = if config.types.is_empty() { KeyType::ALL.to_vec() } else { config.types.clone() };
        Self { matching: config.patterns.clone(), exclude: config.exclude.clone(), types }
    }

    pub(super) fn has(&self, key: &[u8]) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| glob::matches(pattern.as_bytes(), key));
        any(&self.matching) && !any(&self.exclude)
    }

    pub(super) fn patterns(&self) -> &[String] {
        &self.matching
    }

    fn has_type(&self, name: &[u8]) -> Option<KeyType> {
        type_of(name).filter(|kind| self.types.contains(kind))
    }
}

/// Why there is no answer.
pub(super) enum NoRead {
    Error(RedisError),
    Server(ServerError),
    /// What it answered to with something unknown.
    Strange(&'static str),
}

impl From<RedisError> for NoRead {
    fn from(error: RedisError) -> Self {
        Self::Error(error)
    }
}

/// What a key holds.
pub(super) enum Held {
    /// Nothing, or what is not wanted.
    Nothing,
    Value(Doc),
    /// What cannot be mirrored, and why.
    Unfit(String),
}

/// A walk over all keys that match.
#[derive(Default)]
pub(super) struct Walk {
    pattern: usize,
    cursor: Option<Vec<u8>>,
}

impl Walk {
    /// The next keys, some of which may have come before; none at the end.
    pub(super) async fn next(
        &mut self,
        connection: &mut MultiplexedConnection,
        selection: &Selection,
    ) -> Result<Option<Vec<Vec<u8>>>, NoRead> {
        let Some(pattern) = selection.matching.get(self.pattern) else { return Ok(None) };
        if !is_pattern(pattern) {
            self.pattern += 1;
            return Ok(Some(vec![pattern.clone().into_bytes()]));
        }
        let mut scan = redis::cmd("SCAN");
        let cursor = self.cursor.as_deref().unwrap_or(b"0");
        scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(STEP);
        if let [one] = selection.types.as_slice() {
            scan.arg("TYPE").arg(one.as_str());
        }
        let (next, keys): (Vec<u8>, Vec<Vec<u8>>) = scan.query_async(connection).await?;
        if next == b"0" {
            (self.pattern, self.cursor) = (self.pattern + 1, None);
        } else {
            self.cursor = Some(next);
        }
        Ok(Some(keys))
    }
}

/// Keys that are to be read, with what is known of them.
pub(super) struct Wanted {
    keys: Vec<(Vec<u8>, Option<KeyType>, u64)>,
    /// Those that became something else since they were looked at.
    pub(super) turned: Vec<Vec<u8>>,
}

/// How keys are read.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    /// Bytes that a key may take in the server's memory.
    pub(super) max_bytes: u64,
    pub(super) expiry: Expiry,
}

/// How it is asked when a key expires.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Expiry {
    /// It does not matter.
    Ignored,
    /// The server tells when that is (7.0).
    At,
    /// The server tells how long that is from now.
    In,
}

impl Wanted {
    /// Asks what each of these keys is, and how big.
    pub(super) async fn look(
        connection: &mut MultiplexedConnection,
        selection: &Selection,
        keys: Vec<Vec<u8>>,
    ) -> Result<Self, NoRead> {
        let mut seen = HashSet::with_capacity(keys.len());
        let keys: Vec<Vec<u8>> = keys.into_iter().filter(|key| seen.insert(key.clone())).collect();
        let mut questions = Pipeline::with_capacity(2 * keys.len());
        for key in &keys {
            questions.cmd("TYPE").arg(key.as_slice());
            questions.cmd("MEMORY").arg("USAGE").arg(key.as_slice());
        }
        let answers = ask(connection, &questions, 2 * keys.len()).await?;
        let mut wanted = Vec::with_capacity(keys.len());
        for (key, answer) in keys.into_iter().zip(answers.chunks_exact(2)) {
            let (kind, bytes) = match answer {
                [Value::ServerError(error), _] | [_, Value::ServerError(error)] => {
                    return Err(NoRead::Server(error.clone()));
                }
                [Value::SimpleString(kind), bytes] => (selection.has_type(kind.as_bytes()), bytes),
                _ => return Err(NoRead::Strange("TYPE")),
            };
            match bytes {
                Value::Int(bytes) => wanted.push((key, kind, u64::try_from(*bytes).unwrap_or(0))),
                // It went away in between.
                Value::Nil => wanted.push((key, None, 0)),
                _ => return Err(NoRead::Strange("MEMORY USAGE")),
            }
        }
        wanted.reverse();
        Ok(Self { keys: wanted, turned: Vec::new() })
    }

    /// Reads the next of them, as many as fit; none at the end.
    pub(super) async fn next(
        &mut self,
        connection: &mut MultiplexedConnection,
        terms: Terms,
    ) -> Result<Option<Vec<(Vec<u8>, Held)>>, NoRead> {
        let (mut held, mut reading, mut bytes) = (Vec::new(), Vec::new(), 0);
        while let Some((key, kind, size)) = self.keys.pop() {
            match kind {
                None => held.push((key, Held::Nothing)),
                Some(_) if size > terms.max_bytes => {
                    let reason =
                        format!("it takes {size} bytes of the server's memory, `max_bytes` are {}", terms.max_bytes);
                    held.push((key, Held::Unfit(reason)));
                }
                Some(kind) => {
                    bytes += size;
                    reading.push((key, kind));
                    if bytes >= BYTES {
                        break;
                    }
                }
            }
        }
        if held.is_empty() && reading.is_empty() {
            return Ok(None);
        }
        let mut commands = Pipeline::with_capacity(2 * reading.len() + 1);
        let expiry = match terms.expiry {
            Expiry::Ignored => None,
            Expiry::At => Some("PEXPIRETIME"),
            Expiry::In => {
                commands.cmd("TIME");
                Some("PTTL")
            }
        };
        for (key, kind) in &reading {
            commands.add_command(read(*kind, key));
            if let Some(expiry) = expiry {
                commands.cmd(expiry).arg(key.as_slice());
            }
        }
        let count = commands.len();
        let mut answers = ask(connection, &commands, count).await?.into_iter();
        let since = match terms.expiry {
            Expiry::In => match answers.next() {
                Some(Value::ServerError(error)) => return Err(NoRead::Server(error)),
                answer => answer.as_ref().and_then(milliseconds).ok_or(NoRead::Strange("TIME"))?,
            },
            Expiry::At | Expiry::Ignored => 0,
        };
        for (key, kind) in reading {
            let answer = answers.next().ok_or(NoRead::Strange("a pipeline"))?;
            let expires = match expiry.and_then(|_| answers.next()) {
                Some(Value::Int(at)) if at >= 0 => Some(since + at),
                Some(Value::ServerError(error)) => return Err(NoRead::Server(error)),
                _ => None,
            };
            match answer {
                // It became something else since it was looked at.
                Value::ServerError(error) if error.code() == "WRONGTYPE" => self.turned.push(key),
                Value::ServerError(error) => return Err(NoRead::Server(error)),
                answer => held.push(match document(&key, kind, answer, expires) {
                    Ok(Some(document)) if document.as_bytes().len() > DOCUMENT => {
                        let length = document.as_bytes().len();
                        (key, Held::Unfit(format!("its document has {length} bytes, and MongoDB takes {DOCUMENT}")))
                    }
                    Ok(Some(document)) => (key, Held::Value(document)),
                    Ok(None) => (key, Held::Nothing),
                    Err(reason) => (key, Held::Unfit(reason)),
                }),
            }
        }
        Ok(Some(held))
    }
}

/// `TIME` in milliseconds.
fn milliseconds(time: &Value) -> Option<i64> {
    let number = |value: &Value| match value {
        Value::BulkString(text) => std::str::from_utf8(text).ok()?.parse::<i64>().ok(),
        _ => None,
    };
    match time {
        Value::Array(parts) => Some(number(parts.first()?)? * 1000 + number(parts.get(1)?)? / 1000),
        _ => None,
    }
}

async fn ask(connection: &mut MultiplexedConnection, commands: &Pipeline, count: usize) -> Result<Vec<Value>, NoRead> {
    if count == 0 {
        return Ok(Vec::new());
    }
    Ok(connection.req_packed_commands(commands, 0, count).await?)
}
