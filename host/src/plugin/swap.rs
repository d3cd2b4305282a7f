//! The way of a new file of a plugin: checked off the data path, tried in the shadow where that is asked for, promoted, on probation,
//! and back where it does worse than what was before.

use std::{
    sync::{Arc, PoisonError},
    time::SystemTime,
};

use super::{
    Generation, PluginControl,
    component::{digest, read},
    history::{Entry, Event, Standing},
    probation::Probation,
    registry::{Candidate, Inner, Reload, State, barred},
    shadow::{Decision, Shadow},
    stage::StageSpec,
};
use crate::error::{Code, Fault};

/// A step back that was made.
struct Back {
    from: Arc<Generation>,
    to: Arc<Generation>,
}

impl Inner {
    fn steps(&self) -> std::sync::MutexGuard<'_, ()> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings a file's bytes to life.
    pub(super) fn reload(self: &Arc<Self>, plugin: &str, bytes: &[u8]) -> Result<Reload, Fault> {
        let _steps = self.steps();
        let new = digest(bytes);
        let (candidate, same) = {
            let state = self.lock();
            let Some(live) = state.plugins.get(plugin) else { return Ok(Reload::Same) };
            (live.candidate.clone(), live.running.digest == new)
        };
        if same {
            if let Some(candidate) = candidate {
                self.withdraw(&candidate, "its file was replaced by what runs");
            }
            return Ok(Reload::Same);
        }
        if candidate.as_ref().is_some_and(|candidate| candidate.generation.digest == new) {
            return Ok(Reload::Taken);
        }
        if let Standing::Barred(why) = self.history.standing(plugin, &new) {
            let what = "what runs goes on; put another build there, or lift the bar with `tidegate plugin promote`";
            return Err(barred(plugin, &self.file(plugin), &why, what));
        }
        let generation = self.prepare(plugin, bytes)?;
        match self.config.shadow(plugin).cloned() {
            None => self.take_over(&generation, None),
            Some(config) => {
                let metrics = self.metrics.plugin(plugin);
                let shadow = Shadow::start(&self.engine, &generation, &config, metrics)?;
                if let Some(candidate) = candidate {
                    self.withdraw(&candidate, "another file took its place");
                }
                self.put_in_shadow(Candidate { generation, shadow });
            }
        }
        self.prune();
        Ok(Reload::Taken)
    }

    /// Compiles a component, checks it, configures it for every stage that runs the plugin, and runs its golden samples.
    fn prepare(&self, plugin: &str, bytes: &[u8]) -> Result<Arc<Generation>, Fault> {
        let (number, specs) = {
            let state = self.lock();
            let number = state.plugins.get(plugin).map_or(0, |live| live.highest) + 1;
            let specs = state.chains.values().flat_map(|chain| chain.specs.iter().cloned());
            (number, specs.filter(|spec| *spec.plugin == *plugin).collect::<Vec<Arc<StageSpec>>>())
        };
        let generation = self.load_bytes(plugin, number, bytes)?;
        for spec in &specs {
            self.try_out(spec, &generation)?;
        }
        let specs: Vec<&StageSpec> = specs.iter().map(|spec| &**spec).collect();
        self.try_samples(&generation, &specs)?;
        self.kept.put(plugin, &generation.digest, bytes);
        Ok(Arc::new(generation))
    }

    fn put_in_shadow(&self, candidate: Candidate) {
        let generation = Arc::clone(&candidate.generation);
        let config = candidate.shadow.config.clone();
        {
            let mut state = self.lock();
            let Some(live) = state.plugins.get_mut(&generation.plugin) else { return };
            live.highest = live.highest.max(generation.number);
            live.candidate = Some(candidate);
            self.publish(&state, &generation.plugin, false);
        }
        self.history.add([Entry::of(Event::Shadowed, &generation, None)]);
        self.observer.recovered(&generation.plugin);
        tracing::info!(
            event = "plugin_shadowed",
            plugin = %generation.plugin,
            generation = generation.number,
            version = %generation.manifest.version,
            digest = generation.digest.get(..12).unwrap_or_default(),
            "plugin {} {} is tried on copies of live batches, for {} changes or {}",
            generation.plugin,
            generation.manifest.version,
            config.changes,
            config.time
        );
    }

    /// Makes a generation the running one.
    fn take_over(self: &Arc<Self>, generation: &Arc<Generation>, reason: Option<&str>) {
        let plugin = &generation.plugin;
        {
            let mut state = self.lock();
            let Some(live) = state.plugins.get_mut(plugin) else { return };
            let before = std::mem::replace(&mut live.running, Arc::clone(generation));
            live.since = SystemTime::now();
            live.highest = live.highest.max(generation.number);
            // One that had not proved itself is nothing to go back to.
            if live.probation.take().is_none() {
                live.previous = Some(before);
            }
            live.candidate = None;
            let config = self.config.probation(plugin);
            live.probation = config.zip(live.previous.as_ref()).map(|(config, previous)| {
                let host = Arc::downgrade(self);
                Arc::new(Probation::begin(plugin, generation.number, config, &previous.tally, host))
            });
            self.publish(&state, plugin, true);
        }
        self.metrics.plugin(plugin).swaps.inc();
        self.history.add([Entry::of(Event::Promoted, generation, reason)]);
        self.announce(generation);
    }

