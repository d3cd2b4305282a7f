//! Keys of Redis, mirrored: what they hold is compared with what was delivered, and the differences are the changes.
//!
//! A [`worker`] walks through all keys that match, and through those that the server's notifications name. What it finds to differ it
//! writes to its [`log`] first, then sends it on. So the position is a place in that log, and what was on its way when a host died is
//! given again, the same.

mod at;
mod deliver;
mod index;
mod log;
mod make;
mod notify;
mod read;
mod value;
mod worker;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;
use xxhash_rust::xxh3::xxh3_64;

pub(super) use self::notify::lacking;
use self::{
    at::At,
    log::{Log, Trust},
    worker::{Told, Worker},
};
use super::{Task, not_open};
use crate::{
    config::{KeysConfig, RedisSourceConfig},
    error::{Code, Fault},
    position::Positions,
    source::{BatchLimits, Hooks, Place, Read, Source},
};

/// Batches that wait to be read.
const AHEAD: usize = 2;

/// The log, while nobody works with it.
type Shelf = Arc<Mutex<Option<Log>>>;

/// The source.
pub struct KeysSource {
    config: RedisSourceConfig,
    keys: KeysConfig,
    limits: BatchLimits,
    hooks: Hooks,
    place: Place,
    shelf: Shelf,
    working: Option<(Task<()>, mpsc::Receiver<Told>)>,
    /// Behind the last batch that was given out.
    given: Option<At>,
}

impl KeysSource {
    /// Nothing is connected before [`Source::open`].
    pub fn new(config: RedisSourceConfig, keys: KeysConfig, limits: BatchLimits, hooks: Hooks, place: Place) -> Self {
        Self { config, keys, limits, hooks, place, shelf: Shelf::default(), working: None, given: None }
    }

    /// What documents are made by, beside the keys themselves.
    fn form(&self) -> u64 {
        let form = (&self.config.database, self.config.collection(), self.keys.shape);
        xxh3_64(format!("{form:?}").as_bytes())
    }

    /// Opens the log, and says how far it can be trusted.
    async fn open_log(&self, at: Option<At>) -> Result<Log, Fault> {
        let (place, form) = (self.place.clone(), self.form());
        let opened = tokio::task::spawn_blocking(move || Log::open(place, at, form)).await;
        let opened = opened.map_err(|cause| super::broken(&cause))?;
        let (log, trust) = opened.map_err(|cause| self.place.fault(&cause))?;
        match trust {
            Trust::Fresh | Trust::Whole => {}
            Trust::Unsure(why) => {
                tracing::warn!(
                    event = "source_keys_unsure",
                    code = Code::KeysUnsure.as_str(),
                    keys = log.index.len(),
                    "{why}: every key is delivered again; of keys that vanished meanwhile, those that this host knows are found \
                     ({} are known)",
                    log.index.len()
                );
            }
        }
        Ok(log)
    }
}

impl Place {
    /// The fault for an error of the disk.
    fn fault(&self, cause: &std::io::Error) -> Fault {
        use std::io::ErrorKind as Kind;
        let message = format!(
            "{}/{}.keys.*, where the source keeps what it has delivered of the keys of Redis, cannot be used: {cause}",
            self.folder.display(),
            self.pipeline
        );
        match cause.kind() {
            Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => {
                Fault::transient(Code::KeysLog, format!("{message}; free some space: it is tried again"))
            }
            // The task of before may still be writing.
            Kind::WouldBlock => Fault::transient(Code::KeysLog, message),
            _ => Fault::fatal(Code::KeysLog, message),
        }
    }
}

impl Source for KeysSource {
    async fn open(&mut self, from: &Positions) -> Result<Positions, Fault> {
        self.working = None;
        let stored = from.whole().map(|position| At::of(position).ok_or_else(foreign)).transpose()?;
        // What was given out is on its way, whatever is stored.
        let at = self.given.or(stored);
        let shelved = self.shelf.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (log, again) = match shelved {
            Some(log) => (log, None),
            None => {
                let log = self.open_log(at).await?;
                let again = at.filter(|at| at.epoch == log.at().epoch && *at < log.at());
                (log, again)
            }
        };
        let begins = again.unwrap_or_else(|| log.at());
        let (out, told) = mpsc::channel(AHEAD);
        let worker = Worker::new(self, log, out);
        tracing::info!(
            event = "source_opened",
            place = worker.place(),
            known = worker.known(),
            "keys of Redis are mirrored; {} are known",
            worker.known()
        );
        self.working = Some((Task(tokio::spawn(worker.run(again))), told));
        let position = at.filter(|at| at.epoch == begins.epoch).unwrap_or(begins).position();
        Ok(Positions::from(position))
    }

    async fn next(&mut self) -> Result<Read, Fault> {
        loop {
            let Some((_, told)) = &mut self.working else { return Err(not_open()) };
            match told.recv().await {
                Some(Told::Batch(batch)) => {
                    self.given = batch.position.as_ref().and_then(At::of).or(self.given);
                    return Ok(Read::Batch(batch));
                }
                Some(Told::CaughtUp) => (self.hooks.on_caught_up)(),
                Some(Told::Failed(fault)) => return Err(fault),
                None => {
                    return Err(Fault::transient(Code::Internal, "the task that reads the keys of Redis broke"));
                }
            }
        }
    }

    async fn settle(&mut self) {
        self.working = None;
    }
}

/// What a user needs to read these keys, and to be told of them, as `ACL SETUSER` takes it.
pub(super) fn rights(keys: &KeysConfig) -> String {
    let mut words: Vec<String> = keys.patterns.iter().map(|pattern| format!("~{pattern}")).collect();
    let commands = ["scan", "type", "memory|usage", "get", "hgetall", "smembers", "lrange", "zrange", "time", "pttl"];
    words.extend(commands.iter().map(|command| format!("+{command}")));
    if keys.expires {
        words.push("+pexpiretime".to_owned());
    }
    words.join(" ")
}

fn foreign() -> Fault {
    Fault::fatal(
        Code::CheckpointUnreadable,
        "the stored position is none of a source of Redis keys; `tidegate checkpoint reset` gives it up",
    )
}
