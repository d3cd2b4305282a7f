//! `tidegate doctor` on real servers: what is there, what is missing, and the way out.

use std::process::Output;

use mongodb::bson::doc;
use redis::AsyncCommands as _;
use serde_json::Value;
use tidegate_tests::Cli;
use tidegate_tests::servers::{Mongo, MongoOptions, Redis, RedisOptions, shared};

/// Runs it on this configuration, in a folder of its own.
async fn doctor(text: &str, more: &[&str]) -> (Output, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("tide.yaml"), text).unwrap();
    let output = Cli::run_in(dir.path(), &[&["doctor", "tide.yaml"], more].concat(), b"").await;
    (output, dir)
}

/// What it prints as JSON, and its exit code.
async fn parts(text: &str) -> (Vec<Value>, Option<i32>) {
    let (output, _dir) = doctor(text, &["--json"]).await;
    let parts: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (parts.as_array().unwrap().clone(), output.status.code())
}

/// The findings of one part, as `VERDICT CODE WHAT -> HELP`.
fn findings(parts: &[Value], pipeline: &str, part: &str) -> Vec<String> {
    let found = parts.iter().find(|found| found["pipeline"] == pipeline && found["part"] == part);
    let found = found.unwrap_or_else(|| panic!("no {part} of {pipeline}: {parts:#?}"));
    let word = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let line = |finding: &Value| {
        let [verdict, code, what, help] = ["verdict", "code", "what", "help"].map(|key| word(finding, key));
        format!("{verdict} {code} {what} -> {help}")
    };
    found["findings"].as_array().unwrap().iter().map(line).collect()
}

fn has(findings: &[String], words: &[&str]) -> bool {
    findings.iter().any(|finding| words.iter().all(|word| finding.contains(word)))
}

#[tokio::test]
async fn all_is_there_and_nothing_is_written() {
    let servers = shared().await;
    let redis = Redis::start(RedisOptions { aof: true, ..Default::default() }).await;
    let (mongo, url) = (&servers.mongodb_uri, redis.url());
    let text = format!(
        "admin: {{ listen: 127.0.0.1:0 }}\npipelines:\n  main:\n    source: {{ mongodb: {{ uri: \"{mongo}\", database: doctored }} }}\n    \
         sinks:\n      cache: {{ redis: {{ url: \"{url}\", mode: hash, key: \"app:{{_id}}\" }} }}\n      \
         copy: {{ mongodb: {{ uri: \"{mongo}\", database: doctored_copy }} }}\n    checkpoint: sink\n"
    );
    let (output, dir) = doctor(&text, &[]).await;
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(told.contains("pipeline main\n") && told.contains("tide.yaml: all is there"), "{told}");
    assert!(!told.contains("FAIL") && !told.contains("warn"), "{told}");
    let keys: Vec<String> = redis.connection().await.keys("*").await.unwrap();
    assert_eq!(keys, Vec::<String>::new());
    let databases = servers.mongodb().await.list_database_names().await.unwrap();
    assert!(databases.iter().all(|name| !name.starts_with("doctored")), "{databases:?}");
    let files: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files, ["tide.yaml"]);
}

