//! `${NAME}`, `${file:PATH}` and both with `:-default` inside values.
//!
//! Values are replaced after the YAML is parsed, so that no value of a variable can be read as YAML: a password with
//! `#`, `:`, quotes or line breaks arrives as it is.

use std::{
    fs::File,
    io::{ErrorKind, Read as _},
    path::Path,
};

use super::problem::Draft;
use crate::error::Code;

/// What stands before the path of a file that holds a value.
const FILE: &str = "file:";
/// Nobody's secret is longer.
const MOST_BYTES: u64 = 1 << 20;

/// What became of one value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Interpolated {
    pub(super) text: String,
    /// Variables and files (`file:PATH`) that were looked up, in order; empty when the text holds none.
    pub(super) variables: Vec<String>,
    /// What is wrong, each with the offset of its `$` in the text.
    pub(super) errors: Vec<(usize, InterpolationError)>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum InterpolationError {
    /// Not set, and without a default.
    Unset(String),
    /// No closing brace.
    Unclosed,
    /// Neither `NAME` nor `NAME:-default` between the braces.
    Malformed,
    /// A file that cannot be read: its path, and why.
    File(String, String),
}

impl InterpolationError {
    /// What to say of it.
    pub(super) fn draft(&self) -> Draft {
        match self {
            Self::Unset(name) => {
                Draft::new(Code::ConfigVariable, format!("the environment variable `{name}` is not set"))
                    .help(format!("set {name}, or give a default: `${{{name}:-default}}`"))
            }
            Self::Unclosed => Draft::new(Code::ConfigVariable, "a `${` has no closing `}`")
                .help("write `${NAME}` or `${NAME:-default}`; `$${` stands for a literal `${`"),
            Self::File(path, cause) => {
                Draft::new(Code::ConfigValueFile, format!("the file `{path}` of a value cannot be read: {cause}")).help(format!(
                    "put the value into it, for the user that runs tidegate to read, or give a default: `${{file:{path}:-default}}`"
                ))
            }
            Self::Malformed => {
                Draft::new(Code::ConfigVariable, "what stands between `${` and `}` is not the name of a variable")
                    .help("write `${NAME}` or `${NAME:-default}`, with letters, digits and `_`, or `${file:PATH}`; `$${` stands for a literal `${`")
            }
        }
    }
}

/// Where a value comes from, by what was looked up for it.
pub(super) fn came_from(names: &[String]) -> String {
    let (files, variables): (Vec<&str>, Vec<&str>) =
        names.iter().map(String::as_str).partition(|name| name.starts_with(FILE));
    let files: Vec<&str> = files.iter().filter_map(|name| name.strip_prefix(FILE)).collect();
    match (variables.as_slice(), files.as_slice()) {
        (names, []) => format!("the value comes from the environment: {}", names.join(", ")),
        ([], files) => format!("the value comes from a file: {}", files.join(", ")),
        (names, files) => {
            format!("the value comes from the environment: {}; and from a file: {}", names.join(", "), files.join(", "))
        }
    }
}

/// Whether this, between `${` and `}`, names where a value is, and holds nothing of it.
pub(super) fn is_reference(body: &str) -> bool {
    match body.strip_prefix(FILE) {
        Some(path) => !path.contains(":-"),
        None => is_name(body),
    }
}

/// The text of a file, without the line break at its end. None: there is no such file.
fn read(path: &str) -> Result<Option<String>, String> {
    let opened = match File::open(Path::new(path)) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(why(&error)),
    };
    let metadata = opened.metadata().map_err(|error| why(&error))?;
    if metadata.is_dir() {
        return Err("it is a directory".to_owned());
    }
    let mut bytes = Vec::new();
    opened.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(|error| why(&error))?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err("it is bigger than 1 MiB".to_owned());
    }
    let mut text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(Some(text))
}

