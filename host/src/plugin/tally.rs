//! How a generation does: changes, rejections and failures, over all of its stages and lanes.

use std::sync::{Mutex, PoisonError};

/// What is counted of a generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Changes it decided on.
    pub(super) changes: u64,
    /// Changes it rejected, or said that it cannot handle.
    pub(super) rejects: u64,
    /// Changes it failed on: traps, time-outs, unusable results and the like.
    pub(super) failures: u64,
}

impl Counts {
    fn plus(self, other: Self) -> Self {
        Self {
            changes: self.changes.saturating_add(other.changes),
            rejects: self.rejects.saturating_add(other.rejects),
            failures: self.failures.saturating_add(other.failures),
        }
    }
}

/// The newest half of what is looked at; with the half before it, five to ten thousand changes.
const HALF: u64 = 5_000;

/// Counts over the newest changes: what was long ago neither excuses nor condemns. Told once for each call of the plugin.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<Window>);

#[derive(Clone, Copy, Debug, Default)]
struct Window {
    older: Counts,
    newer: Counts,
}

impl Tally {
    /// Adds what came of a call; returns the counts over the newest changes.
    pub(super) fn add(&self, call: Counts) -> Counts {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if window.newer.changes >= HALF {
            window.older = std::mem::take(&mut window.newer);
        }
        window.newer = window.newer.plus(call);
        window.older.plus(window.newer)
    }

    /// The counts over the newest changes.
    pub(super) fn newest(&self) -> Counts {
        self.add(Counts::default())
    }

    /// Another tally that goes on from here.
    pub(super) fn again(&self) -> Self {
        Self(Mutex::new(*self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

#[cfg(test)]
mod tests {
    use super::{Counts, Tally};

    #[test]
    fn only_the_newest_changes_count() {
        let tally = Tally::default();
        let bad = Counts { changes: 100, rejects: 100, failures: 7 };
        let good = Counts { changes: 100, ..Counts::default() };
        assert_eq!(tally.add(bad), bad);
        (0..49).for_each(|_| {
            tally.add(good);
        });
        assert_eq!(tally.newest(), Counts { changes: 5000, rejects: 100, failures: 7 });
        (0..50).for_each(|_| {
            tally.add(good);
        });
        assert_eq!(tally.newest().rejects, 0, "ten thousand later it is forgotten");
        assert_eq!(tally.again().newest(), tally.newest());
    }
}
