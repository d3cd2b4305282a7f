//! Messages that come again: hosts that share a subscription and are killed, sinks that are away, and what a pipeline gives up.

use std::time::Duration;

use google_cloud_pubsub::model::DeadLetterPolicy;
use tidegate_tests::servers::{PROJECT, Redis, RedisOptions, message};
use tidegate_tests::{Host, HostOptions, eventually};

use super::{Feed, LOG, NOTHING, in_order, seen};
use crate::scene::{PATIENCE, Scene, config};

/// Changes that each host has read.
async fn read_by_each(hosts: &mut [Host]) -> Vec<f64> {
    let mut read = Vec::new();
    for host in hosts {
        read.push(host.metric("tidegate_events_in_total", &[]).await.unwrap_or_default());
    }
    read
}

async fn wait_read(hosts: &mut [Host], least: f64) {
    eventually(PATIENCE, "messages in the hands of hosts", async || {
        let read: f64 = read_by_each(hosts).await.iter().sum();
        if read >= least { Ok(()) } else { Err(read) }
    })
    .await;
}

/// Until each of them has more than these messages. How many it reads while its sink is away is decided by how it cuts them into batches;
/// the client has all that the service gave to it.
async fn wait_each_reads(hosts: &mut [Host], more_than: &[f64]) {
    for (host, had) in hosts.iter_mut().zip(more_than) {
        wait_read(std::slice::from_mut(host), had + 1.0).await;
    }
}

