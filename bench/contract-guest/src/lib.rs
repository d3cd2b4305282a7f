//! Validators and migrators that differ in nothing but the shape in which a batch reaches them and leaves them.

mod bson;

wit_bindgen::generate!({ world: "contract", path: "wit", generate_all });

use exports::tidegate::contract_bench::{arena, columns, flat_arena, full_records, migrations, nothing, slim_records};
use tidegate::contract_bench::common::{Span, Verdict, Violation};

struct Guest;
export!(Guest);

/// The field every function reads, and the one a migrator adds.
const FIELD: &[u8] = b"quantity";
const CURRENCY: &[u8] = b"\x02currency\0\x04\0\0\0USD\0";
/// `flat-arena`: numbers for each change, and where among them the span of the document starts.
const STRIDE: usize = 18;
const DOCUMENT_AT: usize = 6;

/// What every validator does with a document.
fn check(document: &[u8]) -> Option<Vec<Violation>> {
    match bson::int32(document, FIELD) {
        Some(quantity) if quantity >= 0 => None,
        Some(_) => Some(vec![violation("must not be negative")]),
        None => Some(vec![violation("must be an integer")]),
    }
}

fn violation(message: &str) -> Violation {
    Violation { path: "quantity".into(), message: message.into() }
}

fn verdict(document: &[u8]) -> Verdict {
    check(document).map_or(Verdict::Accept, Verdict::Reject)
}

/// What every migrator does with a document: one field more at its end, for every other change.
fn migrate(document: &[u8], out: &mut Vec<u8>) {
    let length = document.len() + CURRENCY.len();
    out.extend_from_slice(&(length as u32).to_le_bytes());
    out.extend_from_slice(document.get(4..document.len().saturating_sub(1)).unwrap_or_default());
    out.extend_from_slice(CURRENCY);
    out.push(0);
}

fn wants_migration(index: usize) -> bool {
    index.is_multiple_of(2)
}

fn slice(arena: &[u8], offset: u32, length: u32) -> &[u8] {
    arena.get(offset as usize..(offset as usize).saturating_add(length as usize)).unwrap_or_default()
}

fn document<'a>(batch: &'a arena::Batch, change: &arena::Change) -> &'a [u8] {
    slice(&batch.arena, change.document.offset, change.document.length)
}

fn flat_document<'a>(batch: &'a flat_arena::Batch, change: &[u32]) -> &'a [u8] {
    match change.get(DOCUMENT_AT..DOCUMENT_AT + 2) {
        Some(&[offset, length]) => slice(&batch.arena, offset, length),
        _ => &[],
    }
}

impl nothing::Guest for Guest {
    fn nothing() {}
}

impl full_records::Guest for Guest {
    fn validate(changes: Vec<full_records::Change>) -> Vec<Verdict> {
        changes.iter().map(|change| verdict(&change.document)).collect()
    }
}

impl slim_records::Guest for Guest {
    fn validate(_: Vec<slim_records::Namespace>, changes: Vec<slim_records::Change>) -> Vec<Verdict> {
        changes.iter().map(|change| verdict(&change.document)).collect()
    }
}

impl arena::Guest for Guest {
    fn validate(batch: arena::Batch) -> Vec<Verdict> {
        batch.changes.iter().map(|change| verdict(document(&batch, change))).collect()
    }

    fn validate_sparse(batch: arena::Batch) -> Vec<arena::Rejected> {
        (0u32..)
            .zip(&batch.changes)
            .filter_map(|(index, change)| {
                check(document(&batch, change)).map(|violations| arena::Rejected { index, violations })
            })
            .collect()
    }
}

impl flat_arena::Guest for Guest {
    fn validate(batch: flat_arena::Batch) -> Vec<Verdict> {
        batch.changes.chunks_exact(STRIDE).map(|change| verdict(flat_document(&batch, change))).collect()
    }
}

impl columns::Guest for Guest {
    fn validate(batch: columns::Batch) -> Vec<Verdict> {
        batch
            .documents
            .chunks_exact(2)
            .map(|span| match *span {
                [offset, length] => verdict(slice(&batch.arena, offset, length)),
                _ => verdict(&[]),
            })
            .collect()
    }
}

