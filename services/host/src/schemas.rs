//! The schemas of topics over HTTP: `/api/schema`.

use std::sync::Arc;

use annals_bus::{Bus, Compatibility, SchemaError, SchemaRegistry, Topic};
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use http::{StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::admin::{Access, check};
use crate::body::AnyJson;
use crate::{PathText, Problem};

/// Where the routes begin.
const BASE: &str = "/api/schema";

/// The registries of all services that have one.
#[derive(Clone)]
struct Registries(Arc<[Member]>);

struct Member {
    service: &'static str,
    bus: Bus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SchemaQuery {
    service: Option<String>,
    compatibility: Option<String>,
}

type Asked = Result<Query<SchemaQuery>, axum::extract::rejection::QueryRejection>;

/// The routes. Reading is for everybody; changing is for those who may use the operators' API.
pub(crate) fn router(buses: Vec<(&'static str, Bus)>, access: Access) -> Router {
    let members = buses.into_iter().filter(|(_, bus)| bus.schemas().is_some());
    let members: Vec<_> = members.map(|(service, bus)| Member { service, bus }).collect();
    if members.is_empty() {
        return Router::new();
    }
    let changing = Router::new()
        .route("/api/schema/{topic}", post(register).put(set_compatibility).delete(remove))
        .route_layer(middleware::from_fn_with_state(access, check));
    Router::new()
        .route(BASE, get(list))
        .route("/api/schema/{topic}", get(show))
        .route("/api/schema/{topic}/versions", get(versions))
        .route("/api/schema/{topic}/versions/{version}", get(version))
        .route("/api/schema/{topic}/check", post(would_do))
        .merge(changing)
        .with_state(Registries(members.into()))
}

fn asked(query: Asked) -> Result<SchemaQuery, Problem> {
    query.map(|query| query.0).map_err(|error| Problem::rejected("invalid_query", error.body_text()))
}

impl SchemaQuery {
    fn mode(&self) -> Result<Option<Compatibility>, Problem> {
        let parsed = self.compatibility.as_deref().map(str::parse).transpose();
        parsed.map_err(|reason| Problem::rejected("invalid_query", format!("compatibility: {reason}")))
    }
}

impl Member {
    fn registry(&self) -> Option<&SchemaRegistry> {
        self.bus.schemas()
    }

    async fn has(&self, topic: &Topic) -> Result<bool, SchemaError> {
        match self.registry() {
            Some(registry) => has(registry, topic).await,
            None => Ok(false),
        }
    }
}

/// Whether a topic has or had a schema in a registry, where that can be told.
pub(crate) async fn has(registry: &SchemaRegistry, topic: &Topic) -> Result<bool, SchemaError> {
    match registry.versions(topic).await {
        Ok(_) => Ok(true),
        Err(SchemaError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

impl Registries {
    /// The registry that a topic is in: of the service named, of the one that has it, of the one that publishes it, or
    /// of the only one.
    async fn of(&self, topic: &Topic, query: &SchemaQuery) -> Result<&SchemaRegistry, Problem> {
        let member = match &query.service {
            Some(name) => self.0.iter().find(|member| member.service == name),
            None => self.owner(topic).await?,
        };
        member.and_then(Member::registry).ok_or_else(|| match &query.service {
            Some(name) => {
                let detail = format!("no service here is called \"{name}\" and keeps schemas");
                Problem::new(StatusCode::NOT_FOUND, "service_not_found", detail)
            }
            None => SchemaError::NotFound { topic: topic.clone() }.into(),
        })
    }

    /// A registry that cannot be read could be the one that has the topic, so nobody else is taken for it then.
    async fn owner(&self, topic: &Topic) -> Result<Option<&Member>, SchemaError> {
        for member in &*self.0 {
            if member.has(topic).await? {
                return Ok(Some(member));
            }
        }
        let publishes =
            |member: &&Member| member.bus.publications().declared().any(|declared| declared == topic);
        let only = || self.0.first().filter(|_| self.0.len() == 1);
        Ok(self.0.iter().find(publishes).or_else(only))
    }
}

async fn list(State(all): State<Registries>, query: Asked) -> Result<Response, Problem> {
    let query = asked(query)?;
    let mut found = Vec::new();
    for member in
        all.0.iter().filter(|member| query.service.as_deref().is_none_or(|name| name == member.service))
    {
        let Some(registry) = member.registry() else { continue };
        for topic in registry.list().await? {
            let mut item = serde_json::to_value(topic).unwrap_or_default();
            item["service"] = member.service.into();
            found.push(item);
        }
    }
    Ok(Json(found).into_response())
}

async fn show(State(all): State<Registries>, topic: PathText, query: Asked) -> Result<Response, Problem> {
    let topic = Topic::named(topic.get()?);
    let registry = all.of(&topic, &asked(query)?).await?;
    let mut item = serde_json::to_value(registry.get(&topic, None).await?).unwrap_or_default();
    item["compatibility"] = registry.compatibility(&topic).await?.name().into();
    Ok(Json(item).into_response())
}

async fn versions(State(all): State<Registries>, topic: PathText, query: Asked) -> Result<Response, Problem> {
    let topic = Topic::named(topic.get()?);
    let registry = all.of(&topic, &asked(query)?).await?;
    Ok(Json(registry.versions(&topic).await?).into_response())
}

async fn version(
    State(all): State<Registries>,
    path: PathText<(String, String)>,
    query: Asked,
) -> Result<Response, Problem> {
    let (topic, version) = path.get()?;
    let topic = Topic::named(topic);
    let registry = all.of(&topic, &asked(query)?).await?;
    let version = version.parse().map_err(|_| SchemaError::NotFound { topic: topic.clone() })?;
    Ok(Json(registry.get(&topic, Some(version)).await?).into_response())
}

async fn would_do(
    State(all): State<Registries>,
    topic: PathText,
    query: Asked,
    AnyJson(body): AnyJson,
) -> Result<Response, Problem> {
    let (topic, query) = (Topic::named(topic.get()?), asked(query)?);
    let registry = all.of(&topic, &query).await?;
    let reasons = registry.check(&topic, &body, query.mode()?).await?;
    Ok(Json(json!({ "compatible": reasons.is_empty(), "reasons": reasons })).into_response())
}

async fn register(
    State(all): State<Registries>,
    topic: PathText,
    query: Asked,
    AnyJson(body): AnyJson,
) -> Result<Response, Problem> {
    let (topic, query) = (Topic::named(topic.get()?), asked(query)?);
    let registry = all.of(&topic, &query).await?;
    let registered = registry.register_under(&topic, &body, query.mode()?).await?;
    let status = if registered.created { StatusCode::CREATED } else { StatusCode::OK };
    let place = format!("{BASE}/{topic}/versions/{}", registered.version);
    let answer = json!({ "topic": topic, "version": registered.version, "created": registered.created });
    Ok((status, [(header::LOCATION, place)], Json(answer)).into_response())
}

async fn set_compatibility(
    State(all): State<Registries>,
    topic: PathText,
    query: Asked,
    AnyJson(body): AnyJson,
) -> Result<Response, Problem> {
    let topic = Topic::named(topic.get()?);
    let registry = all.of(&topic, &asked(query)?).await?;
    let given = body.get("compatibility").and_then(Value::as_str).unwrap_or_default();
    let mode: Compatibility = given.parse().map_err(|reason: String| {
        Problem::rejected("invalid_body", format!("send {{\"compatibility\": MODE}}: {reason}"))
    })?;
    registry.set_compatibility(&topic, mode).await?;
    Ok(Json(json!({ "topic": topic, "compatibility": mode })).into_response())
}

async fn remove(State(all): State<Registries>, topic: PathText, query: Asked) -> Result<StatusCode, Problem> {
    let topic = Topic::named(topic.get()?);
    all.of(&topic, &asked(query)?).await?.remove(&topic).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<SchemaError> for Problem {
    fn from(error: SchemaError) -> Self {
        let (code, text) = (error.code(), error.to_string());
        match error {
            SchemaError::NotASchema { .. }
            | SchemaError::TooComplex
            | SchemaError::InvalidTopic { .. }
            | SchemaError::Name(_) => Self::rejected(code, text),
            SchemaError::NotFound { .. } => Self::new(StatusCode::NOT_FOUND, code, text),
            SchemaError::Incompatible { reasons, .. } => {
                let problem = Self::conflict(code, text);
                reasons
                    .into_iter()
                    .fold(problem, |problem, reason| problem.with_error(reason.path, code, reason.reason))
            }
            SchemaError::Read(error) => error.into(),
            SchemaError::Append(error) => error.into(),
            SchemaError::Record(error) => error.into(),
            SchemaError::Panicked => Self::internal(code, text),
            _ => Self::unavailable(code, text),
        }
    }
}

#[cfg(test)]
mod tests;
