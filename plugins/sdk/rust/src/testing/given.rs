//! What a plugin is given in a native test of what an operator would grant it.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::http::{Error, Request, Response};

/// 2024-01-01T00:00:00Z, as where a host grants no clock.
const STILL: i64 = 1_704_067_200_000;

/// The world as a test writes it: the clock stands still, and nothing outside is touched. It holds for the thread of the test.
///
/// ```
/// use tidegate_plugin::{clock, environment, testing::Given};
/// Given::new().clock(1_700_000_000_000).variable("REGION", "eu").install();
/// assert_eq!(clock::now().0, 1_700_000_000_000);
/// assert_eq!(environment::get("REGION").as_deref(), Some("eu"));
/// ```
#[derive(Debug, Clone)]
pub struct Given {
    now: i64,
    variables: BTreeMap<String, String>,
    answers: Vec<(String, String, Response)>,
    seed: u64,
}

impl Default for Given {
    fn default() -> Self {
        Self { now: STILL, variables: BTreeMap::new(), answers: Vec::new(), seed: 1 }
    }
}

thread_local! {
    static WORLD: RefCell<Given> = RefCell::default();
}

impl Given {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The clock stands at so many milliseconds since 1970.
    #[must_use]
    pub fn clock(mut self, millis: i64) -> Self {
        self.now = millis;
        self
    }

    /// This variable is in the environment.
    #[must_use]
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// Requests with this method and URL are answered with that; any other is not granted.
    #[must_use]
    pub fn answer(mut self, method: impl Into<String>, url: impl Into<String>, response: Response) -> Self {
        self.answers.push((method.into(), url.into(), response));
        self
    }

    /// From now on this is what plugins get on this thread.
    pub fn install(self) {
        WORLD.set(self);
    }
}

impl Given {
    pub(crate) fn now(&self) -> i64 {
        self.now
    }

    pub(crate) fn variable_of(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    /// The same in each test (splitmix64).
    pub(crate) fn random(&mut self, count: u32) -> Vec<u8> {
        let mut next = || {
            self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.seed ^ (self.seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            (mixed >> 56) as u8
        };
        (0..count).map(|_| next()).collect()
    }

    pub(crate) fn response(&self, request: &Request) -> Result<Response, Error> {
        let fits = |(method, url, _): &&(String, String, Response)| *method == request.method && *url == request.url;
        let found = self.answers.iter().find(fits).map(|(_, _, response)| response.clone());
        found.ok_or_else(|| Error::NotGranted(format!("no answer is given for {} {}", request.method, request.url)))
    }
}

/// What is given on this thread.
pub(crate) fn world<T>(ask: impl FnOnce(&mut Given) -> T) -> T {
    WORLD.with_borrow_mut(ask)
}
