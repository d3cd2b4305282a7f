//! What a person would write who wants speed and no more: one task reads a thousand entries ahead, the other writes them as one pipeline.
//! No position, no retries, no look at the replies.

use std::io::Write as _;

use anyhow::{Context as _, Result};
use bson::raw::{RawBsonRef, RawDocument};
use clap::Args;
use redis::{Pipeline, aio::MultiplexedConnection};
use tidegate::format::{
    json::{Style, write_document},
    time::write_iso8601,
};
use tokio::sync::mpsc;

use super::{
    job::{GROUP, Job, KEYS, OUT},
    store,
};

/// Entries of one read and commands of one pipeline.
const BATCH: usize = 1_000;
/// Batches read ahead.
const AHEAD: usize = 2;

#[derive(Args, Debug)]
pub(crate) struct Task {
    #[arg(long)]
    job: Job,
    /// Ends after so many.
    #[arg(long)]
    entries: usize,
}

type Pair = (Vec<u8>, Vec<u8>);
type Entry = (String, Vec<Pair>);

/// Moves the entries.
pub(crate) async fn run(task: Task) -> Result<()> {
    let Task { job, entries } = task;
    let (sender, mut batches) = mpsc::channel::<Vec<Entry>>(AHEAD);
    let reader = tokio::spawn(read(job, store::input().await?, sender));
    let mut redis = match job {
        Job::Read | Job::Group => store::input().await?,
        Job::Chain | Job::Stream | Job::String | Job::Hash => store::output().await?,
    };
    let mut left = entries;
    let mut out = Vec::new();
    while left > 0 {
        let Some(batch) = batches.recv().await else {
            reader.await??;
            anyhow::bail!("the stream ended with {left} entries to go");
        };
        left = left.saturating_sub(batch.len());
        write(job, &mut redis, &batch, &mut out).await?;
    }
    reader.abort();
    Ok(())
}

async fn read(job: Job, mut redis: MultiplexedConnection, batches: mpsc::Sender<Vec<Entry>>) -> Result<()> {
    let mut last = "0".to_owned();
    loop {
        let mut read = match job {
            Job::Group => {
                let mut read = redis::cmd("XREADGROUP");
                read.arg("GROUP").arg(GROUP).arg("bare");
                read
            }
            _ => redis::cmd("XREAD"),
        };
        read.arg("COUNT").arg(BATCH).arg("STREAMS").arg(job.input());
        read.arg(if job == Job::Group { ">" } else { &last });
        let streams: Option<Vec<(String, Vec<Entry>)>> = read.query_async(&mut redis).await?;
        let Some((_, entries)) = streams.and_then(|streams| streams.into_iter().next()) else { return Ok(()) };
        last = entries.last().map(|(id, _)| id.clone()).context("a reply without entries")?;
        if batches.send(entries).await.is_err() {
            return Ok(());
        }
    }
}

async fn write(job: Job, redis: &mut MultiplexedConnection, batch: &[Entry], out: &mut Vec<u8>) -> Result<()> {
    let mut pipeline = Pipeline::with_capacity(2 * BATCH);
    match job {
        Job::Read | Job::Group => {
            out.clear();
            for entry in batch {
                line(out, job.input(), entry)?;
            }
            std::io::stdout().lock().write_all(out)?;
            if job == Job::Group {
                let acknowledge = pipeline.cmd("XACK").arg(job.input()).arg(GROUP);
                for (id, _) in batch {
                    acknowledge.arg(id);
                }
            }
        }
        Job::Chain => {
            for (_, fields) in batch {
                let add = pipeline.cmd("XADD").arg(OUT).arg("*");
                for (name, value) in fields {
                    add.arg(name).arg(value);
                }
                add.ignore();
            }
        }
        Job::Stream | Job::String | Job::Hash => {
            for (_, fields) in batch {
                document(&mut pipeline, job, fields)?;
            }
        }
    }
    if !pipeline.is_empty() {
        pipeline.query_async::<redis::Value>(redis).await?;
    }
    Ok(())
}

/// A change as a line, as tidegate writes it.
fn line(out: &mut Vec<u8>, stream: &str, (id, fields): &Entry) -> Result<()> {
    write!(
        out,
        r#"{{"id":"{stream}/{id}","op":"insert","ns":"redis.{stream}","key":{{"_id":"{id}"}},"doc":{{"_id":"{id}""#
    )?;
    for (name, value) in fields {
        out.push(b',');
        serde_json::to_writer(&mut *out, std::str::from_utf8(name)?)?;
        out.push(b':');
        serde_json::to_writer(&mut *out, std::str::from_utf8(value)?)?;
    }
    out.extend_from_slice(br#"},"wall_time":""#);
    let (ms, _) = id.split_once('-').context("an id without a counter")?;
    write_iso8601(out, ms.parse()?, true);
    out.extend_from_slice(b"\"}\n");
    Ok(())
}

/// A document as tidegate writes it, in the same JSON.
fn document(pipeline: &mut Pipeline, job: Job, fields: &[Pair]) -> Result<()> {
    let field = |wanted: &str| {
        let found = fields.iter().find(|(name, _)| name == wanted.as_bytes());
        found.map(|(_, value)| value.as_slice()).with_context(|| format!("an entry without `{wanted}`"))
    };
    let document = RawDocument::from_bytes(field("doc")?)?;
    let mut text = Vec::with_capacity(512);
    match job {
        Job::Stream => {
            write_document(&mut text, document.as_bytes(), Style::Plain)?;
            let mut key = Vec::with_capacity(64);
            write_document(&mut key, field("key")?, Style::Plain)?;
            let add = pipeline.cmd("XADD").arg(OUT).arg("*");
            for name in ["id", "op", "ns"] {
                add.arg(name).arg(field(name)?);
            }
            add.arg("key").arg(key).arg("doc").arg(text).ignore();
        }
        Job::String => {
            write_document(&mut text, document.as_bytes(), Style::Plain)?;
            pipeline.cmd("SET").arg(name_of(document)?).arg(text).ignore();
        }
        _ => {
            let key = name_of(document)?;
            // As a whole, so that nothing of an earlier state is left.
            pipeline.cmd("DEL").arg(&key).ignore();
            let set = pipeline.cmd("HSET").arg(&key);
            for element in document {
                let (name, value) = element?;
                set.arg(name.as_str());
                match value {
                    RawBsonRef::String(text) => set.arg(text),
                    RawBsonRef::Int32(number) => set.arg(number),
                    RawBsonRef::ObjectId(id) => set.arg(id.to_hex()),
                    other => anyhow::bail!("no document of this benchmark has {other:?}"),
                };
            }
            set.ignore();
        }
    }
    Ok(())
}

fn name_of(document: &RawDocument) -> Result<String> {
    Ok([KEYS, &document.get_object_id("_id")?.to_hex()].concat())
}
