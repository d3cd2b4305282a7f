//! `tidegate plugin test [FOLDER]`

use std::{
    fmt::Write as _,
    fs,
    io::IsTerminal as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{build, engine, failed, load};
use crate::{
    change::Change,
    cli::{exit, print},
    config,
    error::{Code, Fault},
    format::lines::read_document_change,
    plugin::{
        Generation, PluginEngine,
        component::{self, Role},
        expect::{Expected, shown},
        grants::{Given, Grants},
        trial::{Trial, Tried},
    },
    project::Project,
};

/// A file of cases, as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    #[serde(default)]
    config: Option<Map<String, Value>>,
    #[serde(default)]
    role: Option<Role>,
    #[serde(default)]
    sinks: Vec<String>,
    #[serde(default)]
    given: Given,
    changes: Vec<Value>,
    expect: Vec<Value>,
}

/// A file of cases, read.
pub(super) struct Cases {
    pub(super) file: PathBuf,
    pub(super) config: Value,
    pub(super) role: Role,
    pub(super) sinks: Vec<String>,
    pub(super) grants: Arc<Grants>,
    pub(super) changes: Vec<Change>,
    expected: Vec<Expected>,
    /// As they are written.
    written: Vec<Value>,
}

pub(super) fn test(folder: &Path, given: Option<&Path>) -> Result<u8, u8> {
    let project = load(folder)?;
    let engine = engine()?;
    let generation = match given {
        Some(file) => component::inspect(&engine, file).map_err(|fault| failed(&fault))?,
        None => build::run(&engine, &project, &project.output())?.generation,
    };
    let all = read_all(&project)?;
    if all.is_empty() {
        return Err(failed(&Fault::fatal(
            Code::CaseFile,
            format!("{} holds no *.case.yaml: nothing was tested", project.folder.display()),
        )));
    }
    let (mut passed, mut wrong) = (0, 0);
    for cases in &all {
        let (good, bad) = run(&engine, &generation, cases).map_err(|fault| failed(&fault))?;
        passed += good;
        wrong += bad;
    }
    print(&format!("{passed} passed, {wrong} failed\n"));
    Ok(if wrong == 0 { 0 } else { exit::FAILED })
}

/// The files of cases in a project, by name.
pub(super) fn read_all(project: &Project) -> Result<Vec<Cases>, u8> {
    let entries = fs::read_dir(&project.folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| path.to_string_lossy().ends_with(".case.yaml")).collect();
    files.sort();
    files.iter().map(|file| Cases::read(file, project)).collect()
}

impl Cases {
    fn read(file: &Path, project: &Project) -> Result<Self, u8> {
        let raw: CaseFile = config::load_other(file).map_err(|problems| {
            eprintln!("{problems}");
            exit::CONFIGURATION
        })?;
        Self::of(file, raw, project).map_err(|what| {
            let fault = Fault::fatal(Code::CaseFile, format!("{}: {what}", file.display()));
            failed(&fault);
            exit::CONFIGURATION
        })
    }

    fn of(file: &Path, raw: CaseFile, project: &Project) -> Result<Self, String> {
        let role = match (raw.role, project.roles.as_slice()) {
            (Some(role), roles) if roles.contains(&role) => role,
            (Some(role), _) => return Err(format!("`role: {}` is none of the plugin's", role.as_str())),
            (None, [only]) => *only,
            (None, _) => return Err("the plugin has several roles: say with `role` which one is tested".to_owned()),
        };
        if raw.changes.len() != raw.expect.len() {
            let (changes, expect) = (raw.changes.len(), raw.expect.len());
            return Err(format!("there are {changes} `changes`, and {expect} entries in `expect`: one for each"));
        }
        let changes = raw.changes.iter().enumerate().map(|(at, change)| {
            read_document_change(change.to_string().as_bytes(), &format!("case:{at}"))
                .map_err(|wrong| format!("changes[{at}]: {}", wrong.reason))
        });
        let changes = changes.collect::<Result<Vec<_>, _>>()?;
        let expected = raw.expect.iter().enumerate();
        let expected = expected
            .map(|(at, value)| Expected::read(role, value).map_err(|what| format!("expect[{at}]: {what}")))
            .collect::<Result<Vec<_>, _>>()?;
        let mut sinks = raw.sinks;
        for sink in expected.iter().flat_map(Expected::sinks) {
            if !sinks.iter().any(|known| known == sink) {
                sinks.push(sink.to_owned());
            }
        }
        let config = Value::Object(raw.config.unwrap_or_default());
        let grants = raw.given.grants()?;
        Ok(Self { file: file.to_owned(), config, role, sinks, grants, changes, expected, written: raw.expect })
    }
}

/// Runs the cases of a file, and says what is wrong.
fn run(engine: &PluginEngine, generation: &Generation, cases: &Cases) -> Result<(usize, usize), Fault> {
    let (config, sinks, grants) = (cases.config.clone(), cases.sinks.clone(), Arc::clone(&cases.grants));
    let trial = Trial { engine, generation, config, sinks, grants };
    let changes: Vec<&Change> = cases.changes.iter().collect();
    let (tried, _) = trial.run(cases.role, &changes)?;
    let mut text = String::new();
    let mut wrong = 0;
    for (at, tried) in tried.iter().enumerate() {
        let (Some(expected), Some(change), Some(written)) =
            (cases.expected.get(at), cases.changes.get(at), cases.written.get(at))
        else {
            continue;
        };
        if tried.as_ref().is_ok_and(|outcome| expected.is_met(outcome, change, &cases.sinks)) {
            continue;
        }
        wrong += 1;
        let _ = writeln!(text, "{}: changes[{at}] is not as expected", cases.file.display());
        text.push_str(&difference(written, &result(cases.role, tried, change, &cases.sinks)));
    }
    print(&text);
    Ok((tried.len() - wrong, wrong))
}

/// What came of a change, as an expectation is written; how the plugin failed on it, in words.
pub(super) fn result(role: Role, tried: &Tried, change: &Change, sinks: &[String]) -> Value {
    match tried {
        Ok(outcome) => shown(role, outcome, change, sinks),
        Err(failure) => Value::String(format!("the plugin failed on it: {}", failure.reason)),
    }
}

/// Two values line by line: what is gone, and what came instead. Fields are sorted, since their order means nothing.
pub(super) fn difference(before: &Value, after: &Value) -> String {
    let pretty = |value: &Value| {
        let mut value = value.clone();
        value.sort_all_objects();
        serde_json::to_string_pretty(&value).unwrap_or_default()
    };
    let (before, after) = (pretty(before), pretty(after));
    let coloured = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let mut text = String::new();
    for change in similar::TextDiff::from_lines(&before, &after).iter_all_changes() {
        let (sign, colour) = match change.tag() {
            similar::ChangeTag::Delete => ('-', "\u{1b}[31m"),
            similar::ChangeTag::Insert => ('+', "\u{1b}[32m"),
            similar::ChangeTag::Equal => (' ', ""),
        };
        let (on, off) = if coloured && !colour.is_empty() { (colour, "\u{1b}[0m") } else { ("", "") };
        let _ = writeln!(text, "  {on}{sign} {}{off}", change.value().trim_end_matches('\n'));
    }
    text
}
