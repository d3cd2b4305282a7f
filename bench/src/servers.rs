//! The two servers: filling them, reading what arrived, and asking what they spent.

use std::{collections::HashSet, env};

use anyhow::{Context as _, Result, bail, ensure};
use bson::{Bson, Document, RawDocumentBuf, doc};
use mongodb::{Client, options::WriteConcern};
use redis::aio::MultiplexedConnection;

use crate::{
    contender::{Contender, all_streams},
    documents,
};

/// In a database of the benchmark's own.
pub(crate) const COLLECTION: &str = "inventory";

const INSERT_BATCH: u64 = 10_000;
/// Entries of one XRANGE when the result is checked.
const PAGE: usize = 5_000;

/// MongoDB, as `MONGODB_URI` names it.
///
/// # Errors
/// When the variable is missing or wrong.
pub(crate) async fn mongodb() -> Result<Client> {
    let uri = env::var("MONGODB_URI").context("MONGODB_URI is not set: ./dev bench starts servers and sets it")?;
    Ok(Client::with_uri_str(uri).await?)
}

/// Redis, as `REDIS_URL` names it.
///
/// # Errors
/// When the variable is missing or wrong, or Redis does not answer.
pub(crate) async fn redis() -> Result<MultiplexedConnection> {
    redis_at(&env::var("REDIS_URL").context("REDIS_URL is not set: ./dev bench starts servers and sets it")?).await
}

/// Redis at this URL.
///
/// # Errors
/// When it does not answer.
pub(crate) async fn redis_at(url: &str) -> Result<MultiplexedConnection> {
    // The default time-out of half a second is meant for single commands, not for pipelines on a busy machine.
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(std::time::Duration::from_secs(30)));
    Ok(redis::Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await?)
}

/// CPU seconds a server has spent since it started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerCpu {
    pub(crate) mongod: f64,
    pub(crate) redis: f64,
}

/// Connections of the benchmark itself, not of the contenders.
pub(crate) struct Servers {
    mongodb: Client,
    redis: MultiplexedConnection,
}

impl Servers {
    /// Connects to both.
    ///
    /// # Errors
    /// When a server does not answer.
    pub(crate) async fn connect() -> Result<Self> {
        Ok(Self { mongodb: mongodb().await?, redis: redis().await? })
    }

    /// Makes the collection, so that its creation is no part of what is read.
    pub(crate) async fn create(&self, database: &str) -> Result<()> {
        Ok(self.mongodb.database(database).create_collection(COLLECTION).await?)
    }

    /// `_data` of a resume token that stands after everything that happened so far.
    pub(crate) async fn token(&self, database: &str) -> Result<String> {
        let command =
            doc! { "aggregate": COLLECTION, "pipeline": [{ "$changeStream": {} }], "cursor": { "batchSize": 0 } };
        let database = self.mongodb.database(database);
        let reply = database.run_command(command).await.context("cannot open a change stream")?;
        let cursor = reply.get_document("cursor")?;
        if let Some(Bson::Int64(id)) = cursor.get("id") {
            database.run_command(doc! { "killCursors": COLLECTION, "cursors": [*id] }).await?;
        }
        Ok(cursor.get_document("postBatchResumeToken")?.get_str("_data")?.to_owned())
    }

    /// Inserts the documents, and waits until a majority has them: change streams show nothing earlier.
    pub(crate) async fn insert(&self, database: &str, count: u64) -> Result<()> {
        let collection = self.mongodb.database(database).collection::<RawDocumentBuf>(COLLECTION);
        let mut next = 0;
        while next < count {
            let end = (next + INSERT_BATCH).min(count);
            let documents: Vec<_> = (next..end).map(documents::inventory).collect();
            collection.insert_many(documents).ordered(false).write_concern(WriteConcern::majority()).await?;
            next = end;
        }
        Ok(())
    }

    /// Removes every stream of the benchmark.
    pub(crate) async fn empty_streams(&mut self) -> Result<()> {
        // Not UNLINK: its thread would still be freeing memory while the next run is timed.
        Ok(redis::cmd("DEL").arg(all_streams()).query_async(&mut self.redis).await?)
    }

    /// Removes all that the benchmark made.
    pub(crate) async fn clean(&mut self, database: &str) -> Result<()> {
        self.empty_streams().await?;
        Ok(self.mongodb.database(database).drop().await?)
    }

