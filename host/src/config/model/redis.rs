//! Redis as a sink.

use serde::Deserialize;

use super::{super::units::Span, DocumentFormat, RedisTlsConfig, RedisWaitConfig, Secret, ten_seconds};

/// `redis` as a sink
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedisSinkConfig {
    /// `redis://` or `rediss://`.
    pub url: Secret,
    /// Certificates, for `rediss://`.
    #[serde(default)]
    pub tls: RedisTlsConfig,
    /// The stream entries are added to; a router may choose another.
    pub stream: String,
    /// What is written of a change, and how.
    #[serde(default)]
    pub format: DocumentFormat,
    /// Roughly how many entries a stream keeps (`MAXLEN ~`); none: all.
    #[serde(default)]
    pub maxlen: Option<u64>,
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
