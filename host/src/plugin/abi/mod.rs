//! The only place that sees generated bindings: one module for each major version of the contract, which converts to the
//! host's own types at the edge.

pub(super) mod texts;
mod v0_1;

pub(super) use v0_1::{Call, CallError, RoleTypes, Roles, call, configure, link, manifest};

use bytestring::ByteString;

use crate::{
    batch::Destination,
    change::{Change, Doc},
};

/// What a plugin says about itself.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Manifest {
    /// As its author calls it.
    pub name: String,
    /// As its author counts.
    pub version: String,
    /// What it is for.
    pub description: String,
    /// JSON Schema of its configuration; none: it takes no configuration.
    pub config_schema: Option<String>,
    /// How it wants documents.
    pub encoding: Encoding,
}

/// How documents cross into a plugin and back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Bytes as the server sent them.
    #[default]
    Bson,
    /// Extended JSON; values that come back as they went keep their BSON types ([`crate::format::keep`]).
    Json,
}

impl Encoding {
    /// The name in the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bson => "bson",
            Self::Json => "json",
        }
    }
}

/// A role of a plugin, in the order in which the roles of one plugin are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Says whether a change may pass.
    Validator,
    /// Brings a document to another schema version.
    Migrator,
    /// Makes a change into zero or more changes.
    Transformer,
    /// Says where a change goes.
    Router,
}

impl Role {
    /// All of them, in the order they are run in.
    pub const ALL: [Self; 4] = [Self::Validator, Self::Migrator, Self::Transformer, Self::Router];

    /// The name in the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Validator => "validator",
            Self::Migrator => "migrator",
            Self::Transformer => "transformer",
            Self::Router => "router",
        }
    }

    /// Whether changes without a document (deletes, looked-up documents that are gone) pass this role by: what has no
    /// document has nothing to validate or migrate, but it still goes somewhere.
    pub const fn needs_document(self) -> bool {
        matches!(self, Self::Validator | Self::Migrator)
    }
}

/// Why a document was rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Where in the document.
    pub path: String,
    /// What is wrong there.
    pub message: String,
}

/// What a plugin made of one change.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It passes as it is.
    Unchanged,
    /// It passes as it is, and has this schema version.
    Version(ByteString),
    /// It was rejected.
    Rejected(Vec<Violation>),
    /// It has a new document.
    Migrated { document: Doc, from: Option<ByteString>, to: Option<ByteString> },
    /// It goes there; nowhere when there is none.
    Routed(smallvec::SmallVec<[Destination; 1]>),
    /// It became these; none: it ends here.
    Became(Vec<Change>),
    /// The plugin says it cannot handle it.
    Failed(String),
    /// What the plugin returned for this change cannot be used.
    Unusable(String),
}
