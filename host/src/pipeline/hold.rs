//! Takes a pipeline for this host before it runs, and finds out where it goes on.

use std::{sync::Arc, time::Duration};

use tokio::sync::{Mutex, oneshot};
use tokio_util::sync::CancellationToken;

use super::retry::{Backoff, pause};
use crate::{
    checkpoint::{About, Claim, Found, Holder, Store},
    error::{Code, Fault},
    position::Positions,
    sink::{AnySink, Keeper as _, Sink as _},
    state::StateDir,
    status::{PipelineStatus, State},
};

/// Where positions are kept while the pipeline runs.
pub(super) enum Keep {
    /// Nowhere: the source has none.
    Nowhere,
    /// In a store of its own.
    Store(Arc<Mutex<Store>>),
    /// In the sinks.
    Sinks,
}

/// What a pipeline begins with.
pub(super) struct Start {
    pub(super) keep: Keep,
    /// Where the source is opened.
    pub(super) from: Positions,
    /// Whether nothing was ever stored: the opening positions of the source are.
    pub(super) fresh: bool,
}

/// Everything that taking a pipeline needs.
pub(super) struct Taker<'a> {
    pub(super) pipeline: &'a str,
    pub(super) source: &'a str,
    pub(super) state: &'a StateDir,
    pub(super) standby: bool,
    pub(super) status: &'a PipelineStatus,
    /// Waiting ends with it.
    pub(super) stop: &'a CancellationToken,
    pub(super) backoff: Backoff,
}

/// How often a standby looks whether the pipeline is free, at least.
const LOOK: Duration = Duration::from_millis(500);

