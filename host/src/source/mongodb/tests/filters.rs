//! What filters do to the place of a stream: those that spoil it, and those that no longer let its event through.

use std::time::{Duration, Instant};

use bson::{Document, doc};
use serde_json::json;

use super::{LIMITS, changes, config, decoded, source};
use crate::{
    change::Change,
    config::{MongodbSourceConfig, OnLostPosition, WatchedOperation},
    error::{Code, Fault},
    position::Positions,
    source::{Read, Source as _, mongodb::MongodbSource},
    testing::Server,
};

/// What ends a stream.
async fn end_of(source: &mut MongodbSource) -> Fault {
    loop {
        match tokio::time::timeout(Duration::from_secs(30), source.next()).await.expect("an answer within 30 s") {
            Ok(Read::Batch(batch)) => assert!(batch.changes.is_empty(), "{batch:?}"),
            Ok(Read::End) => panic!("an end"),
            Err(fault) => return fault,
        }
    }
}

#[tokio::test]
async fn a_filter_that_spoils_the_token_is_told_and_is_no_lost_position() {
    let (server, client) = Server::mongod(false).await;
    let items = client.database("shop").collection::<Document>("items");
    // 280, where no look at the configuration alone tells.
    for stage in [
        json!({ "$replaceRoot": { "newRoot": "$fullDocument" } }),
        json!({ "$replaceWith": { "$mergeObjects": ["$$ROOT", "$fullDocument"] } }),
        json!({ "$replaceRoot": { "newRoot": { "operationType": "$operationType" } } }),
        json!({ "$redact": { "$cond": [{ "$gt": ["$_data", null] }, "$$PRUNE", "$$DESCEND"] } }),
    ] {
        let choice = OnLostPosition::Newest;
        let config = MongodbSourceConfig {
            pipeline: vec![stage.clone()],
            on_lost_position: choice,
            ..config(server.mongodb_uri(), &[])
        };
        let (mut spoiled, told) = source(config, LIMITS);
        let start = spoiled.open(&Positions::default()).await.unwrap();
        items.insert_one(doc! { "n": 1 }).await.unwrap();
        let fault = end_of(&mut spoiled).await;
        assert_eq!((fault.code, fault.is_transient()), (Code::MongoConfiguration, false), "{stage}: {fault}");
        assert!(fault.message.contains("`pipeline`") && fault.message.contains("`_id`"), "{fault}");
        assert!(told.lock().unwrap().is_empty(), "{told:?}");
        // At the next start the event is the first there is.
        let fault = match spoiled.open(&start).await {
            Ok(_) => end_of(&mut spoiled).await,
            Err(fault) => fault,
        };
        assert_eq!((fault.code, fault.is_transient()), (Code::MongoConfiguration, false), "{stage}: {fault}");
        assert!(told.lock().unwrap().is_empty(), "{told:?}");
    }
}

