use std::fmt::Debug;
use std::time::{Duration, Instant};

/// The time between two looks at a condition: short, because tests wait for many of them.
const PAUSE: Duration = Duration::from_millis(15);

/// What a probe of [`eventually`] says: here it is, or not yet and why.
pub trait Outcome {
    /// What the test gets once the condition holds.
    type Value;

    /// The value, or a description of the state that is not yet the right one.
    fn outcome(self) -> Result<Self::Value, String>;
}

impl Outcome for bool {
    type Value = ();

    fn outcome(self) -> Result<(), String> {
        self.then_some(()).ok_or_else(|| "false".into())
    }
}

impl<T> Outcome for Option<T> {
    type Value = T;

    fn outcome(self) -> Result<T, String> {
        self.ok_or_else(|| "none".into())
    }
}

impl<T, E: Debug> Outcome for Result<T, E> {
    type Value = T;

    fn outcome(self) -> Result<T, String> {
        self.map_err(|error| format!("{error:?}"))
    }
}

/// Asks `probe` again and again until it says yes (`true`, `Some`, `Ok`), and panics with `what` and the last state at the
/// deadline. Return `Err(state)` from the probe to have the state in the panic's message.
///
/// A probe that hangs is cut off at the deadline too.
#[track_caller]
pub fn eventually<F, O>(deadline: Duration, what: &str, probe: F) -> impl Future<Output = O::Value>
where
    F: AsyncFnMut() -> O,
    O: Outcome,
{
    // Taken here, because a location is not handed on into a future.
    let caller = std::panic::Location::caller();
    async move {
        poll(deadline, probe).await.unwrap_or_else(|state| {
            panic!("{what}: not within {deadline:?}, last state: {state} (waited for at {caller})")
        })
    }
}

/// [`eventually`] for code that reports instead of panicking: the error is the last state.
pub(crate) async fn poll<F, O>(deadline: Duration, mut probe: F) -> Result<O::Value, String>
where
    F: AsyncFnMut() -> O,
    O: Outcome,
{
    let end = Instant::now() + deadline;
    let mut state = String::from("never answered");
    loop {
        match tokio::time::timeout_at(end.into(), probe()).await {
            Ok(outcome) => match outcome.outcome() {
                Ok(value) => return Ok(value),
                Err(now) => state = now,
            },
            Err(_) => return Err(format!("{state}, then no answer")),
        }
        if Instant::now() >= end {
            return Err(state);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_until_the_condition_holds() {
        let mut looks = 0;
        let found = eventually(Duration::from_secs(5), "three looks", async || {
            looks += 1;
            (looks == 3).then_some(looks)
        })
        .await;
        assert_eq!(found, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "a sign: not within 50ms, last state: \"still 7\"")]
    async fn tells_the_last_state() {
        eventually(Duration::from_millis(50), "a sign", async || Err::<(), _>("still 7")).await;
    }

    #[tokio::test]
    #[should_panic(expected = "an answer: not within 50ms, last state: never answered, then no answer")]
    async fn cuts_off_a_probe_that_hangs() {
        eventually(Duration::from_millis(50), "an answer", async || std::future::pending::<bool>().await).await;
    }
}
