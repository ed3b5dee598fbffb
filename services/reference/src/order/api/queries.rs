//! Routes that read orders.

use annals::http::{
    AsOf, HistoryQuery, Page, PathText, Problem, ProblemBody, history_response, json_array, json_response,
};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::{App, instance, not_found};
use crate::openapi::{HistoryEvent, HistoryParameters, MomentParameters, PageParameters};
use crate::order::{Order, OrderStateView, OrderView};
use crate::routes::{read, removed};

/// Every order, in the order of creation.
#[utoipa::path(
    get, path = "/api/order", tag = "order", params(PageParameters),
    responses(
        (status = 200, description = "The orders", body = [OrderView]),
        (status = 422, description = "`limit` or `after` is wrong", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(State(app): State<App>, page: Page) -> Result<Response, Problem> {
    let orders = app.list.read(|orders| orders.page(&page)).await??;
    Ok(json_array(orders))
}

/// A customer's orders, in the order of creation. Nobody's is an empty list.
#[utoipa::path(
    get, path = "/api/order/customer/{customerId}", tag = "order", params(("customerId" = Uuid, Path), PageParameters),
    responses(
        (status = 200, description = "The orders", body = [OrderView]),
        (status = 404, description = "The id is no UUID", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "`limit` or `after` is wrong", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list_of(
    State(app): State<App>,
    customer: PathText,
    page: Page,
) -> Result<Response, Problem> {
    let customer = customer.uuid()?;
    let orders = app.list.read(|orders| orders.page_of(customer, &page)).await??;
    Ok(json_array(orders))
}

/// How far an order is.
#[utoipa::path(
    get, path = "/api/order/state/{id}", tag = "order", params(("id" = Uuid, Path)),
    responses(
        (status = 200, description = "How far the order is", body = OrderStateView, headers(("ETag" = String))),
        (status = 404, description = "There is no such order", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn state(State(app): State<App>, id: PathText) -> Result<Response, Problem> {
    let id = id.uuid()?;
    let order = instance(&app, id);
    match order.read(|order, version| (order.details.is_some(), order.state, version)).await? {
        (true, order_state, version) => {
            Ok(json_response(StatusCode::OK, Some(version), &OrderStateView { id, order_state }))
        }
        (false, ..) => Err(not_found()),
    }
}

/// An order, now or as it was.
#[utoipa::path(
    get, path = "/api/order/{id}", tag = "order", params(("id" = Uuid, Path), MomentParameters),
    responses(
        (status = 200, description = "The order at the version that the ETag names", body = OrderView, headers(("ETag" = String))),
        (status = 404, description = "There is no such order, or there was none then", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "`version` or `at` is wrong", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn show(
    State(app): State<App>,
    id: PathText,
    AsOf(moment): AsOf,
) -> Result<Response, Problem> {
    let id = id.uuid()?;
    let current = read::<Order>(&app.node, id, moment, not_found).await?;
    let details =
        current.state.details.ok_or_else(|| removed::<Order>(current.version, moment, not_found))?;
    let view = OrderView::new(id, details, current.state.state, current.version);
    Ok(json_response(StatusCode::OK, Some(current.version), &view))
}

/// Everything that happened to an order: who, when and why.
#[utoipa::path(
    get, path = "/api/order/{id}/history", tag = "order", params(("id" = Uuid, Path), HistoryParameters),
    responses(
        (status = 200, description = "The events, in the order in which they happened", body = [HistoryEvent]),
        (status = 404, description = "No order ever had this id", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "`from` or `limit` is wrong", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn history(
    State(app): State<App>,
    id: PathText,
    query: HistoryQuery,
) -> Result<Response, Problem> {
    let id = id.uuid()?.to_string();
    history_response(app.node.journal(), &annals::actors::inspector::<Order>(), &id, query).await
}
