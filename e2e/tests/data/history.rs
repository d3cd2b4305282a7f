//! How far the oplog reaches back: shown, warned of, and left out where it may not be read.

use mongodb::Client;
use mongodb::bson::{Document, doc};
use tidegate_tests::servers::{Mongo, MongoOptions, shared};
use tidegate_tests::{eventually, field};

use crate::scene::{PATIENCE, Scene, numbered};

/// A pipeline `main` from the scene's database into the stream `out`, with more keys of the source.
fn pipeline(scene: &Scene, uri: &str, more: &str) -> String {
    let database = scene.names.database();
    let source = format!(r#"{{ mongodb: {{ uri: "{uri}", database: "{database}"{more} }} }}"#);
    scene.pipeline("main", &source, "[]", &format!("{{ out: {} }}", scene.stream_sink("out", "json")))
}

#[tokio::test]
async fn a_user_who_may_not_read_the_oplog_lacks_the_gauge_alone() {
    let mongo = Mongo::start(MongoOptions::with_auth()).await;
    let admin = mongo.client().await.database("admin");
    let scene = Scene::on(mongo.uri(), &shared().await.redis_url).await;
    let user = doc! {
        "createUser": "reader", "pwd": "s3cret-pa55", "roles": [{ "role": "read", "db": scene.names.database() }],
    };
    admin.run_command(user).await.unwrap();
    let uri = mongo.uri_as(Some(("reader", "s3cret-pa55")));
    let mut host = scene.ready_host(&[pipeline(&scene, &uri, "")]).await;
    let line = host.wait_event("source_history_unknown").await;
    assert_eq!(line["level"], "info", "{line}");
    let message = line["message"].as_str().unwrap();
    assert!(message.contains("`read`") && message.contains("`local`"), "the role and its database: {message}");
    scene.collection("things").insert_many(numbered(0..50)).await.unwrap();
    scene.wait_last("out", 49).await;
    assert_eq!(host.metric("tidegate_source_history_seconds", &[("pipeline", "main")]).await, None);
    let source = host.status().await["pipelines"]["main"]["source"].clone();
    assert!(source["history_seconds"].is_null() && source["connected"] == true, "{source}");
    let told = host.log().iter().filter(|line| line["event"] == "source_history_unknown").count();
    assert_eq!((told, host.get("/readiness").await.0), (1, 200), "it is told once");
    assert_eq!(host.stop().await, Some(0));

    // With the role it named the gauge is there.
    admin
        .run_command(doc! { "grantRolesToUser": "reader", "roles": [{ "role": "read", "db": "local" }] })
        .await
        .unwrap();
    let mut host = scene.ready_host(&[pipeline(&scene, &uri, "")]).await;
    eventually(PATIENCE, "the gauge", async || {
        host.metric("tidegate_source_history_seconds", &[("pipeline", "main")]).await.is_some()
    })
    .await;
    assert!(host.log().iter().all(|line| line["event"] != "source_history_unknown"));
    assert_eq!(host.stop().await, Some(0));
}

async fn ends(client: &Client) -> (u32, u32) {
    let oplog = client.database("local").collection::<Document>("oplog.rs");
    let mut ends = (0, 0);
    for (order, end) in [(1, &mut ends.0), (-1, &mut ends.1)] {
        let entry = oplog.find_one(doc! {}).sort(doc! { "$natural": order }).await.unwrap().unwrap();
        *end = entry.get_timestamp("ts").unwrap().time;
    }
    ends
}

#[tokio::test]
async fn an_oplog_that_is_full_and_short_is_warned_of() {
    let options = MongoOptions { oplog_mb: 1, args: vec!["--syncdelay".into(), "1".into()], ..MongoOptions::default() };
    let mongo = Mongo::start(options).await;
    let scene = Scene::on(mongo.uri(), &shared().await.redis_url).await;
    // What is stored is lost meanwhile.
    let eager = ", history_warning: 30d, on_lost_position: newest";
    // As long as the oplog has room, nothing falls off however young it is.
    let warned = |host: &tidegate_tests::Host| host.log().iter().any(|line| line["event"] == "source_history_short");
    let mut host = scene.ready_host(&[pipeline(&scene, mongo.uri(), eager)]).await;
    eventually(PATIENCE, "the gauge", async || {
        host.metric("tidegate_source_history_seconds", &[("pipeline", "main")]).await.is_some()
    })
    .await;
    assert_eq!(host.stop().await, Some(0));
    assert!(!warned(&host));

    let client = mongo.client().await;
    let (first, _) = ends(&client).await;
    let junk = client.database("elsewhere").collection::<Document>("junk");
    eventually(PATIENCE, "the oplog is full", async || {
        junk.insert_one(doc! { "text": "x".repeat(1 << 20) }).await.unwrap();
        ends(&client).await.0 > first
    })
    .await;
    let mut host = scene.ready_host(&[pipeline(&scene, mongo.uri(), eager)]).await;
    let line = host.wait_event("source_history_short").await;
    assert_eq!(line["level"], "warn", "{line}");
    let (oldest, newest) = ends(&client).await;
    let left = field(&line, "seconds").and_then(serde_json::Value::as_u64).unwrap();
    assert!(left <= u64::from(newest - oldest) + 60, "{line}");
    assert_eq!(host.stop().await, Some(0));
}
