//! Takes batches apart for the lanes, puts the results together in source order, and hands them on.

use std::{collections::VecDeque, sync::Arc};

use bytestring::ByteString;
use tokio::sync::{mpsc, oneshot};

use super::{
    frontier::{Event, Sent},
    lane::{Done, Lane, lane_of},
    letters::Letters,
    reader::Loaded,
};
use crate::{
    batch::{Batch, Outbound, Routed, SharedOutbound},
    change::Change,
    error::{Code, Fault},
    plugin::{
        PluginEngine, StageChain, StageSet,
        stage::{Halt, Item},
    },
    position::Positions,
    status::PipelineStatus,
    telemetry::metrics::Metrics,
};

pub(super) struct Processor {
    pub(super) pipeline: Arc<str>,
    pub(super) lanes: usize,
    pub(super) stages: Option<(PluginEngine, Arc<StageChain>)>,
    pub(super) letters: Letters,
    pub(super) to_frontier: mpsc::UnboundedSender<Event>,
    pub(super) to_sinks: Vec<mpsc::Sender<SharedOutbound>>,
    pub(super) status: PipelineStatus,
    pub(super) metrics: Metrics,
    /// Each change says which plugins it was given to.
    pub(super) provenance: bool,
}

/// Batches the lanes work on at the same time: while one is put together the lanes have another.
const UNDER_WAY: usize = 2;

struct UnderWay {
    number: u64,
    loaded: Loaded,
    shares: Vec<oneshot::Receiver<Result<Done, Halt>>>,
    ready: Vec<Item>,
    /// The changes as they were read, while a generation of the set may be taken back.
    kept: Option<Vec<Change>>,
    /// What it is processed by.
    set: Option<Arc<StageSet>>,
}

impl Processor {
    /// Runs until the reader is gone and all it read is with the sinks.
    pub(super) async fn run(self, mut batches: mpsc::Receiver<Loaded>) -> Result<(), Fault> {
        if let Some((_, chain)) = &self.stages {
            chain.close_breakers(&self.metrics);
        }
        let lanes = match &self.stages {
            Some((engine, _)) => (0..self.lanes)
                .map(|number| Lane::start(&self.pipeline, number, engine.clone(), self.metrics.clone()))
                .collect::<Result<Vec<_>, _>>()?,
            None => Vec::new(),
        };
        let mut number = 0;
        let mut under_way: VecDeque<UnderWay> = VecDeque::new();
        let mut open = true;
        while open || !under_way.is_empty() {
            if open && under_way.len() < UNDER_WAY {
                // With nothing under way there is only the reader to wait for; else take what is there already.
                let next = if under_way.is_empty() {
                    batches.recv().await
                } else {
                    match batches.try_recv() {
                        Ok(loaded) => Some(loaded),
                        Err(mpsc::error::TryRecvError::Empty) => {
                            self.finish(&mut under_way, &lanes).await?;
                            continue;
                        }
                        Err(mpsc::error::TryRecvError::Disconnected) => None,
                    }
                };
                match next {
                    Some(loaded) => {
                        number += 1;
                        under_way.push_back(self.begin(number, loaded, &lanes));
                    }
                    None => open = false,
                }
                continue;
            }
            self.finish(&mut under_way, &lanes).await?;
        }
        Ok(())
    }

    /// Gives each lane its share. All of a batch is processed by the generations that run now.
    fn begin(&self, number: u64, mut loaded: Loaded, lanes: &[Lane]) -> UnderWay {
        let changes = std::mem::take(&mut loaded.batch.changes);
        let set = self.stages.as_ref().map(|(_, chain)| chain.current());
        // Documents are shared, not copied.
        let kept = set.as_ref().filter(|set| set.is_on_probation()).map(|_| changes.clone());
        let mut shares: Vec<Vec<Item>> = (0..lanes.len().max(1)).map(|_| Vec::new()).collect();
        let expected = changes.len() / shares.len() + 1;
        for share in &mut shares {
            share.reserve(expected);
        }
        let count = shares.len();
        for (order, change) in (0_u32..).zip(changes) {
            if let Some(share) = shares.get_mut(lane_of(&change, count)) {
                share.push(Item::new(order, change));
            }
        }
        let Some(set) = set else {
            let ready = shares.into_iter().flatten().collect();
            return UnderWay { number, loaded, shares: Vec::new(), ready, kept, set };
        };
        let shares = lanes
            .iter()
            .zip(shares)
            .filter(|(_, share)| !share.is_empty())
            .map(|(lane, share)| lane.process(Arc::clone(&set), share))
            .collect();
        UnderWay { number, loaded, shares, ready: Vec::new(), kept, set: Some(set) }
    }

