//! Real servers on free ports, in folders of their own, gone when dropped.

mod binary;
pub mod emulator;
mod firestore;
mod front;
mod lazy;
pub mod mongod;
mod port;
mod pubsub;
pub mod redis;
mod version;

use tokio::sync::OnceCell;

pub use self::emulator::{Emulator, Kind, PROJECT};
pub use self::firestore::Firestore;
pub use self::front::Front;
pub use self::lazy::{EMULATORS, Emulators, emulator};
pub use self::mongod::{Mongo, MongoOptions};
pub use self::port::{free_port, wait_open};
pub use self::pubsub::{Inbox, PubSub, message};
pub use self::redis::{Redis, RedisOptions, StreamEntry, read_stream};
pub use self::version::Version;

/// The variable that names the MongoDB all tests share; `tidegate-services exec` sets it.
pub const MONGODB_URI: &str = "TIDEGATE_TEST_MONGODB_URI";
/// The variable that names the Redis all tests share; `tidegate-services exec` sets it.
pub const REDIS_URL: &str = "TIDEGATE_TEST_REDIS_URL";

/// Servers shared by tests, which keep apart by [`TestNames`](crate::TestNames). A test that harms a server starts its own.
#[derive(Debug)]
pub struct Shared {
    /// A one-member replica set.
    pub mongodb_uri: String,
    /// A Redis without persistence.
    pub redis_url: String,
    // Held so that they live as long as this process; none when the servers come from outside.
    _own: (Option<Mongo>, Option<Redis>),
}

impl Shared {
    /// A client of the MongoDB. Each test makes its own, because a client is bound to the runtime it was made on.
    pub async fn mongodb(&self) -> ::mongodb::Client {
        ::mongodb::Client::with_uri_str(&self.mongodb_uri)
            .await
            .unwrap_or_else(|error| panic!("connecting to {}: {error}", self.mongodb_uri))
    }

    /// A connection to the Redis.
    pub async fn redis(&self) -> ::redis::aio::MultiplexedConnection {
        redis::connect(&self.redis_url)
            .await
            .unwrap_or_else(|error| panic!("connecting to {}: {error}", self.redis_url))
    }
}

/// The servers all tests share: those that `tidegate-services exec` started for all test processes, otherwise started at the
/// first call and gone with this process.
///
/// # Panics
/// When a server cannot be started.
pub async fn shared() -> &'static Shared {
    static SHARED: OnceCell<Shared> = OnceCell::const_new();
    SHARED
        .get_or_init(|| async {
            let mongo = async {
                match std::env::var(MONGODB_URI) {
                    Ok(uri) => (uri, None),
                    Err(_) => {
                        let server = Mongo::start(MongoOptions::default()).await;
                        (server.uri().to_owned(), Some(server))
                    }
                }
            };
            let redis = async {
                match std::env::var(REDIS_URL) {
                    Ok(url) => (url, None),
                    Err(_) => {
                        let server = Redis::start(RedisOptions::default()).await;
                        (server.url(), Some(server))
                    }
                }
            };
            let ((mongodb_uri, mongo), (redis_url, redis)) = tokio::join!(mongo, redis);
            Shared { mongodb_uri, redis_url, _own: (mongo, redis) }
        })
        .await
}
