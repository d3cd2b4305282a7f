//! Google Cloud Pub/Sub as a sink, on Google's own emulator.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Mutex;

use bson::doc;
use google_cloud_pubsub::model::Message;
use serde_json::{Value, json};
use tidegate_tests::servers::{Emulator, Inbox, Kind, PROJECT, PubSub, emulator};
use tidegate_tests::{Host, Network, Proxy, eventually, field};

use crate::scene::{PATIENCE, Scene, inventory, inventory_stages, numbered, wait_not_ready};

/// An emulator, and names of this test's own on it.
pub(crate) struct Cloud {
    pub(crate) endpoint: String,
    prefix: String,
    /// Changes that were asked for before: an acknowledgement may be lost with the stream it was given to.
    seen: Mutex<HashSet<String>>,
    inboxes: Mutex<HashMap<String, Inbox>>,
}

impl Cloud {
    pub(crate) async fn shared(scene: &Scene) -> Self {
        Self::at(&emulator(Kind::PubSub).await, scene)
    }

    pub(crate) fn at(address: &str, scene: &Scene) -> Self {
        // A topic begins with a letter.
        let prefix = format!("t-{}", scene.names.prefix());
        Self { endpoint: format!("http://{address}"), prefix, seen: Mutex::default(), inboxes: Mutex::default() }
    }

    pub(crate) fn port(&self) -> u16 {
        self.endpoint.rsplit(':').next().unwrap().parse().unwrap()
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

    /// What comes from the subscription to a topic, acknowledged, from now on. One stream for the whole test: what an emulator gave to a
    /// stream that ended is not sure to come to the next one.
    async fn inbox(&self, topic: &str) -> Inbox {
        if let Some(inbox) = self.inboxes.lock().unwrap().get(topic) {
            return inbox.clone();
        }
        let inbox = PubSub::at(self.endpoint.trim_start_matches("http://")).await.inbox(&self.name(topic));
        self.inboxes.lock().unwrap().insert(topic.to_owned(), inbox.clone());
        inbox
    }

    /// Waits for messages of a topic until `enough` of them are there.
    async fn pull(&self, topic: &str, mut enough: impl FnMut(&[Message]) -> bool) -> Vec<Message> {
        let inbox = self.inbox(topic).await;
        eventually(PATIENCE, &format!("messages of {topic}"), async || {
            let mut found = inbox.lock().unwrap();
            if enough(&found) { Ok(std::mem::take(&mut *found)) } else { Err(format!("{} messages", found.len())) }
        })
        .await
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

pub(crate) fn pipeline(scene: &Scene, sinks: &str) -> String {
    scene.pipeline("main", &scene.source(), "[]", sinks)
}

pub(crate) async fn sink_metric(host: &mut Host, name: &str) -> f64 {
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
