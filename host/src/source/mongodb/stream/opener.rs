//! How a stream is opened, and opened again, by trying what the server knows.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::Duration,
};

use bson::{Document, Timestamp, doc};
use bytes::Bytes;
use futures::StreamExt as _;
use mongodb::{
    Client,
    error::Error,
    options::{AggregateOptions, ReadConcern},
    raw_batch_cursor::RawBatchCursor,
};

use super::{AWAIT, Owner, PATIENCE, history, joiner::Joiner};
use crate::{
    error::{Code, Fault},
    format::elements::Malformed,
    source::mongodb::{
        begin::Point,
        documents::Images,
        event::{Reply, timestamp, token_time, version_of},
        faults::{Phase, Place, cannot_split, fault, has_no_such_event, must_split},
        select::Scope,
    },
};

/// Events the server may put into one reply. It answers with fewer as soon as the oplog ends.
const REPLY_EVENTS: u32 = 10_000;
/// How often in a row the oldest entry of the oplog may be gone before a stream is open behind it. A server that is written to cuts many
/// pieces off one after the other; all tries take a good second.
const OLDEST_TRIES: u32 = 6;
/// The pause before the second try; each later one is twice as long.
const OLDEST_PAUSE: Duration = Duration::from_millis(20);

/// Whether large events are split by the server, learned by trying; one for all streams of a source.
#[derive(Clone, Debug)]
pub(in crate::source::mongodb) struct Splits(Arc<AtomicU8>);

impl Splits {
    /// Not needed: the stage costs the server a tenth of its speed, and without images events hardly ever are that large.
    const OFF: u8 = 0;
    const ON: u8 = 1;
    /// The server does not know the stage.
    const UNKNOWN: u8 = 2;

    pub(in crate::source::mongodb) fn new(on: bool) -> Self {
        Self(Arc::new(AtomicU8::new(if on { Self::ON } else { Self::OFF })))
    }

    fn get(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, state: u8) {
        self.0.store(state, Ordering::Relaxed);
    }
}

/// An open cursor.
pub(in crate::source::mongodb) struct Cursor {
    raw: RawBatchCursor,
    /// Where the server splits large events.
    joiner: Option<Joiner>,
    pub(super) at: At,
    /// The token up to which events are passed over.
    past: Option<String>,
}

/// Where a stream is opened.
#[derive(Clone, Debug)]
pub(in crate::source::mongodb) enum At {
    Now,
    /// Behind a token.
    After(String),
    /// Behind a token whose event this stream has not: by its time.
    Past(String),
    /// With the events at and after a time.
    Since(Timestamp),
}

impl At {
    /// The same place by the time of its token.
    fn past(self) -> Self {
        match self {
            Self::After(token) => Self::Past(token),
            other => other,
        }
    }
}

/// Why a stream is not open.
pub(super) enum Failure {
    Server(Error),
    Told(Fault),
}

/// What it takes to open the stream, and to open it again.
pub(in crate::source::mongodb) struct Opener {
    pub(in crate::source::mongodb) client: Client,
    pub(in crate::source::mongodb) scope: Scope,
    pub(in crate::source::mongodb) stages: Vec<Document>,
    pub(in crate::source::mongodb) images: Images,
    pub(in crate::source::mongodb) splits: Splits,
    pub(in crate::source::mongodb) place: Place,
    /// Whether the server is asked for all events of collections, and not only for drop, rename and dropDatabase: since 6.0.
    pub(in crate::source::mongodb) expanded: Arc<AtomicBool>,
}

impl Opener {
    /// Begins a stream that has no position yet: with its first reply, and the token it begins behind where the server tells one.
    pub(in crate::source::mongodb) async fn begin(
        &self,
        point: &Point,
    ) -> Result<(Option<String>, Cursor, Reply), Fault> {
        let (at, phase) = match point {
            Point::Now => (At::Now, Phase::Opening),
            Point::Token(token) => (At::After(token.clone()), Phase::Starting),
            Point::Time(seconds) => (At::Since(Timestamp { time: *seconds, increment: 1 }), Phase::Starting),
            Point::Oldest => return self.begin_oldest().await,
        };
        self.begin_at(at, phase).await
    }

