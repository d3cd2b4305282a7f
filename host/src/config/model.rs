//! What a configuration file may say. Only `source` and `sinks` of a pipeline are required; each other key has a default,
//! given here and nowhere else.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use indexmap::IndexMap;
use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};

use super::{
    place::HttpPlace,
    units::{ByteSize, Moment, Span},
};

/// A whole configuration file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where checkpoints, dead letters and compiled plugins are kept.
    #[serde(default)]
    pub state: StateConfig,
    /// The admin HTTP server.
    #[serde(default)]
    pub admin: AdminConfig,
    /// The log.
    #[serde(default)]
    pub log: LogConfig,
    /// The plugin directory and the limits of plugins.
    #[serde(default)]
    pub plugins: PluginsConfig,
    /// The pipelines by name.
    pub pipelines: IndexMap<String, PipelineConfig>,
    /// How long the host drains after SIGTERM or SIGINT before it gives up.
    #[serde(default = "ten_seconds")]
    pub shutdown_timeout: Span,
}

impl Config {
    /// Where the dead letters of a pipeline go: what it says, or the file `STATE_DIR/PIPELINE.dead.jsonl`. `None` when there
    /// is no pipeline of that name.
    pub fn dead_letter(&self, pipeline: &str) -> Option<DeadLetterConfig> {
        let config = self.pipelines.get(pipeline)?;
        Some(config.dead_letter.clone().unwrap_or_else(|| {
            DeadLetterConfig::File(FileSinkConfig { path: self.state.dir.join(format!("{pipeline}.dead.jsonl")) })
        }))
    }
}

fn ten_seconds() -> Span {
    Span(Duration::from_secs(10))
}

/// `state`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StateConfig {
    /// Made when it is missing.
    pub dir: PathBuf,
}

impl Default for StateConfig {
    fn default() -> Self {
        Self { dir: PathBuf::from("./.tidegate") }
    }
}

/// `admin`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminConfig {
    /// Address and port; port 0 takes a free one, which the log names.
    #[serde(deserialize_with = "socket_address")]
    pub listen: SocketAddr,
    /// What a request must know that changes something; none: only requests from this machine may.
    pub token: Option<Secret>,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 9610)), token: None }
    }
}

fn socket_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        de::Error::custom(
            "not an IP address and a port; write for instance `127.0.0.1:9610`, or `0.0.0.0:9610` for all addresses",
        )
    })
}

/// `log`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// Lines of this level and above are written.
    pub level: LogLevel,
    /// How a line looks; the default is `pretty` on a terminal and `json` elsewhere.
    pub format: Option<LogFormat>,
    /// Top-level fields of the document that log lines about a change show, such as `warehouse_id`.
    pub fields: Vec<String>,
}

/// `log.level`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Everything.
    Trace,
    /// Every batch.
    Debug,
    /// What an operator wants to know.
    #[default]
    Info,
    /// What may become a problem.
    Warn,
    /// What is one.
    Error,
}

/// `log.format`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
}

/// `plugins`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PluginsConfig {
    /// Each `*.wasm` in it is a plugin, named by its file stem.
    pub dir: PathBuf,
    /// For all stages that set none of their own.
    pub limits: LimitsConfig,
    /// Each delivered change says in a header which plugins it was given to.
    pub provenance: bool,
    /// How a new file of a plugin takes over.
    pub swap: SwapConfig,
    /// Settings of single plugins, by name.
    pub each: IndexMap<String, EachPluginConfig>,
}

impl Default for PluginsConfig {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("./plugins"),
            limits: LimitsConfig::default(),
            provenance: false,
            swap: SwapConfig::default(),
            each: IndexMap::new(),
        }
    }
}

impl PluginsConfig {
    /// The shadow of a plugin's candidates: its own setting, else that for all; none: candidates take over at once.
    pub fn shadow(&self, plugin: &str) -> Option<&ShadowConfig> {
        let own = self.each.get(plugin).and_then(|each| each.swap.shadow.as_ref());
        match own.or(self.swap.shadow.as_ref()) {
            Some(Switch::On(shadow)) => Some(shadow),
            Some(Switch::Off) | None => None,
        }
    }

