//! What a change does in Redis, by mode: commands, each with its key as the first argument.

use redis::Cmd;
use smallvec::{SmallVec, smallvec};
use xxhash_rust::xxh3::xxh3_64;

use super::{
    body::{Body, flat},
    script::key_of,
};
use crate::{
    batch::Delivery,
    change::{Change, Doc, Operation},
    config::{RedisMode, RedisSinkConfig, RedisSourceConfig},
    format::{
        elements::{Malformed, kind},
        time::now_millis,
    },
    sink::{
        template::{Template, Unfilled, Words, find},
        told::Told,
    },
};

/// The commands of one delivery, in their order.
pub(super) type Commands = SmallVec<[Cmd; 2]>;

/// Pairs in one `HSET`: a script cannot hand over more than some 8000 values at once.
const PAIRS: usize = 1000;

/// What is to be done with a delivery.
pub(super) enum Deed {
    /// These commands.
    Do(Commands),
    /// Nothing: the mode leaves it out.
    Ignore,
    /// It cannot be written, and why.
    Refuse(String),
}

/// Why a delivery has no place.
enum Unplaced {
    /// It is to be ignored.
    Ignore,
    /// It cannot be written, and why.
    Refuse(String),
}

impl From<Unplaced> for Deed {
    fn from(unplaced: Unplaced) -> Self {
        match unplaced {
            Unplaced::Ignore => Self::Ignore,
            Unplaced::Refuse(reason) => Self::Refuse(reason),
        }
    }
}

/// How old entries of a stream go.
enum Trim {
    Never,
    Length(String),
    /// Milliseconds.
    Age(i64),
}

/// What a document becomes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    String,
    Json,
    Hash,
}

enum Mode {
    Stream { stream: Template, trim: Trim, partitions: u64 },
    List { key: Template, maxlen: Option<u64> },
    Pubsub { channel: Template },
    Document { place: Place, shape: Shape, ttl: Option<u64> },
    Member { place: Place, score: Option<String> },
}

/// Where a document is in Redis.
struct Place {
    key: Template,
    /// Of a set; none where the key is the document's own.
    member: Option<Template>,
}

#[derive(PartialEq, Eq)]
struct Name {
    key: Vec<u8>,
    member: Vec<u8>,
}

/// Makes commands out of deliveries.
pub(super) struct Shaper {
    mode: Mode,
    body: Body,
    /// The source looks documents of updates up: one that is missing is gone by now, and its delete follows.
    pub(super) looks_up: bool,
    /// The source, where it reads this very database.
    pub(super) source: Option<Box<RedisSourceConfig>>,
    written: RedisMode,
    told: Told,
}

impl Shaper {
    pub(super) fn new(config: &RedisSinkConfig, pipeline: &str) -> Self {
        let template = |text: &str| Template::of(text, Words::Fields);
        let place = |member| Place { key: template(config.target()), member };
        let ttl = config.ttl.map(|ttl| u64::try_from(ttl.0.as_millis()).unwrap_or(u64::MAX));
        let document = |shape| Mode::Document { place: place(None), shape, ttl };
        let member = |score| Mode::Member { place: place(Some(template(config.member()))), score };
        let mode = match config.mode {
            RedisMode::Stream => Mode::Stream {
                stream: template(config.target()),
                trim: match (config.maxlen, config.max_age) {
                    (Some(maxlen), _) => Trim::Length(maxlen.to_string()),
                    (None, Some(age)) => Trim::Age(i64::try_from(age.0.as_millis()).unwrap_or(i64::MAX)),
                    (None, None) => Trim::Never,
                },
                partitions: u64::from(config.partitions.unwrap_or(1)),
            },
            RedisMode::List => Mode::List { key: template(config.target()), maxlen: config.maxlen },
            RedisMode::Pubsub => Mode::Pubsub { channel: template(config.target()) },
            RedisMode::String => document(Shape::String),
            RedisMode::Json => document(Shape::Json),
            RedisMode::Hash => document(Shape::Hash),
            RedisMode::Set => member(None),
            RedisMode::Zset => member(Some(config.score.clone().unwrap_or_default())),
        };
        Self {
            mode,
            body: Body::new(config.format, pipeline),
            looks_up: false,
            source: None,
            written: config.mode,
            told: Told::default(),
        }
    }

    /// Whether the format has a form for changes like this one.
    pub(super) fn tells(&self, operation: Operation) -> bool {
        self.body.tells(operation)
    }