impl migrations::Guest for Guest {
    fn migrate_owned(batch: arena::Batch) -> Vec<migrations::OwnOutcome> {
        let outcome = |(index, change)| {
            if !wants_migration(index) {
                return migrations::OwnOutcome::Unchanged;
            }
            let document = document(&batch, change);
            let mut migrated = Vec::with_capacity(document.len() + CURRENCY.len());
            migrate(document, &mut migrated);
            migrations::OwnOutcome::Migrated(migrations::OwnMigration {
                document: migrated,
                from_version: "v1".into(),
                to_version: "v2".into(),
            })
        };
        batch.changes.iter().enumerate().map(outcome).collect()
    }

    fn migrate_bare(batch: arena::Batch) -> Vec<migrations::BareOutcome> {
        let outcome = |(index, change)| {
            if !wants_migration(index) {
                return migrations::BareOutcome::Unchanged;
            }
            let document = document(&batch, change);
            let mut migrated = Vec::with_capacity(document.len() + CURRENCY.len());
            migrate(document, &mut migrated);
            migrations::BareOutcome::Migrated(migrated)
        };
        batch.changes.iter().enumerate().map(outcome).collect()
    }

    fn migrate_arena(batch: arena::Batch) -> migrations::MigratedBatch {
        let mut arena = Vec::with_capacity(batch.arena.len());
        let from_version = push(&mut arena, |arena| arena.extend_from_slice(b"v1"));
        let to_version = push(&mut arena, |arena| arena.extend_from_slice(b"v2"));
        let outcome = |(index, change)| {
            if !wants_migration(index) {
                return migrations::Outcome::Unchanged(from_version);
            }
            let document = push(&mut arena, |arena| migrate(document(&batch, change), arena));
            migrations::Outcome::Migrated(migrations::Migration { document, from_version, to_version })
        };
        let outcomes = batch.changes.iter().enumerate().map(outcome).collect();
        migrations::MigratedBatch { arena, outcomes }
    }

    fn migrate_flat_in(batch: flat_arena::Batch) -> migrations::MigratedBatch {
        let mut arena = Vec::with_capacity(batch.arena.len());
        let from_version = push(&mut arena, |arena| arena.extend_from_slice(b"v1"));
        let to_version = push(&mut arena, |arena| arena.extend_from_slice(b"v2"));
        let outcome = |(index, change)| {
            if !wants_migration(index) {
                return migrations::Outcome::Unchanged(from_version);
            }
            let document = push(&mut arena, |arena| migrate(flat_document(&batch, change), arena));
            migrations::Outcome::Migrated(migrations::Migration { document, from_version, to_version })
        };
        let outcomes = batch.changes.chunks_exact(STRIDE).enumerate().map(outcome).collect();
        migrations::MigratedBatch { arena, outcomes }
    }

    fn migrate_flat(batch: flat_arena::Batch) -> migrations::FlatMigratedBatch {
        let mut arena = Vec::with_capacity(batch.arena.len());
        let from = push(&mut arena, |arena| arena.extend_from_slice(b"v1"));
        let to = push(&mut arena, |arena| arena.extend_from_slice(b"v2"));
        let mut outcomes = Vec::with_capacity(batch.changes.len() / STRIDE * 7);
        for (index, change) in batch.changes.chunks_exact(STRIDE).enumerate() {
            if !wants_migration(index) {
                outcomes.extend([0, 0, 0, from.offset, from.length, from.offset, from.length]);
                continue;
            }
            let document = push(&mut arena, |arena| migrate(flat_document(&batch, change), arena));
            outcomes.extend([1, document.offset, document.length, from.offset, from.length, to.offset, to.length]);
        }
        migrations::FlatMigratedBatch { arena, outcomes }
    }
}

/// The span of what `write` appends.
fn push(arena: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> Span {
    let offset = arena.len();
    write(arena);
    Span { offset: offset as u32, length: (arena.len() - offset) as u32 }
}
