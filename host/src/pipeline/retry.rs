//! Backoff: exponential with jitter, up to a ceiling, for ever.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use tokio_util::sync::CancellationToken;

const FIRST: Duration = Duration::from_millis(100);
const CEILING: Duration = Duration::from_secs(15);

/// The waits between the tries of one thing.
pub(super) struct Backoff(ExponentialBackoff);

impl Backoff {
    pub(super) fn new() -> Self {
        let builder = ExponentialBuilder::default()
            .with_min_delay(FIRST)
            .with_max_delay(CEILING)
            .with_factor(2.0)
            .with_jitter()
            .without_max_times();
        Self(builder.build())
    }

    /// Starts again with the shortest wait, after a success.
    pub(super) fn reset(&mut self) {
        *self = Self::new();
    }

    /// The next wait.
    pub(super) fn next(&mut self) -> Duration {
        self.0.next().unwrap_or(CEILING)
    }

    /// Waits for the next try; false when it was cancelled meanwhile.
    pub(super) async fn wait(&mut self, cancelled: &CancellationToken) -> bool {
        let delay = self.next();
        tokio::select! {
            () = tokio::time::sleep(delay) => true,
            () = cancelled.cancelled() => false,
        }
    }
}
