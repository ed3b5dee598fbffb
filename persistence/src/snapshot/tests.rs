use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::envelope::{Envelope, EnvelopeError};
use crate::conformance::{Random, replayable};
use crate::{
    EventId, JournalId, SledSnapshots, Snapshot, SnapshotOpenError, SnapshotOptions, SnapshotStore, StreamId,
    Version,
};

pub(super) fn order(id: &str) -> StreamId {
    StreamId::aggregate("order", id).unwrap()
}

/// A snapshot of a stream that says of which, so that a wrong one is told from a right one.
pub(super) fn snapshot_of(stream: &StreamId, version: u64) -> Snapshot {
    Snapshot {
        journal: JournalId::from_u128(7),
        version: Version(version),
        event_id: EventId::from_u128(u128::from(version)),
        fingerprint: 42,
        state: format!("{stream} at {version} ").repeat(20).into_bytes(),
    }
}

fn open(dir: &Path) -> Arc<SledSnapshots> {
    Arc::new(SledSnapshots::open(dir, SnapshotOptions::default()).unwrap())
}

/// The directories that were put aside.
pub(super) fn quarantined(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.to_string_lossy().contains(".quarantine-")).collect()
}

mod memory {
    use std::sync::Arc;

    use crate::conformance::SnapshotFactory;
    use crate::{MemorySnapshots, SnapshotStore};

    struct InMemory;

    impl SnapshotFactory for InMemory {
        fn open(&self) -> Arc<dyn SnapshotStore> {
            Arc::new(MemorySnapshots::new())
        }
    }

    crate::snapshot_conformance!(InMemory);
}

mod on_sled {
    use std::sync::Arc;

    use tempfile::TempDir;

    use crate::SnapshotStore;
    use crate::conformance::SnapshotFactory;

    struct OnSled(TempDir);

    impl SnapshotFactory for OnSled {
        fn open(&self) -> Arc<dyn SnapshotStore> {
            super::open(&self.0.path().join("snapshots"))
        }

        fn reopen(&self) -> Option<Arc<dyn SnapshotStore>> {
            Some(self.open())
        }
    }

    crate::snapshot_conformance!(OnSled(TempDir::new().unwrap()));
}

/// Whatever bit of an envelope is flipped, whatever byte is changed, and wherever it is cut, it is no snapshot any more:
/// it is never a wrong one.
#[test]
fn a_changed_envelope_is_no_snapshot() {
    let stream = order("1");
    let envelope = Envelope { serial: 3, snapshot: snapshot_of(&stream, 9) };
    let bytes = envelope.encode(&stream).unwrap();
    assert_eq!(Envelope::decode(&stream, &bytes), Ok(envelope));
    let masks = (0..8).map(|bit| 1_u8 << bit).chain([0xff]);
    for (at, mask) in (0..bytes.len()).flat_map(|at| masks.clone().map(move |mask| (at, mask))) {
        let mut changed = bytes.clone();
        changed[at] ^= mask;
        assert_eq!(
            Envelope::decode(&stream, &changed),
            Err(EnvelopeError::Checksum),
            "byte {at} ^ {mask:#x}"
        );
    }
    for at in 0..bytes.len() {
        assert!(Envelope::decode(&stream, &bytes[..at]).is_err(), "cut at {at}");
    }
    assert_eq!(Envelope::decode(&order("2"), &bytes), Err(EnvelopeError::Checksum), "another stream's");
}

/// The layout is pinned: a release that reads other bytes must change the format byte.
#[test]
fn the_layout_of_an_envelope_is_pinned() {
    let stream = order("1");
    let snapshot = Snapshot {
        journal: JournalId::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
        version: Version(5),
        event_id: EventId::from_u128(6),
        fingerprint: 7,
        state: vec![8, 9],
    };
    let bytes = Envelope { serial: 2, snapshot }.encode(&stream).unwrap();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = [
        "a1",
        "0200000000000000",
        "10000000000000000102030405060708090a0b0c0d0e0f10",
        "0500000000000000",
        "100000000000000000000000000000000000000000000006",
        "0700000000000000",
        "02000000000000000809",
    ];
    let checksum = crc32c::crc32c(&[stream.as_str().as_bytes(), &bytes[..bytes.len() - 4]].concat());
    let checksum: String = checksum.to_le_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, expected.concat() + &checksum);
}

mod in_files {
    use std::sync::Arc;

    use tempfile::TempDir;

    use crate::conformance::SnapshotFactory;
    use crate::{FileSnapshotOptions, FileSnapshots, SnapshotStore};

