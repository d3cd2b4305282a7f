//! The Redis sink over TLS as a user of its own, and with a replica that must have what was written.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::Path;

use mongodb::bson::doc;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;
use tidegate_tests::eventually;
use tidegate_tests::servers::{Redis, RedisOptions};

use crate::scene::{PATIENCE, Scene, numbered, wait_not_ready};

/// An authority, a certificate for 127.0.0.1 and one for a client, as files: `ca.pem`, `server.pem`, `server.key`, `client.pem`, `client.key`.
fn certificates(folder: &Path) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "tidegate test authority");
    let key = KeyPair::generate().unwrap();
    fs::write(folder.join("ca.pem"), authority.self_signed(&key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(authority, key);
    for (name, hosts) in [("server", vec!["127.0.0.1".to_owned()]), ("client", vec![])] {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(hosts).unwrap().signed_by(&key, &issuer).unwrap();
        fs::write(folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
        fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

/// The field `n` of each hash of this test, by key.
async fn hashes(redis: &mut MultiplexedConnection) -> BTreeMap<String, i32> {
    let keys: Vec<String> = redis.keys("app:*").await.unwrap();
    let mut found = BTreeMap::new();
    for key in keys {
        // A replica may lose it in between.
        if let Some(n) = redis.hget(&key, "n").await.unwrap() {
            found.insert(key, n);
        }
    }
    found
}

fn expected(numbers: impl Iterator<Item = i32>) -> BTreeMap<String, i32> {
    numbers.map(|n| (format!("app:things:{n}"), n)).collect()
}

#[tokio::test]
async fn a_sink_writes_over_tls_as_a_user_who_may_do_what_it_needs_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let file = |name: &str| folder.path().join(name).display().to_string();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let args = [
        ("--tls-port", port.to_string()),
        ("--tls-cert-file", file("server.pem")),
        ("--tls-key-file", file("server.key")),
        ("--tls-ca-cert-file", file("ca.pem")),
        ("--tls-auth-clients", "yes".to_owned()),
    ];
    let args = args.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
    let redis = Redis::start(RedisOptions { aof: true, args, ..Default::default() }).await;
    let mut admin = redis.connection().await;
    let rights = "~app:*:* ~tidegate:pos:main:out +ping +evalsha +script|load +type +exists +hset +del +time +hget +hmget +hgetall +hdel";
    let allow = async |admin: &mut MultiplexedConnection, rights: &str| {
        let mut user = redis::cmd("ACL");
        user.arg("SETUSER").arg("tide").arg("reset").arg("on").arg(">p@ss").arg(rights.split(' ').collect::<Vec<_>>());
        let () = user.query_async(admin).await.unwrap();
    };
    allow(&mut admin, rights).await;

    let scene = Scene::shared().await;
    let pipeline = |user: &str| {
        format!(
            r#"  main: {{ source: {}, sinks: {{ out: {{ redis: {{ url: "rediss://{user}@127.0.0.1:{port}", mode: hash, key: "app:{{collection}}:{{_id}}", tls: {{ ca_file: "{}", cert_file: "{}", key_file: "{}" }} }} }} }}, checkpoint: {{ sink: {{ lease: 2s }} }} }}"#,
            scene.source(),
            file("ca.pem"),
            file("client.pem"),
            file("client.key"),
        )
    };
    let pipelines = [pipeline("tide:p%40ss")];
    let mut host = scene.ready_host(&pipelines).await;
    let things = scene.collection("things");
    things.insert_many(numbered(0..50)).await.unwrap();
    things.delete_one(doc! { "_id": 7 }).await.unwrap();
    eventually(PATIENCE, "the documents are there", async || {
        let found = hashes(&mut admin).await;
        if found == expected((0..50).filter(|n| *n != 7)) { Ok(()) } else { Err(found.len()) }
    })
    .await;
    let clients: String = redis::cmd("CLIENT").arg("LIST").query_async(&mut admin).await.unwrap();
    let ours: Vec<&str> = clients.lines().filter(|line| line.contains(" user=tide ")).collect();
    assert!(!ours.is_empty() && ours.iter().all(|line| line.contains(&format!(":{port} "))), "{clients}");

    // A right less: it stops, says which, and loses nothing.
    allow(&mut admin, &rights.replace(" +hset", "")).await;
    things.insert_many(numbered(50..60)).await.unwrap();
    assert_eq!(host.wait_exit(PATIENCE).await, Some(1));
    let log = host.stderr();
    assert!(log.contains("TG0402") && log.contains("HSET") && log.contains(rights), "{log}");
    assert!(!log.contains("p@ss") && !log.contains("p%40ss"), "{log}");
    allow(&mut admin, rights).await;
    let mut host = scene.ready_host(&pipelines).await;
    eventually(PATIENCE, "the rest is there", async || {
        let found = hashes(&mut admin).await;
        if found == expected((0..60).filter(|n| *n != 7)) { Ok(()) } else { Err(found.len()) }
    })
    .await;
    assert_eq!(host.stop().await, Some(0));
    assert!(scene.dead_letters().is_empty());
}

#[tokio::test]
async fn nothing_is_confirmed_before_a_replica_has_it() {
    for keeps in [false, true] {
        let primary = Redis::start(RedisOptions::default()).await;
        let scene = Scene::shared().await;
        let checkpoint = if keeps { ", checkpoint: { sink: { lease: 2s } }" } else { "" };
        let pipeline = format!(
            r#"  main: {{ source: {}, sinks: {{ out: {{ redis: {{ url: "{}", mode: hash, key: "app:{{collection}}:{{_id}}", wait: {{ replicas: 1, timeout: 200ms }} }} }} }}{checkpoint} }}"#,
            scene.source(),
            primary.url(),
        );
        let mut host = scene.host(&[pipeline]);
        host.wait_event("source_opened").await;
        let things = scene.collection("things");
        things.insert_many(numbered(0..50)).await.unwrap();
        let confirmed = async |host: &mut tidegate_tests::Host| {
            host.metric("tidegate_events_out_total", &[]).await.unwrap_or_default()
        };
        wait_not_ready(&mut host, "sink out", "TG0407").await;
        assert_eq!(confirmed(&mut host).await, 0.0);

        let replica_of = ["--replicaof", "127.0.0.1", &primary.port().to_string()].map(str::to_owned).to_vec();
        let mut replica = Redis::start(RedisOptions { args: replica_of, ..Default::default() }).await;
        eventually(PATIENCE, "all is confirmed", async || confirmed(&mut host).await >= 50.0).await;
        // What is confirmed is there, at that moment.
        assert_eq!(hashes(&mut replica.connection().await).await, expected(0..50));

        replica.kill();
        things.insert_many(numbered(50..80)).await.unwrap();
        wait_not_ready(&mut host, "sink out", "TG0407").await;
        assert_eq!(confirmed(&mut host).await, 50.0);
        replica.restart().await;
        eventually(PATIENCE, "the rest is confirmed", async || confirmed(&mut host).await >= 80.0).await;
        assert_eq!(hashes(&mut replica.connection().await).await, expected(0..80));
        assert_eq!(confirmed(&mut host).await, 80.0);
        assert_eq!(host.stop().await, Some(0));
    }
}

#[tokio::test]
async fn nothing_is_confirmed_before_a_replica_has_it_on_disk() {
    let start = async |aof: bool, args: &[&str]| {
        let args = args.iter().chain(&["--repl-diskless-sync-delay", "0"]).map(|arg| (*arg).to_owned()).collect();
        Redis::start(RedisOptions { aof, stack: true, args }).await
    };
    for keeps in [false, true] {
        let primary = start(true, &[]).await;
        let scene = Scene::shared().await;
        let checkpoint = if keeps { ", checkpoint: { sink: { lease: 2s } }" } else { "" };
        let pipeline = format!(
            r#"  main: {{ source: {}, sinks: {{ out: {{ redis: {{ url: "{}", mode: hash, key: "app:{{collection}}:{{_id}}", wait: {{ local: true, replicas: 1, timeout: 200ms }} }} }} }}{checkpoint} }}"#,
            scene.source(),
            primary.url(),
        );
        let mut host = scene.host(&[pipeline]);
        host.wait_event("source_opened").await;
        scene.collection("things").insert_many(numbered(0..50)).await.unwrap();
        let confirmed = async |host: &mut tidegate_tests::Host| {
            host.metric("tidegate_events_out_total", &[]).await.unwrap_or_default()
        };
        wait_not_ready(&mut host, "sink out", "TG0407").await;

        // One that has it in memory alone is not enough, however long it has it.
        let replica_of = ["--replicaof", "127.0.0.1", &primary.port().to_string()];
        let mut in_memory = start(false, &replica_of).await;
        let in_step = async || {
            let counted: i64 =
                redis::cmd("WAIT").arg(1).arg(100).query_async(&mut primary.connection().await).await.unwrap();
            counted == 1
        };
        eventually(PATIENCE, "the replica is in step", in_step).await;
        wait_not_ready(&mut host, "sink out", "TG0407").await;
        assert_eq!(confirmed(&mut host).await, 0.0);
        in_memory.kill();

        let on_disk = start(true, &replica_of).await;
        eventually(PATIENCE, "all is confirmed", async || confirmed(&mut host).await >= 50.0).await;
        assert_eq!(hashes(&mut on_disk.connection().await).await, expected(0..50));
        assert_eq!(host.stop().await, Some(0));
    }
}
