//! One JSON object a line.

use serde_json::Value;
use tracing::Level;

use super::layer::Line;

/// The line, with its line break.
pub(super) fn line(line: &Line<'_>) -> String {
    let mut text = String::with_capacity(256);
    text.push_str("{\"timestamp\":\"");
    text.push_str(&humantime::format_rfc3339_micros(line.at).to_string());
    text.push_str("\",\"level\":\"");
    text.push_str(level(line.level));
    text.push('"');
    let (event, message) = (Value::from(line.event), Value::from(line.message));
    let target = line.target.map(Value::from);
    let head = [("event", Some(&event)), ("message", Some(&message)), ("target", target.as_ref())];
    let head = head.into_iter().filter_map(|(name, value)| value.map(|value| (name, value)));
    for (name, value) in head.chain(line.fields.iter().map(|(name, value)| (given(name), *value))) {
        text.push_str(",\"");
        // Names of fields are identifiers with dots, written down in code: nothing to escape.
        text.push_str(name);
        text.push_str("\":");
        text.push_str(&value.to_string());
    }
    text.push_str("}\n");
    text
}

/// A field that has the name of one of ours, so that no name stands twice in an object.
fn given(name: &str) -> &str {
    match name {
        "timestamp" => "field.timestamp",
        "level" => "field.level",
        "target" => "field.target",
        other => other,
    }
}

fn level(level: Level) -> &'static str {
    match level {
        Level::TRACE => "trace",
        Level::DEBUG => "debug",
        Level::INFO => "info",
        Level::WARN => "warn",
        Level::ERROR => "error",
    }
}
