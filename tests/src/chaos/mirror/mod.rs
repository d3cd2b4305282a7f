//! A mirror of many documents, copied while writers change them at full speed and tidegate is killed on the way; in the end both sides
//! must be equal to the byte.
//!
//! The configuration is that of `examples/mongo-mirror`, between two servers. Two opinions are asked for: our own, which reads both sides
//! and compares bytes, and `tidegate verify`.

mod compare;
mod writers;

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use mongodb::bson::{RawDocumentBuf, doc, rawdoc};
use mongodb::{Client, Collection, IndexModel};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tempfile::TempDir;

pub use self::compare::Difference;
use self::compare::compare;
use self::writers::Writers;
use crate::servers::{Mongo, MongoOptions};
use crate::{Cli, Host, HostOptions, Signal};

const EXAMPLE: &str = include_str!("../../../../examples/mongo-mirror/mirror.yaml");
const DATABASE: &str = "shop";
const COLLECTION: &str = "items";
const INSERTED_AT_ONCE: i64 = 10_000;
/// How long the copy may stand still, and the target may need to catch up.
const PATIENCE: Duration = Duration::from_secs(240);
const POLL: Duration = Duration::from_millis(50);
/// Writing goes on for so long behind the copy, with a kill in its middle.
const BEHIND: Duration = Duration::from_secs(4);

/// A run.
#[derive(Debug, Clone)]
pub struct Mirror {
    /// That are there when it begins.
    pub documents: i64,
    /// Who insert, update, replace and delete meanwhile.
    pub writers: u32,
    /// Kills of tidegate during the copy; one more comes behind it.
    pub kills: usize,
    /// Draws what is left to chance.
    pub seed: u64,
}

/// What it came to.
#[derive(Debug, Clone, Default)]
pub struct MirrorReport {
    /// That were there when it began.
    pub documents: i64,
    /// That are there at the end.
    pub compared: usize,
    /// Confirmed writes.
    pub writes: u64,
    /// Kills of tidegate.
    pub kills: usize,
    /// From its start to the end of the copy, restarts included.
    pub copied: Duration,
    /// From the last write until `tidegate verify` found no difference.
    pub caught_up: Duration,
    /// Most resident memory of any of its processes, in bytes.
    pub peak_memory: u64,
    /// What is not equal, by the own check.
    pub differences: Vec<Difference>,
    /// What should not have happened besides.
    pub trouble: Vec<String>,
}

impl MirrorReport {
    /// Whether both sides are equal, and nothing else went wrong.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.differences.is_empty() && self.trouble.is_empty()
    }

    /// The figures, for a file.
    #[must_use]
    pub fn json(&self) -> Value {
        let seconds = |time: Duration| (time.as_secs_f64() * 10.0).round() / 10.0;
        json!({
            "documents": self.documents,
            "compared": self.compared,
            "writes": self.writes,
            "kills": self.kills,
            "copied_after_seconds": seconds(self.copied),
            "caught_up_after_seconds": seconds(self.caught_up),
            "peak_memory_bytes": self.peak_memory,
            "differences": self.differences.len(),
            "trouble": self.trouble,
        })
    }
}

impl Mirror {
    /// Runs it; `on_step` is told what is done now.
    ///
    /// # Errors
    /// When a server fails, or tidegate ends by itself or stands still: then there is nothing to compare.
    pub async fn run(&self, mut on_step: impl FnMut(String)) -> Result<MirrorReport> {
        let mut run = Run::start(self).await?;
        on_step(format!("inserting {} documents", self.documents));
        run.fill().await?;
        let writers = Writers::start(&run.source.items, self);
        let started = Instant::now();
        run.copy(&mut on_step).await?;
        run.report.copied = started.elapsed();
        on_step("following".to_owned());
        tokio::time::sleep(BEHIND / 2).await;
        run.kill();
        tokio::time::sleep(BEHIND / 2).await;
        run.report.writes = writers.stop().await?;
        on_step("verifying".to_owned());
        run.verify().await?;
        on_step("comparing".to_owned());
        let compared = compare(&run.source.items, &run.target.items).await?;
        (run.report.compared, run.report.differences) = (compared.documents, compared.differences);
        run.end().await?;
        Ok(run.report)
    }
}

struct Side {
    server: Mongo,
    client: Client,
    items: Collection<RawDocumentBuf>,
}

impl Side {
    async fn start() -> Result<Self> {
        let options = MongoOptions { oplog_mb: 4000, cache_mb: 1024, ..MongoOptions::default() };
        let server = Mongo::try_start(options).await?;
        let client = Client::with_uri_str(server.uri()).await?;
        let items = client.database(DATABASE).collection(COLLECTION);
        Ok(Self { server, client, items })
    }
}

struct Run<'a> {
    asked: &'a Mirror,
    source: Side,
    target: Side,
    dir: TempDir,
    host: Option<Host>,
    random: StdRng,
    report: MirrorReport,
}

impl<'a> Run<'a> {
    async fn start(asked: &'a Mirror) -> Result<Self> {
        let (source, target) = tokio::try_join!(Side::start(), Side::start())?;
        Ok(Self {
            asked,
            source,
            target,
            dir: tempfile::Builder::new().prefix("tidegate-chaos-").tempdir()?,
            host: None,
            random: StdRng::seed_from_u64(asked.seed),
            report: MirrorReport { documents: asked.documents, ..MirrorReport::default() },
        })
    }

