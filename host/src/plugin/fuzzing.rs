//! The plugin boundary for the fuzz target `plugin`: whatever a guest returns, the host has an outcome for each change or a
//! failure of the call, and what it takes for a document is one.

use std::sync::Arc;

use super::{
    Generation, PluginEngine, abi::Outcome, compile::Unobserved, component::Role, context::Identity, grants::Grants,
    instance::Instance, limits::Limits, samples,
};
use crate::{
    change::{Change, Doc},
    error::Fault,
    telemetry::metrics::Metrics,
};

/// What came of one call.
#[derive(Debug)]
pub enum Verdict {
    /// Nothing: the plugin failed, for this reason.
    Failed(String),
    /// So many outcomes, and the documents and changes in them.
    Outcomes {
        /// One for each change, if all is well.
        count: usize,
        /// Documents that would go on.
        documents: Vec<Doc>,
        /// Changes that would go on.
        changes: Vec<Change>,
    },
}

/// A plugin that is called again and again.
pub struct Boundary {
    engine: PluginEngine,
    generation: Generation,
    limits: Limits,
    /// For all instances: to make them takes longer than a call.
    metrics: Metrics,
    instance: Option<Instance>,
}

impl Boundary {
    /// Loads a component.
    ///
    /// # Errors
    /// When it is no plugin.
    pub fn new(component: &[u8], limits: Limits) -> Result<Self, Fault> {
        let engine = PluginEngine::new(None, Unobserved)?;
        let generation = Generation::load(&engine, "guest", 1, component, &Grants::none())?;
        Ok(Self { engine, generation, limits, metrics: Metrics::new(), instance: None })
    }

    /// Calls a role, with a new instance after each failure, as a stage does.
    ///
    /// # Errors
    /// When the plugin cannot be started.
    pub fn call(&mut self, role: Role, changes: &[&Change], sinks: &[String]) -> Result<Verdict, Fault> {
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            None => {
                let plugin: Arc<str> = Arc::clone(&self.generation.plugin);
                let metrics = self.metrics.plugin(&plugin);
                let identity = Identity { pipeline: "fuzz".into(), plugin, generation: 1, metrics };
                Instance::configured(&self.engine, &self.generation, identity, self.limits, "{}")?
            }
        };
        let outcomes = match instance.call(role, changes, sinks) {
            Ok(outcomes) => outcomes,
            Err(failure) => return Ok(Verdict::Failed(failure.reason)),
        };
        if !instance.is_worn() {
            self.instance = Some(instance);
        }
        let (count, mut documents, mut made) = (outcomes.len(), Vec::new(), Vec::new());
        for outcome in outcomes {
            match outcome {
                Outcome::Migrated { document, .. } => documents.push(document),
                Outcome::Became(changes) => {
                    documents.extend(changes.iter().flat_map(|change| change.key.clone()));
                    documents.extend(changes.iter().flat_map(|change| change.document.clone()));
                    made.extend(changes);
                }
                _ => {}
            }
        }
        Ok(Verdict::Outcomes { count, documents, changes: made })
    }
}

/// Reads a line of a file with samples.
///
/// # Errors
/// What is wrong with it.
pub fn read_sample(roles: &[Role], line: &[u8]) -> Result<(), String> {
    samples::sample(roles, 1, line).map(|_| ())
}
