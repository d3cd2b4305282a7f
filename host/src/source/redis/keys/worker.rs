//! Walks through the keys, and through those that notifications name, for as long as the source is open.

use std::{
    sync::{Arc, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use redis::{Value, aio::MultiplexedConnection};
use tokio::{
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::Instant,
};

use super::{
    super::{Task, broken, rules::naming},
    KeysSource, Shelf,
    at::At,
    deliver::{Compared, Cutter, Delivered, Terms, compare},
    index::UNSEEN,
    log::Log,
    make::Maker,
    notify::{Hint, Touched},
    read::{self, Expiry, Held, NoRead, Selection, Walk, Wanted},
};
use crate::{
    batch::Batch,
    config::KeysConfig,
    error::{Code, Fault},
    receipt::{Outcome, Receipt},
    redis::Connector,
    source::Place,
};

/// Keys that are looked at together.
const STEP: usize = 1000;
/// How often it is told that there is nothing more.
const TOLD_EVERY: Duration = Duration::from_secs(1);
/// How often a key that changes its type all the time is tried before it waits for the next scan.
const TURNS: usize = 3;

/// What the source is told.
pub(super) enum Told {
    Batch(Batch),
    /// All keys were seen, and there is nothing more for now.
    CaughtUp,
    Failed(Fault),
}

/// Why the work ended.
pub(super) enum Ended {
    /// Nobody listens any more.
    Closed,
    Fault(Fault),
}

impl From<Fault> for Ended {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

pub(super) struct Worker {
    pub(super) keys: KeysConfig,
    pub(super) connector: Connector,
    selection: Selection,
    place: Place,
    log: Option<Log>,
    shelf: Shelf,
    cutter: Cutter,
    out: mpsc::Sender<Told>,
    receipts: (UnboundedSender<Outcome>, UnboundedReceiver<Outcome>),
    /// All up to this entry is safe.
    safe: u64,
    pass: u8,
    first_pass: bool,
    expiry: Expiry,
    pub(super) touched: Arc<Touched>,
    pub(super) listening: Option<Task<()>>,
    /// What the server said of notifications when that was told last.
    pub(super) flags: Option<String>,
}

impl Worker {
    pub(super) fn new(source: &KeysSource, mut log: Log, out: mpsc::Sender<Told>) -> Self {
        // Scans are numbered anew.
        log.index.slots_mut().for_each(|slot| slot.seen = UNSEEN);
        let (config, keys) = (&source.config, source.keys.clone());
        let maker = Maker {
            shape: keys.shape,
            database: naming(&config.database),
            collection: naming(config.collection()),
            namespace: None,
        };
        Self {
            connector: Connector::new(config.url.clone(), config.timeout.0)
                .tls(&config.tls)
                .rights(super::rights(&keys)),
            selection: Selection::new(&keys),
            place: source.place.clone(),
            log: Some(log),
            shelf: Arc::clone(&source.shelf),
            cutter: Cutter { maker, limits: source.limits, told: Default::default(), from: None },
            out,
            receipts: unbounded_channel(),
            safe: 0,
            pass: UNSEEN,
            first_pass: true,
            expiry: Expiry::Ignored,
            touched: Arc::default(),
            listening: None,
            flags: None,
            keys,
        }
    }

    pub(super) fn place(&self) -> &str {
        self.connector.place()
    }

    /// How many keys are known.
    pub(super) fn known(&self) -> usize {
        self.log.as_ref().map_or(0, |log| log.index.len())
    }

    /// Until the source is closed, or only a new beginning helps. What was on its way when a host ended, behind `again`, comes first.
    pub(super) async fn run(mut self, again: Option<At>) {
        let Err(ended) = self.work(again).await;
        *self.shelf.lock().unwrap_or_else(PoisonError::into_inner) = self.log.take();
        if let Ended::Fault(fault) = ended {
            // The source may be closed by now.
            let _ = self.out.send(Told::Failed(fault)).await;
        }
    }

    async fn work(&mut self, again: Option<At>) -> Result<std::convert::Infallible, Ended> {
        if let Some(from) = again {
            self.give_again(from).await?;
        }
        self.expiry = self.how_keys_expire().await?;
        loop {
            self.listen().await?;
            self.pass().await?;
            self.wait().await?;
        }
    }

    async fn how_keys_expire(&mut self) -> Result<Expiry, Fault> {
        if !self.keys.expires {
            return Ok(Expiry::Ignored);
        }
        let mut connection = self.connection().await?;
        let key = self.selection.patterns().first().cloned().unwrap_or_default();
        match redis::cmd("PEXPIRETIME").arg(key).query_async::<Value>(&mut connection).await {
            Ok(_) => Ok(Expiry::At),
            Err(error) if error.clone().into_server_errors().is_some() => Ok(Expiry::In),
            Err(error) => Err(self.fault(NoRead::Error(error))),
        }
    }

    async fn give_again(&mut self, from: At) -> Result<(), Ended> {
        let log = self.log.as_ref().ok_or_else(no_log)?;
        let epoch = log.at().epoch;
        let mut replay = log.again(from).map_err(|cause| self.place.fault(&cause))?;
        self.cutter.from = Some(from);
        loop {
            let (back, frame) = blocking(move || {
                let frame = replay.next();
                (replay, frame)
            })
            .await?;
            replay = back;
            let Some(frame) = frame.map_err(|cause| self.place.fault(&cause))? else { break };
            let time = frame.first().map_or_else(now, |again| again.time);
            let last = frame.last().map_or(0, |again| again.number);
            let delivered = frame.into_iter().map(|again| Delivered {
                number: again.number,
                entry: again.entry,
                before: again.before,
            });
            let compared = Compared { epoch, time, entries: delivered.collect(), unfit: Vec::new(), last };
            self.send(compared).await?;
        }
        self.cutter.from = None;
        Ok(())
    }

    /// Looks at all keys that match, and at those that were delivered and were not met.
    async fn pass(&mut self) -> Result<(), Ended> {
        let begun = Instant::now();
        self.pass = self.pass.checked_add(1).unwrap_or(UNSEEN + 1);
        self.touched.scanned();
        let mut walk = Walk::default();
        let before = self.log.as_ref().map_or(0, |log| log.at().entry);
        loop {
            let mut connection = self.connection().await?;
            let selection = self.selection.clone();
            let keys = match walk.next(&mut connection, &selection).await {
                Ok(Some(keys)) => keys,
                Ok(None) => break,
                Err(why) => return Err(self.fault(why).into()),
            };
            self.look_at(keys.into_iter().filter(|key| selection.has(key)).collect()).await?;
            self.follow_hints().await?;
        }
        self.look_for_vanished().await?;
        self.tidy().await?;
        let changed = self.log.as_ref().map_or(0, |log| log.at().entry) - before;
        let (keys, seconds) = (self.known(), begun.elapsed().as_secs_f64());
        if std::mem::take(&mut self.first_pass) {
            tracing::info!(
                event = "source_keys_scanned",
                keys,
                changed,
                seconds,
                "{keys} keys of Redis were compared in {seconds:.1} s, {changed} of them differed"
            );
        } else {
            tracing::debug!(
                event = "source_keys_scanned",
                keys,
                changed,
                seconds,
                "{keys} keys of Redis were compared in {seconds:.1} s, {changed} of them differed"
            );
        }
        Ok(())
    }

    async fn look_for_vanished(&mut self) -> Result<(), Ended> {
        let (pass, log) = (self.pass, self.log.as_ref().ok_or_else(no_log)?);
        let missed = log.index.slots().filter(|slot| slot.seen != pass && !slot.marked);
        let mut missed: Vec<_> = missed.copied().collect();
        missed.sort_unstable_by_key(|slot| slot.at());
        for part in missed.chunks(STEP) {
            let (log, part) = (self.log.take().ok_or_else(no_log)?, part.to_vec());
            let (log, keys) = blocking(move || {
                let keys = part.iter().filter_map(|slot| log.entry(slot).transpose());
                let keys: Result<Vec<_>, _> = keys.map(|entry| entry.map(|entry| entry.key)).collect();
                (log, keys)
            })
            .await?;
            let keys = keys.map_err(|cause| self.place.fault(&cause))?;
            self.log = Some(log);
            // What is not to be mirrored any more is forgotten; the rest is looked at again.
            let (wanted, other): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| self.selection.has(key));
            self.look_at(wanted).await?;
            self.deliver(other.into_iter().map(|key| (key, Held::Nothing)).collect()).await?;
            self.follow_hints().await?;
        }
        Ok(())
    }

    /// Reads keys and delivers what differs.
    async fn look_at(&mut self, mut keys: Vec<Vec<u8>>) -> Result<(), Ended> {
        for _ in 0..TURNS {
            if keys.is_empty() {
                break;
            }
            let mut connection = self.connection().await?;
            let looked = Wanted::look(&mut connection, &self.selection, std::mem::take(&mut keys)).await;
            let mut wanted = looked.map_err(|why| self.fault(why))?;
            let terms = read::Terms { max_bytes: self.keys.max_bytes.0, expiry: self.expiry };
            while let Some(held) = wanted.next(&mut connection, terms).await.map_err(|why| self.fault(why))? {
                self.deliver(held).await?;
            }
            keys = std::mem::take(&mut wanted.turned);
        }
        Ok(())
    }

    async fn deliver(&mut self, held: Vec<(Vec<u8>, Held)>) -> Result<(), Ended> {
        if held.is_empty() {
            return Ok(());
        }
        let mut log = self.log.take().ok_or_else(no_log)?;
        let (selection, on_vanished) = (self.selection.clone(), self.keys.on_vanished);
        let terms = Terms { selection, on_vanished, pass: self.pass, now: now() };
        let (log, compared) = blocking(move || {
            let compared = compare(&mut log, held, &terms);
            (log, compared)
        })
        .await?;
        // After an error of the disk it is read anew.
        let compared = compared.map_err(|cause| self.place.fault(&cause))?;
        self.log = Some(log);
        self.send(compared).await
    }

    async fn send(&mut self, compared: Compared) -> Result<(), Ended> {
        let receipts = &self.receipts.0;
        for batch in self.cutter.cut(compared, |entry| Receipt::new(entry, receipts.clone())) {
            self.out.send(Told::Batch(batch)).await.map_err(|_| Ended::Closed)?;
        }
        Ok(())
    }

    /// Looks at the keys that the server named meanwhile.
    async fn follow_hints(&mut self) -> Result<(), Ended> {
        match self.touched.take() {
            Some(Hint::Keys(keys)) => {
                let keys: Vec<_> = keys.into_iter().filter(|key| self.selection.has(key)).collect();
                for part in keys.chunks(STEP) {
                    self.look_at(part.to_vec()).await?;
                }
                Ok(())
            }
            // Those of a scan that begins when this one is over.
            Some(Hint::All) | None => Ok(()),
            Some(Hint::Lost) => {
                let place = self.connector.place();
                let message = format!(
                    "the connection with the notifications of Redis at {place} was lost: all keys are compared"
                );
                Err(Fault::transient(Code::RedisUnreachable, message).into())
            }
        }
    }

    /// Follows hints until the next scan is due.
    async fn wait(&mut self) -> Result<(), Ended> {
        let until = Instant::now() + self.keys.interval.0;
        loop {
            self.out.send(Told::CaughtUp).await.map_err(|_| Ended::Closed)?;
            tokio::select! {
                () = self.touched.told() => {}
                // It is told again, also where a batch that waited for others was behind it.
                () = tokio::time::sleep_until(until.min(Instant::now() + TOLD_EVERY)) => {}
                () = self.out.closed() => return Err(Ended::Closed),
            }
            if self.touched.is_overflown() || Instant::now() >= until {
                return Ok(());
            }
            self.follow_hints().await?;
        }
    }

    /// Gives up what of the log is not needed any more.
    async fn tidy(&mut self) -> Result<(), Ended> {
        while let Ok(outcome) = self.receipts.1.try_recv() {
            if let Outcome::Safe(entry) = outcome {
                self.safe = self.safe.max(entry);
            }
        }
        let (mut log, safe) = (self.log.take().ok_or_else(no_log)?, self.safe);
        let (log, tidied) = blocking(move || {
            let tidied = log.safe(safe).and_then(|()| log.tidy());
            (log, tidied)
        })
        .await?;
        tidied.map_err(|cause| self.place.fault(&cause))?;
        self.log = Some(log);
        Ok(())
    }

    pub(super) async fn connection(&mut self) -> Result<MultiplexedConnection, Fault> {
        self.connector.connection().await
    }

    /// The fault for an error of a command that reads.
    pub(super) fn fault(&mut self, why: NoRead) -> Fault {
        match why {
            NoRead::Error(error) => self.connector.lost(&error),
            NoRead::Server(error) => self.connector.rejected(&error),
            NoRead::Strange(command) => {
                let place = self.connector.place();
                Fault::fatal(Code::RedisError, format!("Redis at {place} answered to {command} with something unknown"))
            }
        }
    }
}

/// Runs what touches the disk off the runtime's threads.
async fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
    tokio::task::spawn_blocking(run).await.map_err(|cause| broken(&cause))
}

fn no_log() -> Fault {
    Fault::transient(Code::Internal, "the log of the keys is not open")
}

/// Milliseconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
