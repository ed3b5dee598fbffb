//! Snapshots beside the journal, on the one disk that loses its power: none is used that the recovered log does not bear
//! out, and a state from a snapshot and what comes after it is the state from the first event.

use std::sync::Arc;

use annals_persistence::{
    Batch, CodecId, CommandMetadata, Direction, EventId, Expected, FileSnapshotOptions, FileSnapshots,
    Journal, JournalExt, NewEvent, RecordedEvent, SimVfs, SimulatedFault, Snapshot, SnapshotStore, StreamId,
    Timestamp, Version,
};
use futures_util::TryStreamExt;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::support::{SURVIVALS, block_on, number, open, seeds};

const DIR: &str = "/snapshots";
const STEPS: usize = 30;
/// Room for a few of them, so that old ones go.
const BUDGET_BYTES: u64 = 3000;

/// When the snapshot of a state is saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Saved {
    /// When its events are durable, as a node does it.
    Behind,
    /// Before they are written, as nobody may.
    Ahead,
}

fn store(disk: &SimVfs) -> FileSnapshots {
    let options = FileSnapshotOptions { budget_bytes: BUDGET_BYTES, vfs: Arc::new(disk.clone()) };
    FileSnapshots::open(DIR, options).unwrap()
}

fn order(number: usize) -> StreamId {
    StreamId::aggregate("order", &number.to_string()).unwrap()
}

fn streams() -> impl Iterator<Item = StreamId> {
    (0..4).map(order)
}

/// A state in which every event and its place shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Folded {
    version: u64,
    state: u128,
    last: Option<EventId>,
}

impl Folded {
    fn apply(&mut self, id: EventId) {
        self.version += 1;
        self.state = self.state.wrapping_mul(31).wrapping_add(u128::from_be_bytes(*id.as_bytes()));
        self.last = Some(id);
    }

    fn of<'a>(events: impl IntoIterator<Item = &'a RecordedEvent>) -> Self {
        let mut folded = Self::default();
        events.into_iter().for_each(|event| folded.apply(event.id));
        folded
    }

    fn snapshot(self, journal: &Arc<dyn Journal>) -> Option<Snapshot> {
        Some(Snapshot {
            journal: journal.id(),
            version: Version(self.version),
            event_id: self.last?,
            fingerprint: 1,
            // As long as the states of real aggregates, so that a file has several sectors.
            state: self.state.to_le_bytes().repeat(40),
        })
    }

    fn from_snapshot(snapshot: &Snapshot) -> Self {
        let state = u128::from_le_bytes(snapshot.state[..16].try_into().unwrap());
        Self { version: snapshot.version.0, state, last: Some(snapshot.event_id) }
    }
}

fn event(id: EventId, random: &mut StdRng) -> NewEvent {
    NewEvent {
        id,
        type_name: "noted".into(),
        schema_version: 1,
        codec: CodecId::Json,
        payload: vec![b'1'; random.random_range(1..1500)].into(),
        command: CommandMetadata::internal(Timestamp(1_700_000_000_000_000)),
        tags: Vec::new(),
    }
}

/// Appends to streams and saves snapshots of them, one after the other, for as long as the disk works.
async fn work(disk: &SimVfs, random: &mut StdRng, saved: Saved, steps: usize) {
    let Ok(journal) = open(disk) else { return };
    let store = store(disk);
    for _ in 0..steps {
        let stream = order(random.random_range(0..4));
        let mut state = Folded::of(&events(&journal, &stream).await);
        let ids: Vec<_> =
            (0..random.random_range(1..4)).map(|_| EventId::from_u128(random.random())).collect();
        let batch = ids.iter().map(|id| event(*id, random)).collect::<Vec<_>>();
        ids.into_iter().for_each(|id| state.apply(id));
        let snapshot = state.snapshot(&journal).filter(|_| random.random_ratio(2, 3));
        let save = |when| {
            if let Some(snapshot) = snapshot.as_ref().filter(|_| when == saved) {
                store.save(&stream, snapshot);
            }
        };
        save(Saved::Ahead);
        if journal.append(Batch::of(stream.clone(), Expected::Any, batch)).await.is_err() {
            break;
        }
        save(Saved::Behind);
    }
    journal.close().await;
}

/// What can be read of a stream; nothing without power.
async fn events(journal: &Arc<dyn Journal>, stream: &StreamId) -> Vec<RecordedEvent> {
    let read = journal.read_stream(stream, Version(1), Direction::Forward);
    read.try_collect().await.unwrap_or_default()
}

fn is_borne_out(snapshot: &Snapshot, journal: &Arc<dyn Journal>, events: &[RecordedEvent]) -> bool {
    let event = usize::try_from(snapshot.version.0 - 1).ok().and_then(|at| events.get(at));
    snapshot.journal == journal.id() && event.is_some_and(|event| event.id == snapshot.event_id)
}

/// How many snapshots were there, and how many of them the log did not bear out.
#[derive(Debug, Default)]
struct Found {
    snapshots: usize,
    doubted: usize,
}

/// Looks at every stream of a disk after a crash, by way of its snapshots and without them.
async fn holds(disk: &SimVfs, case: &str, found: &mut Found) {
    let journal = open(disk).unwrap_or_else(|error| panic!("{case}: the journal does not open: {error}"));
    let store = store(disk);
    for stream in streams() {
        let events = events(&journal, &stream).await;
        let loaded = store.load(&stream);
        assert!(loaded.len() <= 2, "{case}: {stream}");
        found.snapshots += loaded.len();
        let trusted: Vec<_> = loaded.iter().filter(|s| is_borne_out(s, &journal, &events)).collect();
        found.doubted += loaded.len() - trusted.len();
        for snapshot in trusted {
            let mut state = Folded::from_snapshot(snapshot);
            let tail = events.iter().skip(usize::try_from(state.version).unwrap());
            tail.for_each(|event| state.apply(event.id));
            assert_eq!(state, Folded::of(&events), "{case}: {stream} from {:?}", snapshot.version);
        }
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
    let calls = 1..=number("ANNALS_FAILURES", 60);
    for (call, fault) in calls.flat_map(|call| [(call, SimulatedFault::Io), (call, SimulatedFault::NoSpace)])
    {
        let disk = SimVfs::new();
        disk.fail_at(call, fault);
        block_on(work(&disk, &mut StdRng::seed_from_u64(call), Saved::Behind, STEPS));
        disk.heal();
        block_on(holds(&disk, &format!("{fault:?} at call {call}"), &mut found));
    }
    assert!(found.snapshots > 100, "{found:?}");
}
