//! Data and position in one script: the position moves with the entries before it or not at all, and only for the host with the
//! newest fence.
//!
//! A script in Redis is never interleaved, but it is not rolled back either: a command that fails in its middle leaves what the
//! ones before it wrote. So all that can fail is looked at before the first write: the fence, the position, the type of each
//! target. What the server itself turns down (out of memory, a replica, a failed save) it turns down at the first write of a
//! script and not later.

use std::{sync::LazyLock, time::Duration};

use redis::{Cmd, Value, aio::MultiplexedConnection};

use super::{CHUNK, CHUNK_BYTES, RedisSink};
use crate::{
    checkpoint::{
        About, Claim, Found, Holder, fenced,
        redis::{POSITION, millis},
    },
    error::{Code, Fault},
    position::{Position, Positions},
    sink::{
        Keeper, Writes, Wrote,
        ledger::{Ledger, Plan, chunk_end, gone},
    },
};

/// `KEYS`: the record, then the targets. `ARGV`: fence, field of the position, position it must have, position it gets, lease in ms; then
/// for each entry the index of its target in `KEYS`, the number of its arguments, and they.
const WRITE: &str = r"
if redis.replicate_commands then redis.replicate_commands() end
local r = redis.call('HMGET', KEYS[1], 'fence', ARGV[2], 'holder')
if r[1] ~= ARGV[1] then return {'fence', r[1] or '0', r[3] or ''} end
if (r[2] or '') ~= ARGV[3] then return {'at', r[2] or ''} end
local bad = {'type'}
for i = 2, #KEYS do
  local t = redis.call('TYPE', KEYS[i]).ok
  if t ~= 'none' and t ~= 'stream' then bad[#bad + 1] = tostring(i); bad[#bad + 1] = t end
end
if #bad > 1 then return bad end
local at, last = 6, #ARGV
while at < last do
  local stop = at + 1 + ARGV[at + 1]
  redis.call('XADD', KEYS[tonumber(ARGV[at])], unpack(ARGV, at + 2, stop))
  at = stop + 1
end
local time = redis.call('TIME')
redis.call('HSET', KEYS[1], ARGV[2], ARGV[4],
  'expires', string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[5]))
return {'ok'}
";

static SCRIPT: LazyLock<redis::Script> = LazyLock::new(|| redis::Script::new(WRITE));

/// Lua can hand over some 8000 values at once.
const MOST_ARGUMENTS: usize = 4000;

/// What the script answered.
enum Reply {
    Ok,
    /// Another fence than ours, and who has it.
    Fence(u64, Option<Holder>),
    /// The position is another one.
    At(Option<Position>),
    /// Targets that are no streams: index of the key, and type.
    Type(Vec<(usize, String)>),
}

