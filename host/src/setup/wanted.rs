//! What a configuration needs in Pub/Sub.

use std::{collections::BTreeMap, time::Duration};

use indexmap::IndexMap;

use super::{Line, Outcome};
use crate::{
    config::{
        Config, PubsubConnection, PubsubSinkConfig, PubsubSourceConfig, SinkConfig, SourceConfig,
        SubscriptionSetupConfig,
    },
    error::Code,
    pubsub::names,
    sink::template::{Template, Words},
};

/// Of a subscription that says nothing else.
const ACK_DEADLINE: Duration = Duration::from_secs(60);

/// All that is wanted of one service.
pub(super) struct Wanted {
    pub(super) connection: PubsubConnection,
    /// By their full names, in the order in which they can be made.
    pub(super) topics: IndexMap<String, Topic>,
    pub(super) subscriptions: IndexMap<String, Subscription>,
    /// What cannot be known or done.
    pub(super) lines: Vec<Line>,
}

/// A topic.
#[derive(Default)]
pub(super) struct Topic {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) retention: Option<Duration>,
    /// A sink publishes to it.
    pub(super) is_target: bool,
    /// The parts of the configuration that want it.
    pub(super) by: Vec<String>,
}

/// A subscription. What is not given is left as it is.
#[derive(Default)]
pub(super) struct Subscription {
    /// Its full name; none where the configuration does not say.
    pub(super) topic: Option<String>,
    /// A source pulls from it.
    pub(super) is_source: bool,
    pub(super) ordering: Option<bool>,
    /// Empty: none.
    pub(super) filter: Option<String>,
    pub(super) ack_deadline: Option<Duration>,
    pub(super) retention: Option<Duration>,
    pub(super) expires: Option<Expires>,
    pub(super) labels: BTreeMap<String, String>,
    /// The shortest wait and the longest.
    pub(super) retry: Option<(Duration, Duration)>,
    /// The full name of the topic, and how often a message is delivered.
    pub(super) dead_letter: Option<(String, u32)>,
    pub(super) exactly_once: Option<bool>,
    /// The parts of the configuration that want it.
    pub(super) by: Vec<String>,
}

/// When a subscription is removed that nobody reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expires {
    Never,
    After(Duration),
}

