//! Of the rules. Acknowledgements are proved end to end.

use bson::{Document, doc, oid::ObjectId, spec::BinarySubtype};
use google_cloud_pubsub::model::Message;

use super::rules::Rules;
use crate::{
    change::{Change, Operation},
    config::{PubsubSourceConfig, SourceConfig, parse},
};

fn config(more: &str) -> PubsubSourceConfig {
    let text = format!(
        "pipelines:\n  p:\n    source: {{ pubsub: {{ project: shop, subscription: s-1, {more} }} }}\n    sinks: {{ o: stdout }}\n"
    );
    let config = parse(&text, "pipeline.yaml", &|_| None).unwrap_or_else(|errors| panic!("{errors}"));
    match &config.pipelines["p"].source {
        SourceConfig::Pubsub(pubsub) => pubsub.clone(),
        other => panic!("{other:?}"),
    }
}

fn rules(more: &str) -> Rules {
    Rules::new(&config(more), "projects/shop/subscriptions/s-1")
}

fn message(body: impl Into<Vec<u8>>, attributes: &[(&str, &str)]) -> Message {
    Message::new().set_data(body.into()).set_attributes(attributes.iter().copied()).set_message_id("7")
}

fn document(change: &Change) -> Document {
    Document::try_from(change.document.as_ref().expect("a document").as_raw()).unwrap()
}

