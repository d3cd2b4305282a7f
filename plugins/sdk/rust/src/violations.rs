use std::fmt;

use crate::bson::{DateTime, Document, Value};
use crate::validator::Verdict;

/// One thing that is wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Field names with dots between them; empty for the document itself.
    pub path: String,
    /// What was expected and what was found, to be read after the path: `must be a string, is int`.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.message) } else { write!(f, "{} {}", self.path, self.message) }
    }
}

/// Everything that is wrong with a document. None at all makes a [`Verdict::Accept`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Violations {
    list: Vec<Violation>,
}

/// What a field's value may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Type {
    /// Text.
    String,
    /// Text, one of these.
    OneOf(&'static [&'static str]),
    /// A whole number: Int32, Int64, or a Double without a fraction.
    Integer,
    /// A whole number, this one at least.
    IntegerFrom(i64),
    /// Int32, Int64, Double or Decimal128.
    Number,
    /// A boolean.
    Bool,
    /// A BSON date.
    Date,
    /// Text with a date as ISO 8601 writes it.
    Iso8601,
    /// A BSON date, or text as for [`Iso8601`](Self::Iso8601).
    DateOrIso8601,
    /// An ObjectId.
    ObjectId,
    /// A nested document.
    Document,
    /// An array.
    Array,
}

impl Type {
    /// What is wrong with a value.
    #[inline]
    fn complaint(self, value: &Value<'_>) -> Option<String> {
        let fits = match (self, value) {
            (Self::String, Value::String(_))
            | (Self::Number, Value::Int32(_) | Value::Int64(_) | Value::Double(_) | Value::Decimal128(_))
            | (Self::Bool, Value::Bool(_))
            | (Self::Date | Self::DateOrIso8601, Value::DateTime(_))
            | (Self::ObjectId, Value::ObjectId(_))
            | (Self::Document, Value::Document(_))
            | (Self::Array, Value::Array(_)) => true,
            (Self::OneOf(words), Value::String(text)) => words.contains(text),
            (Self::Integer, value) => value.as_integer().is_some(),
            (Self::IntegerFrom(least), value) => value.as_integer().is_some_and(|number| number >= least),
            (Self::Iso8601 | Self::DateOrIso8601, Value::String(text)) => DateTime::parse_iso8601(text).is_ok(),
            _ => false,
        };
        if fits { None } else { Some(self.describe(value)) }
    }

    #[cold]
    fn describe(self, value: &Value<'_>) -> String {
        let mut message = match self {
            Self::String => "must be a string".to_owned(),
            Self::OneOf(words) => format!("must be one of {}", words.join(", ")),
            Self::Integer => "must be an integer".to_owned(),
            Self::IntegerFrom(least) => format!("must be an integer of at least {least}"),
            Self::Number => "must be a number".to_owned(),
            Self::Bool => "must be a boolean".to_owned(),
            Self::Date => "must be a date".to_owned(),
            Self::Iso8601 => "must be a date and time in ISO 8601 text".to_owned(),
            Self::DateOrIso8601 => "must be a date or a date and time in ISO 8601 text".to_owned(),
            Self::ObjectId => "must be an ObjectId".to_owned(),
            Self::Document => "must be a document".to_owned(),
            Self::Array => "must be an array".to_owned(),
        };
        message.push_str(", is ");
        match (self, value) {
            (Self::OneOf(_) | Self::Iso8601 | Self::DateOrIso8601, Value::String(text)) => {
                message.push_str(&quoted(text));
            }
            (Self::Integer | Self::IntegerFrom(_), Value::Double(number)) => message.push_str(&number.to_string()),
            (Self::IntegerFrom(_), _) if value.as_integer().is_some() => {
                message.push_str(&value.as_integer().unwrap_or_default().to_string());
            }
            _ => message.push_str(value.type_name()),
        }
        message
    }
}

/// Text in quotes, cut where it is long: messages end up in logs.
fn quoted(text: &str) -> String {
    let short: String = text.chars().take(40).collect();
    let dots = if short.len() < text.len() { "..." } else { "" };
    format!("{short:?}{dots}")
}

impl Violations {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    pub fn add(&mut self, path: impl Into<String>, message: impl Into<String>) -> &mut Self {
        self.list.push(Violation { path: path.into(), message: message.into() });
        self
    }

