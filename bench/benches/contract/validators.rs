//! The way in: one function for each shape of a batch. Each returns how many changes were accepted.

use tidegate::change::{Change, Doc, Operation};
use wasmtime::Result;

use crate::guest::{
    Guest, Scratch,
    exports::tidegate::contract_bench::{arena, columns, flat_arena, full_records, slim_records},
    tidegate::contract_bench::common::{self, Range, Span, Verdict},
};

pub(crate) fn full_records(guest: &mut Guest, changes: &[Change]) -> Result<usize> {
    let headers: Vec<_> = changes
        .iter()
        .flat_map(|change| change.headers.iter())
        .map(|header| full_records::Header { name: &header.name, value: &header.value })
        .collect();
    let mut rest = headers.as_slice();
    let records: Vec<_> = changes
        .iter()
        .map(|change| {
            let (headers, after) = rest.split_at_checked(change.headers.len()).unwrap_or((rest, &[]));
            rest = after;
            full_records::Change {
                id: &change.id,
                operation: operation(change.operation),
                database: change.namespace.database(),
                collection: change.namespace.collection(),
                key: bytes(change.key.as_ref()),
                document: bytes(change.document.as_ref()),
                before: bytes(change.before.as_ref()),
                cluster_time: change.cluster_time.unwrap_or(0),
                headers,
            }
        })
        .collect();
    let Guest { store, exports, .. } = guest;
    Ok(accepted(&exports.tidegate_contract_bench_full_records().call_validate(store, &records)?))
}

pub(crate) fn slim_records(guest: &mut Guest, changes: &[Change]) -> Result<usize> {
    let records: Vec<_> = changes
        .iter()
        .map(|change| slim_records::Change {
            operation: operation(change.operation),
            namespace: 0,
            key: bytes(change.key.as_ref()),
            document: bytes(change.document.as_ref()),
            time: change.cluster_time.unwrap_or(0),
        })
        .collect();
    let Guest { store, exports, .. } = guest;
    let namespaces = namespaces(changes);
    Ok(accepted(&exports.tidegate_contract_bench_slim_records().call_validate(store, &namespaces, &records)?))
}

pub(crate) fn arena(guest: &mut Guest, changes: &[Change]) -> Result<usize> {
    let Guest { store, exports, scratch } = guest;
    with_arena(scratch, changes, |batch| {
        Ok(accepted(&exports.tidegate_contract_bench_arena().call_validate(store, batch)?))
    })
}

pub(crate) fn arena_sparse(guest: &mut Guest, changes: &[Change]) -> Result<usize> {
    let Guest { store, exports, scratch } = guest;
    with_arena(scratch, changes, |batch| {
        let rejected = exports.tidegate_contract_bench_arena().call_validate_sparse(store, batch)?;
        Ok(changes.len() - rejected.len())
    })
}

