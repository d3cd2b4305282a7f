//! What is watched, and what is not.

use bson::{Document, doc};

use super::{LIMITS, changes, config, source};
use crate::{
    config::{MongodbSourceConfig, WatchedOperation},
    position::Positions,
    source::{
        Source as _,
        mongodb::{Selection, selection_problems},
    },
    testing::Server,
};

fn texts(all: &[&str]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

/// A selection of a database, databases, collections and exclusions.
fn select(one: Option<&str>, databases: &[&str], collections: &[&str], exclude: &[&str]) -> MongodbSourceConfig {
    MongodbSourceConfig {
        database: one.map(str::to_owned),
        databases: texts(databases),
        collections: texts(collections),
        exclude: texts(exclude),
        ..config(String::new(), &[])
    }
}

/// The namespaces that are written to, in this order.
const WRITTEN: [&str; 9] = [
    "shop.inv_a",
    "shop.inv_b",
    "shop.inv_tmp",
    "shop.items",
    "shop.xinv_a",
    "store.inv_a",
    "store.orders.eu",
    "other.items",
    "store.tidegate_positions",
];

/// Each selection with what it lets pass of these.
fn selections() -> Vec<(MongodbSourceConfig, &'static [&'static str])> {
    vec![
        (select(Some("shop"), &[], &["inv_*"], &["*_tmp"]), &["shop.inv_a", "shop.inv_b"]),
        (select(Some("shop"), &[], &["inv_?", "items"], &[]), &["shop.inv_a", "shop.inv_b", "shop.items"]),
        (select(Some("store"), &[], &[], &[]), &["store.inv_a", "store.orders.eu"]),
        (select(Some("store"), &[], &["orders.eu"], &[]), &["store.orders.eu"]),
        (select(Some("shop"), &[], &[], &["*inv_*"]), &["shop.items"]),
        (select(None, &["shop", "store"], &["*.inv_a"], &[]), &["shop.inv_a", "store.inv_a"]),
        (
            select(None, &["s*"], &["*.i*", "store.orders.*"], &["shop.inv_*"]),
            &["shop.items", "store.inv_a", "store.orders.eu"],
        ),
        (select(None, &["other", "store"], &[], &["store.inv_a"]), &["store.orders.eu", "other.items"]),
        (select(None, &[], &["*.items"], &[]), &["shop.items", "other.items"]),
        (select(None, &[], &[], &["shop.*"]), &["store.inv_a", "store.orders.eu", "other.items"]),
    ]
}

#[tokio::test]
async fn one_cursor_passes_what_is_selected_and_picks_up_new_collections() {
    let (server, client) = Server::mongod(false).await;
    let mut sources = Vec::new();
    for (selected, expected) in selections() {
        assert_eq!(selection_problems(&selected), [], "{selected:?}");
        let selection = Selection::new(&selected);
        let matched: Vec<_> =
            WRITTEN.iter().filter(|ns| ns.split_once('.').is_some_and(|(d, c)| selection.matches(d, c))).collect();
        assert_eq!(matched, expected.iter().collect::<Vec<_>>(), "on the host: {selected:?}");
        let (mut source, _) = source(MongodbSourceConfig { uri: server.mongodb_uri().into(), ..selected }, LIMITS);
        source.open(&Positions::default()).await.unwrap();
        sources.push((source, expected));
    }
    // None of the collections exists yet.
    for ns in WRITTEN {
        let (database, collection) = ns.split_once('.').unwrap();
        client.database(database).collection::<Document>(collection).insert_one(doc! { "_id": ns }).await.unwrap();
    }
    // All see the end, each as its first change behind what it has: nothing of the rest came between.
    for (source, expected) in &mut sources {
        let all = changes(source, expected.len()).await;
        let found: Vec<_> = all.iter().map(|change| change.namespace.as_str()).collect();
        assert_eq!(found, **expected);
    }
    for ns in WRITTEN {
        let (database, collection) = ns.split_once('.').unwrap();
        client.database(database).collection::<Document>(collection).delete_one(doc! { "_id": ns }).await.unwrap();
    }
    for (source, expected) in &mut sources {
        let found: Vec<_> =
            changes(source, expected.len()).await.iter().map(|change| change.namespace.as_str().to_owned()).collect();
        assert_eq!(found, **expected);
    }
}

