//! A record in Redis: one hash, changed by scripts alone, so that each change is all or nothing and is refused to a host whose
//! fence is too low. The clock of a lease is the server's.
//!
//! Fields: `fence`, `holder` (JSON), `expires` (milliseconds since 1970), `about` (JSON), and `p:PARTITION` with each position in
//! hexadecimal.

use std::{collections::HashMap, sync::LazyLock, time::Duration};

use redis::{FromRedisValue, RedisError, Script, ScriptInvocation, Value};

use super::record::{About, Claim, Found, Holder, fenced, unusable};
use crate::{
    error::Fault,
    position::{Position, Positions},
    redis::Connector,
};

/// Beginning of the name of a field with a position.
pub(crate) const POSITION: &str = "p:";

/// Takes the record if nobody else holds it. `ARGV`: id of the holder, holder, lease in ms, lowest fence to go above.
static CLAIM: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
if redis.replicate_commands then redis.replicate_commands() end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local r = redis.call('HMGET', KEYS[1], 'fence', 'holder', 'expires')
if r[2] and tonumber(r[3] or 0) > now and cjson.decode(r[2]).id ~= ARGV[1] then
  return {'held', r[2], string.format('%.0f', tonumber(r[3]) - now)}
end
local fence = string.format('%.0f', math.max(tonumber(r[1] or 0), tonumber(ARGV[4])) + 1)
redis.call('HSET', KEYS[1], 'fence', fence, 'holder', ARGV[2], 'expires', string.format('%.0f', now + ARGV[3]))
return redis.call('HGETALL', KEYS[1])
",
    )
});

/// Makes the lease longer. `ARGV`: fence, lease in ms.
static RENEW: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
if redis.replicate_commands then redis.replicate_commands() end
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return 0 end
local time = redis.call('TIME')
redis.call('HSET', KEYS[1], 'expires', string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2]))
return 1
",
    )
});

/// Gives the record back. `ARGV`: fence.
static RELEASE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[1], 'holder', 'expires')
return 1
",
    )
});

/// Sets fields. `ARGV`: fence, lease in ms, then names and values.
static STORE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
if redis.replicate_commands then redis.replicate_commands() end
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return 0 end
local time = redis.call('TIME')
redis.call('HSET', KEYS[1], 'expires', string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2]),
  unpack(ARGV, 3))
return 1
",
    )
});

/// The record of one pipeline, or of one sink of it.
#[derive(Clone, Debug)]
pub(crate) struct RedisRecord {
    pub(crate) key: String,
    pub(crate) pipeline: String,
}

impl RedisRecord {
    pub(crate) fn place(&self, connector: &Connector) -> String {
        format!("key `{}` of Redis at {}", self.key, connector.place())
    }

    async fn run<T: FromRedisValue>(
        &self,
        connector: &mut Connector,
        invocation: &ScriptInvocation<'_>,
    ) -> Result<T, Fault> {
        let mut connection = connector.connection().await?;
        invocation.invoke_async(&mut connection).await.map_err(|error: RedisError| connector.lost(&error))
    }

    /// Takes the record, with a fence above `floor` and above the one that is stored.
    pub(crate) async fn claim(
        &self,
        connector: &mut Connector,
        me: &Holder,
        lease: Duration,
        floor: u64,
    ) -> Result<Claim, Fault> {
        let mut invocation = CLAIM.key(&self.key);
        let holder = serde_json::to_string(me).unwrap_or_default();
        invocation.arg(&me.id).arg(holder).arg(millis(lease)).arg(floor);
        let reply: Vec<String> = self.run(connector, &invocation).await?;
        if let [held, holder, left] = reply.as_slice()
            && held == "held"
        {
            let holder = serde_json::from_str(holder).map_err(|cause| self.broken(connector, &cause.to_string()))?;
            return Ok(Claim::Held(holder, Duration::from_millis(left.parse().unwrap_or(0))));
        }
        self.found(connector, reply).map(Claim::Taken)
    }

