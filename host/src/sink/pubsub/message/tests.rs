//! What messages look like, without a server.

use std::sync::Arc;

use bson::{Document, RawDocumentBuf, doc};
use google_cloud_pubsub::model::Message;

use super::{Deed, Shaper};
use crate::{
    batch::{Delivery, Destination},
    change::{Change, Doc, Header, Headers, Namespace, Operation},
    config::{DocumentFormat, PubsubSinkConfig, SinkConfig},
};

pub(in crate::sink::pubsub) fn buf(document: Document) -> Doc {
    Doc::from(RawDocumentBuf::try_from(&document).unwrap())
}

pub(in crate::sink::pubsub) fn change(n: i64) -> Change {
    let oid = bson::oid::ObjectId::from_bytes([7; 12]);
    Change {
        id: format!("id-{n}").into(),
        operation: Operation::Insert,
        namespace: Arc::new(Namespace::new("shop", "items")),
        key: Some(buf(doc! { "_id": oid })),
        document: Some(buf(doc! { "_id": oid, "n": n, "when": bson::DateTime::from_millis(0) })),
        before: None,
        update: None,
        cluster_time: None,
        wall_time: None,
        headers: [Header { name: "schema_version".into(), value: "v1".into() }].into_iter().collect(),
        position: None,
    }
}

pub(in crate::sink::pubsub) fn config(topic: &str) -> PubsubSinkConfig {
    PubsubSinkConfig {
        connection: crate::config::PubsubConnection { project: "shop".into(), endpoint: None, credentials_file: None },
        topic: topic.into(),
        ordering: true,
        format: DocumentFormat::Json,
        max_messages: 1000,
        max_bytes: crate::config::ByteSize(PubsubSinkConfig::LARGEST),
        max_outstanding: None,
        timeout: crate::config::Span(std::time::Duration::from_secs(1)),
        setup: None,
    }
}

fn shaped(
    config: &PubsubSinkConfig,
    change: &Change,
    destination: Option<&Destination>,
) -> Result<(String, Message), String> {
    match Shaper::new(config, "p").shape(&Delivery { change, destination }) {
        Deed::Publish(topic, message) => Ok((topic.to_string(), message)),
        Deed::Refuse(why) => Err(why),
        Deed::Ignore => Err("ignored".into()),
    }
}

fn sent(change: &Change) -> Message {
    shaped(&config("stock"), change, None).unwrap().1
}

fn attribute<'m>(message: &'m Message, name: &str) -> Option<&'m str> {
    message.attributes.get(name).map(String::as_str)
}

