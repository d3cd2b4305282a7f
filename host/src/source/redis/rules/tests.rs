//! What entries become.

use bson::{Binary, Bson, Document, doc, spec::BinarySubtype};
use redis::Value;

use super::{Entry, Fields, Rules};
use crate::{
    change::{Change, Doc, Operation},
    config::{EntryForm, EntryFormat, RedisSourceConfig},
    source::redis::place::EntryId,
};

fn config() -> RedisSourceConfig {
    crate::source::redis::tests::config(String::new(), &["s"])
}

fn fields(pairs: &[(&str, &[u8])]) -> Fields {
    let bytes = |bytes: &[u8]| Value::BulkString(bytes.to_vec());
    Fields::new(Value::Array(pairs.iter().flat_map(|(name, value)| [bytes(name.as_bytes()), bytes(value)]).collect()))
        .unwrap()
}

fn change(config: &RedisSourceConfig, pairs: &[(&str, &[u8])]) -> Result<Change, String> {
    let rules = Rules::new(config);
    let (fields, namespace) = (fields(pairs), rules.namespace("app:s"));
    rules.change(Entry {
        id: EntryId { ms: 5, seq: 1 },
        fields: &fields,
        namespace: &namespace,
        partition: "app:s",
        epoch: 0,
    })
}

fn decoded(doc: &Option<Doc>) -> Document {
    Document::try_from(doc.as_ref().unwrap().as_raw()).unwrap()
}

#[test]
fn fields_become_a_document_and_bytes_stay_bytes() {
    let found = change(&config(), &[("name", "Zoë".as_bytes()), ("n", b"1"), ("raw", b"\xff\x00"), ("", b"")]).unwrap();
    let raw = Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: vec![0xff, 0] });
    assert_eq!(decoded(&found.document), doc! { "_id": "5-1", "name": "Zoë", "n": "1", "raw": raw, "": "" });
    assert_eq!(decoded(&found.key), doc! { "_id": "5-1" });
    assert_eq!(
        (found.operation, found.namespace.as_str(), &*found.id),
        (Operation::Insert, "redis.app:s", "app:s/5-1")
    );
}

