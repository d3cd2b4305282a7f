//! Which streams there are, and what the server says of each.

use std::collections::BTreeMap;

use redis::{
    RedisError, Value,
    aio::{ConnectionLike as _, MultiplexedConnection},
};

use super::place::{EntryId, Place};

/// Keys that one step of a scan looks at, and questions that go to the server at once.
const STEP: usize = 1000;

/// The streams that are wanted.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    names: Vec<Vec<u8>>,
    patterns: Vec<String>,
}

/// Whether a name is a pattern, in the server's sense.
pub(super) fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '[', '\\'])
}

impl Selection {
    pub(super) fn new(streams: &[String]) -> Self {
        let (patterns, names): (Vec<String>, Vec<String>) = streams.iter().cloned().partition(|name| is_pattern(name));
        Self { names: names.into_iter().map(String::into_bytes).collect(), patterns }
    }

    /// Whether a stream is given by its name: it is waited for where it is not there.
    pub(super) fn names(&self, key: &[u8]) -> bool {
        self.names.iter().any(|name| name == key)
    }
}

/// What a key is.
#[derive(Clone, Debug)]
pub(super) enum Looked {
    /// Nothing yet, or nothing any more.
    Gone,
    /// A stream.
    Stream(Info),
    /// Something else.
    Other,
}

/// What the server says of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Info {
    length: u64,
    /// The id of the newest entry that was ever added.
    pub(super) last: EntryId,
    /// The oldest entry that is there.
    first: Option<EntryId>,
    /// How many entries were ever added; servers since 7.0 know.
    pub(super) added: Option<u64>,
    /// The newest entry that was taken out by name; likewise.
    pub(super) deleted: EntryId,
}

/// What became of a stream since it was read last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// All that was not read is there.
    Whole,
    /// The oldest of what was not read is gone: so many entries, where that is known.
    Trimmed(Option<u64>),
    /// Its ids went back.
    Remade,
}

impl Info {
    /// None where the server says something else.
    fn read(value: Value) -> Option<Self> {
        let Value::Array(items) = value else { return None };
        let mut info = Self::default();
        let id = |value: &Value| match value {
            Value::BulkString(text) => EntryId::parse(text),
            _ => None,
        };
        let number = |value: &Value| match value {
            Value::Int(number) => u64::try_from(*number).ok(),
            _ => None,
        };
        let mut last = None;
        for pair in items.chunks_exact(2) {
            let [Value::BulkString(name), value] = pair else { continue };
            match name.as_slice() {
                b"length" => info.length = number(value)?,
                b"last-generated-id" => last = id(value),
                b"entries-added" => info.added = number(value),
                b"max-deleted-entry-id" => info.deleted = id(value).unwrap_or_default(),
                b"first-entry" => {
                    if let Value::Array(entry) = value {
                        info.first = entry.first().and_then(id);
                    }
                }
                _ => {}
            }
        }
        info.last = last?;
        Some(info)
    }

    /// How many entries were ever added and are gone.
    pub(super) fn removed(&self) -> Option<u64> {
        self.added.map(|added| added.saturating_sub(self.length))
    }

    /// What became of the stream, which was read up to `at`, and up to `asked` before the server was asked.
    pub(super) fn judge(&self, at: &Place, asked: EntryId) -> Judgement {
        if self.last < asked {
            return Judgement::Remade;
        }
        if self.last <= at.id {
            return Judgement::Whole;
        }
        match self.first {
            Some(first) if first <= at.id => Judgement::Whole,
            first => match (self.removed(), at.ordinal) {
                (Some(removed), Some(read)) if removed <= read => Judgement::Whole,
                (Some(removed), Some(read)) => Judgement::Trimmed(Some(removed - read)),
                // Nothing was read of it, so nothing is known to be missing.
                _ if at.id == EntryId::default() && first.is_some() => Judgement::Whole,
                _ => Judgement::Trimmed(None),
            },
        }
    }
}

