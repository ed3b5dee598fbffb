//! Snapshots: an aggregate's state at a version, kept so that replay can begin there. Strictly a cache.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{EventId, JournalId, StreamId, Version};

mod cache;
mod engine;
mod envelope;
mod files;
mod memory;
mod options;
#[cfg(feature = "redb")]
mod redb;
mod sled;
mod slots;

#[cfg(feature = "redb")]
pub use self::redb::RedbSnapshots;
pub use self::sled::SledSnapshots;
pub use files::{FileSnapshotOptions, FileSnapshots};
pub use memory::MemorySnapshots;
pub use options::{SnapshotOpenError, SnapshotOptions};

/// A state at a version, and all that is needed to doubt it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The history it was taken from.
    pub journal: JournalId,
    /// The version it stands at.
    pub version: Version,
    /// The event at that version: a snapshot is used only if the stream holds this very event.
    pub event_id: EventId,
    /// The shape of the state's type when it was written; another shape means discard.
    pub fingerprint: u64,
    /// The encoded state.
    #[serde(with = "as_bytes")]
    pub state: Vec<u8>,
}

/// Bytes in one piece. As a sequence of numbers, which they are to serde by default, they lie the same way in bincode, but
/// each of them is read by itself.
#[doc(hidden)]
pub mod as_bytes {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        Bytes::deserialize(deserializer).map(Vec::from)
    }
}

/// Where snapshots are kept. It may forget any of them at any time, and nothing but time is lost: every failure is
/// the store's own affair, logged there, never an error for its user. Calls may block for a disk read.
pub trait SnapshotStore: fmt::Debug + Send + Sync + 'static {
    /// The snapshots of a stream, the one saved last first; none when there are none or they cannot be trusted.
    fn load(&self, stream: &StreamId) -> Vec<Snapshot>;

    /// The first of these alone. It is the one that is used but for rare doubts, and a store that can leave the others where
    /// they are is faster.
    fn load_latest(&self, stream: &StreamId) -> Option<Snapshot> {
        self.load(stream).into_iter().next()
    }

    /// Keeps a snapshot, and at most one older one beside it: the one saved before, unless it is of the same version.
    /// One stream's snapshots are saved by one caller at a time.
    fn save(&self, stream: &StreamId, snapshot: &Snapshot);

    /// Forgets a stream's snapshots.
    fn remove(&self, stream: &StreamId);

    /// Lets go of files; what was saved should be there after a clean restart. A closed store has no snapshots and
    /// keeps none.
    fn close(&self);
}

/// Says that a store has nowhere to keep anything.
fn log_given_up(dir: &Path, reason: &str) {
    tracing::error!(
        dir = %dir.display(),
        code = "snapshots_given_up",
        reason,
        "no snapshots are kept until the next start; every activation replays its whole stream"
    );
}

#[cfg(test)]
mod tests;
