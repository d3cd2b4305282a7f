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
    /// Bytes of the arena that spans lie in.
    arena: usize,
}

impl Scale {
    fn add(&mut self, bytes: usize) -> Result<(), CallError> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.most { Err(CallError::Weight) } else { Ok(()) }
    }

    /// A span that does not fit is told later, of the change it belongs to.
    fn spans(&mut self, spans: &[types::Span]) -> Result<(), CallError> {
        let inside = |span: &&types::Span| (span.offset as usize).saturating_add(span.length as usize) <= self.arena;
        let bytes = spans.iter().filter(inside).map(|span| span.length as usize).sum();
        self.add(bytes)
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
    let mut scale = Scale { bytes: 0, most, arena: 0 };
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
    let mut scale = Scale { bytes: 0, most, arena: batch.arena.len() };
    batch.outcomes.iter().try_for_each(|outcome| match outcome {
        wm::Outcome::Unchanged(version) => scale.spans(&[*version]),
        wm::Outcome::Migrated(it) => scale.spans(&[it.document, it.from_version, it.to_version]),
        wm::Outcome::Failed(reason) => scale.add(reason.len()),
    })
}

/// `changes` are those the results belong to.
pub(super) fn outputs(batch: &wt::TransformedBatch, changes: &[&Change], most: usize) -> Result<(), CallError> {
    let mut scale = Scale { bytes: 0, most, arena: batch.arena.len() };
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
    let mut scale = Scale { bytes: 0, most, arena: batch.arena.len() };
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

#[cfg(test)]
mod tests {
    use super::{migrations, types, wm};

    fn migrated(offset: u32, length: u32) -> wm::Outcome {
        let none = types::Span { offset: 0, length: 0 };
        let document = types::Span { offset, length };
        wm::Outcome::Migrated(wm::Migration { document, from_version: none, to_version: none })
    }

    #[test]
    fn what_is_referred_to_again_counts_again_and_what_is_not_there_does_not() {
        let batch = |outcomes| wm::MigratedBatch { arena: vec![0; 1000], outcomes };
        assert!(migrations(&batch(vec![migrated(0, 1000)]), 1000).is_ok());
        assert!(migrations(&batch(vec![migrated(0, 1000), migrated(999, 1)]), 1000).is_err());
        assert!(migrations(&batch(vec![migrated(1, 1000), migrated(u32::MAX, u32::MAX)]), 1000).is_ok());
    }
}
