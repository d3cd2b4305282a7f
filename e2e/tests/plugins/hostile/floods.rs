//! Too much of everything: memory, tables, results, log lines, names of figures, things of WASI.

use serde_json::Value;
use tidegate_tests::field;
use tidegate_tests::guests::{Deed, Guest, MARKER, Role};

use super::beside::{Beside, Case, costs, hostile};
use crate::rig::{PATIENCE, ids, ids_without};

fn validator(deed: Deed) -> Guest {
    Guest::new(Role::Validator).when_marked(deed)
}

hostile! {
    memory_in_one_call: validator(Deed::GrowMemory) => "memory", "it asked for more memory than the 67108864 bytes it may have";
    a_table_in_one_call: validator(Deed::GrowTable) => "memory", "it asked for more memory than the 67108864 bytes it may have";
    memory_in_realloc: Guest::new(Role::Router).in_post_return(Deed::GrowMemory) => "memory", "it asked for more memory than";
    an_arena_of_40_megabytes: Guest::new(Role::Router).when_marked(Deed::Arena(40_000_000)) => "output", "it returned 400", "bytes, more than the 33554432 it may";
    // Of 6 MB, which would be 100 MB here.
    outputs_without_end: Guest::new(Role::Stamper).when_marked(Deed::Outputs(200_000)) => "output", "what it returned comes to more than the 33554432 bytes it may";
    violations_without_end: validator(Deed::Violations(3_000_000)) => "output", "bytes it may";
    streams_that_are_kept: validator(Deed::KeepStreams(2000)) => "trap", "it failed: ";
    waits_that_are_kept: validator(Deed::KeepPollables(2000)) => "trap", "it failed: ";
    random_bytes: validator(Deed::Random(50_000_000)) => "trap", "it failed: ";
    // Taken in for its first bytes, then cut; too much of it is not even taken in.
    a_log_line_of_60_megabytes: validator(Deed::LogLong(60_000_000)) => "timeout", "took longer than";
}

#[tokio::test]
async fn a_rejection_of_20_megabytes_is_cut() {
    let expected = ("rejected", ["rejected: a.b: xxxx", " ... (cut, it has 20000000 bytes)"].as_slice());
    costs(
        validator(Deed::Reject(20_000_000)),
        Case { stage: ", limits: { time: 1s }", ..Case::default() },
        Some(expected),
    )
    .await;
}

#[tokio::test]
async fn violations_are_cut_to_a_hundred() {
    let expected = ("rejected", ["rejected: : , and 100 more"].as_slice());
    costs(validator(Deed::Violations(5000)), Case::default(), Some(expected)).await;
}

#[tokio::test]
async fn memory_slowly() {
    // Each call keeps 1 MiB more and never fails: the host takes a new instance in time.
    let mut beside = Beside::start(&validator(Deed::Leak(16)), ", breaker: { after: 100 }").await;
    const CALLS: usize = 200;
    for call in 0..CALLS {
        beside.feed(call..call + 1, |_| MARKER.to_owned());
        beside.wait_delivered(call + 1).await;
    }
    beside.is_unharmed().await;
    let labels = [("pipeline", "p"), ("plugin", "guest")];
    let retired = beside.host.metric("tidegate_plugin_instances_retired_total", &labels).await.unwrap();
    assert!((2.0..20.0).contains(&retired), "{retired} instances for {CALLS} MiB");
    assert_eq!(beside.events("plugin_call_failed"), 0);
    beside.ends_with_dead_letters(&[]).await;
}

/// What a guest says that harms no change: how many lines the log has of it, and how many were dropped and counted.
async fn flood(deed: Deed) -> (Vec<Value>, f64) {
    let mut beside = Beside::start(&validator(deed), ", limits: { time: 10s }").await;
    beside.feed(0..10, |number| if number == 4 { MARKER.to_owned() } else { "good".to_owned() });
    let delivered = beside.wait_delivered(10).await;
    assert_eq!(ids(&delivered), ids_without(0..10, &[]), "what talks too much harms no change");
    beside.is_unharmed().await;
    let dropped = beside.host.metric("tidegate_plugin_log_lines_dropped_total", &[("plugin", "guest")]).await;
    let is_its = |line: &&Value| field(line, "event").and_then(Value::as_str) == Some("plugin_log");
    let lines = beside.host.log().iter().filter(is_its).cloned().collect();
    beside.ends_with_dead_letters(&[]).await;
    (lines, dropped.unwrap_or(0.0))
}

#[tokio::test]
async fn print() {
    const LINES: u32 = 50_000;
    let (lines, dropped) = flood(Deed::Print(LINES)).await;
    assert_eq!(lines.len() as f64 + dropped, f64::from(LINES), "lines shown and lines dropped");
    // A hundred a second, for as long as that took.
    assert!((1..=100 * PATIENCE.as_secs() as usize).contains(&lines.len()) && dropped > 1000.0, "{}", lines.len());
    assert_eq!(field(&lines[0], "message").and_then(Value::as_str), Some("x"));
}

#[tokio::test]
async fn a_log_line_of_20_megabytes_is_cut() {
    let (lines, _) = flood(Deed::LogLong(20_000_000)).await;
    assert_eq!(lines.len(), 1);
    assert_eq!(field(&lines[0], "message").and_then(Value::as_str).map(str::len), Some(8 << 10));
}

#[tokio::test]
async fn names_of_figures() {
    let mut beside = Beside::start(&validator(Deed::CountNames(30_000)), ", limits: { time: 10s }").await;
    beside.feed(0..10, |number| if number == 4 { MARKER.to_owned() } else { "good".to_owned() });
    beside.wait_delivered(10).await;
    beside.is_unharmed().await;
    let metrics = beside.host.metrics().await;
    let names = metrics.iter().filter(|(name, _)| name.starts_with("tidegate_plugin_counter_total")).count();
    assert_eq!(names, 100, "names of a plugin's figures");
    let refused = metrics.get("tidegate_plugin_log_lines_dropped_total", &[("plugin", "guest")]);
    assert_eq!(refused, Some(29_900.0), "the others are dropped and counted");
    beside.ends_with_dead_letters(&[]).await;
}

#[tokio::test]
async fn a_name_of_a_figure_of_20_megabytes() {
    let (lines, dropped) = flood(Deed::GaugeLong(20_000_000)).await;
    assert_eq!((lines.len(), dropped), (0, 1.0));
}
