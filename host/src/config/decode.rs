//! Makes the [model](super::model) out of the [tree](super::node), with the derived serde implementations.
//!
//! A deserializer of our own, since it knows what serde's errors lack: the place, the nearest known key, and which values must
//! not be shown. Unknown keys are collected and passed over; any other error ends the decoding, as serde has no way to go on.
//!
//! A field whose name is several keys, such as `uri|user`, is made of all of them: a struct of its own whose keys stand beside the others.
//! serde's `flatten` does the same without places.

mod access;
mod choose;
mod failure;
mod path;
mod read;
mod scalar;

use std::{cell::RefCell, ops::Range};

use serde::de;

use self::{
    failure::{Bare, Failure},
    path::Path,
    scalar::{Plain, resolve},
};
use super::{
    interpolate::came_from,
    node::{Key, Node, Origin, Value},
    problem::{Draft, did_you_mean, nearest},
};
use crate::error::Code;

/// Where the types of the model tell what may be shown.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Values that are secret.
    pub(super) secret: Vec<Range<usize>>,
    /// Text that is not.
    pub(super) open: Vec<Range<usize>>,
    /// What was chosen in one file, where a later one chooses something else.
    pub(super) passed_over: Vec<Node>,
}

#[derive(Default)]
struct Notes<'f> {
    problems: RefCell<Vec<Draft>>,
    seen: RefCell<Seen>,
    /// Where each file ends.
    ends: &'f [usize],
}

/// Decodes the whole of what was read from files that end at these offsets.
///
/// # Errors
/// All unknown keys, and the first value that does not fit.
pub(super) fn decode<T: de::DeserializeOwned>(root: &Node, ends: &[usize]) -> (Result<T, Vec<Draft>>, Seen) {
    let notes = Notes { ends, ..Notes::default() };
    let result = T::deserialize(Decoder {
        node: root,
        key: None,
        path: &Path::Root,
        notes: &notes,
        is_part: false,
        is_secret: false,
    });
    let Notes { problems, seen, .. } = notes;
    (finish(result, problems.into_inner()), seen.into_inner())
}

fn finish<T>(result: Result<T, Failure>, mut problems: Vec<Draft>) -> Result<T, Vec<Draft>> {
    match result {
        Ok(value) if problems.is_empty() => Ok(value),
        Ok(_) => Err(problems),
        Err(Failure::Explained) => Err(problems),
        Err(Failure::Placed(draft)) => {
            problems.push(*draft);
            Err(problems)
        }
        Err(Failure::Bare(bare)) => {
            problems.push(Draft::new(Code::ConfigValue, bare.message));
            Err(problems)
        }
        Err(Failure::Missing(field) | Failure::Twice(field)) => {
            problems.push(Draft::new(Code::ConfigValue, format!("key `{field}` is missing")));
            Err(problems)
        }
    }
}

/// Name of the type of what can be switched off: a map is its options, without a word before them.
const SWITCH: &str = "Switch";
/// Name of the type of what must not be shown.
const SECRET: &str = "Secret";

/// The keys of a struct.
fn keys(fields: &'static [&'static str]) -> Vec<&'static str> {
    fields.iter().flat_map(|field| field.split('|')).collect()
}

/// Whether a word was meant as the field that is missing, or as one of the keys that this is made of.
fn meant(word: &str, missing: &str, fields: &'static [&'static str]) -> bool {
    let own = |field: &&&str| field.split('|').any(|key| key == missing);
    nearest(word, &keys(fields))
        .is_some_and(|near| fields.iter().find(own).is_some_and(|field| field.split('|').any(|key| key == near)))
}

#[derive(Clone, Copy)]
struct Decoder<'a> {
    node: &'a Node,
    /// The key whose value this is.
    key: Option<&'a Key>,
    path: &'a Path<'a>,
    notes: &'a Notes<'a>,
    /// The keys around those of this struct are another's.
    is_part: bool,
    is_secret: bool,
}

