//! Where a pipeline's position is kept between runs, and which host may move it.
//!
//! A *record* holds the positions of a pipeline, a *fence* that rises with each host that takes the pipeline over, and a lease of
//! the host that runs it. The same record lives in a file of the state directory, in MongoDB, Redis or Firestore, or in each sink beside the
//! data (`checkpoint: sink`), where [`crate::sink`] writes it together with the changes.

pub(crate) mod file;
pub(crate) mod firestore;
pub(crate) mod mongodb;
mod record;
pub(crate) mod redis;

use std::{path::PathBuf, time::Duration};

pub use record::{About, Claim, Found, Holder, StageGeneration, fenced};

use self::{file::FileRecord, firestore::FirestoreRecord, mongodb::MongoRecord, redis::RedisRecord};
use crate::{
    config::{CheckpointConfig, PipelineConfig},
    doctor::Finding,
    error::{Code, Fault},
    firestore::FirestoreConnector,
    mongodb::{MongoConnector, examine::Needs},
    position::Positions,
    redis::Connector,
    sink::{AnySink, Keeper as _},
    state::StateDir,
};

/// The record of one pipeline outside of its sinks.
pub struct Store {
    pipeline: String,
    source: String,
    me: Holder,
    place: Place,
    lease: Duration,
    /// How often positions are written at most.
    pub interval: Duration,
    fence: u64,
}

enum Place {
    File(FileRecord),
    Mongodb(Box<(MongoConnector, MongoRecord)>),
    Redis(Box<(Connector, RedisRecord)>),
    Firestore(Box<(FirestoreConnector, FirestoreRecord)>),
}

impl Store {
    /// The store a configuration names; none when positions are kept in the sinks. Nothing is connected yet. `source` describes what
    /// the positions belong to, without secrets.
    pub fn new(config: &CheckpointConfig, state: &StateDir, pipeline: &str, source: &str) -> Option<Self> {
        let (place, interval, lease) = match config {
            CheckpointConfig::Sink(_) => return None,
            CheckpointConfig::File(file) => {
                (Place::File(FileRecord::new(state.path(), pipeline)), file.interval.0, Duration::ZERO)
            }
            CheckpointConfig::Mongodb(config) => {
                let record = MongoRecord {
                    database: config.database.clone(),
                    collection: config.collection.clone(),
                    id: pipeline.to_owned(),
                    pipeline: pipeline.to_owned(),
                };
                let place = Place::Mongodb(Box::new((MongoConnector::new(config.uri.clone()), record)));
                (place, config.interval.0, config.lease.0)
            }
            CheckpointConfig::Redis(config) => {
                let key = config.key.clone().unwrap_or_else(|| format!("tidegate:checkpoint:{pipeline}"));
                let rights = format!("~{key} +evalsha +script|load +time +hget +hmget +hgetall +hset +hdel");
                let connector = Connector::new(config.url.clone(), config.timeout.0).tls(&config.tls).rights(rights);
                let record = RedisRecord { key, pipeline: pipeline.to_owned() };
                let place = Place::Redis(Box::new((connector, record)));
                (place, config.interval.0, config.lease.0)
            }
            CheckpointConfig::Firestore(config) => {
                let connector = FirestoreConnector::new(config);
                let record = FirestoreRecord::new(config, &connector, pipeline);
                (Place::Firestore(Box::new((connector, record))), config.interval.0, config.lease.0)
            }
        };
        let (pipeline, source, me) = (pipeline.to_owned(), source.to_owned(), state.holder().clone());
        Some(Self { pipeline, source, me, place, lease, interval, fence: 0 })
    }

    /// The place in words, without secrets.
    pub fn place(&self) -> String {
        match &self.place {
            Place::File(file) => file.path().display().to_string(),
            Place::Mongodb(place) => place.1.place(&place.0),
            Place::Redis(place) => place.1.place(&place.0),
            Place::Firestore(place) => place.1.place(&place.0),
        }
    }

    /// The file, when it is one.
    pub fn path(&self) -> Option<PathBuf> {
        match &self.place {
            Place::File(file) => Some(file.path().to_owned()),
            _ => None,
        }
    }

