use std::borrow::Cow;

use crate::arena::Arena;
use crate::bindings::migrator::exports::tidegate::plugin::migrator as raw;
use crate::bindings::types;
use crate::bson::DocumentBuf;
use crate::{Batch, Change, Plugin};

/// Brings documents to another schema version.
pub trait Migrator: Plugin {
    /// The host calls this for changes that have a document only.
    ///
    /// # Errors
    /// Why it cannot be migrated: the change goes to the dead letter with this reason.
    fn migrate(&mut self, change: &Change<'_>) -> Result<Migration, String>;

    /// One migration for each change, in their order. Implement it too where a batch can be migrated faster as a whole.
    fn migrate_batch(&mut self, batch: Batch<'_>) -> Vec<Result<Migration, String>> {
        batch.changes().map(|change| self.migrate(&change)).collect()
    }
}

/// What becomes of a document.
#[derive(Debug, Clone, PartialEq)]
pub enum Migration {
    /// It stays as it is, at no cost.
    Unchanged {
        /// The version it has, where that is known.
        version: Option<Cow<'static, str>>,
    },
    /// Another document takes its place.
    Migrated {
        /// The new document.
        document: DocumentBuf,
        /// The version the document had; where the way led over others, these behind it: `v1>v2`.
        from: Cow<'static, str>,
        /// The version it has now.
        to: Cow<'static, str>,
    },
}

impl Migration {
    /// The document has this version already.
    pub fn unchanged(version: impl Into<Cow<'static, str>>) -> Self {
        Self::Unchanged { version: Some(version.into()) }
    }

    /// The document went from one version to another.
    pub fn migrated(
        document: DocumentBuf,
        from: impl Into<Cow<'static, str>>,
        to: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::Migrated { document, from: from.into(), to: to.into() }
    }
}

pub(crate) fn run<P: Migrator>(plugin: &mut P, batch: &types::Batch) -> raw::MigratedBatch {
    let batch = Batch::new(batch);
    let migrations = plugin.migrate_batch(batch);
    // Documents mostly keep about their size.
    let mut arena = Arena::with_capacity(batch.arena_size());
    let outcomes = migrations
        .into_iter()
        .map(|migration| match migration {
            Ok(Migration::Unchanged { version }) => raw::Outcome::Unchanged(arena.push_text(version.as_deref())),
            Ok(Migration::Migrated { document, from, to }) => raw::Outcome::Migrated(raw::Migration {
                document: arena.push(document.as_bytes()),
                from_version: arena.push_text(Some(&from)),
                to_version: arena.push_text(Some(&to)),
            }),
            Err(reason) => raw::Outcome::Failed(reason),
        })
        .collect();
    raw::MigratedBatch { arena: arena.into_bytes(), outcomes }
}
