//! Makes the [model](super::model) out of the [tree](super::node), with the derived serde implementations.
//!
//! A deserializer of our own, since it knows what serde's errors lack: the place, the nearest known key, and which values must
//! not be shown. Unknown keys are collected and passed over; any other error ends the decoding, as serde has no way to go on.
//!
//! A field whose name is several keys, such as `uri|user`, is made of all of them: a struct of its own whose keys stand beside the others.
//! serde's `flatten` does the same without places.

mod access;
mod failure;
mod scalar;

use std::{cell::RefCell, fmt, ops::Range};

use serde::{
    Deserializer,
    de::{self, Visitor},
};

use self::{
    access::{Choice, Entries, Items},
    failure::{Bare, Failure},
    scalar::{Plain, resolve},
};
use super::{
    environment::in_brackets,
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
}

#[derive(Default)]
struct Notes {
    problems: RefCell<Vec<Draft>>,
    seen: RefCell<Seen>,
}

/// Decodes the whole file.
///
/// # Errors
/// All unknown keys, and the first value that does not fit.
pub(super) fn decode<T: de::DeserializeOwned>(root: &Node) -> (Result<T, Vec<Draft>>, Seen) {
    let notes = Notes::default();
    let result = T::deserialize(Decoder {
        node: root,
        key: None,
        path: &Path::Root,
        notes: &notes,
        is_part: false,
        is_secret: false,
    });
    let Notes { problems, seen } = notes;
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

/// The keys that lead to a value.
pub(super) enum Path<'a> {
    Root,
    Key(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Key(Path::Root, key) => f.write_str(key),
            Path::Key(parent, key) => write!(f, "{parent}.{key}"),
            Path::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

impl Path<'_> {
    /// ` in pipeline ...`, to be put behind the name of a key.
    fn within(&self) -> String {
        match self {
            Path::Root => " at the top level".to_owned(),
            Path::Key(Path::Key(Path::Root, "pipelines"), name) => format!(" in pipeline `{name}`"),
            Path::Key(Path::Key(Path::Key(Path::Key(Path::Root, "pipelines"), pipeline), "sinks"), name) => {
                format!(" in sink `{name}` of pipeline `{pipeline}`")
            }
            path => format!(" in `{path}`"),
        }
    }
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
    notes: &'a Notes,
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
                    names => draft.note(format!("the value comes from the environment: {}", names.join(", "))),
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

macro_rules! integers {
    ($($method:ident $visit:ident $type:ty;)+) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
            match self.number_text().and_then(|text| text.parse::<$type>().ok()) {
                Some(number) => self.place(visitor.$visit(number)),
                None => Err(self.wrong_type(&format!("a whole number from {} to {}", <$type>::MIN, <$type>::MAX))),
            }
        }
    )+};
}