    /// What is decided by time and counts: asked a few times a second.
    pub(super) fn decide(self: &Arc<Self>) {
        let _steps = self.steps();
        let mut served = Vec::new();
        let mut candidates = Vec::new();
        {
            let mut state = self.lock();
            for live in state.plugins.values_mut() {
                if live.probation.take_if(|probation| probation.is_served(&live.running.tally)).is_some() {
                    served.push(Arc::clone(&live.running));
                }
                candidates.extend(live.candidate.clone());
            }
            for generation in &served {
                self.publish(&state, &generation.plugin, false);
            }
        }
        for generation in served {
            self.history.add([Entry::of(Event::Confirmed, &generation, None)]);
            tracing::info!(
                event = "plugin_confirmed",
                plugin = %generation.plugin,
                generation = generation.number,
                version = %generation.manifest.version,
                "plugin {} {} has proved itself (generation {})",
                generation.plugin,
                generation.manifest.version,
                generation.number
            );
        }
        for candidate in candidates {
            if !self.is_tried(&candidate) {
                continue;
            }
            match candidate.shadow.decision() {
                Some(Decision::Promote) => {
                    let said = candidate.shadow.figures().said();
                    candidate.shadow.close();
                    self.take_over(&candidate.generation, Some(&format!("in the shadow: {said}")));
                }
                Some(Decision::Refuse(reason)) => self.refuse_candidate(&candidate, &reason),
                None if candidate.shadow.is_complete() => candidate.shadow.close(),
                None => {}
            }
        }
    }

    /// Whether this trial still counts: after a step back it began anew, against another generation.
    fn is_tried(&self, candidate: &Candidate) -> bool {
        let state = self.lock();
        let now = state.plugins.get(&candidate.generation.plugin).and_then(|live| live.candidate.as_ref());
        now.is_some_and(|now| Arc::ptr_eq(&now.shadow, &candidate.shadow))
    }

    /// Drops a candidate without a verdict.
    fn withdraw(&self, candidate: &Candidate, reason: &str) {
        self.drop_candidate(candidate);
        self.history.add([Entry::of(Event::Refused, &candidate.generation, Some(reason))]);
        self.tell_dropped(&candidate.generation, reason);
    }

    /// Drops a candidate and bars its file.
    fn refuse_candidate(&self, candidate: &Candidate, reason: &str) {
        let generation = &candidate.generation;
        self.drop_candidate(candidate);
        self.history.add([
            Entry::of(Event::Refused, generation, Some(reason)),
            Entry::of(Event::Barred, generation, Some(reason)),
        ]);
        self.metrics.plugin(&generation.plugin).swap_failures.inc();
        let fault = Fault::fatal(Code::PluginShadow, reason);
        self.observer.refused(&generation.plugin, &fault);
        self.tell_dropped(generation, reason);
        self.prune();
    }

    fn drop_candidate(&self, candidate: &Candidate) {
        candidate.shadow.close();
        let mut state = self.lock();
        let plugin = &candidate.generation.plugin;
        if let Some(live) = state.plugins.get_mut(plugin) {
            live.candidate.take_if(|other| Arc::ptr_eq(&other.generation, &candidate.generation));
        }
        self.publish(&state, plugin, false);
    }

    fn tell_dropped(&self, generation: &Generation, reason: &str) {
        tracing::error!(
            event = "plugin_candidate_dropped",
            plugin = %generation.plugin,
            generation = generation.number,
            version = %generation.manifest.version,
            code = Code::PluginShadow.as_str(),
            "candidate {} {} (generation {}) is dropped, what runs goes on: {reason}",
            generation.plugin,
            generation.manifest.version,
            generation.number
        );
    }

    /// Takes back a generation that does worse than the one before. Called by a lane: it waits for nobody who loads.
    pub(super) fn take_back(&self, probation: &Probation, reason: &str) {
        let stepped = {
            let mut state = self.lock();
            let stepped = self.step_back(&mut state, &probation.plugin, Some(probation.generation));
            probation.mark_taken_back();
            stepped
        };
        let Some(back) = stepped else { return };
        self.metrics.plugin(&probation.plugin).taken_back.inc();
        self.write_back(Event::TakenBack, &back, reason);
        let Back { from, to } = back;
        let (plugin, version) = (&from.plugin, &from.manifest.version);
        let said = format!(
            "plugin `{plugin}` {version} (generation {}) was taken back: {reason}; {} runs again as generation {}, and the file is barred",
            from.number, to.manifest.version, to.number
        );
        tracing::error!(
            event = "plugin_taken_back",
            plugin = %plugin,
            generation = from.number,
            version = %version,
            digest = from.digest.get(..12).unwrap_or_default(),
            code = Code::PluginTakenBack.as_str(),
            "{said}"
        );
        self.observer.refused(plugin, &Fault::fatal(Code::PluginTakenBack, said));
    }

