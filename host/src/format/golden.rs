//! Every format, byte for byte, against a file that a person can look at, and each of those files against a reader that shares no
//! code with the writer.
//!
//! When a format is changed on purpose: the test writes `NAME.new` beside the file; look at it and put it in its place.

use std::{fs, path::Path, sync::Arc};

use bson::{
    Binary, Bson, DateTime, Decimal128, Document, JavaScriptCodeWithScope, RawDocumentBuf, Regex, Timestamp, doc,
    oid::ObjectId, spec::BinarySubtype,
};
use serde_json::Value;

use super::{body::Body, cloudevents::CloudEvents, debezium::Debezium};
use crate::{
    batch::{Delivery, Destination},
    change::{Change, Doc, Header, Namespace, Operation},
    config::DocumentFormat,
};

/// 2026-01-31T12:00:00.123Z
const WALL: i64 = 1_769_860_800_123;
/// 2026-01-31T12:00:01.500Z
const NOW: i64 = 1_769_860_801_500;

/// Every type of BSON with the values at the edges of each, those that are deprecated too.
fn every_type() -> Document {
    let regex = |pattern: &str, options: &str| {
        Bson::RegularExpression(Regex {
            pattern: pattern.to_owned().try_into().unwrap(),
            options: options.to_owned().try_into().unwrap(),
        })
    };
    let binary = |subtype: u8, bytes: &[u8]| Binary { subtype: BinarySubtype::from(subtype), bytes: bytes.to_vec() };
    let decimal = |text: &str| text.parse::<Decimal128>().unwrap();
    let oid = ObjectId::parse_str("65f0c0ffee0123456789abcd").unwrap();
    let uuid =
        *bson::Uuid::parse_str("01234567-89ab-4def-8123-456789abcdef").unwrap().bytes().first_chunk::<16>().unwrap();
    let mut document = doc! {
        "_id": oid,
        "double": 1.5, "double_integral": 3.0, "double_negative_zero": -0.0, "double_shortest": 0.1 + 0.2,
        "double_infinity": f64::INFINITY, "double_minus_infinity": f64::NEG_INFINITY, "double_nan": f64::NAN,
        "string": "plain", "string_empty": "", "string_escapes": "\"\\/\u{8}\u{c}\n\r\t\u{0}\u{1f}\u{7f}é€😀\u{2028}",
        "na\"me\n": 1, "": "no name", "$dollar": 1, "dot.ted": 2,
        "document": { "a": { "b": {} } }, "array": [1, "two", [3.0], [], {}, null],
        "dbref": { "$ref": "stock", "$id": oid, "$db": "shop" },
        "binary": binary(0, &[0, 1, 254, 255]), "binary_empty": binary(0, &[]), "binary_function": binary(1, &[1]),
        "binary_old": binary(2, &[1, 2, 3]), "binary_old_uuid": binary(3, &uuid), "uuid": binary(4, &uuid),
        "uuid_short": binary(4, &[1, 2]), "binary_md5": binary(5, &[9; 16]), "binary_encrypted": binary(6, &[6]),
        "binary_column": binary(7, &[7]), "binary_sensitive": binary(8, &[8]), "binary_vector": binary(9, &[3, 0, 1, 2]),
        "binary_own": binary(0x80, &[5, 6]),
    };
    document.extend(doc! {
        "undefined": Bson::Undefined, "true": true, "false": false, "null": null,
        "date": DateTime::from_millis(WALL), "date_whole": DateTime::from_millis(WALL - 123),
        "date_tenths": DateTime::from_millis(500), "date_before": DateTime::from_millis(-1),
        "date_far": DateTime::from_millis(253_402_300_800_000),
        "date_first": DateTime::from_millis(i64::MIN), "date_last": DateTime::from_millis(i64::MAX),
        "regex": regex("^a/\"b", "imx"), "regex_plain": regex("x", ""),
        "code": Bson::JavaScriptCode("f(\"x\")".into()), "symbol": Bson::Symbol("sym".into()),
        "code_with_scope": JavaScriptCodeWithScope { code: "g()".into(), scope: doc! { "n": 1_i64 } },
        "int32_first": i32::MIN, "int32_last": i32::MAX,
        "int64_first": i64::MIN, "int64_last": i64::MAX, "int64_small": 7_i64, "int64_beyond_double": 9_007_199_254_740_993_i64,
        "timestamp": Timestamp { time: u32::MAX, increment: 7 },
        "decimal": decimal("12345.6789"), "decimal_zeros": decimal("1.500"), "decimal_far": decimal("1E+6111"),
        "decimal_nan": decimal("NaN"), "decimal_infinity": decimal("-Infinity"),
        "min_key": Bson::MinKey, "max_key": Bson::MaxKey,
    });
    // The crate reads DBPointers but makes none.
    let mut bytes = document.to_vec().unwrap();
    bytes.pop();
    bytes.extend(*b"\x0cdb_pointer\0\x0b\0\0\0shop.stock\0");
    bytes.extend([0xAB; 12]);
    bytes.push(0);
    let length = u32::try_from(bytes.len()).unwrap().to_le_bytes();
    bytes[..4].copy_from_slice(&length);
    Document::from_reader(&bytes[..]).unwrap()
}

