//! `dlq`: dead letters, looked at, replayed and put away.

use std::sync::Arc;

use futures_util::TryStreamExt;
use serde_json::Value;

use super::args::{DiscardArgs, DlqCommand, ReplayArgs, Target};
use super::error::CliError;
use super::output::{Output, count, field};
use super::source::{Running, Source};
use super::unread::{UNREADABLE, Unread};
use crate::Service;
use crate::admin::{Outcome, ReplayItem};

const NONE: &str = "no dead letters";
const NOT_FOUND: &str = "dead_letter_not_found";

pub(super) async fn run(
    services: &[Arc<dyn Service>],
    command: DlqCommand,
    output: Output,
) -> Result<(), CliError> {
    match command {
        DlqCommand::Ls(target) => list(services, &target, output).await,
        DlqCommand::Show { id, target } => show(services, &id, &target, output).await,
        DlqCommand::Replay(args) => replay(services, &args, output).await,
        DlqCommand::Discard(args) => discard(services, &args, output).await,
    }
}

async fn list(services: &[Arc<dyn Service>], target: &Target, output: Output) -> Result<(), CliError> {
    let source = Source::of(services, target)?;
    let (mut letters, mut listed, mut unread) = (source.dead_letters().await?, 0_u64, Unread::default());
    while let Some(letter) = letters.try_next().await? {
        if unread.take(&letter, output)? {
            continue;
        }
        if listed == 0 {
            output.heading(&letter_line(&HEADING.map(str::to_owned)))?;
        }
        listed += 1;
        output.item(&letter, listed_line)?;
    }
    source.close().await;
    if listed == 0 && unread.is_empty() {
        output.remark(NONE);
    }
    unread.into_result()
}

const COLUMNS: [&str; 7] = ["id", "service", "subscription", "eventId", "attempts", "lastTime", "reason"];
const HEADING: [&str; 7] =
    ["DEAD LETTER", "SERVICE", "SUBSCRIPTION", "EVENT", "ATTEMPTS", "LAST TRIED", "REASON"];

fn listed_line(item: &Value) -> String {
    let mut fields = COLUMNS.map(|name| field(item, name));
    if item["inDoubt"].is_u64() {
        let [.., reason] = &mut fields;
        reason.insert_str(0, "(may be done with) ");
    }
    letter_line(&fields)
}

fn letter_line([id, service, subscription, event, attempts, last, reason]: &[String; 7]) -> String {
    format!("{id:<36}  {service:<12} {subscription:<24} {event:<36} {attempts:>8}  {last:<27}  {reason}")
}

async fn show(
    services: &[Arc<dyn Service>],
    id: &str,
    target: &Target,
    output: Output,
) -> Result<(), CliError> {
    let source = Source::of(services, target)?;
    let shown = find(&source, id, output).await;
    source.close().await;
    shown
}

async fn find(source: &Source, id: &str, output: Output) -> Result<(), CliError> {
    let (mut letters, mut unread) = (source.dead_letters().await?, Unread::default());
    while let Some(letter) = letters.try_next().await? {
        let item = parsed(&letter)?;
        if item["id"].as_str() == Some(id) {
            return Ok(output.document(&letter, || letter_text(&item))?);
        }
        unread.note(&item);
    }
    // It may be in what cannot be read.
    unread.into_result()?;
    let message = format!("there is no dead letter \"{id}\"; `dlq ls` lists all");
    Err(CliError::Failed { code: NOT_FOUND.to_owned(), message })
}

fn parsed(item: &str) -> Result<Value, CliError> {
    serde_json::from_str(item).map_err(|error| CliError::failed("invalid_answer", &error))
}

fn letter_text(item: &Value) -> String {
    let names =
        ["id", "service", "subscription", "topic", "eventId", "attempts", "firstTime", "lastTime", "reason"];
    let lines = names.map(|name| format!("{name}: {}\n", field(item, name)));
    let event = serde_json::to_string_pretty(&item["event"]).unwrap_or_default();
    format!("{}event: {event}\n", lines.concat())
}