    /// Entries in all of these streams.
    pub(crate) async fn count(&mut self, streams: &[String]) -> Result<u64> {
        let mut pipeline = redis::pipe();
        for stream in streams {
            pipeline.cmd("XLEN").arg(stream);
        }
        let lengths: Vec<u64> = pipeline.query_async(&mut self.redis).await?;
        Ok(lengths.iter().sum())
    }

    /// Checks that what arrived is each event once, and what the plugins were to do with it.
    ///
    /// # Errors
    /// Names the first entry that is not as it should be.
    pub(crate) async fn check(&mut self, contender: Contender, events: u64) -> Result<()> {
        let mut ids = HashSet::new();
        for stream in contender.streams() {
            let mut start = "-".to_owned();
            loop {
                let page: Vec<(String, Vec<(String, String)>)> = redis::cmd("XRANGE")
                    .arg(&stream)
                    .arg(&start)
                    .arg("+")
                    .arg("COUNT")
                    .arg(PAGE)
                    .query_async(&mut self.redis)
                    .await?;
                let Some((last, _)) = page.last() else { break };
                start = format!("({last}");
                for (entry, fields) in page {
                    let field =
                        |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str());
                    if contender == Contender::TidegatePlugins {
                        let migrated = field("doc")
                            .is_some_and(|doc| doc.contains("\"currency\"") && doc.contains("\"updated_at\""));
                        ensure!(migrated, "entry {entry} of {stream} did not pass the migrator: {fields:?}");
                    }
                    ensure!(
                        field("key").is_some_and(|key| key.len() > 24),
                        "entry {entry} of {stream} has no key: {fields:?}"
                    );
                    let Some(id) = field("id") else { bail!("entry {entry} of {stream} has no id: {fields:?}") };
                    ensure!(ids.insert(id.to_owned()), "the event {id} arrived twice");
                }
            }
        }
        ensure!(ids.len() as u64 == events, "{} of {events} events arrived", ids.len());
        Ok(())
    }

    /// What both servers have spent, as they say themselves.
    pub(crate) async fn cpu(&mut self) -> Result<ServerCpu> {
        let status = self
            .mongodb
            .database("admin")
            .run_command(doc! { "serverStatus": 1, "metrics": 0, "wiredTiger": 0 })
            .await?;
        let extra = status.get_document("extra_info")?;
        let mongod = (number(extra, "user_time_us")? + number(extra, "system_time_us")?) / 1e6;
        Ok(ServerCpu { mongod, redis: redis_cpu(&mut self.redis).await? })
    }

    /// Versions of MongoDB and Redis.
    pub(crate) async fn versions(&self) -> Result<(String, String)> {
        let build = self.mongodb.database("admin").run_command(doc! { "buildInfo": 1 }).await?;
        Ok((build.get_str("version")?.to_owned(), redis_version(&mut self.redis.clone()).await?))
    }
}

/// CPU seconds that Redis has spent.
///
/// # Errors
/// When it does not tell.
pub(crate) async fn redis_cpu(redis: &mut MultiplexedConnection) -> Result<f64> {
    let info: String = redis::cmd("INFO").arg("cpu").query_async(redis).await?;
    let of = |name| info_field(&info, name).and_then(|value| value.parse::<f64>().ok());
    let (user, system) = of("used_cpu_user").zip(of("used_cpu_sys")).context("Redis does not tell its CPU time")?;
    Ok(user + system)
}

/// Its version.
///
/// # Errors
/// When it does not tell.
pub(crate) async fn redis_version(redis: &mut MultiplexedConnection) -> Result<String> {
    let info: String = redis::cmd("INFO").arg("server").query_async(redis).await?;
    Ok(info_field(&info, "redis_version").context("Redis does not tell its version")?.to_owned())
}

fn info_field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn number(document: &Document, name: &str) -> Result<f64> {
    match document.get(name) {
        Some(Bson::Int64(number)) => Ok(*number as f64),
        Some(Bson::Int32(number)) => Ok(f64::from(*number)),
        Some(Bson::Double(number)) => Ok(*number),
        _ => bail!("mongod does not tell {name} (it does on Linux)"),
    }
}
