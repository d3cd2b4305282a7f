//! Tells people when something breaks or recovers: watches the status, groups what belongs together, and sends a message now and then.
//!
//! Alerts come from the status and not from log lines, so that the log level changes nothing, and a retry is no alert.

mod channel;
mod outbox;
mod watch;

use std::time::Duration;

use tokio::{
    sync::mpsc,
    task::{JoinHandle, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    config::{AlertChannelConfig, AlertKind, Config},
    error::{Code, Fault},
    status::Status,
};

pub use channel::Channel;
use outbox::Outbox;
use watch::Watcher;

/// How often the status is looked at.
const INTERVAL: Duration = Duration::from_millis(500);
/// How long the last messages may take when the host ends.
const FAREWELL: Duration = Duration::from_secs(5);
/// The first wait after a message was not sent; each next one is twice as long, to the last.
const FIRST_WAIT: Duration = Duration::from_secs(5);
const LAST_WAIT: Duration = Duration::from_secs(5 * 60);

/// One thing that somebody should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// What it is.
    pub kind: AlertKind,
    /// The pipeline, or the plugin for [`AlertKind::Plugin`].
    pub subject: String,
    /// `source`, `sink NAME`, `checkpoint`; none for the whole.
    pub part: Option<String>,
    /// The stable code of the cause.
    pub code: Option<&'static str>,
    /// In words.
    pub message: String,
}

/// The alerts of a running host.
#[derive(Debug)]
pub struct Alerts {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Alerts {
    /// Starts to watch, if there is a channel to tell.
    ///
    /// # Errors
    /// When a channel cannot be made.
    pub fn start(config: &Config, status: &Status) -> Result<Option<Self>, Fault> {
        if config.alerts.channels.is_empty() {
            return Ok(None);
        }
        let mut channels = JoinSet::new();
        let mut senders = Vec::new();
        for (name, channel) in &config.alerts.channels {
            let (sender, alerts) = mpsc::channel(16);
            let on = match channel {
                AlertChannelConfig::Telegram(telegram) => telegram.on.clone(),
                AlertChannelConfig::Webhook(webhook) => webhook.on.clone(),
            };
            senders.push((on, sender));
            let outbox = Outbox::new(config.alerts.group.0, config.alerts.every.0);
            channels.spawn(serve(Channel::new(name, channel)?, outbox, alerts));
        }
        let stop = CancellationToken::new();
        let (stopped, status, mut watcher) = (stop.clone(), status.clone(), Watcher::new(config));
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(INTERVAL);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                let ends = tokio::select! {
                    _ = ticks.tick() => false,
                    () = stopped.cancelled() => true,
                };
                for alert in watcher.look(&status) {
                    for (on, sender) in &senders {
                        if on.is_empty() || on.contains(&alert.kind) {
                            // The channel's task takes what comes at once, and ends after this one.
                            let _ = sender.send(alert.clone()).await;
                        }
                    }
                }
                if ends {
                    break;
                }
            }
            drop(senders);
            while channels.join_next().await.is_some() {}
        });
        Ok(Some(Self { stop, task }))
    }

    /// Looks a last time, and sends what was not sent yet.
    pub async fn finish(self) {
        self.stop.cancel();
        let _ = self.task.await;
    }
}

/// Sends what comes to one channel, until nothing comes any more; then what is left, once.
async fn serve(channel: Channel, mut outbox: Outbox, mut alerts: mpsc::Receiver<Alert>) {
    let mut wait = FIRST_WAIT;
    loop {
        let due = outbox.due();
        let alert = tokio::select! {
            biased;
            alert = alerts.recv() => match alert {
                Some(alert) => Some(alert),
                None => break,
            },
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => None,
        };
        if let Some(alert) = alert {
            outbox.add(alert, Instant::now());
            continue;
        }
        let message = outbox.message();
        // What comes meanwhile waits in the queue: a request has a time-out of its own.
        match channel.send(&message).await {
            Ok(()) => {
                outbox.sent(&message, Instant::now());
                wait = FIRST_WAIT;
            }
            Err(failure) => {
                let pause = failure.again.then(|| failure.after.unwrap_or(wait).min(LAST_WAIT));
                tracing::error!(
                    event = "alert_failed",
                    code = Code::AlertFailed.as_str(),
                    channel = channel.name(),
                    "an alert could not be sent to {}: {}{}",
                    channel.name(),
                    failure.message,
                    if pause.is_some() { "; it is tried again" } else { "; it is given up" },
                );
                wait = (wait * 2).min(LAST_WAIT);
                match pause {
                    Some(pause) => outbox.pause(pause, Instant::now()),
                    None => outbox.sent(&message, Instant::now()),
                }
            }
        }
    }
    if outbox.due().is_some() {
        let told = tokio::time::timeout(FAREWELL, channel.send(&outbox.message())).await;
        let failed = match told {
            Ok(Ok(())) => return,
            Ok(Err(failure)) => failure.message,
            Err(_) => "it took too long".to_owned(),
        };
        let channel = channel.name();
        let code = Code::AlertFailed.as_str();
        tracing::error!(
            event = "alert_failed",
            code,
            channel,
            "the last alerts could not be sent to {channel}: {failed}"
        );
    }
}
