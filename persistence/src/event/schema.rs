//! The schemas of events: every (type, version) that a release can read, and what it looks like.

use std::fmt;

use crate::{CodecId, ShapeWriter, shape_fingerprint};

/// One event type at one schema version.
#[derive(Clone, Copy)]
pub struct EventSchema {
    /// The name in the journal.
    pub name: &'static str,
    /// The schema version, from 1.
    pub version: u16,
    /// Whether this release writes it or only reads it.
    pub role: SchemaRole,
    /// Writes the payload's shape down.
    pub describe: fn(&mut ShapeWriter),
}

/// What a release does with a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaRole {
    /// It writes it, in this codec, and reads it in every codec.
    Written(CodecId),
    /// It only reads it: an earlier version, a former name, or a type that is written no more.
    Read,
}

impl fmt::Debug for EventSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSchema")
            .field("name", &self.name)
            .field("version", &self.version)
            .field("role", &self.role)
            .field("shape", &self.shape())
            .finish()
    }
}

impl EventSchema {
    /// The codec that this release writes it in; `None` where it only reads it.
    #[must_use]
    pub const fn written(&self) -> Option<CodecId> {
        match self.role {
            SchemaRole::Written(codec) => Some(codec),
            SchemaRole::Read => None,
        }
    }

    /// The payload's shape as text: names, order and widths of all its fields, all the way down.
    #[must_use]
    pub fn shape(&self) -> String {
        self.describe().finish()
    }

    /// A number that changes when the shape does.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        shape_fingerprint(&self.shape())
    }

    /// The serde attribute in it, at whatever depth, that only a self-describing codec can read back; `None` where
    /// bincode can have it.
    #[must_use]
    pub fn not_for_bincode(&self) -> Option<String> {
        self.describe().self_describing().map(str::to_owned)
    }

    fn describe(&self) -> ShapeWriter {
        let mut writer = ShapeWriter::default();
        (self.describe)(&mut writer);
        writer
    }
}
