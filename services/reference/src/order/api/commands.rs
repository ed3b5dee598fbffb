//! Routes that change orders.

use annals::http::{
    BodyHash, ETag, JsonBody, PathText, Problem, ProblemBody, RequestContext, SendAs, path_uuid,
};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

use super::{App, answer, instance, location, not_found, refuse};
use crate::order::request::{ChangedOrder, NewOrder};
use crate::order::{OrderCommand, OrderDetails, OrderState, OrderView};
use crate::routes::expected;

/// Creates an order.
#[utoipa::path(
    post, path = "/api/order", tag = "order", request_body = NewOrder,
    params(("Idempotency-Key" = Option<String>, Header, description = "Sent again under the same key, the request has no second effect")),
    responses(
        (status = 201, description = "The order, created", body = OrderView, headers(("Location" = String), ("ETag" = String))),
        (status = 409, description = "The id exists", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "Fields are wrong; each is named", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn create(
    State(app): State<App>,
    context: RequestContext,
    body: JsonBody<NewOrder>,
) -> Result<Response, Problem> {
    let id = app.gateway.new_id(&context, body.value.id)?;
    let details = OrderDetails::try_from(body.value)?;
    let order = instance(&app, id);
    let command = OrderCommand::Create(details.clone());
    let options = SendAs::status(StatusCode::CREATED);
    let accepted = app.gateway.send(&context, &body.hash, &order, command, options).await;
    let accepted = accepted.map_err(|failure| failure.reject_with(refuse))?;
    if accepted.replayed {
        return answer(&app, &accepted).await;
    }
    let view = OrderView::new(id, details, OrderState::Created, accepted.version);
    Ok(accepted.located(&location(id), &view))
}

/// Changes an order: the whole of it, at the version that the eTag names.
#[utoipa::path(
    put, path = "/api/order", tag = "order", request_body = ChangedOrder,
    params(
        ("If-Match" = Option<String>, Header, description = "The version that is changed, if the body has no eTag"),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again under the same key, the request has no second effect"),
    ),
    responses(
        (status = 200, description = "The order at the version that the ETag names", body = OrderView, headers(("ETag" = String))),
        (status = 404, description = "There is no such order", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "The eTag is stale", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "Fields are wrong; each is named", body = ProblemBody, content_type = "application/problem+json"),
        (status = 428, description = "There is no eTag", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn change(
    State(app): State<App>,
    context: RequestContext,
    body: JsonBody<ChangedOrder>,
) -> Result<Response, Problem> {
    let (id, e_tag, hash) = (body.value.id, body.value.e_tag, body.hash);
    let command = OrderCommand::Change(body.value.try_into()?);
    carry_out(&app, &context, Change { id, e_tag, hash, command }).await
}

/// Ships an order. One that is on its way stays so.
#[utoipa::path(
    put, path = "/api/order/ship/{id}/{etag}", tag = "order",
    params(
        ("id" = Uuid, Path), ("etag" = String, Path, description = "The version that is shipped"),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again under the same key, the request has no second effect"),
    ),
    responses(
        (status = 200, description = "The order at the version that the ETag names", body = OrderView, headers(("ETag" = String))),
        (status = 404, description = "There is no such order", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "The eTag is stale", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The order was cancelled", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn ship(
    State(app): State<App>,
    context: RequestContext,
    path: PathText<(String, String)>,
) -> Result<Response, Problem> {
    carry_out(&app, &context, Change::by_path(path.get()?, OrderCommand::Ship)?).await
}

/// Cancels an order. One that was cancelled stays so.
#[utoipa::path(
    put, path = "/api/order/cancel/{id}/{etag}", tag = "order",
    params(
        ("id" = Uuid, Path), ("etag" = String, Path, description = "The version that is cancelled"),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again under the same key, the request has no second effect"),
    ),
    responses(
        (status = 200, description = "The order at the version that the ETag names", body = OrderView, headers(("ETag" = String))),
        (status = 404, description = "There is no such order", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "The eTag is stale", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The order is on its way", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn cancel(
    State(app): State<App>,
    context: RequestContext,
    path: PathText<(String, String)>,
) -> Result<Response, Problem> {
    carry_out(&app, &context, Change::by_path(path.get()?, OrderCommand::Cancel)?).await
}

/// Removes an order. One that is not there is removed already.
#[utoipa::path(
    delete, path = "/api/order/{id}", tag = "order",
    params(("id" = Uuid, Path), ("If-Match" = Option<String>, Header, description = "The version to remove, and no other")),
    responses(
        (status = 204, description = "There is none any more"),
        (status = 404, description = "The id is no UUID", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "`If-Match` is stale", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "`If-Match` names several versions", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn remove(
    State(app): State<App>,
    context: RequestContext,
    id: PathText,
) -> Result<Response, Problem> {
    let order = instance(&app, id.uuid()?);
    let if_match = context.if_match()?;
    if order.read(|order, _| order.details.is_some()).await? {
        let options = if_match.into_iter().fold(SendAs::status(StatusCode::NO_CONTENT), SendAs::expecting);
        let removed = app.gateway.send_plain(&context, &order, OrderCommand::Remove, options).await;
        removed.map_err(|failure| failure.reject_with(refuse))?;
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// A change of an order that must exist.
struct Change {
    id: Uuid,
    e_tag: Option<ETag>,
    hash: BodyHash,
    command: OrderCommand,
}

impl Change {
    /// The change that a path with id and eTag asks for; it has no body.
    fn by_path((id, e_tag): (String, String), command: OrderCommand) -> Result<Self, Problem> {
        Ok(Self { id: path_uuid(&id)?, e_tag: Some(ETag::parse(&e_tag)), hash: BodyHash::EMPTY, command })
    }
}

async fn carry_out(app: &App, context: &RequestContext, change: Change) -> Result<Response, Problem> {
    if let Some(accepted) = app.gateway.replay(context, &change.hash).await? {
        return answer(app, &accepted).await;
    }
    let order = instance(app, change.id);
    let exists = order.read(|order, _| order.details.is_some()).await?;
    let expected = expected(context, change.e_tag, exists, not_found)?;
    let options = SendAs::status(StatusCode::OK).expecting(expected);
    let accepted = app.gateway.send(context, &change.hash, &order, change.command, options).await;
    answer(app, &accepted.map_err(|failure| failure.reject_with(refuse))?).await
}