/// Lays the changes out as an arena with records of spans.
pub(crate) fn with_arena<T>(
    scratch: &mut Scratch,
    changes: &[Change],
    call: impl FnOnce(arena::Batch<'_>) -> Result<T>,
) -> Result<T> {
    let bytes_in = &mut scratch.arena;
    bytes_in.clear();
    let mut headers = Vec::with_capacity(changes.len());
    let records: Vec<_> = changes
        .iter()
        .map(|change| {
            let first = headers.len() as u32;
            headers.extend(change.headers.iter().map(|header| arena::Header {
                name: push(bytes_in, header.name.as_bytes()),
                value: push(bytes_in, header.value.as_bytes()),
            }));
            arena::Change {
                id: push(bytes_in, change.id.as_bytes()),
                operation: operation(change.operation),
                namespace: 0,
                key: push(bytes_in, bytes(change.key.as_ref())),
                document: push(bytes_in, bytes(change.document.as_ref())),
                before: push(bytes_in, bytes(change.before.as_ref())),
                update: push(bytes_in, bytes(change.update.as_ref())),
                cluster_time: change.cluster_time.unwrap_or(0),
                wall_time: change.wall_time.unwrap_or(0),
                headers: Range { first, count: headers.len() as u32 - first },
            }
        })
        .collect();
    let namespaces = namespaces(changes);
    call(arena::Batch { arena: bytes_in, namespaces: &namespaces, headers: &headers, changes: &records })
}

pub(crate) fn flat_arena(guest: &mut Guest, changes: &[Change]) -> Result<usize> {
    let Guest { store, exports, scratch } = guest;
    with_flat_arena(scratch, changes, |batch| {
        Ok(accepted(&exports.tidegate_contract_bench_flat_arena().call_validate(store, batch)?))
    })
}

/// Lays the changes out as an arena with flat lists of numbers.
pub(crate) fn with_flat_arena<T>(
    scratch: &mut Scratch,
    changes: &[Change],
    call: impl FnOnce(flat_arena::Batch<'_>) -> Result<T>,
) -> Result<T> {
    let Scratch { arena, numbers, header_numbers, .. } = scratch;
    arena.clear();
    numbers.clear();
    header_numbers.clear();
    for change in changes {
        let first = header_numbers.len() as u32 / 4;
        for header in change.headers.iter() {
            let (name, value) = (push(arena, header.name.as_bytes()), push(arena, header.value.as_bytes()));
            header_numbers.extend([name.offset, name.length, value.offset, value.length]);
        }
        let id = push(arena, change.id.as_bytes());
        let key = push(arena, bytes(change.key.as_ref()));
        let document = push(arena, bytes(change.document.as_ref()));
        let before = push(arena, bytes(change.before.as_ref()));
        let update = push(arena, bytes(change.update.as_ref()));
        let (cluster, wall) = (change.cluster_time.unwrap_or(0), change.wall_time.unwrap_or(0));
        numbers.extend([
            change.operation as u32,
            0,
            id.offset,
            id.length,
            key.offset,
            key.length,
            document.offset,
            document.length,
            before.offset,
            before.length,
            update.offset,
            update.length,
            cluster as u32,
            (cluster >> 32) as u32,
            wall as u32,
            (wall >> 32) as u32,
            first,
            header_numbers.len() as u32 / 4 - first,
        ]);
    }
    let namespaces = namespaces(changes);
    call(flat_arena::Batch { arena, namespaces: &namespaces, headers: header_numbers, changes: numbers })
}

pub(crate) fn columns(guest: &mut Guest, changes: &[Change]) -> Result<usize> {
    let Guest { store, exports, scratch: Scratch { arena, header_numbers, columns, .. } } = guest;
    arena.clear();
    header_numbers.clear();
    columns.clear();
    for change in changes {
        let first = header_numbers.len() as u32 / 4;
        for header in change.headers.iter() {
            let (name, value) = (push(arena, header.name.as_bytes()), push(arena, header.value.as_bytes()));
            header_numbers.extend([name.offset, name.length, value.offset, value.length]);
        }
        let mut span = |column: &mut Vec<u32>, bytes: &[u8]| {
            let Span { offset, length } = push(arena, bytes);
            column.extend([offset, length]);
        };
        span(&mut columns.ids, change.id.as_bytes());
        span(&mut columns.keys, bytes(change.key.as_ref()));
        span(&mut columns.documents, bytes(change.document.as_ref()));
        span(&mut columns.befores, bytes(change.before.as_ref()));
        span(&mut columns.updates, bytes(change.update.as_ref()));
        columns.operations.push(change.operation as u8);
        columns.namespaces.push(0);
        columns.cluster_times.push(change.cluster_time.unwrap_or(0));
        columns.wall_times.push(change.wall_time.unwrap_or(0));
        columns.header_ranges.extend([first, header_numbers.len() as u32 / 4 - first]);
    }
    let batch = columns::Batch {
        arena,
        namespaces: &namespaces(changes),
        headers: header_numbers,
        operations: &columns.operations,
        namespace_indexes: &columns.namespaces,
        ids: &columns.ids,
        keys: &columns.keys,
        documents: &columns.documents,
        befores: &columns.befores,
        updates: &columns.updates,
        cluster_times: &columns.cluster_times,
        wall_times: &columns.wall_times,
        header_ranges: &columns.header_ranges,
    };
    Ok(accepted(&exports.tidegate_contract_bench_columns().call_validate(store, batch)?))
}

fn accepted(verdicts: &[Verdict]) -> usize {
    verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Accept)).count()
}

fn bytes(document: Option<&Doc>) -> &[u8] {
    document.map_or(&[], Doc::as_bytes)
}

fn push(arena: &mut Vec<u8>, bytes: &[u8]) -> Span {
    let offset = arena.len() as u32;
    arena.extend_from_slice(bytes);
    Span { offset, length: bytes.len() as u32 }
}

/// All changes of a batch are from one collection here.
fn namespaces(changes: &[Change]) -> Vec<common::Namespace<'_>> {
    changes
        .first()
        .map(|Change { namespace, .. }| common::Namespace {
            database: namespace.database(),
            collection: namespace.collection(),
        })
        .into_iter()
        .collect()
}

fn operation(operation: Operation) -> common::Operation {
    match operation {
        Operation::Insert => common::Operation::Insert,
        Operation::Update => common::Operation::Update,
        Operation::Replace => common::Operation::Replace,
        Operation::Delete => common::Operation::Delete,
        Operation::Read => common::Operation::Read,
        other => unreachable!("{other} is given to no plugin"),
    }
}
