//! What a result costs the host, found out before anything is made of it.
//!
//! Spans and ranges may overlap, so a small result can stand for a huge one: each of a hundred changes becomes the same hundred thousand,
//! each of those has the same document of 30 MB. A result is therefore weighed as it is used: what it refers to counts each time it
//! is referred to, and weighing ends as soon as there is too much.

use super::{CallError, entries, types, wm, wr, wt, wv};
use crate::{
    batch::Destination,
    change::{Change, Header},
    plugin::component::Violation,
};

struct Scale {
    bytes: usize,
    most: usize,
}

impl Scale {
    fn add(&mut self, bytes: usize) -> Result<(), CallError> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.most { Err(CallError::Weight) } else { Ok(()) }
    }

    fn spans(&mut self, spans: &[types::Span]) -> Result<(), CallError> {
        spans.iter().try_for_each(|span| self.add(span.length as usize))
    }

    /// A range that does not fit is told later, of the change it belongs to.
    fn headers(&mut self, all: &[types::Header], range: types::Range) -> Result<(), CallError> {
        for header in entries("", all, range).unwrap_or_default() {
            self.add(size_of::<Header>())?;
            self.spans(&[header.name, header.value])?;
        }
        Ok(())
    }
}

pub(super) fn verdicts(verdicts: &[wv::Verdict], most: usize) -> Result<(), CallError> {
    let mut scale = Scale { bytes: 0, most };
    for verdict in verdicts {
        if let wv::Verdict::Reject(violations) = verdict {
            for violation in violations {
                scale.add(size_of::<Violation>() + violation.path.len() + violation.message.len())?;
            }
        }
    }
    Ok(())
}

pub(super) fn migrations(batch: &wm::MigratedBatch, most: usize) -> Result<(), CallError> {
    let mut scale = Scale { bytes: 0, most };
    batch.outcomes.iter().try_for_each(|outcome| match outcome {
        wm::Outcome::Unchanged(version) => scale.spans(&[*version]),
        wm::Outcome::Migrated(it) => scale.spans(&[it.document, it.from_version, it.to_version]),
        wm::Outcome::Failed(reason) => scale.add(reason.len()),
    })
}

/// `changes` are those the results belong to.
pub(super) fn outputs(batch: &wt::TransformedBatch, changes: &[&Change], most: usize) -> Result<(), CallError> {
    let mut scale = Scale { bytes: 0, most };
    for namespace in &batch.namespaces {
        scale.add(size_of::<types::Namespace>() + namespace.database.len() + namespace.collection.len())?;
    }
    for (result, origin) in batch.results.iter().zip(changes) {
        let range = match result {
            wt::ResultOfChange::Unchanged => continue,
            wt::ResultOfChange::Failed(reason) => {
                scale.add(reason.len())?;
                continue;
            }
            wt::ResultOfChange::Changes(range) => *range,
        };
        // Each output has the headers of its change too.
        let each = size_of::<Change>() + origin.headers.len() * size_of::<Header>();
        for output in entries("", &batch.outputs, range).unwrap_or_default() {
            scale.add(each)?;
            scale.spans(&[output.key, output.document])?;
            scale.headers(&batch.headers, output.headers)?;
        }
    }
    Ok(())
}

pub(super) fn destinations(batch: &wr::RoutedBatch, most: usize) -> Result<(), CallError> {
    let mut scale = Scale { bytes: 0, most };
    for decision in &batch.decisions {
        let range = match decision {
            wr::Decision::Deliver(range) => *range,
            wr::Decision::Failed(reason) => {
                scale.add(reason.len())?;
                continue;
            }
        };
        for destination in entries("", &batch.destinations, range).unwrap_or_default() {
            scale.add(size_of::<Destination>())?;
            scale.spans(&[destination.sink, destination.target, destination.ordering_key])?;
            scale.headers(&batch.attributes, destination.attributes)?;
        }
    }
    Ok(())
}
