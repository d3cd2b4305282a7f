//! Lanes: threads with warm plugin instances of their own. All changes of a key go through one lane.

use std::sync::{Arc, mpsc};

use tokio::sync::oneshot;

use crate::{
    change::Change,
    error::{Code, Fault},
    plugin::{
        PluginEngine, Stage, StageSet,
        stage::{Halt, Item, Left, StageRunner},
    },
    telemetry::metrics::Metrics,
};

/// A lane's share of a batch.
struct Job {
    set: Arc<StageSet>,
    items: Vec<Item>,
    reply: oneshot::Sender<Result<Done, Halt>>,
}

/// What a lane made of its share.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) items: Vec<Item>,
    pub(super) left: Left,
}

/// A thread that runs stages. It ends when this is dropped and its work is done.
pub(super) struct Lane {
    jobs: mpsc::Sender<Job>,
}

impl Lane {
    pub(super) fn start(pipeline: &str, number: usize, engine: PluginEngine, metrics: Metrics) -> Result<Self, Fault> {
        // Bounded by the processor, which has at most two batches under way.
        let (jobs, queue) = mpsc::channel::<Job>();
        std::thread::Builder::new()
            .name(format!("lane-{pipeline}-{number}"))
            // The guest runs on this stack: 1 MiB of WebAssembly and what the host needs below it.
            .stack_size(4 << 20)
            .spawn(move || {
                let mut stages = Vec::new();
                while let Ok(Job { set, items, reply }) = queue.recv() {
                    let done = run(&mut stages, &set, items, &engine, &metrics);
                    // Nobody waits any more when the pipeline was aborted.
                    let _ = reply.send(done);
                }
            })
            .map_err(|cause| Fault::fatal(Code::PluginStart, format!("a lane's thread cannot be started: {cause}")))?;
        Ok(Self { jobs })
    }

    /// Hands over a share; shares are processed in the order they are handed over.
    pub(super) fn process(&self, set: Arc<StageSet>, items: Vec<Item>) -> oneshot::Receiver<Result<Done, Halt>> {
        let (reply, done) = oneshot::channel();
        // When the thread is gone the reply is dropped with the job, and the receiver tells.
        let _ = self.jobs.send(Job { set, items, reply });
        done
    }
}

fn run(
    stages: &mut Vec<StageRunner>,
    set: &StageSet,
    mut items: Vec<Item>,
    engine: &PluginEngine,
    metrics: &Metrics,
) -> Result<Done, Halt> {
    for (at, Stage { spec, generation, .. }) in set.stages.iter().enumerate() {
        let fresh = || StageRunner::new(Arc::clone(spec), Arc::clone(generation), engine.clone(), metrics);
        match stages.get_mut(at) {
            Some(runner) if runner.runs(generation) => {}
            Some(runner) => *runner = fresh(),
            None => stages.push(fresh()),
        }
    }
    let mut left = Left::default();
    for (runner, stage) in stages.iter_mut().zip(&set.stages) {
        runner.attend(stage);
        items = runner.run(items, &mut left)?;
    }
    Ok(Done { items, left })
}

/// The lane of a change. What has no key has no order to keep with others.
pub(super) fn lane_of(change: &Change, lanes: usize) -> usize {
    match (&change.key, lanes) {
        (_, 0 | 1) | (None, _) => 0,
        (Some(key), lanes) => {
            let hash = xxhash_rust::xxh3::xxh3_64(key.as_bytes());
            usize::try_from(hash % lanes as u64).unwrap_or(0)
        }
    }
}
