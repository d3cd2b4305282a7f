//! What the validator asks of a value.

use std::borrow::Cow;

use jsonschema::{
    JsonType,
    json::{Array, Json, Node as JsonNode, NodeIdentity, Object, cmp},
};
use serde_json::Value as JsonValue;
use tidegate_plugin::bson::Value;

use super::{Children, Entry, Node, number::Number, text};

/// BSON as a representation of JSON.
pub(crate) struct Bson;

impl Json for Bson {
    type Node<'a> = Node<'a>;
    type PreparedKey = String;
    type StringBuffer = ();

    // A lookup goes over the fields as a pass over all of them does.
    const KEYS_PER_LOOKUP: usize = 8;

    fn prepare_key(key: &str) -> String {
        key.to_owned()
    }

    fn with_string_node<T>((): &mut (), string: &str, f: impl FnOnce(Node<'_>) -> T) -> T {
        f(Node { entries: &[Entry { name: "", value: Value::String(string), next: 1, count: 0 }], at: 0 })
    }
}

impl<'a> JsonNode<'a, Bson> for Node<'a> {
    type Object = Self;
    type Array = Self;
    type Number = Number;

    #[inline]
    fn as_object(&self) -> Option<Self> {
        (self.json_type() == JsonType::Object).then_some(*self)
    }

    #[inline]
    fn as_array(&self) -> Option<Self> {
        matches!(self.value(), Value::Array(_)).then_some(*self)
    }

    #[inline]
    fn as_string(&self) -> Option<Cow<'a, str>> {
        text(self.value())
    }

    #[inline]
    fn as_number(&self) -> Option<Number> {
        Number::of(self.value())
    }

    fn as_boolean(&self) -> Option<bool> {
        self.value().as_bool()
    }

    fn is_null(&self) -> bool {
        matches!(self.value(), Value::Null | Value::Undefined)
    }

    #[inline]
    fn is_string(&self) -> bool {
        self.json_type() == JsonType::String
    }

    #[inline]
    fn json_type(&self) -> JsonType {
        match self.value() {
            Value::Document(_) | Value::Timestamp { .. } => JsonType::Object,
            Value::Array(_) => JsonType::Array,
            Value::Int32(_) | Value::Int64(_) => JsonType::Number,
            value @ (Value::Double(_) | Value::Decimal128(_)) if Number::of(value).is_some() => JsonType::Number,
            Value::Bool(_) => JsonType::Boolean,
            Value::Null | Value::Undefined => JsonType::Null,
            _ => JsonType::String,
        }
    }

    fn equals_value(&self, expected: &JsonValue) -> bool {
        match (expected, self.json_type()) {
            (JsonValue::String(expected), JsonType::String) => self.as_string().is_some_and(|own| own == *expected),
            (JsonValue::Number(expected), JsonType::Number) => {
                self.as_number().is_some_and(|own| cmp::equal_numbers(&own, expected))
            }
            (JsonValue::Bool(expected), JsonType::Boolean) => self.as_boolean() == Some(*expected),
            (JsonValue::Null, JsonType::Null) => true,
            (JsonValue::Array(expected), JsonType::Array) => {
                expected.len() == self.count()
                    && self.children().zip(expected).all(|((_, own), expected)| own.equals_value(expected))
            }
            (JsonValue::Object(expected), JsonType::Object) => {
                expected.len() == self.count()
                    && self.children().all(|(name, own)| expected.get(name).is_some_and(|it| own.equals_value(it)))
            }
            _ => false,
        }
    }

    fn to_value(&self) -> Cow<'a, JsonValue> {
        Cow::Owned(match self.json_type() {
            JsonType::Object => JsonValue::Object(
                self.children().map(|(name, child)| (name.to_owned(), child.to_value().into_owned())).collect(),
            ),
            JsonType::Array => {
                JsonValue::Array(self.children().map(|(_, child)| child.to_value().into_owned()).collect())
            }
            JsonType::Number | JsonType::Integer => {
                self.as_number().map_or(JsonValue::Null, |number| JsonValue::Number(number.to_json()))
            }
            JsonType::Boolean => JsonValue::Bool(self.as_boolean().unwrap_or_default()),
            JsonType::String => JsonValue::String(self.as_string().unwrap_or_default().into_owned()),
            JsonType::Null => JsonValue::Null,
        })
    }

    fn identity(&self) -> Option<NodeIdentity> {
        self.entries.get(self.at as usize).map(|entry| NodeIdentity::new(std::ptr::from_ref(entry) as usize))
    }
}

impl<'a> Object<'a, Bson> for Node<'a> {
    type Node = Self;
    type MemberName = &'a str;
    type MembersIter = Children<'a>;

    #[inline]
    fn len(&self) -> usize {
        self.count()
    }

    // Of a field that occurs twice, the first counts, as everywhere in tidegate.
    #[inline]
    fn get(&self, key: &String) -> Option<Self> {
        self.children().find(|(name, _)| *name == key).map(|(_, child)| child)
    }

    #[inline]
    fn members(&self) -> Children<'a> {
        self.children()
    }
}

impl<'a> Array<'a, Bson> for Node<'a> {
    type Node = Self;
    type ElementsIter = std::iter::Map<Children<'a>, fn((&'a str, Self)) -> Self>;

    fn len(&self) -> usize {
        self.count()
    }

    fn elements(&self) -> Self::ElementsIter {
        self.children().map(|(_, child)| child)
    }
}
