//! A host: everything that one process runs, put together from a configuration.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};

use crate::{
    checkpoint::Store,
    config::{Config, PipelineConfig, SinkConfig},
    error::{Code, Fault},
    pipeline::{Installed, Installing, Mode, Pipeline, Stop},
    plugin::{
        Generation, Memory, PluginControl, PluginEngine, PluginHost, PluginObserver,
        compile::{CompileObserver, yield_to_others},
        limits::Limits,
        stage::StageSpec,
    },
    source::{AnySource, BatchLimits},
    state::StateDir,
    status::{LoadedPlugin, PipelineParts, State, Status},
    telemetry::metrics::Metrics,
};

/// The pipelines and plugins of a configuration, ready to run.
pub struct Host {
    config: Config,
    plugins: PluginHost,
    status: Status,
    state: Arc<StateDir>,
    mode: Mode,
    pipelines: Vec<Pipeline>,
    /// Pipelines whose plugins are compiled while the others run.
    late: Vec<Late>,
    orders: mpsc::Receiver<Order>,
    control: Control,
}

/// What an operator asks of a running host.
#[derive(Debug)]
enum Order {
    /// Pause a pipeline, or let it go on.
    Pause { pipeline: String, paused: bool, done: oneshot::Sender<Result<(), Fault>> },
    /// Run this configuration from now on.
    Reload { config: Box<Config>, done: oneshot::Sender<Result<Vec<String>, Vec<Fault>>> },
}

/// A handle on a running host. Cloning gives another handle to the same host.
#[derive(Clone, Debug)]
pub struct Control {
    orders: mpsc::Sender<Order>,
    /// What is done to plugins goes to them at once.
    plugins: PluginControl,
}

impl Control {
    /// Pauses a pipeline, or lets a paused one go on.
    ///
    /// # Errors
    /// When there is no such pipeline, or the host is ending.
    pub async fn pause(&self, pipeline: &str, paused: bool) -> Result<(), Fault> {
        let (done, answer) = oneshot::channel();
        let order = Order::Pause { pipeline: pipeline.to_owned(), paused, done };
        self.orders.send(order).await.map_err(|_| ending())?;
        answer.await.map_err(|_| ending())?
    }

    /// The plugins of the host.
    pub fn plugins(&self) -> &PluginControl {
        &self.plugins
    }

    /// Runs another configuration: pipelines that changed are drained and begun again, the others go on. Returns what was done.
    ///
    /// # Errors
    /// Everything that keeps it from running; then nothing is changed.
    pub async fn reload(&self, config: Config) -> Result<Vec<String>, Vec<Fault>> {
        let (done, answer) = oneshot::channel();
        let order = Order::Reload { config: Box::new(config), done };
        self.orders.send(order).await.map_err(|_| vec![ending()])?;
        answer.await.map_err(|_| vec![ending()])?
    }
}

fn ending() -> Fault {
    Fault::fatal(Code::NotRunning, "the host is ending")
}

/// A pipeline whose plugins are not there yet.
struct Late {
    pipeline: Arc<str>,
    specs: Vec<StageSpec>,
    done: oneshot::Sender<Installed>,
}

/// A pipeline that runs.
struct Running {
    stop: Stop,
    paused: watch::Sender<bool>,
    /// What is to run in its place when it has ended.
    next: Option<Option<Box<Pipeline>>>,
}

/// The stages of a pipeline as the plugin host wants them.
fn specs(config: &Config, name: &Arc<str>, pipeline: &PipelineConfig) -> Vec<StageSpec> {
    let sinks: Arc<[String]> = pipeline.sinks.keys().cloned().collect();
    let stages = pipeline.stages.iter().enumerate();
    stages
        .map(|(index, stage)| {
            let limits = Limits::resolve(&stage.limits, &config.plugins.limits);
            StageSpec::new(name, index, stage, limits, &sinks)
        })
        .collect()
}

