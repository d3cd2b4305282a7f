//! Tests on a real server.

mod deaths;
mod filters;
mod images;
mod renames;
mod selection;

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bson::{Bson, Document, doc};

use super::MongodbSource;
use crate::{
    batch::Batch,
    change::{Change, Doc, Operation},
    config::{BeforeImage, FullDocument, MongodbSourceConfig, OnLostPosition, Snapshot, SourceDdl, Span, StartAt},
    error::{Code, Fault},
    position::{Position, Positions},
    source::{BatchLimits, Hooks, Read, Source as _},
    testing::Server,
};

const LIMITS: BatchLimits = BatchLimits { max_events: 1000, max_bytes: 8 << 20, linger: Duration::from_millis(5) };

fn config(uri: String, collections: &[&str]) -> MongodbSourceConfig {
    MongodbSourceConfig {
        uri: uri.into(),
        database: Some("shop".into()),
        databases: Vec::new(),
        collections: collections.iter().map(ToString::to_string).collect(),
        exclude: Vec::new(),
        operations: Vec::new(),
        pipeline: Vec::new(),
        full_document: FullDocument::Lookup,
        before: BeforeImage::Off,
        start: StartAt::Now,
        on_lost_position: OnLostPosition::Stop,
        history_warning: Span(Duration::from_secs(1)),
        snapshot: Snapshot::Never,
        ddl: SourceDdl::Ignore,
        skip_mirrored: false,
    }
}

type Ddl = Arc<Mutex<Vec<String>>>;

fn source(config: MongodbSourceConfig, limits: BatchLimits) -> (MongodbSource, Ddl) {
    let ddl = Ddl::default();
    let (seen, lost) = (ddl.clone(), ddl.clone());
    (
        MongodbSource::new(
            config,
            None,
            limits,
            Hooks {
                copied: Arc::default(),
                on_ddl: Arc::new(move |kind, ns| seen.lock().unwrap().push(format!("{kind} {ns}"))),
                on_copy: Arc::new(|_| {}),
                on_caught_up: Arc::new(|| {}),
                on_lost: Arc::new(move || lost.lock().unwrap().push("lost".to_owned())),
                on_history: Arc::new(|_| {}),
            },
        ),
        ddl,
    )
}

async fn next(source: &mut MongodbSource) -> Batch {
    match tokio::time::timeout(Duration::from_secs(30), source.next()).await.expect("a batch within 30 s").unwrap() {
        Read::Batch(batch) => batch,
        Read::End => panic!("a change stream has no end"),
    }
}

/// Reads until there are that many changes.
async fn changes(source: &mut MongodbSource, count: usize) -> Vec<Change> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(next(source).await.changes);
    }
    assert_eq!(all.len(), count);
    all
}

fn decoded(doc: &Option<Doc>) -> Option<Document> {
    doc.as_ref().map(|doc| Document::try_from(doc.as_raw()).unwrap())
}

#[tokio::test]
async fn every_operation_arrives_and_updates_are_looked_up() {
    let (server, client) = Server::mongod(false).await;
    let (mut source, _) = source(config(server.mongodb_uri(), &["items", "other"]), LIMITS);
    assert!(source.open(&Positions::default()).await.unwrap().whole().is_some());
    let db = client.database("shop");
    let items = db.collection::<Document>("items");
    db.collection::<Document>("unwatched").insert_one(doc! { "_id": 0 }).await.unwrap();
    items.insert_many([doc! { "_id": 1, "n": 1_i64 }, doc! { "_id": "gone", "n": 1 }]).await.unwrap();
    items.update_one(doc! { "_id": 1 }, doc! { "$set": { "n": 2_i64 } }).await.unwrap();
    items.update_one(doc! { "_id": "gone" }, doc! { "$set": { "n": 2 } }).await.unwrap();
    items.replace_one(doc! { "_id": 1 }, doc! { "r": true }).await.unwrap();
    items.delete_one(doc! { "_id": "gone" }).await.unwrap();
    let all = changes(&mut source, 6).await;
    let operations: Vec<_> = all.iter().map(|change| change.operation).collect();
    use Operation::{Delete, Insert, Replace, Update};
    assert_eq!(operations, [Insert, Insert, Update, Update, Replace, Delete]);
    assert!(all.iter().all(|change| change.namespace.as_str() == "shop.items" && change.id.len() == 33));
    assert!(all.windows(2).all(|pair| pair[0].id < pair[1].id || pair[0].cluster_time == pair[1].cluster_time));
    assert!(all.iter().all(|change| change.cluster_time.is_some() && change.wall_time.is_some()));
    assert_eq!(decoded(&all[0].key), Some(doc! { "_id": 1 }));
    assert_eq!(decoded(&all[0].document), Some(doc! { "_id": 1, "n": 1_i64 }));
    assert_eq!(decoded(&all[4].document), Some(doc! { "_id": 1, "r": true }));
    assert_eq!(decoded(&all[2].update).unwrap().get_document("updatedFields").unwrap(), &doc! { "n": 2_i64 });
    assert_eq!(all[5].document, None);
    // What a look-up finds depends on its time; behind the last change it is certain.
    items.update_one(doc! { "_id": 1 }, doc! { "$set": { "n": 3_i64 } }).await.unwrap();
    let update = changes(&mut source, 1).await.remove(0);
    assert_eq!(decoded(&update.document), Some(doc! { "_id": 1, "r": true, "n": 3_i64 }));
}

