//! Streams are in source order, whatever the lanes.

use std::collections::HashMap;

use mongodb::bson::{Document, doc};

use crate::scene::{Scene, inventory};

const KEYS: i32 = 50;
const ROUNDS: i32 = 80;

#[tokio::test]
async fn eight_lanes_keep_the_order_of_the_source() {
    let scene = Scene::shared().await;
    // All to one stream, through plugins, so that the lanes have something to mix up.
    let stages = crate::scene::inventory_stages(&scene.names.key("all"));
    let sinks = format!("{{ out: {} }}", scene.stream_sink("out", "json"));
    let pipeline = format!(
        "  main: {{ lanes: 8, batch: {{ max_events: 300 }}, source: {}, stages: {stages}, sinks: {sinks} }}",
        scene.source()
    );
    let mut host = scene.ready_host(&[pipeline]).await;
    let document = |key: i32, n: i32| {
        let mut document = inventory(key, "WH-1");
        document.insert("n", n);
        document
    };
    let stock = scene.collection("inventory");
    stock.insert_many((0..KEYS).map(|key| document(key, key))).await.unwrap();
    // Replacements hold the document of their time; a looked-up one would hide that an older change came later.
    for round in 1..ROUNDS {
        let updates: Vec<Document> =
            (0..KEYS).map(|key| doc! { "q": { "_id": key }, "u": document(key, round * KEYS + key) }).collect();
        scene.database.run_command(doc! { "update": "inventory", "updates": updates }).await.unwrap();
    }
    let total = KEYS * ROUNDS;
    let found = scene.wait_entries("all", usize::try_from(total).unwrap()).await;
    assert_eq!(host.stop().await, Some(0));

    let mut newest: HashMap<String, i32> = HashMap::new();
    for entry in &found {
        let n = entry.n();
        let before = newest.insert(entry.text("key").to_owned(), n);
        assert!(before.is_none_or(|before| before < n), "{} steps back from {before:?} to {n}", entry.text("key"));
    }
    assert_eq!(newest.len(), 50);
    crate::scene::assert_exactly(&found, total);
    assert!(found.is_sorted_by_key(|entry| entry.id()[..16].to_owned()), "ids go with the time of the source");
}
