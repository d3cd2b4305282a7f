//! What messages in Pub/Sub hold, and which of them it does not take.

use bson::{Bson, Document, doc};
use google_cloud_auth::credentials::anonymous::Builder as Anonymous;
use google_cloud_pubsub::client::{SchemaService, TopicAdmin};
use google_cloud_pubsub::model::{Encoding, Message, Schema, SchemaSettings, schema};
use serde_json::json;
use tidegate_tests::servers::{PROJECT, PubSub};

use crate::pubsub::{Cloud, attribute, body, pipeline};
use crate::scene::Scene;

#[tokio::test]
async fn what_is_too_large_goes_to_the_dead_letter_and_the_rest_through() {
    let scene = Scene::shared().await;
    let cloud = Cloud::shared(&scene).await;
    cloud.make("out").await;
    let mut host = scene.ready_host(&[pipeline(&scene, &format!("{{ out: {} }}", cloud.sink("out", "")))]).await;
    let large = |id: i32, size: usize| doc! { "_id": id, "n": id, "text": "x".repeat(size) };
    let things = scene.collection("things");
    things.insert_one(large(0, 9_400_000)).await.unwrap();
    things.insert_one(large(1, 9_600_000)).await.unwrap();
    things.insert_one(large(2, 10)).await.unwrap();
    let found = cloud.changes("out", 2).await;
    let mut numbers: Vec<_> = found.iter().map(|message| body(message)["n"].as_i64()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [Some(0), Some(2)]);
    let letters = scene.wait_dead_letters(1).await;
    let reason = letters[0]["reason"].as_str().unwrap();
    assert!(reason.contains("it is too large: 96") && reason.contains("9500000"), "{reason}");
    assert_eq!(letters[0]["stage"], "sinks.out");
    assert_eq!(host.stop().await, Some(0));
}

