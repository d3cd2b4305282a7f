//! Backoff: exponential with full jitter, up to a ceiling, for ever or for so many failures in a row.
//!
//! Full jitter: a wait is anything up to the step of the series, so that hosts that lost a server at the same moment do not
//! come back to it at the same moment. The source and each sink have a series of their own: what one of them suffers slows no
//! other down.

use std::{hash::BuildHasher as _, time::Duration};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio_util::sync::CancellationToken;

use crate::{config::RetryConfig, error::Fault};

/// How a source or sink that fails is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RetryPolicy {
    /// The longest that the first wait may be; each step of the series is twice the one before.
    pub(super) first: Duration,
    /// The longest that any wait may be.
    pub(super) ceiling: Duration,
    /// Failures in a row after which the pipeline stops; none: it never does.
    pub(super) attempts: Option<u32>,
}

impl From<&RetryConfig> for RetryPolicy {
    fn from(config: &RetryConfig) -> Self {
        Self { first: config.first.0, ceiling: config.ceiling.0, attempts: config.attempts }
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::from(&RetryConfig::default())
    }
}

impl RetryPolicy {
    /// No wait is shorter: drawing zero many times in a row would be a loop without a pause.
    fn floor(&self) -> Duration {
        (self.first / 10).max(Duration::from_millis(1))
    }

    fn series(&self) -> ExponentialBackoff {
        ExponentialBuilder::default()
            .with_min_delay(self.first)
            .with_max_delay(self.ceiling)
            .with_factor(2.0)
            .without_max_times()
            .build()
    }
}

/// The waits between the tries of one thing.
pub(super) struct Backoff {
    policy: RetryPolicy,
    series: ExponentialBackoff,
    random: StdRng,
    failed: u32,
}

impl Backoff {
    pub(super) fn new(policy: &RetryPolicy) -> Self {
        // The keys of a hash map are drawn from the system, and are others each time: enough to spread waits.
        Self::seeded(policy, std::hash::RandomState::new().hash_one(0))
    }

    fn seeded(policy: &RetryPolicy, seed: u64) -> Self {
        Self { policy: *policy, series: policy.series(), random: StdRng::seed_from_u64(seed), failed: 0 }
    }

    /// Starts again with the shortest wait, after a success.
    pub(super) fn reset(&mut self) {
        self.series = self.policy.series();
        self.failed = 0;
    }

    /// After a failure: how long to wait before the next try.
    ///
    /// # Errors
    /// The fault itself when trying again will not help, or when it was tried as often as the policy allows: the pipeline stops.
    pub(super) fn after(&mut self, fault: &Fault) -> Result<Duration, Fault> {
        if !fault.is_transient() {
            return Err(Fault { severity: fault.severity, code: fault.code, message: fault.message.clone() });
        }
        self.failed = self.failed.saturating_add(1);
        if let Some(attempts) = self.policy.attempts
            && self.failed >= attempts
        {
            let message = format!(
                "{}; it failed {} times in a row, and `retry.attempts` allows no more: mend the cause and start the pipeline again, \
                 or leave `attempts` out to go on trying for ever",
                fault.message, self.failed
            );
            return Err(Fault::fatal(fault.code, message));
        }
        Ok(self.delay())
    }

    /// Waits for the next try, however often it failed; false when it was cancelled meanwhile.
    pub(super) async fn wait(&mut self, cancelled: &CancellationToken) -> bool {
        pause(self.delay(), cancelled).await
    }

    /// The next wait.
    pub(super) fn delay(&mut self) -> Duration {
        let step = self.series.next().unwrap_or(self.policy.ceiling).min(self.policy.ceiling);
        let most = u64::try_from(step.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.random.random_range(0..=most)).max(self.policy.floor())
    }
}

/// Waits so long; false when it was cancelled meanwhile.
pub(super) async fn pause(delay: Duration, cancelled: &CancellationToken) -> bool {
    tokio::select! {
        () = tokio::time::sleep(delay) => true,
        () = cancelled.cancelled() => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Backoff, RetryPolicy};
    use crate::error::{Code, Fault};

    const POLICY: RetryPolicy =
        RetryPolicy { first: Duration::from_millis(100), ceiling: Duration::from_secs(15), attempts: None };

    fn down() -> Fault {
        Fault::transient(Code::RedisUnreachable, "redis is down")
    }

    #[test]
    fn waits_are_anything_up_to_a_step_that_doubles_until_the_ceiling() {
        const TRIES: u64 = 400;
        for step in 0..12_u32 {
            let most = (POLICY.first * 2_u32.pow(step)).min(POLICY.ceiling);
            let mut drawn: Vec<Duration> = (0..TRIES)
                .map(|seed| {
                    let mut backoff = Backoff::seeded(&POLICY, seed);
                    (0..step).for_each(|_| _ = backoff.delay());
                    backoff.delay()
                })
                .collect();
            drawn.sort_unstable();
            let (least, longest) = (drawn[0], drawn[drawn.len() - 1]);
            assert!(least >= POLICY.floor() && longest <= most, "step {step}: {least:?} to {longest:?} of {most:?}");
            // Uniform: the quarters of the range hold about a quarter of the draws each.
            for quarter in 0..4 {
                let (from, to) = (most / 4 * quarter, most / 4 * (quarter + 1));
                let within = drawn.iter().filter(|delay| (from..=to).contains(*delay)).count();
                assert!((50..=150).contains(&within), "step {step}, quarter {quarter}: {within} of {TRIES}");
            }
        }
    }

    #[test]
    fn two_things_that_fail_together_do_not_come_back_together() {
        let draw = || {
            let mut backoff = Backoff::new(&POLICY);
            (0..8).map(|_| backoff.delay()).collect::<Vec<_>>()
        };
        assert_ne!(draw(), draw());
    }

    #[test]
    fn a_success_begins_the_series_again() {
        let mut backoff = Backoff::seeded(&POLICY, 1);
        (0..20).for_each(|_| _ = backoff.delay());
        backoff.reset();
        assert!(backoff.delay() <= POLICY.first);
    }

    #[test]
    fn what_is_not_transient_is_not_tried_again() {
        let fault = Backoff::new(&POLICY).after(&Fault::fatal(Code::RedisDenied, "no")).unwrap_err();
        assert_eq!((fault.is_transient(), fault.code, fault.message.as_str()), (false, Code::RedisDenied, "no"));
    }

    #[test]
    fn attempts_are_counted_in_a_row() {
        let policy = RetryPolicy { attempts: Some(3), ..POLICY };
        let mut backoff = Backoff::new(&policy);
        for _ in 0..5 {
            assert!(backoff.after(&down()).is_ok() && backoff.after(&down()).is_ok());
            backoff.reset();
        }
        assert!(backoff.after(&down()).is_ok() && backoff.after(&down()).is_ok());
        let spent = backoff.after(&down()).unwrap_err();
        assert_eq!((spent.is_transient(), spent.code), (false, Code::RedisUnreachable));
        assert!(spent.message.starts_with("redis is down; it failed 3 times in a row"), "{}", spent.message);
        let mut for_ever = Backoff::new(&POLICY);
        assert!((0..10_000).all(|_| for_ever.after(&down()).is_ok()));
    }
}
