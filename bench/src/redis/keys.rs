//! Keys of Redis mirrored into MongoDB: strings, hashes and sets, into an empty collection, by a bare loop and by tidegate.

use std::{
    fs::File,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use bson::{Document, RawDocumentBuf, doc, rawdoc};
use clap::Args;
use mongodb::{Collection, options::WriteConcern};
use redis::{Pipeline, aio::MultiplexedConnection};
use serde::Serialize;
use serde_json::json;
use tokio::sync::mpsc;

use super::{
    run::{Plan, start},
    store,
};
use crate::{contender::tail, process::Measured, progress, servers};

const PREFIX: &str = "tidegate-bench:key:";
const BATCH: u64 = 1_000;
const POLL: Duration = Duration::from_millis(50);
const STALLED: Duration = Duration::from_secs(60);

/// What a mirror took.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Mirrored {
    pub(super) by: &'static str,
    /// From the start of the process until the last document was there.
    pub(super) seconds: f64,
    pub(super) cpu_seconds: f64,
    pub(super) peak_memory_bytes: u64,
}

/// The bare loop, as the benchmark starts it.
#[derive(Args, Debug)]
pub(crate) struct Task {
    #[arg(long)]
    database: String,
}

/// Measures it once each.
pub(super) async fn measure(plan: &Plan, keys: u64) -> Result<Vec<Mirrored>> {
    let mut redis = store::input().await?;
    progress(&format!("{keys} keys"));
    fill(&mut redis, keys).await?;
    let database = servers::mongodb().await?.database(&format!("tidegate_bench_{}", std::process::id()));
    let measured = both(plan, &database, keys).await;
    let dropped = database.drop().await;
    for from in (0..keys).step_by(BATCH as usize) {
        let names: Vec<String> = (from..(from + BATCH).min(keys)).map(name).collect();
        redis::cmd("DEL").arg(names).query_async::<()>(&mut redis).await?;
    }
    let measured = measured?;
    dropped.context("the measurements are done, but the benchmark's own data could not be removed")?;
    Ok(measured)
}

async fn both(plan: &Plan, database: &mongodb::Database, keys: u64) -> Result<Vec<Mirrored>> {
    let mut bare = Command::new(&plan.program);
    bare.args(["bare-keys", "--database", database.name()]);
    let bare = timed(plan, "bare loop", bare, database, keys).await?;
    // What the benchmark takes a second look at would be in the figures: one scan, and nothing behind it.
    let source = json!({
        "url": store::input_url()?, "database": database.name(), "collection": servers::COLLECTION,
        "keys": { "patterns": [format!("{PREFIX}*")], "interval": "1h", "notifications": "off" },
    });
    let pipeline = json!({
        "source": { "redis": source },
        "sinks": { "out": { "mongodb": { "uri": "${MONGODB_URI}" } } },
    });
    let tidegate = timed(plan, "tidegate", start(plan, &pipeline, &[])?, database, keys).await?;
    Ok(vec![bare, tidegate])
}

async fn timed(
    plan: &Plan,
    by: &'static str,
    mut command: Command,
    database: &mongodb::Database,
    keys: u64,
) -> Result<Mirrored> {
    database.drop().await?;
    let target: Collection<Document> = database.collection(servers::COLLECTION);
    let log = plan.work.join("keys.log");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
    let started = Instant::now();
    let mut process = Measured::spawn(command)?;
    let (mut there, mut moved) = (0, started);
    while there < keys {
        let ended = process.has_ended()?;
        process.note_memory();
        let now = target.estimated_document_count().await?;
        if now > there {
            (there, moved) = (now, Instant::now());
        }
        if there < keys && (ended || moved.elapsed() > STALLED) {
            let how = if ended { "ended" } else { "stalled" };
            anyhow::bail!("{by} {how} at {there} of {keys} keys; the end of its log:\n{}", tail(&log));
        }
        tokio::time::sleep(POLL).await;
    }
    let seconds = started.elapsed().as_secs_f64();
    let (cpu_seconds, peak_memory_bytes) = (process.cpu_seconds()?, process.peak_memory());
    drop(process);
    ensure!(target.count_documents(doc! {}).await? == keys, "{by}: more documents than keys");
    progress(&format!("keys: {by:<12} {seconds:>6.1} s, {} MB", peak_memory_bytes / 1_000_000));
    Ok(Mirrored { by, seconds, cpu_seconds, peak_memory_bytes })
}

