//! What of a topic or a subscription differs from what is wanted.

use std::{collections::HashMap, time::Duration};

use google_cloud_pubsub::model;

use super::{
    Property,
    wanted::{Expires, Subscription, Topic},
};
use crate::config::Span;

/// What a service says that says nothing.
const UNSAID: &str = "unset";
/// After which Pub/Sub by itself removes what nobody reads.
const MONTH: Duration = Duration::from_secs(31 * DAY);
const DAY: u64 = 24 * 3600;

/// One property that differs.
pub(super) struct Difference {
    /// As `setup` calls it.
    name: String,
    /// As a field mask calls it; none where it cannot be changed.
    pub(super) path: Option<&'static str>,
    from: String,
    to: String,
}

impl Difference {
    /// For the report.
    pub(super) fn shown(&self) -> Property {
        Property { name: self.name.clone(), from: Some(self.from.clone()), to: self.to.clone() }
    }

    /// For the report, of a thing that was not there.
    fn made(&self) -> Property {
        Property { from: None, ..self.shown() }
    }
}

#[derive(Default)]
struct Differences(Vec<Difference>);

impl Differences {
    /// `shown` is how a value is written.
    fn one<T: PartialEq>(
        &mut self,
        name: &str,
        path: Option<&'static str>,
        found: &T,
        wanted: Option<&T>,
        shown: impl Fn(&T) -> String,
    ) {
        if let Some(wanted) = wanted.filter(|wanted| *wanted != found) {
            self.0.push(Difference { name: name.to_owned(), path, from: shown(found), to: shown(wanted) });
        }
    }

    fn labels<'a>(
        &mut self,
        found: &HashMap<String, String>,
        wanted: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) {
        for (label, value) in wanted {
            let found = found.get(label).map_or(UNSAID, String::as_str);
            self.one(&format!("labels.{label}"), Some("labels"), &found, Some(&value.as_str()), |text| {
                (*text).to_owned()
            });
        }
    }
}

impl Topic {
    pub(super) fn differences(&self, found: &model::Topic) -> Vec<Difference> {
        let mut all = Differences::default();
        all.labels(&found.labels, &self.labels);
        let retention = found.message_retention_duration.map(time);
        let path = Some("message_retention_duration");
        all.one("retention", path, &retention, self.retention.map(Some).as_ref(), optional);
        all.0
    }

    /// What it is made with.
    pub(super) fn given(&self) -> Vec<Property> {
        self.differences(&model::Topic::new()).iter().map(Difference::made).collect()
    }

    pub(super) fn apply(&self, mut topic: model::Topic) -> model::Topic {
        topic.labels.extend(self.labels.clone());
        if let Some(retention) = self.retention {
            topic.message_retention_duration = retention.try_into().ok();
        }
        topic
    }
}

impl Subscription {
    /// What it is made with, besides its topic, that Pub/Sub would not do by itself.
    pub(super) fn given(&self) -> Vec<Property> {
        let mut plain = model::Subscription::new().set_ack_deadline_seconds(10);
        let mut month = model::ExpirationPolicy::new();
        month.ttl = MONTH.try_into().ok();
        plain.expiration_policy = Some(month);
        self.differences(&plain).iter().map(Difference::made).collect()
    }

