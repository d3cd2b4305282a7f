//! Streams and channels without a position: transactions (`MULTI` ... `EXEC`), of which each command may fail alone.

use redis::{
    Pipeline, Value,
    aio::{ConnectionLike as _, MultiplexedConnection},
};

use super::{CHUNK, CHUNK_BYTES, RedisSink, rights::refused};
use crate::{
    error::{Code, Fault},
    redis::{Trouble, told, trouble_of},
    sink::Writes,
};

impl RedisSink {
    /// Writes all, chunk by chunk.
    pub(super) async fn write_by_transaction(&mut self, writes: &mut Writes<'_>) -> Result<(), Fault> {
        let mut connection = self.connector.connection().await?;
        self.memory.wait_for_room(&mut self.connector, &mut connection).await?;
        let pending: Vec<_> = writes.pending().collect();
        let mut pending = pending.into_iter().peekable();
        while pending.peek().is_some() {
            let room = CHUNK.min(pending.len());
            let mut transaction = Pipeline::with_capacity(room);
            transaction.atomic();
            let (mut indexes, mut bytes) = (Vec::with_capacity(room), 0);
            while let Some((index, delivery)) = pending.next_if(|(_, delivery)| {
                indexes.len() < CHUNK && (indexes.is_empty() || bytes + delivery.change.size() <= CHUNK_BYTES)
            }) {
                bytes += delivery.change.size();
                for command in self.commands(writes, index, &delivery).unwrap_or_default() {
                    transaction.add_command(command);
                    indexes.push(index);
                }
            }
            if !indexes.is_empty() {
                self.transact(&mut connection, &transaction, &indexes, writes).await?;
            }
        }
        Ok(())
    }

    /// Writes one chunk. `indexes` are those of its commands.
    async fn transact(
        &mut self,
        connection: &mut MultiplexedConnection,
        commands: &Pipeline,
        indexes: &[usize],
        writes: &mut Writes<'_>,
    ) -> Result<(), Fault> {
        let replies = match connection.req_packed_commands(commands, commands.len() + 1, 1).await {
            Ok(replies) => replies,
            Err(error) => {
                let refused = refused(&error, commands);
                let mut fault = self.aborted(error);
                if let Some(refused) = refused.filter(|_| fault.code == Code::RedisDenied) {
                    fault.message += &format!("; refused was `{refused}`");
                }
                return Err(fault);
            }
        };
        // The one reply that is left is that of EXEC: the replies of all commands.
        let replies = match replies.into_iter().next() {
            Some(Value::Array(replies)) if replies.len() == indexes.len() => replies,
            Some(Value::ServerError(error)) => return Err(self.connector.rejected(&error)),
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
        let (mut failed, mut refused) = (None, None);
        for (index, reply) in indexes.iter().zip(replies) {
            match reply {
                Value::ServerError(error) => match trouble_of(&error) {
                    // One delivery may have several commands.
                    Trouble::Entry if refused == Some(*index) => {}
                    Trouble::Entry => {
                        refused = Some(*index);
                        writes.refuse(*index, format!("Redis refused it: {}", told(&error)));
                    }
                    _ => failed = failed.or(Some(error)),
                },
                _ => writes.confirm(*index),
            }
        }
        // A transaction that ran is not stopped by a command that failed: entries behind it are written. The codes that pass
        // are answered before EXEC in every version seen, so this is a safety net and not the rule.
        failed.map_or(Ok(()), |error| Err(self.connector.rejected(&error)))
    }
}
