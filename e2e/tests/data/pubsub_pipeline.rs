//! What people who run pipelines to Pub/Sub today must find again: the example as it stands, and streams that fail each alone.

use bson::doc;
use mongodb::bson::Document;
use serde_json::Value;
use tidegate_tests::servers::PROJECT;
use tidegate_tests::{Host, HostOptions, Network, Proxy, eventually, plugin};

use crate::pubsub::{Cloud, attribute, body};
use crate::scene::{PATIENCE, Scene, inventory, numbered, transaction};

const EXAMPLE: &str = include_str!("../../../examples/mongo-to-pubsub/pubsub.yaml");

fn example(scene: &Scene, cloud: &Cloud) -> Host {
    let plugins = plugin("inventory-router").parent().unwrap().display().to_string();
    let env = [
        ("MONGODB_URI", &*scene.mongodb_uri),
        ("DATABASE", scene.names.database()),
        ("GOOGLE_CLOUD_PROJECT", PROJECT),
        ("PUBSUB_EMULATOR_HOST", cloud.endpoint.trim_start_matches("http://")),
        ("TOPIC", &cloud.name("stock")),
        ("PLUGIN_DIR", &plugins),
        ("BATCH_SIZE", "7"),
        ("LOG_LEVEL", "debug"),
        ("ADMIN_PORT", "0"),
    ];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    Host::start_with(EXAMPLE, HostOptions { dir: Some(scene.dir.path().to_owned()), env, ..HostOptions::default() })
}

/// D1: variables and defaults. D4: the status. D5: batches. D7: validated and enriched.
#[tokio::test]
async fn d1_d4_d5_d7_the_example_does_what_its_readme_says() {
    let scene = Scene::shared().await;
    let cloud = Cloud::shared(&scene).await;
    cloud.make("stock").await;
    // What is there already comes first.
    scene.collection("inventory").insert_many((0..10).map(|n| inventory(n, "WH-1"))).await.unwrap();
    let mut host = example(&scene, &cloud);
    host.wait_ready().await;
    let copied = cloud.changes("stock", 10).await;
    assert!(copied.iter().all(|message| attribute(message, "operation") == "read"));
    scene.collection("transactions").insert_one(transaction(1, "WH-1")).await.unwrap();
    let bad: Document = doc! { "_id": 99, "product_id": "P-2", "quantity": -1 };
    scene.collection("inventory").insert_one(bad).await.unwrap();
    scene.collection("inventory").delete_one(doc! { "_id": 3 }).await.unwrap();
    let found = cloud.changes("stock", 2).await;
    let of = |operation: &str| found.iter().find(|message| attribute(message, "operation") == operation).unwrap();
    assert_eq!((attribute(of("insert"), "schema_version"), &body(of("insert"))["currency"]), ("v3", &"USD".into()));
    assert_eq!(&*of("delete").ordering_key, "3");
    let letters: Vec<Value> = eventually(PATIENCE, "a dead letter", async || {
        let letters = scene.json_lines(".tidegate/stock.dead.jsonl");
        if letters.is_empty() { Err("none") } else { Ok(letters) }
    })
    .await;
    let violations = letters[0]["violations"].as_array().map_or(0, Vec::len);
    assert!(violations >= 2, "all that is wrong with it: {}", letters[0]);
    let status = host.status().await;
    let sink = &status["pipelines"]["stock"]["sinks"][0];
    assert_eq!(sink["state"], "connected", "{status}");
    assert_eq!(host.stop().await, Some(0));
    // From where it was, and nothing of before.
    let mut host = example(&scene, &cloud);
    host.wait_ready().await;
    scene.collection("inventory").insert_one(inventory(50, "WH-1")).await.unwrap();
    let found = cloud.changes("stock", 1).await;
    assert_eq!(body(&found[0])["_id"], 50);
    assert_eq!(host.stop().await, Some(0));
}

#[tokio::test]
async fn d3_streams_fail_and_recover_each_alone_and_stop_after_the_retries_they_may() {
    let scene = Scene::shared().await;
    let cloud = Cloud::shared(&scene).await;
    let proxy = Proxy::start(cloud.port()).await;
    let through = Cloud::at(&format!("127.0.0.1:{}", proxy.port()), &scene);
    let topics = ["steady", "recovers", "gives-up"];
    for topic in topics {
        cloud.make(topic).await;
    }
    let line = |name: &str, cloud: &Cloud, retry: &str| {
        format!(
            "  {name}: {{ source: {}, sinks: {{ out: {} }}, retry: {{ first: 10ms, ceiling: 200ms{retry} }} }}",
            scene.source(),
            cloud.sink(name, ", timeout: 2s")
        )
    };
    let lines =
        [line("steady", &cloud, ""), line("recovers", &through, ""), line("gives-up", &through, ", attempts: 4")];
    let mut host = scene.ready_host(&lines).await;
    scene.collection("things").insert_many(numbered(0..5)).await.unwrap();
    for topic in topics {
        cloud.changes(topic, 5).await;
    }
    proxy.set(Network::Cut);
    scene.collection("things").insert_many(numbered(5..10)).await.unwrap();
    // Counted when the service has answered for it.
    let published = async |host: &mut Host, name: &str| {
        eventually(PATIENCE, &format!("all of {name} is published"), async || {
            let count = host.metric("tidegate_events_out_total", &[("pipeline", name)]).await.unwrap_or_default();
            if count >= 10.0 { Ok(()) } else { Err(count) }
        })
        .await;
    };
    published(&mut host, "steady").await;
    let stopped = host.wait_event("pipeline_stopped").await;
    assert_eq!((&stopped["pipeline"], &stopped["code"]), (&"gives-up".into(), &"TG1001".into()), "{stopped}");
    assert!(stopped["message"].as_str().unwrap().contains("it failed 4 times in a row"), "{stopped}");
    assert_eq!(host.status().await["pipelines"]["recovers"]["sinks"][0]["state"], "retrying");
    proxy.heal().await;
    published(&mut host, "recovers").await;
    assert_eq!(host.status().await["pipelines"]["steady"]["sinks"][0]["state"], "connected");
    // What was confirmed is remembered, and all is let go in time.
    host.stop().await;
}
