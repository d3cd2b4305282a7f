//! Google Cloud Pub/Sub as a sink, on Google's own emulator.

use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;

use bson::{Bson, Document, doc};
use google_cloud_auth::credentials::anonymous::Builder as Anonymous;
use google_cloud_pubsub::client::{SchemaService, Subscriber, TopicAdmin};
use google_cloud_pubsub::model::{Encoding, Message, Schema, SchemaSettings, schema};
use serde_json::{Value, json};
use tidegate_tests::servers::{Emulator, Kind, PROJECT, PubSub, emulator};
use tidegate_tests::{Host, Network, Proxy, field};

use crate::scene::{PATIENCE, Scene, inventory, inventory_stages, numbered, wait_not_ready};

/// An emulator, and names of this test's own on it.
pub(crate) struct Cloud {
    pub(crate) endpoint: String,
    prefix: String,
    /// Changes that were asked for before: an acknowledgement may be lost with the stream it was given to.
    seen: Mutex<HashSet<String>>,
}

impl Cloud {
    pub(crate) async fn shared(scene: &Scene) -> Self {
        Self::at(&emulator(Kind::PubSub).await, scene)
    }

    pub(crate) fn at(address: &str, scene: &Scene) -> Self {
        // A topic begins with a letter.
        let prefix = format!("t-{}", scene.names.prefix());
        Self { endpoint: format!("http://{address}"), prefix, seen: Mutex::default() }
    }

    pub(crate) fn name(&self, topic: &str) -> String {
        format!("{}.{topic}", self.prefix)
    }

    /// A topic and an ordered subscription to it.
    pub(crate) async fn make(&self, topic: &str) {
        let server = PubSub::at(self.endpoint.trim_start_matches("http://")).await;
        let name = self.name(topic);
        server.topic(&name).await;
        server.subscription(&name, &name).await;
    }

    /// Waits for messages of a topic until `enough` of them are there, and acknowledges them.
    async fn pull(&self, topic: &str, mut enough: impl FnMut(&[Message]) -> bool) -> Vec<Message> {
        let credentials = Anonymous::new().build();
        let subscriber = Subscriber::builder().with_endpoint(&self.endpoint).with_credentials(credentials);
        let subscriber = subscriber.build().await.unwrap();
        let mut stream = subscriber.subscribe(format!("projects/{PROJECT}/subscriptions/{}", self.name(topic))).build();
        let mut found = Vec::new();
        while !enough(&found) {
            let next = tokio::time::timeout(PATIENCE, stream.next()).await;
            let next = next.unwrap_or_else(|_| panic!("only {} messages of {topic} came", found.len()));
            let (message, handler) = next.expect("the stream goes on").unwrap();
            handler.ack();
            found.push(message);
        }
        // Sends the acknowledgements that are still here.
        let end = stream.shutdown_token();
        drop(stream);
        end.shutdown().await;
        found
    }

    /// So many more different changes of a topic, with their doubles.
    pub(crate) async fn changes(&self, topic: &str, count: usize) -> Vec<Message> {
        let of_topic = |id: &str| format!("{topic} {id}");
        let seen = self.seen.lock().unwrap().clone();
        let new = |message: &Message| !seen.contains(&of_topic(attribute(message, "change_id")));
        let enough = |found: &[Message]| {
            let new = found.iter().filter(|message| new(message));
            new.map(|message| attribute(message, "change_id")).collect::<HashSet<_>>().len() >= count
        };
        let mut found = self.pull(topic, enough).await;
        found.retain(new);
        self.seen.lock().unwrap().extend(found.iter().map(|message| of_topic(attribute(message, "change_id"))));
        found
    }

    /// A sink that publishes to a topic, with more keys.
    pub(crate) fn sink(&self, topic: &str, more: &str) -> String {
        let (endpoint, topic) = (&self.endpoint, self.name(topic));
        format!(r#"{{ pubsub: {{ project: {PROJECT}, endpoint: "{endpoint}", topic: "{topic}"{more} }} }}"#)
    }
}

fn ids(messages: &[Message]) -> HashSet<&str> {
    messages.iter().map(|message| attribute(message, "change_id")).collect()
}

#[track_caller]
pub(crate) fn attribute<'m>(message: &'m Message, name: &str) -> &'m str {
    message.attributes.get(name).unwrap_or_else(|| panic!("no attribute {name}: {:?}", message.attributes))
}

pub(crate) fn body(message: &Message) -> Value {
    serde_json::from_slice(&message.data).unwrap_or_else(|error| panic!("{error}: {:?}", message.data))
}

fn pipeline(scene: &Scene, sinks: &str) -> String {
    scene.pipeline("main", &scene.source(), "[]", sinks)
}

async fn sink_metric(host: &mut Host, name: &str) -> f64 {
    host.metric(name, &[("pipeline", "main"), ("sink", "out")]).await.unwrap_or_default()
}