    /// The type of every key that is written to, as the server names it.
    pub(super) fn kind(&self) -> &'static str {
        match &self.mode {
            Mode::Stream { .. } => "stream",
            Mode::List { .. } => "list",
            // A channel is no key.
            Mode::Pubsub { .. } => "none",
            Mode::Document { shape: Shape::String, .. } => "string",
            Mode::Document { shape: Shape::Json, .. } => "ReJSON-RL",
            Mode::Document { shape: Shape::Hash, .. } => "hash",
            Mode::Member { score: None, .. } => "set",
            Mode::Member { score: Some(_), .. } => "zset",
        }
    }

    /// Whether what is there is taken away or replaced, which must not be done to a key of another type: the types of keys are
    /// looked at by a script.
    pub(super) fn is_state(&self) -> bool {
        matches!(self.mode, Mode::Document { .. } | Mode::Member { .. })
    }

    /// Whether a transaction is enough, of which each command fails alone.
    pub(super) fn is_log(&self) -> bool {
        matches!(self.mode, Mode::Stream { .. } | Mode::Pubsub { .. })
    }

    /// The hash tag of all names.
    pub(super) fn hash_tag(&self) -> Option<&str> {
        match &self.mode {
            Mode::Stream { stream: name, .. } | Mode::List { key: name, .. } | Mode::Pubsub { channel: name } => name,
            Mode::Document { place, .. } | Mode::Member { place, .. } => &place.key,
        }
        .hash_tag()
    }

    /// What a delivery does.
    pub(super) fn shape(&mut self, delivery: &Delivery<'_>) -> Deed {
        let Self { mode, body, looks_up, source, written, told } = self;
        let change = delivery.change;
        let done = match mode {
            _ if change.operation.is_ddl() && !keeps_ddl(mode) => {
                told.ignored(change, "Redis is left as it is: this mode holds documents alone");
                return Deed::Ignore;
            }
            Mode::Stream { stream, trim, partitions } => match log_target(stream, delivery) {
                Err(Unfilled::Field(_)) if change.operation.is_ddl() => {
                    told.ignored(change, "it has no field to make the name of a stream of");
                    return Deed::Ignore;
                }
                target => named(target).and_then(|stream| add(body, delivery, &stream, trim, *partitions)),
            },
            Mode::List { key, maxlen } => {
                named(log_target(key, delivery)).and_then(|key| push(body, delivery, &key, *maxlen))
            }
            Mode::Pubsub { channel } => named(log_target(channel, delivery)).and_then(|channel| {
                let mut command = Cmd::with_capacity(3, change.size() + 256);
                command.arg("PUBLISH").arg(&*channel);
                body.message(&mut command, delivery)?;
                Ok(smallvec![command])
            }),
            Mode::Document { place, shape, ttl } => match place.sides(delivery, *looks_up) {
                Err(unplaced) => return unplaced.into(),
                Ok((old, new)) => document(body, change, old, new, *shape, *ttl),
            },
            Mode::Member { place, score } => match place.sides(delivery, *looks_up) {
                Err(unplaced) => return unplaced.into(),
                Ok((old, new)) => membership(change, old, new, score.as_deref()),
            },
        };
        let done = done.and_then(|commands| {
            source.as_ref().map_or(Ok(()), |source| leads_on(source, &commands, *written))?;
            Ok(commands)
        });
        match done {
            Ok(commands) if commands.is_empty() => Deed::Ignore,
            Ok(commands) => Deed::Do(commands),
            Err(reason) => Deed::Refuse(reason),
        }
    }
}

/// Whether changes of collections are written like any other: where each change has an entry of its own.
fn keeps_ddl(mode: &Mode) -> bool {
    matches!(mode, Mode::Stream { .. } | Mode::List { .. } | Mode::Pubsub { .. })
}

/// Where an entry is added: the router's target, else what the template makes of the newest document that is known.
fn log_target<'t>(template: &'t Template, delivery: &Delivery<'_>) -> Result<Vec<u8>, Unfilled<'t>> {
    let change = delivery.change;
    match delivery.target() {
        Some(target) => Ok(target.as_bytes().to_vec()),
        None => template
            .fill_from(&change.namespace, &[change.document.as_ref(), change.key.as_ref(), change.before.as_ref()]),
    }
}

fn named(name: Result<Vec<u8>, Unfilled<'_>>) -> Result<Vec<u8>, String> {
    name.map_err(|unfilled| format!("its place in Redis has no name: {unfilled}"))
}

