//! The shadow: a candidate gets copies of live batches, on a thread and in instances of its own, and what it makes of them is held
//! against what the running generation made. Nothing it does reaches a sink, and nothing live waits for it.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    time::{Duration, Instant, SystemTime},
};

use super::{
    Generation, PluginEngine,
    compare::{self, Example, Outcome},
    stage::{Casualty, Halt, Item, Left, StageRunner, StageSpec},
};
use crate::{
    config::{PromoteBy, ShadowConfig},
    error::{Code, Fault},
    telemetry::metrics::{PluginMetrics, ShadowResult},
};

/// Copies that wait for the candidate; what comes while so many wait is dropped and counted.
const WAITING: usize = 4;
/// Examples of differences that are kept.
const EXAMPLES: usize = 5;

/// A candidate's trial.
pub(super) struct Shadow {
    pub(super) config: ShadowConfig,
    pub(super) since: SystemTime,
    began: Instant,
    board: Arc<Board>,
    jobs: SyncSender<Job>,
    /// Shares that went by, for the sample.
    shares: AtomicU64,
}

/// What the thread and the lanes share.
struct Board {
    /// Copies are wanted.
    open: AtomicBool,
    waiting: AtomicUsize,
    figures: Mutex<Figures>,
    metrics: PluginMetrics,
}

/// What came of it so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    pub(super) equal: u64,
    pub(super) different: u64,
    pub(super) new_rejects: u64,
    pub(super) gone_rejects: u64,
    pub(super) failures: u64,
    /// Changes that were not compared, since the candidate did not keep up.
    pub(super) dropped: u64,
    /// Time of both, over the same changes.
    pub(super) running: Duration,
    pub(super) candidate: Duration,
    pub(super) examples: Vec<Example>,
}

impl Figures {
    /// Changes that were compared.
    pub(super) fn compared(&self) -> u64 {
        self.equal + self.different + self.new_rejects + self.gone_rejects + self.failures
    }

    /// Mean time for a change, in seconds: of the running generation and of the candidate.
    pub(super) fn per_change(&self) -> (f64, f64) {
        let all = self.compared().max(1) as f64;
        (self.running.as_secs_f64() / all, self.candidate.as_secs_f64() / all)
    }

    /// The counts in words.
    pub(super) fn said(&self) -> String {
        format!(
            "{} changes compared: {} equal, {} different, {} new rejects, {} rejects gone, {} failures",
            self.compared(),
            self.equal,
            self.different,
            self.new_rejects,
            self.gone_rejects,
            self.failures
        )
    }
}

/// What the limits say.
#[derive(Debug)]
pub(super) enum Decision {
    Promote,
    Refuse(String),
}

/// A copy of a lane's share before and after a stage.
struct Job {
    spec: Arc<StageSpec>,
    before: Vec<Item>,
    after: Vec<Item>,
    casualties: Vec<Casualty>,
    took: Duration,
}

impl Shadow {
    /// Starts the candidate on its thread, which ends when nobody holds the shadow any more.
    pub(super) fn start(
        engine: &PluginEngine,
        generation: &Arc<Generation>,
        config: &ShadowConfig,
        metrics: PluginMetrics,
    ) -> Result<Arc<Self>, Fault> {
        let board = Arc::new(Board {
            open: AtomicBool::new(true),
            waiting: AtomicUsize::new(0),
            figures: Mutex::default(),
            metrics,
        });
        let (jobs, received) = sync_channel(WAITING);
        let trial = Trial { engine: engine.clone(), generation: Arc::clone(generation), board: Arc::clone(&board) };
        std::thread::Builder::new()
            .name(format!("shadow-{}", generation.plugin))
            // As a lane's.
            .stack_size(4 << 20)
            .spawn(move || trial.run(&received))
            .map_err(|cause| {
                Fault::fatal(Code::PluginStart, format!("a shadow's thread cannot be started: {cause}"))
            })?;
        let (since, began, shares) = (SystemTime::now(), Instant::now(), AtomicU64::new(0));
        Ok(Arc::new(Self { config: config.clone(), since, began, board, jobs, shares }))
    }

    pub(super) fn figures(&self) -> Figures {
        self.board.figures().clone()
    }

    /// So many changes were compared, or so much time has passed, as are asked for.
    pub(super) fn is_complete(&self) -> bool {
        let compared = self.board.figures().compared();
        compared >= self.config.changes || (compared > 0 && self.began.elapsed() >= self.config.time.0)
    }

    /// Takes no more copies.
    pub(super) fn close(&self) {
        self.board.open.store(false, Ordering::Relaxed);
    }

    /// What the limits say; none while they say nothing, or where the operator decides.
    pub(super) fn decision(&self) -> Option<Decision> {
        if self.config.promote == PromoteBy::Manual {
            return None;
        }
        let figures = self.board.figures().clone();
        let ShadowConfig { max_different, max_new_rejects, max_failures, .. } = self.config;
        for (count, most, what) in [
            (figures.different + figures.gone_rejects, max_different, "made something else of"),
            (figures.new_rejects, max_new_rejects, "rejects, as the running one does not,"),
            (figures.failures, max_failures, "failed on"),
        ] {
            if count > most {
                let example =
                    figures.examples.first().map(|example| format!("; {}", example.said())).unwrap_or_default();
                return Some(Decision::Refuse(format!(
                    "in the shadow it {what} {count} changes, and may {most} ({}){example}",
                    figures.said()
                )));
            }
        }
        self.is_complete().then_some(Decision::Promote)
    }
}

