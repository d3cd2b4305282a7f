//! `.env` files: variables for a configuration, for those that the process does not have.
//!
//! A reader of our own of a common form, since a line that is wrong is told by file and line, and never with its text, which may be a password:
//! `docs/decisions/0022-several-files.md`.

use std::{collections::BTreeMap, path::Path};

use super::problem::{ConfigErrors, Location, Problem};
use crate::error::Code;

/// What files set, by name.
pub(super) type Variables = BTreeMap<String, Variable>;

/// What a file sets a variable to, and where.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Variable {
    pub(super) value: String,
    pub(super) file: String,
    pub(super) line: usize,
}

impl std::fmt::Debug for Variable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Adds what a file sets; a later line wins.
///
/// # Errors
/// Each line that is wrong, with its place.
pub(super) fn add(text: &str, file: &Path, variables: &mut Variables) -> Result<(), ConfigErrors> {
    let file = file.display().to_string();
    let mut reader = Reader { rest: text.strip_prefix('\u{feff}').unwrap_or(text), line: 1 };
    let mut problems = Vec::new();
    while !reader.rest.is_empty() {
        let line = reader.line;
        match reader.assignment() {
            Ok(None) => {}
            Ok(Some((name, value))) => {
                variables.insert(name, Variable { value, file: file.clone(), line });
            }
            Err(Wrong { column, message, help }) => {
                let at = Some(Location { line, column });
                problems.push(Problem::of_file(&file, at, Code::ConfigEnvFile, message.to_owned(), help.to_owned()));
            }
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(ConfigErrors::untold(problems)) }
}

struct Wrong {
    column: usize,
    message: &'static str,
    help: &'static str,
}

struct Reader<'t> {
    rest: &'t str,
    line: usize,
}

impl<'t> Reader<'t> {
    /// The rest of this line; goes behind it.
    fn line(&mut self) -> &'t str {
        let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
        self.rest = rest;
        self.line += 1;
        line.strip_suffix('\r').unwrap_or(line)
    }

    /// None: there is nothing in the line but a comment.
    fn assignment(&mut self) -> Result<Option<(String, String)>, Wrong> {
        let whole = self.rest;
        let line = self.line();
        let indent = line.len() - line.trim_start().len();
        let bare = line.trim_start();
        if bare.is_empty() || bare.starts_with('#') {
            return Ok(None);
        }
        let column = |at: usize| line.get(..at).map_or(0, |before| before.chars().count()) + 1;
        let start = match bare.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t'])) {
            Some(rest) => line.len() - rest.trim_start().len(),
            None => indent,
        };
        let Some(equals) = line.find('=') else {
            return Err(Wrong {
                column: column(start),
                message: "the line has no `=`",
                help: "write `NAME=value`; a comment begins with `#`",
            });
        };
        let name = line.get(start..equals).unwrap_or_default().trim_end();
        let good = |c: char| c == '_' || c.is_ascii_alphanumeric();
        if name.is_empty() || !name.chars().all(good) || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(Wrong {
                column: column(start),
                message: "what stands before the `=` is not the name of a variable",
                help: "write `NAME=value`, the name with letters, digits and `_`, and no digit first",
            });
        }
        let text = line.get(equals + 1..).unwrap_or_default();
        let at = equals + 1 + text.len() - text.trim_start().len();
        let text = text.trim_start();
        let Some(quote) = text.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
            // A `#` with a blank before it begins a comment; one within a word is the value's own.
            let end = text.char_indices().find(|(at, c)| {
                *c == '#' && (*at == 0 || text.get(..*at).is_some_and(|before| before.ends_with([' ', '\t'])))
            });
            let value = end.map_or(text, |(at, _)| text.get(..at).unwrap_or_default()).trim_end();
            return Ok(Some((name.to_owned(), value.to_owned())));
        };
        let name = name.to_owned();
        let column = column(at);
        // Text in quotes may go over several lines.
        let quoted = whole.get(at + 1..).unwrap_or_default();
        let Some((value, length)) = unquoted(quoted, quote) else {
            self.rest = "";
            return Err(Wrong {
                column,
                message: "the quote is not closed",
                help: "close it; in double quotes, write `\\\"` for one that is part of the value",
            });
        };
        self.line += quoted.get(..length).unwrap_or_default().matches('\n').count();
        self.rest = quoted.get(length..).unwrap_or_default();
        self.line -= 1;
        let after = self.line().trim();
        if !after.is_empty() && !after.starts_with('#') {
            return Err(Wrong {
                column,
                message: "there is text behind the closing quote",
                help: "put all of the value between the quotes; a comment begins with `#`",
            });
        }
        Ok(Some((name, value)))
    }
}

/// The value up to the closing quote, and how many bytes it took with that quote.
fn unquoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            letter if letter == quote => return Some((value, at + 1)),
            '\\' if quote == '"' => match letters.next()?.1 {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                't' => value.push('\t'),
                own @ ('"' | '\\' | '$' | '\'') => value.push(own),
                other => value.extend(['\\', other]),
            },
            letter => value.push(letter),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Path, Variables, add};

    #[test]
    fn lines_are_read_as_shells_and_others_write_them() {
        let text = "\u{feff}# a comment\n\nA=plain text # and a comment\r\nexport B = b#c\n  C=it's\nD=\"two\\nlines \\\"x\\\" \\$Y $Z\" # end\nE=\nF='$HOME \\n'\nG=\"over\nlines\"\nH=https://h/#x?a=b\nA=last\nI=# nothing\n";
        let mut found = Variables::new();
        add(text, Path::new(".env"), &mut found).unwrap_or_else(|errors| panic!("{errors}"));
        let found: Vec<(&str, &str, usize)> =
            found.iter().map(|(name, variable)| (name.as_str(), variable.value.as_str(), variable.line)).collect();
        let expected = [
            ("A", "last", 12),
            ("B", "b#c", 4),
            ("C", "it's", 5),
            ("D", "two\nlines \"x\" $Y $Z", 6),
            ("E", "", 7),
            ("F", "$HOME \\n", 8),
            ("G", "over\nlines", 9),
            ("H", "https://h/#x?a=b", 11),
            ("I", "", 13),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn bad_lines_are_told_by_their_place_and_never_shown() {
        let text = "A=1\nhunter2\n  1X=hunter2\nB='x' hunter2\nC=3\nexport A B=hunter2\nD=\"hunter2\n";
        let mut found = Variables::new();
        let said = add(text, Path::new("x/.env"), &mut found).unwrap_err().to_string();
        assert!(!said.contains("hunter2"), "{said}");
        for (place, what) in [
            ("x/.env:2:1", "has no `=`"),
            ("x/.env:3:3", "is not the name of a variable"),
            ("x/.env:4:3", "behind the closing quote"),
            ("x/.env:6:8", "is not the name of a variable"),
            ("x/.env:7:3", "the quote is not closed"),
        ] {
            let told =
                said.split("\n\n").find(|told| told.contains(place)).unwrap_or_else(|| panic!("{place}: {said}"));
            assert!(told.contains(what) && told.contains("TG0108"), "{told}");
        }
        assert_eq!((said.matches("error[").count(), found.len()), (5, 2));
    }
}
