//! `${NAME}` and `${NAME:-default}` inside values.
//!
//! Values are replaced after the YAML is parsed, so that no value of a variable can be read as YAML: a password with
//! `#`, `:`, quotes or line breaks arrives as it is.

/// What became of one value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Interpolated {
    pub(super) text: String,
    /// Variables that were looked up, in order; empty when the text holds none.
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
    fn what_cannot_be_replaced_is_reported_with_its_offset() {
        assert_eq!(interpolate("a${NONE}b", &env).errors, [(1, InterpolationError::Unset("NONE".to_owned()))]);
        assert_eq!(interpolate("a${HOST", &env).errors, [(1, InterpolationError::Unclosed)]);
        for text in ["${}", "${1A}", "${A B}", "${HOST-x}", "${:-x}"] {
            assert_eq!(interpolate(text, &env).errors, [(0, InterpolationError::Malformed)], "{text}");
        }
    }
}
