//! Redis: what changes become there, by `mode`.
//!
//! | mode | | how it is written |
//! |---|---|---|
//! | `stream` | an entry for each change | `MULTI` ... `EXEC` |
//! | `pubsub` | a message for each change | the same |
//! | `list` | an element for each change | a script |
//! | `string`, `json`, `hash` | a key for each document | a script |
//! | `set`, `zset` | a member for each document | a script |
//!
//! Commands travel in chunks of the changes of a thousand at most, so a chunk
//! is either written as a whole or not at all: a server that runs out of memory in the middle cannot let a later change of a
//! document overtake an earlier one. Measured against plain pipelines in turns, that costs 1 to 4 % of the sink's own speed and
//! 1 to 6 % of its CPU time. What is refused for what it is (`WRONGTYPE`: the name belongs to a key of
//! another type) goes to the dead letter alone. Where something is replaced or taken away, the types of the keys are looked at first
//! ([`script`]): `SET` and `DEL` alone would not mind whose key it is.
//!
//! When a connection breaks, it is not known whether the chunk under way was written. A sink that keeps the position beside its
//! data ([`keep`]) asks the server; any other sends it again: consumers of streams and lists drop doubles by `id`, and the others
//! hold a state that a double does not change.

mod body;
mod deeds;
mod examine;
mod keep;
mod memory;
mod rights;
mod script;
mod transaction;

use redis::{RedisError, Value, aio::MultiplexedConnection};

use self::{
    deeds::{Commands, Deed, Shaper},
    rights::{Writer, rights},
};
use crate::{
    batch::Delivery,
    checkpoint::{Holder, redis::RedisRecord},
    config::{LatestConfig, RedisMode, RedisSinkConfig, SourceConfig},
    error::{Code, Fault},
    redis::{Connector, same_database},
    sink::{
        Sink, Writes, Wrote,
        ledger::{Ledger, chunk_end},
    },
};

/// Changes in one chunk.
const CHUNK: usize = 1000;
/// Bytes in one chunk; one change alone may be bigger.
const CHUNK_BYTES: usize = 4 << 20;

