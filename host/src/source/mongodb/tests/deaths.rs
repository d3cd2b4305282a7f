//! Streams that die, each made to by a real server.

use std::time::{Duration, Instant, SystemTime};

use bson::{Document, Timestamp, doc};
use mongodb::Client;

use super::{LIMITS, changes, config, decoded, next, refused, source};
use crate::{
    config::{Moment, MongodbSourceConfig, OnLostPosition, StartAt},
    error::Code,
    position::{Position, Positions},
    source::{
        Source as _,
        mongodb::{
            MongodbSource,
            event::{epoch_of, token_of},
        },
    },
    testing::Server,
};

/// An oplog of 1 MiB, which is cut a second after it was written: what the last snapshot of the data does not need.
const TINY_OPLOG: [&str; 4] = ["--oplogSize", "1", "--syncdelay", "1"];

async fn oldest(client: &Client) -> Timestamp {
    super::super::stream::oldest(client).await.unwrap()
}

async fn insert(client: &Client, n: i32) {
    client.database("shop").collection::<Document>("items").insert_one(doc! { "_id": n }).await.unwrap();
}

/// Writes elsewhere until the oplog has forgotten all that is written now.
async fn forget(client: &Client) {
    insert(client, i32::try_from(rand::random::<u32>() >> 2).unwrap() + 1000).await;
    let oplog = client.database("local").collection::<Document>("oplog.rs");
    let newest = oplog.find_one(doc! {}).sort(doc! { "$natural": -1 }).await.unwrap().unwrap();
    let newest = newest.get_timestamp("ts").unwrap();
    let junk = client.database("elsewhere").collection::<Document>("junk");
    let end = Instant::now() + Duration::from_secs(60);
    while oldest(client).await <= newest {
        assert!(Instant::now() < end, "the oplog is not cut");
        junk.insert_one(doc! { "text": "x".repeat(1 << 20) }).await.unwrap();
    }
}

fn keys(changes: &[crate::change::Change]) -> Vec<i32> {
    changes.iter().map(|change| decoded(&change.key).unwrap().get_i32("_id").unwrap()).collect()
}

/// A pipeline's part in a fault: opens the source again where it stopped, after transient ones.
async fn read_on(source: &mut MongodbSource, at: &mut Position, count: usize) -> Vec<crate::change::Change> {
    let mut all = Vec::new();
    let end = Instant::now() + Duration::from_secs(30);
    while all.len() < count {
        assert!(Instant::now() < end, "{all:?}");
        match tokio::time::timeout(Duration::from_secs(30), source.next()).await.expect("an answer") {
            Ok(crate::source::Read::Batch(batch)) => {
                if let Some(position) = batch.position {
                    assert!(position > *at, "a position went back");
                    *at = position;
                }
                all.extend(batch.changes);
            }
            Ok(crate::source::Read::End) => panic!("an end"),
            Err(fault) => {
                assert!(fault.is_transient(), "{fault}");
                // The oplog overtook the cursor: opening the stream again tells what that means.
                assert!(fault.message.contains("136 CappedPositionLost") || fault.message.contains("286 "), "{fault}");
                while let Err(fault) = source.open(&at.clone().into()).await {
                    // It is cut faster than it is opened, on a loaded machine; not for ever, which is a fatal fault.
                    assert!(fault.is_transient(), "{fault}");
                }
            }
        }
    }
    all
}

