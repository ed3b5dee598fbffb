//! How far the readers of a journal have come, as they write it down in the journal itself.
//!
//! A reader that must not miss anything (a relay, a subscription, a projection) keeps its cursor in a stream of its own,
//! `$cursor-<name>`, whose last event says how far it is. So whoever gives events up can find out what is still needed,
//! also by readers that do not run at the moment.

use std::sync::Arc;

use serde::Deserialize;

use crate::{Direction, InvalidStreamId, Journal, Position, ReadError, RecordedEvent, StreamId, Version};

/// What the streams of cursors begin with.
pub const CURSOR_CATEGORY: &str = "$cursor";

/// How many streams are looked at a time.
const PAGE_STREAMS: usize = 256;

/// A reader's durable cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The stream that keeps it.
    pub stream: StreamId,
    /// The reader needs nothing up to this position any more. The journal's start where what was written down cannot be
    /// understood.
    pub position: Position,
}

#[derive(Deserialize)]
struct Moved {
    position: Position,
}

/// The stream that keeps the cursor of the reader of this name.
///
/// # Errors
/// [`InvalidStreamId`] when the name cannot be part of a stream's.
pub fn cursor_stream(name: &str) -> Result<StreamId, InvalidStreamId> {
    StreamId::internal(&format!("cursor-{name}"))
}

/// The cursors of all readers that ever wrote one down. A reader that is gone for good is left out once its stream has a
/// tombstone: [`Retention::gone`](crate::Retention::gone).
///
/// # Errors
/// When the journal cannot be read.
pub async fn cursors(journal: &Arc<dyn Journal>) -> Result<Vec<Cursor>, ReadError> {
    let prefix = format!("{CURSOR_CATEGORY}-");
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = journal.streams_page(&prefix, after.as_ref(), PAGE_STREAMS).await?;
        let Some(last) = page.last() else { return Ok(found) };
        after = Some(last.stream.clone());
        for info in page {
            let last =
                journal.stream_page(&info.stream, Version(u64::MAX), Direction::Backward, 1).await?.events;
            found.extend(last.first().map(cursor));
        }
    }
}

fn cursor(recorded: &RecordedEvent) -> Cursor {
    let read = recorded.codec.decode::<Moved>(&recorded.payload);
    let position = read.map_or(Position::START, |moved| moved.position);
    Cursor { stream: recorded.stream.clone(), position }
}

#[cfg(test)]
mod tests;
