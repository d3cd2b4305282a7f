//! The plugin directory: limits, grants, and how a new file of a plugin takes over.

use std::{borrow::Cow, path::PathBuf, time::Duration};

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::super::{
    place::HttpPlace,
    units::{ByteSize, Span},
};

/// `plugins`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PluginsConfig {
    /// Each `*.wasm` in it is a plugin, named by its file stem.
    pub dir: PathBuf,
    /// For all stages that set none of their own.
    pub limits: LimitsConfig,
    /// Each delivered change says in a header which plugins it was given to.
    pub provenance: bool,
    /// How a new file of a plugin takes over.
    pub swap: SwapConfig,
    /// Settings of single plugins, by name.
    pub each: IndexMap<String, EachPluginConfig>,
}

impl Default for PluginsConfig {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("./plugins"),
            limits: LimitsConfig::default(),
            provenance: false,
            swap: SwapConfig::default(),
            each: IndexMap::new(),
        }
    }
}

impl PluginsConfig {
    /// The shadow of a plugin's candidates: its own setting, else that for all; none: candidates take over at once.
    pub fn shadow(&self, plugin: &str) -> Option<&ShadowConfig> {
        let own = self.each.get(plugin).and_then(|each| each.swap.shadow.as_ref());
        match own.or(self.swap.shadow.as_ref()) {
            Some(Switch::On(shadow)) => Some(shadow),
            Some(Switch::Off) | None => None,
        }
    }

    /// The probation of a plugin's new generations, likewise; none: there is none.
    pub fn probation(&self, plugin: &str) -> Option<ProbationConfig> {
        let own = self.each.get(plugin).and_then(|each| each.swap.probation.as_ref());
        match own.or(self.swap.probation.as_ref()) {
            Some(Switch::On(probation)) => Some(*probation),
            Some(Switch::Off) => None,
            None => Some(ProbationConfig::default()),
        }
    }
}

/// What can be switched off: the words `on` and `off`, or a map with options, which means on.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase", rename = "Switch")]
pub enum Switch<T> {
    /// With these options.
    On(T),
    /// Not at all.
    Off,
}

impl<T: JsonSchema> JsonSchema for Switch<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("SwitchOf{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "oneOf": [{ "type": "string", "enum": ["on", "off"] }, generator.subschema_for::<T>()] })
    }
}

/// `plugins.each.NAME`
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EachPluginConfig {
    /// What it says wins over `plugins.swap`.
    pub swap: SwapConfig,
    /// What it may use besides the log and the metrics; nothing.
    pub grants: GrantsConfig,
}

/// `plugins.each.NAME.grants`
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GrantsConfig {
    /// Hosts that it may send HTTP requests to.
    pub http: Vec<HttpPlace>,
    /// Variables of the environment that it may read.
    pub env: Vec<String>,
    /// Whether it may read the time.
    pub clock: bool,
    /// Whether it gets random numbers.
    pub random: bool,
}

/// `plugins.swap` and `plugins.each.NAME.swap`
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SwapConfig {
    /// A candidate is tried on copies of live batches first; off.
    pub shadow: Option<Switch<ShadowConfig>>,
    /// A new generation is taken back by itself when it does worse than the one before; on.
    pub probation: Option<Switch<ProbationConfig>>,
}

/// `shadow`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ShadowConfig {
    /// It is decided after so many changes ...
    pub changes: u64,
    /// ... or after this time, whichever comes first; but never without one change.
    pub time: Span,
    /// Share of the batches that are copied, 0 to 1.
    pub sample: f64,
    /// Who promotes.
    pub promote: PromoteBy,
    /// Most changes of which the candidate made something else, rejections that are gone included.
    pub max_different: u64,
    /// Most changes that the candidate rejects and the running generation does not.
    pub max_new_rejects: u64,
    /// Most changes that the candidate fails on (trap, time-out, ...) and the running generation does not.
    pub max_failures: u64,
}

impl Default for ShadowConfig {
    fn default() -> Self {
        Self {
            changes: 1000,
            time: Span(Duration::from_secs(60)),
            sample: 1.0,
            promote: PromoteBy::Auto,
            max_different: 0,
            max_new_rejects: 0,
            max_failures: 0,
        }
    }
}

/// `shadow.promote`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PromoteBy {
    /// The host, by the limits.
    Auto,
    /// The operator alone; the limits are only shown.
    Manual,
}

/// `probation`
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProbationConfig {
    /// How long a new generation has to prove itself; it is never confirmed before it saw a change.
    pub time: Span,
    /// Fewer failures (traps, time-outs, unusable results, ...) than this are never a jump.
    pub failures: u64,
    /// Fewer rejections than this are never a jump.
    pub rejects: u64,
    /// How many times the rate of the previous generation is a jump.
    pub factor: f64,
}

impl Default for ProbationConfig {
    fn default() -> Self {
        Self { time: Span(Duration::from_secs(300)), failures: 10, rejects: 50, factor: 3.0 }
    }
}

/// `plugins.limits` and a stage's `limits`: what is not set is taken from the level above, then from the defaults.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Linear memory of one instance; 64MiB.
    pub memory: Option<ByteSize>,
    /// CPU time of one call: the base to which each further change of a batch adds a thousandth; 1s.
    pub time: Option<Span>,
    /// Bytes a call may return; 32MiB.
    pub output: Option<ByteSize>,
    /// Log lines a second; the rest is dropped and counted; 100.
    pub log_lines: Option<u32>,
    /// The longest that one HTTP request may take, where the plugin is granted any; 5s.
    pub http_time: Option<Span>,
    /// Bytes of the body of one HTTP request, and of one response; 4MiB.
    pub http_size: Option<ByteSize>,
}
