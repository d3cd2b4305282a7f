//! Redis that is not there, goes away, hangs, or takes no writes.

use std::time::Duration;

use tidegate_tests::servers::{Redis, RedisOptions};
use tidegate_tests::{Host, Signal, eventually};

use crate::scene::{Flood, PATIENCE, Scene, assert_exactly, not_ready, numbered, wait_not_ready, without_doubles};

async fn scene_with(redis: &Redis) -> Scene {
    let mut scene = Scene::shared().await;
    scene.redis_url = redis.url();
    scene
}

/// Keeps an append-only file, synced at each write: what it has confirmed survives a kill.
async fn lasting_redis() -> Redis {
    Redis::start(RedisOptions { aof: true, ..Default::default() }).await
}

async fn retries(host: &mut Host) -> f64 {
    host.metric("tidegate_sink_retries_total", &[("pipeline", "main"), ("sink", "out")]).await.unwrap_or_default()
}

#[tokio::test]
async fn down_at_the_start() {
    let mut redis = lasting_redis().await;
    redis.stop().await;
    let scene = scene_with(&redis).await;
    let mut host = scene.host(&[scene.plain()]);
    let reason = wait_not_ready(&mut host, "sink out", "TG0401").await;
    assert!(reason.contains(&redis.port().to_string()), "the reason names the server: {reason}");
    let line = host.wait_event("sink_retry").await;
    assert_eq!((&line["code"], &line["sink"], &line["level"]), (&"TG0401".into(), &"out".into(), &"warn".into()));
    // The source does not wait for the sink: what is written now must arrive.
    eventually(PATIENCE, "only the sink is missing", async || {
        let reasons = not_ready(&mut host).await;
        if reasons.len() == 1 { Ok(()) } else { Err(reasons) }
    })
    .await;
    scene.collection("things").insert_many(numbered(0..300)).await.unwrap();
    let tried = retries(&mut host).await;
    assert!(tried >= 1.0);
    eventually(PATIENCE, "it tries again and again", async || retries(&mut host).await > tried).await;
    assert_eq!(host.status().await["pipelines"]["main"]["sinks"][0]["state"], "retrying");

    redis.restart().await;
    host.wait_ready().await;
    scene.wait_last("out", 299).await;
    assert_eq!(host.stop().await, Some(0));
    assert_exactly(&scene.entries("out").await, 300);
}

#[tokio::test]
async fn killed_in_the_middle() {
    let mut redis = lasting_redis().await;
    let scene = scene_with(&redis).await;
    let mut host = scene.ready_host(&[scene.plain()]).await;
    let flood = Flood::start(scene.collection("things"));
    let mut length = 0;
    for _ in 0..2 {
        length = scene.wait_length("out", length + 1000).await;
        redis.kill();
        wait_not_ready(&mut host, "sink out", "TG0401").await;
        assert_eq!(host.get("/health").await.0, 200, "a sink that is down is no reason to start the host again");
        flood.more(500).await;
        redis.restart().await;
        host.wait_ready().await;
    }
    scene.wait_length("out", length + 1000).await;
    let total = flood.stop().await;
    scene.wait_last("out", total - 1).await;
    assert!(retries(&mut host).await >= 2.0);
    assert_eq!(host.stop().await, Some(0));
    let found = scene.entries("out").await;
    let once = without_doubles(&found);
    eprintln!("{total} changes, {} doubles after two kills of Redis", found.len() - once.len());
    assert_exactly(&once, total);
}

#[tokio::test]
async fn frozen_with_its_connections_open() {
    let mut redis = lasting_redis().await;
    let scene = scene_with(&redis).await;
    let sinks = format!(
        r#"{{ out: {{ redis: {{ url: "{}", stream: "{}", timeout: 500ms }} }} }}"#,
        scene.redis_url,
        scene.names.key("out")
    );
    let mut host = scene.ready_host(&[scene.pipeline("main", &scene.source(), "[]", &sinks)]).await;
    scene.collection("things").insert_many(numbered(0..100)).await.unwrap();
    scene.wait_last("out", 99).await;
    redis.signal(Signal::STOP);
    scene.collection("things").insert_many(numbered(100..200)).await.unwrap();
    let reason = wait_not_ready(&mut host, "sink out", "TG0401").await;
    redis.signal(Signal::CONT);
    eprintln!("frozen: {reason}");
    host.wait_ready().await;
    scene.wait_last("out", 199).await;
    assert_eq!(host.stop().await, Some(0));
    // What was on its way when it froze may have been written: it was sent again.
    assert_exactly(&without_doubles(&scene.entries("out").await), 200);
}

