//! A change becomes none, one or three.

use serde_json::Value;
use tidegate_tests::guests::{Guest, Role};

use crate::rig::{PATIENCE, Rig, changes, ids};

fn text(number: usize) -> &'static str {
    match number % 4 {
        0 => "becomes-none",
        1 => "becomes-one",
        2 => "becomes-three",
        _ => "stays",
    }
}

#[tokio::test]
async fn changes_become_none_one_or_three_in_order() {
    for lanes in [1, 3] {
        let rig = Rig::with(&Guest::new(Role::Multiplier));
        let mut host = rig.start(lanes, "[{ plugin: guest }]").await;
        host.feed(changes(0..400, text));
        // The checks below say what these 500 are.
        rig.wait_delivered(&mut host, 500).await;
        let filtered = host.metric("tidegate_events_filtered_total", &[("pipeline", "p")]).await;
        assert_eq!(filtered, Some(100.0), "those that became none are filtered");
        host.end_input();
        assert_eq!(host.wait_exit(PATIENCE).await, Some(0));

        let delivered = rig.delivered();
        let expected: Vec<String> = (0..400_usize)
            .flat_map(|number| match number % 4 {
                0 => vec![],
                2 => (0..3).map(|part| format!("c-{number}.{part}")).collect(),
                _ => vec![format!("c-{number}")],
            })
            .collect();
        assert_eq!(ids(&delivered), expected, "with {lanes} lanes");
        assert!(rig.dead_letters().is_empty());
        for line in &delivered {
            let (number, part) =
                line["id"].as_str().unwrap()[2..].split_once('.').unwrap_or((&line["id"].as_str().unwrap()[2..], "0"));
            let number: usize = number.parse().unwrap();
            assert_eq!(line["doc"]["_id"], serde_json::json!({ "$numberInt": number.to_string() }), "{line}");
            assert_eq!(line["ns"], "shop.items", "{line}");
            assert_eq!(line["op"], "insert", "{line}");
            let expected = if text(number) == "stays" { Value::Null } else { part.into() };
            assert_eq!(line["headers"]["part"], expected, "{line}");
        }
    }
}

#[tokio::test]
async fn what_one_stage_made_the_next_one_sees() {
    let rig = Rig::with(&Guest::new(Role::Multiplier));
    Guest::new(Role::Stamper).version("v1").install(&rig.plugins(), "stamper");
    let mut host = rig.start(1, "[{ plugin: guest }, { plugin: guest }, { plugin: stamper }]").await;
    host.feed(changes(0..4, text));
    host.end_input();
    assert_eq!(host.wait_exit(PATIENCE).await, Some(0));
    let delivered = rig.delivered();
    // Three become nine; ids stay unique, and tell where each came from.
    let mut expected = vec!["c-1".to_owned()];
    expected.extend((0..3).flat_map(|first| (0..3).map(move |second| format!("c-2.{first}.{second}"))));
    expected.push("c-3".to_owned());
    assert_eq!(ids(&delivered), expected);
    // The stamp's number is that of the header: `part` was there before, but not on what stayed as it was.
    assert_eq!(delivered[1]["headers"]["s1"], "v1/000001", "{}", delivered[1]);
    assert_eq!(delivered[10]["headers"]["s0"], "v1/000001", "{}", delivered[10]);
}
