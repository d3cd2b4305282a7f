//! Keyspace notifications: which keys were touched. They are hints and no more: each leads to a look at the key.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::StreamExt as _;
use redis::aio::PubSub;
use tokio::sync::Notify;

use super::{super::Task, read::NoRead, worker::Worker};
use crate::{
    config::Notifications,
    error::{Code, Fault},
};

/// Keys that are held at most; of more, a scan finds out.
const KEYS: usize = 100_000;

/// In the place of flags that the server does not show.
const UNKNOWN: &str = "unknown";

/// Keys that were touched and not looked at yet.
#[derive(Default)]
pub(super) struct Touched {
    inner: Mutex<Inner>,
    told: Notify,
}

#[derive(Default)]
struct Inner {
    keys: HashSet<Vec<u8>>,
    /// There were too many to hold.
    overflown: bool,
    /// The connection is gone, and with it what was told since.
    lost: bool,
}

/// What to do.
pub(super) enum Hint {
    /// Look at these.
    Keys(Vec<Vec<u8>>),
    /// Look at all of them.
    All,
    /// Subscribe anew, and look at all of them.
    Lost,
}

impl Touched {
    /// A broken thread leaves nothing half done in there.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, key: &[u8]) {
        let mut inner = self.lock();
        if inner.keys.len() >= KEYS {
            inner.keys = HashSet::new();
            inner.overflown = true;
        }
        if !inner.overflown {
            inner.keys.insert(key.to_owned());
        }
        drop(inner);
        self.told.notify_one();
    }

    fn lose(&self) {
        self.lock().lost = true;
        self.told.notify_one();
    }

    /// What was told since the last call.
    pub(super) fn take(&self) -> Option<Hint> {
        let mut inner = self.lock();
        if inner.lost {
            return Some(Hint::Lost);
        }
        if inner.overflown {
            return Some(Hint::All);
        }
        let keys = std::mem::take(&mut inner.keys);
        (!keys.is_empty()).then(|| Hint::Keys(keys.into_iter().collect()))
    }

    /// Whether there were too many to hold since a scan began.
    pub(super) fn is_overflown(&self) -> bool {
        self.lock().overflown
    }

    /// A scan begins, which sees all that was touched so far.
    pub(super) fn scanned(&self) {
        self.lock().overflown = false;
    }

    /// Until something is told.
    pub(super) async fn told(&self) {
        self.told.notified().await;
    }
}

impl Worker {
    /// Subscribes to what the server tells of keys, where it tells anything.
    pub(super) async fn listen(&mut self) -> Result<(), Fault> {
        if self.listening.is_some() || self.keys.notifications == Notifications::Off {
            return Ok(());
        }
        let mut connection = self.connection().await?;
        let asked = redis::cmd("CONFIG").arg("GET").arg("notify-keyspace-events").query_async(&mut connection).await;
        let flags = match asked {
            Ok(pair) => Vec::<String>::into_iter(pair).nth(1).unwrap_or_default(),
            // The right is missing, or the command is: that it tells of keys cannot be ruled out.
            Err(error) if error.clone().into_server_errors().is_some() => UNKNOWN.to_owned(),
            Err(error) => return Err(self.fault(NoRead::Error(error))),
        };
        let is_new = self.flags.as_ref() != Some(&flags);
        if let Some(turn_on) = lacking(&flags) {
            if is_new {
                tracing::info!(
                    event = "source_notifications",
                    code = Code::NoNotifications.as_str(),
                    state = "off",
                    "Redis at {} does not tell of every change of keys (notify-keyspace-events is `{flags}`): changes are found by a scan \
                     every {}; to be told at once, run `CONFIG SET notify-keyspace-events {turn_on}` there",
                    self.connector.place(),
                    self.keys.interval
                );
            }
            self.flags = Some(flags);
            return Ok(());
        }
        let prefix = format!("__keyspace@{}__:", self.connector.database());
        let channels: Vec<String> = self.keys.patterns.iter().map(|pattern| format!("{prefix}{pattern}")).collect();
        // An ACL wants them to the letter.
        let rights: Vec<String> = channels.iter().map(|channel| format!("'&{channel}'")).collect();
        let mut pubsub = self.connector.pubsub().await?;
        match pubsub.psubscribe(channels).await {
            Ok(()) => {
                self.touched = Arc::default();
                self.listening = Some(hear(pubsub, Arc::clone(&self.touched)));
                tracing::info!(event = "source_notifications", state = "on", "Redis tells of changes of keys");
            }
            Err(error) if error.clone().into_server_errors().is_some() => {
                if is_new {
                    tracing::warn!(
                        event = "source_notifications",
                        code = Code::NoNotifications.as_str(),
                        state = "refused",
                        "Redis at {} refuses to tell of changes of keys ({error}): they are found by a scan every {}; give the user the right \
                         (ACL SETUSER NAME +psubscribe {}), or set `notifications: off`",
                        self.connector.place(),
                        self.keys.interval,
                        rights.join(" ")
                    );
                }
            }
            Err(error) => return Err(self.fault(NoRead::Error(error))),
        }
        self.flags = Some(flags);
        Ok(())
    }
}

/// What it is to be set to, so that every change is told; none where it is.
pub(in crate::source::redis) fn lacking(flags: &str) -> Option<String> {
    let told = |class: char| flags.contains(class) || flags.contains('A');
    if flags == UNKNOWN || (flags.contains('K') && "g$lshzxe".chars().all(told)) {
        return None;
    }
    // What others need stays.
    let kept: String = flags.chars().filter(|flag| "EKmn".contains(*flag) && *flag != 'K').collect();
    Some(format!("{kept}KA"))
}

/// Takes in what the server tells, until the connection is lost.
fn hear(pubsub: PubSub, touched: Arc<Touched>) -> Task<()> {
    Task(tokio::spawn(async move {
        let mut messages = pubsub.into_on_message();
        while let Some(message) = messages.next().await {
            // `__keyspace@0__:KEY`
            let Ok(channel) = message.get_channel::<Vec<u8>>() else { continue };
            if let Some(at) = channel.windows(3).position(|part| part == b"__:") {
                touched.add(channel.get(at + 3..).unwrap_or_default());
            }
        }
        touched.lose();
    }))
}
