//! What the admin server answers.

use std::net::SocketAddr;

use axum::{
    Router,
    extract::{ConnectInfo, Path, RawQuery, State},
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Serialize;
use serde_json::json;

use super::{ACTION_HEADER, guard::Guard};
use crate::{
    error::{Code, Fault},
    host::Control,
    plugin::PluginControl,
    status::Status,
    telemetry::metrics,
};

/// The index at `/`.
const INDEX: &str = "\
tidegate

/health         200 while at least one pipeline has not stopped
/readiness      200 when plugins are loaded, sinks connected, sources open and their positions stored; ?standby: or standing by
/metrics        figures for Prometheus (OpenMetrics text)
/api/v1/status  what each pipeline and plugin is doing, as JSON; add ?pretty to read it
/api/v1/plugins which generation of each plugin runs, what is tried, what is barred; NAME/history: what happened

POST /api/v1/pipelines/NAME/pause    pause a pipeline
POST /api/v1/pipelines/NAME/resume   let it go on
POST /api/v1/plugins/NAME/promote    promote the candidate of a plugin
POST /api/v1/plugins/NAME/rollback   take the newest step of a plugin back
                with the header x-tidegate-action: 1, and the token where there is one
";

/// What those who give orders go through.
#[derive(Clone)]
struct Desk {
    control: Option<Control>,
    guard: Guard,
}

pub(super) fn router(status: Status, control: Option<Control>, guard: Guard) -> Router {
    let desk = Desk { control, guard };
    let actions = Router::new()
        .route("/api/v1/pipelines/{pipeline}/{action}", post(act))
        .route("/api/v1/plugins/{plugin}/promote", post(promote))
        .route("/api/v1/plugins/{plugin}/rollback", post(rollback))
        .method_not_allowed_fallback(only_post)
        .with_state(desk.clone());
    let plugins = Router::new()
        .route("/api/v1/plugins", get(plugins))
        .route("/api/v1/plugins/{plugin}/history", get(history))
        .method_not_allowed_fallback(not_allowed)
        .with_state(desk);
    Router::new()
        .route("/", get(|| async { INDEX }))
        .route("/health", get(health))
        .route("/readiness", get(readiness))
        .route("/metrics", get(metrics))
        .route("/api/v1/status", get(page))
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .with_state(status)
        .merge(actions)
        .merge(plugins)
}

fn refuse(code: StatusCode, fault: &Fault) -> Response {
    answer(code, &json!({ "error": fault.message, "code": fault.code.as_str() }), false)
}

fn is_pretty(query: Option<&str>) -> bool {
    query.is_some_and(|query| query.split('&').any(|part| part == "pretty" || part.starts_with("pretty=")))
}

impl Desk {
    /// The host, for somebody who may change something.
    fn open(&self, headers: &HeaderMap, peer: SocketAddr) -> Result<&Control, Box<Response>> {
        let denied = match self.guard.token {
            Some(_) if headers.contains_key(ACTION_HEADER) => StatusCode::UNAUTHORIZED,
            _ => StatusCode::FORBIDDEN,
        };
        self.guard.may_act(headers, peer).map_err(|fault| Box::new(refuse(denied, &fault)))?;
        self.control.as_ref().ok_or_else(|| Box::new(not_yet()))
    }
}

fn not_yet() -> Response {
    refuse(StatusCode::SERVICE_UNAVAILABLE, &Fault::fatal(Code::NotRunning, "the host takes no orders yet"))
}

async fn act(
    State(desk): State<Desk>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path((pipeline, action)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let control = match desk.open(&headers, peer) {
        Ok(control) => control,
        Err(refused) => return *refused,
    };
    let paused = match action.as_str() {
        "pause" => true,
        "resume" => false,
        _ => {
            let error = format!("a pipeline takes `pause` and `resume`, not `{action}`");
            return answer(StatusCode::NOT_FOUND, &json!({ "error": error }), false);
        }
    };
    match control.pause(&pipeline, paused).await {
        Ok(()) => answer(StatusCode::OK, &json!({ "pipeline": pipeline, "paused": paused }), false),
        Err(fault) => refuse(StatusCode::NOT_FOUND, &fault),
    }
}

async fn promote(
    State(desk): State<Desk>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(plugin): Path<String>,
    headers: HeaderMap,
) -> Response {
    step(&desk, peer, &headers, plugin, PluginControl::promote).await
}

async fn rollback(
    State(desk): State<Desk>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(plugin): Path<String>,
    headers: HeaderMap,
) -> Response {
    step(&desk, peer, &headers, plugin, PluginControl::rollback).await
}

/// A step of a plugin. It may compile a component, and waits for one that is being compiled: not on a thread of the runtime.
async fn step(
    desk: &Desk,
    peer: SocketAddr,
    headers: &HeaderMap,
    plugin: String,
    take: fn(&PluginControl, &str) -> Result<String, Fault>,
) -> Response {
    let control = match desk.open(headers, peer) {
        Ok(control) => control.plugins().clone(),
        Err(refused) => return *refused,
    };
    let done = tokio::task::spawn_blocking({
        let plugin = plugin.clone();
        move || take(&control, &plugin)
    });
    match done.await {
        Ok(Ok(done)) => answer(StatusCode::OK, &json!({ "plugin": plugin, "done": done }), false),
        Ok(Err(fault)) if fault.code == Code::NotRunning => refuse(StatusCode::NOT_FOUND, &fault),
        Ok(Err(fault)) => refuse(StatusCode::CONFLICT, &fault),
        Err(cause) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &Fault::fatal(Code::Internal, cause.to_string())),
    }
}

async fn plugins(
    State(desk): State<Desk>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let Some(control) = &desk.control else { return not_yet() };
    let plugins = control.plugins().list(desk.guard.knows(&headers, peer));
    answer(StatusCode::OK, &json!({ "plugins": plugins }), is_pretty(query.as_deref()))
}

async fn history(State(desk): State<Desk>, Path(plugin): Path<String>, RawQuery(query): RawQuery) -> Response {
    let Some(control) = &desk.control else { return not_yet() };
    match control.plugins().history(&plugin) {
        Ok(entries) => answer(StatusCode::OK, &json!({ "history": entries }), is_pretty(query.as_deref())),
        Err(fault) => refuse(StatusCode::NOT_FOUND, &fault),
    }
}

async fn only_post(method: Method, uri: Uri) -> Response {
    let error = format!("{} does not take {method}; use POST", uri.path());
    let mut response = answer(StatusCode::METHOD_NOT_ALLOWED, &json!({ "error": error }), false);
    response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("POST"));
    response
}

