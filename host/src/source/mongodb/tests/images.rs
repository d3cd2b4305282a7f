//! Pre- and post-images, and events that are too large for one message.

use std::time::Duration;

use bson::{Document, doc};
use mongodb::{Client, Database};

use super::{LIMITS, changes, config, decoded, refused, source};
use crate::{
    change::Operation,
    config::{BeforeImage, FullDocument, MongodbSourceConfig, Span},
    error::Code,
    position::Positions,
    source::Source as _,
    testing::Server,
};

fn images(server: &Server, full_document: FullDocument, before: BeforeImage) -> MongodbSourceConfig {
    MongodbSourceConfig { full_document, before, ..config(server.mongodb_uri(), &[]) }
}

async fn keep_images(db: &Database, collection: &str) {
    let images = doc! { "collMod": collection, "changeStreamPreAndPostImages": { "enabled": true } };
    db.run_command(images).await.unwrap();
}

#[tokio::test]
async fn images_are_those_of_the_very_change() {
    let (server, client) = Server::mongod(false).await;
    let db = client.database("shop");
    db.create_collection("items").await.unwrap();
    keep_images(&db, "items").await;
    let (mut all, _) = source(images(&server, FullDocument::Required, BeforeImage::Required), LIMITS);
    all.open(&Positions::default()).await.unwrap();
    let items = db.collection::<Document>("items");
    items.insert_one(doc! { "_id": 1, "n": 0 }).await.unwrap();
    for _ in 0..2 {
        items.update_one(doc! { "_id": 1 }, doc! { "$inc": { "n": 1 } }).await.unwrap();
    }
    items.replace_one(doc! { "_id": 1 }, doc! { "r": 1 }).await.unwrap();
    items.delete_one(doc! { "_id": 1 }).await.unwrap();
    let found: Vec<_> = changes(&mut all, 5)
        .await
        .iter()
        .map(|change| (change.operation, decoded(&change.before), decoded(&change.document)))
        .collect();
    let at = |n: i32| Some(doc! { "_id": 1, "n": n });
    assert_eq!(
        found,
        [
            (Operation::Insert, None, at(0)),
            (Operation::Update, at(0), at(1)),
            (Operation::Update, at(1), at(2)),
            (Operation::Replace, at(2), Some(doc! { "_id": 1, "r": 1 })),
            (Operation::Delete, Some(doc! { "_id": 1, "r": 1 }), None),
        ]
    );
}

#[tokio::test]
async fn a_collection_without_images_is_named_with_the_command() {
    let (server, client) = Server::mongod(false).await;
    let db = client.database("shop");
    db.create_collection("items").await.unwrap();
    let required = [(FullDocument::Required, BeforeImage::Off), (FullDocument::Off, BeforeImage::Required)];
    let command =
        "db.getSiblingDB(\"shop\").runCommand({collMod: \"items\", changeStreamPreAndPostImages: {enabled: true}})";
    for (full, before) in required {
        // Known before the first change,
        let fault = refused(images(&server, full, before), None).await;
        assert_eq!((fault.code, fault.is_transient()), (Code::MongoImageMissing, false), "{fault}");
        assert!(fault.message.contains("shop.items") && fault.message.contains(command), "{fault}");
    }
    keep_images(&db, "items").await;
    for (full, before) in required {
        // and of a collection that came later, with it.
        let (mut opened, _) = source(images(&server, full, before), LIMITS);
        opened.open(&Positions::default()).await.unwrap();
        let later = db.collection::<Document>("later");
        later.insert_one(doc! { "_id": 1 }).await.unwrap();
        later.update_one(doc! { "_id": 1 }, doc! { "$set": { "n": 1 } }).await.unwrap();
        let fault = loop {
            match opened.next().await {
                Ok(_) => {}
                Err(fault) => break fault,
            }
        };
        assert_eq!((fault.code, fault.is_transient()), (Code::MongoImageMissing, false), "{fault}");
        assert!(fault.message.contains("shop.later") && fault.message.contains("collMod: \"later\""), "{fault}");
        later.drop().await.unwrap();
    }
    let (mut lenient, _) = source(images(&server, FullDocument::WhenAvailable, BeforeImage::WhenAvailable), LIMITS);
    lenient.open(&Positions::default()).await.unwrap();
    let later = db.collection::<Document>("later");
    later.insert_one(doc! { "_id": 1 }).await.unwrap();
    later.update_one(doc! { "_id": 1 }, doc! { "$set": { "n": 1 } }).await.unwrap();
    let update = changes(&mut lenient, 2).await.remove(1);
    assert_eq!((decoded(&update.before), decoded(&update.document)), (None, None));
}

