//! One stage of one lane: runs changes through a plugin, and finds the guilty one when a call fails.

use std::{sync::Arc, time::Instant};

use bytestring::ByteString;

use super::{
    Generation, PluginEngine,
    abi::Outcome,
    breaker::{Breaker, Turn},
    chain::Stage,
    component::{Role, Violation},
    context::Identity,
    instance::{CallFailure, Instance, timed},
    limits::Limits,
    probation::Probation,
    shadow::Tap,
    tally::Counts,
    when::When,
};
use crate::{
    batch::Route,
    change::{Change, SCHEMA_VERSION},
    config::{BreakerAction, BreakerConfig, StageConfig},
    error::{Code, Fault},
    telemetry::metrics::{DeadLetterKind, FailureKind, Metrics, StageMetrics},
};

/// Most changes in one call: few enough that what goes in and out stays in the processor's cache, enough that the call itself
/// costs nothing (bench/benches/contract: 64 changes cost as much each as 2048).
const CALL: usize = 128;

/// Name of the header with the schema version a document had before it was migrated.
const MIGRATED_FROM: &str = "migrated_from";

/// Name of the header with all versions that a document had on the way, where it was migrated over several steps: `v1>v2>v3`.
const MIGRATION_PATH: &str = "migration_path";

/// Between the versions of a way.
const WAY: char = '>';

/// What the configuration says of a stage, made ready.
#[derive(Clone, Debug)]
pub struct StageSpec {
    /// The pipeline it belongs to.
    pub pipeline: Arc<str>,
    /// Its place in the pipeline, from 0.
    pub index: usize,
    /// The plugin it runs.
    pub plugin: Arc<str>,
    /// Which changes it sees.
    pub when: When,
    /// The plugin's configuration.
    pub config: serde_json::Value,
    /// The same as text.
    pub(super) config_text: String,
    /// What a call may use.
    pub limits: Limits,
    /// Names of the pipeline's sinks, for routers.
    pub sinks: Arc<[String]>,
    /// One for all lanes.
    pub(super) breaker: Arc<Breaker>,
}

impl StageSpec {
    /// From the configuration; `limits` already resolved.
    pub fn new(pipeline: &Arc<str>, index: usize, stage: &StageConfig, limits: Limits, sinks: &Arc<[String]>) -> Self {
        let config = stage.config.clone().unwrap_or_else(|| serde_json::Value::Object(serde_json::Map::new()));
        Self {
            pipeline: Arc::clone(pipeline),
            index,
            plugin: stage.plugin.as_str().into(),
            when: When::new(&stage.when),
            config_text: config.to_string(),
            config,
            limits,
            sinks: Arc::clone(sinks),
            breaker: Arc::new(Breaker::new(stage.breaker)),
        }
    }

    pub(super) fn identity(&self, generation: &Generation, metrics: &Metrics) -> Identity {
        Identity {
            pipeline: Arc::clone(&self.pipeline),
            plugin: Arc::clone(&self.plugin),
            generation: generation.number,
            metrics: metrics.plugin(&self.plugin),
        }
    }
}

/// A change on its way through a lane.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its place in the batch; what one change became shares it.
    pub order: u32,
    /// The change.
    pub change: Change,
    /// Where routers sent it so far.
    pub route: Route,
    /// As the source read it, where a stage made another of it: what a dead letter is replayed from.
    pub original: Option<Arc<Change>>,
    /// The stages it was given to, a bit for each.
    pub touched: u64,
}

impl Item {
    /// A change as the source read it.
    pub fn new(order: u32, change: Change) -> Self {
        Self { order, change, route: Route::Everywhere, original: None, touched: 0 }
    }

    /// Called before the first stage changes it. Documents are shared, not copied.
    fn keep_original(&mut self) {
        if self.original.is_none() {
            self.original = Some(Arc::new(self.change.clone()));
        }
    }
}

