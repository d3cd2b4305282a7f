//! What changed in the status that somebody should know.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, Instant, SystemTime},
};

use super::Alert;
use crate::{
    config::{AlertKind, Config, DeadLetterAlertConfig, SourceConfig},
    error::Code,
    status::{PipelineStatus, PipelineView, Problem, State, Status},
};

/// Remembers what was told.
#[derive(Debug)]
pub(super) struct Watcher {
    down_after: Duration,
    dead_letters: DeadLetterAlertConfig,
    /// How much history must be left, by pipeline with a source that says it.
    history: HashMap<String, Duration>,
    pipelines: HashMap<String, Known>,
    /// Digests of barred files; none before the first look.
    barred: Option<HashSet<(String, String)>>,
}

/// Of a pipeline.
#[derive(Debug, Default)]
struct Known {
    /// Parts that are down, with since when.
    down: HashMap<String, SystemTime>,
    halted: Option<State>,
    /// Dead letters at earlier looks.
    letters: VecDeque<(Instant, u64)>,
    too_many: bool,
    history_is_short: bool,
    positions_lost: u64,
}

impl Watcher {
    pub(super) fn new(config: &Config) -> Self {
        let history = config.pipelines.iter().filter_map(|(name, pipeline)| match &pipeline.source {
            SourceConfig::Mongodb(mongodb) => Some((name.clone(), mongodb.history_warning.0)),
            _ => None,
        });
        Self {
            down_after: config.alerts.down_after.0,
            dead_letters: config.alerts.dead_letters,
            history: history.collect(),
            pipelines: HashMap::new(),
            barred: None,
        }
    }

    /// What is new since the last look.
    pub(super) fn look(&mut self, status: &Status) -> Vec<Alert> {
        let mut alerts = Vec::new();
        for pipeline in status.pipelines() {
            self.pipeline(&pipeline, &mut alerts);
        }
        self.plugins(status, &mut alerts);
        alerts
    }

    fn pipeline(&mut self, pipeline: &PipelineStatus, alerts: &mut Vec<Alert>) {
        let view = pipeline.view();
        let known = self.pipelines.entry(pipeline.name().to_owned()).or_default();
        let least = self.history.get(pipeline.name());
        let tell = &mut Teller { subject: pipeline.name(), alerts };
        if !known.halt(&view, tell) {
            known.parts(&view, self.down_after, tell);
        }
        known.letters(&view, &self.dead_letters, tell);
        known.history(&view, least, tell);
        // Streams have two codes for it; the log has the right one.
        let code = least.map(|_| Code::MongoPositionLost);
        known.positions(pipeline.metrics().positions_lost.get(), code, tell);
    }

    fn plugins(&mut self, status: &Status, alerts: &mut Vec<Alert>) {
        let mut all = HashSet::new();
        for (name, plugin) in status.plugins() {
            for barred in plugin.swap.map(|swap| swap.barred).unwrap_or_default() {
                let key = (name.clone(), barred.digest);
                // What was barred when the host started was told then.
                if self.barred.as_ref().is_some_and(|known| !known.contains(&key)) {
                    let message = format!("version {} is not used any more: {}", barred.version, barred.reason);
                    Teller { subject: &name, alerts }.tell(AlertKind::Plugin, None, None, message);
                }
                all.insert(key);
            }
        }
        self.barred = Some(all);
    }
}

/// Makes the alerts of one pipeline or plugin.
struct Teller<'a> {
    subject: &'a str,
    alerts: &'a mut Vec<Alert>,
}

impl Teller<'_> {
    fn tell(&mut self, kind: AlertKind, part: Option<&str>, code: Option<Code>, message: String) {
        let (subject, part) = (self.subject.to_owned(), part.map(str::to_owned));
        self.alerts.push(Alert { kind, subject, part, code: code.map(Code::as_str), message });
    }
}

impl Known {
    /// Stopped, paused, or running again. Whether it is halted.
    fn halt(&mut self, view: &PipelineView, tell: &mut Teller<'_>) -> bool {
        let halted = view.problem.as_ref().filter(|_| matches!(view.state, State::Stopped | State::Paused));
        match (halted, self.halted) {
            (Some(problem), told) if told != Some(view.state) => {
                let kind = if view.state == State::Stopped { AlertKind::Stopped } else { AlertKind::Paused };
                tell.tell(kind, None, Some(problem.code), problem.reason.clone());
                self.halted = Some(view.state);
            }
            (None, Some(_)) if view.state == State::Running => {
                tell.tell(AlertKind::Recovered, None, None, "it runs again".to_owned());
                self.halted = None;
            }
            _ => {}
        }
        halted.is_some()
    }

    /// The source and the sinks: down for long enough, or working again.
    fn parts(&mut self, view: &PipelineView, down_after: Duration, tell: &mut Teller<'_>) {
        for (part, problem) in parts(view) {
            match (problem, self.down.get(&part)) {
                (Some(problem), None) if elapsed(problem.since) >= down_after => {
                    let message = format!(
                        "for {}, {} tries: {}",
                        in_seconds(elapsed(problem.since)),
                        problem.attempt,
                        problem.reason
                    );
                    tell.tell(AlertKind::Down, Some(&part), Some(problem.code), message);
                    self.down.insert(part, problem.since);
                }
                (None, Some(since)) if view.state == State::Running => {
                    let message = format!("it works again, after {}", in_seconds(elapsed(*since)));
                    tell.tell(AlertKind::Recovered, Some(&part), None, message);
                    self.down.remove(&part);
                }
                _ => {}
            }
        }
    }

