//! What a delivery is as a message: topic, ordering key, attributes and body, and whether Pub/Sub would take it.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use bytes::Bytes;
use google_cloud_pubsub::model::Message;
use sha2::{Digest as _, Sha256};

use crate::{
    batch::Delivery,
    change::{Doc, Operation},
    config::{DocumentFormat, PubsubSinkConfig},
    format::{
        body::Body,
        json::{Style, write_document},
    },
    pubsub::{
        attributes::{
            BSON, CHANGE_ID, CLOUDEVENTS, CONTENT_TYPE, CORRELATION_ID, DEBEZIUM, EXTENDED_JSON, JSON, KEY, NAMES,
            NAMESPACE, OPERATION, TIME,
        },
        names,
    },
    sink::{
        template::{Template, Unfilled, Words},
        told::Told,
    },
};

/// Bytes that an ordering key may have.
const LONGEST_ORDERING_KEY: usize = 1024;
/// Attributes that a message may have.
const MOST_ATTRIBUTES: usize = 100;
/// Bytes that the name of an attribute may have.
const LONGEST_NAME: usize = 256;
/// Bytes that the value of an attribute may have.
const LONGEST_VALUE: usize = 1024;
/// What the framing of a field takes at most.
const FRAME: usize = 16;

/// What is to be done with a delivery.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are messages, which go on at once: a box would be an allocation for each change"
)]
pub(super) enum Deed {
    /// It is published to this topic, named whole.
    Publish(Arc<str>, Message),
    /// Nothing.
    Ignore,
    /// It cannot be published, and why.
    Refuse(String),
}

/// Makes messages out of deliveries.
pub(super) struct Shaper {
    project: String,
    topic: Template,
    /// The whole name, where it is the same for all.
    fixed: Option<Arc<str>>,
    ordering: bool,
    content_type: &'static str,
    body: Body,
    key: Vec<u8>,
    told: Told,
}

impl Shaper {
    /// The configuration was validated.
    pub(super) fn new(config: &PubsubSinkConfig, pipeline: &str) -> Self {
        let topic = Template::of(&config.topic, Words::Fields);
        let project = config.connection.project.clone();
        Self {
            fixed: topic.fixed().map(|name| names::full(&project, "topics", name).into()),
            project,
            topic,
            ordering: config.ordering,
            content_type: match config.format {
                DocumentFormat::Json => JSON,
                DocumentFormat::Extjson | DocumentFormat::ExtjsonRelaxed => EXTENDED_JSON,
                DocumentFormat::Bson => BSON,
                DocumentFormat::Debezium => DEBEZIUM,
                DocumentFormat::Cloudevents => CLOUDEVENTS,
            },
            body: Body::new(config.format, pipeline),
            key: Vec::new(),
            told: Told::default(),
        }
    }

    /// The topic, where it is the same for all.
    pub(super) fn fixed(&self) -> Option<&str> {
        self.fixed.as_deref()
    }

    /// Whether the format has a form for changes like this one.
    pub(super) fn tells(&self, operation: Operation) -> bool {
        self.body.tells(operation)
    }

    /// What a delivery does.
    pub(super) fn shape(&mut self, delivery: &Delivery<'_>) -> Deed {
        let change = delivery.change;
        let topic = match self.topic_of(delivery) {
            Ok(topic) => topic,
            Err(why) if change.operation.is_ddl() => {
                self.told.ignored(change, &format!("there is no topic for it: {why}"));
                return Deed::Ignore;
            }
            Err(why) => return Deed::Refuse(why),
        };
        match self.message(delivery).and_then(|message| within_limits(&topic, message)) {
            Ok(message) => Deed::Publish(topic, message),
            Err(why) => Deed::Refuse(why),
        }
    }