    /// Makes the previous generation the running one, unless another than `expected` runs by now.
    fn step_back(&self, state: &mut State, plugin: &str, expected: Option<u64>) -> Option<Back> {
        let live = state.plugins.get_mut(plugin)?;
        if expected.is_some_and(|expected| live.running.number != expected) {
            return None;
        }
        let previous = live.previous.take()?;
        live.highest += 1;
        let to = Arc::new(previous.again(live.highest));
        let from = std::mem::replace(&mut live.running, Arc::clone(&to));
        live.since = SystemTime::now();
        live.probation = None;
        // What a candidate did was held against another generation: its trial begins anew.
        if let Some(candidate) = live.candidate.take() {
            candidate.shadow.close();
            let metrics = self.metrics.plugin(plugin);
            let config = &candidate.shadow.config;
            if let Ok(shadow) = Shadow::start(&self.engine, &candidate.generation, config, metrics) {
                live.candidate = Some(Candidate { generation: candidate.generation, shadow });
            }
        }
        self.publish(state, plugin, true);
        Some(Back { from, to })
    }

    /// Writes a step back down, and bars what was taken back.
    fn write_back(&self, event: Event, back: &Back, reason: &str) {
        let Back { from, to } = back;
        self.history.add([
            Entry { back_to: Some(to.digest.clone()), ..Entry::of(event, from, Some(reason)) },
            Entry::of(Event::Barred, from, Some(reason)),
        ]);
        let number = i64::try_from(to.number).unwrap_or(i64::MAX);
        self.metrics.plugin(&to.plugin).generation.set(number);
        self.observer.running(to, &self.file(&to.plugin));
    }
}

impl PluginControl {
    /// Promotes the candidate of a plugin, or the file in the plugin directory when it is another than the one that runs; a bar is
    /// lifted. Returns what was done.
    ///
    /// # Errors
    /// [`Code::PluginNoStep`] when there is nothing to promote, and all that keeps a file from being loaded.
    pub fn promote(&self, plugin: &str) -> Result<String, Fault> {
        let inner = &self.0;
        let _steps = inner.steps();
        let candidate = {
            let state = inner.lock();
            let live = state.plugins.get(plugin).ok_or_else(|| unknown(plugin, &state))?;
            live.candidate.clone()
        };
        let generation = match candidate {
            Some(candidate) => {
                candidate.shadow.close();
                candidate.generation
            }
            None => {
                let bytes = read(&inner.file(plugin))?;
                if inner.running(plugin).is_some_and(|running| running.digest == digest(&bytes)) {
                    let message = format!(
                        "there is nothing to promote: plugin `{plugin}` has no candidate, and its file is the one that runs"
                    );
                    return Err(Fault::fatal(Code::PluginNoStep, message));
                }
                inner.prepare(plugin, &bytes)?
            }
        };
        inner.take_over(&generation, Some("promoted by hand"));
        inner.prune();
        Ok(format!("plugin {plugin} {} runs now (generation {})", generation.manifest.version, generation.number))
    }

    /// Takes the newest step of a plugin back: gives up the candidate, or goes back to the previous generation. The file is barred.
    /// Returns what was done.
    ///
    /// # Errors
    /// [`Code::PluginNoStep`] when there is nothing to take back.
    pub fn rollback(&self, plugin: &str) -> Result<String, Fault> {
        let inner = &self.0;
        let _steps = inner.steps();
        let candidate = {
            let state = inner.lock();
            let live = state.plugins.get(plugin).ok_or_else(|| unknown(plugin, &state))?;
            live.candidate.clone()
        };
        if let Some(candidate) = candidate {
            inner.refuse_candidate(&candidate, "given up by hand");
            let Generation { number, manifest, .. } = &*candidate.generation;
            return Ok(format!("candidate {plugin} {} (generation {number}) is given up", manifest.version));
        }
        let stepped = {
            let mut state = inner.lock();
            inner.step_back(&mut state, plugin, None)
        };
        let Some(back) = stepped else {
            let message = format!("plugin `{plugin}` has neither a candidate nor an earlier generation to go back to");
            return Err(Fault::fatal(Code::PluginNoStep, message));
        };
        inner.write_back(Event::RolledBack, &back, "rolled back by hand");
        inner.prune();
        let said = format!(
            "plugin {plugin} {} runs again (generation {}); the file of {} is barred",
            back.to.manifest.version, back.to.number, back.from.manifest.version
        );
        tracing::warn!(
            event = "plugin_rolled_back",
            plugin,
            generation = back.from.number,
            version = %back.from.manifest.version,
            digest = back.from.digest.get(..12).unwrap_or_default(),
            "{said}"
        );
        Ok(said)
    }
}

/// The fault for a plugin that does not run.
pub(super) fn unknown(plugin: &str, state: &State) -> Fault {
    let known: Vec<&str> = state.plugins.keys().map(|name| &**name).collect();
    let message = format!("there is no plugin `{plugin}` that runs; those that do: {}", known.join(", "));
    Fault::fatal(Code::NotRunning, message)
}
