//! The stores that a position can be kept in, each proved the same way: a file, MongoDB, Redis and Firestore.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};
use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate_tests::servers::{Firestore, Kind, PROJECT, emulator};
use tidegate_tests::{Cli, Host, HostOptions, Network, Proxy, Signal, eventually};

use crate::scene::{
    Flood, PATIENCE, Scene, assert_exactly, config, not_ready, numbered, wait_not_ready, without_doubles,
};

/// Where a position is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    File,
    Mongodb,
    Redis,
    Firestore,
}

impl Store {
    const ALL: [Self; 4] = [Self::File, Self::Mongodb, Self::Redis, Self::Firestore];
    /// Those that two hosts can reach.
    const SHARED: [Self; 3] = [Self::Mongodb, Self::Redis, Self::Firestore];

    /// `checkpoint` of a configuration, on the servers that the tests share.
    async fn checkpoint(self, scene: &Scene) -> String {
        match self {
            Self::File => self.at(scene, 0),
            Self::Mongodb => self.at(scene, port(&scene.mongodb_uri)),
            Self::Redis => self.at(scene, port(&scene.redis_url)),
            Self::Firestore => self.at(scene, Firestore::shared().await.port()),
        }
    }

    /// [`Store::checkpoint`] with its server at a port of this machine.
    fn at(self, scene: &Scene, port: u16) -> String {
        let name = scene.names.database();
        match self {
            Self::File => "file".to_owned(),
            Self::Mongodb => format!(
                r#"{{ mongodb: {{ uri: "mongodb://127.0.0.1:{port}/?directConnection=true&serverSelectionTimeoutMS=1000", database: "{name}-state", lease: 2s }} }}"#
            ),
            Self::Redis => {
                format!(
                    r#"{{ redis: {{ url: "redis://127.0.0.1:{port}", key: "{}", lease: 2s }} }}"#,
                    scene.names.key("state")
                )
            }
            Self::Firestore => format!(
                r#"{{ firestore: {{ project: {PROJECT}, endpoint: "http://127.0.0.1:{port}", collection: "{name}", lease: 2s, interval: 200ms }} }}"#
            ),
        }
    }

    /// The code for a server that cannot be reached.
    const fn away(self) -> &'static str {
        match self {
            Self::File => "TG0502",
            Self::Mongodb => "TG0301",
            Self::Redis => "TG0401",
            Self::Firestore => "TG1101",
        }
    }

    /// The positions that are stored, asked for with another client than the host's.
    async fn positions(self, scene: &Scene) -> BTreeMap<String, String> {
        let texts = |positions: &serde_json::Map<String, Value>| {
            positions.iter().map(|(name, position)| (name.clone(), position.as_str().unwrap().to_owned())).collect()
        };
        match self {
            Self::File => {
                let text = std::fs::read(scene.dir.path().join(".tidegate/main.checkpoint.json")).unwrap();
                let content: Value = serde_json::from_slice(&text).unwrap();
                texts(content["positions"].as_object().unwrap())
            }
            Self::Mongodb => {
                let database = scene.database.client().database(&format!("{}-state", scene.names.database()));
                let records = database.collection::<Document>("checkpoints");
                let record = records.find_one(doc! { "_id": "main" }).await.unwrap().expect("a record");
                let positions = record.get_document("positions").unwrap();
                positions.iter().map(|(name, position)| (name.clone(), position.as_str().unwrap().to_owned())).collect()
            }
            Self::Redis => {
                let mut redis = scene.redis().await;
                let key = scene.names.key("state");
                let fields: BTreeMap<String, String> =
                    redis::cmd("HGETALL").arg(key).query_async(&mut redis).await.unwrap();
                fields
                    .into_iter()
                    .filter_map(|(name, value)| Some((name.strip_prefix("p:")?.to_owned(), value)))
                    .collect()
            }
            Self::Firestore => {
                let record = record(scene).await.expect("a record");
                let fields = record["positions"]["mapValue"]["fields"].as_object().unwrap();
                let position = |(name, value): (&String, &Value)| {
                    (name.strip_prefix("p:").unwrap().to_owned(), value["stringValue"].as_str().unwrap().to_owned())
                };
                fields.iter().map(position).collect()
            }
        }
    }
}

/// The record in Firestore.
pub(crate) async fn record(scene: &Scene) -> Option<serde_json::Map<String, Value>> {
    Firestore::shared().await.fields(&document(scene)).await
}

/// Where it is.
pub(crate) fn document(scene: &Scene) -> String {
    format!("{}/main", scene.names.database())
}

/// The port of the first server of a connection string.
fn port(url: &str) -> u16 {
    let hosts = url.split("://").nth(1).unwrap().split(['/', ',']).next().unwrap();
    hosts.rsplit_once(':').unwrap().1.parse().unwrap()
}

