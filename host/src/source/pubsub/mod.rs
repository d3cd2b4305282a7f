//! A pull subscription of Google Cloud Pub/Sub.
//!
//! The official crate keeps the stream open, and the deadlines of what is under way in the future. This source decides what is under way:
//! a message is acknowledged when every sink has it ([`under_way`]), and given back at once when the pipeline gave it up. What the crate
//! does not tell is that the service is gone, since it goes on trying for ever: so the subscription is looked at while nothing comes
//! ([`look`]).

mod look;
mod pull;
mod rules;
mod under_way;

use std::time::Duration;

use bytestring::ByteString;
use google_cloud_pubsub::{client::Subscriber, model::Message, subscriber::handler::Handler};
use tokio::time::Instant;

use self::{
    look::Look,
    pull::{Pull, Pulled},
    rules::Rules,
    under_way::UnderWay,
};
use crate::{
    batch::{Batch, Unreadable},
    config::{PipelineConfig, PubsubSourceConfig},
    error::{Code, Fault},
    position::Positions,
    pubsub::{About, PubsubConnector, names},
    sink::AnySink,
    source::{BatchLimits, Read, Source},
};

/// How long nothing may come before the subscription is looked at.
const SILENCE: Duration = Duration::from_secs(10);
/// What is under way at most, in batches: what the pipeline holds, and two that are read ahead.
const BATCHES: u64 = 8;

/// The source.
pub struct PubsubSource {
    config: PubsubSourceConfig,
    limits: BatchLimits,
    connector: PubsubConnector,
    /// The full name.
    subscription: String,
    rules: Rules,
    /// Nothing is acknowledged.
    dry: bool,
    needs_order: bool,
    /// Whether what the subscription lacks was told.
    told: bool,
    subscriber: Option<Subscriber>,
    under_way: Option<UnderWay>,
    open: Option<Open>,
}

/// What is read.
struct Open {
    pull: Pull,
    /// Messages that were taken and are in no batch yet.
    taken: Vec<Pulled>,
    /// When it is time to look.
    look_at: Instant,
    looking: Option<Look>,
    /// This account may not look at the subscription.
    is_blind: bool,
}

impl PubsubSource {
    /// Nothing is connected before [`Source::open`]. `dry`: nothing is acknowledged, and at the end all messages are given back.
    pub fn new(config: PubsubSourceConfig, limits: BatchLimits, needs_order: bool, dry: bool) -> Self {
        let subscription = Self::subscription(&config);
        Self {
            rules: Rules::new(&config, &subscription),
            connector: PubsubConnector::new(&config.connection, config.timeout.0),
            subscription,
            limits,
            dry,
            needs_order,
            told: false,
            subscriber: None,
            under_way: None,
            open: None,
            config,
        }
    }

    /// Whether a sink of the pipeline writes states, which messages out of order would take back.
    pub fn needs_order(pipeline: &PipelineConfig) -> bool {
        pipeline.sinks.values().any(AnySink::writes_states)
    }

    fn subscription(config: &PubsubSourceConfig) -> String {
        names::full(&config.connection.project, "subscriptions", &config.subscription).into_owned()
    }

    /// What is read: `pubsub projects/shop/subscriptions/stock`.
    pub fn describe(config: &PubsubSourceConfig) -> String {
        format!("pubsub {}", Self::subscription(config))
    }

    fn about(&self) -> About {
        About::subscription(&self.subscription)
    }

    async fn subscriber(&mut self) -> Result<Subscriber, Fault> {
        if let Some(subscriber) = &self.subscriber {
            return Ok(subscriber.clone());
        }
        let access = self.connector.access().await?;
        let building =
            Subscriber::builder().with_endpoint(access.endpoint).with_credentials(access.credentials).build();
        let subscriber = self.connector.built(building).await?;
        Ok(self.subscriber.insert(subscriber).clone())
    }

    /// Makes a batch of what was taken, or of its beginning.
    fn cut(&mut self) -> Result<Option<Batch>, Fault> {
        let (Some(open), Some(under_way)) = (&mut self.open, &mut self.under_way) else { return Err(not_open()) };
        let mut batch = Batch::default();
        let mut handlers: Vec<(String, Handler)> = Vec::new();
        let (mut size, mut used) = (0, 0);
        for (message, _) in &open.taken {
            let full = batch.changes.len() + batch.unreadable.len() >= self.limits.max_events;
            if full || size >= self.limits.max_bytes || batch.is_barrier() {
                break;
            }
            used += 1;
            if under_way.has(&message.message_id) {
                continue;
            }
            match self.rules.change(message) {
                // A change of a collection stands in a batch of its own.
                Ok(change) if change.operation.is_ddl() && (!batch.changes.is_empty() || !batch.unreadable.is_empty()) => {
                    used -= 1;
                    break;
                }
                Ok(change) => {
                    size += change.size();
                    batch.changes.push(change);
                }
                Err(reason) => {
                    let unreadable = self.unreadable(message, &reason);
                    size += unreadable.raw.len();
                    batch.unreadable.push(unreadable);
                }
            }
        }
        let _ = (&mut handlers, used);
        Ok(None)
    }

    fn unreadable(&self, message: &Message, reason: &str) -> Unreadable {
        let id = self.rules.id(message);
        let reason = format!("the message {} of {} is no change: {reason}", message.message_id, self.subscription);
        Unreadable { id, raw: rules::to_json(message, &self.subscription), reason }
    }
}
