//! The description of the routes, and the page to try them, which needs no network.

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::header;
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa_swagger_ui::{Config, SwaggerUi};

/// One document of several services.
pub(crate) fn merged(title: &str, documents: impl IntoIterator<Item = OpenApi>) -> OpenApi {
    let info = InfoBuilder::new().title(title).version(env!("CARGO_PKG_VERSION")).build();
    let empty = OpenApiBuilder::new().info(info).build();
    documents.into_iter().fold(empty, OpenApi::merge_from)
}

/// `/openapi.json` and `/docs`.
pub(crate) fn router(document: &OpenApi) -> Router {
    let text = Bytes::from(serde_json::to_vec(document).unwrap_or_default());
    let json = [(header::CONTENT_TYPE, "application/json")];
    // The validator's badge would ask a server on the internet.
    let page = SwaggerUi::new("/docs").config(Config::from("/openapi.json").validator_url("none"));
    Router::new().route("/openapi.json", get(move || async move { (json, text) })).merge(page)
}
