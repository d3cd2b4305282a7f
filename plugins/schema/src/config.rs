//! The stage's `config`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

/// JSON Schema of it: the host shows what does not fit, with its place.
pub(crate) const SCHEMA: &str = include_str!("config.schema.json");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Schema files by their path, `TYPE/VERSION.json`: as text, as `config_files` gives them, or written out.
    #[serde(default)]
    pub(crate) schemas: BTreeMap<String, Value>,
    pub(crate) types: BTreeMap<String, TypeConfig>,
    /// For types that have none of their own.
    #[serde(default)]
    pub(crate) version: Option<VersionConfig>,
    #[serde(default)]
    pub(crate) migrate: Option<String>,
    #[serde(default)]
    pub(crate) validate: Validate,
    #[serde(default)]
    pub(crate) unknown: Unknown,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TypeConfig {
    /// `collection` or `database.collection`; the name of the type where neither this nor `where` is given.
    pub(crate) collections: Vec<String>,
    /// What fields must hold.
    pub(crate) r#where: Map<String, Value>,
    /// By version, beside the files.
    pub(crate) schemas: BTreeMap<String, Value>,
    pub(crate) version: Option<VersionConfig>,
    pub(crate) latest: Option<String>,
    pub(crate) migrate: Option<String>,
    pub(crate) steps: Vec<StepConfig>,
}

/// How the version of a document is found.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct VersionConfig {
    pub(crate) field: Option<String>,
    /// Of documents without the field.
    pub(crate) default: Option<String>,
    /// Versions in the order in which their schemas are tried.
    pub(crate) shape: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StepConfig {
    pub(crate) from: String,
    pub(crate) to: String,
    #[serde(default)]
    pub(crate) name: Option<String>,
    #[serde(default)]
    pub(crate) r#do: Option<Vec<OperationConfig>>,
    /// The way back.
    #[serde(default)]
    pub(crate) back: Option<Vec<OperationConfig>>,
    /// Another plugin of the pipeline does it.
    #[serde(default)]
    pub(crate) plugin: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OperationConfig {
    Rename(Map<String, Value>),
    Move(Map<String, Value>),
    Default(Map<String, Value>),
    Set(Map<String, Value>),
    Remove(Vec<String>),
    Convert(Map<String, Value>),
    Split(SplitConfig),
    Join(JoinConfig),
    Map(MapConfig),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SplitConfig {
    pub(crate) field: String,
    pub(crate) by: String,
    pub(crate) into: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JoinConfig {
    pub(crate) fields: Vec<String>,
    pub(crate) with: String,
    pub(crate) into: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MapConfig {
    pub(crate) field: String,
    pub(crate) values: Map<String, Value>,
    #[serde(default)]
    pub(crate) other: Other,
}

/// What becomes of a value that `values` does not name.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Other {
    #[default]
    Fail,
    Keep,
}

/// When documents are checked: as they come, as they are after their migration.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Validate {
    #[default]
    Both,
    Before,
    After,
    Off,
}

impl Validate {
    pub(crate) fn before(self) -> bool {
        matches!(self, Self::Both | Self::Before)
    }

    pub(crate) fn after(self) -> bool {
        matches!(self, Self::Both | Self::After)
    }
}

/// What becomes of a document of no type.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Unknown {
    #[default]
    Reject,
    Pass,
}
