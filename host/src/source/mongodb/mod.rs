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

mod catch_up;
mod copy;
mod describe;
pub(crate) mod event;
mod faults;
mod glob;
mod hand_over;
mod history;
mod images;
mod lookup;
mod loops;
mod lost;
pub(crate) mod order;
mod select;
mod selected;
mod split;
mod stream;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use bytestring::ByteString;
use mongodb::{Client, options::ClientOptions};
use tokio::{sync::mpsc, time::Instant};

use self::{
    catch_up::CatchUp,
    copy::Copy,
    event::{Event, ID_LENGTH, Names, Places, Reply, epoch_of, position, token_of, token_time},
    faults::{Phase, Place, fault, password_of},
    hand_over::{Begin, next_epoch},
    images::Images,
    loops::Loops,
    lost::{AfterLoss, Losses, Point},
    select::is_internal,
    stream::{AHEAD, At, Current, Cursor, Opener, Splits, Stream, read_ahead},
};
pub use self::{
    copy::{CollectionProgress, CopyProgress, OnCopy},
    hand_over::Target,
    select::Selection,
    selected::problems as selection_problems,
};
use crate::{
    batch::Batch,
    change::Operation,
    config::{FullDocument, MongodbSourceConfig, OnLostPosition, SourceDdl, StartAt},
    error::{Code, Fault},
    format::elements::Malformed,
    position::{Position, Positions, WHOLE},
    source::{BatchLimits, Hooks, Read, Source},
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
    target: Option<Target>,
    limits: BatchLimits,
    hooks: Hooks,
    client: Option<(Client, Place)>,
    /// What is read first, where there is something to copy.
    copy: Option<Copy>,
    /// Where the stream is opened when the copy is done.
    after_copy: Option<Position>,
    stream: Option<Stream>,
    epoch: u32,
    catch_up: Option<CatchUp>,
    names: Names,
    selection: Selection,
    splits: Splits,
    losses: Losses,
    /// Whether the server is asked for all events of collections; false once it turned out not to know them.
    expanded: Arc<AtomicBool>,
    loops: Loops,
}

