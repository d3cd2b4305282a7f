//! What every test here needs: a database and streams of its own, a configuration, and a flood of writes.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::{Client, Collection, Database};
use redis::aio::MultiplexedConnection;
use serde_json::Value;
use tempfile::TempDir;
use tidegate_tests::servers::{read_stream, shared};
use tidegate_tests::{Host, HostOptions, TestNames, eventually, plugin};
use tokio::task::JoinHandle;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The three plugins of the inventory, with the target that the router fills.
pub(crate) fn inventory_stages(target: &str) -> String {
    format!(
        r#"[{{ plugin: inventory-validator }}, {{ plugin: inventory-migrator }}, {{ plugin: inventory-router, config: {{ target: "{target}" }} }}]"#
    )
}

/// A database, streams and a folder of this test's own.
pub(crate) struct Scene {
    pub(crate) names: TestNames,
    pub(crate) mongodb_uri: String,
    pub(crate) redis_url: String,
    pub(crate) database: Database,
    pub(crate) dir: TempDir,
}

impl Scene {
    /// On the servers all tests share.
    pub(crate) async fn shared() -> Self {
        let shared = shared().await;
        Self::on(&shared.mongodb_uri, &shared.redis_url).await
    }

    /// On these servers.
    pub(crate) async fn on(mongodb_uri: &str, redis_url: &str) -> Self {
        let names = TestNames::new();
        let client = Client::with_uri_str(mongodb_uri).await.unwrap();
        Self {
            database: client.database(names.database()),
            mongodb_uri: mongodb_uri.to_owned(),
            redis_url: redis_url.to_owned(),
            dir: tempfile::Builder::new().prefix("tidegate-data-").tempdir().unwrap(),
            names,
        }
    }

    pub(crate) fn collection(&self, name: &str) -> Collection<Document> {
        self.database.collection(name)
    }

