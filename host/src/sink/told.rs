//! What was told once already.

use std::collections::HashSet;

use crate::change::{Change, Operation};

/// Namespaces of which it is remembered that something was told.
const TOLD: usize = 10_000;

/// Which changes of collections a sink said of that it does nothing with them: once for each namespace.
#[derive(Default)]
pub(super) struct Told(HashSet<(Operation, String)>);

impl Told {
    /// Whether it is the first of its kind.
    fn first(&mut self, change: &Change) -> bool {
        if self.0.len() >= TOLD {
            self.0.clear();
        }
        self.0.insert((change.operation, change.namespace.as_str().to_owned()))
    }

    /// Says in the log that a change of a collection is ignored, and why.
    pub(super) fn ignored(&mut self, change: &Change, why: &str) {
        if !self.first(change) {
            return;
        }
        let (operation, ns) = (change.operation, change.namespace.as_str());
        if matches!(operation, Operation::Drop | Operation::DropDatabase | Operation::Rename) {
            tracing::warn!(event = "sink_ddl_ignored", operation = operation.as_str(), ns, "{why}");
        } else {
            tracing::info!(event = "sink_ddl_ignored", operation = operation.as_str(), ns, "{why}");
        }
    }
}