#[tokio::test]
async fn a_server_that_has_no_images_is_told() {
    let (server, client) = Server::mongod_of("TIDEGATE_MONGOD_5_0", false, &[]).await;
    client.database("shop").create_collection("items").await.unwrap();
    for (full, before) in [
        (FullDocument::Required, BeforeImage::Off),
        (FullDocument::WhenAvailable, BeforeImage::Off),
        (FullDocument::Off, BeforeImage::Required),
    ] {
        let fault = refused(images(&server, full, before), None).await;
        assert_eq!((fault.code, fault.is_transient()), (Code::MongoImageMissing, false), "{fault}");
        assert!(fault.message.contains("6.0") || fault.message.contains("shop.items"), "{fault}");
    }
}

/// With a small cache the server makes big writes wait for a checkpoint.
const CACHE: [&str; 2] = ["--wiredTigerCacheSizeGB", "1"];

/// Writes an update whose event is bigger than 16 MiB, between two small ones.
async fn large_event(client: &Client) {
    let items = client.database("shop").collection::<Document>("items");
    let text = |first: &str| first.to_owned() + &"x".repeat(9 << 20);
    items.insert_one(doc! { "_id": 1, "text": text("a") }).await.unwrap();
    items.update_one(doc! { "_id": 1 }, doc! { "$set": { "text": text("b") } }).await.unwrap();
    items.insert_one(doc! { "_id": 2 }).await.unwrap();
}

#[tokio::test]
async fn large_events_are_split_by_the_server_and_joined() {
    let (server, client) = Server::mongod_of("TIDEGATE_MONGOD_6_0_SPLIT", false, &CACHE).await;
    let db = client.database("shop");
    db.create_collection("items").await.unwrap();
    keep_images(&db, "items").await;
    let required = images(&server, FullDocument::Required, BeforeImage::Required);
    let start = source(required.clone(), LIMITS).0.open(&Positions::default()).await.unwrap();
    large_event(&client).await;
    let (mut first, _) = source(required.clone(), LIMITS);
    first.open(&start).await.unwrap();
    let all = changes(&mut first, 3).await;
    let (inserted, large) = (&all[0], &all[1]);
    let text = |document: Option<Document>| document.unwrap().get_str("text").unwrap().chars().next();
    assert_eq!((text(decoded(&large.before)), text(decoded(&large.document))), (Some('a'), Some('b')));
    let fields = decoded(&large.update).unwrap().get_document("updatedFields").unwrap().clone();
    assert_eq!((large.operation, text(Some(fields))), (Operation::Update, Some('b')));
    assert!(large.size() > 16 << 20 && large.cluster_time.is_some() && large.namespace.as_str() == "shop.items");
    assert!(all.windows(2).all(|pair| pair[0].position < pair[1].position && pair[0].id < pair[1].id));
    // Read on from before it, from right before it, and from right behind it.
    for (position, count) in [(start, 3), (inserted.position.clone().into(), 2), (large.position.clone().into(), 1)] {
        let (mut again, _) = source(required.clone(), LIMITS);
        again.open(&position).await.unwrap();
        let found = changes(&mut again, count).await;
        assert_eq!(
            found.iter().map(|change| &change.id).collect::<Vec<_>>(),
            all[3 - count..].iter().map(|change| &change.id).collect::<Vec<_>>()
        );
    }
    // A stream that no longer asks for images goes on behind it too, and its positions do not go back.
    let (mut plain, _) = source(images(&server, FullDocument::Off, BeforeImage::Off), LIMITS);
    plain.open(&all[2].position.clone().into()).await.unwrap();
    db.collection::<Document>("items").insert_one(doc! { "_id": 3 }).await.unwrap();
    assert!(changes(&mut plain, 1).await[0].position > all[2].position);
    // Nor within a transaction, whose changes have one time: tokens of the older form would come before.
    let (mut split, _) = source(required, LIMITS);
    split.open(&all[2].position.clone().into()).await.unwrap();
    let mut session = client.start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    for n in 4..7 {
        db.collection::<Document>("items").insert_one(doc! { "_id": n }).session(&mut session).await.unwrap();
    }
    session.commit_transaction().await.unwrap();
    let one = changes(&mut split, 4).await.remove(1);
    let (mut plain, _) = source(images(&server, FullDocument::Off, BeforeImage::Off), LIMITS);
    plain.open(&one.position.clone().into()).await.unwrap();
    assert!(changes(&mut plain, 2).await.iter().all(|change| change.position > one.position));
}