    /// The source: everything in this test's database.
    pub(crate) fn source(&self) -> String {
        format!(r#"{{ mongodb: {{ uri: "{}", database: "{}" }} }}"#, self.mongodb_uri, self.names.database())
    }

    /// A sink: one of this test's streams.
    pub(crate) fn stream_sink(&self, stream: &str, format: &str) -> String {
        let (url, key) = (&self.redis_url, self.names.key(stream));
        format!(r#"{{ redis: {{ url: "{url}", stream: "{key}", format: {format} }} }}"#)
    }

    /// A pipeline `main` from the database to the stream `out` in JSON.
    pub(crate) fn plain(&self) -> String {
        self.pipeline("main", &self.source(), "[]", &format!("{{ out: {} }}", self.stream_sink("out", "json")))
    }

    /// A pipeline `main` with the inventory plugins, which writes to the streams `PREFIX:WAREHOUSE`.
    pub(crate) fn inventory(&self) -> String {
        let stages = inventory_stages(&self.names.key("{warehouse_id}"));
        self.pipeline("main", &self.source(), &stages, &format!("{{ out: {} }}", self.stream_sink("out", "json")))
    }

    /// One pipeline, as a line of YAML.
    pub(crate) fn pipeline(&self, name: &str, source: &str, stages: &str, sinks: &str) -> String {
        format!("  {name}: {{ source: {source}, stages: {stages}, sinks: {sinks} }}")
    }

    /// Starts a host with these pipelines in this test's folder, which outlives it.
    pub(crate) fn host(&self, pipelines: &[String]) -> Host {
        self.host_with("log: { level: info, format: json }", pipelines, &[])
    }

    /// [`Scene::host`] with other settings of the host, and arguments.
    pub(crate) fn host_with(&self, settings: &str, pipelines: &[String], args: &[&str]) -> Host {
        let options = HostOptions {
            dir: Some(self.dir.path().to_owned()),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            ..HostOptions::default()
        };
        Host::start_with(&config(settings, pipelines), options)
    }

    /// Starts a host and waits until it is ready: from then on every write is seen.
    pub(crate) async fn ready_host(&self, pipelines: &[String]) -> Host {
        let mut host = self.host(pipelines);
        host.wait_ready().await;
        host
    }

    /// A connection to this test's Redis.
    pub(crate) async fn redis(&self) -> MultiplexedConnection {
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
        let client = redis::Client::open(&*self.redis_url).unwrap();
        client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
    }

    /// All entries of one of this test's streams.
    pub(crate) async fn entries(&self, stream: &str) -> Vec<Entry> {
        entries(&mut self.redis().await, &self.names.key(stream)).await
    }

    /// Waits until one of this test's streams holds at least so many entries, and returns them.
    pub(crate) async fn wait_entries(&self, stream: &str, count: usize) -> Vec<Entry> {
        self.wait_length(stream, count).await;
        self.entries(stream).await
    }

    /// Waits until one of this test's streams holds at least so many entries, and returns their number.
    pub(crate) async fn wait_length(&self, stream: &str, count: usize) -> usize {
        let key = self.names.key(stream);
        eventually(PATIENCE, &format!("{count} entries in {key}"), async || {
            let mut redis = self.redis().await;
            let length: usize =
                redis::cmd("XLEN").arg(&key).query_async(&mut redis).await.map_err(|e| e.to_string())?;
            if length >= count { Ok(length) } else { Err(format!("{length} entries")) }
        })
        .await
    }

    /// Waits until the newest entry of one of this test's streams is the document with that `n`.
    pub(crate) async fn wait_last(&self, stream: &str, n: i32) {
        let key = self.names.key(stream);
        eventually(PATIENCE, &format!("the document {n} at the end of {key}"), async || {
            let mut redis = self.redis().await;
            let last: Vec<(String, BTreeMap<String, Vec<u8>>)> = redis::cmd("XREVRANGE")
                .arg(&key)
                .arg("+")
                .arg("-")
                .arg("COUNT")
                .arg(1)
                .query_async(&mut redis)
                .await
                .map_err(|error| error.to_string())?;
            let last = last.into_iter().next().map(|(_, fields)| Entry { fields }.n());
            if last == Some(n) { Ok(()) } else { Err(format!("the last is {last:?}")) }
        })
        .await;
    }

    /// The lines of a file in this test's folder, as JSON.
    pub(crate) fn json_lines(&self, file: &str) -> Vec<Value> {
        let path = self.dir.path().join(file);
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }

    /// What the pipeline `main` has put into its default dead letter.
    pub(crate) fn dead_letters(&self) -> Vec<Value> {
        self.json_lines(".tidegate/main.dead.jsonl")
    }

    /// Waits until there are so many.
    pub(crate) async fn wait_dead_letters(&self, count: usize) -> Vec<Value> {
        eventually(PATIENCE, &format!("{count} dead letters"), async || {
            // The last line may be half written while we look.
            let text = std::fs::read_to_string(self.dir.path().join(".tidegate/main.dead.jsonl")).unwrap_or_default();
            let lines = text.matches('\n').count();
            if lines >= count { Ok(()) } else { Err(format!("{lines} dead letters")) }
        })
        .await;
        self.dead_letters()
    }
}

/// A configuration: settings of the host, where the plugins are, and pipelines made by [`Scene::pipeline`].
pub(crate) fn config(settings: &str, pipelines: &[String]) -> String {
    format!(
        "admin: {{ listen: 127.0.0.1:0 }}\nplugins: {{ dir: \"{}\" }}\n{settings}\npipelines:\n{}\n",
        plugins_dir().display(),
        pipelines.join("\n")
    )
}

fn plugins_dir() -> PathBuf {
    plugin("inventory-router").parent().unwrap_or(Path::new(".")).to_owned()
}

/// An entry of a stream, as tidegate writes them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) fields: BTreeMap<String, Vec<u8>>,
}

impl Entry {
    /// The names of the fields, sorted.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.fields.keys().map(String::as_str).collect()
    }

    pub(crate) fn bytes(&self, name: &str) -> &[u8] {
        self.fields.get(name).unwrap_or_else(|| panic!("no field {name}: {:?}", self.names()))
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        std::str::from_utf8(self.bytes(name)).unwrap()
    }

    /// The change id.
    pub(crate) fn id(&self) -> &str {
        self.text("id")
    }

