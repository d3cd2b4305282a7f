//! An open change stream: the cursor, the task that reads ahead of the pipeline, and how it is opened again.

use std::{pin::pin, sync::Arc, time::Duration};

use bson::{Document, doc};
use bytes::Bytes;
use futures::StreamExt as _;
use mongodb::{
    Client,
    options::{AggregateOptions, ReadConcern},
    raw_batch_cursor::RawBatchCursor,
};
use tokio::{sync::mpsc, task::JoinHandle, time::Instant};

use super::{
    event::Reply,
    faults::{Phase, Place, fault},
    select::Scope,
};
use crate::{
    error::{Code, Fault},
    position::Position,
};

/// Events the server may put into one reply. It answers with fewer as soon as the oplog ends.
const REPLY_EVENTS: u32 = 10_000;
/// How long the server waits for a first event before it answers with none.
const AWAIT: Duration = Duration::from_secs(1);
/// How long an answer may take on top of that before the connection counts as dead. A server that has to read through
/// a long oplog for few matching events answers late, so this is generous.
const PATIENCE: Duration = Duration::from_secs(60);
/// Replies read ahead; each is 16 MiB at most.
pub(super) const AHEAD: usize = 2;
/// How often in a row a stream may be closed by the server without an event before that is an error.
const CLOSED_IN_A_ROW: u32 = 3;

/// An open change stream.
pub(super) struct Stream {
    pub(super) replies: mpsc::Receiver<Result<Reply, Fault>>,
    pub(super) reader: JoinHandle<()>,
    pub(super) current: Option<Current>,
    /// Where the last batch ended, and when it was handed out.
    pub(super) last: (Option<Position>, Instant),
}

/// A reply that is being cut into batches.
pub(super) struct Current {
    pub(super) reply: Arc<Reply>,
    /// Bytes of the event array that are done.
    pub(super) offset: usize,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// The bytes of a reply, so that documents can be slices of it.
pub(super) struct Owner(pub(super) mongodb::raw_batch_cursor::RawBatch);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        self.0.as_raw_document().as_bytes()
    }
}

/// Polls the cursor, so that the server works on the next reply while this one is processed.
pub(super) async fn read_ahead(
    opener: Opener,
    mut cursor: RawBatchCursor,
    mut resume: Option<String>,
    sender: mpsc::Sender<Result<Reply, Fault>>,
) {
    let mut closed = 0;
    loop {
        let reply = match opener.next(&mut cursor, Phase::Reading).await {
            Ok(Some(reply)) => {
                closed = 0;
                resume = reply.last_token().or(resume);
                Ok(reply)
            }
            // The server closes a stream after `invalidate`; it goes on behind that event.
            Ok(None) => {
                closed += 1;
                let reopened = match resume.as_deref().filter(|_| closed <= CLOSED_IN_A_ROW) {
                    Some(after) => opener.open(Some(after)).await,
                    None => Err(Fault::transient(
                        Code::MongoError,
                        format!("MongoDB at {} closes the change stream again and again", opener.place.hosts),
                    )),
                };
                match reopened {
                    Ok(reopened) => {
                        cursor = reopened;
                        continue;
                    }
                    Err(fault) => Err(fault),
                }
            }
            Err(fault) => Err(fault),
        };
        let ended = reply.is_err();
        if sender.send(reply).await.is_err() || ended {
            return;
        }
    }
}

/// What it takes to open the stream, and to open it again.
pub(super) struct Opener {
    pub(super) client: Client,
    pub(super) scope: Scope,
    pub(super) stages: Vec<Document>,
    pub(super) place: Place,
}

impl Opener {
    /// A cursor on the stream behind that token, or from now on.
    pub(super) async fn open(&self, after: Option<&str>) -> Result<RawBatchCursor, Fault> {
        let mut change_stream = Document::new();
        if let Some(token) = after {
            // `startAfter` works behind an `invalidate` too, where `resumeAfter` does not.
            change_stream.insert("startAfter", doc! { "_data": token });
        }
        if matches!(self.scope, Scope::Deployment) {
            change_stream.insert("allChangesForCluster", true);
        }
        let stages = std::iter::once(doc! { "$changeStream": change_stream }).chain(self.stages.iter().cloned());
        let mut options = AggregateOptions::default();
        options.batch_size = Some(REPLY_EVENTS);
        options.max_await_time = Some(AWAIT);
        options.read_concern = Some(ReadConcern::majority());
        let opening = pin!(async {
            let database = |name: &str| self.client.database(name);
            match &self.scope {
                Scope::Collection(name, collection) => {
                    let collection = database(name).collection::<Document>(collection);
                    collection.aggregate(stages).with_options(options).batch().await
                }
                Scope::Database(name) => database(name).aggregate(stages).with_options(options).batch().await,
                Scope::Deployment => database("admin").aggregate(stages).with_options(options).batch().await,
            }
        });
        match tokio::time::timeout(PATIENCE, opening).await {
            Ok(opened) => opened.map_err(|error| {
                let phase = if after.is_some() { Phase::Resuming } else { Phase::Opening };
                fault(&error, phase, &self.place)
            }),
            Err(_) => Err(self.silent()),
        }
    }

    /// The next reply; none when the server closed the stream.
    pub(super) async fn next(&self, cursor: &mut RawBatchCursor, phase: Phase) -> Result<Option<Reply>, Fault> {
        match tokio::time::timeout(AWAIT + PATIENCE, cursor.next()).await {
            Ok(Some(Ok(batch))) => Reply::new(Bytes::from_owner(Owner(batch))).map(Some).map_err(|cause| {
                Fault::transient(
                    Code::MongoError,
                    format!("an answer of MongoDB at {} cannot be read: {cause}", self.place.hosts),
                )
            }),
            Ok(Some(Err(error))) => Err(fault(&error, phase, &self.place)),
            Ok(None) => Ok(None),
            Err(_) => Err(self.silent()),
        }
    }

    fn silent(&self) -> Fault {
        let (hosts, patience) = (&self.place.hosts, AWAIT + PATIENCE);
        Fault::transient(Code::MongoUnreachable, format!("MongoDB at {hosts} did not answer within {patience:?}"))
    }
}
