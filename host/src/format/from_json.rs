//! JSON into BSON without a tree of values in between, for the many documents that are plain.
//!
//! It says what `bson` says of the same text: integers become Int32 where they fit, else Int64, other numbers Double, and an object that
//! begins with a word of Extended JSON is handed to `bson` itself. What needs more thought than that (a name that stands twice, a `$` in
//! the middle, integers beyond 64 bits, anything that is wrong) is left to whoever asks: there the tree, and its errors, are worth their time.

use std::{fmt, ops::Range};

use bson::{Bson, RawDocumentBuf};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Map;
use smallvec::SmallVec;

use super::elements::{Elements, kind};

/// Names of one object that are compared with each other.
const MOST_NAMES: usize = 64;

/// The document that the text says; none where it takes more than this to read it.
pub(crate) fn document(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() + 64);
    let mut reader = serde_json::Deserializer::from_slice(text);
    Value { out: &mut out, at: None }.deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    Some(out)
}

/// A value that is written behind its name.
struct Value<'a> {
    out: &'a mut Vec<u8>,
    /// Where its type goes; none for the document as a whole, which must be an object.
    at: Option<usize>,
}

impl Value<'_> {
    fn kind<E: Error>(&mut self, kind: u8) -> Result<(), E> {
        let place = self.at.and_then(|at| self.out.get_mut(at));
        *place.ok_or_else(|| E::custom("no object"))? = kind;
        Ok(())
    }

    fn write<E: Error>(mut self, kind: u8, bytes: &[u8]) -> Result<(), E> {
        self.kind(kind)?;
        self.out.extend_from_slice(bytes);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.write(kind::BOOLEAN, &[u8::from(value)])
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.write(kind::NULL, &[])
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        match i32::try_from(value) {
            Ok(value) => self.write(kind::INT32, &value.to_le_bytes()),
            Err(_) => self.write(kind::INT64, &value.to_le_bytes()),
        }
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.visit_i64(i64::try_from(value).map_err(E::custom)?)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.write(kind::DOUBLE, &value.to_le_bytes())
    }

    fn visit_str<E: Error>(mut self, text: &str) -> Result<(), E> {
        self.kind(kind::STRING)?;
        let length = i32::try_from(text.len() + 1).map_err(E::custom)?;
        self.out.extend_from_slice(&length.to_le_bytes());
        self.out.extend_from_slice(text.as_bytes());
        self.out.push(0);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        self.kind(kind::ARRAY)?;
        let start = begin(self.out);
        for index in 0_u32.. {
            let at = self.out.len();
            self.out.push(0);
            super::json::write_number(self.out, index);
            self.out.push(0);
            if items.next_element_seed(Value { out: self.out, at: Some(at) })?.is_none() {
                self.out.truncate(at);
                break;
            }
        }
        end(self.out, start)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        let start = begin(self.out);
        let mut names = SmallVec::new();
        loop {
            let at = self.out.len();
            match members.next_key_seed(Name { out: self.out, names: &mut names })? {
                None => break,
                Some(None) => members.next_value_seed(Value { out: self.out, at: Some(at) })?,
                Some(Some(first)) if at == start + 4 && self.at.is_some() => {
                    self.out.truncate(start);
                    return self.extended(first, members);
                }
                Some(Some(_)) => return Err(A::Error::custom("a name of Extended JSON where none stands")),
            }
        }
        end(self.out, start)?;
        if self.at.is_some() { self.kind(kind::DOCUMENT) } else { Ok(()) }
    }
}

impl Value<'_> {
    /// An object of Extended JSON, of which the first name was read.
    fn extended<'de, A: MapAccess<'de>>(mut self, first: String, mut members: A) -> Result<(), A::Error> {
        let mut object = Map::new();
        object.insert(first, members.next_value()?);
        while let Some((name, value)) = members.next_entry()? {
            object.insert(name, value);
        }
        let value = Bson::try_from(object).map_err(A::Error::custom)?;
        let alone = RawDocumentBuf::try_from(&bson::doc! { "v": value }).map_err(A::Error::custom)?;
        let element = Elements::of(alone.as_bytes()).ok().and_then(|mut elements| elements.next());
        let element = element.and_then(Result::ok).ok_or_else(|| A::Error::custom("no value"))?;
        self.kind(element.kind)?;
        self.out.extend_from_slice(element.value);
        Ok(())
    }
}

