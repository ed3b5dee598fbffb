//! Commands on their way: options, the receipt, the content hash.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use annals_persistence::{
    CausationId, CodecError, CodecId, CommandId, CorrelationId, Position, StreamAppend, TraceContext, Version,
};
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use crate::content;
use crate::names::CommandName;

/// What can be said of a command beside its content.
#[derive(Debug, Clone, Default)]
pub struct SendOptions {
    /// The version that the instance must be at; anything else is a conflict.
    pub expecting: Option<Version>,
    /// The command's id. Sent again under the same id, the command has no second effect.
    pub command_id: Option<CommandId>,
    /// The outside request behind it; the command's own id where there is none.
    pub correlation_id: Option<CorrelationId>,
    /// What directly caused it; the command's own id where nothing did.
    pub causation_id: Option<CausationId>,
    /// Who sends it.
    pub actor: Option<Arc<str>>,
    /// The trace it is part of.
    pub trace: Option<TraceContext>,
    /// How long to wait for the answer. When it passes, the command may still be carried out.
    pub timeout: Option<Duration>,
    /// Events for one more stream, appended in the same batch as the command's own: both or neither. Not
    /// appended when the command appends nothing.
    pub along: Option<Box<StreamAppend>>,
}

/// The answer to a command that was accepted; everything it tells of is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The instance's version after the command.
    pub version: Version,
    /// Where the command's last event stands in the journal; `None` when it had no events.
    pub position: Option<Position>,
    /// How many events it had.
    pub events: u32,
    /// Whether this command had been carried out before, under the same id; the rest is as it was then.
    pub duplicate: bool,
}

/// A hash of a command's content, so that one id with two contents is noticed, and what the command is called.
///
/// # Errors
/// [`CodecError::Encode`] when the command's `Serialize` refuses.
pub(crate) fn content_hash<C: Serialize>(command: &C) -> Result<(u64, Option<CommandName>), CodecError> {
    thread_local! {
        // One buffer a thread: the content is only hashed, never kept.
        static CONTENT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    }
    // Taken, not borrowed: a command's `Serialize` may send another one.
    let mut bytes = CONTENT.take();
    bytes.clear();
    let hash = content::write(command, &mut bytes).map(|name| (xxh3_64(&bytes), name));
    bytes.shrink_to(64 * 1024);
    CONTENT.set(bytes);
    hash.map_err(|e| CodecError::Encode { codec: CodecId::Json, reason: e.to_string() })
}
