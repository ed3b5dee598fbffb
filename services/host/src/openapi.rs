//! The description of the routes, and the page to try them, which needs no network.

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::{StatusCode, header};
use utoipa::openapi::path::{Operation, Parameter};
use utoipa::openapi::schema::{Schema, SchemaType, Type};
use utoipa::openapi::{Content, InfoBuilder, OpenApi, Ref, RefOr, Response};
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::{PROBLEM_JSON, ProblemBody};

/// What [`JsonBody`](crate::JsonBody) answers to a body that it does not take.
const BODY_PROBLEMS: [(&str, &str); 4] = [
    ("400", "The body is not JSON, or it ended early"),
    ("413", "The body is too large"),
    ("415", "The body is not sent as `application/json`"),
    ("422", "Fields are wrong; each is named"),
];

/// What the routes of every service refer to.
#[derive(utoipa::OpenApi)]
#[openapi(components(schemas(ProblemBody)))]
struct Shared;

/// One document of several services. It has their titles, or this one where they have none; what the host answers on
/// every route is added.
pub(crate) fn merged(title: &str, documents: impl IntoIterator<Item = OpenApi>) -> OpenApi {
    let documents: Vec<_> = documents.into_iter().collect();
    let title = common_title(&documents).unwrap_or_else(|| title.to_owned());
    let shared = <Shared as utoipa::OpenApi>::openapi();
    let mut document = documents.into_iter().fold(shared, OpenApi::merge_from);
    document.info = InfoBuilder::new().title(title).version(env!("CARGO_PKG_VERSION")).build();
    for operation in operations(&mut document) {
        complete(operation);
    }
    document
}

/// The services' titles, each once.
fn common_title(documents: &[OpenApi]) -> Option<String> {
    let titles = documents.iter().map(|document| document.info.title.as_str());
    let mut titles: Vec<_> = titles.filter(|title| !title.is_empty()).collect();
    titles.dedup();
    (!titles.is_empty()).then(|| titles.join(", "))
}

fn operations(document: &mut OpenApi) -> impl Iterator<Item = &mut Operation> {
    document.paths.paths.values_mut().flat_map(|item| {
        let usual = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
        let rare = [&mut item.head, &mut item.options, &mut item.trace, &mut item.query];
        usual.into_iter().chain(rare).flatten().chain(item.additional_operations.values_mut())
    })
}

fn complete(operation: &mut Operation) {
    qualify(operation);
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(parameter) = parameter {
            make_plain(parameter);
        }
    }
    if operation.request_body.is_some() {
        document_body(operation);
    }
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response {
            describe(status, response);
        }
    }
}

/// Every service may have a route called `list`: its tag tells them apart, whichever services run together.
fn qualify(operation: &mut Operation) {
    let tag = operation.tags.iter().flatten().next();
    if let (Some(tag), Some(id)) = (tag, &operation.operation_id) {
        operation.operation_id = Some(format!("{tag}_{id}"));
    }
}

/// A parameter that may be missing is left out; it is never null.
fn make_plain(parameter: &mut Parameter) {
    let Some(RefOr::T(Schema::Object(object))) = &mut parameter.schema else { return };
    let SchemaType::Array(types) = &mut object.schema_type else { return };
    types.retain(|kind| *kind != Type::Null);
    if let [only] = types.as_slice() {
        object.schema_type = SchemaType::Type(only.clone());
    }
}

/// Adds what every body can be answered with.
fn document_body(operation: &mut Operation) {
    for (status, description) in BODY_PROBLEMS {
        let responses = &mut operation.responses.responses;
        responses.entry(status.to_owned()).or_insert_with(|| RefOr::T(problem(description)));
    }
}

fn problem(description: &str) -> Response {
    let mut response = Response::new(description);
    let content = Content::new(Some(Ref::from_schema_name("ProblemBody")));
    response.content.insert(PROBLEM_JSON.to_owned(), RefOr::T(content));
    response
}

/// OpenAPI wants a description of every response; one that has none is called as its status.
fn describe(status: &str, response: &mut Response) {
    if response.description.is_empty() {
        let known = status.parse::<StatusCode>().ok().and_then(|status| status.canonical_reason());
        known.unwrap_or(status).clone_into(&mut response.description);
    }
}

/// `/openapi.json` and `/docs`.
pub(crate) fn router(document: &OpenApi) -> Router {
    let text = Bytes::from(serde_json::to_vec(document).unwrap_or_default());
    let json = [(header::CONTENT_TYPE, "application/json")];
    // The validator's badge would ask a server on the internet.
    let page = SwaggerUi::new("/docs").config(Config::from("/openapi.json").validator_url("none"));
    Router::new().route("/openapi.json", get(move || async move { (json, text) })).merge(page)
}
