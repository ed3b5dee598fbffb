//! `schema`: the schemas of topics, of a running service or a stopped one.

use std::sync::Arc;

use annals_bus::{Compatibility, SchemaError, SchemaRegistry, Topic};
use http::Method;
use serde_json::Value;

use super::args::{GivenSchema, SchemaCommand, Target};
use super::client::escaped;
use super::error::CliError;
use super::output::{Output, field};
use super::source::{Running, Source};
use crate::Service;
use crate::schemas::has;

pub(super) async fn run(
    services: &[Arc<dyn Service>],
    command: SchemaCommand,
    output: Output,
) -> Result<(), CliError> {
    match &command {
        SchemaCommand::Ls(target) => look(services, target, async |place| list(place, output).await).await,
        SchemaCommand::Show { topic, version, target } => {
            look(services, target, async |place| show(place, topic, *version, output).await).await
        }
        SchemaCommand::Check { given, target } => {
            look(services, target, async |place| check(place, given, output).await).await
        }
        SchemaCommand::Register { given, target } => {
            register(&Running::of(services, target, "registering needs")?, given, output).await
        }
    }
}

async fn look(
    services: &[Arc<dyn Service>],
    target: &Target,
    looked: impl AsyncFnOnce(&Place) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let place = Place::of(services, target)?;
    let done = looked(&place).await;
    place.close().await;
    done
}

/// Where schemas are kept.
enum Place {
    Running(Running),
    Stopped { registries: Vec<(&'static str, SchemaRegistry)>, source: Source },
}

impl Place {
    fn of(services: &[Arc<dyn Service>], target: &Target) -> Result<Self, CliError> {
        match Source::of(services, target)? {
            Source::Running(running) => Ok(Self::Running(running)),
            Source::Stopped(views) => {
                let clock = Arc::new(annals_actors::SystemClock);
                let registry = |view: &crate::view::ServiceView| {
                    let journal = Arc::clone(&view.journal);
                    (view.service, SchemaRegistry::new(journal, clock.clone(), Compatibility::default()))
                };
                let registries = views.iter().map(registry).collect();
                Ok(Self::Stopped { registries, source: Source::Stopped(views) })
            }
        }
    }

    async fn close(self) {
        if let Self::Stopped { source, .. } = self {
            source.close().await;
        }
    }
}

fn path(rest: &str, service: Option<&str>, mode: Option<Compatibility>) -> String {
    let service = service.map(|service| format!("service={}", escaped(service)));
    let mode = mode.map(|mode| format!("compatibility={mode}"));
    let query = [service, mode].into_iter().flatten().collect::<Vec<_>>().join("&");
    if query.is_empty() { format!("/api/schema{rest}") } else { format!("/api/schema{rest}?{query}") }
}

fn failed(error: &SchemaError) -> CliError {
    CliError::failed(error.code(), error)
}

fn parsed(text: &str) -> Result<Value, CliError> {
    serde_json::from_str(text).map_err(|error| CliError::failed("invalid_answer", &error))
}

async fn list(place: &Place, output: Output) -> Result<(), CliError> {
    let items = items(place).await?;
    output.heading(&line(["SERVICE", "TOPIC", "VERSION", "MODE", "SINCE"].map(str::to_owned)))?;
    for item in items {
        output.item(&item.to_string(), |item| {
            line(["service", "topic", "version", "compatibility", "time"].map(|name| field(item, name)))
        })?;
    }
    Ok(())
}

async fn items(place: &Place) -> Result<Vec<Value>, CliError> {
    let registries = match place {
        Place::Running(Running { client, service }) => {
            let answer = client.document(Method::GET, &path("", service.as_deref(), None)).await?;
            return Ok(parsed(&answer)?.as_array().cloned().unwrap_or_default());
        }
        Place::Stopped { registries, .. } => registries,
    };
    let mut items = Vec::new();
    for (service, registry) in registries {
        for topic in registry.list().await.map_err(|error| failed(&error))? {
            let mut item = serde_json::to_value(topic).unwrap_or_default();
            item["service"] = (*service).into();
            items.push(item);
        }
    }
    Ok(items)
}

fn line([service, topic, version, mode, time]: [String; 5]) -> String {
    format!("{service:<12} {topic:<48} {version:>7}  {mode:<9} {time}")
}

async fn show(place: &Place, topic: &str, version: Option<u32>, output: Output) -> Result<(), CliError> {
    let item = match place {
        Place::Running(Running { client, service }) => {
            let version = version.map(|version| format!("/versions/{version}")).unwrap_or_default();
            let rest = format!("/{}{version}", escaped(topic));
            parsed(&client.document(Method::GET, &path(&rest, service.as_deref(), None)).await?)?
        }
        Place::Stopped { registries, .. } => {
            let topic = Topic::named(topic);
            let registry = of_topic(registries, &topic).await?;
            let found = registry.get(&topic, version).await.map_err(|error| failed(&error))?;
            serde_json::to_value(found).unwrap_or_default()
        }
    };
    let text = || {
        let [topic, version, time] = ["topic", "version", "time"].map(|name| field(&item, name));
        let schema = serde_json::to_string_pretty(&item["schema"]).unwrap_or_default();
        format!("{topic}, version {version}, since {time}\n{schema}\n")
    };
    output.document(&item.to_string(), text)?;
    Ok(())
}

/// The registry of the service that has the topic.
async fn of_topic<'a>(
    registries: &'a [(&'static str, SchemaRegistry)],
    topic: &Topic,
) -> Result<&'a SchemaRegistry, CliError> {
    for (_, registry) in registries {
        if has(registry, topic).await.map_err(|error| failed(&error))? {
            return Ok(registry);
        }
    }
    Err(failed(&SchemaError::NotFound { topic: topic.clone() }))
}

