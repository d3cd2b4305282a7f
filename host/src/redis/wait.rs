//! Waiting until replicas have what was written.
//!
//! `WAIT` counts from the last write of its own connection. After the connection broke there is none yet, and the answer would be about
//! nothing: so whoever writes nothing anew (since what is stored says that it was written) has to write something before it waits.

use redis::{Cmd, RedisError, aio::MultiplexedConnection};

use super::Connector;
use crate::{
    config::RedisWaitConfig,
    error::{Code, Fault},
};

impl Connector {
    /// What was written must be on so many servers before it is confirmed.
    pub(crate) fn wait(mut self, wait: RedisWaitConfig) -> Self {
        self.wait = wait;
        // Of what an earlier run wrote nothing is known.
        self.unreplicated = wait.is_on();
        self
    }

    /// Waits until what this connection wrote is where it must be; at once where nothing is asked for.
    ///
    /// # Errors
    /// [`Code::RedisReplicas`], transient, when too few have it in time: the data is on the primary, and nowhere else for sure.
    pub(crate) async fn replicated(&mut self, connection: &mut MultiplexedConnection) -> Result<(), Fault> {
        let wait = self.wait;
        if !wait.is_on() {
            return Ok(());
        }
        let (local, replicas) = self.ask(connection, &wait).await.map_err(|error| self.cannot_wait(&error))?;
        if local < u32::from(wait.local) || replicas < wait.replicas {
            let synced = if wait.local { " on disk" } else { "" };
            let message = format!(
                "{replicas} of {} replicas of Redis at {} have what was written{synced}{} after {:?}: it is tried again; see `INFO replication`",
                wait.replicas,
                self.place(),
                if local < u32::from(wait.local) { ", and the server itself has not" } else { "" },
                wait.timeout.0
            );
            return Err(Fault::transient(Code::RedisReplicas, message));
        }
        self.unreplicated = false;
        Ok(())
    }

    /// Whether something may have been written of which it is not known that it is where it must be.
    pub(crate) fn is_unreplicated(&self) -> bool {
        self.unreplicated
    }

    /// How many have it: of the server itself none or one, and replicas.
    async fn ask(
        &self,
        connection: &mut MultiplexedConnection,
        wait: &RedisWaitConfig,
    ) -> Result<(u32, u32), RedisError> {
        let millis = u64::try_from(wait.timeout.0.as_millis()).unwrap_or(u64::MAX);
        if wait.local {
            let mut command = Cmd::new();
            command.arg("WAITAOF").arg(1).arg(wait.replicas).arg(millis);
            return command.query_async(connection).await;
        }
        let mut command = Cmd::new();
        command.arg("WAIT").arg(wait.replicas).arg(millis);
        Ok((0, command.query_async(connection).await?))
    }

    fn cannot_wait(&mut self, error: &RedisError) -> Fault {
        let told = error.to_string();
        // An older server, or one that keeps no append-only file, will not do it the next time either.
        let never = if told.contains("unknown command") {
            "`wait: { local: true }` needs Redis 7.2"
        } else if told.contains("appendonly is disabled") {
            "`wait: { local: true }` needs `appendonly yes`"
        } else {
            return self.lost(error);
        };
        let message = format!(
            "Redis at {} cannot wait for its disk: {told}; {never}, or take `wait: {{ replicas: N }}`",
            self.place()
        );
        Fault::fatal(Code::RedisConfiguration, message)
    }
}

#[cfg(test)]
mod tests;
