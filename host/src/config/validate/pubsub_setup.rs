//! What `tidegate setup` makes in Pub/Sub.

use std::{ops::RangeInclusive, time::Duration};

use indexmap::IndexMap;

use super::{
    super::{
        model::{PubsubSinkConfig, PubsubSourceConfig, SubscriptionSetupConfig, TopicSetupConfig},
        units::Span,
    },
    At, Check, DAY,
};
use crate::{
    error::Code,
    pubsub::names,
    sink::template::{Template, Words},
};

const MINUTE: Duration = Duration::from_secs(60);
/// Of a label, its name or its value.
const LONGEST_LABEL: usize = 63;
const LONGEST_FILTER: usize = 256;

impl Check<'_> {
    pub(super) fn topic_setup(&mut self, at: &At<'_>, sink: &PubsubSinkConfig, setup: &TopicSetupConfig) {
        for (index, topic) in setup.topics.iter().enumerate() {
            self.pubsub_name(&at.key("topics").item(index), "topic", topic);
        }
        self.labels(&at.key("labels"), &setup.labels);
        self.kept(&at.key("retention"), setup.retention);
        let fixed = Template::of(&sink.topic, Words::Fields).fixed().is_some();
        let is_one = usize::from(fixed) + setup.topics.len() == 1;
        for (name, subscription) in &setup.subscriptions {
            let at = at.key("subscriptions").key(name);
            self.pubsub_name(&at, "subscription", name);
            if subscription.topic.is_none() && !is_one {
                let help = "add `topic:`, the topic that it is of: the sink has more than one, or none that is known beforehand";
                self.report(&at, Code::ConfigValue, format!("key `topic` is missing in `{}`", at.name()), help);
            }
            self.subscription_setup(&at, subscription);
        }
    }

    pub(super) fn source_setup(&mut self, at: &At<'_>, source: &PubsubSourceConfig, setup: &SubscriptionSetupConfig) {
        if setup.topic.is_none() {
            let help = "add `topic:`, the topic that the subscription is of";
            self.report(at, Code::ConfigValue, format!("key `topic` is missing in `{}`", at.name()), help);
        }
        self.subscription_setup(at, setup);
        let theirs = setup.dead_letter.as_ref().map(|letter| letter.attempts);
        if let Some((ours, theirs)) = source.max_attempts.zip(theirs).filter(|(ours, theirs)| ours >= theirs) {
            let message = format!(
                "`max_attempts` ({ours}) has no effect: the service takes a message away after {theirs} deliveries"
            );
            let help = "set `attempts` above `max_attempts`, or leave one of the two out";
            self.report(&at.key("dead_letter"), Code::ConfigConflict, message, help);
        }
    }

    fn subscription_setup(&mut self, at: &At<'_>, setup: &SubscriptionSetupConfig) {
        if let Some(topic) = &setup.topic {
            self.pubsub_name(&at.key("topic"), "topic", topic);
        }
        if let Some(deadline) = setup.ack_deadline {
            self.seconds(&at.key("ack_deadline"), deadline, Duration::from_secs(10)..=10 * MINUTE, "10s to 10m");
        }
        self.kept(&at.key("retention"), setup.retention);
        if let Some(expires) = setup.expires {
            self.seconds(&at.key("expires"), expires, DAY..=365 * DAY, "1d to 365d");
        }
        if let Some(filter) = &setup.filter
            && (filter.is_empty() || filter.len() > LONGEST_FILTER)
        {
            let help = format!(
                "write 1 to {LONGEST_FILTER} bytes, such as `attributes.operation = \"insert\"`, or leave it out"
            );
            self.value(&at.key("filter"), "is no filter", help);
        }
        self.labels(&at.key("labels"), &setup.labels);
        if let Some(retry) = &setup.retry {
            let at = at.key("retry");
            self.span(&at.key("min"), retry.min, Duration::ZERO, 10 * MINUTE);
            self.span(&at.key("max"), retry.max, Duration::ZERO, 10 * MINUTE);
            if retry.min > retry.max {
                self.value(&at.key("min"), "is more than `max`", "take less for `min`");
            }
        }
        if let Some(letter) = &setup.dead_letter {
            let at = at.key("dead_letter");
            self.pubsub_name(&at.key("topic"), "topic", &letter.topic);
            if setup.topic.as_ref() == Some(&letter.topic) {
                let message = "the dead letters of a subscription would go to its own topic, and come again for ever";
                self.report(&at.key("topic"), Code::ConfigConflict, message, "name another topic");
            }
            if !(5..=100).contains(&letter.attempts) {
                self.value(&at.key("attempts"), "is out of range", "take 5 to 100, as Pub/Sub does");
            }
            if let Some(name) = &letter.subscription {
                self.pubsub_name(&at.key("subscription"), "subscription", name);
            }
            self.kept(&at.key("retention"), letter.retention);
        }
    }

    /// `kind` is `topic` or `subscription`.
    fn pubsub_name(&mut self, at: &At<'_>, kind: &str, name: &str) {
        if let Some(why) = names::wrong(&format!("{kind}s"), name) {
            let message = format!("`{}` is no name of a {kind}: `{name}`", at.name());
            self.report(at, Code::PubsubConfiguration, message, why);
        }
    }

    fn kept(&mut self, at: &At<'_>, retention: Option<Span>) {
        if let Some(retention) = retention {
            self.seconds(at, retention, 10 * MINUTE..=31 * DAY, "10m to 31d");
        }
    }

    fn seconds(&mut self, at: &At<'_>, span: Span, range: RangeInclusive<Duration>, shown: &str) {
        if !range.contains(&span.0) {
            self.value(at, "is out of range", format!("take {shown}"));
        }
        if span.0.subsec_nanos() != 0 {
            self.value(at, "is no number of seconds", "Pub/Sub takes whole seconds here");
        }
    }

    fn labels(&mut self, at: &At<'_>, labels: &IndexMap<String, String>) {
        let good = |text: &str| {
            text.chars().count() <= LONGEST_LABEL
                && text.chars().all(|c| c.is_alphanumeric() && !c.is_uppercase() || c == '_' || c == '-')
        };
        for (name, value) in labels {
            if !good(name) || !good(value) || !name.starts_with(char::is_alphabetic) {
                let help = format!(
                    "names and values have small letters, digits, `_` and `-`, at most {LONGEST_LABEL}; a name begins with a letter"
                );
                self.value(&at.key(name), "is no label", help);
            }
        }
    }
}
