//! Where changes go: one file or folder per system.

mod ledger;
pub mod lines;
pub mod mongodb;
pub mod pubsub;
pub mod redis;
pub(crate) mod template;
mod told;

use std::{future::Future, time::Duration};

use bytestring::ByteString;

use crate::{
    batch::{Delivery, Outbound, SharedOutbound},
    checkpoint::{About, Claim, Found, Holder},
    config::{LatestConfig, RedisMode, SinkConfig, SourceConfig},
    doctor::Finding,
    error::{Code, Fault},
    position::{Position, Positions, WHOLE},
};

/// The deliveries of one batch to one sink, and how far each has come.
///
/// A write that fails half way marks what is safe, so that only the rest is sent again.
#[derive(Debug)]
pub struct Writes<'a> {
    deliveries: Vec<Delivery<'a>>,
    done: Vec<bool>,
    refused: Vec<Refused>,
    partition: ByteString,
    position: Option<Position>,
    skipped: usize,
    ignored: usize,
    missed: usize,
}

/// A delivery that this sink will never take: it goes to the dead letter.
#[derive(Debug)]
pub struct Refused {
    /// Index into the deliveries.
    pub index: usize,
    /// Why, in the server's words and ours.
    pub reason: String,
}

impl<'a> Writes<'a> {
    /// All still to be written, at no position.
    pub fn new(deliveries: Vec<Delivery<'a>>) -> Self {
        let done = vec![false; deliveries.len()];
        let partition = ByteString::from_static(WHOLE);
        Self { deliveries, done, refused: Vec::new(), partition, position: None, skipped: 0, ignored: 0, missed: 0 }
    }

    /// What a batch has for the sink at `index`, all still to be written.
    pub fn of(batch: &'a Outbound, index: usize) -> Self {
        let (partition, position) = (batch.partition.clone(), batch.position.clone());
        Self { partition, position, ..Self::new(batch.for_sink(index)) }
    }

    /// What several batches have for the sink at `index`, in their order. Several have no position: a sink that keeps one gets them one
    /// by one.
    pub fn of_all(batches: &'a [SharedOutbound], index: usize) -> Self {
        match batches {
            [batch] => Self::of(batch, index),
            _ => Self::new(batches.iter().flat_map(|batch| batch.for_sink(index)).collect()),
        }
    }

    /// The partition of the source that all of them are of.
    pub fn partition(&self) -> &ByteString {
        &self.partition
    }

    /// Where the source stands behind all of them; none for a source without positions.
    pub fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// Confirms what stands at `position` or before it: the sink has it from an earlier run.
    pub fn confirm_through(&mut self, position: &Position) {
        for (delivery, done) in self.deliveries.iter().zip(&mut self.done) {
            if !*done && delivery.change.position.as_ref().is_some_and(|at| at <= position) {
                *done = true;
                self.skipped += 1;
            }
        }
    }

    /// How many deliveries the sink had already.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// Counts deliveries that the sink was told to do nothing with, beside those it marks by [`Writes::ignore`].
    pub fn pass(&mut self, count: usize) {
        self.ignored += count;
    }

    /// Counts updates of documents that the target does not have.
    pub fn miss(&mut self, count: usize) {
        self.missed += count;
    }

    /// How many updates were of documents that the target does not have.
    pub fn missed(&self) -> usize {
        self.missed
    }