/// Asserts that of each document the states came in order, after doubles were dropped, up to the last.
#[track_caller]
fn assert_ordered(messages: &[Message], documents: i32, last: i32) {
    let mut states: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    let mut seen = HashSet::new();
    for message in messages {
        if seen.insert(attribute(message, "change_id")) {
            let body = body(message);
            let id = body["_id"].as_i64().unwrap();
            assert_eq!(message.ordering_key, id.to_string());
            states.entry(id).or_default().push(body["n"].as_i64().unwrap());
        }
    }
    assert_eq!(states.len(), usize::try_from(documents).unwrap());
    for (id, states) in states {
        assert_eq!(states, (0..=i64::from(last)).collect::<Vec<_>>(), "of document {id}");
    }
}

/// Replaces each document once: the state `n` of all of them.
async fn write_state(scene: &Scene, documents: i32, n: i32) {
    let things = scene.collection("things");
    for id in 0..documents {
        things.replace_one(doc! { "_id": id }, doc! { "_id": id, "n": n }).upsert(true).await.unwrap();
    }
}

#[tokio::test]
async fn d5_batches_of_a_configured_size_and_time_reach_a_topic() {
    let scene = Scene::shared().await;
    let cloud = Cloud::shared(&scene).await;
    cloud.make("out").await;
    let sink = cloud.sink("out", ", max_messages: 20, ordering: false");
    let line = format!(
        "  main: {{ source: {}, batch: {{ max_events: 50, linger: 2s }}, sinks: {{ out: {sink} }} }}",
        scene.source()
    );
    let mut host = scene.ready_host(&[line]).await;
    scene.collection("things").insert_many(numbered(0..120)).await.unwrap();
    let found = cloud.changes("out", 120).await;
    let mut numbers: Vec<i64> = found.iter().map(|message| body(message)["n"].as_i64().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..120).collect::<Vec<_>>(), "each once");
    assert!(found.iter().all(|message| message.ordering_key.is_empty()));
    // Two full batches, and one that waited for more until its time was over.
    let writes = sink_metric(&mut host, "tidegate_sink_writes_total").await;
    assert!((3.0..=4.0).contains(&writes), "{writes} writes");
    // What comes within the time is one batch, though each was written alone.
    for n in 120..130 {
        scene.collection("things").insert_one(doc! { "_id": n, "n": n }).await.unwrap();
    }
    cloud.changes("out", 10).await;
    let more = sink_metric(&mut host, "tidegate_sink_writes_total").await - writes;
    assert!(more <= 3.0, "{more} writes for ten changes");
    assert_eq!(sink_metric(&mut host, "tidegate_events_out_total").await, 130.0);
    assert_eq!(host.stop().await, Some(0));
}

#[tokio::test]
async fn e4_version_and_correlation_id_are_attributes_of_each_message_and_in_the_log() {
    let scene = Scene::shared().await;
    let cloud = Cloud::shared(&scene).await;
    cloud.make("WH-1").await;
    let stages = inventory_stages(&cloud.name("{warehouse_id}"));
    let sinks = format!("{{ out: {} }}", cloud.sink("nobody-publishes-here.{collection}", ""));
    let line = scene.pipeline("main", &scene.source(), &stages, &sinks);
    let mut host = scene.host_with("log: { level: debug, format: json }", &[line], &[]);
    host.wait_ready().await;
    scene.collection("inventory").insert_many((0..20).map(|n| inventory(n, "WH-1"))).await.unwrap();
    let found = cloud.changes("WH-1", 20).await;
    assert_eq!(host.stop().await, Some(0));
    let log = host.log();
    for message in &found {
        assert_eq!(attribute(message, "schema_version"), "v3");
        let correlation_id = attribute(message, "correlation_id");
        assert_eq!(correlation_id, attribute(message, "change_id"));
        let of_it = |line: &&Value| field(line, "correlation_id").and_then(Value::as_str) == Some(correlation_id);
        let lines: Vec<&Value> = log.iter().filter(of_it).collect();
        assert!(!lines.is_empty(), "no log line about {correlation_id}");
        assert!(lines.iter().all(|line| field(line, "schema_version") == Some(&"v3".into())), "{lines:?}");
    }
}

#[tokio::test]
async fn changes_of_one_document_keep_their_order() {
    let scene = Scene::shared().await;
    let cloud = Cloud::shared(&scene).await;
    cloud.make("out").await;
    let source = format!(
        r#"{{ mongodb: {{ uri: "{}", database: "{}", full_document: lookup }} }}"#,
        scene.mongodb_uri,
        scene.names.database()
    );
    let line = scene.pipeline("main", &source, "[]", &format!("{{ out: {} }}", cloud.sink("out", ", max_messages: 3")));
    let mut host = scene.ready_host(&[line]).await;
    for n in 0..20 {
        write_state(&scene, 10, n).await;
    }
    let found = cloud.changes("out", 200).await;
    assert_ordered(&found, 10, 19);
    assert_eq!(found.len(), 200, "no doubles without a failure");
    assert_eq!(host.stop().await, Some(0));
}