    /// Whether the record could be written, as far as it can be told without doing so.
    pub(crate) async fn examine(&mut self) -> Vec<Finding> {
        match &mut self.place {
            Place::File(_) => Vec::new(),
            Place::Mongodb(place) => {
                let (connector, record) = &mut **place;
                let actions = &["find", "insert", "update", "remove"];
                let needs = Needs { actions, database: Some(&record.database), role: "readWrite" };
                connector.examine(false, &[needs]).await
            }
            Place::Redis(place) => place.0.examine(true).await.0,
            Place::Firestore(place) => match place.1.may_write(&mut place.0).await {
                Ok(()) => vec![Finding::good("the account may write to it")],
                Err(fault) => vec![Finding::from(&fault)],
            },
        }
    }

    /// How often the lease is to be renewed; none where the lock of the state directory is the lease.
    pub fn renewal(&self) -> Option<Duration> {
        (!self.lease.is_zero()).then(|| self.lease / 3)
    }

    /// How often whoever waits for the pipeline looks, where each look costs; none where it does not.
    pub fn look(&self) -> Option<Duration> {
        matches!(self.place, Place::Firestore(_)).then(|| self.lease / 6)
    }

    /// Takes the pipeline for this host, unless another one runs it. What is found was checked to be of this pipeline.
    ///
    /// # Errors
    /// [`Code::CheckpointUnreadable`] when it says nothing this pipeline can use, or those of the server.
    pub async fn claim(&mut self) -> Result<Claim, Fault> {
        let (me, lease, floor) = (&self.me, self.lease, self.fence);
        let claim = match &mut self.place {
            // The lock of the state directory is held: nobody else runs a pipeline of this file.
            Place::File(file) => {
                let file = file.clone();
                let mut found = blocking(move || file.read()).await?.unwrap_or_default();
                found.fence = found.fence.max(floor) + 1;
                Claim::Taken(found)
            }
            Place::Mongodb(place) => place.1.claim(&mut place.0, me, lease, floor).await?,
            Place::Redis(place) => place.1.claim(&mut place.0, me, lease, floor).await?,
            Place::Firestore(place) => place.1.claim(&mut place.0, me, lease, floor).await?,
        };
        if let Claim::Taken(found) = &claim {
            self.fence = found.fence;
            if let Some(about) = &found.about {
                about.check(&self.place(), &self.pipeline, &self.source)?;
            }
        }
        Ok(claim)
    }

    /// What is stored, without taking it.
    ///
    /// # Errors
    /// As [`Store::claim`].
    pub async fn read(&mut self) -> Result<Option<Found>, Fault> {
        let found = match &mut self.place {
            Place::File(file) => {
                let file = file.clone();
                blocking(move || file.read()).await
            }
            Place::Mongodb(place) => place.1.read(&mut place.0).await,
            Place::Redis(place) => place.1.read(&mut place.0).await,
            Place::Firestore(place) => place.1.read(&mut place.0).await,
        }?;
        if let Some(about) = found.as_ref().and_then(|found| found.about.as_ref()) {
            about.check(&self.place(), &self.pipeline, &self.source)?;
        }
        Ok(found)
    }

    /// Stores positions durably: after a crash either these or the ones before are read.
    ///
    /// # Errors
    /// [`Code::Fenced`] when another host took the pipeline, [`Code::CheckpointWrite`], or those of the server.
    pub async fn store(
        &mut self,
        positions: &Positions,
        batch: u64,
        stages: Vec<StageGeneration>,
    ) -> Result<(), Fault> {
        let about = About::new(&self.pipeline, &self.source, batch, stages);
        loop {
            let (fence, lease) = (self.fence, self.lease);
            let stored = match &mut self.place {
                Place::File(file) => {
                    let (file, about, positions) = (file.clone(), about.clone(), positions.clone());
                    blocking(move || file.write(about, fence, positions)).await
                }
                Place::Mongodb(place) => place.1.store(&mut place.0, fence, lease, &about, positions).await,
                Place::Redis(place) => place.1.store(&mut place.0, fence, lease, &about, positions).await,
                Place::Firestore(place) => place.1.store(&mut place.0, fence, lease, &about, positions).await,
            };
            match stored {
                Err(fault) if fault.code == Code::Fenced => self.retake(fault).await?,
                stored => return stored,
            }
        }
    }

