//! Which generation of each plugin is the running one, and how another takes its place.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;

use super::{
    Generation, PluginEngine,
    component::{digest, read},
    context::Identity,
    instance::Instance,
    stage::StageSpec,
    watch::Watcher,
};
use crate::{
    checkpoint::StageGeneration,
    error::{Code, Fault},
    telemetry::metrics::Metrics,
};

/// The generations that process a batch, one for each stage: a batch is processed by one set from its first stage to its
/// last.
#[derive(Debug)]
pub struct StageSet {
    /// In the order of the pipeline.
    pub stages: Vec<(Arc<StageSpec>, Arc<Generation>)>,
}

/// The stages of one pipeline, and the set that runs now.
#[derive(Debug)]
pub struct StageChain {
    specs: Vec<Arc<StageSpec>>,
    current: ArcSwap<StageSet>,
}

impl StageSet {
    /// Which plugin runs in which generation, for the checkpoint.
    pub fn generations(&self) -> Vec<StageGeneration> {
        self.stages
            .iter()
            .map(|(_, generation)| StageGeneration {
                plugin: generation.plugin.to_string(),
                generation: generation.number,
                digest: generation.digest.clone(),
            })
            .collect()
    }
}

impl StageChain {
    /// The set for the next batch.
    pub fn current(&self) -> Arc<StageSet> {
        self.current.load_full()
    }
}

/// Told of what happens to plugins, for the status page.
pub trait PluginObserver: Send + Sync + 'static {
    /// A generation runs now.
    fn running(&self, generation: &Generation, file: &Path);
    /// The newest file of a plugin cannot be used, or is gone; the running generation goes on.
    fn refused(&self, plugin: &str, fault: &Fault);
    /// The file of a plugin holds what is running: what was told of an earlier file is over.
    fn recovered(&self, plugin: &str);
}

/// All plugins of the process.
pub struct PluginHost {
    inner: Arc<Inner>,
    _watcher: Option<Watcher>,
}

pub(super) struct Inner {
    pub(super) engine: PluginEngine,
    pub(super) dir: PathBuf,
    metrics: Metrics,
    observer: Box<dyn PluginObserver>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    plugins: BTreeMap<Arc<str>, Arc<Generation>>,
    chains: BTreeMap<Arc<str>, Arc<StageChain>>,
}

/// What came of a file.
pub(super) enum Reload {
    /// It holds what is running.
    Same,
    /// It is running now.
    Swapped,
}