#[tokio::test]
async fn operations_are_chosen_on_the_server_and_drops_are_told_all_the_same() {
    let (server, client) = Server::mongod(false).await;
    let db = client.database("shop");
    let items = db.collection::<Document>("items");
    for collections in [&["items"][..], &["i*", "others"], &[]] {
        let operations = vec![WatchedOperation::Insert, WatchedOperation::Delete];
        let (mut source, ddl) =
            source(MongodbSourceConfig { operations, ..config(server.mongodb_uri(), collections) }, LIMITS);
        source.open(&Positions::default()).await.unwrap();
        items.insert_one(doc! { "_id": 1 }).await.unwrap();
        items.update_one(doc! { "_id": 1 }, doc! { "$set": { "n": 1 } }).await.unwrap();
        items.replace_one(doc! { "_id": 1 }, doc! { "n": 2 }).await.unwrap();
        items.delete_one(doc! { "_id": 1 }).await.unwrap();
        items.drop().await.unwrap();
        items.insert_one(doc! { "_id": 2 }).await.unwrap();
        db.drop().await.unwrap();
        items.insert_one(doc! { "_id": 3 }).await.unwrap();
        let found: Vec<_> = changes(&mut source, 4).await.iter().map(|change| change.operation.as_str()).collect();
        assert_eq!(found, ["insert", "delete", "insert", "insert"]);
        let ddl = ddl.lock().unwrap().clone();
        assert!(ddl.contains(&"drop shop.items".to_owned()), "{collections:?}: {ddl:?}");
        assert!(
            ddl.iter().any(|event| event.starts_with("dropDatabase") || event.starts_with("invalidate")),
            "{ddl:?}"
        );
        db.drop().await.unwrap();
    }
}

#[test]
fn selections_that_make_no_sense_are_told() {
    let told = |config: MongodbSourceConfig| {
        let mut told: Vec<_> = selection_problems(&config)
            .into_iter()
            .map(|problem| {
                let (key, index) = problem.at;
                format!("{key}{} {}", index.map(|index| format!("[{index}]")).unwrap_or_default(), problem.message)
            })
            .collect();
        told.sort();
        told
    };
    for (config, expected) in [
        (select(Some("shop"), &["store"], &[], &[]), &["databases cannot stand beside `database`"][..]),
        (select(Some("local"), &[], &[], &[]), &["database is never watched"]),
        (
            select(None, &["", "a", "a", "admin", "a.b"], &[], &[]),
            &[
                "databases[0] is no name or pattern of a database",
                "databases[2] is given twice",
                "databases[3] is never watched",
                "databases[4] is no name or pattern of a database",
            ],
        ),
        (
            select(Some("shop"), &[], &["", "a$", "x", "x", "system.*", "tidegate_positions"], &[]),
            &[
                "collections[0] is no name of a collection",
                "collections[1] is no name of a collection",
                "collections[3] is given twice",
                "collections[4] matches only what is never watched",
                "collections[5] matches only what is never watched",
            ],
        ),
        (
            select(None, &["shop", "st*"], &["items", "other.items", "store.x", ".x", "a b.x"], &[]),
            &[
                "collections[0] names no database",
                "collections[1] is in none of the `databases`",
                "collections[3] names no possible database",
                "collections[4] names no possible database",
            ],
        ),
        (select(Some("shop"), &[], &["a*"], &["*"]), &["exclude[0] excludes everything"]),
        (select(None, &[], &[], &["*.*"]), &["exclude[0] excludes everything"]),
        (
            select(Some("shop"), &[], &["a", "b"], &["b*", "c*"]),
            &["collections[1] is excluded by `exclude`", "exclude[1] excludes nothing that is selected"],
        ),
        (
            MongodbSourceConfig {
                operations: vec![WatchedOperation::Insert; 2],
                ..select(Some("shop"), &[], &[], &[])
            },
            &["operations[1] is given twice"],
        ),
    ] {
        assert_eq!(told(config.clone()), expected, "{config:?}");
    }
}
