//! Where changes go: one file or folder per system.

pub mod lines;
pub mod redis;

use std::future::Future;

use crate::{batch::Delivery, config::SinkConfig, error::Fault};

/// The deliveries of one batch to one sink, and how far each has come.
///
/// A write that fails half way marks what is safe, so that only the rest is sent again.
#[derive(Debug)]
pub struct Writes<'a> {
    deliveries: Vec<Delivery<'a>>,
    done: Vec<bool>,
    refused: Vec<Refused>,
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
    /// All still to be written.
    pub fn new(deliveries: Vec<Delivery<'a>>) -> Self {
        let done = vec![false; deliveries.len()];
        Self { deliveries, done, refused: Vec::new() }
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

/// A system that changes are written to.
///
/// The pipeline writes one batch at a time to a sink, in order, and calls `write` again with what is left after a
/// transient fault, with backoff in between. A sink does not retry by itself.
pub trait Sink: Send {
    /// Connects, and checks what can be checked before the first change.
    ///
    /// # Errors
    /// [`Fault::transient`] when trying again may help, [`Fault::fatal`] when only the operator can.
    fn open(&mut self) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Writes what is pending, in order, and marks each delivery as confirmed or refused. Returns `Ok` only when all are.
    ///
    /// # Errors
    /// As [`Sink::open`]; after a transient fault the sink is ready to be called again (it reconnects by itself).
    fn write(&mut self, writes: &mut Writes<'_>) -> impl Future<Output = Result<(), Fault>> + Send;
}

/// Any of the sinks, without dynamic dispatch.
pub enum AnySink {
    /// Redis streams.
    Redis(Box<redis::RedisSink>),
    /// Files of changes.
    File(lines::FileSink),
    /// Standard output.
    Stdout(lines::StdoutSink),
}

impl AnySink {
    /// The sink a configuration names; nothing is opened yet.
    pub fn new(config: &SinkConfig) -> Self {
        match config {
            SinkConfig::Redis(config) => Self::Redis(Box::new(redis::RedisSink::new(config))),
            SinkConfig::File(config) => Self::File(lines::FileSink::new(config)),
            SinkConfig::Stdout(_) => Self::Stdout(lines::StdoutSink),
        }
    }
}

impl Sink for AnySink {
    async fn open(&mut self) -> Result<(), Fault> {
        match self {
            Self::Redis(sink) => sink.open().await,
            Self::File(sink) => sink.open().await,
            Self::Stdout(sink) => sink.open().await,
        }
    }

    async fn write(&mut self, writes: &mut Writes<'_>) -> Result<(), Fault> {
        match self {
            Self::Redis(sink) => sink.write(writes).await,
            Self::File(sink) => sink.write(writes).await,
            Self::Stdout(sink) => sink.write(writes).await,
        }
    }
}
