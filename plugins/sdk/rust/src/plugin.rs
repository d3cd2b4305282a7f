use serde::Deserialize;
use serde::de::DeserializeOwned;

/// What every plugin is, beside its role.
pub trait Plugin: Sized + 'static {
    /// The stage's `config`. Put `#[serde(deny_unknown_fields)]` on it, so that a slip of the pen is an error that names
    /// the fields there are; [`NoConfig`] for a plugin without configuration.
    type Config: DeserializeOwned;

    /// What the plugin says about itself. The host may ask before it configures.
    fn manifest() -> Manifest;

    /// Makes an instance, ready for its first batch.
    ///
    /// # Errors
    /// What is wrong with the configuration and what is allowed instead: the operator reads it, and the plugin is not
    /// taken into use.
    fn configure(config: Self::Config) -> Result<Self, String>;
}

/// The configuration of a plugin that takes none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

/// What a plugin says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) description: &'static str,
    pub(crate) config_schema: Option<&'static str>,
}

impl Manifest {
    /// With the plugin's name and version: mostly `env!("CARGO_PKG_NAME")` and `env!("CARGO_PKG_VERSION")`.
    pub const fn new(name: &'static str, version: &'static str) -> Self {
        Self { name, version, description: "", config_schema: None }
    }

    /// What the plugin does, in a sentence.
    #[must_use]
    pub const fn description(mut self, description: &'static str) -> Self {
        self.description = description;
        self
    }

    /// JSON Schema (draft 2020-12) of the configuration.
    #[must_use]
    pub const fn config_schema(mut self, schema: &'static str) -> Self {
        self.config_schema = Some(schema);
        self
    }
}

/// Reads the configuration as the host gives it and makes an instance.
pub(crate) fn configure<P: Plugin>(config: &str) -> Result<P, String> {
    let config = serde_json::from_str(config).map_err(|error| {
        let error = error.to_string();
        // Line and column count in JSON that the host made of the operator's YAML: they would only mislead.
        error.rsplit_once(" at line ").map_or(error.as_str(), |(message, _)| message).to_owned()
    })?;
    P::configure(config)
}
