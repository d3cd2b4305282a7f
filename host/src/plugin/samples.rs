//! Golden samples: changes that lie beside a plugin, `NAME.samples.jsonl`, with what it is to make of each.
//!
//! ```json
//! {"change":{"op":"insert","ns":"shop.items","doc":{"_id":1}},"expect":"accept"}
//! {"role":"migrator","config":{"currency":"USD"},"change":{...},"expect":{"migrated":{"from":"1","to":"2","doc":{...}}}}
//! ```
//! What the operator grants a plugin is not used here: a sample touches nothing outside. `given` says what it gets instead, as in a
//! case: `"given":{"clock":"2026-01-31T12:00:00Z"}`.
//!
//! `role` is asked for where the plugin has several; without `config` a sample holds for each stage that runs the plugin, with the
//! configuration of the stage. Each change is a call of its own.

use std::{path::Path, sync::Arc};

use serde::Deserialize;
use serde_json::Value;

use super::{
    Generation, PluginEngine,
    component::Role,
    context::Identity,
    expect::{Expected, shown},
    grants::{Given, Grants},
    instance::Instance,
    stage::StageSpec,
};
use crate::{
    change::Change,
    error::{Code, Fault},
    format::lines::read_document_change,
    telemetry::metrics::Metrics,
};

/// Differences that are told.
const TOLD: usize = 3;
/// Nobody writes so much by hand: a bigger file was put there by mistake.
const MOST_BYTES: u64 = 64 << 20;

/// One sample.
pub(super) struct Sample {
    /// Line in the file, from 1.
    line: usize,
    role: Role,
    config: Option<Value>,
    change: Change,
    grants: Arc<Grants>,
    expected: Expected,
    /// As it was written.
    expect: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    change: Value,
    expect: Value,
    role: Option<String>,
    config: Option<Value>,
    #[serde(default)]
    given: Given,
}

/// Runs the samples in a file, where there is one, as each of the stages would.
///
/// # Errors
/// [`Code::PluginSamples`]: the first differences, or what is wrong with the file; and what keeps the plugin from being started.
pub(super) fn run(
    engine: &PluginEngine,
    generation: &Generation,
    specs: &[&StageSpec],
    file: &Path,
) -> Result<(), Fault> {
    let samples = match std::fs::metadata(file) {
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(fault(file, &format!("it cannot be read: {cause}"))),
        Ok(metadata) if metadata.len() > MOST_BYTES => return Err(fault(file, "it is bigger than 64 MiB")),
        Ok(_) => read(generation, file)?,
    };
    let mut differences = Vec::new();
    for (place, spec) in specs.iter().enumerate() {
        for sample in &samples {
            // One with a configuration of its own is the same for every stage.
            if sample.config.is_none() || place == 0 {
                differences.extend(difference(engine, generation, spec, sample)?);
            }
        }
    }
    if differences.is_empty() {
        return Ok(());
    }
    let (all, of) = (differences.len(), samples.len());
    differences.truncate(TOLD);
    Err(fault(
        file,
        &format!(
            "plugin `{}` {} makes something else of {all} of its {of} samples: {}",
            generation.plugin,
            generation.manifest.version,
            differences.join("; ")
        ),
    ))
}

fn fault(file: &Path, what: &str) -> Fault {
    Fault::fatal(Code::PluginSamples, format!("the samples in {}: {what}", file.display()))
}

fn read(generation: &Generation, file: &Path) -> Result<Vec<Sample>, Fault> {
    let text = std::fs::read(file).map_err(|cause| fault(file, &format!("it cannot be read: {cause}")))?;
    let lines = text.split(|byte| *byte == b'\n').enumerate();
    lines
        .filter(|(_, line)| !line.trim_ascii().is_empty())
        .map(|(at, line)| {
            sample(&generation.roles, at + 1, line).map_err(|cause| fault(file, &format!("line {}: {cause}", at + 1)))
        })
        .collect()
}

/// Reads the line of a file for a plugin of these roles.
///
/// # Errors
/// In words, what is wrong with it.
pub(super) fn sample(roles: &[Role], line: usize, text: &[u8]) -> Result<Sample, String> {
    let written: Written = serde_json::from_slice(text).map_err(|cause| cause.to_string())?;
    let role = match (&written.role, roles) {
        (None, [only]) => *only,
        (None, _) => return Err("the plugin has several roles: say which with `role`".to_owned()),
        (Some(name), roles) => {
            *roles.iter().find(|role| role.as_str() == name).ok_or_else(|| format!("the plugin is no `{name}`"))?
        }
    };
    let place = format!("sample:{line}");
    let change = read_document_change(written.change.to_string().as_bytes(), &place).map_err(|cause| cause.reason)?;
    let expected = Expected::read(role, &written.expect)?;
    let grants = written.given.grants()?;
    Ok(Sample { line, role, config: written.config, change, grants, expected, expect: written.expect })
}

/// What the plugin makes of a sample, where that is something else.
fn difference(
    engine: &PluginEngine,
    generation: &Generation,
    spec: &StageSpec,
    sample: &Sample,
) -> Result<Option<String>, Fault> {
    let config = sample.config.as_ref().unwrap_or(&spec.config);
    generation.check_config(config)?;
    let identity =
        Identity { metrics: Metrics::new().plugin(&spec.plugin), ..spec.identity(generation, &Metrics::new()) };
    // An instance for each: a sample holds whatever stands before it.
    let generation = generation.given(&sample.grants);
    let mut instance = Instance::configured(engine, &generation, identity, spec.limits, &config.to_string())?;
    let made = match instance.call(sample.role, &[&sample.change], &spec.sinks) {
        Ok(outcomes) => match outcomes.first() {
            Some(outcome) if sample.expected.is_met(outcome, &sample.change, &spec.sinks) => return Ok(None),
            Some(outcome) => shown(sample.role, outcome, &sample.change, &spec.sinks).to_string(),
            None => "nothing".to_owned(),
        },
        Err(failure) => failure.reason,
    };
    Ok(Some(format!("line {}: it makes {made}, and not {}", sample.line, sample.expect)))
}