async fn replay(services: &[Arc<dyn Service>], args: &ReplayArgs, output: Output) -> Result<(), CliError> {
    let running = Running::of(services, &args.target, "a replay needs")?;
    let mut items = running.replay(args.id.as_deref()).await?;
    let (mut replayed, mut failed, mut in_doubt, mut unread) = (0_u64, 0_u64, 0_u64, Unread::default());
    while let Some(item) = items.try_next().await? {
        if unread.take(&item, output)? {
            continue;
        }
        let one: ReplayItem =
            serde_json::from_str(&item).map_err(|error| CliError::failed("invalid_answer", &error))?;
        replayed += 1;
        failed += u64::from(one.outcome == Outcome::Failed);
        in_doubt += u64::from(one.outcome == Outcome::InDoubt);
        output.item(&item, outcome_line)?;
    }
    if replayed == 0 && unread.is_empty() {
        output.remark(NONE);
    }
    in_order([unread.into_result(), left_out(in_doubt), failed_again(failed)])
}

fn left_out(in_doubt: u64) -> Result<(), CliError> {
    if in_doubt == 0 {
        return Ok(());
    }
    let message = format!(
        "{} may be done with, and not replayed; `dlq replay ID` does it all the same",
        count(in_doubt, "dead letter")
    );
    Err(CliError::Failed { code: "dead_letter_in_doubt".to_owned(), message })
}

fn failed_again(failed: u64) -> Result<(), CliError> {
    if failed == 0 {
        return Ok(());
    }
    let message = format!("{} failed again; `dlq ls` says why", count(failed, "dead letter"));
    Err(CliError::Failed { code: "replay_failed".to_owned(), message })
}

/// The last error is the command's; those before it are told too.
fn in_order<const N: usize>(ends: [Result<(), CliError>; N]) -> Result<(), CliError> {
    let mut errors: Vec<_> = ends.into_iter().filter_map(Result::err).collect();
    let Some(last) = errors.pop() else { return Ok(()) };
    errors.iter().for_each(CliError::print);
    Err(last)
}

async fn discard(services: &[Arc<dyn Service>], args: &DiscardArgs, output: Output) -> Result<(), CliError> {
    let running = Running::of(services, &args.target, "a dead letter is put away by")?;
    // One that is not found keeps those behind it from nothing.
    let mut missing = Missing::default();
    for id in &args.ids {
        match running.discard(id, args.reason.as_deref()).await {
            Ok(item) => output.item(&item, outcome_line)?,
            Err(CliError::Failed { code, message }) if code == NOT_FOUND => missing.unknown.push(message),
            Err(CliError::Failed { code, message }) if code == UNREADABLE => missing.unread.push(message),
            Err(error) => {
                missing.into_result().err().iter().for_each(CliError::print);
                return Err(error);
            }
        }
    }
    missing.into_result()
}

/// What was not put away since nobody has it.
#[derive(Debug, Default)]
struct Missing {
    unknown: Vec<String>,
    /// They may be in what cannot be read.
    unread: Vec<String>,
}

impl Missing {
    fn into_result(self) -> Result<(), CliError> {
        let code = match (self.unknown.is_empty(), self.unread.is_empty()) {
            (true, true) => return Ok(()),
            (false, true) => NOT_FOUND,
            _ => UNREADABLE,
        };
        let message = [self.unread, self.unknown].concat().join("; ");
        Err(CliError::Failed { code: code.to_owned(), message })
    }
}

fn outcome_line(item: &Value) -> String {
    let [id, service, outcome, reason] = ["id", "service", "outcome", "reason"].map(|name| field(item, name));
    let already = if item["already"] == true { "already " } else { "" };
    format!("{id}  {service}  {already}{outcome}  {reason}")
}
