//! Reading as a consumer of a group: the server keeps what was read until it is acknowledged, which is when every sink has it.
//!
//! What is under way is known by the batch, so that it is neither read a second time when the connection was lost, nor taken over
//! from ourselves when a sink is slow. Whatever else is pending for this consumer, a host of before left it, and it is read first.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::{
    Cmd, Pipeline, RedisError, Value,
    aio::{ConnectionLike as _, MultiplexedConnection},
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinHandle,
    time::Instant,
};

use super::place::EntryId;
use crate::{
    config::GroupConfig,
    error::Fault,
    receipt::{Outcome, Receipt},
    redis::Connector,
};

/// Outcomes that are looked at together.
const OUTCOMES: usize = 1000;
/// How often what is left is acknowledged in vain before the pipeline ends without it.
const LAST_TRIES: u32 = 5;
/// Entries that one step of taking over asks for.
const CLAIMED: usize = 1000;

/// What a stream's consumer group has given us.
pub(super) struct Group {
    pub(super) config: GroupConfig,
    outcomes: UnboundedSender<Outcome>,
    under_way: Arc<Mutex<UnderWay>>,
    acknowledger: JoinHandle<()>,
    next: u64,
    /// When it is next looked for what other consumers left.
    pub(super) claim_at: Instant,
}

/// Entries that are neither acknowledged nor given up.
#[derive(Default)]
struct UnderWay {
    batches: HashMap<u64, (Vec<u8>, Vec<EntryId>)>,
    ids: HashMap<Vec<u8>, HashSet<EntryId>>,
}

impl UnderWay {
    fn forget(&mut self, batch: u64) {
        let Some((key, ids)) = self.batches.remove(&batch) else { return };
        if let Some(all) = self.ids.get_mut(&key) {
            for id in ids {
                all.remove(&id);
            }
            if all.is_empty() {
                self.ids.remove(&key);
            }
        }
    }
}

/// A broken thread leaves nothing half done in there.
fn lock(under_way: &Mutex<UnderWay>) -> MutexGuard<'_, UnderWay> {
    under_way.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Group {
    /// Acknowledges over a connection of its own, since reading waits inside the server.
    pub(super) fn new(config: GroupConfig, connector: Connector) -> Self {
        let (outcomes, told) = unbounded_channel();
        let under_way = Arc::default();
        let acknowledger =
            Acknowledger { connector, group: config.name.clone(), under_way: Arc::clone(&under_way), safe: Vec::new() };
        Self {
            outcomes,
            under_way,
            acknowledger: tokio::spawn(acknowledger.run(told)),
            next: 0,
            claim_at: Instant::now(),
            config,
        }
    }

    /// Whether an entry is under way already.
    pub(super) fn has(&self, key: &[u8], id: EntryId) -> bool {
        lock(&self.under_way).ids.get(key).is_some_and(|ids| ids.contains(&id))
    }

    /// The receipt of a batch with these entries.
    pub(super) fn receipt(&mut self, key: &[u8], ids: Vec<EntryId>) -> Receipt {
        self.next += 1;
        let mut under_way = lock(&self.under_way);
        under_way.ids.entry(key.to_owned()).or_default().extend(ids.iter().copied());
        under_way.batches.insert(self.next, (key.to_owned(), ids));
        Receipt::new(self.next, self.outcomes.clone())
    }

    /// Makes the group at a stream, and the stream where it is not there.
    pub(super) async fn make(
        &self,
        connection: &mut MultiplexedConnection,
        key: &[u8],
        from_now: bool,
    ) -> Result<(), RedisError> {
        let mut make = redis::cmd("XGROUP");
        make.arg("CREATE").arg(key).arg(&self.config.name).arg(if from_now { "$" } else { "0" }).arg("MKSTREAM");
        match make.query_async::<Value>(connection).await {
            Err(error) if error.code() == Some("BUSYGROUP") => Ok(()),
            made => made.map(drop),
        }
    }

    /// The beginning of a command that reads.
    pub(super) fn read(&self) -> Cmd {
        let mut read = redis::cmd("XREADGROUP");
        read.arg("GROUP").arg(&self.config.name).arg(&self.config.consumer);
        read
    }

    /// How often it is looked for what others left.
    pub(super) fn claim_every(&self) -> Duration {
        (self.config.claim_after.0 / 2).max(Duration::from_millis(10))
    }

    /// Waits until nothing is under way any more, and what is safe is acknowledged.
    pub(super) async fn settle(self) {
        drop(self.outcomes);
        // It ends by itself when the last receipt is back.
        let _ = self.acknowledger.await;
    }
}

