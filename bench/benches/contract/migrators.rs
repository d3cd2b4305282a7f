//! The way back: one function for each shape of a migrator's results. Each returns how many changes were migrated, and
//! makes of each new document what the host would: bytes of its own or a slice of shared ones, checked as a document.

use std::hint::black_box;

use bytes::Bytes;
use tidegate::change::{Change, Doc};
use wasmtime::{Result, error::Context as _};

use crate::{
    guest::{
        Guest,
        exports::tidegate::contract_bench::migrations::{BareOutcome, MigratedBatch, Outcome, OwnOutcome},
        tidegate::contract_bench::common::Span,
    },
    validators::{with_arena, with_flat_arena},
};

pub(crate) fn owned(guest: &mut Guest, changes: &[Change]) -> Result<usize> {
    let Guest { store, exports, scratch } = guest;
    let outcomes = with_arena(scratch, changes, |batch| {
        exports.tidegate_contract_bench_migrations().call_migrate_owned(store, batch)
    })?;
    let mut migrated = 0;
    for outcome in outcomes {
        if let OwnOutcome::Migrated(migration) = outcome {
            black_box((Doc::from_bytes(migration.document.into())?, migration.from_version, migration.to_version));
            migrated += 1;
        }
    }
    Ok(migrated)
}

pub(crate) fn bare(guest: &mut Guest, changes: &[Change]) -> Result<usize> {
    let Guest { store, exports, scratch } = guest;
    let outcomes = with_arena(scratch, changes, |batch| {
        exports.tidegate_contract_bench_migrations().call_migrate_bare(store, batch)
    })?;
    let mut migrated = 0;
    for outcome in outcomes {
        if let BareOutcome::Migrated(document) = outcome {
            black_box(Doc::from_bytes(document.into())?);
            migrated += 1;
        }
    }
    Ok(migrated)
}

pub(crate) fn arena(guest: &mut Guest, changes: &[Change]) -> Result<usize> {
    let Guest { store, exports, scratch } = guest;
    let result = with_arena(scratch, changes, |batch| {
        exports.tidegate_contract_bench_migrations().call_migrate_arena(store, batch)
    })?;
    migrated(result)
}

pub(crate) fn flat_in(guest: &mut Guest, changes: &[Change]) -> Result<usize> {
    let Guest { store, exports, scratch } = guest;
    let result = with_flat_arena(scratch, changes, |batch| {
        exports.tidegate_contract_bench_migrations().call_migrate_flat_in(store, batch)
    })?;
    migrated(result)
}

fn migrated(result: MigratedBatch) -> Result<usize> {
    let arena = Bytes::from(result.arena);
    let mut migrated = 0;
    for outcome in result.outcomes {
        if let Outcome::Migrated(migration) = outcome {
            let document = Doc::from_bytes(slice(&arena, migration.document)?)?;
            black_box((document, slice(&arena, migration.from_version)?, slice(&arena, migration.to_version)?));
            migrated += 1;
        }
    }
    Ok(migrated)
}

pub(crate) fn flat(guest: &mut Guest, changes: &[Change]) -> Result<usize> {
    let Guest { store, exports, scratch } = guest;
    let result = with_flat_arena(scratch, changes, |batch| {
        exports.tidegate_contract_bench_migrations().call_migrate_flat(store, batch)
    })?;
    let arena = Bytes::from(result.arena);
    let mut migrated = 0;
    for outcome in result.outcomes.chunks_exact(7) {
        if let &[1, document, document_length, from, from_length, to, to_length] = outcome {
            let span = |offset, length| slice(&arena, Span { offset, length });
            let document = Doc::from_bytes(span(document, document_length)?)?;
            black_box((document, span(from, from_length)?, span(to, to_length)?));
            migrated += 1;
        }
    }
    Ok(migrated)
}

fn slice(arena: &Bytes, span: Span) -> Result<Bytes> {
    let (start, length) = (span.offset as usize, span.length as usize);
    let bytes = arena.get(start..start + length).context("a span leaves the arena")?;
    Ok(arena.slice_ref(bytes))
}
