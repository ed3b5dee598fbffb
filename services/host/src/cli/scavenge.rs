//! `log scavenge`: the space of what stopped services' journals no longer keep.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use annals_persistence::{
    EmbeddedJournal, EmbeddedOptions, Journal, OpenError, Position, ScavengeError, ScavengeOptions,
    ScavengeProgress,
};
use serde_json::{Value, json};

use super::args::ScavengeArgs;
use super::error::CliError;
use super::output::{Output, count};
use super::progress::{Progress, Stage};
use super::source::{chosen, with_journal};
use crate::data::journal_dir;
use crate::{DataError, DiskOptions, Service};

pub(super) fn scavenge(
    services: &[Arc<dyn Service>],
    args: &ScavengeArgs,
    output: Output,
) -> Result<(), CliError> {
    let disk = DiskOptions { keys_kept: args.keys_kept, ..DiskOptions::default() };
    for service in with_journal(&chosen(services, args.service.as_deref())?, &args.data)? {
        let name = service.name();
        let report = scavenge_one(name, &args.data, &disk)?;
        output.document(&report.json(name).to_string(), || report.text(name))?;
    }
    Ok(())
}

/// What was given back, and how long the log is without it.
struct Report {
    done: ScavengeProgress,
    log_bytes: u64,
}

fn scavenge_one(name: &'static str, data: &Path, disk: &DiskOptions) -> Result<Report, CliError> {
    let dir = journal_dir(&data.join(name));
    let journal = open(&dir)?;
    let mut progress = Progress::of(name, "{pos}/{len} segments");
    let done = journal.scavenge(&options(&journal, disk), |now| {
        let ScavengeProgress { segments, segments_total, bytes, .. } = now;
        let stage = || Stage {
            done: segments as u64,
            total: segments_total as u64,
            message: format!("{} given back", count(bytes, "byte")),
        };
        progress.show(stage, || {
            tracing::warn!(service = name, segments, segments_total, bytes, "scavenging");
        });
        ControlFlow::Continue(())
    });
    progress.finish();
    let log_bytes = journal.disk_usage().log_bytes;
    // Dropping it closes it.
    drop(journal);
    Ok(Report { done: done.map_err(failure)?, log_bytes })
}

fn open(dir: &Path) -> Result<EmbeddedJournal, CliError> {
    let opened: Result<_, OpenError> = EmbeddedJournal::open(dir, EmbeddedOptions::default());
    opened.map_err(|error| DataError::from(error).into())
}

/// All that may go of the runtime's own streams. Of aggregates' streams nothing does: how far the read models are that
/// have still to see their events, only the running service knows.
fn options(journal: &EmbeddedJournal, disk: &DiskOptions) -> ScavengeOptions {
    let end = journal.durable().borrow().position;
    ScavengeOptions {
        own_below: end.next(),
        expiring: disk.expiring(),
        percent_min: 1,
        duty_percent: 100,
        ..ScavengeOptions::below(Position::START)
    }
}

fn failure(error: ScavengeError) -> CliError {
    match error {
        ScavengeError::Read(error) => error.into(),
        error => CliError::failed(error.code(), &error),
    }
}

impl Report {
    fn json(&self, service: &str) -> Value {
        let ScavengeProgress { segments, rewritten, events, bytes, .. } = self.done;
        json!({
            "service": service,
            "segments": segments,
            "rewritten": rewritten,
            "events": events,
            "reclaimedBytes": bytes,
            "logBytes": self.log_bytes,
        })
    }

    fn text(&self, service: &str) -> String {
        let ScavengeProgress { segments, rewritten, events, bytes, .. } = self.done;
        let [bytes, events, left] = [(bytes, "byte"), (events, "event"), (self.log_bytes, "byte")]
            .map(|(number, what)| count(number, what));
        let segments = count(segments as u64, "sealed segment");
        format!(
            "{service}: gave back {bytes} of {events}; {rewritten} of {segments} written anew; the log has {left}\n"
        )
    }
}