    /// Without its topic.
    pub(super) fn differences(&self, found: &model::Subscription) -> Vec<Difference> {
        let mut all = Differences::default();
        all.one("ordering", None, &found.enable_message_ordering, self.ordering.as_ref(), |on| switch(*on));
        all.one("filter", None, &found.filter, self.filter.as_ref(), |filter| match filter.as_str() {
            "" => "none".to_owned(),
            filter => format!("`{filter}`"),
        });
        let deadline = Duration::from_secs(found.ack_deadline_seconds.try_into().unwrap_or_default());
        all.one("ack_deadline", Some("ack_deadline_seconds"), &deadline, self.ack_deadline.as_ref(), |time| {
            span(*time)
        });
        let retention = found.message_retention_duration.map(time);
        let path = Some("message_retention_duration");
        all.one("retention", path, &retention, self.retention.map(Some).as_ref(), optional);
        let expires = found
            .expiration_policy
            .as_ref()
            .map(|policy| policy.ttl.map_or(Expires::Never, |ttl| Expires::After(time(ttl))));
        // Google's own always says; what does not, as its emulator, removes nothing.
        let wanted = self.expires.filter(|wanted| expires.is_some() || *wanted != Expires::Never);
        all.one("expires", Some("expiration_policy"), &expires, wanted.map(Some).as_ref(), |expires| match expires {
            None => UNSAID.to_owned(),
            Some(Expires::Never) => "never".to_owned(),
            Some(Expires::After(time)) => span(*time),
        });
        all.labels(&found.labels, &self.labels);
        let wait = |time_or_none: Option<_>| time_or_none.map(time).unwrap_or_default();
        let retry =
            found.retry_policy.as_ref().map(|policy| (wait(policy.minimum_backoff), wait(policy.maximum_backoff)));
        all.one("retry", Some("retry_policy"), &retry, self.retry.map(Some).as_ref(), |retry| match retry {
            None => "none".to_owned(),
            Some((min, max)) => format!("{} to {}", span(*min), span(*max)),
        });
        let letter = found.dead_letter_policy.as_ref().map(|policy| {
            (policy.dead_letter_topic.clone(), u32::try_from(policy.max_delivery_attempts).unwrap_or_default())
        });
        let wanted = self.dead_letter.clone().map(Some);
        all.one("dead_letter", Some("dead_letter_policy"), &letter, wanted.as_ref(), |letter| match letter {
            None => "none".to_owned(),
            Some((topic, attempts)) => format!("{topic} after {attempts} deliveries"),
        });
        let path = Some("enable_exactly_once_delivery");
        all.one("exactly_once", path, &found.enable_exactly_once_delivery, self.exactly_once.as_ref(), |on| {
            switch(*on)
        });
        all.0
    }

    /// With its topic, which a subscription keeps for life.
    pub(super) fn fixed(&self, found: &model::Subscription) -> Vec<Difference> {
        let mut all = Differences::default();
        all.one("topic", None, &found.topic, self.topic.as_ref(), Clone::clone);
        all.0.extend(self.differences(found).into_iter().filter(|difference| difference.path.is_none()));
        all.0
    }

    pub(super) fn apply(&self, mut found: model::Subscription) -> model::Subscription {
        if let Some(ordering) = self.ordering {
            found.enable_message_ordering = ordering;
        }
        if let Some(filter) = &self.filter {
            found.filter.clone_from(filter);
        }
        if let Some(deadline) = self.ack_deadline {
            found.ack_deadline_seconds = deadline.as_secs().try_into().unwrap_or(i32::MAX);
        }
        if let Some(retention) = self.retention {
            found.message_retention_duration = retention.try_into().ok();
        }
        if let Some(expires) = self.expires {
            let mut policy = model::ExpirationPolicy::new();
            if let Expires::After(ttl) = expires {
                policy.ttl = ttl.try_into().ok();
            }
            found.expiration_policy = Some(policy);
        }
        found.labels.extend(self.labels.clone());
        if let Some((min, max)) = self.retry {
            let mut policy = model::RetryPolicy::new();
            policy.minimum_backoff = min.try_into().ok();
            policy.maximum_backoff = max.try_into().ok();
            found.retry_policy = Some(policy);
        }
        if let Some((topic, attempts)) = &self.dead_letter {
            let attempts = i32::try_from(*attempts).unwrap_or(i32::MAX);
            let policy =
                model::DeadLetterPolicy::new().set_dead_letter_topic(topic).set_max_delivery_attempts(attempts);
            found.dead_letter_policy = Some(policy);
        }
        if let Some(exactly_once) = self.exactly_once {
            found.enable_exactly_once_delivery = exactly_once;
        }
        found
    }
}

/// None of what is asked for here is negative or ends in part of a second.
fn time<T: TryInto<Duration>>(time: T) -> Duration {
    time.try_into().unwrap_or_default()
}

/// In days where it is days: a month of 31 of them is no whole number of months.
fn span(time: Duration) -> String {
    let (days, rest) = (time.as_secs() / DAY, time.as_secs() % DAY);
    if days > 0 && rest == 0 { format!("{days}d") } else { Span(time).to_string() }
}

fn optional(time: &Option<Duration>) -> String {
    time.map_or_else(|| UNSAID.to_owned(), span)
}

fn switch(on: bool) -> String {
    if on { "on" } else { "off" }.to_owned()
}
