//! Dapr's HTTP contract: the sidecar asks what is subscribed to, and brings events.
//!
//! <https://docs.dapr.io/reference/api/pubsub_api/>

use std::net::SocketAddr;

use annals_bus::dapr::{AppAnswer, AppSubscription, DaprApp, Reception};
use axum::body::Body;
use axum::extract::{ConnectInfo, MatchedPath, Path, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::StreamExt;
use http::{HeaderMap, Method, StatusCode, header};
use serde_json::{Value, json};

use crate::Problem;
use crate::admin::is_on_behalf;
use crate::body::{announced_length, incomplete, too_large};

/// The header with what the sidecar shows its app.
const TOKEN_HEADER: &str = "dapr-api-token";

/// How much of a body is listened to, most of it without being kept: a sidecar that is cut off while it sends hears no
/// answer, and brings the event again for ever.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The content type of a delivery.
const CLOUD_EVENT: &str = "application/cloudevents+json";

/// `GET /dapr/subscribe`, `POST /dapr/events/{topic}`, and `GET /healthz` for the sidecar's app health checks.
pub(crate) fn router(app: DaprApp) -> Router {
    let guarded = Router::new()
        .route("/dapr/subscribe", get(subscriptions))
        .route("/dapr/events/{topic}", post(deliver))
        .route_layer(middleware::from_fn_with_state(app.clone(), check));
    // The sidecar sends no token with its health checks.
    Router::new().route("/healthz", get(healthy)).merge(guarded).with_state(app)
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
    content_type(headers).split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(CLOUD_EVENT))
}

fn content_type(headers: &HeaderMap) -> &str {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

async fn check(State(app): State<DaprApp>, request: Request, next: Next) -> Response {
    let token = request.headers().get(TOKEN_HEADER).map(|token| token.as_bytes());
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    // A proxy on this machine, or a browser, is nobody to believe: somebody else may be behind it.
    let peer = peer.filter(|_| !is_on_behalf(request.headers()));
    if app.is_from_sidecar(token, peer) {
        return next.run(request).await;
    }
    tracing::error!("a delivery without the app token, or with a wrong one, was refused");
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "sidecar_unauthorized",
        "the app token is wrong or missing; without one (APP_API_TOKEN), only a sidecar on this machine is believed",
    )
    .into_response()
}

async fn subscriptions(State(app): State<DaprApp>) -> Json<Vec<AppSubscription>> {
    Json(app.subscriptions().await)
}

/// Nothing is read of what would not be taken anyway.
async fn deliver(
    State(app): State<DaprApp>,
    Path(topic): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    match app.reception(&topic) {
        Reception::Welcome => {}
        Reception::Later => return Ok(said(AppAnswer::Retry)),
        Reception::NotSubscribed => {
            return Err(not_subscribed(format!("this service does not subscribe to \"{topic}\"")));
        }
    }
    let read = read(&headers, body, app.body_bytes_kept()).await;
    let content_type = content_type(&headers);
    Ok(said(match read.inspect_err(|problem| app.unread(&topic, problem.code()))? {
        Read::Whole(body) => app.deliver(&topic, content_type, &body).await,
        Read::Beginning(body) => app.deliver_cut(&topic, content_type, &body).await,
    }))
}

/// A body, as far as it was kept.
enum Read {
    Whole(Vec<u8>),
    Beginning(Vec<u8>),
}

/// Reads a body and keeps so many bytes of it; one that says that it is far too long is not read.
async fn read(headers: &HeaderMap, body: Body, kept_max: usize) -> Result<Read, Problem> {
    if announced_length(headers).is_some_and(|length| length > BODY_BYTES_MAX as u64) {
        return Err(too_large(BODY_BYTES_MAX));
    }
    let (mut kept, mut length, mut pieces) = (Vec::new(), 0_usize, body.into_data_stream());
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|_| incomplete())?;
        length = length.saturating_add(piece.len());
        if length > BODY_BYTES_MAX {
            break;
        }
        let room = kept_max.saturating_sub(kept.len());
        kept.extend_from_slice(&piece[..room.min(piece.len())]);
    }
    Ok(if length > kept.len() { Read::Beginning(kept) } else { Read::Whole(kept) })
}

fn said(answer: AppAnswer) -> Json<Value> {
    Json(json!({ "status": answer }))
}

fn not_subscribed(detail: String) -> Problem {
    Problem::new(StatusCode::MISDIRECTED_REQUEST, "topic_not_subscribed", detail)
}

async fn healthy(State(app): State<DaprApp>) -> StatusCode {
    if app.is_healthy() { StatusCode::NO_CONTENT } else { StatusCode::SERVICE_UNAVAILABLE }
}

#[cfg(test)]
mod tests;