    /// What is still to be written, in source order, with its index.
    pub fn pending(&self) -> impl Iterator<Item = (usize, Delivery<'a>)> + '_ {
        self.deliveries.iter().zip(&self.done).enumerate().filter(|(_, (_, done))| !**done).map(|(i, (d, _))| (i, *d))
    }

    /// Whether every delivery is safe or refused.
    pub fn is_complete(&self) -> bool {
        self.done.iter().all(|done| *done)
    }

    /// Marks a delivery as durably written, as far as this sink promises.
    pub fn confirm(&mut self, index: usize) {
        if let Some(done) = self.done.get_mut(index) {
            *done = true;
        }
    }

    /// Marks a delivery as one that the sink was told to do nothing with.
    pub fn ignore(&mut self, index: usize) {
        self.confirm(index);
        self.ignored += 1;
    }

    /// How many deliveries the sink was told to do nothing with.
    pub fn ignored(&self) -> usize {
        self.ignored
    }

    /// Marks a delivery as never to be written.
    pub fn refuse(&mut self, index: usize, reason: impl Into<String>) {
        self.confirm(index);
        self.refused.push(Refused { index, reason: reason.into() });
    }

    /// What was refused so far.
    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }

    /// The delivery at an index.
    pub fn get(&self, index: usize) -> Option<&Delivery<'a>> {
        self.deliveries.get(index)
    }

    /// How many deliveries there are in all.
    pub fn len(&self) -> usize {
        self.deliveries.len()
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }
}

/// How far a write has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrote {
    /// Every delivery is safe or refused.
    All,
    /// Something was refused, and the sink must not move its position over it before it is in the dead letter: then it is to be
    /// called again with what is left.
    Refused,
}

/// A system that changes are written to.
///
/// The pipeline writes one batch at a time to a sink, or several that wait where the sink gathers them, in order, and calls `write` again
/// with what is left after a transient fault, with backoff in between. A sink does not retry by itself.
pub trait Sink: Send {
    /// Connects, and checks what can be checked before the first change.
    ///
    /// # Errors
    /// [`Fault::transient`] when trying again may help, [`Fault::fatal`] when only the operator can.
    fn open(&mut self) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Writes what is pending, in order, and marks each delivery as confirmed or refused.
    ///
    /// # Errors
    /// As [`Sink::open`]; after a transient fault the sink is ready to be called again (it reconnects by itself).
    fn write(&mut self, writes: &mut Writes<'_>) -> impl Future<Output = Result<Wrote, Fault>> + Send;
}

/// A sink that keeps the source's positions beside its data, and moves both at once: what it has it never writes again, and a
/// host that lost the pipeline to another one cannot write any more. From [`Keeper::claim`] on, [`Sink::write`] does that.
pub trait Keeper: Sink {
    /// The record in words, without secrets.
    fn place(&self) -> String;

    /// Takes the record for a host, with a higher fence, unless another host holds it.
    ///
    /// # Errors
    /// As [`Sink::open`].
    fn claim(&mut self, me: &Holder, lease: Duration) -> impl Future<Output = Result<Claim, Fault>> + Send;

    /// What the record says, without taking it.
    ///
    /// # Errors
    /// As [`Sink::open`].
    fn read(&mut self) -> impl Future<Output = Result<Option<Found>, Fault>> + Send;

    /// Sets the positions, in a record that was claimed.
    ///
    /// # Errors
    /// As [`Sink::open`], and [`Code::Fenced`].
    fn begin(&mut self, about: &About, positions: &Positions) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Says that this host is still there.
    ///
    /// # Errors
    /// As [`Keeper::begin`].
    fn renew(&mut self) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Stores the position of batches that had nothing for this sink.
    ///
    /// # Errors
    /// As [`Keeper::begin`].
    fn settle(&mut self) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Lets another host take the record at once.
    fn release(&mut self) -> impl Future<Output = ()> + Send;

