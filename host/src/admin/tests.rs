use std::net::SocketAddr;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::AdminServer;
use crate::{
    error::{Code, Fault},
    status::{LoadedPlugin, PipelineParts, PipelineStatus, State, Status},
    telemetry::metrics::{CONTENT_TYPE, Metrics},
};

/// An answer, headers in lower case.
struct Answer {
    code: u16,
    headers: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        assert!(self.headers.contains("content-type: application/json"), "{}", self.headers);
        serde_json::from_str(&self.body).unwrap()
    }
}

async fn ask(address: SocketAddr, method: &str, path: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request =
        format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { code, headers: head.to_lowercase(), body: body.to_owned() }
}

async fn get(address: SocketAddr, path: &str) -> Answer {
    ask(address, "GET", path).await
}

fn serve() -> (AdminServer, Status, PipelineStatus) {
    let status = Status::new(Metrics::new());
    let parts = PipelineParts {
        source: "mongodb shop".to_owned(),
        stages: vec!["a".to_owned()],
        sinks: vec![("cache".to_owned(), "redis inventory".to_owned())],
        checkpoint: None,
    };
    let pipeline = status.add_pipeline("p", parts);
    let server = AdminServer::start(SocketAddr::from(([127, 0, 0, 1], 0)), None, status.clone(), None).unwrap();
    assert_ne!(server.address().port(), 0);
    (server, status, pipeline)
}

#[tokio::test]
async fn readiness_turns_when_the_last_thing_is_in_place_and_health_when_all_has_stopped() {
    let (server, status, pipeline) = serve();
    let address = server.address();
    let first = get(address, "/readiness").await;
    assert_eq!((first.code, first.json()["reasons"].as_array().unwrap().len()), (503, 4));
    assert_eq!(get(address, "/health").await.code, 200);

    let now = std::time::SystemTime::now();
    let plugin = LoadedPlugin {
        file: "a.wasm".into(),
        generation: 1,
        version: "1".into(),
        digest: String::new(),
        roles: vec![],
        loaded_at: now,
    };
    status.plugin_loaded("a", plugin);
    pipeline.sink_connected(0);
    pipeline.source_opened(None);
    let almost = get(address, "/readiness").await;
    assert_eq!((almost.code, &almost.json()["reasons"][0]["part"]), (503, &Value::from("checkpoint")));
    pipeline.opening_stored();
    let ready = get(address, "/readiness").await;
    assert_eq!((ready.code, &ready.json()["ready"]), (200, &Value::from(true)));

    pipeline.stopped(&Fault::fatal(Code::MongoPositionLost, "the position is gone"));
    let health = get(address, "/health").await;
    assert_eq!(health.code, 503);
    assert_eq!(health.json()["pipelines"]["p"], "stopped");
    assert_eq!(health.json()["reasons"][0]["code"], "TG0304");
    server.stop().await;
}

#[tokio::test]
async fn metrics_are_open_metrics() {
    let (server, _status, pipeline) = serve();
    pipeline.metrics().events_in.inc_by(3);
    let answer = get(server.address(), "/metrics").await;
    assert_eq!(answer.code, 200);
    assert!(answer.headers.contains(&format!("content-type: {CONTENT_TYPE}")), "{}", answer.headers);
    assert!(answer.body.contains("tidegate_events_in_total{pipeline=\"p\"} 3\n") && answer.body.ends_with("# EOF\n"));
}

#[tokio::test]
async fn the_status_is_json_and_readable_on_request() {
    let (server, _status, pipeline) = serve();
    pipeline.set_state(State::Running);
    let plain = get(server.address(), "/api/v1/status").await;
    let pretty = get(server.address(), "/api/v1/status?pretty").await;
    assert_eq!(plain.json()["pipelines"]["p"]["state"], "running");
    assert_eq!(pretty.json()["pipelines"], plain.json()["pipelines"]);
    assert_eq!(plain.body.lines().count(), 1);
    assert!(pretty.body.lines().count() > 20);
}

#[tokio::test]
async fn what_is_not_there_is_told_as_json_and_the_index_names_what_is() {
    let (server, _status, _pipeline) = serve();
    let address = server.address();
    let missing = get(address, "/nothing").await;
    assert_eq!(
        (missing.code, missing.json()["error"].as_str()),
        (404, Some("there is nothing at /nothing; / lists what there is"))
    );
    let refused = ask(address, "POST", "/health").await;
    assert_eq!((refused.code, refused.json()["error"].as_str()), (405, Some("/health does not take POST; use GET")));
    assert_eq!(refused.headers.matches("allow: get,head").count(), 1, "{}", refused.headers);
    let index = get(address, "/").await;
    assert!(index.headers.contains("content-type: text/plain"));
    for path in index.body.split_whitespace().filter(|word| word.starts_with('/')) {
        assert_ne!(get(address, path).await.code, 404, "{path}");
    }
    assert_eq!(index.body.matches("\n/").count(), 5);
}

#[tokio::test]
async fn a_port_in_use_is_explained_and_a_stopped_server_frees_it() {
    let (server, status, _pipeline) = serve();
    let address = server.address();
    let fault = AdminServer::start(address, None, status.clone(), None).unwrap_err();
    assert_eq!(fault.code, Code::AdminListen);
    assert!(fault.message.contains(&address.to_string()) && fault.message.contains("`admin.listen`"), "{fault}");
    if cfg!(target_os = "linux") {
        assert!(fault.message.contains(&format!("(process {})", std::process::id())), "{fault}");
    }
    server.stop().await;
    AdminServer::start(address, None, status, None).unwrap().stop().await;
}

#[tokio::test]
async fn an_idle_client_does_not_keep_the_server_from_stopping() {
    let (server, _status, _pipeline) = serve();
    let _idle = TcpStream::connect(server.address()).await.unwrap();
    let before = std::time::Instant::now();
    server.stop().await;
    assert!(before.elapsed() < std::time::Duration::from_secs(3));
}