    /// What is stored; none when the key does not exist.
    pub(crate) async fn read(&self, connector: &mut Connector) -> Result<Option<Found>, Fault> {
        let mut connection = connector.connection().await?;
        let reply: Result<Vec<String>, _> = redis::cmd("HGETALL").arg(&self.key).query_async(&mut connection).await;
        let reply = reply.map_err(|error| connector.lost(&error))?;
        if reply.is_empty() { Ok(None) } else { self.found(connector, reply).map(Some) }
    }

    fn found(&self, connector: &Connector, reply: Vec<String>) -> Result<Found, Fault> {
        decode(reply).map_err(|why| self.broken(connector, &why))
    }

    fn broken(&self, connector: &Connector, why: &str) -> Fault {
        unusable(&self.place(connector), &self.pipeline, why)
    }

    /// Says that we are still there.
    pub(crate) async fn renew(&self, connector: &mut Connector, fence: u64, lease: Duration) -> Result<(), Fault> {
        let mut invocation = RENEW.key(&self.key);
        invocation.arg(fence).arg(millis(lease));
        self.fenced_run(connector, &invocation).await
    }

    /// Stores what the positions are about, and positions.
    pub(crate) async fn store(
        &self,
        connector: &mut Connector,
        fence: u64,
        lease: Duration,
        about: &About,
        positions: &Positions,
    ) -> Result<(), Fault> {
        let mut invocation = STORE.key(&self.key);
        invocation.arg(fence).arg(millis(lease)).arg("about").arg(serde_json::to_string(about).unwrap_or_default());
        for (partition, position) in positions.iter() {
            invocation.arg(format!("{POSITION}{partition}")).arg(position.to_hex());
        }
        self.fenced_run(connector, &invocation).await
    }

    async fn fenced_run(&self, connector: &mut Connector, invocation: &ScriptInvocation<'_>) -> Result<(), Fault> {
        if self.run::<i64>(connector, invocation).await? == 1 {
            return Ok(());
        }
        let found = self.read(connector).await?.unwrap_or_default();
        let by = found.held.map(|(holder, _)| holder);
        Err(fenced(&self.pipeline, &self.place(connector), by.as_ref()))
    }

    /// Lets another host take the record at once.
    pub(crate) async fn release(&self, connector: &mut Connector, fence: u64) -> Result<(), Fault> {
        let mut invocation = RELEASE.key(&self.key);
        invocation.arg(fence);
        self.run::<i64>(connector, &invocation).await.map(drop)
    }

    /// Removes the record.
    pub(crate) async fn remove(&self, connector: &mut Connector) -> Result<(), Fault> {
        let mut connection = connector.connection().await?;
        let removed = redis::cmd("DEL").arg(&self.key).query_async::<Value>(&mut connection).await;
        removed.map(drop).map_err(|error| connector.lost(&error))
    }
}

/// What the names and values of a hash say.
///
/// # Errors
/// In words: a field is not what this program writes there.
pub(crate) fn decode(fields: Vec<String>) -> Result<Found, String> {
    let mut fields = fields.into_iter();
    let mut found = Found::default();
    let mut others = HashMap::new();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        match name.strip_prefix(POSITION) {
            Some(partition) => {
                let position =
                    Position::from_hex(&value).ok_or_else(|| format!("its field `{name}` is no position"))?;
                found.positions.set(partition, position);
            }
            None => {
                others.insert(name, value);
            }
        }
    }
    let broken = |cause: serde_json::Error| cause.to_string();
    if let Some(about) = others.get("about") {
        found.about = Some(serde_json::from_str::<About>(about).map_err(broken)?);
    }
    if let Some(holder) = others.get("holder") {
        found.held = Some((serde_json::from_str(holder).map_err(broken)?, Duration::ZERO));
    }
    found.fence = match others.get("fence") {
        Some(fence) => fence.parse().map_err(|_| "its `fence` is no number".to_owned())?,
        None => 0,
    };
    Ok(found)
}

pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