/// What is written to where the source reads would come back as a change.
fn leads_on(source: &RedisSourceConfig, commands: &Commands, mode: RedisMode) -> Result<(), String> {
    match commands.iter().map(key_of).find(|key| source.reads(key, mode)) {
        None => Ok(()),
        Some(key) => Err(format!(
            "its place in Redis, `{}`, is a {} that this pipeline's own source reads: it would come back as a change, for ever",
            key.escape_ascii(),
            if mode == RedisMode::Stream { "stream" } else { "key" },
        )),
    }
}

/// `XADD`.
fn add(
    body: &mut Body,
    delivery: &Delivery<'_>,
    stream: &[u8],
    trim: &Trim,
    partitions: u64,
) -> Result<Commands, String> {
    let change = delivery.change;
    let mut one = |stream: &[u8]| {
        // Room for what most entries need, so that a command is two allocations.
        let mut command = Cmd::with_capacity(16 + 2 * change.headers.len(), change.size() + 256);
        command.arg("XADD").arg(stream);
        match trim {
            Trim::Never => {}
            Trim::Length(maxlen) => drop(command.arg("MAXLEN").arg("~").arg(maxlen)),
            Trim::Age(age) => drop(command.arg("MINID").arg("~").arg(now_millis().saturating_sub(*age).max(0))),
        }
        command.arg("*");
        body.entry(&mut command, delivery)?;
        Ok(command)
    };
    let partition = |number: u64| [stream, b":", number.to_string().as_bytes()].concat();
    match partitions {
        1 => Ok(smallvec![one(stream)?]),
        // Every reader has to know of it.
        _ if change.operation.is_ddl() => (0..partitions).map(|number| one(&partition(number))).collect(),
        _ => {
            let key = change.key.as_ref().map_or(0, |key| xxh3_64(key.as_bytes()));
            Ok(smallvec![one(&partition(key % partitions))?])
        }
    }
}

/// `RPUSH`, and `LTRIM` where the list has a bound.
fn push(body: &mut Body, delivery: &Delivery<'_>, key: &[u8], maxlen: Option<u64>) -> Result<Commands, String> {
    let mut command = Cmd::with_capacity(3, delivery.change.size() + 256);
    command.arg("RPUSH").arg(key);
    body.message(&mut command, delivery)?;
    let mut commands: Commands = smallvec![command];
    if let Some(maxlen) = maxlen {
        let mut trim = redis::cmd("LTRIM");
        trim.arg(key).arg(-i64::try_from(maxlen).unwrap_or(i64::MAX)).arg(-1);
        commands.push(trim);
    }
    Ok(commands)
}

