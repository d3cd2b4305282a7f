//! Takes messages out of the stream of a subscription.

use google_cloud_pubsub::{
    Error,
    client::Subscriber,
    model::Message,
    subscriber::{MessageStream, ShutdownToken, handler::Handler},
};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{config::PubsubSourceConfig, source::BatchLimits};

/// A message, and the claim to acknowledge it.
pub(super) type Pulled = (Message, Handler);

/// A task that has a stream to itself: a stream must not be given up while it opens, or what the server sent meanwhile is lost to this
/// host until its deadline.
pub(super) struct Pull {
    pub(super) messages: mpsc::Receiver<Pulled>,
    task: JoinHandle<Option<Error>>,
    token: ShutdownToken,
}

impl Pull {
    /// At most `max_bytes` of messages are under way.
    pub(super) fn start(
        subscriber: &Subscriber,
        subscription: &str,
        config: &PubsubSourceConfig,
        limits: &BatchLimits,
        max_bytes: u64,
    ) -> Self {
        let stream = subscriber
            .subscribe(subscription)
            .set_max_outstanding_messages(i64::from(config.max_messages))
            .set_max_outstanding_bytes(i64::try_from(max_bytes).unwrap_or(i64::MAX))
            .set_max_lease_extension(config.ack_deadline.0)
            // As long as it takes: a sink that is away for a day is no reason to give its messages to another host.
            .set_max_lease(std::time::Duration::MAX)
            .build();
        let token = stream.shutdown_token();
        // What is not in a batch yet waits in here; most of it in the buffers of the crate.
        let (to, messages) = mpsc::channel(limits.max_events.clamp(1, 1000));
        Self { messages, task: tokio::spawn(run(stream, to)), token }
    }

    /// Knows when all messages of the stream have their end.
    pub(super) fn token(&self) -> ShutdownToken {
        self.token.clone()
    }

    /// Why nothing more comes.
    pub(super) async fn ended(&mut self) -> Option<Error> {
        (&mut self.task).await.ok().flatten()
    }
}

impl Drop for Pull {
    fn drop(&mut self) {
        // The stream goes with its task, and what it holds is given back.
        self.task.abort();
    }
}

async fn run(mut stream: MessageStream, to: mpsc::Sender<Pulled>) -> Option<Error> {
    loop {
        match stream.next().await? {
            Ok(pulled) => to.send(pulled).await.ok()?,
            Err(error) => return Some(error),
        }
    }
}
