//! `./dev demo`: the main job on real servers, told step by step, and checked: it ends with 1 when a change is missing, doubled
//! or wrong.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use indicatif::HumanCount;
use mongodb::{
    Collection,
    bson::{Document, doc},
};
use redis::aio::MultiplexedConnection;
use tidegate_tests::{Host, HostOptions, eventually, plugin, servers};

const CONFIG: &str = include_str!("../../../examples/demo/pipeline.yaml");
const WAREHOUSES: [&str; 3] = ["WH-EAST-1", "WH-WEST-1", "WH-NORTH-1"];
const ALERTS: &str = "alerts:low-stock";
const FIRST: usize = 3_000;
const INVALID: usize = 30;
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> ExitCode {
    match demo().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            eprintln!("\nthe demo failed: {cause:#}");
            ExitCode::FAILURE
        }
    }
}

fn step(number: u32, title: &str) {
    println!("\n{number}. {title}");
}

/// What the demo wrote, to check the other end by.
#[derive(Default)]
struct Written {
    valid: usize,
    invalid: usize,
}

async fn demo() -> Result<()> {
    let (mongodb_uri, redis_url) = (env("MONGODB_URI")?, env("REDIS_URL")?);
    let dir = tempfile::Builder::new().prefix("tidegate-demo-").tempdir()?;
    let plugins = dir.path().join("plugins");
    fs::create_dir(&plugins)?;
    for name in ["inventory-validator", "inventory-migrator", "inventory-router"] {
        fs::copy(plugin(name), plugins.join(format!("{name}.wasm"))).with_context(|| format!("plugin {name}"))?;
    }

    step(1, "A real MongoDB replica set, a real Redis, and tidegate with three plugins between them");
    println!("   {mongodb_uri}  ->  validator, migrator, router  ->  {redis_url}");
    let client = mongodb::Client::with_uri_str(&mongodb_uri).await?;
    let shop = client.database("shop");
    shop.drop().await?;
    let mut redis = redis::Client::open(redis_url.as_str())?.get_multiplexed_async_connection().await?;
    redis::cmd("FLUSHDB").exec_async(&mut redis).await?;
    let mut host = Host::start_with(
        CONFIG,
        HostOptions {
            dir: Some(dir.path().to_owned()),
            env: vec![
                ("DEMO_DIR".into(), dir.path().display().to_string()),
                ("DEMO_ADMIN_PORT".into(), "0".into()),
                ("MONGODB_URI".into(), mongodb_uri),
                ("REDIS_URL".into(), redis_url),
            ],
            ..HostOptions::default()
        },
    );
    host.wait_ready().await;
    let admin = host.admin_address().await;
    println!("   ready: health, metrics and status on http://{admin} (/readiness, /metrics, /api/v1/status)");

    step(2, &format!("{} documents of schema versions v1, v2 and v3 are written, {INVALID} of them invalid", HumanCount(FIRST as u64)));
    let inventory = shop.collection::<Document>("inventory");
    let mut written = Written::default();
    let start = Instant::now();
    let documents: Vec<Document> = (0..FIRST).map(|n| document(n, n % (FIRST / INVALID) == 7)).collect();
    inventory.insert_many(&documents).await?;
    written.valid += FIRST - INVALID;
    written.invalid += INVALID;
    shop.collection::<Document>("transactions")
        .insert_one(doc! {
            "transaction_id": "T-1", "product_id": "P-1", "warehouse_id": "WH-EAST-1", "quantity": -2,
            "transaction_type": "sale", "timestamp": "2026-01-31T12:00:00Z",
        })
        .await?;
    written.valid += 1;
    arrived(&mut redis, written.valid).await;
    println!("   delivered {} seconds after the first write began", seconds(start.elapsed()));
    show_one(&mut redis, &documents).await?;
    let letters = dead_letters(dir.path())?;
    ensure!(letters.len() == INVALID, "{} dead letters, not {INVALID}", letters.len());
    if let Some(letter) = letters.first() {
        println!("   one of the {INVALID} dead letters says why:");
        println!("     {}", letter["reason"].as_str().unwrap_or_default());
        for violation in letter["violations"].as_array().into_iter().flatten() {
            println!("       {}: {}", text(&violation["path"]), text(&violation["message"]));
        }
    }

    step(3, "The router is swapped for its next version while documents keep coming");
    println!("   version 0.2.0 also sends what is low in stock to the stream {ALERTS}");
    let stop = tokio_util::sync::CancellationToken::new();
    let writer = tokio::spawn(keep_writing(inventory.clone(), stop.clone()));
    let before = total(&mut redis).await?;
    eventually(PATIENCE, "documents keep coming", async || total(&mut redis).await.is_ok_and(|now| now > before + 500)).await;
    let swap = Instant::now();
    let next = plugins.join("next.tmp");
    fs::copy(plugin("inventory-router-low-stock"), &next)?;
    fs::rename(&next, plugins.join("inventory-router.wasm"))?;
    println!("   mv next.tmp inventory-router.wasm");
    let line = host.wait_event("plugin_swapped").await;
    println!("   {} seconds later: {}", seconds(swap.elapsed()), text(&line["message"]));
    eventually(PATIENCE, "the new router's alerts", async || length(&mut redis, ALERTS).await.is_ok_and(|n| n > 0)).await;
    stop.cancel();
    written.valid += writer.await??;
    arrived(&mut redis, written.valid).await;

    step(4, "SIGTERM: what is in flight is finished, the checkpoint is written");
    let draining = Instant::now();
    let code = host.stop().await;
    ensure!(code == Some(0), "tidegate ended with {code:?}, not 0");
    println!("   exit code 0 after {} seconds", seconds(draining.elapsed()));

    summary(&mut redis, &written, dir.path()).await
}