/// The stages of each pipeline.
fn all_specs(config: &Config) -> Vec<(Arc<str>, Vec<StageSpec>)> {
    let specs = |(name, pipeline): (&String, &PipelineConfig)| {
        let name: Arc<str> = name.as_str().into();
        let specs = specs(config, &name, pipeline);
        (name, specs)
    };
    config.pipelines.iter().map(specs).collect()
}

/// Loads every plugin that a stage names and configures it as its stages do, however long that takes; nothing is connected to.
///
/// # Errors
/// Every plugin that cannot be used.
pub fn load_plugins(
    config: &Config,
    cache: Option<&Path>,
    memory: Memory<'_>,
    compiling: impl CompileObserver,
    status: &Status,
) -> Result<PluginHost, Vec<Fault>> {
    let engine = PluginEngine::new(cache, compiling).map_err(|fault| vec![fault])?;
    let (specs, metrics) = (all_specs(config), status.metrics().clone());
    PluginHost::load(engine, &config.plugins, memory, &specs, metrics, Box::new(status.clone()))
}

impl CompileObserver for Status {
    fn runs_beside(&self) -> bool {
        true
    }

    fn begins(&self, plugin: &str, bytes: usize) {
        self.plugin_compiling(plugin, Some(bytes));
        tracing::info!(
            event = "plugin_compiling",
            plugin,
            bytes,
            "plugin {plugin} ({bytes} bytes) is being compiled, once: what does not need it goes on"
        );
    }

    fn goes_on(&self, plugin: &str, so_far: Duration) {
        let seconds = so_far.as_secs();
        tracing::info!(
            event = "plugin_compiling",
            plugin,
            seconds,
            "plugin {plugin} is still being compiled, for {seconds} s"
        );
    }

    fn ended(&self, plugin: &str, took: Duration) {
        self.plugin_compiling(plugin, None);
        let seconds = took.as_secs_f64();
        tracing::info!(event = "plugin_compiled", plugin, seconds, "plugin {plugin} was compiled in {seconds:.1} s");
    }
}

impl PluginObserver for Status {
    fn running(&self, generation: &Generation, file: &Path) {
        self.plugin_loaded(
            &generation.plugin,
            LoadedPlugin {
                file: file.to_owned(),
                generation: generation.number,
                version: generation.manifest.version.clone(),
                digest: generation.digest.clone(),
                roles: generation.roles.iter().map(|role| role.as_str().to_owned()).collect(),
                loaded_at: generation.loaded_at,
            },
        );
    }

    fn refused(&self, plugin: &str, fault: &Fault) {
        self.plugin_failed(plugin, fault);
    }

    fn recovered(&self, plugin: &str) {
        self.plugin_recovered(plugin);
    }
}

impl Host {
    /// Puts a host together: takes the state directory, loads the plugins, makes sources and sinks without connecting them.
    ///
    /// # Errors
    /// All plugins that cannot be used, or the first other thing that is wrong.
    pub fn new(config: Config, mode: Mode, status: &Status) -> Result<Self, Vec<Fault>> {
        let state = if mode.dry_run {
            StateDir::unlocked(&config.state.dir)
        } else {
            StateDir::open(&config.state.dir).map_err(|fault| vec![fault])?
        };
        let cache = (!mode.dry_run).then(|| state.path().join("compiled"));
        let memory = Memory { state: Some(state.path()), writes: !mode.dry_run };
        let engine = PluginEngine::new(cache.as_deref(), status.clone()).map_err(|fault| vec![fault])?;
        let slow = |spec: &StageSpec| engine.is_slow(&config.plugins.dir.join(format!("{}.wasm", spec.plugin)));
        let (late, prompt): (Vec<_>, Vec<_>) =
            all_specs(&config).into_iter().partition(|(_, specs)| specs.iter().any(slow));
        let (metrics, observer) = (status.metrics().clone(), Box::new(status.clone()));
        let plugins = PluginHost::load(engine, &config.plugins, memory, &prompt, metrics, observer)?;
        status.watch_plugins(plugins.control());
        let (late, mut installing): (Vec<Late>, HashMap<Arc<str>, Installing>) = late
            .into_iter()
            .map(|(pipeline, specs)| {
                let (done, installing) = oneshot::channel();
                (Late { pipeline: Arc::clone(&pipeline), specs, done }, (pipeline, installing))
            })
            .unzip();
        let (orders, received) = mpsc::channel(4);
        let control = Control { orders, plugins: plugins.control() };
        let mut host = Self {
            config,
            plugins,
            status: status.clone(),
            state: Arc::new(state),
            mode,
            pipelines: Vec::new(),
            late,
            orders: received,
            control,
        };
        host.pipelines = host
            .config
            .pipelines
            .iter()
            .map(|(name, pipeline)| {
                let built = host.build(&host.config, name, pipeline)?;
                Ok(Pipeline { installing: installing.remove(name.as_str()), ..built })
            })
            .collect::<Result<Vec<_>, Fault>>()
            .map_err(|fault| vec![fault])?;
        Ok(host)
    }

