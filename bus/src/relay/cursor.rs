//! The cursor: how far everything is published, kept in the journal itself.

use std::sync::Arc;

use annals_actors::Clock;
use annals_macros::Event;
use annals_persistence::{
    Batch, Direction, Expected, Journal, JournalExt, Position, Retention, StreamId, Version,
};

use crate::record;

#[derive(Debug, Event)]
pub(crate) enum CursorEvent {
    /// Everything up to this position is published.
    #[event("cursor-moved")]
    Moved { position: Position },
}

/// Where a cursor is kept.
#[derive(Debug, Clone)]
pub(super) struct CursorStream {
    pub(super) journal: Arc<dyn Journal>,
    pub(super) stream: StreamId,
    pub(super) clock: Arc<dyn Clock>,
}

impl CursorStream {
    /// The last position written down; `None` the first time.
    pub(super) async fn load(&self) -> Result<Option<Position>, String> {
        let page = self.journal.stream_page(&self.stream, Version(u64::MAX), Direction::Backward, 1).await;
        let page = page.map_err(|error| error.to_string())?;
        let Some(recorded) = page.events.first() else { return Ok(None) };
        let CursorEvent::Moved { position } = record::read(recorded).map_err(|error| error.to_string())?;
        Ok(Some(position))
    }

    /// Writes a position down unless it is behind the one that stands there; answers which stands there then.
    pub(super) async fn save_at_least(&self, position: Position) -> Result<Position, String> {
        let written = self.load().await?.unwrap_or(Position::START);
        if position > written {
            self.save(position).await?;
        }
        Ok(written.max(position))
    }

    /// Where the same relay keeps since when it publishes what.
    pub(super) fn topics(&self) -> Result<StreamId, String> {
        let name = self.stream.as_str().trim_start_matches('$');
        // No longer than the cursor's, so that it is none that cannot be.
        let name = name.strip_prefix("cursor-").unwrap_or(name);
        StreamId::internal(&format!("topics-{name}")).map_err(|error| error.to_string())
    }

    /// Has only the last position kept.
    pub(super) async fn keep_last(&self) -> Result<(), String> {
        let last = Retention { max_count: Some(1), ..Retention::default() };
        self.append(Batch::default().retaining(self.stream.clone(), last)).await
    }

    /// Writes a position down.
    pub(super) async fn save(&self, position: Position) -> Result<(), String> {
        let event = record::record(&CursorEvent::Moved { position }, self.clock.now());
        let event = event.map_err(|error| error.to_string())?;
        self.append(Batch::of(self.stream.clone(), Expected::Any, [event])).await
    }

    async fn append(&self, batch: Batch) -> Result<(), String> {
        self.journal.append(batch).await.map(drop).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests;