/// Until the service gives to each of them: it learns of a host's stream some time after the host says that it reads, and whatever is
/// published before goes to those it knows. Returns what each has read.
async fn wait_each_is_known(scene: &Scene, feed: &Feed, hosts: &mut [Host]) -> Vec<f64> {
    let mut published = 0;
    eventually(PATIENCE, "each host has a message", async || {
        // Without a key, which would bind what comes later to the same host.
        feed.publish([message(format!(r#"{{"n":{NOTHING}}}"#), &[])]).await;
        published += 1;
        let read = read_by_each(hosts).await;
        if read.iter().all(|read| *read > 0.0) { Ok(()) } else { Err(read) }
    })
    .await;
    scene.wait_length("out", published).await;
    read_by_each(hosts).await
}

/// Until every message is there, and their last arrivals in order: what comes again behind an older one comes in several answers.
async fn wait_in_order(scene: &Scene, messages: usize, keys: i32) {
    eventually(PATIENCE, "every message, and the last arrivals in order", async || {
        let entries = scene.entries("out").await;
        let seen = seen(&entries).len();
        if seen == messages { in_order(&entries, keys) } else { Err(format!("{seen} messages")) }
    })
    .await;
}

/// So many hosts with a Redis of their own that may be killed: without it, what they read stays in their hands.
async fn sharing(scene: &mut Scene, feed: &Feed, hosts: usize) -> (Redis, Vec<Host>, String) {
    let redis = Redis::start(RedisOptions { aof: true, ..Default::default() }).await;
    scene.redis_url = redis.url();
    let sinks = format!("{{ out: {} }}", scene.stream_sink("out", "json"));
    let pipeline = scene.pipeline("main", &feed.source("ack_deadline: 10s"), "[]", &sinks);
    let config = config(LOG, std::slice::from_ref(&pipeline));
    // Each in a folder of its own, as on machines of their own.
    let mut hosts: Vec<_> = (0..hosts).map(|_| Host::start_with(&config, HostOptions::default())).collect();
    for host in &mut hosts {
        host.wait_ready().await;
    }
    (redis, hosts, config)
}

#[tokio::test]
async fn d8_several_hosts_share_a_subscription_and_a_kill_loses_nothing() {
    let mut scene = Scene::shared().await;
    let feed = Feed::new(&scene).await;
    let (mut redis, mut hosts, _) = sharing(&mut scene, &feed, 3).await;
    let known = wait_each_is_known(&scene, &feed, &mut hosts).await;
    redis.kill();
    feed.publish_numbered(0..300, 30).await;
    wait_each_reads(&mut hosts, &known).await;
    hosts[0].kill();
    redis.restart().await;
    feed.publish_numbered(300..600, 30).await;
    wait_in_order(&scene, 600, 30).await;
    let mut shares = Vec::new();
    for (host, known) in hosts.iter_mut().zip(known).skip(1) {
        shares.push(host.metric("tidegate_events_in_total", &[]).await.unwrap() - known);
        assert_eq!(host.stop().await, Some(0));
    }
    assert!(shares.iter().all(|share| *share > 100.0), "{shares:?}");
    in_order(&scene.entries("out").await, 30).unwrap();
    feed.assert_quiet(Duration::from_secs(1)).await;
    redis.stop().await;
}

#[tokio::test]
async fn what_a_killed_host_had_comes_again() {
    let mut scene = Scene::shared().await;
    let feed = Feed::new(&scene).await;
    let (mut redis, mut hosts, config) = sharing(&mut scene, &feed, 1).await;
    redis.kill();
    feed.publish_numbered(0..200, 10).await;
    wait_read(&mut hosts, 1.0).await;
    hosts[0].kill();
    redis.restart().await;
    assert_eq!(scene.entries("out").await.len(), 0, "the killed one has written none of them");
    let mut host = Host::start_with(&config, HostOptions::default());
    wait_in_order(&scene, 200, 10).await;
    assert_eq!(host.stop().await, Some(0));
    in_order(&scene.entries("out").await, 10).unwrap();
    redis.stop().await;
}

#[tokio::test]
async fn what_comes_ahead_of_a_killed_hosts_messages_is_delivered_again_behind_them() {
    let mut scene = Scene::shared().await;
    let feed = Feed::new(&scene).await;
    let (mut redis, mut hosts, _) = sharing(&mut scene, &feed, 2).await;
    redis.kill();
    // All of one key: one host has them.
    feed.publish_numbered(0..5, 1).await;
    wait_read(&mut hosts, 5.0).await;
    let first = hosts[0].metric("tidegate_events_in_total", &[]).await.unwrap_or_default();
    let mut killed = hosts.remove(usize::from(first == 0.0));
    killed.kill();
    // The other has these when those of the killed one come, behind which the emulator gives these again.
    feed.publish_numbered(5..10, 1).await;
    wait_read(&mut hosts, 5.0).await;
    wait_read(&mut hosts, 10.0).await;
    redis.restart().await;
    wait_in_order(&scene, 10, 1).await;
    assert_eq!(hosts[0].stop().await, Some(0));
    in_order(&scene.entries("out").await, 1).unwrap();
    redis.stop().await;
}

#[tokio::test]
async fn a_sink_that_is_gone_for_longer_than_the_deadline_costs_no_second_delivery() {
    let mut scene = Scene::shared().await;
    let mut redis = Redis::start(RedisOptions { aof: true, ..Default::default() }).await;
    scene.redis_url = redis.url();
    let feed = Feed::unordered(&scene).await;
    let sinks = format!("{{ out: {} }}", scene.stream_sink("out", "json"));
    let mut host = scene.ready_host(&[scene.pipeline("main", &feed.source("ack_deadline: 10s"), "[]", &sinks)]).await;
    feed.publish_numbered(0..10, 2).await;
    scene.wait_length("out", 10).await;
    redis.kill();
    feed.publish_numbered(10..50, 2).await;
    // Twice the deadline, in which another subscriber gets nothing.
    eventually(PATIENCE, "the messages under way", async || {
        host.metric("tidegate_events_in_total", &[]).await == Some(50.0)
    })
    .await;
    feed.assert_quiet(Duration::from_secs(20)).await;
    redis.restart().await;
    scene.wait_length("out", 50).await;
    assert_eq!(host.metric("tidegate_events_in_total", &[]).await, Some(50.0));
    assert_eq!(host.stop().await, Some(0));
    assert_eq!(scene.entries("out").await.len(), 50);
    feed.assert_quiet(Duration::from_secs(1)).await;
    redis.stop().await;
}

#[tokio::test]
async fn what_a_pipeline_gives_up_comes_again() {
    let mut scene = Scene::shared().await;
    let feed = Feed::new(&scene).await;
    let mut redis = Redis::start(RedisOptions::default()).await;
    scene.redis_url = redis.url();
    let sinks = format!("{{ out: {} }}", scene.stream_sink("out", "json"));
    // Where the stream has not ended yet when they are given back, the emulator gives them to it once more, until the deadline.
    let main = format!(
        "  main: {{ source: {}, sinks: {sinks}, retry: {{ attempts: 3, ceiling: 200ms }} }}",
        feed.source("ack_deadline: 10s")
    );
    let other = r#"  other: { source: stdin, sinks: { out: stdout } }"#.to_owned();
    let options = HostOptions { keep_input: true, ..HostOptions::default() };
    let mut host = Host::start_with(&config(LOG, &[main, other]), options);
    host.wait_ready().await;
    redis.kill();
    feed.publish_numbered(0..20, 1).await;
    host.wait_event("pipeline_stopped").await;
    let back = feed.pubsub.drain(&feed.name, Duration::from_secs(25)).await;
    let mut numbers: Vec<String> =
        back.iter().map(|message| String::from_utf8_lossy(&message.data).into_owned()).collect();
    let mut expected: Vec<String> = (0..20).map(|n| format!(r#"{{"n":{n},"key":0}}"#)).collect();
    numbers.sort();
    expected.sort();
    assert_eq!(numbers, expected);
    host.kill();
}

#[tokio::test]
async fn a_message_that_was_delivered_too_often_goes_to_the_dead_letter() {
    let scene = Scene::shared().await;
    let feed = Feed::without(&scene).await;
    let dead = format!("{}-dead", feed.name);
    feed.pubsub.topic(&feed.name).await;
    feed.pubsub.topic(&dead).await;
    let policy = DeadLetterPolicy::new()
        .set_dead_letter_topic(format!("projects/{PROJECT}/topics/{dead}"))
        .set_max_delivery_attempts(20);
    feed.pubsub
        .subscription_with(&feed.name, &feed.name, |subscription| subscription.set_dead_letter_policy(policy))
        .await;
    feed.publish([message(r#"{"n": 1}"#, &[])]).await;
    feed.pubsub.refuse(&feed.name, 3).await;
    let sinks = format!("{{ out: {} }}", scene.stream_sink("out", "json"));
    let mut host = scene.ready_host(&[scene.pipeline("main", &feed.source("max_attempts: 2"), "[]", &sinks)]).await;
    let letters = scene.wait_dead_letters(1).await;
    assert_eq!(host.stop().await, Some(0));
    assert!(letters[0]["reason"].as_str().unwrap().contains("`max_attempts` is 2"), "{letters:?}");
    feed.assert_quiet(Duration::from_secs(1)).await;
}