#[tokio::test]
async fn a_look_up_finds_what_is_there_and_nothing_for_what_is_gone() {
    let (server, client) = Server::mongod(false).await;
    let items = client.database("shop").collection::<Document>("items");
    let (mut first, _) = source(config(server.mongodb_uri(), &[]), LIMITS);
    let start = first.open(&Positions::default()).await.unwrap();
    let ids =
        [Bson::from(1), Bson::from(2_i64), Bson::from("x"), bson::oid::ObjectId::new().into(), doc! { "a": 1 }.into()];
    for id in &ids {
        items.insert_one(doc! { "_id": id, "n": 0 }).await.unwrap();
        items.update_one(doc! { "_id": id }, doc! { "$inc": { "n": 1 } }).await.unwrap();
        items.update_one(doc! { "_id": id }, doc! { "$inc": { "n": 1 } }).await.unwrap();
    }
    items.delete_one(doc! { "_id": "x" }).await.unwrap();
    // All is over before the stream is read, so each look-up sees the end.
    let (mut source, _) = source(config(server.mongodb_uri(), &[]), LIMITS);
    source.open(&start).await.unwrap();
    let all = changes(&mut source, 16).await;
    for (index, id) in ids.iter().enumerate() {
        for update in &all[index * 3 + 1..index * 3 + 3] {
            assert_eq!(update.operation, Operation::Update);
            let expected = (id != &Bson::from("x")).then(|| doc! { "_id": id, "n": 2 });
            assert_eq!(decoded(&update.document), expected, "{id}");
        }
    }
}

#[tokio::test]
async fn a_reply_is_cut_and_read_on_from_each_position() {
    let (server, client) = Server::mongod(false).await;
    let limits = BatchLimits { max_events: 7, ..LIMITS };
    let (mut first, _) = source(config(server.mongodb_uri(), &["items"]), limits);
    let start = first.open(&Positions::default()).await.unwrap();
    drop(first);
    let items = client.database("shop").collection::<Document>("items");
    items.insert_many((0..50).map(|n| doc! { "_id": n, "text": "x".repeat(100) })).await.unwrap();
    let (mut whole, _) = source(config(server.mongodb_uri(), &["items"]), limits);
    whole.open(&start).await.unwrap();
    let mut seen: Vec<(Position, usize)> = Vec::new();
    let mut ids = Vec::new();
    while ids.len() < 50 {
        let batch = next(&mut whole).await;
        assert!(batch.changes.len() <= 7);
        ids.extend(batch.changes.iter().map(|change| change.id.to_string()));
        seen.push((batch.position.unwrap(), ids.len()));
    }
    assert!(seen.windows(2).all(|pair| pair[0].0 < pair[1].0), "positions rise");
    let bytes = BatchLimits { max_bytes: 1000, ..LIMITS };
    for (position, done) in &seen[..seen.len() - 1] {
        let (mut rest, _) = source(config(server.mongodb_uri(), &["items"]), bytes);
        assert!(rest.open(&position.clone().into()).await.unwrap().whole() >= Some(position));
        let batch = next(&mut rest).await;
        assert!(batch.changes.len() < 7 && batch.size() <= 1000, "{} bytes", batch.size());
        let mut found: Vec<_> = batch.changes.iter().map(|change| change.id.to_string()).collect();
        let more = changes(&mut rest, 50 - done - found.len()).await;
        found.extend(more.iter().map(|change| change.id.to_string()));
        assert_eq!(found, ids[*done..]);
    }
}

