//! What a snapshot store must hold.

use std::sync::Arc;
use std::thread;

use super::SnapshotFactory;
use super::kit::order;
use crate::{EventId, JournalId, Snapshot, SnapshotStore, StreamId, Version};

fn snapshot(version: u64, state: &[u8]) -> Snapshot {
    Snapshot {
        journal: JournalId::from_u128(7),
        version: Version(version),
        event_id: EventId::from_u128(u128::from(version)),
        fingerprint: u64::MAX - version,
        state: state.to_vec(),
    }
}

fn loaded(store: &Arc<dyn SnapshotStore>, stream: &StreamId) -> Vec<u64> {
    all(store, stream).iter().map(|snapshot| snapshot.version.0).collect()
}

/// What is loaded of a stream; the latest alone is the first of it.
fn all(store: &Arc<dyn SnapshotStore>, stream: &StreamId) -> Vec<Snapshot> {
    let all = store.load(stream);
    assert!(store.load_latest(stream).as_ref() == all.first(), "the latest of {stream} is another");
    all
}

/// What is saved is loaded, in every field, whatever the size of the state; nothing is there before.
pub fn a_saved_snapshot_is_loaded(factory: &impl SnapshotFactory) {
    let store = factory.open();
    for (n, bytes) in [0, 1, 4096, 1 << 20].into_iter().enumerate() {
        let stream = order(&n.to_string());
        assert_eq!(all(&store, &stream), []);
        let state: Vec<u8> = (0..bytes).map(|byte| (byte % 251) as u8).collect();
        store.save(&stream, &snapshot(5, &state));
        assert!(all(&store, &stream) == [snapshot(5, &state)], "a state of {bytes} bytes differs");
    }
}

/// Of many saved the two latest are loaded, newest first; saved again at its version one replaces itself.
pub fn the_newest_and_the_one_before_are_kept(factory: &impl SnapshotFactory) {
    let store = factory.open();
    let stream = order("1");
    for version in 1..=5 {
        store.save(&stream, &snapshot(version * 10, b"state"));
    }
    assert_eq!(all(&store, &stream), [snapshot(50, b"state"), snapshot(40, b"state")]);
    store.save(&stream, &snapshot(50, b"again"));
    assert_eq!(all(&store, &stream), [snapshot(50, b"again"), snapshot(40, b"state")]);
}

/// One stream's snapshots are not another's, however alike their names.
pub fn other_streams_snapshots_stay(factory: &impl SnapshotFactory) {
    let store = factory.open();
    let ids = ["1", "10", "1-0", "日本", &"x".repeat(200)].map(order);
    for (n, stream) in ids.iter().enumerate() {
        store.save(stream, &snapshot(n as u64 + 1, b"state"));
    }
    for (n, stream) in ids.iter().enumerate() {
        assert_eq!(loaded(&store, stream), [n as u64 + 1], "{stream}");
    }
}

/// Removing forgets both of a stream, and nothing else; what is not there can be removed.
pub fn removed_snapshots_are_gone(factory: &impl SnapshotFactory) {
    let store = factory.open();
    let (gone, kept) = (order("gone"), order("kept"));
    for stream in [&gone, &kept] {
        store.save(stream, &snapshot(1, b"state"));
        store.save(stream, &snapshot(2, b"state"));
    }
    store.remove(&gone);
    store.remove(&order("never"));
    assert_eq!((loaded(&store, &gone), loaded(&store, &kept)), (vec![], vec![2, 1]));
    store.save(&gone, &snapshot(3, b"state"));
    assert_eq!(loaded(&store, &gone), [3]);
}

/// Threads that save and load at the same time get whole snapshots of their own.
pub fn snapshots_work_from_many_threads(factory: &impl SnapshotFactory) {
    let store = factory.open();
    thread::scope(|scope| {
        for thread in 0..4_u8 {
            let store = Arc::clone(&store);
            scope.spawn(move || save_and_load(&store, thread));
        }
    });
}

fn save_and_load(store: &Arc<dyn SnapshotStore>, thread: u8) {
    let stream = order(&thread.to_string());
    for version in 1..=50 {
        store.save(&stream, &snapshot(version, &[thread; 500]));
        assert_eq!(all(store, &stream)[0], snapshot(version, &[thread; 500]));
    }
}

/// After a clean close, what was saved is there when the store is opened anew.
pub fn snapshots_survive_a_restart(factory: &impl SnapshotFactory) {
    let store = factory.open();
    let stream = order("1");
    store.save(&stream, &snapshot(1, b"old"));
    store.save(&stream, &snapshot(2, b"new"));
    store.close();
    drop(store);
    let Some(store) = factory.reopen() else { return };
    assert_eq!(all(&store, &stream), [snapshot(2, b"new"), snapshot(1, b"old")]);
    store.save(&stream, &snapshot(3, b"newer"));
    assert_eq!(loaded(&store, &stream), [3, 2]);
}