impl<'de> Deserializer<'de> for Decoder<'_> {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if let Some(node) = in_brackets(self.node) {
            return Decoder { node: &node, ..self }.deserialize_any(visitor);
        }
        match &self.node.value {
            Value::List(_) => self.deserialize_seq(visitor),
            Value::Map(_) => self.deserialize_map(visitor),
            Value::Scalar(scalar) => self.place(match resolve(scalar) {
                Plain::Null => visitor.visit_unit(),
                Plain::Bool(value) => visitor.visit_bool(value),
                Plain::Unsigned(number) => visitor.visit_u64(number),
                Plain::Signed(number) => visitor.visit_i64(number),
                Plain::Float(number) => visitor.visit_f64(number),
                Plain::Text => visitor.visit_str(&scalar.text),
            }),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.number_text() {
            Some("true" | "True" | "TRUE") => self.place(visitor.visit_bool(true)),
            Some("false" | "False" | "FALSE") => self.place(visitor.visit_bool(false)),
            _ => Err(self.wrong_type("`true` or `false`")),
        }
    }

    integers! {
        deserialize_i8 visit_i8 i8;
        deserialize_i16 visit_i16 i16;
        deserialize_i32 visit_i32 i32;
        deserialize_i64 visit_i64 i64;
        deserialize_u8 visit_u8 u8;
        deserialize_u16 visit_u16 u16;
        deserialize_u32 visit_u32 u32;
        deserialize_u64 visit_u64 u64;
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.number_text().and_then(|text| text.parse::<f64>().ok()) {
            Some(number) => self.place(visitor.visit_f64(number)),
            None => Err(self.wrong_type("a number")),
        }
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_str(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let text = self.text()?;
        if !self.is_secret {
            self.notes.seen.borrow_mut().open.push(self.node.place.clone());
        }
        self.place(visitor.visit_str(text))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_str(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if self.node.is_null() { self.place(visitor.visit_none()) } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if self.node.is_null() { self.place(visitor.visit_unit()) } else { Err(self.wrong_type("nothing")) }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Failure> {
        let is_secret = name == SECRET;
        if is_secret {
            self.notes.seen.borrow_mut().secret.push(self.node.place.clone());
        }
        visitor.visit_newtype_struct(Decoder { is_secret, ..self })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if let Some(node) = in_brackets(self.node) {
            return Decoder { node: &node, ..self }.deserialize_seq(visitor);
        }
        let Value::List(items) = &self.node.value else {
            return Err(self.wrong_type("a list"));
        };
        self.place(visitor.visit_seq(Items { of: self, items: items.iter().enumerate() }))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if let Some(node) = in_brackets(self.node) {
            return Decoder { node: &node, ..self }.deserialize_map(visitor);
        }
        let Value::Map(entries) = &self.node.value else {
            return Err(self.wrong_type("a map"));
        };
        self.place(visitor.visit_map(Entries::of_map(self, entries)))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        if let Some(node) = in_brackets(self.node) {
            return Decoder { node: &node, ..self }.deserialize_struct(name, fields, visitor);
        }
        let known = keys(fields);
        let Value::Map(entries) = &self.node.value else {
            return Err(self.wrong_type(&format!("a map with the keys {}", known.join(", "))));
        };
        if self.is_part {
            return visitor.visit_map(Entries::of_struct(self, entries, fields));
        }
        let unknown: Vec<&Key> =
            entries.iter().map(|(key, _)| key).filter(|key| !known.contains(&key.name.as_str())).collect();
        unknown.iter().for_each(|key| self.unknown_key(key, &known));
        match visitor.visit_map(Entries::of_struct(self, entries, fields)) {
            // One misspelt key is one error, not two.
            Err(Failure::Missing(missing)) if unknown.iter().any(|key| meant(&key.name, missing, fields)) => {
                Err(Failure::Explained)
            }
            result => self.place(result),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        if let Some(node) = in_brackets(self.node) {
            return Decoder { node: &node, ..self }.deserialize_enum(name, known, visitor);
        }
        if let (SWITCH, Value::Map(_), Some(key)) = (name, &self.node.value, self.key) {
            let choice = Choice { of: self, word: "on", options: Some((key, self.node)), whole: true };
            return self.place(visitor.visit_enum(choice));
        }
        let words = known.join(", ");
        match &self.node.value {
            Value::Scalar(_) if self.node.is_null() => Err(self.wrong_type(&format!("one of {words}"))),
            Value::Scalar(scalar) => {
                if let Some(word) = known.iter().find(|word| **word == scalar.text) {
                    return self.place(visitor.visit_enum(Choice { of: self, word, options: None, whole: false }));
                }
                // What came from a variable may be anything, a secret too.
                let message = match scalar.variables.as_slice() {
                    [] if resolve(scalar).is_text() => format!("unknown value `{}` for {}", scalar.text, self.name()),
                    _ => format!("unknown value for {}", self.name()),
                };
                let draft = self.draft(Code::ConfigValue, message);
                let help = match (name, scalar.text.as_str()) {
                    ("WriteMode", "replace") => "it is called `mirror`: `mode: mirror`".to_owned(),
                    _ => did_you_mean(&scalar.text, "known values", known),
                };
                Err(Failure::Placed(Box::new(draft.help(help))))
            }
            Value::List(_) => Err(self.wrong_type(&format!("one of {words}"))),
            Value::Map(entries) => {
                let mut chosen = entries.iter().filter(|(key, _)| known.contains(&key.name.as_str()));
                let (first, second) = (chosen.next(), chosen.next());
                let unknown: Vec<&Key> =
                    entries.iter().map(|(key, _)| key).filter(|key| !known.contains(&key.name.as_str())).collect();
                unknown.iter().for_each(|key| self.unknown_key(key, known));
                match (first, second) {
                    (Some((key, options)), None) => {
                        let word = known.iter().find(|word| **word == key.name).copied().unwrap_or_default();
                        let choice = Choice { of: self, word, options: Some((key, options)), whole: false };
                        self.place(visitor.visit_enum(choice))
                    }
                    (Some((first, _)), Some((second, _))) => {
                        let message = format!(
                            "{} has both `{}` and `{}`, but takes exactly one",
                            self.name(),
                            first.name,
                            second.name
                        );
                        let draft = Draft::new(Code::ConfigConflict, message).at(&second.place);
                        Err(Failure::Placed(Box::new(draft.help(format!("keep one of {words}")))))
                    }
                    (None, _) if !unknown.is_empty() => Err(Failure::Explained),
                    (None, _) => {
                        let draft = self.draft(Code::ConfigValue, format!("{} is empty", self.name()));
                        Err(Failure::Placed(Box::new(draft.help(format!("it takes exactly one of {words}")))))
                    }
                }
            }
        }
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_unit()
    }
}
