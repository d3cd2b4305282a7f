use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};

use super::{CircuitState, LoadedPlugin, PipelineParts, PipelineStatus, State, Status};
use crate::{
    error::{Code, Fault},
    position::Position,
    telemetry::metrics::{DeadLetterKind, FailureKind, Metrics},
};

pub(crate) fn parts() -> PipelineParts {
    PipelineParts {
        source: "mongodb shop.inventory".to_owned(),
        stages: vec!["validator".to_owned(), "router".to_owned()],
        sinks: vec![
            ("cache".to_owned(), "redis inventory".to_owned()),
            ("copy".to_owned(), "file copy.jsonl".to_owned()),
        ],
        checkpoint: Some(PathBuf::from("state/p.checkpoint")),
    }
}

pub(crate) fn loaded(generation: u64) -> LoadedPlugin {
    LoadedPlugin {
        file: PathBuf::from("plugins/validator.wasm"),
        generation,
        version: "1.2.0".to_owned(),
        digest: "ab".repeat(32),
        roles: vec!["validator".to_owned()],
        loaded_at: SystemTime::UNIX_EPOCH,
    }
}

fn started() -> (Status, PipelineStatus) {
    let status = Status::new(Metrics::new());
    let pipeline = status.add_pipeline("p", parts());
    (status, pipeline)
}

fn redis_down() -> Fault {
    Fault::transient(Code::RedisUnreachable, "redis cannot be reached")
}

fn missing(status: &Status) -> Vec<String> {
    status.readiness(false).reasons.iter().map(ToString::to_string).collect()
}

#[test]
fn ready_means_that_nothing_is_missing_whatever_the_lag() {
    assert_eq!(missing(&Status::new(Metrics::new())), ["host: the pipelines are not set up yet"]);
    let (status, pipeline) = started();
    assert_eq!(
        missing(&status),
        [
            "p: plugin validator: not loaded yet",
            "p: plugin router: not loaded yet",
            "p: sink cache: not connected yet",
            "p: sink copy: not connected yet",
            "p: source: not open yet",
            "p: checkpoint: the opening position is not stored yet",
        ]
    );
    status.plugin_failed("router", &Fault::fatal(Code::PluginImport, "router wants sockets"));
    status.plugin_loaded("validator", loaded(1));
    pipeline.sink_failed(0, &redis_down());
    pipeline.sink_connected(1);
    pipeline.source_failed(&Fault::transient(Code::MongoUnreachable, "mongodb cannot be reached"));
    pipeline.opening_stored();
    let reasons = status.readiness(false).reasons;
    assert_eq!(
        reasons.iter().map(|reason| reason.code).collect::<Vec<_>>(),
        [Some("TG0203"), Some("TG0401"), Some("TG0301")]
    );

    status.plugin_loaded("router", loaded(1));
    pipeline.sink_connected(0);
    pipeline.source_opened(None);
    pipeline.metrics().lag.read(Some(0));
    assert!(pipeline.metrics().lag.seconds() > 1e6);
    assert!(status.readiness(false).ready, "{:?}", missing(&status));

    status.plugin_failed("router", &Fault::fatal(Code::PluginUnreadable, "the new file is broken"));
    assert!(status.readiness(false).ready, "the loaded generation still runs");
    pipeline.paused(Some(&Fault::pause(Code::PluginBreaker, "the plugin fails on everything")));
    assert_eq!(missing(&status), ["p: pipeline: the plugin fails on everything"]);
    assert_eq!(status.readiness(false).reasons[0].code, Some("TG0216"));
    assert_eq!((pipeline.state(), pipeline.view().problem.unwrap().code), (State::Paused, Code::PluginBreaker));
    assert!(status.health().healthy, "starting again would not help a pipeline that pauses");
    pipeline.paused(None);
    assert_eq!(missing(&status), ["p: pipeline: it is paused"]);
    pipeline.source_opened(None);
    pipeline.set_state(State::Running);
    assert!(status.readiness(false).ready && pipeline.view().problem.is_none());
    pipeline.set_state(State::Draining);
    assert_eq!(missing(&status), ["p: pipeline: the host is shutting down"]);
    pipeline.set_state(State::Finished);
    assert!(status.readiness(false).ready);
    pipeline.stopped(&Fault::fatal(Code::MongoPositionLost, "the position is gone"));
    assert_eq!(missing(&status), ["p: pipeline: the position is gone"]);
}

#[test]
fn a_host_is_healthy_until_every_pipeline_has_stopped() {
    let (status, first) = started();
    let second = status.add_pipeline("q", PipelineParts::default());
    first.stopped(&Fault::fatal(Code::MongoPositionLost, "the position is gone"));
    assert!(status.health().healthy);
    second.stopped(&Fault::fatal(Code::RedisDenied, "redis wants a password"));
    let health = status.health();
    assert!(!health.healthy);
    assert_eq!(health.reasons.iter().map(|reason| reason.code).collect::<Vec<_>>(), [Some("TG0304"), Some("TG0402")]);
}

#[test]
fn a_part_that_is_down_makes_the_pipeline_retrying_until_it_is_back() {
    let (status, pipeline) = started();
    let up = &status.metrics().pipeline("p").up;
    pipeline.set_state(State::Running);
    assert_eq!((pipeline.state(), up.get()), (State::Running, 1));
    pipeline.sink_failed(0, &redis_down());
    let since = pipeline.view().problem.unwrap().since;
    pipeline.sink_failed(0, &redis_down());
    assert_eq!((pipeline.state(), up.get()), (State::Retrying, 0));
    let problem = pipeline.view().problem.unwrap();
    assert_eq!((problem.attempt, problem.code, problem.since), (2, Code::RedisUnreachable, since));
    pipeline.sink_connected(0);
    assert_eq!((pipeline.state(), up.get()), (State::Running, 1));
    assert!(pipeline.view().problem.is_none());
    pipeline.stopped(&redis_down());
    pipeline.sink_failed(0, &redis_down());
    assert_eq!((pipeline.state(), up.get()), (State::Stopped, 0), "what is stopped does not retry");
}

