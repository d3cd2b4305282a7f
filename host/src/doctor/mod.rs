//! `tidegate doctor`: is everything there that a configuration needs?
//!
//! Each connection is made, and each server asked what it is, how it is set and what the user may do, before a pipeline runs into it.
//! Nothing is written anywhere. What a system needs to be asked stands beside what talks to it (`examine` of connectors and sinks); here
//! it is put together.

mod finding;
mod places;
mod setup;

use std::time::Duration;

use serde::Serialize;

pub(crate) use self::finding::Finding;
pub use self::finding::{Finding as Line, Verdict};
use crate::{
    checkpoint::Store,
    config::{CheckpointConfig, Config, PipelineConfig, Snapshot, SourceConfig},
    error::Fault,
    host,
    plugin::{Memory, compile::CompileObserver},
    position::Positions,
    sink::{AnySink, Sink as _},
    source::{AnySource, BatchLimits, Hooks, Place, Source as _},
    state::StateDir,
    status::Status,
    telemetry::metrics::Metrics,
};

/// How long one system may take to answer all that it is asked.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was found out about one part of a configuration.
#[derive(Debug, Serialize)]
pub struct Part {
    /// The pipeline; none for what the host has itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// `source`, `sink NAME`, `checkpoint`, `dead letters`, `host`, `plugins`, `setup`.
    pub part: String,
    /// What it is, without secrets.
    pub about: String,
    /// The checklist.
    pub findings: Vec<Finding>,
}

/// Looks at everything that a configuration names.
pub async fn examine(config: &Config, compiling: impl CompileObserver) -> Vec<Part> {
    let mut parts = vec![Part {
        pipeline: None,
        part: "host".to_owned(),
        about: format!("state in {}", config.state.dir.display()),
        findings: places::of_host(config),
    }];
    if config.pipelines.values().any(|pipeline| !pipeline.stages.is_empty()) {
        parts.push(plugins(config, compiling));
    }
    for (name, pipeline) in &config.pipelines {
        let mut add = |part: String, about: String, findings: Vec<Finding>| {
            parts.push(Part { pipeline: Some(name.clone()), part, about, findings });
        };
        let about = AnySource::describe(&pipeline.source);
        add("source".to_owned(), about, in_time(source(config, name, pipeline)).await);
        for (sink, found) in &pipeline.sinks {
            let (keeps, record) = (matches!(pipeline.checkpoint, CheckpointConfig::Sink(_)), pipeline.record(name));
            let mut built = AnySink::new(found, record, sink).from_source(&pipeline.source);
            let findings = in_time(async {
                let mut findings = built.examine(keeps).await;
                if findings.iter().all(|finding| finding.verdict != Verdict::Bad) {
                    findings.extend(opened(built.open().await));
                }
                findings
            });
            add(format!("sink {sink}"), AnySink::describe(found), findings.await);
        }
        if let Some((about, findings)) = checkpoint(config, name, pipeline).await {
            add("checkpoint".to_owned(), about, findings);
        }
        let (about, findings) = places::dead_letters(config, name, pipeline).await;
        add("dead letters".to_owned(), about, findings);
    }
    parts.extend(setup::part(config).await);
    parts
}

/// No system may keep the others waiting.
async fn in_time(findings: impl Future<Output = Vec<Finding>>) -> Vec<Finding> {
    match tokio::time::timeout(PATIENCE, findings).await {
        Ok(findings) => findings,
        Err(_) => vec![Finding::bad(format!("it did not answer within {PATIENCE:?}"))],
    }
}

fn opened(opened: Result<(), Fault>) -> Vec<Finding> {
    match opened {
        Ok(()) => Vec::new(),
        Err(fault) => vec![Finding::from(&fault)],
    }
}

fn plugins(config: &Config, compiling: impl CompileObserver) -> Part {
    let status = Status::new(Metrics::new());
    let findings = match host::load_plugins(config, None, Memory::default(), compiling, &status) {
        Ok(_) => {
            let mut names: Vec<_> = status.plugins().into_iter().map(|(name, _)| name).collect();
            names.sort_unstable();
            vec![Finding::good(format!("can be loaded with their configuration: {}", names.join(", ")))]
        }
        Err(faults) => faults.iter().map(Finding::from).collect(),
    };
    Part { pipeline: None, part: "plugins".to_owned(), about: config.plugins.dir.display().to_string(), findings }
}

/// The source is opened as a dry run does, where nothing is stored, and without the copy that may come first.
async fn source(config: &Config, name: &str, pipeline: &PipelineConfig) -> Vec<Finding> {
    let mut pipeline = pipeline.clone();
    let mut findings = AnySource::examine(&pipeline.source).await;
    if findings.iter().any(|finding| finding.verdict == Verdict::Bad) {
        return findings;
    }
    match &mut pipeline.source {
        SourceConfig::Mongodb(mongodb) => mongodb.snapshot = Snapshot::Never,
        // An open one begins to read all keys.
        SourceConfig::Redis(redis) if redis.keys.is_some() => return findings,
        // What comes in there is not to be taken from whom it is for.
        SourceConfig::Stdin(_) | SourceConfig::Pubsub(_) => return findings,
        _ => {}
    }
    let limits = BatchLimits { max_events: 1, max_bytes: 1 << 20, linger: Duration::ZERO };
    let place = Place { folder: config.state.dir.clone(), pipeline: name.to_owned(), dry: true };
    let mut source = AnySource::new(&pipeline, limits, Hooks::silent(), place);
    match source.open(&Positions::default()).await {
        Ok(_) => findings.push(Finding::good("it can be opened")),
        Err(fault) => findings.push(Finding::from(&fault)),
    }
    findings
}

/// None where positions are kept beside the data.
async fn checkpoint(config: &Config, name: &str, pipeline: &PipelineConfig) -> Option<(String, Vec<Finding>)> {
    let state = StateDir::unlocked(&config.state.dir);
    let mut store = Store::new(&pipeline.checkpoint, &state, name, &AnySource::describe(&pipeline.source))?;
    let place = store.place();
    let findings = in_time(async {
        let mut findings = match store.read().await {
            Ok(Some(_)) => vec![Finding::good("holds the position of an earlier run")],
            Ok(None) => vec![Finding::good("is empty: the pipeline would begin anew")],
            Err(fault) => vec![Finding::from(&fault)],
        };
        findings.extend(store.examine().await);
        findings
    });
    Some((place, findings.await))
}
