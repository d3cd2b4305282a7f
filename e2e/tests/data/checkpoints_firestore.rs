//! What is Firestore's alone, as a store of positions: credentials, its emulator's variable, and a document that others change.

use serde_json::{Value, json};
use tidegate_tests::servers::{Firestore, PROJECT};
use tidegate_tests::{Cli, Host, HostOptions, eventually};

use crate::checkpoints::{document, pipeline, record};
use crate::scene::{PATIENCE, Scene, assert_exactly, config, numbered};

/// `checkpoint` in the emulator, in a collection of this test's own.
async fn checkpoint(scene: &Scene) -> String {
    let (endpoint, name) = (Firestore::shared().await.endpoint(), scene.names.database());
    format!(
        r#"{{ firestore: {{ project: {PROJECT}, endpoint: "{endpoint}", collection: "{name}", lease: 2s, interval: 200ms }} }}"#
    )
}

/// Waits until a position behind this one is stored.
async fn wait_stored(scene: &Scene, before: &Value) {
    eventually(PATIENCE, "another position", async || {
        let stored = record(scene).await.and_then(|record| record.get("positions").cloned());
        if stored.as_ref().is_some_and(|stored| stored != before) { Ok(()) } else { Err(stored) }
    })
    .await;
}

#[tokio::test]
async fn e1_a_document_that_others_change_is_looked_at_before_it_is_written() {
    let scene = Scene::shared().await;
    let firestore = Firestore::shared().await;
    let (pipeline, document) = (pipeline(&scene, &checkpoint(&scene).await), document(&scene));
    let mut host = scene.ready_host(std::slice::from_ref(&pipeline)).await;
    let things = scene.collection("things");
    things.insert_many(numbered(0..10)).await.unwrap();
    scene.wait_last("out", 9).await;

    // A note of somebody's: the host still has the pipeline, goes on, and leaves the note.
    let before = record(&scene).await.unwrap()["positions"].clone();
    firestore.set(&document, json!({ "note": { "stringValue": "ask Ada" } })).await;
    things.insert_many(numbered(10..20)).await.unwrap();
    wait_stored(&scene, &before).await;
    assert_eq!(record(&scene).await.unwrap()["note"]["stringValue"], "ask Ada");

    // The document is gone, as when a database is emptied: nobody took the pipeline, so the host takes it again.
    firestore.remove(&document).await;
    things.insert_many(numbered(20..30)).await.unwrap();
    wait_stored(&scene, &Value::Null).await;
    let again = record(&scene).await.unwrap();
    assert!(!again.contains_key("note") && again.contains_key("about"), "{again:?}");

    // A higher fence is another host's.
    let fence: i64 = again["fence"]["integerValue"].as_str().unwrap().parse().unwrap();

    let fields: serde_json::Map<String, Value> = [("id", "other"), ("host", "elsewhere")]
        .map(|(name, value)| (name.to_owned(), json!({ "stringValue": value })))
        .into_iter()
        .chain([("pid".to_owned(), json!({ "integerValue": "7" }))])
        .collect();
    let holder = json!({ "mapValue": { "fields": fields } });
    firestore.set(&document, json!({ "fence": { "integerValue": (fence + 1).to_string() }, "holder": holder })).await;
    assert_eq!(host.wait_exit(PATIENCE).await, Some(1));
    let told = host.stderr();
    assert!(told.contains("TG0612") && told.contains("process 7 on elsewhere"), "{told}");
    assert_eq!(record(&scene).await.unwrap()["fence"]["integerValue"], (fence + 1).to_string());
    assert_exactly(&scene.entries("out").await, 30);

    // Given back, it is taken; a record that is none stops the host, and stays as it is until somebody says so.
    firestore.set(&document, json!({ "holder": { "nullValue": null } })).await;
    let mut host = scene.ready_host(std::slice::from_ref(&pipeline)).await;
    assert_eq!(host.stop().await, Some(0));
    let broken = json!({ "mapValue": { "fields": { "p:all": { "stringValue": "nonsense" } } } });
    firestore.set(&document, json!({ "positions": broken })).await;
    let mut host = scene.host(std::slice::from_ref(&pipeline));
    assert_eq!(host.wait_exit(PATIENCE).await, Some(1));
    let told = host.stderr();
    assert!(told.contains("TG0601") && told.contains("its position `p:all` is none"), "{told}");
    assert!(told.contains(&document) && told.contains("tidegate checkpoint reset"), "{told}");
    assert_eq!(record(&scene).await.unwrap()["positions"], broken);
    let reset = Cli::run_in(scene.dir.path(), &["checkpoint", "reset", "tidegate.yaml", "main", "--yes"], b"").await;
    assert!(reset.status.success(), "{reset:?}");
    assert_eq!(record(&scene).await, None);
}