#[test]
fn a_body_is_what_it_is_said_to_be() {
    let binary = |bytes: &[u8]| bson::Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() };
    for (more, body, content_type, expected) in [
        ("", &br#"{"a": 1}"#[..], "", doc! { "_id": "7", "a": 1 }),
        ("", br#" {"_id": {"$numberLong": "5"}, "a": 1.0}"#, "", doc! { "_id": 5_i64, "a": 1.0 }),
        ("", br#"{"a""#, "", doc! { "_id": "7", "data": "{\"a\"" }),
        ("", b"[1]", "", doc! { "_id": "7", "data": "[1]" }),
        ("", b"[1]", "application/json; charset=utf-8", doc! { "_id": "7", "data": [1] }),
        ("", br#"{"a": 1}"#, "application/vnd.shop+json", doc! { "_id": "7", "a": 1 }),
        ("", br#"{"a": 1}"#, "text/plain", doc! { "_id": "7", "data": r#"{"a": 1}"# }),
        ("body: text", b"\xff", "", doc! { "_id": "7", "text": binary(b"\xff") }),
        ("", b"", "", doc! { "_id": "7" }),
        ("format: raw", br#"{"a": 1}"#, "application/json", doc! { "_id": "7", "data": r#"{"a": 1}"# }),
        ("format: json", br#"{"a": 1}"#, "text/plain", doc! { "_id": "7", "a": 1 }),
        ("key: a", br#"{"_id": 0, "a": 1}"#, "", doc! { "_id": 1, "a": 1 }),
    ] {
        let attributes = [("content_type", content_type)];
        let attributes = if content_type.is_empty() { &[][..] } else { &attributes[..] };
        let change = rules(more).change(&message(body, attributes)).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(document(&change), expected, "{more} {content_type}");
        assert_eq!((&*change.id, change.namespace.as_str()), ("s-1/7", "pubsub.s-1"));
        assert_eq!(change.operation == Operation::Replace, more.starts_with("key"));
    }
    let id = ObjectId::new();
    let bytes = doc! { "_id": id, "n": 1_i64 }.to_vec().unwrap();
    let change = rules("").change(&message(bytes, &[("datacontenttype", "application/bson")])).unwrap();
    assert_eq!(document(&change), doc! { "_id": id, "n": 1_i64 });
}

#[test]
fn what_is_none_of_its_kind_is_told() {
    for (more, body, attributes, says) in [
        ("format: json", &b"[1]"[..], &[][..], "no JSON object"),
        ("format: bson", b"{}", &[], "no BSON"),
        ("", b"{", &[("content_type", "application/json")], "no JSON"),
        ("key: sku", b"{}", &[], "no field `sku`"),
        ("key: sku", b"text", &[], "no document"),
        ("messages: tidegate", b"{}", &[], "no attribute `operation`"),
        ("", b"{}", &[("change_id", "c"), ("operation", "burn"), ("namespace", "d.c")], "no operation"),
        ("", b"{}", &[("change_id", "c"), ("operation", "insert"), ("namespace", "d")], "database.collection"),
        ("", b"", &[("change_id", "c"), ("operation", "insert"), ("namespace", "d.c")], "neither an attribute"),
        (
            "",
            b"{}",
            &[
                ("change_id", "c"),
                ("operation", "insert"),
                ("namespace", "d.c"),
                ("content_type", "application/json; envelope=debezium"),
            ],
            "not read as a change",
        ),
    ] {
        let why = rules(more).change(&message(body, attributes)).expect_err(says);
        assert!(why.contains(says), "{why}");
    }
}

#[test]
fn a_change_of_tidegate_keeps_what_it_is() {
    let id = ObjectId::new();
    let key = format!(r#"{{"_id":{{"$oid":"{id}"}}}}"#);
    let ours = [
        ("change_id", "c-1"),
        ("correlation_id", "c-1"),
        ("operation", "update"),
        ("namespace", "shop.orders"),
        ("key", &*key),
        ("time", "1769860800001"),
        ("schema_version", "v2"),
    ];
    let with = |content_type| ours.iter().copied().chain([("content_type", content_type)]).collect::<Vec<_>>();
    let bson = doc! { "_id": id, "n": 1_i64 };
    for (body, content_type) in [
        (bson.to_vec().unwrap(), "application/bson"),
        (format!(r#"{{"_id":{{"$oid":"{id}"}},"n":{{"$numberLong":"1"}}}}"#).into_bytes(), "application/ejson"),
        // Plain JSON keeps no types but that of the key.
        (format!(r#"{{"_id":"{id}","n":{{"$numberLong":"1"}}}}"#).into_bytes(), "application/json"),
    ] {
        let change = rules("").change(&message(body, &with(content_type))).unwrap();
        assert_eq!(document(&change), bson, "{content_type}");
        assert_eq!(
            (&*change.id, change.operation, change.namespace.as_str()),
            ("c-1", Operation::Update, "shop.orders")
        );
        assert_eq!(Document::try_from(change.key.as_ref().unwrap().as_raw()).unwrap(), doc! { "_id": id });
        assert_eq!(change.wall_time, Some(1_769_860_800_001));
        let headers: Vec<_> = change.headers.iter().map(|header| (&*header.name, &*header.value)).collect();
        assert_eq!(headers, [("schema_version", "v2")]);
    }
    // As documents, they are what their bodies hold.
    let change = rules("messages: documents").change(&message("{}", &ours)).unwrap();
    assert_eq!((document(&change), &*change.id), (doc! { "_id": "7" }, "s-1/7"));
    // A delete with a key that no attribute takes.
    let deleted = [
        ("change_id", "c-2"),
        ("operation", "delete"),
        ("namespace", "shop.orders"),
        ("content_type", "application/bson"),
    ];
    let change = rules("").change(&message(doc! { "_id": "long" }.to_vec().unwrap(), &deleted)).unwrap();
    assert!(change.document.is_none() && change.key.is_some());
}

#[test]
fn what_does_not_go_together_is_told() {
    for (more, says) in [
        ("ack_deadline: 5s", "out of range"),
        ("ack_deadline: 11m", "out of range"),
        ("max_messages: 0", "out of range"),
        ("max_attempts: 0", "is 0"),
        ("format: raw, key: a", "format: raw"),
        ("messages: tidegate, key: a", "messages: tidegate"),
        ("messages: tidegate, format: json", "messages: tidegate"),
        ("body: ''", "is empty"),
        ("database: a.b", "no name of a database"),
        ("subscriptions: x", "did you mean `subscription`"),
    ] {
        let text = format!(
            "pipelines:\n  p:\n    source: {{ pubsub: {{ project: shop, subscription: s-1, {more} }} }}\n    sinks: {{ o: stdout }}\n"
        );
        let said = parse(&text, "pipeline.yaml", &|_| None).expect_err(more).to_string();
        assert!(said.contains(says), "{more}: {said}");
    }
    let text = "pipelines: { p: { source: { pubsub: { project: shop, subscription: projects/shop/topics/s } }, sinks: { o: stdout } } }";
    let said = parse(text, "pipeline.yaml", &|_| None).expect_err("a topic").to_string();
    assert!(said.contains("projects/PROJECT/subscriptions/NAME"), "{said}");
}
