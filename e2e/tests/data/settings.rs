//! Settings from the environment, and credentials as keys of their own. A name begins with the row of parity it proves.

use mongodb::bson::doc;
use tidegate_tests::servers::{Mongo, MongoOptions, Redis, RedisOptions};
use tidegate_tests::{Cli, Host, HostOptions, eventually};

use crate::scene::{PATIENCE, Scene, all, config};

const EXAMPLE: &str = include_str!("../../../examples/redis-to-mongo/mongo.yaml");

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// What the file says leads nowhere; each of it is set by a variable, and a second pipeline is made of variables alone.
#[tokio::test]
async fn b6_every_setting_comes_from_the_environment_and_wins_over_the_file() {
    let scene = Scene::shared().await;
    let (database, stream) = (scene.names.database().to_owned(), scene.names.key("orders"));
    let pipeline = r#"  to-mongo:
    source: { redis: { url: "redis://nowhere.invalid", streams: [none], start: now, discover_every: 100ms } }
    sinks: { out: { mongodb: { uri: "${NOT_SET}", database: wrong, mode: append } } }"#;
    let text = config("log: { level: error, format: pretty }", &[pipeline.to_owned()]);
    let sink = format!(r#"{{redis: {{url: "{}", stream: "{}"}}}}"#, scene.redis_url, scene.names.key("copy"));
    let env = pairs(&[
        ("TIDEGATE__LOG__LEVEL", "info"),
        ("TIDEGATE__log__format", "json"),
        ("TIDEGATE__PIPELINES__TO_MONGO__SOURCE__REDIS__URL", &scene.redis_url),
        ("TIDEGATE__PIPELINES__TO_MONGO__SOURCE__REDIS__STREAMS__0", &stream),
        ("TIDEGATE__PIPELINES__TO_MONGO__SOURCE__REDIS__START", "oldest"),
        ("TIDEGATE__PIPELINES__TO_MONGO__SOURCE__REDIS__DATABASE", "shop"),
        ("TIDEGATE__PIPELINES__TO_MONGO__SOURCE__REDIS__COLLECTION", "orders"),
        ("TIDEGATE__PIPELINES__TO_MONGO__SOURCE__REDIS__JSON_FIELDS", "[n]"),
        ("TIDEGATE__PIPELINES__TO_MONGO__SINKS__OUT__MONGODB__URI", &scene.mongodb_uri),
        ("TIDEGATE__PIPELINES__TO_MONGO__SINKS__OUT__MONGODB__DATABASE", &database),
        ("TIDEGATE__PIPELINES__TO_MONGO__SINKS__OUT__MONGODB__MODE", "mirror"),
        ("TIDEGATE__PIPELINES__BACK__SOURCE__MONGODB__URI", &scene.mongodb_uri),
        ("TIDEGATE__PIPELINES__BACK__SOURCE__MONGODB__DATABASE", &database),
        ("TIDEGATE__PIPELINES__BACK__SINKS__OUT", &sink),
    ]);
    let options = HostOptions { dir: Some(scene.dir.path().to_owned()), env: env.clone(), ..HostOptions::default() };
    let mut host = Host::start_with(&text, options);
    host.wait_ready().await;
    let mut redis = scene.redis().await;
    let id: String = redis::cmd("XADD").arg(&stream).arg("*").arg("n").arg(7).query_async(&mut redis).await.unwrap();
    let copied = scene.wait_entries("copy", 1).await;
    assert_eq!(copied[0].doc(), serde_json::json!({ "_id": id, "n": 7 }));
    assert_eq!(all(&scene.collection("orders")).await, [doc! { "_id": id, "n": 7 }]);
    assert_eq!(host.stop().await, Some(0));

    // A name that is no key is told with its variable, and its value is not.
    let file = scene.dir.path().join("tidegate.yaml");
    for (name, says) in [
        ("TIDEGATE__PIPELINES__TO_MONGO__SOURCE__REDIS__STREEMS", "did you mean `streams`"),
        ("TIDEGATE__PIPELINES__TO_MONGO__LANES", "takes a whole number"),
    ] {
        let mut env = env.clone();
        env.extend(pairs(&[(name, "hunter2")]));
        let checked = Cli::run_with(scene.dir.path(), &["check", file.to_str().unwrap()], b"", &env, PATIENCE).await;
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert_eq!(checked.status.code(), Some(2), "{said}");
        assert!(said.contains(says) && said.contains(&format!("the environment variable {name}")), "{said}");
        assert!(!said.contains("hunter2") && !said.contains("NOT_SET"), "{said}");
    }
}

/// Host, port, user and password each alone, on servers that ask for them, in each place that connects: there and back.
#[tokio::test]
async fn b7_user_password_host_and_port_are_keys_of_their_own() {
    const PASSWORD: &str = "p@ss:w/rd?#%[]&";
    let (mongo, redis) = tokio::join!(Mongo::start(MongoOptions::with_auth()), Redis::start(RedisOptions::default()));
    let mut scene = Scene::on(mongo.uri(), &redis.url()).await;
    let roles = ["readWriteAnyDatabase", "readAnyDatabase", "clusterMonitor"];
    let create = doc! { "createUser": "tide@gate", "pwd": PASSWORD, "roles": roles.to_vec() };
    mongo.client().await.database("admin").run_command(create).await.unwrap();
    let shop = doc! { "createUser": "shop", "pwd": PASSWORD, "roles": ["readWrite"] };
    scene.database.run_command(shop).await.unwrap();
    let mut admin = redis.connection().await;
    for rule in [&["worker", "on", &format!(">{PASSWORD}"), "~*", "&*", "+@all"][..], &["default", "off"]] {
        redis::cmd("ACL").arg("SETUSER").arg(rule).exec_async(&mut admin).await.unwrap();
    }
    scene.redis_url = "redis://is.not.used".to_owned();
    let mongo_keys = r#"host: 127.0.0.1, port: "${MONGO_PORT}", user: "${MONGO_USER}", password: "${MONGO_PASSWORD}""#;
    let redis_keys =
        r#"host: "${REDIS_HOST}", port: "${REDIS_PORT}", user: "${REDIS_USER}", password: "${REDIS_PASSWORD}""#;
    // A user of another database than `admin` is named beside a connection string that says so.
    let beside = format!(
        r#"uri: "mongodb://127.0.0.1:${{MONGO_PORT}}/?authSource={}", user: shop, password: "${{MONGO_PASSWORD}}""#,
        scene.names.database()
    );
    let database = scene.names.database();
    let there = format!(
        "  there:
    source: {{ redis: {{ {redis_keys}, streams: [in], discover_every: 100ms, collection: orders, json_fields: [n] }} }}
    sinks: {{ out: {{ mongodb: {{ {beside}, database: \"{database}\" }} }} }}
    dead_letter: {{ redis: {{ url: \"redis://127.0.0.1:${{REDIS_PORT}}\", user: worker, password: \"${{REDIS_PASSWORD}}\", stream: dead }} }}
    checkpoint: {{ mongodb: {{ {mongo_keys} }} }}"
    );
    let back = format!(
        "  back:
    source: {{ mongodb: {{ {mongo_keys}, database: \"{database}\" }} }}
    sinks: {{ out: {{ redis: {{ {redis_keys}, stream: out }} }} }}
    dead_letter: {{ mongodb: {{ {mongo_keys}, database: letters, collection: dead }} }}
    checkpoint: {{ redis: {{ {redis_keys} }} }}"
    );
    let text = config("log: { level: debug, format: json }", &[there, back]);
    let (mongo_port, redis_port) = (mongo.ports()[0].to_string(), redis.port().to_string());
    let env = pairs(&[
        ("MONGO_PORT", &mongo_port),
        ("MONGO_USER", "tide@gate"),
        ("MONGO_PASSWORD", PASSWORD),
        ("REDIS_HOST", "127.0.0.1"),
        ("REDIS_PORT", &redis_port),
        ("REDIS_USER", "worker"),
        ("REDIS_PASSWORD", PASSWORD),
    ]);
    let start = |more: &[(&str, &str)]| {
        let mut env = env.clone();
        env.extend(pairs(more));
        Host::start_with(&text, HostOptions { dir: Some(scene.dir.path().to_owned()), env, ..HostOptions::default() })
    };
    let mut host = start(&[]);
    host.wait_ready().await;
    for n in ["7", "{no json"] {
        redis::cmd("XADD").arg("in").arg("*").arg("n").arg(n).exec_async(&mut admin).await.unwrap();
    }
    for (key, count) in [("out", 1), ("dead", 1)] {
        eventually(PATIENCE, &format!("{count} entries in {key}"), async || {
            let length: usize = redis::cmd("XLEN").arg(key).query_async(&mut admin.clone()).await.unwrap();
            if length == count { Ok(()) } else { Err(length) }
        })
        .await;
    }
    assert_eq!(scene.collection("orders").count_documents(doc! { "n": 7 }).await.unwrap(), 1);
    assert_eq!(host.stop().await, Some(0));
    let kept: bool = redis::cmd("EXISTS").arg("tidegate:checkpoint:back").query_async(&mut admin).await.unwrap();
    let checkpoints = mongo.client().await.database("tidegate").collection::<mongodb::bson::Document>("checkpoints");
    assert!(kept && checkpoints.count_documents(doc! {}).await.unwrap() == 1, "both positions are kept");
    let told = host.stderr();
    assert!(!told.contains(PASSWORD) && !told.contains("p%40ss"), "{told}");

    // Each alone: what one variable gets wrong stops both pipelines by name, and no password is told.
    for (name, value, code) in [("MONGO_PASSWORD", "hunter2", "TG0302"), ("REDIS_USER", "nobody", "TG0402")] {
        let mut host = start(&[(name, value)]);
        let line = host.wait_log(PATIENCE, code, |line| line.to_string().contains(code)).await.to_string();
        host.kill();
        let told = host.stderr();
        assert!(!told.contains("hunter2") && !told.contains(PASSWORD) && !told.contains("p%40ss"), "{line}");
    }
}

/// The configuration of `examples/redis-to-mongo`, as it stands there, with servers and credentials from its variables.
#[tokio::test]
async fn b7_the_example_takes_servers_and_credentials_from_single_variables() {
    let (mongo, redis) = tokio::join!(Mongo::start(MongoOptions::with_auth()), Redis::start(RedisOptions::default()));
    let client = mongo.client().await;
    let create =
        doc! { "createUser": "tidegate", "pwd": "p@ss/word", "roles": [{ "role": "readWrite", "db": "shop" }] };
    client.database("admin").run_command(create).await.unwrap();
    let mut admin = redis.connection().await;
    // As the README says, and no more.
    let who = [
        "reader",
        "on",
        ">s:cret",
        "~events:*",
        "~tags:*",
        "&__keyspace@0__:tags:*",
        "+ping",
        "+scan",
        "+xread",
        "+xinfo",
    ];
    let keys = ["+type", "+memory|usage", "+smembers", "+time", "+pttl", "+pexpiretime", "+config|get", "+psubscribe"];
    let rules = [&who[..], &keys[..]].concat();
    redis::cmd("ACL").arg("SETUSER").arg(&rules).exec_async(&mut admin).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (mongo_port, redis_port) = (mongo.ports()[0].to_string(), redis.port().to_string());
    let env = pairs(&[
        ("REDIS_PORT", &redis_port),
        ("REDIS_USER", "reader"),
        ("REDIS_PASSWORD", "s:cret"),
        ("MONGO_PORT", &mongo_port),
        ("MONGO_USER", "tidegate"),
        ("MONGO_PASSWORD", "p@ss/word"),
        ("MONGO_DATABASE", "shop"),
        ("SYNC_INTERVAL", "100ms"),
        ("ADMIN_PORT", "0"),
    ]);
    let start = || {
        let options = HostOptions { dir: Some(dir.path().to_owned()), env: env.clone(), ..HostOptions::default() };
        Host::start_with(EXAMPLE, options)
    };
    let add = async |stream: &str, n: i32| -> String {
        redis::cmd("XADD").arg(stream).arg("*").arg("n").arg(n).query_async(&mut admin.clone()).await.unwrap()
    };
    let wait = async |name: &str, expected: Vec<mongodb::bson::Document>| {
        eventually(PATIENCE, name, async || {
            let found = all(&client.database("shop").collection(name)).await;
            if found == expected { Ok(()) } else { Err(found) }
        })
        .await;
    };
    let first = add("events:orders", 1).await;
    let mut host = start();
    wait("orders", vec![doc! { "_id": &first, "n": "1" }]).await;
    let stock = add("events:stock", 7).await;
    wait("stock", vec![doc! { "_id": &stock, "n": "7" }]).await;
    let set = |members: &[&str]| vec![doc! { "_id": "tags:7", "type": "set", "value": members.to_vec() }];
    redis::cmd("SADD").arg("tags:7").arg(&["red", "green"]).exec_async(&mut admin.clone()).await.unwrap();
    wait("tags", set(&["green", "red"])).await;
    host.kill();
    redis::cmd("SREM").arg("tags:7").arg("red").exec_async(&mut admin.clone()).await.unwrap();
    let second = add("events:orders", 2).await;
    let mut host = start();
    wait("orders", vec![doc! { "_id": &first, "n": "1" }, doc! { "_id": &second, "n": "2" }]).await;
    wait("tags", set(&["green"])).await;
    assert_eq!(host.stop().await, Some(0));
}
