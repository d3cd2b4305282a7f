//! Plugins that the host does not take, and what it says then.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate_tests::guests::{Deed, Guest, Role};
use tidegate_tests::{Cli, field, plugin};

use crate::rig::{PATIENCE, Rig, config};

const STAGE: &str = "[{ plugin: guest }]";

/// What `tidegate check` says of a configuration with these stages; it must refuse it.
async fn complaint(rig: &Rig, stages: &str) -> String {
    std::fs::write(rig.dir().join("tidegate.yaml"), config(1, stages)).unwrap();
    let output = Cli::run_in(rig.dir(), &["check", "tidegate.yaml"], b"").await;
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{}{stderr}", String::from_utf8_lossy(&output.stdout));
    stderr
}

#[track_caller]
fn assert_says(complaint: &str, code: &str, parts: &[&str]) {
    assert!(complaint.starts_with(&format!("error[{code}]: ")), "not {code}: {complaint}");
    for part in parts {
        assert!(complaint.contains(part), "nothing of `{part}`: {complaint}");
    }
}

fn rig_with_file(bytes: &[u8]) -> Rig {
    let rig = Rig::new();
    std::fs::write(rig.plugins().join("guest.wasm"), bytes).unwrap();
    rig
}

#[tokio::test]
async fn a_good_one_is_taken() {
    // So that what is refused below is refused for its reason.
    let rig = Rig::with(&Guest::new(Role::Validator));
    std::fs::write(rig.dir().join("tidegate.yaml"), config(1, STAGE)).unwrap();
    let output = Cli::run_in(rig.dir(), &["check", "tidegate.yaml"], b"").await;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "tidegate.yaml is good\n  p: stdin -> guest -> out\n");
}

#[tokio::test]
async fn imports_that_are_not_granted() {
    for import in [
        "wasi:sockets/tcp@0.2.0",
        "wasi:http/outgoing-handler@0.2.0",
        "acme:secrets/store@1.0.0",
        "tidegate:plugin/admin@0.1.0",
    ] {
        if import.starts_with("tidegate:") {
            // Made by hand: a world cannot add to a package that is there.
            let text = format!("(component (import \"{import}\" (instance (export \"ask\" (func)))))");
            let rig = rig_with_file(&wat(&text));
            assert_says(&complaint(&rig, STAGE).await, "TG0203", &["plugin `guest`", import]);
        } else {
            let rig = Rig::with(&Guest::new(Role::Validator).imports(import));
            assert_says(
                &complaint(&rig, STAGE).await,
                "TG0203",
                &["plugin `guest`", import, "tidegate explain TG0203"],
            );
        }
    }
}

fn wat(text: &str) -> Vec<u8> {
    ::wat::parse_str(text).unwrap()
}

#[tokio::test]
async fn files_that_are_no_component() {
    let good = Guest::new(Role::Validator).component();
    let cases: [(&str, Vec<u8>, &str); 5] = [
        ("an empty file", vec![], "its file is empty"),
        ("text", b"#!/bin/sh\necho hello\n".to_vec(), "its file is no WebAssembly component"),
        (
            "a core module",
            Guest::new(Role::Validator).module(),
            "its file is a core WebAssembly module; make it a component",
        ),
        ("half a component", good[..good.len() / 2].to_vec(), "its file is broken"),
        ("a few bytes of one", good[..5].to_vec(), "its file is no WebAssembly component"),
    ];
    for (what, bytes, reason) in cases {
        let complaint = complaint(&rig_with_file(&bytes), STAGE).await;
        assert!(complaint.starts_with("error[TG0202]: plugin `guest` cannot be loaded"), "{what}: {complaint}");
        assert!(complaint.contains(reason), "{what}: {complaint}");
    }
}

#[tokio::test]
async fn components_without_the_contract() {
    let rig = rig_with_file(&wat("(component)"));
    assert_says(
        &complaint(&rig, STAGE).await,
        "TG0204",
        &["plugin `guest`", "does not export `tidegate:plugin/plugin@0.1.0`"],
    );
    let rig = Rig::with(&Guest::with_roles(&[]));
    assert_says(&complaint(&rig, STAGE).await, "TG0204", &["it exports no role", "tidegate:plugin/router@0.1.0"]);
}

#[tokio::test]
async fn a_missing_one_names_those_that_are_there() {
    let rig = Rig::new();
    let nothing = complaint(&rig, STAGE).await;
    assert_says(&nothing, "TG0201", &["plugin `guest` is missing", "guest.wasm", "it holds no *.wasm file"]);
    for name in ["guests", "another"] {
        Guest::new(Role::Validator).install(&rig.plugins(), name);
    }
    assert_says(&complaint(&rig, STAGE).await, "TG0201", &["it holds: another, guests"]);
    std::fs::remove_dir_all(rig.plugins()).unwrap();
    assert_says(&complaint(&rig, STAGE).await, "TG0201", &["the directory does not exist"]);
}

