use serde_json::{Value as Json, json};
use tidegate_plugin::bson::{ArrayBuf, DateTime, DocumentBuf, ObjectId, Value};

use super::*;
use crate::view::decimal_from_text;

/// What one operation makes of a document.
fn run(operation: Json, document: &DocumentBuf) -> Result<DocumentBuf, String> {
    let config: StepConfig = serde_json::from_value(json!({ "from": "1", "to": "2", "do": [operation] })).unwrap();
    let steps = Step::parse(&config, "steps[0]", &["1".to_owned(), "2".to_owned()])?;
    migrate(document.as_document(), steps.iter().take(1), Stamp::None)
        .map_err(|error| error.strip_prefix("step 1->2: ").unwrap_or(&error).to_owned())
}

fn d() -> DocumentBuf {
    DocumentBuf::new()
}

fn lines(of: impl Fn(i32) -> DocumentBuf) -> DocumentBuf {
    d().with("lines", ArrayBuf::from_iter([of(1), of(2)]))
}

#[test]
fn every_operation_does_what_it_says() {
    let cases: Vec<(Json, DocumentBuf, DocumentBuf)> = vec![
        (json!({ "rename": { "a": "b" } }), d().with("a", 1).with("z", 2), d().with("b", 1).with("z", 2)),
        (json!({ "rename": { "a": "b" } }), d().with("b", 0).with("a", 1), d().with("b", 1)),
        (json!({ "rename": { "a": "b" } }), d().with("z", 1), d().with("z", 1)),
        (json!({ "rename": { "lines[].n": "count" } }), lines(|n| d().with("n", n)), lines(|n| d().with("count", n))),
        (
            json!({ "move": { "city": "address.city" } }),
            d().with("city", "X").with("z", 1),
            d().with("z", 1).with("address", d().with("city", "X")),
        ),
        (
            json!({ "move": { "a.b": "b" } }),
            d().with("a", d().with("b", 1).with("c", 2)),
            d().with("a", d().with("c", 2)).with("b", 1),
        ),
        (json!({ "default": { "a": 5 } }), d().with("a", Value::Null), d().with("a", Value::Null)),
        (
            json!({ "default": { "a.b": [1, "x"] } }),
            d(),
            d().with("a", d().with("b", ArrayBuf::new().with(1).with("x"))),
        ),
        (json!({ "default": { "lines[].n": 9 } }), lines(|_| d()), lines(|_| d().with("n", 9))),
        (
            json!({ "set": { "a": { "$date": "1970-01-01" }, "b": 5_000_000_000_i64 } }),
            d().with("a", 1),
            d().with("a", DateTime(0)).with("b", 5_000_000_000_i64),
        ),
        (json!({ "remove": ["a", "b.c", "none.d"] }), d().with("a", 1).with("b", d().with("c", 1)), d().with("b", d())),
        (
            json!({ "convert": { "lines[].n": "string" } }),
            lines(|n| d().with("n", n)),
            lines(|n| d().with("n", n.to_string())),
        ),
        (
            json!({ "convert": { "tags[]": "long" } }),
            d().with("tags", ArrayBuf::from_iter(["1", "2"])),
            d().with("tags", ArrayBuf::from_iter([1_i64, 2])),
        ),
        (
            json!({ "split": { "field": "name", "by": " ", "into": ["first", "last"] } }),
            d().with("name", "Ada King Lovelace"),
            d().with("first", "Ada").with("last", "King Lovelace"),
        ),
        (
            json!({ "split": { "field": "name", "by": " ", "into": ["name", "last"] } }),
            d().with("name", "Ada"),
            d().with("name", "Ada"),
        ),
        (
            json!({ "join": { "fields": ["a", "b", "c"], "with": "-", "into": "a" } }),
            d().with("a", "x").with("b", 2).with("c", Value::Null),
            d().with("a", "x-2"),
        ),
        (json!({ "join": { "fields": ["a"], "with": "-", "into": "b" } }), d().with("z", 1), d().with("z", 1)),
        (
            json!({ "map": { "field": "s", "values": { "A": "active", "1": true } } }),
            d().with("s", "A"),
            d().with("s", "active"),
        ),
        (
            json!({ "map": { "field": "s", "values": { "A": "active", "1": true } } }),
            d().with("s", 1.0),
            d().with("s", true),
        ),
        (
            json!({ "map": { "field": "s", "values": { "A": "a" }, "other": "keep" } }),
            d().with("s", d()),
            d().with("s", d()),
        ),
    ];
    for (operation, before, after) in cases {
        assert_eq!(run(operation.clone(), &before), Ok(after), "{operation} {before:?}");
    }
}

