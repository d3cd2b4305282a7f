//! Google Cloud Pub/Sub.

use std::{path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    super::units::{ByteSize, Span},
    DocumentFormat, TopicSetupConfig,
};

/// `project`, `endpoint` and `credentials_file` of everything that connects to Pub/Sub
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct PubsubConnection {
    /// The project of all topics and subscriptions that are named without one.
    pub project: String,
    /// Where the service is; none: the emulator at `PUBSUB_EMULATOR_HOST`, else Google's own.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// The key of a service account, a JSON file; none: application default credentials.
    #[serde(default)]
    pub credentials_file: Option<PathBuf>,
}

/// `pubsub` as a sink
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PubsubSinkConfig {
    /// Where Pub/Sub is.
    #[serde(rename = "project|endpoint|credentials_file")]
    pub connection: PubsubConnection,
    /// The topic that is published to, a template; a router may choose another.
    pub topic: String,
    /// Whether changes of one document have one ordering key.
    #[serde(default = "yes")]
    pub ordering: bool,
    /// What is written of a change, and how.
    #[serde(default)]
    pub format: DocumentFormat,
    /// Most messages in one request, 1 to 1000; with `ordering` a request has those of one key.
    #[serde(default = "thousand")]
    pub max_messages: u32,
    /// Most bytes in one request; one message alone may be bigger.
    #[serde(default = "request_bytes")]
    pub max_bytes: ByteSize,
    /// Most messages that are under way at once, 1 to 10000; none: 1000 with `ordering`, where most are a request each, else 4000.
    #[serde(default)]
    pub max_outstanding: Option<u32>,
    /// How long one request may take before it is given up and sent again.
    #[serde(default = "half_a_minute")]
    pub timeout: Span,
    /// What `tidegate setup` makes besides the topic.
    #[serde(default)]
    pub setup: Option<TopicSetupConfig>,
}

const fn yes() -> bool {
    true
}

const fn thousand() -> u32 {
    1000
}

/// 9.5 MB.
const fn request_bytes() -> ByteSize {
    ByteSize(PubsubSinkConfig::LARGEST)
}

const fn half_a_minute() -> Span {
    Span(Duration::from_secs(30))
}

impl PubsubSinkConfig {
    /// The most bytes that a request may have. Pub/Sub takes 10 MB, of which framing takes what nobody knows beforehand.
    pub const LARGEST: u64 = 9_500_000;

    /// Most messages that are under way at once.
    pub fn outstanding(&self) -> u32 {
        self.max_outstanding.unwrap_or(if self.ordering { 1000 } else { 4000 })
    }
}
