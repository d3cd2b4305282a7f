//! What a case or a sample gives a plugin in the place of what an operator grants.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::Deserialize;

use super::{Grants, answers::Answer};

/// `given`: the world as it is written down, so that a trial comes out the same everywhere and touches nothing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Given {
    /// The time at which the clock stands, as RFC 3339: `2026-01-31T12:00:00Z`.
    clock: Option<String>,
    /// Variables of the environment.
    env: BTreeMap<String, String>,
    /// What HTTP requests are answered with.
    http: Vec<Answer>,
}

impl Given {
    /// What the plugin gets.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn grants(self) -> Result<Arc<Grants>, String> {
        let clock = self.clock.map(|text| {
            let time = humantime::parse_rfc3339_weak(&text)
                .map_err(|_| format!("`given.clock: {text}` is no time such as 2026-01-31T12:00:00Z"))?;
            Ok::<_, String>(millis(time))
        });
        Ok(Grants::written(clock.transpose()?, self.env, self.http))
    }
}

/// RFC 3339 as it is read here does not go below 1970.
fn millis(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
