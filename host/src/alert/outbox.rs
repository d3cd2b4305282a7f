//! What a channel has not been told yet: grouped, and not more than one message in a while.

use std::time::Duration;

use tokio::time::Instant;

use super::Alert;

/// Different alerts that are kept for a message; of more only the number is told.
const MOST: usize = 50;

/// What a message says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    /// Each with how often it came.
    pub(super) alerts: Vec<(Alert, u32)>,
    /// Alerts there was no room for.
    pub(super) more: u32,
}

#[derive(Debug)]
pub(super) struct Outbox {
    group: Duration,
    every: Duration,
    waiting: Message,
    /// When the oldest of them came.
    since: Option<Instant>,
    /// Not before.
    earliest: Option<Instant>,
}

impl Outbox {
    pub(super) fn new(group: Duration, every: Duration) -> Self {
        Self { group, every, waiting: Message::default(), since: None, earliest: None }
    }

    /// The same alert again counts, with its newest words.
    pub(super) fn add(&mut self, alert: Alert, now: Instant) {
        self.since.get_or_insert(now);
        let same = |(old, _): &&mut (Alert, u32)| {
            (old.kind, &old.subject, &old.part) == (alert.kind, &alert.subject, &alert.part)
        };
        if let Some((old, times)) = self.waiting.alerts.iter_mut().find(same) {
            *times += 1;
            *old = alert;
        } else if self.waiting.alerts.len() < MOST {
            self.waiting.alerts.push((alert, 1));
        } else {
            self.waiting.more += 1;
        }
    }

    /// When the next message is to be sent; none when there is nothing to tell.
    pub(super) fn due(&self) -> Option<Instant> {
        let grouped = self.since? + self.group;
        Some(self.earliest.map_or(grouped, |earliest| earliest.max(grouped)))
    }

    /// What there is to tell now.
    pub(super) fn message(&self) -> Message {
        self.waiting.clone()
    }

    /// A message is told, or given up: what came since waits for the next.
    pub(super) fn sent(&mut self, message: &Message, now: Instant) {
        debug_assert_eq!(*message, self.waiting, "nothing is added while a message is sent");
        self.waiting = Message::default();
        self.since = None;
        self.earliest = Some(now + self.every);
    }

    /// The next try comes later.
    pub(super) fn pause(&mut self, time: Duration, now: Instant) {
        self.earliest = Some(now + time);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Alert, Instant, MOST, Outbox};
    use crate::config::AlertKind;

    fn alert(subject: &str, message: &str) -> Alert {
        let (subject, message) = (subject.to_owned(), message.to_owned());
        Alert { kind: AlertKind::Down, subject, part: None, code: None, message }
    }

    #[test]
    fn a_message_waits_for_others_and_the_next_for_its_time() {
        let mut outbox = Outbox::new(Duration::from_secs(10), Duration::from_secs(300));
        assert_eq!(outbox.due(), None);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        outbox.add(alert("a", "first"), start);
        outbox.add(alert("b", "other"), at(4));
        outbox.add(alert("a", "second"), at(4));
        assert_eq!(outbox.due(), Some(at(10)));
        let message = outbox.message();
        assert_eq!(message.alerts, [(alert("a", "second"), 2), (alert("b", "other"), 1)]);
        outbox.sent(&message, at(10));
        assert_eq!(outbox.due(), None);
        outbox.add(alert("a", "third"), at(11));
        assert_eq!(outbox.due(), Some(at(310)));
        outbox.pause(Duration::from_secs(1000), at(310));
        assert_eq!(outbox.due(), Some(at(1310)));
    }

    #[test]
    fn a_flood_is_counted() {
        let mut outbox = Outbox::new(Duration::ZERO, Duration::ZERO);
        (0..MOST + 7).for_each(|n| outbox.add(alert(&n.to_string(), "x"), Instant::now()));
        assert_eq!((outbox.message().alerts.len(), outbox.message().more), (MOST, 7));
    }
}
