//! Values that the configuration gives to fields: JSON, with Extended JSON for the types that JSON lacks.

use serde_json::{Map, Value as Json};
use tidegate_plugin::bson::{ArrayBuf, DateTime, DocumentBuf, Value};

use super::{convert::object_id_of, tree::Item};
use crate::view::decimal_from_text;

/// A value, kept as a document with it alone.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Constant(DocumentBuf);

impl Constant {
    pub(crate) fn new(value: &Json) -> Result<Self, String> {
        let mut document = DocumentBuf::new();
        append(&mut document, "v", value)?;
        Ok(Self(document))
    }

    pub(crate) fn item(&self) -> Item<'_> {
        Item::Value(self.0.as_document().get("v").unwrap_or(Value::Null))
    }
}

/// One function for documents and for arrays, which are documents with numbers for names.
fn append(out: &mut DocumentBuf, name: &str, value: &Json) -> Result<(), String> {
    match value {
        Json::Null => out.append(name, Value::Null),
        Json::Bool(value) => out.append(name, *value),
        Json::String(text) => out.append(name, text),
        Json::Number(number) => match number.as_i64() {
            Some(number) => match i32::try_from(number) {
                Ok(number) => out.append(name, number),
                Err(_) => out.append(name, number),
            },
            None => out.append(name, number.as_f64().unwrap_or_default()),
        },
        Json::Array(values) => {
            let mut array = ArrayBuf::new();
            for value in values {
                let constant = Constant::new(value)?;
                array.push(constant.0.as_document().get("v").unwrap_or(Value::Null));
            }
            out.append(name, array)
        }
        Json::Object(fields) => match extended(fields)? {
            Some(value) => out.append(name, value),
            None => {
                let mut document = DocumentBuf::new();
                for (name, value) in fields {
                    append(&mut document, name, value)?;
                }
                out.append(name, document)
            }
        },
    };
    Ok(())
}

/// A type of BSON that JSON lacks: `{"$date": "2024-01-31T09:30:00Z"}` and the like.
fn extended(fields: &Map<String, Json>) -> Result<Option<Value<'static>>, String> {
    let Some((name, value)) = fields.iter().next().filter(|(name, _)| fields.len() == 1 && name.starts_with('$'))
    else {
        return Ok(None);
    };
    let text = value.as_str().unwrap_or_default();
    let value = match name.as_str() {
        "$date" => DateTime::parse_iso8601(text).ok().map(Value::DateTime),
        "$oid" => object_id_of(text).map(Value::ObjectId),
        "$numberInt" => text.parse().ok().map(Value::Int32),
        "$numberLong" => text.parse().ok().map(Value::Int64),
        "$numberDouble" => text.parse().ok().map(Value::Double),
        "$numberDecimal" => decimal_from_text(text).map(Value::Decimal128),
        _ => {
            return Err(format!(
                "{name} is not known; there are $date, $oid, $numberInt, $numberLong, $numberDouble and $numberDecimal, each with text"
            ));
        }
    };
    value.map(Some).ok_or_else(|| format!("{} is no {name}", Json::Object(fields.clone())))
}
