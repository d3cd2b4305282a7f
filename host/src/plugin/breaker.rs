//! The breaker of a stage: a plugin that fails on everything is stopped, so that it neither grinds nor throws the stream away.
//!
//! One guilty change costs a search and a dead letter. When every change is guilty the plugin is, and searching through each
//! batch would only be slow. All lanes of a stage share one breaker: a plugin that works in one of them works.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::config::{BreakerAction, BreakerConfig};

/// The breaker of one stage.
#[derive(Debug)]
pub(super) struct Breaker {
    config: BreakerConfig,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// What is counted is of this generation; an older one that still ends its batch says nothing about it.
    generation: u64,
    /// Changes in a row it failed on.
    failed: u32,
    open: bool,
}

/// What came of telling the breaker something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is as it was.
    None,
    /// It tripped just now, after so many failures in a row.
    Opened(u32),
    /// It closed just now.
    Closed,
}

impl Breaker {
    pub(super) fn new(config: BreakerConfig) -> Self {
        Self { config, state: Mutex::default() }
    }

    pub(super) fn action(&self) -> BreakerAction {
        self.config.action
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A generation runs from now on; a newer one has the benefit of the doubt.
    pub(super) fn begin(&self, generation: u64) -> Turn {
        let mut state = self.lock();
        if generation <= state.generation {
            return Turn::None;
        }
        let open = state.open;
        *state = State { generation, ..State::default() };
        if open { Turn::Closed } else { Turn::None }
    }

    /// It may try again: the operator said so.
    pub(super) fn close(&self) -> Turn {
        let mut state = self.lock();
        state.failed = 0;
        if std::mem::take(&mut state.open) { Turn::Closed } else { Turn::None }
    }

    pub(super) fn is_open(&self, generation: u64) -> bool {
        let state = self.lock();
        state.open && state.generation == generation
    }

    /// The plugin did its work on a change. What pauses the pipeline stays open until the operator or another generation closes it,
    /// whatever another lane was about to end well.
    pub(super) fn worked(&self, generation: u64) -> Turn {
        let mut state = self.lock();
        if state.generation != generation || (state.open && self.config.action == BreakerAction::Pause) {
            return Turn::None;
        }
        state.failed = 0;
        if std::mem::take(&mut state.open) { Turn::Closed } else { Turn::None }
    }

    /// The plugin failed on a change that stood alone.
    pub(super) fn failed(&self, generation: u64) -> Turn {
        let mut state = self.lock();
        if state.generation != generation {
            return Turn::None;
        }
        state.failed = state.failed.saturating_add(1);
        if state.open || state.failed < self.config.after {
            return Turn::None;
        }
        state.open = true;
        Turn::Opened(state.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::{Breaker, Turn};
    use crate::config::{BreakerAction, BreakerConfig};

    fn breaker(after: u32, action: BreakerAction) -> Breaker {
        let breaker = Breaker::new(BreakerConfig { after, action });
        assert_eq!(breaker.begin(1), Turn::None);
        breaker
    }

    #[test]
    fn it_trips_after_so_many_in_a_row_and_closes_with_the_first_success() {
        let breaker = breaker(3, BreakerAction::DeadLetter);
        for _ in 0..4 {
            assert_eq!([breaker.failed(1), breaker.failed(1), breaker.worked(1)], [Turn::None; 3]);
        }
        assert_eq!(
            [breaker.failed(1), breaker.failed(1), breaker.failed(1)],
            [Turn::None, Turn::None, Turn::Opened(3)]
        );
        assert!(breaker.is_open(1));
        assert_eq!(breaker.failed(1), Turn::None, "it trips once");
        assert_eq!([breaker.worked(1), breaker.worked(1)], [Turn::Closed, Turn::None]);
        assert!(!breaker.is_open(1));
        assert_eq!([breaker.failed(1), breaker.failed(1)], [Turn::None; 2], "and counts from the start");
    }

    #[test]
    fn what_pauses_is_closed_by_the_operator_alone() {
        let breaker = breaker(2, BreakerAction::Pause);
        assert_eq!([breaker.failed(1), breaker.worked(1), breaker.failed(1)], [Turn::None; 3]);
        assert_eq!([breaker.failed(1), breaker.worked(1)], [Turn::Opened(2), Turn::None]);
        assert!(breaker.is_open(1));
        assert_eq!([breaker.close(), breaker.failed(1)], [Turn::Closed, Turn::None]);
    }

    #[test]
    fn each_generation_begins_with_a_closed_breaker() {
        let breaker = breaker(2, BreakerAction::Pause);
        assert_eq!([breaker.failed(1), breaker.failed(1)], [Turn::None, Turn::Opened(2)]);
        assert_eq!([breaker.begin(2), breaker.begin(2)], [Turn::Closed, Turn::None]);
        assert!(!breaker.is_open(2));
        assert_eq!([breaker.failed(1), breaker.failed(2), breaker.worked(1)], [Turn::None; 3]);
        assert_eq!(breaker.failed(2), Turn::Opened(2), "what an older generation still does is not counted");
        assert_eq!([breaker.begin(1), breaker.close(), breaker.close()], [Turn::None, Turn::Closed, Turn::None]);
    }
}
