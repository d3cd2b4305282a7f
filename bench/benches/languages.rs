//! What a validator costs in each language, and what each safety costs: `docs/plugins/limits.md` has the figures.
//!
//! The inventory validator over inventory documents of 300 bytes, called as a lane calls it: the batch is written, the guest called,
//! the results are read and checked. The components must be there: `./dev guests` builds them.
#![allow(clippy::expect_used, clippy::panic, reason = "a benchmark that cannot go on has nothing to say")]

use std::{hint::black_box, path::PathBuf, time::Instant};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tidegate::{
    change::Change,
    format::{check::check_document, lines::read_change},
    plugin::{
        Generation, PluginEngine,
        compile::Unobserved,
        component,
        component::Role,
        grants::Grants,
        trial::{Trial, Warm},
    },
};
use tidegate_tests::guests::{Deed, Guest, MARKER};

const LANGUAGES: [(&str, &str); 6] = [
    ("rust", "inventory-validator"),
    ("c", "inventory-validator-c"),
    ("go", "inventory-validator-go"),
    ("js", "inventory-validator-js"),
    ("ts", "inventory-validator-ts"),
    ("python", "inventory-validator-python"),
];
const BATCHES: [usize; 3] = [1, 64, 1000];

fn target() -> PathBuf {
    let own = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target");
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(own, PathBuf::from)
}

fn load(engine: &PluginEngine, name: &str) -> Generation {
    let file = target().join("plugins").join(format!("{name}.wasm"));
    component::inspect(engine, &file).unwrap_or_else(|fault| panic!("{}; `./dev guests` builds it", fault.message))
}

fn warm(engine: &PluginEngine, generation: &Generation) -> Warm {
    let (config, sinks, grants) = (serde_json::json!({}), Vec::new(), Grants::none());
    let trial = Trial { engine, generation, config, sinks, grants };
    trial.warm().unwrap_or_else(|fault| panic!("{}", fault.message))
}

/// Changes with a valid document of about 300 bytes of BSON, in which `location` is this.
fn changes(count: usize, location: &str) -> Vec<Change> {
    let line = |number: usize| {
        let doc = serde_json::json!({
            "_id": { "$oid": format!("{number:024x}") }, "_schema_version": "v1", "product_id": format!("PROD-{number:08}"),
            "warehouse_id": "WH-EAST-1", "quantity": number % 1000, "last_updated": "2026-03-14T12:30:00Z", "category": "electronics",
            "brand": "Northwind", "sku": format!("SKU-{number:010}"), "threshold_min": 10, "threshold_max": 500, "location": location,
        });
        serde_json::json!({ "op": "insert", "ns": "shop.inventory", "doc": doc }).to_string()
    };
    let change = |number| {
        read_change(line(number).as_bytes(), &format!("c:{number}")).unwrap_or_else(|wrong| panic!("{}", wrong.reason))
    };
    (0..count).map(change).collect()
}

/// Measures calls with batches; an instance that wears out is replaced, as a lane does.
fn measure(
    criterion: &mut Criterion,
    group: &str,
    name: &str,
    batches: &[usize],
    start: impl Fn() -> Warm,
    changes: &[Change],
) {
    let mut group = criterion.benchmark_group(group);
    for size in batches {
        let batch: Vec<&Change> = changes.iter().take(*size).collect();
        let mut instance = start();
        group.throughput(Throughput::Elements(*size as u64));
        group.bench_function(BenchmarkId::new(name, size), |bencher| {
            bencher.iter(|| {
                let called = instance.call(Role::Validator, black_box(&batch));
                if called.as_ref().ok() != Some(size) {
                    instance = start();
                }
            });
        });
    }
    group.finish();
}

fn languages(criterion: &mut Criterion) {
    let cache = target().join("bench-compiled");
    let engine = PluginEngine::new(Some(&cache), Unobserved).unwrap_or_else(|fault| panic!("{}", fault.message));
    let changes = changes(1000, "aisle 12, rack 4");
    for (language, name) in LANGUAGES {
        let generation = load(&engine, name);
        measure(criterion, "validate", language, &BATCHES, || warm(&engine, &generation), &changes);
    }
}

fn safeties(criterion: &mut Criterion) {
    let engine = PluginEngine::new(None, Unobserved).unwrap_or_else(|fault| panic!("{}", fault.message));
    let endless = PluginEngine::without_time_limits().unwrap_or_else(|fault| panic!("{}", fault.message));
    let calm = changes(1000, "aisle 12, rack 4");
    for (name, engine) in [("with", &engine), ("without", &endless)] {
        let generation = load(engine, "inventory-validator");
        measure(criterion, "epochs", name, &BATCHES, || warm(engine, &generation), &calm);
    }

    // A line for each change: all but a hundred a second are dropped, and counted.
    let file = tempfile::NamedTempFile::with_suffix(".wasm").expect("a file");
    let guest = Guest::new(tidegate_tests::guests::Role::Validator).when_marked(Deed::LogLines(1));
    std::fs::write(file.path(), guest.component()).expect("a file");
    let generation = component::inspect(&engine, file.path()).unwrap_or_else(|fault| panic!("{}", fault.message));
    let marked = changes(1000, &format!("aisle 12, {MARKER} 4"));
    measure(criterion, "log", "none", &[1000], || warm(&engine, &generation), &calm);
    measure(criterion, "log", "a line for each change", &[1000], || warm(&engine, &generation), &marked);

    let mut group = criterion.benchmark_group("once");
    // What arms the time limit of a call: the clock on the wall, and that of the thread.
    group.bench_function("stopwatch", |bencher| {
        bencher.iter(|| (Instant::now(), rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime)));
    });
    let document = calm.first().and_then(|change| change.document.clone()).expect("a document");
    group.bench_function("check a document that comes back", |bencher| {
        bencher.iter(|| check_document(black_box(document.as_bytes())));
    });
    let generation = load(&engine, "inventory-validator");
    group.bench_function("a fresh instance", |bencher| {
        bencher.iter_batched(|| (), |()| warm(&engine, &generation), BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group!(benches, languages, safeties);
criterion_main!(benches);
