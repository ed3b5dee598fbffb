//! The Order service over HTTP.

use annals::actors::AggregateRef;
use annals::http::{Accepted, Problem};
use axum::Router;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, put};
use utoipa::OpenApi;
use uuid::Uuid;

use super::view::Orders;
use super::{Order, OrderRejection, OrderView};

mod commands;
mod queries;

type App = crate::routes::App<Orders>;

/// Where the routes begin.
pub(crate) const BASE: &str = "/api/order";

/// The routes.
pub(crate) fn router(app: App) -> Router {
    Router::new()
        .route(BASE, get(queries::list).post(commands::create).put(commands::change))
        .route("/api/order/customer/{customer_id}", get(queries::list_of))
        .route("/api/order/state/{id}", get(queries::state))
        .route("/api/order/ship/{id}/{etag}", put(commands::ship))
        .route("/api/order/cancel/{id}/{etag}", put(commands::cancel))
        .route("/api/order/{id}", get(queries::show).delete(commands::remove))
        .route("/api/order/{id}/history", get(queries::history))
        .with_state(app)
}

/// What the routes take and answer.
#[derive(Debug, OpenApi)]
#[openapi(
    info(title = "Order"),
    paths(
        queries::list, queries::list_of, queries::state, queries::show, queries::history,
        commands::create, commands::change, commands::ship, commands::cancel, commands::remove,
    ),
    tags((name = "order", description = "Orders"))
)]
pub(crate) struct Api;

fn instance(app: &App, id: Uuid) -> AggregateRef<Order> {
    app.node.aggregate(id.to_string())
}

fn location(id: Uuid) -> String {
    format!("{BASE}/{id}")
}

/// The answer to an accepted command: the state that it led to.
async fn answer(app: &App, accepted: &Accepted) -> Result<Response, Problem> {
    let id = annals::http::path_uuid(&accepted.id)?;
    let order = accepted.state(&instance(app, id)).await?.state;
    let view = OrderView::new(id, order.details.ok_or_else(not_found)?, order.state, accepted.version);
    if accepted.status == StatusCode::CREATED {
        return Ok(accepted.located(&location(id), &view));
    }
    Ok(accepted.respond(&view))
}

fn not_found() -> Problem {
    Problem::not_found(OrderRejection::NotFound.to_string())
}

fn refuse(rejection: OrderRejection) -> Problem {
    match rejection {
        OrderRejection::Exists => Problem::conflict(rejection.code(), rejection.to_string()),
        OrderRejection::NotFound => not_found(),
        OrderRejection::AlreadyShipped | OrderRejection::AlreadyCancelled => {
            Problem::rejected(rejection.code(), rejection.to_string())
        }
    }
}
