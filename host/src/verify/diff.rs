//! What differs between two documents, field by field.

use std::collections::HashMap;

use bson::{Bson, RawDocumentBuf};
use serde_json::Value;

use super::report::{FieldDifference, Kind};
use crate::format::elements::{Element, Elements, kind};

/// What differs, and the fields told of it.
pub(super) struct Verdict {
    pub(super) kind: Kind,
    pub(super) fields: Vec<FieldDifference>,
    pub(super) more_fields: usize,
}

/// Fields told of one document.
const FIELDS: usize = 8;
/// Characters of a value that are told.
const WIDTH: usize = 80;

/// Compares two documents that are not equal byte by byte.
pub(super) fn diff(source: &[u8], target: &[u8]) -> Verdict {
    let mut found = Found::default();
    found.documents("", source, target);
    if found.count == 0 {
        // Equal in all that is looked at, and yet not: the length of a name in an array, for instance.
        found.tell("", Kind::Different, Value::Null, Value::Null);
    }
    let kind = found.worst.unwrap_or(Kind::Different);
    Verdict { kind, more_fields: found.count - found.fields.len(), fields: found.fields }
}

#[derive(Default)]
struct Found {
    fields: Vec<FieldDifference>,
    count: usize,
    worst: Option<Kind>,
}

impl Found {
    fn tell(&mut self, path: &str, kind: Kind, source: Value, target: Value) {
        self.count += 1;
        // In the order of the enum: what changes a value is worse than what changes how it is kept.
        let of_document = if matches!(kind, Kind::Missing | Kind::Extra) { Kind::Different } else { kind };
        self.worst = Some(self.worst.map_or(of_document, |worst| worst.min(of_document)));
        if self.fields.len() < FIELDS {
            self.fields.push(FieldDifference { path: path.to_owned(), kind, source, target });
        }
    }

    fn documents(&mut self, path: &str, source: &[u8], target: &[u8]) {
        let (Some(left), Some(right)) = (elements(source), elements(target)) else {
            return self.tell(path, Kind::Different, Value::Null, Value::Null);
        };
        let by_name: HashMap<&[u8], &Element<'_>> = right.iter().map(|element| (element.name, element)).collect();
        let names: HashMap<&[u8], usize> = left.iter().enumerate().map(|(at, element)| (element.name, at)).collect();
        if by_name.len() < right.len() || names.len() < left.len() {
            // A name twice: which of the two is which cannot be told.
            return self.tell(path, Kind::Different, "a name stands twice".into(), "a name stands twice".into());
        }
        for element in &left {
            let path = below(path, element.name);
            match by_name.get(element.name) {
                Some(other) => self.values(&path, element, other),
                None => self.tell(&path, Kind::Missing, shown(element), Value::Null),
            }
        }
        for element in right.iter().filter(|element| !names.contains_key(element.name)) {
            self.tell(&below(path, element.name), Kind::Extra, Value::Null, shown(element));
        }
        let order: Vec<usize> = right.iter().filter_map(|element| names.get(element.name).copied()).collect();
        if !order.is_sorted() {
            let of = |elements: &[Element<'_>]| {
                Value::from(elements.iter().map(|e| String::from_utf8_lossy(e.name)).collect::<Vec<_>>().join(", "))
            };
            self.tell(path, Kind::FieldOrder, cut(of(&left)), cut(of(&right)));
        }
    }

    fn values(&mut self, path: &str, source: &Element<'_>, target: &Element<'_>) {
        if source.kind == target.kind && source.value == target.value {
            return;
        }
        match (source.kind, target.kind) {
            (kind::DOCUMENT, kind::DOCUMENT) => {
                let before = self.count;
                self.documents(path, source.value, target.value);
                if self.count > before {
                    return;
                }
            }
            (kind::ARRAY, kind::ARRAY) => {
                let before = self.count;
                self.arrays(path, source.value, target.value);
                if self.count > before {
                    return;
                }
            }
            (left, right) if left != right && same_number(source, target) => {
                return self.tell(path, Kind::NumberType, shown(source), shown(target));
            }
            _ => {}
        }
        self.tell(path, Kind::Different, shown(source), shown(target));
    }

    /// By place, whatever the names are.
    fn arrays(&mut self, path: &str, source: &[u8], target: &[u8]) {
        let (Some(left), Some(right)) = (elements(source), elements(target)) else { return };
        for (at, element) in left.iter().enumerate() {
            let path = below(path, at.to_string().as_bytes());
            match right.get(at) {
                Some(other) => self.values(&path, element, other),
                None => self.tell(&path, Kind::Missing, shown(element), Value::Null),
            }
        }
        for (at, element) in right.iter().enumerate().skip(left.len()) {
            self.tell(&below(path, at.to_string().as_bytes()), Kind::Extra, Value::Null, shown(element));
        }
    }
}

fn elements(document: &[u8]) -> Option<Vec<Element<'_>>> {
    Elements::of(document).ok()?.collect::<Result<_, _>>().ok()
}

fn below(path: &str, name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    if path.is_empty() { name.into_owned() } else { format!("{path}.{name}") }
}

/// Whether two numbers of different types have one value.
fn same_number(left: &Element<'_>, right: &Element<'_>) -> bool {
    match (value(left), value(right)) {
        (Some(Bson::Decimal128(left)), Some(right)) => decimal_is(&left, &right),
        (Some(left), Some(Bson::Decimal128(right))) => decimal_is(&right, &left),
        // Exactly, as the server compares them.
        _ => {
            let number = |e: &Element<'_>| matches!(e.kind, kind::INT32 | kind::INT64 | kind::DOUBLE);
            let key = crate::source::mongodb::order::key;
            number(left) && number(right) && key(left) == key(right)
        }
    }
}