impl<'a> Decoder<'a> {
    /// Of a value within this one.
    fn at<'b>(&'b self, node: &'b Node, key: Option<&'b Key>, path: &'b Path<'b>) -> Decoder<'b> {
        Decoder { node, key, path, notes: self.notes, is_part: false, is_secret: false }
    }

    /// Where to point for what is wrong with the map itself: its key, since a map may be many lines long.
    fn heading(&self) -> Range<usize> {
        match self.key {
            Some(key) => key.place.clone(),
            None => self.node.place.start..self.node.place.start,
        }
    }

    fn name(&self) -> String {
        match self.path {
            Path::Root => "the file".to_owned(),
            Path::Key(Path::Root, key) => format!("`{key}`"),
            Path::Key(parent, key) => format!("`{key}`{}", parent.within()),
            path @ Path::Item(..) => format!("`{path}`"),
        }
    }

    fn draft(&self, code: Code, message: impl Into<String>) -> Draft {
        let draft = Draft::new(code, message);
        match &self.node.value {
            Value::Scalar(scalar) => {
                let place = if self.node.place.is_empty() { self.heading() } else { self.node.place.clone() };
                let draft = draft.at(&place);
                match scalar.variables.as_slice() {
                    [] => draft,
                    // Its place is the variable.
                    _ if scalar.origin != Origin::File => draft,
                    names => draft.note(came_from(names)),
                }
            }
            _ => draft.at(&self.heading()),
        }
    }

    fn push(&self, draft: Draft) {
        self.notes.problems.borrow_mut().push(draft);
    }

    fn found(&self) -> &'static str {
        match &self.node.value {
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
            Value::Scalar(scalar) => match resolve(scalar) {
                Plain::Null => "nothing",
                Plain::Bool(_) => "`true` or `false`",
                Plain::Unsigned(_) | Plain::Signed(_) | Plain::Float(_) => "a number",
                Plain::Text if scalar.text.is_empty() => "empty text",
                Plain::Text => "text",
            },
        }
    }

    fn wrong_type(&self, expected: &str) -> Failure {
        let message = format!("{} takes {expected}, but this is {}", self.name(), self.found());
        Failure::Placed(Box::new(self.draft(Code::ConfigValue, message)))
    }

    /// Gives an error that rose from this value its place.
    fn place<T>(&self, result: Result<T, Failure>) -> Result<T, Failure> {
        result.map_err(|failure| match failure {
            Failure::Bare(Bare { message, whole }) => {
                let (message, help) = match message.split_once("; ") {
                    Some((message, help)) => (message, Some(help)),
                    None => (message.as_str(), None),
                };
                let message =
                    if whole { format!("{}: {message}", self.name()) } else { format!("{} is {message}", self.name()) };
                let draft = self.draft(Code::ConfigValue, message);
                Failure::Placed(Box::new(match help {
                    Some(help) => draft.help(help),
                    None => draft,
                }))
            }
            Failure::Missing(field) => {
                let message = format!("key `{field}` is missing{}", self.path.within());
                let draft = Draft::new(Code::ConfigValue, message).at(&self.heading());
                Failure::Placed(Box::new(
                    draft.help(format!("add `{field}:`; `docs/configuration.md` tells what it takes")),
                ))
            }
            Failure::Twice(field) => {
                let message = format!("`{field}`{} is in the connection string already", self.path.within());
                let place = self.node.entry(field).map_or_else(|| self.heading(), |(key, _)| key.place.clone());
                let help = format!("leave it out in one of the two: the connection string, or the key `{field}`");
                Failure::Placed(Box::new(Draft::new(Code::ConfigConflict, message).at(&place).help(help)))
            }
            done @ (Failure::Placed(_) | Failure::Explained) => done,
        })
    }

    /// The text of a scalar, as it is written: `database: 2024` is the text `2024`.
    fn text(&self) -> Result<&'a str, Failure> {
        match &self.node.value {
            Value::Scalar(scalar) if !self.node.is_null() => Ok(&scalar.text),
            _ => Err(self.wrong_type("text")),
        }
    }

    /// A scalar that may be a number: not in quotes, or from a variable (quotes are then often needed).
    fn number_text(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::Scalar(scalar) if scalar.plain || !scalar.variables.is_empty() => Some(scalar.text.trim()),
            _ => None,
        }
    }

    fn unknown_key(&self, key: &Key, known: &[&str]) {
        let message = format!("unknown key `{}`{}", key.name, self.path.within());
        let help =
            if known.is_empty() { "it takes no keys".to_owned() } else { did_you_mean(&key.name, "known keys", known) };
        self.push(Draft::new(Code::ConfigUnknownKey, message).at(&key.place).help(help));
    }
}
