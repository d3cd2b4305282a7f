//! How far a pipeline is behind its source.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder},
    metrics::{MetricType, TypedMetric},
};

/// Computes `tidegate_lag_seconds`: now less the time of the newest change whose delivery is safe, and 0 when the source
/// has said that there is no more and all it gave is safe.
///
/// It is computed when it is asked for, so that it grows while a sink is down and nothing moves. After an idle hour
/// the first new change counts from its own time, not from that of its predecessor an hour ago. A pipeline whose changes
/// carry no time has no lag. Cloning gives another handle to the same figure.
#[derive(Clone, Default)]
pub struct Lag(Arc<Mutex<Standing>>);

#[derive(Debug, Default)]
struct Standing {
    /// Everything up to this time (milliseconds since 1970) is safe.
    safe_until: Option<i64>,
    /// Batches with changes that are read and not yet safe.
    outstanding: u64,
    /// The newest read had nothing.
    caught_up: bool,
    /// Something was read in this run.
    begun: bool,
}

impl Lag {
    /// A batch with changes was read; `oldest` is when its first change happened.
    pub fn read(&self, oldest: Option<i64>) {
        self.with(|standing| {
            if standing.outstanding == 0 && (standing.caught_up || !standing.begun) {
                standing.safe_until = oldest;
            }
            standing.begun = true;
            standing.caught_up = false;
            standing.outstanding += 1;
        });
    }

    /// A read came back empty: the source has no more for now.
    pub fn read_nothing(&self) {
        self.with(|standing| {
            standing.begun = true;
            standing.caught_up = true;
        });
    }

    /// A batch with changes is safe in all sinks (or in the dead letter); `newest` is when its last change happened.
    pub fn safe(&self, newest: Option<i64>) {
        self.with(|standing| {
            standing.outstanding = standing.outstanding.saturating_sub(1);
            standing.safe_until = standing.safe_until.max(newest);
        });
    }

    /// The pipeline starts anew: what was in flight is gone and will be read again.
    pub fn restart(&self) {
        self.with(|standing| {
            standing.outstanding = 0;
            standing.caught_up = false;
        });
    }

    /// The lag now, in seconds; never negative, whatever the clocks of the servers say.
    pub fn seconds(&self) -> f64 {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        self.seconds_at(now)
    }

    fn seconds_at(&self, now: i64) -> f64 {
        self.with(|standing| match standing.safe_until {
            Some(time) if !(standing.caught_up && standing.outstanding == 0) => {
                now.saturating_sub(time).max(0) as f64 / 1000.0
            }
            _ => 0.0,
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Standing) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Lag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lag({} s)", self.seconds())
    }
}

impl TypedMetric for Lag {
    const TYPE: MetricType = MetricType::Gauge;
}

impl EncodeMetric for Lag {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_gauge(&self.seconds())
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use super::Lag;

    const T: i64 = 1_700_000_000_000;

    #[test]
    fn lag_is_the_age_of_what_is_safe_and_grows_while_nothing_moves() {
        let lag = Lag::default();
        assert_eq!(lag.seconds_at(T), 0.0, "nothing read, nothing behind");
        lag.read(Some(T - 9000));
        assert_eq!(lag.seconds_at(T), 9.0, "read but not safe");
        lag.read(Some(T - 4000));
        lag.safe(Some(T - 5000));
        assert_eq!(lag.seconds_at(T), 5.0);
        assert_eq!(lag.seconds_at(T + 1000), 6.0, "a sink that is down");
        lag.safe(Some(T - 3000));
        assert_eq!(lag.seconds_at(T), 3.0, "nobody said that the source has no more");
        lag.read_nothing();
        assert_eq!(lag.seconds_at(T), 0.0);
    }

    #[test]
    fn an_empty_read_counts_only_when_all_before_it_is_safe() {
        let lag = Lag::default();
        lag.read(Some(T - 2000));
        lag.read_nothing();
        assert_eq!(lag.seconds_at(T), 2.0);
        lag.safe(Some(T - 1000));
        assert_eq!(lag.seconds_at(T), 0.0);
    }

    #[test]
    fn after_an_idle_hour_the_first_change_counts_from_its_own_time() {
        let lag = Lag::default();
        lag.read(Some(T - 3_600_000));
        lag.safe(Some(T - 3_600_000));
        lag.read_nothing();
        lag.read(Some(T - 40));
        assert_eq!(lag.seconds_at(T), 0.04);
    }

    #[test]
    fn changes_without_a_time_and_clocks_that_run_ahead_give_no_lag() {
        let lag = Lag::default();
        lag.read(None);
        assert_eq!(lag.seconds_at(T), 0.0);
        lag.safe(Some(T + 500));
        assert_eq!(lag.seconds_at(T), 0.0);
    }

    #[test]
    fn a_restart_forgets_what_was_in_flight() {
        let lag = Lag::default();
        lag.read(Some(T - 2000));
        lag.restart();
        lag.read_nothing();
        assert_eq!(lag.seconds_at(T), 0.0);
    }
}
