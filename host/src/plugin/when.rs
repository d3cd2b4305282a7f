//! Which changes a stage sees: the `when` of the configuration, made ready.

use crate::{
    change::{Change, Operation},
    config::WhenConfig,
};

/// Which changes a stage sees.
#[derive(Clone, Debug, Default)]
pub struct When {
    namespaces: Vec<Pattern>,
    operations: Vec<Operation>,
}

#[derive(Clone, Debug)]
enum Pattern {
    Collection(Box<str>),
    Database(Box<str>),
}

impl When {
    /// From the configuration.
    pub fn new(when: &WhenConfig) -> Self {
        let namespaces = when
            .ns
            .iter()
            .map(|pattern| match pattern.strip_suffix(".*") {
                Some(database) => Pattern::Database(database.into()),
                None => Pattern::Collection(pattern.as_str().into()),
            })
            .collect();
        Self { namespaces, operations: when.op.iter().map(|operation| Operation::from(*operation)).collect() }
    }

    /// Whether the stage sees this change.
    pub fn matches(&self, change: &Change) -> bool {
        (self.operations.is_empty() || self.operations.contains(&change.operation))
            && (self.namespaces.is_empty()
                || self.namespaces.iter().any(|pattern| match pattern {
                    Pattern::Collection(full) => **full == *change.namespace.as_str(),
                    Pattern::Database(database) => **database == *change.namespace.database(),
                }))
    }
}