async fn health(State(status): State<Status>) -> Response {
    let health = status.health();
    answer(if health.healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &health, false)
}

async fn readiness(State(status): State<Status>, RawQuery(query): RawQuery) -> Response {
    let standby = query.is_some_and(|query| query.split('&').any(|part| part == "standby"));
    let readiness = status.readiness(standby);
    answer(if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &readiness, false)
}

async fn metrics(State(status): State<Status>) -> Response {
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], status.metrics().encode()).into_response()
}

async fn page(State(status): State<Status>, RawQuery(query): RawQuery) -> Response {
    answer(StatusCode::OK, &status, is_pretty(query.as_deref()))
}

async fn not_found(uri: Uri) -> Response {
    let error = format!("there is nothing at {}; / lists what there is", uri.path());
    answer(StatusCode::NOT_FOUND, &json!({ "error": error }), false)
}

async fn not_allowed(method: Method, uri: Uri) -> Response {
    let error = format!("{} does not take {method}; use GET", uri.path());
    let mut response = answer(StatusCode::METHOD_NOT_ALLOWED, &json!({ "error": error }), false);
    response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET,HEAD"));
    response
}

/// JSON that no cache keeps, with a line break at its end for people at a terminal.
fn answer(code: StatusCode, body: &impl Serialize, pretty: bool) -> Response {
    let text = if pretty { serde_json::to_string_pretty(body) } else { serde_json::to_string(body) };
    match text {
        Ok(text) => {
            let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
            (code, headers, text + "\n").into_response()
        }
        // A path that is no UTF-8 is the one thing JSON cannot say.
        Err(cause) => (StatusCode::INTERNAL_SERVER_ERROR, format!("the answer cannot be written as JSON: {cause}\n"))
            .into_response(),
    }
}
