//! What an operator grants a plugin, from both sides: it has what is granted, and nothing else.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{any, get};
use serde_json::{Value, json};
use tidegate_tests::{Cli, Host, HostOptions, plugin};

use crate::rig::{PATIENCE, Rig};

/// A web server for plugins to ask.
struct Web {
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Web {
    async fn start() -> Self {
        let app = axum::Router::new()
            .route("/echo", any(echo))
            .route("/elsewhere", get(|| async { (StatusCode::FOUND, [("location", "/echo")]).into_response() }))
            .route("/hangs", get(std::future::pending::<()>))
            .route("/sized", get(|| async { vec![b'x'; 5000] }))
            .route("/streamed", get(|| async { Body::from_stream(endless()) }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, task }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn echo(method: Method, headers: HeaderMap, body: String) -> axum::Json<Value> {
    let headers: HashMap<String, String> =
        headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    axum::Json(json!({ "method": method.as_str(), "headers": headers, "body": body }))
}

/// A body that says nothing of its length and does not end.
fn endless() -> impl futures::Stream<Item = Result<Bytes, Infallible>> + Send + 'static {
    futures::stream::repeat(Ok(Bytes::from_static(&[b'y'; 1000])))
}

const ALL: &str = "http: [127.0.0.1:1], env: [TIDEGATE_TEST_GIVEN], clock: true, random: true";

fn config(grants: &str, limits: &str) -> String {
    format!(
        "admin: {{ listen: 127.0.0.1:0 }}
log: {{ level: info, format: json }}
state: {{ dir: state }}
plugins: {{ dir: plugins, limits: {{ {limits} }}, each: {{ asker: {{ grants: {{ {grants} }} }} }} }}
pipelines:
  p:
    source: stdin
    batch: {{ max_events: 1000, linger: 300ms }}
    lanes: 1
    stages: [{{ plugin: asker }}]
    sinks: {{ out: {{ file: {{ path: out.jsonl }} }} }}
"
    )
}

fn rig() -> Rig {
    let rig = Rig::new();
    std::fs::copy(plugin("conformance-asker"), rig.plugins().join("asker.wasm")).unwrap();
    rig
}

/// A host whose asker is granted these.
async fn host(rig: &Rig, grants: &str, limits: &str) -> Host {
    let env = vec![
        ("TIDEGATE_TEST_GIVEN".to_owned(), "what it was given".to_owned()),
        ("TIDEGATE_TEST_OTHER".to_owned(), "what it was not".to_owned()),
    ];
    let options = HostOptions { dir: Some(rig.dir().to_owned()), keep_input: true, env, ..HostOptions::default() };
    let mut host = Host::start_with(&config(grants, limits), options);
    host.wait_ready().await;
    host
}

fn feed(host: &Host, questions: &[Value]) {
    let line = |(at, question): (usize, &Value)| {
        let mut document = question.clone();
        document["_id"] = json!(at);
        format!("{}\n", json!({ "op": "insert", "ns": "shop.questions", "doc": document }))
    };
    host.feed(questions.iter().enumerate().map(line).collect::<String>());
}

/// Asks, and gives the answers in order.
async fn ask(rig: &Rig, host: &mut Host, questions: &[Value]) -> Vec<Value> {
    let before = rig.delivered().len();
    feed(host, questions);
    let delivered = rig.wait_delivered(host, before + questions.len()).await;
    delivered.into_iter().skip(before).map(|line| plain(line["doc"]["answer"].clone())).collect()
}

/// Numbers as JSON has them: a file holds Canonical Extended JSON.
fn plain(value: Value) -> Value {
    match value {
        Value::Object(members) => match ["$numberInt", "$numberLong"].iter().find_map(|kind| members.get(*kind)) {
            Some(number) => json!(number.as_str().unwrap().parse::<i64>().unwrap()),
            None => members.into_iter().map(|(name, value)| (name, plain(value))).collect(),
        },
        other => other,
    }
}

async fn ask_one(rig: &Rig, host: &mut Host, question: Value) -> Value {
    ask(rig, host, &[question]).await.remove(0)
}

fn http(url: &str) -> Value {
    json!({ "ask": "http", "method": "GET", "url": url })
}

#[track_caller]
fn assert_fails(answer: &Value, error: &str, why: &str) {
    assert_eq!(answer["error"], error, "{answer}");
    assert!(answer["why"].as_str().unwrap().contains(why), "{answer} says nothing of `{why}`");
}

#[tokio::test]
async fn what_is_not_granted_is_refused_by_name() {
    let rig = rig();
    for (left_out, interface, line) in [
        ("http: [127.0.0.1:1]", "tidegate:plugin/http@0.1.0", "`http: [HOST]`"),
        ("env: [TIDEGATE_TEST_GIVEN]", "tidegate:plugin/environment@0.1.0", "`env: [NAME]`"),
        ("clock: true", "tidegate:plugin/clock@0.1.0", "`clock: true`"),
        ("random: true", "tidegate:plugin/random@0.1.0", "`random: true`"),
    ] {
        let grants: Vec<&str> = ["http: [127.0.0.1:1]", "env: [TIDEGATE_TEST_GIVEN]", "clock: true", "random: true"]
            .into_iter()
            .filter(|grant| *grant != left_out)
            .collect();
        std::fs::write(rig.dir().join("tidegate.yaml"), config(&grants.join(", "), "")).unwrap();
        let env = [("TIDEGATE_TEST_GIVEN".to_owned(), "x".to_owned())];
        let output = Cli::run_with(rig.dir(), &["check", "tidegate.yaml"], b"", &env, PATIENCE).await;
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(
            stderr.starts_with(&format!(
                "error[TG0203]: plugin `asker` imports what it is not granted: {interface}; grant it in `plugins.each.asker.grants` ({line})"
            )),
            "{stderr}"
        );
    }
}

#[tokio::test]
async fn a_granted_variable_that_is_not_set_is_an_error() {
    let rig = rig();
    std::fs::write(rig.dir().join("tidegate.yaml"), config(ALL, "")).unwrap();
    let output = Cli::run_in(rig.dir(), &["check", "tidegate.yaml"], b"").await;
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(
        stderr.contains("error[TG0105]: plugin `asker` is granted the variable TIDEGATE_TEST_GIVEN, which is not set"),
        "{stderr}"
    );
}

#[tokio::test]
async fn hosts_that_are_none_are_an_error_with_their_place() {
    let rig = rig();
    for wrong in ["https://api.example.com", "10.0.0.0/33", "a b"] {
        let config = config(&format!("http: [api.example.com, '{wrong}']"), "");
        std::fs::write(rig.dir().join("tidegate.yaml"), config).unwrap();
        let output = Cli::run_in(rig.dir(), &["check", "tidegate.yaml"], b"").await;
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains("error[TG0104]") && stderr.contains("tidegate.yaml:4:"), "{stderr}");
        assert!(stderr.contains("plugins.each.asker.grants.http[1]"), "{stderr}");
    }
}

#[tokio::test]
async fn clock_random_and_variables() {
    let rig = rig();
    let mut host = host(&rig, ALL, "").await;
    let before = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let questions = [
        json!({ "ask": "clock" }),
        json!({ "ask": "random", "count": 32 }),
        json!({ "ask": "random", "count": 32 }),
        json!({ "ask": "environment", "name": "TIDEGATE_TEST_GIVEN" }),
        json!({ "ask": "environment", "name": "TIDEGATE_TEST_OTHER" }),
        json!({ "ask": "environment", "name": "PATH" }),
    ];
    let answers = ask(&rig, &mut host, &questions).await;
    let [now, one, other, given, not_granted, path] = answers.as_slice() else { panic!("{answers:?}") };
    let late = Duration::from_millis(now.as_u64().unwrap()).saturating_sub(before);
    assert!(Duration::from_millis(now.as_u64().unwrap() + 1) >= before && late < PATIENCE, "{now} is not now");
    assert_eq!((one.as_str().unwrap().len(), other.as_str().unwrap().len()), (64, 64));
    assert_ne!(one, other);
    assert_eq!((given, not_granted, path), (&json!("what it was given"), &Value::Null, &Value::Null));
    // A second host has other numbers: they are no sequence that begins anew.
    assert_eq!(host.stop().await, Some(0));
    let rig = self::rig();
    let mut host = self::host(&rig, ALL, "").await;
    let third = ask_one(&rig, &mut host, json!({ "ask": "random", "count": 32 })).await;
    assert!(third != *one && third != *other, "{third}");
    assert_eq!(host.stop().await, Some(0));
}

#[tokio::test]
async fn too_many_random_bytes_cost_the_change() {
    let rig = rig();
    let mut host = host(&rig, ALL, "").await;
    let questions =
        [json!({ "ask": "clock" }), json!({ "ask": "random", "count": 1_048_577 }), json!({ "ask": "clock" })];
    feed(&host, &questions);
    rig.wait_delivered(&mut host, 2).await;
    host.end_input();
    assert_eq!(host.wait_exit(PATIENCE).await, Some(0), "{}", host.stderr());
    let dead = rig.dead_letters();
    assert_eq!(dead.len(), 1, "{dead:?}");
    let reason = dead[0]["reason"].as_str().unwrap();
    assert!(reason.contains("asked for 1048577 random bytes at once, and may for 1048576"), "{reason}");
}

/// The grants of a plugin that may ask the web server besides what it imports.
fn with_http(places: &str) -> String {
    format!("http: [{places}], env: [TIDEGATE_TEST_GIVEN], clock: true, random: true")
}

#[tokio::test]
async fn http_to_what_is_named() {
    let (web, rig) = (Web::start().await, rig());
    let mut host = host(&rig, &with_http(&web.address.to_string()), "").await;
    let mut question = http(&web.url("/echo"));
    question["method"] = json!("POST");
    question["headers"] = json!({ "x-one": "1", "content-type": "text/plain" });
    question["body"] = json!("what is asked");
    let answer = ask_one(&rig, &mut host, question).await;
    assert_eq!(answer["status"], 200, "{answer}");
    assert_eq!(answer["headers"]["content-type"], "application/json");
    let echo: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
    assert_eq!((&echo["method"], &echo["body"]), (&json!("POST"), &json!("what is asked")));
    assert_eq!((&echo["headers"]["x-one"], &echo["headers"]["host"]), (&json!("1"), &json!(web.address.to_string())));
    assert!(echo["headers"]["user-agent"].as_str().unwrap().starts_with("tidegate/"), "{echo}");

    // A redirect is an answer: where it leads to may not be granted.
    let answer = ask_one(&rig, &mut host, http(&web.url("/elsewhere"))).await;
    assert_eq!((&answer["status"], &answer["headers"]["location"]), (&json!(302), &json!("/echo")));
    let answer = ask_one(&rig, &mut host, http(&web.url("/nothing"))).await;
    assert_eq!(answer["status"], 404, "{answer}");

    let asked = |outcome| [("plugin", "asker"), ("outcome", outcome)];
    assert_eq!(host.metric("tidegate_plugin_http_requests_total", &asked("answered")).await, Some(3.0));
    assert_eq!(host.stop().await, Some(0));
}

#[tokio::test]
async fn http_to_nothing_else() {
    let (web, rig) = (Web::start().await, rig());
    let port = web.address.port();
    // `localhost` is named, and the address it has is not.
    let places = format!("'localhost:{port}', '*.example.com', 10.0.0.0/8, '127.0.0.1:9', '[::1]:9'");
    let mut host = host(&rig, &with_http(&places), "").await;
    let localhost = format!("http://localhost:{port}/echo");
    let questions = [
        http(&localhost),
        http(&web.url("/echo")),
        http(&format!("http://[::1]:{port}/")),
        http("http://2130706433/"),
        http("http://localhost/"),
        http("http://example.com/"),
        http("http://169.254.169.254/latest/meta-data/"),
        http("http://localhost@example.com/"),
        http("https://api.example.com:8443/"),
    ];
    let answers = ask(&rig, &mut host, &questions).await;
    assert_fails(&answers[0], "not-granted", "which is no public address");
    for (answer, question) in answers.iter().zip(&questions).skip(1) {
        assert_eq!(answer["error"], "not-granted", "{question} gave {answer}");
        assert!(answer["why"].as_str().unwrap().contains("not among the hosts"), "{answer}");
    }
    assert_eq!(
        host.metric("tidegate_plugin_http_requests_total", &[("plugin", "asker"), ("outcome", "refused")]).await,
        Some(9.0)
    );
    assert_eq!(host.stop().await, Some(0));

    // With the range named it is there.
    let rig = self::rig();
    let mut host = self::host(&rig, &with_http(&format!("'localhost:{port}', 127.0.0.0/8")), "").await;
    let answer = ask_one(&rig, &mut host, http(&localhost)).await;
    assert_eq!(answer["status"], 200, "{answer}");
    assert_eq!(host.stop().await, Some(0));
}

#[tokio::test]
async fn http_that_is_no_request() {
    let (web, rig) = (Web::start().await, rig());
    let mut host = host(&rig, &with_http(&web.address.to_string()), "").await;
    let (mut verb, mut line, mut length) = (http(&web.url("/echo")), http(&web.url("/echo")), http(&web.url("/echo")));
    verb["method"] = json!("GET /echo HTTP/1.1\r\n");
    line["headers"] = json!({ "x-one": "1\r\nx-two: 2" });
    length["headers"] = json!({ "Content-Length": "7" });
    let questions = [http("file:///etc/passwd"), http("no url"), verb, line, length];
    let answers = ask(&rig, &mut host, &questions).await;
    for (answer, why) in answers.iter().zip([
        "the scheme of the URL is `file`",
        "the URL is none",
        "is no HTTP method",
        "the value of the header `x-one`",
        "the header `Content-Length` is set by the host",
    ]) {
        assert_fails(answer, "invalid", why);
    }
    assert_eq!(host.stop().await, Some(0));
}

#[tokio::test]
async fn http_within_its_limits() {
    let (web, rig) = (Web::start().await, rig());
    let limits = "http_time: 300ms, http_size: 4000B";
    let mut host = host(&rig, &with_http(&format!("{}, 127.0.0.1:1", web.address)), limits).await;
    let (mut shorter, mut longer, mut large) =
        (http(&web.url("/hangs")), http(&web.url("/hangs")), http(&web.url("/echo")));
    shorter["timeout"] = json!(50);
    longer["timeout"] = json!(60_000);
    large["body"] = json!("x".repeat(4001));
    let questions =
        [shorter, longer, http(&web.url("/sized")), http(&web.url("/streamed")), large, http("http://127.0.0.1:1/")];
    let answers = ask(&rig, &mut host, &questions).await;
    assert_fails(&answers[0], "timed-out", "127.0.0.1 did not answer within 50ms");
    assert_fails(&answers[1], "timed-out", "127.0.0.1 did not answer within 300ms");
    assert_fails(&answers[2], "too-large", "has more than 4000 bytes");
    assert_fails(&answers[3], "too-large", "has more than 4000 bytes");
    assert_fails(&answers[4], "too-large", "the body of the request has 4001 bytes");
    assert_fails(&answers[5], "unreachable", "refused");
    assert_eq!(
        host.metric("tidegate_plugin_http_requests_total", &[("plugin", "asker"), ("outcome", "failed")]).await,
        Some(6.0)
    );
    assert_eq!(host.stop().await, Some(0));
}

/// Requests cannot hold a lane for ever, however many of them a call makes: the ceiling on wall time ends them all.
#[tokio::test]
async fn http_ends_with_the_call() {
    let (web, rig) = (Web::start().await, rig());
    let mut host = host(&rig, &with_http(&web.address.to_string()), "time: 20ms, http_time: 1h").await;
    // 20 ms of CPU time, ten times that on the clock.
    feed(&host, &[http(&web.url("/hangs"))]);
    host.end_input();
    assert_eq!(host.wait_exit(PATIENCE).await, Some(0), "{}", host.stderr());
    let (delivered, dead) = (rig.delivered(), rig.dead_letters());
    match (delivered.as_slice(), dead.as_slice()) {
        // The request ends a moment before the call does: either may be seen first.
        ([line], []) => assert_fails(&line["doc"]["answer"], "timed-out", "did not answer within"),
        ([], [letter]) => {
            assert!(letter["reason"].as_str().unwrap().contains("took longer than 200ms in all"), "{letter}")
        }
        other => panic!("{other:?}"),
    }
}