/// A change that a stage put out of the stream.
#[derive(Clone, Debug)]
pub struct Casualty {
    /// Its place in the batch.
    pub order: u32,
    /// The change, as the stage got it.
    pub change: Change,
    /// As the source read it, where an earlier stage made another of it.
    pub original: Option<Arc<Change>>,
    /// Why, in one word.
    pub kind: DeadLetterKind,
    /// Why, in a sentence.
    pub reason: String,
    /// What a validator found.
    pub violations: Vec<Violation>,
    /// The stage.
    pub stage: usize,
    /// The plugin.
    pub plugin: Arc<str>,
    /// Its generation.
    pub generation: u64,
    /// As its manifest says.
    pub version: Arc<str>,
    /// SHA-256 of its file.
    pub digest: Arc<str>,
}

/// Why a share of a batch came to nothing.
#[derive(Debug)]
pub enum Halt {
    /// A failure of its own.
    Fault(Fault),
    /// A generation of its set was taken back: the batch is begun again with the set that runs now.
    TakenBack,
}

impl From<Fault> for Halt {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// What left the stream in a stage.
#[derive(Debug, Default)]
pub struct Left {
    /// To the dead letter.
    pub casualties: Vec<Casualty>,
    /// Delivered nowhere on purpose.
    pub filtered: u64,
}

/// A stage in one lane.
pub struct StageRunner {
    spec: Arc<StageSpec>,
    generation: Arc<Generation>,
    engine: PluginEngine,
    metrics: StageMetrics,
    all_metrics: Metrics,
    instance: Option<Instance>,
    /// The generation has to prove itself.
    probation: Option<Arc<Probation>>,
    /// A candidate gets a copy.
    tap: Option<Tap>,
    /// It is a candidate's: what goes wrong is counted and nothing else.
    on_trial: bool,
    /// Of the generation, for its dead letters.
    version: Arc<str>,
    digest: Arc<str>,
}

enum Verdict {
    Outcome(Outcome),
    Guilty(CallFailure),
    /// The breaker is open: the plugin did not see it.
    Unseen,
}

impl StageRunner {
    /// Makes the stage; the instance is started with the first change.
    pub fn new(spec: Arc<StageSpec>, generation: Arc<Generation>, engine: PluginEngine, metrics: &Metrics) -> Self {
        let stage = Self::unannounced(spec, generation, engine, metrics);
        stage.tell(stage.spec.breaker.begin(stage.generation.number));
        stage
    }

    fn unannounced(spec: Arc<StageSpec>, generation: Arc<Generation>, engine: PluginEngine, metrics: &Metrics) -> Self {
        Self {
            metrics: metrics.stage(&spec.pipeline, &spec.plugin),
            all_metrics: metrics.clone(),
            instance: None,
            probation: None,
            tap: None,
            on_trial: false,
            version: generation.manifest.version.as_str().into(),
            digest: generation.digest.as_str().into(),
            spec,
            generation,
            engine,
        }
    }

    /// A candidate in the place of a stage: with figures of its own, and a breaker that never trips.
    pub(super) fn on_trial(spec: &StageSpec, generation: Arc<Generation>, engine: PluginEngine) -> Self {
        let breaker = Breaker::new(BreakerConfig { after: u32::MAX, action: BreakerAction::DeadLetter });
        breaker.begin(generation.number);
        let spec = StageSpec { breaker: Arc::new(breaker), ..spec.clone() };
        Self { on_trial: true, ..Self::unannounced(Arc::new(spec), generation, engine, &Metrics::new()) }
    }

    /// Takes over what the set of the next batch says besides its generation.
    pub fn attend(&mut self, stage: &Stage) {
        self.probation.clone_from(&stage.probation);
        self.tap.clone_from(&stage.tap);
    }

    /// Whether it runs this generation.
    pub fn runs(&self, generation: &Arc<Generation>) -> bool {
        Arc::ptr_eq(&self.generation, generation)
    }