impl RedisSink {
    /// Writes a batch in chunks, each with the position behind it.
    pub(super) async fn write_keeping(&mut self, writes: &mut Writes<'_>) -> Result<Wrote, Fault> {
        self.make_sure().await?;
        if self.connector.is_unreplicated() {
            // What is stored may be on this server alone. Renewing the lease is a write behind it, on this connection.
            self.renew().await?;
            let mut connection = self.connector.connection().await?;
            self.connector.replicated(&mut connection).await?;
        }
        let partition = writes.partition().clone();
        let Some(to) = writes.position().cloned() else { return Err(no_positions()) };
        match self.ledger.as_mut().map(|ledger| ledger.plan(writes)) {
            Some(Plan::Write) => {}
            Some(Plan::Done) => return Ok(Wrote::All),
            None => return Err(no_positions()),
        }
        let pending: Vec<_> = writes.pending().collect();
        // What cannot be written at all is refused before anything is.
        let mut commands = Vec::with_capacity(pending.len());
        for (index, delivery) in &pending {
            match self.entry(delivery, true) {
                Ok(command) if command.args_iter().len() <= MOST_ARGUMENTS => commands.push(command),
                Ok(command) => {
                    let count = command.args_iter().len();
                    writes.refuse(
                        *index,
                        format!("it has {count} fields and values; {MOST_ARGUMENTS} are the most one entry takes"),
                    );
                }
                Err(reason) => writes.refuse(*index, reason),
            }
        }
        if commands.len() < pending.len() {
            return Ok(Wrote::Refused);
        }
        let mut connection = self.connector.connection().await?;
        self.memory.wait_for_room(&mut self.connector, &mut connection).await?;
        let stream = self.config.stream.clone();
        let mut done = 0;
        loop {
            let rest = pending.get(done..).unwrap_or_default();
            let mut bytes = 0;
            let count = chunk_end(rest, |at, delivery| {
                bytes += delivery.change.size();
                at < CHUNK && bytes <= CHUNK_BYTES
            });
            let chunk = rest.get(..count).unwrap_or_default();
            let last = done + count == pending.len();
            let end = match chunk.last().and_then(|(_, delivery)| delivery.change.position.clone()) {
                Some(position) if !last => position,
                // The batch's own position is behind what it has for other sinks too.
                _ => to.clone(),
            };
            let mut keys: Vec<&str> = Vec::new();
            let mut script = Cmd::with_capacity(8 + count * 16, bytes + 256);
            let mut arguments = Vec::with_capacity(count);
            for ((_, delivery), command) in chunk.iter().zip(commands.get(done..done + count).unwrap_or_default()) {
                let target = delivery.target().unwrap_or(&stream);
                let key = keys.iter().rposition(|key| *key == target).unwrap_or_else(|| {
                    keys.push(target);
                    keys.len() - 1
                });
                arguments.push((key + 2, command));
            }
            let Some(ledger) = self.ledger.as_ref() else { return Err(no_positions()) };
            let from = ledger.stored(&partition).map(Position::to_hex).unwrap_or_default();
            script.arg("EVALSHA").arg(SCRIPT.get_hash()).arg(keys.len() + 1).arg(&self.record.key);
            for key in &keys {
                script.arg(key);
            }
            script.arg(ledger.fence).arg([POSITION, &partition].concat()).arg(from).arg(end.to_hex());
            script.arg(millis(ledger.lease));
            for (key, command) in arguments {
                script.arg(key).arg(command.args_iter().len());
                for argument in command.args_iter() {
                    if let redis::Arg::Simple(argument) = argument {
                        script.arg(argument);
                    }
                }
            }
            match self.run_script(&mut connection, &script).await? {
                Reply::Ok => {}
                // An attempt whose answer was lost has done it.
                Reply::At(Some(position)) if position == end => {}
                Reply::At(position) => return Err(self.elsewhere(position, &partition)),
                Reply::Fence(fence, holder) => return self.other_fence(fence, holder.as_ref()),
                Reply::Type(wrong) => {
                    for (key, kind) in wrong {
                        let Some(name) = key.checked_sub(2).and_then(|at| keys.get(at)) else { continue };
                        for (index, delivery) in chunk {
                            if delivery.target().unwrap_or(&stream) == *name {
                                writes.refuse(
                                    *index,
                                    format!("Redis refused it: WRONGTYPE `{name}` holds a {kind}, no stream"),
                                );
                            }
                        }
                    }
                    return Ok(Wrote::Refused);
                }
            }
            self.connector.replicated(&mut connection).await?;
            for (index, _) in chunk {
                writes.confirm(*index);
            }
            if let Some(ledger) = self.ledger.as_mut() {
                ledger.moved(&partition, &end);
            }
            done += count;
            if last {
                return Ok(Wrote::All);
            }
        }
    }

    /// After a lost answer or connection: what does the server have?
    async fn make_sure(&mut self) -> Result<(), Fault> {
        let Some(ledger) = self.ledger.as_mut() else { return Err(no_positions()) };
        if !ledger.unsure && self.connector.is_connected() {
            return Ok(());
        }
        let place = self.record.place(&self.connector);
        let (fence, lease) = (ledger.fence, ledger.lease);
        let Some(mut found) = self.record.read(&mut self.connector).await? else { return Err(gone(&place)) };
        if found.fence > fence {
            return Err(fenced(&self.record.pipeline, &place, found.held.map(|(holder, _)| holder).as_ref()));
        }
        if found.fence < fence {
            // The server lost the writes that made us the holder: nobody else took over, so we take it again.
            let Some(me) = &self.me else { return Err(no_positions()) };
            found = match self.record.claim(&mut self.connector, me, lease, fence).await? {
                Claim::Taken(found) => found,
                Claim::Held(holder, _) => return Err(fenced(&self.record.pipeline, &place, Some(&holder))),
            };
        }
        ledger.take_up(&found, &place)
    }

    async fn run_script(&mut self, connection: &mut MultiplexedConnection, script: &Cmd) -> Result<Reply, Fault> {
        let mut reply = script.query_async::<Vec<String>>(connection).await;
        if reply.as_ref().is_err_and(|error| error.code() == Some("NOSCRIPT")) {
            let loaded = redis::cmd("SCRIPT").arg("LOAD").arg(WRITE).query_async::<Value>(connection).await;
            reply = match loaded {
                Ok(_) => script.query_async::<Vec<String>>(connection).await,
                Err(error) => Err(error),
            };
        }
        let reply = reply.map_err(|error| {
            if let Some(ledger) = self.ledger.as_mut() {
                ledger.unsure = true;
            }
            self.aborted(error)
        })?;
        let text = |at: usize| reply.get(at).map(String::as_str).unwrap_or_default();
        Ok(match text(0) {
            "ok" => Reply::Ok,
            "fence" => Reply::Fence(text(1).parse().unwrap_or(0), serde_json::from_str(text(2)).ok()),
            "at" => Reply::At(Position::from_hex(text(1)).filter(|position| !position.as_bytes().is_empty())),
            "type" => Reply::Type(
                reply
                    .get(1..)
                    .unwrap_or_default()
                    .as_chunks::<2>()
                    .0
                    .iter()
                    .filter_map(|[key, kind]| Some((key.parse().ok()?, kind.clone())))
                    .collect(),
            ),
            other => {
                let message = format!("Redis at {} answered to the script with `{other}`", self.connector.place());
                return Err(Fault::fatal(Code::RedisError, message));
            }
        })
    }

