//! The Customer service over HTTP.

use annals::actors::AggregateRef;
use annals::http::{
    Accepted, AsOf, HistoryQuery, JsonBody, Page, PathText, Problem, ProblemBody, RequestContext, SendAs,
    history_response, json_array, json_response, path_uuid,
};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use utoipa::OpenApi;
use uuid::Uuid;

use super::request::{ChangedCustomer, NewCustomer};
use super::view::Customers;
use super::{Customer, CustomerCommand, CustomerDetails, CustomerRejection, CustomerView};
use crate::openapi::{HistoryEvent, HistoryParameters, MomentParameters, PageParameters};
use crate::routes::{expected, read, removed};

type App = crate::routes::App<Customers>;

/// Where the routes begin.
pub(crate) const BASE: &str = "/api/customer";

/// The routes.
pub(crate) fn router(app: App) -> Router {
    Router::new()
        .route(BASE, get(list).post(create).put(change))
        .route("/api/customer/{id}", get(show).delete(remove))
        .route("/api/customer/{id}/history", get(history))
        .with_state(app)
}

/// What the routes take and answer.
#[derive(Debug, OpenApi)]
#[openapi(
    info(title = "Customer"),
    paths(list, create, change, show, remove, history),
    tags((name = "customer", description = "Customers"))
)]
pub(crate) struct Api;

