//! `log verify`: every byte of stopped services' journals.

use std::path::Path;
use std::sync::Arc;

use annals_persistence::{EmbeddedJournal, LogDamage, TornTail, VerifyProgress, VerifyReport};
use serde_json::{Value, json};

use super::args::VerifyArgs;
use super::error::CliError;
use super::output::{Output, count};
use super::progress::{Progress, Stage};
use super::source::{chosen, with_journal};
use crate::data::journal_dir;
use crate::read_only::ReadOnlyVfs;
use crate::{DataError, Service};

pub(super) fn verify(
    services: &[Arc<dyn Service>],
    args: &VerifyArgs,
    output: Output,
) -> Result<(), CliError> {
    let mut errors = Vec::new();
    for service in with_journal(&chosen(services, args.service.as_deref())?, &args.data)? {
        let name = service.name();
        let error = match verify_one(name, &args.data) {
            Ok(report) => {
                output.document(&report_json(name, &report).to_string(), || report_text(name, &report))?;
                report.damage.first().map(damage_error)
            }
            Err(error) => {
                let error = CliError::from(error);
                output
                    .document(&failure_json(name, &error).to_string(), || format!("{name}: not verified"))?;
                Some(error)
            }
        };
        errors.extend(error);
    }
    worst(errors)
}

/// Looks through one service's journal; nothing is written, not even a lock's file.
fn verify_one(name: &'static str, data: &Path) -> Result<VerifyReport, DataError> {
    let mut progress = Progress::of(name, "{bytes}/{total_bytes}");
    let dir = journal_dir(&data.join(name));
    let report = EmbeddedJournal::verify(&dir, Arc::new(ReadOnlyVfs), |now| {
        let VerifyProgress { segments, segments_total, events, bytes, bytes_total, .. } = now;
        let stage = || Stage { done: bytes, total: bytes_total, message: count(events, "event") };
        progress.show(stage, || {
            tracing::warn!(service = name, segments, segments_total, events, "verifying");
        });
    });
    progress.finish();
    Ok(report?)
}

/// Says all errors but the worst, which is the answer.
fn worst(mut errors: Vec<CliError>) -> Result<(), CliError> {
    errors.sort_by_key(CliError::exit_code);
    let Some(worst) = errors.pop() else { return Ok(()) };
    errors.iter().for_each(CliError::print);
    Err(worst)
}

fn failure_json(service: &str, error: &CliError) -> Value {
    json!({ "service": service, "ok": false, "error": { "code": error.code(), "reason": error.message() } })
}

fn damage_error(damage: &LogDamage) -> CliError {
    let LogDamage { file, offset, reason, .. } = damage;
    CliError::Data {
        code: "journal_damaged".to_owned(),
        message: format!(
            "\"{}\" is damaged at offset {offset}: {reason}; nothing was changed; restore the directory from a backup, or \
             see with `log repair` what could be saved without one",
            file.display()
        ),
    }
}

fn report_json(service: &str, report: &VerifyReport) -> Value {
    json!({
        "service": service,
        "ok": report.damage.is_empty(),
        "segments": report.segments,
        "events": report.events,
        "streams": report.streams,
        "bytes": report.bytes,
        "unmarked": report.unmarked,
        "tornTail": report.torn_tail.as_ref().map(|TornTail { file, offset, bytes, reason, .. }| json!({
            "file": file, "offset": offset, "bytes": bytes, "reason": reason,
        })),
        "damage": report.damage.iter().map(place_json).collect::<Vec<_>>(),
        "indexFaults": report.index_faults.iter().map(place_json).collect::<Vec<_>>(),
    })
}

fn place_json(LogDamage { file, offset, reason, .. }: &LogDamage) -> Value {
    json!({ "file": file, "offset": offset, "reason": reason })
}

fn report_text(service: &str, report: &VerifyReport) -> String {
    let VerifyReport { segments, events, streams, bytes, .. } = report;
    let verdict = if report.damage.is_empty() { "ok" } else { "DAMAGED" };
    let [events, streams, segments, bytes] =
        [(*events, "event"), (*streams as u64, "stream"), (*segments as u64, "segment"), (*bytes, "byte")]
            .map(|(number, what)| count(number, what));
    let mut text = format!("{service}: {verdict}; {events} in {streams}, {segments}, {bytes}\n");
    if let Some(torn) = &report.torn_tail {
        let (file, offset) = (torn.file.display(), torn.offset);
        text.push_str(&format!(
            "  \"{file}\" ends at offset {offset} in a group that is not whole ({}): as a rule one that was never \
             acknowledged, as a crash leaves it; the next start cuts it off\n",
            torn.reason
        ));
    }
    if report.unmarked {
        text.push_str(
            "  it is not noted how far the log goes, as in a journal's first second or when the file \"watermark\" was lost: \
             whether its end is missing cannot be told\n",
        );
    }
    for LogDamage { file, offset, reason, .. } in &report.damage {
        text.push_str(&format!("  \"{}\" is damaged at offset {offset}: {reason}\n", file.display()));
    }
    for LogDamage { file, reason, .. } in &report.index_faults {
        text.push_str(&format!("  \"{}\": {reason}; remove it, it is made anew\n", file.display()));
    }
    text
}