#[tokio::test]
async fn e1_a_record_of_a_newer_program_is_not_read() {
    let scene = Scene::shared().await;
    let pipeline = pipeline(&scene, &checkpoint(&scene).await);
    let mut host = scene.ready_host(std::slice::from_ref(&pipeline)).await;
    assert_eq!(host.stop().await, Some(0));
    let mut about = record(&scene).await.unwrap()["about"].clone();
    about["mapValue"]["fields"]["version"] = json!({ "integerValue": "99" });
    Firestore::shared().await.set(&document(&scene), json!({ "about": about })).await;
    let mut host = scene.host(std::slice::from_ref(&pipeline));
    assert_eq!(host.wait_exit(PATIENCE).await, Some(1));
    assert!(host.stderr().contains("TG0601") && host.stderr().contains("its form is 99"), "{}", host.stderr());
}

#[tokio::test]
async fn e1_credentials_that_are_none_are_told_by_all_commands() {
    let scene = Scene::shared().await;
    std::fs::write(scene.dir.path().join("key.json"), r#"{ "type": "service_account", "private_key": "geheim" }"#)
        .unwrap();
    let checkpoint = format!(
        r#"{{ firestore: {{ project: {PROJECT}, endpoint: "https://127.0.0.1:1", credentials_file: key.json }} }}"#
    );
    let mut host = scene.host(&[pipeline(&scene, &checkpoint)]);
    assert_eq!(host.wait_exit(PATIENCE).await, Some(1));
    let told = host.stderr();
    assert!(told.contains("TG1105") && told.contains("key.json") && !told.contains("geheim"), "{told}");
    let run = async |args: &[&str]| {
        let done = Cli::run_in(scene.dir.path(), args, b"").await;
        (done.status.code(), String::from_utf8([done.stdout, done.stderr].concat()).unwrap())
    };
    for args in [&["doctor", "tidegate.yaml"][..], &["checkpoint", "show", "tidegate.yaml", "main"]] {
        let (code, told) = run(args).await;
        assert!(code == Some(1) && told.contains("TG1105") && told.contains("key.json"), "{args:?}: {told}");
        assert!(!told.contains("geheim"), "{args:?}: {told}");
    }
    let (code, page) = run(&["explain", "tg1105"]).await;
    assert!(code == Some(0) && page.contains("GOOGLE_APPLICATION_CREDENTIALS"), "{page}");
}

#[tokio::test]
async fn e1_the_emulator_of_the_environment_is_taken_and_names_are_checked_before() {
    let scene = Scene::shared().await;
    let firestore = Firestore::shared().await;
    let name = scene.names.database();
    // The defaults of all but what tests share: a collection below a document, and a name of the record's own.
    let checkpoint =
        format!("{{ firestore: {{ project: {PROJECT}, collection: \"{name}/one/records\", document: stock }} }}");
    let text = config("log: { level: info, format: json }", &[pipeline(&scene, &checkpoint)]);
    let address = firestore.endpoint().trim_start_matches("http://").to_owned();
    let options = HostOptions {
        dir: Some(scene.dir.path().to_owned()),
        env: vec![("FIRESTORE_EMULATOR_HOST".to_owned(), address)],
        ..HostOptions::default()
    };
    let mut host = Host::start_with(&text, options);
    host.wait_ready().await;
    scene.collection("things").insert_many(numbered(0..10)).await.unwrap();
    scene.wait_last("out", 9).await;
    assert_eq!(host.stop().await, Some(0));
    let record = firestore.fields(&format!("{name}/one/records/stock")).await.expect("a record");
    assert!(record.contains_key("positions") && !record.contains_key("holder"), "{record:?}");

    for (wrong, says) in [
        ("project: Shop", "TG1107"),
        ("project: shop, database: DB", "4 to 63"),
        ("project: shop, collection: a/b", "COLLECTION/DOCUMENT/COLLECTION"),
        ("project: shop, document: __a__", "Firestore's own"),
        ("project: shop, endpoint: \"http://127.0.0.1:1/v1\"", "without a path"),
        ("project: shop, endpoint: \"http://127.0.0.1:1\", credentials_file: key.json", "TG0106"),
        ("project: shop, lease: 1ms", "lease"),
        ("database: shop", "project"),
    ] {
        let text = config("", &[pipeline(&scene, &format!("{{ firestore: {{ {wrong} }} }}"))]);
        std::fs::write(scene.dir.path().join("wrong.yaml"), text).unwrap();
        let checked = Cli::run_in(scene.dir.path(), &["check", "wrong.yaml"], b"").await;
        let told = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert!(checked.status.code() == Some(2) && told.contains(says), "{wrong}: {told}");
    }
}
