//! Makes the [model](super::model) out of the [tree](super::node), with the derived serde implementations.
//!
//! A deserializer of our own, since it knows what serde's errors lack: the place, the nearest known key, and which values must
//! not be shown. Unknown keys are collected and passed over; any other error ends the decoding, as serde has no way to go on.

use std::{cell::RefCell, fmt, ops::Range};

use serde::{
    Deserializer,
    de::{self, DeserializeSeed, EnumAccess, Expected, MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor},
};

use super::{
    node::{Key, Node, Scalar, Value},
    problem::{Draft, did_you_mean, nearest},
};
use crate::error::Code;

/// Decodes the whole file.
///
/// # Errors
/// All unknown keys, and the first value that does not fit.
pub(super) fn decode<T: de::DeserializeOwned>(root: &Node) -> Result<T, Vec<Draft>> {
    let problems = RefCell::new(Vec::new());
    let result = T::deserialize(Decoder { node: root, key: None, path: &Path::Root, problems: &problems });
    let mut problems = problems.into_inner();
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
        Err(Failure::Missing(field)) => {
            problems.push(Draft::new(Code::ConfigValue, format!("key `{field}` is missing")));
            Err(problems)
        }
    }
}

/// Name of the type of what can be switched off: a map is its options, without a word before them.
const SWITCH: &str = "Switch";

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

#[derive(Debug)]
enum Failure {
    /// A `Deserialize` implementation's own words; the place is not known yet.
    Bare(Bare),
    /// A required key is missing; the place is not known yet.
    Missing(&'static str),
    /// Complete.
    Placed(Box<Draft>),
    /// The problems collected so far say it already.
    Explained,
}

#[derive(Debug)]
struct Bare {
    /// Ends at the first `; `, behind which stands the way out.
    message: String,
    /// The message says all; else it is a reason why the value is bad.
    whole: bool,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bare(bare) => f.write_str(&bare.message),
            Self::Missing(field) => write!(f, "key `{field}` is missing"),
            Self::Placed(draft) => f.write_str(&draft.message),
            Self::Explained => f.write_str("the configuration is not valid"),
        }
    }
}

impl std::error::Error for Failure {}

/// None of these prints a value: it may be a secret.
impl de::Error for Failure {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Bare(Bare { message: message.to_string(), whole: false })
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Bare(Bare { message: format!("expected {expected}, found {}", kind_of(&found)), whole: true })
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Missing(field)
    }
}

fn kind_of(found: &Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "`true` or `false`",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "a number",
        Unexpected::Str(_) | Unexpected::Char(_) => "text",
        Unexpected::Unit | Unexpected::Option => "nothing",
        Unexpected::Seq => "a list",
        Unexpected::Map => "a map",
        _ => "something else",
    }
}

/// What a plain scalar is by YAML's core schema.
enum Plain {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text,
}

fn resolve(scalar: &Scalar) -> Plain {
    if !scalar.plain {
        return Plain::Text;
    }
    let text = scalar.text.as_str();
    match text {
        "" | "~" | "null" | "Null" | "NULL" if scalar.variables.is_empty() => return Plain::Null,
        "true" | "True" | "TRUE" => return Plain::Bool(true),
        "false" | "False" | "FALSE" => return Plain::Bool(false),
        _ => {}
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.bytes().all(|b| b.is_ascii_digit()) {
        if let Ok(number) = text.parse() {
            return Plain::Unsigned(number);
        }
        if let Ok(number) = text.parse() {
            return Plain::Signed(number);
        }
    }
    let radix = |prefix, radix| text.strip_prefix(prefix).and_then(|digits| u64::from_str_radix(digits, radix).ok());
    if let Some(number) = radix("0x", 16).or_else(|| radix("0o", 8)) {
        return Plain::Unsigned(number);
    }
    // `parse` also takes `inf`, `nan` and `infinity`, which are words here.
    let numeric =
        digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') && digits.contains(|c: char| c.is_ascii_digit());
    match text.parse() {
        Ok(number) if numeric => Plain::Float(number),
        _ => Plain::Text,
    }
}

#[derive(Clone, Copy)]
struct Decoder<'a> {
    node: &'a Node,
    /// The key whose value this is.
    key: Option<&'a Key>,
    path: &'a Path<'a>,
    problems: &'a RefCell<Vec<Draft>>,
}

