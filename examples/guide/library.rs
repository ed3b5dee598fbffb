//! The library: books over HTTP, and the news that they are lent.

use std::sync::Arc;

use annals::actors::{Inspector, inspector};
use annals::bus::{Outgoing, Publications};
use annals::http::axum::extract::{Path, State};
use annals::http::axum::http::StatusCode;
use annals::http::axum::response::Response;
use annals::http::axum::routing::{get, put};
use annals::http::axum::{Json, Router};
use annals::http::{Problem, RequestContext, Running, Service, ServiceError, Setup, json_response};
use annals::prelude::*;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::book::{Book, BookCommand, BookEvent, BookRejection};

/// What the library tells the world; its topic is `v1.book-lent`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, IntegrationEvent)]
#[integration_event(name = "book-lent", version = 1)]
pub struct BookLent {
    pub book: String,
    pub reader: String,
}

fn publications() -> Publications {
    Publications::new("library").translate::<Book>(|event, recorded| match event {
        BookEvent::Lent { reader } => {
            let book = recorded.stream.instance().to_owned();
            vec![Outgoing::event(&BookLent { book, reader: reader.clone() })]
        }
        BookEvent::Returned => vec![],
    })
}

#[derive(Debug, Deserialize)]
struct Loan {
    reader: String,
}

/// A rejection becomes an answer with a stable code; every other failure has one already.
fn problem(error: SendError<Book>) -> Problem {
    match error {
        SendError::Rejected(reason @ BookRejection::Away { .. }) => {
            Problem::conflict("away", reason.to_string())
        }
        other => Problem::from(other),
    }
}

async fn lend(
    State(node): State<Node>,
    context: RequestContext,
    Path(id): Path<String>,
    Json(loan): Json<Loan>,
) -> Result<Response, Problem> {
    let book = node.aggregate::<Book>(&id);
    context.apply(book.send(BookCommand::Lend { reader: loan.reader })).await.map_err(problem)?;
    show(State(node), Path(id)).await
}

async fn show(State(node): State<Node>, Path(id): Path<String>) -> Result<Response, Problem> {
    let book = node.aggregate::<Book>(&id).state().await?;
    if book.version == Version::NONE {
        return Err(Problem::not_found(format!("nothing is known of a book \"{id}\"")));
    }
    Ok(json_response(StatusCode::OK, Some(book.version), &book.state))
}

#[derive(Debug)]
pub struct Library;

impl Service for Library {
    fn name(&self) -> &'static str {
        "library"
    }

    fn inspectors(&self) -> Vec<Arc<dyn Inspector>> {
        vec![inspector::<Book>()]
    }

    fn start(&self, setup: Setup) -> BoxFuture<'_, Result<Running, ServiceError>> {
        let starting = async move {
            let node = setup.node().aggregate::<Book>().start().await?;
            let bus = setup.bus(&node).publications(publications()).start().await?;
            let routes = Router::new()
                .route("/api/book/{id}", get(show))
                .route("/api/book/{id}/loan", put(lend))
                .with_state(node.clone());
            Ok(Running::new(node).router(routes).bus(bus))
        };
        starting.boxed()
    }
}