    /// Removes the record.
    ///
    /// # Errors
    /// As [`Sink::open`].
    fn remove(&mut self) -> impl Future<Output = Result<(), Fault>> + Send;
}

/// Any of the sinks, without dynamic dispatch.
pub enum AnySink {
    /// Keys of Redis.
    Redis(Box<redis::RedisSink>),
    /// MongoDB collections.
    Mongodb(Box<mongodb::MongodbSink>),
    /// Topics of Pub/Sub.
    Pubsub(Box<pubsub::PubsubSink>),
    /// Files of changes.
    File(lines::FileSink),
    /// Standard output.
    Stdout(lines::StdoutSink),
    /// What a sink would get, in a dry run.
    Dry(lines::DrySink),
}

impl AnySink {
    /// The sink a configuration names; nothing is opened yet. `pipeline` and `name` tell its record from others.
    pub fn new(config: &SinkConfig, pipeline: &str, name: &str) -> Self {
        match config {
            SinkConfig::Redis(config) => Self::Redis(Box::new(redis::RedisSink::new(config, pipeline, name))),
            SinkConfig::Mongodb(config) => Self::Mongodb(Box::new(mongodb::MongodbSink::new(config, pipeline, name))),
            SinkConfig::Pubsub(config) => Self::Pubsub(Box::new(pubsub::PubsubSink::new(config, pipeline))),
            SinkConfig::File(config) => Self::File(lines::FileSink::new(config)),
            SinkConfig::Stdout(_) => Self::Stdout(lines::StdoutSink),
        }
    }
}

impl Sink for AnySink {
    async fn open(&mut self) -> Result<(), Fault> {
        match self {
            Self::Redis(sink) => sink.open().await,
            Self::Mongodb(sink) => sink.open().await,
            Self::Pubsub(sink) => sink.open().await,
            Self::File(sink) => sink.open().await,
            Self::Stdout(sink) => sink.open().await,
            Self::Dry(sink) => sink.open().await,
        }
    }

    async fn write(&mut self, writes: &mut Writes<'_>) -> Result<Wrote, Fault> {
        match self {
            Self::Redis(sink) => sink.write(writes).await,
            Self::Mongodb(sink) => sink.write(writes).await,
            Self::Pubsub(sink) => sink.write(writes).await,
            Self::File(sink) => sink.write(writes).await,
            Self::Stdout(sink) => sink.write(writes).await,
            Self::Dry(sink) => sink.write(writes).await,
        }
    }
}

/// One arm for each sink that keeps positions; the configuration is checked for `checkpoint: sink`, so the others never get here.
macro_rules! keeper {
    ($self:ident, $sink:ident => $keep:expr) => {
        match $self {
            AnySink::Redis($sink) => $keep,
            AnySink::Mongodb($sink) => $keep,
            AnySink::Pubsub(_) | AnySink::File(_) | AnySink::Stdout(_) | AnySink::Dry(_) => Err(Fault::fatal(
                Code::Internal,
                "a sink without positions was asked for them; this is a defect of tidegate, please report it",
            )),
        }
    };
}

impl AnySink {
    /// For changes of this source.
    pub fn from_source(self, source: &SourceConfig) -> Self {
        match self {
            Self::Mongodb(sink) => Self::Mongodb(Box::new(sink.from_source(source))),
            Self::Redis(sink) => Self::Redis(Box::new(sink.from_source(source))),
            log => log,
        }
    }

    /// For changes of long ago, which must not take the newest state of a document back; a log of changes takes them all.
    pub fn late(self) -> Self {
        match self {
            Self::Mongodb(sink) => Self::Mongodb(Box::new(sink.late())),
            Self::Redis(sink) => Self::Redis(Box::new(sink.late())),
            log => log,
        }
    }

    /// What it needs of its server, and whether that is there; `keeps` says whether positions go with the data. Nothing is written.
    pub(crate) async fn examine(&mut self, keeps: bool) -> Vec<Finding> {
        match self {
            Self::Redis(sink) => sink.examine(keeps).await,
            Self::Mongodb(sink) => sink.examine(keeps).await,
            Self::Pubsub(sink) => sink.examine().await,
            Self::File(_) | Self::Stdout(_) | Self::Dry(_) => Vec::new(),
        }
    }