    pub(crate) fn json(&self, name: &str) -> Value {
        let text = self.text(name);
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    pub(crate) fn doc(&self) -> Value {
        self.json("doc")
    }

    /// The field `n` of the document.
    pub(crate) fn n(&self) -> i32 {
        self.doc()["n"].as_i64().and_then(|n| i32::try_from(n).ok()).unwrap_or_else(|| panic!("no n: {self:?}"))
    }
}

/// All entries of any stream.
pub(crate) async fn entries(redis: &mut MultiplexedConnection, key: &str) -> Vec<Entry> {
    read_stream(redis, key).await.into_iter().map(|(_, fields)| Entry { fields }).collect()
}

/// The numbers of the documents, in the order of the stream.
pub(crate) fn numbers(entries: &[Entry]) -> Vec<i32> {
    entries.iter().map(Entry::n).collect()
}

/// The entries without those whose id came before.
pub(crate) fn without_doubles(entries: &[Entry]) -> Vec<Entry> {
    let mut seen = HashSet::new();
    entries.iter().filter(|entry| seen.insert(entry.id().to_owned())).cloned().collect()
}

/// Asserts that the stream holds the documents 0 to `count`, each once and in order.
#[track_caller]
pub(crate) fn assert_exactly(entries: &[Entry], count: i32) {
    let found = numbers(entries);
    let expected: Vec<i32> = (0..count).collect();
    if found != expected {
        let at = found.iter().zip(&expected).position(|(a, b)| a != b).unwrap_or(found.len().min(expected.len()));
        let end = (at + 10).min(found.len());
        panic!("{} entries instead of {count}; from {at} on: {:?}", found.len(), &found[at.min(end)..end]);
    }
}

/// Numbered documents with some weight.
pub(crate) fn numbered(range: std::ops::Range<i32>) -> Vec<Document> {
    range.map(|n| doc! { "_id": n, "n": n, "text": "x".repeat(200) }).collect()
}

/// Inserts numbered documents, one after the other, until told to stop.
pub(crate) struct Flood {
    stop: Arc<AtomicBool>,
    inserted: Arc<AtomicI32>,
    task: JoinHandle<i32>,
}

impl Flood {
    /// A batch that MongoDB did not take for sure is sent again until it did.
    pub(crate) fn start(collection: Collection<Document>) -> Self {
        const BATCH: i32 = 100;
        let (stop, inserted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI32::new(0)));
        let (told, count) = (Arc::clone(&stop), Arc::clone(&inserted));
        let task = tokio::spawn(async move {
            while !told.load(Ordering::Relaxed) {
                let from = count.load(Ordering::Relaxed);
                let documents = numbered(from..from + BATCH);
                while let Err(error) = collection.insert_many(&documents).await {
                    // Interrupted in the middle: the rest follows in order, from the first that is not there.
                    eprintln!("the flood goes on after: {error}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    if insert_missing(&collection, &documents).await.is_ok() {
                        break;
                    }
                }
                count.store(from + BATCH, Ordering::Relaxed);
            }
            count.load(Ordering::Relaxed)
        });
        Self { stop, inserted, task }
    }

    /// Waits until so many more are inserted.
    pub(crate) async fn more(&self, count: i32) {
        let until = self.inserted.load(Ordering::Relaxed) + count;
        eventually(PATIENCE, "more documents", async || self.inserted.load(Ordering::Relaxed) >= until).await;
    }

    /// Stops it; returns how many documents there are.
    pub(crate) async fn stop(self) -> i32 {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

async fn insert_missing(collection: &Collection<Document>, documents: &[Document]) -> mongodb::error::Result<()> {
    for document in documents {
        let id = document.get_i32("_id").unwrap_or_default();
        if collection.find_one(doc! { "_id": id }).await?.is_none() {
            collection.insert_one(document).await?;
        }
    }
    Ok(())
}

/// An inventory document of version v1 that breaks no rule.
pub(crate) fn inventory(id: i32, warehouse: &str) -> Document {
    doc! {
        "_id": id,
        "product_id": format!("P-{id}"),
        "warehouse_id": warehouse,
        "quantity": 5,
        "last_updated": "2026-01-31T12:00:00Z",
    }
}

/// A transaction of version v1 that breaks no rule.
pub(crate) fn transaction(id: i32, warehouse: &str) -> Document {
    doc! {
        "_id": id,
        "transaction_id": format!("T-{id}"),
        "product_id": "P-1",
        "warehouse_id": warehouse,
        "quantity": -2,
        "transaction_type": "sale",
        "timestamp": "2026-01-31T12:00:00+01:00",
    }
}

/// The reasons of `/readiness`, which must be 503, as `(part, code, reason)`.
pub(crate) async fn not_ready(host: &mut Host) -> Vec<(String, String, String)> {
    let (status, body) = host.get("/readiness").await;
    if status == 200 {
        return Vec::new();
    }
    assert_eq!(status, 503, "{body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    let text = |reason: &Value, name: &str| reason[name].as_str().unwrap_or_default().to_owned();
    let reasons = answer["reasons"].as_array().unwrap_or_else(|| panic!("no reasons: {body}"));
    reasons.iter().map(|reason| (text(reason, "part"), text(reason, "code"), text(reason, "reason"))).collect()
}

/// Waits until `/readiness` gives a reason with that part and code, and returns it.
pub(crate) async fn wait_not_ready(host: &mut Host, part: &str, code: &str) -> String {
    eventually(PATIENCE, &format!("{part} not ready for {code}"), async || {
        let reasons = not_ready(host).await;
        let found = reasons.iter().find(|(p, c, _)| p == part && c == code).map(|(_, _, reason)| reason.clone());
        found.ok_or(reasons)
    })
    .await
}

/// All documents of a collection, by `_id`.
pub(crate) async fn all(collection: &Collection<Document>) -> Vec<Document> {
    let mut found = collection.find(doc! {}).sort(doc! { "_id": 1 }).await.unwrap();
    let mut documents = Vec::new();
    while found.advance().await.unwrap() {
        documents.push(found.deserialize_current().unwrap());
    }
    documents
}