#[tokio::test]
async fn a_position_the_oplog_lost_stops_or_goes_on_as_chosen() {
    let (server, client) = Server::mongod_of("TIDEGATE_MONGOD", false, &TINY_OPLOG).await;
    let with = |choice| MongodbSourceConfig { on_lost_position: choice, ..config(server.mongodb_uri(), &["items"]) };
    let (mut first, _) = source(with(OnLostPosition::Stop), LIMITS);
    let stored = first.open(&Positions::default()).await.unwrap().whole().unwrap().clone();
    drop(first);
    forget(&client).await;
    // 286 when opening.
    let fault = refused(with(OnLostPosition::Stop), Some(&stored)).await;
    assert_eq!((fault.code, fault.is_transient()), (Code::MongoPositionLost, false), "{fault}");
    assert!(fault.message.contains("286") && fault.message.contains("on_lost_position"), "{fault}");

    insert(&client, 1).await;
    let (mut newest, told) = source(with(OnLostPosition::Newest), LIMITS);
    let start = newest.open(&stored.clone().into()).await.unwrap().whole().unwrap().clone();
    assert!(start > stored && epoch_of(&start) > Some(0));
    let batch = next(&mut newest).await;
    assert_eq!((batch.position, batch.changes.len()), (Some(start), 0), "the new position is to be stored at once");
    insert(&client, 2).await;
    assert_eq!(keys(&changes(&mut newest, 1).await), [2]);
    assert_eq!(*told.lock().unwrap(), ["lost"]);

    let (mut from_oldest, told) = source(with(OnLostPosition::Oldest), LIMITS);
    let start = from_oldest.open(&stored.clone().into()).await.unwrap().whole().unwrap().clone();
    assert!(start > stored && epoch_of(&start) > Some(0));
    let all = changes(&mut from_oldest, 2).await;
    assert_eq!(keys(&all), [1, 2]);
    assert!(all.iter().all(|change| change.position.as_ref() > Some(&stored)));
    assert_eq!(*told.lock().unwrap(), ["lost"]);
    // The epoch stays with the position.
    let (mut again, told) = source(with(OnLostPosition::Stop), LIMITS);
    let position = all[0].position.clone().unwrap();
    again.open(&position.clone().into()).await.unwrap();
    let rest = changes(&mut again, 1).await;
    assert_eq!((keys(&rest), epoch_of(rest[0].position.as_ref().unwrap())), (vec![2], epoch_of(&start)));
    assert!(told.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_stream_that_loses_its_place_while_it_reads_goes_on_as_chosen() {
    let (server, client) = Server::mongod_of("TIDEGATE_MONGOD", false, &TINY_OPLOG).await;
    let limits = crate::source::BatchLimits { max_events: 1, ..LIMITS };
    let with = |choice| MongodbSourceConfig { on_lost_position: choice, ..config(server.mongodb_uri(), &["items"]) };
    let (mut source, told) = source(with(OnLostPosition::Oldest), limits);
    let mut at = source.open(&Positions::default()).await.unwrap().whole().unwrap().clone();
    // More than a reply and what is read ahead hold, while nobody reads: the cursor stands still and is overtaken.
    let items = client.database("shop").collection::<Document>("items");
    for n in 0..6 {
        items.insert_many((0..10).map(|m| doc! { "_id": n * 10 + m, "text": "x".repeat(1 << 20) })).await.unwrap();
    }
    forget(&client).await;
    insert(&client, 100).await;
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        assert!(Instant::now() < end);
        let all = read_on(&mut source, &mut at, 1).await;
        if keys(&all) == [100] {
            break;
        }
    }
    assert_eq!(told.lock().unwrap().join(" "), "lost");
    assert!(epoch_of(&at) > Some(0));
}

#[tokio::test]
async fn the_third_loss_without_a_batch_in_between_stops() {
    let (server, client) = Server::mongod_of("TIDEGATE_MONGOD", false, &TINY_OPLOG).await;
    let choice = OnLostPosition::Newest;
    let config = MongodbSourceConfig { on_lost_position: choice, ..config(server.mongodb_uri(), &["items"]) };
    let (mut source, told) = source(config, LIMITS);
    let stored = source.open(&Positions::default()).await.unwrap();
    forget(&client).await;
    for _ in 0..2 {
        source.open(&stored).await.unwrap();
    }
    let fault = source.open(&stored).await.unwrap_err();
    assert_eq!((fault.code, fault.is_transient()), (Code::MongoLostAgain, false), "{fault}");
    assert_eq!(told.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_stream_begins_at_the_token_or_time_of_the_operator() {
    let (server, client) = Server::mongod_of("TIDEGATE_MONGOD", false, &TINY_OPLOG).await;
    let at = |start| MongodbSourceConfig { start, ..config(server.mongodb_uri(), &["items"]) };
    let (mut first, _) = source(at(StartAt::Now), LIMITS);
    let old = first.open(&Positions::default()).await.unwrap().whole().unwrap().clone();
    let old = token_of(&old).unwrap().to_owned();
    let began = SystemTime::now();
    for n in 0..3 {
        insert(&client, n).await;
    }
    let all = changes(&mut first, 3).await;
    let token = token_of(all[0].position.as_ref().unwrap()).unwrap().to_owned();
    let (mut behind, _) = source(at(StartAt::Token(token)), LIMITS);
    let start = behind.open(&Positions::default()).await.unwrap();
    assert!(start.whole().is_some(), "a position before the first change");
    assert_eq!(keys(&changes(&mut behind, 2).await), [1, 2]);
    // A time begins with its whole second, and what is before it is none of the collection's.
    let (mut since, _) = source(at(StartAt::Time(Moment(began - Duration::from_secs(1)))), LIMITS);
    assert!(since.open(&Positions::default()).await.unwrap().whole().is_some());
    assert_eq!(keys(&changes(&mut since, 3).await), [0, 1, 2]);
    // A checkpoint goes before.
    let (mut on, _) = source(at(StartAt::Token(old.clone())), LIMITS);
    on.open(&all[1].position.clone().into()).await.unwrap();
    assert_eq!(keys(&changes(&mut on, 1).await), [2]);
    forget(&client).await;
    let garbage = ["00", "82000000010000000129295A1004", "8265"].map(|text| StartAt::Token(text.to_owned()));
    for start in
        garbage.into_iter().chain([StartAt::Token(old), StartAt::Time(Moment(began - Duration::from_secs(99)))])
    {
        let fault = refused(at(start.clone()), None).await;
        assert_eq!((fault.code, fault.is_transient()), (Code::MongoStartLost, false), "{start:?}: {fault}");
    }
}

#[tokio::test]
async fn every_kind_of_stream_survives_what_ends_collections() {
    let (server, client) = Server::mongod(false).await;
    let db = client.database("shop");
    let items = db.collection::<Document>("items");
    let deployment = MongodbSourceConfig { database: None, ..config(server.mongodb_uri(), &[]) };
    let several =
        MongodbSourceConfig { exclude: vec!["x*".to_owned()], ..config(server.mongodb_uri(), &["items", "re*"]) };
    let streams = [
        ("collection", config(server.mongodb_uri(), &["items"]), &[1, 2, 4, 6, 7][..]),
        ("database", config(server.mongodb_uri(), &[]), &[1, 2, 3, 4, 5, 6, 7]),
        ("patterns", several, &[1, 2, 3, 4, 5, 6, 7]),
        ("deployment", deployment, &[1, 2, 3, 4, 5, 6, 7]),
    ];
    let mut open = Vec::new();
    for (kind, config, expected) in streams {
        let (mut opened, ddl) = source(config.clone(), LIMITS);
        let start = opened.open(&Positions::default()).await.unwrap();
        open.push((kind, config, start, opened, ddl, expected));
    }
    let rename = async |from: &str, to: &str| {
        let rename =
            doc! { "renameCollection": format!("shop.{from}"), "to": format!("shop.{to}"), "dropTarget": true };
        client.database("admin").run_command(rename).await.unwrap();
    };
    insert(&client, 1).await;
    items.drop().await.unwrap();
    insert(&client, 2).await;
    rename("items", "renamed").await;
    db.collection::<Document>("renamed").insert_one(doc! { "_id": 3 }).await.unwrap();
    insert(&client, 4).await;
    rename("items", "renamed").await;
    db.collection::<Document>("renamed").insert_one(doc! { "_id": 5 }).await.unwrap();
    rename("renamed", "items").await;
    insert(&client, 6).await;
    db.drop().await.unwrap();
    db.drop().await.unwrap();
    insert(&client, 7).await;
    for (kind, config, start, mut opened, ddl, expected) in open {
        let all = changes(&mut opened, expected.len()).await;
        assert_eq!(keys(&all), expected, "{kind}");
        let ddl = ddl.lock().unwrap().join(", ");
        let dropped = if kind == "collection" { "drop shop.items" } else { "dropDatabase shop" };
        assert!(ddl.contains(dropped) && ddl.contains("rename shop.items"), "{kind}: {ddl}");
        assert_eq!(ddl.contains("invalidate"), kind != "deployment", "{kind}: {ddl}");
        // From every position in between, whatever lies right before or behind it.
        for (done, position) in all.iter().map(|change| change.position.clone()).enumerate() {
            let (mut rest, _) = source(config.clone(), LIMITS);
            rest.open(&position.into()).await.unwrap();
            assert_eq!(keys(&changes(&mut rest, expected.len() - done - 1).await), expected[done + 1..], "{kind}");
        }
        let (mut whole, _) = source(config, LIMITS);
        whole.open(&start).await.unwrap();
        assert_eq!(keys(&changes(&mut whole, expected.len()).await), expected, "{kind}");
    }
}

#[tokio::test]
async fn a_lost_position_is_made_good_by_a_copy_when_asked_for() {
    let (server, client) = Server::mongod_of("TIDEGATE_MONGOD", false, &TINY_OPLOG).await;
    let (choice, database) = (OnLostPosition::CopyAgain, Some("shop".to_owned()));
    let config = MongodbSourceConfig { on_lost_position: choice, database, ..config(server.mongodb_uri(), &["items"]) };
    let (mut first, _) = source(config.clone(), LIMITS);
    let stored = first.open(&Positions::default()).await.unwrap();
    drop(first);
    insert(&client, 1).await;
    forget(&client).await;
    let (mut again, told) = source(config.clone(), LIMITS);
    let mut at = again.open(&stored).await.unwrap();
    assert_eq!(*told.lock().unwrap(), ["lost"]);
    assert!(at.whole() > stored.whole(), "behind all there was");
    insert(&client, 2).await;
    let (mut read, mut inserted, mut announced) = (Vec::new(), Vec::new(), Vec::new());
    while inserted.is_empty() {
        let batch = next(&mut again).await;
        if batch.changes.is_empty() {
            announced.push(batch.partition.to_string());
        }
        at.set(&batch.partition, batch.position.unwrap());
        let (copied, changed): (Vec<_>, Vec<_>) =
            batch.changes.into_iter().partition(|change| change.operation == crate::change::Operation::Read);
        read.extend(keys(&copied));
        inserted.extend(keys(&changed));
    }
    assert!(read.contains(&1) && inserted.contains(&2), "{read:?} {inserted:?}");
    // What is stored piece by piece names the stream last: half of it is no plan.
    assert_eq!(announced[..2], ["copy shop.items 0", "all"]);
    // Where it stands now it goes on, without another copy.
    insert(&client, 3).await;
    let (mut later, told) = source(config, LIMITS);
    later.open(&at).await.unwrap();
    assert!(keys(&changes(&mut later, 1).await).contains(&3));
    assert!(told.lock().unwrap().is_empty());
}

/// `tidegate checkpoint set --time` and `--token`.
#[tokio::test]
async fn a_place_that_an_operator_gives_is_a_position_behind_all_others() {
    let (server, client) = Server::mongod_of("TIDEGATE_MONGOD", false, &TINY_OPLOG).await;
    let config = || config(server.mongodb_uri(), &["items"]);
    let (mut first, _) = source(config(), LIMITS);
    let start = first.open(&Positions::default()).await.unwrap();
    let began = SystemTime::now();
    for n in 0..3 {
        insert(&client, n).await;
    }
    let all = changes(&mut first, 3).await;
    let stored: Positions = all[2].position.clone().into();
    let token = token_of(all[0].position.as_ref().unwrap()).unwrap().to_owned();
    for (at, expected) in [
        (StartAt::Token(token.clone()), &[1, 2][..]),
        (StartAt::Time(Moment(began - Duration::from_secs(1))), &[0, 1, 2]),
    ] {
        let given = MongodbSource::positions_at(config(), &at, &stored).await.unwrap();
        assert!(given.whole() > stored.whole(), "{at:?}: behind all that the sinks have");
        let (mut opened, _) = source(config(), LIMITS);
        opened.open(&given).await.unwrap();
        assert_eq!(keys(&changes(&mut opened, expected.len()).await), expected, "{at:?}");
    }
    let to_come = StartAt::Time(Moment(SystemTime::now() + Duration::from_secs(3600)));
    let fault = MongodbSource::positions_at(config(), &to_come, &stored).await.unwrap_err();
    assert_eq!(fault.code, Code::ConfigValue, "{fault}");
    forget(&client).await;
    let old = token_of(start.whole().unwrap()).unwrap().to_owned();
    for at in
        [StartAt::Token(old), StartAt::Token("8265".to_owned()), StartAt::Time(Moment(began - Duration::from_secs(99)))]
    {
        let fault = MongodbSource::positions_at(config(), &at, &stored).await.unwrap_err();
        assert_eq!((fault.code, fault.is_transient()), (Code::MongoStartLost, false), "{at:?}: {fault}");
    }
}

/// A copy that finds nothing leaves the stream, which stands behind the lost position.
#[tokio::test]
async fn a_lost_position_is_made_good_where_there_is_nothing_to_copy() {
    let (server, client) = Server::mongod_of("TIDEGATE_MONGOD", false, &TINY_OPLOG).await;
    let config = MongodbSourceConfig {
        on_lost_position: OnLostPosition::CopyAgain,
        ..config(server.mongodb_uri(), &["none", "later"])
    };
    let (mut first, _) = source(config.clone(), LIMITS);
    let stored = first.open(&Positions::default()).await.unwrap();
    drop(first);
    forget(&client).await;
    let (mut again, told) = source(config, LIMITS);
    let at = again.open(&stored).await.unwrap();
    assert_eq!(*told.lock().unwrap(), ["lost"]);
    let batch = next(&mut again).await;
    assert_eq!((batch.position.as_ref(), batch.changes.len()), (at.whole(), 0), "it is to be stored at once");
    assert!(at.whole() > stored.whole());
    client.database("shop").collection::<Document>("later").insert_one(doc! { "_id": 7 }).await.unwrap();
    assert_eq!(keys(&changes(&mut again, 1).await), [7]);
}