/// A pipeline `main` into the stream `out` with this `checkpoint`.
pub(crate) fn pipeline(scene: &Scene, checkpoint: &str) -> String {
    let (source, sink) = (scene.source(), scene.stream_sink("out", "json"));
    format!("  main: {{ source: {source}, sinks: {{ out: {sink} }}, checkpoint: {checkpoint} }}")
}

/// A host with a state directory of its own, as on another machine.
fn other_host(pipeline: &str, args: &[&str]) -> (TempDir, Host) {
    let dir = tempfile::tempdir().unwrap();
    let options = HostOptions {
        dir: Some(dir.path().to_owned()),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        ..HostOptions::default()
    };
    let text = config("log: { level: info, format: json }", &[pipeline.to_owned()]);
    (dir, Host::start_with(&text, options))
}

#[tokio::test]
async fn e1_a_restart_goes_on_where_each_store_says() {
    for store in Store::ALL {
        let scene = Scene::shared().await;
        let pipeline = pipeline(&scene, &store.checkpoint(&scene).await);
        let things = scene.collection("things");
        let mut before = BTreeMap::new();
        for round in 0..3 {
            // While it is down, and while it runs.
            if round > 0 {
                things.insert_many(numbered(round * 20 - 10..round * 20)).await.unwrap();
            }
            let mut host = scene.ready_host(std::slice::from_ref(&pipeline)).await;
            things.insert_many(numbered(round * 20..round * 20 + 10)).await.unwrap();
            scene.wait_last("out", round * 20 + 9).await;
            assert_eq!(host.stop().await, Some(0), "{store:?}");
            let after = store.positions(&scene).await;
            assert!(after > before && !after.is_empty(), "{store:?}: {after:?} after {before:?}");
            before = after;
        }
        assert_exactly(&scene.entries("out").await, 50);
        // The commands find the same.
        let run = async |args: &[&str], input: &[u8]| {
            let done = Cli::run_in(scene.dir.path(), args, input).await;
            assert!(done.status.success(), "{store:?}: {done:?}");
            String::from_utf8(done.stdout).unwrap()
        };
        let file = "tidegate.yaml";
        let shown: Value =
            serde_json::from_str(&run(&["checkpoint", "show", file, "main", "--json"], b"").await).unwrap();
        assert_eq!(shown["positions"], json!(before), "{store:?}");
        run(&["checkpoint", "reset", file, "main", "--yes"], b"").await;
        let shown_none = run(&["checkpoint", "show", file, "main"], b"").await;
        assert!(shown_none.contains("no position yet"), "{store:?}: {shown_none}");
        run(&["checkpoint", "set", file, "main", "-", "--yes"], shown.to_string().as_bytes()).await;
        assert_eq!(store.positions(&scene).await, before, "{store:?}");
        let told = run(&["doctor", file], b"").await;
        assert!(told.contains("holds the position of an earlier run"), "{store:?}: {told}");
        things.insert_many(numbered(50..60)).await.unwrap();
        let mut host = scene.ready_host(std::slice::from_ref(&pipeline)).await;
        scene.wait_last("out", 59).await;
        assert_eq!(host.stop().await, Some(0), "{store:?}");
        assert_exactly(&scene.entries("out").await, 60);
    }
}

#[tokio::test]
async fn e1_a_kill_loses_nothing_whatever_the_store() {
    for store in Store::ALL {
        let scene = Scene::shared().await;
        let pipeline = pipeline(&scene, &store.checkpoint(&scene).await);
        let mut host = scene.ready_host(std::slice::from_ref(&pipeline)).await;
        let mut before = store.positions(&scene).await;
        let flood = Flood::start(scene.collection("things"));
        for _ in 0..2 {
            let length = scene.wait_length("out", 1).await;
            scene.wait_length("out", length + 700).await;
            // So that there is a position to go on from, and not the beginning once more.
            eventually(PATIENCE, "another position", async || store.positions(&scene).await > before).await;
            host.kill();
            before = store.positions(&scene).await;
            flood.more(300).await;
            host = scene.ready_host(std::slice::from_ref(&pipeline)).await;
        }
        let total = flood.stop().await;
        scene.wait_last("out", total - 1).await;
        assert_eq!(host.stop().await, Some(0), "{store:?}");
        assert!(store.positions(&scene).await > before, "{store:?}");
        let found = scene.entries("out").await;
        let once = without_doubles(&found);
        assert_exactly(&once, total);
        // What came after the stored position comes again, and not all.
        assert!(found.len() - once.len() < once.len(), "{store:?}: {} doubles of {total}", found.len() - once.len());
    }
}