#[tokio::test]
async fn cancelled_calls_lose_nothing() {
    let (server, client) = Server::mongod(false).await;
    let (mut source, _) = source(config(server.mongodb_uri(), &[]), BatchLimits { max_events: 3, ..LIMITS });
    source.open(&Positions::default()).await.unwrap();
    let items = client.database("shop").collection::<Document>("items");
    for n in 0..30 {
        items.insert_one(doc! { "_id": n }).await.unwrap();
        items.update_one(doc! { "_id": n }, doc! { "$set": { "n": 1 } }).await.unwrap();
    }
    let mut keys = Vec::new();
    let end = Instant::now() + Duration::from_secs(30);
    while keys.len() < 60 {
        assert!(Instant::now() < end, "{keys:?}");
        if let Ok(read) = tokio::time::timeout(Duration::from_micros(300), source.next()).await {
            let Read::Batch(batch) = read.unwrap() else { panic!("an end") };
            keys.extend(batch.changes.iter().map(|change| decoded(&change.key).unwrap().get_i32("_id").unwrap()));
        }
    }
    assert_eq!(keys, (0..30).flat_map(|n| [n, n]).collect::<Vec<_>>());
}

#[tokio::test]
async fn collections_and_databases_may_come_and_go() {
    let (server, client) = Server::mongod(false).await;
    let (mut source, ddl) = source(config(server.mongodb_uri(), &["items", "renamed"]), LIMITS);
    source.open(&Positions::default()).await.unwrap();
    let db = client.database("shop");
    let items = db.collection::<Document>("items");
    let insert = async |n: i32| items.insert_one(doc! { "_id": n }).await;
    insert(1).await.unwrap();
    items.drop().await.unwrap();
    insert(2).await.unwrap();
    let rename = doc! { "renameCollection": "shop.items", "to": "shop.renamed" };
    client.database("admin").run_command(rename).await.unwrap();
    insert(3).await.unwrap();
    db.drop().await.unwrap();
    insert(4).await.unwrap();
    let all = changes(&mut source, 4).await;
    let keys: Vec<_> = all.iter().map(|change| decoded(&change.key).unwrap().get_i32("_id").unwrap()).collect();
    assert_eq!(keys, [1, 2, 3, 4]);
    let ddl = ddl.lock().unwrap().clone();
    assert!(ddl.contains(&"drop shop.items".to_owned()), "{ddl:?}");
    assert!(ddl.contains(&"rename shop.items".to_owned()), "{ddl:?}");
    assert!(ddl.contains(&"dropDatabase shop".to_owned()), "{ddl:?}");
    assert!(ddl.iter().any(|event| event.starts_with("invalidate")), "{ddl:?}");
}

#[tokio::test]
async fn an_idle_stream_grows_no_older() {
    let (server, client) = Server::mongod(false).await;
    let (mut source, _) = source(config(server.mongodb_uri(), &["items"]), LIMITS);
    let start = source.open(&Positions::default()).await.unwrap().whole().unwrap().clone();
    // Something the stream does not watch moves the oplog, and with it the position.
    client.database("elsewhere").collection::<Document>("c").insert_one(doc! { "x": 1 }).await.unwrap();
    let batch = next(&mut source).await;
    assert!(batch.changes.is_empty());
    assert!(batch.position.unwrap() > start);
}