impl<'a> Decoder<'a> {
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
                    names => draft.note(format!("the value comes from the environment: {}", names.join(", "))),
                }
            }
            _ => draft.at(&self.heading()),
        }
    }

    fn push(&self, draft: Draft) {
        self.problems.borrow_mut().push(draft);
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
        self.place(visitor.visit_str(self.text()?))
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

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
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
        let Value::Map(entries) = &self.node.value else {
            return Err(self.wrong_type("a map"));
        };
        self.place(visitor.visit_map(Entries { of: self, entries: entries.iter(), value: None, known: None }))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let Value::Map(entries) = &self.node.value else {
            return Err(self.wrong_type(&format!("a map with the keys {}", known.join(", "))));
        };
        let unknown: Vec<&Key> =
            entries.iter().map(|(key, _)| key).filter(|key| !known.contains(&key.name.as_str())).collect();
        unknown.iter().for_each(|key| self.unknown_key(key, known));
        let result = visitor.visit_map(Entries { of: self, entries: entries.iter(), value: None, known: Some(known) });
        match result {
            // One misspelt key is one error, not two.
            Err(Failure::Missing(field)) if unknown.iter().any(|key| nearest(&key.name, known) == Some(field)) => {
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

impl Plain {
    fn is_text(&self) -> bool {
        matches!(self, Self::Text)
    }
}

struct Items<'a> {
    of: Decoder<'a>,
    items: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Failure;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Failure> {
        let Some((index, node)) = self.items.next() else { return Ok(None) };
        let path = Path::Item(self.of.path, index);
        let decoder = Decoder { node, key: None, path: &path, problems: self.of.problems };
        decoder.place(seed.deserialize(decoder)).map(Some)
    }
}

struct Entries<'a> {
    of: Decoder<'a>,
    entries: std::slice::Iter<'a, (Key, Node)>,
    value: Option<(&'a Key, &'a Node)>,
    /// Of a struct: unknown keys were reported, and are passed over; a key with nothing behind it counts as not given.
    known: Option<&'static [&'static str]>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Failure> {
        for (key, node) in self.entries.by_ref() {
            if self.known.is_some_and(|known| !known.contains(&key.name.as_str()) || node.is_null()) {
                continue;
            }
            self.value = Some((key, node));
            return seed.deserialize(de::value::StrDeserializer::new(&key.name)).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Failure> {
        let Some((key, node)) = self.value.take() else {
            return Err(de::Error::custom("a value without a key"));
        };
        let path = Path::Key(self.of.path, &key.name);
        // Some types read text and judge it later: their error gets its place only here.
        let decoder = Decoder { node, key: Some(key), path: &path, problems: self.of.problems };
        decoder.place(seed.deserialize(decoder))
    }
}

struct Choice<'a> {
    of: Decoder<'a>,
    word: &'static str,
    /// `word: options`; none for a bare word.
    options: Option<(&'a Key, &'a Node)>,
    /// The options are the whole value: the word does not stand in the file.
    whole: bool,
}

impl<'de> EnumAccess<'de> for Choice<'_> {
    type Error = Failure;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Failure> {
        let variant = seed.deserialize(de::value::StrDeserializer::new(self.word))?;
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for Choice<'_> {
    type Error = Failure;

    fn unit_variant(self) -> Result<(), Failure> {
        match self.options {
            None => Ok(()),
            Some(_) => Err(self.of.wrong_type("a word")),
        }
    }

    /// A bare word, or one with nothing behind it, stands for its options all at their defaults.
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Failure> {
        let Decoder { node, key, path, problems } = self.of;
        let named = Path::Key(path, self.word);
        let inner = if self.whole { path } else { &named };
        match self.options {
            Some((key, options)) if !options.is_null() => {
                seed.deserialize(Decoder { node: options, key: Some(key), path: inner, problems })
            }
            given => {
                let empty = Node { place: node.place.clone(), value: Value::Map(Vec::new()) };
                seed.deserialize(Decoder {
                    node: &empty,
                    key: given.map(|(key, _)| key).or(key),
                    path: inner,
                    problems,
                })
            }
        }
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Failure> {
        Err(self.of.wrong_type("a word"))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Failure> {
        Err(self.of.wrong_type("a word"))
    }
}
