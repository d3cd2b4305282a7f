//! Pub/Sub as a source.

use std::time::Duration;

use super::{
    super::model::{MessageForm, MessageFormat, PubsubSourceConfig},
    At, Check, HOUR,
};
use crate::{error::Code, pubsub::names};

impl Check<'_> {
    pub(super) fn pubsub_source(&mut self, at: &At<'_>, pubsub: &PubsubSourceConfig) {
        if let Some(why) = names::wrong("subscriptions", &pubsub.subscription) {
            self.value(&at.key("subscription"), "is no name of a subscription", why);
        }
        self.database(at, Some(&pubsub.database));
        for (key, value) in [("collection", pubsub.collection()), ("body", &*pubsub.body)] {
            if value.is_empty() {
                self.value(&at.key(key), "is empty", "give it a name");
            }
        }
        if pubsub.key.is_some() && pubsub.format == MessageFormat::Raw {
            let message = "`key` does not go with `format: raw`, with which no body is a document";
            self.report(&at.key("key"), Code::ConfigConflict, message, "leave one of the two out");
        }
        if pubsub.messages == MessageForm::Tidegate {
            let given = [("key", pubsub.key.is_some()), ("format", pubsub.format != MessageFormat::Auto)];
            for (key, _) in given.iter().filter(|(_, given)| *given) {
                let message =
                    format!("`{key}` does not go with `messages: tidegate`, whose messages are whole changes");
                self.report(&at.key(key), Code::ConfigConflict, message, "leave one of the two out");
            }
        }
        if !(1..=1_000_000).contains(&pubsub.max_messages) {
            self.value(&at.key("max_messages"), "is out of range", "take 1 to 1000000");
        }
        if let Some(bytes) = pubsub.max_bytes {
            self.size(&at.key("max_bytes"), bytes, 1 << 10, 8 << 30, "1KiB to 8GiB");
        }
        self.span(&at.key("ack_deadline"), pubsub.ack_deadline, Duration::from_secs(10), Duration::from_secs(600));
        if pubsub.max_attempts == Some(0) {
            self.value(
                &at.key("max_attempts"),
                "is 0, with which nothing is delivered",
                "take 1 or more, or leave it out",
            );
        }
        self.span(&at.key("timeout"), pubsub.timeout, Duration::from_millis(10), HOUR);
        if let Some(setup) = &pubsub.setup {
            self.source_setup(&at.key("setup"), pubsub, setup);
        }
    }
}
