//! Redis streams: one entry a change.
//!
//! An entry has the fields `id`, `op`, `ns`, `key`, that of the body (`doc`, or what the [format](Body) calls it; none for what a
//! change does not have), and `h.NAME` for each header. Entries travel in transactions (`MULTI` ... `EXEC`) of a thousand at most, so a chunk
//! is either written as a whole or not at all: a server that runs out of memory in the middle cannot let a later change of a
//! document overtake an earlier one. Measured against plain pipelines in turns, that costs 1 to 4 % of the sink's own speed and
//! 1 to 6 % of its CPU time. An entry that is refused for what it is (`WRONGTYPE`: the stream's name belongs to a key of
//! another type) goes to the dead letter alone.
//!
//! When a connection breaks, it is not known whether the chunk under way was written. A sink that keeps the position beside its
//! data ([`keep`]) asks the server; any other sends it again, and consumers drop doubles by `id`.

mod keep;
mod memory;

use redis::{
    Cmd, Pipeline, RedisError, ServerError, Value,
    aio::{ConnectionLike as _, MultiplexedConnection},
};

use crate::{
    batch::Delivery,
    checkpoint::{Holder, redis::RedisRecord},
    config::RedisSinkConfig,
    error::{Code, Fault},
    format::{body::Body, elements::Malformed},
    redis::{Connector, Trouble, told, trouble_of},
    sink::{Sink, Writes, Wrote, ledger::Ledger},
};

/// Entries in one transaction.
const CHUNK: usize = 1000;
/// Bytes in one transaction; one entry alone may be bigger.
const CHUNK_BYTES: usize = 4 << 20;

/// The sink.
pub struct RedisSink {
    config: RedisSinkConfig,
    connector: Connector,
    maxlen: Option<String>,
    body: Body,
    /// Name of a header field.
    field: String,
    memory: memory::Memory,
    record: RedisRecord,
    /// What is known of the record; none for a sink that keeps no positions.
    ledger: Option<Ledger>,
    me: Option<Holder>,
}

impl RedisSink {
    /// Nothing is connected before [`Sink::open`].
    pub fn new(config: &RedisSinkConfig, pipeline: &str, name: &str) -> Self {
        let record = RedisRecord { key: format!("tidegate:pos:{pipeline}:{name}"), pipeline: pipeline.to_owned() };
        Self {
            memory: memory::Memory::new(config.pause_at),
            record,
            ledger: None,
            me: None,
            connector: Connector::new(config.url.clone(), config.timeout.0).tls(&config.tls).wait(config.wait),
            maxlen: config.maxlen.map(|maxlen| maxlen.to_string()),
            config: config.clone(),
            body: Body::new(config.format, pipeline),
            field: String::new(),
        }
    }

    /// The command that adds one delivery; with `bare` only what follows the name of the stream.
    ///
    /// # Errors
    /// When a document cannot be written in the configured format, with the reason.
    fn entry(&mut self, delivery: &Delivery<'_>, bare: bool) -> Result<Cmd, String> {
        let change = delivery.change;
        // Room for what most entries need, so that a command is two allocations.
        let mut command = Cmd::with_capacity(16 + 2 * change.headers.len(), change.size() + 256);
        if !bare {
            command.arg("XADD").arg(delivery.target().unwrap_or(&self.config.stream));
        }
        if let Some(maxlen) = &self.maxlen {
            command.arg("MAXLEN").arg("~").arg(maxlen);
        }
        command.arg("*").arg("id").arg(&*change.id).arg("op").arg(change.operation.as_str());
        command.arg("ns").arg(change.namespace.as_str());
        let cannot = |name: &str, cause: Malformed| format!("its `{name}` cannot be written: {cause}");
        if let Some(key) = self.body.key(change).map_err(|cause| cannot("key", cause))? {
            command.arg("key").arg(key);
        }
        let field = self.body.field();
        if let Some(body) = self.body.of(delivery).map_err(|cause| cannot(field, cause))? {
            command.arg(field).arg(body);
        }
        for (name, value) in delivery.headers() {
            self.field.clear();
            self.field.extend(["h.", name]);
            command.arg(&self.field).arg(value);
        }
        Ok(command)
    }

