//! Every BSON type arrives as it was sent.

use mongodb::Collection;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{
    Binary, Bson, DateTime, Decimal128, Document, JavaScriptCodeWithScope, RawDocumentBuf, Regex, Timestamp, doc,
};
use serde_json::{Value, json};

use crate::scene::{PATIENCE, Scene, inventory_stages};

/// A document that holds every type, DBPointer and other deprecated ones included.
pub(crate) fn every_type(id: impl Into<Bson>) -> Document {
    let regex = |pattern: &str, options: &str| {
        Bson::RegularExpression(Regex {
            pattern: pattern.to_owned().try_into().unwrap(),
            options: options.to_owned().try_into().unwrap(),
        })
    };
    let binary = |subtype, bytes: &[u8]| Binary { subtype, bytes: bytes.to_vec() };
    let uuid = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0x4d, 0xef, 0x81, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];
    let document = doc! {
        "_id": id,
        "double": 1.5, "integral": 3.0, "negative_zero": -0.0, "tiny": 5e-324, "huge": f64::MAX,
        "nan": f64::NAN, "infinity": f64::INFINITY, "minus_infinity": f64::NEG_INFINITY,
        "text": "é€😀 \"quoted\" \\ \n\t\u{1} \u{2028} nul:\0.", "no_text": "",
        "document": { "a": { "b": {} }, "dotted.name": 1, "": "no name" },
        "array": [1, "two", 3.0, [], {}, [[7_i64]], Bson::Null],
        "binary": binary(BinarySubtype::Generic, &[0, 1, 254, 255]), "no_bytes": binary(BinarySubtype::Generic, &[]),
        "old_binary": binary(BinarySubtype::BinaryOld, &[1, 2, 3]), "uuid": binary(BinarySubtype::Uuid, &uuid),
        "old_uuid": binary(BinarySubtype::UuidOld, &uuid), "md5": binary(BinarySubtype::Md5, &[9; 16]),
        "own_binary": binary(BinarySubtype::UserDefined(0x80), &[5, 6]),
        "undefined": Bson::Undefined, "null": Bson::Null,
        "oid": ObjectId::parse_str("65f0c0ffee0123456789abcd").unwrap(),
        "yes": true, "no": false,
        "date": DateTime::from_millis(1_769_860_800_123), "date_whole": DateTime::from_millis(1_769_860_800_000),
        "date_old": DateTime::from_millis(-1), "date_far": DateTime::from_millis(253_402_300_800_000),
        "date_first": DateTime::from_millis(i64::MIN), "date_last": DateTime::from_millis(i64::MAX),
        "regex": regex("^a/\"b", "imx"), "code": Bson::JavaScriptCode("f(\"x\")".into()),
        "scoped": JavaScriptCodeWithScope { code: "g()".into(), scope: doc! { "x": 1_i64 } },
        "symbol": Bson::Symbol("sym".into()),
        "int32": i32::MIN, "int64": i64::MIN, "int64_small": 1_i64, "int64_beyond_double": 9_007_199_254_740_993_i64,
        "timestamp": Timestamp { time: u32::MAX, increment: 7 },
        "decimal": "12345.6789".parse::<Decimal128>().unwrap(), "decimal_zeros": "1.500".parse::<Decimal128>().unwrap(),
        "decimal_far": "1E+6111".parse::<Decimal128>().unwrap(), "decimal_nan": "NaN".parse::<Decimal128>().unwrap(),
        "min": Bson::MinKey, "max": Bson::MaxKey,
    };
    with_db_pointer(&document)
}

/// The crate reads DBPointers but makes none, so this one is written in bytes.
fn with_db_pointer(document: &Document) -> Document {
    let mut bytes = document.to_vec().unwrap();
    bytes.pop();
    bytes.extend(*b"\x0cpointer\0\x04\0\0\0d.c\0");
    bytes.extend([0xAB; 12]);
    bytes.push(0);
    let length = u32::try_from(bytes.len()).unwrap().to_le_bytes();
    bytes[..4].copy_from_slice(&length);
    Document::from_reader(&bytes[..]).unwrap()
}

/// Document keys of different types.
fn ids() -> Vec<Bson> {
    vec![
        Bson::ObjectId(ObjectId::parse_str("65f0c0ffee0123456789abcd").unwrap()),
        Bson::Int32(-7),
        Bson::Int64(i64::MAX),
        Bson::Double(0.5),
        Bson::String("é\"".into()),
        Bson::Document(doc! { "b": 1, "a": [1_i64, 2.0] }),
        Bson::DateTime(DateTime::from_millis(0)),
        Bson::Decimal128("1.50".parse().unwrap()),
        Bson::Boolean(false),
        Bson::Null,
        Bson::MinKey,
    ]
}

