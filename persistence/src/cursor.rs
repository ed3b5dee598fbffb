//! How far the readers of a journal have come, as they write it down in the journal itself.
//!
//! A reader that must not miss anything (a relay, a subscription, a projection) keeps its cursor in a stream of its own,
//! `$cursor-<name>`, whose last event says how far it is. So whoever gives events up can find out what is still needed,
//! also by readers that do not run at the moment.

use std::sync::Arc;

use serde::Deserialize;

use crate::{
    CodecError, Direction, InvalidStreamId, Journal, Position, ReadError, RecordedEvent, StreamId, Version,
};

/// What the streams of cursors begin with.
pub const CURSOR_CATEGORY: &str = "$cursor";

/// How many streams are looked at a time.
const PAGE_STREAMS: usize = 256;

/// A reader's durable cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The stream that keeps it.
    pub stream: StreamId,
    /// The reader needs nothing up to this position any more.
    pub position: Position,
}

/// Why it cannot be said how far the readers of a journal have come. Nothing is given up then.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CursorError {
    /// The journal cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What a reader wrote down is no cursor of this release.
    #[error("the last event of \"{stream}\" is no cursor of this release")]
    Record {
        /// The stream.
        stream: StreamId,
        /// What is wrong with it.
        #[source]
        source: CodecError,
    },
}

impl CursorError {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Read(error) => error.code(),
            Self::Record { .. } => "cursors_unreadable",
        }
    }
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
/// [`CursorError`] when one cannot be read.
pub async fn cursors(journal: &Arc<dyn Journal>) -> Result<Vec<Cursor>, CursorError> {
    let prefix = format!("{CURSOR_CATEGORY}-");
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = journal.streams_page(&prefix, after.as_ref(), PAGE_STREAMS).await?;
        let Some(last) = page.last() else { return Ok(found) };
        after = Some(last.stream.clone());
        for info in page {
            let last =
                journal.stream_page(&info.stream, Version(u64::MAX), Direction::Backward, 1).await?.events;
            found.extend(last.first().map(cursor).transpose()?);
        }
    }
}

fn cursor(recorded: &RecordedEvent) -> Result<Cursor, CursorError> {
    let stream = recorded.stream.clone();
    match recorded.codec.decode::<Moved>(&recorded.payload) {
        Ok(Moved { position }) => Ok(Cursor { stream, position }),
        Err(source) => Err(CursorError::Record { stream, source }),
    }
}

#[cfg(test)]
mod tests;
