//! What all that talk to Redis share: one connection that is made when it is needed, and what the server's errors mean.

use std::time::Duration;

use redis::{AsyncConnectionConfig, Client, ErrorKind, RedisError, ServerError, aio::MultiplexedConnection};

use crate::{
    config::Secret,
    error::{Code, Fault},
};

/// How an error code of the server is to be handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The server cannot take writes now.
    Busy,
    /// The user may not.
    Denied,
    /// The server is a cluster node, and the key lives on another.
    Cluster,
    /// This command will never be accepted.
    Entry,
}

/// What an error code of the server means.
pub(crate) fn trouble(code: &str) -> Trouble {
    match code {
        "OOM" | "LOADING" | "READONLY" | "CLUSTERDOWN" | "TRYAGAIN" | "MASTERDOWN" | "BUSY" | "NOREPLICAS"
        | "MISCONF" | "UNKILLABLE" | "NOGOODSLAVE" | "EXECABORT" => Trouble::Busy,
        "NOAUTH" | "WRONGPASS" | "NOPERM" => Trouble::Denied,
        "MOVED" | "ASK" | "CROSSSLOT" => Trouble::Cluster,
        _ => Trouble::Entry,
    }
}

/// Makes the connection, and makes it again after it was lost.
pub(crate) struct Connector {
    url: Secret,
    timeout: Duration,
    connection: Option<MultiplexedConnection>,
    place: String,
}

impl Connector {
    /// Nothing is connected yet.
    pub(crate) fn new(url: Secret, timeout: Duration) -> Self {
        let place = Client::open(url.reveal())
            .map_or_else(|_| "the configured URL".to_owned(), |client| client.get_connection_info().addr().to_string());
        Self { url, timeout, connection: None, place }
    }

    /// `host:port`, for messages.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// The connection; a clone shares it.
    pub(crate) async fn connection(&mut self) -> Result<MultiplexedConnection, Fault> {
        if let Some(connection) = &self.connection {
            return Ok(connection.clone());
        }
        // The crate's message may repeat the URL, which may hold a password.
        let client = Client::open(self.url.reveal()).map_err(|error| {
            let message = format!(
                "the Redis URL is not valid ({}); write redis://USER:PASSWORD@HOST:PORT/DATABASE, or rediss:// for TLS",
                error.category()
            );
            Fault::fatal(Code::RedisConfiguration, message)
        })?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout));
        match client.get_multiplexed_async_connection_with_config(&config).await {
            Ok(connection) => {
                self.connection = Some(connection.clone());
                Ok(connection)
            }
            Err(error) => Err(self.lost(&error)),
        }
    }

    /// Whether there is a connection that was not lost yet.
    pub(crate) fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Forgets the connection; the next call makes another.
    pub(crate) fn disconnect(&mut self) {
        self.connection = None;
    }

    /// The fault for an error of the connection. It is not used again.
    pub(crate) fn lost(&mut self, error: &RedisError) -> Fault {
        self.disconnect();
        let place = &self.place;
        if error.kind() == ErrorKind::AuthenticationFailed {
            return denied(place, &error.to_string());
        }
        match error.clone().into_server_errors().as_deref() {
            Some([(_, first), ..]) => self.rejected(first),
            _ if error.kind() == ErrorKind::InvalidClientConfig => {
                let message = format!("the Redis URL is not valid ({})", error.category());
                Fault::fatal(Code::RedisConfiguration, message)
            }
            _ if error.is_timeout() => Fault::transient(
                Code::RedisUnreachable,
                format!(
                    "Redis at {place} did not answer within {:?}: the connection is given up and made again",
                    self.timeout
                ),
            ),
            _ => Fault::transient(Code::RedisUnreachable, format!("Redis at {place} cannot be reached: {error}")),
        }
    }

    /// The fault for an error of the server that concerns more than one command.
    pub(crate) fn rejected(&mut self, error: &ServerError) -> Fault {
        let place = &self.place;
        let told = told(error);
        match trouble(error.code()) {
            Trouble::Busy => {
                if error.code() == "READONLY" {
                    // A replica, or a primary of before a failover: the name may lead elsewhere by now.
                    self.connection = None;
                }
                Fault::transient(Code::RedisBusy, format!("Redis at {} cannot take writes now: {told}", self.place))
            }
            Trouble::Denied => denied(place, &told),
            Trouble::Cluster => Fault::fatal(
                Code::RedisConfiguration,
                format!(
                    "Redis at {place} is a node of a cluster, which this sink cannot write to: {told}; give it a single server"
                ),
            ),
            Trouble::Entry => {
                Fault::fatal(Code::RedisError, format!("Redis at {place} answered with an error: {told}"))
            }
        }
    }
}

/// The server's words.
pub(crate) fn told(error: &ServerError) -> String {
    match error.details() {
        Some(details) => format!("{} {details}", error.code()),
        None => error.code().to_owned(),
    }
}

fn denied(place: &str, told: &str) -> Fault {
    Fault::fatal(
        Code::RedisDenied,
        format!(
            "Redis at {place} refuses: {told}; check user and password of the URL, and that the user may run XADD, MULTI, EXEC and \
             PING on the streams (ACL SETUSER NAME ~STREAM* +xadd +multi +exec +ping)"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::{Trouble, trouble};

    #[test]
    fn codes_are_told_apart() {
        assert_eq!(trouble("OOM"), Trouble::Busy);
        assert_eq!(trouble("NOPERM"), Trouble::Denied);
        assert_eq!(trouble("WRONGTYPE"), Trouble::Entry);
        assert_eq!(trouble("MOVED"), Trouble::Cluster);
    }
}