#[tokio::test]
async fn a_large_event_is_told_where_the_server_cannot_split() {
    let (server, client) = Server::mongod_of("TIDEGATE_MONGOD", false, &CACHE).await;
    let db = client.database("shop");
    db.create_collection("items").await.unwrap();
    keep_images(&db, "items").await;
    let config = images(&server, FullDocument::Off, BeforeImage::Required);
    let start = source(config.clone(), LIMITS).0.open(&Positions::default()).await.unwrap();
    large_event(&client).await;
    let fault = refused(config, start.whole()).await;
    assert_eq!((fault.code, fault.is_transient()), (Code::MongoEventTooLarge, false), "{fault}");
    assert!(fault.message.contains("6.0.9") && fault.message.contains("updateDescription"), "{fault}");
}

/// Without images the stage is asked for when the first event is too large: here by a filter that says everything twice.
#[tokio::test]
async fn splitting_begins_with_the_first_event_that_needs_it() {
    for (variable, splits) in [("TIDEGATE_MONGOD_6_0_SPLIT", true), ("TIDEGATE_MONGOD", false)] {
        let (server, client) = Server::mongod_of(variable, false, &CACHE).await;
        let items = client.database("shop").collection::<Document>("items");
        let twice = vec![serde_json::json!({ "$addFields": { "again": "$fullDocument" } })];
        let config = MongodbSourceConfig { pipeline: twice, ..images(&server, FullDocument::Off, BeforeImage::Off) };
        let (mut opened, _) = source(config.clone(), LIMITS);
        let start = opened.open(&Positions::default()).await.unwrap();
        items.insert_one(doc! { "_id": 1 }).await.unwrap();
        let small = changes(&mut opened, 1).await.remove(0);
        items.insert_one(doc! { "_id": 2, "text": "x".repeat(9 << 20) }).await.unwrap();
        items.insert_one(doc! { "_id": 3 }).await.unwrap();
        if !splits {
            let fault = loop {
                match opened.next().await {
                    Ok(_) => {}
                    Err(fault) => break fault,
                }
            };
            assert_eq!((fault.code, fault.is_transient()), (Code::MongoEventTooLarge, false), "{fault}");
            let fault = refused(config, small.position.as_ref()).await;
            assert_eq!((fault.code, fault.is_transient()), (Code::MongoEventTooLarge, false), "{fault}");
            continue;
        }
        let mut all = vec![small];
        all.extend(changes(&mut opened, 2).await);
        let ids = |all: &[crate::change::Change]| {
            all.iter().map(|change| decoded(&change.key).unwrap().get_i32("_id").unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(ids(&all), [1, 2, 3]);
        assert!(all.windows(2).all(|pair| pair[0].position < pair[1].position));
        assert!(all[1].size() > 9 << 20);
        // The same when the event is met by a stream that is opened, and by one that was opened behind it.
        let places = [start, all[0].position.clone().into(), all[1].position.clone().into()];
        for (done, position) in places.into_iter().enumerate() {
            let (mut again, _) = source(config.clone(), LIMITS);
            again.open(&position).await.unwrap();
            let rest = changes(&mut again, 3 - done).await;
            assert_eq!(ids(&rest), [1, 2, 3][done..]);
            assert_eq!(rest.last().unwrap().position, all[2].position);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_left_is_told() {
    let (server, client) = Server::mongod(false).await;
    let told = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = told.clone();
    let config =
        MongodbSourceConfig { history_warning: Span(Duration::from_secs(1)), ..config(server.mongodb_uri(), &[]) };
    let (mut opened, _) = source(config, LIMITS);
    opened.hooks.on_history = std::sync::Arc::new(move |left| seen.lock().unwrap().push(left));
    opened.open(&Positions::default()).await.unwrap();
    crate::testing::until("the history is told", || !told.lock().unwrap().is_empty());
    let oldest = super::super::stream::oldest(&client).await.unwrap().time;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(told.lock().unwrap()[0].as_secs() <= now - u64::from(oldest));
}