#[test]
fn what_an_operation_cannot_do_is_said() {
    for (operation, document, error) in [
        (
            json!({ "move": { "a": "b.c" } }),
            d().with("a", 1).with("b", 2),
            "move a to b.c: b must be a document, is int",
        ),
        (
            json!({ "rename": { "lines[].a": "b" } }),
            d().with("lines", d()),
            "rename lines[].a: lines must be an array, is object",
        ),
        (
            json!({ "convert": { "a": "int" } }),
            d().with("a", 5_000_000_000_i64),
            "convert a: is long, which cannot be made int",
        ),
        (json!({ "convert": { "a": "int" } }), d().with("a", "x"), "convert a: is \"x\", which cannot be made int"),
        (
            json!({ "convert": { "a": "string" } }),
            d().with("a", d()),
            "convert a: is object, which cannot be made string",
        ),
        (
            json!({ "split": { "field": "a", "by": ",", "into": ["b"] } }),
            d().with("a", 1),
            "split a: must be a string, is int",
        ),
        (
            json!({ "join": { "fields": ["a", "b"], "with": "", "into": "c" } }),
            d().with("a", "x").with("b", d()),
            "join into c: b is object, which has no form as text",
        ),
        (
            json!({ "map": { "field": "a", "values": { "A": 1, "B": 2 } } }),
            d().with("a", "C"),
            "map a: is \"C\", the values it may have are A, B",
        ),
    ] {
        assert_eq!(run(operation.clone(), &document), Err(error.to_owned()), "{operation}");
    }
}

#[test]
fn conversions_lose_nothing() {
    let decimal = |text: &str| Value::Decimal128(decimal_from_text(text).unwrap());
    let id = "0123456789abcdef01234567";
    let cases: Vec<(&str, Value<'_>, Option<Value<'_>>)> = vec![
        ("string", Value::Int64(i64::MIN), Some(Value::String("-9223372036854775808"))),
        ("string", Value::Double(0.1), Some(Value::String("0.1"))),
        ("string", decimal("1.500"), Some(Value::String("1.500"))),
        ("string", Value::DateTime(DateTime(0)), Some(Value::String("1970-01-01T00:00:00.000Z"))),
        ("string", Value::Bool(true), Some(Value::String("true"))),
        ("int", Value::String(" 7 "), Some(Value::Int32(7))),
        ("int", Value::Double(7.0), Some(Value::Int32(7))),
        ("int", Value::Double(7.5), None),
        ("int", Value::Null, Some(Value::Null)),
        ("long", decimal("9007199254740993.00"), Some(Value::Int64(9_007_199_254_740_993))),
        ("long", decimal("1.5"), None),
        ("double", Value::Int64(9_007_199_254_740_993), None),
        ("double", Value::String("1.5"), Some(Value::Double(1.5))),
        ("decimal", Value::String("12.50"), Some(decimal("12.50"))),
        ("decimal", Value::Double(0.1), Some(decimal("0.1"))),
        ("decimal", Value::String("12345678901234567890123456789012345"), None),
        ("bool", Value::String("false"), Some(Value::Bool(false))),
        ("bool", Value::Int32(2), None),
        ("date", Value::String("1970-01-01T00:00:01Z"), Some(Value::DateTime(DateTime(1000)))),
        ("date", Value::Int32(1), None),
        ("date_from_seconds", Value::Double(1.5), Some(Value::DateTime(DateTime(1500)))),
        ("date_from_milliseconds", Value::Int64(1500), Some(Value::DateTime(DateTime(1500)))),
        ("seconds", Value::DateTime(DateTime(-1)), Some(Value::Int64(-1))),
        ("milliseconds", Value::String("1970-01-01T00:00:01Z"), Some(Value::Int64(1000))),
        (
            "objectId",
            Value::String(id),
            Some(Value::ObjectId(ObjectId([1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 1, 0x23, 0x45, 0x67]))),
        ),
        ("objectId", Value::String("+123456789abcdef01234567"), None),
    ];
    for (to, from, expected) in cases {
        let made = run(json!({ "convert": { "v": to } }), &d().with("v", from));
        assert_eq!(made.ok(), expected.map(|value| d().with("v", value)), "{from:?} to {to}");
    }
}

#[test]
fn decimals_are_written_and_read_as_bson_has_them() {
    for text in [
        "0",
        "1",
        "-1",
        "12.50",
        "0.001",
        "0.00000123",
        "1E-7",
        "1E+3",
        "1.5E+10",
        "9999999999999999999999999999999999",
        "1E+6111",
        "-0",
    ] {
        assert_eq!(crate::view::decimal_text(decimal_from_text(text).unwrap()), text);
    }
    for text in ["", ".", "x", "1e", "1E+7000", "0x1", "1_0", "--1"] {
        assert_eq!(decimal_from_text(text), None, "{text}");
    }
}