/// A name, behind the place for the type of its value.
struct Name<'a> {
    out: &'a mut Vec<u8>,
    /// Where those before it in the same object are.
    names: &'a mut SmallVec<[Range<usize>; 16]>,
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    /// A name that may be one of Extended JSON is not written.
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Option<String>, D::Error> {
        from.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Option<String>, E> {
        let Self { out, names } = self;
        if name.starts_with('$') {
            return Ok(Some(name.to_owned()));
        }
        let stands = |place: &Range<usize>| out.get(place.clone()) == Some(name.as_bytes());
        if names.len() == MOST_NAMES || name.contains('\0') || names.iter().any(stands) {
            return Err(E::custom("a name that takes more thought"));
        }
        out.push(0);
        names.push(out.len()..out.len() + name.len());
        out.extend_from_slice(name.as_bytes());
        out.push(0);
        Ok(None)
    }
}

/// Room for the length of a document or an array.
fn begin(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    start
}

fn end<E: Error>(out: &mut Vec<u8>, start: usize) -> Result<(), E> {
    out.push(0);
    let length = i32::try_from(out.len() - start).map_err(E::custom)?;
    if let Some(place) = out.get_mut(start..start + 4) {
        place.copy_from_slice(&length.to_le_bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bson::{Document, RawDocumentBuf};
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::document;

    /// As `bson` has it.
    fn by_bson(text: &[u8]) -> Option<Vec<u8>> {
        let members: Map<String, Value> = serde_json::from_slice(text).ok()?;
        Some(RawDocumentBuf::try_from(&Document::try_from(members).ok()?).ok()?.into_bytes())
    }

    #[test]
    fn plain_documents_are_read() {
        for text in [
            r#"{}"#,
            r#" {"a" : 1 , "b":[true,false,null,[],{}],"c":{"d":"\u00e9\n","e":1.5}} "#,
            r#"{"a":2147483647,"b":2147483648,"c":-2147483649,"d":9223372036854775807,"e":-0,"f":1e3,"g":1.0}"#,
            r#"{"_id":{"$oid":"65a0c0c0c0c0c0c0c0c0c0c0"},"at":{"$date":"2026-01-31T12:00:00Z"},"l":[{"$numberLong":"5"},6]}"#,
            r#"{"":1,"a.b":2,"long":[0,1,2,3,4,5,6,7,8,9,10,11]}"#,
            r#"{"nul":"a\u0000b"}"#,
        ] {
            let read = document(text.as_bytes());
            assert!(read.is_some(), "{text}");
            assert_eq!(read, by_bson(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn what_takes_more_thought_is_left_alone() {
        for text in [
            r#"[]"#,
            r#"1"#,
            r#"{"a":1} x"#,
            r#"{"a":1,"a":2}"#,
            r#"{"a":18446744073709551615}"#,
            r#"{"$oid":"65a0c0c0c0c0c0c0c0c0c0c0"}"#,
            r#"{"a":{"b":1,"$oid":"65a0c0c0c0c0c0c0c0c0c0c0"}}"#,
            r#"{"a":{"$oid":"no"}}"#,
            r#"{"a\u0000":1}"#,
            r#"{"a":"#,
            r#"{"a":"\ud800"}"#,
        ] {
            assert_eq!(document(text.as_bytes()), None, "{text}");
        }
        let wide: Map<String, Value> = (0..100).map(|n| (n.to_string(), json!(n))).collect();
        assert_eq!(document(&serde_json::to_vec(&wide).unwrap()), None);
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
            Just(json!({ "$numberLong": "7" })),
            Just(json!({ "$numberDecimal": "1.50" })),
            Just(json!({ "$date": { "$numberLong": "-1" } })),
            Just(json!({ "$set": 1 })),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec(("[$a-c]{0,2}", inner), 0..6)
                    .prop_map(|members| members.into_iter().collect::<Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever is read here, is read as `bson` reads it.
        #[test]
        fn what_is_read_is_what_bson_reads(members in prop::collection::vec(("[a-c$]{0,2}", values()), 0..6)) {
            let text = serde_json::to_vec(&members.into_iter().collect::<Map<_, _>>()).unwrap();
            if let Some(read) = document(&text) {
                prop_assert_eq!(Some(read), by_bson(&text));
            }
        }
    }
}