fn why(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// Replaces each reference. `$${` stands for a literal `${`; any other `$` is only a `$`.
pub(super) fn interpolate(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Interpolated {
    let mut out = Interpolated { text: String::with_capacity(text.len()), variables: Vec::new(), errors: Vec::new() };
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, reference) = rest.split_at(at);
        let offset = text.len() - reference.len();
        if let Some(literal) = before.strip_suffix('$') {
            out.text.push_str(literal);
            out.text.push_str("${");
            rest = reference.get(2..).unwrap_or_default();
            continue;
        }
        out.text.push_str(before);
        let Some((body, after)) = reference.get(2..).and_then(|body| body.split_once('}')) else {
            out.errors.push((offset, InterpolationError::Unclosed));
            rest = "";
            break;
        };
        rest = after;
        let (name, default) = match body.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (body, None),
        };
        if let Some(path) = name.strip_prefix(FILE).filter(|path| !path.trim().is_empty()) {
            out.variables.push(name.to_owned());
            match (read(path), default) {
                (Ok(Some(value)), None) => out.text.push_str(&value),
                (Ok(Some(value)), Some(_)) if !value.is_empty() => out.text.push_str(&value),
                (Ok(_), Some(default)) => out.text.push_str(default),
                (Ok(None), None) => {
                    out.errors
                        .push((offset, InterpolationError::File(path.to_owned(), "there is no such file".to_owned())));
                }
                (Err(cause), _) => out.errors.push((offset, InterpolationError::File(path.to_owned(), cause))),
            }
            continue;
        }
        if !is_name(name) {
            out.errors.push((offset, InterpolationError::Malformed));
            continue;
        }
        out.variables.push(name.to_owned());
        // As in a shell: `:-` also takes the place of an empty value.
        match (env(name), default) {
            (Some(value), None) => out.text.push_str(&value),
            (Some(value), Some(_)) if !value.is_empty() => out.text.push_str(&value),
            (_, Some(default)) => out.text.push_str(default),
            (None, None) => out.errors.push((offset, InterpolationError::Unset(name.to_owned()))),
        }
    }
    out.text.push_str(rest);
    out
}

fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|first| first == '_' || first.is_ascii_alphabetic())
        && chars.all(|c| c == '_' || c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::{InterpolationError, interpolate};

    fn env(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("db.example".to_owned()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${HOST}".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn references_are_replaced_once_and_literals_stay() {
        for (text, expected) in [
            ("plain $ text, $NAME and $$ROOT", "plain $ text, $NAME and $$ROOT"),
            ("${HOST}:${PORT:-27017}", "db.example:27017"),
            ("${EMPTY}|${EMPTY:-x}|${NONE:-}", "|x|"),
            ("$${HOST} and $$${HOST}", "${HOST} and $${HOST}"),
            ("${NESTED}", "${HOST}"),
            ("${NONE:-a:-b}", "a:-b"),
            ("ä${HOST}ö", "ädb.exampleö"),
        ] {
            let done = interpolate(text, &env);
            assert_eq!((done.text.as_str(), done.errors.as_slice()), (expected, [].as_slice()), "{text}");
        }
    }

    #[test]
    fn files_are_read_without_their_last_line_break() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        for (name, text) in
            [("plain", "p#a: b"), ("line", "x\n"), ("lines", "x\r\ny\r\n"), ("two", "x\n\n"), ("empty", "")]
        {
            std::fs::write(path(name), text).expect("a file");
        }
        for (text, expected) in [
            (format!("a${{file:{}}}b", path("plain")), "ap#a: bb"),
            (format!("${{file:{}}}|${{HOST}}", path("line")), "x|db.example"),
            (format!("${{file:{}:-z}}", path("lines")), "x\r\ny"),
            (format!("${{file:{}}}", path("two")), "x\n"),
            (format!("${{file:{}:-z}}|${{file:{}}}", path("empty"), path("empty")), "z|"),
            (format!("${{file:{}:-z}}", path("none")), "z"),
            ("$${file:/x}".to_owned(), "${file:/x}"),
        ] {
            let done = interpolate(&text, &env);
            assert_eq!((done.text.as_str(), done.errors.as_slice()), (expected, [].as_slice()), "{text}");
        }
        std::fs::write(path("bytes"), b"\xff").expect("a file");
        for (name, why) in
            [("none", "there is no such file"), ("bytes", "it is not UTF-8 text"), ("", "it is a directory")]
        {
            let done = interpolate(&format!("a${{file:{}}}", path(name)), &env);
            assert_eq!(done.errors, [(1, InterpolationError::File(path(name), why.to_owned()))]);
        }
        assert_eq!(interpolate("${file:}", &env).errors, [(0, InterpolationError::Malformed)]);
    }

    #[test]
    fn what_cannot_be_replaced_is_reported_with_its_offset() {
        assert_eq!(interpolate("a${NONE}b", &env).errors, [(1, InterpolationError::Unset("NONE".to_owned()))]);
        assert_eq!(interpolate("a${HOST", &env).errors, [(1, InterpolationError::Unclosed)]);
        for text in ["${}", "${1A}", "${A B}", "${HOST-x}", "${:-x}"] {
            assert_eq!(interpolate(text, &env).errors, [(0, InterpolationError::Malformed)], "{text}");
        }
    }
}
