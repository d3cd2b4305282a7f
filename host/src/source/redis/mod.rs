//! Redis streams: many in one `XREAD`, each a partition with a position of its own; or as a consumer of a group ([`group`]).
//!
//! One connection waits inside the server for entries. Another looks, every `discover_every`, which streams there are and whether any
//! lost what was not read yet. What is read is asked for one step ahead, so that the server and the pipeline work at the same time.

mod group;
mod look;
mod naming;
mod place;
mod rules;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytestring::ByteString;
use redis::{RedisError, Value};
use tokio::{task::JoinHandle, time::Instant};

pub(crate) use self::naming::Naming;
use self::{
    group::Group,
    look::{Info, Judgement, Looked, NoLook, Selection, look},
    place::{EntryId, Place, partition},
    rules::{Entry, Fields, Rules},
};
use crate::{
    batch::{Batch, Unreadable},
    change::Namespace,
    config::{OnLostEntries, RedisSourceConfig, StreamStart},
    error::{Code, Fault},
    position::{Position, Positions},
    redis::Connector,
    source::{BatchLimits, Hooks, Read, Source},
};

/// The longest that a read waits inside the server.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// The partition that says that the pipeline has begun: streams without a position are new since then. No stream has this name.
const BEGUN: &str = "%begun";

/// A task that ends with its owner.
struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The source.
pub struct RedisSource {
    config: RedisSourceConfig,
    limits: BatchLimits,
    hooks: Hooks,
    rules: Rules,
    selection: Selection,
    reader: Connector,
    looker: Connector,
    group: Option<Group>,
    /// Where streams stood that are not read now: before they were opened, or since they are gone.
    known: HashMap<String, Place>,
    open: Option<Open>,
    /// Whether it was open before, in this session.
    was_open: bool,
}

/// What is read.
struct Open {
    streams: BTreeMap<Vec<u8>, Stream>,
    ready: VecDeque<Batch>,
    reading: Option<Task<Result<Got, RedisError>>>,
    looking: Option<Looking>,
    /// What a look has found, and how far each stream was read when it began.
    found: Option<(BTreeMap<Vec<u8>, Looked>, HashMap<Vec<u8>, EntryId>)>,
    look_at: Instant,
    /// Entries of a stream that are asked for at once.
    count: u64,
}

/// What a read brought.
enum Got {
    Read(Value),
    /// Entries that another consumer had, by stream.
    Claimed(Vec<(Vec<u8>, Value)>),
}

struct Looking {
    task: Task<Result<BTreeMap<Vec<u8>, Looked>, NoLook>>,
    /// How far each stream was read when it began.
    asked: HashMap<Vec<u8>, EntryId>,
}

/// One stream that is read.
struct Stream {
    partition: ByteString,
    namespace: Arc<Namespace>,
    place: Place,
    /// Up to where the ordinal is known to be right.
    counted: EntryId,
    /// What is pending for this consumer is read first, from here; none: that is done.
    pending: Option<EntryId>,
}

impl RedisSource {
    /// Nothing is connected before [`Source::open`].
    pub fn new(config: RedisSourceConfig, limits: BatchLimits, hooks: Hooks) -> Self {
        let connector = || Connector::new(config.url.clone(), config.timeout.0);
        Self {
            rules: Rules::new(&config),
            selection: Selection::new(&config.streams),
            reader: connector(),
            looker: connector(),
            group: None,
            known: HashMap::new(),
            open: None,
            was_open: false,
            config,
            limits,
            hooks,
        }
    }

    /// What is read, without secrets: `redis-streams 127.0.0.1:6379 [orders,events:*]`.
    pub fn describe(config: &RedisSourceConfig) -> String {
        let place = Connector::new(config.url.clone(), config.timeout.0).place().to_owned();
        format!("redis-streams {place} [{}]", config.streams.join(","))
    }

