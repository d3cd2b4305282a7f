//! Redis streams: many in one `XREAD`, each a partition with a position of its own; or as a consumer of a group ([`group`]).
//!
//! One connection waits inside the server for entries. Another looks, every `discover_every`, which streams there are and whether any
//! lost what was not read yet. What is read is asked for one step ahead, so that the server and the pipeline work at the same time.

mod discover;
mod examine;
mod group;
mod keys;
mod look;
mod naming;
mod peek;
mod place;
mod read;
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
pub use self::{examine::examine, keys::KeysSource};
use self::{
    group::Group,
    look::{Looked, NoLook, Selection, look},
    place::{EntryId, Place},
    rules::Rules,
};
use crate::{
    batch::Batch,
    change::Namespace,
    config::{GroupConfig, RedisSourceConfig, StreamStart},
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
    /// In a dry run: the group as which it would read.
    peeks: Option<GroupConfig>,
    /// Where that group stands in streams that are not read yet.
    stands: HashMap<Vec<u8>, EntryId>,
    /// Where streams stood that are not read now: before they were opened, or since they are gone.
    known: HashMap<String, Place>,
    open: Option<Open>,
    /// Whether it was open before, in this session.
    was_open: bool,
}

/// The streams that a look has found, by name.
type Streams = BTreeMap<Vec<u8>, Looked>;

/// What is read.
struct Open {
    streams: BTreeMap<Vec<u8>, Stream>,
    ready: VecDeque<Batch>,
    reading: Option<Task<Result<Got, RedisError>>>,
    looking: Option<Looking>,
    /// What a look has found, and how far each stream was read when it began.
    found: Option<(Streams, HashMap<Vec<u8>, EntryId>)>,
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
    task: Task<Result<Streams, NoLook>>,
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
        let connector = || connector(&config);
        Self {
            rules: Rules::new(&config),
            selection: Selection::new(&config.streams),
            reader: connector(),
            looker: connector(),
            group: None,
            peeks: None,
            stands: HashMap::new(),
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
        if let Some(keys) = &config.keys {
            return format!("redis-keys {place} [{}]", keys.patterns.join(","));
        }
        format!("redis-streams {place} [{}]", config.streams.join(","))
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
        match error.code() {
            // A stream was deleted or replaced while it was read: it is looked for anew.
            Some("NOGROUP" | "UNBLOCKED" | "WRONGTYPE") => {
                let place = self.reader.place();
                Fault::transient(Code::RedisError, format!("Redis at {place} answered to a read with `{error}`"))
            }
            _ => {
                self.looker.disconnect();
                self.reader.lost(error)
            }
        }
    }

    fn no_look(&mut self, why: NoLook) -> Fault {
        match why {
            NoLook::Error(error) => self.fault(&error),
            NoLook::Server(error) => self.looker.rejected(&error),
            NoLook::Strange(command) => {
                let place = self.looker.place();
                Fault::fatal(
                    Code::RedisError,
                    format!("Redis at {place} answered to `{command}` with something unknown"),
                )
            }
        }
    }
}

impl Source for RedisSource {
    async fn open(&mut self, from: &Positions) -> Result<Positions, Fault> {
        self.open = None;
        self.known = from.iter().filter(|(name, _)| *name != BEGUN).map(known).collect::<Result<_, _>>()?;
        if let Some(config) = &self.config.group
            && self.group.is_none()
        {
            self.group = Some(Group::new(config.clone(), connector(&self.config)));
        }
        let first = from.is_empty() && !self.was_open;
        let mut connection = self.looker.connection().await?;
        let found = match look(&mut connection, &self.selection).await {
            Ok(found) => found,
            Err(why) => return Err(self.no_look(why)),
        };
        self.peek(found.keys()).await?;
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

/// A connection that knows what a user needs to read.
fn connector(config: &RedisSourceConfig) -> Connector {
    let mut rights: String = config.streams.iter().map(|stream| format!("~{stream} ")).collect();
    rights += match &config.group {
        Some(_) => "+xreadgroup +xack +xautoclaim +xgroup +xinfo",
        None => "+xread +xinfo",
    };
    if config.streams.iter().any(|stream| look::is_pattern(stream)) {
        rights += " +scan";
    }
    Connector::new(config.url.clone(), config.timeout.0).tls(&config.tls).rights(rights)
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