impl PluginHost {
    /// Loads every plugin that the stages name and configures it for each of them, without swapping anything later: the
    /// directory is not watched until [`PluginHost::watch`].
    ///
    /// # Errors
    /// Every plugin that cannot be used, not only the first.
    pub fn load(
        engine: PluginEngine,
        dir: &Path,
        pipelines: &[(Arc<str>, Vec<StageSpec>)],
        metrics: Metrics,
        observer: Box<dyn PluginObserver>,
    ) -> Result<Self, Vec<Fault>> {
        let inner = Inner { engine, dir: dir.to_owned(), metrics, observer, state: Mutex::default() };
        let mut faults = Vec::new();
        let mut generations: BTreeMap<Arc<str>, Arc<Generation>> = BTreeMap::new();
        let specs = || pipelines.iter().flat_map(|(_, specs)| specs);
        let names: std::collections::BTreeSet<Arc<str>> = specs().map(|spec| Arc::clone(&spec.plugin)).collect();
        for name in names {
            match inner.load_first(&name) {
                Ok(generation) => {
                    generations.insert(name, Arc::new(generation));
                }
                Err(fault) => faults.push(fault),
            }
        }
        for spec in specs() {
            if let Some(generation) = generations.get(&spec.plugin) {
                faults.extend(inner.try_out(spec, generation).err());
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        {
            let mut state = inner.state.lock().unwrap_or_else(PoisonError::into_inner);
            for (pipeline, specs) in pipelines {
                let specs: Vec<Arc<StageSpec>> = specs.iter().map(|spec| Arc::new(spec.clone())).collect();
                let stages = specs
                    .iter()
                    .filter_map(|spec| Some((Arc::clone(spec), Arc::clone(generations.get(&spec.plugin)?))))
                    .collect();
                let chain = StageChain { specs, current: ArcSwap::from_pointee(StageSet { stages }) };
                state.chains.insert(Arc::clone(pipeline), Arc::new(chain));
            }
            for generation in generations.values() {
                inner.announce(generation);
            }
            state.plugins = generations;
        }
        Ok(Self { inner: Arc::new(inner), _watcher: None })
    }

    /// Watches the directory from now on, on a thread of its own.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn watch(&mut self) -> Result<(), Fault> {
        self._watcher = Some(Watcher::start(Arc::clone(&self.inner))?);
        Ok(())
    }

    /// Loads what the stages of a pipeline name and is not loaded yet, and configures them; they run for the pipeline from now on.
    ///
    /// # Errors
    /// Every plugin that cannot be used; then nothing is changed.
    pub fn install(&self, pipeline: &Arc<str>, specs: Vec<StageSpec>) -> Result<Arc<StageChain>, Vec<Fault>> {
        let mut fresh: BTreeMap<Arc<str>, Arc<Generation>> = BTreeMap::new();
        let mut faults = Vec::new();
        let mut stages = Vec::with_capacity(specs.len());
        for spec in specs {
            let running =
                self.inner.lock().plugins.get(&spec.plugin).cloned().or_else(|| fresh.get(&spec.plugin).cloned());
            let generation = match running {
                Some(generation) => Ok(generation),
                None => self.inner.load_first(&spec.plugin).map(Arc::new),
            };
            match generation.and_then(|generation| self.inner.try_out(&spec, &generation).map(|()| generation)) {
                Ok(generation) => {
                    fresh.insert(Arc::clone(&spec.plugin), Arc::clone(&generation));
                    stages.push((Arc::new(spec), generation));
                }
                Err(fault) => faults.push(fault),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let specs = stages.iter().map(|(spec, _)| Arc::clone(spec)).collect();
        let chain = Arc::new(StageChain { specs, current: ArcSwap::from_pointee(StageSet { stages }) });
        let mut state = self.inner.lock();
        for (name, generation) in fresh {
            if let std::collections::btree_map::Entry::Vacant(entry) = state.plugins.entry(name) {
                self.inner.announce(&generation);
                entry.insert(generation);
            }
        }
        state.chains.insert(Arc::clone(pipeline), Arc::clone(&chain));
        Ok(chain)
    }

    /// A pipeline is gone.
    pub fn uninstall(&self, pipeline: &str) {
        self.inner.lock().chains.remove(pipeline);
    }

    /// The stages of a pipeline.
    pub fn chain(&self, pipeline: &str) -> Option<Arc<StageChain>> {
        self.inner.lock().chains.get(pipeline).cloned()
    }

    /// The engine, for lanes.
    pub fn engine(&self) -> PluginEngine {
        self.inner.engine.clone()
    }
}

impl Inner {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The plugins that run.
    pub(super) fn names(&self) -> Vec<Arc<str>> {
        self.lock().plugins.keys().cloned().collect()
    }

    /// The file of a plugin.
    pub(super) fn file(&self, plugin: &str) -> PathBuf {
        self.dir.join(format!("{plugin}.wasm"))
    }

    fn load_first(&self, plugin: &str) -> Result<Generation, Fault> {
        let file = self.file(plugin);
        match std::fs::exists(&file) {
            Ok(true) => Generation::load(&self.engine, plugin, 1, &read(&file)?),
            _ => Err(Fault::fatal(Code::PluginMissing, missing(plugin, &self.dir))),
        }
    }

    /// Starts and configures a generation as the stage would.
    fn try_out(&self, spec: &StageSpec, generation: &Generation) -> Result<(), Fault> {
        generation.check_config(&spec.config)?;
        // What it logs and counts while it is tried is not of the stream.
        let identity =
            Identity { metrics: Metrics::new().plugin(&spec.plugin), ..spec.identity(generation, &self.metrics) };
        Instance::configured(&self.engine, generation, identity, spec.limits, &spec.config_text).map(drop)
    }

    /// Brings a file's bytes to life: compiled, checked, configured for every stage that runs it, then one atomic store for
    /// each pipeline. A batch that is under way ends with the set it began with.
    pub(super) fn reload(&self, plugin: &str, bytes: &[u8]) -> Result<Reload, Fault> {
        let Some(running) = self.lock().plugins.get(plugin).cloned() else { return Ok(Reload::Same) };
        if running.digest == digest(bytes) {
            return Ok(Reload::Same);
        }
        let generation = Arc::new(Generation::load(&self.engine, plugin, running.number + 1, bytes)?);
        let chains: Vec<Arc<StageChain>> = self.lock().chains.values().cloned().collect();
        for spec in chains.iter().flat_map(|chain| &chain.specs).filter(|spec| *spec.plugin == *plugin) {
            self.try_out(spec, &generation)?;
        }
        let mut state = self.lock();
        for chain in chains.iter().filter(|chain| chain.specs.iter().any(|spec| *spec.plugin == *plugin)) {
            let stages = chain
                .current
                .load()
                .stages
                .iter()
                .map(|(spec, old)| {
                    let generation = if *spec.plugin == *plugin { &generation } else { old };
                    (Arc::clone(spec), Arc::clone(generation))
                })
                .collect();
            chain.current.store(Arc::new(StageSet { stages }));
        }
        state.plugins.insert(plugin.into(), Arc::clone(&generation));
        drop(state);
        self.metrics.plugin(plugin).swaps.inc();
        self.announce(&generation);
        Ok(Reload::Swapped)
    }

    fn announce(&self, generation: &Generation) {
        let number = i64::try_from(generation.number).unwrap_or(i64::MAX);
        self.metrics.plugin(&generation.plugin).generation.set(number);
        self.observer.running(generation, &self.file(&generation.plugin));
        let roles: Vec<&str> = generation.roles.iter().map(|role| role.as_str()).collect();
        tracing::info!(
            event = if generation.number == 1 { "plugin_loaded" } else { "plugin_swapped" },
            plugin = %generation.plugin,
            generation = generation.number,
            version = %generation.manifest.version,
            digest = generation.digest.get(..12).unwrap_or_default(),
            roles = %roles.join(","),
            "plugin {} {} is running (generation {})",
            generation.plugin,
            generation.manifest.version,
            generation.number
        );
    }

    /// The file holds what is running.
    pub(super) fn settle(&self, plugin: &str) {
        self.observer.recovered(plugin);
    }

    /// The file is gone: said in the log and the status, and the running generation goes on.
    pub(super) fn miss(&self, plugin: &str, cause: &std::io::Error) {
        let file = self.file(plugin);
        let message = format!("the file of plugin {plugin} is gone ({cause}); the generation that runs goes on");
        tracing::warn!(event = "plugin_file_gone", plugin, file = %file.display(), "{message}");
        self.observer.refused(plugin, &Fault::fatal(Code::PluginMissing, message));
    }

    /// A file cannot be used: said everywhere, and the running generation goes on.
    pub(super) fn refuse(&self, plugin: &str, fault: &Fault) {
        self.metrics.plugin(plugin).swap_failures.inc();
        self.observer.refused(plugin, fault);
        let generation = self.lock().plugins.get(plugin).map_or(0, |generation| generation.number);
        tracing::error!(
            event = "plugin_refused",
            plugin,
            generation,
            code = fault.code.as_str(),
            "the new file of plugin {plugin} is not used, generation {generation} goes on: {}",
            fault.message
        );
    }
}

fn missing(plugin: &str, dir: &Path) -> String {
    let mut there: Vec<String> = std::fs::read_dir(dir)
        .map(|entries| {
            entries
                .flatten()
                .filter_map(|entry| {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    name.strip_suffix(".wasm").map(str::to_owned)
                })
                .collect()
        })
        .unwrap_or_default();
    there.sort();
    let there = match there.as_slice() {
        [] if !dir.is_dir() => "the directory does not exist".to_owned(),
        [] => "it holds no *.wasm file".to_owned(),
        _ => format!("it holds: {}", there.join(", ")),
    };
    format!(
        "plugin `{plugin}` is missing: there is no {plugin}.wasm in {} ({there}); put it there, or set `plugins.dir`",
        dir.display()
    )
}
