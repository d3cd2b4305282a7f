//! A real primary with a real replica.

use std::time::Duration;

use redis::Value;

use crate::{
    batch::{Outbound, Routed},
    checkpoint::Holder,
    config::{RedisSinkConfig, RedisWaitConfig, SinkConfig, Span},
    error::Code,
    format::lines::read_change,
    position::Position,
    redis::Connector,
    sink::{Keeper as _, Sink as _, Writes, redis::RedisSink},
    testing::{Server, free_port},
};

fn replica_of(primary: &Server, port: u16) -> Server {
    let address = primary.port.to_string();
    Server::redis_at(port, &["--replicaof", "127.0.0.1", &address, "--repl-diskless-sync-delay", "0"])
}

fn config(primary: &Server, wait: RedisWaitConfig) -> RedisSinkConfig {
    let redis = format!("{{ url: \"{}\", stream: out, timeout: 30s }}", primary.redis_url());
    let text = format!("pipelines: {{ p: {{ source: stdin, sinks: {{ out: {{ redis: {redis} }} }} }} }}");
    let mut config = crate::config::parse(&text, "p.yaml", &|_| None).unwrap();
    match config.pipelines["p"].sinks.swap_remove("out") {
        Some(SinkConfig::Redis(redis)) => RedisSinkConfig { wait, ..*redis },
        _ => unreachable!(),
    }
}

fn one_replica(millis: u64) -> RedisWaitConfig {
    RedisWaitConfig { replicas: 1, local: false, timeout: Span(Duration::from_millis(millis)) }
}

/// A batch of one change, at a position.
fn batch(number: u8) -> Outbound {
    let line = format!(r#"{{"id":"c-{number}","op":"insert","ns":"d.c","doc":{{"_id":{number}}}}}"#);
    let mut change = read_change(line.as_bytes(), "in:1").unwrap();
    let position = Some(Position::new(vec![number]));
    change.position.clone_from(&position);
    let changes = vec![Routed { change, route: Default::default(), original: None }];
    Outbound { number: u64::from(number), changes, partition: "all".into(), position }
}

async fn length(server: &Server) -> i64 {
    let mut connection =
        redis::Client::open(server.redis_url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    redis::cmd("XLEN").arg("out").query_async(&mut connection).await.unwrap()
}

#[tokio::test]
async fn nothing_is_confirmed_before_a_replica_has_it() {
    let primary = Server::redis(&["--repl-diskless-sync-delay", "0"]);
    let port = free_port();
    let mut replica = replica_of(&primary, port);
    // Long enough for the first synchronisation.
    let mut sink = RedisSink::new(&config(&primary, one_replica(25_000)), "p", "out");
    let first = batch(1);
    let mut writes = Writes::of(&first, 0);
    sink.write(&mut writes).await.unwrap();
    assert!(writes.is_complete());
    assert_eq!((length(&primary).await, length(&replica).await), (1, 1));

    replica.kill();
    let mut sink = RedisSink::new(&config(&primary, one_replica(100)), "p", "out");
    let second = batch(2);
    let mut writes = Writes::of(&second, 0);
    let fault = sink.write(&mut writes).await.unwrap_err();
    assert_eq!((fault.code, fault.is_transient(), writes.is_complete()), (Code::RedisReplicas, true, false), "{fault}");
    assert!(fault.message.contains("0 of 1 replicas of Redis at 127.0.0.1:"), "{fault}");
    assert_eq!(length(&primary).await, 2, "it is on the primary all the same");

    let replica = replica_of(&primary, port);
    let mut sink = RedisSink::new(&config(&primary, one_replica(25_000)), "p", "out");
    sink.write(&mut writes).await.unwrap();
    assert!(writes.is_complete());
    assert_eq!((length(&primary).await, length(&replica).await), (3, 3), "what is sent again is there twice");
}

#[tokio::test]
async fn with_the_position_beside_it_nothing_is_written_twice() {
    let primary = Server::redis(&["--repl-diskless-sync-delay", "0"]);
    let holder = Holder { id: "h".into(), host: "here".into(), pid: 1 };
    let lease = Duration::from_secs(60);
    let mut sink = RedisSink::new(&config(&primary, one_replica(100)), "p", "out");
    sink.claim(&holder, lease).await.unwrap();
    let first = batch(1);
    let mut writes = Writes::of(&first, 0);
    // The first wait is for what an earlier run may have written, so nothing is written without a replica.
    let fault = sink.write(&mut writes).await.unwrap_err();
    assert_eq!((fault.code, length(&primary).await), (Code::RedisReplicas, 0), "{fault}");

    let port = free_port();
    let mut replica = replica_of(&primary, port);
    let mut sink = RedisSink::new(&config(&primary, one_replica(25_000)), "p", "out");
    sink.claim(&holder, lease).await.unwrap();
    sink.write(&mut writes).await.unwrap();
    assert!(writes.is_complete());
    assert_eq!((length(&primary).await, length(&replica).await), (1, 1));

    let mut sink = RedisSink::new(&config(&primary, one_replica(1_000)), "p", "out");
    sink.claim(&holder, lease).await.unwrap();
    sink.write(&mut Writes::of(&first, 0)).await.unwrap();
    replica.kill();
    let second = batch(2);
    let mut writes = Writes::of(&second, 0);
    for _ in 0..2 {
        let fault = sink.write(&mut writes).await.unwrap_err();
        assert_eq!((fault.code, writes.is_complete()), (Code::RedisReplicas, false), "{fault}");
        assert_eq!(length(&primary).await, 2, "written once, however often it is tried");
    }
    let replica = replica_of(&primary, port);
    crate::testing::until("the replica answers", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    // A host that starts anew finds the position, writes nothing, and yet does not confirm what the replica may lack.
    let mut sink = RedisSink::new(&config(&primary, one_replica(25_000)), "p", "out");
    sink.claim(&holder, lease).await.unwrap();
    sink.write(&mut writes).await.unwrap();
    assert!(writes.is_complete());
    assert_eq!((length(&primary).await, length(&replica).await), (2, 2));
}

#[tokio::test]
async fn a_server_that_cannot_wait_for_its_disk_says_so() {
    let server = Server::redis(&[]);
    let local = RedisWaitConfig { replicas: 0, local: true, timeout: Span(Duration::from_secs(5)) };
    let mut connector = Connector::new(server.redis_url().into(), Duration::from_secs(30)).wait(local);
    let mut connection = connector.connection().await.unwrap();
    let known =
        redis::cmd("COMMAND").arg("INFO").arg("WAITAOF").query_async::<Vec<Value>>(&mut connection).await.unwrap();
    let fault = connector.replicated(&mut connection).await.unwrap_err();
    assert_eq!((fault.code, fault.is_transient()), (Code::RedisConfiguration, false), "{fault}");
    let needs = if known == [Value::Nil] { "needs Redis 7.2" } else { "needs `appendonly yes`" };
    assert!(fault.message.contains(needs), "{fault}");
}
