//! Mirrors between servers of different versions, both ways at once, compared to the byte.

use std::collections::BTreeMap;

use futures::TryStreamExt as _;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, DateTime, Document, RawDocumentBuf, doc};
use mongodb::{Client, Database};
use tidegate_tests::servers::{Mongo, MongoOptions, Version};
use tidegate_tests::{Cli, Host, TestNames, eventually};

use crate::scene::{PATIENCE, config};
use crate::types::every_type;

/// A test for each pair of versions.
macro_rules! pairs {
    ($run:ident { $($name:ident: $one:ident, $two:ident;)+ }) => {$(
        #[tokio::test]
        async fn $name() {
            $run(Version::$one, Version::$two).await;
        }
    )+};
}

/// Inserts, updates, replaces and deletes of all kinds; the last of all is a document in `end`.
async fn write(database: &Database) {
    let things = database.collection::<Document>("things");
    let ids = (0..200).map(Bson::from);
    let ids = ids.chain([
        "text".into(),
        Bson::Null,
        true.into(),
        2.5.into(),
        (1_i64 << 60).into(),
        doc! { "a": 1, "b": "c" }.into(),
        DateTime::from_millis(0).into(),
    ]);
    things.insert_many(ids.map(|id| doc! { "_id": id, "n": 0, "list": [1, 2, 3], "in": { "a": 1 } })).await.unwrap();
    things.insert_one(every_type(ObjectId::new())).await.unwrap();
    for n in 0..40 {
        let filter = doc! { "_id": n };
        match n % 8 {
            0 => drop(things.update_one(filter, doc! { "$set": { "in.b": n, "n": 1_i64 } }).await.unwrap()),
            1 => drop(things.update_one(filter, doc! { "$unset": { "in.a": "" }, "$inc": { "n": 1 } }).await.unwrap()),
            2 => drop(things.update_one(filter, doc! { "$push": { "list": { "x": n } } }).await.unwrap()),
            3 => drop(things.update_one(filter, doc! { "$pop": { "list": 1 } }).await.unwrap()),
            4 => drop(
                things.update_one(filter, vec![doc! { "$set": { "sum": { "$add": ["$n", 1.5] } } }]).await.unwrap(),
            ),
            5 => drop(things.replace_one(filter, doc! { "b": 1, "a": [{}], "_id": n }).await.unwrap()),
            6 => drop(things.delete_one(filter).await.unwrap()),
            _ => {
                things.delete_one(filter.clone()).await.unwrap();
                things.insert_one(doc! { "again": true, "_id": n }).await.unwrap();
            }
        }
    }
    things.update_many(doc! { "_id": { "$gte": 100 } }, doc! { "$rename": { "in": "out" } }).await.unwrap();
    things.delete_many(doc! { "_id": { "$gt": 180 } }).await.unwrap();
    database.collection::<Document>("end").insert_one(doc! { "_id": 1 }).await.unwrap();
}

/// All documents of a database, by collection and `_id`.
async fn content(database: &Database) -> BTreeMap<String, Vec<RawDocumentBuf>> {
    let mut content = BTreeMap::new();
    let names = database.list_collection_names().await.unwrap();
    for name in names.into_iter().filter(|name| !name.starts_with("system.")) {
        let found = database.collection::<RawDocumentBuf>(&name).find(doc! {}).sort(doc! { "_id": 1 }).await.unwrap();
        content.insert(name, found.try_collect().await.unwrap());
    }
    content
}

async fn mirrored(from: &Client, to: &Client, name: &str) {
    let (from, to) = (from.database(name), to.database(name));
    eventually(PATIENCE, "the last document is mirrored", async || {
        to.collection::<Document>("end").find_one(doc! {}).await.unwrap().is_some()
    })
    .await;
    let (source, target) = (content(&from).await, content(&to).await);
    assert!(source["things"].len() > 150);
    assert_eq!(source, target, "{name}");
}

