//! The plugin as the host calls it: verdicts, migrations, and what is said of a configuration that is wrong.

mod refused;

use serde_json::{Value as Json, json};
use tidegate_plugin::testing::{self, TestChange};

use super::*;

fn insert(collection: &str, document: &DocumentBuf) -> TestChange {
    testing::insert("shop", collection).document(document.clone())
}

fn plugin(config: &Json) -> Schema {
    testing::configure(&config.to_string()).unwrap_or_else(|error| panic!("{error}"))
}

fn verdict(config: &Json, collection: &str, document: &DocumentBuf) -> Vec<String> {
    match testing::validate(&mut plugin(config), &[insert(collection, document)]).remove(0) {
        Verdict::Accept => Vec::new(),
        Verdict::Reject(violations) => violations.iter().map(ToString::to_string).collect(),
    }
}

fn migrate(config: &Json, document: &DocumentBuf) -> Result<Migration, String> {
    testing::migrate(&mut plugin(config), &[insert("things", document)]).remove(0)
}

fn refusal(config: &Json) -> String {
    testing::configure::<Schema>(&config.to_string()).err().unwrap_or_else(|| panic!("taken: {config}"))
}

/// One type, `things`, of these versions.
fn things(schemas: Json) -> Json {
    json!({ "types": { "things": { "schemas": schemas, "version": { "default": "v1" } } } })
}

fn checked(schema: Json, document: &DocumentBuf) -> Vec<String> {
    verdict(&things(json!({ "v1": schema })), "things", document)
}

#[test]
fn every_violation_is_named_with_its_path() {
    let schema = json!({
        "required": ["a", "b"],
        "additionalProperties": false,
        "properties": {
            "_id": true,
            "a": { "type": "string" },
            "n": { "type": "integer", "minimum": 1 },
            "lines": { "items": { "required": ["sku"], "properties": { "count": { "type": "integer", "maximum": 5 } } } },
            "kind": { "type": "string", "enum": ["x", "y"] }
        }
    });
    let lines = ArrayBuf::from_iter([
        DocumentBuf::new().with("sku", "S").with("count", 5),
        DocumentBuf::new().with("count", 6),
        DocumentBuf::new().with("sku", "S").with("count", "6"),
    ]);
    let document = DocumentBuf::new()
        .with("_id", 1)
        .with("a", 1)
        .with("n", 0)
        .with("lines", lines)
        .with("kind", 3)
        .with("more", true);
    let mut found = checked(schema, &document);
    found.sort();
    assert_eq!(
        found,
        [
            "a must be a string, is int",
            "b is missing",
            "kind must be a string, is int",
            "lines.1.count must be at most 5, is 6",
            "lines.1.sku is missing",
            "lines.2.count must be an integer, is string",
            "more is not a field of the schema",
            "n must be at least 1, is 0",
        ]
    );
}

