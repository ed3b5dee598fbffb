//! `log verify`: every byte of stopped services' journals.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use annals_persistence::{EmbeddedJournal, LogDamage, TornTail, VerifyProgress, VerifyReport};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::args::VerifyArgs;
use super::error::CliError;
use super::output::Output;
use super::source::{chosen, with_journal};
use crate::data::journal_dir;
use crate::read_only::ReadOnlyVfs;
use crate::{DataError, Service};

/// How often progress is written where no bar can be drawn.
const PLAIN_PROGRESS: Duration = Duration::from_secs(5);

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
    let mut progress = Progress::new(name);
    let dir = journal_dir(&data.join(name));
    let report = EmbeddedJournal::verify(&dir, Arc::new(ReadOnlyVfs), |now| progress.show(now));
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
            "\"{}\" is damaged at offset {offset}: {reason}; nothing was changed; restore the directory from a backup",
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
    let mut text = format!(
        "{service}: {verdict}; {events} events in {streams} streams, {segments} segments, {bytes} bytes\n"
    );
    if let Some(torn) = &report.torn_tail {
        let (file, offset) = (torn.file.display(), torn.offset);
        text.push_str(&format!(
            "  \"{file}\" ends at offset {offset} in a group that is not whole ({}): as a rule one that was never \
             acknowledged, as a crash leaves it; the next start cuts it off\n",
            torn.reason
        ));
    }
    for LogDamage { file, offset, reason, .. } in &report.damage {
        text.push_str(&format!("  \"{}\" is damaged at offset {offset}: {reason}\n", file.display()));
    }
    for LogDamage { file, reason, .. } in &report.index_faults {
        text.push_str(&format!("  \"{}\": {reason}; remove it, it is made anew\n", file.display()));
    }
    text
}

/// Progress on stderr: a bar on a terminal, lines elsewhere.
struct Progress {
    service: &'static str,
    bar: Option<ProgressBar>,
    last: Instant,
}

impl Progress {
    fn new(service: &'static str) -> Self {
        let target = ProgressDrawTarget::stderr();
        let bar = (!target.is_hidden()).then(|| {
            let bar = ProgressBar::with_draw_target(None, target).with_prefix(service);
            let style = "{prefix} {wide_bar} {bytes}/{total_bytes} {msg}, {eta} left";
            ProgressStyle::with_template(style).map_or(bar.clone(), |style| bar.with_style(style))
        });
        Self { service, bar, last: Instant::now() }
    }

    fn show(&mut self, now: VerifyProgress) {
        if let Some(bar) = &self.bar {
            bar.set_length(now.bytes_total);
            bar.set_position(now.bytes);
            bar.set_message(format!("{} events", now.events));
        } else if self.last.elapsed() >= PLAIN_PROGRESS {
            self.last = Instant::now();
            let VerifyProgress { segments, segments_total, events, .. } = now;
            tracing::warn!(service = self.service, segments, segments_total, events, "verifying");
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
