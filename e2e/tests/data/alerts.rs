//! Who is told when something breaks, and the log in a file.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use serde_json::Value;
use tidegate_tests::guests::{Deed, Guest, MARKER, Role};
use tidegate_tests::servers::{Redis, RedisOptions};
use tidegate_tests::{Host, HostOptions, eventually};

use crate::scene::{PATIENCE, Scene, assert_exactly, config, numbered};

const TOKEN: &str = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw";

/// A server that takes messages as Telegram and webhooks do.
struct Receiver {
    port: u16,
    requests: Arc<Mutex<Vec<(String, Value)>>>,
    /// How many requests it refuses first.
    refuses: Arc<Mutex<u32>>,
}

impl Receiver {
    async fn start() -> Self {
        let (requests, refuses) = (Arc::<Mutex<Vec<(String, Value)>>>::default(), Arc::<Mutex<u32>>::default());
        let (kept, left) = (requests.clone(), refuses.clone());
        let answer = move |request: Request| {
            let (kept, left) = (kept.clone(), left.clone());
            async move {
                let path = request.uri().path().to_owned();
                let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
                let mut left = left.lock().unwrap();
                if *left > 0 {
                    *left -= 1;
                    return (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")], "slow down");
                }
                kept.lock().unwrap().push((path, serde_json::from_slice(&body).unwrap()));
                (StatusCode::OK, [("x", "y")], "{}")
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
        Self { port, requests, refuses }
    }

    /// What came to a path.
    fn to(&self, path: &str) -> Vec<Value> {
        let requests = self.requests.lock().unwrap();
        requests.iter().filter(|(to, _)| to == path).map(|(_, body)| body.clone()).collect()
    }

    fn settings(&self) -> String {
        let at = format!("http://127.0.0.1:{}", self.port);
        format!(
            "alerts: {{ group: 1s, every: 1s, down_after: 1s, channels: {{ \
             ops: {{ telegram: {{ token: \"{TOKEN}\", chat: \"-100\", api: \"{at}\" }} }}, \
             chat: {{ webhook: {{ url: \"{at}/hook/s3cret\", body: '{{\"content\": {{text}}}}', on: [recovered] }} }} }} }}\n\
             log: {{ level: info, format: json }}"
        )
    }
}

fn telegram() -> String {
    format!("/bot{TOKEN}/sendMessage")
}

#[tokio::test]
async fn a7_a_chat_is_told_once_what_broke_and_what_recovered() {
    let receiver = Receiver::start().await;
    // The first message is turned down, and comes again when the service asked for it.
    *receiver.refuses.lock().unwrap() = 1;
    let mut redis = Redis::start(RedisOptions::default()).await;
    let mut scene = Scene::shared().await;
    scene.redis_url = redis.url();
    let mut host = scene.host_with(&receiver.settings(), &[scene.plain()], &[]);
    host.wait_ready().await;
    redis.stop().await;
    scene.collection("things").insert_many(numbered(0..10)).await.unwrap();
    eventually(PATIENCE, "the chat is told that the sink is down", async || {
        if receiver.to(&telegram()).is_empty() { Err(host.stderr()) } else { Ok(()) }
    })
    .await;
    // Many tries, one message.
    eventually(PATIENCE, "eight tries", async || {
        let tries = host.log().iter().filter(|line| line["event"] == "sink_retry").count();
        if tries >= 8 { Ok(()) } else { Err(tries) }
    })
    .await;
    let told = receiver.to(&telegram());
    assert_eq!(told.len(), 1, "{told:#?}");
    let text = told[0]["text"].as_str().unwrap();
    assert_eq!(told[0]["chat_id"], "-100");
    assert!(text.contains("DOWN main sink out: TG0401") && !text.contains("RECOVERED"), "{text}");
    assert!(receiver.to("/hook/s3cret").is_empty(), "it is to be told of recoveries alone");
    redis.restart().await;
    eventually(PATIENCE, "both are told that it works again", async || {
        let both = receiver.to(&telegram()).len() == 2 && receiver.to("/hook/s3cret").len() == 1;
        if both { Ok(()) } else { Err(receiver.requests.lock().unwrap().clone()) }
    })
    .await;
    let text = receiver.to("/hook/s3cret")[0]["content"].as_str().unwrap().to_owned();
    assert!(text.contains("RECOVERED main sink out: it works again"), "{text}");
    assert_exactly(&scene.entries("out").await, 10);
    assert_eq!(host.stop().await, Some(0));
    let log = host.stderr();
    assert!(!log.contains("AAHdqTcv") && !log.contains("s3cret"), "{log}");
}

#[tokio::test]
async fn a_pipeline_that_stops_is_told_of_before_the_host_ends() {
    let receiver = Receiver::start().await;
    let scene = Scene::shared().await;
    let source = r#"{ mongodb: { uri: "mongodb://127.0.0.1:1/?directConnection=true", start: { token: "82" } } }"#;
    let sink = format!("{{ out: {} }}", scene.stream_sink("out", "json"));
    let pipeline =
        format!("  main: {{ source: {source}, sinks: {sink}, retry: {{ attempts: 1, first: 1ms, ceiling: 1ms }} }}");
    let mut host = scene.host_with(&receiver.settings(), &[pipeline], &[]);
    assert_eq!(host.wait_exit(PATIENCE).await, Some(1));
    let told = receiver.to(&telegram());
    assert_eq!(told.len(), 1, "{}", host.stderr());
    assert!(told[0]["text"].as_str().unwrap().contains("STOPPED main: TG0301"), "{told:?}");
}

#[tokio::test]
async fn a_plugin_that_is_taken_back_is_told_of_once() {
    let receiver = Receiver::start().await;
    let dir = tempfile::tempdir().unwrap();
    let plugins = dir.path().join("plugins");
    std::fs::create_dir(&plugins).unwrap();
    let validator = |version: &str| Guest::new(Role::Validator).version(version);
    validator("1").install(&plugins, "guest");
    let text = format!(
        "admin: {{ listen: 127.0.0.1:0 }}\n{}\n\
         plugins: {{ dir: plugins, swap: {{ probation: {{ time: 1h, failures: 10 }} }} }}\n\
         pipelines: {{ p: {{ source: stdin, stages: [{{ plugin: guest }}], sinks: {{ out: {{ file: {{ path: out.jsonl }} }} }} }} }}\n",
        receiver.settings()
    );
    let options = HostOptions { dir: Some(dir.path().to_owned()), keep_input: true, ..HostOptions::default() };
    let mut host = Host::start_with(&text, options);
    host.wait_ready().await;
    let feed = |host: &Host, numbers: std::ops::Range<u32>, text: &str| {
        let line = |n| {
            format!(
                "{{\"id\":\"c-{n}\",\"op\":\"insert\",\"ns\":\"d.c\",\"doc\":{{\"_id\":{n},\"text\":\"{text}\"}}}}\n"
            )
        };
        host.feed(numbers.map(line).collect::<String>());
    };
    feed(&host, 0..100, "good");
    let bad = validator("2").when_marked(Deed::Trap);
    bad.install(&plugins, "guest");
    eventually(PATIENCE, "the new version", async || host.status().await["plugins"]["guest"]["generation"] == 2).await;
    feed(&host, 100..200, MARKER);
    host.wait_event("plugin_taken_back").await;
    eventually(PATIENCE, "the chat is told", async || {
        if receiver.to(&telegram()).is_empty() { Err(host.stderr()) } else { Ok(()) }
    })
    .await;
    // The same file once more is not loaded, and is nothing new to tell.
    std::fs::remove_file(plugins.join("guest.wasm")).unwrap();
    host.wait_event("plugin_file_gone").await;
    bad.install(&plugins, "guest");
    host.wait_event("plugin_refused").await;
    host.end_input();
    assert_eq!(host.wait_exit(PATIENCE).await, Some(0));
    let told = receiver.to(&telegram());
    let texts: Vec<&str> = told.iter().map(|message| message["text"].as_str().unwrap()).collect();
    let all = texts.join("\n");
    assert_eq!(all.matches("PLUGIN").count(), 1, "{texts:#?}");
    assert!(all.contains("PLUGIN guest: version 2 is not used any more: it failed on 10"), "{texts:#?}");
    assert!(receiver.to("/hook/s3cret").is_empty(), "it is to be told of recoveries alone");
}

#[tokio::test]
async fn a6_the_log_goes_to_a_file_of_the_day() {
    let scene = Scene::shared().await;
    let path = scene.dir.path().join("logs/tide.log");
    let settings = format!("log: {{ level: info, file: {{ path: \"{}\" }} }}", path.display());
    let options = HostOptions { dir: Some(scene.dir.path().to_owned()), ..HostOptions::default() };
    let mut host = Host::start_with(&config(&settings, &[scene.plain()]), options);
    let folder = path.parent().unwrap();
    let files = || std::fs::read_dir(folder).into_iter().flatten().map(|file| file.unwrap().path()).collect::<Vec<_>>();
    eventually(PATIENCE, "the log says that the source is open", async || {
        let text: String = files().iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
        if text.contains("\"source_opened\"") { Ok(()) } else { Err(text) }
    })
    .await;
    assert_eq!(host.stop().await, Some(0));
    let files = files();
    let [file] = &files[..] else { panic!("{files:?}") };
    let name = file.file_name().unwrap().to_str().unwrap();
    assert!(
        name.starts_with("tide.20") && name.ends_with(".log") && name.len() == "tide.2026-01-31.log".len(),
        "{name}"
    );
    let lines = std::fs::read_to_string(file).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().all(|line| line["timestamp"].as_str().is_some_and(|time| time.starts_with("20"))));
    assert_eq!(lines[0]["event"], "starting");
    assert_eq!(lines.last().unwrap()["event"], "stopped");
    assert_eq!(host.stderr(), "", "nothing is written to standard error");
}