    /// A handle for those who give orders while it runs.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Runs all pipelines until each has ended. One that stops does not touch the others.
    ///
    /// # Errors
    /// The first of the pipelines that stopped.
    pub async fn run(mut self, stop: Stop) -> Result<(), Fault> {
        self.install_late()?;
        self.plugins.watch()?;
        let mut tasks = JoinSet::new();
        let mut running: BTreeMap<Arc<str>, Running> = BTreeMap::new();
        let mut names: HashMap<tokio::task::Id, Arc<str>> = HashMap::new();
        for pipeline in std::mem::take(&mut self.pipelines) {
            self.start(pipeline, &stop, &mut tasks, &mut running, &mut names);
        }
        let draining = {
            let (drain, status) = (stop.drain.clone(), self.status.clone());
            tokio::spawn(async move {
                drain.cancelled().await;
                for pipeline in status.pipelines() {
                    if matches!(pipeline.state(), State::Starting | State::Running | State::Retrying) {
                        pipeline.set_state(State::Draining);
                    }
                }
            })
        };
        let mut first = Ok(());
        loop {
            tokio::select! {
                ended = tasks.join_next_with_id() => {
                    let Some(ended) = ended else { break };
                    let (id, ended) = match ended {
                        Ok((id, ended)) => (id, ended),
                        Err(cause) => (cause.id(), Err(Fault::fatal(Code::Internal, format!("a pipeline broke: {cause}")))),
                    };
                    let name = names.remove(&id);
                    match name.and_then(|name| running.remove(&name)).and_then(|running| running.next) {
                        Some(next) if !stop.drain.is_cancelled() => {
                            if let Some(next) = next {
                                self.start(*next, &stop, &mut tasks, &mut running, &mut names);
                            }
                        }
                        _ => first = first.and(ended),
                    }
                }
                Some(order) = self.orders.recv() => self.obey(order, &stop, &mut tasks, &mut running, &mut names),
            }
        }
        draining.abort();
        first
    }

    /// Compiles what takes long on a thread of its own, one after the other: each takes all processors that nobody else wants.
    fn install_late(&mut self) -> Result<(), Fault> {
        let (late, plugins) = (std::mem::take(&mut self.late), self.plugins.control());
        if late.is_empty() {
            return Ok(());
        }
        let install = move || {
            yield_to_others();
            for Late { pipeline, specs, done } in late {
                // Nobody waits any more where the pipeline was told to end.
                let _ = done.send(plugins.install(&pipeline, specs).map(|chain| (plugins.engine(), chain)));
            }
        };
        std::thread::Builder::new().name("compile".to_owned()).spawn(install).map(drop).map_err(|cause| {
            Fault::fatal(Code::PluginStart, format!("the compiling thread cannot be started: {cause}"))
        })
    }

