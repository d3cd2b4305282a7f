//! Keys of Redis as a source.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::units::{ByteSize, Span};

/// `source.redis.keys`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeysConfig {
    /// Keys, names or patterns.
    pub patterns: Vec<String>,
    /// What is not mirrored of these, in the same form.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Types that are mirrored; none: all.
    #[serde(default)]
    pub types: Vec<KeyType>,
    /// How long after a scan the next one begins.
    #[serde(default = "minute")]
    pub interval: Span,
    /// Whether notifications of the server are used.
    #[serde(default)]
    pub notifications: Notifications,
    /// What has a document of its own.
    #[serde(default)]
    pub shape: KeyShape,
    /// What becomes of the documents of a key that vanished.
    #[serde(default)]
    pub on_vanished: OnVanished,
    /// Whether documents say when their key expires.
    #[serde(default = "yes")]
    pub expires: bool,
    /// Bytes of the server's memory that a key may take.
    #[serde(default = "eight_mebibytes")]
    pub max_bytes: ByteSize,
}

const fn minute() -> Span {
    Span(Duration::from_secs(60))
}

const fn yes() -> bool {
    true
}

const fn eight_mebibytes() -> ByteSize {
    ByteSize(8 << 20)
}

/// `source.redis.keys.types`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyType {
    /// Text or bytes.
    String,
    /// Fields with values.
    Hash,
    /// Members.
    Set,
    /// Members with scores.
    Zset,
    /// Items in order.
    List,
}

impl KeyType {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::String, Self::Hash, Self::Set, Self::Zset, Self::List];

    /// As the server calls it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Hash => "hash",
            Self::Set => "set",
            Self::Zset => "zset",
            Self::List => "list",
        }
    }
}

/// `source.redis.keys.notifications`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Notifications {
    /// Where the server has them on.
    #[default]
    Auto,
    /// Never: scans alone.
    Off,
}

/// `source.redis.keys.shape`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyShape {
    /// Each key.
    #[default]
    Key,
    /// Each member of a set or sorted set and each field of a hash; each string and list as a whole.
    Member,
}

/// `source.redis.keys.on_vanished`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnVanished {
    /// They are deleted.
    #[default]
    Remove,
    /// They get the date `vanished_at`.
    Mark,
    /// They stay as they are.
    Keep,
}
