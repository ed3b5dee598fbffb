//! A topic's schemas as they stand in the journal.

use annals_macros::Event;
use annals_persistence::{Timestamp, Version};
use serde_json::Value;

use super::Compatibility;

/// What happens to a topic's schemas.
#[derive(Debug, Event)]
#[serde(rename_all_fields = "camelCase")]
pub(super) enum SchemaEvent {
    /// A version was registered.
    #[event("schema-registered")]
    Registered { number: u32, schema: Value },
    /// What may follow what was changed.
    #[event("schema-mode-set")]
    ModeSet { mode: Compatibility },
    /// The topic has no schema any more; its versions stay where they are.
    #[event("schema-removed")]
    Removed {},
}

/// A version of a topic's schema.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) number: u32,
    pub(super) schema: Value,
    pub(super) time: Timestamp,
}

/// A topic's schemas, as far as their stream was read.
#[derive(Debug, Default)]
pub(super) struct TopicFold {
    pub(super) read: Version,
    pub(super) entries: Vec<Entry>,
    pub(super) mode: Option<Compatibility>,
    pub(super) removed: bool,
}

impl TopicFold {
    pub(super) fn apply(&mut self, event: SchemaEvent, version: Version, time: Timestamp) {
        self.read = version;
        match event {
            SchemaEvent::Registered { number, schema } => {
                self.entries.push(Entry { number, schema, time });
                self.removed = false;
            }
            SchemaEvent::ModeSet { mode } => self.mode = Some(mode),
            SchemaEvent::Removed {} => self.removed = true,
        }
    }

    /// The last version, unless the topic's schema was removed.
    pub(super) fn latest(&self) -> Option<&Entry> {
        self.entries.last().filter(|_| !self.removed)
    }

    /// Whether this was ever registered.
    pub(super) fn has(&self, schema: &Value) -> bool {
        self.entries.iter().any(|entry| entry.schema == *schema)
    }

    /// What sets this mode, where it is another than the topic's.
    pub(super) fn mode_set(&self, mode: Option<Compatibility>) -> Option<SchemaEvent> {
        mode.filter(|mode| self.mode != Some(*mode)).map(|mode| SchemaEvent::ModeSet { mode })
    }

    pub(super) fn next_number(&self) -> u32 {
        self.entries.last().map_or(1, |entry| entry.number + 1)
    }
}
