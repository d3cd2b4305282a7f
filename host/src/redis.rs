//! What all that talk to Redis share: one connection that is made when it is needed, and what the server's errors mean.

mod examine;
pub(crate) mod glob;
mod tls;
mod wait;

use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, RedisError, ServerError, aio::MultiplexedConnection,
};

use crate::{
    config::{RedisTlsConfig, RedisWaitConfig, Secret},
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
    /// The server does not know the command, or not in this form.
    Unknown,
    /// This command will never be accepted.
    Entry,
}

/// An error of the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// The first word of the error; of the many that begin with `ERR`, how it goes on.
    pub(crate) says: &'static str,
    /// How it is handled.
    pub(crate) trouble: Trouble,
    /// Why, in few words, for the documentation.
    #[cfg_attr(not(test), allow(dead_code, reason = "what the table says in words is for the documentation"))]
    pub(crate) why: &'static str,
}

impl Row {
    /// What follows from it.
    #[cfg(test)]
    pub(crate) const fn meaning(&self) -> crate::fault_table::Meaning {
        use crate::fault_table::Meaning;
        match self.trouble {
            Trouble::Busy => Meaning::Transient,
            Trouble::Denied | Trouble::Cluster | Trouble::Unknown => Meaning::Pipeline,
            Trouble::Entry => Meaning::Change,
        }
    }
}

macro_rules! rows {
    ($($trouble:ident { $($says:literal $why:literal,)+ })+) => {
        /// What the errors of a server mean for a write; `docs/errors/README.md` shows the table, and a test holds the two
        /// together.
        pub(crate) const WRITES: &[Row] = &[$($(Row { says: $says, trouble: Trouble::$trouble, why: $why },)+)+];
    };
}

rows! {
    Busy {
        "OOM" "`maxmemory` is reached, and nothing may be thrown away",
        "LOADING" "the server reads its data from the disk",
        "READONLY" "a replica; after a failover the name may lead to another server, so the connection is made anew",
        "MASTERDOWN" "a replica without its primary",
        "CLUSTERDOWN" "a part of the cluster is down",
        "TRYAGAIN" "the keys are moving between nodes",
        "BUSY" "a script runs for too long",
        "UNKILLABLE" "a script that has written cannot be stopped",
        "NOREPLICAS" "fewer replicas than `min-replicas-to-write`",
        "NOGOODSLAVE" "no replica can take over",
        "MISCONF" "the server cannot write its snapshot, mostly since its disk is full",
        "EXECABORT" "a command was turned down when it was queued, for a reason that stands beside it",
        "NOSCRIPT" "the server was started again, and the script is sent once more",
        "IOERR" "the server's own network",
        "ERR max number of clients reached" "`maxclients` is reached",
    }
    Denied {
        "NOAUTH" "the server wants a password",
        "WRONGPASS" "user or password are wrong",
        "NOPERM" "the user may not run the command, or not with this key",
        "DENIED" "protected mode: the server answers only to its own machine",
        "ERR AUTH" "a password where none is set, or the like",
        "ERR invalid password" "the password is wrong, as old servers say it",
        "ERR Client sent AUTH" "a password where none is set, as old servers say it",
        "ERR The user executing the script" "the user may not run a command in a script, or not with this key, as Redis 7.0 says it",
    }
    Cluster {
        "MOVED" "the key lives on another node of the cluster",
        "ASK" "the key is moving to another node of the cluster",
        "CROSSSLOT" "the keys live on several nodes of the cluster",
    }
    Unknown {
        "NOPROTO" "the server does not speak the version of the protocol",
        "ERR unknown command" "the server does not know the command: it is too old, or the command was renamed",
        "ERR DB index is out of range" "the database number of the URL",
        "ERR SELECT is not allowed in cluster mode" "the database number of the URL",
    }
    Entry {
        "WRONGTYPE" "the key holds a value of another type",
        "BUSYKEY" "the key is there already",
        "ERR" "any other: the server does not take this command",
    }
}

/// The row of an error: the longest that fits, so that one that begins with `ERR` goes before `ERR` itself.
fn row(code: &str, details: &str) -> Option<&'static Row> {
    let fits = |row: &&Row| match row.says.split_once(' ') {
        Some((word, rest)) => code == word && details.starts_with(rest),
        None => code == row.says,
    };
    WRITES.iter().filter(fits).max_by_key(|row| row.says.len())
}