    /// Runs the changes through the stage, in order.
    ///
    /// # Errors
    /// When the plugin cannot be started, or its breaker tripped and pauses the pipeline, or it was taken back: nothing was decided
    /// then, and the batch must not go on.
    pub fn run(&mut self, mut items: Vec<Item>, left: &mut Left) -> Result<Vec<Item>, Halt> {
        if self.probation.as_ref().is_some_and(|probation| probation.is_taken_back()) {
            return Err(Halt::TakenBack);
        }
        let copy = self.tap.as_ref().filter(|tap| tap.wants(items.len())).map(|tap| (tap.clone(), items.clone()));
        let buried = left.casualties.len();
        let began = Instant::now();
        let generation = Arc::clone(&self.generation);
        for role in &generation.roles {
            items = self.run_role(*role, items, left)?;
        }
        if let Some((tap, before)) = copy {
            tap.hand_over(before, &items, left.casualties.get(buried..).unwrap_or_default(), began.elapsed());
        }
        Ok(items)
    }

    fn run_role(&mut self, role: Role, items: Vec<Item>, left: &mut Left) -> Result<Vec<Item>, Halt> {
        let sees = |item: &Item| {
            self.spec.when.matches(&item.change) && !(role.needs_document() && item.change.document.is_none())
        };
        let seen: Vec<bool> = items.iter().map(sees).collect();
        let changes: Vec<&Change> =
            items.iter().zip(&seen).filter(|(_, seen)| **seen).map(|(i, _)| &i.change).collect();
        if changes.is_empty() {
            return Ok(items);
        }
        let mut verdicts = Vec::with_capacity(changes.len());
        let mut rest = changes.as_slice();
        if self.is_broken() {
            // One change tries whether the plugin works again.
            let (probe, others) = rest.split_at(1);
            self.find(role, probe, &mut verdicts)?;
            rest = others;
        }
        for part in rest.chunks(CALL) {
            self.decide(role, part, &mut verdicts)?;
        }
        let mut verdicts = verdicts.into_iter();
        let mut next = Vec::with_capacity(items.len());
        let bit = self.bit();
        for (mut item, seen) in items.into_iter().zip(seen) {
            item.touched |= if seen { bit } else { 0 };
            // There is a verdict for each change that was seen: `decide` ends only with as many.
            let verdict = if seen { verdicts.next() } else { None };
            match verdict {
                Some(verdict) => self.apply(item, verdict, &mut next, left),
                None => next.push(item),
            }
        }
        Ok(next)
    }

    /// Its place among the stages an item was given to; all beyond the 64th share the last.
    fn bit(&self) -> u64 {
        1 << self.spec.index.min(63)
    }

    fn is_broken(&self) -> bool {
        self.spec.breaker.is_open(self.generation.number)
    }

    /// Finds a verdict for each change, or none of the plugin's while the breaker is open.
    fn decide(&mut self, role: Role, changes: &[&Change], verdicts: &mut Vec<Verdict>) -> Result<(), Halt> {
        if !self.is_broken() {
            return self.find(role, changes, verdicts);
        }
        verdicts.extend(changes.iter().map(|_| Verdict::Unseen));
        Ok(())
    }

    /// Finds a verdict for each change: one call if all goes well, else the changes are halved until the guilty one stands
    /// alone. One guilty change among n of a call costs at most 2 log2(n) further calls, and one more if it timed out: 14 with the
    /// 128 that stand in a call, however big the batch.
    fn find(&mut self, role: Role, changes: &[&Change], verdicts: &mut Vec<Verdict>) -> Result<(), Halt> {
        let failure = match self.call(role, changes)? {
            Ok(outcomes) => return self.accept(outcomes, verdicts),
            Err(failure) => failure,
        };
        let (first, second) = changes.split_at(changes.len() / 2);
        if !first.is_empty() {
            self.metrics.bisect_calls.inc_by(2);
            self.decide(role, first, verdicts)?;
            return self.decide(role, second, verdicts);
        }
        if failure.kind == FailureKind::Timeout {
            // What took too long alone may have met a bad moment of the machine: it has one more try.
            self.metrics.bisect_calls.inc();
            if let Ok(outcomes) = self.call(role, changes)? {
                return self.accept(outcomes, verdicts);
            }
        }
        let turn = self.spec.breaker.failed(self.generation.number);
        self.turn(turn, &failure.reason)?;
        verdicts.push(Verdict::Guilty(failure));
        self.count(Counts { changes: 1, failures: 1, ..Counts::default() })
    }