    /// The probation of a plugin's new generations, likewise; none: there is none.
    pub fn probation(&self, plugin: &str) -> Option<ProbationConfig> {
        let own = self.each.get(plugin).and_then(|each| each.swap.probation.as_ref());
        match own.or(self.swap.probation.as_ref()) {
            Some(Switch::On(probation)) => Some(*probation),
            Some(Switch::Off) => None,
            None => Some(ProbationConfig::default()),
        }
    }
}

/// What can be switched off: the words `on` and `off`, or a map with options, which means on.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase", rename = "Switch")]
pub enum Switch<T> {
    /// With these options.
    On(T),
    /// Not at all.
    Off,
}

/// `plugins.each.NAME`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EachPluginConfig {
    /// What it says wins over `plugins.swap`.
    pub swap: SwapConfig,
    /// What it may use besides the log and the metrics; nothing.
    pub grants: GrantsConfig,
}

/// `plugins.each.NAME.grants`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GrantsConfig {
    /// Hosts that it may send HTTP requests to.
    pub http: Vec<HttpPlace>,
    /// Variables of the environment that it may read.
    pub env: Vec<String>,
    /// Whether it may read the time.
    pub clock: bool,
    /// Whether it gets random numbers.
    pub random: bool,
}

/// `plugins.swap` and `plugins.each.NAME.swap`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SwapConfig {
    /// A candidate is tried on copies of live batches first; off.
    pub shadow: Option<Switch<ShadowConfig>>,
    /// A new generation is taken back by itself when it does worse than the one before; on.
    pub probation: Option<Switch<ProbationConfig>>,
}

/// `shadow`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShadowConfig {
    /// It is decided after so many changes ...
    pub changes: u64,
    /// ... or after this time, whichever comes first; but never without one change.
    pub time: Span,
    /// Share of the batches that are copied, 0 to 1.
    pub sample: f64,
    /// Who promotes.
    pub promote: PromoteBy,
    /// Most changes of which the candidate made something else, rejections that are gone included.
    pub max_different: u64,
    /// Most changes that the candidate rejects and the running generation does not.
    pub max_new_rejects: u64,
    /// Most changes that the candidate fails on (trap, time-out, ...) and the running generation does not.
    pub max_failures: u64,
}

impl Default for ShadowConfig {
    fn default() -> Self {
        Self {
            changes: 1000,
            time: Span(Duration::from_secs(60)),
            sample: 1.0,
            promote: PromoteBy::Auto,
            max_different: 0,
            max_new_rejects: 0,
            max_failures: 0,
        }
    }
}

/// `shadow.promote`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PromoteBy {
    /// The host, by the limits.
    Auto,
    /// The operator alone; the limits are only shown.
    Manual,
}

/// `probation`
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProbationConfig {
    /// How long a new generation has to prove itself; it is never confirmed before it saw a change.
    pub time: Span,
    /// Fewer failures (traps, time-outs, unusable results, ...) than this are never a jump.
    pub failures: u64,
    /// Fewer rejections than this are never a jump.
    pub rejects: u64,
    /// How many times the rate of the previous generation is a jump.
    pub factor: f64,
}

impl Default for ProbationConfig {
    fn default() -> Self {
        Self { time: Span(Duration::from_secs(300)), failures: 10, rejects: 50, factor: 3.0 }
    }
}

/// `plugins.limits` and a stage's `limits`: what is not set is taken from the level above, then from the defaults.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Linear memory of one instance; 64MiB.
    pub memory: Option<ByteSize>,
    /// CPU time of one call: the base to which each further change of a batch adds a thousandth; 1s.
    pub time: Option<Span>,
    /// Bytes a call may return; 32MiB.
    pub output: Option<ByteSize>,
    /// Log lines a second; the rest is dropped and counted; 100.
    pub log_lines: Option<u32>,
    /// The longest that one HTTP request may take, where the plugin is granted any; 5s.
    pub http_time: Option<Span>,
    /// Bytes of the body of one HTTP request, and of one response; 4MiB.
    pub http_size: Option<ByteSize>,
}

