//! How a sink that is down is tried again, as the configuration says and the status shows. No server: its port is closed.

use std::net::TcpListener;
use std::time::Duration;

use serde_json::Value;
use tidegate_tests::{Host, HostOptions, eventually, field};

const PATIENCE: Duration = Duration::from_secs(60);

/// A pipeline into a Redis that is not there.
fn start(retry: &str) -> Host {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = format!(
        "admin: {{ listen: 127.0.0.1:0 }}
log: {{ level: info, format: json }}
pipelines:
  p:
    source: stdin
    sinks:
      down: {{ redis: {{ url: \"redis://127.0.0.1:{port}\", stream: s }} }}
      out: stdout
    retry: {retry}
"
    );
    Host::start_with(&config, HostOptions { keep_input: true, ..HostOptions::default() })
}

fn retries(host: &Host) -> usize {
    host.log().iter().filter(|line| field(line, "event").and_then(Value::as_str) == Some("sink_retry")).count()
}

#[tokio::test]
async fn d9_attempts_are_made_and_no_more() {
    let mut host = start("{ first: 5ms, ceiling: 20ms, attempts: 4 }");
    let stopped = host.wait_event("pipeline_stopped").await;
    assert_eq!(field(&stopped, "code").and_then(Value::as_str), Some("TG0401"));
    let message = field(&stopped, "message").and_then(Value::as_str).unwrap();
    assert!(message.contains("sink `down`: ") && message.contains("it failed 4 times in a row"), "{message}");
    assert_eq!(host.wait_exit(PATIENCE).await, Some(1), "{}", host.stderr());
    assert_eq!(retries(&host), 3, "the fourth failure is not tried again");
}

#[tokio::test]
async fn d9_circuit_of_what_is_down_is_open_and_says_when_it_is_tried() {
    // A wait may be short, but not all of them: one is looked for that lasts.
    let mut host = start("{ first: 10s, ceiling: 1h }");
    let sink = eventually(PATIENCE, "a wait of the sink", async || {
        let status = host.status().await;
        let sink = status["pipelines"]["p"]["sinks"][0].clone();
        if sink["circuit"]["state"] == "open" { Ok(sink) } else { Err(sink.to_string()) }
    })
    .await;
    assert!(sink["circuit"]["attempt"].as_u64().unwrap() >= 1, "{sink}");
    assert!(sink["circuit"]["retry_at"].as_str().unwrap().ends_with('Z'), "{sink}");
    let status = host.status().await;
    assert_eq!(status["pipelines"]["p"]["sinks"][1]["circuit"]["state"], "closed", "the other sink works");
    assert_eq!(status["pipelines"]["p"]["source"]["circuit"]["state"], "closed");
    let state = host.metric("tidegate_circuit_state", &[("pipeline", "p"), ("part", "sink down")]).await;
    assert!(state.is_some_and(|state| state >= 1.0), "{state:?}");
    let others = [("pipeline", "p"), ("part", "source")];
    assert_eq!(host.metric("tidegate_circuit_state", &others).await, Some(0.0));
}
