//! Redis as a source.

use std::time::Duration;

use super::{
    super::{
        model::{EntryForm, RedisSourceConfig},
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
        for (key, template) in [("database", &redis.database), ("collection", &redis.collection)] {
            let wrong = match Naming::parse(template) {
                Err(wrong) => wrong,
                Ok(_) if template.is_empty() => "is empty".to_owned(),
                Ok(_) if key == "database" && template.contains('.') => "holds a dot".to_owned(),
                Ok(_) => continue,
            };
            let help =
                "`{stream}` is the name of the stream, `{1}` to `{9}` are its parts between colons, `{{` is a brace";
            self.value(&at.key(key), &wrong, help);
        }
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
}