async fn insert_as_bytes(collection: &Collection<Document>, documents: &[Document]) {
    // As bytes, so that what was inserted is known to the last one.
    let raw: Vec<RawDocumentBuf> =
        documents.iter().map(|document| RawDocumentBuf::try_from(document).unwrap()).collect();
    collection.clone_with_type::<RawDocumentBuf>().insert_many(raw).await.unwrap();
}

#[tokio::test]
async fn every_type_survives_to_redis_and_through_a_file() {
    let scene = Scene::shared().await;
    let file = scene.dir.path().join("changes.jsonl");
    let sinks = format!(
        r#"{{ json: {}, extjson: {}, bson: {}, file: {{ file: {{ path: "{}" }} }} }}"#,
        scene.stream_sink("json", "json"),
        scene.stream_sink("extjson", "extjson"),
        scene.stream_sink("bson", "bson"),
        file.display()
    );
    let mut host = scene.ready_host(&[scene.pipeline("main", &scene.source(), "[]", &sinks)]).await;
    let documents: Vec<Document> = ids().into_iter().map(every_type).collect();
    insert_as_bytes(&scene.collection("things"), &documents).await;
    for stream in ["json", "extjson", "bson"] {
        scene.wait_length(stream, documents.len()).await;
    }
    assert_eq!(host.stop().await, Some(0));

    let bson = scene.entries("bson").await;
    assert_eq!(bson.len(), documents.len());
    for (entry, document) in bson.iter().zip(&documents) {
        assert_eq!(entry.bytes("doc"), document.to_vec().unwrap(), "{}", document.get("_id").unwrap());
        assert_eq!(entry.bytes("key"), doc! { "_id": document.get("_id").unwrap() }.to_vec().unwrap());
    }
    let extended = scene.entries("extjson").await;
    assert_eq!(extended.len(), documents.len());
    for (entry, document) in extended.iter().zip(&documents) {
        let mut expected = Bson::Document(document.clone()).into_canonical_extjson();
        // The crate writes subnormal numbers as plain ones, against the specification, and huge ones with all their zeros.
        expected["tiny"] = json!({ "$numberDouble": "5e-324" });
        expected["huge"] = json!({ "$numberDouble": "1.7976931348623157e308" });
        // Field by field first: a message that names the field is worth more than two long lines.
        let found = entry.doc();
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&found[name], value, "{name}");
        }
        assert_eq!(entry.text("doc"), expected.to_string());
        let key = Bson::Document(doc! { "_id": document.get("_id").unwrap() }).into_canonical_extjson();
        assert_eq!(entry.text("key"), key.to_string());
    }
    let plain = scene.entries("json").await;
    assert_eq!(plain.len(), documents.len());
    let keys: Vec<Value> = plain.iter().map(|entry| entry.json("key")["_id"].clone()).collect();
    let expected = json!([
        "65f0c0ffee0123456789abcd", -7, i64::MAX, 0.5, "é\"", { "b": 1, "a": [1, 2.0] }, "1970-01-01T00:00:00.000Z",
        "1.50", false, null, "MinKey"
    ]);
    assert_eq!(Value::Array(keys), expected);
    for entry in &plain {
        assert_plain(&entry.doc());
    }

    // And from the file into Redis: nothing was lost on the way out and in.
    let source = format!(r#"{{ file: {{ path: "{}" }} }}"#, file.display());
    let sinks = format!("{{ again: {} }}", scene.stream_sink("again", "bson"));
    let mut host = scene.host(&[scene.pipeline("back", &source, "[]", &sinks)]);
    assert_eq!(host.wait_exit(PATIENCE).await, Some(0), "a pipeline ends with its file");
    assert_eq!(scene.entries("again").await, bson);
}