    /// Where a stream is read from, and what is read of it.
    fn stream(&mut self, key: &[u8], info: Option<&Info>, first: bool) -> Result<Stream, Fault> {
        let partition = partition(key);
        let place = if self.group.is_some() {
            Place::default()
        } else {
            match self.known.remove(&partition) {
                Some(place) => self.judged(&partition, place, place.id, info)?,
                None if first && self.config.start == StreamStart::Now => {
                    info.map_or(Place { ordinal: Some(0), ..Place::default() }, |info| Place {
                        epoch: 0,
                        id: info.last,
                        ordinal: info.added,
                    })
                }
                None => Place { ordinal: info.map_or(Some(0), Info::removed), ..Place::default() },
            }
        };
        Ok(Stream {
            namespace: self.rules.namespace(&partition),
            partition: partition.into(),
            place,
            counted: place.id,
            pending: self.group.is_some().then(EntryId::default),
        })
    }

    /// Where reading goes on in a stream that was read up to `place`, after a look at what the server has.
    ///
    /// # Errors
    /// [`Code::StreamTrimmed`] or [`Code::StreamRemade`], where that is to stop the pipeline.
    fn judged(&self, name: &str, place: Place, asked: EntryId, info: Option<&Info>) -> Result<Place, Fault> {
        let Some(info) = info else { return Ok(place) };
        let stops = self.config.on_lost_position == OnLostEntries::Stop;
        let server = self.reader.place();
        let (code, message, place) = match info.judge(&place, asked) {
            Judgement::Whole => return Ok(place),
            Judgement::Trimmed(count) => {
                let gone = count.map_or_else(|| "entries".to_owned(), |count| format!("{count} entries"));
                let message = format!(
                    "{gone} of the stream `{name}` of Redis at {server} were trimmed before they were read: it was read up to {}",
                    place.id
                );
                // What is missing counts as read.
                let ordinal = place.ordinal.zip(count).map(|(read, count)| read.saturating_add(count));
                (Code::StreamTrimmed, message, Place { ordinal, ..place })
            }
            Judgement::Remade => {
                let message = format!(
                    "the ids of the stream `{name}` of Redis at {server} went back: it was read up to {}, and its newest is {}: it was \
                     deleted and made again, or the server lost its last writes",
                    place.id, info.last
                );
                let ordinal = info.removed();
                (Code::StreamRemade, message, Place { epoch: place.epoch.saturating_add(1), id: EntryId::default(), ordinal })
            }
        };
        if stops {
            return Err(Fault::fatal(
                code,
                format!("{message}; set `on_lost_position: oldest` of the source to go on with the oldest entry that is there"),
            ));
        }
        tracing::warn!(
            event = "source_position_lost",
            code = code.as_str(),
            stream = name,
            "{message}; it goes on with the oldest entry that is there"
        );
        (self.hooks.on_lost)();
        Ok(place)
    }

