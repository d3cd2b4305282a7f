//! What `tidegate setup` makes in Pub/Sub. Nothing else reads it.

use std::time::Duration;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::super::units::Span;

/// `setup` of a Pub/Sub sink: its topics, and who reads them
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TopicSetupConfig {
    /// Topics besides `topic`: those that its template or a router makes of changes.
    pub topics: Vec<String>,
    /// Labels of these topics; others that they have stay.
    pub labels: IndexMap<String, String>,
    /// How long a topic keeps what was published, 10 min to 31 days; none: as it is, or not at all.
    pub retention: Option<Span>,
    /// Subscriptions of these topics, by name.
    pub subscriptions: IndexMap<String, SubscriptionSetupConfig>,
}

/// `setup` of a Pub/Sub source, and of each subscription of a sink
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SubscriptionSetupConfig {
    /// The topic that it is of; none: the only one of the sink.
    pub topic: Option<String>,
    /// Whether messages of one ordering key come in their order.
    pub ordering: bool,
    /// How long the service waits for an acknowledgement, 10 s to 10 min; none: that of the source, or a minute.
    pub ack_deadline: Option<Span>,
    /// How long what nobody acknowledged is kept, 10 min to 31 days; none: as it is, or 7 days.
    pub retention: Option<Span>,
    /// After how long without a reader the service removes it, from 1 day; none: never.
    pub expires: Option<Span>,
    /// Which messages it gets, by their attributes; none: all.
    pub filter: Option<String>,
    /// Its labels; others that it has stay.
    pub labels: IndexMap<String, String>,
    /// How long the service waits before it delivers again; none: as it is, or not at all.
    pub retry: Option<SubscriptionRetryConfig>,
    /// Where a message goes that is delivered too often; none: as it is, or nowhere.
    pub dead_letter: Option<DeadLetterTopicConfig>,
    /// Whether the service answers to each acknowledgement; none: as it is, or not.
    pub exactly_once: Option<bool>,
}

impl Default for SubscriptionSetupConfig {
    fn default() -> Self {
        Self {
            topic: None,
            ordering: true,
            ack_deadline: None,
            retention: None,
            expires: None,
            filter: None,
            labels: IndexMap::new(),
            retry: None,
            dead_letter: None,
            exactly_once: None,
        }
    }
}

/// `retry` of a subscription
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SubscriptionRetryConfig {
    /// The first wait.
    pub min: Span,
    /// The longest wait, to 10 min.
    pub max: Span,
}

impl Default for SubscriptionRetryConfig {
    fn default() -> Self {
        Self { min: Span(Duration::from_secs(10)), max: Span(Duration::from_secs(600)) }
    }
}

/// `dead_letter` of a subscription
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadLetterTopicConfig {
    /// The topic that such messages are published to.
    pub topic: String,
    /// How often a message is delivered before, 5 to 100.
    #[serde(default = "five")]
    pub attempts: u32,
    /// The subscription that keeps them; none: one with the name of the topic.
    #[serde(default)]
    pub subscription: Option<String>,
    /// How long it keeps them, 10 min to 31 days; none: as it is, or 7 days.
    #[serde(default)]
    pub retention: Option<Span>,
}

const fn five() -> u32 {
    5
}