impl Wanted {
    /// What each service is to have that the configuration names.
    pub(super) fn of(config: &Config) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for (name, pipeline) in &config.pipelines {
            if let SourceConfig::Pubsub(source) = &pipeline.source {
                Self::at(&mut all, &source.connection).source(format!("pipeline {name}, source"), source);
            }
            for (sink, found) in &pipeline.sinks {
                if let SinkConfig::Pubsub(found) = found {
                    Self::at(&mut all, &found.connection).sink(format!("pipeline {name}, sink {sink}"), found);
                }
            }
        }
        all
    }

    /// Names are whole, so that the project of a connection is no matter.
    fn at<'a>(all: &'a mut Vec<Self>, connection: &PubsubConnection) -> &'a mut Self {
        let is_same = |other: &PubsubConnection| {
            other.endpoint == connection.endpoint && other.credentials_file == connection.credentials_file
        };
        let index = all.iter().position(|wanted| is_same(&wanted.connection)).unwrap_or_else(|| {
            all.push(Self {
                connection: connection.clone(),
                topics: IndexMap::new(),
                subscriptions: IndexMap::new(),
                lines: Vec::new(),
            });
            all.len() - 1
        });
        &mut all[index]
    }

    fn source(&mut self, by: String, source: &PubsubSourceConfig) {
        let project = &source.connection.project;
        match &source.setup {
            Some(setup) => {
                let topic = setup.topic.as_deref().map(|topic| names::full(project, "topics", topic).into_owned());
                self.subscription(by, project, &source.subscription, topic, setup, Some(source.ack_deadline.0));
            }
            None => {
                let name = names::full(project, "subscriptions", &source.subscription).into_owned();
                self.add(name, Subscription { is_source: true, by: vec![by], ..Subscription::default() });
            }
        }
    }

    fn sink(&mut self, by: String, sink: &PubsubSinkConfig) {
        let project = &sink.connection.project;
        let full = |topic: &str| names::full(project, "topics", topic).into_owned();
        let template = Template::of(&sink.topic, Words::Fields);
        let setup = sink.setup.clone().unwrap_or_default();
        let topics: Vec<String> =
            template.fixed().into_iter().chain(setup.topics.iter().map(String::as_str)).map(full).collect();
        if template.fixed().is_none() {
            let what = format!(
                "`topic: {}` is made of each change: which topics that are is not known beforehand",
                sink.topic
            );
            let line = Line::new("", Outcome::Note, what).of(std::slice::from_ref(&by));
            self.lines.push(match setup.topics.as_slice() {
                [] => line.help("name them under `setup.topics` of the sink; a change whose topic is missing stops the pipeline (TG1003)"),
                named => line.help(format!("those of `setup.topics` are seen to: {}", named.join(", "))),
            });
        }
        for topic in &topics {
            let wanted = Topic {
                labels: setup.labels.clone().into_iter().collect(),
                retention: setup.retention.map(|span| span.0),
                is_target: true,
                by: vec![by.clone()],
            };
            self.topic(topic.clone(), wanted);
        }
        for (name, subscription) in &setup.subscriptions {
            let topic = subscription.topic.as_deref().map(full).or_else(|| topics.first().cloned());
            self.subscription(by.clone(), project, name, topic, subscription, None);
        }
    }

    /// `of_source`: the deadline of the source that pulls from it.
    fn subscription(
        &mut self,
        by: String,
        project: &str,
        name: &str,
        topic: Option<String>,
        setup: &SubscriptionSetupConfig,
        of_source: Option<Duration>,
    ) {
        if let Some(topic) = &topic {
            self.topic(topic.clone(), Topic { by: vec![by.clone()], ..Topic::default() });
        }
        let expires = |span: Option<Duration>| Some(span.map_or(Expires::Never, Expires::After));
        let dead_letter = setup.dead_letter.as_ref().map(|letter| {
            let dead = names::full(project, "topics", &letter.topic).into_owned();
            self.topic(dead.clone(), Topic { by: vec![by.clone()], ..Topic::default() });
            // What is published while there is no subscription is gone.
            let alone = letter.subscription.as_deref().unwrap_or_else(|| names::split(&dead).1);
            let keeper = Subscription {
                topic: Some(dead.clone()),
                expires: expires(None),
                retention: letter.retention.map(|span| span.0),
                by: vec![by.clone()],
                ..Subscription::default()
            };
            self.add(names::full(project, "subscriptions", alone).into_owned(), keeper);
            (dead, letter.attempts)
        });
        let wanted = Subscription {
            topic,
            is_source: of_source.is_some(),
            ordering: Some(setup.ordering),
            filter: Some(setup.filter.clone().unwrap_or_default()),
            ack_deadline: Some(setup.ack_deadline.map(|span| span.0).or(of_source).unwrap_or(ACK_DEADLINE)),
            retention: setup.retention.map(|span| span.0),
            expires: expires(setup.expires.map(|span| span.0)),
            labels: setup.labels.clone().into_iter().collect(),
            retry: setup.retry.as_ref().map(|retry| (retry.min.0, retry.max.0)),
            dead_letter,
            exactly_once: setup.exactly_once,
            by: vec![by],
        };
        self.add(names::full(project, "subscriptions", name).into_owned(), wanted);
    }

    fn topic(&mut self, name: String, wanted: Topic) {
        let Some(had) = self.topics.get_mut(&name) else {
            self.topics.insert(name, wanted);
            return;
        };
        let mut quarrel = Quarrel::default();
        quarrel.labels(&mut had.labels, wanted.labels);
        quarrel.one("retention", &mut had.retention, wanted.retention);
        had.is_target |= wanted.is_target;
        had.by.extend(wanted.by.into_iter().filter(|by| !had.by.contains(by)).collect::<Vec<_>>());
        self.lines.extend(quarrel.line("topic", &name, &had.by));
    }

    fn add(&mut self, name: String, wanted: Subscription) {
        let Some(had) = self.subscriptions.get_mut(&name) else {
            self.subscriptions.insert(name, wanted);
            return;
        };
        let mut quarrel = Quarrel::default();
        quarrel.one("topic", &mut had.topic, wanted.topic);
        quarrel.one("ordering", &mut had.ordering, wanted.ordering);
        quarrel.one("filter", &mut had.filter, wanted.filter);
        quarrel.one("ack_deadline", &mut had.ack_deadline, wanted.ack_deadline);
        quarrel.one("retention", &mut had.retention, wanted.retention);
        quarrel.one("expires", &mut had.expires, wanted.expires);
        quarrel.labels(&mut had.labels, wanted.labels);
        quarrel.one("retry", &mut had.retry, wanted.retry);
        quarrel.one("dead_letter", &mut had.dead_letter, wanted.dead_letter);
        quarrel.one("exactly_once", &mut had.exactly_once, wanted.exactly_once);
        had.is_source |= wanted.is_source;
        had.by.extend(wanted.by.into_iter().filter(|by| !had.by.contains(by)).collect::<Vec<_>>());
        self.lines.extend(quarrel.line("subscription", &name, &had.by));
    }
}

/// What two parts of a configuration want differently of the same thing.
#[derive(Default)]
struct Quarrel(Vec<String>);

impl Quarrel {
    fn one<T: PartialEq>(&mut self, property: &str, had: &mut Option<T>, wanted: Option<T>) {
        match (&*had, wanted) {
            (Some(had), Some(wanted)) if *had != wanted => self.0.push(property.to_owned()),
            (None, wanted) => *had = wanted,
            _ => {}
        }
    }

    fn labels(&mut self, had: &mut BTreeMap<String, String>, wanted: BTreeMap<String, String>) {
        for (label, value) in wanted {
            let other = had.entry(label.clone()).or_insert_with(|| value.clone());
            if *other != value {
                self.0.push(format!("labels.{label}"));
            }
        }
    }

    fn line(self, kind: &str, name: &str, by: &[String]) -> Option<Line> {
        let what = format!("{kind} {name} is wanted with more than one `{}`", self.0.join("`, `"));
        let line = Line::new("", Outcome::Failed, what).of(by).help("write the same in each `setup` that names it");
        (!self.0.is_empty()).then_some(Line { code: Some(Code::ConfigConflict.as_str()), ..line })
    }
}
