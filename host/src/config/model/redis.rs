//! Redis as a sink.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    super::units::{ByteSize, Span},
    DocumentFormat, RedisTlsConfig, RedisWaitConfig, Secret, ten_seconds,
};

/// `redis` as a sink
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedisSinkConfig {
    /// `redis://`, `rediss://` or `unix://`, with what `host`, `port`, `user` and `password` say.
    #[serde(rename = "url|host|port|user|password", deserialize_with = "super::connection::redis")]
    #[schemars(with = "super::connection::RedisKeys")]
    pub url: Secret,
    /// Certificates, for `rediss://`.
    #[serde(default)]
    pub tls: RedisTlsConfig,
    /// What becomes of a change.
    #[serde(default)]
    pub mode: RedisMode,
    /// `stream`: the stream entries are added to, a template; a router may choose another.
    #[serde(default)]
    pub stream: Option<String>,
    /// Name of the keys, a template; a router may choose another.
    #[serde(default)]
    pub key: Option<String>,
    /// `set` and `zset`: the member that stands for a document, a template.
    #[serde(default)]
    pub member: Option<String>,
    /// `zset`: the top-level field with the score.
    #[serde(default)]
    pub score: Option<String>,
    /// `pubsub`: the channel, a template; a router may choose another.
    #[serde(default)]
    pub channel: Option<String>,
    /// What is written of a change, and how.
    #[serde(default)]
    pub format: DocumentFormat,
    /// `string`, `json` and `hash`: how long a key lives after its last change; none: for ever.
    #[serde(default)]
    pub ttl: Option<Span>,
    /// `stream`: roughly how many entries a stream keeps (`MAXLEN ~`); `list`: how many elements; none: all.
    #[serde(default)]
    pub maxlen: Option<u64>,
    /// `stream`: roughly how long entries are kept (`MINID ~`); none: for ever.
    #[serde(default)]
    pub max_age: Option<Span>,
    /// `stream`: so many streams `STREAM:0`, `STREAM:1`, ..., by a hash of the document key; none: one, without a number.
    #[serde(default)]
    pub partitions: Option<u32>,
    /// `string`, `json` and `hash`: only the newest value of each document is held, and written now and then.
    #[serde(default)]
    pub latest: Option<LatestConfig>,
    /// The sink waits while so many hundredths of the server's `maxmemory` are in use; 100: until the server refuses. 1 to 100; 95.
    #[serde(default = "ninety_five")]
    pub pause_at: u8,
    /// How long one round trip may take before the connection is given up.
    #[serde(default = "ten_seconds")]
    pub timeout: Span,
    /// On how many servers a write must be before it is confirmed.
    #[serde(default)]
    pub wait: RedisWaitConfig,
}

fn ninety_five() -> u8 {
    95
}

/// `mode` of a Redis sink
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RedisMode {
    /// An entry of a stream for each change.
    #[default]
    Stream,
    /// A string for each document.
    String,
    /// A value of the JSON module for each document.
    Json,
    /// A hash for each document.
    Hash,
    /// A member of a set for each document.
    Set,
    /// A member of a sorted set for each document.
    Zset,
    /// An element of a list for each change.
    List,
    /// A message on a channel for each change.
    Pubsub,
}

impl RedisMode {
    /// The word in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::String => "string",
            Self::Json => "json",
            Self::Hash => "hash",
            Self::Set => "set",
            Self::Zset => "zset",
            Self::List => "list",
            Self::Pubsub => "pubsub",
        }
    }

    /// Whether it writes the document itself, one key for each.
    pub const fn is_document(self) -> bool {
        matches!(self, Self::String | Self::Json | Self::Hash)
    }

    /// Whether Redis holds what the documents are now, and not what happened to them: then updates must come with their documents.
    pub const fn is_state(self) -> bool {
        self.is_document() || matches!(self, Self::Set | Self::Zset)
    }
}

impl RedisSinkConfig {
    /// Name of what is written to: a template.
    pub fn target(&self) -> &str {
        let (name, default) = match self.mode {
            RedisMode::Stream => (&self.stream, ""),
            RedisMode::String | RedisMode::Json | RedisMode::Hash => (&self.key, "{database}:{collection}:{_id}"),
            RedisMode::Set | RedisMode::Zset | RedisMode::List => (&self.key, "{database}:{collection}"),
            RedisMode::Pubsub => (&self.channel, "{database}:{collection}"),
        };
        name.as_deref().unwrap_or(default)
    }

    /// The member that stands for a document: a template.
    pub fn member(&self) -> &str {
        self.member.as_deref().unwrap_or("{_id}")
    }
}

/// `latest` of a Redis sink
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LatestConfig {
    /// The longest that a value is held.
    pub flush_every: Span,
    /// So many documents are held, then all are written.
    pub flush_max: u32,
    /// So many bytes are held, then all are written.
    pub flush_bytes: ByteSize,
}

impl Default for LatestConfig {
    fn default() -> Self {
        Self { flush_every: Span(Duration::from_secs(600)), flush_max: 100_000, flush_bytes: ByteSize(64 << 20) }
    }
}
