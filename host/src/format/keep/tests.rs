use bson::{
    Binary, Bson, DbPointer, Decimal128, Document, JavaScriptCodeWithScope, Regex, Timestamp, doc, oid::ObjectId,
    spec::BinarySubtype,
};
use proptest::{collection::vec, prelude::*};
use serde_json::{Map, Value, json};

use super::read_document;
use crate::format::json::{Style, write_document};

fn written(document: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    write_document(&mut text, document, Style::Interchange).unwrap();
    text
}

fn back(text: &Value, original: &Document) -> Document {
    let bytes = read_document(text.to_string().as_bytes(), Some(&original.to_vec().unwrap())).unwrap();
    Document::from_reader(bytes.as_slice()).unwrap()
}

/// What JavaScript does: numbers are doubles, `1.0` is written as `1`, and names that are integers come first, in order.
fn through_javascript(value: Value) -> Value {
    match value {
        Value::Number(number) => {
            let double = number.as_f64().unwrap();
            let whole = double.fract() == 0.0 && double.abs() <= 9_007_199_254_740_992.0;
            if whole { json!(double as i64) } else { json!(double) }
        }
        Value::Array(values) => values.into_iter().map(through_javascript).collect(),
        Value::Object(members) => {
            let mut members: Vec<_> = members.into_iter().collect();
            members.sort_by_key(|(name, _)| name.parse::<u32>().map_or((1, 0), |index| (0, index)));
            Value::Object(members.into_iter().map(|(name, value)| (name, through_javascript(value))).collect())
        }
        other => other,
    }
}

/// What Go does: the members of a map are sorted.
fn through_go(value: Value) -> Value {
    match value {
        Value::Array(values) => values.into_iter().map(through_go).collect(),
        Value::Object(members) => {
            let mut members: Vec<_> = members.into_iter().collect();
            members.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(members.into_iter().map(|(name, value)| (name, through_go(value))).collect::<Map<_, _>>())
        }
        other => other,
    }
}

fn any_double() -> impl Strategy<Value = f64> {
    prop_oneof![any::<f64>(), Just(0.0), Just(-0.0), Just(1.0), Just(1e300), any::<i32>().prop_map(f64::from)]
        .prop_filter("one NaN is not another", |double| !double.is_nan() || double.to_bits() == f64::NAN.to_bits())
}

fn any_int64() -> impl Strategy<Value = i64> {
    prop_oneof![any::<i64>(), -10_i64..10, Just(1 << 53), Just((1 << 53) + 1), Just(-(1 << 53) - 1), Just(i64::MIN)]
}

fn any_date() -> impl Strategy<Value = bson::DateTime> {
    prop_oneof![0..253_402_300_800_000_i64, -1_000_000_i64..0, any::<i64>()].prop_map(bson::DateTime::from_millis)
}

fn any_leaf() -> impl Strategy<Value = Bson> {
    prop_oneof![
        any_double().prop_map(Bson::Double),
        any::<String>().prop_map(Bson::String),
        any::<bool>().prop_map(Bson::Boolean),
        Just(Bson::Null),
        any::<i32>().prop_map(Bson::Int32),
        any_int64().prop_map(Bson::Int64),
        any_date().prop_map(Bson::DateTime),
        any::<[u8; 12]>().prop_map(|bytes| Bson::ObjectId(ObjectId::from_bytes(bytes))),
        any::<[u8; 16]>().prop_map(|bytes| Bson::Decimal128(Decimal128::from_bytes(bytes))),
        (any::<u32>(), any::<u32>()).prop_map(|(time, increment)| Bson::Timestamp(Timestamp { time, increment })),
        (vec(any::<u8>(), 0..20), prop_oneof![Just(0_u8), Just(4), Just(5), Just(0x80)])
            .prop_map(|(bytes, subtype)| { Bson::Binary(Binary { subtype: BinarySubtype::from(subtype), bytes }) }),
        "[a-z.*]{0,8}".prop_map(|pattern| {
            Bson::RegularExpression(Regex { pattern: pattern.try_into().unwrap(), options: bson::cstr!("im").into() })
        }),
        any::<String>().prop_map(Bson::JavaScriptCode),
        any::<String>().prop_map(|code| {
            Bson::JavaScriptCodeWithScope(JavaScriptCodeWithScope { code, scope: doc! { "n": 1_i64 } })
        }),
        any::<String>().prop_map(Bson::Symbol),
        Just(Bson::MinKey),
        Just(Bson::MaxKey),
        Just(Bson::Undefined),
    ]
}

/// Names as they come, such that mean something in Extended JSON, and such that are numbers.
fn any_name() -> impl Strategy<Value = String> {
    prop_oneof!["[^\u{0}]{0,6}", "[a-f]", "[0-9]{1,3}", "\\$(oid|date|numberLong|set|minKey)"]
}

fn any_document() -> impl Strategy<Value = Document> {
    let value = any_leaf().prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Bson::Array),
            vec((any_name(), inner), 0..5).prop_map(|members| Bson::Document(members.into_iter().collect())),
        ]
    });
    vec((any_name(), value), 0..8).prop_map(|members| members.into_iter().collect())
}