impl MongodbSource {
    /// Nothing is connected before [`Source::open`].
    pub fn new(config: MongodbSourceConfig, target: Option<Target>, limits: BatchLimits, hooks: Hooks) -> Self {
        let selection = Selection::new(&config);
        let splits = Splits::new(Images::new(&config).any());
        let expanded = Arc::new(AtomicBool::new(config.ddl == SourceDdl::Deliver));
        let loops = Loops::new(config.skip_mirrored);
        Self {
            config,
            target,
            limits,
            hooks,
            client: None,
            copy: None,
            after_copy: None,
            stream: None,
            epoch: 0,
            catch_up: None,
            names: Names::default(),
            selection,
            splits,
            losses: Losses::default(),
            expanded,
            loops,
        }
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
            images: Images::new(&self.config).any(),
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
        let (mut ids, mut places, mut size, mut last_token) = (String::new(), Places::new(self.epoch), 0, None);
        let mut ddl = Vec::new();
        let mut loops = self.loops.clone();
        for event in reply.events(offset) {
            let (bytes, next) = event.map_err(malformed)?;
            let event = Event::read(bytes).map_err(malformed)?;
            let token = event.token.and_then(event::token_text).ok_or_else(|| no_token(place))?;
            let before = || last_token.map(|token| position(self.epoch, token)).or_else(|| stream.last.0.clone());
            let mirrored = loops.is_mirrored(&event, before);
            let delivered = || event.ddl_operation().filter(|_| self.config.ddl == SourceDdl::Deliver);
            let operation = event.document_operation().or_else(delivered);
            // What happened to a collection stands alone: all before it is for another state of the target than all behind it.
            let alone = operation.is_some_and(Operation::is_ddl);
            match operation {
                // tidegate's own among them: each write there would cause the next.
                Some(_) if mirrored || is_internal(event.database, event.collection) => {}
                Some(_) if event.is_without_place() => return Err(projected(place)),
                Some(operation) => {
                    if batch.changes.len() >= self.limits.max_events || (alone && !batch.changes.is_empty()) {
                        break;
                    }
                    if alone {
                        ddl.push((event.operation.to_owned(), event.namespace(), true));
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
                None => ddl.push((event.operation.to_owned(), event.namespace(), false)),
            }
            last_token = Some(token);
            offset = next;
            if alone {
                break;
            }
        }
        let at_end = reply.is_read(offset);
        let token = if at_end { reply.token.as_deref().or(last_token) } else { last_token };
        if at_end && reply.token.is_some() && token != last_token {
            loops.end();
        }
        batch.position = loops.hold(token.map(|token| position(self.epoch, token)));
        let second = token.and_then(token_time).map(seconds);
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
            let all = lookup::attach(&mut batch.changes, |_, _| true, client).await;
            all.map_err(|error| fault(&error, Phase::LookingUp, place))?;
        } else if let Some(catch_up) = &mut self.catch_up {
            let attached = catch_up.attach(&mut batch.changes, client).await;
            attached.map_err(|error| fault(&error, Phase::LookingUp, place))?;
            if catch_up.is_over() {
                self.catch_up = None;
            }
        }
        // From here on nothing waits: a cancelled call before this point cuts the same batch again.
        self.loops = loops;
        for (kind, namespace, delivered) in ddl {
            let namespace = namespace.trim_end_matches('.');
            if delivered {
                tracing::info!(event = "source_ddl", kind, ns = namespace, "a change of a collection: delivered");
            } else if matches!(&*kind, "drop" | "rename" | "dropDatabase" | "invalidate") {
                tracing::warn!(event = "source_ddl", kind, ns = namespace, "not a change of a document: passed over");
            } else {
                tracing::info!(event = "source_ddl", kind, ns = namespace, "not a change of a document: passed over");
            }
            (self.hooks.on_ddl)(&kind, namespace);
        }
        if let Some(second) = second {
            stream.second.store(second, Ordering::Relaxed);
        }
        stream.current = (!at_end).then_some(Current { reply, offset });
        let (last_position, last_time) = &stream.last;
        let moved = batch.position.is_some() && batch.position != *last_position;
        if batch.changes.is_empty() && !(moved && last_time.elapsed() >= IDLE) {
            return Ok(None);
        }
        self.losses.progressed();
        stream.last = (batch.position.clone().or_else(|| last_position.clone()), Instant::now());
        Ok(Some(batch))
    }
}

impl MongodbSource {
    /// Opens the stream behind a position, or where the configuration says.
    async fn open_stream(&mut self, from: Option<&Position>) -> Result<Option<Position>, Fault> {
        let opener = self.opener().await?;
        let begun = match from {
            None => {
                opener.images.check(&opener.client, &self.selection, &opener.scope, &opener.place).await?;
                let point = point(&self.config.start);
                let (token, cursor, first) = opener.begin(&point).await?;
                opened(&opener, begins(&point));
                Begun { epoch: 0, token, cursor, first, lost: false }
            }
            Some(position) => {
                let token = token_of(position).map(str::to_owned).ok_or_else(foreign)?;
                let epoch = epoch_of(position).unwrap_or_default();
                match opener.open(&At::After(token.clone()), Phase::Resuming).await {
                    Ok((cursor, first)) => {
                        opened(&opener, "the change stream goes on where it stopped");
                        Begun { epoch, token: Some(token), cursor, first, lost: false }
                    }
                    Err(fault) if fault.code == Code::MongoPositionLost => {
                        self.after_loss(&opener, epoch, fault).await?
                    }
                    Err(fault) => return Err(fault),
                }
            }
        };
        let Begun { epoch, token, cursor, first, lost } = begun;
        let stands = match (first.is_read(0), &first.token) {
            (true, Some(token)) => Some(token),
            // With events in it, the post-batch token is behind them: the position is still where it was asked for. None is
            // known of a server that sends no token before the first event.
            _ => token.as_ref(),
        };
        let start = stands.map(|token| position(epoch, token));
        let second = stands.and_then(|token| token_time(token)).map_or(0, seconds);
        // Reading goes on behind the first reply, which may be the last one before the server closes the stream.
        let resume = first.last_token().or(token);
        let second = Arc::new(AtomicU32::new(second));
        let history = history::watch(
            opener.client.clone(),
            opener.place.clone(),
            second.clone(),
            self.config.history_warning.0,
            self.hooks.on_history.clone(),
        );
        self.epoch = epoch;
        self.catch_up = self.needs_to_catch_up().then(|| CatchUp::new(first.operation_time));
        let (sender, replies) = mpsc::channel(AHEAD);
        self.stream = Some(Stream {
            replies,
            history: tokio::spawn(history),
            reader: tokio::spawn(read_ahead(opener, cursor, resume, sender)),
            current: Some(Current { reply: Arc::new(first), offset: 0 }),
            last: (start.clone(), Instant::now()),
            announce: start.clone().filter(|_| lost),
            second,
        });
        Ok(start)
    }

