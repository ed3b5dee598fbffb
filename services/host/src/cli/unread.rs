//! What of a list could not be read: told when all else is.

use serde_json::Value;

use super::error::CliError;
use super::output::{Output, field};

pub(super) const UNREADABLE: &str = "dead_letters_unreadable";

/// So many are told of one by one.
const TOLD_MAX: usize = 10;

/// Records and streams that could not be read, by the word of the list's last items.
#[derive(Debug, Default)]
pub(super) struct Unread {
    found: usize,
    told: Vec<String>,
}

impl Unread {
    /// Whether an item of a list is one of these. Programs get them as they come, people at the end.
    pub(super) fn take(&mut self, item: &str, output: Output) -> Result<bool, CliError> {
        let value = serde_json::from_str(item).map_err(|error| CliError::failed("invalid_answer", &error))?;
        let is_one = self.note(&value);
        if is_one {
            output.program_item(item)?;
        }
        Ok(is_one)
    }

    /// As [`Unread::take`], without a word to anybody.
    pub(super) fn note(&mut self, item: &Value) -> bool {
        let unreadable = &item["unreadable"];
        if !unreadable.is_object() {
            return false;
        }
        self.found += 1;
        if self.told.len() < TOLD_MAX {
            let [reason, code] = ["reason", "code"].map(|name| field(unreadable, name));
            let position = unreadable["position"].as_u64().map(|at| format!("at position {at}, "));
            let position = position.unwrap_or_default();
            self.told.push(format!("  {}: {reason} ({position}{code})", field(item, "service")));
        }
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found == 0
    }

    pub(super) fn into_result(self) -> Result<(), CliError> {
        if self.is_empty() {
            return Ok(());
        }
        let more = self.found - self.told.len();
        let more = if more == 0 { String::new() } else { format!("\n  and {more} more") };
        let message = format!("not all dead letters can be read:\n{}{more}\n ", self.told.join("\n"));
        Err(CliError::Failed { code: UNREADABLE.to_owned(), message })
    }
}