/// A pipeline.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PipelineConfig {
    /// Where changes come from.
    pub source: SourceConfig,
    /// How batches are cut.
    #[serde(default)]
    pub batch: BatchConfig,
    /// Parallel lanes; changes of one key stay in one lane. 1 to 64; 2.
    #[serde(default = "two")]
    pub lanes: u16,
    /// Plugins, in order.
    #[serde(default)]
    pub stages: Vec<StageConfig>,
    /// Where changes go, by name.
    pub sinks: IndexMap<String, SinkConfig>,
    /// Where changes go that a stage rejects or fails on; the default is the file `STATE_DIR/PIPELINE.dead.jsonl`.
    #[serde(default)]
    pub dead_letter: Option<DeadLetterConfig>,
    /// Where the position is kept.
    #[serde(default)]
    pub checkpoint: CheckpointConfig,
    /// How a source or sink that fails is tried again.
    #[serde(default)]
    pub retry: RetryConfig,
}

impl PipelineConfig {
    /// Name of the records that its sinks keep.
    pub fn record<'a>(&'a self, pipeline: &'a str) -> &'a str {
        match &self.checkpoint {
            CheckpointConfig::Sink(SinkCheckpointConfig { name: Some(name), .. }) => name,
            _ => pipeline,
        }
    }
}

fn two() -> u16 {
    2
}

/// `retry`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetryConfig {
    /// The longest that the first wait may be; each next one may be twice as long.
    pub first: Span,
    /// The longest that any wait may be.
    pub ceiling: Span,
    /// Failures in a row after which the pipeline stops; none: it never does.
    pub attempts: Option<u32>,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self { first: Span(Duration::from_millis(100)), ceiling: Span(Duration::from_secs(15)), attempts: None }
    }
}

/// `source`: exactly one of its keys.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceConfig {
    /// A MongoDB change stream.
    Mongodb(MongodbSourceConfig),
    /// A file of changes, JSON Lines; ends at the end of the file.
    File(FileSourceConfig),
    /// Changes on standard input, JSON Lines; ends when it is closed.
    Stdin(StdinSourceConfig),
}

/// `source.mongodb`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MongodbSourceConfig {
    /// Connection string.
    pub uri: Secret,
    /// One database; none: all of the deployment.
    #[serde(default)]
    pub database: Option<String>,
    /// Several databases, names or patterns.
    #[serde(default)]
    pub databases: Vec<String>,
    /// Collections, names or patterns; none: all. With `database` its collections, else `database.collection`.
    #[serde(default)]
    pub collections: Vec<String>,
    /// What is not watched of these, in the same form.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Changes of documents that are wanted; none: all.
    #[serde(default)]
    pub operations: Vec<WatchedOperation>,
    /// Aggregation stages that follow `$changeStream`, as the server knows them (`$match`, `$project`, ...).
    #[serde(default)]
    pub pipeline: Vec<serde_json::Value>,
    /// How an update gets its whole document.
    #[serde(default)]
    pub full_document: FullDocument,
    /// Whether changes come with the document as it was before.
    #[serde(default)]
    pub before: BeforeImage,
    /// Where to begin when there is no checkpoint.
    #[serde(default)]
    pub start: StartAt,
    /// What to do when the server no longer has the stored position.
    #[serde(default)]
    pub on_lost_position: OnLostPosition,
    /// When the documents that exist already are copied.
    #[serde(default)]
    pub snapshot: Snapshot,
    /// What becomes of what happens to collections and databases as a whole.
    #[serde(default)]
    pub ddl: SourceDdl,
    /// Whether changes that a mirror wrote are passed over, which keeps two mirrors that watch each other from going round.
    #[serde(default)]
    pub skip_mirrored: bool,
    /// How much history must be left before it is warned of.
    #[serde(default = "history_warning")]
    pub history_warning: Span,
}

const fn history_warning() -> Span {
    Span(Duration::from_secs(3600))
}

/// `source.mongodb.operations`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WatchedOperation {
    /// A document is new.
    Insert,
    /// Parts of a document changed.
    Update,
    /// A document was written anew.
    Replace,
    /// A document is gone.
    Delete,
}

impl WatchedOperation {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Insert, Self::Update, Self::Replace, Self::Delete];

    /// As change streams call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Replace => "replace",
            Self::Delete => "delete",
        }
    }
}

