//! Plugins on several hosts: one follows MongoDB into a topic of Pub/Sub, others share a subscription of it into Redis, and all of them are
//! killed at random while documents change. In the end every change must be there, and the last arrivals of each document in their order. (The
//! first need not be: the emulator gives new messages of a key to another while a killed host has old ones, and gives all of them again, in order, when
//! the old ones come. The service holds the new ones back.)
//!
//! The configurations are those of `examples/scale-out`.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use mongodb::Collection;
use mongodb::bson::{Document, doc};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::ledger::{Arrival, Verdict, Written, judge};
use crate::servers::{Emulator, Kind, Mongo, MongoOptions, PROJECT, PubSub, Redis, RedisOptions, read_stream};
use crate::{Host, HostOptions, plugin};

const TO_TOPIC: &str = include_str!("../../../examples/scale-out/to-topic.yaml");
const WORKERS: &str = include_str!("../../../examples/scale-out/workers.yaml");
const TOPIC: &str = "changes";
const SUBSCRIPTION: &str = "changes-workers";
const DATABASE: &str = "shop";
const WAREHOUSES: i32 = 3;
/// Of a killed worker's messages, until another gets them: the shortest there is.
const ACK_DEADLINE: Duration = Duration::from_secs(10);
/// How long nothing may move.
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);

/// A run.
#[derive(Debug, Clone)]
pub struct ScaleOut {
    /// Changes that are written.
    pub changes: i32,
    /// Documents that they are of.
    pub documents: i32,
    /// Hosts that share the subscription.
    pub workers: usize,
    /// Kills, each of a host drawn from all.
    pub kills: usize,
    /// Draws what is left to chance.
    pub seed: u64,
}

/// What it came to.
#[derive(Debug, Clone, Default)]
pub struct ScaleOutReport {
    /// Kills of the host that publishes.
    pub publisher_kills: usize,
    /// Kills of workers.
    pub worker_kills: usize,
    /// What each worker had read when it ended, or was killed last.
    pub shares: Vec<u64>,
    /// What was found in Redis.
    pub verdict: Verdict,
    /// Changes whose last arrival is behind that of a later one of their document: who keeps the newest state has a wrong one.
    pub stale: Vec<(i32, i32)>,
    /// What should not have happened besides.
    pub trouble: Vec<String>,
    /// From start to end.
    pub elapsed: Duration,
}

impl ScaleOutReport {
    /// Whether all arrived, and the last arrivals in order.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let verdict = Verdict { steps_back: vec![], ..self.verdict.clone() };
        verdict.is_good(true) && self.stale.is_empty() && self.trouble.is_empty()
    }

    /// The figures, for a file.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "publisher_kills": self.publisher_kills,
            "worker_kills": self.worker_kills,
            "shares": self.shares,
            "changes": self.verdict.changes,
            "gaps": self.verdict.gaps.len(),
            "doubles": self.verdict.doubles.len(),
            "steps_back": self.verdict.steps_back.len(),
            "stale": self.stale.len(),
            "dead_letters": self.verdict.letters,
            "seconds": (self.elapsed.as_secs_f64() * 10.0).round() / 10.0,
            "trouble": self.trouble,
        })
    }
}

/// One of the hosts, in a folder of its own.
struct Runner {
    config: &'static str,
    folder: PathBuf,
    env: Vec<(String, String)>,
    host: Host,
}

impl Runner {
    fn start(config: &'static str, folder: PathBuf, env: Vec<(String, String)>) -> Result<Self> {
        std::fs::create_dir_all(&folder).context("making a folder for a host")?;
        let host = launch(config, &folder, &env);
        Ok(Self { config, folder, env, host })
    }

    fn kill(&mut self) {
        self.host.kill();
        self.host = launch(self.config, &self.folder, &self.env);
    }

