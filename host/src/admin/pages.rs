//! What the admin server answers.

use axum::{
    Router,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Serialize;
use serde_json::json;

use super::ACTION_HEADER;
use crate::{host::Control, status::Status, telemetry::metrics};

/// The index at `/`.
const INDEX: &str = "\
tidegate

/health         200 while at least one pipeline has not stopped
/readiness      200 when plugins are loaded, sinks connected, sources open and their positions stored
/metrics        figures for Prometheus (OpenMetrics text)
/api/v1/status  what each pipeline and plugin is doing, as JSON; add ?pretty to read it

POST /api/v1/pipelines/NAME/pause, POST /api/v1/pipelines/NAME/resume
                pause a pipeline, let it go on (with the header x-tidegate-action: 1)
";

pub(super) fn router(status: Status, control: Option<Control>) -> Router {
    let actions = Router::new()
        .route("/api/v1/pipelines/{pipeline}/{action}", post(act))
        .method_not_allowed_fallback(only_post)
        .with_state(control);
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
}

async fn act(
    State(control): State<Option<Control>>,
    Path((pipeline, action)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let refuse = |code, error: String| answer(code, &json!({ "error": error }), false);
    if !headers.contains_key(ACTION_HEADER) {
        let error = format!("a request that changes something needs the header `{ACTION_HEADER}: 1`");
        return refuse(StatusCode::FORBIDDEN, error);
    }
    let paused = match action.as_str() {
        "pause" => true,
        "resume" => false,
        _ => return refuse(StatusCode::NOT_FOUND, format!("a pipeline takes `pause` and `resume`, not `{action}`")),
    };
    let Some(control) = control else {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "the host takes no orders yet".to_owned());
    };
    match control.pause(&pipeline, paused).await {
        Ok(()) => answer(StatusCode::OK, &json!({ "pipeline": pipeline, "paused": paused }), false),
        Err(fault) => refuse(StatusCode::NOT_FOUND, fault.message),
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

async fn readiness(State(status): State<Status>) -> Response {
    let readiness = status.readiness();
    answer(if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &readiness, false)
}

async fn metrics(State(status): State<Status>) -> Response {
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], status.metrics().encode()).into_response()
}

async fn page(State(status): State<Status>, RawQuery(query): RawQuery) -> Response {
    let pretty =
        query.is_some_and(|query| query.split('&').any(|part| part == "pretty" || part.starts_with("pretty=")));
    answer(StatusCode::OK, &status, pretty)
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