    /// The router's target, else the fixed name, else what the template makes of the newest document that is known.
    fn topic_of(&self, delivery: &Delivery<'_>) -> Result<Arc<str>, String> {
        let change = delivery.change;
        let name = match (delivery.target(), &self.fixed) {
            (Some(target), _) => Cow::Borrowed(target),
            (None, Some(fixed)) => return Ok(Arc::clone(fixed)),
            (None, None) => {
                let documents = [change.document.as_ref(), change.key.as_ref(), change.before.as_ref()];
                let name = self.topic.fill_from(&change.namespace, &documents);
                let name = name.map_err(|unfilled: Unfilled<'_>| format!("its topic has no name: {unfilled}"))?;
                Cow::Owned(String::from_utf8(name).map_err(|_| "the name of its topic is no UTF-8".to_owned())?)
            }
        };
        match names::wrong("topics", &name) {
            Some(why) => Err(format!("`{name}` is no name of a topic: {why}")),
            None => Ok(names::full(&self.project, "topics", &name).into()),
        }
    }

    fn message(&mut self, delivery: &Delivery<'_>) -> Result<Message, String> {
        let change = delivery.change;
        let mut attributes = HashMap::with_capacity(NAMES.len() + 2 + change.headers.len());
        let mut set = |name: &str, value: String| attributes.insert(name.to_owned(), value);
        set(CHANGE_ID, change.id.to_string());
        set(CORRELATION_ID, change.id.to_string());
        set(OPERATION, change.operation.as_str().to_owned());
        set(NAMESPACE, change.namespace.as_str().to_owned());
        if let Some(millis) = change.happened_at() {
            set(TIME, millis.to_string());
        }
        let mut in_body = None;
        if let Some(key) = &change.key {
            self.key.clear();
            write_document(&mut self.key, key.as_bytes(), Style::Canonical)
                .map_err(|cause| format!("its `key` cannot be written: {cause}"))?;
            if self.key.len() > LONGEST_VALUE {
                in_body = Some(key);
            } else {
                set(KEY, String::from_utf8_lossy(&self.key).into_owned());
            }
        }
        let body = self.body(delivery, in_body)?;
        if body.is_some() {
            set(CONTENT_TYPE, self.content_type.to_owned());
        }
        for (name, value) in delivery.headers() {
            // What the message says of itself is not to be overwritten by what a stage adds.
            if !NAMES.contains(&name) {
                set(name, value.to_owned());
            }
        }
        let mut message = Message::new().set_data(body.unwrap_or_default());
        message.attributes = attributes;
        if self.ordering {
            message.ordering_key = ordering_key(delivery);
        }
        Ok(message)
    }

    /// The body; a key that is too long for an attribute stands in for a document that there is none of.
    fn body(&mut self, delivery: &Delivery<'_>, key: Option<&Doc>) -> Result<Option<Bytes>, String> {
        let field = self.body.field();
        let unwritable = |cause| format!("its `{field}` cannot be written: {cause}");
        if let Some(body) = self.body.of(delivery).map_err(unwritable)? {
            return Ok(Some(Bytes::copy_from_slice(body)));
        }
        match key {
            Some(key) => self.body.document(key).map(|key| Some(Bytes::copy_from_slice(key))).map_err(unwritable),
            None => Ok(None),
        }
    }
}

/// What keeps its order: what the router says, else the document; nothing for a change of a collection.
fn ordering_key(delivery: &Delivery<'_>) -> String {
    let chosen = delivery.destination.and_then(|destination| destination.ordering_key.as_deref());
    let key = chosen.map_or_else(|| delivery.change.document_id(), str::to_owned);
    if key.len() <= LONGEST_ORDERING_KEY {
        return key;
    }
    Sha256::digest(key.as_bytes()).iter().fold(String::from("sha256-"), |mut hex, byte| {
        use std::fmt::Write as _;
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// A message that Pub/Sub would refuse together with all that are in the same request is refused alone, before.
fn within_limits(topic: &str, message: Message) -> Result<Message, String> {
    let attributes = &message.attributes;
    if attributes.len() > MOST_ATTRIBUTES {
        let message = format!(
            "it has {} attributes, and Pub/Sub takes {MOST_ATTRIBUTES}: let its stages add fewer headers",
            attributes.len()
        );
        return Err(message);
    }
    let mut size = topic.len() + message.data.len() + message.ordering_key.len() + 4 * FRAME;
    for (name, value) in attributes {
        if name.is_empty() || name.len() > LONGEST_NAME || name.starts_with("goog") {
            return Err(format!(
                "its header `{name}` cannot be an attribute: Pub/Sub takes names of 1 to {LONGEST_NAME} bytes that do not begin with `goog`"
            ));
        }
        if value.len() > LONGEST_VALUE {
            return Err(format!("its attribute `{name}` has {} bytes, and Pub/Sub takes {LONGEST_VALUE}", value.len()));
        }
        size += name.len() + value.len() + FRAME;
    }
    if size as u64 > PubsubSinkConfig::LARGEST {
        return Err(format!(
            "it is too large: {size} bytes as a message, and Pub/Sub takes 10 MB in a request ({} bytes are used); leave fields out with a \
             stage, or keep what is large elsewhere",
            PubsubSinkConfig::LARGEST
        ));
    }
    Ok(message)
}

#[cfg(test)]
pub(super) mod tests;
