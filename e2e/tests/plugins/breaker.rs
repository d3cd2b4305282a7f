//! A plugin that fails on everything is stopped: it neither grinds nor throws the stream away.

use serde_json::Value;
use tidegate_tests::guests::{Deed, Guest, MARKER, Role};
use tidegate_tests::{Cli, Host, HostOptions, eventually, field};

use crate::rig::{PATIENCE, Rig, changes, id, ids, ids_without};

const AFTER: usize = 16;
const DEAD_LETTER: &str = "[{ plugin: guest, breaker: { action: dead_letter } }]";

fn trapping() -> Guest {
    Guest::new(Role::Validator).when_marked(Deed::Trap)
}

fn events(host: &Host, event: &str) -> usize {
    host.log().iter().filter(|line| field(line, "event").and_then(Value::as_str) == Some(event)).count()
}

async fn wait_dead(host: &mut Host, rig: &Rig, count: usize) {
    eventually(PATIENCE, "dead letters", async || {
        assert!(host.is_running(), "tidegate ended:\n{}", host.stderr());
        let there = rig.dead_letters().len();
        if there >= count { Ok(()) } else { Err(format!("{there} of {count}")) }
    })
    .await;
}

async fn dead_letters(host: &mut Host, kind: &str) -> Option<f64> {
    host.metric("tidegate_dead_letters_total", &[("pipeline", "p"), ("kind", kind)]).await
}

async fn is_open(host: &mut Host) -> Option<f64> {
    host.metric("tidegate_plugin_breaker_open", &[("pipeline", "p"), ("plugin", "guest")]).await
}

/// Standard input cannot be read again: what would pause stops, on a batch whose first changes are innocent.
async fn stops(guest: &Guest, lanes: usize, most_calls: usize) {
    let rig = Rig::with(guest);
    let mut host = rig.start(lanes, "[{ plugin: guest }]").await;
    host.feed(changes(0..100, |_| "good"));
    rig.wait_delivered(&mut host, 100).await;
    host.feed(changes(100..1100, |number| if number < 120 { "good" } else { MARKER }));
    let stopped = host.wait_event("pipeline_stopped").await;
    assert_eq!(field(&stopped, "code").and_then(Value::as_str), Some("TG0216"));
    let message = field(&stopped, "message").and_then(Value::as_str).unwrap();
    assert!(message.contains("plugin guest (generation 1) failed on 16 changes in a row"), "{message}");
    assert_eq!(host.wait_exit(PATIENCE).await, Some(1), "{}", host.stderr());
    assert_eq!(ids(&rig.delivered()), ids_without(0..100, &[]), "nothing of the batch is delivered");
    assert_eq!(rig.dead_letters().len(), 0, "nothing of the batch is thrown away");
    assert_eq!(events(&host, "plugin_breaker_open"), 1);
    let calls = events(&host, "plugin_call_failed");
    assert!(calls <= most_calls, "{calls} failed calls");
}

#[tokio::test]
async fn plugin_that_traps_on_everything_stops_what_cannot_pause() {
    // One change alone at the end of each halving: twice the sixteen, and the way down to them.
    stops(&trapping(), 1, 2 * AFTER + 8).await;
}

#[tokio::test]
async fn lanes_count_together() {
    // An innocent change in one lane begins the count anew for all; still far from the 2000 calls that a search through the whole
    // batch would fail on.
    stops(&trapping(), 4, 12 * AFTER).await;
}

#[tokio::test]
async fn plugin_whose_results_are_all_unusable_stops_what_cannot_pause() {
    stops(&Guest::new(Role::Migrator).when_marked(Deed::InvalidDocument), 1, 0).await;
}

#[tokio::test]
async fn rejections_are_no_failures() {
    let rig = Rig::with(&Guest::new(Role::Validator).when_marked(Deed::Reject(3)));
    let mut host = rig.start(1, "[{ plugin: guest, breaker: { after: 1 } }]").await;
    host.feed(changes(0..200, |number| if number < 199 { MARKER } else { "good" }));
    rig.wait_delivered(&mut host, 1).await;
    assert_eq!((dead_letters(&mut host, "rejected").await, is_open(&mut host).await), (Some(199.0), Some(0.0)));
    host.end_input();
    assert_eq!(host.wait_exit(PATIENCE).await, Some(0));
}

#[tokio::test]
async fn success_between_keeps_it_closed() {
    let rig = Rig::with(&trapping());
    let mut host = rig.start(1, "[{ plugin: guest }]").await;
    let guilty: Vec<usize> = (0..300).filter(|number| number % 16 != 0).collect();
    host.feed(changes(0..300, |number| if number % 16 == 0 { "good" } else { MARKER }));
    rig.wait_delivered(&mut host, 19).await;
    host.end_input();
    assert_eq!(host.wait_exit(PATIENCE).await, Some(0), "{}", host.stderr());
    assert_eq!(ids(&rig.delivered()), ids_without(0..300, &guilty));
    assert_eq!(rig.dead_letters().len(), guilty.len());
}

