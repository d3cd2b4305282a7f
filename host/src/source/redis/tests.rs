//! Tests on a real server.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use redis::{AsyncCommands as _, Client, aio::MultiplexedConnection};

use super::RedisSource;
use crate::{
    batch::Batch,
    config::{EntryForm, EntryFormat, GroupConfig, OnLostEntries, RedisSourceConfig, Span, StreamStart},
    error::Code,
    position::Positions,
    source::{BatchLimits, Hooks, Read, Source as _},
    testing::Server,
};

const LIMITS: BatchLimits = BatchLimits { max_events: 100, max_bytes: 1 << 20, linger: Duration::from_millis(5) };

pub(super) fn config(url: String, streams: &[&str]) -> RedisSourceConfig {
    RedisSourceConfig {
        tls: Default::default(),
        url: url.into(),
        streams: streams.iter().map(ToString::to_string).collect(),
        discover_every: Span(Duration::from_millis(50)),
        start: StreamStart::Oldest,
        count: 100,
        on_lost_position: OnLostEntries::Stop,
        entries: EntryForm::Fields,
        format: EntryFormat::Json,
        database: "redis".into(),
        collection: None,
        keys: None,
        key: None,
        document: None,
        json_fields: Vec::new(),
        group: None,
        timeout: Span(Duration::from_secs(5)),
    }
}

fn source(config: RedisSourceConfig) -> (RedisSource, Arc<AtomicU32>) {
    let lost = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&lost);
    let hooks = Hooks {
        copied: Arc::default(),
        on_ddl: Arc::new(|_, _| {}),
        on_copy: Arc::new(|_| {}),
        on_lost: Arc::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        }),
        on_caught_up: Arc::new(|| {}),
        on_history: Arc::new(|_| {}),
    };
    (RedisSource::new(config, LIMITS, hooks), lost)
}

async fn connect(server: &Server) -> MultiplexedConnection {
    Client::open(server.redis_url()).unwrap().get_multiplexed_async_connection().await.unwrap()
}

async fn add(redis: &mut MultiplexedConnection, stream: &str, ids: impl IntoIterator<Item = u64>) {
    for id in ids {
        add_entry(redis, stream, id, "n", id.to_string().as_bytes()).await;
    }
}

async fn add_entry(redis: &mut MultiplexedConnection, stream: &str, id: u64, field: &str, value: &[u8]) {
    let mut add = redis::cmd("XADD");
    let () = add.arg(stream).arg(format!("{id}-0")).arg(field).arg(value).query_async::<()>(redis).await.unwrap();
}

async fn make_group(redis: &mut MultiplexedConnection, stream: &str, group: &str, from: &str) {
    let mut make = redis::cmd("XGROUP");
    let () = make.arg("CREATE").arg(stream).arg(group).arg(from).query_async::<()>(redis).await.unwrap();
}

async fn trim(redis: &mut MultiplexedConnection, stream: &str, length: u64) {
    let mut trim = redis::cmd("XTRIM");
    let () = trim.arg(stream).arg("MAXLEN").arg("=").arg(length).query_async::<()>(redis).await.unwrap();
}

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

async fn next(source: &mut RedisSource) -> Batch {
    match tokio::time::timeout(PATIENCE, source.next()).await.expect("a batch in time").unwrap() {
        Read::Batch(batch) => batch,
        Read::End => panic!("streams have no end"),
    }
}

/// Reads so many entries; returns the ids of their changes, and moves the positions.
async fn read(source: &mut RedisSource, at: &mut Positions, count: usize) -> Vec<String> {
    let mut all = Vec::new();
    while all.len() < count {
        let batch = next(source).await;
        all.extend(batch.changes.iter().map(|change| change.id.to_string()));
        if let Some(position) = batch.position {
            assert!(batch.changes.last().is_none_or(|change| change.position.as_ref() < Some(&position)));
            at.set(&batch.partition, position);
        }
    }
    assert_eq!(all.len(), count, "{all:?}");
    all
}

async fn open(source: &mut RedisSource, at: &mut Positions) {
    for (partition, position) in source.open(&at.clone()).await.unwrap().iter() {
        at.set(partition, position.clone());
    }
}

fn ids(stream: &str, ids: impl IntoIterator<Item = u64>) -> Vec<String> {
    ids.into_iter().map(|id| format!("{stream}/{id}-0")).collect()
}

