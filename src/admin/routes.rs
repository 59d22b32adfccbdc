//! What is where, and what is said to requests for something else.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde_json::Value;

use super::guard::Refusal;
use super::places::Place;
use super::server::Peer;
use super::state::State;
use super::{answers, guard};
use crate::config::LogLevel;
use crate::printable::printable_json;
use crate::telemetry::metrics::Snapshot;
use crate::telemetry::metrics::text::Format;

/// Paths and what is there.
const ROUTES: [(&str, &str); 7] = [
    ("/live", "200 while the bridge runs"),
    ("/ready", "200 if health checks of HAProxy are answered well, else 503 and why"),
    ("/metrics", "metrics for Prometheus, as classic text or OpenMetrics"),
    ("/config", "the configuration that runs, with defaults and without secrets"),
    ("/backends", "backends, their endpoints and how they are"),
    ("/connections", "who is connected"),
    ("/log-level", "the log level; PUT error, warn, info, debug or trace changes it until the next reload"),
];

/// The longest body of a request.
const MAX_BODY: usize = 64;
/// For it to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

type Answer = Response<Full<Bytes>>;

pub(super) async fn answer(request: Request<Incoming>, peer: Peer, place: &Place, state: &Arc<State>) -> Answer {
    let has_place = place.ask();
    let mut answer = match probe(&request, state) {
        Some(answer) => answer,
        None if has_place => question(request, peer, state).await,
        None => text(StatusCode::SERVICE_UNAVAILABLE, "Too many ask at a time. Try again.\n"),
    };
    if has_place {
        place.answered();
    } else {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

/// What probes ask is answered at once: without a turn, and whatever they take this host for.
fn probe(request: &Request<Incoming>, state: &State) -> Option<Answer> {
    match request.uri().path() {
        "/live" if is_read(request) => Some(text(StatusCode::OK, "live\n")),
        "/ready" if is_read(request) => Some(ready(state)),
        _ => None,
    }
}

async fn question(request: Request<Incoming>, peer: Peer, state: &Arc<State>) -> Answer {
    let path = request.uri().path();
    // Prometheus asks by the name of a service. No page comes by a Unix socket.
    if !(path == "/metrics" && is_read(&request)) && peer != Peer::Unix {
        let known = &state.running().config.admin.hosts;
        if let Err(Refusal(status, why)) = guard::check(&request, known) {
            return text(status, why);
        }
    }
    if request.method() == Method::PUT && path == "/log-level" {
        return set_log_level(request, peer, state).await;
    }
    let _turn = state.turn().await;
    let path = request.uri().path();
    let is_read = is_read(&request);
    match path {
        "/log-level" if !is_read => not_allowed("GET, HEAD, PUT"),
        _ if !is_read && (path == "/" || ROUTES.iter().any(|(known, _)| *known == path)) => not_allowed("GET, HEAD"),
        "/" => text(StatusCode::OK, format!("spop-bridge {}\n\n{}", env!("CARGO_PKG_VERSION"), list())),
        "/metrics" => aside(state, metrics(&request)).await,
        "/config" => aside(state, |state| json(&answers::config(state))).await,
        "/backends" => aside(state, |state| json(&answers::backends(state))).await,
        "/connections" => aside(state, |state| json(&answers::connections(state))).await,
        "/log-level" => json(&answers::log_level(state)),
        _ => text(StatusCode::NOT_FOUND, format!("Nothing here. There is:\n\n{}", list())),
    }
}

/// Makes an answer that is as long as the configuration, on a thread where nothing waits for it: with ten thousand routes it takes a
/// while.
async fn aside(state: &Arc<State>, make: impl FnOnce(&State) -> Answer + Send + 'static) -> Answer {
    let state = Arc::clone(state);
    let made = tokio::task::spawn_blocking(move || make(&state)).await;
    // A bug: hyper would close the connection.
    made.unwrap_or_else(|_| text(StatusCode::INTERNAL_SERVER_ERROR, "Internal error, please report it.\n"))
}

fn is_read<B>(request: &Request<B>) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
}

fn ready(state: &State) -> Answer {
    let obstacles = state.obstacles();
    if obstacles.is_empty() {
        return text(StatusCode::OK, "ready\n");
    }
    text(StatusCode::SERVICE_UNAVAILABLE, obstacles.iter().map(|line| format!("{line}\n")).collect::<String>())
}

fn metrics(request: &Request<Incoming>) -> impl FnOnce(&State) -> Answer + Send + use<> {
    let accepts = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = Format::accepted(&accepts.collect::<Vec<_>>().join(","));
    move |_| response(StatusCode::OK, format.content_type(), Snapshot::now().text(format))
}

async fn set_log_level(request: Request<Incoming>, peer: Peer, state: &State) -> Answer {
    if peer == Peer::Remote {
        return text(StatusCode::FORBIDDEN, "Only from this machine: from a loopback address, or by a Unix socket.\n");
    }
    let body = tokio::time::timeout(BODY_TIMEOUT, Limited::new(request.into_body(), MAX_BODY).collect()).await;
    let body = body.ok().and_then(Result::ok).map(|body| body.to_bytes()).unwrap_or_default();
    match str::from_utf8(&body).unwrap_or_default().trim().parse::<LogLevel>() {
        Ok(level) => {
            let before = state.log_level();
            state.set_log_level(level);
            tracing::info!(level = level.as_str(), before = before.as_str(), "log level changed, until the next reload");
            json(&answers::log_level(state))
        }
        Err(expected) => text(StatusCode::BAD_REQUEST, format!("The body is no log level: {expected}.\n")),
    }
}

fn not_allowed(methods: &'static str) -> Answer {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, format!("Only {methods}.\n"));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    answer
}

fn list() -> String {
    ROUTES.iter().map(|(path, what)| format!("{path:<13} {what}\n")).collect()
}

fn json(value: &Value) -> Answer {
    response(StatusCode::OK, "application/json", printable_json(&format!("{value:#}\n")).into_owned())
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    response(status, "text/plain; charset=utf-8", text)
}

fn response(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
