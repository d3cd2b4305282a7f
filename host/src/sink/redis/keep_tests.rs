//! The position beside the data, on a real server.

use std::time::Duration;

use bson::doc;
use redis::{AsyncCommands as _, aio::MultiplexedConnection};

use super::{
    RedisSink,
    mode_tests::{change, delete, get, hash, insert, of, pairs},
    tests::{connection, sink},
};
use crate::{
    batch::{Outbound, Route, Routed},
    change::{Change, Operation},
    checkpoint::{About, Holder},
    config::{RedisMode, RedisSinkConfig},
    error::Code,
    position::{Position, Positions},
    sink::{Keeper as _, Sink as _, Writes, Wrote},
    testing::Server,
};

/// A batch of one change each position, from position `from` on.
pub(super) fn batch(changes: &[Change], from: u8) -> Outbound {
    let at = |at: usize| Some(Position::new(vec![from + u8::try_from(at).unwrap()]));
    let changes: Vec<Routed> = changes
        .iter()
        .enumerate()
        .map(|(index, change)| Routed {
            change: Change { position: at(index), ..change.clone() },
            route: Route::Everywhere,
            original: None,
        })
        .collect();
    Outbound { number: 1, position: at(changes.len()), changes, partition: "all".into() }
}

pub(super) async fn keeping(config: &RedisSinkConfig) -> RedisSink {
    let mut sink = sink(config);
    let me = Holder { id: "me".into(), host: "h".into(), pid: 1 };
    sink.claim(&me, Duration::from_secs(5)).await.unwrap();
    sink
}

#[tokio::test]
async fn every_mode_keeps_its_position_and_writes_nothing_twice() {
    let server = Server::redis(&[]);
    let mut redis = connection(&server).await;
    let score = Some("n".to_owned());
    for mode in
        [RedisMode::Stream, RedisMode::String, RedisMode::Hash, RedisMode::Set, RedisMode::Zset, RedisMode::List]
    {
        let () = redis::cmd("FLUSHALL").query_async(&mut redis).await.unwrap();
        let config = RedisSinkConfig {
            stream: (mode == RedisMode::Stream).then(|| "{collection}".to_owned()),
            score: score.clone().filter(|_| mode == RedisMode::Zset),
            ..of(&server, mode)
        };
        let changes =
            [insert(1, doc! { "n": 1 }), insert(2, doc! { "n": 2 }), delete(1, None), insert(3, doc! { "n": 3 })];
        let mut first = keeping(&config).await;
        first.begin(&About::new("p", "s", 0, Vec::new()), &Positions::from(Position::new(vec![0]))).await.unwrap();
        let half = batch(&changes[..2], 1);
        let mut writes = Writes::of(&half, 0);
        assert_eq!(first.write(&mut writes).await.unwrap(), Wrote::All);
        assert_eq!(redis.hget::<_, _, String>("tidegate:pos:p:out", "p:all").await.unwrap(), "03", "{mode:?}");
        first.release().await;
        // Another host gets all again, cut differently: it skips what is there, to the change.
        let mut second = keeping(&config).await;
        let whole = batch(&changes, 1);
        let mut writes = Writes::of(&whole, 0);
        assert_eq!(second.write(&mut writes).await.unwrap(), Wrote::All);
        assert_eq!(writes.skipped(), 3, "{mode:?}: at the stored position, or before it");
        let dump = dump(&mut redis).await;
        let expected = match mode {
            RedisMode::Stream => "items=3",
            RedisMode::List => "shop:items=3",
            RedisMode::Set | RedisMode::Zset => "shop:items=3",
            _ => "shop:items:1,shop:items:2,shop:items:3",
        };
        assert_eq!(dump, expected, "{mode:?}");
        // Who lost the pipeline writes nothing more.
        let late = batch(&[insert(9, doc! { "n": 9 })], 20);
        let mut stale = keeping(&config).await;
        keeping(&config).await;
        let fault = stale.write(&mut Writes::of(&late, 0)).await.unwrap_err();
        assert_eq!(fault.code, Code::Fenced, "{mode:?}: {fault}");
    }
}

/// The data in few words: names, and for collections their size.
async fn dump(redis: &mut MultiplexedConnection) -> String {
    let mut keys: Vec<String> = redis.keys("*").await.unwrap();
    keys.retain(|key| !key.starts_with("tidegate:pos:"));
    keys.sort();
    let mut told = Vec::new();
    for key in keys {
        let kind: String = redis::cmd("TYPE").arg(&key).query_async(redis).await.unwrap();
        let command = match &*kind {
            "stream" => "XLEN",
            "list" => "LLEN",
            "set" => "SCARD",
            "zset" => "ZCARD",
            _ => {
                told.push(key);
                continue;
            }
        };
        let size: usize = redis::cmd(command).arg(&key).query_async(redis).await.unwrap();
        told.push(format!("{key}={size}"));
    }
    told.join(",")
}

#[tokio::test]
async fn the_position_does_not_move_over_what_was_refused_before_it_is_buried() {
    let server = Server::redis(&[]);
    let mut redis = connection(&server).await;
    let config = of(&server, RedisMode::Hash);
    let mut sink = keeping(&config).await;
    sink.begin(&About::new("p", "s", 0, Vec::new()), &Positions::from(Position::new(vec![0]))).await.unwrap();
    let () = redis.set("shop:items:2", "text").await.unwrap();
    let batch = batch(&[insert(1, doc! {}), insert(2, doc! {}), change(Operation::Update, 3, None)], 1);
    let mut writes = Writes::of(&batch, 0);
    let at = async || connection(&server).await.hget::<_, _, String>("tidegate:pos:p:out", "p:all").await.unwrap();
    for refused in [1, 2] {
        assert_eq!(sink.write(&mut writes).await.unwrap(), Wrote::Refused);
        assert_eq!((writes.refused().len(), at().await), (refused, "00".to_owned()));
    }
    assert_eq!(sink.write(&mut writes).await.unwrap(), Wrote::All);
    assert_eq!(at().await, "04");
    assert_eq!(hash(&mut redis, "shop:items:1").await, pairs(&[("_id", "1")]));
    assert_eq!(get(&mut redis, "shop:items:2").await.as_deref(), Some("text"));
}

#[tokio::test]
async fn the_record_is_in_the_slot_of_the_data_where_that_is_one() {
    let server = Server::redis(&[]);
    let config = RedisSinkConfig { key: Some("{{shop}}:{_id}".into()), ..of(&server, RedisMode::Hash) };
    keeping(&config).await;
    let keys: Vec<String> = connection(&server).await.keys("*").await.unwrap();
    assert_eq!(keys, ["tidegate:pos:{shop}:p:out"]);
}
