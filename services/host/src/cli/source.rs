//! Where a command looks: into a running service, or into a stopped one's directory.

use std::path::Path;
use std::sync::Arc;

use annals_persistence::{StreamId, Version};
use futures_util::stream::{self, BoxStream, StreamExt};
use http::Method;
use serde::Serialize;

use super::args::{RunningTarget, Target};
use super::client::{Client, escaped};
use super::error::CliError;
use crate::admin::{AdminQuery, moment};
use crate::data::{self, journal_dir};
use crate::view::{Part, ServiceView, absence, no_aggregate};
use crate::{DataError, Problem, Service};

/// JSON texts, one for each item.
pub(super) type Items = BoxStream<'static, Result<String, CliError>>;

/// Where to look.
#[derive(Debug)]
pub(super) enum Source {
    /// The admin API of a running process.
    Running(Running),
    /// Journals, opened for reading.
    Stopped(Vec<ServiceView>),
}

/// The admin API of a running process, for one of its services or all.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) client: Client,
    pub(super) service: Option<String>,
}

impl Source {
    pub(super) fn of(services: &[Arc<dyn Service>], target: &Target) -> Result<Self, CliError> {
        let chosen = chosen(services, target.service.as_deref())?;
        match &target.data {
            Some(path) => Ok(Self::Stopped(open(&chosen, path)?)),
            None => {
                let client = Client::new(target.url.as_deref().unwrap_or(&default_url()))?.or_a_directory();
                Ok(Self::Running(Running { client, service: target.service.clone() }))
            }
        }
    }

    pub(super) async fn streams(&self, prefix: &str, internal: bool) -> Result<Items, CliError> {
        match self {
            Self::Running(Running { client, service }) => {
                let query = AdminQuery {
                    service: service.clone(),
                    prefix: Some(prefix.to_owned()),
                    internal: Some(internal),
                    ..AdminQuery::default()
                };
                client.lines(Method::GET, &path("/streams", &query)).await
            }
            Self::Stopped(views) => {
                Ok(joined(views.iter().map(|view| texts(view.streams(prefix, internal))).collect()))
            }
        }
    }

    pub(super) async fn events(&self, stream: &str, part: Part) -> Result<Items, CliError> {
        match self {
            Self::Running(Running { client, service }) => {
                let query = AdminQuery {
                    service: service.clone(),
                    from: part.from.map(|version| version.0),
                    reverse: Some(part.reverse),
                    limit: part.limit,
                    ..AdminQuery::default()
                };
                client.lines(Method::GET, &path(&format!("/streams/{}", escaped(stream)), &query)).await
            }
            Self::Stopped(views) => stopped_events(views, stream, part).await,
        }
    }

    pub(super) async fn instance(
        &self,
        type_name: &str,
        id: &str,
        at: Option<&str>,
    ) -> Result<String, CliError> {
        match self {
            Self::Running(Running { client, service }) => {
                let query = AdminQuery {
                    service: service.clone(),
                    at: at.map(str::to_owned),
                    ..AdminQuery::default()
                };
                let place = format!("/aggregates/{}/{}", escaped(type_name), escaped(id));
                client.document(Method::GET, &path(&place, &query)).await
            }
            Self::Stopped(views) => stopped_instance(views, type_name, id, at).await,
        }
    }

    pub(super) async fn dead_letters(&self) -> Result<Items, CliError> {
        match self {
            Self::Running(Running { client, service }) => {
                let query = AdminQuery { service: service.clone(), ..AdminQuery::default() };
                client.lines(Method::GET, &path("/dead-letters", &query)).await
            }
            Self::Stopped(views) => Ok(joined(views.iter().map(|view| texts(view.dead_letters())).collect())),
        }
    }

    /// Lets go of the journals.
    pub(super) async fn close(self) {
        if let Self::Stopped(views) = self {
            for view in views {
                view.journal.close().await;
            }
        }
    }
}

impl Running {
    /// For what a stopped service cannot do; `what` says it.
    pub(super) fn of(
        services: &[Arc<dyn Service>],
        target: &RunningTarget,
        what: &str,
    ) -> Result<Self, CliError> {
        if target.data.is_some() {
            return Err(CliError::usage(format!("{what} the running service: use --url")));
        }
        chosen(services, target.service.as_deref())?;
        let client = Client::new(target.url.as_deref().unwrap_or(&default_url()))?;
        Ok(Self { client, service: target.service.clone() })
    }

    fn query(&self) -> AdminQuery {
        AdminQuery { service: self.service.clone(), ..AdminQuery::default() }
    }

    /// What events pass.
    pub(super) async fn flow(&self) -> Result<Items, CliError> {
        self.client.lines(Method::GET, &path("/bus", &self.query())).await
    }

    pub(super) async fn tail(&self, stream: Option<&str>) -> Result<Items, CliError> {
        let query = AdminQuery { stream: stream.map(str::to_owned), ..self.query() };
        self.client.lines(Method::GET, &path("/tail", &query)).await
    }