    /// The oldest entry may fall off between the look at it and the opening.
    ///
    /// # Errors
    /// Transient when it falls off again and again: the source is opened once more then, as often as [`super::super::begin::Losses`] allows.
    async fn begin_oldest(&self) -> Result<(Option<String>, Cursor, Reply), Fault> {
        let mut tries = 1;
        loop {
            let oldest =
                history::oldest(&self.client).await.map_err(|error| history::not_found(&error, &self.place))?;
            match self.begin_at(At::Since(oldest), Phase::Opening).await {
                Err(fault) if fault.code == Code::MongoPositionLost && tries == OLDEST_TRIES => {
                    return Err(Fault::transient(fault.code, fault.message));
                }
                Err(fault) if fault.code == Code::MongoPositionLost => {
                    tokio::time::sleep(OLDEST_PAUSE * (1 << tries) / 2).await;
                    tries += 1;
                }
                begun => return begun,
            }
        }
    }

    async fn begin_at(&self, at: At, phase: Phase) -> Result<(Option<String>, Cursor, Reply), Fault> {
        let token = match &at {
            At::After(token) => Some(token.clone()),
            at => {
                let mut token = self.token_at(at).await;
                if let Err(error) = &token
                    && self.knows_no_expanded(error)
                {
                    token = self.token_at(at).await;
                }
                token.map_err(|error| fault(&error, phase, &self.place))?
            }
        };
        // A server that tells no token is asked for the place itself.
        let at = token.clone().map_or(at, At::After);
        let (cursor, first) = self.open(&at, phase).await?;
        Ok((token, cursor, first))
    }

    /// The token of a place, from a cursor that is asked for no events: the first reply of another one may hold events, and the
    /// token behind them.
    async fn token_at(&self, at: &At) -> Result<Option<String>, Error> {
        let (database, of): (_, bson::Bson) = match &self.scope {
            Scope::Collection(database, collection) => (database.as_str(), collection.as_str().into()),
            Scope::Database(database) => (database.as_str(), 1.into()),
            Scope::Deployment => ("admin", 1.into()),
        };
        let database = self.client.database(database);
        let command = doc! {
            "aggregate": of, "pipeline": self.pipeline(at, false), "cursor": { "batchSize": 0 },
            "readConcern": { "level": "majority" },
        };
        let reply = database.run_command(command).await?;
        let Ok(cursor) = reply.get_document("cursor") else { return Ok(None) };
        if let (Ok(id @ 1..), Ok(ns)) = (cursor.get_i64("id"), cursor.get_str("ns"))
            && let Some((_, collection)) = ns.split_once('.')
        {
            // One that stays ends by itself after ten minutes.
            let _ = database.run_command(doc! { "killCursors": collection, "cursors": [id] }).await;
        }
        let token = cursor.get_document("postBatchResumeToken").and_then(|token| token.get_str("_data"));
        Ok(token.ok().map(str::to_owned))
    }

    fn pipeline(&self, at: &At, split: bool) -> Vec<Document> {
        let mut change_stream = Document::new();
        if self.expanded.load(Ordering::Relaxed) {
            change_stream.insert("showExpandedEvents", true);
        }
        match at {
            At::Now => {}
            // `startAfter` works behind an `invalidate` too, where `resumeAfter` does not.
            At::After(token) => _ = change_stream.insert("startAfter", doc! { "_data": token }),
            At::Past(token) => {
                let time = timestamp(token_time(token).unwrap_or_default());
                change_stream.insert("startAtOperationTime", time);
            }
            At::Since(time) => _ = change_stream.insert("startAtOperationTime", *time),
        }
        if matches!(self.scope, Scope::Deployment) {
            change_stream.insert("allChangesForCluster", true);
        }
        self.images.ask(&mut change_stream);
        let mut stages = vec![doc! { "$changeStream": change_stream }];
        stages.extend(self.stages.iter().cloned());
        if split {
            stages.push(doc! { "$changeStreamSplitLargeEvent": {} });
        }
        stages
    }

