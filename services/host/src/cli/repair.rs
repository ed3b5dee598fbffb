//! `log repair`: going on without what is damaged.

use std::path::Path;
use std::sync::Arc;

use annals_persistence::{CutPiece, EmbeddedJournal, LogDamage, LogRepair, RealVfs, Vfs};
use serde_json::{Value, json};

use super::args::RepairArgs;
use super::error::CliError;
use super::output::{Output, count};
use super::source::{chosen, with_journal};
use crate::data::journal_dir;
use crate::read_only::ReadOnlyVfs;
use crate::{DataError, Service};

pub(super) fn repair(
    services: &[Arc<dyn Service>],
    args: &RepairArgs,
    output: Output,
) -> Result<(), CliError> {
    for service in with_journal(&chosen(services, args.service.as_deref())?, &args.data)? {
        let name = service.name();
        let repair = repair_one(name, &args.data, args.yes)?;
        let json = repair_json(name, repair.as_ref(), args.yes);
        output.document(&json.to_string(), || repair_text(name, repair.as_ref(), args.yes))?;
    }
    Ok(())
}

fn repair_one(name: &'static str, data: &Path, yes: bool) -> Result<Option<LogRepair>, DataError> {
    // Looking must not write, not even a lock's file.
    let vfs: Arc<dyn Vfs> = if yes { Arc::new(RealVfs) } else { Arc::new(ReadOnlyVfs) };
    Ok(EmbeddedJournal::repair(journal_dir(&data.join(name)), vfs, yes)?)
}

fn repair_json(service: &str, repair: Option<&LogRepair>, done: bool) -> Value {
    let Some(LogRepair { damage, last, cut, kept_in, .. }) = repair else {
        return json!({ "service": service, "damaged": false, "repaired": false });
    };
    let cut = cut.iter().map(|CutPiece { file, offset, bytes, used, events, .. }| {
        json!({ "file": file, "offset": offset, "bytes": bytes, "usedBytes": used, "wholeEvents": events })
    });
    json!({
        "service": service,
        "damaged": true,
        "repaired": done,
        "damage": { "file": damage.file, "offset": damage.offset, "reason": damage.reason },
        "lastPosition": last.0,
        "cut": cut.collect::<Vec<_>>(),
        "keptIn": if done { json!(kept_in) } else { Value::Null },
    })
}

fn repair_text(service: &str, repair: Option<&LogRepair>, done: bool) -> String {
    let Some(LogRepair { damage, last, cut, kept_in, .. }) = repair else {
        return format!("{service}: nothing to repair\n");
    };
    let LogDamage { file, offset, reason, .. } = damage;
    let mut text = format!("{service}: \"{}\" is damaged at offset {offset}: {reason}\n", file.display());
    let verb = if done { "cut off" } else { "would be cut off" };
    for CutPiece { file, offset, used, events, .. } in cut {
        let events = events.map_or_else(
            || "events that cannot be counted".to_owned(),
            |events| count(events, "whole event"),
        );
        let file = file.display();
        text.push_str(&format!(
            "  {verb}: {} of \"{file}\" from offset {offset}, with {events}\n",
            count(*used, "byte")
        ));
    }
    text.push_str(&format!("  events up to position {last} stay; what is behind them is lost\n"));
    text.push_str(&match done {
        true if cut.is_empty() => "  nothing was there to be cut off\n".to_owned(),
        true => format!("  what was cut off is kept in \"{}\"\n", kept_in.display()),
        false => "  nothing was changed; run it again with --yes to do it, or restore a backup\n".to_owned(),
    });
    text
}