#[tokio::test]
async fn full_memory_is_waited_for() {
    let redis = Redis::start(RedisOptions::default()).await;
    let scene = scene_with(&redis).await;
    let mut host = scene.ready_host(&[scene.plain()]).await;
    let mut connection = scene.redis().await;
    let set = |name: &'static str, value: &'static str| {
        let mut connection = connection.clone();
        async move {
            let () = redis::cmd("CONFIG").arg("SET").arg(name).arg(value).query_async(&mut connection).await.unwrap();
        }
    };
    set("maxmemory-policy", "noeviction").await;
    set("maxmemory", "1").await;
    scene.collection("things").insert_many(numbered(0..100)).await.unwrap();
    let reason = wait_not_ready(&mut host, "sink out", "TG0403").await;
    assert!(reason.contains("maxmemory") || reason.contains("memory"), "{reason}");
    set("maxmemory", "0").await;
    scene.wait_last("out", 99).await;
    host.wait_ready().await;
    assert_eq!(host.stop().await, Some(0));
    assert_exactly(&scene.entries("out").await, 100);
    assert!(scene.dead_letters().is_empty(), "memory is not the fault of a change");
    drop(redis::cmd("PING").query_async::<String>(&mut connection).await);
}

#[tokio::test]
async fn d9_down_at_the_end_makes_the_drain_run_out_of_time() {
    let mut redis = lasting_redis().await;
    let scene = scene_with(&redis).await;
    let settings = "log: { level: info, format: json }\nshutdown_timeout: 1s";
    let mut host = scene.host_with(settings, &[scene.plain()], &[]);
    host.wait_ready().await;
    scene.collection("things").insert_many(numbered(0..50)).await.unwrap();
    scene.wait_last("out", 49).await;
    redis.kill();
    scene.collection("things").insert_many(numbered(50..100)).await.unwrap();
    wait_not_ready(&mut host, "sink out", "TG0401").await;
    eventually(PATIENCE, "all are read", async || {
        let read = host.metric("tidegate_events_in_total", &[]).await.unwrap_or_default();
        if read >= 100.0 { Ok(()) } else { Err(read) }
    })
    .await;
    host.signal(Signal::TERM);
    assert_eq!(host.wait_exit(Duration::from_secs(20)).await, Some(1));
    let told = host.stderr();
    assert!(told.contains("TG0702") && told.contains("50 changes that were read are not safe"), "{told}");
    redis.restart().await;
    let mut host = scene.ready_host(&[scene.plain()]).await;
    scene.wait_last("out", 99).await;
    assert_eq!(host.stop().await, Some(0));
    assert_exactly(&without_doubles(&scene.entries("out").await), 100);
}

/// Before Redis turns anything down the sink holds back, by what Redis says of its own memory.
#[tokio::test]
async fn memory_that_is_nearly_full_is_waited_for() {
    let redis = Redis::start(RedisOptions::default()).await;
    let scene = scene_with(&redis).await;
    let mut host = scene.ready_host(&[scene.plain()]).await;
    let mut connection = scene.redis().await;
    // Twenty megabytes without sending them, so that nothing of it is a buffer that is given back.
    let () = redis::cmd("SETRANGE").arg("ballast").arg(20_000_000).arg("x").query_async(&mut connection).await.unwrap();
    let info: String = redis::cmd("INFO").arg("memory").query_async(&mut connection).await.unwrap();
    let used: u64 = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap().trim().parse().unwrap();
    // Room for more entries, but less than the five percent that `pause_at` leaves.
    let limit = used / 97 * 100;
    let () = redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(limit).query_async(&mut connection).await.unwrap();
    scene.collection("things").insert_many(numbered(0..100)).await.unwrap();
    let reason = wait_not_ready(&mut host, "sink out", "TG0403").await;
    assert!(reason.contains("`pause_at`"), "{reason}");
    let () = redis::cmd("DEL").arg("ballast").query_async(&mut connection).await.unwrap();
    scene.wait_last("out", 99).await;
    assert_eq!(host.stop().await, Some(0));
    assert_exactly(&scene.entries("out").await, 100);
}

