//! One script for a chunk of commands.
//!
//! A script in Redis is never interleaved, but it is not rolled back either: a command that fails in its middle leaves what the
//! ones before it wrote. So all that can fail is looked at before the first write: the type of each key, and what the beginning of the
//! script asks for. What the server itself turns down (out of memory, a replica, a failed save) it turns down at the first write of
//! a script and not later.

use std::{collections::HashMap, sync::LazyLock};

use redis::{Arg, Cmd, Script, aio::MultiplexedConnection};

use super::{RedisSink, deeds::Commands};
use crate::{
    batch::Delivery,
    checkpoint::Holder,
    error::{Code, Fault},
    position::Position,
    sink::Writes,
};

/// Lua can hand over some 8000 values at once.
const MOST_ARGUMENTS: usize = 4000;

/// `first` is the first key that is written to, `kind` its type; from `at` on stand the commands: index of the key in `KEYS`, number of
/// words, and they, without the key.
///
/// One question for all keys comes first: where none of them is there, as in a copy, none has another type. It is not asked of more keys than
/// Lua can hand over.
const TYPES: &str = r"
local call, try, keys, argv, unpack, tonumber = redis.call, redis.pcall, KEYS, ARGV, unpack, tonumber
local bad, count = {'type'}, #keys - first + 1
if count < 2 or count > 4000 or call('EXISTS', unpack(keys, first)) > 0 then
  for i = first, #keys do
    local t = call('TYPE', keys[i]).ok
    if t ~= 'none' and t ~= kind then bad[#bad + 1] = tostring(i - first); bad[#bad + 1] = t end
  end
end
if #bad > 1 then return bad end
local last = #argv
";

/// An error is given back with the command that it is of: not every server names it.
const WRITE: &str = r"
while at < last do
  local stop = at + 1 + argv[at + 1]
  local r = try(argv[at + 2], keys[tonumber(argv[at])], unpack(argv, at + 3, stop))
  if type(r) == 'table' and r.err then return redis.error_reply(r.err .. ' (' .. argv[at + 2] .. ')') end
  at = stop + 1
end
";

/// `ARGV`: type, then the commands.
static PLAIN: LazyLock<Script> = LazyLock::new(|| {
    let begin =
        "if redis.replicate_commands then redis.replicate_commands() end\nlocal first, at, kind = 1, 2, ARGV[1]\n";
    Script::new(&[begin, TYPES, WRITE, "return {'ok'}"].concat())
});

/// The same for what is old: it takes nothing away and replaces nothing. What is there already in the same form is as good as written.
static LATE: LazyLock<Script> = LazyLock::new(|| {
    let begin =
        "if redis.replicate_commands then redis.replicate_commands() end\nlocal first, at, kind = 1, 2, ARGV[1]\n";
    let look = r"
local look, same = at, false
while look < last do
  local key, stop = KEYS[tonumber(ARGV[look])], look + 1 + ARGV[look + 1]
  local command, next_key = ARGV[look + 2], KEYS[tonumber(ARGV[stop + 1] or 0)]
  local there = false
  if command == 'SREM' then there = redis.call('SISMEMBER', key, ARGV[look + 3]) == 1
  elseif command == 'ZREM' then there = redis.call('ZSCORE', key, ARGV[look + 3])
  elseif command == 'DEL' then there = next_key ~= key and redis.call('EXISTS', key) == 1
  elseif command == 'ZADD' then
    there = redis.call('ZSCORE', key, ARGV[look + 4])
    if there and tonumber(there) == tonumber(ARGV[look + 3]) then same = true; there = false end
  elseif command == 'SET' then
    there = redis.call('EXISTS', key) == 1
    if there and redis.call('GET', key) == ARGV[look + 3] then same = true; there = false end
  elseif command == 'HSET' then
    there = redis.call('EXISTS', key) == 1
    if there and redis.call('HLEN', key) * 2 == stop - look - 2 then
      same = true
      for i = look + 3, stop, 2 do
        if redis.call('HGET', key, ARGV[i]) ~= ARGV[i + 1] then same = false end
      end
      if same then there = false end
    end
  elseif command == 'JSON.SET' then there = redis.call('EXISTS', key) == 1
  end
  if there then return {'late', key} end
  look = stop + 1
end
if same then return {'ok'} end
";
    Script::new(&[begin, TYPES, look, WRITE, "return {'ok'}"].concat())
});

/// `KEYS`: the record, then the keys that are written to. `ARGV`: fence, field of the position, position it must have, position it
/// gets, lease in ms, type, then the commands.
static KEEPING: LazyLock<Script> = LazyLock::new(|| {
    let begin = r"
if redis.replicate_commands then redis.replicate_commands() end
local r = redis.call('HMGET', KEYS[1], 'fence', ARGV[2], 'holder')
if r[1] ~= ARGV[1] then return {'fence', r[1] or '0', r[3] or ''} end
if (r[2] or '') ~= ARGV[3] then return {'at', r[2] or ''} end
local first, at, kind = 2, 7, ARGV[6]
";
    let end = r"
local time = redis.call('TIME')
redis.call('HSET', KEYS[1], ARGV[2], ARGV[4],
  'expires', string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[5]))
return {'ok'}
";
    Script::new(&[begin, TYPES, WRITE, end].concat())
});