/// `source.mongodb.snapshot`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Snapshot {
    /// Never: only changes are sent.
    #[default]
    Never,
    /// Before the first change, once.
    Initial,
    /// The same, but only collections that the MongoDB sink has not.
    Missing,
    /// At each start of the pipeline.
    Always,
    /// Once, and no changes follow: the pipeline ends.
    Only,
}

/// `source.mongodb.ddl`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceDdl {
    /// It is told in the log and counted.
    #[default]
    Ignore,
    /// It is a change like any other: `create`, `drop`, `rename`, ...
    Deliver,
}

/// `source.mongodb.full_document`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FullDocument {
    /// The host fetches the documents of a batch's updates in one `find`: the state at that time, not at the update's.
    #[default]
    Lookup,
    /// Updates come with their description alone.
    Off,
    /// The server's post-image, where the collection keeps them.
    WhenAvailable,
    /// The server's post-image, in the very state of the change; an update without one stops the pipeline.
    Required,
}

/// `source.mongodb.before`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BeforeImage {
    /// Changes come without it.
    #[default]
    Off,
    /// The server's pre-image, where the collection keeps them.
    WhenAvailable,
    /// The server's pre-image; an update, replace or delete without one stops the pipeline.
    Required,
}

impl FullDocument {
    /// Whether a document may come in a later state than that of its change. Then the target is ahead of the stream, and the
    /// description of an update does not fit it.
    pub const fn may_be_later(self) -> bool {
        matches!(self, Self::Lookup)
    }
}

/// `source.mongodb.start`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartAt {
    /// With the first change after the pipeline starts; documents that exist already are not sent.
    #[default]
    Now,
    /// Behind the event with this resume token.
    Token(String),
    /// With the changes since this time.
    Time(Moment),
}

/// `source.mongodb.on_lost_position`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLostPosition {
    /// The pipeline stops.
    #[default]
    Stop,
    /// It goes on with the oldest change the server still has.
    Oldest,
    /// It goes on with the changes from now on.
    Newest,
}

/// `source.file`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSourceConfig {
    /// The file.
    pub path: PathBuf,
}

/// `source.stdin`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StdinSourceConfig {}

/// `batch`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchConfig {
    /// Most changes in a batch, 1 to 100000.
    pub max_events: u32,
    /// Most bytes in a batch.
    pub max_bytes: ByteSize,
    /// How long a batch that is not full waits for more.
    pub linger: Span,
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self { max_events: 1000, max_bytes: ByteSize(8 << 20), linger: Span(Duration::from_millis(5)) }
    }
}

/// One stage.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageConfig {
    /// Name of the plugin: the file stem in the plugin directory.
    pub plugin: String,
    /// Which changes the stage sees; the others pass it by.
    #[serde(default)]
    pub when: WhenConfig,
    /// The plugin's own configuration.
    #[serde(default)]
    pub config: Option<serde_json::Value>,
    /// Limits of this stage.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// What is done when the plugin fails on everything.
    #[serde(default)]
    pub breaker: BreakerConfig,
}

/// A stage's `breaker`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BreakerConfig {
    /// Changes in a row that the plugin must fail on, each alone, before the breaker trips.
    pub after: u32,
    /// What happens then.
    pub action: BreakerAction,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self { after: 16, action: BreakerAction::Pause }
    }
}

/// `breaker.action`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerAction {
    /// The pipeline pauses until another generation of the plugin is loaded or the operator resumes it.
    Pause,
    /// Changes go to the dead letter unseen by the plugin, but for one of each batch that tries it.
    DeadLetter,
}

/// `when`: both lists must match; an absent or empty one always does.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WhenConfig {
    /// `database.collection`, or `database.*`.
    pub ns: Vec<String>,
    /// Operations.
    pub op: Vec<OperationName>,
}

/// An operation in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OperationName {
    /// insert
    Insert,
    /// update
    Update,
    /// replace
    Replace,
    /// delete
    Delete,
    /// read
    Read,
}

