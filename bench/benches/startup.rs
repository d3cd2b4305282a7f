//! How long a start takes with plugins that were compiled before: from the start of the process to its end on an empty input, which is
//! later than the first read of the source.
//!
//! The binary and the components must be there: `cargo build --release --workspace --bins`, `./dev guests`.
#![allow(clippy::expect_used, clippy::panic, reason = "a benchmark that cannot go on has nothing to say")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use criterion::{Criterion, criterion_group, criterion_main};

const SETS: [(&str, [&str; 5]); 2] = [
    (
        "rust, c and go",
        [
            "inventory-validator",
            "inventory-migrator",
            "inventory-validator-c",
            "inventory-validator-go",
            "inventory-router",
        ],
    ),
    (
        "rust, c, go, js and python",
        [
            "inventory-validator",
            "inventory-validator-c",
            "inventory-validator-go",
            "inventory-validator-js",
            "inventory-validator-python",
        ],
    ),
];

fn target() -> PathBuf {
    let own = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target");
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(own, PathBuf::from)
}

fn run(folder: &Path) {
    let tidegate = target().join("release/tidegate");
    let mut command = Command::new(&tidegate);
    command.args(["run", "tidegate.yaml"]).current_dir(folder);
    let ended = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let ended = ended.unwrap_or_else(|cause| panic!("{}: {cause}", tidegate.display()));
    assert!(ended.success(), "tidegate ended with {ended}");
}

fn startup(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("startup");
    group.sample_size(20).measurement_time(Duration::from_secs(10));
    for (name, plugins) in SETS {
        let folder = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder on the disk");
        let stages: Vec<String> = plugins.iter().map(|plugin| format!("{{ plugin: {plugin} }}")).collect();
        fs::create_dir(folder.path().join("plugins")).expect("a folder");
        for plugin in plugins {
            let (from, file) = (target().join("plugins"), format!("{plugin}.wasm"));
            let copied = fs::copy(from.join(&file), folder.path().join("plugins").join(&file));
            copied.unwrap_or_else(|cause| panic!("{file}: {cause}; `./dev guests` builds it"));
        }
        let config = format!(
            "admin: {{ listen: 127.0.0.1:0 }}\nstate: {{ dir: state }}\nplugins: {{ dir: plugins }}\npipelines:\n  p:\n    source: stdin\n    stages: [{}]\n    \
             sinks: {{ out: {{ file: {{ path: out.jsonl }} }} }}\n",
            stages.join(", ")
        );
        fs::write(folder.path().join("tidegate.yaml"), config).expect("a file");
        // The first start compiles.
        run(folder.path());
        group.bench_function(name, |bencher| bencher.iter(|| run(folder.path())));
    }
    group.finish();
}

criterion_group!(benches, startup);
criterion_main!(benches);
