//! What every request passes through: its span, its correlation id, its time limit, its metrics, and errors that look
//! alike wherever they come from.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use tracing::{Instrument, Span, field};

use crate::context::Identity;
use crate::metrics::RequestMetrics;
use crate::{CORRELATION_HEADER, PROBLEM_JSON, Problem, panics};

/// How long a request may take until its answer begins.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// What the middleware keeps between requests.
#[derive(Clone, Default)]
pub(crate) struct Around(Arc<RequestMetrics>);

/// Wraps a request.
pub(crate) async fn around(State(around): State<Around>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let identity = Identity::of(request.headers());
    request.extensions_mut().insert(identity);
    let method = request.method().clone();
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or("unmatched", MatchedPath::as_str);
    let path = request.uri().path().to_owned();
    let span = span(&identity, &method, route);
    let answer = answer(request, next).instrument(span.clone()).await;
    let is_index = matched.is_none() && path == "/" && [Method::GET, Method::HEAD].contains(&method);
    let mut response = if is_index { index() } else { span.in_scope(|| uniform(answer, &path)) };
    span.record("status", response.status().as_u16());
    span.in_scope(|| report(&response, &path));
    around.0.record(route, &method, response.status().as_u16(), began.elapsed());
    if let Ok(value) = HeaderValue::from_str(&identity.correlation.to_string()) {
        response.headers_mut().insert(HeaderName::from_static(CORRELATION_HEADER), value);
    }
    response
}

/// What everything that is logged on behalf of the request stands in.
fn span(identity: &Identity, method: &Method, route: &str) -> Span {
    let span = tracing::info_span!(
        "request",
        %method,
        route,
        correlation_id = %identity.correlation,
        trace_id = field::Empty,
        status = field::Empty
    );
    if let Some(trace) = identity.trace {
        span.record("trace_id", field::display(format_args!("{:032x}", trace.trace_id)));
    }
    span
}

async fn answer(request: Request, next: Next) -> Response {
    let running = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(REQUEST_TIMEOUT, running).await {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => panicked(&*panic).into_response(),
        Err(_) => Problem::new(
            StatusCode::GATEWAY_TIMEOUT,
            "timed_out",
            "no answer in time; a command may still be carried out",
        )
        .into_response(),
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Problem {
    tracing::error!(reason = panics::message(panic), "a route panicked");
    Problem::internal("internal_error", "the service failed over this request; the log says more")
}

/// What there is, for who begins at the root; a service's own route there goes before.
fn index() -> Response {
    Json(serde_json::json!({
        "openapi": "/openapi.json",
        "docs": "/docs",
        "health": { "live": "/livez", "ready": "/readyz", "started": "/startupz" },
        "metrics": "/metrics",
    }))
    .into_response()
}

/// Turns errors that axum answers itself (no route, wrong method, bad path) into problems like all others.
fn uniform(response: Response, path: &str) -> Response {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    // Readiness is no problem, and tells its own reasons.
    let is_ours = |kind: &HeaderValue| kind == PROBLEM_JSON || kind == "application/json";
    if !is_error || response.headers().get(header::CONTENT_TYPE).is_some_and(is_ours) {
        return response;
    }
    let (code, detail) = match status {
        StatusCode::NOT_FOUND => ("route_not_found", format!("there is nothing at {path}")),
        StatusCode::METHOD_NOT_ALLOWED => ("method_not_allowed", format!("{path} does not take this method")),
        _ if status.is_client_error() => ("bad_request", format!("the request to {path} is wrong")),
        _ => ("internal_error", "the service failed over this request; the log says more".to_owned()),
    };
    let mut problem = Problem::new(status, code, detail).into_response();
    if let Some(allow) = response.headers().get(header::ALLOW) {
        problem.headers_mut().insert(header::ALLOW, allow.clone());
    }
    problem
}

/// One line for a request that failed by our fault; for the others only at debug, as for a page that says that the service
/// is not ready: whoever asks for that asks often.
fn report(response: &Response, path: &str) {
    let status = response.status();
    let problem = response.extensions().get::<Problem>();
    let (code, detail) = problem.map_or(("", ""), |problem| (problem.code(), problem.detail()));
    if status == StatusCode::INTERNAL_SERVER_ERROR {
        tracing::error!(path, code, detail, "a request failed");
    } else if status.is_server_error() && problem.is_some() {
        tracing::warn!(path, status = status.as_u16(), code, detail, "a request failed");
    } else {
        tracing::debug!(parent: Span::current(), path, status = status.as_u16(), code, "answered");
    }
}
