//! Messages that are neither acknowledged nor given back.
//!
//! The handler of a message stands for the claim to acknowledge it: as long as it lives, the crate keeps the message's deadline in the
//! future. It goes with the batch that the message is in, and comes to its end when the outcome of the batch is known.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use google_cloud_pubsub::{error::AckError, subscriber::handler::Handler};
use smallvec::SmallVec;
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::{JoinHandle, JoinSet},
};

use crate::receipt::{Outcome, Receipt};

/// Outcomes that are looked at together.
const OUTCOMES: usize = 1000;

/// What a subscription has given us.
pub(super) struct UnderWay {
    outcomes: UnboundedSender<Outcome>,
    table: Arc<Mutex<Table>>,
    task: JoinHandle<()>,
    next: u64,
}

#[derive(Default)]
struct Table {
    /// Ids of messages.
    batches: HashMap<u64, Vec<String>>,
    /// More than one handler of a message that came again while it was under way.
    handlers: HashMap<String, SmallVec<[Handler; 1]>>,
}

impl Table {
    fn take(&mut self, batch: u64) -> Vec<Handler> {
        let ids = self.batches.remove(&batch).unwrap_or_default();
        ids.iter().filter_map(|id| self.handlers.remove(id)).flatten().collect()
    }
}

/// A broken thread leaves nothing half done in there.
fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

impl UnderWay {
    /// `dry`: nothing is acknowledged, and all is given back at the end.
    pub(super) fn new(dry: bool) -> Self {
        let (outcomes, told) = unbounded_channel();
        let table = Arc::default();
        let task = tokio::spawn(run(Arc::clone(&table), told, dry));
        Self { outcomes, table, task, next: 0 }
    }

    /// Takes the handler of a message; false where the message is under way already, and so must not be delivered again.
    pub(super) fn add(&self, id: &str, handler: Handler) -> bool {
        let mut table = lock(&self.table);
        if let Some(handlers) = table.handlers.get_mut(id) {
            handlers.push(handler);
            return false;
        }
        table.handlers.insert(id.to_owned(), SmallVec::from_buf([handler]));
        true
    }

    /// Gives a message to whoever is next, which was added and is in no batch.
    pub(super) fn remove(&self, id: &str) -> Option<Handler> {
        lock(&self.table).handlers.remove(id).and_then(|handlers| handlers.into_iter().next())
    }

    /// The receipt of a batch with these messages.
    pub(super) fn receipt(&mut self, ids: Vec<String>) -> Receipt {
        self.next += 1;
        lock(&self.table).batches.insert(self.next, ids);
        Receipt::new(self.next, self.outcomes.clone())
    }

    /// Waits until all receipts are back and every message has its end.
    pub(super) async fn settle(self) {
        drop(self.outcomes);
        // It ends by itself when the last receipt is back.
        let _ = self.task.await;
    }
}

/// Until the source and all receipts are gone.
async fn run(table: Arc<Mutex<Table>>, mut outcomes: UnboundedReceiver<Outcome>, dry: bool) {
    let mut told = Vec::new();
    let mut confirming = JoinSet::new();
    while outcomes.recv_many(&mut told, OUTCOMES).await > 0 {
        for outcome in told.drain(..) {
            match outcome {
                // What is given back comes again at once: it is kept until nobody reads any more.
                _ if dry => {}
                Outcome::Safe(batch) => {
                    let handlers = lock(&table).take(batch);
                    for handler in handlers {
                        match handler {
                            // Not confirmed when reading ends, it would come again.
                            Handler::ExactlyOnce(handler) => {
                                confirming.spawn(handler.confirmed_ack());
                            }
                            handler => handler.ack(),
                        }
                    }
                }
                // Dropping a handler gives its message back.
                Outcome::GivenUp(batch) => drop(lock(&table).take(batch)),
            }
        }
        while let Some(confirmed) = confirming.try_join_next() {
            tell(confirmed);
        }
    }
    while let Some(confirmed) = confirming.join_next().await {
        tell(confirmed);
    }
}

fn tell(confirmed: Result<Result<(), AckError>, tokio::task::JoinError>) {
    if let Ok(Err(error)) = confirmed {
        tracing::warn!(
            event = "source_unacknowledged",
            batches = 1,
            "a message that is safe was not acknowledged and will be delivered a second time: {error}"
        );
    }
}