fn env(name: &str) -> Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set; run this as ./dev demo, which starts the servers"))
}

fn text(value: &serde_json::Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn seconds(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64())
}

fn document(n: usize, invalid: bool) -> Document {
    let warehouse = WAREHOUSES[n % WAREHOUSES.len()];
    let mut document = doc! {
        "product_id": format!("P-{n}"), "warehouse_id": warehouse, "quantity": i32::try_from(n % 100).unwrap_or(0),
        "brand": "Acme", "sku": format!("SKU-{n:06}"),
    };
    match n % 3 {
        0 => document.insert("last_updated", "2026-01-31T12:00:00Z"),
        1 => {
            document.insert("_schema_version", "v2");
            document.insert("currency", "EUR");
            document.insert("last_updated", "2026-01-31T12:00:00Z")
        }
        _ => {
            document.insert("_schema_version", "v3");
            document.insert("currency", "EUR");
            document.insert("updated_at", mongodb::bson::DateTime::from_millis(1_769_860_800_000))
        }
    };
    if invalid {
        document.insert("quantity", -1);
        document.remove("product_id");
    }
    document
}

/// Writes small batches until it is told to stop; says how many documents those were.
async fn keep_writing(inventory: Collection<Document>, stop: tokio_util::sync::CancellationToken) -> Result<usize> {
    let mut written = 0;
    while !stop.is_cancelled() {
        let batch: Vec<Document> = (0..50).map(|n| document(FIRST + written + n, false)).collect();
        inventory.insert_many(&batch).await?;
        written += batch.len();
    }
    Ok(written)
}

async fn length(redis: &mut MultiplexedConnection, stream: &str) -> Result<usize> {
    Ok(redis::cmd("XLEN").arg(stream).query_async(redis).await?)
}

async fn total(redis: &mut MultiplexedConnection) -> Result<usize> {
    let mut total = 0;
    for warehouse in WAREHOUSES {
        total += length(redis, &format!("inventory:{warehouse}")).await?;
    }
    Ok(total)
}

async fn arrived(redis: &mut MultiplexedConnection, expected: usize) {
    eventually(PATIENCE, &format!("{expected} documents in Redis"), async || {
        total(redis).await.is_ok_and(|now| now >= expected)
    })
    .await;
}

async fn show_one(redis: &mut MultiplexedConnection, documents: &[Document]) -> Result<()> {
    let entries = servers::read_stream(redis, "inventory:WH-EAST-1").await;
    let Some((_, entry)) = entries.first() else { bail!("the stream inventory:WH-EAST-1 is empty") };
    println!("   written to MongoDB (v1):");
    println!("     {}", serde_json::to_string(&documents[0])?);
    println!("   in the Redis stream inventory:WH-EAST-1, validated, migrated and routed:");
    for (name, value) in entry {
        println!("     {name:<18} {}", String::from_utf8_lossy(value));
    }
    Ok(())
}

fn dead_letters(dir: &Path) -> Result<Vec<serde_json::Value>> {
    let text = fs::read_to_string(dir.join("dead-letters.jsonl"))?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

async fn summary(redis: &mut MultiplexedConnection, written: &Written, dir: &Path) -> Result<()> {
    let (mut delivered, mut ids, mut versions) = (0, BTreeSet::new(), BTreeSet::new());
    println!("\nSummary");
    for warehouse in WAREHOUSES {
        let stream = format!("inventory:{warehouse}");
        let entries = servers::read_stream(redis, &stream).await;
        println!("   {stream:<24} {:>8} changes", HumanCount(entries.len() as u64).to_string());
        delivered += entries.len();
        for (_, entry) in entries {
            ids.insert(entry.get("id").cloned().unwrap_or_default());
            versions.insert(entry.get("h.schema_version").cloned().unwrap_or_default());
        }
    }
    let alerts = length(redis, ALERTS).await?;
    let letters = dead_letters(dir)?.len();
    println!("   {ALERTS:<24} {:>8} changes, by the new router", HumanCount(alerts as u64).to_string());
    println!("   {:<24} {letters:>8} changes, each with its reasons", "dead letter");
    let (missing, doubled) = (written.valid.saturating_sub(ids.len()), delivered - ids.len());
    println!(
        "   {} valid documents written, {missing} missing, {doubled} doubled; {} invalid, {letters} in the dead letter",
        HumanCount(written.valid as u64),
        written.invalid
    );
    ensure!(missing == 0 && doubled == 0 && letters == written.invalid, "a change is missing, doubled or wrong");
    ensure!(versions == BTreeSet::from([b"v3".to_vec()]), "not every document arrived as v3");
    println!("\nEverything arrived, once, as schema version v3. The pipeline is examples/demo/pipeline.yaml; docs/guide.md goes on from here.");
    Ok(())
}