    /// Writes one chunk. `indexes` are those of its commands.
    async fn chunk(
        &mut self,
        connection: &mut MultiplexedConnection,
        commands: &Pipeline,
        indexes: &[usize],
        writes: &mut Writes<'_>,
    ) -> Result<(), Fault> {
        let replies = match connection.req_packed_commands(commands, commands.len() + 1, 1).await {
            Ok(replies) => replies,
            Err(error) => return Err(self.aborted(error)),
        };
        // The one reply that is left is that of EXEC: the replies of all commands.
        let replies = match replies.into_iter().next() {
            Some(Value::Array(replies)) if replies.len() == indexes.len() => replies,
            Some(Value::ServerError(error)) => return Err(self.rejected(&error)),
            _ => {
                self.connector.disconnect();
                return Err(Fault::transient(
                    Code::RedisError,
                    format!(
                        "Redis at {} answered to EXEC with something else than one reply for each entry",
                        self.connector.place()
                    ),
                ));
            }
        };
        self.connector.replicated(connection).await?;
        let mut failed = None;
        for (index, reply) in indexes.iter().zip(replies) {
            match reply {
                Value::ServerError(error) => match trouble_of(&error) {
                    Trouble::Entry => writes.refuse(*index, format!("Redis refused it: {}", told(&error))),
                    _ => failed = failed.or(Some(error)),
                },
                _ => writes.confirm(*index),
            }
        }
        // A transaction that ran is not stopped by a command that failed: entries behind it are written. The codes that pass
        // are answered before EXEC in every version seen, so this is a safety net and not the rule.
        failed.map_or(Ok(()), |error| Err(self.rejected(&error)))
    }

    /// A transaction that did not run: the connection broke, or a command was turned down when it was queued.
    fn aborted(&mut self, error: RedisError) -> Fault {
        match error.clone().into_server_errors().as_deref() {
            Some([(_, first), ..]) => {
                let first = first.clone();
                self.rejected(&first)
            }
            _ => self.connector.lost(&error),
        }
    }

    /// An error that is not the fault of one entry.
    fn rejected(&mut self, error: &ServerError) -> Fault {
        self.connector.rejected(error)
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
        tracing::info!(
            event = "sink_opened",
            place = self.connector.place(),
            stream = self.config.stream,
            "connected to Redis"
        );
        Ok(())
    }

    async fn write(&mut self, writes: &mut Writes<'_>) -> Result<Wrote, Fault> {
        let untold: Vec<_> =
            writes.pending().filter(|(_, delivery)| !self.body.tells(delivery.change.operation)).collect();
        untold.iter().for_each(|(index, _)| writes.ignore(*index));
        if self.ledger.is_some() {
            return self.write_keeping(writes).await;
        }
        let mut connection = self.connector.connection().await?;
        self.memory.wait_for_room(&mut self.connector, &mut connection).await?;
        let pending: Vec<_> = writes.pending().collect();
        let mut pending = pending.into_iter().peekable();
        while pending.peek().is_some() {
            let mut commands = Pipeline::with_capacity(CHUNK.min(pending.len()));
            commands.atomic();
            let (mut indexes, mut bytes) = (Vec::with_capacity(CHUNK.min(pending.len())), 0);
            while let Some((index, delivery)) = pending.next_if(|(_, delivery)| {
                indexes.len() < CHUNK && (indexes.is_empty() || bytes + delivery.change.size() <= CHUNK_BYTES)
            }) {
                bytes += delivery.change.size();
                match self.entry(&delivery, false) {
                    Ok(command) => {
                        commands.add_command(command);
                        indexes.push(index);
                    }
                    Err(reason) => writes.refuse(index, reason),
                }
            }
            if !indexes.is_empty() {
                self.chunk(&mut connection, &commands, &indexes, writes).await?;
            }
        }
        Ok(Wrote::All)
    }
}

#[cfg(test)]
mod tests;
