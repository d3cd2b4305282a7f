//! MongoDB change streams.
//!
//! One raw-batch cursor for all that is watched; replies of up to ten thousand events are read ahead by a task, two at
//! most, and cut into batches without copying or decoding documents. One collection is a stream of its own, opened again when
//! the collection goes. Several are one cursor on their database, or on the deployment, with a `$match`, which is cheaper for
//! the server than a cursor each.
//!
//! An update comes from the server with its description alone. With `full_document: lookup` the documents of all updates
//! in a batch are fetched in one `find` for each collection: the state at that time, which may be later than the update, and none
//! where the document is gone. They are matched by `_id`; on a sharded cluster where `_id` is not unique, the shard key
//! is not compared.

pub(crate) mod event;
mod faults;
mod glob;
mod lookup;
mod select;
mod selected;
mod stream;

use std::{sync::Arc, time::Duration};

use bytestring::ByteString;
use mongodb::{Client, options::ClientOptions};
use tokio::{sync::mpsc, time::Instant};

use self::{
    event::{Event, ID_LENGTH, Names, Places, position, token_of},
    faults::{Phase, Place, fault, password_of},
    select::is_internal,
    stream::{AHEAD, Current, Opener, Stream, read_ahead},
};
pub use self::{select::Selection, selected::problems as selection_problems};
use crate::{
    batch::Batch,
    config::{FullDocument, MongodbSourceConfig},
    error::{Code, Fault},
    format::elements::Malformed,
    position::Positions,
    source::{BatchLimits, Read, Source},
};

/// How long a usable server is looked for, so that a wrong host name is told soon; the pipeline tries again after it.
const SELECTION: Duration = Duration::from_secs(5);
/// Least time between two batches that move the position of an idle stream alone.
const IDLE: Duration = Duration::from_secs(1);

/// Told of each event that is no change of a document: its kind (`drop`, `rename`, `invalidate`, ...) and namespace.
pub type OnDdl = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// The source.
pub struct MongodbSource {
    config: MongodbSourceConfig,
    limits: BatchLimits,
    on_ddl: OnDdl,
    client: Option<(Client, Place)>,
    stream: Option<Stream>,
    names: Names,
    selection: Selection,
}

impl MongodbSource {
    /// Nothing is connected before [`Source::open`].
    pub fn new(config: MongodbSourceConfig, limits: BatchLimits, on_ddl: OnDdl) -> Self {
        let selection = Selection::new(&config);
        Self { config, limits, on_ddl, client: None, stream: None, names: Names::default(), selection }
    }

    /// What is watched, without secrets: `mongodb shop.[inventory,transactions]`.
    pub fn describe(config: &MongodbSourceConfig) -> String {
        select::describe(config)
    }

    /// The client, made at the first opening: it keeps its connections over later ones.
    async fn client(&mut self) -> Result<(Client, Place), Fault> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let uri = self.config.uri.reveal();
        let password = password_of(uri);
        let mut place = Place {
            hosts: "the configured host".to_owned(),
            watched: select::watched(&self.config),
            patience: SELECTION,
            password,
            filtered: !self.config.pipeline.is_empty(),
        };
        let bad = |error: &mongodb::error::Error, place: &Place| fault(error, Phase::Opening, place);
        let mut options = ClientOptions::parse(uri).await.map_err(|error| bad(&error, &place))?;
        place.hosts = options.hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        options.app_name.get_or_insert_with(|| "tidegate".to_owned());
        options.server_selection_timeout.get_or_insert(SELECTION);
        options.connect_timeout.get_or_insert(SELECTION);
        place.patience = options.server_selection_timeout.unwrap_or(SELECTION);
        let client = Client::with_options(options).map_err(|error| bad(&error, &place))?;
        self.client = Some((client.clone(), place.clone()));
        Ok((client, place))
    }

    /// Cuts one batch off the current reply, or says that there is nothing to hand out yet.
    async fn cut(&mut self) -> Result<Option<Batch>, Fault> {
        let Some((client, place)) = &self.client else { return Err(not_open()) };
        let Some(stream) = &mut self.stream else { return Err(not_open()) };
        let Some(Current { reply, offset }) = &stream.current else { return Ok(None) };
        let reply = reply.clone();
        let mut offset = *offset;
        let malformed = |cause: Malformed| {
            Fault::transient(
                Code::MongoError,
                format!("an answer of MongoDB at {} cannot be read: {cause}", place.hosts),
            )
        };
        let mut batch = Batch::default();
        let (mut ids, mut places, mut size, mut last_token) = (String::new(), Places::default(), 0, None);
        let mut ddl = Vec::new();
        for event in reply.events(offset) {
            let (bytes, next) = event.map_err(malformed)?;
            let event = Event::read(bytes).map_err(malformed)?;
            let token = event.token.and_then(event::token_text).ok_or_else(|| no_token(place))?;
            match event.document_operation() {
                Some(_) if event.database.is_empty() || event.collection.is_empty() => return Err(projected(place)),
                // tidegate's own: each write there would cause the next. Servers keep their own back.
                Some(_) if is_internal(event.database, event.collection) => {}
                Some(operation) => {
                    if batch.changes.len() >= self.limits.max_events {
                        break;
                    }
                    let id_start = ids.len();
                    let change =
                        event.into_change(operation, token, &reply, &mut self.names, &mut ids).map_err(malformed)?;
                    let grown = size + change.size();
                    if !batch.changes.is_empty() && grown > self.limits.max_bytes {
                        ids.truncate(id_start);
                        break;
                    }
                    size = grown;
                    places.add(token);
                    batch.changes.push(change);
                }
                None if event.operation.is_empty() => return Err(projected(place)),
                None => ddl.push((event.operation.to_owned(), format!("{}.{}", event.database, event.collection))),
            }
            last_token = Some(token);
            offset = next;
        }
        let at_end = reply.is_read(offset);
        let token = if at_end { reply.token.as_deref().or(last_token) } else { last_token };
        batch.position = token.map(position);
        let ids = ByteString::from(ids);
        for (change, position) in batch.changes.iter_mut().zip(places.finish()) {
            change.position = Some(position);
        }
        for (index, change) in batch.changes.iter_mut().enumerate() {
            if let Some(id) = ids.get(index * ID_LENGTH..(index + 1) * ID_LENGTH) {
                change.id = ids.slice_ref(id);
            }
        }
        if self.config.full_document == FullDocument::Lookup {
            lookup::attach(&mut batch.changes, client).await.map_err(|error| fault(&error, Phase::LookingUp, place))?;
        }
        // From here on nothing waits: a cancelled call before this point cuts the same batch again.
        for (kind, namespace) in ddl {
            let namespace = namespace.trim_end_matches('.');
            if matches!(&*kind, "drop" | "rename" | "dropDatabase" | "invalidate") {
                tracing::warn!(event = "source_ddl", kind, ns = namespace, "not a change of a document: passed over");
            } else {
                tracing::info!(event = "source_ddl", kind, ns = namespace, "not a change of a document: passed over");
            }
            (self.on_ddl)(&kind, namespace);
        }
        stream.current = (!at_end).then_some(Current { reply, offset });
        let (last_position, last_time) = &stream.last;
        let moved = batch.position.is_some() && batch.position != *last_position;
        if batch.changes.is_empty() && !(moved && last_time.elapsed() >= IDLE) {
            return Ok(None);
        }
        stream.last = (batch.position.clone().or_else(|| last_position.clone()), Instant::now());
        Ok(Some(batch))
    }
}

