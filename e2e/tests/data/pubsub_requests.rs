//! How changes are cut into requests to Pub/Sub, and what becomes of one that is not answered.

use std::time::Duration;

use bson::doc;
use tidegate_tests::servers::{Front, free_port};
use tidegate_tests::{Host, Network, Proxy, eventually, field};

use crate::pubsub::{Cloud, attribute, body, pipeline, sink_metric};
use crate::scene::{PATIENCE, Scene, numbered};

/// The same on a way on which requests are counted.
fn count(scene: &Scene, cloud: &Cloud) -> (Cloud, Front) {
    let port = free_port();
    let front = Front::start(port, cloud.port()).unwrap();
    (Cloud::at(&format!("127.0.0.1:{port}"), scene), front)
}

async fn batches(host: &mut Host) -> f64 {
    host.metric("tidegate_batches_total", &[("pipeline", "main")]).await.unwrap_or_default()
}

#[tokio::test]
async fn d5_batches_of_a_configured_size_and_time_reach_a_topic() {
    let scene = Scene::shared().await;
    let cloud = Cloud::shared(&scene).await;
    cloud.make("out").await;
    let (counted, front) = count(&scene, &cloud);
    let sink = counted.sink("out", ", max_messages: 20, ordering: false");
    let line = format!(
        "  main: {{ source: {}, batch: {{ max_events: 50, linger: 2s }}, sinks: {{ out: {sink} }} }}",
        scene.source()
    );
    let mut host = scene.ready_host(&[line]).await;
    let before = front.requests();
    scene.collection("things").insert_many(numbered(0..120)).await.unwrap();
    let found = cloud.changes("out", 120).await;
    let mut numbers: Vec<i64> = found.iter().map(|message| body(message)["n"].as_i64().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..120).collect::<Vec<_>>(), "each once");
    assert!(found.iter().all(|message| message.ordering_key.is_empty()));
    // Two full batches, and one that waited for more until its time was over.
    let batches = batches(&mut host).await;
    assert!((3.0..=4.0).contains(&batches), "{batches} batches");
    // Three of a full batch; batches that wait are published together.
    let requests = front.requests() - before;
    assert!((6..=8).contains(&requests), "{requests} requests");
    // What comes within the time is one batch, though each was written alone.
    for n in 120..130 {
        scene.collection("things").insert_one(doc! { "_id": n, "n": n }).await.unwrap();
    }
    cloud.changes("out", 10).await;
    let more = self::batches(&mut host).await - batches;
    assert!(more <= 3.0, "{more} batches for ten changes");
    assert_eq!(sink_metric(&mut host, "tidegate_events_out_total").await, 130.0);
    assert_eq!(host.stop().await, Some(0));
}

#[tokio::test]
async fn a_request_has_no_more_bytes_than_it_may() {
    let scene = Scene::shared().await;
    let cloud = Cloud::shared(&scene).await;
    cloud.make("out").await;
    let (counted, front) = count(&scene, &cloud);
    let sink = counted.sink("out", ", max_bytes: 4KiB, ordering: false");
    let mut host = scene.ready_host(&[pipeline(&scene, &format!("{{ out: {sink} }}"))]).await;
    let before = front.requests();
    let text = "x".repeat(1500);
    let documents = (0..40).map(|n| doc! { "_id": n, "n": n, "text": &text });
    scene.collection("things").insert_many(documents).await.unwrap();
    cloud.changes("out", 40).await;
    let requests = front.requests() - before;
    assert!((20..=40).contains(&requests), "{requests} requests of at most two");
    assert_eq!(host.stop().await, Some(0));
}

#[tokio::test]
async fn batches_that_wait_are_published_together_and_in_order() {
    let scene = Scene::shared().await;
    let cloud = Cloud::shared(&scene).await;
    cloud.make("out").await;
    let proxy = Proxy::start(cloud.port()).await;
    let sink = Cloud::at(&format!("127.0.0.1:{}", proxy.port()), &scene).sink("out", "");
    let line =
        format!("  main: {{ source: {}, batch: {{ max_events: 10 }}, sinks: {{ out: {sink} }} }}", scene.source());
    let mut host = scene.ready_host(&[line]).await;
    // An answer takes as long as many batches, and all that is to be written is there at once.
    proxy.set(Network::Delay(Duration::from_millis(300)));
    let things = scene.collection("things");
    things.insert_many((0..60).map(|n| doc! { "_id": n, "n": 0 })).await.unwrap();
    things.update_many(doc! {}, doc! { "$set": { "n": 1 } }).await.unwrap();
    let found = cloud.changes("out", 120).await;
    // A message comes before the answer to its request.
    eventually(PATIENCE, "answers to all", async || {
        let out = sink_metric(&mut host, "tidegate_events_out_total").await;
        if out == 120.0 { Ok(()) } else { Err(out) }
    })
    .await;
    let (batches, writes) = (batches(&mut host).await, sink_metric(&mut host, "tidegate_sink_writes_total").await);
    assert!(batches >= 12.0 && writes <= 8.0, "{batches} batches in {writes} writes");
    for id in 0..60 {
        let of_it = found.iter().filter(|message| body(message)["_id"] == id);
        let states: Vec<_> = of_it.map(|message| body(message)["n"].as_i64().unwrap()).collect();
        assert!(states.is_sorted(), "of document {id}: {states:?}");
    }
    assert!(found.iter().all(|message| !attribute(message, "change_id").is_empty()));
    assert_eq!(host.stop().await, Some(0));
}

#[tokio::test]
async fn a_request_that_is_not_answered_in_its_time_is_sent_again() {
    let scene = Scene::shared().await;
    let cloud = Cloud::shared(&scene).await;
    cloud.make("out").await;
    let proxy = Proxy::start(cloud.port()).await;
    let sink = Cloud::at(&format!("127.0.0.1:{}", proxy.port()), &scene).sink("out", ", timeout: 1s");
    let mut host = scene.ready_host(&[pipeline(&scene, &format!("{{ out: {sink} }}"))]).await;
    scene.collection("things").insert_many(numbered(0..5)).await.unwrap();
    cloud.changes("out", 5).await;
    proxy.set(Network::HalfOpen { to_server: true, to_client: true });
    scene.collection("things").insert_many(numbered(5..10)).await.unwrap();
    // Half of what a request has where nothing is said, and far more than what is said here.
    let retry = |line: &serde_json::Value| field(line, "event").is_some_and(|event| event == "sink_retry");
    let line = host.wait_log(Duration::from_secs(15), "that it is tried again", retry).await;
    assert_eq!(line["code"], "TG1001", "{line}");
    proxy.heal().await;
    proxy.reset();
    cloud.changes("out", 5).await;
    assert_eq!(host.stop().await, Some(0));
}
