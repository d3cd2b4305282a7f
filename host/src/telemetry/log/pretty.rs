//! Short lines for people: time (UTC), level, message, then what it is about.

use std::fmt::Write as _;

use serde_json::Value;
use tracing::Level;

use super::layer::Line;

const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";

/// The line, with its line break.
pub(super) fn line(line: &Line<'_>, coloured: bool) -> String {
    let paint = |code: &'static str| if coloured { code } else { "" };
    let (dim, reset) = (paint(DIM), paint(RESET));
    let (level, colour) = match line.level {
        Level::TRACE => ("TRACE", "\x1b[35m"),
        Level::DEBUG => ("DEBUG", "\x1b[34m"),
        Level::INFO => (" INFO", "\x1b[32m"),
        Level::WARN => (" WARN", "\x1b[33m"),
        Level::ERROR => ("ERROR", "\x1b[1;31m"),
    };
    let stamp = humantime::format_rfc3339_millis(line.at).to_string();
    let time = stamp.get(11..23).unwrap_or(&stamp);

    let mut text = String::with_capacity(160);
    let _ = write!(text, "{dim}{time}{reset} {}{level}{reset}  ", paint(colour));
    push(&mut text, if line.message.is_empty() { line.event } else { line.message });
    for (name, value) in &line.fields {
        let _ = write!(text, "  {dim}{name}={reset}");
        match value {
            Value::String(value) if value.is_empty() || value.contains(char::is_whitespace) => {
                text.push('"');
                push(&mut text, value);
                text.push('"');
            }
            Value::String(value) => push(&mut text, value),
            other => push(&mut text, &other.to_string()),
        }
    }
    if let Some(target) = line.target {
        let _ = write!(text, "  {dim}({target}){reset}");
    }
    text.push('\n');
    text
}

/// Adds text of anyone; control characters, by which a document or a plugin could rewrite the terminal or fake a line,
/// become visible.
fn push(text: &mut String, piece: &str) {
    for c in piece.chars() {
        if c.is_control() { text.extend(c.escape_default()) } else { text.push(c) }
    }
}
