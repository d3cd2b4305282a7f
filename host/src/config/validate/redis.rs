//! Redis: URLs, names, and what goes with which mode.

use std::time::Duration;

use super::{
    super::{
        model::{
            BeforeImage, DocumentFormat, FullDocument, RedisDeadLetterConfig, RedisMode, RedisSinkConfig,
            RedisSourceConfig, RedisTlsConfig, RedisWaitConfig, Secret, SourceConfig, WatchedOperation,
        },
        units::Span,
    },
    At, Check, DAY, HOUR,
};
use crate::{
    error::Code,
    redis::same_database,
    sink::template::{Template, Unreadable, Words},
};

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
            let help = "write `url: rediss://HOST:PORT`, which is TLS, or leave `tls` out";
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
        self.redis_url(at, &redis.url, &redis.tls);
        self.span(&at.key("timeout"), redis.timeout, Duration::from_millis(1), HOUR);
        if !(1..=100).contains(&redis.pause_at) {
            self.value(&at.key("pause_at"), "is out of range", "take 1 to 100 (hundredths of `maxmemory`)");
        }
        self.keys_of_mode(at, redis);
        self.redis_names(at, redis);
        if redis.maxlen == Some(0) {
            let help = "take 1 or more, or leave it out to keep all";
            self.value(&at.key("maxlen"), "is 0, which keeps nothing", help);
        }
        if let Some(age) = redis.max_age {
            self.span(&at.key("max_age"), age, Duration::from_secs(1), 3660 * DAY);
            if redis.maxlen.is_some() {
                let help = "Redis trims a stream by one of them: leave the other out";
                self.report(&at.key("max_age"), Code::ConfigConflict, "both `maxlen` and `max_age` are given", help);
            }
        }
        if let Some(ttl) = redis.ttl {
            self.span(&at.key("ttl"), ttl, Duration::from_millis(1), 3660 * DAY);
        }
        if redis.partitions.is_some_and(|partitions| !(1..=1024).contains(&partitions)) {
            self.value(&at.key("partitions"), "is out of range", "take 1 to 1024, or leave it out for one stream");
        }
        if let Some(latest) = redis.latest {
            let at = at.key("latest");
            self.span(&at.key("flush_every"), latest.flush_every, Duration::from_millis(1), HOUR);
            self.size(&at.key("flush_bytes"), latest.flush_bytes, 1 << 10, 16 << 30, "1KiB to 16GiB");
            if latest.flush_max == 0 {
                self.value(&at.key("flush_max"), "is 0, which holds nothing", "take 1 or more, or leave `latest` out");
            }
        }
    }

    /// A key that the mode does nothing with was meant for another.
    fn keys_of_mode(&mut self, at: &At<'_>, redis: &RedisSinkConfig) {
        use RedisMode::{Hash, Json, List, Pubsub, Set, Stream, String, Zset};
        let given: [(&str, bool, &[RedisMode]); 9] = [
            ("stream", redis.stream.is_some(), &[Stream]),
            ("key", redis.key.is_some(), &[String, Json, Hash, Set, Zset, List]),
            ("member", redis.member.is_some(), &[Set, Zset]),
            ("score", redis.score.is_some(), &[Zset]),
            ("channel", redis.channel.is_some(), &[Pubsub]),
            ("ttl", redis.ttl.is_some(), &[String, Json, Hash]),
            ("maxlen", redis.maxlen.is_some(), &[Stream, List]),
            ("max_age", redis.max_age.is_some(), &[Stream]),
            ("partitions", redis.partitions.is_some(), &[Stream]),
        ];
        let latest = ("latest", redis.latest.is_some(), &[String, Json, Hash][..]);
        let mode = redis.mode;
        for (key, given, modes) in given.into_iter().chain([latest]) {
            if given && !modes.contains(&mode) {
                let modes: Vec<_> = modes.iter().map(|mode| format!("`{}`", mode.as_str())).collect();
                let message = format!("`{key}` is not for `mode: {}`", mode.as_str());
                self.report(&at.key(key), Code::ConfigConflict, message, format!("it is for {}", modes.join(", ")));
            }
        }
        let format = match mode {
            Hash if redis.format != DocumentFormat::Json => "a hash has its fields as plain text",
            Set | Zset if redis.format != DocumentFormat::Json => "a set holds no documents",
            Json if redis.format == DocumentFormat::Bson => "BSON is no JSON",
            String | Json if matches!(redis.format, DocumentFormat::Debezium | DocumentFormat::Cloudevents) => {
                "a key holds a document, and the envelope a change"
            }
            _ => return,
        };
        let message = format!("this `format` is not for `mode: {}`: {format}", mode.as_str());
        let help = match mode {
            String => "leave it out, or take `mode: stream`, `list` or `pubsub`",
            _ => "leave it out, or take `mode: string`",
        };
        self.report(&at.key("format"), Code::ConfigConflict, message, help);
    }

    fn redis_names(&mut self, at: &At<'_>, redis: &RedisSinkConfig) {
        let key = match redis.mode {
            RedisMode::Stream => "stream",
            RedisMode::Pubsub => "channel",
            _ => "key",
        };
        if redis.target().is_empty() {
            let what =
                if redis.mode == RedisMode::Stream && redis.stream.is_none() { "is missing" } else { "is empty" };
            self.value(&at.key(key), what, format!("name the {key}"));
        }
        let target = self.redis_template(&at.key(key), redis.target());
        if redis.member().is_empty() {
            self.value(&at.key("member"), "is empty", "name what stands for a document, such as `{_id}`");
        }
        self.redis_template(&at.key("member"), redis.member());
        if redis.mode == RedisMode::Zset {
            let good = |score: &String| !score.is_empty() && !score.contains(['{', '}', '.', '$']);
            if !redis.score.as_ref().is_some_and(good) {
                let help = "name one top-level field with numbers or dates, without braces: `score: price`";
                self.value(&at.key("score"), "names no field", help);
            }
        }
        let Some(target) = target.filter(|_| redis.mode.is_document()) else { return };
        if target.fields().next().is_none() {
            let help = "put a field into it that tells documents apart: `{database}:{collection}:{_id}`";
            self.value(&at.key("key"), "is the same for all documents of a collection", help);
        }
        if let Some(field) = target.fields().find(|field| *field != "_id").filter(|_| redis.latest.is_some()) {
            let message = format!("`latest` with `{{{field}}}` in `key`, which may change");
            let help = "values are held by document, not by key: make `key` of `_id` alone, or leave `latest` out";
            self.report(&at.key("key"), Code::ConfigConflict, message, help);
        }
    }

    fn redis_template(&mut self, at: &At<'_>, text: &str) -> Option<Template> {
        match Template::parse(text, Words::Fields) {
            Ok(template) => return Some(template),
            Err(Unreadable::Word(word)) => {
                let help = "a word in braces is `database`, `collection` or a top-level field, such as `{_id}`";
                self.value(at, &format!("has `{{{word}}}`, which is no field"), help);
            }
            Err(Unreadable::Brace) => {
                let help = "write `{_id}` for a field, and `{{` or `}}` for a brace itself";
                self.value(at, "has a brace without its other half", help);
            }
        }
        None
    }

    /// What a sink writes to where its own source reads comes back as a change, and is written again, for ever. Here it is told of a
    /// name that leads there in every case; the sink looks at the others when it writes.
    fn redis_loop(&mut self, at: &At<'_>, name: &str, redis: &RedisSinkConfig, source: &RedisSourceConfig) {
        if redis.mode == RedisMode::Pubsub || !same_database(&redis.url, &source.url) {
            return;
        }
        let Ok(template) = Template::parse(redis.target(), Words::Fields) else { return };
        let ends: Vec<String> = match redis.partitions {
            None | Some(0 | 1) => vec![String::new()],
            Some(partitions) => (0..partitions.min(1024)).map(|number| format!(":{number}")).collect(),
        };
        let leads_there = |end: &String| {
            let name: Vec<Option<u8>> = template.symbols().into_iter().chain(end.bytes().map(Some)).collect();
            source.reads(&name, redis.mode)
        };
        if ends.iter().any(leads_there) {
            let message = format!(
                "the sink `{name}` writes to `{}`, which the source of the same pipeline reads: what it writes would come back as a \
                 change, for ever",
                redis.target()
            );
            let (key, help) = match redis.mode {
                RedisMode::Stream => (
                    "stream",
                    "give the sink another name or server, or the source's `streams` names that leave it out",
                ),
                _ => ("key", "give the sink another name or server, or the source's `keys` patterns that leave it out"),
            };
            self.report(&at.key(key), Code::ConfigConflict, message, help);
        }
    }

    /// Dead letters in a stream that the source reads would come back as changes.
    pub(super) fn redis_dead_letter_loop(
        &mut self,
        at: &At<'_>,
        letters: &RedisDeadLetterConfig,
        source: &SourceConfig,
    ) {
        if let SourceConfig::Redis(source) = source
            && same_database(&letters.url, &source.url)
            && source.reads(letters.stream.as_bytes(), RedisMode::Stream)
        {
            let message = format!(
                "dead letters go to `{}`, which the source of the same pipeline reads: each would come back as a change",
                letters.stream
            );
            let help = "give them another stream or server, or the source's `streams` names that leave it out";
            self.report(&at.key("stream"), Code::ConfigConflict, message, help);
        }
    }

    /// What a Redis sink needs of its source.
    pub(super) fn redis_of_source(&mut self, at: &At<'_>, name: &str, redis: &RedisSinkConfig, source: &SourceConfig) {
        let at = at.key("redis");
        let source = match source {
            SourceConfig::Mongodb(source) => source,
            SourceConfig::Redis(source) => return self.redis_loop(&at, name, redis, source),
            SourceConfig::Pubsub(_) | SourceConfig::File(_) | SourceConfig::Stdin(_) => return,
        };
        if redis.mode.is_state() && source.full_document == FullDocument::Off {
            let message = format!("updates come without their documents, and the sink `{name}` writes whole documents");
            let help = "set the source's `full_document: lookup`, or the sink's `mode: stream`";
            self.report(&at.key("mode"), Code::ConfigConflict, message, help);
        }
        // Of a delete only the key is known; an update must find where the document was, too.
        let without = |operation: &WatchedOperation| match operation {
            WatchedOperation::Insert => false,
            WatchedOperation::Update | WatchedOperation::Replace => redis.mode.is_state(),
            WatchedOperation::Delete => true,
        };
        let watched = if source.operations.is_empty() { &WatchedOperation::ALL[..] } else { &source.operations };
        if source.before != BeforeImage::Off || !watched.iter().any(without) {
            return;
        }
        let member = if matches!(redis.mode, RedisMode::Set | RedisMode::Zset) { redis.member() } else { "" };
        let templates = [redis.target(), member].map(|text| Template::parse(text, Words::Fields));
        let fields = templates.iter().flatten().flat_map(Template::fields);
        let Some(field) = fields.into_iter().find(|field| *field != "_id") else { return };
        let message = format!("the sink `{name}` makes names of `{{{field}}}`, which a delete does not have");
        let help = "set the source's `before: required` (or `when_available`), so that the document before the change is known; \
                    or watch inserts alone, or make names of `{_id}`";
        self.report(&at, Code::ConfigConflict, message, help);
    }
}
