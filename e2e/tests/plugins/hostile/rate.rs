//! What a hostile pipeline costs the one beside it, in changes a second. No test: it measures, and prints a table.
//!
//! `cargo nextest run --release --workspace --run-ignored only --no-capture -E 'test(hostile::rate)'`; figures of one machine are in
//! `bench/results/hostile.md`.

use std::time::Instant;

use tidegate_tests::guests::{Deed, Guest, MARKER, Role};
use tidegate_tests::{Host, HostOptions, eventually};

use crate::rig::{PATIENCE, Rig, change};

const HONEST: usize = 300_000;
/// Batches of `p` with one guilty change each, more than it gets through while `q` has any.
const HOSTILE: usize = 100_000;

/// Changes a second of `q`, while `p` does its deed, or has nothing to do.
async fn rate(deed: Option<Deed>) -> (f64, f64) {
    let guest = deed.map_or_else(|| Guest::new(Role::Validator), |deed| Guest::new(Role::Validator).when_marked(deed));
    let rig = Rig::with(&guest);
    Guest::new(Role::Stamper).install(&rig.plugins(), "honest");
    let config = "admin: { listen: 127.0.0.1:0 }
log: { level: info, format: json }
state: { dir: state }
plugins: { dir: plugins, limits: { time: 50ms } }
pipelines:
  p:
    source: stdin
    batch: { max_events: 100, linger: 5ms }
    lanes: 1
    stages: [{ plugin: guest, breaker: { after: 1000000 } }]
    sinks: { out: { file: { path: out.jsonl } } }
  q:
    source: { file: { path: honest.jsonl } }
    batch: { max_events: 500, linger: 5ms }
    lanes: 1
    stages: [{ plugin: honest }]
    sinks: { out: { file: { path: honest.out.jsonl } } }
";
    let honest: String = (0..HONEST).map(|number| change(number, "honest")).collect();
    std::fs::write(rig.dir().join("honest.jsonl"), honest).unwrap();
    let options = HostOptions { dir: Some(rig.dir().to_owned()), keep_input: true, ..HostOptions::default() };
    let mut host = Host::start_with(config, options);
    if deed.is_some() {
        let text = |number: usize| if number % 100 == 50 { MARKER } else { "good" };
        host.feed((0..HOSTILE).map(|number| change(number, text(number))).collect::<String>());
    }
    let begun = Instant::now();
    host.wait_ready().await;
    let labels = [("pipeline", "q")];
    eventually(PATIENCE, "the honest pipeline", async || {
        let there = host.metric("tidegate_events_out_total", &labels).await.unwrap_or(0.0);
        if there >= HONEST as f64 { Ok(()) } else { Err(format!("{there} of {HONEST}")) }
    })
    .await;
    let took = begun.elapsed();
    let guilty = host.metric("tidegate_dead_letters_total", &[("pipeline", "p")]).await.unwrap_or(0.0);
    host.kill();
    (HONEST as f64 / took.as_secs_f64(), guilty / took.as_secs_f64())
}

#[tokio::test]
#[ignore = "it measures, and asserts nothing"]
async fn beside_a_hostile_one() {
    let (alone, _) = rate(None).await;
    println!("| pipeline beside it | changes/s | of those alone | guilty changes/s |\n|---|---|---|---|");
    println!("| idle | {alone:.0} | 100 % | |");
    for (what, deed) in [
        ("endless loop", Deed::LoopForever),
        ("trap", Deed::Trap),
        ("memory bomb", Deed::GrowMemory),
        ("table bomb", Deed::GrowTable),
        ("recursion", Deed::Recurse),
        ("rejection of 20 MB", Deed::Reject(20_000_000)),
        ("100,000 log lines", Deed::LogLines(100_000)),
    ] {
        let (beside, guilty) = rate(Some(deed)).await;
        println!("| {what} | {beside:.0} | {:.0} % | {guilty:.1} |", beside / alone * 100.0);
    }
}
