//! Operators' commands that look.

use std::io;
use std::sync::Arc;

use clap::CommandFactory;
use futures_util::TryStreamExt;
use serde_json::Value;

use super::args::{AggregateCommand, Cli, RunningTarget, StreamsCommand};
use super::error::CliError;
use super::output::{Output, field};
use super::source::{Items, Running, Source};
use crate::view::Part;
use crate::{Service, codes, description};

pub(super) async fn streams(
    services: &[Arc<dyn Service>],
    command: StreamsCommand,
    output: Output,
) -> Result<(), CliError> {
    match command {
        StreamsCommand::Ls { prefix, internal, target } => {
            let source = Source::of(services, &target)?;
            let streams = source.streams(&prefix, internal).await?;
            output.heading(&stream_line("SERVICE", "STREAM", "VERSION", "LAST EVENT"))?;
            let line = |item: &Value| {
                let [service, stream, version, time] =
                    ["service", "stream", "version", "lastTime"].map(|name| field(item, name));
                stream_line(&service, &stream, &version, &time)
            };
            print(streams, output, line).await?;
            source.close().await;
        }
        StreamsCommand::Show { stream, from, reverse, limit, target } => {
            let source = Source::of(services, &target)?;
            let events = source.events(&stream, Part::of_flags(from, reverse, limit)).await?;
            print(events, output, event_line).await?;
            source.close().await;
        }
        StreamsCommand::Tail { stream, target } => {
            let running = Running::of(services, &target, "a tail needs")?;
            let line = |item: &Value| format!("{}  {}", field(item, "stream"), event_line(item));
            let events = running.tail(stream.as_deref()).await?;
            if let Some(stream) = stream
                && !running.has(&stream).await?
            {
                output.remark(&format!("there is no stream \"{stream}\" yet: waiting for its first event"));
            }
            print(events, output, line).await?;
        }
    }
    Ok(())
}

async fn print(items: Items, output: Output, line: impl Fn(&Value) -> String) -> Result<(), CliError> {
    items.try_for_each(|item| std::future::ready(output.item(&item, &line).map_err(CliError::from))).await
}

fn stream_line(service: &str, stream: &str, version: &str, time: &str) -> String {
    format!("{service:<12} {stream:<48} {version:>8}  {time}")
}

fn event_line(item: &Value) -> String {
    let [version, time, kind, data] = ["version", "time", "type", "data"].map(|name| field(item, name));
    format!("{version:>6}  {time:<27}  {kind:<28} {data}")
}

pub(super) async fn aggregate(
    services: &[Arc<dyn Service>],
    command: AggregateCommand,
    output: Output,
) -> Result<(), CliError> {
    match command {
        AggregateCommand::Show { type_name, id, at, target } => {
            let source = Source::of(services, &target)?;
            let found = source.instance(&type_name, &id, at.as_deref()).await?;
            output.document(&found, || instance_text(&found))?;
            source.close().await;
        }
        AggregateCommand::Checkpoint { type_name, id, truncate, keep, target } => {
            let running = Running::of(services, &target, "a checkpoint needs")?;
            let made = running.checkpoint(&type_name, &id, truncate.then_some(keep)).await?;
            output.document(&made, || checkpoint_text(&made))?;
        }
    }
    Ok(())
}

fn checkpoint_text(json: &str) -> String {
    let item: Value = serde_json::from_str(json).unwrap_or_default();
    let [kind, id, version, kept] = ["type", "id", "version", "keptFrom"].map(|name| field(&item, name));
    let held = item["heldBy"].as_str().map(|by| format!("\n\"{by}\" has still to read the others"));
    let held = held.unwrap_or_default();
    format!("{kind} {id}: checkpoint at version {version}; events are kept from version {kept} on{held}\n")
}

fn instance_text(json: &str) -> String {
    let item: Value = serde_json::from_str(json).unwrap_or_default();
    let state = serde_json::to_string_pretty(&item["state"]).unwrap_or_default();
    let [kind, id, version, time] = ["type", "id", "version", "time"].map(|name| field(&item, name));
    format!("{kind} {id} at version {version} ({time})\n{state}\n")
}

/// What events pass, of running services.
pub(super) async fn bus(
    services: &[Arc<dyn Service>],
    target: &RunningTarget,
    output: Output,
) -> Result<(), CliError> {
    let items = Running::of(services, target, "events flow in")?.flow().await?;
    output
        .heading(&flow_text(["SERVICE", "WHAT", "NAME", "STATE", "LAG", "UNDER WAY"].map(str::to_owned)))?;
    print(items, output, flow_line).await
}

fn flow_line(item: &Value) -> String {
    let line =
        flow_text(["service", "kind", "name", "state", "lag", "inFlight"].map(|name| field(item, name)));
    let reasons = item["reasons"].as_array().into_iter().flatten().filter_map(Value::as_str);
    reasons.fold(line, |text, reason| format!("{text}\n    {reason}"))
}

fn flow_text([service, kind, name, state, lag, in_flight]: [String; 6]) -> String {
    format!("{service:<12} {kind:<13} {name:<36} {state:<9} {lag:>8} {in_flight:>9}")
}

pub(super) fn describe(services: &[Arc<dyn Service>], output: Output) -> Result<(), CliError> {
    let description = description::of(services);
    let json = serde_json::to_string(&description).map_err(io::Error::from)?;
    output.document(&json, || description.text())?;
    Ok(())
}

pub(super) fn explain(code: Option<&str>, output: Output) -> Result<(), CliError> {
    let Some(code) = code else {
        let all: Vec<_> = codes().collect();
        let json = serde_json::to_string(&all).map_err(io::Error::from)?;
        return Ok(output.document(&json, || all.join("\n"))?);
    };
    // Logs and dashboards may show codes in another case than they are written in.
    let known = code.to_ascii_lowercase();
    let Some(page) = crate::explain(&known) else {
        let message = format!("no error has the code \"{code}\"; `explain` without a code lists all");
        return Err(CliError::Failed { code: "code_not_found".to_owned(), message });
    };
    let json = serde_json::json!({ "code": known, "page": page }).to_string();
    Ok(output.document(&json, || page.to_owned())?)
}

pub(super) fn completions(shell: clap_complete::Shell) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), program_name(), &mut script);
    Ok(io::Write::write_all(&mut io::stdout().lock(), &script)?)
}

/// What the program is called where it was started.
fn program_name() -> String {
    let path = std::env::args_os().next().map(std::path::PathBuf::from);
    let name = path.as_deref().and_then(|path| path.file_name()).map(|name| name.to_string_lossy());
    name.map_or_else(|| "annals".to_owned(), std::borrow::Cow::into_owned)
}