    struct InFiles(TempDir);

    impl SnapshotFactory for InFiles {
        fn open(&self) -> Arc<dyn SnapshotStore> {
            let dir = self.0.path().join("snapshots");
            Arc::new(FileSnapshots::open(dir, FileSnapshotOptions::default()).unwrap())
        }

        fn reopen(&self) -> Option<Arc<dyn SnapshotStore>> {
            Some(self.open())
        }
    }

    crate::snapshot_conformance!(InFiles(TempDir::new().unwrap()));
}

/// A value that is damaged in the database is not loaded; the one before it is.
#[test]
fn a_damaged_value_is_passed_over_and_overwritten() {
    let home = TempDir::new().unwrap();
    let (dir, stream) = (home.path().join("snapshots"), order("1"));
    let store = open(&dir);
    for version in 1..=2 {
        store.save(&stream, &snapshot_of(&stream, version));
    }
    store.close();
    damage_values(&dir, "order-1\0\u{1}");
    let store = open(&dir);
    assert_eq!(store.load(&stream), [snapshot_of(&stream, 1)]);
    store.save(&stream, &snapshot_of(&stream, 3));
    assert_eq!(store.load(&stream), [snapshot_of(&stream, 3), snapshot_of(&stream, 1)]);
    assert!(quarantined(&dir).is_empty(), "sled itself is well");
}

/// Changes a byte of the value under a key, by way of sled.
fn damage_values(dir: &Path, key: &str) {
    let db = sled::open(dir.join("1")).unwrap();
    let mut value = db.get(key).unwrap().unwrap().to_vec();
    let middle = value.len() / 2;
    value[middle] ^= 0x10;
    db.insert(key, value).unwrap();
    db.flush().unwrap();
}

/// A directory that is in use is refused and left as it is; once it is let go of, it opens.
#[test]
fn a_directory_in_use_is_refused_and_left_alone() {
    let home = TempDir::new().unwrap();
    let (dir, stream) = (home.path().join("snapshots"), order("1"));
    let first = open(&dir);
    first.save(&stream, &snapshot_of(&stream, 1));
    let at_once = SnapshotOptions { lock_wait: Duration::ZERO, ..SnapshotOptions::default() };
    let second = SledSnapshots::open(&dir, at_once);
    assert_eq!(second.err(), Some(SnapshotOpenError::InUse { path: dir.clone() }));
    assert!(quarantined(&dir).is_empty());
    assert_eq!(first.load(&stream), [snapshot_of(&stream, 1)]);
    drop(first);
    assert_eq!(open(&dir).load(&stream), [snapshot_of(&stream, 1)]);
}

/// What cannot be opened is put aside and a new store begun; of several put aside the last is kept.
#[test]
fn a_damaged_directory_is_put_aside() {
    let home = TempDir::new().unwrap();
    let (dir, stream) = (home.path().join("snapshots"), order("1"));
    for _ in 0..3 {
        let store = open(&dir);
        store.save(&stream, &snapshot_of(&stream, 1));
        store.close();
        fs::write(dir.join("1/conf"), b"not a configuration of sled").unwrap();
        let store = open(&dir);
        assert!(store.is_working());
        assert_eq!(store.load(&stream), []);
        assert_eq!(quarantined(&dir).len(), 1);
    }
}

/// Where no database can be made at all the store works on without one.
#[test]
fn without_a_place_to_write_nothing_is_kept() {
    let home = TempDir::new().unwrap();
    let file = home.path().join("file");
    fs::write(&file, b"in the way").unwrap();
    let (store, stream) = (open(&file.join("snapshots")), order("1"));
    assert!(!store.is_working());
    store.save(&stream, &snapshot_of(&stream, 1));
    store.remove(&stream);
    assert_eq!(store.load(&stream), []);
    store.close();
}

/// Closed, a store keeps nothing and answers nothing; closing it again does nothing.
#[test]
fn a_closed_store_is_empty() {
    let home = TempDir::new().unwrap();
    let (store, stream) = (open(&home.path().join("snapshots")), order("1"));
    store.save(&stream, &snapshot_of(&stream, 1));
    store.close();
    store.close();
    store.save(&stream, &snapshot_of(&stream, 2));
    assert_eq!(store.load(&stream), []);
}

#[test]
fn damaged_files_never_stop_sled() {
    damaged_files_never_stop(open, |store| store.is_working());
}

