//! Tests on a real server.

use std::{sync::Arc, time::Duration};

use bson::{Document, RawDocumentBuf, doc};
use redis::AsyncCommands as _;

use super::RedisSink;
use crate::{
    batch::{Delivery, Destination},
    change::{Change, Doc, Header, Headers, Namespace, Operation},
    config::{DocumentFormat, RedisMode, RedisSinkConfig, Span},
    error::Code,
    sink::{Sink as _, Writes},
    testing::Server,
};

pub(super) fn config(url: String) -> RedisSinkConfig {
    RedisSinkConfig {
        url: url.into(),
        tls: Default::default(),
        mode: RedisMode::Stream,
        stream: Some("out".into()),
        key: None,
        member: None,
        score: None,
        channel: None,
        format: DocumentFormat::Json,
        ttl: None,
        maxlen: None,
        max_age: None,
        partitions: None,
        latest: None,
        pause_at: 95,
        timeout: Span(Duration::from_secs(5)),
        wait: Default::default(),
    }
}

pub(super) fn sink(config: &RedisSinkConfig) -> RedisSink {
    RedisSink::new(config, "p", "out")
}

pub(super) fn buf(document: Document) -> Doc {
    Doc::from(RawDocumentBuf::try_from(&document).unwrap())
}

pub(super) fn change(n: usize) -> Change {
    let oid = bson::oid::ObjectId::from_bytes([7; 12]);
    Change {
        id: format!("id-{n}").into(),
        operation: Operation::Insert,
        namespace: Arc::new(Namespace::new("shop", "items")),
        key: Some(buf(doc! { "_id": oid })),
        document: Some(buf(doc! { "_id": oid, "n": n as i64, "when": bson::DateTime::from_millis(0) })),
        before: None,
        update: None,
        cluster_time: None,
        wall_time: None,
        headers: [Header { name: "schema_version".into(), value: "v1".into() }].into_iter().collect(),
        position: None,
    }
}

pub(super) fn to(target: &str) -> Destination {
    Destination { sink: None, target: Some(target.into()), ordering_key: None, attributes: Headers::default() }
}

pub(super) fn everywhere(changes: &[Change]) -> Writes<'_> {
    Writes::new(changes.iter().map(|change| Delivery { change, destination: None }).collect())
}

pub(super) async fn connection(server: &Server) -> redis::aio::MultiplexedConnection {
    // The default of half a second is less than a reply of many entries takes on a busy machine.
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(std::time::Duration::from_secs(30)));
    let client = redis::Client::open(server.redis_url()).unwrap();
    client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
}

pub(super) async fn entries(server: &Server, stream: &str) -> Vec<Vec<(String, Vec<u8>)>> {
    type Entries = Vec<(String, Vec<(String, Vec<u8>)>)>;
    let reply: Entries =
        redis::cmd("XRANGE").arg(stream).arg("-").arg("+").query_async(&mut connection(server).await).await.unwrap();
    reply.into_iter().map(|(_, fields)| fields).collect()
}

pub(super) async fn ids(server: &Server, stream: &str) -> Vec<String> {
    let entries = entries(server, stream).await;
    entries.into_iter().map(|fields| String::from_utf8(fields[0].1.clone()).unwrap()).collect()
}

