//! Makes batches of messages.

use std::collections::VecDeque;

use google_cloud_pubsub::model::Message;

use super::{pull::Pulled, rules::Rules, under_way::UnderWay};
use crate::{
    batch::{Batch, Unreadable},
    source::BatchLimits,
};

/// Cuts batches of one subscription.
pub(super) struct Cutter<'a> {
    pub(super) rules: &'a Rules,
    pub(super) limits: &'a BatchLimits,
    pub(super) max_attempts: Option<u32>,
    pub(super) under_way: &'a mut UnderWay,
}

impl Cutter<'_> {
    /// The next batch of what was taken; none where all of it is under way already, or there is nothing.
    pub(super) fn cut(&mut self, taken: &mut VecDeque<Pulled>) -> Option<Batch> {
        let mut batch = Batch::default();
        let (mut numbers, mut size) = (Vec::new(), 0);
        while let Some((message, handler)) = taken.pop_front() {
            let attempts = handler.delivery_attempt();
            let Some(number) = self.under_way.add(&message, handler) else { continue };
            match self.over(attempts).map_or_else(|| self.rules.change(&message), Err) {
                Ok(change) => {
                    // A change of a collection stands in a batch of its own.
                    let alone = change.operation.is_ddl();
                    if alone && !numbers.is_empty() {
                        if let Some(handler) = self.under_way.remove(number) {
                            taken.push_front((message, handler));
                        }
                        break;
                    }
                    size += change.size();
                    batch.changes.push(change);
                    numbers.push(number);
                    if alone {
                        break;
                    }
                }
                Err(reason) => {
                    let unreadable = self.unreadable(&message, &reason);
                    size += unreadable.raw.len();
                    batch.unreadable.push(unreadable);
                    numbers.push(number);
                }
            }
            if numbers.len() >= self.limits.max_events || size >= self.limits.max_bytes {
                break;
            }
        }
        if numbers.is_empty() {
            return None;
        }
        batch.receipts.push(self.under_way.receipt(numbers));
        Some(batch)
    }

    /// Why a message is not tried again; none where it is.
    fn over(&self, attempts: Option<i32>) -> Option<String> {
        let attempts = u32::try_from(attempts?).ok()?;
        let most = self.max_attempts.filter(|most| attempts > *most)?;
        Some(format!("it is delivered for the {attempts}th time, and `max_attempts` is {most}"))
    }

    fn unreadable(&self, message: &Message, reason: &str) -> Unreadable {
        let reason =
            format!("the message {} of {} is no change: {reason}", message.message_id, self.rules.subscription());
        Unreadable { id: self.rules.id(message), raw: self.rules.to_json(message), reason }
    }
}
