//! Copies on a real server.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bson::{Binary, Bson, DateTime, Document, doc, oid::ObjectId, spec::BinarySubtype};
use mongodb::Client;

use super::{Copy, Round, plan};
use crate::{
    position::{Positions, WHOLE},
    source::{
        BatchLimits,
        mongodb::{event::position, faults::Place as Server},
    },
    testing,
};

const LIMITS: BatchLimits = BatchLimits { max_events: 7, max_bytes: 8 << 20, linger: Duration::from_millis(5) };

/// All that is in database `d`, in ranges of about so many documents.
async fn planned(client: &Client, range: u64) -> Positions {
    let collections = plan::collections(client, Some("d"), |_, name| name != "other").await.unwrap();
    assert_eq!(plan::unwatched(&collections), ["d.series"]);
    let mut positions = plan::ranges(client, Round::default(), &collections, false, range).await.unwrap();
    positions.set(WHOLE, position(0, "82"));
    positions
}

async fn resumed(client: &Client, positions: &Positions) -> Copy {
    let server = Server {
        hosts: "here".to_owned(),
        watched: "d".to_owned(),
        patience: Duration::from_secs(5),
        password: None,
        filtered: false,
        images: false,
    };
    Copy::resume(client, &server, positions, false, true, Arc::new(|_| {})).await.unwrap()
}

/// Documents by namespace and `n`, with how often each came, and where that leads.
type Seen = BTreeMap<(String, i32), u32>;

/// Takes so many batches, or all.
async fn take(copy: &mut Copy, positions: &mut Positions, seen: &mut Seen, batches: usize) -> bool {
    for _ in 0..batches {
        let Some(batch) = copy.next(&LIMITS).await.unwrap() else { return true };
        for change in &batch.changes {
            let n = change.document.as_ref().unwrap().as_raw().get_i32("n").unwrap();
            *seen.entry((change.namespace.as_str().to_owned(), n)).or_default() += 1;
            let before = positions.get(&batch.partition).unwrap();
            assert!(before < change.position.as_ref().unwrap(), "positions rise");
        }
        positions.set(&batch.partition, batch.position.unwrap());
    }
    false
}

fn mixed() -> Vec<Bson> {
    let binary = |bytes: &[u8]| Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() });
    let mut ids: Vec<Bson> = (0..40).map(Bson::Int32).collect();
    ids.extend((0..40_i64).map(|n| Bson::Int64(n + (1 << 53))));
    ids.extend((0..40).map(|n| Bson::Double(f64::from(n) + 0.5)));
    ids.extend((0..40).map(|n| Bson::String(format!("id {n}"))));
    ids.extend((0..40_u8).map(|n| ObjectId::from_bytes([n; 12]).into()));
    ids.extend((0..20).map(|n| DateTime::from_millis(n).into()));
    ids.extend((0..20).map(|n| doc! { "a": n }.into()));
    ids.extend([binary(b"a"), binary(b"bc"), Bson::Null, true.into(), false.into(), Bson::MinKey, Bson::MaxKey]);
    ids
}

async fn filled() -> (testing::Server, Client, usize) {
    let (server, client) = testing::Server::mongod(false).await;
    let database = client.database("d");
    let numbered = |ids: Vec<Bson>| ids.into_iter().enumerate().map(|(n, id)| doc! { "_id": id, "n": n as i32 });
    database.collection::<Document>("mixed").insert_many(numbered(mixed())).await.unwrap();
    let plain: Vec<Bson> = (0..300).map(Bson::Int32).collect();
    database.collection::<Document>("plain.dotted").insert_many(numbered(plain)).await.unwrap();
    database.collection::<Document>("other").insert_one(doc! { "n": 1 }).await.unwrap();
    database.create_collection("empty").await.unwrap();
    let series = doc! { "create": "series", "timeseries": { "timeField": "t" } };
    database.run_command(series).await.unwrap();
    database.run_command(doc! { "create": "view", "viewOn": "mixed", "pipeline": [] }).await.unwrap();
    let all = mixed().len() + 300;
    (server, client, all)
}

#[tokio::test]
async fn all_documents_come_once_in_ranges_of_any_kind_of_id() {
    let (_server, client, all) = filled().await;
    let mut positions = planned(&client, 30).await;
    let ranges = positions.iter().filter(|(name, _)| name.starts_with("copy d.mixed ")).count();
    assert!((6..=12).contains(&ranges), "{ranges} ranges");
    let mut seen = Seen::new();
    let mut copy = resumed(&client, &positions).await;
    assert!(take(&mut copy, &mut positions, &mut seen, usize::MAX).await);
    let lacking: Vec<Bson> = mixed()
        .into_iter()
        .enumerate()
        .filter(|(n, _)| !seen.contains_key(&("d.mixed".to_owned(), *n as i32)))
        .map(|(_, id)| id)
        .collect();
    assert_eq!((lacking, seen.len()), (Vec::new(), all));
    assert!(seen.values().all(|times| *times == 1), "{seen:?}");
    assert!(!super::is_unfinished(&positions));
    let progress = copy.counter.now();
    assert!(progress.done && progress.documents == all as u64 && progress.of_documents == all as u64, "{progress:?}");
    assert_eq!(progress.collections.keys().collect::<Vec<_>>(), ["d.empty", "d.mixed", "d.plain.dotted", "d.series"]);
}

#[tokio::test]
async fn a_copy_that_was_stopped_anywhere_goes_on_there() {
    let (_server, client, all) = filled().await;
    let mut positions = planned(&client, 100).await;
    let mut seen = Seen::new();
    let mut stops = 0;
    loop {
        let mut copy = resumed(&client, &positions).await;
        if take(&mut copy, &mut positions, &mut seen, 3).await {
            break;
        }
        stops += 1;
    }
    assert!(stops > 20, "{stops} stops");
    assert_eq!(seen.len(), all);
    assert!(seen.values().all(|times| *times == 1), "{seen:?}");
}

/// Decimal128, a collation and a capped collection: some documents come again, none is left out.
#[tokio::test]
async fn what_has_no_known_order_is_read_again_and_comes_whole() {
    let (_server, client, all) = filled().await;
    let database = client.database("d");
    let decimal = |n: i32| Bson::Decimal128(format!("{n}.25").parse().unwrap());
    let decimals = (0..30).map(|n| doc! { "_id": decimal(n), "n": 1000 + n });
    database.collection::<Document>("mixed").insert_many(decimals).await.unwrap();
    for (name, options) in [
        ("collated", doc! { "collation": { "locale": "de", "strength": 1 } }),
        ("capped", doc! { "capped": true, "size": 1_000_000 }),
    ] {
        let mut command = doc! { "create": name };
        command.extend(options);
        database.run_command(command).await.unwrap();
        let documents = (0..30).map(|n| doc! { "_id": format!("{}ä{}", 30 - n, n), "n": n });
        database.collection::<Document>(name).insert_many(documents).await.unwrap();
    }
    let mut positions = planned(&client, 100).await;
    let mut seen = Seen::new();
    // Each try gets a little further before it is stopped: one range alone is read again and again from its start.
    for batches in [2, 40, 20, 60] {
        let mut copy = resumed(&client, &positions).await;
        take(&mut copy, &mut positions, &mut seen, batches).await;
    }
    let mut copy = resumed(&client, &positions).await;
    assert!(take(&mut copy, &mut positions, &mut seen, usize::MAX).await);
    assert_eq!(seen.len(), all + 90);
    let once = seen.iter().filter(|((name, _), _)| name == "d.plain.dotted").all(|(_, times)| *times == 1);
    assert!(once, "{seen:?}");
}
