//! The server: what is read lies in one of its databases, what is written in another, which is emptied before each run.

use std::env;

use anyhow::{Context as _, Result, ensure};
use bson::{RawDocumentBuf, rawdoc};
use redis::{Pipeline, aio::MultiplexedConnection};
use tidegate::format::json::{Style, write_document};
use xxhash_rust::xxh3::xxh3_64;

use super::job::{GROUP, Job, KEYS, OUT, Output};
use crate::{documents, servers};

/// Number of the database that is written to.
const WRITTEN: u32 = 1;
const BATCH: u64 = 1_000;

/// The URL of the database that is read.
pub(super) fn input_url() -> Result<String> {
    Ok(urls()?.0)
}

/// The URL of the database that is written to.
pub(super) fn output_url() -> Result<String> {
    Ok(urls()?.1)
}

fn urls() -> Result<(String, String)> {
    let url = env::var("REDIS_URL").context("REDIS_URL is not set: ./dev bench starts servers and sets it")?;
    let (scheme, address) = url.split_once("://").context("REDIS_URL is no URL")?;
    let (host, database) = address.split_once('/').unwrap_or((address, ""));
    ensure!(matches!(database, "" | "0"), "REDIS_URL names a database: the benchmark takes 0 and {WRITTEN}");
    Ok((format!("{scheme}://{host}/0"), format!("{scheme}://{host}/{WRITTEN}")))
}

pub(super) async fn input() -> Result<MultiplexedConnection> {
    servers::redis_at(&input_url()?).await
}

pub(super) async fn output() -> Result<MultiplexedConnection> {
    servers::redis_at(&output_url()?).await
}

/// Connections of the benchmark itself.
pub(super) struct Store {
    input: MultiplexedConnection,
    output: MultiplexedConnection,
}

impl Store {
    /// Connects, and makes sure that nobody's data is emptied away.
    ///
    /// # Errors
    /// When the server does not answer, or has data where the benchmark writes.
    pub(super) async fn connect() -> Result<Self> {
        let mut store = Self { input: input().await?, output: output().await? };
        let there = store.keys().await?;
        ensure!(
            there == 0,
            "database {WRITTEN} of this Redis holds {there} keys: the benchmark empties it, so give it another server"
        );
        Ok(store)
    }

    /// Fills the stream that a job reads, unless it is there.
    pub(super) async fn load(&mut self, job: Job, entries: u64) -> Result<()> {
        let there: u64 = redis::cmd("XLEN").arg(job.input()).query_async(&mut self.input).await?;
        if there == entries {
            return Ok(());
        }
        for from in (0..entries).step_by(BATCH as usize) {
            let mut pipeline = Pipeline::with_capacity(BATCH as usize);
            for number in from..(from + BATCH).min(entries) {
                let add = pipeline.cmd("XADD").arg(job.input()).arg("*");
                for (name, value) in entry(job, number)? {
                    add.arg(name).arg(value);
                }
                add.ignore();
            }
            pipeline.query_async::<()>(&mut self.input).await?;
        }
        Ok(())
    }

    /// Takes away what the run before has written and acknowledged.
    pub(super) async fn empty(&mut self, job: Job) -> Result<()> {
        // Not ASYNC: its thread would still be freeing memory while the next run is timed.
        redis::cmd("FLUSHDB").arg("SYNC").query_async::<()>(&mut self.output).await?;
        if job == Job::Group {
            let mut pipeline = Pipeline::new();
            pipeline.cmd("XGROUP").arg("DESTROY").arg(job.input()).arg(GROUP).ignore();
            pipeline.cmd("XGROUP").arg("CREATE").arg(job.input()).arg(GROUP).arg("0").ignore();
            pipeline.query_async::<()>(&mut self.input).await?;
        }
        Ok(())
    }

    /// Removes all that the benchmark made.
    pub(super) async fn clean(&mut self) -> Result<()> {
        redis::cmd("FLUSHDB").arg("SYNC").query_async::<()>(&mut self.output).await?;
        let inputs: Vec<&str> = Job::ALL.into_iter().map(Job::input).collect();
        Ok(redis::cmd("DEL").arg(inputs).query_async(&mut self.input).await?)
    }

