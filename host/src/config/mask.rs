//! Hides what may be a password in a source line before it is shown.
//!
//! Two nets, since the first needs a file that parses: values that are secrets by their type, or, where decoding did not come so far and in what has
//! no type, by the name of their key; and the part of anything that looks like a connection string between `://` and `@`.

use std::ops::Range;

use super::{decode::Seen, interpolate::is_reference};

/// Keys whose value is not shown as long as its type is not known.
const SECRET_KEYS: &[&str] = &[
    "uri",
    "url",
    "password",
    "passwd",
    "secret",
    "token",
    "key",
    "apikey",
    "api_key",
    "authorization",
    "credentials",
];

const MASK: &str = "***";

/// What to hide in a text.
#[derive(Debug, Default)]
pub(super) struct Masks {
    /// Bytes of the source, each the value of a secret key.
    values: Vec<Range<usize>>,
    /// The text did not parse: keys of secrets are looked for in the line itself.
    unparsed: bool,
}

impl Masks {
    /// For a text of which nothing is known.
    pub(super) fn unparsed() -> Self {
        Self { values: Vec::new(), unparsed: true }
    }

    /// Adds a value to hide, unless there is nothing in it but a variable's name.
    pub(super) fn hide(&mut self, source: &str, value: &Range<usize>) {
        if !source.get(value.clone()).is_some_and(is_bare_reference) {
            self.values.push(value.clone());
        }
    }

    /// What a value is tells more than the name of its key, where it was decoded.
    pub(super) fn learn(&mut self, source: &str, seen: &Seen) {
        self.values.retain(|value| !seen.open.contains(value));
        seen.secret.iter().for_each(|value| self.hide(source, value));
    }
}

/// Whether the value of this key must not be shown.
pub(super) fn is_secret_key(key: &str) -> bool {
    let key = key.to_lowercase();
    SECRET_KEYS.iter().any(|secret| key == *secret || key.ends_with(&format!("_{secret}")))
}

/// Whether the source of a value holds nothing but a variable's name.
pub(super) fn is_bare_reference(source: &str) -> bool {
    source
        .trim()
        .trim_matches(['"', '\''])
        .strip_prefix("${")
        .and_then(|rest| rest.strip_suffix('}'))
        .is_some_and(is_reference)
}

/// A line with its secrets hidden.
pub(super) struct MaskedLine {
    pub(super) text: String,
    /// What was hidden, in bytes of the line, ascending and apart from each other.
    hidden: Vec<Range<usize>>,
    original: String,
}

impl MaskedLine {
    /// The column, in characters of the masked text, of a byte of the line.
    pub(super) fn column(&self, byte: usize) -> usize {
        let mut column = 0;
        let mut at = 0;
        for hidden in &self.hidden {
            if byte <= hidden.start {
                break;
            }
            column += chars(&self.original, at..hidden.start);
            if byte < hidden.end {
                return column;
            }
            column += MASK.len();
            at = hidden.end;
        }
        column + chars(&self.original, at..byte)
    }
}

fn chars(text: &str, range: Range<usize>) -> usize {
    text.get(range).map_or(0, |part| part.chars().count())
}

/// Hides the secrets of the line that begins at this byte of the source.
pub(super) fn line(line: &str, starts_at: usize, masks: &Masks) -> MaskedLine {
    let mut hidden: Vec<Range<usize>> = Vec::new();
    let ends_at = starts_at + line.len();
    for value in &masks.values {
        let (from, to) = (value.start.max(starts_at), value.end.min(ends_at));
        if from < to {
            hidden.push(from - starts_at..to - starts_at);
        }
    }
    if masks.unparsed {
        hidden.extend(values_by_key(line));
    }
    hidden.extend(credentials(line));
    hidden.sort_by_key(|range| (range.start, range.end));
    let mut merged: Vec<Range<usize>> = Vec::new();
    for range in hidden {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    let mut text = String::with_capacity(line.len());
    let mut at = 0;
    for range in &merged {
        text.push_str(line.get(at..range.start).unwrap_or_default());
        text.push_str(MASK);
        at = range.end;
    }
    text.push_str(line.get(at..).unwrap_or_default());
    MaskedLine { text, hidden: merged, original: line.to_owned() }
}

/// From the first key of a secret to the end of the line: where a text does not parse, no end of the value can be trusted.
fn values_by_key(line: &str) -> Option<Range<usize>> {
    let mut from = 0;
    while let Some(colon) = line.get(from..)?.find(':').map(|at| from + at) {
        let key = line.get(..colon)?.trim_end().trim_end_matches(['"', '\'']);
        let key = key.rsplit(|c: char| !(c == '_' || c.is_alphanumeric())).next().unwrap_or_default();
        let value = line.get(colon + 1..)?;
        if is_secret_key(key) && value.starts_with([' ', '\t', '"', '\'']) && !is_bare_reference(value) {
            let start = colon + 1 + value.len() - value.trim_start().len();
            return (start < line.len()).then_some(start..line.len());
        }
        from = colon + 1;
    }
    None
}

/// What stands between `://` and the last `@` after it.
fn credentials(line: &str) -> Option<Range<usize>> {
    let start = line.find("://")? + 3;
    let end = start + line.get(start..)?.rfind('@')?;
    (start < end && !is_bare_reference(line.get(start..end)?)).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use super::{Masks, line};

    #[test]
    fn a_line_that_does_not_parse_shows_no_secret() {
        for (text, expected) in [
            ("uri: mongodb://a:pw@h", "uri: ***"),
            (r#"  mongodb: { "uri" : "mongodb://a:pw@h", x: ["#, r#"  mongodb: { "uri" : ***"#),
            ("  adress: redis://:p@ss@h:6379, url: x", "  adress: redis://***@h:6379, url: ***"),
            ("db_password: 'x", "db_password: ***"),
            ("uri: ${MONGODB_URI}", "uri: ${MONGODB_URI}"),
            ("target: \"a:b\"", "target: \"a:b\""),
            ("plugin: x", "plugin: x"),
        ] {
            assert_eq!(line(text, 0, &Masks::unparsed()).text, expected);
        }
    }

    #[test]
    fn carets_find_their_column_behind_a_mask() {
        let mut masks = Masks::default();
        masks.hide("", &(105..120));
        let masked = line("uri: 0123456789abcde, lanes: x", 100, &masks);
        assert_eq!(masked.text, "uri: ***, lanes: x");
        assert_eq!((masked.column(0), masked.column(7), masked.column(29)), (0, 5, 17));
    }
}
