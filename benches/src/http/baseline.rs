//! The least that a durable answer over HTTP takes: an axum route that parses, waits for the bare log, answers.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::Failure;
use crate::baselines::bare_log::{self, Append};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Customer {
    id: Option<Uuid>,
    first_name: String,
    last_name: String,
    shipping_address: Address,
    credit_available: Option<f64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Address {
    street: String,
    city: String,
    state: String,
    country: String,
    postal_code: String,
}

#[derive(Clone)]
struct App {
    log: Sender<Append>,
    frame: Arc<[u8]>,
}

/// Serves until the process is ended. The bytes to write for each customer are in the directory's file `frame`.
///
/// # Errors
/// When there is no such file, no port, or no log.
pub async fn serve(data: &Path) -> Result<(), Failure> {
    let frame = std::fs::read(data.join("frame"))?.into();
    let app = App { log: bare_log::start(data)?, frame };
    let router = Router::new().route("/api/customer", post(create)).with_state(app);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    println!("{}", json!({ "services": { "customer": { "url": url } } }));
    Ok(axum::serve(listener, router).await?)
}

async fn create(
    State(app): State<App>,
    Json(mut customer): Json<Customer>,
) -> Result<(StatusCode, Json<Customer>), StatusCode> {
    customer.id.get_or_insert_with(Uuid::now_v7);
    let (reply, written) = oneshot::channel();
    let append = Append { bytes: app.frame, version: 1, reply: reply.into() };
    app.log.send(append).map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    written.await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok((StatusCode::CREATED, Json(customer)))
}
