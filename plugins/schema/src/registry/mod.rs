//! What the configuration declares, made ready: types, their versions with compiled schemas, and the ways between them.

mod files;
mod kind;
mod version;

pub(crate) use kind::{Kind, Known};

use tidegate_plugin::Change;

use self::files::Files;
use crate::config::{Config, Unknown, Validate};

pub(crate) struct Registry {
    kinds: Vec<Kind>,
    pub(crate) validate: Validate,
    pub(crate) unknown: Unknown,
}

impl Registry {
    /// # Errors
    /// What is wrong, with its place in the configuration or in a file.
    pub(crate) fn new(config: &Config) -> Result<Self, String> {
        let files = Files::read(config)?;
        let mut kinds = Vec::new();
        for (name, own) in &config.types {
            kinds.push(Kind::new(name, own, config, &files)?);
        }
        for (index, kind) in kinds.iter().enumerate() {
            for other in kinds.iter().skip(index + 1) {
                if let Some(collection) = kind.overlaps(other) {
                    return Err(format!(
                        "types.{} and types.{}: documents of {collection} would be of both; tell them apart by where",
                        kind.name, other.name
                    ));
                }
            }
        }
        Ok(Self { kinds, validate: config.validate, unknown: config.unknown })
    }

    /// The type of a change's document.
    ///
    /// # Errors
    /// When it is of none; the text names those there are.
    pub(crate) fn kind(&self, change: &Change<'_>) -> Result<&Kind, String> {
        self.kinds.iter().find(|kind| kind.matches(change)).ok_or_else(|| {
            let names: Vec<&str> = self.kinds.iter().map(|kind| kind.name.as_str()).collect();
            let namespace = change.namespace();
            format!("is of no known type, collection {} has none of {}", namespace.collection, names.join(", "))
        })
    }
}