/// Why there is no answer.
pub(super) enum NoLook {
    Error(RedisError),
    Server(redis::ServerError),
    /// What it answered instead.
    Strange(String),
}

impl From<RedisError> for NoLook {
    fn from(error: RedisError) -> Self {
        Self::Error(error)
    }
}

/// All streams of a selection that are there, and all that are given by name.
pub(super) async fn look(
    connection: &mut MultiplexedConnection,
    selection: &Selection,
) -> Result<BTreeMap<Vec<u8>, Looked>, NoLook> {
    let mut keys: BTreeMap<Vec<u8>, Looked> = selection.names.iter().map(|name| (name.clone(), Looked::Gone)).collect();
    for pattern in &selection.patterns {
        let mut cursor = b"0".to_vec();
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(&cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(STEP).arg("TYPE").arg("stream");
            let (next, found): (Vec<u8>, Vec<Vec<u8>>) = scan.query_async(connection).await?;
            keys.extend(found.into_iter().map(|key| (key, Looked::Gone)));
            if next == b"0" {
                break;
            }
            cursor = next;
        }
    }
    let mut all: Vec<(&Vec<u8>, &mut Looked)> = keys.iter_mut().collect();
    for part in all.chunks_mut(STEP) {
        let mut questions = redis::Pipeline::with_capacity(part.len());
        for (key, _) in part.iter() {
            questions.cmd("XINFO").arg("STREAM").arg(key.as_slice());
        }
        let answers = connection.req_packed_commands(&questions, 0, part.len()).await?;
        for ((key, looked), answer) in part.iter_mut().zip(answers) {
            **looked = match answer {
                Value::ServerError(error) if error.code() == "WRONGTYPE" => Looked::Other,
                Value::ServerError(error) if error.details().is_some_and(|told| told.contains("no such key")) => {
                    Looked::Gone
                }
                Value::ServerError(error) => return Err(NoLook::Server(error)),
                answer => Looked::Stream(
                    Info::read(answer)
                        .ok_or_else(|| NoLook::Strange(format!("XINFO STREAM {}", key.escape_ascii())))?,
                ),
            };
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::{EntryId, Info, Judgement, Place};

    fn id(ms: u64) -> EntryId {
        EntryId { ms, seq: 0 }
    }

    #[test]
    fn what_is_missing_is_told_from_what_was_read() {
        // Ten were added, with the ids 1 to 10.
        let info = |first: Option<u64>, length| Info {
            length,
            last: id(10),
            first: first.map(id),
            added: Some(10),
            deleted: id(0),
        };
        let read = |ms, ordinal| Place { epoch: 0, id: id(ms), ordinal };
        for (info, at, judgement) in [
            (info(Some(1), 10), read(4, Some(4)), Judgement::Whole),
            (info(Some(4), 7), read(4, Some(4)), Judgement::Whole),
            // Exactly what was read is gone.
            (info(Some(5), 6), read(4, Some(4)), Judgement::Whole),
            (info(Some(6), 5), read(4, Some(4)), Judgement::Trimmed(Some(1))),
            (info(None, 0), read(4, Some(4)), Judgement::Trimmed(Some(6))),
            (info(None, 0), read(10, Some(10)), Judgement::Whole),
            (info(Some(6), 5), read(4, None), Judgement::Trimmed(None)),
            (info(Some(6), 5), read(0, Some(5)), Judgement::Whole),
            (info(Some(7), 4), read(0, Some(5)), Judgement::Trimmed(Some(1))),
            (info(Some(6), 5), read(0, None), Judgement::Whole),
            (info(Some(1), 10), read(11, Some(11)), Judgement::Remade),
            // A server that does not count.
            (Info { added: None, ..info(Some(6), 5) }, read(4, Some(4)), Judgement::Trimmed(None)),
        ] {
            assert_eq!(info.judge(&at, at.id), judgement, "{info:?} {at:?}");
        }
        // Read on since the server was asked.
        assert_eq!(info(Some(1), 10).judge(&read(12, Some(12)), id(9)), Judgement::Whole);
    }
}