#[tokio::test]
async fn e1_of_two_hosts_one_has_the_store() {
    for store in Store::SHARED {
        let scene = Scene::shared().await;
        let pipeline = pipeline(&scene, &store.checkpoint(&scene).await);
        let mut first = scene.ready_host(std::slice::from_ref(&pipeline)).await;
        let (_dir, mut refused) = other_host(&pipeline, &[]);
        assert_eq!(refused.wait_exit(PATIENCE).await, Some(1), "{store:?}");
        let told = refused.stderr();
        assert!(told.contains("TG0611") && told.contains(&format!("process {}", first.id())), "{store:?}: {told}");

        let (_dir, mut second) = other_host(&pipeline, &["--standby"]);
        second.wait_event("pipeline_standby").await;
        let flood = Flood::start(scene.collection("things"));
        scene.wait_length("out", 500).await;
        first.signal(Signal::STOP);
        let began = Instant::now();
        second.wait_ready().await;
        assert!(began.elapsed() < Duration::from_secs(20), "{store:?}: took over after {:?}", began.elapsed());
        flood.more(300).await;
        let taken = store.positions(&scene).await;
        // The first wakes up and thinks that it still has the pipeline: it must not take the position back.
        first.signal(Signal::CONT);
        assert_eq!(first.wait_exit(PATIENCE).await, Some(1), "{store:?}");
        assert!(first.stderr().contains("TG0612"), "{store:?}: {}", first.stderr());
        assert!(store.positions(&scene).await >= taken, "{store:?}");
        let total = flood.stop().await;
        eventually(PATIENCE, "all is there", async || {
            let count = without_doubles(&scene.entries("out").await).len();
            if i32::try_from(count) == Ok(total) { Ok(()) } else { Err(count) }
        })
        .await;

        // Who ends in good order gives the pipeline back: the next one does not wait for a lease.
        let (_dir, mut third) = other_host(&pipeline, &["--standby"]);
        third.wait_event("pipeline_standby").await;
        assert_eq!(second.stop().await, Some(0), "{store:?}");
        third.wait_ready().await;
        scene.collection("things").insert_many(numbered(total..total + 10)).await.unwrap();
        scene.wait_last("out", total + 9).await;
        assert_eq!(third.stop().await, Some(0), "{store:?}");
    }
}

#[tokio::test]
async fn e1_a_store_that_is_away_is_waited_for() {
    for store in Store::SHARED {
        let scene = Scene::shared().await;
        let server = match store {
            Store::Mongodb => port(&scene.mongodb_uri),
            Store::Redis => port(&scene.redis_url),
            _ => Firestore::at(&emulator(Kind::Firestore).await).port(),
        };
        let proxy = Proxy::start(server).await;
        let pipeline = pipeline(&scene, &store.at(&scene, proxy.port()));
        proxy.set(Network::Cut);
        let mut host = scene.host(std::slice::from_ref(&pipeline));
        let reason = wait_not_ready(&mut host, "checkpoint", store.away()).await;
        assert!(reason.contains("127.0.0.1"), "{store:?}: the reason names the server: {reason}");
        host.wait_event("checkpoint_retry").await;
        proxy.heal().await;
        host.wait_ready().await;
        scene.collection("things").insert_many(numbered(0..10)).await.unwrap();
        scene.wait_last("out", 9).await;

        // While it runs the data goes on.
        proxy.set(Network::Cut);
        scene.collection("things").insert_many(numbered(10..20)).await.unwrap();
        scene.wait_last("out", 19).await;
        host.wait_event("checkpoint_failed").await;
        wait_not_ready(&mut host, "checkpoint", store.away()).await;
        let before = store.positions(&scene).await;
        proxy.heal().await;
        host.wait_ready().await;
        eventually(PATIENCE, "the position is stored", async || store.positions(&scene).await > before).await;
        assert_eq!(host.stop().await, Some(0), "{store:?}");
        assert_exactly(&scene.entries("out").await, 20);
    }
}

#[tokio::test]
async fn e1_a_store_that_is_back_is_ready_though_nothing_is_to_be_stored() {
    let scene = Scene::shared().await;
    let proxy = Proxy::start(Firestore::shared().await.port()).await;
    // A stream that nobody writes to has no positions in between, as a MongoDB has.
    let source = format!(r#"{{ redis: {{ url: "{}", streams: ["{}"] }} }}"#, scene.redis_url, scene.names.key("in"));
    let (sink, checkpoint) = (scene.stream_sink("out", "json"), Store::Firestore.at(&scene, proxy.port()));
    let pipeline = format!("  main: {{ source: {source}, sinks: {{ out: {sink} }}, checkpoint: {checkpoint} }}");
    let mut host = scene.ready_host(&[pipeline]).await;
    proxy.set(Network::Cut);
    wait_not_ready(&mut host, "checkpoint", Store::Firestore.away()).await;
    proxy.heal().await;
    eventually(PATIENCE, "ready without a change", async || not_ready(&mut host).await.is_empty()).await;
    assert_eq!(host.stop().await, Some(0));
}
