//! Topics and subscriptions on a Pub/Sub emulator.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use google_cloud_auth::credentials::anonymous;
use google_cloud_pubsub::client::{BasePublisher, Subscriber, SubscriptionAdmin, TopicAdmin};
use google_cloud_pubsub::model::{Message, Subscription, Topic};

use super::emulator::PROJECT;

/// Messages that came.
pub type Inbox = Arc<Mutex<Vec<Message>>>;

/// Clients of a Pub/Sub.
#[derive(Debug, Clone)]
pub struct PubSub {
    address: String,
    topics: TopicAdmin,
    subscriptions: SubscriptionAdmin,
    publisher: BasePublisher,
    subscriber: Subscriber,
}

impl PubSub {
    /// Of the emulator at an address (`HOST:PORT`).
    ///
    /// # Panics
    /// When a client cannot be made.
    pub async fn at(address: &str) -> Self {
        static PROVIDER: Once = Once::new();
        // The crates are built without a provider of their own, and want the process's even where nothing is encrypted.
        PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
        let endpoint = format!("http://{address}");
        let nobody = || anonymous::Builder::new().build();
        let topics = TopicAdmin::builder().with_endpoint(&endpoint).with_credentials(nobody());
        let subscriptions = SubscriptionAdmin::builder().with_endpoint(&endpoint).with_credentials(nobody());
        let publisher = BasePublisher::builder().with_endpoint(&endpoint).with_credentials(nobody());
        let subscriber = Subscriber::builder().with_endpoint(&endpoint).with_credentials(nobody());
        Self {
            address: address.to_owned(),
            topics: topics.build().await.expect("a client for topics"),
            subscriptions: subscriptions.build().await.expect("a client for subscriptions"),
            publisher: publisher.build().await.expect("a client that publishes"),
            subscriber: subscriber.build().await.expect("a client that pulls"),
        }
    }

    /// Of the emulator all tests share.
    ///
    /// # Panics
    /// When it cannot be started, with the command that installs it where it is missing.
    pub async fn shared() -> Self {
        Self::at(&super::emulator(super::Kind::PubSub).await).await
    }

    /// `http://HOST:PORT`, as `endpoint` of a configuration.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes a topic.
    ///
    /// # Panics
    /// When it is there already.
    pub async fn topic(&self, name: &str) {
        let name = format!("projects/{PROJECT}/topics/{name}");
        self.topics
            .create_topic()
            .set_name(&name)
            .send()
            .await
            .unwrap_or_else(|error| panic!("making {name}: {error}"));
    }

    /// Makes a subscription that keeps the order, with a deadline of ten seconds.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn subscription(&self, name: &str, topic: &str) {
        self.subscription_with(name, topic, |subscription| subscription.set_enable_message_ordering(true)).await;
    }

    /// Makes a subscription as it is wanted.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn subscription_with(&self, name: &str, topic: &str, wanted: impl FnOnce(Subscription) -> Subscription) {
        let subscription = Subscription::new()
            .set_name(format!("projects/{PROJECT}/subscriptions/{name}"))
            .set_topic(format!("projects/{PROJECT}/topics/{topic}"))
            .set_ack_deadline_seconds(10);
        let request = self.subscriptions.create_subscription().with_request(wanted(subscription));
        request.send().await.unwrap_or_else(|error| panic!("making the subscription {name}: {error}"));
    }

    /// A topic as it is; none where there is none.
    pub async fn find_topic(&self, name: &str) -> Option<Topic> {
        let name = format!("projects/{PROJECT}/topics/{name}");
        self.topics.get_topic().set_topic(name).send().await.ok()
    }

    /// A subscription as it is; none where there is none.
    pub async fn find_subscription(&self, name: &str) -> Option<Subscription> {
        let name = format!("projects/{PROJECT}/subscriptions/{name}");
        self.subscriptions.get_subscription().set_subscription(name).send().await.ok()
    }

    /// Removes a subscription.
    ///
    /// # Panics
    /// When it cannot be removed.
    pub async fn remove_subscription(&self, name: &str) {
        let name = format!("projects/{PROJECT}/subscriptions/{name}");
        let request = self.subscriptions.delete_subscription().set_subscription(&name);
        request.send().await.unwrap_or_else(|error| panic!("removing {name}: {error}"));
    }

    /// Publishes messages in order, and waits until they are taken.
    ///
    /// # Panics
    /// When one is not taken.
    pub async fn publish(&self, topic: &str, messages: impl IntoIterator<Item = Message>) {
        let publisher = self.publisher.publisher(format!("projects/{PROJECT}/topics/{topic}")).build();
        let pending: Vec<_> = messages.into_iter().map(|message| publisher.publish(message)).collect();
        publisher.flush().await;
        for taken in pending {
            taken.await.unwrap_or_else(|error| panic!("publishing to {topic}: {error}"));
        }
    }

    /// What comes from a subscription from now on, acknowledged, also after the emulator was away.
    ///
    /// # Panics
    /// Outside a runtime.
    #[must_use]
    pub fn inbox(&self, subscription: &str) -> Inbox {
        let (inbox, subscriber) = (Inbox::default(), self.subscriber.clone());
        let (into, name) = (Arc::clone(&inbox), format!("projects/{PROJECT}/subscriptions/{subscription}"));
        tokio::spawn(async move {
            loop {
                let mut stream = subscriber.subscribe(&name).build();
                while let Some(Ok((message, handler))) = stream.next().await {
                    handler.ack();
                    into.lock().unwrap_or_else(PoisonError::into_inner).push(message);
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        inbox
    }

    /// Gives back what comes, so many times.
    ///
    /// # Panics
    /// When the subscription cannot be pulled from.
    pub async fn refuse(&self, subscription: &str, times: usize) {
        let name = format!("projects/{PROJECT}/subscriptions/{subscription}");
        let builder = self.subscriber.subscribe(&name).set_max_lease_extension(Duration::from_secs(10));
        let mut stream = builder.build();
        for _ in 0..times {
            let next = stream.next().await.expect("the stream goes on");
            let (_, handler) = next.unwrap_or_else(|error| panic!("pulling from {subscription}: {error}"));
            handler.nack();
        }
        let end = stream.shutdown_token();
        drop(stream);
        end.shutdown().await;
    }

    /// Takes what comes until nothing does for so long, and acknowledges it.
    ///
    /// # Panics
    /// When the subscription cannot be pulled from.
    pub async fn drain(&self, subscription: &str, quiet: Duration) -> Vec<Message> {
        let name = format!("projects/{PROJECT}/subscriptions/{subscription}");
        let mut stream = self.subscriber.subscribe(&name).build();
        let mut messages = Vec::new();
        while let Ok(Some(next)) = tokio::time::timeout(quiet, stream.next()).await {
            let (message, handler) = next.unwrap_or_else(|error| panic!("pulling from {subscription}: {error}"));
            handler.ack();
            messages.push(message);
        }
        let end = stream.shutdown_token();
        drop(stream);
        end.shutdown().await;
        messages
    }
}

/// A message with a body, and attributes.
#[must_use]
pub fn message(body: impl Into<Vec<u8>>, attributes: &[(&str, &str)]) -> Message {
    let attributes: BTreeMap<&str, &str> = attributes.iter().copied().collect();
    Message::new().set_data(body.into()).set_attributes(attributes)
}
