//! What the admin server answers.

use axum::{
    Router,
    extract::{RawQuery, State},
    http::{Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Serialize;
use serde_json::json;

use crate::{status::Status, telemetry::metrics};

/// The index at `/`.
const INDEX: &str = "\
tidegate

/health         200 while at least one pipeline has not stopped
/readiness      200 when plugins are loaded, sinks connected, sources open and their positions stored
/metrics        figures for Prometheus (OpenMetrics text)
/api/v1/status  what each pipeline and plugin is doing, as JSON; add ?pretty to read it
";

pub(super) fn router(status: Status) -> Router {
    Router::new()
        .route("/", get(|| async { INDEX }))
        .route("/health", get(health))
        .route("/readiness", get(readiness))
        .route("/metrics", get(metrics))
        .route("/api/v1/status", get(page))
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .with_state(status)
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
