//! What arrived.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use mongodb::bson::{Document, doc};
use redis::aio::MultiplexedConnection;
use serde_json::Value;

use super::ledger::{Arrival, Written};
use super::world::{COLLECTION, COPY, LOG, STREAM, World};
use crate::servers::redis::connect;

/// Looks at a sink.
#[derive(Debug)]
pub(super) struct Observer {
    mongodb: mongodb::Client,
    redis: Option<(String, Option<MultiplexedConnection>)>,
    source: String,
    sink: String,
}

impl Observer {
    pub(super) async fn new(world: &World) -> Self {
        Self {
            mongodb: world.client().await,
            redis: world.redis.as_ref().map(|redis| (redis.url(), None)),
            source: world.source.clone(),
            sink: world.sink.clone(),
        }
    }

    /// The field `n` of the document that arrived last, and how many arrived; an error where the sink cannot be asked.
    pub(super) async fn newest(&mut self) -> Result<(i64, u64)> {
        let result = match &mut self.redis {
            Some((url, connection)) => newest_in_redis(url, connection).await,
            None => self.newest_in_mongodb().await,
        };
        if let (Err(_), Some((_, connection))) = (&result, &mut self.redis) {
            *connection = None;
        }
        result
    }

    async fn newest_in_mongodb(&self) -> Result<(i64, u64)> {
        let log = self.mongodb.database(&self.sink).collection::<Document>(LOG);
        let last = log.find_one(doc! {}).sort(doc! { "_id": -1 }).await?;
        let n = last.map_or(Ok(0), |last| last.get_document("doc")?.get_i64("n"))?;
        Ok((n, log.estimated_document_count().await?))
    }

    /// Everything that arrived, in order.
    pub(super) async fn arrivals(&mut self) -> Result<Vec<Arrival>> {
        let Some((url, _)) = &self.redis else { return self.arrivals_in_mongodb().await };
        let mut connection = connect(url).await?;
        let entries = crate::servers::read_stream(&mut connection, STREAM).await;
        entries.iter().map(|(_, fields)| of_entry(fields)).collect()
    }

    async fn arrivals_in_mongodb(&self) -> Result<Vec<Arrival>> {
        let log = self.mongodb.database(&self.sink).collection::<Document>(LOG);
        // The order of insertion, by the server that makes the `_id`s. The natural order is that only where the server was the
        // primary all the time: a secondary applies the oplog in parallel.
        let mut cursor = log.find(doc! {}).sort(doc! { "_id": 1 }).await?;
        let mut arrivals = Vec::new();
        while cursor.advance().await? {
            let found = cursor.deserialize_current()?;
            let doc = found.get_document("doc").with_context(|| format!("no doc: {found}"))?;
            let id = found.get("id").map(|id| id.as_str().map_or_else(|| id.to_string(), ToOwned::to_owned));
            arrivals.push(Arrival {
                key: doc.get_i32("_id")?,
                seq: doc.get_i32("seq")?,
                id: id.with_context(|| format!("no id: {found}"))?,
            });
        }
        Ok(arrivals)
    }

    /// The changes that the copy in MongoDB lacks: the last of each document that is not the source's. None for Redis, which has no copy.
    pub(super) async fn copy_lacks(&self, written: &Written) -> Result<Vec<(i32, i32)>> {
        if self.redis.is_some() {
            return Ok(Vec::new());
        }
        let source = all(&self.mongodb.database(&self.source).collection(COLLECTION)).await?;
        let copy = all(&self.mongodb.database(&self.sink).collection(COPY)).await?;
        // A guilty change that was the last of its document is in the dead letter, and not in the copy.
        let last = written.last.iter().map(|(key, seq)| (*key, *seq));
        Ok(last
            .filter(|(key, _)| source.get(key) != copy.get(key))
            .filter(|change| !written.marked.contains(change))
            .chain(copy.keys().filter(|key| !source.contains_key(key)).map(|key| (*key, -1)))
            .collect())
    }
}

async fn all(collection: &mongodb::Collection<Document>) -> Result<BTreeMap<i32, Document>> {
    let mut cursor = collection.find(doc! {}).await?;
    let mut found = BTreeMap::new();
    while cursor.advance().await? {
        let document = cursor.deserialize_current()?;
        found.insert(document.get_i32("_id")?, document);
    }
    Ok(found)
}

async fn newest_in_redis(url: &str, connection: &mut Option<MultiplexedConnection>) -> Result<(i64, u64)> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(connect(url).await?),
    };
    let length: u64 = redis::cmd("XLEN").arg(STREAM).query_async(connection).await?;
    let last: Vec<(String, BTreeMap<String, Vec<u8>>)> =
        redis::cmd("XREVRANGE").arg(STREAM).arg("+").arg("-").arg("COUNT").arg(1).query_async(connection).await?;
    let n = match last.first() {
        Some((_, fields)) => json(fields, "doc")?["n"].as_i64().context("a document without n")?,
        None => 0,
    };
    Ok((n, length))
}

fn json(fields: &BTreeMap<String, Vec<u8>>, name: &str) -> Result<Value> {
    let bytes = fields.get(name).with_context(|| format!("an entry without {name}: {fields:?}"))?;
    Ok(serde_json::from_slice(bytes)?)
}

fn of_entry(fields: &BTreeMap<String, Vec<u8>>) -> Result<Arrival> {
    let id = fields.get("id").with_context(|| format!("an entry without id: {fields:?}"))?;
    of_document(&json(fields, "doc")?, String::from_utf8_lossy(id).into_owned())
}

fn of_document(document: &Value, id: String) -> Result<Arrival> {
    let number = |name: &str| {
        let value = &document[name];
        let text = value["$numberInt"].as_str();
        let number = text.map_or_else(|| value.as_i64(), |text| text.parse().ok());
        number.and_then(|number| i32::try_from(number).ok()).with_context(|| format!("no {name}: {document}"))
    };
    Ok(Arrival { key: number("_id")?, seq: number("seq")?, id })
}

/// What is in the dead letters of a run. A last line that is cut off was never confirmed.
pub(super) fn letters(world: &World) -> Result<Vec<Arrival>> {
    let mut letters = Vec::new();
    for file in world.dead_letters() {
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        for line in text.lines() {
            if let Ok(letter) = serde_json::from_str::<Value>(line) {
                let id = letter["id"].as_str().unwrap_or_default().to_owned();
                letters.push(of_document(&letter["change"]["doc"], id)?);
            }
        }
    }
    Ok(letters)
}
