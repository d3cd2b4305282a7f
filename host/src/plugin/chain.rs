//! The stages of a pipeline, and the set of generations that processes a batch.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::{Generation, breaker::Turn, probation::Probation, shadow::Tap, stage::StageSpec};
use crate::{checkpoint::StageGeneration, telemetry::metrics::Metrics};

/// A stage of a set.
#[derive(Clone, Debug)]
pub struct Stage {
    /// What the configuration says of it.
    pub spec: Arc<StageSpec>,
    /// The generation that runs.
    pub generation: Arc<Generation>,
    /// While the generation has to prove itself.
    pub(super) probation: Option<Arc<Probation>>,
    /// Where a copy goes, while a candidate is tried.
    pub(super) tap: Option<Tap>,
}

/// The generations that process a batch, one for each stage: a batch is processed by one set from its first stage to its
/// last.
#[derive(Debug)]
pub struct StageSet {
    /// In the order of the pipeline.
    pub stages: Vec<Stage>,
}

impl StageSet {
    /// Which plugin runs in which generation, for the checkpoint.
    pub fn generations(&self) -> Vec<StageGeneration> {
        let of = |Stage { generation, .. }: &Stage| StageGeneration {
            plugin: generation.plugin.to_string(),
            generation: generation.number,
            version: generation.manifest.version.clone(),
            digest: generation.digest.clone(),
        };
        self.stages.iter().map(of).collect()
    }

    /// The plugins of some stages, a bit for each: `name@version#digest,...`.
    pub fn provenance(&self, touched: u64) -> String {
        let touched = self.stages.iter().enumerate().filter(|(at, _)| touched & (1 << (*at).min(63)) != 0);
        let named = touched.map(|(_, Stage { generation, .. })| {
            let digest = generation.digest.get(..12).unwrap_or_default();
            format!("{}@{}#{digest}", generation.plugin, generation.manifest.version)
        });
        named.collect::<Vec<_>>().join(",")
    }

    /// Whether a generation of it may be taken back, and what was begun with it with it.
    pub fn is_on_probation(&self) -> bool {
        self.stages.iter().any(|stage| stage.probation.is_some())
    }
}

/// The stages of one pipeline, and the set that runs now.
#[derive(Debug)]
pub struct StageChain {
    pub(super) specs: Vec<Arc<StageSpec>>,
    current: ArcSwap<StageSet>,
    /// How often another generation took over.
    swaps: watch::Sender<u64>,
}

impl StageChain {
    pub(super) fn new(specs: Vec<Arc<StageSpec>>, stages: Vec<Stage>) -> Self {
        Self { specs, current: ArcSwap::from_pointee(StageSet { stages }), swaps: watch::Sender::new(0) }
    }

    /// The set for the next batch.
    pub fn current(&self) -> Arc<StageSet> {
        self.current.load_full()
    }

    /// Puts another set in place; a batch that is under way ends with the set it began with.
    pub(super) fn put(&self, stages: Vec<Stage>, swapped: bool) {
        self.current.store(Arc::new(StageSet { stages }));
        if swapped {
            self.swaps.send_modify(|swaps| *swaps += 1);
        }
    }

    pub(super) fn runs(&self, plugin: &str) -> bool {
        self.specs.iter().any(|spec| *spec.plugin == *plugin)
    }

    /// Tells whenever another generation of a plugin of this pipeline has taken over: what a pipeline that pauses since a plugin
    /// failed on everything (TG0216) waits for.
    pub fn swaps(&self) -> watch::Receiver<u64> {
        self.swaps.subscribe()
    }

    /// Lets every plugin of the pipeline try again, whatever it did before: the pipeline is resumed.
    pub fn close_breakers(&self, metrics: &Metrics) {
        for spec in &self.specs {
            if spec.breaker.close() == Turn::Closed {
                metrics.stage(&spec.pipeline, &spec.plugin).breaker_open.set(0);
            }
        }
    }
}
