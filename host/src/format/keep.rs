//! Documents that went out as JSON, came back changed, and keep the BSON types of what was not changed.
//!
//! JSON has one kind of number and no dates. What a plugin did not touch shall be in the sink as it was in the source, so each
//! value that comes back is laid beside the value of the same name in the original: if the original would be written as
//! what came back, its bytes are taken. Numbers are equal when they are the same number, since languages write `1.0` as `1`
//! and `1e3` as `1000`. Fields stay in the order of the original, since some languages sort them; new ones follow in the order
//! in which they came. Elements of an array keep their types from both ends on, so that one may be put in or taken out.
//!
//! What is new is read as Extended JSON, relaxed or canonical: integers become Int32 where they fit, else Int64, other numbers
//! Double.

use bson::{Bson, RawDocumentBuf};
use indexmap::IndexMap;
use serde_json::{Map, Number, Value};

use super::{
    elements::{Element, Elements, kind},
    json::{EXACT, Style, write_element},
};

/// The document that `text` says, with the types of `original` where the values are the same.
///
/// # Errors
/// In words, with the place in the document: it is no JSON object, or no Extended JSON.
pub fn read_document(text: &[u8], original: Option<&[u8]>) -> Result<Vec<u8>, String> {
    if text.len() > FEW && values(text) > MOST_VALUES {
        return Err(format!("it holds more than {MOST_VALUES} values"));
    }
    let value = serde_json::from_slice(text).map_err(|cause| format!("it is no JSON: {cause}"))?;
    let Value::Object(members) = value else { return Err("it is no JSON object".to_owned()) };
    let mut writer = Writer { out: Vec::with_capacity(text.len()), path: Vec::new() };
    writer.document(&members, original)?;
    Ok(writer.out)
}

/// Most values of one document. A value takes the host a hundred bytes and more while it is read, and a plugin two bytes to write; the
/// biggest document of MongoDB, 16 MiB, has fewer.
const MOST_VALUES: usize = 2 << 20;
/// A text that is no longer has no more of them.
const FEW: usize = MOST_VALUES;

/// How many values a JSON text holds at most: each but the first comes behind one of these, outside of a string.
fn values(text: &[u8]) -> usize {
    let (mut values, mut inside, mut escaped) = (1, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if inside => escaped = true,
            b'"' => inside = !inside,
            b',' | b'[' | b'{' if !inside => values += 1,
            _ => {}
        }
    }
    values
}

struct Writer<'a> {
    out: Vec<u8>,
    /// Where it writes, for errors.
    path: Vec<std::borrow::Cow<'a, str>>,
}

impl<'a> Writer<'a> {
    fn wrong(&self, what: impl std::fmt::Display) -> String {
        match self.path.as_slice() {
            [] => what.to_string(),
            path => format!("`{}`: {what}", path.join(".")),
        }
    }

    /// Writes what `members` does between the length and the terminator of a document.
    fn framed(&mut self, members: impl FnOnce(&mut Self) -> Result<(), String>) -> Result<(), String> {
        let start = self.out.len();
        self.out.extend_from_slice(&[0; 4]);
        members(self)?;
        self.out.push(0);
        let length = i32::try_from(self.out.len() - start).map_err(|_| self.wrong("it is too big"))?;
        if let Some(place) = self.out.get_mut(start..start + 4) {
            place.copy_from_slice(&length.to_le_bytes());
        }
        Ok(())
    }

    fn document(&mut self, members: &'a Map<String, Value>, original: Option<&[u8]>) -> Result<(), String> {
        let known = original.map(named).unwrap_or_default();
        self.framed(|this| {
            for (name, element) in &known {
                if let Some((name, value)) = members.get_key_value(*name) {
                    this.at(name, |this| this.value(name, value, Some(element)))?;
                }
            }
            for (name, value) in members.iter().filter(|(name, _)| !known.contains_key(name.as_str())) {
                this.at(name, |this| this.value(name, value, None))?;
            }
            Ok(())
        })
    }

