//! Which generation of each plugin is the running one, and how another takes its place.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use super::{
    Generation, PluginEngine,
    chain::{Stage, StageChain},
    component::{digest, read},
    context::Identity,
    grants::Grants,
    history::{Entry, Event, History, Standing},
    instance::Instance,
    kept::Kept,
    probation::Probation,
    samples,
    shadow::{Shadow, Tap},
    stage::StageSpec,
    watch::Watcher,
};
use crate::{
    config::PluginsConfig,
    error::{Code, Fault},
    telemetry::metrics::Metrics,
};

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
    pub(super) config: PluginsConfig,
    pub(super) metrics: Metrics,
    pub(super) observer: Box<dyn PluginObserver>,
    pub(super) history: History,
    pub(super) kept: Kept,
    /// Of those plugins that are granted anything.
    grants: BTreeMap<String, Arc<Grants>>,
    /// Held by whoever loads and decides, so that one step follows the other. What a lane does in an emergency does not wait for it.
    pub(super) steps: Mutex<()>,
    state: Mutex<State>,
}

/// Where the host keeps what it must know of plugins after a restart.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory<'a> {
    /// The state directory; none: nothing is known, and nothing kept.
    pub state: Option<&'a Path>,
    /// Whether anything is written there; else it is only looked into.
    pub writes: bool,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) plugins: BTreeMap<Arc<str>, Live>,
    pub(super) chains: BTreeMap<Arc<str>, Arc<StageChain>>,
}

/// A plugin that runs.
pub(super) struct Live {
    pub(super) running: Arc<Generation>,
    pub(super) since: SystemTime,
    /// While the running generation has to prove itself.
    pub(super) probation: Option<Arc<Probation>>,
    /// The last generation before it that had proved itself: where a step back leads.
    pub(super) previous: Option<Arc<Generation>>,
    pub(super) candidate: Option<Candidate>,
    /// The highest number that was given to a generation.
    pub(super) highest: u64,
}

/// A generation that is tried on copies.
#[derive(Clone)]
pub(super) struct Candidate {
    pub(super) generation: Arc<Generation>,
    pub(super) shadow: Arc<Shadow>,
}

impl Live {
    fn first(generation: Arc<Generation>) -> Self {
        let highest = generation.number;
        let since = SystemTime::now();
        Self { running: generation, since, probation: None, previous: None, candidate: None, highest }
    }

    fn stage(&self, spec: &Arc<StageSpec>) -> Stage {
        Stage {
            spec: Arc::clone(spec),
            generation: Arc::clone(&self.running),
            probation: self.probation.clone(),
            tap: self.candidate.as_ref().map(|candidate| Tap::new(&candidate.shadow, spec)),
        }
    }
}

/// What came of a file.
pub(super) enum Reload {
    /// It holds what is running.
    Same,
    /// It is running now, or being tried.
    Taken,
}

/// What a start found in the plugin directory, or has of its own.
struct Found {
    generation: Arc<Generation>,
    bytes: Vec<u8>,
}

