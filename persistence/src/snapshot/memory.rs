//! Snapshots in memory, for tests.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::{Snapshot, SnapshotStore};
use crate::StreamId;

/// Keeps snapshots in memory, for as long as it lives.
#[derive(Debug, Default)]
pub struct MemorySnapshots(Mutex<HashMap<StreamId, Vec<Snapshot>>>);

impl MemorySnapshots {
    /// A store without snapshots.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many streams have a snapshot.
    #[must_use]
    pub fn stream_count(&self) -> usize {
        self.0.lock().len()
    }
}

impl SnapshotStore for MemorySnapshots {
    fn load(&self, stream: &StreamId) -> Vec<Snapshot> {
        self.0.lock().get(stream).cloned().unwrap_or_default()
    }

    fn load_latest(&self, stream: &StreamId) -> Option<Snapshot> {
        self.0.lock().get(stream)?.first().cloned()
    }

    fn save(&self, stream: &StreamId, snapshot: &Snapshot) {
        let mut streams = self.0.lock();
        let kept = streams.entry(stream.clone()).or_default();
        kept.retain(|older| older.version != snapshot.version);
        kept.truncate(1);
        kept.insert(0, snapshot.clone());
    }

    fn remove(&self, stream: &StreamId) {
        self.0.lock().remove(stream);
    }

    fn close(&self) {}
}
