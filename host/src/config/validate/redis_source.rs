//! Redis as a source.

use std::time::Duration;

use super::{
    super::{
        model::{EntryForm, KeysConfig, RedisSourceConfig},
        units::Span,
    },
    At, Check, HOUR,
};
use crate::{error::Code, source::redis::Naming};

impl Check<'_> {
    pub(super) fn redis_source(&mut self, at: &At<'_>, redis: &RedisSourceConfig) {
        self.redis_url(at, &redis.url, &redis.tls);
        self.span(&at.key("timeout"), redis.timeout, Duration::from_millis(10), HOUR);
        self.span(&at.key("discover_every"), redis.discover_every, Duration::from_millis(10), HOUR);
        if let Some(keys) = &redis.keys {
            return self.redis_keys(at, redis, keys);
        }
        if redis.streams.is_empty() {
            self.value(&at.key("streams"), "is empty", "name the streams, or give patterns such as `events:*`");
        }
        for (index, stream) in redis.streams.iter().enumerate() {
            if stream.is_empty() {
                self.value(&at.key("streams").item(index), "is empty", "name the stream, or give a pattern");
            }
        }
        if !(1..=100_000).contains(&redis.count) {
            self.value(&at.key("count"), "is out of range", "take 1 to 100000");
        }
        self.source_names(at, redis, "stream");
        if redis.entries == EntryForm::Tidegate {
            let given = [
                ("key", redis.key.is_some()),
                ("document", redis.document.is_some()),
                ("json_fields", !redis.json_fields.is_empty()),
            ];
            for (key, _) in given.iter().filter(|(_, given)| *given) {
                let message = format!("`{key}` does not go with `entries: tidegate`, whose entries are whole changes");
                self.report(&at.key(key), Code::ConfigConflict, message, "leave one of the two out");
            }
        }
        if redis.document.is_some() && !redis.json_fields.is_empty() {
            let message = "`json_fields` does not go with `document`, which is the one field that is read";
            self.report(&at.key("json_fields"), Code::ConfigConflict, message, "leave one of the two out");
        }
        if let Some(group) = &redis.group {
            let at = at.key("group");
            for (key, name) in [("name", &group.name), ("consumer", &group.consumer)] {
                if name.is_empty() {
                    self.value(&at.key(key), "is empty", "give it a name");
                }
            }
            self.span(&at.key("claim_after"), group.claim_after, Duration::from_millis(100), Span(24 * HOUR).0);
        }
    }
    /// The names of databases and collections.
    fn source_names(&mut self, at: &At<'_>, redis: &RedisSourceConfig, of: &str) {
        for (key, template) in [("database", redis.database.as_str()), ("collection", redis.collection())] {
            let wrong = match Naming::parse(template) {
                Err(wrong) => wrong,
                Ok(_) if template.is_empty() => "is empty".to_owned(),
                Ok(_) if key == "database" && template.contains('.') => "holds a dot".to_owned(),
                Ok(_) => continue,
            };
            let help = format!(
                "`{{{of}}}` is the name of the {of}, `{{1}}` to `{{9}}` are its parts between colons, `{{{{` is a brace"
            );
            self.value(&at.key(key), &wrong, help);
        }
    }

    fn redis_keys(&mut self, at: &At<'_>, redis: &RedisSourceConfig, keys: &KeysConfig) {
        self.source_names(at, redis, "key");
        let given = [
            ("streams", !redis.streams.is_empty()),
            ("key", redis.key.is_some()),
            ("document", redis.document.is_some()),
            ("json_fields", !redis.json_fields.is_empty()),
            ("group", redis.group.is_some()),
        ];
        for (key, _) in given.iter().filter(|(_, given)| *given) {
            let message = format!("`{key}` does not go with `keys`: a source reads streams, or mirrors keys");
            self.report(&at.key(key), Code::ConfigConflict, message, "make two pipelines of it");
        }
        let at = at.key("keys");
        if keys.patterns.is_empty() {
            self.value(&at.key("patterns"), "is empty", "give patterns such as `app:*`, or `*` for all keys");
        }
        for (key, patterns) in [("patterns", &keys.patterns), ("exclude", &keys.exclude)] {
            for (index, pattern) in patterns.iter().enumerate().filter(|(_, pattern)| pattern.is_empty()) {
                self.value(&at.key(key).item(index), "is empty", format!("name a key, or give a pattern{pattern}"));
            }
        }
        self.span(&at.key("interval"), keys.interval, Duration::from_millis(10), Span(24 * HOUR).0);
        self.size(&at.key("max_bytes"), keys.max_bytes, 1 << 10, 256 << 20, "1KiB to 256MiB");
    }
}
