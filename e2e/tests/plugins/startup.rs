//! Plugins that take long to compile delay nothing but what needs them.

use serde_json::{Value, json};
use tidegate_tests::{Host, HostOptions, eventually, plugin};

use crate::rig::{PATIENCE, Rig, changes, ids, ids_without};

const COUNT: usize = 20;

/// Two pipelines: `p` from standard input without plugins, and `slow` from a file through the plugin `big`.
fn config() -> String {
    "admin: { listen: 127.0.0.1:0 }
log: { level: info, format: json }
state: { dir: state }
plugins: { dir: plugins }
pipelines:
  p:
    source: stdin
    sinks: { out: { file: { path: out.jsonl } } }
  slow:
    source: { file: { path: in.jsonl } }
    stages: [{ plugin: big }]
    sinks: { out: { file: { path: slow.jsonl } } }
"
    .to_owned()
}

fn launch(rig: &Rig) -> Host {
    let stock = |number: usize| {
        let doc = json!({ "_id": number, "product_id": "P-1", "warehouse_id": "W-1", "quantity": 3, "last_updated": "2026-01-31T12:00:00Z" });
        format!("{}\n", json!({ "id": format!("s-{number}"), "op": "insert", "ns": "shop.inventory", "doc": doc }))
    };
    std::fs::write(rig.dir().join("in.jsonl"), (0..COUNT).map(stock).collect::<String>()).unwrap();
    let options = HostOptions { dir: Some(rig.dir().to_owned()), keep_input: true, ..HostOptions::default() };
    Host::start_with(&config(), options)
}

/// Why the host is not ready, by part.
async fn lacks(host: &mut Host) -> Vec<(String, String)> {
    let (_, body) = host.get("/readiness").await;
    let answer: Value = serde_json::from_str(&body).unwrap();
    let text = |reason: &Value, key: &str| reason[key].as_str().unwrap_or_default().to_owned();
    answer["reasons"].as_array().unwrap().iter().map(|reason| (text(reason, "part"), text(reason, "reason"))).collect()
}

fn events(host: &Host, event: &str) -> usize {
    host.log().iter().filter(|line| line["event"] == event).count()
}

#[tokio::test]
async fn a_big_one_is_compiled_beside_what_does_not_need_it() {
    let rig = Rig::new();
    std::fs::copy(plugin("inventory-validator-js"), rig.plugins().join("big.wasm")).unwrap();
    let mut host = launch(&rig);
    host.feed(changes(0..COUNT, |_| "good"));
    let delivered = rig.wait_delivered(&mut host, COUNT).await;
    assert_eq!(ids(&delivered), ids_without(0..COUNT, &[]));
    host.wait_event("plugin_compiling").await;
    let parts = lacks(&mut host).await;
    let (_, reason) = parts.iter().find(|(part, _)| part == "plugin big").expect("the big one is still being compiled");
    assert!(reason.starts_with("being compiled (12") && reason.ends_with("that is done once"), "{reason}");
    let slow = |host: &Host| std::fs::read_to_string(host.dir().join("slow.jsonl")).unwrap_or_default().lines().count();
    assert_eq!(slow(&host), 0);

    eventually(PATIENCE, "the slow pipeline has delivered", async || slow(&host) == COUNT).await;
    assert_eq!((events(&host, "plugin_compiled"), events(&host, "plugin_loaded")), (1, 1));
    host.end_input();
    assert_eq!(host.wait_exit(PATIENCE).await, Some(0), "{}", host.stderr());

    // What was compiled once is known.
    let mut host = launch(&rig);
    host.wait_event("plugin_loaded").await;
    assert_eq!(events(&host, "plugin_compiling"), 0);
    host.end_input();
    assert_eq!(host.wait_exit(PATIENCE).await, Some(0), "{}", host.stderr());
}

#[tokio::test]
async fn a_big_one_that_cannot_be_used_stops_its_pipeline_alone() {
    let rig = Rig::new();
    let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
    bytes.resize(3 << 20, 0xff);
    std::fs::write(rig.plugins().join("big.wasm"), bytes).unwrap();
    let mut host = launch(&rig);
    let stopped = host.wait_event("pipeline_stopped").await;
    assert_eq!((&stopped["pipeline"], &stopped["code"]), (&json!("slow"), &json!("TG0202")), "{stopped}");
    host.feed(changes(0..COUNT, |_| "good"));
    rig.wait_delivered(&mut host, COUNT).await;
    let (status, health) = host.get("/health").await;
    assert!(status == 200 && health.contains("TG0202") && health.contains("plugin `big` cannot be loaded"), "{health}");
    host.end_input();
    assert_eq!(host.wait_exit(PATIENCE).await, Some(1), "{}", host.stderr());
}
