//! What a plugin does wrong costs exactly the guilty change, and nothing else.

use serde_json::Value;
use tidegate_tests::field;
use tidegate_tests::guests::{Deed, Guest, LOG_LINE, MARKER, Role};

use crate::rig::{PATIENCE, Rig, changes, id, ids, ids_without};

const BATCH: usize = 1000;
/// A call has 128 changes at most. Halving them seven times leaves one, with two calls for each halving: fewer than the twenty
/// that halving the whole batch would cost.
const BISECTION: f64 = 14.0;

/// What is expected of a guilty change.
struct Verdict {
    kind: &'static str,
    /// What the reason in the dead letter contains.
    reason: &'static str,
    /// Most extra calls made to find it.
    calls: f64,
}

const fn verdict(kind: &'static str, reason: &'static str) -> Verdict {
    Verdict { kind, reason, calls: BISECTION }
}

/// Sends a batch of a thousand changes with the guilty ones among them, then a batch of innocent ones: all that is innocent
/// arrives in order, all that is guilty is in the dead letter, and nothing else is.
async fn costs(guest: &Guest, lanes: usize, stage: &str, guilty: &[usize], expected: &Verdict) {
    let rig = Rig::with(guest);
    let mut host = rig.start(lanes, stage).await;
    host.feed(changes(0..BATCH, |number| if guilty.contains(&number) { MARKER } else { "good" }));
    rig.wait_delivered(&mut host, BATCH - guilty.len()).await;
    host.feed(changes(BATCH..2 * BATCH, |_| "good"));
    let delivered = rig.wait_delivered(&mut host, 2 * BATCH - guilty.len()).await;

    let metrics = host.metrics().await;
    let all = [("pipeline", "p")];
    let by_kind = [("pipeline", "p"), ("kind", expected.kind)];
    assert_eq!(metrics.get("tidegate_dead_letters_total", &all), Some(guilty.len() as f64), "dead letters of any kind");
    assert_eq!(metrics.get("tidegate_dead_letters_total", &by_kind), Some(guilty.len() as f64), "dead letters");
    assert_eq!(metrics.get("tidegate_events_filtered_total", &all).unwrap_or(0.0), 0.0, "filtered");
    let extra = metrics.get("tidegate_plugin_bisect_calls_total", &all).unwrap_or(0.0);
    assert!(extra <= expected.calls * guilty.len() as f64, "{extra} extra calls for {} guilty changes", guilty.len());

    host.end_input();
    assert_eq!(host.wait_exit(PATIENCE).await, Some(0), "{}", host.stderr());
    assert_eq!(ids(&delivered), ids_without(0..2 * BATCH, guilty), "delivered, in order");
    assert_eq!(rig.delivered().len(), delivered.len(), "more arrived at the end");
    let dead = rig.dead_letters();
    let of_dead: Vec<String> = guilty.iter().map(|number| id(*number)).collect();
    let mut dead_ids = ids(&dead);
    if lanes > 1 {
        // Each lane finds its own; the dead letter has no order among lanes.
        dead_ids.sort_by_key(|id| guilty.iter().position(|number| crate::rig::id(*number) == *id));
    }
    assert_eq!(dead_ids, of_dead, "dead letters");
    for letter in &dead {
        let reason = letter["reason"].as_str().unwrap();
        assert!(reason.contains(expected.reason), "the reason is `{reason}`, not one of `{}`", expected.reason);
        assert_eq!(letter["plugin"], "guest", "{letter}");
        assert_eq!(letter["generation"], 1, "{letter}");
        assert_eq!(letter["stage"], "stages[0]", "{letter}");
        assert_eq!(letter["change"]["doc"]["text"], MARKER, "the change is whole: {letter}");
    }
}

const STAGE: &str = "[{ plugin: guest }]";
const ONE: &[usize] = &[617];

async fn validator_costs(deed: Deed, expected: Verdict) {
    costs(&Guest::new(Role::Validator).when_marked(deed), 1, STAGE, ONE, &expected).await;
}