#[test]
fn a_field_that_comes_twice_is_an_array_and_json_is_read_where_asked_for() {
    let config = RedisSourceConfig { json_fields: vec!["j".into()], ..config() };
    let pairs: &[(&str, &[u8])] =
        &[("a", b"1"), ("j", br#"{"n":1,"d":{"$numberDecimal":"1.50"}}"#), ("a", b"2"), ("b", b"{}")];
    let decimal = Bson::Decimal128("1.50".parse().unwrap());
    let expected = doc! { "_id": "5-1", "a": ["1", "2"], "j": { "n": 1, "d": decimal }, "b": "{}" };
    assert_eq!(decoded(&change(&config, pairs).unwrap().document), expected);
    let scalar = change(&config, &[("j", b"[1, null]")]).unwrap();
    assert_eq!(decoded(&scalar.document), doc! { "_id": "5-1", "j": [1, Bson::Null] });
    assert!(change(&config, &[("j", b"{")]).unwrap_err().contains("`j` is no JSON"));
}

#[test]
fn a_field_of_choice_is_the_key() {
    let keyed =
        |key: &str, pairs: &[(&str, &[u8])]| change(&RedisSourceConfig { key: Some(key.into()), ..config() }, pairs);
    let found = keyed("sku", &[("n", b"1"), ("sku", b"S-1")]).unwrap();
    assert_eq!(decoded(&found.document), doc! { "_id": "S-1", "n": "1", "sku": "S-1" });
    assert_eq!((decoded(&found.key), found.operation), (doc! { "_id": "S-1" }, Operation::Replace));
    assert_eq!(decoded(&keyed("_id", &[("_id", b"7"), ("n", b"1")]).unwrap().document), doc! { "_id": "7", "n": "1" });
    assert!(keyed("sku", &[("n", b"1")]).unwrap_err().contains("no field `sku`"));
    assert!(keyed("sku", &[("sku", b"1"), ("_id", b"7")]).unwrap_err().contains("`_id`"));
    assert!(keyed("_id", &[("_id", b"1"), ("_id", b"7")]).unwrap_err().contains("`_id`"));
    assert!(change(&config(), &[("_id", b"7")]).unwrap_err().contains("set `key: _id`"));
}

#[test]
fn one_field_may_be_the_whole_document() {
    let config = RedisSourceConfig { document: Some("body".into()), ..config() };
    let found = change(&config, &[("body", br#"{"n":1}"#), ("trace", b"t-1")]).unwrap();
    assert_eq!(decoded(&found.document), doc! { "_id": "5-1", "n": 1 });
    assert_eq!(found.headers.get("trace"), Some("t-1"));
    let found = change(&config, &[("body", br#"{"n":1,"_id":{"$oid":"000000000000000000000001"}}"#)]).unwrap();
    let id: bson::oid::ObjectId = "000000000000000000000001".parse().unwrap();
    assert_eq!(decoded(&found.document), doc! { "_id": id, "n": 1 });
    for (pairs, reason) in [
        (&[("other", &b"1"[..])][..], "no field `body`"),
        (&[("body", &b"[]"[..])], "`body` is no JSON object"),
        (&[("body", &b"{}"[..]), ("h", b"\xff")], "no UTF-8"),
        (&[("body", &b"{}"[..]), ("body", b"{}")], "more than once"),
    ] {
        let told = change(&config, pairs).unwrap_err();
        assert!(told.contains(reason), "{told}");
    }
}

#[test]
fn what_bson_cannot_name_is_refused() {
    assert!(change(&config(), &[("a\0b", b"1")]).unwrap_err().contains("without NUL"));
}

#[test]
fn a_change_of_tidegate_comes_back_as_it_was() {
    let config = RedisSourceConfig { entries: EntryForm::Tidegate, format: EntryFormat::Bson, ..config() };
    let document = doc! { "_id": 7_i64, "d": Bson::Decimal128("1.50".parse().unwrap()) };
    let (key, bytes) = (doc! { "_id": 7_i64 }.to_vec().unwrap(), document.to_vec().unwrap());
    let pairs: &[(&str, &[u8])] =
        &[("id", b"x-1"), ("op", b"update"), ("ns", b"shop.items"), ("key", &key), ("doc", &bytes), ("h.v", b"v1")];
    let found = change(&config, pairs).unwrap();
    assert_eq!((&*found.id, found.operation, found.namespace.as_str()), ("x-1", Operation::Update, "shop.items"));
    assert_eq!((decoded(&found.key), decoded(&found.document)), (doc! { "_id": 7_i64 }, document));
    assert_eq!(found.headers.get("v"), Some("v1"));
    let json = RedisSourceConfig { format: EntryFormat::Extjson, ..config.clone() };
    let gone: &[(&str, &[u8])] =
        &[("id", b"x-2"), ("op", b"delete"), ("ns", b"shop.items"), ("key", br#"{"_id":{"$numberLong":"7"}}"#)];
    assert_eq!(decoded(&change(&json, gone).unwrap().key), doc! { "_id": 7_i64 });
    for (without, reason) in [(0, "`id`"), (1, "`op`"), (2, "`ns`"), (3, "`key`")] {
        let mut pairs = gone.to_vec();
        pairs.remove(without);
        let told = change(&json, &pairs).unwrap_err();
        assert!(told.contains(reason) && told.contains("entries: fields"), "{told}");
    }
    let mut other = gone.to_vec();
    other.push(("temperature", b"7"));
    assert!(change(&json, &other).unwrap_err().contains("`temperature`"));
    other[4] = ("doc", b"\xff");
    assert!(change(&config, &other[..]).unwrap_err().contains("no BSON"));
}

#[test]
fn dead_letters_hold_the_entry() {
    let json = fields(&[("a", b"1"), ("b", b"\xff")]).to_json(b"s", EntryId { ms: 5, seq: 1 });
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        value,
        serde_json::json!({ "stream": "s", "id": "5-1", "fields": [["a", "1"], ["b", { "$base64": "/w==" }]] })
    );
}
