//! What a check costs by the plugin `schema`, by the same rules as code, and by a native call of the same library.
//!
//! Good documents of `inventory` v1 (parity E5), 300 bytes of BSON, with the schema of `examples/inventory`. The components must be there:
//! `./dev plugins schema inventory-validator` builds them.
#![allow(clippy::expect_used, clippy::panic, reason = "a benchmark that cannot go on has nothing to say")]

use std::{hint::black_box, path::PathBuf};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::{Value, json};
use tidegate::{
    change::Change,
    format::lines::read_change,
    plugin::{
        PluginEngine,
        compile::Unobserved,
        component,
        component::Role,
        grants::Grants,
        trial::{Trial, Warm},
    },
};

const BATCH: usize = 128;

fn target() -> PathBuf {
    let own = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target");
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(own, PathBuf::from)
}

fn file(name: &str) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/inventory/schemas").join(name);
    serde_json::from_slice(&std::fs::read(path).expect("a schema file")).expect("JSON")
}

fn warm(engine: &PluginEngine, name: &str, config: Value) -> Warm {
    let file = target().join("plugins").join(format!("{name}.wasm"));
    let generation = component::inspect(engine, &file)
        .unwrap_or_else(|fault| panic!("{}; `./dev plugins {name}` builds it", fault.message));
    let trial = Trial { engine, generation: &generation, config, sinks: Vec::new(), grants: Grants::none() };
    trial.warm().unwrap_or_else(|fault| panic!("{}", fault.message))
}

fn document(number: usize) -> Value {
    json!({
        "_id": { "$oid": format!("{number:024x}") }, "_schema_version": "v1", "product_id": format!("PROD-{number:08}"),
        "warehouse_id": "WH-EAST-1", "quantity": number % 1000, "last_updated": "2026-03-14T12:30:00Z", "category": "electronics",
        "brand": "Northwind", "sku": format!("SKU-{number:010}"), "threshold_min": 10, "threshold_max": 500, "location": "aisle 12, rack 4",
    })
}

fn change(number: usize) -> Change {
    let line = json!({ "op": "insert", "ns": "shop.inventory", "doc": document(number) }).to_string();
    read_change(line.as_bytes(), &format!("c:{number}")).unwrap_or_else(|wrong| panic!("{}", wrong.reason))
}

/// The same schema with the words of JSON Schema alone.
fn native_schema() -> Value {
    let mut schema = file("inventory/v1.json");
    let fields = schema["properties"].as_object_mut().expect("properties");
    for field in fields.values_mut() {
        if field.get("bsonType").is_some() {
            *field = json!({ "type": "string" });
        } else if field.get("$ref").is_some() {
            *field = json!({ "type": "string", "format": "date-time" });
        }
    }
    schema
}

fn checks(criterion: &mut Criterion) {
    let engine = PluginEngine::new(Some(&target().join("bench-compiled")), Unobserved)
        .unwrap_or_else(|fault| panic!("{}", fault.message));
    let changes: Vec<Change> = (0..BATCH).map(change).collect();
    let batch: Vec<&Change> = changes.iter().collect();
    let schemas = json!({ "common.json": file("common.json"), "inventory/v1.json": file("inventory/v1.json") });
    let config = json!({ "schemas": schemas, "version": { "default": "v1" }, "types": { "inventory": {} } });

    let mut group = criterion.benchmark_group("check");
    group.throughput(Throughput::Elements(BATCH as u64));
    for (name, plugin, config) in [("code", "inventory-validator", json!({})), ("schema", "schema", config)] {
        let mut instance = warm(&engine, plugin, config);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                assert_eq!(instance.call(Role::Validator, black_box(&batch)).ok(), Some(BATCH));
            });
        });
    }
    let validator = jsonschema::options().should_validate_formats(true).build(&native_schema()).expect("a schema");
    let values: Vec<Value> = (0..BATCH).map(document).collect();
    group.bench_function("native, JSON at hand", |bencher| {
        bencher.iter(|| assert!(black_box(&values).iter().all(|value| validator.is_valid(value))));
    });
    group.bench_function("native, JSON made of the BSON", |bencher| {
        bencher.iter(|| {
            assert!(black_box(&batch).iter().all(|change| {
                let bytes = change.document.as_ref().expect("a document").as_bytes();
                let document = bson::Document::from_reader(bytes).expect("BSON");
                validator.is_valid(&bson::Bson::Document(document).into_relaxed_extjson())
            }));
        });
    });
    group.finish();
}

criterion_group!(benches, checks);
criterion_main!(benches);
