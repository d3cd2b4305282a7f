//! Pub/Sub as a source.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    super::units::{ByteSize, Span},
    PubsubConnection, SubscriptionSetupConfig, ten_seconds,
};

/// `source.pubsub`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PubsubSourceConfig {
    /// Where Pub/Sub is.
    #[serde(rename = "project|endpoint|credentials_file")]
    pub connection: PubsubConnection,
    /// A pull subscription: its name, or `projects/PROJECT/subscriptions/NAME`.
    pub subscription: String,
    /// What the messages are.
    #[serde(default)]
    pub messages: MessageForm,
    /// What the body of a message is that is no change of tidegate's.
    #[serde(default)]
    pub format: MessageFormat,
    /// The database that the changes are of.
    #[serde(default = "pubsub_database")]
    pub database: String,
    /// The collection that they are of; none: the name of the subscription.
    #[serde(default)]
    pub collection: Option<String>,
    /// The field that is the key of a document; none: its `_id`, else the id of the message.
    #[serde(default)]
    pub key: Option<String>,
    /// The field that takes a body which is no document.
    #[serde(default = "data")]
    pub body: String,
    /// Most messages that are under way, read and not acknowledged; 1 to 1000000.
    #[serde(default = "ten_thousand")]
    pub max_messages: u32,
    /// Most bytes of messages that are under way; none: eight times `batch.max_bytes`.
    #[serde(default)]
    pub max_bytes: Option<ByteSize>,
    /// How long the server waits for a sign of life before it gives messages to another host; 10 s to 10 min.
    #[serde(default = "minute")]
    pub ack_deadline: Span,
    /// Deliveries after which a message goes to the dead letter; none: it is tried for ever. The server counts them where the subscription has a
    /// dead-letter policy.
    #[serde(default)]
    pub max_attempts: Option<u32>,
    /// How long one request may take before the connection is given up.
    #[serde(default = "ten_seconds")]
    pub timeout: Span,
    /// As what `tidegate setup` makes the subscription; none: it is only looked for.
    #[serde(default)]
    pub setup: Option<SubscriptionSetupConfig>,
}

impl PubsubSourceConfig {
    /// The collection of its changes.
    pub fn collection(&self) -> &str {
        self.collection.as_deref().unwrap_or_else(|| self.subscription.rsplit('/').next().unwrap_or_default())
    }
}

fn pubsub_database() -> String {
    "pubsub".to_owned()
}

fn data() -> String {
    "data".to_owned()
}

const fn ten_thousand() -> u32 {
    10_000
}

const fn minute() -> Span {
    Span(Duration::from_secs(60))
}

/// `source.pubsub.messages`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MessageForm {
    /// A message that a Pub/Sub sink of tidegate wrote is the change; any other becomes a document.
    #[default]
    Auto,
    /// Changes that a Pub/Sub sink of tidegate wrote; any other message is a dead letter.
    Tidegate,
    /// Each message becomes a document, whatever its attributes say.
    Documents,
}

/// `source.pubsub.format`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MessageFormat {
    /// What the attribute `content_type` says; without it a JSON object is a document, and anything else stands under `body`.
    #[default]
    Auto,
    /// JSON; what is Extended JSON in it is understood.
    Json,
    /// BSON.
    Bson,
    /// No document: text, or binary data where the bytes are no UTF-8.
    Raw,
}
