//! Reads one range, ahead of who writes it.

use bson::{Bson, Document, doc};
use bytes::Bytes;
use futures::StreamExt as _;
use mongodb::{Client, options::RunCursorCommandOptions};
use tokio::sync::mpsc;

use super::{
    Range,
    place::{By, Span},
};
use crate::{
    change::Namespace,
    error::{Code, Fault},
    source::mongodb::{
        event::{Reply, timestamp},
        faults::{Phase, Place as Server, fault},
        stream::{Owner, PATIENCE},
    },
};

/// Bytes of a reply, about; the server itself bounds it to 16 MiB.
const REPLY_BYTES: i64 = 4 << 20;
/// Most documents in a reply.
const REPLY_DOCUMENTS: i64 = 10_000;
/// Documents in a reply where their size is not known.
const SOME: i64 = 1000;

/// What a reader brings.
pub(super) enum Brought {
    Documents(Reply),
    /// With the newest time that the server knew of then.
    End(Option<u64>),
    Failed(Fault),
}

/// The reading of one range.
pub(super) struct Task {
    client: Client,
    server: Server,
    namespace: std::sync::Arc<Namespace>,
    span: Span,
    after: Option<u64>,
}

impl Task {
    pub(super) fn new(client: &Client, server: &Server, range: &Range, after: Option<u64>) -> Self {
        let (client, server) = (client.clone(), server.clone());
        Self { client, server, namespace: range.namespace.clone(), span: range.span.clone(), after }
    }

    /// Reads to the end of the range, as far ahead as the channel lets it.
    pub(super) async fn run(self, index: usize, sender: mpsc::Sender<(usize, Brought)>) {
        let last = match self.read(index, &sender).await {
            Ok(time) => Brought::End(time),
            Err(fault) => Brought::Failed(fault),
        };
        // Nobody listens when the copy was given up.
        let _ = sender.send((index, last)).await;
    }

    async fn read(&self, index: usize, sender: &mpsc::Sender<(usize, Brought)>) -> Result<Option<u64>, Fault> {
        let batch = self.documents_in_a_reply().await;
        let mut time = None;
        // Nothing comes behind it, and the server takes no bounds of which the first is the last.
        if self.span.min != Some(Bson::MaxKey) {
            time = self.send_all(self.command(batch), batch, index, sender).await?;
        }
        // An index that is read from a bound on to its end ends before the greatest value of all.
        if self.span.min.is_some() && self.span.max.is_none() && self.span.by != By::Natural {
            let mut last = self.found(batch);
            last.insert("filter", doc! { "_id": Bson::MaxKey });
            time = self.send_all(last, batch, index, sender).await?;
        }
        Ok(time)
    }

    /// Sends all that a command finds. Returns the time of the last reply.
    async fn send_all(
        &self,
        command: Document,
        batch: i64,
        index: usize,
        sender: &mpsc::Sender<(usize, Brought)>,
    ) -> Result<Option<u64>, Fault> {
        let bad = |error: mongodb::error::Error| fault(&error, Phase::Copying, &self.server);
        let mut options = RunCursorCommandOptions::default();
        options.batch_size = u32::try_from(batch).ok();
        let database = self.client.database(self.namespace.database());
        let opening = database.run_cursor_command(command).with_options(options).batch();
        let mut cursor = self.patiently(opening).await?.map_err(bad)?;
        let mut time = None;
        while let Some(batch) = self.patiently(cursor.next()).await? {
            let reply = Reply::new(Bytes::from_owner(Owner(batch.map_err(bad)?))).map_err(|cause| {
                let hosts = &self.server.hosts;
                Fault::transient(Code::MongoError, format!("an answer of MongoDB at {hosts} cannot be read: {cause}"))
            })?;
            time = reply.newest;
            if sender.send((index, Brought::Documents(reply))).await.is_err() {
                break;
            }
        }
        Ok(time)
    }

    async fn patiently<T>(&self, answer: impl Future<Output = T>) -> Result<T, Fault> {
        tokio::time::timeout(PATIENCE, answer).await.map_err(|_| {
            let hosts = &self.server.hosts;
            Fault::transient(Code::MongoUnreachable, format!("MongoDB at {hosts} did not answer within {PATIENCE:?}"))
        })
    }

    /// So many that a reply is of a good size; a guess where the server does not say how big documents are.
    async fn documents_in_a_reply(&self) -> i64 {
        let database = self.client.database(self.namespace.database());
        let stats = database.run_command(doc! { "collStats": self.namespace.collection() }).await;
        let number = |stats: Document| match stats.get("avgObjSize")? {
            Bson::Int32(bytes) => Some(i64::from(*bytes)),
            Bson::Int64(bytes) => Some(*bytes),
            Bson::Double(bytes) => Some(*bytes as i64),
            _ => None,
        };
        match stats.ok().and_then(number) {
            Some(bytes) if bytes > 0 => (REPLY_BYTES / bytes).clamp(1, REPLY_DOCUMENTS),
            _ => SOME,
        }
    }

    /// A `find` of everything.
    fn found(&self, batch: i64) -> Document {
        let mut concern = doc! { "level": "majority" };
        if let Some(after) = self.after {
            concern.insert("afterClusterTime", timestamp(after));
        }
        doc! { "find": self.namespace.collection(), "batchSize": batch, "readConcern": concern }
    }

    fn command(&self, batch: i64) -> Document {
        let mut command = self.found(batch);
        if self.span.by == By::Natural {
            command.insert("hint", doc! { "$natural": 1 });
            return command;
        }
        // Bounds of the index, not a filter: a filter compares values of one kind alone.
        command.insert("hint", doc! { "_id": 1 });
        for (name, bound) in [("min", &self.span.min), ("max", &self.span.max)] {
            if let Some(bound) = bound {
                command.insert(name, doc! { "_id": bound.clone() });
            }
        }
        command
    }
}