/// A sink: exactly one of its keys.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SinkConfig {
    /// A Redis stream.
    Redis(RedisSinkConfig),
    /// MongoDB collections.
    Mongodb(MongodbSinkConfig),
    /// A file of changes, JSON Lines.
    File(FileSinkConfig),
    /// Standard output, JSON Lines.
    Stdout(StdoutSinkConfig),
}

/// `redis` as a sink
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedisSinkConfig {
    /// `redis://` or `rediss://`.
    pub url: Secret,
    /// The stream entries are added to; a router may choose another.
    pub stream: String,
    /// How a document is written into field `doc`.
    #[serde(default)]
    pub format: DocumentFormat,
    /// Roughly how many entries a stream keeps (`MAXLEN ~`); none: all.
    #[serde(default)]
    pub maxlen: Option<u64>,
    /// The sink waits while so many hundredths of the server's `maxmemory` are in use; 100: until the server refuses. 1 to 100; 95.
    #[serde(default = "ninety_five")]
    pub pause_at: u8,
    /// How long one round trip may take before the connection is given up.
    #[serde(default = "ten_seconds")]
    pub timeout: Span,
}

/// `mongodb` as a sink
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MongodbSinkConfig {
    /// Connection string.
    pub uri: Secret,
    /// The database written to; none: the one the change is from. `{database}` and `{collection}` stand for the change's own.
    #[serde(default)]
    pub database: Option<String>,
    /// The collection written to, with the same words; none: the one the change is from. A router may choose another.
    #[serde(default)]
    pub collection: Option<String>,
    /// What becomes of a change.
    #[serde(default)]
    pub mode: WriteMode,
    /// What is done with what happened to collections and databases as a whole.
    #[serde(default)]
    pub ddl: DdlConfig,
    /// When a write counts as safe.
    #[serde(default)]
    pub write_concern: WriteConcernConfig,
}

/// `ddl` of a MongoDB sink
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DdlConfig {
    /// Collections and views that were made.
    pub create: DdlAction,
    /// Indexes that were made or dropped.
    pub indexes: DdlAction,
    /// Options of collections and indexes that were changed.
    pub modify: DdlAction,
    /// Collections and databases that were dropped.
    pub drop: DdlAction,
    /// Collections that got another name.
    pub rename: DdlAction,
}

impl Default for DdlConfig {
    fn default() -> Self {
        let (apply, ignore) = (DdlAction::Apply, DdlAction::Ignore);
        Self { create: apply, indexes: apply, modify: apply, drop: ignore, rename: ignore }
    }
}

/// What a MongoDB sink does with a change of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DdlAction {
    /// The same is done to the target.
    Apply,
    /// It is told in the log and counted.
    Ignore,
}

/// `write_concern` of a MongoDB sink
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WriteConcernConfig {
    /// How many members must have it.
    pub w: Members,
    /// Whether it must be in their journals.
    pub j: bool,
    /// How long a write waits for them before it is tried again; none: as long as it takes.
    pub wtimeout: Option<Span>,
}

impl Default for WriteConcernConfig {
    fn default() -> Self {
        Self { w: Members::Majority, j: true, wtimeout: None }
    }
}

/// `write_concern.w`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Members {
    /// Most of them: what survives an election.
    Majority,
    /// So many.
    Count(u32),
    /// As the replica set's settings define under this name.
    Named(String),
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Word;
        impl Visitor<'_> for Word {
            type Value = Members;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("`majority`, a number of members or the name of a write concern")
            }

            fn visit_u64<E: de::Error>(self, count: u64) -> Result<Members, E> {
                Ok(Members::Count(u32::try_from(count).unwrap_or(u32::MAX)))
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Members, E> {
                Ok(if word == "majority" { Members::Majority } else { Members::Named(word.to_owned()) })
            }
        }
        deserializer.deserialize_any(Word)
    }
}

/// `mode` of a MongoDB sink
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WriteMode {
    /// The document of the same key is replaced, updated, made or deleted: the target becomes what the source is.
    #[default]
    Mirror,
    /// Whole documents are inserted or replaced by key; nothing is deleted: the target keeps what the source forgets.
    Upsert,
    /// A document of its own is added for each change: the target is a journal.
    Append,
}

