//! What an operator does to a running host: pause and resume, SIGHUP, a dry run, the checkpoint commands.

use std::time::Duration;

use futures::StreamExt as _;
use mongodb::bson::DateTime;
use tidegate_tests::{Cli, Signal, eventually};

use crate::scene::{PATIENCE, Scene, assert_exactly, config, numbered, numbers};

#[tokio::test]
async fn a_paused_pipeline_reads_nothing_and_goes_on_where_it_stopped() {
    let scene = Scene::shared().await;
    let mut host = scene.ready_host(&[scene.plain()]).await;
    let admin = host.admin_address().await.to_string();
    let file = host.dir().join("tidegate.yaml");
    let file = file.to_str().unwrap();
    scene.collection("things").insert_many(numbered(0..10)).await.unwrap();
    scene.wait_last("out", 9).await;
    let paused = Cli::run(&["pipeline", "pause", file, "main", "--admin", &admin], b"").await;
    assert!(paused.status.success(), "{paused:?}");
    eventually(PATIENCE, "it is paused", async || {
        let state = host.status().await["pipelines"]["main"]["state"].clone();
        if state == "paused" { Ok(()) } else { Err(state) }
    })
    .await;
    scene.collection("things").insert_many(numbered(10..20)).await.unwrap();
    assert_eq!(scene.entries("out").await.len(), 10, "nothing moves while it is paused");
    let resumed = Cli::run(&["pipeline", "resume", file, "main", "--admin", &admin], b"").await;
    assert!(resumed.status.success(), "{resumed:?}");
    scene.wait_last("out", 19).await;
    let unknown = Cli::run(&["pipeline", "pause", file, "other", "--admin", &admin], b"").await;
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("TG0703"), "{unknown:?}");
    assert_eq!(host.stop().await, Some(0));
    assert_exactly(&scene.entries("out").await, 20);
}

#[tokio::test]
async fn sighup_begins_what_changed_again_and_leaves_the_rest_alone() {
    let scene = Scene::shared().await;
    let pipeline = |name: &str, stream: &str| {
        scene.pipeline(name, &scene.source(), "[]", &format!("{{ out: {} }}", scene.stream_sink(stream, "json")))
    };
    let mut host = scene.ready_host(&[pipeline("first", "a"), pipeline("second", "b")]).await;
    let file = host.dir().join("tidegate.yaml");
    let write = |pipelines: &[String]| {
        std::fs::write(&file, config("log: { level: info, format: json }", pipelines)).unwrap();
    };
    scene.collection("things").insert_many(numbered(0..10)).await.unwrap();
    scene.wait_last("a", 9).await;
    scene.wait_last("b", 9).await;
    // A file that cannot be used changes nothing.
    std::fs::write(&file, "pipelines: { first: { nonsense: 1 } }").unwrap();
    host.signal(Signal::HUP);
    host.wait_event("reload_failed").await;
    // The second writes elsewhere now, a third is new.
    write(&[pipeline("first", "a"), pipeline("second", "c"), pipeline("third", "d")]);
    host.signal(Signal::HUP);
    // The second ends first, and what runs is ready until then.
    host.wait_event("pipeline_ended").await;
    eventually(PATIENCE, "all three run", async || {
        let pipelines = host.status().await["pipelines"].clone();
        let running = ["first", "second", "third"].iter().all(|name| pipelines[*name]["state"] == "running");
        if running { Ok(()) } else { Err(pipelines) }
    })
    .await;
    host.wait_ready().await;
    scene.collection("things").insert_many(numbered(10..20)).await.unwrap();
    for (stream, first) in [("a", 0), ("c", 10), ("d", 10)] {
        scene.wait_last(stream, 19).await;
        let entries = scene.entries(stream).await;
        assert_eq!((entries[0].n(), entries.len()), (first, 20 - usize::try_from(first).unwrap()), "{stream}");
    }
    assert_eq!(scene.entries("b").await.len(), 10);
    let ended = host.log().iter().filter(|line| line["event"] == "pipeline_ended").count();
    assert_eq!(ended, 1, "the first went on");
    assert_eq!(host.stop().await, Some(0));
}

#[tokio::test]
async fn a_dry_run_prints_and_writes_nothing() {
    let scene = Scene::shared().await;
    let mut host = scene.host_with("log: { level: info, format: json }", &[scene.plain()], &["--dry-run"]);
    host.wait_ready().await;
    scene.collection("things").insert_many(numbered(0..3)).await.unwrap();
    eventually(PATIENCE, "three lines", async || host.stdout().lines().count() >= 3).await;
    let first: serde_json::Value = serde_json::from_str(host.stdout().lines().next().unwrap()).unwrap();
    assert_eq!((&first["sink"], &first["op"]), (&"out".into(), &"insert".into()), "{first}");
    assert_eq!(host.stop().await, Some(0));
    assert!(scene.entries("out").await.is_empty());
    assert!(!scene.dir.path().join(".tidegate").exists(), "no state is made");
}

