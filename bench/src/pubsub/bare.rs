//! The bare loop: the same driver, the official client with its own batches, the same JSON and the same attributes, and nothing else.

use std::collections::VecDeque;

use anyhow::{Context as _, Result};
use bson::{
    Document, doc,
    raw::{RawBsonRef, RawDocument},
};
use clap::Args;
use futures::TryStreamExt as _;
use google_cloud_pubsub::{client::Publisher, model::Message};
use mongodb::raw_batch_cursor::RawBatch;
use tidegate::format::json::{Style, write_document};
use tokio::sync::mpsc;
use xxhash_rust::xxh3::xxh3_64;

use super::{nobody, provider};
use crate::servers;

/// As in the bare loop into Redis.
const READ_BATCH: u32 = 10_000;
/// Batches read ahead.
const AHEAD: usize = 2;
/// Messages that wait for their answers: where each is a request, twice as many as in tidegate.
const ORDERED: usize = 2_000;
/// As many as in tidegate, where a thousand of them are a request.
const UNORDERED: usize = 4_000;

#[derive(Args, Debug)]
pub(crate) struct Task {
    #[arg(long)]
    database: String,
    /// `_data` of the resume token to start after.
    #[arg(long)]
    token: String,
    /// Of the emulator.
    #[arg(long)]
    endpoint: String,
    /// The whole name.
    #[arg(long)]
    topic: String,
    #[arg(long)]
    ordered: bool,
    /// Ends after so many.
    #[arg(long)]
    events: u64,
}

/// Moves the events.
pub(crate) async fn run(task: Task) -> Result<()> {
    provider();
    let client = servers::mongodb().await?;
    let publisher = Publisher::builder(&task.topic).with_endpoint(&task.endpoint).with_credentials(nobody());
    let publisher = publisher.set_message_count_threshold(1000).build().await?;
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

    let outstanding = if task.ordered { ORDERED } else { UNORDERED };
    let mut answers = VecDeque::with_capacity(outstanding);
    let mut left = task.events;
    while left > 0 {
        let Some(batch) = batches.recv().await else {
            reader.await??;
            anyhow::bail!("the change stream ended with {left} events to go");
        };
        for event in batch.doc_slices()? {
            let event = event?.as_document().context("an event is not a document")?;
            if answers.len() == outstanding
                && let Some(answer) = answers.pop_front()
            {
                IntoFuture::into_future(answer).await?;
            }
            answers.push_back(publisher.publish(message(event, task.ordered)?));
            left = left.saturating_sub(1);
        }
    }
    publisher.flush().await;
    for answer in answers {
        answer.await?;
    }
    reader.abort();
    Ok(())
}

/// The message, as tidegate writes it.
fn message(event: &RawDocument, ordered: bool) -> Result<Message> {
    let (mut token, mut time, mut wall, mut operation, mut namespace) = ("", 0, 0, "", String::new());
    let (mut key, mut document, mut id) = (Vec::with_capacity(64), Vec::with_capacity(512), String::new());
    for element in event {
        let (name, value) = element?;
        match (name.as_str(), value) {
            ("_id", RawBsonRef::Document(id)) => token = id.get_str("_data")?,
            ("clusterTime", RawBsonRef::Timestamp(at)) => time = u64::from(at.time) << 32 | u64::from(at.increment),
            ("wallTime", RawBsonRef::DateTime(at)) => wall = at.timestamp_millis(),
            ("operationType", RawBsonRef::String(text)) => operation = text,
            ("ns", RawBsonRef::Document(ns)) => namespace = format!("{}.{}", ns.get_str("db")?, ns.get_str("coll")?),
            ("documentKey", RawBsonRef::Document(found)) => {
                write_document(&mut key, found.as_bytes(), Style::Canonical)?;
                id = found.get_object_id("_id")?.to_hex();
            }
            ("fullDocument", RawBsonRef::Document(found)) => {
                write_document(&mut document, found.as_bytes(), Style::Plain)?;
            }
            _ => {}
        }
    }
    let change = format!("{time:016x}-{:016x}", xxh3_64(token.as_bytes()));
    let message = Message::new().set_data(document).set_attributes([
        ("change_id", change.clone()),
        ("correlation_id", change),
        ("operation", operation.to_owned()),
        ("namespace", namespace),
        ("time", wall.to_string()),
        ("key", String::from_utf8(key)?),
        ("content_type", "application/json".to_owned()),
    ]);
    Ok(if ordered { message.set_ordering_key(id) } else { message })
}
