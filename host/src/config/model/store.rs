//! Where dead letters and positions are kept.

use std::{path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{super::units::Span, FileSinkConfig, RedisTlsConfig, Secret, ten_seconds};

/// `dead_letter`: exactly one of its keys.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeadLetterConfig {
    /// A file, JSON Lines.
    File(FileSinkConfig),
    /// A Redis stream.
    Redis(RedisDeadLetterConfig),
    /// A MongoDB collection.
    Mongodb(MongodbDeadLetterConfig),
}

/// `dead_letter.redis`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedisDeadLetterConfig {
    /// `redis://`, `rediss://` or `unix://`, with what `host`, `port`, `user` and `password` say.
    #[serde(rename = "url|host|port|user|password", deserialize_with = "super::connection::redis")]
    #[schemars(with = "super::connection::RedisKeys")]
    pub url: Secret,
    /// Certificates, for `rediss://`.
    #[serde(default)]
    pub tls: RedisTlsConfig,
    /// The stream.
    pub stream: String,
    /// How long one round trip may take before the connection is given up.
    #[serde(default = "ten_seconds")]
    pub timeout: Span,
}

/// `dead_letter.mongodb`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MongodbDeadLetterConfig {
    /// Connection string, with what `host`, `port`, `user` and `password` say.
    #[serde(rename = "uri|host|port|user|password", deserialize_with = "super::connection::mongodb")]
    #[schemars(with = "super::connection::MongodbKeys")]
    pub uri: Secret,
    /// The database.
    pub database: String,
    /// The collection; several pipelines may share one.
    pub collection: String,
    /// How long one write may take, the wait for a majority of the servers included, before it is tried again.
    #[serde(default = "ten_seconds")]
    pub timeout: Span,
}

/// `checkpoint`: a bare word or a map with options.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckpointConfig {
    /// A file in the state directory.
    File(FileCheckpointConfig),
    /// In each sink, together with the data: effectively once.
    Sink(SinkCheckpointConfig),
    /// A document in MongoDB.
    Mongodb(MongodbCheckpointConfig),
    /// A hash in Redis.
    Redis(RedisCheckpointConfig),
    /// A document in Google Cloud Firestore.
    Firestore(FirestoreCheckpointConfig),
}

/// `checkpoint.sink`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SinkCheckpointConfig {
    /// How long a host that gives no sign keeps the pipeline.
    pub lease: Span,
    /// Name of the records in the sinks, for pipelines of the same name that write to the same server; the pipeline's name.
    pub name: Option<String>,
}

impl Default for SinkCheckpointConfig {
    fn default() -> Self {
        Self { lease: five_seconds(), name: None }
    }
}

/// `checkpoint.mongodb`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MongodbCheckpointConfig {
    /// Connection string, with what `host`, `port`, `user` and `password` say.
    #[serde(rename = "uri|host|port|user|password", deserialize_with = "super::connection::mongodb")]
    #[schemars(with = "super::connection::MongodbKeys")]
    pub uri: Secret,
    /// The database.
    #[serde(default = "tidegate")]
    pub database: String,
    /// The collection.
    #[serde(default = "checkpoints")]
    pub collection: String,
    /// As in `checkpoint.file`.
    #[serde(default = "checkpoint_interval")]
    pub interval: Span,
    /// How long a host that gives no sign keeps the pipeline.
    #[serde(default = "five_seconds")]
    pub lease: Span,
}

/// `checkpoint.redis`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedisCheckpointConfig {
    /// `redis://`, `rediss://` or `unix://`, with what `host`, `port`, `user` and `password` say.
    #[serde(rename = "url|host|port|user|password", deserialize_with = "super::connection::redis")]
    #[schemars(with = "super::connection::RedisKeys")]
    pub url: Secret,
    /// Certificates, for `rediss://`.
    #[serde(default)]
    pub tls: RedisTlsConfig,
    /// The hash; `tidegate:checkpoint:PIPELINE`.
    #[serde(default)]
    pub key: Option<String>,
    /// As in `checkpoint.file`.
    #[serde(default = "checkpoint_interval")]
    pub interval: Span,
    /// How long a host that gives no sign keeps the pipeline.
    #[serde(default = "five_seconds")]
    pub lease: Span,
    /// How long one round trip may take before the connection is given up.
    #[serde(default = "ten_seconds")]
    pub timeout: Span,
}

/// `checkpoint.firestore`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FirestoreCheckpointConfig {
    /// The project of the database.
    pub project: String,
    /// The database, of native mode.
    #[serde(default = "default_database")]
    pub database: String,
    /// The collection; one of a document is written with the path to it, such as `hosts/one/checkpoints`.
    #[serde(default = "tidegate_checkpoints")]
    pub collection: String,
    /// The document; the pipeline.
    #[serde(default)]
    pub document: Option<String>,
    /// Where the service is; none: the emulator at `FIRESTORE_EMULATOR_HOST`, else Google's own.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// The key of a service account, a JSON file; none: application default credentials.
    #[serde(default)]
    pub credentials_file: Option<PathBuf>,
    /// As in `checkpoint.file`. Each write costs, and one document takes about one a second for long.
    #[serde(default = "one_second")]
    pub interval: Span,
    /// How long a host that gives no sign keeps the pipeline. It gives one three times in that time, which is a write each.
    #[serde(default = "fifteen_seconds")]
    pub lease: Span,
    /// How long one request may take.
    #[serde(default = "ten_seconds")]
    pub timeout: Span,
}

fn default_database() -> String {
    "(default)".to_owned()
}

fn tidegate_checkpoints() -> String {
    "tidegate_checkpoints".to_owned()
}

fn one_second() -> Span {
    Span(Duration::from_secs(1))
}

fn fifteen_seconds() -> Span {
    Span(Duration::from_secs(15))
}

fn tidegate() -> String {
    "tidegate".to_owned()
}

fn checkpoints() -> String {
    "checkpoints".to_owned()
}

fn checkpoint_interval() -> Span {
    Span(Duration::from_millis(200))
}

fn five_seconds() -> Span {
    Span(Duration::from_secs(5))
}

/// `checkpoint.file`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FileCheckpointConfig {
    /// The position is written at most this often; what came after the last write is sent again after a crash.
    pub interval: Span,
}

impl Default for FileCheckpointConfig {
    fn default() -> Self {
        Self { interval: checkpoint_interval() }
    }
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self::File(FileCheckpointConfig::default())
    }
}
