//! A component that worked 1,000 times and then fails.

use tidegate_tests::field;
use tidegate_tests::guests::{Deed, Guest, MARKER, Role};

use super::beside::Beside;
use crate::rig::{PATIENCE, ids, ids_without};
use serde_json::Value;

const WORKS: usize = 1000;

#[tokio::test]
async fn whose_instance_is_worn_out_costs_one_change_of_a_thousand() {
    // A new instance works again: only a change that stood alone in the call that failed is lost to it.
    let guest = Guest::new(Role::Validator).when_marked(Deed::Trap).after_calls(WORKS as u32);
    // One change in each call.
    let mut beside = Beside::start_with_batches(1, &guest, "").await;
    let fed = WORKS + 50;
    beside.feed(0..fed, |_| MARKER.to_owned());
    beside.wait_delivered(fed - 1).await;
    let delivered = beside.rig.delivered();
    assert_eq!(ids(&delivered), ids_without(0..fed, &[WORKS]));
    beside.is_unharmed().await;
    let dead = beside.ends_with_dead_letters(&[WORKS]).await;
    assert_eq!(dead[0]["reason"], "it trapped: wasm `unreachable` instruction executed");
}

#[tokio::test]
async fn that_then_fails_on_everything_is_stopped() {
    let mut beside = Beside::start(&Guest::new(Role::Validator).when_marked(Deed::Trap), "").await;
    beside.feed(0..WORKS, |_| "good".to_owned());
    beside.wait_delivered(WORKS).await;
    beside.feed(WORKS..2 * WORKS, |_| MARKER.to_owned());
    let stopped = beside.host.wait_event("pipeline_stopped").await;
    assert_eq!(field(&stopped, "code").and_then(Value::as_str), Some("TG0216"));
    // The host ends when its last pipeline has: the other one delivers all of its changes before.
    assert_eq!(beside.host.wait_exit(PATIENCE).await, Some(1), "{}", beside.host.stderr());
    let honest = beside.rig.lines("honest.out.jsonl");
    assert_eq!(ids(&honest), ids_without(0..honest.len(), &[]));
    assert_eq!(honest.len(), 10_000);
    assert_eq!(ids(&beside.rig.delivered()), ids_without(0..WORKS, &[]));
    assert_eq!(beside.rig.dead_letters().len(), 0, "nothing is thrown away");
}