#[tokio::test]
async fn a_checkpoint_is_shown_carried_over_and_given_up() {
    let scene = Scene::shared().await;
    let mut host = scene.ready_host(&[scene.plain()]).await;
    let file = host.dir().join("tidegate.yaml");
    let file = file.to_str().unwrap().to_owned();
    scene.collection("things").insert_many(numbered(0..10)).await.unwrap();
    scene.wait_last("out", 9).await;
    let run = async |args: &[&str], input: &[u8]| Cli::run_in(scene.dir.path(), args, input).await;
    let refused = run(&["checkpoint", "reset", &file, "main", "--yes"], b"").await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("TG0603"), "{refused:?}");
    assert_eq!(host.stop().await, Some(0));
    let unasked = run(&["checkpoint", "reset", &file, "main"], b"").await;
    assert_eq!(unasked.status.code(), Some(1), "without a terminal nothing is forgotten unasked");
    let shown = run(&["checkpoint", "show", &file, "main", "--json"], b"").await;
    assert!(shown.status.success() && shown.stdout.starts_with(b"{\"positions\":{\"all\":\""), "{shown:?}");
    let text = run(&["checkpoint", "show", &file, "main"], b"").await;
    assert!(String::from_utf8_lossy(&text.stdout).contains("fence    1"), "{text:?}");
    assert!(run(&["checkpoint", "reset", &file, "main", "--yes"], b"").await.status.success());
    // What happens now is only seen because the position is put back.
    scene.collection("things").insert_many(numbered(10..20)).await.unwrap();
    let set = run(&["checkpoint", "set", &file, "main", "-", "--yes"], &shown.stdout).await;
    assert!(set.status.success(), "{set:?}");
    let mut host = scene.ready_host(&[scene.plain()]).await;
    scene.wait_last("out", 19).await;
    assert_eq!(host.stop().await, Some(0));
    assert_exactly(&scene.entries("out").await, 20);
    // A checkpoint that vanished is told, not passed over.
    std::fs::remove_file(scene.dir.path().join(".tidegate/main.checkpoint.json")).unwrap();
    let mut host = scene.host(&[scene.plain()]);
    assert_eq!(host.wait_exit(Duration::from_secs(20)).await, Some(1));
    assert!(host.stderr().contains("TG0613"), "{}", host.stderr());
}

/// What an operator does at night whose position is gone, or who wants changes once more: without touching the configuration.
#[tokio::test]
async fn a_checkpoint_is_set_to_a_time_or_a_token() {
    let scene = Scene::shared().await;
    let sinks = format!("{{ out: {} }}", scene.stream_sink("out", "json"));
    // The record lies in the Redis of all tests.
    let checkpoint = format!(r#"{{ sink: {{ name: "{}" }} }}"#, scene.names.database());
    let pipelines = [format!("  main: {{ source: {}, sinks: {sinks}, checkpoint: {checkpoint} }}", scene.source())];
    let mut watched = scene.collection("things").watch().await.unwrap();
    let mut host = scene.ready_host(&pipelines).await;
    let file = host.dir().join("tidegate.yaml").to_str().unwrap().to_owned();
    let before = DateTime::now().try_to_rfc3339_string().unwrap();
    scene.collection("things").insert_many(numbered(0..10)).await.unwrap();
    scene.wait_last("out", 9).await;
    assert_eq!(host.stop().await, Some(0));
    let mut token = serde_json::Value::Null;
    for _ in 0..5 {
        token = serde_json::to_value(watched.next().await.unwrap().unwrap().id).unwrap();
    }
    let run = async |args: &[&str]| Cli::run_in(scene.dir.path(), args, b"").await;
    let set = async |more: &[&str]| run(&[&["checkpoint", "set", &file, "main", "--yes"], more].concat()).await;
    for (wrong, code, says) in [
        (&["--time", "yesterday"][..], 2, "2026-01-01T00:00:00Z"),
        (&["--token", "nonsense"], 2, "_id._data"),
        (&["--token", "82", "--time", &before], 2, "cannot be used with"),
        (&["--time", "2100-01-01T00:00:00Z"], 1, "TG0104"),
        (&["--token", "82000000010000000129295A1004"], 1, "TG0310"),
    ] {
        let refused = set(wrong).await;
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!((refused.status.code(), told.contains(says)), (Some(code), true), "{wrong:?}: {told}");
    }
    // Behind the fifth, as a shell prints it; then all of them once more.
    for (given, first) in [(["--token".to_owned(), token.to_string()], 5), (["--time".to_owned(), before], 0)] {
        let count = scene.entries("out").await.len();
        let done = set(&[&given[0], &given[1]]).await;
        assert!(done.status.success(), "{done:?}");
        let mut host = scene.ready_host(&pipelines).await;
        let again = 10 - first;
        eventually(PATIENCE, "they come again", async || {
            let found = scene.entries("out").await.len();
            if found == count + again { Ok(()) } else { Err(found) }
        })
        .await;
        let numbers = numbers(&scene.entries("out").await[count..]);
        assert_eq!(numbers, (first as i32..10).collect::<Vec<_>>());
        assert_eq!(host.stop().await, Some(0));
    }
    // A file of changes knows neither.
    std::fs::write(scene.dir.path().join("changes.jsonl"), "").unwrap();
    let file = scene.dir.path().join("file.yaml");
    let text = format!("pipelines:\n{}", scene.pipeline("main", "{ file: { path: changes.jsonl } }", "[]", &sinks));
    std::fs::write(&file, text).unwrap();
    let refused =
        run(&["checkpoint", "set", file.to_str().unwrap(), "main", "--yes", "--time", "2026-01-01T00:00:00Z"]).await;
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && told.contains("neither tokens nor times"), "{told}");
}