    /// How many entries or documents were written; a position that is kept beside them is none.
    pub(super) async fn written(&mut self, output: Output) -> Result<u64> {
        match output {
            Output::Lines | Output::Entries => Ok(redis::cmd("XLEN").arg(OUT).query_async(&mut self.output).await?),
            Output::Strings | Output::Hashes => self.keys().await,
        }
    }

    async fn keys(&mut self) -> Result<u64> {
        Ok(redis::cmd("DBSIZE").query_async(&mut self.output).await?)
    }

    /// How many entries are read, and not acknowledged.
    pub(super) async fn pending(&mut self, job: Job) -> Result<u64> {
        let (pending, _, _, _): (u64, redis::Value, redis::Value, redis::Value) =
            redis::cmd("XPENDING").arg(job.input()).arg(GROUP).query_async(&mut self.input).await?;
        Ok(pending)
    }

    /// How much was written, and a number that stands for all of it: who does the same job writes the same.
    pub(super) async fn digest(&mut self, output: Output) -> Result<(u64, u64)> {
        let (mut count, mut digest) = (0, 0_u64);
        if output == Output::Entries {
            let mut start = "-".to_owned();
            loop {
                let mut page = redis::cmd("XRANGE");
                page.arg(OUT).arg(&start).arg("+").arg("COUNT").arg(10 * BATCH);
                let page: Vec<(String, Vec<Vec<u8>>)> = page.query_async(&mut self.output).await?;
                let Some((last, _)) = page.last() else { return Ok((count, digest)) };
                start = format!("({last}");
                for (_, fields) in &page {
                    // In their order.
                    digest = digest.rotate_left(1) ^ xxh3_64(&fields.join(&0));
                    count += 1;
                }
            }
        }
        let names: Vec<String> = redis::cmd("KEYS").arg([KEYS, "*"].concat()).query_async(&mut self.output).await?;
        for names in names.chunks(BATCH as usize) {
            let mut pipeline = Pipeline::with_capacity(names.len());
            for name in names {
                pipeline.cmd(if output == Output::Hashes { "HGETALL" } else { "GET" }).arg(name);
            }
            let values: Vec<redis::Value> = pipeline.query_async(&mut self.output).await?;
            for (name, value) in names.iter().zip(values) {
                digest ^= xxh3_64(format!("{name} {value:?}").as_bytes());
                count += 1;
            }
        }
        Ok((count, digest))
    }

    /// CPU seconds that the server has spent.
    pub(super) async fn cpu(&mut self) -> Result<f64> {
        servers::redis_cpu(&mut self.input).await
    }

    pub(super) async fn version(&mut self) -> Result<String> {
        servers::redis_version(&mut self.input).await
    }
}

/// The fields of an entry.
fn entry(job: Job, number: u64) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let document = documents::inventory(number);
    if matches!(job, Job::Read | Job::Group) {
        let mut fields = Vec::new();
        for name in ["product_id", "warehouse_id", "last_updated", "category", "brand", "sku", "location"] {
            fields.push((name, document.get_str(name)?.as_bytes().to_vec()));
        }
        for name in ["quantity", "threshold_min", "threshold_max"] {
            fields.push((name, document.get_i32(name)?.to_string().into_bytes()));
        }
        return Ok(fields);
    }
    let key = rawdoc! { "_id": document.get_object_id("_id")? };
    let written = |document: &RawDocumentBuf| {
        if job != Job::Chain {
            return anyhow::Ok(document.as_bytes().to_vec());
        }
        let mut text = Vec::new();
        write_document(&mut text, document.as_bytes(), Style::Plain)?;
        Ok(text)
    };
    Ok(vec![
        ("id", format!("{number:016x}-{:016x}", xxh3_64(&number.to_le_bytes())).into_bytes()),
        ("op", b"insert".to_vec()),
        ("ns", b"bench.inventory".to_vec()),
        ("key", written(&key)?),
        ("doc", written(&document)?),
    ])
}
