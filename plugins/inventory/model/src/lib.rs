//! What the three inventory plugins know in common: the kinds of documents and their schema versions.
#![warn(missing_docs)]

use std::collections::BTreeMap;

use serde::Deserialize;
use tidegate_plugin::bson::Document;
use tidegate_plugin::{Change, Violation};

/// What a document describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// How much of a product lies in a warehouse.
    Inventory,
    /// A movement of a product.
    Transaction,
}

/// Which collection holds which kind.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub struct Kinds(BTreeMap<String, Kind>);

impl Default for Kinds {
    fn default() -> Self {
        Self([("inventory".to_owned(), Kind::Inventory), ("transactions".to_owned(), Kind::Transaction)].into())
    }
}

impl Kinds {
    /// The kind of a change's document.
    ///
    /// # Errors
    /// When the collection is none of those that are known; the text names them.
    pub fn of(&self, change: &Change<'_>) -> Result<Kind, String> {
        let collection = change.namespace().collection;
        self.0.get(collection).copied().ok_or_else(|| {
            let known: Vec<_> = self.0.keys().map(String::as_str).collect();
            format!("collection {collection} is of no known kind, known are {}", known.join(", "))
        })
    }
}

/// A version of the document schemas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// The first one; documents that name none have it.
    V1,
    /// With a `currency`.
    V2,
    /// With a BSON date `updated_at` or `occurred_at` in the place of `last_updated` or `timestamp`.
    V3,
}

impl Version {
    /// The field that names the version.
    pub const FIELD: &'static str = "_schema_version";

    /// The version as documents name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::V3 => "v3",
        }
    }

    /// The version of a document.
    ///
    /// # Errors
    /// When it is no text, or names none of the versions there are.
    pub fn of(document: &Document<'_>) -> Result<Self, Violation> {
        let Some(value) = document.get(Self::FIELD) else { return Ok(Self::V1) };
        let found = match value.as_str() {
            Some("v1") => return Ok(Self::V1),
            Some("v2") => return Ok(Self::V2),
            Some("v3") => return Ok(Self::V3),
            Some(text) => format!("{text:?}"),
            None => value.type_name().to_owned(),
        };
        let message = format!("must be one of v1, v2, v3, is {found}");
        Err(Violation { path: Self::FIELD.to_owned(), message })
    }
}