/// An hour is only more of the same: what waits is bounded in bytes, whatever is written meanwhile.
#[tokio::test]
async fn memory_is_bounded_while_it_is_away() {
    const HELD_BY: i32 = 100_000;
    const COUNT: i32 = 140_000;
    const BATCH: f64 = 262_144.0;
    /// The most that MongoDB answers at once.
    const REPLY: f64 = 16_777_216.0;
    /// Replies in memory at most: the one that is cut into batches, two that were read ahead, and one that waits for room behind them,
    /// which the driver may still hold twice, as the answer and as what it took out of it.
    const REPLIES: f64 = 5.0;
    let mut redis = lasting_redis().await;
    let scene = scene_with(&redis).await;
    let pipeline = scene.plain().replacen("{ source", "{ batch: { max_bytes: 256KiB }, source", 1);
    let mut host = scene.ready_host(&[pipeline]).await;
    scene.collection("things").insert_many(numbered(0..1000)).await.unwrap();
    scene.wait_last("out", 999).await;
    redis.stop().await;
    scene.collection("things").insert_many(numbered(1000..2000)).await.unwrap();
    wait_not_ready(&mut host, "sink out", "TG0401").await;
    let before = host.metric("process_resident_memory_bytes", &[]).await.unwrap();

    // Nearly twice of what may be held, so that all of it is.
    write_large(&scene, 2000..HELD_BY).await;
    let held = wait_held(&mut host).await;
    let in_flight = host.metric("tidegate_inflight_bytes", &[]).await.unwrap();
    assert!((BATCH..BATCH * 8.0).contains(&in_flight), "{in_flight} bytes in flight");
    assert!(held - before < REPLIES * REPLY + BATCH * 16.0, "{} bytes more than before", held - before);

    // From here on nothing may grow at all: 64 MB more are written, and none of them is read.
    write_large(&scene, HELD_BY..COUNT).await;
    let grown = host.metric("process_resident_memory_bytes", &[]).await.unwrap() - held;
    assert!(grown < 2e6, "{grown} bytes more than when the source was held, while 64 MB were written");
    assert_eq!(host.metric("tidegate_inflight_bytes", &[]).await, Some(in_flight));

    redis.restart().await;
    scene.wait_last("out", COUNT - 1).await;
    assert_eq!(host.stop().await, Some(0));
    assert_exactly(&scene.entries("out").await, COUNT);
}

/// Writes documents of 1.6 kB in the change stream.
async fn write_large(scene: &Scene, numbers: std::ops::Range<i32>) {
    for from in numbers.clone().step_by(1000) {
        let documents = numbered(from..(from + 1000).min(numbers.end)).into_iter().map(|mut document| {
            document.insert("more", "x".repeat(1300));
            document
        });
        scene.collection("things").insert_many(documents).await.unwrap();
    }
}

/// Waits until the source reads no further: what it has read, and the memory that it takes, to a megabyte, stay the same for ten answers in
/// a row. Returns that memory.
async fn wait_held(host: &mut Host) -> f64 {
    let (mut last, mut same) = ((-1.0, 0.0), 0);
    eventually(PATIENCE, "the source is held", async || {
        let read = host.metric("tidegate_events_in_total", &[]).await.unwrap_or_default();
        let memory = host.metric("process_resident_memory_bytes", &[]).await.unwrap_or_default();
        let stays = read == last.0 && (memory - last.1).abs() < 1e6;
        same = if stays { same + 1 } else { 0 };
        if !stays {
            last = (read, memory);
        }
        if same >= 10 { Ok(memory) } else { Err((last, same)) }
    })
    .await
}
