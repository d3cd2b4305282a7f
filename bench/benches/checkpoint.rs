//! What it costs to store a position in the embedded checkpoint, beside the same write without any flush: decision 0006.
//!
//! Each is a new file, renamed over the old one. The disk is that of the build folder; a temporary folder may be in memory.
#![allow(clippy::expect_used, clippy::panic, reason = "a benchmark that cannot go on has nothing to say")]

use std::{fs, hint::black_box, path::Path};

use criterion::{Criterion, criterion_group, criterion_main};
use tempfile::TempDir;
use tidegate::{
    checkpoint::Store,
    config::CheckpointConfig,
    position::{Position, Positions},
    state::StateDir,
};

fn stored(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder on the disk");
    let state = StateDir::open(folder.path()).unwrap_or_else(|fault| panic!("{}", fault.message));
    let positions: Positions = Position::new(vec![0xAB; 100]).into();
    let mut group = criterion.benchmark_group("checkpoint");

    let mut store = Store::new(&CheckpointConfig::default(), &state, "orders", "mongodb shop.orders").expect("a file");
    runtime.block_on(store.claim()).map(drop).unwrap_or_else(|fault| panic!("{}", fault.message));
    group.bench_function("flushed", |bencher| {
        bencher.iter(|| {
            let stored = runtime.block_on(store.store(black_box(&positions), 1, Vec::new()));
            stored.unwrap_or_else(|fault| panic!("{}", fault.message));
        });
    });
    let text = fs::read(store.path().expect("a file")).expect("what was stored");
    group.bench_function("not flushed", |bencher| bencher.iter(|| replace(folder.path(), black_box(&text))));
    group.finish();
}

fn replace(folder: &Path, text: &[u8]) {
    let (new, old) = (folder.join("bare.new"), folder.join("bare"));
    fs::write(&new, text).expect("a file");
    fs::rename(new, old).expect("a file in the place of another");
}

criterion_group!(benches, stored);
criterion_main!(benches);