/// What an error of the server means.
pub(crate) fn trouble_of(error: &ServerError) -> Trouble {
    // `EXEC` itself, which the user may not run, is answered like that too; that passes by no waiting.
    if error.code() == "EXECABORT" && error.details().is_some_and(|told| told.contains("NOPERM")) {
        return Trouble::Denied;
    }
    row(error.code(), error.details().unwrap_or_default()).map_or(Trouble::Entry, |row| row.trouble)
}

/// Makes the connection, and makes it again after it was lost.
pub(crate) struct Connector {
    url: Secret,
    tls: RedisTlsConfig,
    wait: RedisWaitConfig,
    unreplicated: bool,
    timeout: Duration,
    connection: Option<MultiplexedConnection>,
    place: String,
    /// What the user must be given, as `ACL SETUSER` takes it.
    rights: String,
}

impl Connector {
    /// Nothing is connected yet.
    pub(crate) fn new(url: Secret, timeout: Duration) -> Self {
        let place = Client::open(url.reveal())
            .map_or_else(|_| "the configured URL".to_owned(), |client| client.get_connection_info().addr().to_string());
        let (tls, wait) = (RedisTlsConfig::default(), RedisWaitConfig::default());
        Self { url, tls, wait, unreplicated: false, timeout, connection: None, place, rights: String::new() }
    }

    /// A user who lacks a right is told that these are needed: `~KEY +COMMAND ...`, as `ACL SETUSER` takes them.
    pub(crate) fn rights(mut self, rights: impl Into<String>) -> Self {
        self.needs(rights);
        self
    }

    /// As [`Connector::rights`], once more is known.
    pub(crate) fn needs(&mut self, rights: impl Into<String>) {
        self.rights = rights.into();
    }

    /// With these certificates.
    pub(crate) fn tls(mut self, tls: &RedisTlsConfig) -> Self {
        self.tls = tls.clone();
        self
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
        let client = tls::client(&self.url, &self.tls).await?;
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

    /// A connection that takes notifications, apart from the other.
    pub(crate) async fn pubsub(&mut self) -> Result<redis::aio::PubSub, Fault> {
        let client = tls::client(&self.url, &self.tls).await?;
        match tokio::time::timeout(self.timeout, client.get_async_pubsub()).await {
            Ok(Ok(pubsub)) => Ok(pubsub),
            Ok(Err(error)) => Err(self.lost(&error)),
            Err(_) => Err(Fault::transient(
                Code::RedisUnreachable,
                format!("Redis at {} did not answer within {:?}", self.place, self.timeout),
            )),
        }
    }

    /// The number of the database that the URL names.
    pub(crate) fn database(&self) -> i64 {
        Client::open(self.url.reveal()).map_or(0, |client| client.get_connection_info().redis_settings().db())
    }

    /// Whether there is a connection that was not lost yet.
    pub(crate) fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Forgets the connection; the next call makes another.
    pub(crate) fn disconnect(&mut self) {
        self.unreplicated = self.wait.is_on();
        self.connection = None;
    }

    /// The fault for an error of the connection. It is not used again.
    pub(crate) fn lost(&mut self, error: &RedisError) -> Fault {
        // A port without TLS takes a handshake for half a command, and waits for the rest.
        let handshake = self.connection.is_none() && self.url.reveal().starts_with("rediss://");
        self.disconnect();
        let place = &self.place;
        if let Some(fault) = tls::refused(place, error) {
            return fault;
        }
        if error.kind() == ErrorKind::AuthenticationFailed {
            return denied(place, &error.to_string(), &self.rights);
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
                    "Redis at {place} did not answer within {:?}: the connection is given up and made again{}",
                    self.timeout,
                    if handshake { "; `rediss://` wants the server's TLS port" } else { "" }
                ),
            ),
            _ => Fault::transient(Code::RedisUnreachable, format!("Redis at {place} cannot be reached: {error}")),
        }
    }

    /// The fault for an error of the server that concerns more than one command.
    pub(crate) fn rejected(&mut self, error: &ServerError) -> Fault {
        let place = &self.place;
        let told = told(error);
        match trouble_of(error) {
            Trouble::Busy => {
                if error.code() == "READONLY" {
                    // A replica, or a primary of before a failover: the name may lead elsewhere by now.
                    self.unreplicated = self.wait.is_on();
                    self.connection = None;
                }
                Fault::transient(Code::RedisBusy, format!("Redis at {} cannot take writes now: {told}", self.place))
            }
            Trouble::Denied => denied(place, &told, &self.rights),
            Trouble::Cluster => Fault::fatal(
                Code::RedisConfiguration,
                format!(
                    "Redis at {place} is a node of a cluster, which this sink cannot write to: {told}; give it a single server"
                ),
            ),
            Trouble::Unknown => Fault::fatal(
                Code::RedisConfiguration,
                format!(
                    "Redis at {place} does not take what this sink sends: {told}; it needs Redis 5 or later with no command renamed, \
                     and a database that the server has"
                ),
            ),
            Trouble::Entry => {
                Fault::fatal(Code::RedisError, format!("Redis at {place} answered with an error: {told}"))
            }
        }
    }
}