#[tokio::test]
async fn streams_are_read_from_each_position_and_new_ones_are_found() {
    let server = Server::redis(&[]);
    let mut redis = connect(&server).await;
    add(&mut redis, "e:1", 1..=250).await;
    let () = redis.set("e:text", "no stream").await.unwrap();
    let config = config(server.redis_url(), &["e:*", "named"]);
    let (mut source, _) = self::source(config.clone());
    let mut at = Positions::default();
    open(&mut source, &mut at).await;
    assert_eq!(read(&mut source, &mut at, 250).await, ids("e:1", 1..=250));
    add(&mut redis, "e:2", 1..=3).await;
    assert_eq!(read(&mut source, &mut at, 3).await, ids("e:2", 1..=3));
    add(&mut redis, "named", [5]).await;
    assert_eq!(read(&mut source, &mut at, 1).await, ids("named", [5]));
    // Another host goes on where this one was, and finds what is new since.
    add(&mut redis, "e:1", [251]).await;
    add(&mut redis, "e:3", [1]).await;
    let (mut source, lost) = self::source(config);
    open(&mut source, &mut at).await;
    let mut rest = read(&mut source, &mut at, 2).await;
    rest.sort();
    assert_eq!(rest, [ids("e:1", [251]), ids("e:3", [1])].concat());
    assert_eq!(lost.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn from_now_on_leaves_out_what_was_there_but_nothing_of_a_stream_that_comes_later() {
    let server = Server::redis(&[]);
    let mut redis = connect(&server).await;
    add(&mut redis, "s", 1..=5).await;
    let config = RedisSourceConfig { start: StreamStart::Now, ..config(server.redis_url(), &["s", "t"]) };
    let (mut first, _) = self::source(config.clone());
    let mut at = Positions::default();
    open(&mut first, &mut at).await;
    // A host that goes on from the opening positions alone, as after a crash before the first batch.
    add(&mut redis, "s", [6]).await;
    add(&mut redis, "t", [1]).await;
    let (mut second, _) = self::source(config);
    open(&mut second, &mut at).await;
    assert_eq!(read(&mut second, &mut at, 2).await, [ids("s", [6]), ids("t", [1])].concat());
}

#[tokio::test]
async fn what_was_trimmed_before_it_was_read_stops_the_pipeline_or_is_told() {
    let server = Server::redis(&[]);
    let mut redis = connect(&server).await;
    add(&mut redis, "s", 1..=10).await;
    let config = config(server.redis_url(), &["s"]);
    let (mut source, _) = self::source(config.clone());
    let mut at = Positions::default();
    open(&mut source, &mut at).await;
    read(&mut source, &mut at, 10).await;
    drop(source);
    // Exactly what was read is trimmed: nothing is missing.
    add(&mut redis, "s", 11..=20).await;
    trim(&mut redis, "s", 10).await;
    self::source(config.clone()).0.open(&at).await.unwrap();
    // Two more: they are.
    trim(&mut redis, "s", 8).await;
    let fault = self::source(config.clone()).0.open(&at).await.unwrap_err();
    assert_eq!((fault.code, fault.is_transient()), (Code::StreamTrimmed, false), "{fault}");
    assert!(fault.message.contains("2 entries of the stream `s`") && fault.message.contains("up to 10-0"), "{fault}");
    let on = RedisSourceConfig { on_lost_position: OnLostEntries::Oldest, ..config };
    let (mut source, lost) = self::source(on.clone());
    open(&mut source, &mut at).await;
    assert_eq!(lost.load(Ordering::Relaxed), 1);
    assert_eq!(read(&mut source, &mut at, 8).await, ids("s", 13..=20));
    // It is told once.
    let (mut source, lost) = self::source(on);
    open(&mut source, &mut at).await;
    assert_eq!(lost.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn what_is_trimmed_while_the_source_reads_is_told() {
    let server = Server::redis(&[]);
    let mut redis = connect(&server).await;
    add(&mut redis, "s", 1..=3).await;
    let (mut source, lost) = self::source(config(server.redis_url(), &["s"]));
    let mut at = Positions::default();
    open(&mut source, &mut at).await;
    read(&mut source, &mut at, 3).await;
    // At once, so that the source sees the last entry alone.
    let mut both = redis::pipe();
    both.atomic();
    for id in 4..=9 {
        both.cmd("XADD").arg("s").arg("MAXLEN").arg("=").arg(1).arg(format!("{id}-0")).arg("n").arg(id);
    }
    let () = both.query_async(&mut redis).await.unwrap();
    assert_eq!(read(&mut source, &mut at, 1).await, ids("s", [9]));
    let told = async {
        while lost.load(Ordering::Relaxed) == 0 {
            let _ = tokio::time::timeout(Duration::from_millis(50), source.next()).await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("what is missing is told");
    // What is taken out by name is not missed.
    add(&mut redis, "s", 10..=12).await;
    read(&mut source, &mut at, 3).await;
    assert_eq!(lost.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_stream_that_was_made_again_is_read_anew_on_purpose() {
    let server = Server::redis(&[]);
    let mut redis = connect(&server).await;
    add(&mut redis, "s", [5, 6]).await;
    let config = config(server.redis_url(), &["s"]);
    let (mut source, _) = self::source(config.clone());
    let mut at = Positions::default();
    open(&mut source, &mut at).await;
    read(&mut source, &mut at, 2).await;
    let before = at.clone();
    // While it is read, and with the same ids.
    let () = redis.del("s").await.unwrap();
    add(&mut redis, "s", [1, 5]).await;
    let fault = tokio::time::timeout(PATIENCE, source.next()).await.expect("a fault").unwrap_err();
    assert_eq!((fault.code, fault.is_transient()), (Code::StreamRemade, false), "{fault}");
    let on = RedisSourceConfig { on_lost_position: OnLostEntries::Oldest, ..config };
    let (mut source, lost) = self::source(on.clone());
    open(&mut source, &mut at).await;
    assert_eq!(read(&mut source, &mut at, 2).await, ["s/1-0@1", "s/5-0@1"]);
    assert_eq!(lost.load(Ordering::Relaxed), 1);
    assert!(before.get("s") < at.get("s"));
    // Ids that go on need no such care.
    let () = redis.del("s").await.unwrap();
    add(&mut redis, "s", [8]).await;
    assert_eq!(read(&mut source, &mut at, 1).await, ["s/8-0@1"]);
}

#[tokio::test]
async fn what_is_no_entry_of_its_kind_is_unreadable_and_the_rest_goes_on() {
    let server = Server::redis(&[]);
    let mut redis = connect(&server).await;
    add_entry(&mut redis, "s", 1, "_id", b"x").await;
    add(&mut redis, "s", [2]).await;
    let (mut source, _) = self::source(config(server.redis_url(), &["s"]));
    source.open(&Positions::default()).await.unwrap();
    let batch = next(&mut source).await;
    assert_eq!((batch.changes.len(), batch.unreadable.len()), (1, 1));
    let unreadable = &batch.unreadable[0];
    assert_eq!(
        (&*unreadable.id, unreadable.raw.as_str()),
        ("s/1-0", r#"{"stream":"s","id":"1-0","fields":[["_id","x"]]}"#)
    );
    assert!(unreadable.reason.starts_with("the entry 1-0 of the stream `s` is no change: "), "{}", unreadable.reason);
}

#[tokio::test]
async fn a_name_that_is_no_stream_is_told_and_a_lost_server_is_waited_for() {
    let mut server = Server::redis(&[]);
    let mut redis = connect(&server).await;
    let () = redis.set("s", "text").await.unwrap();
    let config = config(server.redis_url(), &["s"]);
    let (mut source, _) = self::source(config);
    let fault = source.open(&Positions::default()).await.unwrap_err();
    assert_eq!((fault.code, fault.is_transient()), (Code::NoStream, false), "{fault}");
    let () = redis.del("s").await.unwrap();
    let at = source.open(&Positions::default()).await.unwrap();
    server.kill();
    let fault = source.next().await.unwrap_err();
    assert_eq!((fault.code, fault.is_transient()), (Code::RedisUnreachable, true), "{fault}");
    let server = Server::redis_at(server.port, &["--requirepass", "secret"]);
    let fault = source.open(&at).await.unwrap_err();
    assert_eq!((fault.code, fault.is_transient()), (Code::RedisDenied, false), "{fault}");
    assert!(fault.message.contains("check user and password"), "{fault}");
    drop(server);
}

#[tokio::test]
async fn a_user_who_may_not_read_is_told_what_is_needed() {
    let server = Server::redis(&[]);
    let mut redis = connect(&server).await;
    add(&mut redis, "app:s", 1..=3).await;
    let rights = |rights: &str| {
        let mut user = redis::cmd("ACL");
        user.arg("SETUSER").arg("bob").arg("reset").arg("on").arg(">pw").arg(rights.split(' ').collect::<Vec<_>>());
        user
    };
    let url = format!("redis://bob:pw@127.0.0.1:{}", server.port);
    for (group, needs, lacks) in [
        (false, "~app:* +xread +xinfo +scan", "+scan"),
        (true, "~app:* +xreadgroup +xack +xautoclaim +xgroup +xinfo +scan", "+xgroup"),
    ] {
        let group = group.then(|| GroupConfig {
            name: "g".into(),
            consumer: "c".into(),
            claim_after: Span(Duration::from_secs(60)),
        });
        let config = RedisSourceConfig { group, ..config(url.clone(), &["app:*"]) };
        let without: String = needs.split(' ').filter(|word| *word != lacks).collect::<Vec<_>>().join(" ");
        let () = rights(&without).query_async(&mut redis).await.unwrap();
        let (mut source, _) = self::source(config.clone());
        let fault = source.open(&Positions::default()).await.unwrap_err();
        assert_eq!((fault.code, fault.is_transient()), (Code::RedisDenied, false), "{fault}");
        assert!(fault.message.contains(&format!("'{}", lacks.trim_start_matches('+'))), "what was refused: {fault}");
        assert!(fault.message.ends_with(&format!("ACL SETUSER NAME {needs}")), "{fault}");
        // What is named is enough.
        let () = rights(needs).query_async(&mut redis).await.unwrap();
        let (mut source, _) = self::source(config);
        let mut at = Positions::default();
        open(&mut source, &mut at).await;
        assert_eq!(read(&mut source, &mut at, 3).await, ids("app:s", 1..=3));
    }
}

#[tokio::test]
async fn entries_of_any_size_and_bytes_arrive() {
    let server = Server::redis(&[]);
    let mut redis = connect(&server).await;
    let blob = |n: usize| vec![0xfe_u8; n];
    for (id, size) in [(1, 10), (2, 3 << 20), (3, 0), (4, 1 << 20), (5, 7)] {
        add_entry(&mut redis, "s\u{0}é", id, "b", &blob(size)).await;
    }
    let (mut source, _) = self::source(config(server.redis_url(), &["s*"]));
    let mut at = Positions::default();
    open(&mut source, &mut at).await;
    assert_eq!(read(&mut source, &mut at, 5).await, ids("s\u{0}é", 1..=5));
}

fn grouped(server: &Server, consumer: &str, claim_after: u64) -> RedisSourceConfig {
    let claim_after = Span(Duration::from_millis(claim_after));
    let group = GroupConfig { name: "g".into(), consumer: consumer.into(), claim_after };
    RedisSourceConfig { group: Some(group), ..config(server.redis_url(), &["s"]) }
}

async fn pending(redis: &mut MultiplexedConnection) -> u64 {
    let (count, ..): (u64, redis::Value, redis::Value, redis::Value) =
        redis::cmd("XPENDING").arg("s").arg("g").query_async(redis).await.unwrap();
    count
}

#[tokio::test]
async fn a_group_acknowledges_what_is_safe_and_gives_again_what_is_not() {
    let server = Server::redis(&[]);
    let mut redis = connect(&server).await;
    let (mut source, _) = self::source(grouped(&server, "a", 60_000));
    assert!(source.open(&Positions::default()).await.unwrap().is_empty());
    add(&mut redis, "s", 1..=2).await;
    let mut first = next(&mut source).await;
    while first.changes.len() < 2 {
        let mut more = next(&mut source).await;
        first.changes.append(&mut more.changes);
        first.receipts.append(&mut more.receipts);
    }
    assert_eq!(pending(&mut redis).await, 2);
    // Opened again in the middle: what is under way does not come twice.
    source.open(&Positions::default()).await.unwrap();
    add(&mut redis, "s", [3]).await;
    let second = next(&mut source).await;
    assert_eq!(second.changes.iter().map(|change| &*change.id).collect::<Vec<_>>(), ["s/3-0"]);
    for receipt in first.receipts {
        receipt.safe();
    }
    let acknowledged = async {
        while pending(&mut redis).await != 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, acknowledged).await.expect("two entries are acknowledged");
    // The pipeline ends without the second batch: the next host of this name gets it, then what is new.
    drop(second.receipts);
    source.settle().await;
    assert_eq!(pending(&mut redis).await, 1);
    add(&mut redis, "s", [4]).await;
    let (mut source, _) = self::source(grouped(&server, "a", 60_000));
    source.open(&Positions::default()).await.unwrap();
    let mut seen = Vec::new();
    let mut receipts = Vec::new();
    while seen.len() < 2 {
        let batch = next(&mut source).await;
        seen.extend(batch.changes.iter().map(|change| change.id.to_string()));
        receipts.extend(batch.receipts);
    }
    assert_eq!(seen, ids("s", 3..=4));
    for receipt in receipts {
        receipt.safe();
    }
    source.settle().await;
    assert_eq!(pending(&mut redis).await, 0);
}

#[tokio::test]
async fn what_a_dead_consumer_left_is_taken_over_but_not_from_ourselves() {
    let server = Server::redis(&[]);
    let mut redis = connect(&server).await;
    add(&mut redis, "s", 1..=2).await;
    let (mut dead, _) = self::source(grouped(&server, "dead", 300));
    dead.open(&Positions::default()).await.unwrap();
    drop(next(&mut dead).await);
    drop(dead);
    let (mut source, _) = self::source(grouped(&server, "b", 300));
    source.open(&Positions::default()).await.unwrap();
    add(&mut redis, "s", [3]).await;
    let mut batches = Vec::new();
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let batch = next(&mut source).await;
        seen.extend(batch.changes.iter().map(|change| change.id.to_string()));
        batches.push(batch);
    }
    seen.sort();
    assert_eq!(seen, ids("s", 1..=3));
    // Held for longer than the time after which entries are taken over.
    let again = tokio::time::timeout(Duration::from_millis(900), source.next()).await;
    assert!(again.is_err(), "{again:?}");
    assert_eq!(pending(&mut redis).await, 3);
    for receipt in batches.into_iter().flat_map(|batch| batch.receipts) {
        receipt.safe();
    }
    source.settle().await;
    assert_eq!(pending(&mut redis).await, 0);
}

#[tokio::test]
async fn a_dry_run_of_a_group_reads_from_where_it_stands_and_changes_nothing() {
    let server = Server::redis(&[]);
    let mut redis = connect(&server).await;
    add(&mut redis, "s:old", 1..=5).await;
    add(&mut redis, "s:new", 1..=2).await;
    make_group(&mut redis, "s:old", "g", "0").await;
    make_group(&mut redis, "s:old", "another", "0").await;
    let mut take = redis::cmd("XREADGROUP");
    take.arg("GROUP").arg("g").arg("c").arg("COUNT").arg(2).arg("STREAMS").arg("s:old").arg(">");
    let () = take.query_async(&mut redis).await.unwrap();
    // As much of it is gone as a group does not mind.
    trim(&mut redis, "s:old", 2).await;
    let groups = async |redis: &mut MultiplexedConnection| {
        let mut all = Vec::new();
        for stream in ["s:old", "s:new"] {
            let told: redis::Value = redis::cmd("XINFO").arg("GROUPS").arg(stream).query_async(redis).await.unwrap();
            all.push(format!("{told:?}"));
        }
        all
    };
    let before = groups(&mut redis).await;
    let group = GroupConfig { name: "g".into(), consumer: "c".into(), claim_after: Span(Duration::from_secs(60)) };
    let config = RedisSourceConfig { group: Some(group), ..config(server.redis_url(), &["s:*", "s:later"]) };
    let (source, _) = self::source(config);
    let (mut source, mut at) = (source.dry(), Positions::default());
    open(&mut source, &mut at).await;
    let mut found = read(&mut source, &mut at, 4).await;
    found.sort();
    assert_eq!(found, [ids("s:new", 1..=2), ids("s:old", 4..=5)].concat());
    // A stream that comes with its group while it is read.
    add(&mut redis, "s:third", 1..=3).await;
    make_group(&mut redis, "s:third", "g", "2").await;
    assert_eq!(read(&mut source, &mut at, 1).await, ids("s:third", 3..=3));
    source.settle().await;
    assert_eq!(groups(&mut redis).await, before);
    assert!(!redis.exists::<_, bool>("s:later").await.unwrap(), "a stream that is not there is not made");
}