#[tokio::test]
async fn e11_a_missing_topic_stops_the_pipeline_and_says_how_to_make_it() {
    let scene = Scene::shared().await;
    let cloud = Cloud::shared(&scene).await;
    let config = [pipeline(&scene, &format!("{{ out: {} }}", cloud.sink("out", "")))];
    let mut host = scene.host(&config);
    let line = host.wait_event("pipeline_stopped").await;
    assert_eq!(line["code"], "TG1003", "{line}");
    let message = line["message"].as_str().unwrap();
    let command = format!("`gcloud pubsub topics create {} --project={PROJECT}`", cloud.name("out"));
    assert!(message.contains(&command), "{message}");
    drop(host);
    cloud.make("out").await;
    let mut host = scene.ready_host(&config).await;
    scene.collection("things").insert_many(numbered(0..10)).await.unwrap();
    cloud.changes("out", 10).await;
    assert_eq!(host.stop().await, Some(0));
}

#[tokio::test]
async fn e11_an_emulator_that_ends_and_begins_again_loses_nothing_and_no_order() {
    let scene = Scene::shared().await;
    let mut server = Emulator::start(Kind::PubSub).await;
    let proxy = Proxy::start(server.port()).await;
    let direct = Cloud::at(&server.address(), &scene);
    let through = Cloud::at(&format!("127.0.0.1:{}", proxy.port()), &scene);
    direct.make("out").await;
    let line = pipeline(&scene, &format!("{{ out: {} }}", through.sink("out", ", timeout: 2s")));
    let mut host = scene.ready_host(&[line]).await;
    for n in 0..10 {
        write_state(&scene, 10, n).await;
    }
    let mut found = direct.changes("out", 50).await;
    proxy.set(Network::Cut);
    for n in 10..20 {
        write_state(&scene, 10, n).await;
    }
    let reason = wait_not_ready(&mut host, "sink out", "TG1001").await;
    assert!(reason.contains(&proxy.port().to_string()), "the reason names the place: {reason}");
    assert_eq!(host.get("/health").await.0, 200);
    assert_eq!(host.status().await["pipelines"]["main"]["sinks"][0]["state"], "retrying");
    // The emulator keeps nothing: what it has confirmed is taken out of it before it ends.
    let confirmed = sink_metric(&mut host, "tidegate_events_out_total").await as usize;
    let before = ids(&found).into_iter().map(str::to_owned).collect::<HashSet<_>>();
    let rest = direct
        .pull("out", |more| {
            let more: HashSet<_> = ids(more).into_iter().map(str::to_owned).collect();
            before.union(&more).count() >= confirmed
        })
        .await;
    found.extend(rest);
    server.kill();
    server.restart().await;
    direct.make("out").await;
    proxy.heal().await;
    host.wait_ready().await;
    write_state(&scene, 10, 20).await;
    let known = ids(&found).into_iter().map(str::to_owned).collect::<HashSet<_>>();
    let rest = direct
        .pull("out", |more| {
            let more: HashSet<_> = ids(more).into_iter().map(str::to_owned).collect();
            known.union(&more).count() >= 210
        })
        .await;
    found.extend(rest);
    assert_ordered(&found, 10, 20);
    assert!(sink_metric(&mut host, "tidegate_sink_retries_total").await >= 1.0);
    assert_eq!(host.stop().await, Some(0));
    assert!(scene.dead_letters().is_empty());
}

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
    assert!(reason.starts_with("it is too large: 96") && reason.contains("9500000"), "{reason}");
    assert_eq!(letters[0]["stage"], "sinks.out");
    assert_eq!(host.stop().await, Some(0));
}

/// A topic that takes documents with `_id` and `n` alone, and a subscription.
async fn make_strict(cloud: &Cloud, topic: &str) {
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
    let server = PubSub::at(cloud.endpoint.trim_start_matches("http://")).await;
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
    assert!(reasons.iter().all(|why| why.starts_with("Pub/Sub refused it: INVALID_ARGUMENT")), "{reasons:?}");
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

#[tokio::test]
async fn a_key_that_cannot_be_used_is_told_and_not_shown() {
    let scene = Scene::shared().await;
    let key = json!({ "type": "service_account", "client_email": "a@b", "private_key_id": "1", "project_id": "p-1",
        "private_key": "-----BEGIN PRIVATE KEY-----\nZ2VoZWlt\n-----END PRIVATE KEY-----\n" });
    let file = scene.dir.path().join("key.json");
    std::fs::write(&file, key.to_string()).unwrap();
    let sink = format!(
        r#"{{ pubsub: {{ project: {PROJECT}, endpoint: "https://127.0.0.1:1", topic: nowhere, credentials_file: "{}" }} }}"#,
        file.display()
    );
    let mut host =
        scene.host_with("log: { level: trace, format: json }", &[pipeline(&scene, &format!("{{ out: {sink} }}"))], &[]);
    let line = host.wait_event("pipeline_stopped").await;
    assert_eq!(line["code"], "TG1005", "{line}");
    assert!(line["message"].as_str().unwrap().contains("key.json"), "{line}");
    let said = format!("{}{}", host.stderr(), host.stdout());
    assert!(!said.contains("Z2VoZWlt") && !said.contains("geheim"), "the key is shown");
}