    fn start(
        &self,
        pipeline: Pipeline,
        stop: &Stop,
        tasks: &mut JoinSet<Result<(), Fault>>,
        running: &mut BTreeMap<Arc<str>, Running>,
        names: &mut HashMap<tokio::task::Id, Arc<str>>,
    ) {
        let (status, name) = (self.status.clone(), Arc::clone(&pipeline.name));
        let stop = Stop { drain: stop.drain.child_token(), abort: stop.abort.child_token() };
        let (paused, told) = watch::channel(false);
        running.insert(Arc::clone(&name), Running { stop: stop.clone(), paused, next: None });
        let task = tasks.spawn({
            let name = Arc::clone(&name);
            async move {
                let ended = pipeline.run(stop, told).await;
                tell_end(&name, &status, &ended);
                ended
            }
        });
        names.insert(task.id(), name);
    }

    fn obey(
        &mut self,
        order: Order,
        stop: &Stop,
        tasks: &mut JoinSet<Result<(), Fault>>,
        running: &mut BTreeMap<Arc<str>, Running>,
        names: &mut HashMap<tokio::task::Id, Arc<str>>,
    ) {
        match order {
            Order::Pause { pipeline, paused, done } => {
                let answer = match running.get(pipeline.as_str()) {
                    Some(running) => {
                        running.paused.send_replace(paused);
                        Ok(())
                    }
                    None => Err(Fault::fatal(
                        Code::NotRunning,
                        format!(
                            "there is no pipeline `{pipeline}` that runs; those that do: {}",
                            running.keys().map(|name| &**name).collect::<Vec<_>>().join(", ")
                        ),
                    )),
                };
                let _ = done.send(answer);
            }
            Order::Reload { config, done } => {
                let answer = self.reload(*config, stop, tasks, running, names);
                let _ = done.send(answer);
            }
        }
    }

