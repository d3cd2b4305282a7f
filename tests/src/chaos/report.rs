//! What a run came to.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::ledger::Verdict;
use super::scenario::{Mode, Target};

/// What a run came to; runs of one target and mode add up.
#[derive(Debug, Clone)]
pub struct Report {
    /// Where changes went.
    pub target: Target,
    /// What was promised.
    pub mode: Mode,
    /// What the run was drawn from.
    pub seed: u64,
    /// Faults struck.
    pub rounds: usize,
    /// How often each fault struck. Kills that fell into another fault are counted too.
    pub faults: BTreeMap<String, usize>,
    /// The longest time from the end of each fault until what was written then was at the sink.
    pub recovery: BTreeMap<String, Duration>,
    /// How often tidegate ended by itself, by error code; it was started again.
    pub ends: BTreeMap<String, usize>,
    /// What was found at the sink.
    pub verdict: Verdict,
    /// What should not have happened besides: the host ended by itself, or nothing moved any more.
    pub trouble: Vec<String>,
    /// From start to end.
    pub elapsed: Duration,
}

impl Report {
    pub(super) fn new(target: Target, mode: Mode, seed: u64) -> Self {
        Self {
            target,
            mode,
            seed,
            rounds: 0,
            faults: BTreeMap::new(),
            recovery: BTreeMap::new(),
            ends: BTreeMap::new(),
            verdict: Verdict::default(),
            trouble: Vec::new(),
            elapsed: Duration::ZERO,
        }
    }

    /// Whether the promise was kept.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.trouble.is_empty() && self.verdict.is_good(self.mode == Mode::AtLeastOnce)
    }

    /// Panics with the report where the promise was not kept.
    ///
    /// # Panics
    /// As it says.
    #[track_caller]
    pub fn assert_good(&self) {
        assert!(self.is_good(), "the promise was not kept: {self:#?}");
    }

    /// Adds another run of the same target and mode.
    pub fn add(&mut self, other: Self) {
        self.rounds += other.rounds;
        for (fault, count) in other.faults {
            *self.faults.entry(fault).or_default() += count;
        }
        for (fault, longest) in other.recovery {
            let known = self.recovery.entry(fault).or_default();
            *known = longest.max(*known);
        }
        for (code, count) in other.ends {
            *self.ends.entry(code).or_default() += count;
        }
        self.verdict.add(other.verdict);
        self.trouble.extend(other.trouble);
        self.elapsed += other.elapsed;
    }

    /// The figures, for a file.
    #[must_use]
    pub fn json(&self) -> Value {
        let recovery: serde_json::Map<String, Value> =
            self.recovery.iter().map(|(fault, time)| (fault.clone(), json!(round(*time)))).collect();
        json!({
            "target": self.target.name(),
            "mode": self.mode.name(),
            "seed": self.seed,
            "rounds": self.rounds,
            "faults": self.faults,
            "changes_checked": self.verdict.changes,
            "gaps": self.verdict.gaps.len(),
            "doubles": self.verdict.doubles.len(),
            "steps_back": self.verdict.steps_back.len(),
            "strangers": self.verdict.strangers.len(),
            "dead_letters": self.verdict.letters,
            "innocent_dead_letters": self.verdict.innocents.len(),
            "ended_by_itself": self.ends,
            "trouble": self.trouble,
            "longest_recovery_seconds": recovery,
            "seconds": round(self.elapsed),
        })
    }
}

/// Seconds with two places.
fn round(time: Duration) -> f64 {
    (time.as_secs_f64() * 100.0).round() / 100.0
}
