//! Dapr's HTTP contract: the sidecar asks what is subscribed to, and brings events.
//!
//! <https://docs.dapr.io/reference/api/pubsub_api/>

use std::net::SocketAddr;

use annals_bus::dapr::{AppSubscription, DaprApp};
use axum::body::Body;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::StreamExt;
use http::{HeaderMap, StatusCode, header};
use serde_json::json;

use crate::Problem;
use crate::admin::is_on_behalf;

/// The header with what the sidecar shows its app.
const TOKEN_HEADER: &str = "dapr-api-token";

/// How much of a body is listened to, most of it without being kept: a sidecar that is cut off while it sends hears no
/// answer, and brings the event again for ever.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// `GET /dapr/subscribe`, `POST /dapr/events/{topic}`, and `GET /healthz` for the sidecar's app health checks.
pub(crate) fn router(app: DaprApp) -> Router {
    let guarded = Router::new()
        .route("/dapr/subscribe", get(subscriptions))
        .route("/dapr/events/{topic}", post(deliver))
        .route_layer(middleware::from_fn_with_state(app.clone(), check));
    // The sidecar sends no token with its health checks.
    Router::new().route("/healthz", get(healthy)).merge(guarded).with_state(app)
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

async fn deliver(
    State(app): State<DaprApp>,
    Path(topic): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<serde_json::Value>, Problem> {
    let content_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let answer = match read(body, app.body_bytes_kept()).await? {
        Read::Whole(body) => app.deliver(&topic, content_type, &body).await,
        Read::Beginning(body) => app.deliver_cut(&topic, content_type, &body).await,
    };
    Ok(Json(json!({ "status": answer })))
}

/// A body, as far as it was kept.
enum Read {
    Whole(Vec<u8>),
    Beginning(Vec<u8>),
}

/// Reads a body and keeps so many bytes of it.
async fn read(body: Body, kept_max: usize) -> Result<Read, Problem> {
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

fn incomplete() -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "body_incomplete", "the body ended before it was complete")
}

async fn healthy(State(app): State<DaprApp>) -> StatusCode {
    if app.is_healthy() { StatusCode::NO_CONTENT } else { StatusCode::SERVICE_UNAVAILABLE }
}

#[cfg(test)]
mod tests;