    /// Starts what brings the next entries.
    async fn start_reading(&mut self) -> Result<(), Fault> {
        let mut connection = match self.reader.connection().await {
            Ok(connection) => connection,
            Err(fault) => return Err(self.named(fault)),
        };
        let Some(open) = &mut self.open else { return Err(not_open()) };
        let now = Instant::now();
        let wait = LONGEST_WAIT.min(self.config.timeout.0 / 2).min(open.look_at.saturating_duration_since(now));
        let wait = wait.max(Duration::from_millis(1));
        if open.streams.is_empty() {
            open.reading = Some(Task(tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                Ok(Got::Read(Value::Nil))
            })));
            return Ok(());
        }
        if let Some(group) = &mut self.group
            && now >= group.claim_at
        {
            group.claim_at = now + group.claim_every();
            let (config, keys) = (group.config.clone(), open.streams.keys().cloned().collect::<Vec<_>>());
            open.reading = Some(Task(tokio::spawn(async move {
                group::claim(&mut connection, &config, &keys).await.map(Got::Claimed)
            })));
            return Ok(());
        }
        let mut read = match &self.group {
            Some(group) => group.read(),
            None => redis::cmd("XREAD"),
        };
        read.arg("COUNT").arg(open.count).arg("BLOCK").arg(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1));
        read.arg("STREAMS");
        for key in open.streams.keys() {
            read.arg(key.as_slice());
        }
        for stream in open.streams.values() {
            match (&self.group, stream.pending) {
                (None, _) => read.arg(stream.place.id.to_string()),
                (Some(_), Some(from)) => read.arg(from.to_string()),
                (Some(_), None) => read.arg(">"),
            };
        }
        open.reading =
            Some(Task(tokio::spawn(async move { read.query_async(&mut connection).await.map(Got::Read) })));
        Ok(())
    }

    /// Makes batches of what was read.
    fn take(&mut self, got: Got) -> Result<(), Fault> {
        let strange = |place: &str| {
            Fault::transient(Code::RedisError, format!("Redis at {place} answered to a read with something else than entries"))
        };
        let Some(open) = &mut self.open else { return Err(not_open()) };
        let parts: Vec<(Vec<u8>, Value, bool)> = match got {
            Got::Read(Value::Nil) => Vec::new(),
            Got::Read(Value::Array(streams)) => {
                let mut parts = Vec::with_capacity(streams.len());
                for stream in streams {
                    match stream {
                        Value::Array(pair) => match <[Value; 2]>::try_from(pair) {
                            Ok([Value::BulkString(key), entries]) => parts.push((key, entries, true)),
                            _ => return Err(strange(self.reader.place())),
                        },
                        _ => return Err(strange(self.reader.place())),
                    }
                }
                parts
            }
            Got::Claimed(claimed) => claimed.into_iter().map(|(key, entries)| (key, entries, false)).collect(),
            Got::Read(_) => return Err(strange(self.reader.place())),
        };
        let (mut entries_read, mut bytes_read, streams_read) = (0, 0, parts.len());
        for (key, entries, in_order) in parts {
            let Value::Array(entries) = entries else { return Err(strange(self.reader.place())) };
            let Some(stream) = open.streams.get_mut(&key) else { continue };
            if in_order && entries.is_empty() {
                // Nothing is pending any more.
                stream.pending = None;
            }
            let mut cutter = Cutter {
                rules: &self.rules,
                limits: &self.limits,
                key: &key,
                stream,
                group: self.group.as_mut(),
                ready: &mut open.ready,
                batch: Batch::default(),
                ids: Vec::new(),
                size: 0,
            };
            for entry in entries {
                let Some((id, fields)) = entry_of(entry) else { return Err(strange(self.reader.place())) };
                entries_read += 1;
                bytes_read += fields.as_ref().map_or(0, Fields::size);
                cutter.add(id, fields, in_order);
            }
            cutter.cut();
        }
        if entries_read > 0 {
            // Two batches' worth of bytes at once, whatever the size of an entry.
            let average = bytes_read / entries_read + 1;
            let fits = 2 * self.limits.max_bytes / average / streams_read.max(1);
            open.count = u64::try_from(fits).unwrap_or(u64::MAX).clamp(1, self.config.count.into());
        }
        Ok(())
    }

    /// Starts a look at the streams when it is time.
    async fn start_looking(&mut self) -> Result<(), Fault> {
        if self.open.as_ref().is_none_or(|open| open.looking.is_some() || Instant::now() < open.look_at) {
            return Ok(());
        }
        let mut connection = match self.looker.connection().await {
            Ok(connection) => connection,
            Err(fault) => return Err(self.named(fault)),
        };
        let Some(open) = &mut self.open else { return Err(not_open()) };
        let asked = open.streams.iter().map(|(key, stream)| (key.clone(), stream.place.id)).collect();
        let selection = self.selection.clone();
        let task = Task(tokio::spawn(async move { look(&mut connection, &selection).await }));
        open.looking = Some(Looking { task, asked });
        Ok(())
    }

    /// Takes up what a look has found, if one is over. Nothing is being read meanwhile, so that places are those of all that was read.
    async fn finish_looking(&mut self) -> Result<(), Fault> {
        let Some(open) = &mut self.open else { return Err(not_open()) };
        if let Some(looking) = open.looking.as_mut().filter(|looking| looking.task.0.is_finished()) {
            let found = (&mut looking.task.0).await;
            let asked = std::mem::take(&mut looking.asked);
            open.looking = None;
            open.look_at = Instant::now() + self.config.discover_every.0;
            match found {
                Ok(Ok(found)) => open.found = Some((found, asked)),
                Ok(Err(why)) => return Err(self.no_look(why)),
                Err(cause) => return Err(broken(&cause)),
            }
        }
        let Some((found, _)) = &open.found else { return Ok(()) };
        let new = |(key, looked): (&Vec<u8>, &Looked)| {
            (matches!(looked, Looked::Stream(_)) && !open.streams.contains_key(key)).then(|| key.clone())
        };
        let new: Vec<Vec<u8>> = found.iter().filter_map(new).collect();
        self.make_groups(new.iter(), false).await?;
        // Nothing waits from here on.
        let Some(open) = &mut self.open else { return Err(not_open()) };
        let Some((found, asked)) = open.found.take() else { return Ok(()) };
        let mut streams = std::mem::take(&mut open.streams);
        let looked_through = self.look_through(&mut streams, &found, &asked);
        if let Some(open) = &mut self.open {
            open.streams = streams;
        }
        looked_through
    }

    fn look_through(
        &mut self,
        streams: &mut BTreeMap<Vec<u8>, Stream>,
        found: &BTreeMap<Vec<u8>, Looked>,
        asked: &HashMap<Vec<u8>, EntryId>,
    ) -> Result<(), Fault> {
        // Those of a pattern that are gone are not asked for any more; where they stood is remembered.
        streams.retain(|key, stream| {
            let stays = self.selection.names(key) || matches!(found.get(key), Some(Looked::Stream(_)));
            if !stays {
                self.known.insert(stream.partition.to_string(), stream.place);
                tracing::info!(event = "source_stream_gone", stream = &*stream.partition, "a stream is gone");
            }
            stays
        });
        for (key, looked) in found {
            let Looked::Stream(info) = looked else { continue };
            let Some(stream) = streams.get_mut(key) else {
                let stream = self.stream(key, Some(info), false)?;
                tracing::info!(event = "source_stream_found", stream = &*stream.partition, "a new stream is read");
                streams.insert(key.clone(), stream);
                continue;
            };
            if self.group.is_some() {
                continue;
            }
            let asked = asked.get(key).copied().unwrap_or_default();
            let place = self.judged(&stream.partition, stream.place, asked, Some(info))?;
            if place.epoch != stream.place.epoch {
                stream.counted = EntryId::default();
            }
            stream.place = place;
            self.recount(stream, info);
        }
        Ok(())
    }

    /// Where all of a stream is read, what was counted and what the server has counted differ by what was trimmed before it was read,
    /// unless entries were taken out by name.
    fn recount(&self, stream: &mut Stream, info: &Info) {
        let Some(added) = info.added.filter(|_| info.last == stream.place.id) else { return };
        let missing = stream.place.ordinal.and_then(|read| added.checked_sub(read)).unwrap_or(0);
        if missing > 0 && info.deleted <= stream.counted {
            tracing::warn!(
                event = "source_position_lost",
                code = Code::StreamTrimmed.as_str(),
                stream = &*stream.partition,
                "{missing} entries of the stream `{}` were trimmed before they were read",
                stream.partition
            );
            (self.hooks.on_lost)();
        }
        stream.place.ordinal = Some(added);
        stream.counted = stream.place.id;
    }

    /// Makes the group at streams that are to be read, where there is one.
    async fn make_groups(&mut self, keys: impl Iterator<Item = &Vec<u8>>, from_now: bool) -> Result<(), Fault> {
        let Some(group) = &self.group else { return Ok(()) };
        let mut connection = self.looker.connection().await?;
        for key in keys {
            if let Err(error) = group.make(&mut connection, key, from_now).await {
                return Err(self.fault(&error));
            }
        }
        Ok(())
    }

    /// The fault for an error of a command that reads.
    fn fault(&mut self, error: &RedisError) -> Fault {
        let fault = match error.code() {
            // A stream was deleted or replaced while it was read: it is looked for anew.
            Some("NOGROUP" | "UNBLOCKED" | "WRONGTYPE") => {
                let place = self.reader.place();
                Fault::transient(Code::RedisError, format!("Redis at {place} answered to a read with `{error}`"))
            }
            _ => {
                self.looker.disconnect();
                self.reader.lost(error)
            }
        };
        self.named(fault)
    }

    fn no_look(&mut self, why: NoLook) -> Fault {
        let fault = match why {
            NoLook::Error(error) => return self.fault(&error),
            NoLook::Server(error) => self.looker.rejected(&error),
            NoLook::Strange(command) => {
                let place = self.looker.place();
                Fault::fatal(Code::RedisError, format!("Redis at {place} answered to `{command}` with something unknown"))
            }
        };
        self.named(fault)
    }

    /// Says what a source needs, where the fault says what a sink needs.
    fn named(&self, fault: Fault) -> Fault {
        if fault.code != Code::RedisDenied {
            return fault;
        }
        let refusal = fault.message.split("; check user and password").next().unwrap_or_default().to_owned();
        let commands = match &self.config.group {
            Some(_) => "+xreadgroup +xack +xautoclaim +xgroup +xinfo +scan",
            None => "+xread +xinfo +scan",
        };
        let message = format!(
            "{refusal}; check user and password of the URL, and that the user may read the streams (ACL SETUSER NAME ~STREAM* {commands})"
        );
        Fault { message, ..fault }
    }
}

