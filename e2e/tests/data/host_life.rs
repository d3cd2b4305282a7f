//! A host from start to end: idle, in step with others, and alone in its state directory.

use std::time::Duration;

use mongodb::bson::doc;
use serde_json::Value;
use tidegate_tests::servers::{Mongo, MongoOptions, shared};

use crate::scene::{PATIENCE, Scene, assert_exactly, numbered, numbers};

#[tokio::test]
async fn it_ends_by_itself_once_all_is_delivered() {
    let scene = Scene::shared().await;
    let settings = "log: { level: info, format: json }";
    let mut host = scene.ready_host(&[scene.plain()]).await;
    assert_eq!(host.stop().await, Some(0));
    scene.collection("things").insert_many(numbered(0..3000)).await.unwrap();
    let mut host = scene.host_with(settings, &[scene.plain()], &["--exit-when-idle", "1s"]);
    assert_eq!(host.wait_exit(PATIENCE).await, Some(0));
    assert_exactly(&scene.entries("out").await, 3000);
    let log = host.log();
    let ended = log.iter().find(|line| line["event"] == "pipeline_ended").expect("a line about the end");
    assert_eq!((&ended["read"], &ended["delivered"], &ended["dead_letters"]), (&3000.into(), &3000.into(), &0.into()));
    // All was checkpointed: the next one has nothing to do.
    let mut host = scene.host_with(settings, &[scene.plain()], &["--exit-when-idle", "500ms"]);
    assert_eq!(host.wait_exit(PATIENCE).await, Some(0));
    assert_exactly(&scene.entries("out").await, 3000);
}

#[tokio::test]
async fn it_does_not_end_while_something_is_not_delivered() {
    let mut redis = tidegate_tests::servers::Redis::start(tidegate_tests::servers::RedisOptions::default()).await;
    let mut scene = Scene::shared().await;
    scene.redis_url = redis.url();
    redis.stop().await;
    let settings = "log: { level: info, format: json }";
    let mut host = scene.host_with(settings, &[scene.plain()], &["--exit-when-idle", "1s"]);
    tidegate_tests::eventually(PATIENCE, "the source is open", async || {
        host.status().await["pipelines"]["main"]["source"]["connected"] == true
    })
    .await;
    scene.collection("things").insert_many(numbered(0..10)).await.unwrap();
    tidegate_tests::eventually(PATIENCE, "the changes are read", async || {
        let read = host.metric("tidegate_events_in_total", &[]).await;
        if read == Some(10.0) { Ok(()) } else { Err(read) }
    })
    .await;
    // Each wait is twice the one before, from 100 ms: six tries take much longer than the quiet it was asked for.
    tidegate_tests::eventually(PATIENCE, "six tries", async || {
        let tries = host.log().iter().filter(|line| line["event"] == "sink_retry").count();
        if tries >= 6 || !host.is_running() { Ok(()) } else { Err(tries) }
    })
    .await;
    assert!(host.is_running(), "it ended with ten changes undelivered");
    redis.restart().await;
    assert_eq!(host.wait_exit(PATIENCE).await, Some(0));
    assert_exactly(&scene.entries("out").await, 10);
}

#[tokio::test]
async fn it_does_not_end_while_the_server_is_late() {
    let mongo = Mongo::start(MongoOptions { fail_points: true, ..MongoOptions::default() }).await;
    let scene = Scene::on(mongo.uri(), &shared().await.redis_url).await;
    let mut host = scene.ready_host(&[scene.plain()]).await;
    assert_eq!(host.stop().await, Some(0));
    // More than one reply of the server holds, and the second comes long after the quiet that was asked for.
    scene.collection("things").insert_many(numbered(0..25_000)).await.unwrap();
    let late = doc! {
        "configureFailPoint": "failCommand", "mode": { "times": 1 },
        "data": { "failCommands": ["getMore"], "blockConnection": true, "blockTimeMS": 3000 },
    };
    mongo.client().await.database("admin").run_command(late).await.unwrap();
    let settings = "log: { level: info, format: json }";
    let mut host = scene.host_with(settings, &[scene.plain()], &["--exit-when-idle", "300ms"]);
    assert_eq!(host.wait_exit(PATIENCE).await, Some(0));
    assert_exactly(&scene.entries("out").await, 25_000);
}

#[tokio::test]
async fn a_second_host_is_refused_the_state_directory() {
    let scene = Scene::shared().await;
    let mut first = scene.ready_host(&[scene.plain()]).await;
    let mut second = scene.host(&[scene.plain()]);
    assert_eq!(second.wait_exit(PATIENCE).await, Some(1));
    let log = second.log();
    let line = log.iter().find(|line| line["code"] == "TG0603").unwrap_or_else(|| panic!("{}", second.stderr()));
    let message = line["message"].as_str().unwrap();
    assert!(message.contains(".tidegate") && message.contains("state.dir"), "{message}");
    // The first one does not mind.
    scene.collection("things").insert_many(numbered(0..10)).await.unwrap();
    scene.wait_last("out", 9).await;
    assert_eq!(first.stop().await, Some(0));
    // And with it gone the directory is free, even after a kill.
    let mut third = scene.ready_host(&[scene.plain()]).await;
    third.kill();
    let mut fourth = scene.ready_host(&[scene.plain()]).await;
    assert_eq!(fourth.stop().await, Some(0));
}

