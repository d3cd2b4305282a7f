//! A Pub/Sub subscription as a source, and two tidegates chained through a topic. A name begins with the row of parity it proves.

mod redelivery;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use google_cloud_pubsub::model::{Message, PushConfig};
use mongodb::bson::{Bson, Document, doc, oid::ObjectId};
use tidegate_tests::servers::{PROJECT, PubSub, message};
use tidegate_tests::{Network, Proxy, eventually, field};

use crate::scene::{Entry, PATIENCE, Scene, all};
use crate::types::every_type;

const LOG: &str = "log: { level: info, format: json }";

/// A topic and a subscription of this test's own, which bear the same name.
struct Feed {
    pubsub: PubSub,
    name: String,
}

impl Feed {
    async fn new(scene: &Scene) -> Self {
        let feed = Self::without(scene).await;
        feed.pubsub.topic(&feed.name).await;
        feed.pubsub.subscription(&feed.name, &feed.name).await;
        feed
    }

    /// Without order: what comes again may come to anybody.
    async fn unordered(scene: &Scene) -> Self {
        let feed = Self::without(scene).await;
        feed.pubsub.topic(&feed.name).await;
        feed.pubsub.subscription_with(&feed.name, &feed.name, |subscription| subscription).await;
        feed
    }

    /// Nothing is made.
    async fn without(scene: &Scene) -> Self {
        Self { pubsub: PubSub::shared().await, name: format!("t-{}", scene.names.prefix()) }
    }

    fn source(&self, more: &str) -> String {
        self.source_at(&self.pubsub.endpoint(), more)
    }