    /// Kind and place of a sink without secrets.
    pub fn describe(config: &SinkConfig) -> String {
        match config {
            SinkConfig::Redis(config) => format!("redis {} {}", config.mode.as_str(), config.target()),
            SinkConfig::Mongodb(config) => {
                let part = |name: &Option<String>, own: &str| name.clone().unwrap_or_else(|| own.to_owned());
                format!("mongodb {}.{}", part(&config.database, "{database}"), part(&config.collection, "{collection}"))
            }
            SinkConfig::Pubsub(config) => format!("pubsub {}/{}", config.connection.project, config.topic),
            SinkConfig::File(config) => format!("file {}", config.path.display()),
            SinkConfig::Stdout(_) => "stdout".to_owned(),
        }
    }

    /// In the place of a sink, for a dry run.
    pub fn dry(name: &str) -> Self {
        Self::Dry(lines::DrySink::new(name))
    }

    /// How values are held, where only the newest of each document are written.
    pub fn latest(&self) -> Option<LatestConfig> {
        match self {
            Self::Redis(sink) => sink.latest(),
            Self::Mongodb(_) | Self::Pubsub(_) | Self::File(_) | Self::Stdout(_) | Self::Dry(_) => None,
        }
    }

    /// Up to how many changes are written together where several batches wait: more than one batch, where their writes are under way beside
    /// each other and each batch for itself would wait for the slowest.
    pub fn gathers(&self) -> usize {
        match self {
            Self::Pubsub(sink) => sink.gathers(),
            Self::Redis(_) | Self::Mongodb(_) | Self::File(_) | Self::Stdout(_) | Self::Dry(_) => 0,
        }
    }

    /// Whether a sink writes the newest state of a document over the one before, rather than one change behind the other.
    pub const fn writes_states(config: &SinkConfig) -> bool {
        match config {
            SinkConfig::Redis(redis) => !matches!(redis.mode, RedisMode::Stream | RedisMode::List | RedisMode::Pubsub),
            SinkConfig::Mongodb(mongodb) => !matches!(mongodb.mode, crate::config::WriteMode::Append),
            SinkConfig::Pubsub(_) | SinkConfig::File(_) | SinkConfig::Stdout(_) => false,
        }
    }

    /// Whether a sink can keep positions beside its data.
    pub const fn keeps_positions(config: &SinkConfig) -> bool {
        match config {
            // What is sent to whoever listens is nowhere beside a position.
            SinkConfig::Redis(redis) => !matches!(redis.mode, RedisMode::Pubsub),
            SinkConfig::Mongodb(_) => true,
            // A topic stores nothing beside its messages.
            SinkConfig::Pubsub(_) | SinkConfig::File(_) | SinkConfig::Stdout(_) => false,
        }
    }
}

impl Keeper for AnySink {
    fn place(&self) -> String {
        match self {
            Self::Redis(sink) => sink.place(),
            Self::Mongodb(sink) => sink.place(),
            Self::Pubsub(_) | Self::File(_) | Self::Stdout(_) | Self::Dry(_) => String::new(),
        }
    }

    async fn claim(&mut self, me: &Holder, lease: Duration) -> Result<Claim, Fault> {
        keeper!(self, sink => sink.claim(me, lease).await)
    }

    async fn read(&mut self) -> Result<Option<Found>, Fault> {
        keeper!(self, sink => sink.read().await)
    }

    async fn begin(&mut self, about: &About, positions: &Positions) -> Result<(), Fault> {
        keeper!(self, sink => sink.begin(about, positions).await)
    }

    async fn renew(&mut self) -> Result<(), Fault> {
        keeper!(self, sink => sink.renew().await)
    }

    async fn settle(&mut self) -> Result<(), Fault> {
        keeper!(self, sink => sink.settle().await)
    }

    async fn release(&mut self) {
        match self {
            Self::Redis(sink) => sink.release().await,
            Self::Mongodb(sink) => sink.release().await,
            Self::Pubsub(_) | Self::File(_) | Self::Stdout(_) | Self::Dry(_) => {}
        }
    }

    async fn remove(&mut self) -> Result<(), Fault> {
        keeper!(self, sink => sink.remove().await)
    }
}

#[cfg(test)]
mod order_tests;
