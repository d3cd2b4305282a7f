//! Capabilities beyond the log and the metrics: what the operator grants a plugin, and what it so gets.
//!
//! The imports of a component are its request. One that imports what it is not granted is refused by name when it is loaded; what is
//! granted is held here, made once for a plugin and shared by all its instances.

mod address;
mod answers;
mod given;
mod http;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

pub use answers::Answer;
pub use given::Given;
pub(super) use http::{Header, HttpFailure, Request, Response, Within};

use self::{answers::Answers, http::Http};
use crate::{
    config::GrantsConfig,
    error::{Code, Fault},
};

/// A capability that can be granted, by the name of its key in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grant {
    /// HTTP requests to some hosts.
    Http,
    /// Variables of the environment.
    Env,
    /// The time.
    Clock,
    /// Random numbers.
    Random,
}

impl Grant {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Http, Self::Env, Self::Clock, Self::Random];

    /// The key in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Env => "env",
            Self::Clock => "clock",
            Self::Random => "random",
        }
    }

    /// The interface of `tidegate:plugin` that it opens.
    pub const fn interface(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Env => "environment",
            Self::Clock => "clock",
            Self::Random => "random",
        }
    }

    /// The grant that an import of a component needs; none: it needs none, or nobody can grant it.
    pub fn of_import(import: &str) -> Option<Self> {
        let name = import.split_once('@').map_or(import, |(name, _)| name);
        let interface = name.strip_prefix("tidegate:plugin/")?;
        Self::ALL.into_iter().find(|grant| grant.interface() == interface)
    }

    /// How it is written in the configuration.
    pub const fn example(self) -> &'static str {
        match self {
            Self::Http => "http: [HOST]",
            Self::Env => "env: [NAME]",
            Self::Clock => "clock: true",
            Self::Random => "random: true",
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
enum Clock {
    /// 2024-01-01T00:00:00Z for ever.
    #[default]
    Still,
    Real,
    /// Stands still at so many milliseconds since 1970.
    At(i64),
}

#[derive(Debug)]
enum Web {
    Real(Http),
    Written(Answers),
}

/// What one plugin is granted.
#[derive(Debug, Default)]
pub struct Grants {
    clock: Clock,
    random: bool,
    environment: BTreeMap<String, String>,
    web: Option<Web>,
    granted: Vec<Grant>,
}

impl Grants {
    /// Nothing.
    pub fn none() -> Arc<Self> {
        Arc::default()
    }

    /// As a configuration says.
    ///
    /// # Errors
    /// When a variable of the environment is not set, or no HTTP client can be made.
    pub fn of(plugin: &str, config: &GrantsConfig) -> Result<Arc<Self>, Fault> {
        let mut granted = Vec::new();
        let mut environment = BTreeMap::new();
        for name in &config.env {
            let value = std::env::var(name).map_err(|cause| {
                let why = match cause {
                    std::env::VarError::NotPresent => "is not set",
                    std::env::VarError::NotUnicode(_) => "is no UTF-8",
                };
                Fault::fatal(
                    Code::ConfigVariable,
                    format!("plugin `{plugin}` is granted the variable {name}, which {why}; set it, or take it out of `plugins.each.{plugin}.grants.env`"),
                )
            })?;
            environment.insert(name.clone(), value);
        }
        let web = match config.http.as_slice() {
            [] => None,
            places => Some(Web::Real(Http::new(plugin, places)?)),
        };
        granted.extend(web.as_ref().map(|_| Grant::Http));
        granted.extend((!environment.is_empty()).then_some(Grant::Env));
        granted.extend(config.clock.then_some(Grant::Clock));
        granted.extend(config.random.then_some(Grant::Random));
        let clock = if config.clock { Clock::Real } else { Clock::Still };
        Ok(Arc::new(Self { clock, random: config.random, environment, web, granted }))
    }

    /// For a component that is only looked at: it may ask for everything, and gets nothing.
    pub fn for_a_look() -> Arc<Self> {
        Self::written(None, BTreeMap::new(), Vec::new())
    }

    /// For a trial that shall come out the same everywhere: what the plugin gets was written down. Anything else it asks for is not there:
    /// the clock stands still, random numbers are the same each time, a request that has no answer fails.
    pub fn written(clock: Option<i64>, environment: BTreeMap<String, String>, answers: Vec<Answer>) -> Arc<Self> {
        Arc::new(Self {
            clock: clock.map_or(Clock::Still, Clock::At),
            random: false,
            environment,
            web: Some(Web::Written(Answers::new(answers))),
            granted: Grant::ALL.to_vec(),
        })
    }

    /// Whether the plugin has this.
    pub fn has(&self, grant: Grant) -> bool {
        self.granted.contains(&grant)
    }

    /// Everything it has.
    pub fn granted(&self) -> &[Grant] {
        &self.granted
    }

    /// Milliseconds since 1970 as the plugin is told; none: its clock is not the real one, and stands still at the default.
    pub(super) fn now(&self) -> i64 {
        match self.clock {
            Clock::Still => STILL,
            Clock::At(at) => at,
            Clock::Real => match SystemTime::now().duration_since(UNIX_EPOCH) {
                Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
                Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |before| -before),
            },
        }
    }

    pub(super) fn real_clock(&self) -> bool {
        matches!(self.clock, Clock::Real)
    }

    pub(super) fn real_random(&self) -> bool {
        self.random
    }

    pub(super) fn environment(&self) -> &BTreeMap<String, String> {
        &self.environment
    }

    /// Sends a request, within the limits.
    pub(super) fn send(&self, request: Request, within: Within) -> Result<Response, HttpFailure> {
        match &self.web {
            None => Err(HttpFailure::NotGranted("the plugin is granted no HTTP".to_owned())),
            Some(Web::Real(http)) => http.send(request, within),
            Some(Web::Written(answers)) => answers.find(&request),
        }
    }
}

/// 2024-01-01T00:00:00Z in milliseconds, so that a plugin which checks that time is sane finds it so.
const STILL: i64 = 1_704_067_200_000;