    /// Takes what a call gave. A result that cannot be used is a failure of the plugin, a rejection is none.
    fn accept(&mut self, outcomes: Vec<Outcome>, verdicts: &mut Vec<Verdict>) -> Result<(), Halt> {
        // One success is as good as many: the breaker is told once, until a failure comes between.
        let mut told = false;
        let mut counts = Counts { changes: outcomes.len() as u64, ..Counts::default() };
        for outcome in outcomes {
            counts.rejects += u64::from(matches!(outcome, Outcome::Rejected(_) | Outcome::Failed(_)));
            match &outcome {
                Outcome::Unusable(reason) => {
                    counts.failures += 1;
                    told = false;
                    let turn = self.spec.breaker.failed(self.generation.number);
                    self.turn(turn, reason)?;
                }
                _ if told => {}
                _ => {
                    told = true;
                    self.tell(self.spec.breaker.worked(self.generation.number));
                }
            }
            verdicts.push(Verdict::Outcome(outcome));
        }
        self.count(counts)
    }

    /// Counts what came of a call. A jump within the probation takes the generation back.
    fn count(&self, call: Counts) -> Result<(), Halt> {
        if self.on_trial {
            return Ok(());
        }
        let newest = self.generation.tally.add(call);
        let Some(probation) = &self.probation else { return Ok(()) };
        let Some(reason) = probation.jump(newest) else { return Ok(()) };
        probation.take_back(&reason);
        Err(Halt::TakenBack)
    }

    /// What follows when the breaker has tripped, or not. Within the probation there is something better to do than to pause.
    fn turn(&self, turn: Turn, reason: &str) -> Result<(), Halt> {
        if let (Turn::Opened(failed), Some(probation)) = (turn, &self.probation) {
            probation.take_back(&format!("it failed on {failed} changes in a row, at last since {reason}"));
            return Err(Halt::TakenBack);
        }
        self.tell(turn);
        let Turn::Opened(failed) = turn else { return Ok(()) };
        let (plugin, number) = (&self.spec.plugin, self.generation.number);
        let action = self.spec.breaker.action();
        let what = format!(
            "plugin {plugin} (generation {number}) failed on {failed} changes in a row, at last since {reason}"
        );
        tracing::error!(
            event = "plugin_breaker_open",
            pipeline = %self.spec.pipeline,
            plugin = %plugin,
            generation = number,
            code = Code::PluginBreaker.as_str(),
            action = match action {
                BreakerAction::Pause => "pause",
                BreakerAction::DeadLetter => "dead_letter",
            },
            "{what}; its breaker is open"
        );
        match action {
            BreakerAction::DeadLetter => Ok(()),
            BreakerAction::Pause => Err(Halt::Fault(Fault::pause(
                Code::PluginBreaker,
                format!(
                    "{what}: nothing of this batch is delivered or put in the dead letter; put a {plugin}.wasm in place that works, \
                     or set the stage's `breaker` to let changes pass to the dead letter"
                ),
            ))),
        }
    }

    fn tell(&self, turn: Turn) {
        match turn {
            Turn::None => {}
            Turn::Opened(_) => {
                self.metrics.breaker_open.set(1);
            }
            Turn::Closed => {
                self.metrics.breaker_open.set(0);
                tracing::info!(
                    event = "plugin_breaker_closed",
                    pipeline = %self.spec.pipeline,
                    plugin = %self.spec.plugin,
                    generation = self.generation.number,
                    "plugin {} is given changes again: its breaker is closed",
                    self.spec.plugin
                );
            }
        }
    }

    fn call(&mut self, role: Role, changes: &[&Change]) -> Result<Result<Vec<Outcome>, CallFailure>, Fault> {
        let instance = match &mut self.instance {
            Some(instance) => instance,
            empty => empty.insert(Instance::configured(
                &self.engine,
                &self.generation,
                self.spec.identity(&self.generation, &self.all_metrics),
                self.spec.limits,
                &self.spec.config_text,
            )?),
        };
        let (result, took) = timed(|| instance.call(role, changes, &self.spec.sinks));
        self.metrics.observe(changes.len(), took);
        match &result {
            Err(failure) => {
                self.metrics.failures(failure.kind).inc();
                self.metrics.instances_retired.inc();
                self.instance = None;
                if self.on_trial {
                    return Ok(result);
                }
                tracing::warn!(
                    event = "plugin_call_failed",
                    pipeline = %self.spec.pipeline,
                    plugin = %self.spec.plugin,
                    generation = self.generation.number,
                    kind = failure.kind.as_str(),
                    changes = changes.len(),
                    "plugin call failed: {}; the instance is replaced and the guilty change is looked for",
                    failure.reason
                );
            }
            Ok(_) if instance.is_worn() => {
                self.metrics.instances_retired.inc();
                self.instance = None;
            }
            Ok(_) => {}
        }
        Ok(result)
    }

