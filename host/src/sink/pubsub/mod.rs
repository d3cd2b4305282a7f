//! Google Cloud Pub/Sub: a message for each change.
//!
//! Deliveries travel in parcels of as many messages as may be under way at once. All of a parcel are handed to the crate, which puts
//! those of one ordering key into requests that follow each other, and sends those of different keys beside each other. What the
//! service has answered for is confirmed, message by message; after an error the crate holds back what has the same key, so what is left
//! unconfirmed is sent again in its order, and nothing of a key overtakes. See docs/decisions/0018 for why a publisher lives for one
//! parcel only.
//!
//! Delivery is at least once: no position can be stored together with messages. Consumers drop doubles by `change_id`.

mod message;
mod parcel;

use google_cloud_gax::error::rpc::Code as Grpc;

use self::{message::Shaper, parcel::Limits};
use crate::{
    config::PubsubSinkConfig,
    doctor::Finding,
    error::Fault,
    pubsub::{About, PubsubConnector, names},
    sink::{Sink, Writes, Wrote},
};

/// The sink.
pub struct PubsubSink {
    config: PubsubSinkConfig,
    connector: PubsubConnector,
    shaper: Shaper,
    limits: Limits,
}

impl PubsubSink {
    /// Nothing is connected before [`Sink::open`].
    pub fn new(config: &PubsubSinkConfig, pipeline: &str) -> Self {
        Self {
            connector: PubsubConnector::new(&config.connection, config.timeout.0),
            shaper: Shaper::new(config, pipeline),
            limits: Limits::new(config),
            config: config.clone(),
        }
    }

    /// How many changes are worth a parcel.
    pub(crate) const fn gathers(&self) -> usize {
        self.limits.outstanding()
    }

    /// Looks at the topic, where there is only one; else asks for one that nobody has, which shows that somebody answers.
    async fn look(&mut self) -> Result<(), Fault> {
        let fixed = self.shaper.fixed().map(str::to_owned);
        let any = || names::full(&self.config.connection.project, "topics", "tidegate-is-there").into_owned();
        let topic = fixed.clone().unwrap_or_else(any);
        let Err(error) = self.connector.topics().await?.get_topic().set_topic(&topic).send().await else {
            return Ok(());
        };
        match error.status().map(|status| status.code) {
            // Who may publish need not be one who may look: then the first message tells.
            Some(Grpc::PermissionDenied) => Ok(()),
            Some(Grpc::NotFound) if fixed.is_none() => Ok(()),
            _ => Err(self.failed(&error, &topic)),
        }
    }

    /// Whether the topic is there, where there is one for all.
    pub(crate) async fn examine(&mut self) -> Vec<Finding> {
        vec![match (self.look().await, self.shaper.fixed()) {
            (Err(fault), _) => Finding::from(&fault),
            (Ok(()), Some(topic)) => {
                Finding::good(format!("Pub/Sub at {} answers for {topic}", self.connector.place()))
            }
            (Ok(()), None) => Finding::good(format!(
                "Pub/Sub at {} answers; each change names its topic, which is not looked at",
                self.connector.place()
            )),
        }]
    }

    /// The fault for an error, after which new credentials are taken where the old ones did not do.
    fn failed(&mut self, error: &google_cloud_pubsub::Error, topic: &str) -> Fault {
        if error.is_authentication() || error.status().is_some_and(|status| status.code == Grpc::Unauthenticated) {
            self.connector.forget();
        }
        self.connector.fault(error, &About::topic(topic))
    }
}

impl Sink for PubsubSink {
    async fn open(&mut self) -> Result<(), Fault> {
        self.look().await?;
        tracing::info!(
            event = "sink_opened",
            place = self.connector.place(),
            target_name = self.shaper.fixed().unwrap_or(&self.config.topic),
            "connected to Pub/Sub"
        );
        Ok(())
    }

    async fn write(&mut self, writes: &mut Writes<'_>) -> Result<Wrote, Fault> {
        let untold: Vec<_> =
            writes.pending().filter(|(_, delivery)| !self.shaper.tells(delivery.change.operation)).collect();
        untold.iter().for_each(|(index, _)| writes.ignore(*index));
        self.publish(writes).await?;
        Ok(Wrote::All)
    }
}
