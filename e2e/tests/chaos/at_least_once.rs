//! Into Redis with the position in a file: nothing is lost and no document goes back; what was sent again is counted, not
//! condemned.

use std::time::Duration;

use mongodb::bson::doc;
use tidegate_tests::chaos::{Fault, Mode, Scenario, Target};
use tidegate_tests::servers::{read_stream, shared};
use tidegate_tests::{Host, TestNames, eventually};

use crate::overcome;

#[tokio::test]
async fn fifteen_kills() {
    overcome(Target::Redis, Mode::AtLeastOnce, &[Fault::Kill; 15]).await;
}

/// What is written while nobody looks must be seen, from the moment tidegate said it is ready.
#[tokio::test]
async fn a_kill_before_anything_arrived() {
    let shared = shared().await;
    let names = TestNames::new();
    let dir = tempfile::tempdir().unwrap();
    let config = format!(
        r#"admin: {{ listen: 127.0.0.1:0 }}
log: {{ level: info, format: json }}
pipelines:
  p:
    source: {{ mongodb: {{ uri: "{}", database: "{}" }} }}
    sinks: {{ out: {{ redis: {{ url: "{}", stream: "{}" }} }} }}
"#,
        shared.mongodb_uri,
        names.database(),
        shared.redis_url,
        names.key("out")
    );
    let mut host = Host::start_in(dir.path(), &config);
    host.wait_ready().await;
    host.kill();
    let items = shared.mongodb().await.database(names.database()).collection("items");
    items.insert_many((0..10).map(|n| doc! { "_id": n })).await.unwrap();
    let mut host = Host::start_in(dir.path(), &config);
    let mut redis = shared.redis().await;
    eventually(Duration::from_secs(30), "what was written while it was down", async || {
        let found = read_stream(&mut redis, &names.key("out")).await.len();
        if found == 10 { Ok(()) } else { Err(found) }
    })
    .await;
    assert_eq!(host.stop().await, Some(0));
}

/// The data goes on without a checkpoint; a crash in such a time only sends more again.
#[tokio::test]
async fn disk_full() {
    overcome(Target::Redis, Mode::AtLeastOnce, &[Fault::DiskFull, Fault::Kill, Fault::DiskFull]).await;
}

/// That the checker sees what it is there to see: with the position in a file, nobody knows that Redis lost confirmed data.
#[tokio::test]
async fn data_that_redis_loses_is_missed() {
    let report = Scenario::of(Target::Redis, Mode::AtLeastOnce, &[Fault::RedisTailLost]).run(|_, _| {}).await;
    assert!(!report.verdict.gaps.is_empty() && !report.is_good(), "{report:#?}");
    assert!(report.verdict.steps_back.is_empty(), "{report:#?}");
}