#[tokio::test]
async fn configuration_that_does_not_fit() {
    let schema = r#"{"type":"object","required":["to"],"properties":{"to":{"type":"string"},"deep":{"type":"object","properties":{"n":{"type":"integer"}}}}}"#;
    let rig = Rig::with(&Guest::new(Role::Validator).config_schema(schema));
    assert_says(&complaint(&rig, STAGE).await, "TG0205", &["plugin `guest`", "\"to\" is a required property"]);
    let complaint_of_types = complaint(&rig, "[{ plugin: guest, config: { to: 3, deep: { n: x } } }]").await;
    assert_says(&complaint_of_types, "TG0205", &["config.to: ", "config.deep.n: "]);

    let rig = Rig::with(&Guest::new(Role::Validator));
    let unasked = complaint(&rig, "[{ plugin: guest, config: { to: x } }]").await;
    assert_says(&unasked, "TG0205", &["it takes no configuration, but the stage has a `config`"]);

    let rig = Rig::with(&Guest::new(Role::Validator).refuses("the moon is not full"));
    assert_says(
        &complaint(&rig, STAGE).await,
        "TG0205",
        &["plugin `guest` refuses its configuration: the moon is not full"],
    );
}

#[tokio::test]
async fn configuration_of_the_real_migrator() {
    let rig = Rig::new();
    std::fs::copy(plugin("inventory-migrator"), rig.plugins().join("inventory-migrator.wasm")).unwrap();
    let said = complaint(&rig, "[{ plugin: inventory-migrator, config: { currency: 3 } }]").await;
    assert_says(&said, "TG0205", &["config.currency: "]);
    let said = complaint(&rig, "[{ plugin: inventory-migrator, config: { curency: EUR } }]").await;
    assert_says(&said, "TG0205", &["curency"]);
    // What the schema lets pass, the plugin itself refuses.
    let said = complaint(&rig, "[{ plugin: inventory-migrator, config: { currency: ' ' } }]").await;
    assert_says(&said, "TG0205", &["currency must not be empty"]);
}

#[tokio::test]
async fn deeds_before_the_first_change() {
    let validator = || Guest::new(Role::Validator);
    let cases = [
        ("a loop in the start function", validator().in_start(Deed::LoopForever), "took longer than"),
        ("a trap in the start function", validator().in_start(Deed::Trap), "`unreachable` instruction executed"),
        ("a bomb in the start function", validator().in_start(Deed::GrowMemory), "it asked for more memory"),
        ("a loop in manifest", validator().in_manifest(Deed::LoopForever), "failed in `manifest`: it took longer than"),
        (
            "a loop in configure",
            validator().in_configure(Deed::LoopForever),
            "failed while it was configured: it took longer than 50ms",
        ),
        ("recursion in configure", validator().in_configure(Deed::Recurse), "call stack exhausted"),
    ];
    for (what, guest, reason) in cases {
        let begun = Instant::now();
        let complaint = complaint(&Rig::with(&guest), STAGE).await;
        assert!(complaint.starts_with("error[TG0206]: plugin `guest`"), "{what}: {complaint}");
        assert!(complaint.contains(reason), "{what}: {complaint}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{what} took {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_host_does_not_start_with_any_of_them_and_tells_them_all() {
    let rig = Rig::new();
    Guest::new(Role::Validator).in_configure(Deed::LoopForever).install(&rig.plugins(), "slow");
    Guest::new(Role::Validator).refuses("no").install(&rig.plugins(), "picky");
    std::fs::write(rig.plugins().join("empty.wasm"), b"").unwrap();
    let mut host = rig.launch(1, "[{ plugin: slow }, { plugin: picky }, { plugin: empty }, { plugin: missing }]");
    assert_eq!(host.wait_exit(PATIENCE).await, Some(2));
    let told: Vec<(String, String)> = host
        .log()
        .iter()
        .filter(|line| field(line, "event").and_then(Value::as_str) == Some("start_failed"))
        .map(|line| {
            let text = |name| field(line, name).and_then(Value::as_str).unwrap_or_default().to_owned();
            (text("code"), text("message"))
        })
        .collect();
    let mut codes: Vec<&str> = told.iter().map(|(code, _)| code.as_str()).collect();
    codes.sort_unstable();
    assert_eq!(codes, ["TG0201", "TG0202", "TG0205", "TG0206"], "{told:?}");
    for (name, (_, message)) in ["empty", "missing", "slow", "picky"].iter().zip(&told) {
        assert!(message.contains(&format!("`{name}`")), "{name}: {message}");
    }
    assert!(!Path::new(&rig.dir().join("out.jsonl")).exists(), "nothing was opened");
}
