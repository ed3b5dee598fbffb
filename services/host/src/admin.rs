//! The operators' API under `/admin/v1/`: what the command line asks of a running service.

use std::sync::Arc;

use annals_actors::{AggregateKind, Moment};
use annals_bus::{Bus, DeadLetterError, DeadLetterId, DeadLetters, Discarded, Replayed};
use annals_persistence::{StreamId, Version};
use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use bytes::Bytes;
use futures_core::Stream;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::query::query_time;
use crate::server::stopped;
use crate::unreadable::Listed;
use crate::view::{Part, ServiceView, absence, no_aggregate};
use crate::{PathText, Problem, json_response};
use annals_bus::with_causes;

mod access;
mod checkpoint;
mod flow;
mod load;

#[cfg(feature = "dapr")]
pub(crate) use access::is_on_behalf;
pub(crate) use access::{Access, check};

/// The media type of lists: one JSON document a line.
pub(crate) const NDJSON: &str = "application/x-ndjson";
/// The environment variable with the token.
pub const ADMIN_TOKEN_ENV: &str = "ANNALS_ADMIN_TOKEN";

/// A running service as the admin API sees it.
#[derive(Clone)]
pub(crate) struct AdminService {
    pub(crate) view: ServiceView,
    pub(crate) kinds: Vec<Arc<dyn AggregateKind>>,
    pub(crate) bus: Option<Bus>,
}

#[derive(Clone)]
struct Admin {
    services: Arc<[AdminService]>,
    description: Arc<serde_json::Value>,
    /// True once the process ends: tails end then.
    stopping: watch::Receiver<bool>,
}

/// Everything that can stand behind the question mark.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AdminQuery {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) service: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) prefix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) internal: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stream: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reverse: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keep: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// The routes.
pub(crate) fn router(
    services: Vec<AdminService>,
    description: serde_json::Value,
    access: Access,
    stopping: watch::Receiver<bool>,
) -> Router {
    let admin = Admin { services: services.into(), description: Arc::new(description), stopping };
    let routes = Router::new()
        .route("/streams", get(streams))
        .route("/streams/{stream}", get(events))
        .route("/tail", get(tail))
        .route("/aggregates", get(load::list))
        .route("/aggregates/{type}/{id}", get(instance))
        .route("/aggregates/{type}/{id}/checkpoint", post(checkpoint::make))
        .route("/dead-letters", get(dead_letters))
        .route("/dead-letters/replay", post(replay_all))
        .route("/dead-letters/{id}/replay", post(replay))
        .route("/dead-letters/{id}/discard", post(discard))
        .route("/bus", get(flow::list))
        .route("/describe", get(describe))
        .with_state(admin)
        .layer(middleware::from_fn_with_state(access, check));
    Router::new().nest("/admin/v1", routes)
}

type Asked = Result<Query<AdminQuery>, axum::extract::rejection::QueryRejection>;

fn asked(query: Asked) -> Result<AdminQuery, Problem> {
    query.map(|query| query.0).map_err(|error| Problem::rejected("invalid_query", error.body_text()))
}

impl Admin {
    /// The service named, or all.
    fn chosen(&self, query: &AdminQuery) -> Result<Vec<AdminService>, Problem> {
        let Some(name) = &query.service else { return Ok(self.services.to_vec()) };
        let found: Vec<_> = self.services.iter().filter(|s| s.view.service == name).cloned().collect();
        if found.is_empty() {
            return Err(Problem::new(
                StatusCode::NOT_FOUND,
                "service_not_found",
                format!("no service here is called \"{name}\""),
            ));
        }
        Ok(found)
    }
}

/// Reads a stream's name, 422 if it is none.
fn stream_id(text: &str) -> Result<StreamId, Problem> {
    StreamId::parse(text).map_err(|error| Problem::rejected(error.code(), error.to_string()))
}

/// Reads `N` or a time.
///
/// # Errors
/// 422 `invalid_query`.
pub(crate) fn moment(text: &str) -> Result<Moment, Problem> {
    if let Ok(version) = text.parse() {
        return Ok(Moment::Version(Version(version)));
    }
    query_time(text).map(Moment::Time).ok_or_else(|| {
        Problem::rejected(
            "invalid_query",
            format!("\"{text}\" is neither a version nor a time as in RFC 3339"),
        )
    })
}