/// Whether two URLs lead to the same database of the same server, as far as the URLs tell: another name of the server is another server.
pub(crate) fn same_database(one: &Secret, other: &Secret) -> bool {
    let place = |url: &Secret| {
        let client = Client::open(url.reveal()).ok()?;
        let info = client.get_connection_info();
        let (host, port) = match info.addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => (host.to_lowercase(), *port),
            ConnectionAddr::Unix(path) => (path.display().to_string(), 0),
            _ => return None,
        };
        let loopback = matches!(host.as_str(), "localhost" | "::1" | "[::1]") || host.starts_with("127.");
        Some((if loopback { "127.0.0.1".to_owned() } else { host }, port, info.redis_settings().db()))
    };
    place(one).is_some_and(|one| Some(one) == place(other))
}

/// The server's words.
pub(crate) fn told(error: &ServerError) -> String {
    match error.details() {
        Some(details) => format!("{} {details}", error.code()),
        None => error.code().to_owned(),
    }
}

fn denied(place: &str, told: &str, rights: &str) -> Fault {
    let lacks = ["NOPERM", "The user executing the script"].iter().any(|words| told.contains(words));
    let help = match rights {
        _ if !lacks => "check user and password of the URL".to_owned(),
        "" => "give the user of the URL the right to it".to_owned(),
        rights => {
            format!("give the user of the URL what it lacks; all that is needed here is ACL SETUSER NAME {rights}")
        }
    };
    Fault::fatal(Code::RedisDenied, format!("Redis at {place} refuses: {told}; {help}"))
}

#[cfg(test)]
mod tests {
    use super::{Trouble, WRITES, row, same_database};

    #[test]
    fn a_database_is_known_by_its_place_whoever_asks() {
        let same = |one: &str, other: &str| same_database(&one.to_owned().into(), &other.to_owned().into());
        assert!(same("redis://bob:a@Cache.example:6379/1", "redis://cache.example/1"));
        assert!(same("redis://localhost", "rediss://127.0.0.1:6379/0"));
        assert!(same("unix:///run/redis.sock", "redis+unix:///run/redis.sock?user=bob&pass=x"));
        assert!(!same("redis://cache/0", "redis://cache/1"));
        assert!(!same("redis://cache:6379", "redis://cache:6380"));
        assert!(!same("redis://cache", "redis://other"));
        assert!(!same("unix:///run/redis.sock", "unix:///run/other.sock"));
        assert!(!same("no url", "no url"));
    }

    #[test]
    fn codes_are_told_apart() {
        let trouble = |code: &str| row(code, "").map(|row| row.trouble);
        assert_eq!(trouble("OOM"), Some(Trouble::Busy));
        assert_eq!(trouble("NOPERM"), Some(Trouble::Denied));
        assert_eq!(trouble("WRONGTYPE"), Some(Trouble::Entry));
        assert_eq!(trouble("MOVED"), Some(Trouble::Cluster));
        assert_eq!(trouble("SOMETHINGNEW"), None);
    }

    #[test]
    fn errors_without_a_code_of_their_own_are_told_apart_by_their_words() {
        let trouble = |details: &str| row("ERR", details).map(|row| row.trouble);
        assert_eq!(trouble("max number of clients reached"), Some(Trouble::Busy));
        assert_eq!(trouble("unknown command 'XADD', with args beginning with: "), Some(Trouble::Unknown));
        assert_eq!(trouble("invalid password"), Some(Trouble::Denied));
        assert_eq!(trouble("AUTH <password> called without any password configured"), Some(Trouble::Denied));
        assert_eq!(
            trouble("The ID specified in XADD is equal or smaller than the target stream top item"),
            Some(Trouble::Entry)
        );
        assert_eq!(trouble(""), Some(Trouble::Entry));
        for (at, row) in WRITES.iter().enumerate() {
            assert!(WRITES.iter().skip(at + 1).all(|other| other.says != row.says), "{} stands twice", row.says);
        }
    }
}
