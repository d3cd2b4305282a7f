//! A host: everything that one process runs, put together from a configuration.

use std::{path::Path, sync::Arc, time::Duration};

use tokio::task::JoinSet;

use crate::{
    checkpoint::Checkpoint,
    config::{CheckpointConfig, Config, PipelineConfig, SinkConfig},
    dead_letter::DeadLetterWriter,
    error::{Code, Fault},
    pipeline::{Pipeline, Stop},
    plugin::{Generation, PluginEngine, PluginHost, PluginObserver, limits::Limits, stage::StageSpec},
    sink::AnySink,
    source::{AnySource, BatchLimits},
    state::StateDir,
    status::{LoadedPlugin, PipelineParts, State, Status},
    telemetry::metrics::Metrics,
};

/// The pipelines and plugins of a configuration, ready to run.
pub struct Host {
    pipelines: Vec<Pipeline>,
    plugins: PluginHost,
    status: Status,
    _state: StateDir,
}

/// Loads every plugin that a stage names and configures it as its stages do; nothing is connected to.
///
/// # Errors
/// Every plugin that cannot be used.
pub fn load_plugins(config: &Config, cache: Option<&Path>, status: &Status) -> Result<PluginHost, Vec<Fault>> {
    let engine = PluginEngine::new(cache).map_err(|fault| vec![fault])?;
    let stages: Vec<(Arc<str>, Vec<StageSpec>)> = config
        .pipelines
        .iter()
        .map(|(name, pipeline)| {
            let name: Arc<str> = name.as_str().into();
            let sinks: Arc<[String]> = pipeline.sinks.keys().cloned().collect();
            let specs = pipeline
                .stages
                .iter()
                .enumerate()
                .map(|(index, stage)| {
                    let limits = Limits::resolve(&stage.limits, &config.plugins.limits);
                    StageSpec::new(&name, index, stage, limits, &sinks)
                })
                .collect();
            (name, specs)
        })
        .collect();
    let observer = Box::new(status.clone());
    PluginHost::load(engine, &config.plugins.dir, &stages, status.metrics().clone(), observer)
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
}

impl Host {
    /// Puts a host together: takes the state directory, loads the plugins, makes sources and sinks without connecting them.
    ///
    /// # Errors
    /// All plugins that cannot be used, or the first other thing that is wrong.
    pub fn new(config: &Config, status: &Status) -> Result<Self, Vec<Fault>> {
        let state = StateDir::open(&config.state.dir).map_err(|fault| vec![fault])?;
        let plugins = load_plugins(config, Some(&state.path().join("compiled")), status)?;
        let pipelines = config
            .pipelines
            .iter()
            .map(|(name, pipeline)| build(config, name, pipeline, &plugins, &state, status))
            .collect::<Result<Vec<_>, Fault>>()
            .map_err(|fault| vec![fault])?;
        Ok(Self { pipelines, plugins, status: status.clone(), _state: state })
    }

    /// Runs all pipelines until each has ended. One that stops does not touch the others.
    ///
    /// # Errors
    /// The first of the pipelines that stopped.
    pub async fn run(mut self, stop: Stop, exit_when_idle: Option<Duration>) -> Result<(), Fault> {
        self.plugins.watch()?;
        let mut running = JoinSet::new();
        for pipeline in std::mem::take(&mut self.pipelines) {
            let (stop, status, name) = (stop.clone(), self.status.clone(), Arc::clone(&pipeline.name));
            running.spawn(async move {
                let ended = pipeline.run(stop, exit_when_idle).await;
                tell_end(&name, &status, &ended);
                ended
            });
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
        while let Some(ended) = running.join_next().await {
            let ended = ended.unwrap_or_else(|cause| Err(Fault::fatal(Code::Internal, format!("a pipeline broke: {cause}"))));
            first = first.and(ended);
        }
        draining.abort();
        first
    }
}

fn tell_end(name: &str, status: &Status, ended: &Result<(), Fault>) {
    let Some(pipeline) = status.pipelines().into_iter().find(|pipeline| pipeline.name() == name) else { return };
    let metrics = pipeline.metrics();
    let (read, filtered, dead) =
        (metrics.events_in.get(), metrics.events_filtered.get(), metrics.dead_letters_total());
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

fn build(
    config: &Config,
    name: &str,
    pipeline: &PipelineConfig,
    plugins: &PluginHost,
    state: &StateDir,
    status: &Status,
) -> Result<Pipeline, Fault> {
    let limits = BatchLimits {
        max_events: pipeline.batch.max_events as usize,
        max_bytes: pipeline.batch.max_bytes.as_usize(),
        linger: pipeline.batch.linger.0,
    };
    let source_text = AnySource::describe(&pipeline.source);
    let metrics: &Metrics = status.metrics();
    let ddl = metrics.pipeline(name);
    let source = AnySource::new(
        &pipeline.source,
        limits,
        Arc::new(move |kind: &str, _namespace: &str| ddl.ddl(kind)),
    );
    let sinks = pipeline
        .sinks
        .iter()
        .map(|(sink, config)| (sink.clone(), AnySink::new(config)))
        .collect();
    let dead_letter = config.dead_letter(name).ok_or_else(|| {
        Fault::fatal(Code::Internal, format!("pipeline `{name}` has no dead letter; this is a defect of tidegate"))
    })?;
    let checkpoint = if AnySource::has_positions(&pipeline.source) {
        let CheckpointConfig::File(file) = &pipeline.checkpoint;
        Some((Checkpoint::file(state, name, &source_text), file.interval.0))
    } else {
        None
    };
    let parts = PipelineParts {
        source: source_text,
        stages: pipeline.stages.iter().map(|stage| stage.plugin.clone()).collect(),
        sinks: pipeline.sinks.iter().map(|(name, sink)| (name.clone(), describe_sink(sink))).collect(),
        checkpoint: checkpoint.as_ref().map(|(checkpoint, _)| checkpoint.path().to_owned()),
    };
    let stages = match plugins.chain(name) {
        Some(chain) if !pipeline.stages.is_empty() => Some((plugins.engine(), chain)),
        _ => None,
    };
    Ok(Pipeline {
        name: name.into(),
        source,
        limits,
        lanes: usize::from(pipeline.lanes),
        stages,
        sinks,
        dead_letter: DeadLetterWriter::new(&dead_letter),
        checkpoint,
        log_fields: config.log.fields.iter().cloned().collect(),
        status: status.add_pipeline(name, parts),
        metrics: metrics.clone(),
    })
}

fn describe_sink(sink: &SinkConfig) -> String {
    match sink {
        SinkConfig::Redis(redis) => format!("redis stream {}", redis.stream),
        SinkConfig::File(file) => format!("file {}", file.path.display()),
        SinkConfig::Stdout(_) => "stdout".to_owned(),
    }
}
