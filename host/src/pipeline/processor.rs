//! Takes batches apart for the lanes, puts the results together in source order, and hands them on.

use std::{collections::VecDeque, sync::Arc};

use tokio::sync::{mpsc, oneshot};

use super::{
    frontier::{Event, Sent},
    lane::{Done, Lane, lane_of},
    letters::Letters,
    reader::Loaded,
};
use crate::{
    batch::{Outbound, Routed, SharedOutbound},
    error::{Code, Fault},
    plugin::{PluginEngine, StageChain, stage::Item},
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
}

/// Batches the lanes work on at the same time: while one is put together the lanes have another.
const UNDER_WAY: usize = 2;

struct UnderWay {
    number: u64,
    loaded: Loaded,
    shares: Vec<oneshot::Receiver<Result<Done, Fault>>>,
    ready: Vec<Item>,
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
                            self.finish(&mut under_way).await?;
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
            self.finish(&mut under_way).await?;
        }
        Ok(())
    }

    /// Gives each lane its share. All of a batch is processed by the generations that run now.
    fn begin(&self, number: u64, mut loaded: Loaded, lanes: &[Lane]) -> UnderWay {
        let changes = std::mem::take(&mut loaded.batch.changes);
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
        match &self.stages {
            None => UnderWay { number, loaded, shares: Vec::new(), ready: shares.into_iter().flatten().collect() },
            Some((_, chain)) => {
                let set = chain.current();
                let shares = lanes
                    .iter()
                    .zip(shares)
                    .filter(|(_, share)| !share.is_empty())
                    .map(|(lane, share)| lane.process(Arc::clone(&set), share))
                    .collect();
                UnderWay { number, loaded, shares, ready: Vec::new() }
            }
        }
    }

    /// Waits for the oldest batch and hands it to the sinks. Dead letters are durable before any sink has the batch, so
    /// that the frontier needs to know of the sinks alone.
    async fn finish(&self, under_way: &mut VecDeque<UnderWay>) -> Result<(), Fault> {
        let Some(UnderWay { number, loaded, shares, ready: mut items }) = under_way.pop_front() else { return Ok(()) };
        let several = shares.len() > 1;
        let mut casualties = Vec::new();
        let mut filtered = 0;
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
            casualties.extend(done.left.casualties);
            filtered += done.left.filtered;
            if items.is_empty() {
                items = done.items;
            } else {
                items.extend(done.items);
            }
        }
        if several {
            // Each share is in order: the stable sort merges runs.
            items.sort_by_key(|item| item.order);
        }
        // Not only lanes: of one lane, what an early stage put out stands before what a later stage did.
        casualties.sort_by_key(|casualty| casualty.order);
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
        let sent =
            Sent { batch: number, partition: batch.partition, position: batch.position, changes, newest, permit };
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