/// A list, one JSON document a line; an error breaks it off.
fn lines<T, E, S>(items: S) -> Response
where
    T: Serialize,
    E: std::error::Error + Send + Sync + 'static,
    S: Stream<Item = Result<T, E>> + Send + 'static,
{
    // The request's own span is over when its answer has begun.
    let span = tracing::Span::current();
    let chunks = items.map_err(std::io::Error::other).ready_chunks(64).map(move |batch| {
        let _entered = span.enter();
        let mut chunk = Vec::new();
        for item in batch {
            let item = item.inspect_err(|error| tracing::error!(%error, "an answer broke off"))?;
            serde_json::to_writer(&mut chunk, &item)?;
            chunk.push(b'\n');
        }
        Ok::<_, std::io::Error>(Bytes::from(chunk))
    });
    let mut response = Response::new(Body::from_stream(chunks));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(NDJSON));
    response
}

async fn streams(State(admin): State<Admin>, query: Asked) -> Result<Response, Problem> {
    let query = asked(query)?;
    let (prefix, internal) = (query.prefix.clone().unwrap_or_default(), query.internal.unwrap_or(false));
    let lists: Vec<_> =
        admin.chosen(&query)?.iter().map(|s| s.view.streams(&prefix, internal).boxed()).collect();
    Ok(lines(stream::iter(lists).flatten()))
}

async fn events(State(admin): State<Admin>, name: PathText, query: Asked) -> Result<Response, Problem> {
    let query = asked(query)?;
    let stream = stream_id(&name.get()?)?;
    let part =
        Part { from: query.from.map(Version), reverse: query.reverse.unwrap_or(false), limit: query.limit };
    let mut lists = Vec::new();
    for service in admin.chosen(&query)? {
        if service.view.has(&stream).await? {
            lists.push(service.view.events(&stream, part).boxed());
        }
    }
    if lists.is_empty() {
        return Err(Problem::not_found(format!("there is no stream \"{stream}\"")));
    }
    Ok(lines(stream::iter(lists).flatten()))
}

async fn tail(State(admin): State<Admin>, query: Asked) -> Result<Response, Problem> {
    let query = asked(query)?;
    let only = query.stream.as_deref().map(stream_id).transpose()?;
    let tails: Vec<_> = admin.chosen(&query)?.iter().map(|s| s.view.tail(only.as_ref()).boxed()).collect();
    Ok(lines(stream::select_all(tails).take_until(Box::pin(stopped(admin.stopping)))))
}

async fn instance(
    State(admin): State<Admin>,
    path: PathText<(String, String)>,
    query: Asked,
) -> Result<Response, Problem> {
    let query = asked(query)?;
    let (type_name, id) = path.get()?;
    let moment = query.at.as_deref().map(moment).transpose()?;
    let views: Vec<_> = admin.chosen(&query)?.into_iter().map(|service| service.view).collect();
    if !views.iter().any(|view| view.inspector(&type_name).is_some()) {
        return Err(not_registered(&views, &type_name));
    }
    for view in &views {
        if let Some(found) = view.instance(&type_name, &id, moment).await? {
            return Ok(json_response(StatusCode::OK, Some(found.version()), &found));
        }
    }
    Err(Problem::not_found(absence(&views, &type_name, &id, moment).await?))
}

fn not_registered(views: &[ServiceView], type_name: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "aggregate_not_registered", no_aggregate(views, type_name))
}

async fn dead_letters(State(admin): State<Admin>, query: Asked) -> Result<Response, Problem> {
    let lists: Vec<_> = admin.chosen(&asked(query)?)?.iter().map(|s| s.view.dead_letters()).collect();
    Ok(lines(stream::iter(lists).flatten()))
}

/// What became of a dead letter.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ReplayItem {
    service: String,
    id: DeadLetterId,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription: Option<String>,
    pub(crate) outcome: Outcome,
    /// It was so before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    already: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Whether a dead letter is one no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    Handled,
    Failed,
    /// It was not run, since it may be done with.
    InDoubt,
    Discarded,
}

impl ReplayItem {
    fn of(service: &str, Replayed { id, subscription, outcome, .. }: Replayed) -> Self {
        let error = outcome.err();
        Self {
            service: service.to_owned(),
            id,
            subscription: Some(subscription),
            outcome: match &error {
                None => Outcome::Handled,
                Some(DeadLetterError::InDoubt { .. }) => Outcome::InDoubt,
                Some(_) => Outcome::Failed,
            },
            already: false,
            code: error.as_ref().map(|error| error.code().to_owned()),
            reason: error.map(|error| error.to_string()),
        }
    }

    fn done(service: &str, id: DeadLetterId, (outcome, already): (Outcome, bool)) -> Self {
        let service = service.to_owned();
        Self { service, id, subscription: None, outcome, already, code: None, reason: None }
    }
}