#[test]
fn a_circuit_is_open_while_it_waits_and_half_open_while_it_is_tried() {
    let (status, pipeline) = started();
    let wait = Duration::from_secs(40);
    let gauges = || {
        let of = |part: &str| status.metrics().circuit("p", part).get();
        (of("source"), of("sink cache"), of("sink copy"))
    };
    let sinks =
        || pipeline.view().sinks.iter().map(|sink| (sink.circuit.state, sink.circuit.attempt)).collect::<Vec<_>>();
    let closed = (CircuitState::Closed, 0);
    pipeline.sink_trying(0);
    pipeline.source_trying();
    assert_eq!((sinks(), gauges()), (vec![closed, closed], (0, 0, 0)), "the first try is none after a failure");

    pipeline.sink_failed(1, &redis_down());
    pipeline.sink_waiting(1, wait);
    assert_eq!((sinks(), gauges()), (vec![closed, (CircuitState::Open, 1)], (0, 0, 1)));
    let retry_at = pipeline.view().sinks[1].circuit.retry_at.unwrap();
    assert!(retry_at.duration_since(SystemTime::now()).unwrap() > wait / 2);
    pipeline.sink_trying(1);
    assert_eq!((sinks(), gauges()), (vec![closed, (CircuitState::HalfOpen, 1)], (0, 0, 2)));
    assert_eq!(pipeline.view().sinks[1].circuit.retry_at, None);
    pipeline.sink_failed(1, &redis_down());
    assert_eq!((sinks(), gauges()), (vec![closed, (CircuitState::Open, 2)], (0, 0, 1)));
    pipeline.sink_connected(1);
    assert_eq!((sinks(), gauges()), (vec![closed, closed], (0, 0, 0)));

    pipeline.source_failed(&redis_down());
    pipeline.source_waiting(wait);
    pipeline.source_trying();
    assert_eq!((pipeline.view().source.circuit.state, gauges()), (CircuitState::HalfOpen, (2, 0, 0)));
    let page = serde_json::to_value(&status).unwrap();
    assert_eq!(page["pipelines"]["p"]["source"]["circuit"], json!({"state": "half_open", "attempt": 1}));
    assert_eq!(page["pipelines"]["p"]["sinks"][0]["circuit"], json!({"state": "closed"}));
    pipeline.source_opened(None);
    assert_eq!((pipeline.view().source.circuit.state, gauges()), (CircuitState::Closed, (0, 0, 0)));
}

#[test]
fn the_page_tells_all_of_it() {
    let (status, pipeline) = started();
    status.plugin_loaded("validator", loaded(4));
    status.plugin_failed("validator", &Fault::fatal(Code::PluginUnreadable, "no component"));
    pipeline.set_state(State::Running);
    let token = Position::new(vec![7u8; 100]);
    pipeline.source_opened(Some(&token));
    pipeline.source_read(Some(&token), Some(1_700_000_000_123));
    pipeline.source_read(None, None);
    pipeline.set_in_flight(3);
    pipeline.frontier(12, Some(&Position::new(vec![1, 2])));
    pipeline.frontier(13, None);
    pipeline.checkpointed(&Position::new(vec![1, 2]));
    pipeline.metrics().events_in.inc_by(10);
    pipeline.metrics().inflight_bytes.set(900);
    pipeline.metrics().dead_letters(DeadLetterKind::Trap).inc();
    pipeline.sinks()[0].events_out.inc_by(4);
    pipeline.sinks()[1].events_out.inc_by(5);
    status.metrics().stage("p", "router").failures(FailureKind::Trap).inc();

    let page: Value = serde_json::to_value(&status).unwrap();
    let p = &page["pipelines"]["p"];
    assert_eq!(p["state"], "running");
    assert_eq!(p.get("problem"), None);
    assert_eq!(p["source"]["position"], format!("{}...{}", "07".repeat(10), "07".repeat(10)));
    assert_eq!(p["source"]["last_change_at"], "2023-11-14T22:13:20.123Z");
    assert_eq!(
        p["stages"][1],
        json!({"plugin": "router", "calls": 0, "changes": 0, "rejects": 0, "failures": 1, "breaker_open": false})
    );
    assert_eq!(p["sinks"][0]["state"], "connecting");
    assert_eq!(p["counts"]["events_in"], 10);
    assert_eq!(p["counts"]["events_out"], 9);
    assert_eq!(p["counts"]["dead_letters"], json!({"trap": 1}));
    assert_eq!(p["in_flight"], json!({"batches": 3, "bytes": 900}));
    assert_eq!(
        p["frontier"],
        json!({"batch": 13, "position": "0102"}),
        "a batch without a position keeps the last one"
    );
    assert_eq!(p["checkpoint"]["position"], "0102");
    assert_eq!(p["checkpoint"]["path"], "state/p.checkpoint");
    let plugin = &page["plugins"]["validator"];
    assert_eq!(plugin["generation"], 4);
    assert_eq!(plugin["loaded_at"], "1970-01-01T00:00:00.000Z");
    assert_eq!((&plugin["error"]["code"], &plugin["error"]["reason"]), (&json!("TG0202"), &json!("no component")));
    assert_eq!(status.metrics().plugin("validator").generation.get(), 4);
    status.plugin_recovered("validator");
    assert_eq!(serde_json::to_value(&status).unwrap()["plugins"]["validator"].get("error"), None);
}