    async fn opener(&mut self) -> Result<Opener, Fault> {
        let (client, place) = self.client().await?;
        Ok(Opener {
            client,
            scope: self.selection.scope(),
            stages: select::stages(&self.config, &place)?,
            images: Images::new(&self.config),
            splits: self.splits.clone(),
            place,
            expanded: Arc::clone(&self.expanded),
        })
    }

    /// Begins anew as the operator chose, when the server no longer has the position.
    async fn after_loss(&mut self, opener: &Opener, epoch: u32, fault: Fault) -> Result<Begun, Fault> {
        if self.config.on_lost_position == OnLostPosition::CopyAgain {
            // A copy comes first: see `open`.
            return Err(fault);
        }
        let told = fault.message.clone();
        let point = match self.losses.decide(self.config.on_lost_position, fault) {
            AfterLoss::Stop(fault) => return Err(fault),
            AfterLoss::Begin(point) => point,
            AfterLoss::CopyAgain => Point::Now,
        };
        let (token, cursor, first) = opener.begin(&point).await?;
        (self.hooks.on_lost)();
        tracing::warn!(
            event = "source_position_lost",
            hosts = opener.place.hosts,
            watched = opener.place.watched,
            code = Code::MongoPositionLost.as_str(),
            "the position is lost, and {}; changes in between are missing in the sinks: {told}",
            begins(&point),
        );
        // Behind all positions there are, whatever the new token is.
        Ok(Begun { epoch: next_epoch(epoch), token, cursor, first, lost: true })
    }

    /// Copies all that is watched anew, as the operator chose for this loss.
    async fn copy_again(&mut self, epoch: u32, fault: Fault) -> Result<Begin, Fault> {
        let told = fault.message.clone();
        if let AfterLoss::Stop(fault) = self.losses.decide(OnLostPosition::CopyAgain, fault) {
            return Err(fault);
        }
        (self.hooks.on_lost)();
        tracing::warn!(
            event = "source_position_lost",
            code = Code::MongoPositionLost.as_str(),
            "the position is lost, and all that is watched is copied again; what was deleted in between stays in the sinks: {told}",
        );
        self.begin_copy(next_epoch(epoch), true, true).await
    }