/// What each type of BSON is to JSON Schema.
#[test]
fn types_are_mapped_as_documented() {
    let decimal = |text: &str| Value::Decimal128(view::decimal_from_text(text).unwrap());
    let id = ObjectId([0xab; 12]);
    let values: [(Value<'_>, &[&str]); 18] = [
        (Value::String("x"), &["string", "bson string"]),
        (Value::Int32(1), &["integer", "number", "bson int", "bson number"]),
        (Value::Int64(9_007_199_254_740_993), &["integer", "number", "bson long", "bson number"]),
        (Value::Double(1.0), &["integer", "number", "bson double", "bson number"]),
        (Value::Double(1e300), &["number", "bson double", "bson number"]),
        (Value::Double(0.5), &["number", "bson double", "bson number"]),
        (Value::Double(f64::NAN), &["string", "bson double", "bson number"]),
        (decimal("12.50"), &["number", "bson decimal", "bson number"]),
        (decimal("5"), &["number", "bson decimal", "bson number"]),
        (Value::Bool(true), &["boolean", "bson bool"]),
        (Value::Null, &["null", "bson null"]),
        (Value::DateTime(DateTime(0)), &["string", "bson date", "date-time", "iso8601"]),
        (Value::String("2024-01-31T09:30:00Z"), &["string", "bson string", "date-time", "iso8601"]),
        (Value::String("2024-01-31"), &["string", "bson string", "iso8601"]),
        (Value::ObjectId(id), &["string", "bson objectId"]),
        (Value::Document(Document::EMPTY), &["object", "bson object"]),
        (Value::Timestamp { time: 1, increment: 2 }, &["object", "bson timestamp"]),
        (Value::Binary { subtype: 0, bytes: &[0, 1, 2] }, &["string", "bson binData"]),
    ];
    let names = ["string", "integer", "number", "boolean", "null", "object", "array"];
    for (value, expected) in values {
        let document = DocumentBuf::new().with("v", value);
        let fits = |schema: Json| checked(json!({ "properties": { "v": schema } }), &document).is_empty();
        let mut found: Vec<String> =
            names.iter().filter(|name| fits(json!({ "type": name }))).map(|name| (*name).to_owned()).collect();
        let bson = keywords::TYPES.iter().copied().chain(["number"]);
        found.extend(bson.filter(|name| fits(json!({ "bsonType": name }))).map(|name| format!("bson {name}")));
        if found.contains(&"string".to_owned()) {
            let formats = ["date-time", "iso8601"];
            found.extend(formats.iter().filter(|name| fits(json!({ "format": name }))).map(|name| (*name).to_owned()));
        }
        let (mut found, mut expected) = (found, expected.to_vec());
        found.sort();
        expected.sort_unstable();
        assert_eq!(found, expected, "{value:?}");
    }
}

#[test]
fn numbers_and_texts_are_compared_exactly() {
    let cases: [(Value<'_>, Json, bool); 12] = [
        (Value::Int64(9_007_199_254_740_993), json!({ "const": 9_007_199_254_740_993_i64 }), true),
        (Value::Int64(9_007_199_254_740_993), json!({ "const": 9_007_199_254_740_992_i64 }), false),
        (Value::Int64(9_007_199_254_740_993), json!({ "maximum": 9_007_199_254_740_992_i64 }), false),
        (Value::Int64(i64::MAX), json!({ "exclusiveMaximum": i64::MAX }), false),
        (Value::Double(3.0), json!({ "const": 3 }), true),
        (Value::Decimal128(view::decimal_from_text("0.10").unwrap()), json!({ "const": 0.1 }), true),
        (Value::Decimal128(view::decimal_from_text("-0.5").unwrap()), json!({ "minimum": 0 }), false),
        (Value::Decimal128(view::decimal_from_text("1E+6111").unwrap()), json!({ "maximum": 1e308 }), false),
        (Value::ObjectId(ObjectId([0xab; 12])), json!({ "const": "abababababababababababab" }), true),
        (Value::ObjectId(ObjectId([0xab; 12])), json!({ "pattern": "^[0-9a-f]{24}$" }), true),
        (Value::DateTime(DateTime(0)), json!({ "const": "1970-01-01T00:00:00.000Z" }), true),
        (Value::Binary { subtype: 4, bytes: &[0x11; 16] }, json!({ "format": "uuid" }), true),
    ];
    for (value, schema, fits) in cases {
        let document = DocumentBuf::new().with("v", value);
        let found = checked(json!({ "properties": { "v": schema } }), &document);
        assert_eq!(found.is_empty(), fits, "{value:?} {schema}: {found:?}");
    }
    let array = ArrayBuf::from_iter([Value::Int32(1), Value::Double(1.0)]);
    let found =
        checked(json!({ "properties": { "v": { "uniqueItems": true } } }), &DocumentBuf::new().with("v", array));
    assert_eq!(found, ["v has elements that are equal"]);
}

#[test]
fn a_malformed_document_and_one_nested_too_deeply_are_rejected() {
    let mut bytes = DocumentBuf::new().with("a", DocumentBuf::new().with("b", "text")).into_bytes();
    let at = bytes.windows(4).position(|window| window == b"text").unwrap();
    bytes[at] = 0xff;
    let found = checked(json!(true), &Document::new(&bytes).into());
    assert!(found[0].contains("no UTF-8"), "{found:?}");
    let deep = (0..250).fold(DocumentBuf::new(), |inner, _| DocumentBuf::new().with("d", inner));
    let found = checked(json!(true), &deep);
    assert!(found[0].contains("nested too deeply"), "{found:?}");
}

#[test]
fn refs_lead_to_other_files_and_nowhere_else() {
    let text = |schema: Json| Json::String(schema.to_string());
    let config = |address: &str| {
        json!({
            "schemas": {
                "things/v1.json": text(json!({ "properties": { "to": { "$ref": address } } })),
                "shared/address.json": text(json!({ "required": ["city"], "properties": { "zip": { "$ref": "#/$defs/zip" } },
                    "$defs": { "zip": { "pattern": "^[0-9]{5}$" } } })),
                "README.md": "not a schema"
            },
            "version": { "default": "v1" },
            "types": { "things": {} }
        })
    };
    let document = DocumentBuf::new().with("to", DocumentBuf::new().with("zip", "123"));
    let mut found = verdict(&config("../shared/address.json"), "things", &document);
    found.sort();
    assert_eq!(found, ["to.city is missing", "to.zip must match ^[0-9]{5}$, is \"123\""]);
    for (address, named) in
        [("../shared/adress.json", "shared/adress.json"), ("https://example.com/a.json", "https://example.com/a.json")]
    {
        let error = refusal(&config(address));
        assert!(error.starts_with("schema file things/v1.json: "), "{error}");
        assert!(error.contains(&format!("there is no schema {named}; nothing is fetched")), "{error}");
    }
    // A schema that leads to itself without going into the document must not turn for ever.
    let config = things(json!({ "v1": { "$ref": "#/$defs/a", "$defs": { "a": { "$ref": "#/$defs/a" } } } }));
    assert_eq!(verdict(&config, "things", &DocumentBuf::new()), [""; 0]);
}

#[test]
fn the_type_goes_by_collection_and_by_fields() {
    let config = json!({
        "version": { "default": "1" },
        "types": {
            "a": { "collections": ["one", "other.two"], "schemas": { "1": { "required": ["a"] } } },
            "b": { "where": { "meta.kind": ["b", 2] }, "schemas": { "1": { "required": ["b"] } } },
            "c": { "schemas": { "1": { "required": ["c"] } } }
        }
    });
    let empty = DocumentBuf::new();
    let kind = |value: Value<'_>| DocumentBuf::new().with("meta", DocumentBuf::new().with("kind", value));
    assert_eq!(verdict(&config, "one", &empty), ["a is missing"]);
    assert_eq!(verdict(&config, "c", &empty), ["c is missing"]);
    assert_eq!(verdict(&config, "any", &kind(Value::String("b"))), ["b is missing"]);
    assert_eq!(verdict(&config, "any", &kind(Value::Int64(2))), ["b is missing"]);
    let none = ["is of no known type, collection two has none of a, b, c"];
    assert_eq!(verdict(&config, "two", &empty), none);
    let mut passing = config;
    passing["unknown"] = json!("pass");
    assert_eq!(verdict(&passing, "two", &empty), [""; 0]);
    let migrated = testing::migrate(&mut plugin(&passing), &[insert("two", &empty)]).remove(0);
    assert_eq!(migrated, Ok(Migration::Unchanged { version: None }));
}

#[test]
fn the_version_goes_by_field_default_and_shape() {
    let schemas = json!({ "v1": { "required": ["one"] }, "v2": { "required": ["two"] } });
    let with = |version: Json| json!({ "types": { "things": { "schemas": schemas, "version": version } } });
    let named = |version: &str| DocumentBuf::new().with("_schema_version", version);
    let default = with(json!({ "default": "v1" }));
    assert_eq!(verdict(&default, "things", &DocumentBuf::new()), ["one is missing"]);
    assert_eq!(verdict(&default, "things", &named("v2")), ["two is missing"]);
    let wrong = ["_schema_version must be one of v1, v2, is \"v3\""];
    assert_eq!(verdict(&default, "things", &named("v3")), wrong);
    let no_default = with(json!({ "field": "v" }));
    assert_eq!(verdict(&no_default, "things", &named("v1")), ["v is missing, it must be one of v1, v2"]);
    assert_eq!(
        verdict(&no_default, "things", &DocumentBuf::new().with("v", true)),
        ["v must be one of v1, v2, is bool"]
    );

    let shape = with(json!({ "shape": ["v2", "v1"] }));
    let version = |document: &DocumentBuf| migrate(&shape, document);
    assert_eq!(version(&DocumentBuf::new().with("one", 1)), Ok(Migration::unchanged("v1")));
    assert_eq!(version(&DocumentBuf::new().with("one", 1).with("two", 2)), Ok(Migration::unchanged("v2")));
    let neither = verdict(&shape, "things", &DocumentBuf::new());
    assert_eq!(neither, ["has the shape of no version of things (v2, v1); of v2 it lacks this", "two is missing"]);
}

/// v1 to v3 over two steps, and back over one of them.
fn chain() -> Json {
    json!({
        "version": { "default": "v1" },
        "types": { "things": {
            "schemas": { "v1": {}, "v2": { "required": ["currency"] }, "v3": { "properties": { "at": { "bsonType": "date" } } } },
            "steps": [
                { "from": "v1", "to": "v2", "name": "add the currency", "do": [{ "default": { "currency": "USD" } }],
                  "back": [{ "remove": ["currency"] }] },
                { "from": "v2", "to": "v3", "do": [{ "convert": { "at": "date" } }], "back": [{ "convert": { "at": "string" } }] }
            ]
        } }
    })
}

#[test]
fn documents_go_to_the_latest_version_over_the_steps() {
    let old = DocumentBuf::new().with("_id", ObjectId([7; 12])).with("at", "1970-01-01").with("n", 3_i64);
    let new = DocumentBuf::new()
        .with("_id", ObjectId([7; 12]))
        .with("at", DateTime(0))
        .with("n", 3_i64)
        .with("currency", "USD")
        .with("_schema_version", "v3");
    assert_eq!(migrate(&chain(), &old), Ok(Migration::migrated(new.clone(), "v1>v2", "v3")));
    assert_eq!(migrate(&chain(), &new), Ok(Migration::unchanged("v3")));
    let mut editor = DocumentEditor::new(new.as_document());
    let v2 = editor.set("_schema_version", "v2").finish().unwrap();
    assert_eq!(migrate(&chain(), &v2), Ok(Migration::migrated(new, "v2", "v3")));
}

#[test]
fn documents_go_back_where_steps_say_how() {
    let mut config = chain();
    config["migrate"] = json!("v1");
    let v3 = DocumentBuf::new().with("_schema_version", "v3").with("at", DateTime(0)).with("currency", "CHF");
    let v1 = DocumentBuf::new().with("_schema_version", "v1").with("at", "1970-01-01T00:00:00.000Z");
    assert_eq!(migrate(&config, &v3), Ok(Migration::migrated(v1, "v3>v2", "v1")));
    config["migrate"] = json!("off");
    assert_eq!(migrate(&config, &v3), Ok(Migration::unchanged("v3")));
    config["types"]["things"]["migrate"] = json!("v2");
    let step = &mut config["types"]["things"]["steps"][1];
    step.as_object_mut().unwrap().remove("back");
    let error =
        "types.things.steps: no steps lead from version v3 to v2: declare one, or set migrate to another version";
    assert_eq!(refusal(&config), error);
}

#[test]
fn a_step_that_fails_is_named_and_so_is_a_result_that_does_not_fit() {
    let soon = DocumentBuf::new().with("at", "soon");
    let error = migrate(&chain(), &soon).unwrap_err();
    assert_eq!(error, "step v2->v3: convert at: is \"soon\", which cannot be made date");
    let mut config = chain();
    config["types"]["things"]["schemas"]["v3"] = json!({ "required": ["x", "y"] });
    let error = migrate(&config, &DocumentBuf::new()).unwrap_err();
    assert_eq!(error, "migrated from v1, it does not fit v3: x is missing; y is missing");
    config["validate"] = json!("before");
    assert!(migrate(&config, &DocumentBuf::new()).is_ok());
}

#[test]
fn validate_says_when_documents_are_checked() {
    let mut config = chain();
    config["types"]["things"]["schemas"] =
        json!({ "v1": { "required": ["x"] }, "v2": true, "v3": { "required": ["y"] } });
    let (v1, v3) = (DocumentBuf::new(), DocumentBuf::new().with("_schema_version", "v3"));
    for (when, of_v1, of_v3) in [("both", 1, 1), ("before", 1, 1), ("after", 0, 1), ("off", 0, 0)] {
        config["validate"] = json!(when);
        let count = |document| verdict(&config, "things", document).len();
        assert_eq!((count(&v1), count(&v3)), (of_v1, of_v3), "{when}");
    }
}

#[test]
fn another_plugin_may_do_a_step() {
    let mut config = chain();
    config["types"]["things"]["schemas"]["v4"] = json!({});
    let steps = config["types"]["things"]["steps"].as_array_mut().unwrap();
    steps[1] = json!({ "from": "v2", "to": "v3", "plugin": "by-hand" });
    steps.push(json!({ "from": "v3", "to": "v4", "do": [] }));
    let of = |version: &str| DocumentBuf::new().with("_schema_version", version).with("currency", "USD");
    assert_eq!(migrate(&config, &of("v1")), Ok(Migration::migrated(of("v2"), "v1", "v2")));
    assert_eq!(migrate(&config, &of("v2")), Ok(Migration::unchanged("v2")));
    assert_eq!(migrate(&config, &of("v3")), Ok(Migration::migrated(of("v4"), "v3", "v4")));
}

#[test]
fn the_version_is_written_as_it_was() {
    let config = json!({ "version": { "default": "1" }, "types": { "things": {
        "schemas": { "1": true, "2": true }, "steps": [{ "from": "1", "to": "2", "do": [] }] } } });
    let of = |value: Value<'_>| DocumentBuf::new().with("_schema_version", value);
    let migrated = |document: &DocumentBuf| match migrate(&config, document) {
        Ok(Migration::Migrated { document, .. }) => document,
        other => panic!("{other:?}"),
    };
    assert_eq!(migrated(&of(Value::Int64(1))), of(Value::Int32(2)));
    assert_eq!(migrated(&of(Value::String("1"))), of(Value::String("2")));
    assert_eq!(migrated(&DocumentBuf::new()), of(Value::Int32(2)));
}

/// Of two ways the shorter is taken.
#[test]
fn the_shortest_way_is_taken() {
    let steps = json!([
        { "from": "v1", "to": "v2", "do": [{ "set": { "over": 2 } }] },
        { "from": "v2", "to": "v3", "do": [] },
        { "from": "v3", "to": "v4", "do": [] },
        { "from": "v1", "to": "v3", "do": [{ "set": { "over": 3 } }] }
    ]);
    let config = json!({ "version": { "default": "v1" }, "types": { "things": {
        "schemas": { "v1": {}, "v2": {}, "v3": {}, "v4": {} }, "steps": steps } } });
    let Ok(Migration::Migrated { document, from, .. }) = migrate(&config, &DocumentBuf::new()) else {
        panic!("not migrated")
    };
    assert_eq!(document.as_document().get("over"), Some(Value::Int32(3)));
    assert_eq!(from, "v1>v3");
}

#[test]
fn the_schema_of_the_configuration_takes_what_the_plugin_takes() {
    let schema: Json = serde_json::from_str(config::SCHEMA).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for config in [chain(), things(json!({ "v1": true }))] {
        let errors: Vec<String> = validator.iter_errors(&config).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}");
    }
    assert!(!validator.is_valid(&json!({ "types": {} })));
}
