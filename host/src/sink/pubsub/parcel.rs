//! Parcels: what is published together, and what its answers mean.

use std::{collections::HashMap, iter::Peekable, sync::Arc, time::Duration};

use futures::future::join_all;
use google_cloud_gax::error::rpc::Code as Grpc;
use google_cloud_pubsub::{
    Error,
    client::{BasePublisher, Publisher},
    error::PublishError,
};

use super::{PubsubSink, message::Deed};
use crate::{
    batch::Delivery,
    config::PubsubSinkConfig,
    error::{Code, Fault},
    sink::Writes,
};

/// Bytes of changes in one parcel; one change alone may be bigger.
const PARCEL_BYTES: usize = 16 << 20;
/// Longer than any parcel: what is sent is decided by the flush, never by a clock.
const NEVER: Duration = Duration::from_secs(24 * 3600);

/// How requests are cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Messages in a request.
    messages: u32,
    /// Bytes in a request.
    bytes: u32,
    /// Messages in a parcel.
    outstanding: usize,
}

impl Limits {
    pub(super) fn new(config: &PubsubSinkConfig) -> Self {
        Self {
            messages: config.max_messages,
            bytes: u32::try_from(config.max_bytes.0).unwrap_or(u32::MAX),
            outstanding: config.outstanding() as usize,
        }
    }

    pub(super) const fn outstanding(&self) -> usize {
        self.outstanding
    }

    fn publisher(&self, base: &BasePublisher, topic: &str) -> Publisher {
        base.publisher(topic)
            .set_message_count_threshold(self.messages)
            .set_byte_threshold(self.bytes)
            .set_delay_threshold(NEVER)
            .build()
    }
}

/// What became of a parcel.
#[derive(Default)]
struct Answers {
    /// Messages that were refused for what is in them, each with the request it was in.
    refused: Vec<(usize, Arc<Error>)>,
    /// The first error of another kind, and the topic it was for.
    failed: Option<(Failed, Arc<str>)>,
}

enum Failed {
    Rpc(Arc<Error>),
    /// The crate gave up without asking.
    Shutdown,
}

impl PubsubSink {
    /// Publishes what is pending, parcel by parcel.
    pub(super) async fn publish(&mut self, writes: &mut Writes<'_>) -> Result<(), Fault> {
        let pending: Vec<_> = writes.pending().collect();
        let mut pending = pending.into_iter().peekable();
        while pending.peek().is_some() {
            let parcel = self.parcel(&mut pending);
            let answers = self.send(writes, &parcel, self.limits).await?;
            self.settle(writes, &parcel, answers).await?;
        }
        Ok(())
    }

    fn parcel<'w>(
        &self,
        pending: &mut Peekable<impl Iterator<Item = (usize, Delivery<'w>)>>,
    ) -> Vec<(usize, Delivery<'w>)> {
        let (mut parcel, mut bytes) = (Vec::new(), 0);
        while let Some(next) = pending.next_if(|(_, delivery)| {
            parcel.is_empty()
                || parcel.len() < self.limits.outstanding && bytes + delivery.change.size() <= PARCEL_BYTES
        }) {
            bytes += next.1.change.size();
            parcel.push(next);
        }
        parcel
    }

    /// Sends a parcel and waits for all of its answers. What the service has is confirmed.
    async fn send(
        &mut self,
        writes: &mut Writes<'_>,
        parcel: &[(usize, Delivery<'_>)],
        limits: Limits,
    ) -> Result<Answers, Fault> {
        let base = self.connector.publisher().await?;
        let mut publishers: HashMap<Arc<str>, Publisher> = HashMap::new();
        let mut sent = Vec::with_capacity(parcel.len());
        for (index, delivery) in parcel {
            match self.shaper.shape(delivery) {
                Deed::Publish(topic, message) => {
                    let publisher =
                        publishers.entry(Arc::clone(&topic)).or_insert_with(|| limits.publisher(&base, &topic));
                    sent.push((*index, topic, publisher.publish(message)));
                }
                Deed::Ignore => writes.ignore(*index),
                Deed::Refuse(why) => writes.refuse(*index, why),
            }
        }
        join_all(publishers.values().map(Publisher::flush)).await;
        let mut answers = Answers::default();
        for (index, topic, answer) in sent {
            match answer.await {
                Ok(_) => writes.confirm(index),
                Err(PublishError::Rpc(error)) if is_of_message(&error) => answers.refused.push((index, error)),
                // It waits behind another of its key that failed.
                Err(PublishError::OrderingKeyPaused) => {}
                Err(PublishError::Rpc(error)) => {
                    answers.failed.get_or_insert((Failed::Rpc(error), topic));
                }
                Err(_) => {
                    answers.failed.get_or_insert((Failed::Shutdown, topic));
                }
            }
        }
        Ok(answers)
    }

    /// Finds the messages that are to blame, and sends those again that are not.
    async fn settle(
        &mut self,
        writes: &mut Writes<'_>,
        parcel: &[(usize, Delivery<'_>)],
        mut answers: Answers,
    ) -> Result<(), Fault> {
        loop {
            let Answers { refused, failed } = answers;
            for (index, error) in &refused {
                let together = refused.iter().filter(|(_, other)| Arc::ptr_eq(error, other)).count();
                if together == 1 {
                    writes.refuse(*index, told(error));
                }
            }
            match failed {
                Some((Failed::Rpc(error), topic)) => return Err(self.failed(&error, &topic)),
                Some((Failed::Shutdown, topic)) => {
                    let message = format!("the client of Pub/Sub gave up what was to be published to {topic}");
                    return Err(Fault::transient(Code::PubsubUnreachable, message));
                }
                None if refused.is_empty() => return Ok(()),
                None => {}
            }
            // One of those that were sent together is to blame: each alone, and behind it what waited for it. Each round either ends
            // or refuses one more.
            let left: Vec<usize> = writes.pending().map(|(index, _)| index).collect();
            let parcel: Vec<_> =
                parcel.iter().filter(|(index, _)| left.binary_search(index).is_ok()).copied().collect();
            if parcel.is_empty() {
                return Ok(());
            }
            answers = self.send(writes, &parcel, Limits { messages: 1, ..self.limits }).await?;
        }
    }
}

/// Whether the service refused what is in a message.
fn is_of_message(error: &Error) -> bool {
    error.status().is_some_and(|status| status.code == Grpc::InvalidArgument)
}

fn told(error: &Error) -> String {
    error.status().map_or_else(|| error.to_string(), |status| format!("{} {}", status.code.name(), status.message))
}

#[cfg(test)]
mod tests;