    /// A cursor on the stream, with its first reply.
    pub(in crate::source::mongodb) async fn open(&self, at: &At, phase: Phase) -> Result<(Cursor, Reply), Fault> {
        let mut at = at.clone();
        loop {
            let splits = self.splits.get();
            let split = splits == Splits::ON;
            match self.attempt(&at, split, phase).await {
                // Tokens of newer servers, and of streams that are split, have a form that sorts behind the older one of the
                // same moment: positions would go back.
                Ok((_, first)) if splits == Splits::OFF && older_form(&at, &first) => self.splits.set(Splits::ON),
                Ok(opened) => return Ok(opened),
                Err(Failure::Server(error)) if split && cannot_split(&error) => {
                    tracing::info!(
                        event = "source_no_split",
                        hosts = self.place.hosts,
                        "the server cannot split events beyond 16 MiB: MongoDB 6.0.9 and later can"
                    );
                    self.splits.set(Splits::UNKNOWN);
                }
                Err(Failure::Server(error)) if splits == Splits::OFF && must_split(&error) => {
                    self.splits.set(Splits::ON);
                }
                Err(Failure::Server(error)) if self.knows_no_expanded(&error) => {}
                Err(Failure::Server(error)) if has_no_such_event(&error) && self.has_happened(&at).await => {
                    at = at.past();
                    tracing::info!(
                        event = "source_goes_on_by_time",
                        hosts = self.place.hosts,
                        watched = self.place.watched,
                        "the change that the position names is not watched any more: the stream goes on behind it by its time"
                    );
                }
                Err(Failure::Server(error)) => return Err(fault(&error, phase, &self.place)),
                Err(Failure::Told(fault)) => return Err(fault),
            }
        }
    }

    /// Whether the server has the event of a token, be it selected or not: one of another deployment, or of before a backup was restored, is
    /// no place to go on by its time. As it takes the right to read more than is selected, a no may mean that, too.
    async fn has_happened(&self, at: &At) -> bool {
        let At::After(token) = at else { return false };
        if token_time(token).is_none() {
            return false;
        }
        let mut whole = Self {
            client: self.client.clone(),
            scope: Scope::Deployment,
            // Of each event its token, which is enough to see whether it is there.
            stages: vec![doc! { "$project": { "_id": 1 } }],
            images: Images::OFF,
            splits: self.splits.clone(),
            place: self.place.clone(),
            expanded: Arc::default(),
        };
        let split = self.splits.get() == Splits::ON;
        let database = match &self.scope {
            Scope::Collection(database, _) | Scope::Database(database) => Some(Scope::Database(database.clone())),
            Scope::Deployment => None,
        };
        for scope in database.into_iter().chain([Scope::Deployment]) {
            whole.scope = scope;
            for expanded in [true, false] {
                whole.expanded.store(expanded, Ordering::Relaxed);
                if whole.attempt(at, split, Phase::Resuming).await.is_ok() {
                    return true;
                }
            }
        }
        false
    }

    /// Whether the server turned out not to know all events of collections, which is found out by asking for them, once.
    fn knows_no_expanded(&self, error: &Error) -> bool {
        let told = is_unknown_option(error) && self.expanded.swap(false, Ordering::Relaxed);
        if told {
            tracing::warn!(
                event = "source_ddl_limited",
                hosts = self.place.hosts,
                "this server tells of drop, rename and dropDatabase alone; from MongoDB 6.0 on `ddl: deliver` delivers create, \
                 create_indexes, drop_indexes and modify too"
            );
        }
        told
    }

