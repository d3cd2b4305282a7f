//! A pipeline: batches, stages, retries, and the sources and sinks that have no file of their own.

use std::{path::PathBuf, time::Duration};

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    super::units::{ByteSize, Span},
    CheckpointConfig, DeadLetterConfig, LimitsConfig, MongodbSinkConfig, MongodbSourceConfig, PubsubSinkConfig,
    PubsubSourceConfig, RedisSinkConfig, RedisSourceConfig, SinkCheckpointConfig,
};

/// A pipeline.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PipelineConfig {
    /// Where changes come from.
    pub source: SourceConfig,
    /// How batches are cut.
    #[serde(default)]
    pub batch: BatchConfig,
    /// Parallel lanes; changes of one key stay in one lane. 1 to 64; 2.
    #[serde(default = "two")]
    pub lanes: u16,
    /// Plugins, in order.
    #[serde(default)]
    pub stages: Vec<StageConfig>,
    /// Where changes go, by name.
    pub sinks: IndexMap<String, SinkConfig>,
    /// Where changes go that a stage rejects or fails on; the default is the file `STATE_DIR/PIPELINE.dead.jsonl`.
    #[serde(default)]
    pub dead_letter: Option<DeadLetterConfig>,
    /// Where the position is kept.
    #[serde(default)]
    pub checkpoint: CheckpointConfig,
    /// How a source or sink that fails is tried again.
    #[serde(default)]
    pub retry: RetryConfig,
}

impl PipelineConfig {
    /// Name of the records that its sinks keep.
    pub fn record<'a>(&'a self, pipeline: &'a str) -> &'a str {
        match &self.checkpoint {
            CheckpointConfig::Sink(SinkCheckpointConfig { name: Some(name), .. }) => name,
            _ => pipeline,
        }
    }
}

fn two() -> u16 {
    2
}

/// `retry`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetryConfig {
    /// The longest that the first wait may be; each next one may be twice as long.
    pub first: Span,
    /// The longest that any wait may be.
    pub ceiling: Span,
    /// Failures in a row after which the pipeline stops; none: it never does.
    pub attempts: Option<u32>,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self { first: Span(Duration::from_millis(100)), ceiling: Span(Duration::from_secs(15)), attempts: None }
    }
}

/// `source`: exactly one of its keys.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceConfig {
    /// A MongoDB change stream.
    Mongodb(MongodbSourceConfig),
    /// Redis streams.
    Redis(RedisSourceConfig),
    /// A subscription of Google Cloud Pub/Sub.
    Pubsub(PubsubSourceConfig),
    /// A file of changes, JSON Lines; ends at the end of the file.
    File(FileSourceConfig),
    /// Changes on standard input, JSON Lines; ends when it is closed.
    Stdin(StdinSourceConfig),
}

/// `source.file`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSourceConfig {
    /// The file.
    pub path: PathBuf,
}

/// `source.stdin`
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StdinSourceConfig {}

/// `batch`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BatchConfig {
    /// Most changes in a batch, 1 to 100000.
    pub max_events: u32,
    /// Most bytes in a batch.
    pub max_bytes: ByteSize,
    /// How long a batch that is not full waits for more.
    pub linger: Span,
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self { max_events: 1000, max_bytes: ByteSize(8 << 20), linger: Span(Duration::from_millis(5)) }
    }
}

/// One stage.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StageConfig {
    /// Name of the plugin: the file stem in the plugin directory.
    pub plugin: String,
    /// Which changes the stage sees; the others pass it by.
    #[serde(default)]
    pub when: WhenConfig,
    /// The plugin's own configuration.
    #[serde(default)]
    pub config: Option<serde_json::Value>,
    /// Keys of `config` that are the text of a file, or of all files in a folder.
    #[serde(default)]
    pub config_files: IndexMap<String, PathBuf>,
    /// Limits of this stage.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// What is done when the plugin fails on everything.
    #[serde(default)]
    pub breaker: BreakerConfig,
}

/// A stage's `breaker`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BreakerConfig {
    /// Changes in a row that the plugin must fail on, each alone, before the breaker trips.
    pub after: u32,
    /// What happens then.
    pub action: BreakerAction,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self { after: 16, action: BreakerAction::Pause }
    }
}

/// `breaker.action`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BreakerAction {
    /// The pipeline pauses until another generation of the plugin is loaded or the operator resumes it.
    Pause,
    /// Changes go to the dead letter unseen by the plugin, but for one of each batch that tries it.
    DeadLetter,
}

/// `when`: both lists must match; an absent or empty one always does.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WhenConfig {
    /// `database.collection`, or `database.*`.
    pub ns: Vec<String>,
    /// Operations.
    pub op: Vec<OperationName>,
}

/// An operation in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OperationName {
    /// insert
    Insert,
    /// update
    Update,
    /// replace
    Replace,
    /// delete
    Delete,
    /// read
    Read,
}

/// A sink: exactly one of its keys.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SinkConfig {
    /// Keys of Redis, streams among them.
    Redis(Box<RedisSinkConfig>),
    /// MongoDB collections.
    Mongodb(MongodbSinkConfig),
    /// Topics of Google Cloud Pub/Sub.
    Pubsub(PubsubSinkConfig),
    /// A file of changes, JSON Lines.
    File(FileSinkConfig),
    /// Standard output, JSON Lines.
    Stdout(StdoutSinkConfig),
}

/// `format` of a body
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DocumentFormat {
    /// Plain JSON: ObjectId as hex text, dates as ISO 8601.
    #[default]
    Json,
    /// MongoDB canonical Extended JSON v2: no type is lost.
    Extjson,
    /// MongoDB relaxed Extended JSON v2: numbers are plain.
    ExtjsonRelaxed,
    /// The BSON bytes as they are.
    Bson,
    /// The whole change in the envelope of Debezium's connector for MongoDB.
    Debezium,
    /// The whole change as a CloudEvent, in the JSON format of CloudEvents 1.0.
    Cloudevents,
}

/// `file` as a sink
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSinkConfig {
    /// The file; made when it is missing, added to when it is there. A router's target is another file in its folder.
    pub path: PathBuf,
}

/// `stdout` as a sink
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StdoutSinkConfig {}
