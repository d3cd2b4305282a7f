//! Shapes in which a batch of changes can cross into a plugin and back, weighed against each other: decision 0001.
//!
//! A measured iteration is all a stage does with a batch: the host's changes become the call's argument, the guest reads
//! one field of each document, the host reads the results. The guest is `bench/contract-guest`; `bench/README.md` says
//! how it is built and how to read what is printed.

mod changes;
mod clock;
mod guest;
mod migrators;
mod validators;

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use tidegate::change::Change;
use wasmtime::{Result, ensure, error::Context as _};

use crate::{clock::ThreadCpu, guest::Guest};

/// One change alone, a trickle, a default batch at half and beyond it.
const BATCH_SIZES: [usize; 4] = [1, 64, 512, 2048];

/// A shape: calls the guest with the changes, and counts the results that say what is expected of it.
type Shape = fn(&mut Guest, &[Change]) -> Result<usize>;

/// Every change is accepted.
const VALIDATORS: [(&str, Shape); 6] = [
    ("full-records", validators::full_records),
    ("slim-records", validators::slim_records),
    ("arena", validators::arena),
    ("arena-sparse", validators::arena_sparse),
    ("flat-arena", validators::flat_arena),
    ("columns", validators::columns),
];

/// Every other change is migrated.
const MIGRATORS: [(&str, Shape); 5] = [
    ("owned", migrators::owned),
    ("bare", migrators::bare),
    ("arena", migrators::arena),
    ("flat-in", migrators::flat_in),
    ("flat-both", migrators::flat),
];

fn main() -> Result<()> {
    let mut criterion = Criterion::default()
        .with_measurement(ThreadCpu)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800))
        .sample_size(20)
        .without_plots()
        .configure_from_args();
    let mut guest = Guest::load()?;

    criterion.bench_function("nothing", |bencher| bencher.iter(|| guest.nothing()));
    group(&mut criterion, &mut guest, "validate", &VALIDATORS, |changes| changes)?;
    group(&mut criterion, &mut guest, "migrate", &MIGRATORS, |changes| changes.div_ceil(2))?;
    criterion.final_summary();
    Ok(())
}

/// Benchmarks of one role. A shape that gives wrong results would be quick for nothing, so each is tried first.
fn group(
    criterion: &mut Criterion<ThreadCpu>,
    guest: &mut Guest,
    role: &str,
    shapes: &[(&str, Shape)],
    expected: fn(usize) -> usize,
) -> Result<()> {
    let mut group = criterion.benchmark_group(role);
    for size in BATCH_SIZES {
        let changes = changes::batch(size)?;
        group.throughput(Throughput::Elements(size as u64));
        for (name, shape) in shapes {
            let seen = shape(guest, &changes).with_context(|| format!("{role}/{name} with {size} changes"))?;
            ensure!(seen == expected(size), "{role}/{name} with {size} changes: {seen} results are as expected");
            group.bench_with_input(BenchmarkId::new(*name, size), &changes, |bencher, changes| {
                bencher.iter(|| shape(guest, changes));
            });
        }
    }
    group.finish();
    Ok(())
}