    async fn attempt(&self, at: &At, split: bool, phase: Phase) -> Result<(Cursor, Reply), Failure> {
        let mut options = AggregateOptions::default();
        options.batch_size = Some(REPLY_EVENTS);
        options.max_await_time = Some(AWAIT);
        options.read_concern = Some(ReadConcern::majority());
        let stages = self.pipeline(at, split);
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
        let raw = match tokio::time::timeout(PATIENCE, opening).await {
            Ok(opened) => opened.map_err(Failure::Server)?,
            Err(_) => return Err(Failure::Told(self.silent())),
        };
        let past = match at {
            At::Past(token) => Some(token.clone()),
            _ => None,
        };
        let mut cursor = Cursor { raw, joiner: split.then(Joiner::default), at: at.clone(), past };
        match self.next(&mut cursor).await? {
            Some(first) => Ok((cursor, first)),
            None if phase == Phase::Reading => Err(Failure::Told(self.closed("again and again"))),
            None => Err(Failure::Told(self.closed("as soon as it was opened"))),
        }
    }

    /// Whether a stream that failed so while it was read may be opened again at once, in another way.
    pub(super) async fn opens_otherwise(&self, failure: &Failure, opened: &At) -> bool {
        match failure {
            Failure::Server(error) if must_split(error) => {
                let (off, on) = (Splits::OFF, Splits::ON);
                self.splits.0.compare_exchange(off, on, Ordering::Relaxed, Ordering::Relaxed).is_ok()
            }
            // That the event of a token is missing shows with the first one behind it.
            Failure::Server(error) => has_no_such_event(error) && self.has_happened(opened).await,
            Failure::Told(_) => false,
        }
    }

    /// What that means.
    pub(super) fn fault(&self, failure: Failure) -> Fault {
        match failure {
            Failure::Server(error) => fault(&error, Phase::Reading, &self.place),
            Failure::Told(fault) => fault,
        }
    }

    /// The next reply; none when the server closed the stream.
    pub(super) async fn next(&self, cursor: &mut Cursor) -> Result<Option<Reply>, Failure> {
        let malformed = |cause: Malformed| {
            let message = format!("an answer of MongoDB at {} cannot be read: {cause}", self.place.hosts);
            Failure::Told(Fault::transient(Code::MongoError, message))
        };
        match tokio::time::timeout(AWAIT + PATIENCE, cursor.raw.next()).await {
            Ok(Some(Ok(batch))) => {
                let reply = Reply::new(Bytes::from_owner(Owner(batch))).map_err(malformed)?;
                let mut reply = match &mut cursor.joiner {
                    Some(joiner) => joiner.join(reply).map_err(malformed)?,
                    None => reply,
                };
                if cursor.past.as_deref().is_some_and(|past| reply.pass_over(past)) {
                    cursor.past = None;
                }
                Ok(Some(reply))
            }
            Ok(Some(Err(error))) => Err(Failure::Server(error)),
            Ok(None) => Ok(None),
            Err(_) => Err(Failure::Told(self.silent())),
        }
    }

    fn silent(&self) -> Fault {
        let (hosts, patience) = (&self.place.hosts, AWAIT + PATIENCE);
        Fault::transient(Code::MongoUnreachable, format!("MongoDB at {hosts} did not answer within {patience:?}"))
    }

    pub(super) fn closed(&self, when: &str) -> Fault {
        let message = format!("MongoDB at {} closed the change stream {when}", self.place.hosts);
        Fault::transient(Code::MongoError, message)
    }
}

/// Whether the tokens of a reply have an older form than the one it was opened behind.
fn older_form(at: &At, first: &Reply) -> bool {
    let (At::After(after) | At::Past(after)) = at else { return false };
    let now = first.last_token();
    match (version_of(after), now.as_deref().and_then(version_of)) {
        (Some(then), Some(now)) => now < then,
        _ => false,
    }
}

/// Whether the server does not know the option for all events of collections; by its words too, as not all that speak the protocol use
/// the same number.
fn is_unknown_option(error: &mongodb::error::Error) -> bool {
    match error.kind.as_ref() {
        mongodb::error::ErrorKind::Command(command) => command.message.contains("showExpandedEvents"),
        _ => false,
    }
}
