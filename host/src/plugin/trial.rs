//! A plugin outside of any pipeline: tried on changes that were written down.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Generation, PluginEngine,
    abi::Outcome,
    component::Role,
    context::Identity,
    grants::Grants,
    instance::{CallFailure, Instance},
    limits::Limits,
};
use crate::{change::Change, error::Fault, telemetry::metrics::Metrics};

/// What a plugin made of a change, or how it failed on it.
pub(crate) type Tried = Result<Outcome, CallFailure>;

/// A plugin with a configuration.
pub struct Trial<'a> {
    /// What it runs on.
    pub engine: &'a PluginEngine,
    /// The plugin.
    pub generation: &'a Generation,
    /// Its configuration.
    pub config: serde_json::Value,
    /// Those a router may name.
    pub sinks: Vec<String>,
    /// What it gets of what it asks for.
    pub grants: Arc<Grants>,
}

impl std::fmt::Debug for Trial<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trial").field("generation", &self.generation).finish_non_exhaustive()
    }
}

/// An instance as a lane keeps it, to be measured.
pub struct Warm {
    instance: Instance,
    sinks: Vec<String>,
}

impl std::fmt::Debug for Warm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Warm")
    }
}

impl Warm {
    /// Calls a role with changes as a lane does, and says how many results there are.
    ///
    /// # Errors
    /// How the call failed; the instance is of no use then.
    pub fn call(&mut self, role: Role, changes: &[&Change]) -> Result<usize, String> {
        self.instance.call(role, changes, &self.sinks).map(|outcomes| outcomes.len()).map_err(|failure| failure.reason)
    }
}

impl Trial<'_> {
    /// Configures an instance of its own.
    ///
    /// # Errors
    /// When the configuration does not fit, or the plugin cannot be started.
    fn instance(&self) -> Result<Instance, Fault> {
        let identity = Identity {
            pipeline: "".into(),
            plugin: self.generation.plugin.clone(),
            generation: self.generation.number,
            metrics: Metrics::new().plugin(&self.generation.plugin),
        };
        let generation = self.generation.given(&self.grants);
        Instance::configured(self.engine, &generation, identity, Limits::default(), &self.config.to_string())
    }

    /// An instance that is called again and again.
    ///
    /// # Errors
    /// When the configuration does not fit, or the plugin cannot be started.
    pub fn warm(&self) -> Result<Warm, Fault> {
        self.generation.check_config(&self.config)?;
        Ok(Warm { instance: self.instance()?, sinks: self.sinks.clone() })
    }

    /// Runs the changes through a role, in one call if all goes well, else one by one, each on an instance of its own behind one
    /// that failed. Also says how long the call of all took.
    ///
    /// # Errors
    /// When the configuration does not fit, or the plugin cannot be started.
    pub(crate) fn run(&self, role: Role, changes: &[&Change]) -> Result<(Vec<Tried>, Duration), Fault> {
        self.generation.check_config(&self.config)?;
        let mut instance = self.instance()?;
        let started = Instant::now();
        let together = instance.call(role, changes, &self.sinks);
        let took = started.elapsed();
        if let Ok(outcomes) = together {
            return Ok((outcomes.into_iter().map(Ok).collect(), took));
        }
        let mut tried = Vec::with_capacity(changes.len());
        instance = self.instance()?;
        for change in changes {
            match instance.call(role, &[*change], &self.sinks) {
                Ok(outcomes) => tried.extend(outcomes.into_iter().map(Ok)),
                Err(failure) => {
                    tried.push(Err(failure));
                    instance = self.instance()?;
                }
            }
        }
        Ok((tried, took))
    }
}
