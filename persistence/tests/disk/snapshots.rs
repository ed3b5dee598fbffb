//! Snapshots beside the journal, on the one disk that loses its power: none is used that the recovered log does not bear
//! out, and a state from a snapshot and what comes after it is the state from the first event.

use std::sync::Arc;

use annals_persistence::{
    Batch, Direction, EmbeddedJournal, EventId, Expected, Journal, JournalExt, NewEvent, RecordedEvent,
    SimVfs, SimulatedFault, SnapshotStore, StreamId, Version,
};
use futures_util::TryStreamExt;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::states::{Folded, Found, Stream, snapshots};
use crate::support::{SURVIVALS, append, block_on, dynamic, event, number, open, seeds};

const STEPS: usize = 30;

/// When the snapshot of a state is saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Saved {
    /// When its events are durable, as a node does it.
    Behind,
    /// Before they are written, as nobody may.
    Ahead,
}

fn order(number: usize) -> StreamId {
    StreamId::aggregate("order", &number.to_string()).unwrap()
}

fn streams() -> [StreamId; 4] {
    [0, 1, 2, 3].map(order)
}

fn noted(id: EventId, random: &mut StdRng) -> NewEvent {
    event(id, "noted", vec![b'1'; random.random_range(1..1500)])
}

/// Appends to streams and saves snapshots of them, one after the other, for as long as the disk works.
async fn work(disk: &SimVfs, random: &mut StdRng, saved: Saved, steps: usize) {
    let Ok(journal) = open(disk) else { return };
    let store = snapshots(disk);
    for _ in 0..steps {
        let stream = order(random.random_range(0..4));
        let mut state = Folded::of(&ids(&events(&journal, &stream).await));
        let ids: Vec<_> =
            (0..random.random_range(1..4)).map(|_| EventId::from_u128(random.random())).collect();
        let batch = ids.iter().map(|id| noted(*id, random)).collect::<Vec<_>>();
        ids.into_iter().for_each(|id| state.apply(id));
        let snapshot = state.snapshot(journal.id()).filter(|_| random.random_ratio(2, 3));
        let save = |when| {
            if let Some(snapshot) = snapshot.as_ref().filter(|_| when == saved) {
                store.save(&stream, snapshot);
            }
        };
        save(Saved::Ahead);
        if append(&journal, Batch::of(stream.clone(), Expected::Any, batch)).await.is_err() {
            break;
        }
        save(Saved::Behind);
    }
    journal.close().await;
}

/// What can be read of a stream; nothing without power.
async fn events(journal: &Arc<EmbeddedJournal>, stream: &StreamId) -> Vec<RecordedEvent> {
    let read = dynamic(journal).read_stream(stream, Version(1), Direction::Forward);
    read.try_collect().await.unwrap_or_default()
}

fn ids(events: &[RecordedEvent]) -> Vec<EventId> {
    events.iter().map(|event| event.id).collect()
}

/// Looks at every stream of a disk after a crash, by way of its snapshots and without them.
async fn holds(disk: &SimVfs, case: &str, found: &mut Found) {
    let journal = open(disk).unwrap_or_else(|error| panic!("{case}: the journal does not open: {error}"));
    let store = snapshots(disk);
    for id in &streams() {
        let read = events(&journal, id).await;
        let (journal, history) = (journal.id(), &*ids(&read));
        let stream = Stream { journal, id, history, read: &read, kept_from: Version(1) };
        *found += stream.states_hold(&store, case);
    }
    journal.close().await;
}

/// Runs into a crash at every call of one workload after the other, looks at eight images of each, and lets work go on
/// on one of them into a second crash.
fn crash(saved: Saved, points: u64) -> Found {
    let mut found = Found::default();
    let mut done = 0;
    for seed in seeds() {
        for call in 1.. {
            let disk = SimVfs::new();
            disk.crash_at(call);
            block_on(work(&disk, &mut StdRng::seed_from_u64(seed), saved, STEPS));
            if !disk.crashed() {
                break;
            }
            for (survival, nth) in SURVIVALS.into_iter().zip(0..) {
                let case = format!("ANNALS_SEED={seed}, crash at call {call}, {survival:?} ({nth})");
                let image = disk.image(survival, nth);
                block_on(holds(&image, &case, &mut found));
                if nth != call % 8 {
                    continue;
                }
                image.crash_at(image.calls() + 1 + call % 40);
                block_on(work(&image, &mut StdRng::seed_from_u64(seed + 1), saved, 8));
                block_on(holds(&image.image(survival, nth), &format!("{case}, and again"), &mut found));
            }
            done += 1;
            if done >= points {
                println!("{done} crash points: {found:?}");
                return found;
            }
        }
    }
    found
}

/// `ANNALS_SNAPSHOT_CRASHES` crash points, each with nine images.
#[test]
fn snapshots_taken_behind_the_log_are_borne_out_after_every_crash() {
    let found = crash(Saved::Behind, number("ANNALS_SNAPSHOT_CRASHES", 300));
    assert!(found.snapshots > 100, "{found:?}");
    assert_eq!(found.doubted, 0, "a snapshot was saved before its events were durable");
}

/// A store may keep more than the log: such a snapshot is told by the event that it names.
#[test]
fn snapshots_ahead_of_the_log_are_doubted_and_change_nothing() {
    let found = crash(Saved::Ahead, number("ANNALS_SNAPSHOT_CRASHES", 300));
    assert!(found.doubted > 10, "{found:?}");
}

/// A call that fails costs the snapshot, or ends the journal; what is there afterwards is true all the same.
#[test]
fn a_failing_call_leaves_no_snapshot_that_is_wrong() {
    let mut found = Found::default();
    let seed = seeds().next().unwrap();
    let calls = 1..=number("ANNALS_FAILURES", 60);
    for (call, fault) in calls.flat_map(|call| [(call, SimulatedFault::Io), (call, SimulatedFault::NoSpace)])
    {
        let case = format!("ANNALS_SEED={seed}, {fault:?} at call {call}");
        let disk = SimVfs::new();
        disk.fail_at(call, fault);
        // A step makes more than one call.
        let steps = STEPS + usize::try_from(call).unwrap();
        block_on(work(&disk, &mut StdRng::seed_from_u64(seed), Saved::Behind, steps));
        assert!(disk.calls() >= call, "{case}: there was no such call");
        disk.heal();
        block_on(holds(&disk, &case, &mut found));
        assert_eq!(found.doubted, 0, "{case}");
    }
    assert!(found.snapshots > 100, "{found:?}");
}