async fn migrator_costs(deed: Deed, expected: Verdict) {
    costs(&Guest::new(Role::Migrator).when_marked(deed), 1, STAGE, ONE, &expected).await;
}

#[tokio::test]
async fn endless_loop() {
    // What timed out alone has one more try.
    let expected = Verdict { calls: BISECTION + 1.0, ..verdict("timeout", "it took longer than 50ms of CPU time") };
    validator_costs(Deed::LoopForever, expected).await;
}

#[tokio::test]
async fn memory_bomb() {
    validator_costs(
        Deed::GrowMemory,
        verdict("memory", "it asked for more memory than the 67108864 bytes it may have"),
    )
    .await;
}

#[tokio::test]
async fn trap() {
    validator_costs(Deed::Trap, verdict("trap", "`unreachable` instruction executed")).await;
}

#[tokio::test]
async fn deep_recursion() {
    validator_costs(Deed::Recurse, verdict("trap", "it trapped: call stack exhausted")).await;
}

#[tokio::test]
async fn too_few_results() {
    validator_costs(Deed::DropResult, verdict("result", "it returned 0 results for 1 changes")).await;
}

#[tokio::test]
async fn too_many_results() {
    validator_costs(Deed::AddResult, verdict("result", "it returned 2 results for 1 changes")).await;
}

#[tokio::test]
async fn too_few_results_of_every_other_role() {
    for role in [Role::Migrator, Role::Router, Role::Stamper] {
        let guest = Guest::new(role).when_marked(Deed::DropResult);
        costs(&guest, 1, STAGE, ONE, &verdict("result", "it returned 0 results for 1 changes")).await;
    }
}

#[tokio::test]
async fn span_outside_of_the_arena() {
    let expected =
        Verdict { calls: 0.0, ..verdict("result", "the new document is said to lie at 2147483392, 100 bytes long") };
    migrator_costs(Deed::SpanOutside, expected).await;
}

#[tokio::test]
async fn invalid_utf8() {
    let expected = Verdict { calls: 0.0, ..verdict("result", "the version migrated to is no UTF-8") };
    migrator_costs(Deed::InvalidText, expected).await;
}

#[tokio::test]
async fn invalid_bson() {
    let expected = Verdict { calls: 0.0, ..verdict("result", "the new document is no valid BSON document") };
    migrator_costs(Deed::InvalidDocument, expected).await;
}

#[tokio::test]
async fn bson_that_is_invalid_inside() {
    let expected = Verdict { calls: 0.0, ..verdict("result", "the new document is no valid BSON document") };
    migrator_costs(Deed::CorruptDocument, expected).await;
}

#[tokio::test]
async fn failure_said_by_a_migrator() {
    migrator_costs(Deed::Fail, Verdict { calls: 0.0, ..verdict("failed", "cannot do it") }).await;
}

#[tokio::test]
async fn route_to_an_unknown_sink() {
    let guest = Guest::new(Role::Router).when_marked(Deed::UnknownSink);
    let expected = Verdict {
        calls: 0.0,
        ..verdict("result", "it routes to sink `nowhere`, which the pipeline does not have; it has: out")
    };
    costs(&guest, 1, STAGE, ONE, &expected).await;
}

#[tokio::test]
async fn output_over_the_limit() {
    let guest = Guest::new(Role::Validator).when_marked(Deed::Reject(200_000));
    let stage = "[{ plugin: guest, limits: { output: 64KiB } }]";
    costs(&guest, 1, stage, ONE, &verdict("output", "comes to more than the 65536 bytes it may")).await;
}

#[tokio::test]
async fn output_far_over_the_limit() {
    // So much that the host does not even take it in.
    let guest = Guest::new(Role::Validator).when_marked(Deed::Reject(30 << 20));
    let stage = "[{ plugin: guest, limits: { output: 64KiB } }]";
    costs(&guest, 1, stage, ONE, &verdict("output", "it returned more than the 65536 bytes it may")).await;
}