/// A topic that takes documents with `_id` and `n` alone, and a subscription.
async fn make_strict(cloud: &Cloud, topic: &str) {
    // Before any client: it brings what TLS needs.
    let server = PubSub::at(cloud.endpoint.trim_start_matches("http://")).await;
    let schemas = SchemaService::builder().with_endpoint(&cloud.endpoint).with_credentials(Anonymous::new().build());
    let (schemas, name) = (schemas.build().await.unwrap(), cloud.name(topic));
    let fields = r#"[{"name": "_id", "type": "int"}, {"name": "n", "type": "int"}]"#;
    let definition = format!(r#"{{"type": "record", "name": "R", "fields": {fields}}}"#);
    let schema = Schema::new().set_type(schema::Type::Avro).set_definition(definition);
    let create = schemas.create_schema().set_parent(format!("projects/{PROJECT}")).set_schema_id(&name);
    let made = create.set_schema(schema).send().await.unwrap();
    let topics = TopicAdmin::builder().with_endpoint(&cloud.endpoint).with_credentials(Anonymous::new().build());
    let settings = SchemaSettings::new().set_schema(made.name).set_encoding(Encoding::Json);
    let create = topics.build().await.unwrap().create_topic().set_name(format!("projects/{PROJECT}/topics/{name}"));
    create.set_schema_settings(settings).send().await.unwrap();
    server.subscription(&name, &name).await;
}

#[tokio::test]
async fn what_the_schema_of_a_topic_refuses_goes_to_the_dead_letter_alone() {
    let scene = Scene::shared().await;
    let cloud = Cloud::shared(&scene).await;
    make_strict(&cloud, "out").await;
    let sink = cloud.sink("out", "");
    let line = format!("  main: {{ source: {}, batch: {{ linger: 1s }}, sinks: {{ out: {sink} }} }}", scene.source());
    let mut host = scene.ready_host(&[line]).await;
    // Of one key in one request, the second and the fourth are to blame.
    let things = scene.collection("things");
    for document in
        [doc! { "n": 0 }, doc! { "x": 1 }, doc! { "n": 2 }, doc! { "n": "three" }, doc! { "n": 4 }, doc! { "n": 5 }]
    {
        things.replace_one(doc! { "_id": 1 }, document).upsert(true).await.unwrap();
    }
    things.insert_one(doc! { "_id": 2, "n": 0 }).await.unwrap();
    let found = cloud.changes("out", 5).await;
    let of_one: Vec<i64> =
        found.iter().map(body).filter(|body| body["_id"] == 1).map(|body| body["n"].as_i64().unwrap()).collect();
    assert_eq!(of_one, [0, 2, 4, 5], "each once and in order");
    let letters = scene.wait_dead_letters(2).await;
    let reasons: Vec<_> = letters.iter().map(|letter| letter["reason"].as_str().unwrap()).collect();
    assert!(reasons.iter().all(|why| why.contains("INVALID_ARGUMENT")), "{reasons:?}");
    assert_eq!(letters[0]["change"]["doc"]["x"], json!({ "$numberInt": "1" }));
    assert_eq!(host.stop().await, Some(0));
    assert_eq!(scene.dead_letters().len(), 2);
}

#[tokio::test]
async fn each_format_arrives_with_deletes_and_long_keys() {
    const FORMATS: [(&str, &str); 6] = [
        ("json", "application/json"),
        ("extjson", "application/ejson"),
        ("extjson_relaxed", "application/ejson"),
        ("bson", "application/bson"),
        ("debezium", "application/json; envelope=debezium"),
        ("cloudevents", "application/cloudevents+json"),
    ];
    let scene = Scene::shared().await;
    let cloud = Cloud::shared(&scene).await;
    let mut sinks = Vec::new();
    for (format, _) in FORMATS {
        cloud.make(format).await;
        sinks.push(format!("{format}: {}", cloud.sink(format, &format!(", format: {format}"))));
    }
    let mut host = scene.ready_host(&[pipeline(&scene, &format!("{{ {} }}", sinks.join(", ")))]).await;
    let things = scene.collection("things");
    let long = "k".repeat(2000);
    let document = doc! { "_id": 7_i64, "price": 1.5, "count": Bson::Int64(5) };
    things.insert_one(&document).await.unwrap();
    things.insert_one(doc! { "_id": &long }).await.unwrap();
    things.delete_one(doc! { "_id": 7_i64 }).await.unwrap();
    things.delete_one(doc! { "_id": &long }).await.unwrap();
    for (format, content_type) in FORMATS {
        let found = cloud.changes(format, 4).await;
        let of = |operation: &str, is_long: bool| {
            let is_it = |message: &&Message| {
                attribute(message, "operation") == operation && message.ordering_key.starts_with("sha256-") == is_long
            };
            found.iter().find(is_it).unwrap_or_else(|| panic!("{format}: no {operation}, {is_long}: {found:?}"))
        };
        let inserted = of("insert", false);
        assert_eq!(attribute(inserted, "content_type"), content_type);
        assert_eq!(attribute(inserted, "namespace"), format!("{}.things", scene.names.database()));
        assert_eq!(attribute(inserted, "key"), r#"{"_id":{"$numberLong":"7"}}"#);
        match format {
            "json" => assert_eq!(body(inserted), json!({ "_id": 7, "price": 1.5, "count": 5 })),
            "extjson" => assert_eq!(body(inserted), Bson::Document(document.clone()).into_canonical_extjson()),
            "extjson_relaxed" => assert_eq!(body(inserted), Bson::Document(document.clone()).into_relaxed_extjson()),
            "bson" => assert_eq!(Document::from_reader(&*inserted.data).unwrap(), document),
            "debezium" => assert_eq!(body(inserted)["op"], "c"),
            _ => assert_eq!(body(inserted)["specversion"], "1.0"),
        }
        let deleted = of("delete", false);
        let is_envelope = matches!(format, "debezium" | "cloudevents");
        assert_eq!(deleted.data.is_empty(), !is_envelope, "{format}: {deleted:?}");
        assert_eq!((&*deleted.ordering_key, attribute(deleted, "key")), ("7", r#"{"_id":{"$numberLong":"7"}}"#));
        let (inserted, deleted) = (of("insert", true), of("delete", true));
        assert_eq!(inserted.ordering_key, deleted.ordering_key, "{format}: one key, one order");
        assert!(!inserted.attributes.contains_key("key") && !deleted.attributes.contains_key("key"));
        if !is_envelope {
            assert_eq!(deleted.data, inserted.data, "{format}: a key that is too long for an attribute is the body");
        }
    }
    assert_eq!(host.stop().await, Some(0));
    assert!(scene.dead_letters().is_empty());
}
