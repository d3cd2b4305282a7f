//! Several connections and sources in one host: one that fails touches no other. Ids are those of the parity list.

use mongodb::bson::doc;
use mongodb::{Client, Collection, Database, bson::Document};
use serde_json::Value;
use tidegate_tests::servers::{Mongo, MongoOptions, shared};
use tidegate_tests::{Host, eventually};

use crate::scene::{PATIENCE, Scene, assert_exactly, numbered};

/// Two servers, with two databases each, and a pipeline for each database: `NAME` reads database `NAME` into stream `NAME`.
struct Servers {
    scene: Scene,
    away: Mongo,
    here: Client,
    there: Client,
}

impl Servers {
    async fn start() -> Self {
        let away = Mongo::start(MongoOptions::default()).await;
        let shared = shared().await;
        let scene = Scene::on(&shared.mongodb_uri, &shared.redis_url).await;
        let here = scene.database.client().clone();
        let there = away.client().await;
        Self { scene, away, here, there }
    }

    /// A pipeline, with more keys of its source and of itself.
    fn pipeline(&self, name: &str, source: &str, more: &str) -> String {
        let uri = if name.starts_with("here") { &self.scene.mongodb_uri } else { self.away.uri() };
        let join = if uri.contains('?') { '&' } else { '?' };
        let database = self.database(name);
        let source = format!(
            r#"{{ mongodb: {{ uri: "{uri}{join}serverSelectionTimeoutMS=300", database: "{database}", {source} }} }}"#
        );
        let sinks = format!("{{ out: {} }}", self.scene.stream_sink(name, "json"));
        let line = self.scene.pipeline(name, &source, "[]", &sinks);
        match line.strip_suffix(" }") {
            Some(open) => format!("{open}, {more} }}"),
            None => panic!("{line}"),
        }
    }

    fn database(&self, name: &str) -> String {
        format!("{}_{name}", self.scene.names.database())
    }

    fn database_of(&self, name: &str) -> Database {
        let client = if name.starts_with("here") { &self.here } else { &self.there };
        client.database(&self.database(name))
    }

    fn things(&self, name: &str) -> Collection<Document> {
        self.database_of(name).collection("things")
    }

    async fn clean(&self) {
        for name in ["here_one", "here_two"] {
            self.here.database(&self.database(name)).drop().await.unwrap();
        }
    }
}

const RETRY: &str = "retry: { first: 20ms, ceiling: 200ms }";

/// Waits until a pipeline is in that state, and returns what the status says of it.
async fn wait_state(host: &mut Host, name: &str, state: &str) -> Value {
    eventually(PATIENCE, &format!("{name} is {state}"), async || {
        let pipeline = host.status().await["pipelines"][name].clone();
        if pipeline["state"] == state { Ok(pipeline) } else { Err(pipeline.to_string()) }
    })
    .await
}

#[tokio::test]
async fn d2_several_connections_with_several_sources_each_run_side_by_side() {
    let servers = Servers::start().await;
    let filter =
        r#"collections: ["th*"], operations: [insert], pipeline: [{ $match: { "fullDocument.n": { $lt: 40 } } }]"#;
    let pipelines = [
        servers.pipeline("here_one", "collections: [things]", "batch: { max_events: 7 }"),
        servers.pipeline("here_two", filter, "batch: { max_events: 1000 }"),
        servers.pipeline("there_one", "exclude: [\"no*\"]", "batch: { linger: 50ms }"),
        servers.pipeline("there_two", "full_document: off", RETRY),
    ];
    let mut host = servers.scene.ready_host(&pipelines).await;
    let all = [("here_one", 50), ("here_two", 40), ("there_one", 50), ("there_two", 50)];
    for (name, count) in all {
        let things = servers.things(name);
        things.insert_many(numbered(0..count - 1)).await.unwrap();
        // What this pipeline must not deliver: of other collections, operations and documents.
        let other = |collection: &str| servers.database_of(name).collection::<Document>(collection);
        match name {
            "here_one" => drop(other("thingses").insert_many(numbered(100..110)).await.unwrap()),
            "here_two" => {
                other("others").insert_many(numbered(0..10)).await.unwrap();
                things.insert_many(numbered(40..50)).await.unwrap();
                things.update_one(doc! { "_id": 3 }, doc! { "$set": { "n": 30 } }).await.unwrap();
                things.replace_one(doc! { "_id": 4 }, doc! { "n": 31 }).await.unwrap();
                things.delete_one(doc! { "_id": 5 }).await.unwrap();
                other("these").insert_one(doc! { "n": 40 }).await.unwrap();
            }
            "there_one" => drop(other("not_this").insert_many(numbered(100..110)).await.unwrap()),
            _ => {}
        }
        things.insert_one(doc! { "_id": 1000, "n": count - 1 }).await.unwrap();
    }
    for (name, count) in all {
        servers.scene.wait_last(name, count - 1).await;
        assert_exactly(&servers.scene.entries(name).await, count);
    }
    // Without a look-up an update comes without its document.
    servers.things("there_two").update_one(doc! { "_id": 3 }, doc! { "$set": { "n": 30 } }).await.unwrap();
    let update = servers.scene.wait_entries("there_two", 51).await.remove(50);
    assert_eq!((update.text("op"), update.fields.contains_key("doc")), ("update", false));
    assert_eq!(host.stop().await, Some(0));
    servers.clean().await;
}

