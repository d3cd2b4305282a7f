//! Changes of collections that the target does not take, or takes in another way: rights that lack, names that are taken, and letters that are
//! replayed.

use mongodb::Database;
use mongodb::bson::{Document, doc};
use serde_json::Value;
use tidegate_tests::servers::{Mongo, MongoOptions};
use tidegate_tests::{Cli, eventually};

use crate::scene::{PATIENCE, Scene, all, numbered};

fn copy(scene: &Scene) -> Database {
    scene.database.client().database(&format!("{}-copy", scene.names.database()))
}

fn pipeline(scene: &Scene, target: &str, ddl: &str) -> String {
    let (uri, name) = (&scene.mongodb_uri, scene.names.database());
    let source = format!(r#"{{ mongodb: {{ uri: "{uri}", database: "{name}", ddl: deliver }} }}"#);
    let sink = format!(r#"{{ mongodb: {{ uri: "{target}", database: "{name}-copy", ddl: {ddl} }} }}"#);
    format!(
        r#"  main: {{ source: {source}, sinks: {{ out: {sink} }}, checkpoint: {{ sink: {{ lease: 2s, name: "{name}" }} }} }}"#
    )
}

/// Waits until the mirror has all that happened before.
async fn caught_up(scene: &Scene, n: i32) {
    scene.collection("end").insert_one(doc! { "_id": n }).await.unwrap();
    let copy = copy(scene).collection::<Document>("end");
    eventually(PATIENCE, "the last document", async || copy.find_one(doc! { "_id": n }).await.unwrap().is_some()).await;
}

/// Who may write documents, and nothing else: `readWrite` makes collections and indexes, `dbAdmin` changes them.
#[tokio::test]
async fn a_right_that_lacks_for_a_change_of_a_collection_stops_the_pipeline_with_its_name() {
    let mongo = Mongo::start(MongoOptions::with_auth()).await;
    let scene = Scene::on(mongo.uri(), "redis://127.0.0.1:1").await;
    let (admin, target) = (scene.database.client().database("admin"), copy(&scene).name().to_owned());
    let writes =
        doc! { "resource": { "db": &target, "collection": "" }, "actions": ["find", "insert", "update", "remove"] };
    for command in [
        doc! { "createRole": "writer", "roles": [], "privileges": [writes] },
        doc! { "createUser": "writer", "pwd": "s3cret", "roles": ["writer"] },
    ] {
        admin.run_command(command).await.unwrap();
    }
    // So that it need not be made by a write.
    copy(&scene).collection("end").insert_one(doc! { "_id": 0 }).await.unwrap();
    copy(&scene).collection("tidegate_positions").insert_one(doc! { "_id": "x" }).await.unwrap();
    copy(&scene).collection("things").insert_one(doc! { "_id": -1 }).await.unwrap();
    for name in ["things", "end"] {
        scene.database.create_collection(name).await.unwrap();
    }
    let main = pipeline(&scene, &mongo.uri_as(Some(("writer", "s3cret"))), "{}");
    for (command, grant) in [
        (doc! { "createIndexes": "things", "indexes": [{ "key": { "a": 1 }, "name": "a" }] }, "readWrite"),
        (doc! { "collMod": "things", "index": { "name": "a", "hidden": true } }, "dbAdmin"),
    ] {
        let mut host = scene.ready_host(std::slice::from_ref(&main)).await;
        // Documents are written all the same.
        scene.collection("things").insert_one(doc! { "of": grant }).await.unwrap();
        caught_up(&scene, i32::try_from(grant.len()).unwrap()).await;
        scene.database.run_command(command).await.unwrap();
        assert_eq!(host.wait_exit(PATIENCE).await, Some(1), "{}", host.stderr());
        let log = host.log();
        let line = log.iter().find(|line| line["event"] == "pipeline_stopped").expect("a line about the end");
        let told = line.to_string();
        assert!(told.contains("TG0302") && told.contains("dbAdmin") && told.contains(&target), "{told}");
        let grant = doc! { "grantRolesToUser": "writer", "roles": [{ "role": grant, "db": &target }] };
        admin.run_command(grant).await.unwrap();
    }
    // With the rights it goes on with what it stood at.
    let mut host = scene.ready_host(&[main]).await;
    caught_up(&scene, 100).await;
    let indexes = copy(&scene).collection::<Document>("things").list_index_names().await.unwrap();
    assert_eq!(indexes, ["_id_", "a"]);
    assert_eq!(host.stop().await, Some(0));
    assert_eq!(scene.dead_letters(), Vec::<Value>::new());
}

/// A dump that was taken behind a rename, and a stream that begins before it.
#[tokio::test]
async fn c6_a_rename_to_a_name_that_the_target_has_brings_both_together() {
    let scene = Scene::shared().await;
    let main = pipeline(&scene, &scene.mongodb_uri, "{ drop: apply, rename: apply }");
    let mut host = scene.ready_host(std::slice::from_ref(&main)).await;
    caught_up(&scene, 1).await;
    assert_eq!(host.stop().await, Some(0));
    let (old, new) = (scene.collection("old"), scene.collection("new"));
    old.insert_many(numbered(0..10)).await.unwrap();
    let full = |name: &str| format!("{}.{name}", scene.names.database());
    let rename = doc! { "renameCollection": full("old"), "to": full("new") };
    scene.database.client().database("admin").run_command(rename).await.unwrap();
    new.update_one(doc! { "_id": 1 }, doc! { "$set": { "n": 100 } }).await.unwrap();
    new.delete_one(doc! { "_id": 2 }).await.unwrap();
    new.insert_many(numbered(10..12)).await.unwrap();
    // As a copy finds it; one document came to the target before, and is under its old name alone.
    let copied = all(&new).await;
    copy(&scene)
        .collection::<Document>("new")
        .insert_many(copied.iter().filter(|one| !matches!(one.get_i32("_id"), Ok(5))))
        .await
        .unwrap();
    let mut host = scene.ready_host(&[main]).await;
    host.wait_event("sink_rename_merged").await;
    caught_up(&scene, 2).await;
    assert_eq!(all(&copy(&scene).collection("new")).await, all(&new).await);
    let names = copy(&scene).list_collection_names().await.unwrap();
    assert!(!names.contains(&"old".to_owned()), "{names:?}");
    assert_eq!(host.stop().await, Some(0));
    assert_eq!(scene.dead_letters(), Vec::<Value>::new());
}

#[tokio::test]
async fn letters_of_changes_of_collections_are_replayed() {
    let scene = Scene::shared().await;
    let target = copy(&scene);
    let doubles = [doc! { "_id": "x", "n": 7 }, doc! { "_id": "y", "n": 7 }];
    target.collection("things").insert_many(doubles).await.unwrap();
    let main = pipeline(&scene, &scene.mongodb_uri, "{}");
    let mut host = scene.ready_host(std::slice::from_ref(&main)).await;
    let source = &scene.database;
    let index = doc! { "key": { "n": 1 }, "name": "n", "unique": true };
    source.run_command(doc! { "createIndexes": "things", "indexes": [index] }).await.unwrap();
    // Refused, since the target has a view of that name.
    target.run_command(doc! { "create": "seen", "viewOn": "things", "pipeline": [] }).await.unwrap();
    source.run_command(doc! { "create": "seen" }).await.unwrap();
    source.run_command(doc! { "collMod": "seen", "validator": { "n": 1 } }).await.unwrap();
    caught_up(&scene, 1).await;
    let letters = scene.wait_dead_letters(2).await;
    let ops: Vec<&str> = letters.iter().map(|letter| letter["change"]["op"].as_str().unwrap()).collect();
    assert_eq!(ops, ["create_indexes", "modify"], "{letters:?}");
    assert_eq!(host.stop().await, Some(0));
    let config = crate::scene::config("log: { level: info, format: json }", &[main]);
    std::fs::write(scene.dir.path().join("tidegate.yaml"), config).unwrap();
    let replay = async |args: &[&str]| {
        let args = [&["dlq", "replay", "tidegate.yaml", "main", "--yes"], args].concat();
        let output = Cli::run_in(scene.dir.path(), &args, b"").await;
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    // What stood in the way is still there; and what is not made but changed is of long ago.
    let told = replay(&["--all"]).await;
    assert!(told.contains("failed again 2") && told.contains("--overwrite does it"), "{told}");
    target.collection::<Document>("things").delete_one(doc! { "_id": "y" }).await.unwrap();
    target.run_command(doc! { "drop": "seen" }).await.unwrap();
    target.run_command(doc! { "create": "seen" }).await.unwrap();
    let told = replay(&["--all"]).await;
    assert!(told.contains("replayed 1, failed again 1"), "{told}");
    let indexes = target.collection::<Document>("things").list_index_names().await.unwrap();
    assert_eq!(indexes, ["_id_", "n"]);
    let told = replay(&["--all", "--overwrite"]).await;
    assert!(told.contains("replayed 1, failed again 0"), "{told}");
    let mut found = target.list_collections().filter(doc! { "name": "seen" }).await.unwrap();
    assert!(found.advance().await.unwrap());
    assert_eq!(found.deserialize_current().unwrap().options.validator, Some(doc! { "n": 1 }));
}