/// What the script looks at first.
#[derive(Clone, Copy)]
pub(super) enum Look<'a> {
    /// Nothing else.
    Plain,
    /// What is there must not be touched.
    Late,
    /// The record, and its values in `ARGV`: fence, field, position, new position, lease.
    Record(&'a str, &'a [String; 5]),
}

impl Look<'_> {
    fn script(self) -> &'static Script {
        match self {
            Self::Plain => &PLAIN,
            Self::Late => &LATE,
            Self::Record(..) => &KEEPING,
        }
    }
}

/// What a script answered.
pub(super) enum Reply {
    Ok,
    /// Another fence than ours, and who has it.
    Fence(u64, Option<Holder>),
    /// The position is another one.
    At(Option<Position>),
    /// Keys of another type: the key, and its type.
    Type(Vec<(Vec<u8>, String)>),
    /// The key is there already.
    Late(String),
}

/// The words of a command, of which the second is its key.
pub(super) fn words(command: &Cmd) -> impl Iterator<Item = &[u8]> {
    command.args_iter().filter_map(|argument| match argument {
        Arg::Simple(bytes) => Some(bytes),
        _ => None,
    })
}

pub(super) fn key_of(command: &Cmd) -> &[u8] {
    words(command).nth(1).unwrap_or_default()
}

