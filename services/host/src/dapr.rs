//! Dapr's HTTP contract: the sidecar asks what is subscribed to, and brings events.
//!
//! <https://docs.dapr.io/reference/api/pubsub_api/>

use std::sync::Arc;

use annals_bus::dapr::{AppAnswer, AppSubscription, DaprApp, Reception};
use axum::extract::{MatchedPath, Path, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderMap, Method, StatusCode, header};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Problem;
use crate::body::{announced_length, read_body_up_to};

/// The header with what the sidecar shows its app.
const TOKEN_HEADER: &str = "dapr-api-token";

/// What is read of a body at all. What is longer than the app takes becomes a dead letter, so it has to be read.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How many bodies that are longer than the app takes are in memory at once.
const LONG_BODIES_MAX: usize = 2;

/// The content type of a delivery.
const CLOUD_EVENT: &str = "application/cloudevents+json";

/// What the sidecar calls.
#[derive(Clone)]
struct Channel {
    app: DaprApp,
    long_bodies: Arc<Semaphore>,
}

/// `GET /dapr/subscribe`, `POST /dapr/events/{topic}`, and `GET /healthz` for the sidecar's app health checks.
pub(crate) fn router(app: DaprApp) -> Router {
    let channel = Channel { app, long_bodies: Arc::new(Semaphore::new(LONG_BODIES_MAX)) };
    let guarded = Router::new()
        .route("/dapr/subscribe", get(subscriptions))
        .route("/dapr/events/{topic}", post(deliver))
        .route_layer(middleware::from_fn_with_state(channel.clone(), check));
    // The sidecar sends no token with its health checks.
    Router::new().route("/healthz", get(healthy)).merge(guarded).with_state(channel)
}

/// The sidecar takes 404 for "never again". An event that is brought to a route that is none is a mistake of who wrote the
/// route, and stays with the broker until that is mended.
pub(crate) async fn keep_unrouted(request: Request, next: Next) -> Response {
    let is_event = request.method() == Method::POST && is_cloud_event(request.headers());
    let has_route = request.extensions().get::<MatchedPath>().is_some();
    let path = request.uri().path().to_owned();
    let response = next.run(request).await;
    if has_route || !is_event || response.status() != StatusCode::NOT_FOUND {
        return response;
    }
    not_subscribed(format!("no event is taken at {path}; its route is /dapr/events/TOPIC")).into_response()
}

fn is_cloud_event(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case(CLOUD_EVENT))
}

async fn check(State(channel): State<Channel>, request: Request, next: Next) -> Response {
    let token = request.headers().get(TOKEN_HEADER).map(|token| token.as_bytes());
    // Over HTTP every sidecar sends its token, wherever it is.
    if channel.app.is_from_sidecar(token, None) {
        return next.run(request).await;
    }
    tracing::error!("a delivery without the app token, or with a wrong one, was refused");
    Problem::new(StatusCode::UNAUTHORIZED, "sidecar_unauthorized", "the app token is wrong or missing")
        .into_response()
}

async fn subscriptions(State(channel): State<Channel>) -> Json<Vec<AppSubscription>> {
    Json(channel.app.subscriptions())
}

/// Nothing is read of what would not be taken anyway.
async fn deliver(
    State(channel): State<Channel>,
    Path(topic): Path<String>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    match channel.app.reception(&topic) {
        Reception::Welcome => {}
        Reception::Later => return Ok(said(AppAnswer::Retry)),
        Reception::NotSubscribed => {
            return Err(not_subscribed(format!("this service does not subscribe to \"{topic}\"")));
        }
    }
    let _room = channel.room(request.headers()).await;
    let (parts, body) = request.into_parts();
    let body = read_body_up_to(BODY_BYTES_MAX, &parts.headers, body)
        .await
        .inspect_err(|problem| channel.app.unread(&topic, problem.code()))?;
    let content_type =
        parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    Ok(said(channel.app.deliver(&topic, content_type, &body).await))
}

impl Channel {
    /// Waits until there is room for a body that is longer than the app takes, or that does not say how long it is.
    async fn room(&self, headers: &HeaderMap) -> Option<OwnedSemaphorePermit> {
        let length = announced_length(headers).unwrap_or(u64::MAX);
        if length <= self.app.body_bytes_max() as u64 || length > BODY_BYTES_MAX as u64 && length < u64::MAX {
            return None;
        }
        // It is closed by nobody.
        Arc::clone(&self.long_bodies).acquire_owned().await.ok()
    }
}

fn said(answer: AppAnswer) -> Json<Value> {
    Json(json!({ "status": answer }))
}

fn not_subscribed(detail: String) -> Problem {
    Problem::new(StatusCode::MISDIRECTED_REQUEST, "topic_not_subscribed", detail)
}

async fn healthy(State(channel): State<Channel>) -> StatusCode {
    if channel.app.is_healthy() { StatusCode::NO_CONTENT } else { StatusCode::SERVICE_UNAVAILABLE }
}