fn name(number: u64) -> String {
    format!("{PREFIX}{number:08}")
}

/// A third each of strings, hashes and sets.
async fn fill(redis: &mut MultiplexedConnection, keys: u64) -> Result<()> {
    for from in (0..keys).step_by(BATCH as usize) {
        let mut pipeline = Pipeline::with_capacity(BATCH as usize);
        for number in from..(from + BATCH).min(keys) {
            let name = name(number);
            match number % 3 {
                0 => pipeline.cmd("SET").arg(name).arg(format!("a value of some forty bytes {number:012}")),
                1 => {
                    let set = pipeline.cmd("HSET").arg(name);
                    set.arg("name")
                        .arg(format!("product {number}"))
                        .arg("stock")
                        .arg(number % 1000)
                        .arg("place")
                        .arg("A12")
                }
                _ => pipeline.cmd("SADD").arg(name).arg("red").arg("green").arg(format!("colour {number}")),
            }
            .ignore();
        }
        pipeline.query_async::<()>(redis).await?;
    }
    Ok(())
}

/// What a person would write: a scan that reads a thousand values ahead, and inserts of a thousand.
pub(crate) async fn bare(task: Task) -> Result<()> {
    let concern = WriteConcern::builder().w(mongodb::options::Acknowledgment::Majority).journal(true).build();
    let database = servers::mongodb().await?.database(&task.database);
    let target: Collection<RawDocumentBuf> = database.collection(servers::COLLECTION);
    let (sender, mut batches) = mpsc::channel::<Vec<RawDocumentBuf>>(2);
    let reader = tokio::spawn(read(store::input().await?, sender));
    while let Some(batch) = batches.recv().await {
        target.insert_many(batch).ordered(false).write_concern(concern.clone()).await?;
    }
    reader.await?
}

async fn read(mut redis: MultiplexedConnection, batches: mpsc::Sender<Vec<RawDocumentBuf>>) -> Result<()> {
    let mut cursor = 0_u64;
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg([PREFIX, "*"].concat()).arg("COUNT").arg(BATCH);
        let (next, names): (u64, Vec<String>) = scan.query_async(&mut redis).await?;
        let mut types = Pipeline::with_capacity(names.len());
        for name in &names {
            types.cmd("TYPE").arg(name);
        }
        let types: Vec<String> = types.query_async(&mut redis).await?;
        let mut values = Pipeline::with_capacity(names.len());
        for (name, kind) in names.iter().zip(&types) {
            values
                .cmd(if kind == "string" {
                    "GET"
                } else if kind == "hash" {
                    "HGETALL"
                } else {
                    "SMEMBERS"
                })
                .arg(name);
        }
        let values: Vec<redis::Value> = values.query_async(&mut redis).await?;
        let mut batch = Vec::with_capacity(names.len());
        for ((name, kind), value) in names.iter().zip(&types).zip(values) {
            let mut document = rawdoc! { "_id": name.as_str(), "type": kind.as_str() };
            match kind.as_str() {
                "string" => document.append(bson::cstr!("value"), redis::from_redis_value::<String>(value)?),
                "hash" => {
                    let mut fields: Vec<(String, String)> = redis::from_redis_value(value)?;
                    fields.sort_unstable();
                    let mut inner = RawDocumentBuf::new();
                    for (field, value) in &fields {
                        inner.append(bson::raw::CString::try_from(field.as_str())?, value.as_str());
                    }
                    document.append(bson::cstr!("value"), inner);
                }
                _ => {
                    let mut members: Vec<String> = redis::from_redis_value(value)?;
                    members.sort_unstable();
                    let mut inner = bson::RawArrayBuf::new();
                    members.iter().for_each(|member| inner.push(member.as_str()));
                    document.append(bson::cstr!("value"), inner);
                }
            }
            batch.push(document);
        }
        if !batch.is_empty() && batches.send(batch).await.is_err() {
            return Ok(());
        }
        cursor = next;
        if cursor == 0 {
            return Ok(());
        }
    }
}