impl Source for RedisSource {
    async fn open(&mut self, from: &Positions) -> Result<Positions, Fault> {
        self.open = None;
        self.known = from.iter().filter(|(name, _)| *name != BEGUN).map(known).collect::<Result<_, _>>()?;
        if let Some(config) = &self.config.group
            && self.group.is_none()
        {
            let connector = Connector::new(self.config.url.clone(), self.config.timeout.0);
            self.group = Some(Group::new(config.clone(), connector));
        }
        let first = from.is_empty() && !self.was_open;
        let mut connection = match self.looker.connection().await {
            Ok(connection) => connection,
            Err(fault) => return Err(self.named(fault)),
        };
        let found = match look(&mut connection, &self.selection).await {
            Ok(found) => found,
            Err(why) => return Err(self.no_look(why)),
        };
        let mut streams = BTreeMap::new();
        for (key, looked) in found {
            let info = match &looked {
                Looked::Stream(info) => Some(info),
                Looked::Gone if self.selection.names(&key) => None,
                Looked::Other if self.selection.names(&key) => return Err(no_stream(&key, self.looker.place())),
                // Gone or replaced between the scan and the question.
                Looked::Gone | Looked::Other => continue,
            };
            let stream = self.stream(&key, info, first)?;
            streams.insert(key, stream);
        }
        self.make_groups(streams.keys(), first && self.config.start == StreamStart::Now).await?;
        tracing::info!(
            event = "source_opened",
            place = self.reader.place(),
            streams = streams.len(),
            "{} streams of Redis are read",
            streams.len()
        );
        let mut positions = Positions::default();
        if self.group.is_none() {
            positions.set(BEGUN, Position::new(vec![0]));
            for stream in streams.values() {
                positions.set(&stream.partition, stream.place.position());
            }
        }
        self.was_open = true;
        self.open = Some(Open {
            streams,
            ready: VecDeque::new(),
            reading: None,
            looking: None,
            found: None,
            look_at: Instant::now() + self.config.discover_every.0,
            count: self.config.count.into(),
        });
        self.start_reading().await?;
        Ok(positions)
    }