impl Taker<'_> {
    /// Takes the store; none when the pipeline was told to stop meanwhile.
    pub(super) async fn store(mut self, mut store: Store) -> Result<Option<Start>, Fault> {
        loop {
            match store.claim().await {
                Ok(Claim::Taken(found)) => {
                    self.status.checkpoint_failed(None);
                    let fresh = found.about.is_none();
                    let place = store.place();
                    self.check_ran(&place, fresh)?;
                    if !fresh {
                        self.state.remember(self.pipeline, &place)?;
                    }
                    let keep = Keep::Store(Arc::new(Mutex::new(store)));
                    return Ok(Some(Start { keep, from: found.positions, fresh }));
                }
                Ok(Claim::Held(holder, left)) => {
                    let look = store.look().map_or(LOOK, |look| look.max(LOOK));
                    if !self.wait_for(&holder, left, look, &store.place()).await? {
                        return Ok(None);
                    }
                }
                Err(fault) => {
                    self.status.checkpoint_failed(Some(&fault));
                    if !self.again(fault).await? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Takes the record of every sink, and finds the oldest position. Always in the same order, so that of two hosts one gets all.
    pub(super) async fn sinks(
        mut self,
        sinks: &mut [(String, AnySink)],
        lease: Duration,
    ) -> Result<Option<Start>, Fault> {
        let mut order: Vec<usize> = (0..sinks.len()).collect();
        order.sort_by(|a, b| sinks.get(*a).map(|s| &s.0).cmp(&sinks.get(*b).map(|s| &s.0)));
        let mut found: Vec<(String, Found)> = Vec::new();
        let mut places = Vec::new();
        for index in order {
            let Some((name, sink)) = sinks.get_mut(index) else { continue };
            loop {
                let claimed = match sink.claim(self.state.holder(), lease).await {
                    // What makes the sink unfit for positions is looked at when it is known that it keeps them.
                    Ok(Claim::Taken(found)) => sink.open().await.map(|()| Claim::Taken(found)),
                    other => other,
                };
                match claimed {
                    Ok(Claim::Taken(taken)) => {
                        self.status.sink_connected(index);
                        if let Some(about) = &taken.about {
                            about.check(&sink.place(), self.pipeline, self.source)?;
                        }
                        places.push(sink.place());
                        found.push((name.clone(), taken));
                        break;
                    }
                    Ok(Claim::Held(holder, left)) => {
                        if !self.wait_for(&holder, left, LOOK, &sink.place()).await? {
                            return Ok(None);
                        }
                    }
                    Err(fault) => {
                        self.status.sink_failed(index, &fault);
                        if !self.again(fault).await? {
                            return Ok(None);
                        }
                    }
                }
            }
        }
        let fresh = found.iter().all(|(_, found)| found.about.is_none());
        let missing: Vec<&str> =
            found.iter().filter(|(_, found)| found.about.is_none()).map(|(name, _)| name.as_str()).collect();
        let place = places.join("; ");
        if !fresh && !missing.is_empty() {
            let pipeline = self.pipeline;
            return Err(Fault::fatal(
                Code::CheckpointMissing,
                format!(
                    "pipeline `{pipeline}` ran before, but its sink `{}` has no position ({place}); if the sink is new, give it one with \
                     `tidegate checkpoint set CONFIG {pipeline} --sink {}`, else bring its data back",
                    missing.join("`, `"),
                    missing.first().copied().unwrap_or_default()
                ),
            ));
        }
        self.check_ran(&place, fresh)?;
        if !fresh {
            self.state.remember(self.pipeline, &place)?;
        }
        let from = found.into_iter().map(|(_, found)| found.positions).reduce(|all, one| all.older(&one));
        Ok(Some(Start { keep: Keep::Sinks, from: from.unwrap_or_default(), fresh }))
    }

    /// A pipeline that ran before and finds nothing must not begin from now in silence.
    fn check_ran(&self, place: &str, fresh: bool) -> Result<(), Fault> {
        let Some(before) = self.state.ran(self.pipeline).filter(|_| fresh) else { return Ok(()) };
        let pipeline = self.pipeline;
        Err(Fault::fatal(
            Code::CheckpointMissing,
            format!(
                "pipeline `{pipeline}` ran before, with its checkpoint in {before}, and finds none in {place}: beginning from now would lose \
                 what happened since; bring the checkpoint back, carry it over with `tidegate checkpoint set CONFIG {pipeline}`, or \
                 begin anew on purpose with `tidegate checkpoint reset CONFIG {pipeline}`"
            ),
        ))
    }

    /// Another host runs the pipeline: waits a little in standby, else that is the end; false when told to stop.
    async fn wait_for(&mut self, holder: &Holder, left: Duration, look: Duration, place: &str) -> Result<bool, Fault> {
        let pipeline = self.pipeline;
        if !self.standby {
            return Err(Fault::fatal(
                Code::PipelineHeld,
                format!(
                    "pipeline `{pipeline}` is run by {holder} ({place}; its lease lasts {left:.1?} more); stop that host, or start this one with \
                     --standby to take over when the other is gone"
                ),
            ));
        }
        if self.status.state() != State::Standby {
            tracing::info!(
                event = "pipeline_standby",
                pipeline,
                "pipeline {pipeline} is run by {holder}: this host waits to take over"
            );
            self.status.set_state(State::Standby);
        }
        Ok(tokio::select! {
            () = tokio::time::sleep(look.min(left.max(Duration::from_millis(50)))) => true,
            () = self.stop.cancelled() => false,
        })
    }

    async fn again(&mut self, fault: Fault) -> Result<bool, Fault> {
        let delay = self.backoff.after(&fault)?;
        tracing::warn!(
            event = "checkpoint_retry",
            pipeline = self.pipeline,
            code = fault.code.as_str(),
            "the checkpoint cannot be read, it is tried again: {}",
            fault.message
        );
        Ok(pause(delay, self.stop).await)
    }
}

/// What a sink is told of a pipeline that begins: the opening positions, which it stores before the first batch.
pub(super) struct Begin {
    pub(super) positions: Positions,
    pub(super) done: oneshot::Sender<()>,
}

/// Makes the opening positions durable.
pub(super) struct Opening {
    pub(super) pipeline: Arc<str>,
    pub(super) state: Arc<StateDir>,
    /// In the store, or in the sinks.
    pub(super) store: Option<Arc<Mutex<Store>>>,
    pub(super) sinks: Vec<oneshot::Sender<Begin>>,
    pub(super) frontier: Option<oneshot::Sender<Positions>>,
    pub(super) place: String,
}

impl Opening {
    /// Makes the place durable at which a new pipeline begins, before it reads anything: a crash does not move it. False when a
    /// sink is gone, because the pipeline ends.
    pub(super) async fn keep(&mut self, positions: &Positions) -> Result<bool, Fault> {
        if let Some(store) = &self.store {
            store.lock().await.store(positions, 0, Vec::new()).await?;
        }
        for sink in self.sinks.drain(..) {
            let (done, stored) = oneshot::channel();
            if sink.send(Begin { positions: positions.clone(), done }).is_err() || stored.await.is_err() {
                return Ok(false);
            }
        }
        // The frontier may have ended already, with the pipeline.
        let _ = self.frontier.take().map(|frontier| frontier.send(positions.clone()));
        self.state.remember(&self.pipeline, &self.place)?;
        Ok(true)
    }

    /// What sinks write beside their positions.
    pub(super) fn about(pipeline: &str, source: &str) -> About {
        About::new(pipeline, source, 0, Vec::new())
    }
}