/// Replays one after the other and tells of each at once: no time limit ends it, and a client that goes away does.
async fn replay_all(State(admin): State<Admin>, query: Asked) -> Result<Response, Problem> {
    let replays: Vec<_> = admin
        .chosen(&asked(query)?)?
        .into_iter()
        .filter_map(|service| Some((service.view.service, service.bus?.dead_letters().replay_each())))
        .map(|(name, replays)| {
            let items = replays.map_ok(move |replayed| ReplayItem::of(name, replayed));
            items.map(move |item| Listed::of(name, item))
        })
        .collect();
    let replays = stream::iter(replays).flatten().map_err(std::io::Error::other);
    Ok(lines(unless_stopping(replays, admin.stopping)))
}

/// Breaks a list off when the process ends, so that a part of it is not taken for the whole.
fn unless_stopping<T>(
    items: impl Stream<Item = std::io::Result<T>>,
    stopping: watch::Receiver<bool>,
) -> impl Stream<Item = std::io::Result<T>> {
    let broken = std::io::Error::other("the service is being stopped");
    let broken = stopped(stopping).map(|()| Err(broken)).into_stream();
    let items = items.map(Some).chain(stream::once(std::future::ready(None)));
    stream::select(items, broken.map(Some))
        .take_while(|item| std::future::ready(item.is_some()))
        .filter_map(std::future::ready)
}

/// What is done with a dead letter.
enum Deed {
    Replay,
    Discard { reason: Option<String> },
}

impl Deed {
    /// What became of it, and whether that was so before.
    async fn done(
        &self,
        letters: &DeadLetters,
        id: DeadLetterId,
    ) -> Result<(Outcome, bool), DeadLetterError> {
        match self {
            Self::Replay => letters.replay(id).await.map(|()| (Outcome::Handled, false)),
            Self::Discard { reason } => Ok(match letters.discard(id, reason.clone()).await? {
                Discarded::Handled => (Outcome::Handled, true),
                Discarded::Before => (Outcome::Discarded, true),
                _ => (Outcome::Discarded, false),
            }),
        }
    }

    /// In the service that has it.
    async fn done_with(
        self,
        id: &str,
        admin: &Admin,
        query: &AdminQuery,
    ) -> Result<Json<ReplayItem>, Problem> {
        let none = || {
            let detail = format!("there is no dead letter \"{id}\"");
            Problem::new(StatusCode::NOT_FOUND, "dead_letter_not_found", detail)
        };
        let letter: DeadLetterId = id.parse().map_err(|_| none())?;
        let mut unread = None;
        for service in admin.chosen(query)? {
            let Some(bus) = &service.bus else { continue };
            match self.done(bus.dead_letters(), letter).await {
                Err(DeadLetterError::NotFound { .. }) => {}
                // Another service may have it.
                Err(error) if error.is_unread() => drop(unread.get_or_insert((service.view.service, error))),
                result => return Ok(Json(ReplayItem::done(service.view.service, letter, result?))),
            }
        }
        Err(unread.map_or_else(none, |(service, error)| not_readable(letter, service, &error)))
    }
}

/// Nobody has the letter, as far as can be read.
fn not_readable(id: DeadLetterId, service: &str, error: &DeadLetterError) -> Problem {
    let (reason, code) = (with_causes(error), error.code());
    let detail =
        format!("dead letter \"{id}\" is none that can be read; of \"{service}\": {reason} ({code})");
    Problem::internal("dead_letters_unreadable", detail)
}

async fn replay(State(admin): State<Admin>, id: PathText, query: Asked) -> Result<Json<ReplayItem>, Problem> {
    Deed::Replay.done_with(&id.get()?, &admin, &asked(query)?).await
}

/// `?reason=TEXT` is written down with it.
async fn discard(
    State(admin): State<Admin>,
    id: PathText,
    query: Asked,
) -> Result<Json<ReplayItem>, Problem> {
    let query = asked(query)?;
    let deed = Deed::Discard { reason: query.reason.clone() };
    deed.done_with(&id.get()?, &admin, &query).await
}

impl From<DeadLetterError> for Problem {
    fn from(error: DeadLetterError) -> Self {
        let (code, text) = (error.code(), with_causes(&error));
        match error {
            DeadLetterError::Read(error) => error.into(),
            DeadLetterError::NotFound { .. } => Self::new(StatusCode::NOT_FOUND, code, text),
            DeadLetterError::NoSubscription { .. } | DeadLetterError::Delivery(_) => {
                Self::conflict(code, text)
            }
            _ => Self::internal(code, text),
        }
    }
}

async fn describe(State(admin): State<Admin>) -> Response {
    Json(&*admin.description).into_response()
}