    /// Dead letters within the time that is looked at.
    fn letters(&mut self, view: &PipelineView, config: &DeadLetterAlertConfig, tell: &mut Teller<'_>) {
        let (now, letters) = (Instant::now(), view.counts.dead_letters.values().sum::<u64>());
        let within = config.within.0;
        if self.letters.is_empty() {
            self.letters.push_back((now, 0));
        }
        while self.letters.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= within) {
            self.letters.pop_front();
        }
        let fresh = letters.saturating_sub(self.letters.front().map_or(0, |(_, letters)| *letters));
        if self.letters.back().is_none_or(|(_, before)| *before != letters) {
            self.letters.push_back((now, letters));
        }
        let too_many = fresh > config.more_than;
        if too_many && !self.too_many {
            let within = humantime::format_duration(within);
            let message = format!("{fresh} dead letters within {within}, {letters} since the start");
            tell.tell(AlertKind::DeadLetters, None, None, message);
        }
        self.too_many = too_many;
    }

    /// How far back the source's history reaches.
    fn history(&mut self, view: &PipelineView, least: Option<&Duration>, tell: &mut Teller<'_>) {
        let left = view.source.history_seconds.map(Duration::from_secs);
        let short = left.zip(least).filter(|(left, least)| left < *least);
        if let Some((left, _)) = short
            && !self.history_is_short
        {
            let message = format!(
                "the source's history reaches only {} further back than where the pipeline stands: then its position is lost",
                humantime::format_duration(left)
            );
            tell.tell(AlertKind::History, None, None, message);
        }
        self.history_is_short = short.is_some();
    }

    /// Positions that the source no longer had.
    fn positions(&mut self, lost: u64, code: Option<Code>, tell: &mut Teller<'_>) {
        if lost > self.positions_lost {
            let message = "the source no longer had the position, and went on elsewhere".to_owned();
            tell.tell(AlertKind::PositionLost, None, code, message);
        }
        self.positions_lost = lost;
    }
}

/// What a pipeline is made of that can be down.
fn parts(view: &PipelineView) -> Vec<(String, Option<&Problem>)> {
    let sinks = view.sinks.iter().map(|sink| (format!("sink {}", sink.name), sink.problem.as_ref()));
    std::iter::once(("source".to_owned(), view.source.problem.as_ref())).chain(sinks).collect()
}

fn elapsed(since: SystemTime) -> Duration {
    since.elapsed().unwrap_or_default()
}

fn in_seconds(time: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(time.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::{Status, Watcher};
    use crate::{
        config,
        error::{Code, Fault},
        status::State,
        telemetry::metrics::{DeadLetterKind, Metrics},
    };

    fn watched() -> (Watcher, Status, crate::status::PipelineStatus) {
        let text = "alerts: { down_after: 0s, dead_letters: { more_than: 2 } }\n\
                    pipelines: { p: { source: { mongodb: { uri: 'mongodb://h', history_warning: 1h } }, sinks: { out: stdout } } }";
        let config = config::parse(text, "c", &|_| None).unwrap();
        let status = Status::new(Metrics::new());
        let pipeline = status.add_pipeline("p", crate::status::tests::parts());
        (Watcher::new(&config), status, pipeline)
    }

    fn told(watcher: &mut Watcher, status: &Status) -> Vec<String> {
        let alerts = watcher.look(status).into_iter();
        let shown = |alert: super::Alert| {
            let (part, code) = (alert.part.unwrap_or_default(), alert.code.unwrap_or_default());
            format!("{} {part} {code}", alert.kind.as_str())
        };
        alerts.map(shown).collect()
    }

    #[test]
    fn what_breaks_is_told_once_and_when_it_works_again() {
        let (mut watcher, status, pipeline) = watched();
        pipeline.source_opened(None);
        pipeline.set_state(State::Running);
        assert!(told(&mut watcher, &status).is_empty());
        for _ in 0..3 {
            pipeline.sink_failed(0, &Fault::transient(Code::RedisUnreachable, "away"));
            pipeline.source_failed(&Fault::transient(Code::MongoUnreachable, "away"));
        }
        assert_eq!(told(&mut watcher, &status), ["down source TG0301", "down sink cache TG0401"]);
        pipeline.sink_failed(0, &Fault::transient(Code::RedisUnreachable, "still away"));
        assert!(told(&mut watcher, &status).is_empty());
        pipeline.sink_connected(0);
        pipeline.source_opened(None);
        assert_eq!(told(&mut watcher, &status), ["recovered source ", "recovered sink cache "]);
        assert!(told(&mut watcher, &status).is_empty());
    }

    #[test]
    fn too_many_dead_letters_and_short_history_are_told_once() {
        let (mut watcher, status, pipeline) = watched();
        let letters = pipeline.metrics().dead_letters(DeadLetterKind::Rejected);
        letters.inc_by(2);
        assert!(told(&mut watcher, &status).is_empty());
        letters.inc();
        assert_eq!(told(&mut watcher, &status), ["dead_letters  "]);
        letters.inc();
        assert!(told(&mut watcher, &status).is_empty());
        pipeline.source_history(std::time::Duration::from_secs(7200));
        assert!(told(&mut watcher, &status).is_empty());
        pipeline.source_history(std::time::Duration::from_secs(3000));
        assert_eq!(told(&mut watcher, &status), ["history  "]);
        assert!(told(&mut watcher, &status).is_empty());
        pipeline.metrics().positions_lost.inc();
        assert_eq!(told(&mut watcher, &status), ["position_lost  TG0304"]);
    }
}