/// `format`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DocumentFormat {
    /// Plain JSON: ObjectId as hex text, dates as ISO 8601.
    #[default]
    Json,
    /// MongoDB canonical Extended JSON v2.
    Extjson,
    /// The BSON bytes as they are.
    Bson,
}

/// `file` as a sink
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSinkConfig {
    /// The file; made when it is missing, added to when it is there. A router's target is another file in its folder.
    pub path: PathBuf,
}

/// `stdout` as a sink
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StdoutSinkConfig {}

/// `dead_letter`: exactly one of its keys.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadLetterConfig {
    /// A file, JSON Lines.
    File(FileSinkConfig),
    /// A Redis stream.
    Redis(RedisDeadLetterConfig),
    /// A MongoDB collection.
    Mongodb(MongodbDeadLetterConfig),
}

/// `dead_letter.redis`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedisDeadLetterConfig {
    /// `redis://` or `rediss://`.
    pub url: Secret,
    /// The stream.
    pub stream: String,
    /// How long one round trip may take before the connection is given up.
    #[serde(default = "ten_seconds")]
    pub timeout: Span,
}

/// `dead_letter.mongodb`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MongodbDeadLetterConfig {
    /// Connection string.
    pub uri: Secret,
    /// The database.
    pub database: String,
    /// The collection; several pipelines may share one.
    pub collection: String,
    /// How long one write may take, the wait for a majority of the servers included, before it is tried again.
    #[serde(default = "ten_seconds")]
    pub timeout: Span,
}

/// `checkpoint`: a bare word or a map with options.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckpointConfig {
    /// A file in the state directory.
    File(FileCheckpointConfig),
    /// In each sink, together with the data: effectively once.
    Sink(SinkCheckpointConfig),
    /// A document in MongoDB.
    Mongodb(MongodbCheckpointConfig),
    /// A hash in Redis.
    Redis(RedisCheckpointConfig),
}

/// `checkpoint.sink`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SinkCheckpointConfig {
    /// How long a host that gives no sign keeps the pipeline.
    pub lease: Span,
    /// Name of the records in the sinks, for pipelines of the same name that write to the same server; the pipeline's name.
    pub name: Option<String>,
}

impl Default for SinkCheckpointConfig {
    fn default() -> Self {
        Self { lease: five_seconds(), name: None }
    }
}

/// `checkpoint.mongodb`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MongodbCheckpointConfig {
    /// Connection string.
    pub uri: Secret,
    /// The database.
    #[serde(default = "tidegate")]
    pub database: String,
    /// The collection.
    #[serde(default = "checkpoints")]
    pub collection: String,
    /// As in `checkpoint.file`.
    #[serde(default = "checkpoint_interval")]
    pub interval: Span,
    /// How long a host that gives no sign keeps the pipeline.
    #[serde(default = "five_seconds")]
    pub lease: Span,
}

/// `checkpoint.redis`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedisCheckpointConfig {
    /// `redis://` or `rediss://`.
    pub url: Secret,
    /// The hash; `tidegate:checkpoint:PIPELINE`.
    #[serde(default)]
    pub key: Option<String>,
    /// As in `checkpoint.file`.
    #[serde(default = "checkpoint_interval")]
    pub interval: Span,
    /// How long a host that gives no sign keeps the pipeline.
    #[serde(default = "five_seconds")]
    pub lease: Span,
    /// How long one round trip may take before the connection is given up.
    #[serde(default = "ten_seconds")]
    pub timeout: Span,
}

fn tidegate() -> String {
    "tidegate".to_owned()
}

fn ninety_five() -> u8 {
    95
}

fn checkpoints() -> String {
    "checkpoints".to_owned()
}

fn checkpoint_interval() -> Span {
    Span(Duration::from_millis(200))
}

fn five_seconds() -> Span {
    Span(Duration::from_secs(5))
}

/// `checkpoint.file`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileCheckpointConfig {
    /// The position is written at most this often; what came after the last write is sent again after a crash.
    pub interval: Span,
}

impl Default for FileCheckpointConfig {
    fn default() -> Self {
        Self { interval: checkpoint_interval() }
    }
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self::File(FileCheckpointConfig::default())
    }
}

/// Text that may hold a password: its `Debug` form hides it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for the client that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}
