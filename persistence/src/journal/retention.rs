//! What a journal keeps of a stream, where it is not everything.

use std::collections::HashMap;
use std::time::Duration;

use crate::planted::{Fault, off_by, planted};
use crate::{AppendError, Batch, Expected, StreamAppend, StreamId, Version};

/// The type of the event with which an aggregate's stream may be truncated: it holds the state at its version, so that
/// nothing in front of it is needed for a replay. Only the runtime writes it.
pub const CHECKPOINT_EVENT_TYPE: &str = "$checkpoint";

/// What is kept of a stream. What is not kept is no longer read from the stream at once; its space is given back, and
/// it leaves the order of all events, when the journal is scavenged.
///
/// The last event is always kept, whatever is set, since it says how far the stream goes; unless there is a tombstone.
/// So no version is used twice. Positions stay as they are, with gaps where something was scavenged.
///
/// What is set takes the place of what was set before. Where that keeps more than before, what was not read any more is
/// read again, as far back as nothing was scavenged meanwhile.
///
/// An aggregate's stream is the truth about it, so of these only `truncate_before` and `tombstone` may be set for one,
/// and the first only together with the append of a [`CHECKPOINT_EVENT_TYPE`] event at that version or behind it.
///
/// ```
/// use annals_persistence::{Retention, Version};
///
/// let last_hundred = Retention { max_count: Some(100), ..Retention::default() };
/// let from_seven = Retention { truncate_before: Version(7), ..last_hundred };
/// assert_ne!(last_hundred, from_seven);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Events below this version are not kept. It never goes back: a lower one than before changes nothing.
    pub truncate_before: Version,
    /// At most this many events are kept, the newest; 0 is as 1.
    pub max_count: Option<u64>,
    /// Events that are older, by the time of the command that they are of, may be scavenged: from the first on, so that
    /// one stays as long as a younger one is in front of it. Until they are, they are read like others.
    pub max_age: Option<Duration>,
    /// Nothing is kept, and nothing is appended any more, for good: such a stream reads as empty, is not listed, has no
    /// [`StreamInfo`](crate::StreamInfo), and appends are refused with [`AppendError::StreamGone`]. Only the batch that sets it
    /// may still append to it. A stream that never was can have one too.
    pub tombstone: bool,
}

impl Retention {
    /// That of a stream that is gone for good.
    #[must_use]
    pub fn gone() -> Self {
        Self { tombstone: true, ..Self::default() }
    }

    /// The first version that is read of a stream whose last is this one; one behind it when nothing is.
    #[must_use]
    pub fn first_kept(&self, last: Version) -> Version {
        if self.tombstone {
            return last.next();
        }
        let end = last.0 + 1 + off_by(Fault::CountOffByOne);
        let by_count = self.max_count.map_or(1, |count| end.saturating_sub(count.max(1)));
        let by_version = self.truncate_before.0 + off_by(Fault::TruncationOffByOne);
        Version(by_count.max(by_version).min(last.0).max(1))
    }

    /// In the place of what was set before: neither truncation nor tombstone is ever taken back.
    pub(crate) fn after(self, before: Option<Self>) -> Self {
        let Some(before) = before else { return self };
        Self {
            truncate_before: self.truncate_before.max(before.truncate_before),
            tombstone: self.tombstone || before.tombstone && !planted(Fault::TombstoneRevived),
            ..self
        }
    }
}

/// A stream, and what is to be kept of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRetention {
    /// The stream.
    pub stream: StreamId,
    /// What is kept of it from now on, in place of what was set before.
    pub retention: Retention,
}

/// Checks what a batch sets, as far as it does not depend on what the journal holds.
pub(super) fn validate_retention(batch: &Batch) -> Result<(), AppendError> {
    let checkpoints = checkpoints(batch);
    batch.retention().iter().try_for_each(|set| check(&checkpoints, set))
}

/// The versions of the checkpoints that the batch appends, by stream.
fn checkpoints(batch: &Batch) -> HashMap<&StreamId, Version> {
    let of = |append: &StreamAppend| match append.expected {
        Expected::Version(before) if append.events.first()?.type_name == CHECKPOINT_EVENT_TYPE => {
            Some(before.next())
        }
        _ => None,
    };
    let appends = if batch.retention().is_empty() { &[][..] } else { &batch.streams[..] };
    appends.iter().filter_map(|append| Some((&append.stream, of(append)?))).collect()
}

fn check(checkpoints: &HashMap<&StreamId, Version>, set: &StreamRetention) -> Result<(), AppendError> {
    let StreamRetention { stream, retention } = set;
    if stream.is_internal() {
        return Ok(());
    }
    if retention.max_count.is_some() || retention.max_age.is_some() {
        return invalid(stream, "of an aggregate's stream all events since its last checkpoint are kept");
    }
    let before = retention.truncate_before;
    if before > Version(1) && checkpoints.get(stream).is_none_or(|checkpoint| before > *checkpoint) {
        let needed = "an aggregate's stream is truncated only up to a checkpoint event that the batch appends to it, \
                      first and with the expected version in front of it";
        return invalid(stream, needed);
    }
    Ok(())
}

fn invalid(stream: &StreamId, reason: &str) -> Result<(), AppendError> {
    Err(AppendError::Invalid { reason: format!("stream \"{stream}\": {reason}") })
}
