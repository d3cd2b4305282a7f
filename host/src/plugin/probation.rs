//! The probation of a new generation: what it does is held against what the one before did.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Instant, SystemTime},
};

use super::{
    registry::Inner,
    tally::{Counts, Tally},
};
use crate::config::ProbationConfig;

/// Rates below these are never a jump, whatever the rate before was: a plugin that never rejected may begin to reject a little.
const LEAST_REJECT_RATE: f64 = 0.01;
const LEAST_FAILURE_RATE: f64 = 0.001;

/// A generation that saw fewer changes than this has no rate of rejections that another could be held against.
const ENOUGH: u64 = 100;

/// A generation on probation.
pub(super) struct Probation {
    pub(super) plugin: Arc<str>,
    /// The generation.
    pub(super) generation: u64,
    pub(super) config: ProbationConfig,
    /// What the generation before did at last.
    pub(super) baseline: Counts,
    pub(super) since: SystemTime,
    began: Instant,
    /// It was taken back: what is begun with it must not be finished.
    taken_back: AtomicBool,
    host: Weak<Inner>,
}

impl std::fmt::Debug for Probation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probation")
            .field("plugin", &self.plugin)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

impl Probation {
    pub(super) fn begin(
        plugin: &Arc<str>,
        generation: u64,
        config: ProbationConfig,
        before: &Tally,
        host: Weak<Inner>,
    ) -> Self {
        Self {
            plugin: Arc::clone(plugin),
            generation,
            config,
            baseline: before.newest(),
            since: SystemTime::now(),
            began: Instant::now(),
            taken_back: AtomicBool::new(false),
            host,
        }
    }

    /// Its time is over, and it did something in it.
    pub(super) fn is_served(&self, tally: &Tally) -> bool {
        self.began.elapsed() >= self.config.time.0 && tally.newest().changes > 0
    }

    /// Whether it was taken back.
    pub(super) fn is_taken_back(&self) -> bool {
        self.taken_back.load(Ordering::Acquire)
    }

    /// The previous generation runs: told when its set is the current one, so that what is begun again is begun with that.
    pub(super) fn mark_taken_back(&self) {
        self.taken_back.store(true, Ordering::Release);
    }

    /// Takes the generation back.
    pub(super) fn take_back(&self, reason: &str) {
        if let Some(host) = self.host.upgrade() {
            host.take_back(self, reason);
        }
        self.mark_taken_back();
    }

    /// Why what it did at last is a jump; none when it is none.
    pub(super) fn jump(&self, now: Counts) -> Option<String> {
        let ProbationConfig { failures, rejects, factor, .. } = self.config;
        let before = self.baseline;
        if now.failures >= failures
            && rate(now.failures, now.changes) > factor * rate(before.failures, before.changes).max(LEAST_FAILURE_RATE)
        {
            return Some(said("failed on", now.failures, now.changes, before.failures, before.changes));
        }
        if before.changes >= ENOUGH
            && now.rejects >= rejects
            && rate(now.rejects, now.changes) > factor * rate(before.rejects, before.changes).max(LEAST_REJECT_RATE)
        {
            return Some(said("rejected", now.rejects, now.changes, before.rejects, before.changes));
        }
        None
    }
}

fn rate(some: u64, all: u64) -> f64 {
    some as f64 / all.max(1) as f64
}

fn said(what: &str, some: u64, all: u64, before: u64, before_all: u64) -> String {
    format!("it {what} {some} of its newest {all} changes, the generation before {what} {before} of {before_all}")
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;

    use super::{Counts, Probation, ProbationConfig, Tally};

    fn probation(before: Counts) -> Probation {
        let tally = Tally::default();
        tally.add(before);
        let config = ProbationConfig { failures: 10, rejects: 20, factor: 3.0, ..ProbationConfig::default() };
        Probation::begin(&"p".into(), 2, config, &tally, Weak::new())
    }

    fn counts(changes: u64, rejects: u64, failures: u64) -> Counts {
        Counts { changes, rejects, failures }
    }

    #[test]
    fn failures_are_a_jump_from_a_count_and_a_rate_on() {
        let clean = probation(counts(1000, 0, 0));
        assert_eq!(clean.jump(counts(9, 0, 9)), None, "too few to judge by");
        assert!(clean.jump(counts(10, 0, 10)).unwrap().contains("failed on 10 of its newest 10"));
        assert_eq!(clean.jump(counts(10_000, 0, 10)), None, "one in a thousand may be the data");
        let failing = probation(counts(1000, 0, 100));
        assert_eq!(failing.jump(counts(100, 0, 30)), None, "three times the rate before, and not more");
        assert!(failing.jump(counts(100, 0, 31)).is_some());
    }

    #[test]
    fn rejections_are_held_against_the_generation_before() {
        let strict = probation(counts(1000, 200, 0));
        assert_eq!(strict.jump(counts(100, 60, 0)), None);
        assert!(strict.jump(counts(100, 61, 0)).unwrap().contains("rejected 200 of 1000"));
        let lenient = probation(counts(1000, 0, 0));
        assert_eq!(lenient.jump(counts(19, 19, 0)), None, "too few to judge by");
        assert!(lenient.jump(counts(100, 20, 0)).is_some());
        assert_eq!(lenient.jump(counts(1000, 30, 0)), None, "three in a hundred may be the data");
        let unknown = probation(counts(99, 0, 0));
        assert_eq!(unknown.jump(counts(100, 100, 0)), None, "the generation before saw too little");
    }
}
