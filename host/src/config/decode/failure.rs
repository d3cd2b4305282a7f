//! Why a value cannot be decoded, in words that hold no values.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use super::super::problem::Draft;

#[derive(Debug)]
pub(super) enum Failure {
    /// A `Deserialize` implementation's own words; the place is not known yet.
    Bare(Bare),
    /// A required key is missing; the place is not known yet.
    Missing(&'static str),
    /// A key says what another says already; the place is not known yet.
    Twice(&'static str),
    /// Complete.
    Placed(Box<Draft>),
    /// The problems collected so far say it already.
    Explained,
}

#[derive(Debug)]
pub(super) struct Bare {
    /// Ends at the first `; `, behind which stands the way out.
    pub(super) message: String,
    /// The message says all; else it is a reason why the value is bad.
    pub(super) whole: bool,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bare(bare) => f.write_str(&bare.message),
            Self::Missing(field) => write!(f, "key `{field}` is missing"),
            Self::Twice(field) => write!(f, "what `{field}` says is said already"),
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

    /// The tree has no key twice: it is the connection string that says it, too.
    fn duplicate_field(field: &'static str) -> Self {
        Self::Twice(field)
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