async fn both_ways(one: Version, two: Version) {
    let (one, two) = tokio::join!(Mongo::start(MongoOptions::of(one)), Mongo::start(MongoOptions::of(two)));
    let names = TestNames::new();
    let (there, back) = (format!("{}-t", names.database()), format!("{}-b", names.database()));
    let pipeline = |name: &str, from: &Mongo, to: &Mongo, database: &str| {
        format!(
            r#"  {name}: {{ source: {{ mongodb: {{ uri: "{}", database: "{database}" }} }}, sinks: {{ out: {{ mongodb: {{ uri: "{}" }} }} }} }}"#,
            from.uri(),
            to.uri()
        )
    };
    let pipelines = [pipeline("there", &one, &two, &there), pipeline("back", &two, &one, &back)];
    let mut host = Host::start(&config("log: { level: info, format: json }", &pipelines));
    host.wait_ready().await;
    let (first, second) = (one.client().await, two.client().await);
    let written = (first.database(&there), second.database(&back));
    tokio::join!(write(&written.0), write(&written.1));
    mirrored(&first, &second, &there).await;
    mirrored(&second, &first, &back).await;
    for (from, to, name) in [(&one, &two, &there), (&two, &one, &back)] {
        let verified = Cli::run(&["verify", from.uri(), to.uri(), "--database", name], b"").await;
        assert_eq!(verified.status.code(), Some(0), "{verified:?}");
    }
    // As a whole too, whatever else is kept beside the mirrors.
    first.database("tidegate").collection::<Document>("checkpoints").insert_one(doc! { "_id": 1 }).await.unwrap();
    let verified = Cli::run(&["verify", two.uri(), one.uri(), "--schema"], b"").await;
    assert_eq!(verified.status.code(), Some(0), "{verified:?}");
    // The second opinion is one: it sees what is taken away.
    second.database(&there).collection::<Document>("things").delete_one(doc! { "_id": 100 }).await.unwrap();
    let verified = Cli::run(&["verify", one.uri(), two.uri(), "--database", &there, "--wait", "0s"], b"").await;
    assert_eq!(verified.status.code(), Some(1), "{verified:?}");
    assert_eq!(host.stop().await, Some(0));
}

pairs! {
    both_ways {
        c3_mongodb_4_4_and_5_0_mirror_each_other: V4_4, V5_0;
        c3_mongodb_4_4_and_6_0_mirror_each_other: V4_4, V6_0;
        c3_mongodb_4_4_and_6_0_that_splits_mirror_each_other: V4_4, V6_0Split;
        c3_mongodb_5_0_and_6_0_mirror_each_other: V5_0, V6_0;
        c3_mongodb_5_0_and_6_0_that_splits_mirror_each_other: V5_0, V6_0Split;
        c3_mongodb_6_0_and_6_0_that_splits_mirror_each_other: V6_0, V6_0Split;
    }
}

/// Collections of several kinds that are made, changed, dropped and renamed.
async fn change_collections(database: &Database, version: Version) {
    let run = async |command: Document| drop(database.run_command(command).await.unwrap());
    run(doc! { "create": "german", "collation": { "locale": "de", "strength": 1 } }).await;
    run(doc! { "create": "valid", "validator": { "n": { "$gte": 0 } } }).await;
    // An older server tells nobody that it made something.
    if version >= Version::V6_0 {
        run(doc! { "create": "limited", "capped": true, "size": 100_000, "max": 7 }).await;
        run(doc! { "create": "seen", "viewOn": "valid", "pipeline": [{ "$match": { "n": 1 } }] }).await;
        let clustered = doc! { "key": { "_id": 1 }, "unique": true };
        run(doc! { "create": "clustered", "clusteredIndex": clustered, "expireAfterSeconds": 100_000 }).await;
    }
    let indexes = vec![
        doc! { "key": { "n": 1 }, "name": "n", "sparse": true },
        doc! { "key": { "at": 1 }, "name": "ttl", "expireAfterSeconds": 100_000 },
        doc! { "key": { "gone": 1 }, "name": "gone" },
    ];
    run(doc! { "createIndexes": "things", "indexes": indexes }).await;
    run(doc! { "collMod": "things", "index": { "name": "ttl", "expireAfterSeconds": 90_000 } }).await;
    run(doc! { "dropIndexes": "things", "index": "gone" }).await;
    for name in ["limited", "german", "valid", "clustered", "old", "gone"] {
        let numbered = (0..10).map(|n| doc! { "_id": n, "n": n });
        database.collection::<Document>(name).insert_many(numbered).await.unwrap();
    }
    run(doc! { "drop": "gone" }).await;
    let full = |name: &str| format!("{}.{name}", database.name());
    let rename = doc! { "renameCollection": full("old"), "to": full("new") };
    database.client().database("admin").run_command(rename).await.unwrap();
}