fn buf(document: &Document) -> Option<Doc> {
    Some(Doc::from(RawDocumentBuf::try_from(document).unwrap()))
}

/// A change of each kind, with all that it can have and with the least.
fn changes() -> Vec<Change> {
    let header = |name: &'static str, value: &'static str| Header { name: name.into(), value: value.into() };
    let (id, stock) = (doc! { "_id": 7_i64 }, Arc::new(Namespace::new("shop", "stock.items/é")));
    let insert = Change {
        id: "c-1".into(),
        operation: Operation::Insert,
        namespace: stock.clone(),
        key: buf(&doc! { "_id": ObjectId::parse_str("65f0c0ffee0123456789abcd").unwrap(), "region": "EU" }),
        document: buf(&every_type()),
        before: None,
        update: None,
        cluster_time: Some((1_769_860_799 << 32) | 42),
        wall_time: Some(WALL),
        headers: [
            header("schema_version", "v\"3"),
            header("Schema-Version", "2"),
            header("id", "mine"),
            header("3rd", ""),
        ]
        .into_iter()
        .collect(),
        position: None,
    };
    let update = Change {
        id: "c-2".into(),
        operation: Operation::Update,
        key: buf(&id),
        document: buf(&doc! { "_id": 7_i64, "n": 2_i64, "when": DateTime::from_millis(WALL) }),
        before: buf(&doc! { "_id": 7_i64, "n": 1_i64, "gone": true }),
        update: buf(&doc! {
            "updatedFields": { "n": 2_i64, "when": DateTime::from_millis(WALL) }, "removedFields": ["gone", "a.b"],
            "truncatedArrays": [{ "field": "list", "newSize": 3 }, { "field": "more", "newSize": 0_i64 }],
        }),
        headers: Default::default(),
        ..insert.clone()
    };
    let bare = Change { document: None, before: None, update: None, ..update.clone() };
    let gone = Change {
        id: "c-3".into(),
        update: buf(&doc! { "updatedFields": { "n": 3.0 }, "removedFields": [], "truncatedArrays": [] }),
        ..bare.clone()
    };
    let replace = Change {
        id: "c-4".into(),
        operation: Operation::Replace,
        key: buf(&doc! { "_id": "text" }),
        document: buf(&doc! { "_id": "text" }),
        ..bare.clone()
    };
    let delete =
        Change { id: "c-5".into(), operation: Operation::Delete, before: update.before.clone(), ..bare.clone() };
    let read = Change {
        id: "c-6".into(),
        operation: Operation::Read,
        document: buf(&id),
        cluster_time: None,
        wall_time: None,
        ..bare.clone()
    };
    let drop = Change {
        id: "c-7".into(),
        operation: Operation::DropDatabase,
        namespace: Arc::new(Namespace::new("shop", "")),
        key: None,
        wall_time: Some(-62_167_219_200_001),
        ..bare
    };
    vec![insert, update, gone, replace, delete, read, drop]
}

