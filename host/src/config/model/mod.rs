//! What a configuration file may say, a file for each of its parts. Only `source` and `sinks` of a pipeline are required; each other
//! key has a default, given here and nowhere else.

mod alerts;
mod connection;
mod mongodb;
mod pipeline;
mod plugins;
mod pubsub;
mod pubsub_setup;
mod pubsub_source;
mod redis;
mod redis_connection;
mod redis_keys;
mod redis_source;
mod store;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

pub use self::{
    alerts::*, mongodb::*, pipeline::*, plugins::*, pubsub::*, pubsub_setup::*, pubsub_source::*, redis::*,
    redis_connection::*, redis_keys::*, redis_source::*, store::*,
};
use super::units::Span;

/// A whole configuration file.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where checkpoints, dead letters and compiled plugins are kept.
    #[serde(default)]
    pub state: StateConfig,
    /// The admin HTTP server.
    #[serde(default)]
    pub admin: AdminConfig,
    /// The log.
    #[serde(default)]
    pub log: LogConfig,
    /// Who is told when something breaks or recovers.
    #[serde(default)]
    pub alerts: AlertsConfig,
    /// The plugin directory and the limits of plugins.
    #[serde(default)]
    pub plugins: PluginsConfig,
    /// The pipelines by name.
    pub pipelines: IndexMap<String, PipelineConfig>,
    /// How long the host drains after SIGTERM or SIGINT before it gives up.
    #[serde(default = "ten_seconds")]
    pub shutdown_timeout: Span,
}

impl Config {
    /// Where the dead letters of a pipeline go: what it says, or the file `STATE_DIR/PIPELINE.dead.jsonl`. `None` when there
    /// is no pipeline of that name.
    pub fn dead_letter(&self, pipeline: &str) -> Option<DeadLetterConfig> {
        let config = self.pipelines.get(pipeline)?;
        Some(config.dead_letter.clone().unwrap_or_else(|| {
            DeadLetterConfig::File(FileSinkConfig { path: self.state.dir.join(format!("{pipeline}.dead.jsonl")) })
        }))
    }
}

fn ten_seconds() -> Span {
    Span(Duration::from_secs(10))
}

/// `state`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StateConfig {
    /// Made when it is missing.
    pub dir: PathBuf,
}

impl Default for StateConfig {
    fn default() -> Self {
        Self { dir: PathBuf::from("./.tidegate") }
    }
}

/// `admin`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdminConfig {
    /// Address and port; port 0 takes a free one, which the log names.
    #[serde(deserialize_with = "socket_address")]
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// What a request must know that changes something; none: only requests from this machine may.
    pub token: Option<Secret>,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 9610)), token: None }
    }
}

fn socket_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        de::Error::custom(
            "not an IP address and a port; write for instance `127.0.0.1:9610`, or `0.0.0.0:9610` for all addresses",
        )
    })
}

/// `log`
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// Lines of this level and above are written.
    pub level: LogLevel,
    /// How a line looks; the default is `pretty` on a terminal and `json` elsewhere.
    pub format: Option<LogFormat>,
    /// A file that gets the lines instead of standard error.
    pub file: Option<LogFileConfig>,
    /// Top-level fields of the document that log lines about a change show, such as `warehouse_id`.
    pub fields: Vec<String>,
}

/// `log.file`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogFileConfig {
    /// The file; the date, and for `hourly` the hour, of what is in it stand before its ending.
    pub path: PathBuf,
    /// When a new file is begun.
    #[serde(default)]
    pub rotate: LogRotation,
    /// How many files are kept; the oldest are removed.
    #[serde(default = "fourteen")]
    pub keep: u16,
}

const fn fourteen() -> u16 {
    14
}

/// `log.file.rotate`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogRotation {
    /// At midnight, UTC.
    #[default]
    Daily,
    /// At the full hour.
    Hourly,
    /// Never: something else sees to it.
    Never,
}

/// `log.level`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Everything.
    Trace,
    /// Every batch.
    Debug,
    /// What an operator wants to know.
    #[default]
    Info,
    /// What may become a problem.
    Warn,
    /// What is one.
    Error,
}

/// `log.format`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
}

/// Text that may hold a password: its `Debug` form hides it. Its name tells the decoder that the value must not be shown.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for the client that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}
