//! Where changes come from: one file or folder per system.

mod document;
pub mod lines;
pub mod mongodb;
pub mod pubsub;
pub mod redis;

use std::{
    future::Future,
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use crate::{
    batch::Batch,
    config::{PipelineConfig, SourceConfig, StartAt},
    doctor::Finding,
    error::{Code, Fault},
    position::Positions,
};

/// How a batch is cut, from the pipeline's `batch` settings.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimits {
    /// Most changes in a batch.
    pub max_events: usize,
    /// Most bytes in a batch; one change alone may be bigger.
    pub max_bytes: usize,
    /// How long a batch that is not full waits for more.
    pub linger: Duration,
}

/// Where a source may keep what it must remember beside its positions.
#[derive(Clone, Debug)]
pub struct Place {
    /// The state directory.
    pub folder: PathBuf,
    /// The name of the pipeline.
    pub pipeline: String,
    /// Nothing is to be written.
    pub dry: bool,
}

/// What a source tells beside its changes.
#[derive(Clone)]
pub struct Hooks {
    /// Whether the pipeline has begun a copy since the host started.
    pub copied: Arc<AtomicBool>,
    /// Of events that change no document.
    pub on_ddl: mongodb::OnDdl,
    /// How far a copy is.
    pub on_copy: mongodb::OnCopy,
    /// Of a position that the system no longer had, so that the source went on elsewhere.
    pub on_lost: Arc<dyn Fn() + Send + Sync>,
    /// Of a system that answered that it has no more for now; [`AnySource::tells_its_end`] says which sources do.
    pub on_caught_up: Arc<dyn Fn() + Send + Sync>,
    /// How much further back than where the pipeline stands the system's history reaches.
    pub on_history: Arc<dyn Fn(Duration) + Send + Sync>,
}

impl Hooks {
    /// Nobody is told.
    pub fn silent() -> Self {
        Self {
            copied: Arc::default(),
            on_ddl: Arc::new(|_, _| {}),
            on_copy: Arc::new(|_| {}),
            on_lost: Arc::new(|| {}),
            on_caught_up: Arc::new(|| {}),
            on_history: Arc::new(|_| {}),
        }
    }
}

/// What a source answers when asked for more.
#[derive(Debug)]
pub enum Read {
    /// Changes, or a fresher position alone.
    Batch(Batch),
    /// The source has come to its end and will never have more (a file, a closed standard input).
    End,
}

/// A system that changes are read from.
///
/// The pipeline opens a source, reads until an error, and on a transient one opens it again at the position after the
/// last batch it got, with backoff in between. A source does not retry by itself and never skips in silence.
pub trait Source: Send {
    /// Opens each partition of the source after its position in `from`, or where the start rule says when there is none yet.
    /// Returns the positions at which it stands, to be stored before the first batch, so that a crash before it does not move the
    /// start; empty for a source without positions.
    ///
    /// # Errors
    /// [`Fault::transient`] when trying again may help, [`Fault::fatal`] when only the operator can.
    fn open(&mut self, from: &Positions) -> impl Future<Output = Result<Positions, Fault>> + Send;

    /// The next changes, at most as many as the limits allow. Waits while there are none, but comes back with a batch
    /// without changes when the position has become fresher. Cancelling it (dropping the future) loses nothing.
    ///
    /// # Errors
    /// As [`Source::open`]. After an error the source must be opened again.
    fn next(&mut self) -> impl Future<Output = Result<Read, Fault>> + Send;

    /// Nothing more will be read. A source that gave out receipts waits until all are back, and acknowledges what is safe; what it
    /// cannot acknowledge comes again.
    fn settle(&mut self) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// Any of the sources, without dynamic dispatch.
pub enum AnySource {
    /// A MongoDB change stream.
    Mongodb(Box<mongodb::MongodbSource>),
    /// Redis streams.
    Redis(Box<redis::RedisSource>),
    /// Keys of Redis.
    RedisKeys(Box<redis::KeysSource>),
    /// A subscription of Pub/Sub.
    Pubsub(Box<pubsub::PubsubSource>),
    /// A file of changes.
    File(Box<lines::FileSource>),
    /// Changes on standard input.
    Stdin(Box<lines::StdinSource>),
}

impl AnySource {
    /// The source a pipeline names; nothing is opened yet. What it must remember beside positions it keeps at `place`.
    pub fn new(pipeline: &PipelineConfig, limits: BatchLimits, hooks: Hooks, place: Place) -> Self {
        match &pipeline.source {
            SourceConfig::Mongodb(config) => {
                let target = mongodb::Target::of(pipeline);
                let source = mongodb::MongodbSource::new(config.clone(), target, limits, hooks);
                Self::Mongodb(Box::new(source.for_sinks(mongodb::sinks_follow_renames(pipeline))))
            }
            SourceConfig::Redis(config) => match config.keys.clone() {
                Some(keys) => {
                    Self::RedisKeys(Box::new(redis::KeysSource::new(config.clone(), *keys, limits, hooks, place)))
                }
                None => {
                    let source = redis::RedisSource::new(config.clone(), limits, hooks);
                    Self::Redis(Box::new(if place.dry { source.dry() } else { source }))
                }
            },
            SourceConfig::Pubsub(config) => {
                let source = pubsub::PubsubSource::new(config.clone(), limits).for_sinks(pipeline);
                Self::Pubsub(Box::new(if place.dry { source.dry() } else { source }))
            }
            SourceConfig::File(config) => Self::File(Box::new(lines::FileSource::new(config.path.clone(), limits))),
            SourceConfig::Stdin(_) => Self::Stdin(Box::new(lines::StdinSource::new(limits))),
        }
    }

