//! Redis as a source.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{super::units::Span, KeyType, KeysConfig, RedisMode, RedisTlsConfig, Secret, ten_seconds};
use crate::redis::glob;

/// `source.redis`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedisSourceConfig {
    /// `redis://`, `rediss://` or `unix://`, with what `host`, `port`, `user` and `password` say.
    #[serde(rename = "url|host|port|user|password", deserialize_with = "super::connection::redis")]
    #[schemars(with = "super::connection::RedisKeys")]
    pub url: Secret,
    /// Certificates, for `rediss://`.
    #[serde(default)]
    pub tls: RedisTlsConfig,
    /// Streams, names or patterns; none where keys are mirrored.
    #[serde(default)]
    pub streams: Vec<String>,
    /// Keys to mirror, in the place of streams.
    #[serde(default)]
    pub keys: Option<Box<KeysConfig>>,
    /// How often it is looked for new streams.
    #[serde(default = "ten_seconds")]
    pub discover_every: Span,
    /// Where to begin when there is no checkpoint.
    #[serde(default)]
    pub start: StreamStart,
    /// Most entries of a stream that are read at once, 1 to 100000.
    #[serde(default = "thousand")]
    pub count: u32,
    /// What to do when entries are gone that were not read.
    #[serde(default)]
    pub on_lost_position: OnLostEntries,
    /// What the entries are.
    #[serde(default)]
    pub entries: EntryForm,
    /// How documents in entries are written.
    #[serde(default)]
    pub format: EntryFormat,
    /// The database that the changes are of; `{stream}` is the name of the stream, `{1}`, `{2}` ... are its parts between colons.
    #[serde(default = "redis_database")]
    pub database: String,
    /// The collection that they are of, with the same words; none: the name of the stream, of keys the part before the first colon.
    #[serde(default)]
    pub collection: Option<String>,
    /// The field that is the key of a document; none: the id of the entry is.
    #[serde(default)]
    pub key: Option<String>,
    /// The field that holds the document as a whole; none: each field of the entry is one of the document.
    #[serde(default)]
    pub document: Option<String>,
    /// Fields whose values are JSON; the others are text.
    #[serde(default)]
    pub json_fields: Vec<String>,
    /// Reads as a consumer of a group; none: from the position of the checkpoint.
    #[serde(default)]
    pub group: Option<GroupConfig>,
    /// How long one round trip may take before the connection is given up.
    #[serde(default = "ten_seconds")]
    pub timeout: Span,
}

impl RedisSourceConfig {
    /// Whether it reads every key whose name is of this form, of what a sink of this mode writes; `None` in it stands for any text.
    pub(crate) fn reads<T: Copy + Into<Option<u8>>>(&self, name: &[T], mode: RedisMode) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| glob::matches(pattern.as_bytes(), name));
        let Some(keys) = &self.keys else { return mode == RedisMode::Stream && any(&self.streams) };
        let kind = match mode {
            RedisMode::String => KeyType::String,
            RedisMode::Hash => KeyType::Hash,
            RedisMode::Set => KeyType::Set,
            RedisMode::Zset => KeyType::Zset,
            RedisMode::List => KeyType::List,
            RedisMode::Stream | RedisMode::Json | RedisMode::Pubsub => return false,
        };
        // What is excluded may be just what stands where any text may stand.
        let is_known = name.iter().all(|letter| (*letter).into().is_some());
        let has_kind = keys.types.is_empty() || keys.types.contains(&kind);
        has_kind && any(&keys.patterns) && (keys.exclude.is_empty() || is_known && !any(&keys.exclude))
    }
}

const fn thousand() -> u32 {
    1000
}

fn redis_database() -> String {
    "redis".to_owned()
}

impl RedisSourceConfig {
    /// The template of the collections.
    pub fn collection(&self) -> &str {
        match (&self.collection, &self.keys) {
            (Some(template), _) => template,
            (None, Some(_)) => "{1}",
            (None, None) => "{stream}",
        }
    }
}

/// `source.redis.start`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StreamStart {
    /// With the oldest entry that is there.
    #[default]
    Oldest,
    /// With the first entry after the pipeline starts; a stream that is found later is read from its oldest.
    Now,
}

/// `source.redis.on_lost_position`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnLostEntries {
    /// The pipeline stops.
    #[default]
    Stop,
    /// It goes on with the oldest entry that is there.
    Oldest,
}

/// `source.redis.entries`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EntryForm {
    /// Fields and values that become a document.
    #[default]
    Fields,
    /// Changes that a Redis sink of tidegate wrote.
    Tidegate,
}

/// `source.redis.format`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EntryFormat {
    /// Plain JSON; what is Extended JSON in it is understood.
    #[default]
    Json,
    /// MongoDB Extended JSON v2, canonical or relaxed.
    Extjson,
    /// BSON.
    Bson,
}

/// `source.redis.group`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupConfig {
    /// The consumer group; made where it is not there.
    pub name: String,
    /// This host's name in it: the same after a restart, and no other host's.
    pub consumer: String,
    /// How long another consumer may keep an entry without acknowledging it before it is taken over.
    #[serde(default = "minute")]
    pub claim_after: Span,
}

const fn minute() -> Span {
    Span(Duration::from_secs(60))
}
