use tempfile::TempDir;

use super::*;
use crate::{EventId, JournalId, Version};

fn stream() -> StreamId {
    StreamId::aggregate("order", "1").unwrap()
}

fn snapshot(version: u64) -> Snapshot {
    Snapshot {
        journal: JournalId::from_u128(1),
        version: Version(version),
        event_id: EventId::from_u128(2),
        fingerprint: 3,
        state: vec![4; 100],
    }
}

fn open(home: &TempDir) -> SledSnapshots {
    SledSnapshots::open(home.path().join("snapshots"), SledOptions::default()).unwrap()
}

fn fail(store: &SledSnapshots) {
    let failed = store.on_db(|_| Err::<(), _>(sled::Error::ReportableBug("on purpose".into())));
    assert_eq!(failed, None);
}

/// sled's first failure costs the snapshots there are, its second those to come; neither is an error.
#[test]
fn the_first_failure_begins_anew_and_the_second_gives_up() {
    let home = TempDir::new().unwrap();
    let store = open(&home);
    store.save(&stream(), &snapshot(1));
    fail(&store);
    assert!(store.is_working());
    assert_eq!(store.load(&stream()), []);
    store.save(&stream(), &snapshot(2));
    assert_eq!(store.load(&stream()), [snapshot(2)]);
    fail(&store);
    assert!(!store.is_working());
    assert_eq!(store.load(&stream()), []);
    let aside = std::fs::read_dir(home.path()).unwrap().count() - 1;
    assert_eq!(aside, 1, "what failed second stays where it is");
}

#[test]
fn a_panic_of_sled_is_a_failure_like_any_other() {
    let home = TempDir::new().unwrap();
    let store = open(&home);
    assert_eq!(store.on_db(|_| -> sled::Result<()> { panic!("on purpose") }), None);
    store.save(&stream(), &snapshot(1));
    assert_eq!(store.load(&stream()), [snapshot(1)]);
}

#[test]
fn a_failure_of_an_old_database_is_not_held_against_the_new_one() {
    let home = TempDir::new().unwrap();
    let store = open(&home);
    fail(&store);
    store.replace(0, "late news of the first");
    assert!(store.is_working());
}

#[test]
fn a_failure_after_closing_opens_nothing() {
    let home = TempDir::new().unwrap();
    let store = open(&home);
    store.close();
    store.replace(0, "late news");
    assert!(!store.is_working());
}

/// The slot to overwrite is never the only good one.
#[test]
fn saves_take_turns() {
    let slot = |serial, version| Some(Envelope { serial, snapshot: snapshot(version) });
    assert_eq!(next_slot(&[None, None], &snapshot(1)), (0, 1));
    assert_eq!(next_slot(&[slot(1, 1), None], &snapshot(2)), (1, 2));
    assert_eq!(next_slot(&[None, slot(5, 1)], &snapshot(2)), (0, 6));
    assert_eq!(next_slot(&[slot(1, 1), slot(2, 2)], &snapshot(3)), (0, 3));
    assert_eq!(next_slot(&[slot(3, 3), slot(2, 2)], &snapshot(4)), (1, 4));
    assert_eq!(next_slot(&[slot(3, 3), slot(2, 2)], &snapshot(3)), (0, 4), "the same version again");
    assert_eq!(next_slot(&[slot(u64::MAX, 3), slot(2, 2)], &snapshot(4)).0, 1);
}
