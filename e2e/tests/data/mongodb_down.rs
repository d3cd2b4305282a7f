//! MongoDB that goes away and comes back.

use tidegate_tests::servers::{Mongo, MongoOptions, shared};

use crate::scene::{Flood, Scene, assert_exactly, wait_not_ready, without_doubles};

#[tokio::test]
async fn d9_a_server_that_dies_and_comes_back_is_followed_without_loss() {
    // Every write is in the journal before it is confirmed, so that a kill takes nothing back.
    let mut mongo = Mongo::start(MongoOptions::default()).await;
    let separator = if mongo.uri().contains('?') { '&' } else { '?' };
    let uri = format!("{}{separator}w=majority&journal=true&serverSelectionTimeoutMS=1000", mongo.uri());
    let scene = Scene::on(&uri, &shared().await.redis_url).await;
    let mut host = scene.ready_host(&[scene.plain()]).await;
    let flood = Flood::start(scene.collection("things"));
    let mut length = 0;
    for kill in [true, false] {
        length = scene.wait_length("out", length + 1000).await;
        if kill {
            mongo.kill(0);
        } else {
            mongo.stop(0).await;
        }
        let reason = wait_not_ready(&mut host, "source", "TG0301").await;
        assert!(reason.contains("127.0.0.1"), "the reason names the server: {reason}");
        assert_eq!(host.status().await["pipelines"]["main"]["state"], "retrying");
        assert_eq!(host.get("/health").await.0, 200);
        mongo.restart(0).await;
        host.wait_ready().await;
        flood.more(500).await;
    }
    let total = flood.stop().await;
    scene.wait_last("out", total - 1).await;
    let retries = host.metric("tidegate_source_retries_total", &[("pipeline", "main")]).await;
    assert!(retries.is_some_and(|retries| retries >= 2.0), "{retries:?}");
    assert_eq!(host.stop().await, Some(0));
    let found = scene.entries("out").await;
    let once = without_doubles(&found);
    assert_exactly(&once, total);
    assert_eq!(found.len(), once.len(), "the host did not stop, so it reads nothing twice");
}

#[tokio::test]
async fn a_new_primary_is_followed() {
    let mongo = Mongo::start(MongoOptions::three_members()).await;
    let separator = if mongo.uri().contains('?') { '&' } else { '?' };
    let uri = format!("{}{separator}w=majority", mongo.uri());
    let scene = Scene::on(&uri, &shared().await.redis_url).await;
    let mut host = scene.ready_host(&[scene.plain()]).await;
    let flood = Flood::start(scene.collection("things"));
    let length = scene.wait_length("out", 500).await;
    let before = mongo.primary().await;
    mongo.step_down().await;
    tidegate_tests::eventually(crate::scene::PATIENCE, "another primary", async || mongo.primary().await != before)
        .await;
    scene.wait_length("out", length + 500).await;
    let total = flood.stop().await;
    scene.wait_last("out", total - 1).await;
    assert_eq!(host.stop().await, Some(0));
    assert_exactly(&without_doubles(&scene.entries("out").await), total);
}