/// Every customer, in the order of creation.
#[utoipa::path(
    get, path = "/api/customer", tag = "customer", params(PageParameters),
    responses(
        (status = 200, description = "The customers", body = [CustomerView]),
        (status = 422, description = "`limit` or `after` is wrong", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn list(State(app): State<App>, page: Page) -> Result<Response, Problem> {
    let customers = app.list.read(|customers| customers.page(&page)).await??;
    Ok(json_array(customers))
}

/// Creates a customer.
#[utoipa::path(
    post, path = "/api/customer", tag = "customer", request_body = NewCustomer,
    params(("Idempotency-Key" = Option<String>, Header, description = "Sent again under the same key, the request has no second effect")),
    responses(
        (status = 201, description = "The customer, created", body = CustomerView, headers(("Location" = String), ("ETag" = String))),
        (status = 409, description = "The id exists", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "Fields are wrong; each is named", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn create(
    State(app): State<App>,
    context: RequestContext,
    body: JsonBody<NewCustomer>,
) -> Result<Response, Problem> {
    let id = app.gateway.new_id(&context, body.value.id)?;
    let details = CustomerDetails::from(body.value);
    let customer = instance(&app, id);
    let command = CustomerCommand::Create(details.clone());
    let options = SendAs::status(StatusCode::CREATED);
    let accepted = app.gateway.send(&context, &body.hash, &customer, command, options).await;
    let accepted = accepted.map_err(|failure| failure.reject_with(refuse))?;
    if accepted.replayed {
        return answer(&app, &accepted).await;
    }
    Ok(accepted.located(&location(id), &CustomerView::new(id, details, accepted.version)))
}

/// Changes a customer: the whole of it, at the version that the eTag names.
#[utoipa::path(
    put, path = "/api/customer", tag = "customer", request_body = ChangedCustomer,
    params(
        ("If-Match" = Option<String>, Header, description = "The version that is changed, if the body has no eTag"),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again under the same key, the request has no second effect"),
    ),
    responses(
        (status = 200, description = "The customer at the version that the ETag names", body = CustomerView, headers(("ETag" = String))),
        (status = 404, description = "There is no such customer", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "The eTag is stale", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "Fields are wrong; each is named", body = ProblemBody, content_type = "application/problem+json"),
        (status = 428, description = "There is no eTag", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn change(
    State(app): State<App>,
    context: RequestContext,
    body: JsonBody<ChangedCustomer>,
) -> Result<Response, Problem> {
    if let Some(accepted) = app.gateway.replay(&context, &body.hash).await? {
        return answer(&app, &accepted).await;
    }
    let customer = instance(&app, body.value.id);
    let exists = customer.read(|customer, _| customer.details.is_some()).await?;
    let expected = expected(&context, body.value.e_tag, exists, not_found)?;
    let command = CustomerCommand::Change(body.value.into());
    let options = SendAs::status(StatusCode::OK).expecting(expected);
    let accepted = app.gateway.send(&context, &body.hash, &customer, command, options).await;
    answer(&app, &accepted.map_err(|failure| failure.reject_with(refuse))?).await
}

/// A customer, now or as it was.
#[utoipa::path(
    get, path = "/api/customer/{id}", tag = "customer", params(("id" = Uuid, Path), MomentParameters),
    responses(
        (status = 200, description = "The customer at the version that the ETag names", body = CustomerView, headers(("ETag" = String))),
        (status = 404, description = "There is no such customer, or there was none then", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "`version` or `at` is wrong", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn show(State(app): State<App>, id: PathText, AsOf(moment): AsOf) -> Result<Response, Problem> {
    let id = id.uuid()?;
    let current = read::<Customer>(&app.node, id, moment, not_found).await?;
    let details =
        current.state.details.ok_or_else(|| removed::<Customer>(current.version, moment, not_found))?;
    let view = CustomerView::new(id, details, current.version);
    Ok(json_response(StatusCode::OK, Some(current.version), &view))
}

/// Removes a customer. One that is not there is removed already.
#[utoipa::path(
    delete, path = "/api/customer/{id}", tag = "customer",
    params(("id" = Uuid, Path), ("If-Match" = Option<String>, Header, description = "The version to remove, and no other")),
    responses(
        (status = 204, description = "There is none any more"),
        (status = 404, description = "The id is no UUID", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "`If-Match` is stale", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "`If-Match` names several versions", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn remove(State(app): State<App>, context: RequestContext, id: PathText) -> Result<Response, Problem> {
    let customer = instance(&app, id.uuid()?);
    let if_match = context.if_match()?;
    if customer.read(|customer, _| customer.details.is_some()).await? {
        let options = if_match.into_iter().fold(SendAs::status(StatusCode::NO_CONTENT), SendAs::expecting);
        let removed = app.gateway.send_plain(&context, &customer, CustomerCommand::Remove, options).await;
        removed.map_err(|failure| failure.reject_with(refuse))?;
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Everything that happened to a customer: who, when and why.
#[utoipa::path(
    get, path = "/api/customer/{id}/history", tag = "customer", params(("id" = Uuid, Path), HistoryParameters),
    responses(
        (status = 200, description = "The events, in the order in which they happened", body = [HistoryEvent]),
        (status = 404, description = "No customer ever had this id", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "`from` or `limit` is wrong", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn history(State(app): State<App>, id: PathText, query: HistoryQuery) -> Result<Response, Problem> {
    let id = id.uuid()?.to_string();
    history_response(app.node.journal(), &annals::actors::inspector::<Customer>(), &id, query).await
}

fn instance(app: &App, id: Uuid) -> AggregateRef<Customer> {
    app.node.aggregate(id.to_string())
}

fn location(id: Uuid) -> String {
    format!("{BASE}/{id}")
}

/// The answer to an accepted command: the state that it led to.
async fn answer(app: &App, accepted: &Accepted) -> Result<Response, Problem> {
    let id = path_uuid(&accepted.id)?;
    let customer = accepted.state(&instance(app, id)).await?.state;
    let view = CustomerView::new(id, customer.details.ok_or_else(not_found)?, accepted.version);
    if accepted.status == StatusCode::CREATED {
        return Ok(accepted.located(&location(id), &view));
    }
    Ok(accepted.respond(&view))
}

fn not_found() -> Problem {
    Problem::not_found(CustomerRejection::NotFound.to_string())
}

fn refuse(rejection: CustomerRejection) -> Problem {
    match rejection {
        CustomerRejection::Exists => Problem::conflict(rejection.code(), rejection.to_string()),
        CustomerRejection::NotFound => not_found(),
    }
}
