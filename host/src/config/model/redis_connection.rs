//! What everything that connects to a Redis may say of the connection.

use std::{path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::units::Span;

/// `tls` of a Redis source, sink, dead letter or checkpoint, for a `rediss://` URL
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RedisTlsConfig {
    /// Certificates, as PEM, of the authorities that alone may have signed the server's; none: the public ones.
    pub ca_file: Option<PathBuf>,
    /// The certificate that tidegate shows to the server, as PEM, with those between it and its authority.
    pub cert_file: Option<PathBuf>,
    /// The private key of `cert_file`, as PEM.
    pub key_file: Option<PathBuf>,
}

/// `wait` of a Redis sink
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RedisWaitConfig {
    /// So many replicas must have it.
    pub replicas: u32,
    /// It must be synced to disk: on the server itself, and on the replicas (`WAITAOF`, Redis 7.2).
    pub local: bool,
    /// How long they have before it is tried again.
    pub timeout: Span,
}

impl Default for RedisWaitConfig {
    fn default() -> Self {
        Self { replicas: 0, local: false, timeout: Span(Duration::from_secs(1)) }
    }
}

impl RedisWaitConfig {
    /// Whether there is anything to wait for.
    pub const fn is_on(&self) -> bool {
        self.local || self.replicas > 0
    }
}