    /// Whether a stream has events by now.
    pub(super) async fn has(&self, stream: &str) -> Result<bool, CliError> {
        let query = AdminQuery { limit: Some(0), ..self.query() };
        let place = path(&format!("/streams/{}", escaped(stream)), &query);
        match self.client.document(Method::GET, &place).await {
            Ok(_) => Ok(true),
            Err(CliError::Failed { code, .. }) if code == "not_found" => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Has an instance make a checkpoint.
    pub(super) async fn checkpoint(
        &self,
        type_name: &str,
        id: &str,
        keep: Option<u64>,
    ) -> Result<String, CliError> {
        let query = AdminQuery { keep, ..self.query() };
        let place = format!("/aggregates/{}/{}/checkpoint", escaped(type_name), escaped(id));
        self.client.document(Method::POST, &path(&place, &query)).await
    }

    /// Replays one dead letter, or all: what came of each, as it comes.
    pub(super) async fn replay(&self, id: Option<&str>) -> Result<Items, CliError> {
        let query = self.query();
        let Some(id) = id else {
            return self.client.lines(Method::POST, &path("/dead-letters/replay", &query)).await;
        };
        let place = format!("/dead-letters/{}/replay", escaped(id));
        let item = self.client.document(Method::POST, &path(&place, &query)).await?;
        Ok(stream::iter([Ok(item)]).boxed())
    }

    /// Has a dead letter put away; what came of it.
    pub(super) async fn discard(&self, id: &str, reason: Option<&str>) -> Result<String, CliError> {
        let query = AdminQuery { reason: reason.map(str::to_owned), ..self.query() };
        let place = format!("/dead-letters/{}/discard", escaped(id));
        self.client.document(Method::POST, &path(&place, &query)).await
    }
}

/// Where services listen unless told otherwise.
fn default_url() -> String {
    let listen = std::env::var("ANNALS_LISTEN").ok().filter(|text| !text.is_empty());
    let listen = listen.unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    // What listens everywhere is also found here.
    let here = listen.replacen("0.0.0.0:", "127.0.0.1:", 1).replacen("[::]:", "[::1]:", 1);
    format!("http://{here}")
}

fn path(place: &str, query: &AdminQuery) -> String {
    let fields = match serde_json::to_value(query) {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let pairs: Vec<_> = fields
        .iter()
        .map(|(name, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            format!("{name}={}", escaped(&text))
        })
        .collect();
    format!("/admin/v1{place}?{}", pairs.join("&"))
}

/// The service named, or all.
pub(super) fn chosen(
    services: &[Arc<dyn Service>],
    name: Option<&str>,
) -> Result<Vec<Arc<dyn Service>>, CliError> {
    let Some(name) = name else { return Ok(services.to_vec()) };
    let found: Vec<_> = services.iter().filter(|service| service.name() == name).cloned().collect();
    if found.is_empty() {
        let names: Vec<_> = services.iter().map(|service| service.name()).collect();
        return Err(CliError::usage(format!(
            "no service is called \"{name}\"; there are {}",
            names.join(", ")
        )));
    }
    Ok(found)
}

/// Those of the services that have a journal here; none at all is an error.
pub(super) fn with_journal(
    services: &[Arc<dyn Service>],
    data: &Path,
) -> Result<Vec<Arc<dyn Service>>, CliError> {
    let found: Vec<_> =
        services.iter().filter(|service| journal_dir(&data.join(service.name())).is_dir()).cloned().collect();
    if found.is_empty() {
        let names: Vec<_> = services.iter().map(|service| service.name()).collect();
        let wanted = names.join(" or ");
        return Err(DataError::NoService { path: data.to_owned(), wanted }.into());
    }
    Ok(found)
}

fn open(services: &[Arc<dyn Service>], data: &Path) -> Result<Vec<ServiceView>, CliError> {
    with_journal(services, data)?
        .iter()
        .map(|service| {
            Ok(ServiceView {
                service: service.name(),
                journal: data::open_read_only(&data.join(service.name()))?,
                inspectors: service.inspectors().into(),
            })
        })
        .collect()
}

async fn stopped_events(views: &[ServiceView], name: &str, part: Part) -> Result<Items, CliError> {
    let stream = StreamId::parse(name).map_err(|error| CliError::usage(error.to_string()))?;
    let mut lists = Vec::new();
    for view in views {
        if view.has(&stream).await? {
            lists.push(texts(view.events(&stream, part)));
        }
    }
    if lists.is_empty() {
        let message = format!("there is no stream \"{stream}\"");
        return Err(CliError::Failed { code: "not_found".to_owned(), message });
    }
    Ok(joined(lists))
}

async fn stopped_instance(
    views: &[ServiceView],
    type_name: &str,
    id: &str,
    at: Option<&str>,
) -> Result<String, CliError> {
    let moment = at.map(moment).transpose().map_err(|problem| CliError::usage(problem.detail()))?;
    for view in views {
        let found = view.instance(type_name, id, moment).await.map_err(|error| problem(&error.into()))?;
        if let Some(found) = found {
            return text(&found);
        }
    }
    let known = views.iter().any(|view| view.inspector(type_name).is_some());
    let (code, message) = if known {
        ("not_found", absence(views, type_name, id, moment).await?)
    } else {
        ("aggregate_not_registered", no_aggregate(views, type_name))
    };
    Err(CliError::Failed { code: code.to_owned(), message })
}

fn problem(problem: &Problem) -> CliError {
    CliError::Failed { code: problem.code().to_owned(), message: problem.detail().to_owned() }
}

fn text<T: Serialize>(item: &T) -> Result<String, CliError> {
    serde_json::to_string(item).map_err(|error| CliError::failed("answer_not_encodable", &error))
}

fn texts<T, E>(items: impl futures_core::Stream<Item = Result<T, E>> + Send + 'static) -> Items
where
    T: Serialize,
    E: Into<CliError>,
{
    items.map(|item| text(&item.map_err(Into::into)?)).boxed()
}

fn joined(lists: Vec<Items>) -> Items {
    stream::iter(lists).flatten().boxed()
}

impl Part {
    /// What the flags of `streams show` mean.
    pub(super) fn of_flags(from: Option<u64>, reverse: bool, limit: Option<usize>) -> Self {
        Self { from: from.map(Version), reverse, limit }
    }
}
