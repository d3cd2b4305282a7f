//! That what a refusal names is what is needed, on a real server; and what is not written though it might be.

use bson::doc;

use super::{
    RedisSink,
    keep_tests::batch,
    mode_tests::{delete, insert, of, update},
    tests::{config, connection, ids, sink, to},
};
use crate::{
    batch::Delivery,
    change::Change,
    config::{RedisMode, RedisSinkConfig, Secret, SourceConfig},
    error::{Code, Fault},
    sink::{Keeper as _, Sink as _, Writes, Wrote},
    testing::Server,
};

const MODES: [RedisMode; 7] = [
    RedisMode::Stream,
    RedisMode::Pubsub,
    RedisMode::List,
    RedisMode::String,
    RedisMode::Hash,
    RedisMode::Set,
    RedisMode::Zset,
];

async fn allow(server: &Server, rights: &[&str]) {
    let mut user = redis::cmd("ACL");
    user.arg("SETUSER").arg("bob").arg("reset").arg("on").arg(">pw").arg(rights);
    let () = user.query_async(&mut connection(server).await).await.unwrap();
}

/// Writes as bob; all of it, or why not.
async fn write(config: &RedisSinkConfig, keeps: bool, changes: &[Change]) -> Result<RedisSink, Fault> {
    let mut sink = sink(config);
    let whole = batch(changes, 1);
    let mut writes = Writes::of(&whole, 0);
    if keeps {
        let me = crate::checkpoint::Holder { id: "me".into(), host: "h".into(), pid: 1 };
        sink.claim(&me, std::time::Duration::from_secs(60)).await?;
        sink.begin(
            &crate::checkpoint::About::new("p", "s", 0, Vec::new()),
            &crate::position::Positions::from(crate::position::Position::new(vec![0])),
        )
        .await?;
        sink.renew().await?;
    }
    sink.open().await?;
    assert_eq!(sink.write(&mut writes).await?, Wrote::All);
    assert!(writes.is_complete() && writes.refused().is_empty());
    Ok(sink)
}

#[tokio::test]
async fn what_a_refusal_names_is_needed_and_is_enough() {
    let server = Server::redis(&[]);
    let url: Secret = format!("redis://bob:pw@127.0.0.1:{}", server.port).into();
    let changes = [
        insert(1, doc! { "n": 1, "kind": "a" }),
        update(1, Some(doc! { "_id": 1, "n": 1, "kind": "a" }), doc! { "n": 2, "kind": "b" }),
        delete(1, Some(doc! { "_id": 1, "n": 2, "kind": "b" })),
        insert(2, doc! { "n": 1, "kind": "a" }),
    ];
    for (mode, keeps) in MODES.iter().flat_map(|mode| [(*mode, false), (*mode, true)]) {
        if mode == RedisMode::Pubsub && keeps {
            continue;
        }
        let () = redis::cmd("FLUSHALL").query_async(&mut connection(&server).await).await.unwrap();
        let name = |is: bool| is.then(|| "app:{kind}:x".to_owned());
        let config = RedisSinkConfig {
            url: url.clone(),
            stream: name(mode == RedisMode::Stream),
            channel: name(mode == RedisMode::Pubsub),
            key: name(!matches!(mode, RedisMode::Stream | RedisMode::Pubsub)),
            score: (mode == RedisMode::Zset).then(|| "n".to_owned()),
            maxlen: (mode == RedisMode::List).then_some(100),
            ttl: (mode == RedisMode::Hash).then_some(crate::config::Span(std::time::Duration::from_secs(60))),
            ..of(&server, mode)
        };
        allow(&server, &["+@connection"]).await;
        let fault = write(&config, keeps, &changes).await.map(drop).unwrap_err();
        assert_eq!((fault.code, fault.is_transient()), (Code::RedisDenied, false), "{mode:?} {keeps}: {fault}");
        let named = fault.message.split_once("ACL SETUSER NAME ").expect("it names the rights").1;
        let named = named.split(';').next().unwrap_or_default().to_owned();
        let all: Vec<&str> = named.split(' ').collect();
        allow(&server, &all).await;
        write(&config, keeps, &changes).await.unwrap_or_else(|fault| panic!("{mode:?} {keeps}: {named}: {fault}"));
        // A script may be known to the server already; and a record that cannot be given back costs the next host its time, not a write.
        let of_writes = |right: &&&str| !matches!(**right, "+script|load" | "+hdel");
        for lacks in all.iter().filter(of_writes) {
            let rest: Vec<&str> = all.iter().filter(|right| *right != lacks).copied().collect();
            let () = redis::cmd("FLUSHALL").query_async(&mut connection(&server).await).await.unwrap();
            // Types are asked only of keys that are there.
            let anyone = RedisSinkConfig { url: server.redis_url().into(), ..config.clone() };
            write(&anyone, false, &changes[..1]).await.unwrap();
            allow(&server, &rest).await;
            let fault = match write(&config, keeps, &changes).await {
                Err(fault) => fault,
                Ok(_) => panic!("{mode:?} {keeps}: {lacks} is named, and not needed"),
            };
            assert_eq!(fault.code, Code::RedisDenied, "{mode:?} {keeps} without {lacks}: {fault}");
            assert!(fault.message.contains(&named), "{fault}");
        }
    }
}

