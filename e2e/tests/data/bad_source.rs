//! Sources that cannot be opened: what is said, and what is not.

use std::time::Duration;

use mongodb::bson::doc;
use serde_json::Value;
use tidegate_tests::servers::{Mongo, MongoOptions, free_port, shared};
use tidegate_tests::{Host, field};

use crate::scene::{PATIENCE, Scene, numbered, wait_not_ready};

/// A pipeline `main` to the stream `out`, from that address.
fn pipeline(scene: &Scene, uri: &str, database: &str) -> String {
    let source = format!(r#"{{ mongodb: {{ uri: "{uri}", database: "{database}" }} }}"#);
    scene.pipeline("main", &source, "[]", &format!("{{ out: {} }}", scene.stream_sink("out", "json")))
}

fn code(line: &Value) -> Option<&str> {
    field(line, "code").and_then(Value::as_str)
}

/// Everything a person, a log or a scraper may see.
async fn everything_shown(host: &mut Host) -> String {
    let mut shown = host.stdout() + &host.stderr();
    for page in ["/health", "/readiness", "/metrics", "/api/v1/status", "/"] {
        shown += &host.get(page).await.1;
    }
    shown
}

#[tokio::test]
async fn a_wrong_port_is_tried_again_and_again() {
    let scene = Scene::shared().await;
    let port = free_port();
    let uri = format!("mongodb://user:s3cret-pa55@127.0.0.1:{port}/?replicaSet=rs0&serverSelectionTimeoutMS=300");
    let mut host = scene.host(&[pipeline(&scene, &uri, "shop")]);
    let line = host.wait_event("source_retry").await;
    assert_eq!((code(&line), &line["level"], &line["pipeline"]), (Some("TG0301"), &"warn".into(), &"main".into()));
    let message = line["message"].as_str().unwrap();
    assert!(message.contains(&format!("127.0.0.1:{port}")), "the line names the server: {message}");
    tidegate_tests::eventually(PATIENCE, "three tries", async || {
        let tries = host.log().iter().filter(|line| line["event"] == "source_retry").count();
        if tries >= 3 { Ok(()) } else { Err(tries) }
    })
    .await;
    let reason = wait_not_ready(&mut host, "source", "TG0301").await;
    assert!(reason.contains(&port.to_string()), "{reason}");
    let shown = everything_shown(&mut host).await;
    assert!(!shown.contains("s3cret-pa55"), "the password is shown: {shown}");
    assert!(host.is_running());
    assert_eq!(host.stop().await, Some(0), "a source that never opened is nothing to drain");
    assert!(!(host.stdout() + &host.stderr()).contains("s3cret-pa55"));
}

#[tokio::test]
async fn a_malformed_address_is_a_mistake_in_the_configuration() {
    let scene = Scene::shared().await;
    for uri in [
        "mongodb://user:s3cret-pa55@127.0.0.1:notaport/",
        "mongodb://user:s3cret-pa55@/",
        "http://user:s3cret-pa55@127.0.0.1/",
        "mongodb://user:s3cret-pa55@127.0.0.1/?retryWrites=perhaps",
    ] {
        let mut host = scene.host(&[pipeline(&scene, uri, "shop")]);
        let exit = host.wait_exit(PATIENCE).await;
        let shown = host.stdout() + &host.stderr();
        assert!(!shown.contains("s3cret-pa55"), "{uri}: the password is shown: {shown}");
        assert_eq!(exit, Some(2), "{uri}: {shown}");
        assert!(shown.contains("uri"), "{uri}: the key is named: {shown}");
    }
}

#[tokio::test]
async fn a_missing_right_names_the_role_to_grant() {
    let mongo = Mongo::start(MongoOptions::with_auth()).await;
    let admin = mongo.client().await;
    let user = doc! {
        "createUser": "reader", "pwd": "s3cret-pa55", "roles": [{ "role": "read", "db": "other" }],
    };
    admin.database("admin").run_command(user).await.unwrap();
    let scene = Scene::on(mongo.uri(), &shared().await.redis_url).await;
    let allowed = mongo.uri_as(Some(("reader", "s3cret-pa55")));
    let mut host = scene.host(&[pipeline(&scene, &allowed, "shop")]);
    assert_eq!(host.wait_exit(PATIENCE).await, Some(1), "{}", host.stderr());
    let log = host.log();
    let line = log.iter().find(|line| line["event"] == "pipeline_stopped").expect("a line about the end");
    assert_eq!(code(line), Some("TG0302"), "{line}");
    let message = line["message"].as_str().unwrap();
    assert!(message.contains("shop") && message.contains("read"), "the role and its database: {message}");
    assert!(!(host.stdout() + &host.stderr()).contains("s3cret-pa55"));

    let wrong = mongo.uri_as(Some(("reader", "wr0ng-pa55")));
    let mut host = scene.host(&[pipeline(&scene, &wrong, "other")]);
    assert_eq!(host.wait_exit(PATIENCE).await, Some(1), "{}", host.stderr());
    assert!(host.log().iter().any(|line| code(line) == Some("TG0302")), "{}", host.stderr());
    assert!(!(host.stdout() + &host.stderr()).contains("wr0ng-pa55"));

    // With the role it named it works, and the password is in nothing it shows.
    let grant = doc! { "grantRolesToUser": "reader", "roles": [{ "role": "read", "db": "shop" }] };
    admin.database("admin").run_command(grant).await.unwrap();
    let mut host = scene.ready_host(&[pipeline(&scene, &allowed, "shop")]).await;
    admin.database("shop").collection("things").insert_many(numbered(0..3)).await.unwrap();
    scene.wait_last("out", 2).await;
    let shown = everything_shown(&mut host).await;
    assert!(!shown.contains("s3cret-pa55"), "{shown}");
    assert_eq!(host.stop().await, Some(0));
}

#[tokio::test]
async fn a_standalone_server_is_told_how_to_become_a_replica_set() {
    let mongo = Mongo::start(MongoOptions::standalone()).await;
    let scene = Scene::on(mongo.uri(), &shared().await.redis_url).await;
    let mut host = scene.host(&[pipeline(&scene, mongo.uri(), "shop")]);
    assert_eq!(host.wait_exit(PATIENCE).await, Some(1));
    let log = host.log();
    let line = log.iter().find(|line| line["event"] == "pipeline_stopped").expect("a line about the end");
    assert_eq!(code(line), Some("TG0303"), "{line}");
    let message = line["message"].as_str().unwrap();
    assert!(message.contains("rs.initiate") && message.contains("--replSet"), "{message}");
}

#[tokio::test]
async fn one_pipeline_that_cannot_go_on_leaves_the_other_alone() {
    let mongo = Mongo::start(MongoOptions::standalone()).await;
    let scene = Scene::shared().await;
    let away = format!("mongodb://127.0.0.1:{}/?serverSelectionTimeoutMS=300", free_port());
    let source = |uri: &str| format!(r#"{{ mongodb: {{ uri: "{uri}", database: shop }} }}"#);
    let nowhere = format!("{{ out: {} }}", scene.stream_sink("nowhere", "json"));
    let pipelines = [
        scene.pipeline("stops", &source(mongo.uri()), "[]", &nowhere),
        scene.pipeline("retries", &source(&away), "[]", &nowhere),
        scene.plain(),
    ];
    let mut host = scene.host(&pipelines);
    let stopped = host.wait_event("pipeline_stopped").await;
    assert_eq!((&stopped["pipeline"], code(&stopped)), (&"stops".into(), Some("TG0303")));
    host.wait_log(PATIENCE, "a retry", |line| line["event"] == "source_retry" && line["pipeline"] == "retries").await;
    tidegate_tests::eventually(PATIENCE, "the good one runs", async || {
        let state = host.status().await["pipelines"]["main"]["state"].clone();
        if state == "running" { Ok(()) } else { Err(state) }
    })
    .await;
    scene.collection("things").insert_many(numbered(0..100)).await.unwrap();
    scene.wait_last("out", 99).await;
    let status = host.status().await;
    assert_eq!(status["pipelines"]["stops"]["state"], "stopped", "{status}");
    assert_eq!(status["pipelines"]["retries"]["state"], "retrying", "{status}");
    assert_eq!(status["pipelines"]["main"]["state"], "running", "{status}");
    assert_eq!(host.get("/health").await.0, 200, "one of three lives");
    let (ready, body) = host.get("/readiness").await;
    assert_eq!(ready, 503);
    let body: Value = serde_json::from_str(&body).unwrap();
    let named: Vec<_> = body["reasons"].as_array().unwrap().iter().map(|reason| reason["pipeline"].clone()).collect();
    assert!(named.contains(&"stops".into()) && named.contains(&"retries".into()), "{body}");
    assert!(!named.contains(&"main".into()), "{body}");
    host.signal(tidegate_tests::Signal::TERM);
    assert!(host.wait_exit(Duration::from_secs(30)).await.is_some());
}
