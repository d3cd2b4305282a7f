//! What each mode makes of changes, on a real server.

use std::time::Duration;

use bson::{Document, doc};
use redis::{AsyncCommands as _, aio::MultiplexedConnection};

use super::{
    RedisSink,
    tests::{buf, config, connection, entries, everywhere, sink, to},
};
use crate::{
    batch::Delivery,
    change::{Change, Operation},
    config::{DocumentFormat, RedisMode, RedisSinkConfig, Span},
    error::Code,
    sink::{Sink as _, Writes, Wrote},
    testing::Server,
};

/// A sink of that mode with the defaults.
pub(super) fn of(server: &Server, mode: RedisMode) -> RedisSinkConfig {
    RedisSinkConfig { mode, stream: None, ..config(server.redis_url()) }
}

pub(super) fn change(operation: Operation, id: i32, document: Option<Document>) -> Change {
    Change {
        operation,
        key: Some(buf(doc! { "_id": id })),
        document: document.map(|mut document| {
            document.insert("_id", id);
            buf(document)
        }),
        ..super::tests::change(usize::try_from(id).unwrap())
    }
}

pub(super) fn insert(id: i32, document: Document) -> Change {
    change(Operation::Insert, id, Some(document))
}

pub(super) fn update(id: i32, before: Option<Document>, document: Document) -> Change {
    Change { before: before.map(buf), ..change(Operation::Update, id, Some(document)) }
}

pub(super) fn delete(id: i32, before: Option<Document>) -> Change {
    Change { before: before.map(buf), ..change(Operation::Delete, id, None) }
}

/// Writes all; returns what was refused.
pub(super) async fn write(sink: &mut RedisSink, changes: &[Change]) -> Vec<(usize, String)> {
    let mut writes = everywhere(changes);
    assert_eq!(sink.write(&mut writes).await.unwrap(), Wrote::All);
    assert!(writes.is_complete());
    writes.refused().iter().map(|refused| (refused.index, refused.reason.clone())).collect()
}

pub(super) async fn get(redis: &mut MultiplexedConnection, key: &str) -> Option<String> {
    redis.get(key).await.unwrap()
}

/// The fields of a hash, by name.
pub(super) async fn hash(redis: &mut MultiplexedConnection, key: &str) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = redis.hgetall(key).await.unwrap();
    fields.sort();
    fields
}

async fn members(redis: &mut MultiplexedConnection, key: &str) -> Vec<String> {
    let mut members: Vec<String> = redis.smembers(key).await.unwrap();
    members.sort();
    members
}

