//! Contender (a): the same driver, the same client, the same JSON, and nothing else. What a person would write who wants
//! speed and no more: one task reads raw batches ahead, the other writes them as pipelines.

use anyhow::{Context as _, Result};
use bson::{
    Document, doc,
    raw::{RawBsonRef, RawDocument},
};
use clap::Args;
use futures::TryStreamExt as _;
use mongodb::raw_batch_cursor::RawBatch;
use tidegate::format::json::{Style, write_document};
use tokio::sync::mpsc;
use xxhash_rust::xxh3::xxh3_64;

use crate::servers;

/// Larger is quicker up to here: mongod spends the same on each reply.
const READ_BATCH: u32 = 10_000;
/// Entries in one pipeline.
const WRITE_BATCH: usize = 1_000;
/// Batches read ahead.
const AHEAD: usize = 2;

#[derive(Args, Debug)]
pub(crate) struct Task {
    #[arg(long)]
    database: String,
    /// `_data` of the resume token to start after.
    #[arg(long)]
    token: String,
    #[arg(long)]
    stream: String,
    /// Ends after so many.
    #[arg(long)]
    events: u64,
}

/// Moves the events.
pub(crate) async fn run(task: Task) -> Result<()> {
    let client = servers::mongodb().await?;
    let mut redis = servers::redis().await?;
    let stage = doc! { "$changeStream": { "startAfter": { "_data": &task.token } } };
    let collection = client.database(&task.database).collection::<Document>(servers::COLLECTION);
    let mut cursor = collection.aggregate([stage]).batch_size(READ_BATCH).batch().await?;
    let (sender, mut batches) = mpsc::channel::<RawBatch>(AHEAD);
    let reader = tokio::spawn(async move {
        while let Some(batch) = cursor.try_next().await? {
            if sender.send(batch).await.is_err() {
                break;
            }
        }
        anyhow::Ok(())
    });

    let mut left = task.events;
    while left > 0 {
        let Some(batch) = batches.recv().await else {
            reader.await??;
            anyhow::bail!("the change stream ended with {left} events to go");
        };
        let mut pipeline = redis::pipe();
        for event in batch.doc_slices()? {
            let event = event?.as_document().context("an event is not a document")?;
            add(&mut pipeline, &task.stream, event)?;
            left = left.saturating_sub(1);
            if pipeline.len() == WRITE_BATCH {
                pipeline.query_async::<()>(&mut redis).await?;
                pipeline.clear();
            }
        }
        if !pipeline.is_empty() {
            pipeline.query_async::<()>(&mut redis).await?;
        }
    }
    reader.abort();
    Ok(())
}

/// The fields of a stream entry, as tidegate writes them.
fn add(pipeline: &mut redis::Pipeline, stream: &str, event: &RawDocument) -> Result<()> {
    let (mut token, mut time, mut operation, mut namespace) = ("", 0, "", String::new());
    let (mut key, mut document) = (Vec::with_capacity(64), Vec::with_capacity(512));
    for element in event {
        let (name, value) = element?;
        match (name.as_str(), value) {
            ("_id", RawBsonRef::Document(id)) => token = id.get_str("_data")?,
            ("clusterTime", RawBsonRef::Timestamp(at)) => time = u64::from(at.time) << 32 | u64::from(at.increment),
            ("operationType", RawBsonRef::String(text)) => operation = text,
            ("ns", RawBsonRef::Document(ns)) => namespace = format!("{}.{}", ns.get_str("db")?, ns.get_str("coll")?),
            ("documentKey", RawBsonRef::Document(found)) => write_document(&mut key, found.as_bytes(), Style::Plain)?,
            ("fullDocument", RawBsonRef::Document(found)) => {
                write_document(&mut document, found.as_bytes(), Style::Plain)?;
            }
            _ => {}
        }
    }
    pipeline
        .cmd("XADD")
        .arg(stream)
        .arg("*")
        .arg("id")
        .arg(format!("{time:016x}-{:016x}", xxh3_64(token.as_bytes())))
        .arg("op")
        .arg(operation)
        .arg("ns")
        .arg(namespace)
        .arg("key")
        .arg(key)
        .arg("doc")
        .arg(document)
        .ignore();
    Ok(())
}
