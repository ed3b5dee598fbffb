use super::*;
use crate::{EventId, JournalId, SimVfs, SimulatedFault, Survival, Version};

const DIR: &str = "/snapshots";

fn order(id: &str) -> StreamId {
    StreamId::aggregate("order", id).unwrap()
}

fn snapshot(version: u64, bytes: usize) -> Snapshot {
    Snapshot {
        journal: JournalId::from_u128(1),
        version: Version(version),
        event_id: EventId::from_u128(2),
        fingerprint: 3,
        state: vec![4; bytes],
    }
}

fn open_with(disk: &SimVfs, budget_bytes: u64) -> FileSnapshots {
    FileSnapshots::open(DIR, FileSnapshotOptions { budget_bytes, vfs: Arc::new(disk.clone()) }).unwrap()
}

fn open(disk: &SimVfs) -> FileSnapshots {
    open_with(disk, 1 << 20)
}

fn bytes_in(disk: &SimVfs) -> u64 {
    let dir = Path::new(DIR);
    disk.list(dir).unwrap().iter().map(|name| disk.bytes(&dir.join(name)).unwrap().len() as u64).sum()
}

#[test]
fn a_saved_snapshot_survives_a_loss_of_power() {
    let disk = SimVfs::new();
    let store = open(&disk);
    store.save(&order("1"), &snapshot(1, 100));
    store.save(&order("1"), &snapshot(2, 100));
    let after = open(&disk.image(Survival::Nothing, 1));
    assert_eq!(after.load(&order("1")), [snapshot(2, 100), snapshot(1, 100)]);
}

/// A crash at any call of a save leaves the old snapshots or the new ones, and a store that goes on.
#[test]
fn a_save_is_whole_or_not_at_all() {
    let survivals = [Survival::Nothing, Survival::Everything, Survival::Prefix, Survival::Sectors(512)];
    for (call, survival) in (1..).flat_map(|call| survivals.map(|survival| (call, survival))) {
        let disk = SimVfs::new();
        let store = open(&disk);
        store.save(&order("1"), &snapshot(1, 3000));
        store.save(&order("1"), &snapshot(2, 3000));
        disk.crash_at(disk.calls() + call);
        store.save(&order("1"), &snapshot(3, 3000));
        if !disk.crashed() {
            assert!(call > 4, "create, write, sync, rename, sync the directory: {call}");
            return;
        }
        for seed in 0..20 {
            let image = disk.image(survival, seed);
            let after = open(&image);
            let found: Vec<_> = after.load(&order("1")).iter().map(|found| found.version.0).collect();
            assert!(found == [2, 1] || found == [3, 2], "call {call}, {survival:?}, {seed}: {found:?}");
            after.save(&order("1"), &snapshot(4, 3000));
            assert_eq!(after.load(&order("1"))[0], snapshot(4, 3000), "call {call}, {survival:?}, {seed}");
            let names = image.list(Path::new(DIR)).unwrap();
            assert!(names.len() <= 3, "two and the lock: {names:?}");
        }
    }
}

#[test]
fn a_failing_call_costs_a_snapshot_and_nothing_else() {
    for (call, fault) in
        (1..=5).flat_map(|call| [(call, SimulatedFault::Io), (call, SimulatedFault::NoSpace)])
    {
        let disk = SimVfs::new();
        let store = open(&disk);
        store.save(&order("1"), &snapshot(1, 100));
        disk.fail_at(disk.calls() + call, fault);
        store.save(&order("1"), &snapshot(2, 100));
        assert_eq!(store.load(&order("1")).last(), Some(&snapshot(1, 100)), "call {call}, {fault:?}");
        store.save(&order("1"), &snapshot(3, 100));
        assert_eq!(store.load(&order("1"))[0], snapshot(3, 100), "call {call}, {fault:?}");
    }
}

#[test]
fn a_flipped_bit_costs_one_snapshot() {
    let disk = SimVfs::new();
    let store = open(&disk);
    store.save(&order("1"), &snapshot(1, 10));
    store.save(&order("1"), &snapshot(2, 10));
    let file = Path::new(DIR).join(Name::of(&order("1"), 1, 1).file());
    let bits = disk.bytes(&file).unwrap().len() * 8;
    for bit in 0..bits {
        let flip = |bytes: &mut Vec<u8>| bytes[bit / 8] ^= 1 << (bit % 8);
        disk.spoil(&file, flip);
        assert_eq!(store.load(&order("1")), [snapshot(1, 10)], "bit {bit}");
        disk.spoil(&file, flip);
    }
    assert_eq!(store.load(&order("1")).len(), 2);
}

#[test]
fn the_files_stay_within_their_budget() {
    let disk = SimVfs::new();
    let store = open_with(&disk, 100_000);
    for nth in 0..1000 {
        let stream = order(&nth.to_string());
        store.save(&stream, &snapshot(nth, 1000));
        assert_eq!(store.load(&stream), [snapshot(nth, 1000)]);
        assert!(bytes_in(&disk) <= 100_000, "{}", bytes_in(&disk));
    }
    let kept = (0..1000).filter(|nth| !store.load(&order(&nth.to_string())).is_empty());
    let kept: Vec<_> = kept.collect();
    assert!(kept.len() > 40 && kept[0] == 1000 - kept.len() as u64, "those written last: {kept:?}");
    store.save(&order("large"), &snapshot(1, 60_000));
    assert_eq!(store.load(&order("large")), []);
    drop(store);
    // The same files, and less room for them.
    let store = open_with(&disk, 50_000);
    assert!(bytes_in(&disk) <= 50_000, "{}", bytes_in(&disk));
    store.save(&order("1"), &snapshot(1, 1000));
    assert_eq!(store.load(&order("1")), [snapshot(1, 1000)]);
}

/// An instance that is written again and again moves from one generation to the next, and keeps two.
#[test]
fn what_is_written_often_is_kept() {
    let disk = SimVfs::new();
    let store = open_with(&disk, 20_000);
    for version in 1..100 {
        store.save(&order("often"), &snapshot(version, 1000));
        store.save(&order(&version.to_string()), &snapshot(version, 1000));
        let kept: Vec<_> = store.load(&order("often")).iter().map(|kept| kept.version.0).collect();
        assert_eq!(kept, if version == 1 { vec![1] } else { vec![version, version - 1] });
    }
}

#[test]
fn a_directory_in_use_is_refused() {
    let disk = SimVfs::new();
    let first = open(&disk);
    let options = FileSnapshotOptions { vfs: Arc::new(disk.clone()), ..FileSnapshotOptions::default() };
    let second = FileSnapshots::open(DIR, options);
    assert_eq!(second.err(), Some(SnapshotOpenError::InUse { path: DIR.into() }));
    first.close();
    assert!(!first.is_working());
    first.save(&order("1"), &snapshot(1, 10));
    assert_eq!(first.load(&order("1")), []);
    assert_eq!(open(&disk).load(&order("1")), []);
}

#[test]
fn names_are_read_as_they_are_written() {
    let name = Name::of(&order("1"), 7, 1);
    assert_eq!(Name::parse(&name.file()), Some(name.clone()));
    let unfinished = Name::parse(&name.unfinished()).unwrap();
    assert_eq!((unfinished.is_whole, unfinished.file()), (false, name.file()));
    for other in ["LOCK", "a-b-c.snapshot", "1-2.snapshot", "1-2-3-4.snapshot", "1-2-0.other", "1-2-0"] {
        assert_eq!(Name::parse(Path::new(other)), None, "{other}");
    }
}