    async fn fill(&self) -> Result<()> {
        let text = "x".repeat(60);
        for from in (0..self.asked.documents).step_by(INSERTED_AT_ONCE as usize) {
            let until = (from + INSERTED_AT_ONCE).min(self.asked.documents);
            let batch = (from..until).map(|n| rawdoc! { "_id": n, "n": n, "text": text.as_str() });
            self.source.items.insert_many(batch).ordered(false).await?;
        }
        self.source.items.create_index(IndexModel::builder().keys(doc! { "n": 1 }).build()).await?;
        Ok(())
    }

    fn host(&mut self) -> &mut Host {
        let env = [
            ("SOURCE_URI", self.source.server.uri()),
            ("TARGET_URI", self.target.server.uri()),
            ("DATABASES", DATABASE),
            ("ADMIN_PORT", "0"),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let options = HostOptions { dir: Some(self.dir.path().to_owned()), env, ..HostOptions::default() };
        self.host.get_or_insert_with(|| Host::start_with(EXAMPLE, options))
    }

    /// Kills tidegate; it is started again where it is next asked for.
    fn kill(&mut self) {
        if let Some(mut host) = self.host.take() {
            self.report.peak_memory = self.report.peak_memory.max(peak_memory(host.id()));
            host.kill();
            self.report.kills += 1;
        }
        self.host();
    }

    /// What the copy says of itself: documents, and whether it is done. None while tidegate starts.
    async fn copied(&mut self) -> Result<Option<(i64, bool)>> {
        let host = self.host();
        if !host.is_running() {
            bail!("tidegate ended by itself: {}", host.stderr().lines().last().unwrap_or_default());
        }
        let status = host.status().await;
        let copy = &status["pipelines"]["mirror"]["source"]["copy"];
        Ok(copy["documents"].as_i64().zip(copy["done"].as_bool()))
    }

    /// Until the copy is done, with the kills on its way.
    async fn copy(&mut self, on_step: &mut impl FnMut(String)) -> Result<()> {
        let documents = self.asked.documents;
        let mut kills: Vec<i64> =
            (0..self.asked.kills).map(|_| self.random.random_range(documents / 10..documents * 9 / 10)).collect();
        kills.sort_unstable_by(|a, b| b.cmp(a));
        let (mut most, mut moved) = (0, Instant::now());
        loop {
            if let Some((copied, done)) = self.copied().await? {
                if copied > most {
                    (most, moved) = (copied, Instant::now());
                    on_step(format!("{copied} documents are copied"));
                }
                if kills.pop_if(|at| copied >= *at).is_some() {
                    self.kill();
                } else if done {
                    break;
                }
            }
            ensure!(moved.elapsed() < PATIENCE, "the copy stands still at {most} documents");
            tokio::time::sleep(POLL).await;
        }
        if !kills.is_empty() {
            let missed = kills.len();
            self.report.trouble.push(format!("the copy was done before {missed} of the kills: take more documents"));
        }
        Ok(())
    }

    /// Asks `tidegate verify` until it finds no difference.
    async fn verify(&mut self) -> Result<()> {
        let started = Instant::now();
        let (source, target) = (self.source.server.uri().to_owned(), self.target.server.uri().to_owned());
        let arguments = ["verify", &source, &target, "--database", DATABASE, "--wait", "2s"];
        loop {
            let output = Cli::run_with(self.dir.path(), &arguments, &[], &[], PATIENCE).await;
            if output.status.success() {
                self.report.caught_up = started.elapsed();
                return Ok(());
            }
            if started.elapsed() > PATIENCE {
                let told = String::from_utf8_lossy(&output.stdout).trim().to_owned();
                self.report.trouble.push(format!("`tidegate verify` ended with {}: {told}", output.status));
                return Ok(());
            }
        }
    }

    async fn end(&mut self) -> Result<()> {
        let status = self.host().status().await;
        let letters = &status["pipelines"]["mirror"]["counts"]["dead_letters"];
        if letters.as_object().is_none_or(|letters| !letters.is_empty()) {
            self.report.trouble.push(format!("dead letters: {letters}"));
        }
        let indexes = self.target.items.list_index_names().await?;
        if !indexes.iter().any(|name| name == "n_1") {
            self.report.trouble.push(format!("the target has only the indexes {indexes:?}"));
        }
        let host = self.host();
        let memory = peak_memory(host.id());
        host.signal(Signal::TERM);
        let code = host.wait_exit(PATIENCE).await;
        self.report.peak_memory = self.report.peak_memory.max(memory);
        if code != Some(0) {
            self.report.trouble.push(format!("the end by SIGTERM was {code:?}"));
        }
        for side in [&self.source, &self.target] {
            side.client.clone().shutdown().await;
        }
        Ok(())
    }
}

/// The most memory that a process ever had resident, where the system tells (Linux).
fn peak_memory(id: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let kibibytes = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    kibibytes.and_then(|number| number.parse::<u64>().ok()).unwrap_or(0) * 1024
}