    async fn end(&mut self, report: &mut ScaleOutReport) {
        let code = self.host.stop().await;
        if code != Some(0) {
            report.trouble.push(format!("the end of {} was {code:?}", self.folder.display()));
        }
    }
}

fn launch(config: &str, folder: &std::path::Path, env: &[(String, String)]) -> Host {
    let options = HostOptions { dir: Some(folder.to_owned()), env: env.to_vec(), ..HostOptions::default() };
    Host::start_with(config, options)
}

impl ScaleOut {
    /// Runs it; `on_step` is told what is done now.
    ///
    /// # Errors
    /// When a server fails or nothing moves any more: then there is nothing to compare.
    pub async fn run(&self, mut on_step: impl FnMut(String)) -> Result<ScaleOutReport> {
        let started = Instant::now();
        on_step("starting servers".to_owned());
        let redis = RedisOptions { aof: true, ..Default::default() };
        let mongo = MongoOptions { cache_mb: 256, ..MongoOptions::default() };
        let (mongo, redis, emulator) =
            tokio::try_join!(Mongo::try_start(mongo), Redis::try_start(redis), Emulator::try_start(Kind::PubSub))?;
        let pubsub = PubSub::at(&emulator.address()).await;
        pubsub.topic(TOPIC).await;
        pubsub.subscription(SUBSCRIPTION, TOPIC).await;
        let dir = tempfile::Builder::new().prefix("tidegate-scale-out-").tempdir()?;
        let mut hosts = self.hosts(&dir, mongo.uri(), &redis.url(), &emulator.address())?;
        for runner in &mut hosts {
            runner.host.wait_ready().await;
        }

        let mut report = ScaleOutReport::default();
        let items = mongo.client().await.database(DATABASE).collection("inventory");
        let written = self.write(&items, &mut hosts, &mut report, &mut on_step).await?;
        on_step("waiting for the rest".to_owned());
        let (arrivals, letters) = wait_all(&redis, &written).await?;
        for runner in hosts.iter_mut().skip(1) {
            let share = runner.host.metric("tidegate_events_in_total", &[]).await.unwrap_or_default();
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a count
            report.shares.push(share as u64);
        }
        for runner in &mut hosts {
            runner.end(&mut report).await;
        }
        report.verdict = judge(&written, &arrivals, &letters);
        report.stale = stale(&arrivals);
        report.elapsed = started.elapsed();
        Ok(report)
    }