impl PluginHost {
    /// Loads every plugin that the stages name and configures it for each of them, without swapping anything later: the
    /// directory is not watched until [`PluginHost::watch`].
    ///
    /// # Errors
    /// Every plugin that cannot be used, not only the first.
    pub fn load(
        engine: PluginEngine,
        config: &PluginsConfig,
        memory: Memory<'_>,
        pipelines: &[(Arc<str>, Vec<StageSpec>)],
        metrics: Metrics,
        observer: Box<dyn PluginObserver>,
    ) -> Result<Self, Vec<Fault>> {
        let mut grants = BTreeMap::new();
        let mut faults = Vec::new();
        for (name, each) in &config.each {
            match Grants::of(name, &each.grants) {
                Ok(granted) => drop(grants.insert(name.clone(), granted)),
                Err(fault) => faults.push(fault),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let inner = Inner {
            engine,
            grants,
            config: config.clone(),
            metrics,
            observer,
            history: History::open(memory.state, memory.writes),
            kept: Kept::new(memory.state, memory.writes),
            steps: Mutex::default(),
            state: Mutex::default(),
        };
        let mut generations: BTreeMap<Arc<str>, Found> = BTreeMap::new();
        let specs = || pipelines.iter().flat_map(|(_, specs)| specs);
        let names: std::collections::BTreeSet<Arc<str>> = specs().map(|spec| Arc::clone(&spec.plugin)).collect();
        for name in names {
            match inner.load_first(&name) {
                Ok(found) => {
                    generations.insert(name, found);
                }
                Err(fault) => faults.push(fault),
            }
        }
        for spec in specs() {
            if let Some(found) = generations.get(&spec.plugin) {
                faults.extend(inner.try_out(spec, &found.generation).err());
            }
        }
        for (name, found) in generations.iter().filter(|_| faults.is_empty()).collect::<Vec<_>>() {
            let own: Vec<&StageSpec> = specs().filter(|spec| spec.plugin == *name).collect();
            faults.extend(inner.try_first_samples(&found.generation, &own).err());
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        {
            let mut state = inner.state.lock().unwrap_or_else(PoisonError::into_inner);
            for (pipeline, specs) in pipelines {
                let specs: Vec<Arc<StageSpec>> = specs.iter().map(|spec| Arc::new(spec.clone())).collect();
                let running = |spec: &Arc<StageSpec>| {
                    let found = generations.get(&spec.plugin)?;
                    Some(Live::first(Arc::clone(&found.generation)).stage(spec))
                };
                let stages = specs.iter().filter_map(running).collect();
                let chain = StageChain::new(specs, stages);
                state.chains.insert(Arc::clone(pipeline), Arc::new(chain));
            }
            for (name, found) in generations {
                inner.first_runs(&found);
                state.plugins.insert(name, Live::first(found.generation));
            }
        }
        inner.prune();
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

    /// A pipeline is gone.
    pub fn uninstall(&self, pipeline: &str) {
        self.inner.lock().chains.remove(pipeline);
    }

    /// The stages of a pipeline.
    pub fn chain(&self, pipeline: &str) -> Option<Arc<StageChain>> {
        self.inner.lock().chains.get(pipeline).cloned()
    }

    /// A handle for those who look at plugins and give orders.
    pub fn control(&self) -> PluginControl {
        PluginControl(Arc::clone(&self.inner))
    }

    /// The engine, for lanes.
    pub fn engine(&self) -> PluginEngine {
        self.inner.engine.clone()
    }
}

impl Inner {
    pub(super) fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The plugins that run.
    pub(super) fn names(&self) -> Vec<Arc<str>> {
        self.lock().plugins.keys().cloned().collect()
    }

    /// The generation of a plugin that runs.
    pub(super) fn running(&self, plugin: &str) -> Option<Arc<Generation>> {
        self.lock().plugins.get(plugin).map(|live| Arc::clone(&live.running))
    }

    /// The file of a plugin.
    pub(super) fn file(&self, plugin: &str) -> PathBuf {
        self.config.dir.join(format!("{plugin}.wasm"))
    }

    /// What a start runs: the file of the plugin, unless it is barred or nobody has decided on it; then what ran last.
    fn load_first(&self, plugin: &str) -> Result<Found, Fault> {
        let file = self.file(plugin);
        let Ok(true) = std::fs::exists(&file) else {
            return Err(Fault::fatal(Code::PluginMissing, missing(plugin, &self.config.dir)));
        };
        let bytes = read(&file)?;
        let standing = self.history.standing(plugin, &digest(&bytes));
        let last = self.history.last_running(plugin).filter(|_| standing != Standing::Free);
        let last = last.and_then(|last| self.kept.get(&last));
        let bytes = match (&standing, last) {
            (Standing::Free, _) => bytes,
            (Standing::Undecided | Standing::Barred(_), Some(last)) => {
                tracing::warn!(
                    event = "plugin_last_good",
                    plugin,
                    file = %file.display(),
                    "the file of plugin {plugin} {}: the last good generation runs, from the host's own copy",
                    match &standing {
                        Standing::Barred(why) => format!("is barred ({why})"),
                        _ => "was tried and nobody has decided on it".to_owned(),
                    }
                );
                last
            }
            // Without another there is nothing to try it against.
            (Standing::Undecided, None) => bytes,
            (Standing::Barred(why), None) => {
                return Err(barred(plugin, &file, why, "and the host has no copy of another; put another build there"));
            }
        };
        let generation = Arc::new(self.load_bytes(plugin, 1, &bytes)?);
        Ok(Found { generation, bytes })
    }

    /// Compiles a component and checks it, its imports against what the plugin is granted.
    pub(super) fn load_bytes(&self, plugin: &str, number: u64, bytes: &[u8]) -> Result<Generation, Fault> {
        let grants = self.grants.get(plugin).cloned().unwrap_or_default();
        Generation::load(&self.engine, plugin, number, bytes, &grants)
    }

    /// A plugin runs for the first time in this host.
    fn first_runs(&self, found: &Found) {
        let Found { generation, bytes } = found;
        self.kept.put(&generation.plugin, &generation.digest, bytes);
        self.history.add([Entry::of(Event::Loaded, generation, None)]);
        self.announce(generation);
    }

    /// What ran here before is known; samples that were changed since are for the next file.
    fn try_first_samples(&self, generation: &Generation, specs: &[&StageSpec]) -> Result<(), Fault> {
        match self.history.ran(&generation.plugin, &generation.digest) {
            true => Ok(()),
            false => self.try_samples(generation, specs),
        }
    }

    /// Runs the golden samples of a plugin, where there are any.
    pub(super) fn try_samples(&self, generation: &Generation, specs: &[&StageSpec]) -> Result<(), Fault> {
        let file = self.config.dir.join(format!("{}.samples.jsonl", generation.plugin));
        samples::run(&self.engine, generation, specs, &file)
    }

    /// Puts the generations that run now into every pipeline that runs the plugin: one atomic store for each. A batch that is under
    /// way ends with the set it began with.
    pub(super) fn publish(&self, state: &State, plugin: &str, swapped: bool) {
        for chain in state.chains.values().filter(|chain| chain.runs(plugin)) {
            let stage = |spec: &Arc<StageSpec>| Some(state.plugins.get(&spec.plugin)?.stage(spec));
            chain.put(chain.specs.iter().filter_map(stage).collect(), swapped);
        }
        if let Some(live) = state.plugins.get(plugin) {
            let metrics = self.metrics.plugin(plugin);
            metrics.probation.set(i64::from(live.probation.is_some()));
            metrics.shadow.set(i64::from(live.candidate.is_some()));
        }
    }

    /// Forgets the copies of components that nobody goes back to.
    pub(super) fn prune(&self) {
        let mut wanted: std::collections::BTreeSet<String> = self.history.all_last_running().into_iter().collect();
        for live in self.lock().plugins.values() {
            let candidate = live.candidate.as_ref().map(|candidate| &candidate.generation);
            let all = [Some(&live.running), live.previous.as_ref(), candidate];
            wanted.extend(all.into_iter().flatten().map(|generation| generation.digest.clone()));
        }
        self.kept.prune(&wanted);
    }

    /// Starts and configures a generation as the stage would.
    pub(super) fn try_out(&self, spec: &StageSpec, generation: &Generation) -> Result<(), Fault> {
        generation.check_config(&spec.config)?;
        // What it logs and counts while it is tried is not of the stream.
        let identity =
            Identity { metrics: Metrics::new().plugin(&spec.plugin), ..spec.identity(generation, &self.metrics) };
        Instance::configured(&self.engine, generation, identity, spec.limits, &spec.config_text).map(drop)
    }

    pub(super) fn announce(&self, generation: &Generation) {
        let number = i64::try_from(generation.number).unwrap_or(i64::MAX);
        self.metrics.plugin(&generation.plugin).generation.set(number);
        self.observer.running(generation, &self.file(&generation.plugin));
        let roles: Vec<&str> = generation.roles.iter().map(|role| role.as_str()).collect();
        tracing::info!(
            event = if generation.number <= 1 { "plugin_loaded" } else { "plugin_swapped" },
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
    pub(super) fn refuse(&self, plugin: &str, digest: &str, fault: &Fault) {
        if fault.code != Code::PluginBarred {
            self.history.add([Entry::new(Event::Refused, plugin, 0, "", digest, Some(&fault.message))]);
        }
        self.metrics.plugin(plugin).swap_failures.inc();
        self.observer.refused(plugin, fault);
        let generation = self.running(plugin).map_or(0, |generation| generation.number);
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

/// The fault for a file that is not run any more.
pub(super) fn barred(plugin: &str, file: &Path, why: &str, what: &str) -> Fault {
    Fault::fatal(
        Code::PluginBarred,
        format!("the file {} of plugin `{plugin}` is barred ({why}), {what}", file.display()),
    )
}

/// A handle on the plugins of a running host. Cloning gives another handle to the same host.
#[derive(Clone)]
pub struct PluginControl(pub(super) Arc<Inner>);

impl PluginControl {
    /// Loads what the stages of a pipeline name and is not loaded yet, and configures them; they run for the pipeline from now on.
    ///
    /// # Errors
    /// Every plugin that cannot be used; then nothing is changed.
    pub fn install(&self, pipeline: &Arc<str>, specs: Vec<StageSpec>) -> Result<Arc<StageChain>, Vec<Fault>> {
        let inner = &self.0;
        let _steps = inner.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fresh: BTreeMap<Arc<str>, Found> = BTreeMap::new();
        let mut faults = Vec::new();
        for spec in &specs {
            let running = inner.running(&spec.plugin);
            let running = running.or_else(|| Some(Arc::clone(&fresh.get(&spec.plugin)?.generation)));
            let generation = match running {
                Some(generation) => Ok(generation),
                None => inner.load_first(&spec.plugin).and_then(|found| {
                    let generation = Arc::clone(&found.generation);
                    inner.try_first_samples(&generation, &[spec])?;
                    fresh.insert(Arc::clone(&spec.plugin), found);
                    Ok(generation)
                }),
            };
            faults.extend(generation.and_then(|generation| inner.try_out(spec, &generation)).err());
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        for found in fresh.values() {
            inner.first_runs(found);
        }
        let specs: Vec<Arc<StageSpec>> = specs.into_iter().map(Arc::new).collect();
        let mut state = inner.lock();
        for (name, found) in fresh {
            state.plugins.entry(name).or_insert_with(|| Live::first(found.generation));
        }
        let stages = specs.iter().filter_map(|spec| Some(state.plugins.get(&spec.plugin)?.stage(spec))).collect();
        let chain = Arc::new(StageChain::new(specs, stages));
        state.chains.insert(Arc::clone(pipeline), Arc::clone(&chain));
        Ok(chain)
    }

    /// The engine, for lanes.
    pub fn engine(&self) -> PluginEngine {
        self.0.engine.clone()
    }
}

impl std::fmt::Debug for PluginControl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PluginControl")
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