#[tokio::test]
async fn first_and_last_and_neighbours() {
    let guest = Guest::new(Role::Validator).when_marked(Deed::Trap);
    costs(&guest, 1, STAGE, &[0, 499, 500, 999], &verdict("trap", "it trapped")).await;
}

#[tokio::test]
async fn guilty_changes_in_two_lanes() {
    let guest = Guest::new(Role::Router).when_marked(Deed::Trap);
    costs(&guest, 2, STAGE, &[3, 4, 5, 6, 7, 800], &verdict("trap", "it trapped")).await;
}

#[tokio::test]
async fn rejection_with_violations_needs_no_search() {
    let guest = Guest::new(Role::Validator).when_marked(Deed::Reject(3));
    let rig = Rig::with(&guest);
    let mut host = rig.start(1, STAGE).await;
    host.feed(changes(0..10, |number| if number == 4 { MARKER } else { "good" }));
    host.end_input();
    assert_eq!(host.wait_exit(PATIENCE).await, Some(0));
    assert_eq!(ids(&rig.delivered()), ids_without(0..10, &[4]));
    let dead = rig.dead_letters();
    assert_eq!(ids(&dead), [id(4)]);
    assert_eq!(dead[0]["violations"], serde_json::json!([{ "path": "a.b", "message": "xxx" }]));
    assert_eq!(dead[0]["reason"], "rejected: a.b: xxx");
}

#[tokio::test]
async fn flood_of_log_lines_is_cut_and_counted() {
    const LINES: u32 = 200_000;
    let rig = Rig::with(&Guest::new(Role::Validator).when_marked(Deed::LogLines(LINES)));
    // Enough time on purpose: it is the lines that are limited here.
    let mut host = rig.start(1, "[{ plugin: guest, limits: { time: 10s, log_lines: 100 } }]").await;
    let begun = std::time::Instant::now();
    host.feed(changes(0..10, |number| if number == 4 { MARKER } else { "good" }));
    let delivered = rig.wait_delivered(&mut host, 10).await;
    let took = begun.elapsed();
    assert_eq!(ids(&delivered), ids_without(0..10, &[]), "a plugin that talks too much harms no change");
    let dropped = host.metric("tidegate_plugin_log_lines_dropped_total", &[("plugin", "guest")]).await.unwrap_or(0.0);
    host.end_input();
    assert_eq!(host.wait_exit(PATIENCE).await, Some(0));
    let is_its = |line: &&Value| field(line, "event").and_then(Value::as_str) == Some("plugin_log");
    let shown = host.log().iter().filter(is_its).count();
    assert_eq!(shown as f64 + dropped, f64::from(LINES), "lines shown and lines dropped");
    // A hundred a second, for as long as the call took.
    let allowed = 100 * (took.as_secs() as usize + 2);
    assert!((1..=allowed).contains(&shown), "{shown} lines were shown in {took:?}");
    let log = host.log();
    let line = log.iter().find(is_its).unwrap();
    assert_eq!(field(line, "message").and_then(Value::as_str), Some(LOG_LINE));
    assert_eq!(field(line, "plugin").and_then(Value::as_str), Some("guest"));
    assert_eq!(field(line, "generation").and_then(Value::as_u64), Some(1));
    assert_eq!(field(line, "pipeline").and_then(Value::as_str), Some("p"));
}

#[tokio::test]
async fn all_changes_guilty() {
    let rig = Rig::with(&Guest::new(Role::Validator).when_marked(Deed::Trap));
    // As many as can come, so that the breaker stays out of it.
    let mut host = rig.start(1, "[{ plugin: guest, breaker: { after: 101 } }]").await;
    host.feed(changes(0..100, |_| MARKER));
    host.feed(changes(100..101, |_| "good"));
    host.end_input();
    assert_eq!(host.wait_exit(PATIENCE).await, Some(0));
    assert_eq!(ids(&rig.delivered()), [id(100)]);
    assert_eq!(ids(&rig.dead_letters()), ids_without(0..100, &[]));
}
