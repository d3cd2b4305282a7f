//! How the version of a document is found, and written again.

use tidegate_plugin::{
    Violations,
    bson::{Document, Value},
};

use super::kind::single;
use crate::{complaint::quoted, config::VersionConfig, steps::Stamp};

/// The field where nothing else is said.
const FIELD: &str = "_schema_version";

pub(crate) enum Rule {
    Field {
        name: String,
        default: Option<usize>,
    },
    /// Versions in the order in which they are tried; the field is written where it is named.
    Shape {
        order: Vec<usize>,
        field: Option<String>,
    },
}

impl Rule {
    pub(crate) fn new(config: Option<&VersionConfig>, at: &str, versions: &[String]) -> Result<Self, String> {
        let config = config.cloned().unwrap_or_default();
        let find = |key: &str, name: &String| {
            versions.iter().position(|known| known == name).ok_or_else(|| {
                format!("{at}.version.{key}: there is no schema of version {name}; there are {}", versions.join(", "))
            })
        };
        if !config.shape.is_empty() {
            if config.default.is_some() {
                return Err(format!(
                    "{at}.version: shape takes no default; a document that fits no version is refused"
                ));
            }
            let order = config.shape.iter().map(|name| find("shape", name)).collect::<Result<_, _>>()?;
            return Ok(Self::Shape { order, field: config.field });
        }
        let default = config.default.as_ref().map(|name| find("default", name)).transpose()?;
        Ok(Self::Field { name: config.field.unwrap_or_else(|| FIELD.to_owned()), default })
    }

    /// The version that the field names.
    pub(crate) fn of(&self, document: &Document<'_>, versions: &[String]) -> Result<usize, Violations> {
        let Self::Field { name, default } = self else { return Ok(0) };
        let known = || versions.join(", ");
        let Some(value) = document.get(name) else {
            return default.ok_or_else(|| single(name.as_str(), format!("is missing, it must be one of {}", known())));
        };
        let text = value.to_text();
        let found = text.as_deref().and_then(|text| versions.iter().position(|version| version == text));
        found.ok_or_else(|| {
            let found = match value {
                Value::String(text) => quoted(text),
                _ => value.type_name().to_owned(),
            };
            single(name.as_str(), format!("must be one of {}, is {found}", known()))
        })
    }

    /// What is written into a document that has been migrated: text where the document had text, a number where it had a number, and
    /// where it had nothing what the versions look like.
    pub(crate) fn stamp<'a>(&'a self, document: &Document<'_>, version: usize, versions: &'a [String]) -> Stamp<'a> {
        let (Self::Field { name, .. } | Self::Shape { field: Some(name), .. }) = self else { return Stamp::None };
        let text = versions.get(version).map_or("", String::as_str);
        let number = text.parse::<i32>().ok();
        let numbers = || versions.iter().all(|version| version.parse::<i32>().is_ok());
        match (document.get(name), number) {
            (Some(Value::Int32(_) | Value::Int64(_) | Value::Double(_)), Some(number)) => Stamp::Number(name, number),
            (None, Some(number)) if numbers() => Stamp::Number(name, number),
            _ => Stamp::Text(name, text),
        }
    }
}