fn documents(format: DocumentFormat) -> Vec<u8> {
    let (mut body, changes) = (Body::new(format, "orders"), changes());
    let insert = Delivery { change: &changes[0], destination: None };
    body.of(&insert).unwrap().unwrap().to_vec()
}

fn debezium() -> Vec<u8> {
    let (mut envelope, mut out) = (Debezium::new("orders", "1.2.3"), Vec::new());
    for change in changes().iter().filter(|change| !change.operation.is_ddl()) {
        envelope.write_key(&mut out, change.key.as_ref().unwrap()).unwrap();
        out.push(b'\n');
        envelope.write(&mut out, change, NOW).unwrap();
        out.push(b'\n');
    }
    out
}

fn cloudevents() -> Vec<u8> {
    let (mut envelope, mut out) = (CloudEvents::new("orders & more"), Vec::new());
    let attributes = [Header { name: "schema_version".into(), value: "v4".into() }].into_iter().collect();
    let to = Destination { sink: None, target: None, ordering_key: Some("WH-1".into()), attributes };
    for (number, change) in changes().iter().enumerate() {
        let destination = (number == 0).then_some(&to);
        envelope.write(&mut out, &Delivery { change, destination }).unwrap();
        out.push(b'\n');
    }
    out
}

#[track_caller]
fn assert_golden(name: &str, found: &[u8]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/format/golden").join(name);
    let golden = fs::read(&path).unwrap_or_default();
    if golden != found {
        let new = path.with_file_name(format!("{name}.new"));
        fs::write(&new, found).unwrap();
        let at = golden.iter().zip(found).position(|(golden, found)| golden != found);
        let at = at.unwrap_or(golden.len().min(found.len()));
        let around = |bytes: &[u8]| {
            String::from_utf8_lossy(&bytes[at.saturating_sub(60).min(bytes.len())..(at + 60).min(bytes.len())])
                .into_owned()
        };
        panic!("{name} differs at byte {at}: `{}` is written, not `{}`", around(found), around(&golden));
    }
}