    async fn next(&mut self) -> Result<Read, Fault> {
        loop {
            let Some(open) = &mut self.open else { return Err(not_open()) };
            if let Some(batch) = open.ready.pop_front() {
                return Ok(Read::Batch(batch));
            }
            if let Some(reading) = &mut open.reading {
                let got = (&mut reading.0).await;
                open.reading = None;
                match got {
                    Ok(Ok(got)) => self.take(got)?,
                    Ok(Err(error)) => return Err(self.fault(&error)),
                    Err(cause) => return Err(broken(&cause)),
                }
            }
            // From here to the next read nothing is lost when this is given up in between: it is done again.
            self.finish_looking().await?;
            self.start_looking().await?;
            self.start_reading().await?;
        }
    }

    async fn settle(&mut self) {
        self.open = None;
        if let Some(group) = self.group.take() {
            group.settle().await;
        }
    }
}

/// Cuts what was read of one stream into batches.
struct Cutter<'a> {
    rules: &'a Rules,
    limits: &'a BatchLimits,
    key: &'a [u8],
    stream: &'a mut Stream,
    group: Option<&'a mut Group>,
    ready: &'a mut VecDeque<Batch>,
    batch: Batch,
    /// Entries of the batch that are to be acknowledged.
    ids: Vec<EntryId>,
    size: usize,
}