impl Place {
    fn name(&self, delivery: &Delivery<'_>, documents: &[Option<&Doc>]) -> Result<Name, Unfilled<'_>> {
        let namespace = &delivery.change.namespace;
        let key = match delivery.target() {
            Some(target) => target.as_bytes().to_vec(),
            None => self.key.fill_from(namespace, documents)?,
        };
        let member = match &self.member {
            Some(member) => member.fill_from(namespace, documents)?,
            None => Vec::new(),
        };
        Ok(Name { key, member })
    }

    /// Where the document was before a change, and where it is behind it.
    fn sides(&self, delivery: &Delivery<'_>, looks_up: bool) -> Result<(Option<Name>, Option<Name>), Unplaced> {
        let change = delivery.change;
        let new = match &change.document {
            _ if change.operation == Operation::Delete => None,
            Some(document) => match self.name(delivery, &[Some(document), change.key.as_ref()]) {
                Ok(name) => Some(name),
                // What has no such field is in no such set.
                Err(Unfilled::Field(_)) if self.member.is_some() => None,
                name => return Err(Unplaced::Refuse(named(name.map(|name| name.key)).err().unwrap_or_default())),
            },
            None if looks_up => return Err(Unplaced::Ignore),
            None => {
                let reason = "it came without its document, which this mode writes: set `full_document: lookup` or \
                              `required` of the source";
                return Err(Unplaced::Refuse(reason.to_owned()));
            }
        };
        self.old(delivery).map(|old| (old, new)).map_err(Unplaced::Refuse)
    }

    /// Where the document was before a change: known by its key, else by the document before the change.
    fn old(&self, delivery: &Delivery<'_>) -> Result<Option<Name>, String> {
        let change = delivery.change;
        if matches!(change.operation, Operation::Insert | Operation::Read) {
            return Ok(None);
        }
        let lacks = match self.name(delivery, &[change.key.as_ref()]) {
            Err(Unfilled::Field(lacks)) => lacks,
            name => return name.map(Some).map_err(|unfilled| unfilled.to_string()),
        };
        let Some(before) = &change.before else {
            return Err(format!(
                "where it was in Redis is not known: `{lacks}` is not in its key, and it came without the document before the change; \
                 set `before: required` of the source"
            ));
        };
        match self.name(delivery, &[Some(before), change.key.as_ref()]) {
            Ok(name) => Ok(Some(name)),
            Err(Unfilled::Field(_)) => Ok(None),
            Err(unfilled) => Err(unfilled.to_string()),
        }
    }
}

/// One key a document: written as a whole, so that nothing of an earlier state is left.
fn document(
    body: &mut Body,
    change: &Change,
    old: Option<Name>,
    new: Option<Name>,
    shape: Shape,
    ttl: Option<u64>,
) -> Result<Commands, String> {
    let mut commands = Commands::new();
    if let Some(old) = old.filter(|old| Some(old) != new.as_ref()) {
        commands.push(on("DEL", &old.key));
    }
    let (Some(Name { key, .. }), Some(document)) = (new, &change.document) else { return Ok(commands) };
    let unwritable = |cause: Malformed| format!("its `doc` cannot be written: {cause}");
    match shape {
        Shape::String => {
            let mut set = Cmd::with_capacity(5, change.size() + 256);
            set.arg("SET").arg(&key);
            body.document(&mut set, document).map_err(unwritable)?;
            if let Some(ttl) = ttl {
                set.arg("PX").arg(ttl);
            }
            commands.push(set);
            return Ok(commands);
        }
        Shape::Json => {
            let mut set = Cmd::with_capacity(4, change.size() + 256);
            set.arg("JSON.SET").arg(&key).arg("$");
            body.document(&mut set, document).map_err(unwritable)?;
            commands.push(set);
        }
        Shape::Hash => {
            commands.push(on("DEL", &key));
            for pairs in flat(document).map_err(unwritable)?.chunks(PAIRS) {
                let mut set = Cmd::with_capacity(2 + 2 * pairs.len(), change.size() + 256);
                set.arg("HSET").arg(&key);
                for (name, value) in pairs {
                    set.arg(name).arg(value);
                }
                commands.push(set);
            }
        }
    }
    if let Some(ttl) = ttl {
        let mut expire = on("PEXPIRE", &key);
        expire.arg(ttl);
        commands.push(expire);
    }
    Ok(commands)
}

/// The membership of a document in a set: what it has no longer is taken away first.
fn membership(change: &Change, old: Option<Name>, new: Option<Name>, score: Option<&str>) -> Result<Commands, String> {
    let (add, remove) = if score.is_some() { ("ZADD", "ZREM") } else { ("SADD", "SREM") };
    let score = score.map(|field| number(&change.document, field)).transpose();
    let score = score.map_err(|cause| format!("its `doc` cannot be read: {cause}"))?;
    // Without a number it has no place in a sorted set.
    let new = new.filter(|_| score != Some(None));
    let mut commands = Commands::new();
    if let Some(old) = old.filter(|old| Some(old) != new.as_ref()) {
        let mut command = on(remove, &old.key);
        command.arg(&old.member);
        commands.push(command);
    }
    if let Some(new) = new {
        let mut command = on(add, &new.key);
        if let Some(Some(score)) = score {
            command.arg(score);
        }
        command.arg(&new.member);
        commands.push(command);
    }
    Ok(commands)
}

fn on(name: &str, key: &[u8]) -> Cmd {
    let mut command = redis::cmd(name);
    command.arg(key);
    command
}

/// A field as a score: a number, or a date in milliseconds since 1970.
fn number(document: &Option<Doc>, field: &str) -> Result<Option<f64>, Malformed> {
    let Some(element) = find(&[document.as_ref()], field)? else { return Ok(None) };
    let long = || element.as_u64().map(u64::cast_signed);
    let number = match element.kind {
        kind::INT32 => element.value.try_into().ok().map(|bytes| f64::from(i32::from_le_bytes(bytes))),
        // A score is a double: beyond 2^53 it is rounded.
        kind::INT64 | kind::DATE => long().map(|number| number as f64),
        kind::DOUBLE => element.as_u64().map(f64::from_bits),
        kind::DECIMAL128 => {
            let mut text = Vec::new();
            crate::sink::template::write_bare(&mut text, &element)?;
            std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok())
        }
        _ => None,
    };
    Ok(number.filter(|number| !number.is_nan()))
}