/// Takes over what other consumers have had for too long.
pub(super) async fn claim(
    connection: &mut MultiplexedConnection,
    config: &GroupConfig,
    keys: &[Vec<u8>],
) -> Result<Vec<(Vec<u8>, Value)>, RedisError> {
    let idle = u64::try_from(config.claim_after.0.as_millis()).unwrap_or(u64::MAX);
    let mut claimed = Vec::new();
    for key in keys {
        let mut from = b"0-0".to_vec();
        loop {
            let mut claim = redis::cmd("XAUTOCLAIM");
            claim.arg(key).arg(&config.name).arg(&config.consumer).arg(idle).arg(&from).arg("COUNT").arg(CLAIMED);
            let answer = match claim.query_async::<Value>(connection).await {
                // The stream went away; when it comes back, its group is made again.
                Err(error) if error.code() == Some("NOGROUP") => break,
                answer => answer?,
            };
            let Value::Array(parts) = answer else { break };
            let mut parts = parts.into_iter();
            let (Some(Value::BulkString(next)), Some(entries)) = (parts.next(), parts.next()) else { break };
            claimed.push((key.clone(), entries));
            if next == b"0-0" {
                break;
            }
            from = next;
        }
    }
    Ok(claimed)
}

/// Tells the server what is safe.
struct Acknowledger {
    connector: Connector,
    group: String,
    under_way: Arc<Mutex<UnderWay>>,
    /// Safe, and not acknowledged yet.
    safe: Vec<u64>,
}

impl Acknowledger {
    /// Until the source and all receipts are gone.
    async fn run(mut self, mut outcomes: UnboundedReceiver<Outcome>) {
        let mut told = Vec::new();
        while outcomes.recv_many(&mut told, OUTCOMES).await > 0 {
            for outcome in told.drain(..) {
                match outcome {
                    Outcome::Safe(batch) => self.safe.push(batch),
                    Outcome::GivenUp(batch) => lock(&self.under_way).forget(batch),
                }
            }
            let mut tries = 0;
            while let Err(fault) = self.acknowledge().await {
                tries += 1;
                tracing::warn!(
                    event = "source_acknowledge_retry",
                    code = fault.code.as_str(),
                    batches = self.safe.len(),
                    "what is safe cannot be acknowledged, it is tried again: {}",
                    fault.message
                );
                if outcomes.is_closed() && outcomes.is_empty() && tries >= LAST_TRIES {
                    tracing::warn!(
                        event = "source_unacknowledged",
                        batches = self.safe.len(),
                        "the pipeline ends without having acknowledged what is safe: it will be delivered a second time"
                    );
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100 << tries.min(6))).await;
            }
        }
    }

    async fn acknowledge(&mut self) -> Result<(), Fault> {
        if self.safe.is_empty() {
            return Ok(());
        }
        let mut commands = Pipeline::with_capacity(self.safe.len());
        {
            let under_way = lock(&self.under_way);
            for (key, ids) in self.safe.iter().filter_map(|batch| under_way.batches.get(batch)) {
                let command = commands.cmd("XACK").arg(key).arg(&self.group);
                for id in ids {
                    command.arg(id.to_string());
                }
            }
        }
        let count = commands.len();
        if count > 0 {
            let mut connection = self.connector.connection().await?;
            let answered = connection.req_packed_commands(&commands, 0, count).await;
            let answers = answered.map_err(|error| self.connector.lost(&error))?;
            for answer in answers {
                match answer {
                    // The stream was deleted or is none any more: there is nothing to acknowledge.
                    Value::ServerError(error) if error.code() != "WRONGTYPE" => {
                        return Err(self.connector.rejected(&error));
                    }
                    _ => {}
                }
            }
        }
        let mut under_way = lock(&self.under_way);
        for batch in self.safe.drain(..) {
            under_way.forget(batch);
        }
        Ok(())
    }
}