#[tokio::test]
async fn entries_have_the_documented_fields_in_source_order() {
    let server = Server::redis(&[]);
    let mut sink = self::sink(&config(server.redis_url()));
    sink.open().await.unwrap();
    let mut changes: Vec<_> = (0..2500).map(change).collect();
    changes[1].operation = Operation::Delete;
    changes[1].document = None;
    let mut writes = everywhere(&changes);
    sink.write(&mut writes).await.unwrap();
    assert!(writes.is_complete() && writes.refused().is_empty());
    assert_eq!(ids(&server, "out").await, (0..2500).map(|n| format!("id-{n}")).collect::<Vec<_>>());
    let all = entries(&server, "out").await;
    let oid = "07".repeat(12);
    let text = |fields: &[(String, Vec<u8>)]| -> Vec<(String, String)> {
        fields.iter().map(|(name, value)| (name.clone(), String::from_utf8(value.clone()).unwrap())).collect()
    };
    let expected = [
        ("id", "id-0".to_owned()),
        ("op", "insert".to_owned()),
        ("ns", "shop.items".to_owned()),
        ("key", format!(r#"{{"_id":"{oid}"}}"#)),
        ("doc", format!(r#"{{"_id":"{oid}","n":0,"when":"1970-01-01T00:00:00.000Z"}}"#)),
        ("h.schema_version", "v1".to_owned()),
    ];
    assert_eq!(text(&all[0]), expected.map(|(name, value)| (name.to_owned(), value)));
    assert!(all[1].iter().all(|(name, _)| name != "doc"));
}

#[tokio::test]
async fn formats_targets_and_lengths_are_as_configured() {
    let server = Server::redis(&[]);
    let changes: Vec<_> = (0..500).map(change).collect();
    let mut bson = sink(&RedisSinkConfig { format: DocumentFormat::Bson, ..config(server.redis_url()) });
    bson.write(&mut everywhere(&changes[..1])).await.unwrap();
    assert_eq!(entries(&server, "out").await[0][4].1, changes[0].document.as_ref().unwrap().as_bytes());
    let mut extended = sink(&RedisSinkConfig {
        format: DocumentFormat::Extjson,
        stream: Some("ext".into()),
        maxlen: Some(10),
        ..config(server.redis_url())
    });
    extended.write(&mut everywhere(&changes)).await.unwrap();
    let kept = entries(&server, "ext").await.len();
    assert!((10..500).contains(&kept), "{kept}");
    let last = entries(&server, "ext").await.pop().unwrap();
    assert!(String::from_utf8_lossy(&last[4].1).contains(r#""n":{"$numberLong":"499"}"#));
    let destination = to("elsewhere");
    let mut routed = Writes::new(vec![Delivery { change: &changes[0], destination: Some(&destination) }]);
    bson.write(&mut routed).await.unwrap();
    assert_eq!(ids(&server, "elsewhere").await, ["id-0"]);
}

#[tokio::test]
async fn a_stream_of_the_wrong_type_costs_its_entries_alone() {
    let server = Server::redis(&[]);
    let () = connection(&server).await.set("text", "x").await.unwrap();
    let changes: Vec<_> = (0..10).map(change).collect();
    let wrong = to("text");
    let deliveries = changes.iter().enumerate();
    let deliveries =
        deliveries.map(|(n, change)| Delivery { change, destination: (n % 3 == 0).then_some(&wrong) }).collect();
    let mut writes = Writes::new(deliveries);
    sink(&config(server.redis_url())).write(&mut writes).await.unwrap();
    assert!(writes.is_complete());
    assert_eq!(writes.refused().iter().map(|refused| refused.index).collect::<Vec<_>>(), [0, 3, 6, 9]);
    assert!(writes.refused()[0].reason.contains("WRONGTYPE"), "{:?}", writes.refused());
    assert_eq!(ids(&server, "out").await, ["id-1", "id-2", "id-4", "id-5", "id-7", "id-8"]);
}

#[tokio::test]
async fn a_full_server_is_waited_for_and_nothing_is_lost_doubled_or_reordered() {
    let server = Server::redis(&["--maxmemory", "3mb", "--maxmemory-policy", "noeviction"]);
    let changes: Vec<_> = (0..30_000).map(change).collect();
    let mut sink = self::sink(&config(server.redis_url()));
    let mut writes = everywhere(&changes);
    let fault = sink.write(&mut writes).await.unwrap_err();
    assert_eq!((fault.code, fault.is_transient()), (Code::RedisBusy, true), "{fault}");
    let written = ids(&server, "out").await.len();
    assert!(written > 0 && written < changes.len() && !writes.is_complete());
    assert_eq!(writes.pending().count(), changes.len() - written);
    let () =
        redis::cmd("CONFIG").arg(&["SET", "maxmemory", "0"]).query_async(&mut connection(&server).await).await.unwrap();
    sink.write(&mut writes).await.unwrap();
    assert!(writes.is_complete() && writes.refused().is_empty());
    assert_eq!(ids(&server, "out").await, (0..30_000).map(|n| format!("id-{n}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_server_that_comes_back_is_written_to_again() {
    let mut server = Server::redis(&[]);
    let changes = [change(0)];
    let mut sink = self::sink(&config(server.redis_url()));
    sink.open().await.unwrap();
    server.kill();
    let mut writes = everywhere(&changes);
    let fault = sink.write(&mut writes).await.unwrap_err();
    assert_eq!((fault.code, fault.is_transient()), (Code::RedisUnreachable, true), "{fault}");
    let fault = sink.write(&mut writes).await.unwrap_err();
    assert_eq!((fault.code, fault.is_transient()), (Code::RedisUnreachable, true), "{fault}");
    let again = Server::redis_at(server.port, &[]);
    sink.write(&mut writes).await.unwrap();
    assert!(writes.is_complete());
    drop(again);
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let server = Server::redis(&["--requirepass", "right"]);
    for (url, code) in [
        (server.redis_url(), Code::RedisDenied),
        (format!("redis://:s3cret@127.0.0.1:{}", server.port), Code::RedisDenied),
        ("http://bob:s3cret@127.0.0.1".to_owned(), Code::RedisConfiguration),
    ] {
        let fault = sink(&config(url.clone())).open().await.unwrap_err();
        assert_eq!((fault.code, fault.is_transient()), (code, false), "{url}: {fault}");
        assert!(!fault.message.contains("s3cret"), "{fault}");
    }
    let fault = sink(&config("redis://127.0.0.1:1".into())).open().await.unwrap_err();
    assert_eq!((fault.code, fault.is_transient()), (Code::RedisUnreachable, true), "{fault}");
    // A user that may ping but not add.
    let url = format!("redis://:right@127.0.0.1:{}", server.port);
    let mut admin = redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap();
    let user = ["SETUSER", "bob", "on", ">pw", "~*", "+ping", "+multi", "+exec"];
    let () = redis::cmd("ACL").arg(&user).query_async(&mut admin).await.unwrap();
    let mut sink = self::sink(&config(format!("redis://bob:pw@127.0.0.1:{}", server.port)));
    sink.open().await.unwrap();
    let fault = sink.write(&mut everywhere(&[change(0)])).await.unwrap_err();
    assert_eq!((fault.code, fault.is_transient()), (Code::RedisDenied, false), "{fault}");
    assert!(fault.message.contains("; refused was `XADD out`"), "{fault}");
}
