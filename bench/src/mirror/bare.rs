//! What a person would write who wants speed and no more: raw batches read ahead, bulk writes of a thousand.

use anyhow::{Context as _, Result};
use bson::{
    Document, RawDocumentBuf, cstr, doc,
    raw::{RawArrayBuf, RawBsonRef},
};
use clap::Args;
use futures::TryStreamExt as _;
use mongodb::{Database, raw_batch_cursor::RawBatch};
use tokio::sync::mpsc;

use crate::servers;

const READ_BATCH: u32 = 10_000;
const WRITE_BATCH: usize = 1_000;
const AHEAD: usize = 2;

#[derive(Args, Debug)]
pub(crate) struct Task {
    #[arg(long)]
    source: String,
    #[arg(long)]
    target: String,
    /// `_data` of the resume token to follow from; none: copy.
    #[arg(long)]
    token: Option<String>,
    /// Inserts instead of upserts: what only a loop that knows the target to be empty can do, and which cannot be run again.
    #[arg(long)]
    insert: bool,
    /// Ends after so many.
    #[arg(long)]
    documents: u64,
}

pub(crate) async fn run(task: Task) -> Result<()> {
    let client = servers::mongodb().await?;
    let collection = client.database(&task.source).collection::<Document>(servers::COLLECTION);
    let target = client.database(&task.target);
    let mut cursor = match &task.token {
        None => collection.find(doc! {}).batch_size(READ_BATCH).batch().await?,
        Some(token) => {
            let stage = doc! { "$changeStream": { "startAfter": { "_data": token } } };
            collection.aggregate([stage]).batch_size(READ_BATCH).batch().await?
        }
    };
    let (sender, mut batches) = mpsc::channel::<RawBatch>(AHEAD);
    let reader = tokio::spawn(async move {
        while let Some(batch) = cursor.try_next().await? {
            if sender.send(batch).await.is_err() {
                break;
            }
        }
        anyhow::Ok(())
    });
    let mut left = task.documents;
    let mut writes = Writes { insert: task.insert, ..Writes::default() };
    while left > 0 {
        let Some(batch) = batches.recv().await else { break };
        for document in batch.doc_slices()? {
            let mut document = document?.as_document().context("not a document")?;
            if task.token.is_some() {
                document = document.get_document("fullDocument")?;
            }
            writes.add(document)?;
            left = left.saturating_sub(1);
            if writes.count == WRITE_BATCH {
                writes.flush(&target).await?;
            }
        }
        if task.token.is_some() {
            writes.flush(&target).await?;
        }
    }
    writes.flush(&target).await?;
    reader.abort();
    Ok(())
}

/// Replacements by `_id`, so that the loop can be run again, or inserts.
#[derive(Default)]
struct Writes {
    insert: bool,
    items: RawArrayBuf,
    count: usize,
}

impl Writes {
    fn add(&mut self, document: &bson::RawDocument) -> Result<()> {
        self.count += 1;
        if self.insert {
            self.items.push(RawBsonRef::Document(document));
            return Ok(());
        }
        let id = document.get("_id")?.context("no `_id`")?;
        let mut key = RawDocumentBuf::new();
        key.append(cstr!("_id"), id);
        let mut item = RawDocumentBuf::new();
        item.append(cstr!("q"), RawBsonRef::Document(&key));
        item.append(cstr!("u"), RawBsonRef::Document(document));
        item.append(cstr!("upsert"), true);
        self.items.push(item);
        Ok(())
    }

    async fn flush(&mut self, target: &Database) -> Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        let mut command = RawDocumentBuf::new();
        let (name, items) =
            if self.insert { (cstr!("insert"), cstr!("documents")) } else { (cstr!("update"), cstr!("updates")) };
        command.append(name, servers::COLLECTION);
        command.append(cstr!("ordered"), false);
        command.append(items, RawBsonRef::Array(&self.items));
        let mut concern = RawDocumentBuf::new();
        concern.append(cstr!("w"), "majority");
        concern.append(cstr!("j"), true);
        command.append(cstr!("writeConcern"), concern);
        let reply = target.run_raw_command(command).await?;
        anyhow::ensure!(!reply.contains_key("writeErrors"), "{reply}");
        *self = Self { insert: self.insert, ..Self::default() };
        Ok(())
    }
}
