//! An event as the journal keeps it: payload and metadata, before and after it has a place.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    CHECKPOINT_EVENT_TYPE, CausationId, CodecId, CommandId, CorrelationId, EventId, Position, StreamId,
    Timestamp, TypeName, Version,
};

/// W3C trace context: which trace, and which span in it, an event came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: u128,
    /// The span.
    pub span_id: u64,
    /// The trace flags; bit 0 is "sampled".
    pub flags: u8,
}

/// What is known of the command that an event came from. Every event of one command has the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandMetadata {
    /// When the command was decided; never before the stream's last event.
    pub time: Timestamp,
    /// The command.
    pub command_id: CommandId,
    /// A hash of the command's content: the same id with another content is a mistake worth an error.
    pub command_hash: u64,
    /// The outside request behind it.
    pub correlation_id: CorrelationId,
    /// The command or event that directly caused it.
    pub causation_id: CausationId,
    /// Who sent it, where that is known.
    pub actor: Option<Arc<str>>,
    /// The trace it was part of.
    pub trace: Option<TraceContext>,
}

impl CommandMetadata {
    /// Metadata for a command of the runtime itself: a new id that is its own correlation and cause.
    #[must_use]
    pub fn internal(time: Timestamp) -> Self {
        let command_id = CommandId::generate();
        Self {
            time,
            command_id,
            command_hash: 0,
            correlation_id: command_id.into(),
            causation_id: command_id.into(),
            actor: None,
            trace: None,
        }
    }
}

/// An event to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Its id, for good.
    pub id: EventId,
    /// The stable name of its type.
    pub type_name: TypeName,
    /// The version of its schema, from 1.
    pub schema_version: u16,
    /// How the payload is encoded.
    pub codec: CodecId,
    /// The encoded event.
    pub payload: Bytes,
    /// The command behind it.
    pub command: CommandMetadata,
    /// Words to filter by.
    pub tags: Vec<Arc<str>>,
}

/// An event in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedEvent {
    /// Its place in the journal.
    pub position: Position,
    /// The stream it belongs to.
    pub stream: StreamId,
    /// Its place in the stream.
    pub version: Version,
    /// The event as it was appended.
    pub event: NewEvent,
}

impl RecordedEvent {
    /// Whether it is the runtime's own note of an instance's state, and nothing that has happened to it.
    #[must_use]
    pub fn is_checkpoint(&self) -> bool {
        *self.type_name == *CHECKPOINT_EVENT_TYPE
    }
}

impl std::ops::Deref for RecordedEvent {
    type Target = NewEvent;

    fn deref(&self) -> &NewEvent {
        &self.event
    }
}
