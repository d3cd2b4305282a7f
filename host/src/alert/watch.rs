//! What changed in the status that somebody should know.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, Instant, SystemTime},
};

use super::Alert;
use crate::{
    config::{AlertKind, Config, DeadLetterAlertConfig, SourceConfig},
    status::{PipelineStatus, PipelineView, Problem, State, Status},
};

/// Remembers what was told.
#[derive(Debug)]
pub(super) struct Watcher {
    down_after: Duration,
    dead_letters: DeadLetterAlertConfig,
    /// How much history must be left, by pipeline.
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
        let mut tell = |kind, part: Option<&str>, code, message: String| {
            let (subject, part) = (pipeline.name().to_owned(), part.map(str::to_owned));
            alerts.push(Alert { kind, subject, part, code, message });
        };
        let halted = view.problem.as_ref().filter(|_| matches!(view.state, State::Stopped | State::Paused));
        match (halted, known.halted) {
            (Some(problem), told) if told != Some(view.state) => {
                let kind = if view.state == State::Stopped { AlertKind::Stopped } else { AlertKind::Paused };
                tell(kind, None, Some(problem.code.as_str()), problem.reason.clone());
                known.halted = Some(view.state);
            }
            (None, Some(_)) if view.state == State::Running => {
                tell(AlertKind::Recovered, None, None, "it runs again".to_owned());
                known.halted = None;
            }
            _ => {}
        }
        if halted.is_none() {
            for (part, problem) in parts(&view) {
                match (problem, known.down.get(&part)) {
                    (Some(problem), None) if elapsed(problem.since) >= self.down_after => {
                        let for_long =
                            humantime::format_duration(Duration::from_secs(elapsed(problem.since).as_secs()));
                        let message = format!("for {for_long}, {} tries: {}", problem.attempt, problem.reason);
                        tell(AlertKind::Down, Some(&part), Some(problem.code.as_str()), message);
                        known.down.insert(part, problem.since);
                    }
                    (None, Some(since)) if view.state == State::Running => {
                        let took = humantime::format_duration(Duration::from_secs(elapsed(*since).as_secs()));
                        tell(AlertKind::Recovered, Some(&part), None, format!("it works again, after {took}"));
                        known.down.remove(&part);
                    }
                    _ => {}
                }
            }
        }
        let (now, letters) = (Instant::now(), view.counts.dead_letters.values().sum::<u64>());
        let within = self.dead_letters.within.0;
        if known.letters.is_empty() {
            known.letters.push_back((now, 0));
        }
        while known.letters.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= within) {
            known.letters.pop_front();
        }
        let fresh = letters.saturating_sub(known.letters.front().map_or(0, |(_, letters)| *letters));
        if known.letters.back().is_none_or(|(_, before)| *before != letters) {
            known.letters.push_back((now, letters));
        }
        let too_many = fresh > self.dead_letters.more_than;
        if too_many && !known.too_many {
            let within = humantime::format_duration(within);
            tell(
                AlertKind::DeadLetters,
                None,
                None,
                format!("{fresh} dead letters within {within}, {letters} since the start"),
            );
        }
        known.too_many = too_many;
        let least = self.history.get(pipeline.name());
        let left = view.source.history_seconds.map(Duration::from_secs);
        let short = left.zip(least).is_some_and(|(left, least)| left < *least);
        if short && !known.history_is_short {
            let left = humantime::format_duration(left.unwrap_or_default());
            tell(
                AlertKind::History,
                None,
                None,
                format!(
                    "the source's history reaches only {left} further back than where the pipeline stands: then its position is lost"
                ),
            );
        }
        known.history_is_short = short;
        let lost = pipeline.metrics().positions_lost.get();
        if lost > known.positions_lost {
            tell(
                AlertKind::PositionLost,
                None,
                Some("TG0304"),
                "the source no longer had the position, and went on elsewhere".to_owned(),
            );
        }
        known.positions_lost = lost;
    }

    fn plugins(&mut self, status: &Status, alerts: &mut Vec<Alert>) {
        let barred: Vec<_> = status
            .view()
            .plugins
            .into_iter()
            .flat_map(|(name, plugin)| {
                plugin
                    .swap
                    .map(|swap| swap.barred)
                    .unwrap_or_default()
                    .into_iter()
                    .map(move |barred| (name.clone(), barred))
            })
            .collect();
        if let Some(known) = &self.barred {
            for (name, barred) in &barred {
                if !known.contains(&(name.clone(), barred.digest.clone())) {
                    let message = format!("version {} is not used any more: {}", barred.version, barred.reason);
                    alerts.push(Alert {
                        kind: AlertKind::Plugin,
                        subject: name.clone(),
                        part: None,
                        code: None,
                        message,
                    });
                }
            }
        }
        self.barred = Some(barred.into_iter().map(|(name, barred)| (name, barred.digest)).collect());
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