    fn apply(&self, mut item: Item, verdict: Verdict, next: &mut Vec<Item>, left: &mut Left) {
        let order = item.order;
        let dead = |item: Item, kind, reason, violations| Casualty {
            order,
            change: item.change,
            original: item.original,
            kind,
            reason,
            violations,
            stage: self.spec.index,
            plugin: Arc::clone(&self.spec.plugin),
            generation: self.generation.number,
            version: Arc::clone(&self.version),
            digest: Arc::clone(&self.digest),
        };
        match verdict {
            Verdict::Outcome(Outcome::Unchanged) => next.push(item),
            Verdict::Outcome(Outcome::Version(version)) => {
                set_version(&mut item.change, version);
                next.push(item);
            }
            Verdict::Outcome(Outcome::Migrated { document, from, to }) => {
                item.keep_original();
                item.change.document = Some(document);
                if let Some(from) = from {
                    let first = match from.split_once(WAY) {
                        None => from,
                        Some((first, _)) => {
                            if let Some(to) = &to {
                                let path = format!("{from}{WAY}{to}");
                                item.change.headers.set(ByteString::from_static(MIGRATION_PATH), path.into());
                            }
                            from.slice_ref(first)
                        }
                    };
                    item.change.headers.set(ByteString::from_static(MIGRATED_FROM), first);
                }
                if let Some(to) = to {
                    set_version(&mut item.change, to);
                }
                next.push(item);
            }
            Verdict::Outcome(Outcome::Routed(destinations)) if destinations.is_empty() => left.filtered += 1,
            Verdict::Outcome(Outcome::Routed(destinations)) => {
                item.route = Route::To(destinations);
                next.push(item);
            }
            Verdict::Outcome(Outcome::Became(changes)) => {
                if changes.is_empty() {
                    left.filtered += 1;
                }
                item.keep_original();
                let Item { order, route, original, touched, .. } = item;
                next.extend(changes.into_iter().map(|change| Item {
                    order,
                    change,
                    route: route.clone(),
                    original: original.clone(),
                    touched,
                }));
            }
            Verdict::Outcome(Outcome::Rejected(violations)) => {
                self.metrics.rejects.inc();
                let reason = match violations.as_slice() {
                    [] => "rejected without a reason".to_owned(),
                    [only] => format!("rejected: {}: {}", only.path, only.message),
                    [first, rest @ ..] => {
                        format!("rejected: {}: {}, and {} more", first.path, first.message, rest.len())
                    }
                };
                left.casualties.push(dead(item, DeadLetterKind::Rejected, reason, violations));
            }
            Verdict::Outcome(Outcome::Failed(reason)) => {
                self.metrics.rejects.inc();
                left.casualties.push(dead(item, DeadLetterKind::Failed, reason, Vec::new()));
            }
            Verdict::Outcome(Outcome::Unusable(reason)) => {
                self.metrics.failures(FailureKind::Result).inc();
                left.casualties.push(dead(item, DeadLetterKind::Result, reason, Vec::new()));
            }
            Verdict::Unseen => {
                let reason = format!("plugin {} did not see it: its breaker is open", self.spec.plugin);
                left.casualties.push(dead(item, DeadLetterKind::Breaker, reason, Vec::new()));
            }
            Verdict::Guilty(failure) => {
                left.casualties.push(dead(item, failure.kind.into(), failure.reason, Vec::new()));
            }
        }
    }
}

fn set_version(change: &mut Change, version: ByteString) {
    change.headers.set(ByteString::from_static(SCHEMA_VERSION), version);
}
