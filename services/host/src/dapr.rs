//! Dapr's HTTP contract: the sidecar asks what is subscribed to, and brings events.
//!
//! <https://docs.dapr.io/reference/api/pubsub_api/>

use annals_bus::dapr::{AppAnswer, AppSubscription, DaprApp};
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use serde_json::json;

use crate::Problem;

/// The header with what the sidecar shows its app.
const TOKEN_HEADER: &str = "dapr-api-token";

/// What is read of a body at all. What is longer than the app takes becomes a dead letter, so it has to be read.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// `GET /dapr/subscribe`, `POST /dapr/events/{topic}`, and `GET /healthz` for the sidecar's app health checks.
pub(crate) fn router(app: DaprApp) -> Router {
    let guarded = Router::new()
        .route("/dapr/subscribe", get(subscriptions))
        .route("/dapr/events/{topic}", post(deliver))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .route_layer(middleware::from_fn_with_state(app.clone(), check));
    // The sidecar sends no token with its health checks.
    Router::new().route("/healthz", get(healthy)).merge(guarded).with_state(app)
}

async fn check(State(app): State<DaprApp>, request: Request, next: Next) -> Response {
    let token = request.headers().get(TOKEN_HEADER).map(|token| token.as_bytes());
    // Over HTTP every sidecar sends its token, wherever it is.
    if app.is_from_sidecar(token, None) {
        return next.run(request).await;
    }
    tracing::error!("a delivery without the app token, or with a wrong one, was refused");
    Problem::new(StatusCode::UNAUTHORIZED, "sidecar_unauthorized", "the app token is wrong or missing")
        .into_response()
}

async fn subscriptions(State(app): State<DaprApp>) -> Json<Vec<AppSubscription>> {
    Json(app.subscriptions())
}

async fn deliver(
    State(app): State<DaprApp>,
    Path(topic): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Json<serde_json::Value> {
    let content_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let answer: AppAnswer = app.deliver(&topic, content_type, &body).await;
    Json(json!({ "status": answer }))
}

async fn healthy(State(app): State<DaprApp>) -> StatusCode {
    if app.is_healthy() { StatusCode::NO_CONTENT } else { StatusCode::SERVICE_UNAVAILABLE }
}