#[test]
fn a_message_says_what_it_holds() {
    let message = sent(&Change { wall_time: Some(1_700_000_000_123), ..change(5) });
    let mut attributes: Vec<_> = message.attributes.iter().map(|(name, value)| (&**name, &**value)).collect();
    attributes.sort_unstable();
    let oid = "07".repeat(12);
    let key = format!(r#"{{"_id":{{"$oid":"{oid}"}}}}"#);
    let expected = [
        ("change_id", "id-5"),
        ("content_type", "application/json"),
        ("correlation_id", "id-5"),
        ("key", &key),
        ("namespace", "shop.items"),
        ("operation", "insert"),
        ("schema_version", "v1"),
        ("time", "1700000000123"),
    ];
    assert_eq!(attributes, expected);
    let body = format!(r#"{{"_id":"{oid}","n":5,"when":"1970-01-01T00:00:00.000Z"}}"#);
    assert_eq!((&*message.data, &*message.ordering_key), (body.as_bytes(), &*oid));
}

#[test]
fn a_delete_has_attributes_and_no_body() {
    let message = sent(&Change { operation: Operation::Delete, document: None, ..change(1) });
    assert!(message.data.is_empty());
    assert_eq!(attribute(&message, "operation"), Some("delete"));
    assert_eq!(attribute(&message, "content_type"), None);
}

#[test]
fn a_long_key_is_hashed_and_a_delete_brings_it_as_its_body() {
    let long = "k".repeat(1025);
    let key = || Some(buf(doc! { "_id": &long }));
    let inserted = sent(&Change { key: key(), ..change(1) });
    let deleted = sent(&Change { key: key(), operation: Operation::Delete, document: None, ..change(2) });
    assert!(inserted.ordering_key.starts_with("sha256-") && inserted.ordering_key.len() == 71);
    assert_eq!(inserted.ordering_key, deleted.ordering_key);
    assert_eq!((attribute(&inserted, "key"), attribute(&deleted, "key")), (None, None));
    assert_eq!(std::str::from_utf8(&deleted.data).unwrap(), format!(r#"{{"_id":"{long}"}}"#));
    assert_eq!(attribute(&deleted, "content_type"), Some("application/json"));
    // A key of the very size is none of them.
    let fits = sent(&Change { key: Some(buf(doc! { "_id": "k".repeat(1024) })), ..change(1) });
    assert_eq!(fits.ordering_key, "k".repeat(1024));
}

#[test]
fn a_router_chooses_topic_key_and_attributes() {
    let attributes: Headers = [
        Header { name: "region".into(), value: "eu".into() },
        Header { name: "operation".into(), value: "not this".into() },
    ]
    .into_iter()
    .collect();
    let to = |target: &str| Destination {
        sink: None,
        target: Some(target.to_owned().into()),
        ordering_key: Some("warehouse".into()),
        attributes: attributes.clone(),
    };
    let (topic, message) = shaped(&config("stock"), &change(1), Some(&to("low-stock"))).unwrap();
    assert_eq!((&*topic, &*message.ordering_key), ("projects/shop/topics/low-stock", "warehouse"));
    assert_eq!((attribute(&message, "region"), attribute(&message, "operation")), (Some("eu"), Some("insert")));
    let (topic, _) = shaped(&config("stock"), &change(1), Some(&to("projects/other/topics/low"))).unwrap();
    assert_eq!(topic, "projects/other/topics/low");
    let why = shaped(&config("stock"), &change(1), Some(&to("low stock"))).unwrap_err();
    assert!(why.starts_with("`low stock` is no name of a topic"), "{why}");
    let unordered = PubsubSinkConfig { ordering: false, ..config("stock") };
    assert_eq!(shaped(&unordered, &change(1), Some(&to("low-stock"))).unwrap().1.ordering_key, "");
}

#[test]
fn a_topic_is_made_of_names_and_fields() {
    let topic = |template: &str, change: &Change| shaped(&config(template), change, None).map(|(topic, _)| topic);
    assert_eq!(topic("{database}.{collection}.{n}", &change(7)).unwrap(), "projects/shop/topics/shop.items.7");
    let why = topic("stock-{region}", &change(7)).unwrap_err();
    assert_eq!(why, "its topic has no name: it has no field `region`");
    let drop = Change { operation: Operation::Drop, key: None, document: None, ..change(7) };
    assert_eq!(topic("stock-{region}", &drop).unwrap_err(), "ignored");
    let (topic, message) = shaped(&config("stock"), &drop, None).unwrap();
    assert_eq!((&*topic, &*message.ordering_key), ("projects/shop/topics/stock", ""));
}

#[test]
fn what_pubsub_would_not_take_is_refused_before() {
    let with = |headers: Vec<(String, String)>| Change {
        headers: headers.into_iter().map(|(name, value)| Header { name: name.into(), value: value.into() }).collect(),
        ..change(1)
    };
    let large = buf(doc! { "_id": 1, "text": "x".repeat(9_500_000) });
    let cases = [
        (with((0..95).map(|n| (format!("h{n}"), String::new())).collect()), "attributes, and Pub/Sub takes 100"),
        (with(vec![("h".repeat(257), "v".into())]), "names of 1 to 256 bytes"),
        (with(vec![("google".into(), "v".into())]), "do not begin with `goog`"),
        (with(vec![("note".into(), "ü".repeat(513))]), "`note` has 1026 bytes, and Pub/Sub takes 1024"),
        (Change { document: Some(large), ..change(1) }, "it is too large: 95"),
    ];
    for (change, says) in cases {
        let why = shaped(&config("stock"), &change, None).unwrap_err();
        assert!(why.contains(says), "{why}");
    }
    let fits = with((0..94).map(|n| (format!("h{n}"), "v".repeat(1024))).collect());
    assert_eq!(sent(&fits).attributes.len(), 100);
}

#[test]
fn the_content_type_says_the_format() {
    let of = |format| {
        let (_, message) = shaped(&PubsubSinkConfig { format, ..config("stock") }, &change(1), None).unwrap();
        (message.attributes["content_type"].clone(), message.data)
    };
    assert_eq!(of(DocumentFormat::ExtjsonRelaxed).0, "application/ejson");
    assert_eq!(of(DocumentFormat::Debezium).0, "application/json; envelope=debezium");
    assert_eq!(of(DocumentFormat::Cloudevents).0, "application/cloudevents+json");
    let (name, body) = of(DocumentFormat::Bson);
    assert_eq!((&*name, &*body), ("application/bson", change(1).document.unwrap().as_bytes()));
}

#[test]
fn settings_have_defaults() {
    let text = "pipelines: { p: { source: stdin, sinks: { out: { pubsub: { project: shop, topic: stock } } } } }";
    let read = crate::config::parse(text, "p.yaml", &|_| None).unwrap();
    let SinkConfig::Pubsub(read) = &read.pipelines["p"].sinks["out"] else { panic!("{read:?}") };
    let expected = PubsubSinkConfig { timeout: read.timeout, ..config("stock") };
    assert_eq!((read, read.timeout.0.as_secs()), (&expected, 30));
}