/// How many of the pending deliveries are written together.
fn chunk_of(pending: &[(usize, Delivery<'_>)]) -> usize {
    let mut bytes = 0;
    chunk_end(pending, |at, delivery| {
        bytes += delivery.change.size();
        at < CHUNK && bytes <= CHUNK_BYTES
    })
}

/// The sink.
pub struct RedisSink {
    config: RedisSinkConfig,
    connector: Connector,
    shaper: Shaper,
    memory: memory::Memory,
    record: RedisRecord,
    /// What is known of the record; none for a sink that keeps no positions.
    ledger: Option<Ledger>,
    me: Option<Holder>,
    /// What comes is older than what Redis may have; see [`RedisSink::late`].
    late: bool,
}

impl RedisSink {
    /// Nothing is connected before [`Sink::open`].
    pub fn new(config: &RedisSinkConfig, pipeline: &str, name: &str) -> Self {
        let shaper = Shaper::new(config, pipeline);
        // In the slot of the data, where all of the data is in one.
        let tag = shaper.hash_tag().map(|tag| format!("{{{tag}}}:")).unwrap_or_default();
        let record = RedisRecord { key: format!("tidegate:pos:{tag}{pipeline}:{name}"), pipeline: pipeline.to_owned() };
        Self {
            memory: memory::Memory::new(config.pause_at),
            record,
            ledger: None,
            me: None,
            connector: Connector::new(config.url.clone(), config.timeout.0)
                .tls(&config.tls)
                .wait(config.wait)
                .rights(rights(config, Writer::default())),
            shaper,
            config: config.clone(),
            late: false,
        }
    }

    /// For changes of this source.
    pub fn from_source(mut self, source: &SourceConfig) -> Self {
        match source {
            SourceConfig::Mongodb(source) => self.shaper.looks_up = source.full_document.may_be_later(),
            SourceConfig::Redis(source) if same_database(&self.config.url, &source.url) => {
                self.shaper.source = Some(Box::new(source.clone()));
            }
            _ => {}
        }
        self
    }

    /// For changes of long ago: documents that Redis has are not taken back to what they were. A log takes them all.
    pub fn late(mut self) -> Self {
        self.late = true;
        self.connector.needs(rights(&self.config, Writer { late: true, record: None }));
        self
    }

    /// How values are held, where only the newest are written.
    pub fn latest(&self) -> Option<LatestConfig> {
        self.config.latest
    }

    /// The commands of a delivery; none where it is ignored or refused.
    fn commands(&mut self, writes: &mut Writes<'_>, index: usize, delivery: &Delivery<'_>) -> Option<Commands> {
        match self.shaper.shape(delivery) {
            Deed::Do(commands) => return Some(commands),
            Deed::Ignore => writes.ignore(index),
            Deed::Refuse(reason) => writes.refuse(index, reason),
        }
        None
    }

    /// Without the module nothing could ever be written.
    async fn look_for_json(&mut self, connection: &mut MultiplexedConnection) -> Result<(), Fault> {
        let known = redis::cmd("COMMAND").arg("INFO").arg("JSON.SET").query_async::<Vec<Value>>(connection).await;
        match known.as_deref() {
            Ok([Value::Nil]) | Ok([]) => {
                let message = format!(
                    "Redis at {} has no JSON.SET, which `mode: json` needs: load the JSON module (it is part of Redis Stack and of Redis 8), \
                     or take `mode: string`, which stores the same JSON as text",
                    self.connector.place()
                );
                Err(Fault::fatal(Code::RedisConfiguration, message))
            }
            // Not permitted: then the first write tells.
            _ => Ok(()),
        }
    }

    /// A transaction that did not run: the connection broke, or a command was turned down when it was queued.
    fn aborted(&mut self, error: RedisError) -> Fault {
        match error.clone().into_server_errors().as_deref() {
            Some([(_, first), ..]) => {
                let first = first.clone();
                self.connector.rejected(&first)
            }
            _ => self.connector.lost(&error),
        }
    }
}

impl Sink for RedisSink {
    async fn open(&mut self) -> Result<(), Fault> {
        let mut connection = self.connector.connection().await?;
        if let Err(error) = redis::cmd("PING").query_async::<Value>(&mut connection).await {
            return Err(self.aborted(error));
        }
        // Not permitted, or not known to a compatible server: then there is nothing to warn of.
        let policy =
            redis::cmd("CONFIG").arg("GET").arg("maxmemory-policy").query_async::<Vec<String>>(&mut connection).await;
        if let Ok([_, policy]) = policy.as_deref()
            && policy.starts_with("allkeys-")
        {
            if self.ledger.is_some() {
                let message = format!(
                    "Redis at {} has `maxmemory-policy {policy}`: it may throw the position away, or data without it, so with \
                     `checkpoint: sink` it is not written to; set `maxmemory-policy noeviction`, or keep the checkpoint elsewhere",
                    self.connector.place()
                );
                return Err(Fault::fatal(Code::RedisConfiguration, message));
            }
            tracing::warn!(
                event = "redis_evicts",
                place = self.connector.place(),
                policy,
                "when memory is full this Redis throws any key away, streams with unread entries too; set `maxmemory-policy noeviction`"
            );
        }
        if self.config.mode == RedisMode::Json {
            self.look_for_json(&mut connection).await?;
        }
        tracing::info!(
            event = "sink_opened",
            place = self.connector.place(),
            mode = self.config.mode.as_str(),
            target_name = self.config.target(),
            "connected to Redis"
        );
        Ok(())
    }

    async fn write(&mut self, writes: &mut Writes<'_>) -> Result<Wrote, Fault> {
        let untold: Vec<_> =
            writes.pending().filter(|(_, delivery)| !self.shaper.tells(delivery.change.operation)).collect();
        untold.iter().for_each(|(index, _)| writes.ignore(*index));
        if self.ledger.is_some() {
            return self.write_keeping(writes).await;
        }
        if self.shaper.is_log() {
            self.write_by_transaction(writes).await?;
        } else {
            self.write_by_script(writes).await?;
        }
        Ok(Wrote::All)
    }
}

#[cfg(test)]
mod keep_tests;
#[cfg(test)]
mod mode_tests;
#[cfg(test)]
mod rights_tests;
#[cfg(test)]
mod tests;