fn lines(out: &[u8]) -> Vec<Value> {
    std::str::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// As the specification's own reader has it; `Debug` tells `1_i32` from `1_i64`, and holds `NaN` for equal to itself.
#[track_caller]
fn assert_reads_as(value: Value, expected: &Document) {
    let Bson::Document(found) = Bson::try_from(value).unwrap() else { panic!("no document") };
    for ((name, found), (expected_name, expected)) in found.iter().zip(expected) {
        assert_eq!((name, format!("{found:?}")), (expected_name, format!("{expected:?}")));
    }
    assert_eq!(found.len(), expected.len());
}

#[test]
fn bson() {
    let found = documents(DocumentFormat::Bson);
    let digits: Vec<String> = found.iter().map(|byte| format!("{byte:02x}")).collect();
    let lines: Vec<String> = digits.chunks(32).map(|line| line.join(" ")).collect();
    assert_golden("bson.hex", lines.join("\n").as_bytes());
    assert_eq!(format!("{:?}", Document::from_reader(&found[..]).unwrap()), format!("{:?}", every_type()));
}

#[test]
fn canonical_extended_json() {
    let found = documents(DocumentFormat::Extjson);
    assert_golden("extjson.json", &found);
    assert_reads_as(serde_json::from_slice(&found).unwrap(), &every_type());
}

#[test]
fn relaxed_extended_json() {
    let found = documents(DocumentFormat::ExtjsonRelaxed);
    assert_golden("extjson_relaxed.json", &found);
    // It does not tell a small Int64 from an Int32.
    let mut expected = every_type();
    expected.insert("int64_small", 7);
    expected.insert("code_with_scope", JavaScriptCodeWithScope { code: "g()".into(), scope: doc! { "n": 1 } });
    assert_reads_as(serde_json::from_slice(&found).unwrap(), &expected);
}

#[test]
fn plain_json() {
    let found = documents(DocumentFormat::Json);
    assert_golden("plain.json", &found);
    let value: Value = serde_json::from_slice(&found).unwrap();
    let names: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    let document = every_type();
    assert_eq!(names, document.keys().map(String::as_str).collect::<Vec<_>>());
    // What a type is in plain JSON, as `docs/formats.md` has it: told from the BSON by the crate's words, not by ours.
    for (name, expected) in &document {
        let expected = match expected {
            Bson::ObjectId(id) => id.to_hex(),
            Bson::DateTime(date) if name == "date" => date.try_to_rfc3339_string().unwrap(),
            Bson::Decimal128(decimal) => decimal.to_string(),
            Bson::String(text) | Bson::Symbol(text) | Bson::JavaScriptCode(text) => text.clone(),
            Bson::Double(number) if number.is_nan() => "NaN".to_owned(),
            Bson::Int64(number) => {
                assert_eq!(value[name].as_i64(), Some(*number), "{name}");
                continue;
            }
            Bson::Double(number) if number.is_finite() => {
                assert_eq!(value[name].as_f64().map(f64::to_bits), Some(number.to_bits()), "{name}");
                continue;
            }
            _ => continue,
        };
        assert_eq!(value[name].as_str(), Some(&*expected), "{name}");
    }
}

/// Extended JSON v1 as the v2 it stands for, so that the specification's reader reads it.
fn modern(value: Value) -> Value {
    use serde_json::json;
    let Value::Object(members) = value else {
        return match value {
            Value::Array(values) => values.into_iter().map(modern).collect(),
            other => other,
        };
    };
    let member = |name: &str| members.get(name).cloned().unwrap_or_default();
    match members.keys().map(String::as_str).collect::<Vec<_>>()[..] {
        ["$date"] => json!({ "$date": { "$numberLong": member("$date").to_string() } }),
        ["$binary", "$type"] => json!({ "$binary": { "base64": member("$binary"), "subType": member("$type") } }),
        ["$regex", "$options"] => {
            json!({ "$regularExpression": { "pattern": member("$regex"), "options": member("$options") } })
        }
        ["$ref", "$id"] => json!({ "$dbPointer": { "$ref": member("$ref"), "$id": member("$id") } }),
        _ => members.into_iter().map(|(name, value)| (name, modern(value))).collect(),
    }
}

#[test]
fn the_envelope_of_debezium() {
    let found = debezium();
    assert_golden("debezium.jsonl", &found);
    let found = lines(&found);
    let (keys, values): (Vec<_>, Vec<_>) = found.chunks(2).map(|both| (both[0].clone(), both[1].clone())).unzip();
    let inner = |value: &Value| serde_json::from_str::<Value>(value.as_str().unwrap()).unwrap();
    assert_eq!(inner(&keys[0]["id"])["$oid"], "65f0c0ffee0123456789abcd");
    assert_eq!((inner(&keys[1]["id"]), inner(&keys[3]["id"])), (7.into(), "text".into()));
    let ops: Vec<_> = values.iter().map(|value| value["op"].as_str().unwrap()).collect();
    assert_eq!(ops, ["c", "u", "u", "u", "d", "r"]);
    assert_reads_as(modern(inner(&values[0]["after"])), &every_type());
    let description = &values[1]["updateDescription"];
    assert_eq!(inner(&description["updatedFields"])["n"], 2);
    assert_eq!(description["truncatedArrays"][1], serde_json::json!({ "field": "more", "size": 0 }));
    assert_eq!(values[2]["updateDescription"]["removedFields"], Value::Null, "none rather than an empty list");
    for value in [&values[0], &values[3], &values[4]] {
        assert_eq!(value["updateDescription"], Value::Null);
    }
    assert_eq!((&values[4]["after"], inner(&values[4]["before"])["gone"].as_bool()), (&Value::Null, Some(true)));
    let snapshots: Vec<_> = values.iter().map(|value| value["source"]["snapshot"].as_str().unwrap()).collect();
    assert_eq!(snapshots, ["false", "false", "false", "false", "false", "true"]);
    let source = &values[0]["source"];
    let times =
        (source["ts_ms"].as_i64(), source["wallTime"].as_i64(), source["ord"].as_i64(), values[0]["ts_ms"].as_i64());
    assert_eq!(times, (Some(1_769_860_799_000), Some(WALL), Some(42), Some(NOW)));
}

#[test]
fn the_format_of_cloudevents() {
    let found = cloudevents();
    assert_golden("cloudevents.jsonl", &found);
    let plain: Value = serde_json::from_slice(&documents(DocumentFormat::Json)).unwrap();
    let events = lines(&found);
    assert_eq!(events[0]["data"]["doc"], plain);
    for event in &events {
        let event = event.as_object().unwrap();
        for name in ["specversion", "id", "source", "type"] {
            assert!(event[name].as_str().is_some_and(|value| !value.is_empty()), "{name} of {event:?}");
        }
        for (name, value) in event.iter().filter(|(name, _)| *name != "data") {
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()), "{name}");
            assert!(name.starts_with(|first: char| first.is_ascii_lowercase()) && value.is_string(), "{name}");
        }
        assert!(event["source"].as_str().unwrap().bytes().all(|byte| byte.is_ascii_graphic()), "{event:?}");
        if let Some(time) = event.get("time") {
            DateTime::parse_rfc3339_str(time.as_str().unwrap()).unwrap();
        }
    }
    let text = |name: &str| events[0][name].as_str().unwrap_or_default();
    let attributes = (text("schemaversion"), text("schemaversion2"), text("xid"), text("x3rd"), text("partitionkey"));
    assert_eq!(attributes, ("2", "v4", "mine", "", "WH-1"), "each header under a name of its own");
    assert_eq!((text("id"), text("source")), ("c-1", "/tidegate/orders%20%26%20more/shop/stock.items%2F%C3%A9"));
}