#[tokio::test]
async fn d3_a_server_that_dies_stops_nobody_else_and_comes_back_alone() {
    let mut servers = Servers::start().await;
    let pipelines = [
        servers.pipeline("here_one", "start: now", RETRY),
        servers.pipeline("there_one", "start: now", RETRY),
        servers.pipeline("there_two", "start: now", "retry: { first: 5ms, ceiling: 20ms, attempts: 3 }"),
    ];
    let mut host = servers.scene.ready_host(&pipelines).await;
    for name in ["here_one", "there_one", "there_two"] {
        servers.things(name).insert_many(numbered(0..10)).await.unwrap();
        servers.scene.wait_last(name, 9).await;
    }
    servers.away.kill(0);
    wait_state(&mut host, "there_one", "retrying").await;
    // The limit of one pipeline is its own.
    let stopped = wait_state(&mut host, "there_two", "stopped").await;
    assert_eq!(stopped["problem"]["code"], "TG0301", "{stopped}");
    assert!(stopped["problem"]["reason"].as_str().unwrap().contains("3 times in a row"), "{stopped}");
    servers.things("here_one").insert_many(numbered(10..200)).await.unwrap();
    servers.scene.wait_last("here_one", 199).await;
    let here = wait_state(&mut host, "here_one", "running").await;
    assert_eq!(
        (&here["source"]["retries"], &here["source"]["circuit"]["state"]),
        (&0.into(), &"closed".into()),
        "{here}"
    );

    servers.away.restart(0).await;
    wait_state(&mut host, "there_one", "running").await;
    for name in ["there_one", "there_two"] {
        servers.things(name).insert_many(numbered(10..20)).await.unwrap();
    }
    servers.scene.wait_last("there_one", 19).await;
    assert_exactly(&servers.scene.entries("there_one").await, 20);
    assert_eq!(host.status().await["pipelines"]["there_two"]["state"], "stopped", "only the operator can help");
    // Stopping releases all of them, and the one that had stopped goes on where it was.
    assert!(host.stop().await.is_some());
    let mut host = servers.scene.ready_host(&pipelines).await;
    servers.scene.wait_last("there_two", 19).await;
    assert_exactly(&servers.scene.entries("there_two").await, 20);
    assert_exactly(&servers.scene.entries("here_one").await, 200);
    assert_eq!(host.stop().await, Some(0));
    servers.clean().await;
}

