//! Redis: URLs and streams.

use std::time::Duration;

use super::{
    super::{
        model::{RedisSinkConfig, Secret},
        units::Span,
    },
    At, Check, HOUR,
};
use crate::error::Code;

impl Check<'_> {
    pub(super) fn redis_url(&mut self, at: &At<'_>, url: &Secret) {
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
        }
    }

    pub(super) fn redis(&mut self, at: &At<'_>, url: &Secret, stream: &str, timeout: Span) {
        self.redis_url(at, url);
        if stream.is_empty() {
            self.value(&at.key("stream"), "is empty", "name the stream");
        }
        self.span(&at.key("timeout"), timeout, Duration::from_millis(1), HOUR);
    }

    pub(super) fn redis_sink(&mut self, at: &At<'_>, redis: &RedisSinkConfig) {
        self.redis(at, &redis.url, &redis.stream, redis.timeout);
        if redis.maxlen == Some(0) {
            let help = "take 1 or more, or leave it out to keep all";
            self.value(&at.key("maxlen"), "is 0, which keeps nothing", help);
        }
        if !(1..=100).contains(&redis.pause_at) {
            self.value(&at.key("pause_at"), "is out of range", "take 1 to 100 (hundredths of `maxmemory`)");
        }
    }
}
