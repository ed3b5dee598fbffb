use tempfile::TempDir;

use super::*;
use crate::{EventId, JournalId, Version};

type OnSled = Cache<sled::Db>;

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

fn open(home: &TempDir) -> OnSled {
    Cache::open(home.path().join("snapshots"), SnapshotOptions::default()).unwrap()
}

/// What is loaded of a stream; the latest alone is the first of it.
fn all(store: &OnSled, stream: &StreamId) -> Vec<Snapshot> {
    let all = store.load(stream);
    assert_eq!(store.load_latest(stream).as_ref(), all.first());
    all
}

fn broken(reason: &str) -> Broken {
    Broken(reason.to_owned())
}

fn fail(store: &OnSled) {
    assert_eq!(store.on_open(|_| Err::<(), _>(broken("on purpose"))), None);
}

/// The database's first failure costs the snapshots there are, its second those to come; neither is an error.
#[test]
fn the_first_failure_begins_anew_and_the_second_gives_up() {
    let home = TempDir::new().unwrap();
    let store = open(&home);
    store.save(&stream(), &snapshot(1));
    fail(&store);
    assert!(store.is_working());
    assert_eq!(all(&store, &stream()), []);
    store.save(&stream(), &snapshot(2));
    assert_eq!(all(&store, &stream()), [snapshot(2)]);
    fail(&store);
    assert!(!store.is_working());
    assert_eq!(all(&store, &stream()), []);
    let aside = std::fs::read_dir(home.path()).unwrap().count() - 1;
    assert_eq!(aside, 1, "what failed second stays where it is");
}

#[test]
fn a_panic_of_the_database_is_a_failure_like_any_other() {
    let home = TempDir::new().unwrap();
    let store = open(&home);
    assert_eq!(store.on_open(|_| -> Result<(), Broken> { panic!("on purpose") }), None);
    store.save(&stream(), &snapshot(1));
    assert_eq!(all(&store, &stream()), [snapshot(1)]);
}

#[test]
fn a_failure_of_an_old_database_is_not_held_against_the_new_one() {
    let home = TempDir::new().unwrap();
    let store = open(&home);
    fail(&store);
    store.replace(0, &broken("late news of the first"));
    assert!(store.is_working());
}

#[test]
fn a_failure_after_closing_opens_nothing() {
    let home = TempDir::new().unwrap();
    let store = open(&home);
    store.close();
    store.replace(0, &broken("late news"));
    assert!(!store.is_working());
}

/// The databases of a directory, by number.
fn numbers(store: &OnSled) -> Vec<u64> {
    let names = std::fs::read_dir(store.dir()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut numbers: Vec<u64> = names.filter_map(|name| name.to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

fn turn_over(store: &OnSled) {
    let (full, epoch) = store.current().unwrap();
    let next = full.next(&store.dir, &store.options).map_err(|failure| failure.to_string()).unwrap();
    store.turn_over(epoch, &next);
}

/// What was saved before a new database began is there until the one after it begins, also after a restart.
#[test]
fn a_snapshot_outlives_one_new_database() {
    let home = TempDir::new().unwrap();
    let (store, other) = (open(&home), StreamId::aggregate("order", "2").unwrap());
    store.save(&stream(), &snapshot(1));
    store.save(&other, &snapshot(7));
    turn_over(&store);
    store.save(&stream(), &snapshot(2));
    assert_eq!(all(&store, &stream()), [snapshot(2), snapshot(1)]);
    drop(store);
    let store = open(&home);
    assert_eq!((all(&store, &stream()), numbers(&store)), (vec![snapshot(2), snapshot(1)], vec![1, 2]));
    assert_eq!(all(&store, &other), [snapshot(7)]);
    turn_over(&store);
    assert_eq!((all(&store, &stream()), numbers(&store)), (vec![snapshot(2)], vec![2, 3]));
    assert_eq!(all(&store, &other), [], "it was written longest ago");
    store.save(&stream(), &snapshot(3));
    assert_eq!(all(&store, &stream()), [snapshot(3), snapshot(2)]);
    store.remove(&stream());
    assert_eq!(all(&store, &stream()), [], "removed from both");
}

/// A database that is being read stays open until the reader is done, and its late failure is nobody's.
#[test]
fn a_reader_of_an_old_database_is_not_in_the_way() {
    let home = TempDir::new().unwrap();
    let store = open(&home);
    store.save(&stream(), &snapshot(1));
    let (reading, epoch) = store.current().unwrap();
    turn_over(&store);
    turn_over(&store);
    assert_eq!(numbers(&store), [2, 3]);
    assert!(reading.slots(&stream()).is_ok());
    drop(reading);
    store.replace(epoch, &broken("its files are gone"));
    assert!(store.is_working());
    assert!(!store.state.lock().failed_once);
}