impl RedisSink {
    /// What the pending deliveries do. What is not written by this mode is ignored, and what cannot be written is refused.
    pub(super) fn prepare<'a>(&mut self, writes: &mut Writes<'a>) -> (Vec<(usize, Delivery<'a>)>, Vec<Commands>) {
        let pending: Vec<_> = writes.pending().collect();
        let (mut ready, mut all) = (Vec::with_capacity(pending.len()), Vec::with_capacity(pending.len()));
        for (index, delivery) in pending {
            let Some(commands) = self.commands(writes, index, &delivery) else { continue };
            let most = commands.iter().map(|command| command.args_iter().len()).max().unwrap_or(0);
            if most > MOST_ARGUMENTS {
                let reason = format!("it has {most} fields and values; {MOST_ARGUMENTS} are the most one entry takes");
                writes.refuse(index, reason);
                continue;
            }
            ready.push((index, delivery));
            all.push(commands);
        }
        (ready, all)
    }

    /// Runs the commands of a chunk.
    pub(super) async fn run(
        &mut self,
        connection: &mut MultiplexedConnection,
        look: Look<'_>,
        chunk: &[Commands],
    ) -> Result<Reply, Fault> {
        let commands = || chunk.iter().flatten();
        let (mut keys, mut index_of) = (Vec::new(), HashMap::new());
        for key in commands().map(key_of) {
            index_of.entry(key).or_insert_with(|| {
                keys.push(key);
                keys.len()
            });
        }
        // What is counted are words: the command is not packed for it.
        let bytes = commands().flat_map(words).map(|word| word.len() + 4).sum::<usize>();
        let mut call = Cmd::with_capacity(16 + commands().count() * 16, bytes + 256);
        call.arg("EVALSHA").arg(look.script().get_hash());
        // Behind the record all indexes are one more.
        let before = match look {
            Look::Plain | Look::Late => {
                call.arg(keys.len());
                0
            }
            Look::Record(record, _) => {
                call.arg(keys.len() + 1).arg(record);
                1
            }
        };
        for key in &keys {
            call.arg(*key);
        }
        if let Look::Record(_, values) = look {
            call.arg(values);
        }
        call.arg(self.shaper.kind());
        for command in commands() {
            let key = index_of.get(key_of(command)).copied().unwrap_or(0);
            call.arg(key + before).arg(command.args_iter().len() - 1);
            for (at, word) in words(command).enumerate() {
                if at != 1 {
                    call.arg(word);
                }
            }
        }
        let reply = self.call(connection, look.script(), &call).await?;
        let text = |at: usize| reply.get(at).map(String::as_str).unwrap_or_default();
        Ok(match text(0) {
            "ok" => Reply::Ok,
            "fence" => Reply::Fence(text(1).parse().unwrap_or(0), serde_json::from_str(text(2)).ok()),
            "at" => Reply::At(Position::from_hex(text(1)).filter(|position| !position.as_bytes().is_empty())),
            "late" => Reply::Late(text(1).to_owned()),
            "type" => {
                let pairs = reply.get(1..).unwrap_or_default().as_chunks::<2>().0;
                let wrong = pairs
                    .iter()
                    .filter_map(|[at, kind]| Some((keys.get(at.parse::<usize>().ok()?)?.to_vec(), kind.clone())));
                Reply::Type(wrong.collect())
            }
            other => {
                let message = format!("Redis at {} answered to the script with `{other}`", self.connector.place());
                return Err(Fault::fatal(Code::RedisError, message));
            }
        })
    }

    async fn call(
        &mut self,
        connection: &mut MultiplexedConnection,
        script: &Script,
        call: &Cmd,
    ) -> Result<Vec<String>, Fault> {
        let mut reply = call.query_async::<Vec<Lossy>>(connection).await;
        if reply.as_ref().is_err_and(|error| error.code() == Some("NOSCRIPT")) {
            reply = match script.prepare_invoke().load_async(connection).await {
                Ok(_) => call.query_async::<Vec<Lossy>>(connection).await,
                Err(error) => Err(error),
            };
        }
        let reply = reply.map_err(|error| {
            if let Some(ledger) = self.ledger.as_mut() {
                ledger.unsure = true;
            }
            self.aborted(error)
        })?;
        Ok(reply.into_iter().map(|Lossy(text)| text).collect())
    }

    /// Refuses what is for keys of another type.
    pub(super) fn refuse_types(
        &self,
        writes: &mut Writes<'_>,
        wrong: &[(Vec<u8>, String)],
        chunk: &[(usize, Delivery<'_>)],
        commands: &[Commands],
    ) {
        for ((index, _), commands) in chunk.iter().zip(commands) {
            let guilty = wrong.iter().find(|(key, _)| commands.iter().any(|command| key_of(command) == key));
            if let Some((key, kind)) = guilty {
                let (name, own) = (String::from_utf8_lossy(key), self.shaper.kind());
                writes.refuse(*index, format!("Redis refused it: WRONGTYPE `{name}` holds a {kind}, no {own}"));
            }
        }
    }

    /// Writes without a position: what is guilty is refused, the rest is written.
    pub(super) async fn write_by_script(&mut self, writes: &mut Writes<'_>) -> Result<(), Fault> {
        let mut connection = self.connector.connection().await?;
        self.memory.wait_for_room(&mut self.connector, &mut connection).await?;
        let look = if self.late && self.shaper.is_state() { Look::Late } else { Look::Plain };
        // Again from the start after a refusal, which is rare.
        'anew: loop {
            let (pending, commands) = self.prepare(writes);
            let mut done = 0;
            while done < pending.len() {
                let rest = pending.get(done..).unwrap_or_default();
                let count = match look {
                    Look::Late => 1,
                    _ => super::chunk_of(rest),
                };
                let (chunk, ours) = (rest.get(..count), commands.get(done..done + count));
                let (chunk, ours) = (chunk.unwrap_or_default(), ours.unwrap_or_default());
                let reply = self.run(&mut connection, look, ours).await?;
                self.connector.replicated(&mut connection).await?;
                match reply {
                    Reply::Type(wrong) => {
                        self.refuse_types(writes, &wrong, chunk, ours);
                        continue 'anew;
                    }
                    Reply::Late(key) => {
                        let reason = format!(
                            "`{key}` is in Redis already, in a state that may be newer than this one; --overwrite writes it all the same"
                        );
                        chunk.iter().for_each(|(index, _)| writes.refuse(*index, reason.clone()));
                    }
                    _ => chunk.iter().for_each(|(index, _)| writes.confirm(*index)),
                }
                done += count;
            }
            return Ok(());
        }
    }
}

/// Text that need not be UTF-8.
struct Lossy(String);

impl redis::FromRedisValue for Lossy {
    fn from_redis_value(value: redis::Value) -> Result<Self, redis::ParsingError> {
        let bytes: Vec<u8> = redis::from_redis_value(value)?;
        Ok(Self(String::from_utf8_lossy(&bytes).into_owned()))
    }
}
