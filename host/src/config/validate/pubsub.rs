//! Google Cloud Pub/Sub.

use std::time::Duration;

use super::{
    super::model::{PubsubConnection, PubsubSinkConfig},
    At, Check, HOUR,
};
use crate::{
    error::Code,
    google,
    pubsub::names,
    sink::template::{Template, Unreadable, Words},
};

impl Check<'_> {
    /// `project`, `endpoint` and `credentials_file`.
    pub(super) fn pubsub_connection(&mut self, at: &At<'_>, connection: &PubsubConnection) {
        if let Some(why) = google::names::wrong_project(&connection.project) {
            let at = at.key("project");
            let message = format!("`{}` is no project: `{}`", at.name(), connection.project);
            self.report(&at, Code::PubsubConfiguration, message, why);
        }
        let file = connection.credentials_file.as_deref();
        self.google_access(at, Code::PubsubConfiguration, connection.endpoint.as_deref(), file);
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
        if pubsub.max_outstanding.is_some_and(|most| !(1..=10_000).contains(&most)) {
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
