//! What one plugin may use, and the clock that holds it to it.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::config::LimitsConfig;

/// The limits of one stage, with the defaults filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of linear memory of one instance.
    pub memory: usize,
    /// CPU time of a call with one change; each further change of a batch adds a thousandth of it.
    pub time: Duration,
    /// Bytes one call may return.
    pub output: usize,
    /// Log lines a second of one instance.
    pub log_lines: u32,
    /// The longest that one HTTP request may take.
    pub http_time: Duration,
    /// Bytes of the body of one HTTP request, and of one response.
    pub http_size: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 64 << 20,
            time: Duration::from_secs(1),
            output: 32 << 20,
            log_lines: 100,
            http_time: Duration::from_secs(5),
            http_size: 4 << 20,
        }
    }
}

impl Limits {
    /// The stage's own settings over those for all plugins over the defaults.
    pub fn resolve(stage: &LimitsConfig, all: &LimitsConfig) -> Self {
        let default = Self::default();
        Self {
            memory: stage.memory.or(all.memory).map_or(default.memory, |size| size.as_usize()),
            time: stage.time.or(all.time).map_or(default.time, |span| span.0),
            output: stage.output.or(all.output).map_or(default.output, |size| size.as_usize()),
            log_lines: stage.log_lines.or(all.log_lines).unwrap_or(default.log_lines),
            http_time: stage.http_time.or(all.http_time).map_or(default.http_time, |span| span.0),
            http_size: stage.http_size.or(all.http_size).map_or(default.http_size, |size| size.as_usize()),
        }
    }

    /// CPU time of a call with that many changes.
    pub fn budget(&self, changes: usize) -> Duration {
        let further = u32::try_from(changes.saturating_sub(1)).unwrap_or(u32::MAX);
        self.time.saturating_add(self.time.saturating_mul(further) / 1000)
    }
}

/// Times one call. It counts the CPU time of the calling thread, so that a busy machine condemns no innocent plugin, and
/// wall time up to a ceiling, so that nothing waits for ever.
#[derive(Debug)]
pub(super) struct Stopwatch {
    cpu_start: Duration,
    wall_start: Instant,
    budget: Duration,
}

/// CPU time of this thread so far.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// How much more wall time than CPU time a call may take.
const WALL_FACTOR: u32 = 10;

impl Stopwatch {
    pub(super) fn start(budget: Duration) -> Self {
        Self { cpu_start: thread_time(), wall_start: Instant::now(), budget }
    }

    /// How much wall time is left until the call is stopped whatever it does.
    pub(super) fn left(&self) -> Duration {
        self.budget.saturating_mul(WALL_FACTOR).saturating_sub(self.wall_start.elapsed())
    }

    /// Asked on every tick of the epoch, on the thread of the call: the reason to stop it, if there is one.
    pub(super) fn overdue(&self) -> Option<String> {
        // The wall clock is the cheap one, and CPU time cannot be ahead of it on one thread.
        let wall = self.wall_start.elapsed();
        if wall < self.budget {
            return None;
        }
        if thread_time().saturating_sub(self.cpu_start) >= self.budget {
            return Some(format!("took longer than {} of CPU time", humantime::format_duration(self.budget)));
        }
        let ceiling = self.budget.saturating_mul(WALL_FACTOR);
        (wall >= ceiling).then(|| format!("took longer than {} in all", humantime::format_duration(ceiling)))
    }
}

#[cfg(test)]
mod tests {
    use super::{Limits, Stopwatch, thread_time};
    use std::time::Duration;

    #[test]
    fn budget_grows_with_the_batch() {
        let limits = Limits { time: Duration::from_secs(1), ..Limits::default() };
        assert_eq!(limits.budget(0), Duration::from_secs(1));
        assert_eq!(limits.budget(1), Duration::from_secs(1));
        assert_eq!(limits.budget(1001), Duration::from_secs(2));
    }

    #[test]
    fn a_stopwatch_condemns_cpu_time_and_not_waiting() {
        let busy = Stopwatch::start(Duration::from_millis(20));
        assert_eq!(busy.overdue(), None);
        let mut turns = 0_u64;
        while busy.overdue().is_none() {
            turns = turns.wrapping_add(1);
        }
        assert!(turns > 0);
        assert!(thread_time().saturating_sub(busy.cpu_start) >= Duration::from_millis(20));

        let idle = Stopwatch::start(Duration::from_millis(20));
        std::thread::park_timeout(Duration::from_millis(30));
        assert_eq!(idle.overdue(), None, "30 ms asleep are no 20 ms of work, and the ceiling is at 200 ms");
    }
}