#[tokio::test]
async fn each_right_that_is_missing_is_named_with_what_gives_it() {
    let (mongo, redis) = tokio::join!(Mongo::start(MongoOptions::with_auth()), Redis::start(RedisOptions::default()));
    let admin = mongo.client().await.database("admin");
    for (user, role, database) in [("reader", "read", "shop"), ("writer", "readWrite", "copy")] {
        let role = doc! { "role": role, "db": database };
        admin.run_command(doc! { "createUser": user, "pwd": "pw", "roles": [role] }).await.unwrap();
    }
    let mut connection = redis.connection().await;
    let rights = ["SETUSER", "tide", "on", ">hunter2", "~app:*", "+ping", "+info", "+multi", "+discard", "+exec"];
    let () = redis::cmd("ACL").arg(&rights).query_async(&mut connection).await.unwrap();
    let (mongo_port, redis_port) = (mongo.ports()[0], redis.port());
    let at = |user: &str| format!("host: 127.0.0.1, port: {mongo_port}, user: {user}, password: pw");
    let source = |user: &str| format!("{{ mongodb: {{ {}, database: shop }} }}", at(user));
    let sink = |user: &str| format!("{{ mongodb: {{ {}, database: copy }} }}", at(user));
    let stream =
        format!("redis: {{ host: 127.0.0.1, port: {redis_port}, user: tide, password: hunter2, stream: \"app:s\" }}");
    let text = format!(
        "admin: {{ listen: 127.0.0.1:0 }}\npipelines:\n  good: {{ source: {}, sinks: {{ out: {} }} }}\n  \
         bad: {{ source: {}, sinks: {{ out: {}, log: {{ {stream} }} }} }}\n",
        source("reader"),
        sink("writer"),
        source("writer"),
        sink("reader"),
    );
    let (parts, code) = parts(&text).await;
    assert_eq!(code, Some(1), "{parts:#?}");
    let find = |pipeline: &str, part: &str| findings(&parts, pipeline, part);
    let good = find("good", "source");
    assert!(has(&good, &["good", "the user may find, changeStream on the database `shop`"]), "{good:#?}");
    assert!(has(&good, &["unknown", "oplog", "`read` on the database `local`"]), "{good:#?}");
    assert!(has(&find("good", "sink out"), &["good", "insert, update, remove"]), "{parts:#?}");
    let denied = find("bad", "source");
    assert!(
        has(&denied, &["bad TG0302", "may not find, changeStream on the database `shop`", "`read`"]),
        "{denied:#?}"
    );
    let denied = find("bad", "sink out");
    assert!(has(&denied, &["bad TG0302", "may not find, insert, update, remove", "`readWrite`"]), "{denied:#?}");
    let denied = find("bad", "sink log");
    assert!(
        has(&denied, &["bad TG0402", "XADD app:s", "ACL SETUSER NAME ~app:s +ping +multi +exec +xadd"]),
        "{denied:#?}"
    );
    assert!(!format!("{parts:?}").contains("hunter2"), "{parts:#?}");
}

#[tokio::test]
async fn settings_that_lose_data_are_told_of() {
    let redis = Redis::start(RedisOptions {
        args: ["--maxmemory-policy", "allkeys-lru"].map(String::from).to_vec(),
        ..Default::default()
    })
    .await;
    let url = redis.url();
    let mongo = &shared().await.mongodb_uri;
    let source = format!("{{ redis: {{ url: \"{url}\", keys: {{ patterns: [\"tags:*\"] }} }} }}");
    let out = |more: &str| format!("{{ redis: {{ url: \"{url}\", mode: string, key: \"app:{{_id}}\"{more} }} }}");
    let text = format!(
        "admin: {{ listen: 127.0.0.1:0 }}\nlog: {{ file: {{ path: /proc/none/tide.log }} }}\npipelines:\n  \
         tags: {{ source: {source}, sinks: {{ gone: {{ mongodb: {{ uri: \"mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=300\", database: x }} }} }} }}\n  \
         plain: {{ source: {{ mongodb: {{ uri: \"{mongo}\", database: d }} }}, sinks: {{ out: {} }} }}\n  \
         once: {{ source: {{ mongodb: {{ uri: \"{mongo}\", database: d }} }}, sinks: {{ out: {} }}, checkpoint: sink }}\n",
        out(", wait: { replicas: 1 }"),
        out(""),
    );
    let (parts, code) = parts(&text).await;
    assert_eq!(code, Some(1));
    let find = |pipeline: &str, part: &str| findings(&parts, pipeline, part);
    assert!(has(&find("tags", "source"), &["warning TG0416", "CONFIG SET notify-keyspace-events KA"]), "{parts:#?}");
    assert!(has(&find("tags", "sink gone"), &["bad TG0301", "127.0.0.1:1"]), "{parts:#?}");
    assert!(has(&find("tags", "checkpoint"), &["good", "begin anew"]), "{parts:#?}");
    let plain = find("plain", "sink out");
    assert!(has(&plain, &["warning TG0405", "allkeys-lru", "noeviction"]), "{plain:#?}");
    assert!(has(&plain, &["bad TG0407", "0 replicas are connected, `wait` asks for 1"]), "{plain:#?}");
    assert!(has(&plain, &["warning", "appendonly is off", "`checkpoint: sink`"]), "{plain:#?}");
    assert!(has(&find("once", "sink out"), &["bad TG0405", "allkeys-lru"]), "{parts:#?}");
    let host = parts.iter().find(|part| part["part"] == "host").unwrap();
    assert!(host.to_string().contains("the folder of the log /proc/none cannot be written to"), "{host:#?}");
}

#[tokio::test]
async fn what_is_wrong_with_the_configuration_comes_first() {
    let (output, _dir) = doctor("pipelines: { p: { source: stdin, sinks: { out: { nothing: {} } } } }", &[]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("tide.yaml:1:"), "{output:?}");
}