impl Source for MongodbSource {
    async fn open(&mut self, from: &Positions) -> Result<Positions, Fault> {
        self.stream = None;
        let (client, place) = self.client().await?;
        let stages = select::stages(&self.config, &place)?;
        let from = from.whole();
        let after = match from {
            None => None,
            Some(position) => Some(token_of(position).map(str::to_owned).ok_or_else(|| {
                Fault::fatal(
                    Code::CheckpointUnreadable,
                    "the stored position is none of a MongoDB change stream; `tidegate checkpoint reset` begins with the \
                     changes from now on",
                )
            })?),
        };
        let opener = Opener { client, scope: self.selection.scope(), stages, place };
        let mut cursor = opener.open(after.as_deref()).await?;
        let phase = if after.is_some() { Phase::Resuming } else { Phase::Opening };
        let first = opener.next(&mut cursor, phase).await?;
        let Some(first) = first else {
            return Err(Fault::transient(
                Code::MongoError,
                format!("MongoDB at {} closed the change stream as soon as it was opened", opener.place.hosts),
            ));
        };
        let start = match (&after, first.is_read(0), &first.token) {
            // With events in it, the post-batch token is behind them: the position is still where it was asked for.
            (Some(after), false, _) => Some(position(after)),
            (_, true, Some(token)) => Some(position(token)),
            (Some(after), true, None) => Some(position(after)),
            // A new stream whose first reply has events already, or a server that sends no token: none is known yet.
            (None, ..) => None,
        };
        let (hosts, watched) = (&opener.place.hosts, &opener.place.watched);
        if from.is_some() {
            tracing::info!(event = "source_opened", hosts, watched, "the change stream goes on where it stopped");
        } else {
            tracing::info!(
                event = "source_opened",
                hosts,
                watched,
                "the change stream begins now: documents that exist already are not sent, changes from now on are"
            );
        }
        let (sender, replies) = mpsc::channel(AHEAD);
        let current = Some(Current { reply: Arc::new(first), offset: 0 });
        let resume = start.as_ref().and_then(token_of).map(str::to_owned);
        let reader = tokio::spawn(read_ahead(opener, cursor, resume, sender));
        self.stream = Some(Stream { replies, reader, current, last: (start.clone(), Instant::now()) });
        Ok(start.into())
    }

    async fn next(&mut self) -> Result<Read, Fault> {
        loop {
            if let Some(batch) = self.cut().await? {
                return Ok(Read::Batch(batch));
            }
            let Some(stream) = &mut self.stream else { return Err(not_open()) };
            if stream.current.is_none() {
                match stream.replies.recv().await {
                    Some(Ok(reply)) => stream.current = Some(Current { reply: Arc::new(reply), offset: 0 }),
                    Some(Err(fault)) => return Err(fault),
                    None => return Err(not_open()),
                }
            }
        }
    }
}

fn not_open() -> Fault {
    Fault::transient(Code::MongoError, "the change stream is not open")
}

fn no_token(place: &Place) -> Fault {
    Fault::fatal(
        Code::MongoError,
        format!(
            "MongoDB at {} sends events without a resume token of the known form ({{_data: text}}), so no position can be kept; \
             if the source's `pipeline` changes `_id`, take that out",
            place.hosts
        ),
    )
}

fn projected(place: &Place) -> Fault {
    Fault::fatal(
        Code::MongoConfiguration,
        format!(
            "events from MongoDB at {} have no `operationType` or `ns`: the source's `pipeline` takes them out; let it keep \
             `_id`, `operationType`, `ns`, `documentKey` and `clusterTime`",
            place.hosts
        ),
    )
}

#[cfg(test)]
mod tests;