    /// Says that this host is still there.
    ///
    /// # Errors
    /// As [`Store::store`].
    pub async fn renew(&mut self) -> Result<(), Fault> {
        loop {
            let (fence, lease) = (self.fence, self.lease);
            let renewed = match &mut self.place {
                Place::File(_) => Ok(()),
                Place::Mongodb(place) => place.1.renew(&mut place.0, fence, lease).await,
                Place::Redis(place) => place.1.renew(&mut place.0, fence, lease).await,
                Place::Firestore(place) => place.1.renew(&mut place.0, fence, lease).await,
            };
            match renewed {
                Err(fault) if fault.code == Code::Fenced => self.retake(fault).await?,
                renewed => return renewed,
            }
        }
    }

    /// A store that lost its newest writes knows a lower fence than ours: nobody took over, and we take it again.
    async fn retake(&mut self, fault: Fault) -> Result<(), Fault> {
        let stored = self.read().await?.map_or(0, |found| found.fence);
        if stored >= self.fence {
            return Err(fault);
        }
        match self.claim().await? {
            Claim::Taken(_) => Ok(()),
            Claim::Held(..) => Err(fault),
        }
    }

    /// Lets another host take the pipeline at once; a store that cannot be reached lets it when the lease is over.
    pub async fn release(&mut self) {
        let fence = self.fence;
        let released = match &mut self.place {
            Place::File(_) => Ok(()),
            Place::Mongodb(place) => place.1.release(&mut place.0, fence).await,
            Place::Redis(place) => place.1.release(&mut place.0, fence).await,
            Place::Firestore(place) => place.1.release(&mut place.0, fence).await,
        };
        if let Err(fault) = released {
            tracing::debug!(event = "lease_kept", pipeline = %self.pipeline, "the lease runs out by itself: {}", fault.message);
        }
    }

    /// Removes the record.
    ///
    /// # Errors
    /// Those of the server or the disk.
    pub async fn remove(&mut self) -> Result<(), Fault> {
        match &mut self.place {
            Place::File(file) => {
                let file = file.clone();
                blocking(move || file.remove()).await
            }
            Place::Mongodb(place) => place.1.remove(&mut place.0).await,
            Place::Redis(place) => place.1.remove(&mut place.0).await,
            Place::Firestore(place) => place.1.remove(&mut place.0).await,
        }
    }
}

/// The stored positions of a pipeline, wherever they are, without taking it; none where nothing was stored.
///
/// # Errors
/// As [`Store::read`].
pub async fn stored(
    config: &PipelineConfig,
    state: &StateDir,
    pipeline: &str,
    source: &str,
) -> Result<Option<Positions>, Fault> {
    if let Some(mut store) = Store::new(&config.checkpoint, state, pipeline, source) {
        return Ok(store.read().await?.map(|found| found.positions));
    }
    let mut oldest: Option<Positions> = None;
    for (name, sink) in &config.sinks {
        let mut sink = AnySink::new(sink, config.record(pipeline), name);
        let Some(found) = sink.read().await? else { continue };
        if let Some(about) = &found.about {
            about.check(&sink.place(), pipeline, source)?;
        }
        oldest = Some(oldest.map_or(found.positions.clone(), |oldest| oldest.older(&found.positions)));
    }
    Ok(oldest)
}

/// Runs what touches the disk off the runtime's threads.
async fn blocking<T: Send + 'static>(run: impl FnOnce() -> Result<T, Fault> + Send + 'static) -> Result<T, Fault> {
    tokio::task::spawn_blocking(run)
        .await
        .unwrap_or_else(|cause| Err(Fault::fatal(Code::Internal, format!("a task broke: {cause}"))))
}