    fn source_at(&self, endpoint: &str, more: &str) -> String {
        let name = &self.name;
        format!(r#"{{ pubsub: {{ project: {PROJECT}, endpoint: "{endpoint}", subscription: "{name}", {more} }} }}"#)
    }

    async fn publish(&self, messages: impl IntoIterator<Item = Message>) {
        self.pubsub.publish(&self.name, messages).await;
    }

    /// Numbered documents, each in the order of one of `keys` keys.
    async fn publish_numbered(&self, range: std::ops::Range<i32>, keys: i32) {
        let numbered = range.map(|n| {
            let key = n % keys;
            message(format!(r#"{{"n":{n},"key":{key}}}"#), &[]).set_ordering_key(format!("k{key}"))
        });
        self.publish(numbered).await;
    }

    /// That nothing comes to another subscriber: all is acknowledged, or in somebody's hands.
    async fn assert_quiet(&self, time: Duration) {
        let came = self.pubsub.drain(&self.name, time).await;
        assert!(came.is_empty(), "{} messages came to another subscriber: {:?}", came.len(), came.first());
    }
}

/// A sink: this test's database.
fn mirror(scene: &Scene) -> String {
    let (uri, database) = (&scene.mongodb_uri, scene.names.database());
    format!(r#"{{ mongodb: {{ uri: "{uri}", database: "{database}" }} }}"#)
}

/// The number of a message that says no more than that somebody listens.
const NOTHING: i32 = -1;

/// The numbers of all others, in the order of their arrival.
fn arrivals(entries: &[Entry]) -> impl DoubleEndedIterator<Item = i32> {
    entries.iter().map(Entry::n).filter(|n| *n != NOTHING)
}

fn seen(entries: &[Entry]) -> BTreeSet<i32> {
    arrivals(entries).collect()
}

/// That the numbers of each of `keys` keys came last in the order in which they were published. What was given to others while a killed
/// host had earlier ones comes again behind those, so that who keeps the newest state keeps the right one.
fn in_order(entries: &[Entry], keys: i32) -> Result<(), String> {
    let (mut later, mut seen) = (BTreeMap::new(), BTreeSet::new());
    for n in arrivals(entries).rev().filter(|n| seen.insert(*n)) {
        let key = n % keys;
        if let Some(next) = later.insert(key, n).filter(|next| *next < n) {
            let all: Vec<_> = arrivals(entries).filter(|other| other % keys == key).collect();
            return Err(format!("key {key}: {n} before {next} in {all:?}"));
        }
    }
    Ok(())
}

#[tokio::test]
async fn messages_become_documents_by_what_they_say_of_themselves() {
    let scene = Scene::shared().await;
    let feed = Feed::new(&scene).await;
    let sinks = format!("{{ copy: {}, out: {} }}", mirror(&scene), scene.stream_sink("out", "json"));
    let pipeline = scene.pipeline("main", &feed.source("collection: things"), "[]", &sinks);
    let mut host = scene.ready_host(&[pipeline]).await;
    let id = ObjectId::new();
    let bson = doc! { "_id": id, "long": 1_i64, "short": 1 }.to_vec().unwrap();
    let scalar = r#"[1, {"$numberLong": "2"}]"#;
    feed.publish([
        message(r#"{"_id": "a", "at": {"$date": "2026-01-31T12:00:00Z"}}"#, &[("shop", "north"), ("Area", "1")]),
        message(bson, &[("content_type", "application/bson")]),
        message(scalar, &[("content-type", "application/json; charset=utf-8")]),
        message("no JSON {", &[]),
        message(vec![0xff, 0x00], &[]),
        message("", &[("only", "attributes")]),
        message(r#"{"_id": "text"}"#, &[("content_type", "text/plain")]),
    ])
    .await;
    scene.wait_length("out", 7).await;
    eventually(PATIENCE, "seven documents", async || {
        let count = scene.collection("things").count_documents(doc! {}).await.unwrap();
        if count == 7 { Ok(()) } else { Err(count) }
    })
    .await;
    assert_eq!(host.stop().await, Some(0));
    feed.assert_quiet(Duration::from_millis(500)).await;

    let documents = all(&scene.collection("things")).await;
    let find = |holds: &dyn Fn(&Document) -> bool| documents.iter().find(|document| holds(document)).unwrap();
    let first = find(&|document| document.get_str("_id").is_ok_and(|id| id == "a"));
    assert!(first.get_datetime("at").is_ok(), "{first:?}");
    let second = find(&|document| document.get("long").is_some());
    assert_eq!(*second, doc! { "_id": id, "long": 1_i64, "short": 1 });
    let bodies: Vec<&Bson> = documents.iter().filter_map(|document| document.get("data")).collect();
    assert_eq!(bodies.len(), 4, "{documents:?}");
    for body in [Bson::Array(vec![Bson::Int32(1), Bson::Int64(2)]), "no JSON {".into(), r#"{"_id": "text"}"#.into()] {
        assert!(bodies.contains(&&body), "{body:?} in {bodies:?}");
    }
    assert!(bodies.iter().any(|body| matches!(body, Bson::Binary(binary) if binary.bytes == [0xff, 0x00])));
    find(&|document| document.len() == 1);

    let entries = scene.entries("out").await;
    let first = entries.iter().find(|entry| entry.json("key")["_id"] == "a").unwrap();
    assert_eq!((first.text("h.shop"), first.text("h.Area"), first.text("op")), ("north", "1", "insert"));
    assert_eq!(first.text("ns"), "pubsub.things");
    assert!(entries.iter().all(|entry| entry.id().starts_with(&format!("{}/", feed.name))), "{entries:?}");
}

#[tokio::test]
async fn two_tidegates_are_chained_through_a_topic_without_loss() {
    let scene = Scene::shared().await;
    let (id, target) = (ObjectId::new(), format!("{}-copy", scene.names.database()));
    for format in ["bson", "extjson"] {
        let feed = Feed { name: format!("t-{}-{format}", scene.names.prefix()), pubsub: PubSub::shared().await };
        feed.pubsub.topic(&feed.name).await;
        feed.pubsub.subscription(&feed.name, &feed.name).await;
        let things = scene.collection(format);
        let from = format!(
            r#"{{ mongodb: {{ uri: "{}", database: "{}", collections: [{format}] }} }}"#,
            scene.mongodb_uri,
            scene.names.database()
        );
        let there = format!(
            r#"{{ out: {{ pubsub: {{ project: {PROJECT}, endpoint: "{}", topic: "{}", format: {format} }} }} }}"#,
            feed.pubsub.endpoint(),
            feed.name
        );
        let copy = format!(
            r#"{{ out: {{ mongodb: {{ uri: "{}", database: "{target}" }} }}, log: {} }}"#,
            scene.mongodb_uri,
            scene.stream_sink(format, "bson")
        );
        let direct = format!("{{ out: {} }}", scene.stream_sink(&format!("direct-{format}"), "bson"));
        // Names of their own, so that each pair begins anew.
        let pipelines = [
            scene.pipeline(&format!("there-{format}"), &from, "[]", &there),
            scene.pipeline(&format!("direct-{format}"), &from, "[]", &direct),
            scene.pipeline(&format!("back-{format}"), &feed.source("messages: tidegate"), "[]", &copy),
        ];
        let mut host = scene.ready_host(&pipelines).await;
        things.insert_one(every_type(id)).await.unwrap();
        things.insert_one(doc! { "_id": 1, "n": Bson::Int64(1) }).await.unwrap();
        things.insert_one(doc! { "_id": 2 }).await.unwrap();
        things.update_one(doc! { "_id": 1 }, doc! { "$set": { "changed": 1.5 } }).await.unwrap();
        // An update is looked up: both must have done so before the document is another.
        scene.wait_length(format, 4).await;
        scene.wait_length(&format!("direct-{format}"), 4).await;
        things.replace_one(doc! { "_id": 1 }, doc! { "replaced": true }).await.unwrap();
        things.delete_one(doc! { "_id": 2 }).await.unwrap();
        // A key that no attribute takes.
        let long = "x".repeat(1100);
        things.insert_one(doc! { "_id": &long, "n": 1 }).await.unwrap();
        things.delete_one(doc! { "_id": &long }).await.unwrap();
        let copied = scene.database.client().database(&target).collection::<Document>(format);
        let source: Vec<Vec<u8>> = all(&things).await.iter().map(|document| document.to_vec().unwrap()).collect();
        // The same changes as over no topic at all: ids, operations, names, keys, documents. Keys have their own order alone.
        let sorted = |mut entries: Vec<Entry>| {
            entries.sort_by(|a, b| a.id().cmp(b.id()));
            entries
        };
        let through = sorted(scene.wait_entries(format, 8).await);
        assert_eq!(through, sorted(scene.wait_entries(&format!("direct-{format}"), 8).await));
        eventually(PATIENCE, "the copy is the source, byte by byte", async || {
            let copy: Vec<Vec<u8>> = all(&copied).await.iter().map(|document| document.to_vec().unwrap()).collect();
            if copy == source { Ok(()) } else { Err(format!("{} of {}", copy.len(), source.len())) }
        })
        .await;
        assert_eq!(host.stop().await, Some(0));
    }
}

#[tokio::test]
async fn a_message_that_is_no_change_goes_to_the_dead_letter_and_does_not_come_again() {
    let scene = Scene::shared().await;
    let feed = Feed::new(&scene).await;
    let sinks = format!("{{ out: {} }}", scene.stream_sink("out", "json"));
    let mut host = scene.ready_host(&[scene.pipeline("main", &feed.source("format: json"), "[]", &sinks)]).await;
    let ours = [("change_id", "c-1"), ("operation", "explode"), ("namespace", "d.c")];
    feed.publish([
        message("{", &[("shop", "north")]),
        message(vec![0xff], &[]),
        message("{}", &ours),
        message(r#"{"n": 1}"#, &[]),
    ])
    .await;
    let letters = scene.wait_dead_letters(3).await;
    scene.wait_length("out", 1).await;
    assert_eq!(host.stop().await, Some(0));
    feed.assert_quiet(Duration::from_secs(1)).await;
    let find = |part: &str| {
        let of = |letter: &&serde_json::Value| letter["reason"].as_str().is_some_and(|reason| reason.contains(part));
        letters.iter().find(of).unwrap_or_else(|| panic!("no letter with {part}: {letters:?}"))
    };
    let first = find("is no JSON object");
    let raw = first["raw"].as_str().unwrap();
    assert!(first["reason"].as_str().unwrap().contains(&format!("subscriptions/{}", feed.name)), "{first}");
    assert!(
        letters.iter().any(|letter| letter["raw"].as_str().unwrap().contains(r#""attributes":{"shop":"north"}"#)),
        "{raw}"
    );
    assert!(
        letters.iter().any(|letter| letter["raw"].as_str().unwrap().contains(r#"{"$base64":"/w=="}"#)),
        "{letters:?}"
    );
    find("`explode`, which is no operation");
}

#[tokio::test]
async fn a_subscription_that_is_missing_or_unfit_stops_the_pipeline_with_the_way_out() {
    let scene = Scene::shared().await;
    let feed = Feed::without(&scene).await;
    let sinks = "{ out: stdout }";
    let mut host = scene.host(&[scene.pipeline("main", &feed.source(""), "[]", sinks)]);
    let stopped = host.wait_event("pipeline_stopped").await;
    assert_eq!(field(&stopped, "code").unwrap(), "TG1020");
    let create = format!("gcloud pubsub subscriptions create {} --project={PROJECT}", feed.name);
    assert!(stopped.to_string().contains(&create), "{stopped}");
    host.kill();

    feed.pubsub.topic(&feed.name).await;
    let push = PushConfig::new().set_push_endpoint("http://127.0.0.1:9/");
    feed.pubsub.subscription_with(&feed.name, &feed.name, |subscription| subscription.set_push_config(push)).await;
    let mut host = scene.host(&[scene.pipeline("main", &feed.source(""), "[]", sinks)]);
    let stopped = host.wait_event("pipeline_stopped").await;
    assert_eq!(field(&stopped, "code").unwrap(), "TG1021");
    host.kill();

    // One that goes away while it is read.
    feed.pubsub.remove_subscription(&feed.name).await;
    feed.pubsub.subscription_with(&feed.name, &feed.name, |subscription| subscription).await;
    let mirror = format!("{{ out: {} }}", mirror(&scene));
    let mut host = scene.ready_host(&[scene.pipeline("main", &feed.source(""), "[]", &mirror)]).await;
    let told = host.wait_event("subscription_unordered").await;
    assert!(told.to_string().contains("--enable-message-ordering"), "{told}");
    feed.pubsub.remove_subscription(&feed.name).await;
    let stopped = host.wait_event("pipeline_stopped").await;
    assert_eq!(field(&stopped, "code").unwrap(), "TG1020");
    host.kill();
}

#[tokio::test]
async fn a_pubsub_that_is_gone_for_a_while_is_told_and_loses_nothing() {
    let scene = Scene::shared().await;
    let feed = Feed::new(&scene).await;
    let endpoint = feed.pubsub.endpoint();
    let port = endpoint.rsplit(':').next().unwrap().parse().unwrap();
    let proxy = Proxy::start(port).await;
    let source = feed.source_at(&format!("http://127.0.0.1:{}", proxy.port()), "timeout: 2s, ack_deadline: 10s");
    let sinks = format!("{{ out: {} }}", scene.stream_sink("out", "json"));
    let mut host = scene.ready_host(&[scene.pipeline("main", &source, "[]", &sinks)]).await;
    feed.publish_numbered(0..20, 4).await;
    scene.wait_length("out", 20).await;
    proxy.set(Network::Cut);
    let told = host.wait_event("source_retry").await;
    assert_eq!(field(&told, "code").unwrap(), "TG1001", "{told}");
    feed.publish_numbered(20..40, 4).await;
    proxy.heal().await;
    eventually(PATIENCE, "every message", async || {
        let seen = seen(&scene.entries("out").await);
        if seen.len() == 40 { Ok(()) } else { Err(seen.len()) }
    })
    .await;
    assert_eq!(host.stop().await, Some(0));
}

#[tokio::test]
async fn a_dry_run_shows_messages_and_acknowledges_none() {
    let scene = Scene::shared().await;
    let feed = Feed::new(&scene).await;
    feed.publish_numbered(0..5, 1).await;
    let pipelines = [scene.pipeline("main", &feed.source("ack_deadline: 10s"), "[]", "{ out: stdout }")];
    let mut host = scene.host_with(LOG, &pipelines, &["--dry-run", "--exit-when-idle", "2s"]);
    assert_eq!(host.wait_exit(PATIENCE).await, Some(0));
    assert_eq!(host.stdout().matches(r#""n":"#).count(), 5, "{}", host.stdout());
    assert_eq!(feed.pubsub.drain(&feed.name, Duration::from_secs(25)).await.len(), 5);
}