#[tokio::test]
async fn a_command_within_a_script_is_named() {
    let server = Server::redis(&[]);
    let url: Secret = format!("redis://bob:pw@127.0.0.1:{}", server.port).into();
    allow(&server, &["~*", "+@connection", "+evalsha", "+script|load", "+type", "+del"]).await;
    let config = RedisSinkConfig { url, ..of(&server, RedisMode::Hash) };
    let fault = write(&config, false, &[insert(1, doc! { "n": 1 })]).await.map(drop).unwrap_err();
    assert_eq!((fault.code, fault.is_transient()), (Code::RedisDenied, false), "{fault}");
    assert!(fault.message.to_lowercase().contains("hset"), "{fault}");
}

/// A source that reads these streams of the server.
fn source(server: &Server, streams: &str) -> SourceConfig {
    source_of(server, &format!("streams: [{streams}]"))
}

fn source_of(server: &Server, what: &str) -> SourceConfig {
    let text = format!(
        "pipelines: {{ p: {{ source: {{ redis: {{ url: \"{}\", {what} }} }}, sinks: {{ out: stdout }} }} }}",
        server.redis_url()
    );
    let mut config = crate::config::parse(&text, "p.yaml", &|_| None).unwrap();
    config.pipelines.swap_remove("p").unwrap().source
}

#[tokio::test]
async fn nothing_is_written_to_a_stream_that_the_source_reads() {
    let (server, other) = (Server::redis(&[]), Server::redis(&[]));
    let config = RedisSinkConfig { stream: Some("{kind}".into()), ..config(server.redis_url()) };
    let changes = [insert(1, doc! { "kind": "in:1" }), insert(2, doc! { "kind": "out" })];
    let routed = to("in:2");
    let all = || {
        let mut writes: Vec<_> = changes.iter().map(|change| Delivery { change, destination: None }).collect();
        writes.push(Delivery { change: &changes[1], destination: Some(&routed) });
        Writes::new(writes)
    };
    let mut sink = self::sink(&config).from_source(&source(&server, "\"in:*\""));
    let mut writes = all();
    assert_eq!(sink.write(&mut writes).await.unwrap(), Wrote::All);
    assert!(writes.is_complete());
    let refused: Vec<usize> = writes.refused().iter().map(|refused| refused.index).collect();
    assert_eq!(refused, [0, 2]);
    assert!(writes.refused()[0].reason.contains("`in:1`, is a stream that this pipeline's own source reads"));
    assert_eq!(ids(&server, "out").await.len(), 1);
    assert!(ids(&server, "in:1").await.is_empty() && ids(&server, "in:2").await.is_empty());
    // Elsewhere the names are others.
    for source in [source(&other, "\"in:*\""), source(&server, "\"other:*\"")] {
        let mut writes = all();
        self::sink(&config).from_source(&source).write(&mut writes).await.unwrap();
        assert!(writes.refused().is_empty());
    }
    assert_eq!(ids(&server, "in:1").await.len(), 2);
}

#[tokio::test]
async fn nothing_is_written_to_a_key_that_the_source_mirrors() {
    let server = Server::redis(&[]);
    let key = Some("{kind}:{_id}".to_owned());
    let changes =
        [insert(1, doc! { "kind": "in" }), insert(2, doc! { "kind": "out" }), insert(3, doc! { "kind": "in" })];
    let config = RedisSinkConfig { key, ..of(&server, RedisMode::Hash) };
    for (keys, expected) in [
        ("patterns: [\"in:*\"]", &[0, 2][..]),
        ("patterns: [\"in:*\"], exclude: [\"in:3\"]", &[0]),
        ("patterns: [\"in:*\"], types: [set]", &[]),
    ] {
        let mut sink = sink(&config).from_source(&source_of(&server, &format!("keys: {{ {keys} }}")));
        let mut writes = Writes::new(changes.iter().map(|change| Delivery { change, destination: None }).collect());
        assert_eq!(sink.write(&mut writes).await.unwrap(), Wrote::All);
        let refused: Vec<usize> = writes.refused().iter().map(|refused| refused.index).collect();
        assert_eq!(refused, expected, "{keys}");
    }
}
