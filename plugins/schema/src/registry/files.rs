//! Schema files: which there are, and that they are JSON.

use std::collections::BTreeMap;

use jsonschema::Validator;
use serde_json::Value;

use crate::{config::Config, keywords, view::Bson};

/// Schemas by file name, `TYPE/VERSION.json`; those of the configuration itself have such names too.
pub(crate) struct Files(BTreeMap<String, Value>);

impl Files {
    pub(crate) fn read(config: &Config) -> Result<Self, String> {
        let mut files = BTreeMap::new();
        for (name, value) in &config.schemas {
            if !name.ends_with(".json") {
                // What people put beside their schemas.
                if name.ends_with(".md") || name.ends_with(".txt") {
                    continue;
                }
                return Err(format!(
                    "schema file {name}: a schema is in a file *.json; *.md and *.txt may stand beside"
                ));
            }
            let schema = match value {
                Value::String(text) => {
                    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
                    serde_json::from_str(text).map_err(|error| {
                        let message = error.to_string();
                        let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
                        format!("schema file {name}:{}:{}: it is no JSON: {message}", error.line(), error.column())
                    })?
                }
                schema => schema.clone(),
            };
            files.insert(name.clone(), schema);
        }
        for (kind, own) in &config.types {
            for (version, schema) in &own.schemas {
                let name = format!("{kind}/{version}.json");
                if files.insert(name.clone(), schema.clone()).is_some() {
                    return Err(format!(
                        "types.{kind}.schemas.{version}: there is a file {name} too; remove one of them"
                    ));
                }
            }
        }
        Ok(Self(files))
    }

    /// Names of the files, for errors.
    pub(crate) fn names(&self) -> String {
        let names: Vec<&str> = self.0.keys().map(String::as_str).collect();
        if names.is_empty() {
            "there are no schema files".to_owned()
        } else {
            format!("there are {}", names.join(", "))
        }
    }

    /// Versions of a type, in their natural order: `v9` before `v10`.
    pub(crate) fn versions(&self, kind: &str) -> Vec<String> {
        let version = |name: &String| {
            let version = name.strip_prefix(kind)?.strip_prefix('/')?.strip_suffix(".json")?;
            (!version.is_empty() && !version.contains('/')).then(|| version.to_owned())
        };
        let mut versions: Vec<String> = self.0.keys().filter_map(version).collect();
        versions.sort_by_cached_key(|version| natural(version));
        versions
    }

    /// Compiles the schema of a version.
    pub(crate) fn compile(&self, kind: &str, version: &str) -> Result<Validator<Bson>, String> {
        let name = format!("{kind}/{version}.json");
        let Some(schema) = self.0.get(&name) else { return Err(format!("there is no schema file {name}")) };
        let all = self.0.iter().map(|(name, schema)| (name.as_str(), schema));
        let compiled = keywords::registry(all).and_then(|registry| keywords::compile(&name, schema, &registry));
        compiled.map_err(|error| format!("schema file {name}: {error}"))
    }
}

/// Text and numbers by turns, so that numbers compare as such.
fn natural(text: &str) -> Vec<(String, u64)> {
    let mut parts: Vec<(String, u64)> = vec![(String::new(), 0)];
    let mut digits = false;
    for letter in text.chars() {
        match letter.to_digit(10) {
            Some(digit) => {
                digits = true;
                if let Some((_, number)) = parts.last_mut() {
                    *number = number.saturating_mul(10).saturating_add(u64::from(digit));
                }
            }
            None => {
                if std::mem::take(&mut digits) {
                    parts.push((String::new(), 0));
                }
                if let Some((text, _)) = parts.last_mut() {
                    text.push(letter);
                }
            }
        }
    }
    parts
}