/// Whatever becomes of a database's files, the store opens, loads nothing wrong, and carries on.
pub(super) fn damaged_files_never_stop<S: SnapshotStore>(
    open: impl Fn(&Path) -> Arc<S>,
    is_working: impl Fn(&S) -> bool,
) {
    for seed in replayable(12) {
        println!("seed {seed}; run it again with ANNALS_SEED={seed}");
        let mut random = Random::new(seed);
        let home = TempDir::new().unwrap();
        let dir = home.path().join("snapshots");
        fill(&*open(&dir), &mut random);
        for _ in 0..=random.below(3) {
            damage(&dir, &mut random);
        }
        let store = open(&dir);
        carry_on(&*store, &mut random);
        store.save(&order("after"), &snapshot_of(&order("after"), 1));
        assert!(!is_working(&store) || store.load(&order("after")) == [snapshot_of(&order("after"), 1)]);
        assert!(quarantined(&dir).len() <= 1);
    }
}

fn fill(store: &dyn SnapshotStore, random: &mut Random) {
    for _ in 0..200 {
        let stream = order(&random.below(30).to_string());
        store.save(&stream, &snapshot_of(&stream, random.below(1000)));
    }
    store.close();
}

/// Deletes, truncates, lengthens or changes one of the files.
fn damage(dir: &Path, random: &mut Random) {
    let entries = fs::read_dir(dir.join("1")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.is_file()).collect();
    files.sort();
    if files.is_empty() {
        return;
    }
    let file = &files[random.index(files.len())];
    let mut bytes = fs::read(file).unwrap();
    match random.below(8) {
        0 => return fs::remove_file(file).unwrap(),
        1 => bytes.truncate(random.index(bytes.len())),
        2 => bytes.resize(bytes.len() + random.index(5000), random.next_u64() as u8),
        _ => flip(&mut bytes, random),
    }
    fs::write(file, bytes).unwrap();
}

fn flip(bytes: &mut [u8], random: &mut Random) {
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(bytes.len(), |last| last + 1);
    for _ in 0..=random.below(20) {
        if let Some(byte) = bytes.get_mut(random.index(used)) {
            *byte ^= random.next_u64() as u8;
        }
    }
}

fn carry_on(store: &dyn SnapshotStore, random: &mut Random) {
    for id in 0..30 {
        let stream = order(&id.to_string());
        for found in store.load(&stream) {
            assert_eq!(found, snapshot_of(&stream, found.version.0), "a snapshot that was never saved");
        }
    }
    for _ in 0..100 {
        let stream = order(&random.below(30).to_string());
        store.save(&stream, &snapshot_of(&stream, random.below(1000)));
    }
}

fn bytes_under(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| {
            if path.is_dir() {
                bytes_under(&path)
            } else {
                fs::metadata(path).map_or(0, |file| file.blocks() * 512)
            }
        })
        .sum()
}

/// Whatever is saved, the directory stays within one and a quarter times the budget, and it is the instances written last
/// that are kept.
pub(super) fn a_directory_stays_within_its_budget(
    open: impl Fn(&Path, SnapshotOptions) -> Arc<dyn SnapshotStore>,
) {
    const BUDGET: u64 = 8 << 20;
    let home = TempDir::new().unwrap();
    let dir = home.path().join("snapshots");
    let store = open(&dir, SnapshotOptions { budget_bytes: BUDGET, ..SnapshotOptions::default() });
    let mut random = Random::new(1);
    let mut large = |stream: &StreamId, version| {
        let mut state = Vec::with_capacity(40_000);
        state.resize_with(40_000, || random.next_u64() as u8);
        Snapshot { state, ..snapshot_of(stream, version) }
    };
    let mut most = 0;
    // Five times the budget, over so many instances that none is written again before its turn comes.
    for nth in 0..5 * BUDGET / 40_000 {
        let stream = order(&(nth % 300).to_string());
        store.save(&stream, &large(&stream, nth));
        most = most.max(bytes_under(&dir));
        assert_eq!(store.load(&stream)[0].version, Version(nth), "what was saved last is there");
    }
    println!("{most} bytes at most, of {BUDGET}");
    assert!(most <= BUDGET + BUDGET / 4, "{most} bytes");
    assert!(most > BUDGET / 2, "it was used: {most} bytes");
    let kept = (0..300).filter(|n| !store.load(&order(&n.to_string())).is_empty()).count();
    assert!((20..300).contains(&kept), "{kept} of 300 instances");
    store.close();
    assert!(quarantined(&dir).is_empty());
}

#[test]
fn sled_stays_within_its_budget() {
    a_directory_stays_within_its_budget(|dir, options| Arc::new(SledSnapshots::open(dir, options).unwrap()));
}