    /// Everything that can fail is done before anything is stopped.
    fn reload(
        &mut self,
        config: Config,
        stop: &Stop,
        tasks: &mut JoinSet<Result<(), Fault>>,
        running: &mut BTreeMap<Arc<str>, Running>,
        names: &mut HashMap<tokio::task::Id, Arc<str>>,
    ) -> Result<Vec<String>, Vec<Fault>> {
        let mut told = Vec::new();
        for (part, same) in [
            ("state", self.config.state == config.state),
            ("admin", self.config.admin == config.admin),
            ("alerts", self.config.alerts == config.alerts),
            ("log", self.config.log == config.log),
            ("plugins", self.config.plugins == config.plugins),
            ("shutdown_timeout", self.config.shutdown_timeout == config.shutdown_timeout),
        ] {
            if !same {
                told.push(format!("`{part}` has changed, which takes a restart: the old value goes on"));
            }
        }
        let config = Config { pipelines: config.pipelines, ..self.config.clone() };
        let mut fresh = Vec::new();
        let mut faults = Vec::new();
        for (name, pipeline) in &config.pipelines {
            let unchanged = self.config.pipelines.get(name) == Some(pipeline);
            if unchanged && running.contains_key(name.as_str()) {
                continue;
            }
            let arc: Arc<str> = name.as_str().into();
            let installed = if pipeline.stages.is_empty() {
                Ok(())
            } else {
                self.plugins.control().install(&arc, specs(&config, &arc, pipeline)).map(drop)
            };
            match installed.and_then(|()| self.build(&config, name, pipeline).map_err(|fault| vec![fault])) {
                Ok(pipeline) => fresh.push(pipeline),
                Err(found) => faults.extend(found),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let timeout = self.config.shutdown_timeout.0;
        for pipeline in fresh {
            let name = Arc::clone(&pipeline.name);
            match running.get_mut(&name) {
                Some(old) => {
                    told.push(format!("pipeline {name} has changed and begins again"));
                    old.next = Some(Some(Box::new(pipeline)));
                    end_in_time(&old.stop, timeout);
                }
                None => {
                    told.push(format!("pipeline {name} is new or had ended: it begins"));
                    self.start(pipeline, stop, tasks, running, names);
                }
            }
        }
        for (name, old) in running.iter_mut() {
            if !config.pipelines.contains_key(&**name) {
                told.push(format!("pipeline {name} is not in the configuration any more and ends"));
                old.next = Some(None);
                end_in_time(&old.stop, timeout);
                self.plugins.uninstall(name);
            }
        }
        for name in self.config.pipelines.keys().filter(|name| !config.pipelines.contains_key(*name)) {
            self.status.remove_pipeline(name);
        }
        self.config = config;
        Ok(told)
    }

    fn build(&self, config: &Config, name: &str, pipeline: &PipelineConfig) -> Result<Pipeline, Fault> {
        let limits = BatchLimits {
            max_events: pipeline.batch.max_events as usize,
            max_bytes: pipeline.batch.max_bytes.as_usize(),
            linger: pipeline.batch.linger.0,
        };
        let source = AnySource::describe(&pipeline.source);
        let metrics: &Metrics = self.status.metrics();
        let dead_letter = config.dead_letter(name).ok_or_else(|| {
            Fault::fatal(Code::Internal, format!("pipeline `{name}` has no dead letter; this is a defect of tidegate"))
        })?;
        let store = match AnySource::has_positions(&pipeline.source) {
            true => Store::new(&pipeline.checkpoint, &self.state, name, &source),
            false => None,
        };
        let parts = PipelineParts {
            source: source.clone(),
            stages: pipeline.stages.iter().map(|stage| stage.plugin.clone()).collect(),
            sinks: pipeline.sinks.iter().map(|(name, sink)| (name.clone(), describe_sink(sink))).collect(),
            checkpoint: store.and_then(|store| store.path()),
        };
        let stages = match self.plugins.chain(name) {
            Some(chain) if !pipeline.stages.is_empty() => Some((self.plugins.engine(), chain)),
            _ => None,
        };
        Ok(Pipeline {
            name: name.into(),
            config: pipeline.clone(),
            source: source.into(),
            limits,
            stages,
            installing: None,
            dead_letter,
            state: Arc::clone(&self.state),
            log_fields: config.log.fields.iter().cloned().collect(),
            provenance: config.plugins.provenance,
            status: self.status.add_pipeline(name, parts),
            metrics: metrics.clone(),
            mode: self.mode,
            copied: Arc::default(),
        })
    }
}

/// Drains a pipeline, and gives up what does not drain in time.
fn end_in_time(stop: &Stop, timeout: std::time::Duration) {
    stop.drain.cancel();
    let abort = stop.abort.clone();
    tokio::spawn(async move {
        tokio::time::sleep(timeout).await;
        abort.cancel();
    });
}

fn tell_end(name: &str, status: &Status, ended: &Result<(), Fault>) {
    let Some(pipeline) = status.pipelines().into_iter().find(|pipeline| pipeline.name() == name) else { return };
    let metrics = pipeline.metrics();
    let (read, filtered, dead) = (metrics.events_in.get(), metrics.events_filtered.get(), metrics.dead_letters_total());
    let delivered: u64 = pipeline.sinks().iter().map(|sink| sink.events_out.get()).sum();
    match ended {
        Ok(()) => tracing::info!(
            event = "pipeline_ended",
            pipeline = name,
            read,
            delivered,
            filtered,
            dead_letters = dead,
            "pipeline {name} ended: {read} changes read, {delivered} delivered, {filtered} filtered, {dead} to the dead letter"
        ),
        Err(fault) => tracing::error!(
            event = "pipeline_stopped",
            pipeline = name,
            code = fault.code.as_str(),
            read,
            delivered,
            filtered,
            dead_letters = dead,
            "pipeline {name} stopped: {}",
            fault.message
        ),
    }
}

fn describe_sink(sink: &SinkConfig) -> String {
    match sink {
        SinkConfig::Redis(redis) => format!("redis {} {}", redis.mode.as_str(), redis.target()),
        SinkConfig::Mongodb(mongodb) => {
            let part = |name: &Option<String>| name.clone().unwrap_or_else(|| "*".to_owned());
            format!("mongodb {}.{}", part(&mongodb.database), part(&mongodb.collection))
        }
        SinkConfig::Pubsub(pubsub) => format!("pubsub {}", pubsub.topic),
        SinkConfig::File(file) => format!("file {}", file.path.display()),
        SinkConfig::Stdout(_) => "stdout".to_owned(),
    }
}