/// What [`every_type`] is in plain JSON.
#[track_caller]
pub(crate) fn assert_plain(found: &Value) {
    let expected = [
        ("double", json!(1.5)),
        ("integral", json!(3.0)),
        ("negative_zero", json!(-0.0)),
        ("tiny", json!(5e-324)),
        ("huge", json!(f64::MAX)),
        ("nan", json!("NaN")),
        ("infinity", json!("Infinity")),
        ("minus_infinity", json!("-Infinity")),
        ("text", json!("é€😀 \"quoted\" \\ \n\t\u{1} \u{2028} nul:\0.")),
        ("no_text", json!("")),
        ("document", json!({ "a": { "b": {} }, "dotted.name": 1, "": "no name" })),
        ("array", json!([1, "two", 3.0, [], {}, [[7]], null])),
        ("binary", json!("AAH+/w==")),
        ("no_bytes", json!("")),
        ("old_binary", json!("AQID")),
        ("uuid", json!("01234567-89ab-4def-8123-456789abcdef")),
        ("old_uuid", json!("ASNFZ4mrTe+BI0VniavN7w==")),
        ("md5", json!("CQkJCQkJCQkJCQkJCQkJCQ==")),
        ("own_binary", json!("BQY=")),
        ("undefined", json!(null)),
        ("null", json!(null)),
        ("oid", json!("65f0c0ffee0123456789abcd")),
        ("yes", json!(true)),
        ("no", json!(false)),
        ("date", json!("2026-01-31T12:00:00.123Z")),
        ("date_whole", json!("2026-01-31T12:00:00.000Z")),
        ("date_old", json!("1969-12-31T23:59:59.999Z")),
        ("date_far", json!("+010000-01-01T00:00:00.000Z")),
        ("date_first", json!("-292275055-05-16T16:47:04.192Z")),
        ("date_last", json!("+292278994-08-17T07:12:55.807Z")),
        ("regex", json!("/^a/\"b/imx")),
        ("code", json!("f(\"x\")")),
        ("scoped", json!("g()")),
        ("symbol", json!("sym")),
        ("int32", json!(i32::MIN)),
        ("int64", json!(i64::MIN)),
        ("int64_small", json!(1)),
        ("int64_beyond_double", json!(9_007_199_254_740_993_i64)),
        ("timestamp", json!({ "t": u32::MAX, "i": 7 })),
        ("decimal", json!("12345.6789")),
        ("decimal_zeros", json!("1.500")),
        ("decimal_far", json!("1E+6111")),
        ("decimal_nan", json!("NaN")),
        ("min", json!("MinKey")),
        ("max", json!("MaxKey")),
        ("pointer", json!("abababababababababababab")),
    ];
    for (name, value) in &expected {
        assert_eq!(found.get(name).map(ToString::to_string), Some(value.to_string()), "{name}");
    }
    assert_eq!(found.as_object().unwrap().len(), expected.len() + 1, "all fields and `_id`: {found}");
}

#[tokio::test]
async fn every_type_survives_three_plugins() {
    let scene = Scene::shared().await;
    let stages = inventory_stages(&scene.names.key("{warehouse_id}"));
    let sinks = format!("{{ out: {} }}", scene.stream_sink("none", "bson"));
    let mut host = scene.ready_host(&[scene.pipeline("main", &scene.source(), &stages, &sinks)]).await;
    let mut newest = every_type("newest");
    newest.extend(doc! {
        "product_id": "P-1", "warehouse_id": "WH-1", "quantity": 1_i64, "currency": "EUR",
        "updated_at": DateTime::from_millis(0), "_schema_version": "v3",
    });
    // In the middle of the others, to see that the migrator keeps the order of fields.
    let mut old = doc! { "_id": "old", "last_updated": "2026-01-31T12:00:00.123Z", "warehouse_id": "WH-1" };
    old.extend(every_type("old"));
    old.extend(doc! { "product_id": "P-1", "quantity": 2.0 });
    insert_as_bytes(&scene.collection("inventory"), &[newest.clone(), old.clone()]).await;

    let entries = scene.wait_entries("WH-1", 2).await;
    assert_eq!(host.stop().await, Some(0));
    assert_eq!(entries[0].bytes("doc"), newest.to_vec().unwrap(), "what no plugin changes keeps its bytes");
    let mut migrated = Document::new();
    for (name, value) in old {
        match name.as_str() {
            "last_updated" => migrated.insert("updated_at", DateTime::from_millis(1_769_860_800_123)),
            _ => migrated.insert(name, value),
        };
    }
    migrated.extend(doc! { "currency": "USD", "_schema_version": "v3" });
    let found = Document::from_reader(entries[1].bytes("doc")).unwrap();
    assert_eq!(format!("{found:#?}"), format!("{migrated:#?}"));
    assert_eq!(entries[1].bytes("doc"), migrated.to_vec().unwrap());
    assert!(scene.dead_letters().is_empty(), "{:?}", scene.dead_letters());
}