#[tokio::test]
async fn dead_letter_takes_what_the_plugin_does_not_see_until_it_works_again() {
    let rig = Rig::with(&trapping());
    let mut host = rig.start(1, DEAD_LETTER).await;
    host.feed(changes(0..500, |_| MARKER));
    wait_dead(&mut host, &rig, 500).await;
    assert_eq!(dead_letters(&mut host, "trap").await, Some(16.0));
    assert_eq!(dead_letters(&mut host, "breaker").await, Some(484.0));
    assert_eq!(is_open(&mut host).await, Some(1.0));
    let last = &rig.dead_letters()[499];
    assert_eq!(last["reason"], "plugin guest did not see it: its breaker is open");
    assert_eq!(
        (&last["plugin"], &last["generation"], &last["stage"]),
        (&"guest".into(), &1.into(), &"stages[0]".into())
    );
    assert_eq!(last["change"]["doc"]["text"], MARKER);

    // Of the next batch one change tries it, in vain.
    host.feed(changes(500..600, |number| if number == 500 { MARKER } else { "good" }));
    wait_dead(&mut host, &rig, 600).await;
    assert_eq!(dead_letters(&mut host, "trap").await, Some(17.0));
    assert_eq!((rig.delivered().len(), events(&host, "plugin_breaker_open")), (0, 1));

    // Of this one it works, and so do the others.
    host.feed(changes(600..700, |number| if number == 650 { MARKER } else { "good" }));
    rig.wait_delivered(&mut host, 99).await;
    assert_eq!(is_open(&mut host).await, Some(0.0));
    assert_eq!(events(&host, "plugin_breaker_closed"), 1);
    host.end_input();
    assert_eq!(host.wait_exit(PATIENCE).await, Some(0), "{}", host.stderr());
    assert_eq!(ids(&rig.delivered()), ids_without(600..700, &[650]));
    assert_eq!(ids(&rig.dead_letters()), (0..600).chain([650]).map(id).collect::<Vec<_>>());
}

#[tokio::test]
async fn another_generation_begins_with_a_closed_breaker() {
    let rig = Rig::with(&trapping());
    let mut host = rig.start(1, DEAD_LETTER).await;
    host.feed(changes(0..50, |_| MARKER));
    wait_dead(&mut host, &rig, 50).await;
    assert_eq!(is_open(&mut host).await, Some(1.0));
    Guest::new(Role::Validator).version("2.0.0").install(&rig.plugins(), "guest");
    host.wait_event("plugin_swapped").await;
    host.feed(changes(50..80, |_| MARKER));
    rig.wait_delivered(&mut host, 30).await;
    assert_eq!((is_open(&mut host).await, rig.dead_letters().len()), (Some(0.0), 50));
}

/// A pipeline from a file, which can be read again.
fn from_file(rig: &Rig, lines: &str) -> Host {
    std::fs::write(rig.dir().join("in.jsonl"), lines).unwrap();
    let config = "admin: { listen: 127.0.0.1:0 }
log: { level: info, format: json }
state: { dir: state }
plugins: { dir: plugins }
pipelines:
  p:
    source: { file: { path: in.jsonl } }
    batch: { max_events: 100 }
    stages: [{ plugin: guest }]
    sinks: { out: { file: { path: out.jsonl } } }
";
    Host::start_with(config, HostOptions { dir: Some(rig.dir().to_owned()), ..HostOptions::default() })
}

async fn wait_paused(host: &mut Host) {
    let status = eventually(PATIENCE, "a pause", async || {
        let status = host.status().await;
        let pipeline = status["pipelines"]["p"].clone();
        if pipeline["state"] == "paused" { Ok(pipeline) } else { Err(pipeline["state"].to_string()) }
    })
    .await;
    assert_eq!(status["problem"]["code"], "TG0216", "{status}");
    assert_eq!(status["stages"][0]["breaker_open"], true, "{status}");
    let (code, readiness) = host.get("/readiness").await;
    assert!(code == 503 && readiness.contains("TG0216"), "{code} {readiness}");
    assert_eq!(host.get("/health").await.0, 200, "starting again would not help");
}

#[tokio::test]
async fn paused_pipeline_goes_on_by_itself_with_another_generation() {
    let rig = Rig::with(&trapping());
    let mut host = from_file(&rig, &changes(0..1000, |number| if number < 500 { "good" } else { MARKER }));
    wait_paused(&mut host).await;
    assert_eq!(rig.dead_letters().len(), 0);
    Guest::new(Role::Validator).version("2.0.0").install(&rig.plugins(), "guest");
    assert_eq!(host.wait_exit(PATIENCE).await, Some(0), "{}", host.stderr());
    // At least once: what was safe and not yet in the checkpoint may come again.
    let delivered = rig.delivered();
    let mut seen = ids(&delivered);
    seen.sort_by_key(|id| id[2..].parse::<usize>().unwrap());
    seen.dedup();
    assert_eq!(seen, ids_without(0..1000, &[]), "all arrived in the end");
    assert_eq!(rig.dead_letters().len(), 0, "and nothing was thrown away");
}

#[tokio::test]
async fn paused_pipeline_tries_again_when_the_operator_says_so() {
    let rig = Rig::with(&trapping());
    let mut host = from_file(&rig, &changes(0..100, |_| MARKER));
    wait_paused(&mut host).await;
    let config = host.dir().join("tidegate.yaml");
    let admin = host.admin_address().await.to_string();
    let resumed = Cli::run(&["pipeline", "resume", config.to_str().unwrap(), "p", "--admin", &admin], b"").await;
    assert!(resumed.status.success(), "{resumed:?}");
    eventually(PATIENCE, "another try", async || {
        let tries = events(&host, "plugin_breaker_open");
        if tries == 2 { Ok(()) } else { Err(format!("{tries} of 2")) }
    })
    .await;
    wait_paused(&mut host).await;
    assert_eq!(host.stop().await, Some(0), "a paused pipeline has nothing to drain");
}