proptest! {
    #[test]
    fn what_comes_back_untouched_is_as_it_was(document in any_document()) {
        let original = document.to_vec().unwrap();
        let text = written(&original);
        prop_assert_eq!(read_document(&text, Some(&original)).unwrap(), original.clone());
        let value: Value = serde_json::from_slice(&text).unwrap();
        for value in [through_javascript(value.clone()), through_go(value)] {
            let text = value.to_string();
            prop_assert_eq!(read_document(text.as_bytes(), Some(&original)).unwrap(), original.clone(), "{}", text);
        }
    }

    #[test]
    fn what_is_changed_leaves_the_rest_as_it_was(document in any_document(), name in "[a-z]{8}", double in any::<f64>()) {
        prop_assume!(double.is_finite());
        let original = document.to_vec().unwrap();
        let mut value: Value = serde_json::from_slice(&written(&original)).unwrap();
        value[&name] = json!(double);
        let bytes = read_document(value.to_string().as_bytes(), Some(&original)).unwrap();
        let mut expected = document;
        expected.insert(name, Bson::Double(double));
        prop_assert_eq!(bytes, expected.to_vec().unwrap());
    }

    #[test]
    fn any_text_is_read_or_refused_and_what_is_read_is_bson(text in any::<String>(), document in any_document()) {
        let original = document.to_vec().unwrap();
        for text in [text, document.to_string()] {
            if let Ok(bytes) = read_document(text.as_bytes(), Some(&original)) {
                prop_assert!(crate::format::check::check_document(&bytes).is_ok());
            }
        }
    }
}

#[test]
fn old_binary_data_and_pointers_keep_their_types() {
    let pointer: DbPointer = {
        let json = json!({ "$dbPointer": { "$ref": "d.c", "$id": { "$oid": "5f0000000000000000000001" } } });
        match Bson::try_from(json).unwrap() {
            Bson::DbPointer(pointer) => pointer,
            other => panic!("{other}"),
        }
    };
    let old = Binary { subtype: BinarySubtype::BinaryOld, bytes: vec![1, 2, 3] };
    let document = doc! { "p": Bson::DbPointer(pointer), "b": old };
    let original = document.to_vec().unwrap();
    assert_eq!(read_document(&written(&original), Some(&original)).unwrap(), original);
}

#[test]
fn elements_of_arrays_keep_their_types_from_both_ends() {
    let original = doc! { "a": [1_i64, 2.0, 3_i64] };
    let cases = [
        (json!([1, 2, 3]), doc! { "a": [1_i64, 2.0, 3_i64] }),
        (json!([0, 1, 2, 3]), doc! { "a": [0, 1_i64, 2.0, 3_i64] }),
        (json!([1, 2, 9, 3]), doc! { "a": [1_i64, 2.0, 9, 3_i64] }),
        (json!([1, 2, 3, 4]), doc! { "a": [1_i64, 2.0, 3_i64, 4] }),
        (json!([2, 3]), doc! { "a": [2.0, 3_i64] }),
        (json!([1, 3]), doc! { "a": [1_i64, 3_i64] }),
        (json!([]), doc! { "a": [] }),
        (json!([1, 7, 3]), doc! { "a": [1_i64, 7, 3_i64] }),
    ];
    for (array, expected) in cases {
        assert_eq!(back(&json!({ "a": array }), &original), expected, "{array}");
    }
    let objects = doc! { "a": [{ "n": 1_i64, "m": 2.0 }] };
    let changed = json!({ "a": [{ "m": 3, "n": 1 }] });
    assert_eq!(back(&changed, &objects), doc! { "a": [{ "n": 1_i64, "m": 3 }] });
}

#[test]
fn what_is_new_is_extended_json_and_follows_in_its_order() {
    let original = doc! { "_id": 1, "b": 2_i64, "gone": true };
    let text = json!({
        "z": 1, "b": 2, "y": 5_000_000_000_i64, "x": 1.5, "_id": 1,
        "at": { "$date": "2026-01-31T12:00:00Z" }, "o": { "k": { "$numberInt": "7" } },
    });
    let expected = doc! {
        "_id": 1, "b": 2_i64, "z": 1, "y": 5_000_000_000_i64, "x": 1.5,
        "at": bson::DateTime::from_millis(1_769_860_800_000), "o": { "k": 7 },
    };
    assert_eq!(back(&text, &original), expected);
    // What has another type now has another type, whatever it was.
    assert_eq!(back(&json!({ "b": "2" }), &original), doc! { "b": "2" });
    assert_eq!(back(&json!({ "b": 3 }), &original), doc! { "b": 3 });
}

#[test]
fn what_cannot_be_read_says_where() {
    let read = |text: &str| read_document(text.as_bytes(), None).unwrap_err();
    assert_eq!(read("[]"), "it is no JSON object");
    assert!(read("{\"a\":").starts_with("it is no JSON: EOF while parsing"), "{}", read("{\"a\":"));
    assert!(read(r#"{"a":{"b":[0,{"$oid":1}]}}"#).starts_with("`a.b.1`: it is no Extended JSON:"));
    assert_eq!(read("{\"a\":{\"b\\u0000\":1}}"), "`a.b\u{0}`: a name holds a NUL, which BSON has no room for");
}

#[test]
fn values_are_bounded_and_what_stands_in_strings_is_none() {
    let list = |element: &str, count: usize| format!("{{\"a\":[{}]}}", vec![element; count].join(","));
    let most = super::MOST_VALUES;
    assert!(read_document(list("0", most + 1).as_bytes(), None).is_err_and(|cause| cause.contains("values")));
    let text = format!("{{\"a\":\"{}\"}}", ",[{\\\"".repeat(most));
    assert!(read_document(text.as_bytes(), None).is_ok());
}
