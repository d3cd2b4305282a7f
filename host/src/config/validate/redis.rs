//! Redis: URLs and streams.

use std::time::Duration;

use super::{
    super::{
        model::{RedisSinkConfig, RedisTlsConfig, RedisWaitConfig, Secret},
        units::Span,
    },
    At, Check, HOUR,
};
use crate::error::Code;

impl Check<'_> {
    pub(super) fn redis_url(&mut self, at: &At<'_>, url: &Secret, tls: &RedisTlsConfig) {
        const SCHEMES: &[&str] = &["redis://", "rediss://", "unix://", "redis+unix://"];
        if !SCHEMES.iter().any(|scheme| url.reveal().starts_with(scheme)) {
            let at = at.key("url");
            let message = format!("`{}` is no Redis URL", at.name());
            let help = "it begins with `redis://`, `rediss://` (TLS) or `unix://` (a socket)";
            self.report(&at, Code::RedisConfiguration, message, help);
        } else if redis::Client::open(url.reveal()).is_err() {
            let at = at.key("url");
            let message = format!("`{}` is no Redis URL", at.name());
            let help = "check host, port and database number: `redis://USER:PASSWORD@HOST:PORT/0`, with `%40` for an `@` in the password";
            self.report(&at, Code::RedisConfiguration, message, help);
        } else if url.reveal().ends_with("#insecure") {
            let at = at.key("url");
            let message = format!("`{}` ends with `#insecure`, which there is not", at.name());
            let help =
                "leave it out, and name the authority that signed the server's certificate: `tls: { ca_file: ca.pem }`";
            self.report(&at, Code::RedisConfiguration, message, help);
        } else if *tls != RedisTlsConfig::default() && !url.reveal().starts_with("rediss://") {
            let help = "begin the URL with `rediss://`, which is TLS, or leave `tls` out";
            let at = at.key("tls");
            let message = format!("`{}` is for TLS, and the URL is not", at.name());
            self.report(&at, Code::ConfigConflict, message, help);
        }
        if tls.cert_file.is_some() != tls.key_file.is_some() {
            let help = "give both, `cert_file` and the `key_file` that belongs to it, or neither";
            let at = at.key("tls");
            let message = format!("`{}` has only one of a certificate and its key", at.name());
            self.report(&at, Code::ConfigConflict, message, help);
        }
    }

    fn redis_wait(&mut self, at: &At<'_>, wait: &RedisWaitConfig, timeout: Span) {
        if !wait.is_on() && *wait != RedisWaitConfig::default() {
            self.value(at, "waits for nothing", "give `replicas`, or `local: true`, or leave it out");
        }
        if wait.is_on() && !(Duration::from_millis(1)..timeout.0).contains(&wait.timeout.0) {
            let help = "take 1 ms or more, and less than `timeout` of the sink, after which the connection is given up";
            self.value(&at.key("timeout"), "is out of range", help);
        }
    }

    pub(super) fn redis(&mut self, at: &At<'_>, url: &Secret, tls: &RedisTlsConfig, stream: &str, timeout: Span) {
        self.redis_url(at, url, tls);
        if stream.is_empty() {
            self.value(&at.key("stream"), "is empty", "name the stream");
        }
        self.span(&at.key("timeout"), timeout, Duration::from_millis(1), HOUR);
    }

    pub(super) fn redis_sink(&mut self, at: &At<'_>, redis: &RedisSinkConfig) {
        self.redis_wait(&at.key("wait"), &redis.wait, redis.timeout);
        self.redis(at, &redis.url, &redis.tls, &redis.stream, redis.timeout);
        if redis.maxlen == Some(0) {
            let help = "take 1 or more, or leave it out to keep all";
            self.value(&at.key("maxlen"), "is 0, which keeps nothing", help);
        }
        if !(1..=100).contains(&redis.pause_at) {
            self.value(&at.key("pause_at"), "is out of range", "take 1 to 100 (hundredths of `maxmemory`)");
        }
    }
}