    fn array(&mut self, values: &'a [Value], original: Option<&[u8]>) -> Result<(), String> {
        let old: Vec<Element<'_>> = original.map(elements).unwrap_or_default();
        let fit =
            |pairs: &mut dyn Iterator<Item = (&Element<'_>, &Value)>| pairs.take_while(|(e, v)| same(e, v)).count();
        let ahead = fit(&mut old.iter().zip(values));
        let shorter = old.len().min(values.len());
        let behind = fit(&mut old.iter().rev().zip(values.iter().rev())).min(shorter - ahead);
        let shift = values.len().abs_diff(old.len());
        self.framed(|this| {
            for (at, value) in values.iter().enumerate() {
                // Between what is the same at both ends, places tell which is which.
                let place = match at + behind >= values.len() {
                    true if values.len() > old.len() => at.checked_sub(shift),
                    true => Some(at + shift),
                    false => Some(at).filter(|at| at + behind < old.len()),
                };
                let name = at.to_string();
                let element = place.and_then(|place| old.get(place));
                this.at(name.clone(), |this| this.value(&name, value, element))?;
            }
            Ok(())
        })
    }

    fn at(
        &mut self,
        name: impl Into<std::borrow::Cow<'a, str>>,
        write: impl FnOnce(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        self.path.push(name.into());
        write(self)?;
        self.path.pop();
        Ok(())
    }

    fn value(&mut self, name: &str, value: &'a Value, original: Option<&Element<'_>>) -> Result<(), String> {
        let inside = |wanted: u8| original.filter(|old| old.kind == wanted).map(|old| old.value);
        match value {
            Value::Object(members) if !is_wrapper(members) => {
                self.head(kind::DOCUMENT, name)?;
                self.document(members, inside(kind::DOCUMENT))
            }
            Value::Array(values) => {
                self.head(kind::ARRAY, name)?;
                self.array(values, inside(kind::ARRAY))
            }
            value => match original.filter(|original| same(original, value)) {
                Some(original) => {
                    self.head(original.kind, name)?;
                    self.out.extend_from_slice(original.value);
                    Ok(())
                }
                None => self.fresh(name, value),
            },
        }
    }

    /// The type and the name of an element.
    fn head(&mut self, kind: u8, name: &str) -> Result<(), String> {
        if name.contains('\0') {
            return Err(self.wrong("a name holds a NUL, which BSON has no room for"));
        }
        self.out.push(kind);
        self.out.extend_from_slice(name.as_bytes());
        self.out.push(0);
        Ok(())
    }

    /// A value that the original does not have.
    fn fresh(&mut self, name: &str, value: &Value) -> Result<(), String> {
        let value =
            Bson::try_from(value.clone()).map_err(|cause| self.wrong(format!("it is no Extended JSON: {cause}")))?;
        let mut alone = RawDocumentBuf::new();
        let value = bson::RawBson::try_from(value).map_err(|cause| self.wrong(cause))?;
        alone.append(bson::cstr!("v"), value);
        let bytes = alone.into_bytes();
        let element = elements(&bytes).into_iter().next().ok_or_else(|| self.wrong("it cannot be written as BSON"))?;
        self.head(element.kind, name)?;
        self.out.extend_from_slice(element.value);
        Ok(())
    }
}

/// Names that Extended JSON gives a meaning, as the first of an object.
const WRAPPERS: [&str; 17] = [
    "$binary",
    "$code",
    "$date",
    "$dbPointer",
    "$maxKey",
    "$minKey",
    "$numberDecimal",
    "$numberDouble",
    "$numberInt",
    "$numberLong",
    "$oid",
    "$regularExpression",
    "$scope",
    "$symbol",
    "$timestamp",
    "$undefined",
    "$uuid",
];

fn is_wrapper(members: &Map<String, Value>) -> bool {
    members.keys().next().is_some_and(|name| WRAPPERS.contains(&name.as_str()))
}

fn elements(document: &[u8]) -> Vec<Element<'_>> {
    // The original was written as JSON before: it is well-formed.
    Elements::of(document).map(|elements| elements.flatten().collect()).unwrap_or_default()
}

/// The elements by name, in their order. Of several of one name the last counts, as it does where JSON is read.
fn named(document: &[u8]) -> IndexMap<&str, Element<'_>> {
    let all = elements(document).into_iter();
    all.filter_map(|element| Some((std::str::from_utf8(element.name).ok()?, element))).collect()
}

/// Whether a value is what the element would be written as.
fn same(element: &Element<'_>, value: &Value) -> bool {
    let little = || element.value.try_into().map(i64::from_le_bytes).ok();
    match (element.kind, value) {
        (kind::STRING, Value::String(text)) => element.as_str() == Some(text),
        (kind::BOOLEAN, Value::Bool(value)) => element.value == [u8::from(*value)],
        (kind::NULL, value) => value.is_null(),
        (kind::INT32, Value::Number(number)) => {
            let own = element.value.try_into().map(i32::from_le_bytes);
            own.is_ok_and(|own| is_integer(number, own.into()))
        }
        (kind::INT64, Value::Number(number)) => {
            little().is_some_and(|own| own.unsigned_abs() <= EXACT && is_integer(number, own))
        }
        (kind::DOUBLE, Value::Number(number)) => {
            let own = element.value.try_into().map(f64::from_le_bytes);
            own.is_ok_and(|own| number.as_f64() == Some(own))
        }
        (kind::DOCUMENT, Value::Object(members)) => {
            let known = named(element.value);
            known.len() == members.len()
                && known.iter().all(|(name, element)| members.get(*name).is_some_and(|value| same(element, value)))
        }
        (kind::ARRAY, Value::Array(values)) => {
            let known = elements(element.value);
            known.len() == values.len() && known.iter().zip(values).all(|(element, value)| same(element, value))
        }
        (_, Value::Object(_)) => {
            let mut text = Vec::new();
            write_element(&mut text, element, Style::Interchange).is_ok()
                && serde_json::from_slice::<Value>(&text).is_ok_and(|written| written == *value)
        }
        _ => false,
    }
}

fn is_integer(number: &Number, own: i64) -> bool {
    match number.as_i64() {
        Some(number) => number == own,
        // Within 2^53, so it has no rounding.
        None => number.as_f64() == Some(own as f64),
    }
}

#[cfg(test)]
mod tests;
