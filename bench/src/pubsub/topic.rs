//! The topic all publish to, and what is in it.

use std::{collections::HashSet, env, time::Duration};

use anyhow::{Context as _, Result};
use google_cloud_pubsub::{
    client::{Subscriber, SubscriptionAdmin, TopicAdmin},
    model::Message,
};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::nobody;

const PROJECT: &str = "tidegate-bench";
/// Nothing more comes when nothing came for so long.
const STALLED: Duration = Duration::from_secs(60);

/// The emulator, with a topic of the benchmark's own.
pub(super) struct Cloud {
    /// `HOST:PORT`
    pub(super) address: String,
    /// The name alone.
    pub(super) name: String,
    subscriptions: SubscriptionAdmin,
    subscriber: Subscriber,
}

impl Cloud {
    /// Makes the topic. Without a subscription, what is published to it is gone: the emulator keeps all in memory.
    pub(super) async fn connect(name: &str) -> Result<Self> {
        let address = env::var("PUBSUB_EMULATOR_HOST")
            .context("PUBSUB_EMULATOR_HOST is not set: `./dev bench pubsub` starts an emulator and sets it")?;
        let endpoint = format!("http://{address}");
        let topics = TopicAdmin::builder().with_endpoint(&endpoint).with_credentials(nobody()).build().await?;
        let subscriptions =
            SubscriptionAdmin::builder().with_endpoint(&endpoint).with_credentials(nobody()).build().await?;
        let subscriber = Subscriber::builder().with_endpoint(&endpoint).with_credentials(nobody()).build().await?;
        let cloud = Self { address, name: name.to_owned(), subscriptions, subscriber };
        topics.create_topic().set_name(cloud.topic()).send().await.context("cannot make the topic")?;
        Ok(cloud)
    }

    pub(super) const fn project() -> &'static str {
        PROJECT
    }

    /// Its whole name.
    pub(super) fn topic(&self) -> String {
        format!("projects/{PROJECT}/topics/{}", self.name)
    }

    fn subscription(&self) -> String {
        format!("projects/{PROJECT}/subscriptions/{}", self.name)
    }

    /// Keeps what is published from now on.
    pub(super) async fn subscribe(&self) -> Result<()> {
        let made = self.subscriptions.create_subscription().set_name(self.subscription()).set_topic(self.topic());
        made.set_ack_deadline_seconds(600).send().await.context("cannot make the subscription")?;
        Ok(())
    }

    pub(super) async fn unsubscribe(&self) -> Result<()> {
        Ok(self.subscriptions.delete_subscription().set_subscription(self.subscription()).send().await?)
    }

    /// A number for what is there, whatever its order; each message counts once.
    pub(super) async fn digest(&self, events: u64) -> Result<u64> {
        let mut stream = self.subscriber.subscribe(self.subscription()).build();
        let (mut seen, mut sum) = (HashSet::new(), 0u64);
        while (seen.len() as u64) < events {
            let next = tokio::time::timeout(STALLED, stream.next()).await;
            let next = next.ok().flatten().with_context(|| format!("{} of {events} were published", seen.len()))?;
            let (message, handler) = next?;
            handler.ack();
            let hash = hash(&message);
            if seen.insert(xxh3_64(message.attributes.get("change_id").map_or(&b""[..], String::as_bytes))) {
                sum = sum.wrapping_add(hash);
            }
        }
        Ok(sum)
    }
}

fn hash(message: &Message) -> u64 {
    let mut attributes: Vec<_> = message.attributes.iter().collect();
    attributes.sort();
    let mut hash = Xxh3::new();
    for (name, value) in attributes {
        [name.as_bytes(), &[0], value.as_bytes(), &[0]].into_iter().for_each(|part| hash.update(part));
    }
    hash.update(message.ordering_key.as_bytes());
    hash.update(&message.data);
    hash.digest()
}