    fn goes_on_after(&self, fault: &Fault) -> bool {
        fault.code == Code::MongoPositionLost && self.config.on_lost_position != OnLostPosition::Stop
    }
}

impl Source for MongodbSource {
    async fn open(&mut self, from: &Positions) -> Result<Positions, Fault> {
        (self.stream, self.copy, self.after_copy) = (None, None, None);
        match self.begin(from).await? {
            Begin::Stream(mut positions) => {
                let start = match self.open_stream(positions.whole()).await {
                    Err(fault)
                        if fault.code == Code::MongoPositionLost
                            && self.config.on_lost_position == OnLostPosition::CopyAgain =>
                    {
                        let epoch = positions.whole().and_then(epoch_of).unwrap_or_default();
                        return match self.copy_again(epoch, fault).await? {
                            Begin::Stream(positions) | Begin::Copy(positions) => Ok(positions),
                            Begin::Ended => Ok(from.clone()),
                        };
                    }
                    opened => opened?,
                };
                if let Some(start) = start {
                    positions.set(WHOLE, start);
                }
                Ok(positions)
            }
            Begin::Copy(positions) => Ok(positions),
            Begin::Ended => Ok(from.clone()),
        }
    }

    async fn next(&mut self) -> Result<Read, Fault> {
        loop {
            if let Some(copy) = &mut self.copy {
                match copy.next(&self.limits).await? {
                    Some(batch) => return Ok(Read::Batch(batch)),
                    None => self.copy = None,
                }
            }
            if self.is_at_its_end() {
                return Ok(Read::End);
            }
            // Opened again when this future is dropped meanwhile.
            if let Some(position) = self.after_copy.clone() {
                match self.open_stream(Some(&position)).await {
                    Ok(_) => self.after_copy = None,
                    Err(fault) if self.goes_on_after(&fault) => {
                        return Err(Fault::transient(fault.code, fault.message));
                    }
                    Err(fault) => return Err(fault),
                }
            }
            if let Some(position) = self.stream.as_mut().and_then(|stream| stream.announce.take()) {
                return Ok(Read::Batch(Batch { position: Some(position), ..Batch::default() }));
            }
            if let Some(batch) = self.cut().await? {
                return Ok(Read::Batch(batch));
            }
            let Some(stream) = &mut self.stream else { return Err(not_open()) };
            if stream.current.is_none() {
                match stream.replies.recv().await {
                    Some(Ok(reply)) => {
                        // The server reads to the end of its oplog before it answers without events.
                        if reply.is_read(0) {
                            (self.hooks.on_caught_up)();
                        }
                        stream.current = Some(Current { reply: Arc::new(reply), offset: 0 });
                    }
                    // What follows is decided where the stream is opened again.
                    Some(Err(fault)) if self.goes_on_after(&fault) => {
                        return Err(Fault::transient(fault.code, fault.message));
                    }
                    Some(Err(fault)) => return Err(fault),
                    None => return Err(not_open()),
                }
            }
        }
    }
}

/// A stream that was just opened.
struct Begun {
    epoch: u32,
    /// What it was opened behind.
    token: Option<String>,
    cursor: Cursor,
    first: Reply,
    /// The position before it is lost.
    lost: bool,
}

/// Where a stream without a position begins.
fn point(start: &StartAt) -> Point {
    match start {
        StartAt::Now => Point::Now,
        StartAt::Token(token) => Point::Token(token.clone()),
        StartAt::Time(moment) => {
            let seconds = moment.0.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
            Point::Time(u32::try_from(seconds).unwrap_or(u32::MAX))
        }
    }
}

fn begins(point: &Point) -> &'static str {
    match point {
        Point::Now => {
            "the change stream begins now: documents that exist already are not sent, changes from now on are"
        }
        Point::Token(_) => "the change stream begins behind the token of `start`",
        Point::Time(_) => "the change stream begins with the changes since the time of `start`",
        Point::Oldest => "the change stream begins with the oldest change the server has",
    }
}

fn opened(opener: &Opener, how: &str) {
    let (hosts, watched) = (&opener.place.hosts, &opener.place.watched);
    tracing::info!(event = "source_opened", hosts, watched, "{how}");
}

/// The seconds of a cluster time.
fn seconds(time: u64) -> u32 {
    u32::try_from(time >> 32).unwrap_or(u32::MAX)
}

fn foreign() -> Fault {
    Fault::fatal(
        Code::CheckpointUnreadable,
        "the stored position is none of a MongoDB change stream; `tidegate checkpoint reset` begins with the changes from now on",
    )
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
