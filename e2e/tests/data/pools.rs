//! Connections are given back: what a pipeline opened is closed when it ends, while the host goes on. A name begins with the row of parity it proves.

use mongodb::Client;
use mongodb::bson::{Document, doc};
use redis::aio::MultiplexedConnection;
use tidegate_tests::servers::{Mongo, MongoOptions, Redis, RedisOptions};
use tidegate_tests::{Host, Signal, eventually};

use crate::scene::{PATIENCE, Scene, config};

/// Connections that the servers have now, of anybody.
async fn connections(mongo: &Client, redis: &mut MultiplexedConnection) -> (i32, usize) {
    let status: Document = mongo.database("admin").run_command(doc! { "serverStatus": 1 }).await.unwrap();
    let list: String = redis::cmd("CLIENT").arg("LIST").query_async(redis).await.unwrap();
    (status.get_document("connections").unwrap().get_i32("current").unwrap(), list.lines().count())
}

async fn reload(host: &mut Host, text: &str, count: usize) {
    std::fs::write(host.dir().join("tidegate.yaml"), text).unwrap();
    host.signal(Signal::HUP);
    eventually(PATIENCE, "the reload", async || {
        let status = host.status().await;
        let running = status["pipelines"].as_object().unwrap().values().filter(|one| one["state"] == "running").count();
        if running == count { Ok(()) } else { Err(status) }
    })
    .await;
}

#[tokio::test]
async fn d9_connections_of_a_pipeline_that_ends_are_closed_and_no_round_leaves_any() {
    let (mongo, redis) = tokio::join!(Mongo::start(MongoOptions::default()), Redis::start(RedisOptions::default()));
    let scene = Scene::on(mongo.uri(), &redis.url()).await;
    let (client, mut admin) = (mongo.client().await, redis.connection().await);
    let one = |name: &str| {
        scene.pipeline(name, &scene.source(), "[]", &format!("{{ out: {} }}", scene.stream_sink(name, "json")))
    };
    let settings = "log: { level: info, format: json }";
    let (alone, both) = (config(settings, &[one("first")]), config(settings, &[one("first"), one("second")]));
    let mut host = scene.ready_host(&[one("first")]).await;
    let before = connections(&client, &mut admin).await;
    for round in 0..4 {
        reload(&mut host, &both, 2).await;
        let (in_mongo, in_redis) = connections(&client, &mut admin).await;
        assert!(in_mongo > before.0 && in_redis > before.1, "round {round}: {in_mongo}, {in_redis} after {before:?}");
        reload(&mut host, &alone, 1).await;
        eventually(PATIENCE, &format!("the connections of round {round} are closed"), async || {
            let now = connections(&client, &mut admin).await;
            if now.0 <= before.0 && now.1 <= before.1 { Ok(()) } else { Err((now, before)) }
        })
        .await;
    }
    assert_eq!(host.stop().await, Some(0));
}
