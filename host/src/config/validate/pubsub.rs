//! Google Cloud Pub/Sub.

use std::time::Duration;

use super::{
    super::model::{PubsubConnection, PubsubSinkConfig},
    At, Check, HOUR,
};
use crate::{
    error::Code,
    pubsub::names,
    sink::template::{Template, Unreadable, Words},
};

impl Check<'_> {
    /// `project`, `endpoint` and `credentials_file`.
    pub(super) fn pubsub_connection(&mut self, at: &At<'_>, connection: &PubsubConnection) {
        if let Some(why) = names::wrong_project(&connection.project) {
            let at = at.key("project");
            let message = format!("`{}` is no project: `{}`", at.name(), connection.project);
            self.report(&at, Code::PubsubConfiguration, message, why);
        }
        if let Some(endpoint) = &connection.endpoint {
            let at = at.key("endpoint");
            let place = ["https://", "http://"].iter().find_map(|scheme| endpoint.strip_prefix(scheme));
            let good = |place: &str| {
                let place = place.trim_end_matches('/');
                !place.is_empty() && !place.contains(['/', '@', '?', '#']) && !place.contains(char::is_whitespace)
            };
            if !place.is_some_and(good) {
                let message = format!("`{}` is no endpoint", at.name());
                let help = "it is a URL without a path: `https://HOST`, or `http://HOST:PORT` for an emulator";
                self.report(&at, Code::PubsubConfiguration, message, help);
            }
        }
        if let Some(file) = &connection.credentials_file {
            let at = at.key("credentials_file");
            self.path(&at, file);
            if connection.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://")) {
                let message = "credentials are given for an `endpoint` without TLS, which gets none".to_owned();
                let help = "an emulator needs none: leave `credentials_file` out, or write `endpoint: https://HOST`";
                self.report(&at, Code::ConfigConflict, message, help);
            }
        }
    }

    pub(super) fn pubsub_sink(&mut self, at: &At<'_>, pubsub: &PubsubSinkConfig) {
        self.pubsub_connection(at, &pubsub.connection);
        self.pubsub_topic(&at.key("topic"), &pubsub.topic);
        if !(1..=1000).contains(&pubsub.max_messages) {
            self.value(
                &at.key("max_messages"),
                "is out of range",
                "take 1 to 1000, which is what Pub/Sub takes at most",
            );
        }
        let range = "1KiB to 9.5MB (9500000): Pub/Sub takes 10 MB in a request";
        self.size(&at.key("max_bytes"), pubsub.max_bytes, 1 << 10, PubsubSinkConfig::LARGEST, range);
        if !(1..=10_000).contains(&pubsub.max_outstanding) {
            self.value(&at.key("max_outstanding"), "is out of range", "take 1 to 10000");
        }
        self.span(&at.key("timeout"), pubsub.timeout, Duration::from_millis(100), HOUR);
        if let Some(setup) = &pubsub.setup {
            self.topic_setup(&at.key("setup"), pubsub, setup);
        }
    }

    fn pubsub_topic(&mut self, at: &At<'_>, topic: &str) {
        let template = match Template::parse(topic, Words::Fields) {
            Ok(template) => template,
            Err(Unreadable::Word(word)) => {
                let help = "a word in braces is `database`, `collection` or a top-level field, such as `{region}`";
                return self.value(at, &format!("has `{{{word}}}`, which is no field"), help);
            }
            Err(Unreadable::Brace) => {
                return self.value(at, "has a brace without its other half", "write `{collection}` for the collection");
            }
        };
        // What stands for a word may be anything; the rest is looked at with a harmless one in its place.
        let name: String = match template.fixed() {
            Some(fixed) => fixed.to_owned(),
            None => {
                let symbols = template.symbols();
                let bytes = symbols.into_iter().flat_map(|symbol| symbol.map_or(b"word".to_vec(), |byte| vec![byte]));
                String::from_utf8_lossy(&bytes.collect::<Vec<_>>()).into_owned()
            }
        };
        if let Some(why) = names::wrong("topics", &name) {
            let message = format!("`{}` is no name of a topic: `{topic}`", at.name());
            self.report(at, Code::PubsubConfiguration, message, why);
        }
    }
}