#[tokio::test]
async fn an_admin_address_in_use_is_told() {
    let scene = Scene::shared().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = crate::scene::config("log: { format: json }", &[scene.plain()])
        .replace("127.0.0.1:0", &taken.local_addr().unwrap().to_string());
    let mut host = tidegate_tests::Host::start_in(scene.dir.path(), &config);
    assert_eq!(host.wait_exit(PATIENCE).await, Some(1));
    assert!(host.stderr().contains("TG0701"), "{}", host.stderr());
}

#[tokio::test]
async fn two_pipelines_and_two_sinks_have_their_own_pace() {
    let mut slow = tidegate_tests::servers::Redis::start(tidegate_tests::servers::RedisOptions::default()).await;
    let scene = Scene::shared().await;
    let sinks = format!(
        r#"{{ good: {}, away: {{ redis: {{ url: "{}", stream: away }} }} }}"#,
        scene.stream_sink("good", "json"),
        slow.url()
    );
    let both = scene.pipeline("both", &scene.source(), "[]", &sinks);
    let mut host = scene.ready_host(&[scene.plain(), both]).await;
    slow.kill();
    scene.collection("things").insert_many(numbered(0..200)).await.unwrap();
    // The pipeline next door goes on, and so does the sink beside the one that is away, as far as the bounds allow.
    scene.wait_last("out", 199).await;
    scene.wait_last("good", 199).await;
    let status = host.status().await;
    assert_eq!(status["pipelines"]["main"]["state"], "running", "{status}");
    slow.restart().await;
    host.wait_ready().await;
    let mut connection = slow.connection().await;
    tidegate_tests::eventually(PATIENCE, "all is in the second sink", async || {
        let length: usize = redis::cmd("XLEN").arg("away").query_async(&mut connection).await.unwrap();
        if length >= 200 { Ok(()) } else { Err(length) }
    })
    .await;
    assert_eq!(host.stop().await, Some(0));
    let away = crate::scene::without_doubles(&crate::scene::entries(&mut connection, "away").await);
    assert_exactly(&away, 200);
    assert_exactly(&scene.entries("good").await, 200);
    assert_exactly(&scene.entries("out").await, 200);
}

#[tokio::test]
async fn d9_a_second_signal_ends_at_once() {
    let mut redis = tidegate_tests::servers::Redis::start(tidegate_tests::servers::RedisOptions::default()).await;
    let mut scene = Scene::shared().await;
    scene.redis_url = redis.url();
    let settings = "log: { level: info, format: json }\nshutdown_timeout: 50s";
    let mut host = scene.host_with(settings, &[scene.plain()], &[]);
    host.wait_ready().await;
    redis.kill();
    scene.collection("things").insert_many(numbered(0..10)).await.unwrap();
    crate::scene::wait_not_ready(&mut host, "sink out", "TG0401").await;
    host.signal(tidegate_tests::Signal::TERM);
    host.wait_event("draining").await;
    host.signal(tidegate_tests::Signal::TERM);
    assert_eq!(host.wait_exit(Duration::from_secs(20)).await, Some(1));
}

#[tokio::test]
async fn changes_come_in_and_go_out_by_the_standard_streams() {
    let scene = Scene::shared().await;
    let lines: String =
        (0..500).map(|n| format!("{{\"op\":\"insert\",\"ns\":\"d.c\",\"doc\":{{\"_id\":{n},\"n\":{n}}}}}\n")).collect();
    let sinks = format!("{{ out: stdout, stream: {} }}", scene.stream_sink("out", "json"));
    let config = crate::scene::config("log: { format: json }", &[scene.pipeline("main", "stdin", "[]", &sinks)]);
    let options = tidegate_tests::HostOptions {
        dir: Some(scene.dir.path().to_owned()),
        stdin: lines.into_bytes(),
        ..Default::default()
    };
    let mut host = tidegate_tests::Host::start_with(&config, options);
    assert_eq!(host.wait_exit(PATIENCE).await, Some(0));
    let out: Vec<Value> = host.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(out.len(), 500);
    assert_eq!(out[499]["doc"], serde_json::json!({ "_id": { "$numberInt": "499" }, "n": { "$numberInt": "499" } }));
    let expected: Vec<i32> = (0..500).collect();
    assert_eq!(numbers(&scene.entries("out").await), expected);
}
