//! What of a stream may go with a checkpoint: what is wanted, as far as nobody has still to read it.

use std::sync::Arc;

use annals_persistence::planted::{Fault, planted};
use annals_persistence::{Direction, Journal, Position, ReadError, StreamId, Version};

use super::{CheckpointError, CheckpointReceipt, Held, Marks};
use crate::Readers;

/// What is to be kept with a checkpoint, and what of the rest is to be remembered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    /// The first version to keep; none to keep everything.
    pub(crate) kept_from: Version,
    pub(crate) marks: Marks,
    /// Who kept more from going.
    held: Option<Held>,
}

impl Plan {
    pub(crate) fn receipt(self, version: Version, position: Position) -> CheckpointReceipt {
        CheckpointReceipt { version, position, kept_from: self.kept_from.max(Version(1)), held: self.held }
    }
}

/// Plans to give up all of a stream but its last `keep` events.
pub(crate) async fn truncating(
    journal: &Arc<dyn Journal>,
    readers: &Readers,
    stream: &StreamId,
    keep: u64,
) -> Result<Plan, CheckpointError> {
    let last = journal.stream_info(stream).await?.map(|info| info.version);
    let last = last.ok_or_else(|| CheckpointError::NotFound { stream: stream.clone() })?;
    let wanted = Version((last.0 + 1).saturating_sub(keep).max(1));
    let Some((front, _)) =
        first_from(journal, stream, Version(1)).await?.filter(|(first, _)| *first < wanted)
    else {
        return Ok(Plan::default());
    };
    let (kept_from, held) = match readers.lowest(journal, stream).await? {
        Some(held) if !planted(Fault::TruncatedPastCursor) => {
            let unread = first_behind(journal, stream, (front, wanted), held.position).await?;
            (unread, (unread < wanted).then_some(held))
        }
        _ => (wanted, None),
    };
    if let Some(held) = held.clone().filter(|_| kept_from <= front) {
        return Err(CheckpointError::Held(held));
    }
    let marks = readers.marks(stream, kept_from).await?;
    Ok(Plan { kept_from, marks, held })
}

/// The first event of a stream that is there, from this version on.
async fn first_from(
    journal: &Arc<dyn Journal>,
    stream: &StreamId,
    from: Version,
) -> Result<Option<(Version, Position)>, ReadError> {
    let page = journal.stream_page(stream, from, Direction::Forward, 1).await?;
    Ok(page.events.first().map(|event| (event.version, event.position)))
}

/// Of the versions between two, the first whose event stands behind a position; the later one when none does.
async fn first_behind(
    journal: &Arc<dyn Journal>,
    stream: &StreamId,
    (front, end): (Version, Version),
    position: Position,
) -> Result<Version, ReadError> {
    let (mut low, mut high) = (front, end);
    while low < high {
        let middle = Version(low.0 + (high.0 - low.0) / 2);
        match first_from(journal, stream, middle).await? {
            Some((_, at)) if at <= position => low = middle.next(),
            _ => high = middle,
        }
    }
    Ok(low)
}
