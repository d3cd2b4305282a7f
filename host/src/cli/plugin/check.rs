//! `tidegate plugin check FILE`

use std::{fmt::Write as _, path::Path, sync::Arc, time::Duration};

use serde_json::Value;

use super::{cases::result, dev::read_changes, engine, failed};
use crate::{
    change::Change,
    cli::{exit, print},
    error::{Code, Fault},
    format::lines::read_change,
    plugin::{
        component,
        grants::{Given, Grant, Grants},
        limits::Limits,
        trial::Trial,
    },
};

pub(super) fn check(file: &Path, config: &str, given: &str, changes: Option<&Path>) -> Result<u8, u8> {
    let engine = engine()?;
    let config = read_config(config)?;
    let grants = read_given(given)?;
    // What this says is the first thing a swap would say: not a component, an import that is not granted, another contract.
    let generation = component::inspect(&engine, file).map_err(|fault| {
        failed(&fault);
        exit::CONFIGURATION
    })?;
    let mut text = format!(
        "{} {} fits the contract tidegate:plugin@0.1.0\n",
        generation.manifest.name, generation.manifest.version
    );
    let imports = if generation.imports.is_empty() { "nothing".to_owned() } else { generation.imports.join(", ") };
    let _ = writeln!(text, "  imports    {imports}");
    let needs: Vec<&str> = generation.needs().into_iter().map(Grant::example).collect();
    if !needs.is_empty() {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let _ = writeln!(text, "  needs      `{}` in `plugins.each.{name}.grants`", needs.join("`, `"));
    }
    print(&text);
    let (changes, made_up) = match changes {
        Some(file) => (read_changes(file)?, false),
        None => (made_up(), true),
    };
    let trial = Trial { engine: &engine, generation: &generation, config, sinks: Vec::new(), grants };
    let changes: Vec<&Change> = changes.iter().collect();
    let mut good = true;
    for role in &generation.roles {
        good &= try_role(&trial, *role, &changes, made_up)?;
    }
    Ok(if good { 0 } else { exit::FAILED })
}

/// Runs one role twice, each time on a fresh instance, and says what came of it.
fn try_role(trial: &Trial<'_>, role: component::Role, changes: &[&Change], made_up: bool) -> Result<bool, u8> {
    let seen: Vec<&Change> =
        changes.iter().copied().filter(|change| !role.needs_document() || change.document.is_some()).collect();
    let refused = |fault: Fault| {
        failed(&fault);
        exit::CONFIGURATION
    };
    let (first, took) = trial.run(role, &seen).map_err(refused)?;
    let (second, again) = trial.run(role, &seen).map_err(refused)?;
    let show =
        |tried| seen.iter().zip(tried).map(|(change, tried)| result(role, tried, change, &[])).collect::<Vec<Value>>();
    let (before, after) = (show(&first), show(&second));
    let failures: Vec<&str> =
        first.iter().filter_map(|tried| tried.as_ref().err()).map(|f| f.reason.as_str()).collect();
    let mut text = String::new();
    let what = if made_up { "made-up changes" } else { "changes" };
    let share = took.max(again).as_secs_f64() / budget(seen.len()).as_secs_f64() * 100.0;
    let _ = writeln!(
        text,
        "  {:<10} {} {what}, {:.1} ms, {share:.1} % of the time it may take",
        role.as_str(),
        seen.len(),
        took.max(again).as_secs_f64() * 1000.0
    );
    let mut good = true;
    if let Some(first) = failures.first() {
        good = false;
        let _ = writeln!(text, "    it failed on {} of them, first: {first}", failures.len());
    }
    match before.iter().zip(&after).position(|(before, after)| before != after) {
        None => text.push_str("    the same results twice\n"),
        Some(at) => {
            good = false;
            let id = seen.get(at).map(|change| change.id.to_string()).unwrap_or_default();
            let _ = writeln!(
                text,
                "    other results the second time, first for {id}: a plugin that is not deterministic gives other data after a crash"
            );
        }
    }
    print(&text);
    Ok(good)
}

fn budget(changes: usize) -> Duration {
    Limits::default().budget(changes)
}

/// The `--given` of a command.
fn read_given(text: &str) -> Result<Arc<Grants>, u8> {
    let given = serde_json::from_str::<Given>(text).map_err(|cause| cause.to_string());
    given.and_then(Given::grants).map_err(|cause| {
        let what = format!("--given is not what a plugin can be given: {cause}");
        failed(&Fault::fatal(Code::PluginConfiguration, what));
        exit::CONFIGURATION
    })
}

/// The `--config` of a command.
pub(super) fn read_config(text: &str) -> Result<Value, u8> {
    let wrong = |what: String| {
        failed(&Fault::fatal(Code::PluginConfiguration, what));
        exit::CONFIGURATION
    };
    match serde_json::from_str(text) {
        Ok(Value::Object(config)) => Ok(Value::Object(config)),
        Ok(_) => Err(wrong("--config is a JSON object, such as '{\"limit\": 3}'".to_owned())),
        Err(cause) => Err(wrong(format!("--config is no JSON: {cause}"))),
    }
}

/// Documents of all types, one with nothing but an `_id`, and a delete.
fn made_up() -> Vec<Change> {
    let document = |n: usize| match n % 4 {
        0 => {
            format!(r#"{{"_id":{n},"name":"item {n}","quantity":{n},"price":{n}.25,"tags":["a","b"],"in_stock":true}}"#)
        }
        1 => format!(
            r#"{{"_id":{{"$oid":"{n:024x}"}},"at":{{"$date":"2026-01-31T12:00:00Z"}},"nested":{{"n":{{"$numberLong":"{n}"}}}}}}"#
        ),
        2 => format!(
            r#"{{"_id":"{n}","none":null,"amount":{{"$numberDecimal":"{n}.5"}},"raw":{{"$binary":{{"base64":"AAEC","subType":"00"}}}}}}"#
        ),
        _ => format!(r#"{{"_id":{n}}}"#),
    };
    (0..64)
        .filter_map(|n| {
            let line = match n {
                63 => r#"{"op":"delete","ns":"shop.items","key":{"_id":63}}"#.to_owned(),
                n => format!(r#"{{"op":"insert","ns":"shop.items","doc":{}}}"#, document(n)),
            };
            read_change(line.as_bytes(), &format!("made-up:{n}")).ok()
        })
        .collect()
}
