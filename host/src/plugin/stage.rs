//! One stage of one lane: runs changes through a plugin, and finds the guilty one when a call fails.

use std::sync::Arc;

use bytestring::ByteString;

use super::{
    Generation, PluginEngine,
    abi::Outcome,
    component::{Role, Violation},
    context::Identity,
    instance::{CallFailure, Instance, timed},
    limits::Limits,
};
use crate::{
    batch::Route,
    change::{Change, Operation, SCHEMA_VERSION},
    config::{StageConfig, WhenConfig},
    error::Fault,
    telemetry::metrics::{DeadLetterKind, FailureKind, Metrics, StageMetrics},
};

/// Most changes in one call: few enough that what goes in and out stays in the processor's cache, enough that the call itself
/// costs nothing (bench/benches/contract: 64 changes cost as much each as 2048).
const CALL: usize = 128;

/// Name of the header with the schema version a document had before it was migrated.
const MIGRATED_FROM: &str = "migrated_from";

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

/// Which changes a stage sees.
#[derive(Clone, Debug, Default)]
pub struct When {
    namespaces: Vec<Pattern>,
    operations: Vec<Operation>,
}

#[derive(Clone, Debug)]
enum Pattern {
    Collection(Box<str>),
    Database(Box<str>),
}

impl When {
    /// From the configuration.
    pub fn new(when: &WhenConfig) -> Self {
        let namespaces = when
            .ns
            .iter()
            .map(|pattern| match pattern.strip_suffix(".*") {
                Some(database) => Pattern::Database(database.into()),
                None => Pattern::Collection(pattern.as_str().into()),
            })
            .collect();
        Self { namespaces, operations: when.op.iter().map(|operation| Operation::from(*operation)).collect() }
    }

    /// Whether the stage sees this change.
    pub fn matches(&self, change: &Change) -> bool {
        (self.operations.is_empty() || self.operations.contains(&change.operation))
            && (self.namespaces.is_empty()
                || self.namespaces.iter().any(|pattern| match pattern {
                    Pattern::Collection(full) => **full == *change.namespace.as_str(),
                    Pattern::Database(database) => **database == *change.namespace.database(),
                }))
    }
}

/// A change on its way through a lane.
#[derive(Debug)]
pub struct Item {
    /// Its place in the batch; what one change became shares it.
    pub order: u32,
    /// The change.
    pub change: Change,
    /// Where routers sent it so far.
    pub route: Route,
    /// As the source read it, where a stage made another of it: what a dead letter is replayed from.
    pub original: Option<Arc<Change>>,
}

impl Item {
    /// A change as the source read it.
    pub fn new(order: u32, change: Change) -> Self {
        Self { order, change, route: Route::Everywhere, original: None }
    }

    /// Called before the first stage changes it. Documents are shared, not copied.
    fn keep_original(&mut self) {
        if self.original.is_none() {
            self.original = Some(Arc::new(self.change.clone()));
        }
    }
}

/// A change that a stage put out of the stream.
#[derive(Debug)]
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
}

enum Verdict {
    Outcome(Outcome),
    Guilty(CallFailure),
}

impl StageRunner {
    /// Makes the stage; the instance is started with the first change.
    pub fn new(spec: Arc<StageSpec>, generation: Arc<Generation>, engine: PluginEngine, metrics: &Metrics) -> Self {
        let stage_metrics = metrics.stage(&spec.pipeline, &spec.plugin);
        Self { spec, generation, engine, metrics: stage_metrics, all_metrics: metrics.clone(), instance: None }
    }

    /// Whether it runs this generation.
    pub fn runs(&self, generation: &Arc<Generation>) -> bool {
        Arc::ptr_eq(&self.generation, generation)
    }

    /// Runs the changes through the stage, in order.
    ///
    /// # Errors
    /// Only when the plugin cannot be started: nothing was decided then, and the batch must not go on.
    pub fn run(&mut self, mut items: Vec<Item>, left: &mut Left) -> Result<Vec<Item>, Fault> {
        let generation = Arc::clone(&self.generation);
        for role in &generation.roles {
            items = self.run_role(*role, items, left)?;
        }
        Ok(items)
    }

    fn run_role(&mut self, role: Role, items: Vec<Item>, left: &mut Left) -> Result<Vec<Item>, Fault> {
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
        for part in changes.chunks(CALL) {
            self.decide(role, part, &mut verdicts)?;
        }
        let mut verdicts = verdicts.into_iter();
        let mut next = Vec::with_capacity(items.len());
        for (item, seen) in items.into_iter().zip(seen) {
            // There is a verdict for each change that was seen: `decide` ends only with as many.
            let verdict = if seen { verdicts.next() } else { None };
            match verdict {
                Some(verdict) => self.apply(item, verdict, &mut next, left),
                None => next.push(item),
            }
        }
        Ok(next)
    }

    /// Finds a verdict for each change: one call if all goes well, else the batch is halved until the guilty change stands
    /// alone. One guilty change in a batch of n costs at most 2 log2(n) further calls, and one more if it timed out.
    fn decide(&mut self, role: Role, changes: &[&Change], verdicts: &mut Vec<Verdict>) -> Result<(), Fault> {
        let failure = match self.call(role, changes)? {
            Ok(outcomes) => {
                verdicts.extend(outcomes.into_iter().map(Verdict::Outcome));
                return Ok(());
            }
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
                verdicts.extend(outcomes.into_iter().map(Verdict::Outcome));
                return Ok(());
            }
        }
        verdicts.push(Verdict::Guilty(failure));
        Ok(())
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
                    item.change.headers.set(ByteString::from_static(MIGRATED_FROM), from);
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
                let Item { order, route, original, .. } = item;
                next.extend(changes.into_iter().map(|change| Item {
                    order,
                    change,
                    route: route.clone(),
                    original: original.clone(),
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
            Verdict::Guilty(failure) => {
                let kind = match failure.kind {
                    FailureKind::Trap => DeadLetterKind::Trap,
                    FailureKind::Timeout => DeadLetterKind::Timeout,
                    FailureKind::Memory => DeadLetterKind::Memory,
                    FailureKind::Result => DeadLetterKind::Result,
                    FailureKind::Output => DeadLetterKind::Output,
                };
                left.casualties.push(dead(item, kind, failure.reason, Vec::new()));
            }
        }
    }
}

fn set_version(change: &mut Change, version: ByteString) {
    change.headers.set(ByteString::from_static(SCHEMA_VERSION), version);
}