    /// The one that publishes first, then the workers.
    fn hosts(&self, dir: &TempDir, mongodb: &str, redis: &str, pubsub: &str) -> Result<Vec<Runner>> {
        let plugins = plugin("inventory-router").parent().map(|folder| folder.display().to_string());
        let deadline = format!("{}s", ACK_DEADLINE.as_secs());
        let env: Vec<(String, String)> = [
            ("MONGODB_URI", mongodb),
            ("REDIS_URL", redis),
            ("PUBSUB_EMULATOR_HOST", pubsub),
            ("PROJECT", PROJECT),
            ("PLUGINS", &plugins.unwrap_or_default()),
            ("ACK_DEADLINE", &deadline),
            ("MAX_MESSAGES", "50"),
            ("STATE_DIR", "./state"),
            ("ADMIN_PORT", "0"),
            ("TIDEGATE__LOG__FORMAT", "json"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let publisher = Runner::start(TO_TOPIC, dir.path().join("to-topic"), env.clone())?;
        let workers = (1..=self.workers)
            .map(|number| Runner::start(WORKERS, dir.path().join(format!("worker-{number}")), env.clone()));
        std::iter::once(Ok(publisher)).chain(workers).collect()
    }

    /// Writes all changes, with the kills between them.
    async fn write(
        &self,
        items: &Collection<Document>,
        hosts: &mut [Runner],
        report: &mut ScaleOutReport,
        on_step: &mut impl FnMut(String),
    ) -> Result<Written> {
        let mut random = StdRng::seed_from_u64(self.seed);
        let mut kills: Vec<i32> = (0..self.kills).map(|_| random.random_range(1..self.changes)).collect();
        kills.sort_unstable_by(|a, b| b.cmp(a));
        let mut written = Written::default();
        for number in 0..self.changes {
            let key = random.random_range(0..self.documents);
            let seq = written.last.get(&key).map_or(0, |last| last + 1);
            // Whole documents, so that each change carries its own state.
            items.replace_one(doc! { "_id": key }, item(key, seq)).upsert(true).await?;
            written.last.insert(key, seq);
            while kills.pop_if(|at| number >= *at).is_some() {
                let chosen = random.random_range(0..hosts.len());
                on_step(format!("{number} changes, killing host {chosen}"));
                if let Some(runner) = hosts.get_mut(chosen) {
                    runner.kill();
                }
                if chosen == 0 { report.publisher_kills += 1 } else { report.worker_kills += 1 }
            }
            // About as fast as the emulator hands out, so that kills fall among messages under way.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(written)
    }
}

fn item(key: i32, seq: i32) -> Document {
    doc! {
        "product_id": format!("P-{key}"),
        "warehouse_id": format!("w{}", key % WAREHOUSES),
        "quantity": seq,
        "last_updated": "2026-01-31T12:00:00Z",
    }
}

/// Waits until there is an arrival or a letter of each change, and no older one came last: what comes again behind an older change comes in
/// several answers. Where that stays so, it is what is returned.
async fn wait_all(redis: &Redis, written: &Written) -> Result<(Vec<Arrival>, Vec<Arrival>)> {
    let mut connection = redis.connection().await;
    let (mut most, mut moved) = (0, Instant::now());
    loop {
        let mut arrivals = Vec::new();
        for warehouse in 0..WAREHOUSES {
            for (_, fields) in read_stream(&mut connection, &format!("inventory:w{warehouse}")).await {
                arrivals.push(arrival(&fields).context("an entry that is none of these changes")?);
            }
        }
        let letters: usize = redis::cmd("XLEN").arg("inventory-dead").query_async(&mut connection).await?;
        let found = judge(written, &arrivals, &[]);
        if arrivals.len() > most {
            (most, moved) = (arrivals.len(), Instant::now());
        }
        let is_stuck = moved.elapsed() > PATIENCE;
        if (found.gaps.is_empty() || found.gaps.len() == letters) && (is_stuck || stale(&arrivals).is_empty()) {
            let letters = found.gaps.iter().map(|(key, seq)| Arrival { key: *key, seq: *seq, id: String::new() });
            return Ok((arrivals, letters.collect()));
        }
        ensure!(!is_stuck, "{} changes are missing, and nothing moves", found.gaps.len());
        tokio::time::sleep(POLL).await;
    }
}

/// Looks at the last arrival of each change alone.
fn stale(arrivals: &[Arrival]) -> Vec<(i32, i32)> {
    let (mut later, mut seen) = (HashMap::new(), HashSet::new());
    let last = arrivals.iter().rev().filter(|arrival| seen.insert((arrival.key, arrival.seq)));
    last.filter(|arrival| {
        let next = later.entry(arrival.key).or_insert(arrival.seq);
        let is_behind = arrival.seq > *next;
        *next = arrival.seq.min(*next);
        is_behind
    })
    .map(|arrival| (arrival.key, arrival.seq))
    .collect()
}

fn arrival(fields: &std::collections::BTreeMap<String, Vec<u8>>) -> Option<Arrival> {
    let document: Value = serde_json::from_slice(fields.get("doc")?).ok()?;
    let number = |value: &Value| value.as_i64().and_then(|number| i32::try_from(number).ok());
    Some(Arrival {
        key: document["product_id"].as_str()?.strip_prefix("P-")?.parse().ok()?,
        seq: number(&document["quantity"])?,
        id: String::from_utf8(fields.get("id")?.clone()).ok()?,
    })
}