async fn index_options(database: &Database) -> Vec<Document> {
    let list = database.run_cursor_command(doc! { "listIndexes": "things" }).await.unwrap();
    let mut found: Vec<Document> = list.try_collect().await.unwrap();
    found.sort_by_key(|index| index.get_str("name").unwrap().to_owned());
    // Which type of number a server makes of it is its own affair.
    for index in &mut found {
        if let Ok(seconds) = index.get_i64("expireAfterSeconds") {
            index.insert("expireAfterSeconds", i32::try_from(seconds).unwrap());
        }
    }
    found
}

/// Updates as they are described, and what happens to collections, with the position in the target.
async fn described_both_ways(one: Version, two: Version) {
    let versions = [one, two];
    let (one, two) = tokio::join!(Mongo::start(MongoOptions::of(one)), Mongo::start(MongoOptions::of(two)));
    let names = TestNames::new();
    let databases = [format!("{}-t", names.database()), format!("{}-b", names.database())];
    let pipeline = |name: &str, from: &Mongo, to: &Mongo, database: &str| {
        let source = format!(
            r#"{{ mongodb: {{ uri: "{}", database: "{database}", full_document: off, ddl: deliver }} }}"#,
            from.uri()
        );
        let sink = format!(r#"{{ mongodb: {{ uri: "{}", ddl: {{ drop: apply, rename: apply }} }} }}"#, to.uri());
        format!("  {name}: {{ source: {source}, sinks: {{ out: {sink} }}, checkpoint: {{ sink: {{ lease: 2s }} }} }}")
    };
    let pipelines = [pipeline("there", &one, &two, &databases[0]), pipeline("back", &two, &one, &databases[1])];
    let mut host = Host::start(&config("log: { level: info, format: json }", &pipelines));
    host.wait_ready().await;
    let clients = [one.client().await, two.client().await];
    for (from, to, name, version) in
        [(&clients[0], &clients[1], &databases[0], versions[0]), (&clients[1], &clients[0], &databases[1], versions[1])]
    {
        change_collections(&from.database(name), version).await;
        write(&from.database(name)).await;
        mirrored(from, to, name).await;
        let (from, to) = (from.database(name), to.database(name));
        let limited = async |database: &Database| {
            database.collection::<Document>("limited").count_documents(doc! {}).await.unwrap()
        };
        if version >= Version::V6_0 {
            assert_eq!(index_options(&to).await, index_options(&from).await, "{name}");
            assert_eq!(limited(&to).await, 7);
        }
    }
    let letters = std::fs::read_dir(host.dir().join(".tidegate")).unwrap();
    let letters = letters.map(|file| file.unwrap().path()).filter(|path| path.to_string_lossy().contains(".dead."));
    let letters: String = letters.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    assert_eq!(letters, "");
    let missing = host.log().iter().filter(|line| line["event"] == "sink_document_missing").count();
    assert_eq!(missing, 0);
    assert_eq!(host.stop().await, Some(0));
}

pairs! {
    described_both_ways {
        c3_c6_updates_and_changes_of_collections_between_4_4_and_6_0: V4_4, V6_0;
        c3_c6_updates_and_changes_of_collections_between_5_0_and_6_0: V5_0, V6_0;
        c3_c6_updates_and_changes_of_collections_between_4_4_and_5_0: V4_4, V5_0;
    }
}