    /// The fence is not ours: another host took over, or the server lost the write that made us the holder.
    fn other_fence(&mut self, fence: u64, holder: Option<&Holder>) -> Result<Wrote, Fault> {
        let place = self.record.place(&self.connector);
        match self.ledger.as_mut() {
            Some(ledger) if fence < ledger.fence => {
                ledger.unsure = true;
                Err(Fault::transient(Code::PositionBehind, format!("{place} lost its last writes: it is read again")))
            }
            _ => Err(fenced(&self.record.pipeline, &place, holder)),
        }
    }

    /// The position is neither the one we know nor the one we write: the record is read again, and tells which way it went.
    fn elsewhere(&mut self, position: Option<Position>, partition: &str) -> Fault {
        let place = self.record.place(&self.connector);
        if position.is_none() && self.ledger.as_ref().is_some_and(|ledger| ledger.stored(partition).is_some()) {
            return gone(&place);
        }
        if let Some(ledger) = self.ledger.as_mut() {
            ledger.unsure = true;
        }
        Fault::transient(
            Code::PositionBehind,
            format!("the position in {place} is not the one that is known: it is read again"),
        )
    }
}

fn no_positions() -> Fault {
    Fault::fatal(
        Code::Internal,
        "a sink was to keep positions that it was not given; this is a defect of tidegate, please report it",
    )
}

impl Keeper for RedisSink {
    fn place(&self) -> String {
        self.record.place(&self.connector)
    }

    async fn claim(&mut self, me: &Holder, lease: Duration) -> Result<Claim, Fault> {
        let floor = self.ledger.as_ref().map_or(0, |ledger| ledger.fence);
        let claim = self.record.claim(&mut self.connector, me, lease, floor).await?;
        if let Claim::Taken(found) = &claim {
            self.ledger = Some(Ledger::new(found, lease));
            self.me = Some(me.clone());
        }
        Ok(claim)
    }

    async fn read(&mut self) -> Result<Option<Found>, Fault> {
        self.record.read(&mut self.connector).await
    }

    async fn begin(&mut self, about: &About, positions: &Positions) -> Result<(), Fault> {
        let Some(ledger) = self.ledger.as_mut() else { return Err(no_positions()) };
        self.record.store(&mut self.connector, ledger.fence, ledger.lease, about, positions).await?;
        ledger.set(positions);
        Ok(())
    }

    async fn renew(&mut self) -> Result<(), Fault> {
        self.make_sure().await?;
        let Some(ledger) = self.ledger.as_mut() else { return Err(no_positions()) };
        self.record.renew(&mut self.connector, ledger.fence, ledger.lease).await
    }

    async fn settle(&mut self) -> Result<(), Fault> {
        self.make_sure().await?;
        let Some(passed) = self.ledger.as_ref().map(Ledger::passed) else { return Err(no_positions()) };
        for (partition, position) in passed.iter() {
            let Some(ledger) = self.ledger.as_ref() else { return Err(no_positions()) };
            let from = ledger.stored(partition).map(Position::to_hex).unwrap_or_default();
            let mut script = Cmd::new();
            script.arg("EVALSHA").arg(SCRIPT.get_hash()).arg(1).arg(&self.record.key).arg(ledger.fence);
            script.arg([POSITION, partition].concat()).arg(from).arg(position.to_hex()).arg(millis(ledger.lease));
            let mut connection = self.connector.connection().await?;
            match self.run_script(&mut connection, &script).await? {
                Reply::Ok => {}
                Reply::At(Some(stored)) if stored == *position => {}
                Reply::Fence(fence, holder) => return self.other_fence(fence, holder.as_ref()).map(drop),
                Reply::At(stored) => return Err(self.elsewhere(stored, partition)),
                Reply::Type(_) => {}
            }
            if let Some(ledger) = self.ledger.as_mut() {
                ledger.moved(partition, position);
            }
        }
        Ok(())
    }

    async fn release(&mut self) {
        let Some(ledger) = self.ledger.take() else { return };
        if let Err(fault) = self.record.release(&mut self.connector, ledger.fence).await {
            tracing::debug!(event = "lease_kept", "the lease runs out by itself: {}", fault.message);
        }
    }

    async fn remove(&mut self) -> Result<(), Fault> {
        self.record.remove(&mut self.connector).await
    }
}
