//! Turns aggregates into an HTTP service with a command line.
//!
//! A service author implements [`Service`]: a node with its aggregates, a bus, read models and an [axum] router. The
//! host opens the journal and the snapshots, serves the router beside health, metrics, the API page and the operators'
//! API, and stops everything in order. [`cli::main`] makes a binary of it, with `dev`, `serve` and the operators'
//! commands.
//!
//! What routes need is here too: [`JsonBody`] names every wrong field of a body, [`Gateway`] sends commands so that a
//! request may be repeated under its `Idempotency-Key`, [`ETag`] is the stream's version, [`AsOf`] is time travel,
//! [`ReadModel`] answers lists that hold whatever was acknowledged before, and [`Problem`] is every error, with a
//! stable code and a page ([`explain`]).
//!
//! ```no_run
//! use std::process::ExitCode;
//! use std::sync::Arc;
//!
//! use annals_actors::{Inspector, Node, inspector};
//! use annals_services::{
//!     Accepted, BodyHash, Gateway, Problem, RequestContext, Running, SendAs, Service, ServiceError, Setup,
//! };
//! use axum::{Router, extract::{Path, State}, response::Response, routing::post};
//! use futures_util::future::BoxFuture;
//! use http::StatusCode;
//! # use annals_actors::doc::{Account, AccountCommand};
//!
//! #[derive(Debug)]
//! struct Accounts;
//!
//! impl Service for Accounts {
//!     fn name(&self) -> &'static str {
//!         "accounts"
//!     }
//!
//!     fn inspectors(&self) -> Vec<Arc<dyn Inspector>> {
//!         vec![inspector::<Account>()]
//!     }
//!
//!     fn openapi(&self) -> utoipa::openapi::OpenApi {
//!         utoipa::openapi::OpenApi::default()
//!     }
//!
//!     fn start(&self, setup: Setup) -> BoxFuture<'_, Result<Running, ServiceError>> {
//!         Box::pin(async move {
//!             let node = setup.node().aggregate::<Account>().start().await?;
//!             let router = Router::new()
//!                 .route("/api/account/{id}/deposit/{amount}", post(deposit))
//!                 .with_state((node.clone(), setup.gateway()));
//!             Ok(Running::new(node).router(router))
//!         })
//!     }
//! }
//!
//! async fn deposit(
//!     State((node, gateway)): State<(Node, Gateway)>,
//!     context: RequestContext,
//!     Path((id, amount)): Path<(String, i64)>,
//! ) -> Result<Response, Problem> {
//!     let account = node.aggregate::<Account>(&id);
//!     let command = AccountCommand::Deposit { amount };
//!     let how = SendAs::status(StatusCode::OK);
//!     let done: Accepted = gateway.send(&context, &BodyHash::EMPTY, &account, command, how).await?;
//!     Ok(done.respond(&done.state(&account).await?.state))
//! }
//!
//! fn main() -> ExitCode {
//!     annals_services::cli::main(vec![Arc::new(Accounts)])
//! }
//! ```

mod admin;
mod body;
mod broker;
pub mod cli;
mod context;
#[cfg(feature = "dapr")]
mod dapr;
mod data;
mod description;
mod disk;
mod etag;
mod explain;
pub mod fields;
mod gateway;
mod health;
mod history;
mod host;
mod json_array;
mod metrics;
mod middleware;
mod missing;
mod money;
mod openapi;
mod panics;
mod path;
mod problem;
mod query;
mod read_model;
mod read_only;
mod schemas;
mod server;
mod service;
mod stop;
mod telemetry;
mod time;
mod unreadable;
mod view;

/// The web framework, in the version that routes are written for.
pub use axum;

/// The crate that describes routes, in the version that [`Service::openapi`] wants.
pub use utoipa;

pub use admin::ADMIN_TOKEN_ENV;
pub use body::{BODY_BYTES_MAX, BodyHash, JsonBody, parse_body};
pub use broker::Carrier;
pub use context::{ACTOR_HEADER, CORRELATION_HEADER, IDEMPOTENCY_KEY_HEADER, RequestContext};
pub use data::DataError;
pub use disk::DiskOptions;
pub use etag::ETag;
pub use explain::{codes, explain};
pub use fields::{
    Fields, FromFields, Rule, boolean, etag, integer, list, money, object, text, text_of, time, uuid,
};
pub use gateway::{Accepted, Gateway, REPLAYED_HEADER, SendAs, SendFailure};
pub use history::{EventJson, ShowError, history_response};
pub use host::{Host, HostError, HostOptions};
pub use json_array::{json_array, json_array_of, json_response};
pub use middleware::REQUEST_TIMEOUT;
pub use missing::missing_at;
pub use money::{Money, MoneyError};
pub use path::{PathText, path_uuid};
pub use problem::{FieldError, PROBLEM_JSON, Problem, ProblemBody, ProblemFieldError};
pub use query::{AsOf, HistoryQuery, Page};
pub use read_model::{Fold, READ_MODEL_TIMEOUT, ReadModel, ReadModelError};
pub use server::ConnectionOptions;
pub use service::{Running, Service, ServiceError, Setup, TopicDescription};
pub use telemetry::{LOG_FILTER_ENV, LogFormat};
pub use time::{parse_time, rfc3339, time_text};
