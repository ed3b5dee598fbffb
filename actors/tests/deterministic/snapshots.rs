//! Snapshots that come to be there when the seed says so, or get lost, or are old ones again.

use std::collections::BTreeMap;
use std::sync::Arc;

use annals_persistence::{Snapshot, SnapshotStore, StreamId};
use parking_lot::Mutex;

type Kept = BTreeMap<StreamId, Vec<Snapshot>>;

#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshots(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    kept: Kept,
    /// Handed over, and not there yet.
    waiting: Vec<(StreamId, Snapshot)>,
    older: Kept,
}

impl Snapshots {
    /// Writes what waits; answers how many that were.
    pub(crate) fn settle(&self) -> usize {
        let mut state = self.0.lock();
        let waiting = std::mem::take(&mut state.waiting);
        let count = waiting.len();
        for (stream, snapshot) in waiting {
            let kept = state.kept.entry(stream).or_default();
            kept.retain(|older| older.version != snapshot.version);
            kept.truncate(1);
            kept.insert(0, snapshot);
        }
        count
    }

    /// Remembers what there is, for [`Snapshots::turn_back`].
    pub(crate) fn remember(&self) {
        let mut state = self.0.lock();
        state.older = state.kept.clone();
    }

    /// What waited is lost.
    pub(crate) fn lose_waiting(&self) {
        self.0.lock().waiting.clear();
    }

    /// Everything is lost.
    pub(crate) fn lose_all(&self) {
        self.0.lock().kept.clear();
    }

    /// What there is is what was remembered.
    pub(crate) fn turn_back(&self) {
        let mut state = self.0.lock();
        state.kept = state.older.clone();
    }
}

impl SnapshotStore for Snapshots {
    fn load(&self, stream: &StreamId) -> Vec<Snapshot> {
        self.0.lock().kept.get(stream).cloned().unwrap_or_default()
    }

    fn save(&self, stream: &StreamId, snapshot: &Snapshot) {
        self.0.lock().waiting.push((stream.clone(), snapshot.clone()));
    }

    fn remove(&self, stream: &StreamId) {
        let mut state = self.0.lock();
        state.kept.remove(stream);
        state.waiting.retain(|(waiting, _)| waiting != stream);
    }

    fn close(&self) {}
}