impl Board {
    fn figures(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn drop_changes(&self, changes: usize) {
        self.figures().dropped += changes as u64;
        self.metrics.shadow_changes(ShadowResult::Dropped).inc_by(changes as u64);
    }
}

/// Where a stage hands its copies over.
#[derive(Clone)]
pub(super) struct Tap {
    shadow: Arc<Shadow>,
    spec: Arc<StageSpec>,
}

impl std::fmt::Debug for Tap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tap")
    }
}

impl Tap {
    pub(super) fn new(shadow: &Arc<Shadow>, spec: &Arc<StageSpec>) -> Self {
        Self { shadow: Arc::clone(shadow), spec: Arc::clone(spec) }
    }

    /// Whether a copy of so many changes is wanted now. Asked before anything is copied.
    pub(super) fn wants(&self, changes: usize) -> bool {
        let Shadow { board, config, shares, .. } = &*self.shadow;
        if changes == 0 || !board.open.load(Ordering::Relaxed) {
            return false;
        }
        let share = shares.fetch_add(1, Ordering::Relaxed);
        let due = |shares: u64| (shares as f64 * config.sample).floor();
        // So that a small sample begins with the first share, and not after many.
        if due(share) == due(share + 1) && share > 0 {
            return false;
        }
        if board.waiting.load(Ordering::Relaxed) >= WAITING {
            board.drop_changes(changes);
            return false;
        }
        true
    }

    /// Hands a copy over. It never waits: where the candidate is behind, the copy is dropped.
    pub(super) fn hand_over(&self, before: Vec<Item>, after: &[Item], casualties: &[Casualty], took: Duration) {
        let board = &self.shadow.board;
        let changes = before.len();
        let job =
            Job { spec: Arc::clone(&self.spec), before, after: after.to_vec(), casualties: casualties.to_vec(), took };
        board.waiting.fetch_add(1, Ordering::Relaxed);
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.shadow.jobs.try_send(job) {
            board.waiting.fetch_sub(1, Ordering::Relaxed);
            board.drop_changes(changes);
        }
    }
}

/// The candidate on its thread.
struct Trial {
    engine: PluginEngine,
    generation: Arc<Generation>,
    board: Arc<Board>,
}

impl Trial {
    fn run(&self, jobs: &Receiver<Job>) {
        let mut runners: Vec<(Arc<StageSpec>, StageRunner)> = Vec::new();
        while let Ok(job) = jobs.recv() {
            self.board.waiting.fetch_sub(1, Ordering::Relaxed);
            if !self.board.open.load(Ordering::Relaxed) {
                continue;
            }
            let known = runners.iter().position(|(spec, _)| Arc::ptr_eq(spec, &job.spec));
            let at = known.unwrap_or_else(|| {
                let runner = StageRunner::on_trial(&job.spec, Arc::clone(&self.generation), self.engine.clone());
                runners.push((Arc::clone(&job.spec), runner));
                runners.len() - 1
            });
            if let Some((_, runner)) = runners.get_mut(at) {
                self.compare(runner, job);
            }
        }
    }

    fn compare(&self, runner: &mut StageRunner, job: Job) {
        let Job { before, after, casualties, took, .. } = job;
        let mut left = Left::default();
        let orders = compare::orders(&before);
        let began = Instant::now();
        let outcomes = match runner.run(before, &mut left) {
            Ok(items) => compare::outcomes(&orders, (&after, &casualties), (&items, &left.casualties)),
            Err(halt) => {
                let reason = match halt {
                    Halt::Fault(fault) => fault.message,
                    Halt::TakenBack => "it was taken back".to_owned(),
                };
                compare::all_failed(&orders, &after, &casualties, &reason)
            }
        };
        let candidate = began.elapsed();
        let mut figures = self.board.figures();
        figures.running += took;
        figures.candidate += candidate;
        for outcome in outcomes {
            let (count, result) = match &outcome {
                Outcome::Equal => (&mut figures.equal, ShadowResult::Equal),
                Outcome::Different(_) => (&mut figures.different, ShadowResult::Different),
                Outcome::NewReject(_) => (&mut figures.new_rejects, ShadowResult::NewReject),
                Outcome::GoneReject(_) => (&mut figures.gone_rejects, ShadowResult::GoneReject),
                Outcome::Failed(_) => (&mut figures.failures, ShadowResult::Failed),
            };
            *count += 1;
            self.board.metrics.shadow_changes(result).inc();
            if let Some(example) = outcome.example()
                && figures.examples.len() < EXAMPLES
            {
                figures.examples.push(example);
            }
        }
        let (running, candidate) = figures.per_change();
        drop(figures);
        self.board.metrics.shadow_seconds.0.set(running);
        self.board.metrics.shadow_seconds.1.set(candidate);
    }
}
