//! What is wrong with a document, in the words that plugins in code use.

use std::collections::BTreeSet;

use jsonschema::{
    JsonType, ValidationError, Validator,
    error::{TypeKind, ValidationErrorKind as Kind},
};
use serde_json::Value as Json;
use tidegate_plugin::{Violations, bson::Value};

use crate::{
    keywords::dotted,
    view::{Bson, Node},
};

/// Everything that is wrong with a document. Of a value of the wrong type nothing else is said.
pub(crate) fn violations(validator: &Validator<Bson>, root: Node<'_>) -> Violations {
    let mut found: Vec<(bool, String, String)> = Vec::new();
    for error in validator.iter_errors(root) {
        let (path, of_type) = (dotted(error.instance_path()), is_of_type(&error));
        for (path, message) in messages(&error, path, root) {
            if !found.iter().any(|(_, known, said)| *known == path && *said == message) {
                found.push((of_type, path, message));
            }
        }
    }
    let wrong_type: BTreeSet<String> =
        found.iter().filter(|(of_type, ..)| *of_type).map(|(_, path, _)| path.clone()).collect();
    let mut said = BTreeSet::new();
    let mut violations = Violations::new();
    for (of_type, path, message) in found {
        if !wrong_type.contains(&path) || (of_type && said.insert(path.clone())) {
            violations.add(path, message);
        }
    }
    violations
}

fn is_of_type(error: &ValidationError<'_>) -> bool {
    match error.kind() {
        Kind::Type { .. } => true,
        Kind::Custom { keyword, .. } => keyword == "bsonType",
        _ => false,
    }
}

/// Mostly one; a keyword that names several fields makes one for each.
fn messages(error: &ValidationError<'_>, path: String, root: Node<'_>) -> Vec<(String, String)> {
    let field = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match error.kind() {
        Kind::Required { property } => {
            let name = property.as_str().map_or_else(|| property.to_string(), str::to_owned);
            vec![(field(&name), "is missing".to_owned())]
        }
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            unexpected.iter().map(|name| (field(name), "is not a field of the schema".to_owned())).collect()
        }
        kind => {
            let value = root.at_pointer(error.instance_path().as_str()).map_or(Value::Undefined, Node::value);
            let message = message(kind, value).unwrap_or_else(|| cut(&error.to_string()));
            vec![(path, message)]
        }
    }
}

/// None where the library says it well enough.
fn message(kind: &Kind, value: Value<'_>) -> Option<String> {
    Some(match kind {
        Kind::Type { kind } => {
            let names: Vec<&str> = match kind {
                TypeKind::Single(kind) => vec![type_name(*kind)],
                TypeKind::Multiple(kinds) => kinds.iter().map(type_name).collect(),
            };
            format!("must be {}, is {}", names.join(" or "), found(value))
        }
        Kind::Custom { message, .. } => message.clone(),
        Kind::Enum { options } => {
            let words: Vec<String> = options.as_array().into_iter().flatten().map(plain).collect();
            format!("must be one of {}, is {}", words.join(", "), shown(value))
        }
        Kind::Constant { expected_value } => format!("must be {}, is {}", plain(expected_value), shown(value)),
        Kind::Minimum { limit } => format!("must be at least {limit}, is {}", shown(value)),
        Kind::Maximum { limit } => format!("must be at most {limit}, is {}", shown(value)),
        Kind::ExclusiveMinimum { limit } => format!("must be more than {limit}, is {}", shown(value)),
        Kind::ExclusiveMaximum { limit } => format!("must be less than {limit}, is {}", shown(value)),
        Kind::MultipleOf { multiple_of } => format!("must be a multiple of {multiple_of}, is {}", shown(value)),
        Kind::MinLength { limit } => format!("must have at least {limit} characters, is {}", shown(value)),
        Kind::MaxLength { limit } => format!("must have at most {limit} characters, is {}", shown(value)),
        Kind::Pattern { pattern } => format!("must match {pattern}, is {}", shown(value)),
        Kind::MinItems { limit } => format!("must have at least {limit} elements"),
        Kind::MaxItems { limit } => format!("must have at most {limit} elements"),
        Kind::UniqueItems => "has elements that are equal".to_owned(),
        Kind::MinProperties { limit } => format!("must have at least {limit} fields"),
        Kind::MaxProperties { limit } => format!("must have at most {limit} fields"),
        Kind::FalseSchema => "must not be there".to_owned(),
        Kind::PropertyNames { error } => format!("has a field whose name is wrong: {}", cut(&error.to_string())),
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
            let each: Vec<String> = context.iter().filter_map(|errors| errors.first()).map(alternative).collect();
            format!("fits none of {} alternatives: {}", context.len(), each.join("; or "))
        }
        Kind::OneOfMultipleValid { .. } => "fits more than one alternative of oneOf".to_owned(),
        Kind::Not { schema } => format!("must not be {}", cut(&schema.to_string())),
        _ => return None,
    })
}

/// The first thing that is wrong by an alternative.
fn alternative(error: &ValidationError<'_>) -> String {
    match error.kind() {
        Kind::Required { property } => format!("{} is missing", plain(property)),
        Kind::Custom { message, .. } => cut(message),
        _ => cut(&error.to_string()),
    }
}

fn type_name(kind: JsonType) -> &'static str {
    match kind {
        JsonType::Array => "an array",
        JsonType::Boolean => "a boolean",
        JsonType::Integer => "an integer",
        JsonType::Null => "null",
        JsonType::Number => "a number",
        JsonType::Object => "a document",
        JsonType::String => "a string",
    }
}

/// A value of the wrong type: a number that is not whole is shown, of others the type is enough.
fn found(value: Value<'_>) -> String {
    match value {
        Value::Double(number) => number.to_string(),
        _ => value.type_name().to_owned(),
    }
}

fn shown(value: Value<'_>) -> String {
    match value {
        Value::Int32(_) | Value::Int64(_) | Value::Bool(_) => value.to_text().unwrap_or_default().into_owned(),
        Value::Double(number) => number.to_string(),
        Value::Decimal128(bytes) => crate::view::decimal_text(bytes),
        Value::Document(_) | Value::Array(_) | Value::Null => value.type_name().to_owned(),
        _ => crate::view::text(value).map_or_else(|| value.type_name().to_owned(), |text| quoted(&text)),
    }
}

/// A value of a schema.
fn plain(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Text in quotes, cut where it is long: messages end up in logs.
pub(crate) fn quoted(text: &str) -> String {
    let short: String = text.chars().take(40).collect();
    let dots = if short.len() < text.len() { "..." } else { "" };
    format!("{short:?}{dots}")
}

fn cut(text: &str) -> String {
    let short: String = text.chars().take(200).collect();
    let dots = if short.len() < text.len() { "..." } else { "" };
    format!("{short}{dots}")
}
