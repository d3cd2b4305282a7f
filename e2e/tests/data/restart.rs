//! The checkpoint: what a stop, a kill and a stop in the middle leave.

use std::collections::HashMap;
use std::path::Path;

use tidegate_tests::Signal;

use crate::scene::{Flood, PATIENCE, Scene, assert_exactly, numbered, numbers, without_doubles};

#[tokio::test]
async fn nothing_is_lost_or_doubled_over_a_clean_stop() {
    let scene = Scene::shared().await;
    let things = scene.collection("things");
    let mut total = 0;
    for round in 0..3 {
        let mut host = scene.ready_host(&[scene.plain()]).await;
        things.insert_many(numbered(total..total + 500)).await.unwrap();
        scene.wait_last("out", total + 499).await;
        assert_eq!(host.stop().await, Some(0), "round {round}");
        things.insert_many(numbered(total + 500..total + 1000)).await.unwrap();
        total += 1000;
    }
    let mut host = scene.ready_host(&[scene.plain()]).await;
    scene.wait_last("out", total - 1).await;
    assert_eq!(host.stop().await, Some(0));
    assert_exactly(&scene.entries("out").await, total);
}

#[tokio::test]
async fn a_stop_right_after_the_start_moves_nothing() {
    let scene = Scene::shared().await;
    // Nothing was ever read: what is stored is the opening position.
    let mut host = scene.ready_host(&[scene.plain()]).await;
    assert_eq!(host.stop().await, Some(0));
    scene.collection("things").insert_many(numbered(0..10)).await.unwrap();
    let mut host = scene.ready_host(&[scene.plain()]).await;
    scene.wait_last("out", 9).await;
    assert_eq!(host.stop().await, Some(0));
    assert_exactly(&scene.entries("out").await, 10);
}

#[tokio::test]
async fn a_kill_in_the_middle_loses_nothing_and_doubles_keep_their_ids() {
    let scene = Scene::shared().await;
    let mut host = scene.ready_host(&[scene.plain()]).await;
    let flood = Flood::start(scene.collection("things"));
    let mut length = 0;
    for _ in 0..3 {
        length = scene.wait_length("out", length + 1500).await;
        host.kill();
        flood.more(500).await;
        host = scene.host(&[scene.plain()]);
    }
    scene.wait_length("out", length + 1000).await;
    let total = flood.stop().await;
    scene.wait_last("out", total - 1).await;
    assert_eq!(host.stop().await, Some(0));

    let found = scene.entries("out").await;
    let once = without_doubles(&found);
    eprintln!("{total} changes, {} doubles after three kills", found.len() - once.len());
    assert_exactly(&once, total);
    // An id belongs to one change: dropping doubles by id drops no document.
    let by_id: HashMap<&str, i32> = once.iter().map(|entry| (entry.id(), entry.n())).collect();
    for double in &found {
        assert_eq!(by_id.get(double.id()), Some(&double.n()));
    }
    // Doubles come in runs: after each kill the stream goes back once and is in order again.
    let steps_back = numbers(&found).windows(2).filter(|pair| pair[1] <= pair[0]).count();
    assert!(steps_back <= 3, "{steps_back} steps back after three kills");
}

#[tokio::test]
async fn a_stop_in_the_middle_of_a_flood_is_clean() {
    for signal in [Signal::TERM, Signal::INT] {
        let scene = Scene::shared().await;
        let mut host = scene.ready_host(&[scene.plain()]).await;
        let flood = Flood::start(scene.collection("things"));
        let mut length = 0;
        for _ in 0..2 {
            length = scene.wait_length("out", length + 1500).await;
            host.signal(signal);
            assert_eq!(host.wait_exit(PATIENCE).await, Some(0), "{signal:?}");
            assert!(has_checkpoint(&scene.dir.path().join(".tidegate")));
            flood.more(500).await;
            host = scene.ready_host(&[scene.plain()]).await;
        }
        scene.wait_length("out", length + 500).await;
        let total = flood.stop().await;
        scene.wait_last("out", total - 1).await;
        assert_eq!(host.stop().await, Some(0));
        assert_exactly(&scene.entries("out").await, total);
    }
}

fn has_checkpoint(state: &Path) -> bool {
    std::fs::read_dir(state)
        .unwrap()
        .flatten()
        .any(|file| file.file_name().to_string_lossy().contains("checkpoint") && file.metadata().unwrap().len() > 0)
}

#[tokio::test]
async fn a_checkpoint_that_cannot_be_read_stops_the_pipeline_and_is_not_thrown_away() {
    let scene = Scene::shared().await;
    let mut host = scene.ready_host(&[scene.plain()]).await;
    scene.collection("things").insert_many(numbered(0..3)).await.unwrap();
    scene.wait_last("out", 2).await;
    let path = host.status().await["pipelines"]["main"]["checkpoint"]["path"].as_str().unwrap().to_owned();
    assert_eq!(host.stop().await, Some(0));
    let path = scene.dir.path().join(path);
    let good = std::fs::read(&path).unwrap();
    std::fs::write(&path, b"{ half").unwrap();
    let mut host = scene.host(&[scene.plain()]);
    assert_eq!(host.wait_exit(PATIENCE).await, Some(1));
    assert!(host.stderr().contains("TG0601"), "{}", host.stderr());
    assert_eq!(std::fs::read(&path).unwrap(), b"{ half", "a checkpoint is never cleared for an error");
    std::fs::write(&path, good).unwrap();
    scene.collection("things").insert_many(numbered(3..6)).await.unwrap();
    let mut host = scene.ready_host(&[scene.plain()]).await;
    scene.wait_last("out", 5).await;
    assert_eq!(host.stop().await, Some(0));
    assert_exactly(&scene.entries("out").await, 6);
}
