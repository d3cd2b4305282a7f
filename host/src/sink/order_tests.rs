//! Positions of several partitions, in sinks that keep them, on real servers.

use std::{sync::Arc, time::Duration};

use bson::{doc, raw::RawDocumentBuf};
use serde_json::json;

use super::{AnySink, Keeper as _, Sink as _, Writes, Wrote};
use crate::{
    batch::{Outbound, Route, Routed},
    change::{Change, Doc, Headers, Namespace, Operation},
    checkpoint::{About, Claim, Holder},
    position::{Position, Positions},
    testing::Server,
};

fn at(byte: u8) -> Position {
    Position::new(vec![byte])
}

fn insert(position: Position) -> Routed {
    let document = |document| Some(Doc::from(RawDocumentBuf::try_from(&document).unwrap()));
    let change = Change {
        id: "1".into(),
        operation: Operation::Insert,
        namespace: Arc::new(Namespace::new("shop", "items")),
        key: document(doc! { "_id": 1 }),
        document: document(doc! { "_id": 1 }),
        before: None,
        update: None,
        cluster_time: None,
        wall_time: None,
        headers: Headers::default(),
        position: Some(position),
    };
    Routed { change, route: Route::Everywhere, original: None }
}

/// A position of the stream may be behind the rename for which ranges of a copy were told of before it: without them, the copy is forgotten.
#[tokio::test]
async fn what_was_passed_before_is_stored_before_what_is_written() {
    let (mongod, _client) = Server::mongod(false).await;
    let redis = Server::redis(&[]);
    for config in [
        json!({ "mongodb": { "uri": mongod.mongodb_uri() } }),
        json!({ "redis": { "url": redis.redis_url(), "stream": "out" } }),
    ] {
        let whole = json!({ "pipelines": { "p": { "source": "stdin", "sinks": { "s": config } } } });
        let mut whole = crate::config::parse(&whole.to_string(), "p.yaml", &|_| None).unwrap();
        let config = whole.pipelines.swap_remove("p").unwrap().sinks.swap_remove("s").unwrap();
        let mut sink = AnySink::new(&config, "p", "s");
        let me = Holder { id: "me".into(), host: "h".into(), pid: 1 };
        assert!(matches!(sink.claim(&me, Duration::from_secs(30)).await.unwrap(), Claim::Taken(_)));
        sink.open().await.unwrap();
        sink.begin(&About::new("p", "s", 0, Vec::new()), &Positions::from(at(1))).await.unwrap();
        for (partition, position, changes) in [
            ("copy shop.items 0", 5, vec![]),
            ("copy shop.items 1", 6, vec![]),
            ("all", 2, vec![insert(at(2))]),
            ("copy shop.items 0", 7, vec![insert(at(7))]),
        ] {
            let (partition, position) = (partition.into(), Some(at(position)));
            let batch = Outbound { number: 1, changes, partition, position };
            assert_eq!(sink.write(&mut Writes::of(&batch, 0)).await.unwrap(), Wrote::All);
        }
        let stored = sink.read().await.unwrap().unwrap().positions;
        let found = ["copy shop.items 0", "copy shop.items 1", "all"].map(|partition| stored.get(partition).cloned());
        assert_eq!(found, [Some(at(7)), Some(at(6)), Some(at(2))], "{config:?}");
    }
}