pub(super) fn pairs(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn a_string_is_the_document_and_goes_with_it() {
    let server = Server::redis(&[]);
    let mut redis = connection(&server).await;
    let mut sink =
        sink(&RedisSinkConfig { ttl: Some(Span(Duration::from_secs(100))), ..of(&server, RedisMode::String) });
    sink.open().await.unwrap();
    let changes =
        [insert(1, doc! { "n": 1 }), insert(2, doc! { "n": 1 }), update(1, None, doc! { "n": 2 }), delete(2, None)];
    assert_eq!(write(&mut sink, &changes).await, []);
    assert_eq!(get(&mut redis, "shop:items:1").await.as_deref(), Some(r#"{"n":2,"_id":1}"#));
    assert_eq!(get(&mut redis, "shop:items:2").await, None);
    let ttl: i64 = redis.pttl("shop:items:1").await.unwrap();
    assert!((1..=100_000).contains(&ttl), "{ttl}");
    let bson =
        RedisSinkConfig { format: DocumentFormat::Bson, key: Some("b".into()), ..of(&server, RedisMode::String) };
    write(&mut self::sink(&bson), &changes[..1]).await;
    assert_eq!(redis.get::<_, Vec<u8>>("b").await.unwrap(), changes[0].document.as_ref().unwrap().as_bytes());
}

#[tokio::test]
async fn a_hash_has_flat_fields_and_forgets_what_vanished() {
    let server = Server::redis(&[]);
    let mut redis = connection(&server).await;
    let mut sink = sink(&of(&server, RedisMode::Hash));
    let when = bson::DateTime::from_millis(0);
    let document = doc! {
        "name": "a \"b\"", "n": 5_i64, "when": when, "none": null, "yes": true,
        "at": { "city": "x", "deep": { "er": 1.5 }, "empty": {} }, "list": [1, { "a": 2 }],
    };
    assert_eq!(write(&mut sink, &[insert(1, document)]).await, []);
    let expected = pairs(&[
        ("_id", "1"),
        ("at.city", "x"),
        ("at.deep.er", "1.5"),
        ("at.empty", "{}"),
        ("list", r#"[1,{"a":2}]"#),
        ("n", "5"),
        ("name", "a \"b\""),
        ("none", "null"),
        ("when", "1970-01-01T00:00:00.000Z"),
        ("yes", "true"),
    ]);
    assert_eq!(hash(&mut redis, "shop:items:1").await, expected);
    write(&mut sink, &[update(1, None, doc! { "n": 6 })]).await;
    assert_eq!(hash(&mut redis, "shop:items:1").await, pairs(&[("_id", "1"), ("n", "6")]));
    // More fields than one command of a script takes.
    let wide: Document = (0..5000).map(|n| (format!("f{n}"), n.into())).collect();
    assert_eq!(write(&mut sink, &[insert(2, wide)]).await, []);
    assert_eq!(redis.hlen::<_, usize>("shop:items:2").await.unwrap(), 5001);
    write(&mut sink, &[delete(1, None), delete(2, None)]).await;
    assert_eq!(redis::cmd("DBSIZE").query_async::<usize>(&mut redis).await.unwrap(), 0);
}

#[tokio::test]
async fn a_key_made_of_a_field_moves_with_it() {
    let server = Server::redis(&[]);
    let mut redis = connection(&server).await;
    let config = RedisSinkConfig { key: Some("sku:{sku}".into()), ..of(&server, RedisMode::String) };
    let mut sink = sink(&config);
    let a = doc! { "sku": "A" };
    let changes = [
        insert(1, a.clone()),
        update(1, Some(a.clone()), doc! { "sku": "B" }),
        insert(2, doc! { "sku": "C" }),
        delete(2, Some(doc! { "sku": "C" })),
        insert(3, doc! { "other": 1 }),
        update(1, None, doc! { "sku": "D" }),
        delete(1, None),
    ];
    let refused = write(&mut sink, &changes).await;
    assert_eq!(refused.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [4, 5, 6]);
    assert!(refused[0].1.contains("no field `sku`"), "{refused:?}");
    assert!(refused[1].1.contains("`before: required`"), "{refused:?}");
    let keys: Vec<String> = redis.keys("*").await.unwrap();
    assert_eq!(keys, ["sku:B"]);
}

#[tokio::test]
async fn an_update_without_its_document_is_not_taken_for_a_delete() {
    let server = Server::redis(&[]);
    let mut redis = connection(&server).await;
    let mut sink = sink(&of(&server, RedisMode::String));
    let gone = change(Operation::Update, 1, None);
    let refused = write(&mut sink, &[insert(1, doc! { "n": 1 }), gone.clone()]).await;
    assert!(refused[0].1.contains("full_document"), "{refused:?}");
    sink.shaper.looks_up = true;
    let mut writes = Writes::new(vec![Delivery { change: &gone, destination: None }]);
    sink.write(&mut writes).await.unwrap();
    assert_eq!((writes.ignored(), writes.refused().len()), (1, 0), "its delete follows");
    assert!(get(&mut redis, "shop:items:1").await.is_some());
}

#[tokio::test]
async fn a_set_has_who_fits() {
    let server = Server::redis(&[]);
    let mut redis = connection(&server).await;
    let mut sink = sink(&RedisSinkConfig { key: Some("is:{state}".into()), ..of(&server, RedisMode::Set) });
    let (new, old) = (doc! { "state": "new" }, doc! { "state": "old" });
    let changes = [
        insert(1, new.clone()),
        insert(2, new.clone()),
        insert(3, new.clone()),
        insert(4, new.clone()),
        insert(5, doc! {}),
        update(1, Some(new.clone()), old.clone()),
        delete(2, Some(new.clone())),
        update(3, Some(new.clone()), doc! {}),
        update(5, Some(doc! {}), new.clone()),
    ];
    assert_eq!(write(&mut sink, &changes).await, []);
    assert_eq!(members(&mut redis, "is:new").await, ["4", "5"]);
    assert_eq!(members(&mut redis, "is:old").await, ["1"]);
    let refused = write(&mut sink, &[update(4, None, old.clone())]).await;
    assert!(refused[0].1.contains("`state` is not in its key"), "{refused:?}");
    // With names of the key alone nothing else is needed.
    let mut all = self::sink(&of(&server, RedisMode::Set));
    assert_eq!(
        write(&mut all, &[insert(1, doc! {}), insert(2, doc! {}), update(2, None, doc! {}), delete(1, None)]).await,
        []
    );
    assert_eq!(members(&mut redis, "shop:items").await, ["2"]);
}

#[tokio::test]
async fn a_sorted_set_has_numbers_and_dates_as_scores() {
    let server = Server::redis(&[]);
    let mut redis = connection(&server).await;
    let mut sink = sink(&RedisSinkConfig { score: Some("s".into()), ..of(&server, RedisMode::Zset) });
    let decimal: bson::Decimal128 = "2.5".parse().unwrap();
    let huge: bson::Decimal128 = "1E+6000".parse().unwrap();
    let changes = [
        insert(1, doc! { "s": 3 }),
        insert(2, doc! { "s": 4_i64 }),
        insert(3, doc! { "s": 0.5 }),
        insert(4, doc! { "s": decimal }),
        insert(5, doc! { "s": bson::DateTime::from_millis(1000) }),
        insert(6, doc! { "s": huge }),
        insert(7, doc! { "s": f64::NAN }),
        insert(8, doc! { "s": "7" }),
        insert(9, doc! { "s": f64::NEG_INFINITY }),
        insert(10, doc! { "s": 1 }),
        insert(11, doc! { "s": 1 }),
        update(2, None, doc! { "s": -1 }),
        update(10, None, doc! { "s": null }),
        delete(11, None),
    ];
    assert_eq!(write(&mut sink, &changes).await, []);
    let found: Vec<(String, f64)> = redis.zrange_withscores("shop:items", 0, -1).await.unwrap();
    let expected = [
        ("9", f64::NEG_INFINITY),
        ("2", -1.0),
        ("3", 0.5),
        ("4", 2.5),
        ("1", 3.0),
        ("5", 1000.0),
        ("6", f64::INFINITY),
    ];
    assert_eq!(found, expected.map(|(member, score)| (member.to_owned(), score)));
}

#[tokio::test]
async fn a_list_and_a_channel_get_whole_changes() {
    let server = Server::redis(&[]);
    let mut redis = connection(&server).await;
    let mut list = sink(&RedisSinkConfig { maxlen: Some(2), ..of(&server, RedisMode::List) });
    let mut drop = change(Operation::Drop, 3, None);
    drop.key = None;
    let changes = [insert(1, doc! { "n": 1 }), delete(1, None), drop];
    assert_eq!(write(&mut list, &changes).await, []);
    let found: Vec<String> = redis.lrange("shop:items", 0, -1).await.unwrap();
    let headers = r#""headers":{"schema_version":"v1"}"#;
    let deleted = format!(r#"{{"id":"id-1","op":"delete","ns":"shop.items","key":{{"_id":1}},{headers}}}"#);
    assert_eq!(found, [deleted, format!(r#"{{"id":"id-3","op":"drop","ns":"shop.items",{headers}}}"#)]);

    let client = redis::Client::open(server.redis_url()).unwrap();
    let (mut listener, mut messages) = client.get_async_pubsub().await.unwrap().split();
    listener.psubscribe("*").await.unwrap();
    let mut channel = sink(&RedisSinkConfig { channel: Some("{collection}".into()), ..of(&server, RedisMode::Pubsub) });
    assert_eq!(write(&mut channel, &changes).await, []);
    let mut heard = Vec::new();
    while heard.len() < changes.len() {
        let message = futures::StreamExt::next(&mut messages).await.unwrap();
        assert_eq!(message.get_channel_name(), "items");
        heard.push(message.get_payload::<String>().unwrap());
    }
    let inserted = format!(
        r#"{{"id":"id-1","op":"insert","ns":"shop.items","key":{{"_id":1}},"doc":{{"n":1,"_id":1}},{headers}}}"#
    );
    assert_eq!(heard[0], inserted);
    assert_eq!(heard[1..], found);

    let mut bson =
        sink(&RedisSinkConfig { format: DocumentFormat::Bson, key: Some("b".into()), ..of(&server, RedisMode::List) });
    write(&mut bson, &changes[..1]).await;
    let bytes: Vec<u8> = redis.lpop("b", None).await.unwrap();
    let message = Document::from_reader(&*bytes).unwrap();
    let whole = doc! { "id": "id-1", "op": "insert", "ns": "shop.items", "key": { "_id": 1 }, "doc": { "n": 1, "_id": 1 },
    "headers": { "schema_version": "v1" } };
    assert_eq!(message, whole);
}

#[tokio::test]
async fn streams_are_named_by_fields_split_by_key_and_trimmed_by_age() {
    let server = Server::redis(&[]);
    let mut redis = connection(&server).await;
    let by_field = RedisSinkConfig { stream: Some("{collection}:{state}".into()), ..of(&server, RedisMode::Stream) };
    let changes: Vec<_> = (0..100).map(|id| insert(id, doc! { "state": "new" })).collect();
    assert_eq!(write(&mut sink(&by_field), &changes).await, []);
    assert_eq!(entries(&server, "items:new").await.len(), 100);
    let refused = write(&mut sink(&by_field), &[delete(1, None)]).await;
    assert!(refused[0].1.contains("no field `state`"), "{refused:?}");

    let split = RedisSinkConfig { stream: Some("p".into()), partitions: Some(3), ..of(&server, RedisMode::Stream) };
    let mut drop = change(Operation::Drop, 3, None);
    drop.key = None;
    let mut both = changes.clone();
    both.extend(changes.iter().map(|change| delete(change.document_id().parse().unwrap(), None)));
    both.push(drop);
    assert_eq!(write(&mut sink(&split), &both).await, []);
    let mut total = 0;
    for partition in 0..3 {
        let found = entries(&server, &format!("p:{partition}")).await;
        let count = (found.len() - 1) / 2;
        assert!(count > 10, "{count} of 100 documents in {partition}");
        let ids: Vec<_> = found.iter().map(|fields| fields[0].1.clone()).collect();
        // The deletes stand in the same partition as the inserts, in the same order, and the drop stands in all of them.
        assert_eq!(ids[..count], ids[count..2 * count]);
        assert_eq!(found.last().unwrap()[1].1, b"drop");
        total += count;
    }
    assert_eq!(total, 100);

    let () = redis::cmd("XADD").arg(&["old", "1-1", "id", "x"]).query_async(&mut redis).await.unwrap();
    let config = RedisSinkConfig {
        stream: Some("old".into()),
        max_age: Some(Span(Duration::from_secs(60))),
        ..of(&server, RedisMode::Stream)
    };
    let many: Vec<_> = (0..300).map(|id| insert(id, doc! {})).collect();
    // Only whole nodes of the stream are trimmed: the first must be full.
    write(&mut sink(&RedisSinkConfig { max_age: None, ..config.clone() }), &many).await;
    assert_eq!(entries(&server, "old").await.len(), 301);
    let later = RedisSinkConfig { max_age: Some(Span(Duration::from_millis(1))), ..config.clone() };
    write(&mut sink(&config), &many[..1]).await;
    assert_eq!(entries(&server, "old").await.len(), 302, "what is young stays");
    let end = crate::format::time::now_millis() + 5;
    crate::testing::until("the clock has gone on", || crate::format::time::now_millis() > end);
    write(&mut sink(&later), &many[..1]).await;
    assert!(entries(&server, "old").await.len() < 302);
}

#[tokio::test]
async fn keys_of_another_type_are_left_alone_and_cost_their_changes() {
    let server = Server::redis(&[]);
    let mut redis = connection(&server).await;
    for (mode, config) in [
        (RedisMode::String, of(&server, RedisMode::String)),
        (RedisMode::Hash, of(&server, RedisMode::Hash)),
        (RedisMode::Set, RedisSinkConfig { key: Some("shop:items:{_id}".into()), ..of(&server, RedisMode::Set) }),
        (RedisMode::List, RedisSinkConfig { key: Some("shop:items:{_id}".into()), ..of(&server, RedisMode::List) }),
    ] {
        let () = redis::cmd("FLUSHALL").query_async(&mut redis).await.unwrap();
        let () = redis::cmd("XADD").arg(&["shop:items:3", "*", "a", "b"]).query_async(&mut redis).await.unwrap();
        let changes = [insert(1, doc! {}), insert(3, doc! {}), delete(3, None), insert(4, doc! {})];
        let refused = write(&mut sink(&config), &changes).await;
        assert_eq!(refused.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1, 2], "{mode:?}");
        assert!(refused[0].1.contains("WRONGTYPE `shop:items:3` holds a stream"), "{refused:?}");
        let mut keys: Vec<String> = redis.keys("*").await.unwrap();
        keys.sort();
        assert_eq!(keys, ["shop:items:1", "shop:items:3", "shop:items:4"], "{mode:?}");
    }
}

#[tokio::test]
async fn what_is_old_takes_nothing_back() {
    let server = Server::redis(&[]);
    let mut redis = connection(&server).await;
    for mode in [RedisMode::String, RedisMode::Hash] {
        let () = redis::cmd("FLUSHALL").query_async(&mut redis).await.unwrap();
        write(&mut sink(&of(&server, mode)), &[insert(1, doc! { "n": 2 }), insert(4, doc! { "n": 4 })]).await;
        let mut late = sink(&of(&server, mode)).late();
        let old = [
            insert(1, doc! { "n": 1 }),
            insert(2, doc! { "n": 1 }),
            delete(1, None),
            delete(3, None),
            insert(4, doc! { "n": 4 }),
        ];
        let refused = write(&mut late, &old).await;
        assert_eq!(refused.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 2], "{mode:?} {refused:?}");
        assert!(refused[0].1.contains("--overwrite"), "{refused:?}");
        let keys: usize = redis::cmd("DBSIZE").query_async(&mut redis).await.unwrap();
        assert_eq!(keys, 3);
    }
    let zset = RedisSinkConfig { score: Some("n".into()), key: Some("z".into()), ..of(&server, RedisMode::Zset) };
    write(&mut sink(&zset), &[insert(1, doc! { "n": 2 })]).await;
    let old = [insert(1, doc! { "n": 1 }), insert(2, doc! { "n": 5 }), delete(1, None), insert(1, doc! { "n": 2 })];
    let refused = write(&mut sink(&zset).late(), &old).await;
    assert_eq!(refused.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 2], "{refused:?}");
    let found: Vec<(String, f64)> = redis.zrange_withscores("z", 0, -1).await.unwrap();
    assert_eq!(found, [("1".to_owned(), 2.0), ("2".to_owned(), 5.0)]);
}

#[tokio::test]
async fn changes_of_collections_are_left_out_where_documents_are_held() {
    let server = Server::redis(&[]);
    let mut redis = connection(&server).await;
    for mode in [RedisMode::String, RedisMode::Hash, RedisMode::Set] {
        let mut drop = change(Operation::Drop, 1, None);
        drop.key = None;
        let mut writes = Writes::new(vec![Delivery { change: &drop, destination: None }]);
        sink(&of(&server, mode)).write(&mut writes).await.unwrap();
        assert_eq!((writes.ignored(), writes.refused().len()), (1, 0));
    }
    assert_eq!(redis::cmd("DBSIZE").query_async::<usize>(&mut redis).await.unwrap(), 0);
}

#[tokio::test]
async fn a_server_without_the_json_module_is_told_at_once() {
    let server = Server::redis(&[]);
    let fault = sink(&of(&server, RedisMode::Json)).open().await.unwrap_err();
    assert_eq!((fault.code, fault.is_transient()), (Code::RedisConfiguration, false), "{fault}");
    assert!(fault.message.contains("mode: string"), "{fault}");
}

#[tokio::test]
async fn a_router_names_keys_too() {
    let server = Server::redis(&[]);
    let (changes, there) = ([insert(1, doc! { "n": 1 })], to("there"));
    let mut writes = Writes::new(vec![Delivery { change: &changes[0], destination: Some(&there) }]);
    sink(&of(&server, RedisMode::String)).write(&mut writes).await.unwrap();
    assert!(get(&mut connection(&server).await, "there").await.is_some());
}