fn decimal_is(decimal: &bson::Decimal128, other: &Bson) -> bool {
    let text = decimal.to_string();
    match other {
        Bson::Int32(number) => text == number.to_string() || text.parse() == Ok(f64::from(*number)),
        Bson::Int64(number) => {
            // Beyond 2^53 a double stands for several integers.
            text == number.to_string() || (number.unsigned_abs() < 1 << 53 && text.parse() == Ok(*number as f64))
        }
        Bson::Double(number) => text.parse() == Ok(*number),
        _ => false,
    }
}

fn value(element: &Element<'_>) -> Option<Bson> {
    // A document with this one element.
    let length = i32::try_from(4 + 1 + 2 + element.value.len() + 1).ok()?;
    let bytes = [&length.to_le_bytes()[..], &[element.kind], b"v\0", element.value, &[0]].concat();
    Bson::try_from(RawDocumentBuf::from_bytes(bytes).ok()?.get("v").ok()??).ok()
}

/// A value for people and programs: Extended JSON that keeps types, cut where it is long.
fn shown(element: &Element<'_>) -> Value {
    match value(element) {
        // The types of numbers are what may differ.
        Some(Bson::Int32(number)) => Value::from(number),
        Some(value) => cut(value.into_canonical_extjson()),
        None => Value::from(format!("{} bytes that are no valid value", element.value.len())),
    }
}

fn cut(value: Value) -> Value {
    let text = match &value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.chars().count() <= WIDTH {
        return value;
    }
    Value::from(text.chars().take(WIDTH - 3).chain("...".chars()).collect::<String>())
}

#[cfg(test)]
mod tests {
    use bson::{Document, doc};

    use super::{Kind, diff};

    fn differences(source: Document, target: Document) -> (Kind, Vec<(String, Kind)>) {
        let verdict = diff(&source.to_vec().unwrap(), &target.to_vec().unwrap());
        (verdict.kind, verdict.fields.into_iter().map(|field| (field.path, field.kind)).collect())
    }

    #[test]
    fn paths_lead_to_what_differs() {
        let source = doc! { "_id": 1, "a": { "b": [1, { "c": 1 }], "gone": true }, "s": "x" };
        let target = doc! { "_id": 1, "a": { "b": [1, { "c": 2 }, 3] }, "s": "x", "more": 1 };
        let (kind, fields) = differences(source, target);
        assert_eq!(kind, Kind::Different);
        let expected =
            [("a.b.1.c", Kind::Different), ("a.b.2", Kind::Extra), ("a.gone", Kind::Missing), ("more", Kind::Extra)];
        assert_eq!(fields, expected.map(|(path, kind)| (path.to_owned(), kind)));
    }

    #[test]
    fn order_and_types_of_numbers_are_told_apart() {
        let (kind, fields) =
            differences(doc! { "a": 1, "b": { "c": 1, "d": 2 } }, doc! { "a": 1, "b": { "d": 2, "c": 1 } });
        assert_eq!((kind, fields), (Kind::FieldOrder, vec![("b".to_owned(), Kind::FieldOrder)]));
        let decimal = |text: &str| text.parse::<bson::Decimal128>().unwrap();
        for (source, target) in [
            (doc! { "n": 1 }, doc! { "n": 1_i64 }),
            (doc! { "n": 1 }, doc! { "n": 1.0 }),
            (doc! { "n": 9_007_199_254_740_992_i64 }, doc! { "n": 9_007_199_254_740_992.0 }),
            (doc! { "n": decimal("1.50") }, doc! { "n": 1.5 }),
            (doc! { "n": 7_i64 }, doc! { "n": decimal("7") }),
        ] {
            assert_eq!(differences(source.clone(), target.clone()).0, Kind::NumberType, "{source} {target}");
        }
        for (source, target) in [
            (doc! { "n": 1 }, doc! { "n": 2_i64 }),
            (doc! { "n": 9_007_199_254_740_993_i64 }, doc! { "n": 9_007_199_254_740_992.0 }),
            (doc! { "n": 1 }, doc! { "n": true }),
            (doc! { "n": 1 }, doc! { "n": "1" }),
            // Equal and yet not the same: there is more than one zero, and trailing zeros of a decimal are kept.
            (doc! { "n": 0.0 }, doc! { "n": -0.0 }),
            (doc! { "n": decimal("1.5") }, doc! { "n": decimal("1.50") }),
        ] {
            assert_eq!(differences(source.clone(), target.clone()).0, Kind::Different, "{source} {target}");
        }
        // A value that differs is worse than an order that does.
        assert_eq!(differences(doc! { "a": 1, "b": 2 }, doc! { "b": 3, "a": 1 }).0, Kind::Different);
    }

    #[test]
    fn few_fields_and_short_values_are_told() {
        let long = |text: &str| (0..20).map(|n| (format!("f{n}"), text.repeat(1000).into())).collect::<Document>();
        let verdict = diff(&long("a").to_vec().unwrap(), &long("b").to_vec().unwrap());
        assert_eq!((verdict.fields.len(), verdict.more_fields), (8, 12));
        assert!(verdict.fields[0].source.as_str().unwrap().len() == 80);
    }
}