/// The position of a change that is not selected any more is a place like any other: nothing is lost, and nothing comes twice.
#[tokio::test]
async fn a_stream_goes_on_behind_a_change_that_is_selected_no_more() {
    let (server, client) = Server::mongod(false).await;
    let db = client.database("shop");
    let wide = || config(server.mongodb_uri(), &[]);
    let narrow = [
        ("a collection", config(server.mongodb_uri(), &["items"])),
        ("a pattern", MongodbSourceConfig { exclude: vec!["o*".to_owned()], ..wide() }),
        ("two names", config(server.mongodb_uri(), &["items", "more"])),
        ("operations", MongodbSourceConfig { operations: vec![WatchedOperation::Update], ..wide() }),
        (
            "a pipeline",
            MongodbSourceConfig {
                pipeline: vec![json!({ "$match": { "fullDocument.text": { "$exists": false } } })],
                ..wide()
            },
        ),
    ];
    let (mut first, _) = source(wide(), LIMITS);
    first.open(&Positions::default()).await.unwrap();
    // In one transaction, so that all have the same time.
    let mut session = client.start_session().await.unwrap();
    let (items, other) = (db.collection::<Document>("items"), db.collection::<Document>("other"));
    db.create_collection("items").await.unwrap();
    db.create_collection("other").await.unwrap();
    session.start_transaction().await.unwrap();
    items.insert_one(doc! { "_id": 1 }).session(&mut session).await.unwrap();
    other.insert_one(doc! { "_id": 2, "text": "x" }).session(&mut session).await.unwrap();
    items.insert_one(doc! { "_id": 3 }).session(&mut session).await.unwrap();
    session.commit_transaction().await.unwrap();
    items.update_one(doc! { "_id": 1 }, doc! { "$set": { "n": 1 } }).await.unwrap();
    let all = changes(&mut first, 4).await;
    let ids = |all: &[Change]| {
        all.iter().map(|change| decoded(&change.key).unwrap().get_i32("_id").unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&all), [1, 2, 3, 1]);
    let stored = Positions::from(all[1].position.clone());
    for (kind, config) in narrow {
        let (mut opened, told) = source(config, LIMITS);
        opened.open(&stored).await.unwrap_or_else(|fault| panic!("{kind}: {fault}"));
        let rest: Vec<&Change> =
            all[2..].iter().filter(|change| kind != "operations" || change.update.is_some()).collect();
        let found = changes(&mut opened, rest.len()).await;
        let shown = |change: &Change| (change.operation, decoded(&change.key), change.position.clone());
        assert_eq!(
            found.iter().map(shown).collect::<Vec<_>>(),
            rest.iter().map(|change| shown(change)).collect::<Vec<_>>(),
            "{kind}"
        );
        assert!(told.lock().unwrap().is_empty(), "{kind}: {told:?}");
    }
}

/// The same when nothing has come behind it when the stream is opened.
#[tokio::test]
async fn a_stream_goes_on_behind_the_last_change_there_is_though_it_is_selected_no_more() {
    let (server, client) = Server::mongod(false).await;
    let db = client.database("shop");
    let (mut first, _) = source(config(server.mongodb_uri(), &[]), LIMITS);
    first.open(&Positions::default()).await.unwrap();
    db.collection::<Document>("other").insert_one(doc! { "_id": 1 }).await.unwrap();
    let stored = Positions::from(changes(&mut first, 1).await[0].position.clone());
    let (mut narrow, told) = source(config(server.mongodb_uri(), &["items"]), LIMITS);
    narrow.open(&stored).await.unwrap();
    for n in 0..3 {
        db.collection::<Document>("items").insert_one(doc! { "_id": n }).await.unwrap();
        let change = changes(&mut narrow, 1).await.remove(0);
        assert_eq!(decoded(&change.key), Some(doc! { "_id": n }));
        assert!(change.position.as_ref() > stored.whole());
    }
    assert!(told.lock().unwrap().is_empty(), "{told:?}");
}

/// A token that no server here gave is none to go on from, also where its time is one.
#[tokio::test]
async fn a_place_of_another_deployment_is_a_lost_one() {
    let (server, client) = Server::mongod(false).await;
    let (other, elsewhere) = Server::mongod(false).await;
    let insert = async |client: &mongodb::Client| {
        client.database("shop").collection::<Document>("items").insert_one(doc! {}).await.unwrap();
    };
    insert(&client).await;
    let (mut first, _) = source(config(other.mongodb_uri(), &["items"]), LIMITS);
    first.open(&Positions::default()).await.unwrap();
    insert(&elsewhere).await;
    let stored = Positions::from(changes(&mut first, 1).await[0].position.clone());
    insert(&client).await;
    let (mut here, _) = source(config(server.mongodb_uri(), &["items"]), LIMITS);
    let mut opened = here.open(&stored).await.map(drop);
    let end = Instant::now() + Duration::from_secs(30);
    while opened.is_ok() {
        assert!(Instant::now() < end, "it went on");
        // It shows with the first change behind the token's time.
        insert(&client).await;
        opened = here.next().await.map(|read| match read {
            Read::Batch(batch) => assert!(batch.changes.is_empty(), "{batch:?}"),
            Read::End => panic!("an end"),
        });
    }
    let fault = opened.unwrap_err();
    assert_eq!((fault.code, fault.is_transient()), (Code::MongoPositionLost, false), "{fault}");
}