#[tokio::test]
async fn d4_the_status_of_each_stream_can_be_asked_for() {
    let mut servers = Servers::start().await;
    let pipelines = [
        servers.pipeline("here_one", "start: now", RETRY),
        servers.pipeline("there_one", "start: now", RETRY),
        servers.pipeline("there_two", r#"start: { token: "8265" }"#, RETRY),
    ];
    let mut host = servers.scene.host(&pipelines);
    for name in ["here_one", "there_one"] {
        wait_state(&mut host, name, "running").await;
    }
    let failed = wait_state(&mut host, "there_two", "stopped").await;
    assert_eq!(failed["problem"]["code"], "TG0310", "{failed}");
    for name in ["here_one", "there_one"] {
        servers.things(name).insert_many(numbered(0..25)).await.unwrap();
        servers.scene.wait_last(name, 24).await;
    }
    let one = eventually(PATIENCE, "all is counted", async || {
        let one = host.status().await["pipelines"]["there_one"].clone();
        if one["counts"]["events_out"] == 25 && one["lag_seconds"] == 0.0 { Ok(one) } else { Err(one.to_string()) }
    })
    .await;
    assert_eq!((&one["source"]["connected"], &one["counts"]["events_in"]), (&true.into(), &25.into()), "{one}");
    assert!(one["source"]["last_change_at"].as_str().unwrap().ends_with('Z'), "{one}");
    assert!(one["source"]["description"].as_str().unwrap().contains("there_one"), "{one}");
    // How long it may stand still: known as soon as the oplog was looked at.
    let history = host.metric("tidegate_source_history_seconds", &[("pipeline", "there_one")]).await;
    let shown = host.status().await["pipelines"]["there_one"]["source"]["history_seconds"].as_f64();
    assert!(history.is_some_and(|seconds| seconds < 600.0) && shown.is_some(), "{history:?} {shown:?}");

    servers.away.kill(0);
    let one = wait_state(&mut host, "there_one", "retrying").await;
    assert_eq!(
        (&one["source"]["connected"], &one["source"]["problem"]["code"]),
        (&false.into(), &"TG0301".into()),
        "{one}"
    );
    eventually(PATIENCE, "the tries are counted", async || {
        let retries = host.status().await["pipelines"]["there_one"]["source"]["retries"].as_u64().unwrap();
        if retries >= 2 { Ok(()) } else { Err(retries) }
    })
    .await;
    let here = wait_state(&mut host, "here_one", "running").await;
    assert_eq!((&here["source"]["connected"], &here["source"]["retries"]), (&true.into(), &0.into()), "{here}");
    servers.things("here_one").insert_one(doc! { "_id": 25, "n": 25 }).await.unwrap();
    servers.scene.wait_last("here_one", 25).await;
    host.stop().await;
    servers.clean().await;
}

/// A position that is lost, from end to end: the sink that keeps its position takes what comes behind.
#[tokio::test]
async fn a_sink_with_its_own_position_goes_on_behind_a_lost_one() {
    let options = MongoOptions { oplog_mb: 1, args: vec!["--syncdelay".into(), "1".into()], ..MongoOptions::default() };
    let mongo = Mongo::start(options).await;
    let scene = Scene::on(mongo.uri(), &shared().await.redis_url).await;
    let things = scene.collection("things");
    let with_sink = |choice: &str| {
        let source = format!(
            r#"{{ mongodb: {{ uri: "{}", database: "{}", on_lost_position: {choice} }} }}"#,
            scene.mongodb_uri,
            scene.names.database()
        );
        let sinks = format!("{{ out: {} }}", scene.stream_sink("out", "json"));
        // The record lies in the Redis of all tests.
        let checkpoint = format!(r#"{{ sink: {{ name: "{}" }} }}"#, scene.names.database());
        format!("  main: {{ source: {source}, sinks: {sinks}, checkpoint: {checkpoint} }}")
    };
    let mut host = scene.ready_host(&[with_sink("stop")]).await;
    things.insert_many(numbered(0..10)).await.unwrap();
    scene.wait_last("out", 9).await;
    assert_eq!(host.stop().await, Some(0));
    things.insert_many(numbered(10..20)).await.unwrap();
    let local = scene.database.client().database("local").collection::<Document>("oplog.rs");
    let newest = local.find_one(doc! {}).sort(doc! { "$natural": -1 }).await.unwrap().unwrap();
    let newest = newest.get_timestamp("ts").unwrap();
    let junk = scene.database.client().database("elsewhere").collection::<Document>("junk");
    eventually(PATIENCE, "the oplog has forgotten", async || {
        junk.insert_one(doc! { "text": "x".repeat(1 << 20) }).await.unwrap();
        let oldest = local.find_one(doc! {}).sort(doc! { "$natural": 1 }).await.unwrap().unwrap();
        if oldest.get_timestamp("ts").unwrap() > newest { Ok(()) } else { Err(oldest.get_timestamp("ts")) }
    })
    .await;
    let mut host = scene.host(&[with_sink("stop")]);
    assert_eq!(host.wait_exit(PATIENCE).await, Some(1));
    assert!(host.stderr().contains("TG0304") || host.stdout().contains("TG0304"), "{}", host.stderr());
    let mut host = scene.ready_host(&[with_sink("newest")]).await;
    host.wait_event("source_position_lost").await;
    things.insert_many(numbered(20..30)).await.unwrap();
    scene.wait_last("out", 29).await;
    let lost = host.metric("tidegate_source_positions_lost_total", &[("pipeline", "main")]).await;
    assert_eq!(lost, Some(1.0));
    assert_eq!(host.stop().await, Some(0));
    // What was stored is the new position: nothing is lost or sent again at the next start.
    things.insert_many(numbered(30..40)).await.unwrap();
    let mut host = scene.ready_host(&[with_sink("stop")]).await;
    scene.wait_last("out", 39).await;
    let found = crate::scene::numbers(&scene.entries("out").await);
    assert_eq!(found, (0..10).chain(20..40).collect::<Vec<_>>());
    assert_eq!(host.stop().await, Some(0));
}