#[tokio::test]
async fn a_filter_is_applied_and_a_wrong_one_is_told() {
    let (server, client) = Server::mongod(false).await;
    let filtered =
        |stage: serde_json::Value| MongodbSourceConfig { pipeline: vec![stage], ..config(server.mongodb_uri(), &[]) };
    let (mut good, _) = source(filtered(serde_json::json!({ "$match": { "fullDocument.keep": true } })), LIMITS);
    good.open(&Positions::default()).await.unwrap();
    let items = client.database("shop").collection::<Document>("items");
    items.insert_many([doc! { "_id": 1 }, doc! { "_id": 2, "keep": true }]).await.unwrap();
    assert_eq!(decoded(&changes(&mut good, 1).await[0].key), Some(doc! { "_id": 2 }));
    for stage in [
        serde_json::json!({ "$nonsense": 1 }),
        serde_json::json!({ "$match": { "$nonsense": 1 } }),
        serde_json::json!({ "$project": { "x": { "$nonsense": 1 } } }),
        serde_json::json!({ "$group": { "_id": 1 } }),
        serde_json::json!("text"),
    ] {
        let fault = source(filtered(stage.clone()), LIMITS).0.open(&Positions::default()).await.unwrap_err();
        assert_eq!((fault.code, fault.is_transient()), (Code::MongoConfiguration, false), "{stage}: {fault}");
    }
    let (mut bare, _) = source(filtered(serde_json::json!({ "$project": { "fullDocument": 1 } })), LIMITS);
    bare.open(&Positions::default()).await.unwrap();
    items.insert_one(doc! { "_id": 3 }).await.unwrap();
    let fault = loop {
        match bare.next().await {
            Ok(_) => {}
            Err(fault) => break fault,
        }
    };
    assert_eq!((fault.code, fault.is_transient()), (Code::MongoConfiguration, false), "{fault}");
}

async fn refused(config: MongodbSourceConfig, from: Option<&Position>) -> Fault {
    let started = Instant::now();
    let fault = source(config, LIMITS).0.open(&from.cloned().into()).await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(15));
    assert!(!fault.message.contains("s3cret"), "{fault}");
    fault
}

#[tokio::test]
async fn a_standalone_server_is_explained() {
    let (server, _) = Server::mongod(true).await;
    let fault = refused(config(server.mongodb_uri(), &[]), None).await;
    assert_eq!((fault.code, fault.is_transient()), (Code::MongoStandalone, false), "{fault}");
    assert!(fault.message.contains("rs.initiate()"), "{fault}");
}

#[tokio::test]
async fn wrong_places_and_rights_are_told_apart() {
    let fault = refused(config("mongodb://bob:s3cret@127.0.0.1:1/".into(), &[]), None).await;
    assert_eq!((fault.code, fault.is_transient()), (Code::MongoUnreachable, true), "{fault}");
    assert!(fault.message.contains("127.0.0.1:1"), "{fault}");
    for uri in ["mysql://bob:s3cret@h", "mongodb://bob:s3cret@", "mongodb://bob:s3c%ret:s3cret@h/"] {
        let fault = refused(config(uri.into(), &[]), None).await;
        assert_eq!((fault.code, fault.is_transient()), (Code::MongoConfiguration, false), "{uri}: {fault}");
    }
    let (server, client) = Server::mongod(false).await;
    let user = doc! { "createUser": "bob", "pwd": "right", "roles": [{ "role": "read", "db": "elsewhere" }] };
    client.database("admin").run_command(user).await.unwrap();
    let uri = format!("mongodb://bob:s3cret@127.0.0.1:{}/?directConnection=true&authSource=admin", server.port);
    let fault = refused(config(uri, &[]), None).await;
    assert_eq!((fault.code, fault.is_transient()), (Code::MongoDenied, false), "{fault}");
    // Tokens that are none.
    let token = |text: &str| Position::new([&[0, 0, 0, 0, 1], text.as_bytes()].concat());
    for text in ["zz", "82000000010000000129295A1004"] {
        let fault = refused(config(server.mongodb_uri(), &[]), Some(&token(text))).await;
        assert_eq!((fault.code, fault.is_transient()), (Code::MongoPositionLost, false), "{text}: {fault}");
    }
    let fault = refused(config(server.mongodb_uri(), &[]), Some(&Position::new(vec![9; 32]))).await;
    assert_eq!((fault.code, fault.is_transient()), (Code::CheckpointUnreadable, false), "{fault}");
}

#[tokio::test]
async fn a_server_that_dies_is_a_transient_fault() {
    let (mut server, _) = Server::mongod(false).await;
    let (mut source, _) = source(config(server.mongodb_uri(), &[]), LIMITS);
    source.open(&Positions::default()).await.unwrap();
    server.kill();
    let fault = loop {
        match source.next().await {
            Ok(_) => {}
            Err(fault) => break fault,
        }
    };
    assert_eq!((fault.code, fault.is_transient()), (Code::MongoUnreachable, true), "{fault}");
}
