use crate::bindings::types;
use crate::bindings::validator::exports::tidegate::plugin::validator as raw;
use crate::{Batch, Change, Plugin, Violations};

/// Says of each change whether it may pass.
pub trait Validator: Plugin {
    /// The host calls this for changes that have a document only.
    fn validate(&mut self, change: &Change<'_>) -> Verdict;

    /// One verdict for each change, in their order. Implement it too where a batch can be looked at faster as a whole.
    fn validate_batch(&mut self, batch: Batch<'_>) -> Vec<Verdict> {
        batch.changes().map(|change| self.validate(&change)).collect()
    }
}

/// What becomes of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on to the next stage.
    Accept,
    /// It goes to the dead letter, with the reasons.
    Reject(Violations),
}

impl Verdict {
    /// Rejects with one reason. The path is empty for the document itself.
    pub fn reject(path: impl Into<String>, message: impl Into<String>) -> Self {
        let mut violations = Violations::new();
        violations.add(path, message);
        Self::Reject(violations)
    }
}

pub(crate) fn run<P: Validator>(plugin: &mut P, batch: &types::Batch) -> Vec<raw::Verdict> {
    let verdicts = plugin.validate_batch(Batch::new(batch));
    verdicts
        .into_iter()
        .map(|verdict| match verdict {
            Verdict::Accept => raw::Verdict::Accept,
            Verdict::Reject(violations) => raw::Verdict::Reject(
                violations.into_iter().map(|it| raw::Violation { path: it.path, message: it.message }).collect(),
            ),
        })
        .collect()
}