    /// Waits until the lanes are done with a batch.
    async fn gather(&self, shares: Vec<oneshot::Receiver<Result<Done, Halt>>>) -> Result<Done, Halt> {
        let several = shares.len() > 1;
        let mut all = Done::default();
        for share in shares {
            let done = share.await.map_err(|_| {
                Fault::fatal(
                    Code::Internal,
                    format!(
                        "a lane of pipeline `{}` broke; this is a defect of tidegate, please report it",
                        self.pipeline
                    ),
                )
            })??;
            all.left.casualties.extend(done.left.casualties);
            all.left.filtered += done.left.filtered;
            if all.items.is_empty() {
                all.items = done.items;
            } else {
                all.items.extend(done.items);
            }
        }
        if several {
            // Each share is in order: the stable sort merges runs.
            all.items.sort_by_key(|item| item.order);
        }
        // Not only lanes: of one lane, what an early stage put out stands before what a later stage did.
        all.left.casualties.sort_by_key(|casualty| casualty.order);
        Ok(all)
    }

    /// Waits for the oldest batch and hands it to the sinks. Dead letters are durable before any sink has the batch, so
    /// that the frontier needs to know of the sinks alone.
    async fn finish(&self, under_way: &mut VecDeque<UnderWay>, lanes: &[Lane]) -> Result<(), Fault> {
        let Some(UnderWay { number, mut loaded, shares, ready, kept, set }) = under_way.pop_front() else {
            return Ok(());
        };
        let done = match (self.gather(shares).await, kept) {
            (Ok(done), _) => done,
            (Err(Halt::TakenBack), Some(changes)) => {
                // Nothing of it was delivered or put in the dead letter: it is processed anew, whole, by what runs now.
                loaded.batch.changes = changes;
                under_way.push_front(self.begin(number, loaded, lanes));
                return Ok(());
            }
            (Err(Halt::TakenBack), None) => {
                return Err(Fault::fatal(Code::Internal, "a batch was not kept for a plugin that was taken back"));
            }
            (Err(Halt::Fault(fault)), _) => return Err(fault),
        };
        let mut items = if self.stages.is_some() { done.items } else { ready };
        let (casualties, filtered) = (done.left.casualties, done.left.filtered);
        if let Some(set) = set.filter(|_| self.provenance) {
            mark(&mut items, &set);
        }
        let metrics = self.status.metrics();
        metrics.events_filtered.inc_by(filtered);
        self.letters.bury(casualties, &loaded.batch.unreadable).await?;
        let Loaded { batch, changes, newest, permit } = loaded;
        let outbound = Arc::new(Outbound {
            number,
            changes: items
                .into_iter()
                .map(|Item { change, route, original, .. }| Routed { change, route, original })
                .collect(),
            partition: batch.partition.clone(),
            position: batch.position.clone(),
        });
        let Batch { partition, position, receipts, .. } = batch;
        let earlier = Positions::default();
        let sent = Sent { batch: number, partition, position, changes, newest, permit, earlier, receipts };
        // The frontier and the sinks live as long as this task, unless the pipeline is being aborted.
        let _ = self.to_frontier.send(Event::Sent(sent));
        for sink in &self.to_sinks {
            if sink.send(Arc::clone(&outbound)).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Name of the header with the plugins that a change was given to.
const PROVENANCE: &str = "tidegate_plugins";

/// Says of each change which plugins it was given to: `name@version#digest,...`, the digest cut to twelve digits. Most changes of
/// a batch were given to the same: the text is made once for all of them.
fn mark(items: &mut [Item], set: &StageSet) {
    let mut texts: Vec<(u64, ByteString)> = Vec::new();
    for item in items {
        let known = texts.iter().find(|(touched, _)| *touched == item.touched).map(|(_, text)| text.clone());
        let text = known.unwrap_or_else(|| {
            let text = ByteString::from(set.provenance(item.touched));
            texts.push((item.touched, text.clone()));
            text
        });
        item.change.headers.set(ByteString::from_static(PROVENANCE), text);
    }
}