    /// Checks a field that must be there, by name or path, and gives back its value if it is as it must be.
    pub fn required<'a>(&mut self, document: &Document<'a>, path: &str, is: Type) -> Option<Value<'a>> {
        self.check(path, document.get_path(path), true, is)
    }

    /// As [`required`](Self::required), for a field that may be absent. Null is not absent.
    pub fn optional<'a>(&mut self, document: &Document<'a>, path: &str, is: Type) -> Option<Value<'a>> {
        self.check(path, document.get_path(path), false, is)
    }

    #[inline]
    fn check<'a>(&mut self, path: &str, value: Option<Value<'a>>, required: bool, is: Type) -> Option<Value<'a>> {
        let Some(value) = value else {
            if required {
                self.add(path, "is missing");
            }
            return None;
        };
        match is.complaint(&value) {
            None => Some(value),
            Some(message) => {
                self.add(path, message);
                None
            }
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All so far.
    pub fn iter(&self) -> std::slice::Iter<'_, Violation> {
        self.list.iter()
    }
}

impl IntoIterator for Violations {
    type Item = Violation;
    type IntoIter = std::vec::IntoIter<Violation>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

impl From<Violations> for Verdict {
    fn from(violations: Violations) -> Self {
        if violations.is_empty() { Self::Accept } else { Self::Reject(violations) }
    }
}

/// A field of a document and what is asked of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Field {
    name: &'static str,
    is: Type,
    required: bool,
}

impl Field {
    /// A field that must be there.
    pub const fn required(name: &'static str, is: Type) -> Self {
        Self { name, is, required: true }
    }

    /// A field that may be absent. Null is not absent.
    pub const fn optional(name: &'static str, is: Type) -> Self {
        Self { name, is, required: false }
    }
}

/// What is asked of a kind of document. Fields that are not named pass.
///
/// All fields are looked for in one pass, fastest when they stand here in the order the documents have them.
///
/// ```
/// use tidegate_plugin::{Field, Rules, Type, bson::DocumentBuf};
///
/// static ORDER: Rules<2> =
///     Rules([Field::required("id", Type::String), Field::optional("amount", Type::IntegerFrom(0))]);
///
/// let violations = ORDER.check(&DocumentBuf::new().with("amount", -3).as_document());
/// let messages: Vec<_> = violations.iter().map(|violation| violation.to_string()).collect();
/// assert_eq!(messages, ["id is missing", "amount must be an integer of at least 0, is -3"]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules<const N: usize>(pub [Field; N]);

impl<const N: usize> Rules<N> {
    /// These rules and one more field. `M` is `N + 1`, and nothing else compiles.
    pub const fn and<const M: usize>(self, field: Field) -> Rules<M> {
        const { assert!(M == N + 1, "rules with one more field have a length of one more") };
        let mut fields = [field; M];
        let mut index = 0;
        while index < N {
            fields[index] = self.0[index];
            index += 1;
        }
        Rules(fields)
    }

    /// These rules with another field in the place of one, as a newer version of a schema has it.
    ///
    /// # Panics
    /// When no field is called `name`: at build time, where the rules are a constant.
    pub const fn with(mut self, name: &str, field: Field) -> Self {
        let mut index = 0;
        while index < N {
            if same(self.0[index].name, name) {
                self.0[index] = field;
                return self;
            }
            index += 1;
        }
        panic!("no field of that name to be replaced")
    }

    /// Everything that is wrong with the document, in the order of the rules.
    pub fn check(&self, document: &Document<'_>) -> Violations {
        let mut violations = Violations::new();
        let (values, read) = document.fields_by::<N>(|index| self.0.get(index).map_or("", |field| field.name));
        if let Err(error) = read {
            violations.add("", error.to_string());
            return violations;
        }
        for (field, value) in self.0.iter().zip(values) {
            violations.check(field.name, value, field.required, field.is);
        }
        violations
    }
}

/// Equality of text that a constant can use.
const fn same(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    let mut index = 0;
    while index < left.len() && index < right.len() && left[index] == right[index] {
        index += 1;
    }
    index == left.len() && index == right.len()
}
