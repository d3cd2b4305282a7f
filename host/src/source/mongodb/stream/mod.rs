//! An open change stream: the cursor, the task that reads ahead of the pipeline, and how batches are cut off what it brings.

mod cut;
mod history;
mod joiner;
mod opener;

use std::{
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};

use tokio::{sync::mpsc, task::JoinHandle, time::Instant};

pub(super) use self::{
    cut::not_open,
    history::{is_full, oldest, watch},
    opener::{At, Cursor, Opener, Splits},
};
use super::{event::Reply, faults::Phase};
use crate::{error::Fault, position::Position};

/// How long the server waits for a first event before it answers with none.
const AWAIT: Duration = Duration::from_secs(1);
/// How long an answer may take on top of that before the connection counts as dead. A server that has to read through
/// a long oplog for few matching events answers late, so this is generous.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
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
    /// A new position that is to be stored before anything else.
    pub(super) announce: Option<Position>,
    /// The second the last batch ended at.
    pub(super) second: Arc<AtomicU32>,
    pub(super) history: JoinHandle<()>,
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
        self.history.abort();
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
    mut cursor: Cursor,
    mut resume: Option<String>,
    sender: mpsc::Sender<Result<Reply, Fault>>,
) {
    let mut closed = 0;
    loop {
        let next = opener.next(&mut cursor).await;
        let again = match &next {
            Ok(Some(_)) => false,
            // The server closes a stream after `invalidate`; it goes on behind that event.
            Ok(None) => true,
            Err(failure) => opener.opens_otherwise(failure, &cursor.at).await,
        };
        let mut reply = next.map_err(|failure| opener.fault(failure));
        if again {
            closed += 1;
            reply = match resume.as_ref().filter(|_| closed <= CLOSED_IN_A_ROW) {
                Some(after) => match opener.open(&At::After(after.clone()), Phase::Resuming).await {
                    Ok((reopened, first)) => {
                        cursor = reopened;
                        Ok(Some(first))
                    }
                    Err(fault) => Err(fault),
                },
                None => Err(opener.closed("again and again")),
            };
        }
        let reply = match reply {
            Ok(Some(reply)) => {
                if !reply.is_read(0) || !again {
                    closed = 0;
                }
                resume = reply.last_token().or(resume);
                Ok(reply)
            }
            Ok(None) => continue,
            Err(fault) => Err(fault),
        };
        let ended = reply.is_err();
        if sender.send(reply).await.is_err() || ended {
            return;
        }
    }
}