impl Cutter<'_> {
    /// Adds an entry; one without fields was deleted while it was pending.
    fn add(&mut self, id: EntryId, fields: Option<Fields>, in_order: bool) {
        if let Some(group) = &self.group {
            if let Some(pending) = self.stream.pending.as_mut().filter(|_| in_order) {
                *pending = id;
            }
            if group.has(self.key, id) {
                return;
            }
            self.ids.push(id);
        } else {
            self.stream.place.step(id);
        }
        let Some(fields) = fields else { return };
        let name = &self.stream.partition;
        let change_id = ByteString::from(match self.stream.place.epoch {
            0 => format!("{name}/{id}"),
            epoch => format!("{name}/{id}@{epoch}"),
        });
        let entry = Entry { id, fields: &fields, namespace: &self.stream.namespace, change_id: &change_id };
        match self.rules.change(entry) {
            Ok(mut change) => {
                if self.group.is_none() {
                    change.position = Some(Place { ordinal: None, ..self.stream.place }.position());
                }
                self.size += change.size();
                // A change of a collection stands in a batch of its own.
                let alone = change.operation.is_ddl();
                if alone {
                    self.cut_before(id);
                }
                self.batch.changes.push(change);
                if alone {
                    return self.cut();
                }
            }
            Err(reason) => {
                let raw = fields.to_json(self.key, id);
                self.size += raw.len();
                let reason = format!("the entry {id} of the stream `{name}` is no change: {reason}");
                self.batch.unreadable.push(Unreadable { id: change_id, raw, reason });
            }
        }
        let count = self.batch.changes.len() + self.batch.unreadable.len();
        if count >= self.limits.max_events || self.size >= self.limits.max_bytes {
            self.cut();
        }
    }

    /// Ends the batch before the entry that was just begun.
    fn cut_before(&mut self, id: EntryId) {
        let last = self.batch.changes.last().and_then(|change| change.position.clone());
        if self.batch.changes.is_empty() && self.batch.unreadable.is_empty() {
            return;
        }
        let own = self.ids.pop_if(|last| *last == id);
        let mut batch = std::mem::take(&mut self.batch);
        batch.position = last;
        self.push(batch);
        self.ids.extend(own);
    }

    /// Ends the batch.
    fn cut(&mut self) {
        if self.batch.changes.is_empty() && self.batch.unreadable.is_empty() && self.ids.is_empty() {
            return;
        }
        let mut batch = std::mem::take(&mut self.batch);
        batch.position = self.group.is_none().then(|| self.stream.place.position());
        self.push(batch);
    }

    fn push(&mut self, mut batch: Batch) {
        self.size = 0;
        match &mut self.group {
            Some(group) => batch.receipts.push(group.receipt(self.key, std::mem::take(&mut self.ids))),
            None => batch.partition = self.stream.partition.clone(),
        }
        self.ready.push_back(batch);
    }
}

/// The id and the fields of an entry.
fn entry_of(entry: Value) -> Option<(EntryId, Option<Fields>)> {
    let Value::Array(pair) = entry else { return None };
    let [Value::BulkString(id), fields] = <[Value; 2]>::try_from(pair).ok()? else { return None };
    let id = EntryId::parse(&id)?;
    match fields {
        Value::Nil => Some((id, None)),
        fields => Some((id, Some(Fields::new(fields)?))),
    }
}

fn known((name, position): (&str, &Position)) -> Result<(String, Place), Fault> {
    let place = Place::of(position).ok_or_else(|| {
        Fault::fatal(
            Code::CheckpointUnreadable,
            format!(
                "the stored position of `{name}` is none of a Redis stream; `tidegate checkpoint reset` gives all positions up"
            ),
        )
    })?;
    Ok((name.to_owned(), place))
}

fn no_stream(key: &[u8], place: &str) -> Fault {
    Fault::fatal(
        Code::NoStream,
        format!(
            "the key `{}` of Redis at {place} is no stream; correct `streams` of the source, or remove or rename the key",
            key.escape_ascii()
        ),
    )
}

fn not_open() -> Fault {
    Fault::transient(Code::RedisUnreachable, "the streams are not open")
}

fn broken(cause: &tokio::task::JoinError) -> Fault {
    Fault::transient(Code::Internal, format!("a task that reads Redis broke: {cause}"))
}

#[cfg(test)]
mod tests;