fn read(given: &GivenSchema) -> Result<Value, CliError> {
    let wrong =
        |reason: &dyn std::fmt::Display| CliError::usage(format!("{}: {reason}", given.file.display()));
    let text = std::fs::read_to_string(&given.file).map_err(|error| wrong(&error))?;
    serde_json::from_str(&text).map_err(|error| wrong(&error))
}

async fn check(place: &Place, given: &GivenSchema, output: Output) -> Result<(), CliError> {
    let schema = read(given)?;
    let answer = match place {
        Place::Running(Running { client, service }) => {
            let rest = format!("/{}/check", escaped(&given.topic));
            let path = path(&rest, service.as_deref(), given.compatibility);
            parsed(&client.send(Method::POST, &path, schema.to_string()).await?)?
        }
        Place::Stopped { registries, .. } => {
            let topic = Topic::named(given.topic.as_str());
            let registry = of_topic(registries, &topic).await?;
            let reasons =
                registry.check(&topic, &schema, given.compatibility).await.map_err(|e| failed(&e))?;
            serde_json::json!({ "compatible": reasons.is_empty(), "reasons": reasons })
        }
    };
    let reasons: Vec<String> = answer["reasons"].as_array().into_iter().flatten().map(reason).collect();
    output.document(&answer.to_string(), || match reasons.is_empty() {
        true => "compatible\n".to_owned(),
        false => format!("not compatible\n{}\n", reasons.join("\n")),
    })?;
    if reasons.is_empty() {
        return Ok(());
    }
    let message = format!("the schema may not follow the last one of \"{}\"", given.topic);
    Err(CliError::Failed { code: "schema_incompatible".to_owned(), message })
}

fn reason(item: &Value) -> String {
    format!("  {} {}", field(item, "path"), field(item, "reason"))
}

async fn register(running: &Running, given: &GivenSchema, output: Output) -> Result<(), CliError> {
    let Running { client, service } = running;
    let schema = read(given)?;
    let path = path(&format!("/{}", escaped(&given.topic)), service.as_deref(), given.compatibility);
    let answer = client.send(Method::POST, &path, schema.to_string()).await?;
    let item = parsed(&answer)?;
    let what = if item["created"] == true { "registered as" } else { "is already" };
    output.document(&answer, || {
        format!("{} {what} version {}\n", field(&item, "topic"), field(&item, "version"))
    })?;
    Ok(())
}
