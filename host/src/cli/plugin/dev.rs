//! `tidegate plugin dev [FOLDER]`

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde_json::Value;

use super::{
    build,
    cases::{difference, read_all, result},
    engine, failed, load,
};
use crate::{
    change::Change,
    cli::{exit, print},
    error::{Code, Fault},
    format::lines::read_document_change,
    plugin::{Generation, PluginEngine, component::Role, grants::Grants, trial::Trial},
    project::Project,
};

/// How often the folder is looked at.
const LOOK: Duration = Duration::from_millis(300);
/// Folders that builds write to.
const BUILT: [&str; 6] = ["build", "target", "node_modules", ".venv", "__pycache__", ".git"];

/// What the plugin is run over.
struct Input {
    role: Role,
    config: Value,
    sinks: Vec<String>,
    grants: Arc<Grants>,
    changes: Vec<Change>,
}

/// The results of a run, by role and place.
type Results = BTreeMap<String, Value>;

pub(super) fn dev(folder: &Path, changes: Option<&Path>, config: Option<&str>, once: bool) -> Result<u8, u8> {
    let engine = engine()?;
    let mut last: Option<Results> = None;
    loop {
        let seen = stamps(folder);
        // Everything is read anew: `plugin.yaml` and the cases may be what was saved.
        let ran = load(folder).and_then(|project| round(&engine, &project, changes, config, &mut last));
        if once {
            return ran.map(|()| 0);
        }
        eprintln!("waiting for a change in {} (Ctrl-C ends)", folder.display());
        while stamps(folder) == seen {
            std::thread::sleep(LOOK);
        }
    }
}

fn round(
    engine: &PluginEngine,
    project: &Project,
    changes: Option<&Path>,
    config: Option<&str>,
    last: &mut Option<Results>,
) -> Result<(), u8> {
    let inputs = inputs(project, changes, config)?;
    let built = build::run(engine, project, &project.output())?;
    let (results, took) = run(engine, &built.generation, &inputs).map_err(|fault| failed(&fault))?;
    let mut text = String::new();
    match last {
        None => {
            for (place, value) in &results {
                text.push_str(&format!("{place} {value}\n"));
            }
        }
        Some(before) => {
            let null = Value::Null;
            let places: std::collections::BTreeSet<&String> = before.keys().chain(results.keys()).collect();
            let differing = places
                .into_iter()
                .map(|place| (place, before.get(place), results.get(place)))
                .filter(|(_, a, b)| a != b);
            for (place, before, after) in differing {
                text.push_str(&format!("{place}\n{}", difference(before.unwrap_or(&null), after.unwrap_or(&null))));
            }
            if text.is_empty() {
                text.push_str("the same results as before\n");
            }
        }
    }
    text.push_str(&format!(
        "{} changes in {:.1} ms; built in {:.1} s\n",
        results.len(),
        took.as_secs_f64() * 1000.0,
        built.took.as_secs_f64()
    ));
    print(&text);
    *last = Some(results);
    Ok(())
}

/// The changes that were given, for each role; else those of the cases.
fn inputs(project: &Project, changes: Option<&Path>, config: Option<&str>) -> Result<Vec<Input>, u8> {
    let cases = read_all(project)?;
    let given = match config {
        Some(text) => Some(super::check::read_config(text)?),
        None => None,
    };
    let Some(file) = changes else {
        let of_cases = cases.into_iter().map(|cases| Input {
            role: cases.role,
            config: given.clone().unwrap_or(cases.config),
            sinks: cases.sinks,
            grants: cases.grants,
            changes: cases.changes,
        });
        return Ok(of_cases.collect());
    };
    let first = cases.first();
    let config = given.or_else(|| first.map(|cases| cases.config.clone())).unwrap_or_else(|| serde_json::json!({}));
    let sinks: Vec<String> = cases.iter().flat_map(|cases| cases.sinks.clone()).collect();
    let grants = first.map_or_else(Grants::for_a_look, |cases| Arc::clone(&cases.grants));
    let changes = read_changes(file)?;
    let of_role = |role: &Role| Input {
        role: *role,
        config: config.clone(),
        sinks: sinks.clone(),
        grants: Arc::clone(&grants),
        changes: changes.clone(),
    };
    Ok(project.roles.iter().map(of_role).collect())
}

/// Changes as JSON Lines.
pub(super) fn read_changes(file: &Path) -> Result<Vec<Change>, u8> {
    let wrong = |what: String| {
        failed(&Fault::fatal(Code::FileRead, what));
        exit::CONFIGURATION
    };
    let text = fs::read(file).map_err(|cause| wrong(format!("{} cannot be read: {cause}", file.display())))?;
    let lines = text.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.trim_ascii().is_empty());
    lines
        .map(|(at, line)| {
            let place = format!("{}:{}", file.display(), at + 1);
            read_document_change(line, &place).map_err(|no| wrong(format!("{place}:{no}")))
        })
        .collect()
}

fn run(engine: &PluginEngine, generation: &Generation, inputs: &[Input]) -> Result<(Results, Duration), Fault> {
    let (mut results, mut all) = (Results::new(), Duration::ZERO);
    for (number, input) in inputs.iter().enumerate() {
        let Input { role, config, sinks, grants, changes } = input;
        let (config, sinks, grants) = (config.clone(), sinks.clone(), Arc::clone(grants));
        let trial = Trial { engine, generation, config, sinks, grants };
        let (tried, took) = trial.run(*role, &changes.iter().collect::<Vec<_>>())?;
        all += took;
        for (at, (tried, change)) in tried.iter().zip(changes).enumerate() {
            let place = format!("{number}.{at:04} {} {}:", role.as_str(), change.id);
            results.insert(place, result(*role, tried, change, &trial.sinks));
        }
    }
    Ok((results, all))
}

/// What tells one state of the sources from another.
fn stamps(folder: &Path) -> BTreeMap<PathBuf, (u64, Option<SystemTime>)> {
    fn walk(folder: &Path, stamps: &mut BTreeMap<PathBuf, (u64, Option<SystemTime>)>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if BUILT.iter().any(|built| name == *built) {
                continue;
            }
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => walk(&path, stamps),
                Ok(metadata) => {
                    stamps.insert(path, (metadata.len(), metadata.modified().ok()));
                }
                Err(_) => {}
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(folder, &mut found);
    found
}
