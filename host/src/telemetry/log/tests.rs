use std::sync::{Arc, Mutex};

use serde_json::Value;
use tracing::{debug, error, info, info_span, warn};
use tracing_subscriber::layer::SubscriberExt;

use super::{filter, layer::LineLayer};
use crate::config::{LogFormat, LogLevel};

/// What `act` logs.
fn lines(
    format: LogFormat,
    level: LogLevel,
    directives: Option<&str>,
    coloured: bool,
    act: impl FnOnce(),
) -> Vec<String> {
    let written = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&written);
    let layer = LineLayer::new(format, coloured, move |line: &[u8]| {
        into.lock().unwrap().push(String::from_utf8(line.to_vec()).unwrap())
    });
    let subscriber = tracing_subscriber::registry().with(filter(level, directives).unwrap()).with(layer);
    tracing::subscriber::with_default(subscriber, act);
    let lines = written.lock().unwrap().clone();
    assert!(lines.iter().all(|line| line.ends_with('\n') && line.matches('\n').count() == 1), "{lines:?}");
    lines
}

fn json(level: LogLevel, directives: Option<&str>, act: impl FnOnce()) -> Vec<Value> {
    lines(LogFormat::Json, level, directives, false, act)
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_json_line_is_flat_and_typed_with_the_fields_of_its_spans() {
    let found = json(LogLevel::Info, None, || {
        let _span = info_span!("pipeline", pipeline = "inventory", generation = 1).entered();
        let cause = std::io::Error::other("disk \"full\"\n");
        error!(
            event = "dead_letter",
            correlation_id = "82ab",
            generation = 3u64,
            took = 0.5,
            last = true,
            code = %"TG0211",
            error = &cause as &(dyn std::error::Error + 'static),
            "the change was put aside"
        );
    });
    let [line] = found.as_slice() else { panic!("{found:?}") };
    let keys: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys[..4], ["timestamp", "level", "event", "message"]);
    assert!(!keys.contains(&"target"));
    let stamp = line["timestamp"].as_str().unwrap();
    assert!(humantime::parse_rfc3339(stamp).is_ok() && stamp.ends_with('Z') && stamp.len() == 27, "{stamp}");
    assert_eq!(line["level"], "error");
    assert_eq!(line["event"], "dead_letter");
    assert_eq!(line["message"], "the change was put aside");
    assert_eq!(line["pipeline"], "inventory");
    assert_eq!(line["generation"], 3, "the event's own value wins");
    assert_eq!(line["took"], 0.5);
    assert_eq!(line["last"], true);
    assert_eq!(line["code"], "TG0211");
    assert_eq!(line["error"], "disk \"full\"\n");
}

#[test]
fn the_target_is_told_at_debug_and_no_name_stands_twice() {
    let raw = lines(LogFormat::Json, LogLevel::Debug, None, false, || {
        debug!(event = "batch", target_name = "x", level = "high", "a batch");
    });
    let line: Value = serde_json::from_str(&raw[0]).unwrap();
    assert_eq!(line["target"], "tidegate::telemetry::log::tests");
    assert_eq!((&line["level"], &line["field.level"]), (&Value::from("debug"), &Value::from("high")));
    assert_eq!(raw[0].matches("\"level\"").count(), 1);
}

#[test]
fn libraries_are_heard_only_from_warnings_up_unless_the_environment_says_else() {
    let act = || {
        info!(target: "mongodb::cmap", "pool created");
        warn!(target: "mongodb::cmap", "pool cleared");
        info!(event = "ready", "ready");
        debug!(event = "batch", "batch");
    };
    let messages = |level, directives| -> Vec<String> {
        json(level, directives, act).iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(messages(LogLevel::Info, None), ["pool cleared", "ready"]);
    assert_eq!(messages(LogLevel::Trace, None), ["pool cleared", "ready", "batch"]);
    assert_eq!(messages(LogLevel::Error, None), [""; 0]);
    assert_eq!(
        messages(LogLevel::Error, Some("mongodb=info,tidegate=debug")),
        ["pool created", "pool cleared", "ready", "batch"]
    );
    assert_eq!(messages(LogLevel::Info, Some("  ")), ["pool cleared", "ready"], "an empty variable says nothing");
    assert!(filter(LogLevel::Info, Some("tidegate=loud")).is_err());

    let of_library = json(LogLevel::Info, None, act).remove(0);
    assert_eq!((&of_library["event"], &of_library["target"]), (&Value::from("library"), &Value::from("mongodb::cmap")));
}

#[test]
fn a_pretty_line_is_short_and_cannot_be_forged() {
    let act = || warn!(event = "plugin_log", plugin = "a", note = "two words", "first\n12:00:00 ERROR \x1b[31mfake");
    let plain = lines(LogFormat::Pretty, LogLevel::Info, None, false, act).remove(0);
    let (time, rest) = plain.split_at(12);
    assert!(time.bytes().enumerate().all(|(at, byte)| match at {
        2 | 5 => byte == b':',
        8 => byte == b'.',
        _ => byte.is_ascii_digit(),
    }));
    assert_eq!(rest, "  WARN  first\\n12:00:00 ERROR \\u{1b}[31mfake  plugin=a  note=\"two words\"\n");
    let coloured = lines(LogFormat::Pretty, LogLevel::Info, None, true, act).remove(0);
    assert!(coloured.contains("\x1b[33m WARN\x1b[0m") && !coloured.contains("\x1b[31m"), "{coloured:?}");
}

/// Machines look for events by name: none is without a line in the documentation, and none is there that does not exist.
#[test]
fn every_event_is_documented() {
    fn names_in(folder: &std::path::Path, names: &mut std::collections::BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                names_in(&path, names);
            } else if !path.ends_with("log/tests.rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
                // Also of `event = if ... { "one" } else { "another" }`.
                let values = code.filter_map(|line| line.split_once("event = ")).flat_map(|(_, rest)| {
                    let end = rest.find("\",").map_or(rest, |end| rest.split_at(end + 1).0);
                    end.split('"').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()
                });
                names.extend(values);
            }
        }
    }
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut used = std::collections::BTreeSet::new();
    names_in(&root.join("src"), &mut used);
    used.insert(super::layer::OF_A_LIBRARY.to_owned());
    let docs = std::fs::read_to_string(root.join("../docs/operations.md")).unwrap();
    let table = docs.split("### Events").nth(1).unwrap().split("\n## ").next().unwrap();
    let documented: std::collections::BTreeSet<String> =
        table.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split('`').next()?.to_owned())).collect();
    let lacking: Vec<_> = used.difference(&documented).collect();
    assert!(lacking.is_empty(), "docs/operations.md does not name {lacking:?}");
    let gone: Vec<_> = documented.difference(&used).collect();
    assert!(gone.is_empty(), "docs/operations.md names {gone:?}, which nothing logs");
}
