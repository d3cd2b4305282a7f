//! Messages that are neither acknowledged nor given back.
//!
//! The handler of a message stands for the claim to acknowledge it: as long as it lives, the crate keeps the message's deadline in the
//! future. It goes with the batch that the message is in, and comes to its end when the outcome of the batch is known.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use google_cloud_pubsub::{error::AckError, model::Message, subscriber::handler::Handler};
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

/// A message, by the number of its arrival.
type Number = u64;
/// Seconds and nanoseconds since 1970.
type Time = (i64, i32);

#[derive(Default)]
struct Table {
    arrivals: Number,
    batches: HashMap<u64, Vec<Number>>,
    messages: HashMap<Number, Entry>,
    /// Those whose doubles join them, by their ids.
    ids: HashMap<String, Number>,
    /// The same by their ordering keys, each behind those that were published before it.
    keys: HashMap<String, VecDeque<(Time, Number)>>,
}

struct Entry {
    id: String,
    key: String,
    /// More than one where it came again while it was under way.
    handlers: SmallVec<[Handler; 1]>,
}

impl Table {
    /// The number of a message; none where it joins one that is under way.
    fn add(&mut self, message: &Message, handler: Handler) -> Option<Number> {
        let known = self.ids.get(&message.message_id).copied();
        if let Some(entry) = known.and_then(|number| self.messages.get_mut(&number)) {
            entry.handlers.push(handler);
            return None;
        }
        self.arrivals += 1;
        let (number, key) = (self.arrivals, message.ordering_key.clone());
        if !key.is_empty() {
            let published =
                message.publish_time.as_ref().map(|time| (time.seconds(), time.nanos())).unwrap_or_default();
            // It comes again, or late: what is under way and was published with it or after it is now ahead of it. That comes again too,
            // behind this one, and must then be delivered a second time, or the older state would be the last.
            let keyed = self.keys.entry(key.clone()).or_default();
            while let Some((_, later)) = keyed.back().filter(|(time, _)| *time >= published) {
                if let Some(entry) = self.messages.get(later) {
                    self.ids.remove(&entry.id);
                }
                keyed.pop_back();
            }
            keyed.push_back((published, number));
        }
        let id = message.message_id.clone();
        self.ids.insert(id.clone(), number);
        self.messages.insert(number, Entry { id, key, handlers: SmallVec::from_buf([handler]) });
        Some(number)
    }

    fn remove(&mut self, number: Number) -> SmallVec<[Handler; 1]> {
        let Some(entry) = self.messages.remove(&number) else { return SmallVec::new() };
        if self.ids.get(&entry.id) == Some(&number) {
            self.ids.remove(&entry.id);
        }
        if let Some(keyed) = self.keys.get_mut(&entry.key) {
            // In the order of their arrival, in which most are done as well: a key that all messages have must not cost a search of them all.
            if let Ok(index) = keyed.binary_search_by_key(&number, |(_, other)| *other) {
                keyed.remove(index);
            }
            if keyed.is_empty() {
                self.keys.remove(&entry.key);
            }
        }
        entry.handlers
    }

    fn take(&mut self, batch: u64) -> Vec<Handler> {
        let numbers = self.batches.remove(&batch).unwrap_or_default();
        numbers.into_iter().flat_map(|number| self.remove(number)).collect()
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

    /// Takes the handler of a message; none where the message is under way already, and must not be delivered again.
    pub(super) fn add(&self, message: &Message, handler: Handler) -> Option<Number> {
        lock(&self.table).add(message, handler)
    }

    /// Gives a message to whoever is next, which was added and is in no batch.
    pub(super) fn remove(&self, number: Number) -> Option<Handler> {
        lock(&self.table).remove(number).into_iter().next()
    }

    /// The receipt of a batch with these messages.
    pub(super) fn receipt(&mut self, messages: Vec<Number>) -> Receipt {
        self.next += 1;
        lock(&self.table).batches.insert(self.next, messages);
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