    /// Whether the source can be opened in the middle again.
    pub const fn has_positions(config: &SourceConfig) -> bool {
        !matches!(config, SourceConfig::Stdin(_)) && !Self::is_acknowledged(config)
    }

    /// Whether the system keeps for itself what was read, and gives again what was not acknowledged.
    pub const fn is_acknowledged(config: &SourceConfig) -> bool {
        match config {
            SourceConfig::Redis(config) => config.group.is_some(),
            SourceConfig::Pubsub(_) => true,
            SourceConfig::Mongodb(_) | SourceConfig::File(_) | SourceConfig::Stdin(_) => false,
        }
    }

    /// Whether silence is not enough to know that there is no more for now: the system says so itself.
    pub const fn tells_its_end(config: &SourceConfig) -> bool {
        matches!(config, SourceConfig::Mongodb(_) | SourceConfig::Redis(_))
    }

    /// The positions at a token or time that the operator gives, which the system itself is asked for: it has all that follows. They come
    /// behind `before`, so that all sinks take what is read from there on, also again.
    ///
    /// # Errors
    /// The system cannot begin there, or knows no such thing.
    pub async fn positions_at(config: &SourceConfig, start: &StartAt, before: &Positions) -> Result<Positions, Fault> {
        match config {
            SourceConfig::Mongodb(config) => mongodb::MongodbSource::positions_at(config.clone(), start, before).await,
            SourceConfig::Redis(_) | SourceConfig::Pubsub(_) | SourceConfig::File(_) | SourceConfig::Stdin(_) => {
                Err(Fault::fatal(
                    Code::ConfigValue,
                    format!(
                        "{} has neither tokens nor times: they are those of a MongoDB source",
                        Self::describe(config)
                    ),
                ))
            }
        }
    }

    /// What it needs of its server beside being opened, and whether that is there. Nothing is written.
    pub(crate) async fn examine(config: &SourceConfig) -> Vec<Finding> {
        match config {
            SourceConfig::Mongodb(config) => mongodb::examine(config).await,
            SourceConfig::Redis(config) => redis::examine(config).await,
            SourceConfig::Pubsub(config) => pubsub::PubsubSource::examine(config).await,
            SourceConfig::File(_) | SourceConfig::Stdin(_) => Vec::new(),
        }
    }

    /// Kind and place without secrets, as it stands in checkpoints: `mongodb shop.[inventory,transactions]`.
    pub fn describe(config: &SourceConfig) -> String {
        match config {
            SourceConfig::Mongodb(config) => mongodb::MongodbSource::describe(config),
            SourceConfig::Redis(config) => redis::RedisSource::describe(config),
            SourceConfig::Pubsub(config) => pubsub::PubsubSource::describe(config),
            SourceConfig::File(config) => format!("file {}", config.path.display()),
            SourceConfig::Stdin(_) => "stdin".to_owned(),
        }
    }
}

impl Source for AnySource {
    async fn open(&mut self, from: &Positions) -> Result<Positions, Fault> {
        match self {
            Self::Mongodb(source) => source.open(from).await,
            Self::Redis(source) => source.open(from).await,
            Self::RedisKeys(source) => source.open(from).await,
            Self::Pubsub(source) => source.open(from).await,
            Self::File(source) => source.open(from).await,
            Self::Stdin(source) => source.open(from).await,
        }
    }

    async fn next(&mut self) -> Result<Read, Fault> {
        match self {
            Self::Mongodb(source) => source.next().await,
            Self::Redis(source) => source.next().await,
            Self::RedisKeys(source) => source.next().await,
            Self::Pubsub(source) => source.next().await,
            Self::File(source) => source.next().await,
            Self::Stdin(source) => source.next().await,
        }
    }

    async fn settle(&mut self) {
        match self {
            Self::Redis(source) => source.settle().await,
            Self::RedisKeys(source) => source.settle().await,
            Self::Pubsub(source) => source.settle().await,
            Self::Mongodb(_) | Self::File(_) | Self::Stdin(_) => {}
        }
    }
}
