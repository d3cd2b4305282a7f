//! Keywords beside those of JSON Schema, and how a schema is compiled with them.

use std::fmt::Write as _;

use jsonschema::{
    Draft, Keyword, Registry, Retrieve, Uri, ValidationError, Validator,
    json::Node as _,
    paths::{Location, LocationSegment},
};
use serde_json::{Map, Value as Json, json};
use tidegate_plugin::bson::{DateTime, Value};

use crate::view::{Bson, Node, text};

/// Names of BSON types, as MongoDB's `$type` and `$jsonSchema` have them.
pub(crate) const TYPES: [&str; 21] = [
    "double",
    "string",
    "object",
    "array",
    "binData",
    "undefined",
    "objectId",
    "bool",
    "date",
    "null",
    "regex",
    "dbPointer",
    "javascript",
    "symbol",
    "javascriptWithScope",
    "int",
    "timestamp",
    "long",
    "decimal",
    "minKey",
    "maxKey",
];

/// Any of the four types of numbers.
const NUMBER: &str = "number";

/// `bsonType`: one of the names, or a list of them.
struct BsonType(Vec<&'static str>);

impl BsonType {
    fn new(value: &Json) -> Result<Self, String> {
        let mut names = Vec::new();
        let list = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        for name in list {
            match name.as_str().map(|name| (name, TYPES.iter().find(|known| **known == name))) {
                Some((_, Some(known))) => names.push(*known),
                Some((NUMBER, _)) => names.extend(["int", "long", "double", "decimal"]),
                _ => return Err(format!("{name} is no type of BSON, those are: number, {}", TYPES.join(", "))),
            }
        }
        if names.is_empty() { Err("it names no type".to_owned()) } else { Ok(Self(names)) }
    }
}

impl<'i> Keyword<'i, Bson> for BsonType {
    fn validate(&self, instance: Node<'i>) -> Result<(), ValidationError<'i>> {
        if self.is_valid(instance) {
            return Ok(());
        }
        let mut message = "must be of BSON type ".to_owned();
        for (index, name) in self.0.iter().enumerate() {
            let _ = write!(message, "{}{name}", if index > 0 { " or " } else { "" });
        }
        let _ = write!(message, ", is {}", instance.value().type_name());
        Err(ValidationError::custom(message))
    }

    fn is_valid(&self, instance: Node<'i>) -> bool {
        self.0.contains(&instance.value().type_name())
    }
}

/// `format`, with dates that need no way over text, and with `iso8601` beside the formats of JSON Schema.
enum Format {
    /// A BSON date, or text that [`DateTime::parse_iso8601`] reads.
    Iso8601,
    /// A BSON date, or what JSON Schema says of it.
    DateTime(Validator<Bson>),
    Other {
        name: String,
        validator: Validator<Bson>,
    },
}

impl Format {
    fn new(value: &Json) -> Result<Self, String> {
        let Some(name) = value.as_str() else { return Err("a format is named by text".to_owned()) };
        let built_in = || {
            let schema = json!({ "format": name });
            let options = jsonschema::options_for::<Bson>().with_draft(Draft::Draft202012);
            let options = options.should_validate_formats(true).should_ignore_unknown_formats(false);
            options.build(&schema).map_err(|_| {
                format!(
                    "no format is called {name:?}; there are those of JSON Schema, and iso8601; take away what is none"
                )
            })
        };
        Ok(match name {
            "iso8601" => Self::Iso8601,
            "date-time" => Self::DateTime(built_in()?),
            _ => Self::Other { name: name.to_owned(), validator: built_in()? },
        })
    }
}

impl<'i> Keyword<'i, Bson> for Format {
    fn validate(&self, instance: Node<'i>) -> Result<(), ValidationError<'i>> {
        if self.is_valid(instance) {
            return Ok(());
        }
        let what = match self {
            Self::Iso8601 => "a date and time in ISO 8601 text, or a date".to_owned(),
            Self::DateTime(_) => "a date and time as RFC 3339 writes them, or a date".to_owned(),
            Self::Other { name, .. } => format!("a text of format {name}"),
        };
        let found = text(instance.value()).unwrap_or_default();
        Err(ValidationError::custom(format!("must be {what}, is {}", crate::complaint::quoted(&found))))
    }

    fn is_valid(&self, instance: Node<'i>) -> bool {
        match (self, instance.value()) {
            (Self::Iso8601 | Self::DateTime(_), Value::DateTime(_)) => true,
            (Self::Iso8601, Value::String(text)) => DateTime::parse_iso8601(text).is_ok(),
            (Self::Iso8601, _) => !instance.is_string(),
            (Self::DateTime(validator) | Self::Other { validator, .. }, _) => validator.is_valid(instance),
        }
    }
}

/// There are no files but those of the configuration, and no network.
struct Nowhere;

impl Retrieve for Nowhere {
    fn retrieve(&self, uri: &Uri<String>) -> Result<Json, Box<dyn std::error::Error + Send + Sync>> {
        let name = uri.as_str();
        let name = name.strip_prefix(BASE).unwrap_or(name);
        Err(format!("there is no schema {name}; nothing is fetched, a $ref leads to one of the schema files").into())
    }
}

/// What the names of files stand behind, so that a `$ref` is relative to the file it stands in.
pub(crate) const BASE: &str = "schemas:///";

/// The schema files, for `$ref`.
pub(crate) fn registry<'a>(files: impl Iterator<Item = (&'a str, &'a Json)>) -> Result<Registry<'a>, String> {
    let pairs = files.map(|(name, schema)| (format!("{BASE}{name}"), schema));
    let builder = Registry::new().retriever(Nowhere).extend(pairs).map_err(|error| error.to_string())?;
    builder.prepare().map_err(|error| error.to_string())
}

/// Compiles a schema.
///
/// # Errors
/// What is wrong with it, and where.
pub(crate) fn compile(name: &str, schema: &Json, registry: &Registry<'_>) -> Result<Validator<Bson>, String> {
    let custom = |error: String| ValidationError::schema(error);
    let built = jsonschema::options_for::<Bson>()
        .with_registry(registry)
        .with_base_uri(format!("{BASE}{name}"))
        .with_retriever(Nowhere)
        .with_keyword("bsonType", move |_: &Map<String, Json>, value: &Json, _| {
            Ok(Box::new(BsonType::new(value).map_err(custom)?) as Box<dyn for<'i> Keyword<'i, Bson>>)
        })
        .with_keyword("format", move |_: &Map<String, Json>, value: &Json, _| {
            Ok(Box::new(Format::new(value).map_err(custom)?) as Box<dyn for<'i> Keyword<'i, Bson>>)
        })
        .build(schema);
    built.map_err(|error| {
        let place = match error.instance_path().as_str() {
            "" => error.schema_path().as_str(),
            path => path,
        };
        if place.is_empty() { error.to_string() } else { format!("at {place}: {error}") }
    })
}

/// A place in a document as the contract has it: names with dots between them.
pub(crate) fn dotted(location: &Location) -> String {
    let mut path = String::new();
    for segment in location {
        if !path.is_empty() {
            path.push('.');
        }
        match segment {
            LocationSegment::Property(name) => path.push_str(&name),
            LocationSegment::Index(index) => {
                let _ = write!(path, "{index}");
            }
        }
    }
    path
}