#[test]
fn an_envelope_tells_of_every_change_and_a_document_only_of_those_that_have_one() {
    let changes = changes();
    for format in [
        DocumentFormat::Json,
        DocumentFormat::Extjson,
        DocumentFormat::ExtjsonRelaxed,
        DocumentFormat::Bson,
        DocumentFormat::Debezium,
        DocumentFormat::Cloudevents,
    ] {
        let mut body = Body::new(format, "orders");
        let envelope = matches!(format, DocumentFormat::Debezium | DocumentFormat::Cloudevents);
        for change in changes.iter().filter(|change| format != DocumentFormat::Debezium || !change.operation.is_ddl()) {
            assert!(body.tells(change.operation));
            let written = body.of(&Delivery { change, destination: None }).unwrap().is_some();
            assert_eq!(written, envelope || change.document.is_some(), "{format:?} {}", change.operation);
        }
    }
    assert!(!Body::new(DocumentFormat::Debezium, "orders").tells(Operation::Drop), "Debezium has none for it");
}

#[test]
fn what_cannot_be_written_is_an_error_and_not_half_a_body() {
    let mut bytes = doc! { "_id": 1, "text": "aé" }.to_vec().unwrap();
    let at = bytes.iter().position(|byte| *byte == 0xC3).unwrap();
    bytes[at] = 0xFF;
    let change = Change { document: Some(Doc::from_bytes(bytes.into()).unwrap()), ..changes().remove(0) };
    for format in [DocumentFormat::Json, DocumentFormat::Debezium, DocumentFormat::Cloudevents] {
        let mut body = Body::new(format, "orders");
        assert!(body.of(&Delivery { change: &change, destination: None }).is_err(), "{format:?}");
    }
    let whole = Change { document: buf(&doc! { "_id": 1 }), ..change };
    let mut body = Body::new(DocumentFormat::Json, "orders");
    assert_eq!(body.of(&Delivery { change: &whole, destination: None }), Ok(Some(&br#"{"_id":1}"#[..])));
}
