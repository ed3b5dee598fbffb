use super::*;

fn disk() -> (SimVfs, Box<dyn VfsFile>) {
    let disk = SimVfs::new();
    disk.create_dir_all(Path::new("/d")).unwrap();
    let file = disk.create(&path("a")).unwrap();
    (disk, file)
}

fn path(name: &str) -> PathBuf {
    Path::new("/d").join(name)
}

#[test]
fn what_was_synced_survives_and_what_was_not_may() {
    let (disk, file) = disk();
    file.write_all_at(b"one", 0).unwrap();
    file.sync_data().unwrap();
    assert_eq!(disk.image(Survival::Nothing, 1).bytes(&path("a")), None, "its name was not synced");
    disk.sync_dir(Path::new("/d")).unwrap();
    file.write_all_at(b"two", 3).unwrap();
    assert_eq!(disk.image(Survival::Nothing, 1).bytes(&path("a")).unwrap(), b"one");
    assert_eq!(disk.image(Survival::Everything, 1).bytes(&path("a")).unwrap(), b"onetwo");
    let mut found = BTreeSet::new();
    for seed in 0..64 {
        found.insert(disk.image(Survival::Prefix, seed).bytes(&path("a")).unwrap());
    }
    assert!(found.contains(&b"onet"[..]) && found.contains(&b"one"[..]), "{found:?}");
}

#[test]
fn sectors_survive_each_for_itself() {
    let (disk, file) = disk();
    disk.sync_dir(Path::new("/d")).unwrap();
    file.set_len(32).unwrap();
    file.sync_data().unwrap();
    file.write_all_at(&[7; 16], 12).unwrap();
    let images: BTreeSet<_> =
        (0..200).map(|seed| disk.image(Survival::Sectors(8), seed).bytes(&path("a")).unwrap()).collect();
    // 12..16, 16..24 and 24..28 are three sectors' parts.
    assert_eq!(images.len(), 8);
    assert!(images.iter().all(|bytes| bytes.len() == 32));
}

#[test]
fn without_power_nothing_goes() {
    let (disk, file) = disk();
    disk.crash_at(disk.calls() + 2);
    file.write_all_at(b"one", 0).unwrap();
    assert!(file.write_all_at(b"two", 0).is_err() && disk.crashed());
    assert!(
        file.sync_data().is_err()
            && file.read_at(&mut [0], 0).is_err()
            && disk.list(Path::new("/d")).is_err()
    );
    assert_eq!(disk.calls(), 3, "what comes after the crash is no call");
    assert_eq!(
        disk.image(Survival::Everything, 0).bytes(&path("a")).unwrap(),
        b"two",
        "it may have been done"
    );
}

#[test]
fn a_failed_sync_leaves_bytes_that_read_well_and_never_become_durable() {
    let (disk, file) = disk();
    disk.sync_dir(Path::new("/d")).unwrap();
    for place in 0..64 {
        file.write_all_at(b"x", place).unwrap();
    }
    disk.fail_at(disk.calls() + 1, SimulatedFault::Io);
    file.sync_data().unwrap_err();
    file.sync_data().unwrap();
    assert_eq!(disk.bytes(&path("a")).unwrap(), [b'x'; 64]);
    let after = disk.image(Survival::Everything, 1).bytes(&path("a")).unwrap();
    assert!(after.contains(&0) || after.len() < 64, "{after:?}");
}

#[test]
fn names_survive_in_their_order() {
    let (disk, _) = disk();
    disk.sync_dir(Path::new("/d")).unwrap();
    disk.create(&path("b")).unwrap();
    disk.rename(&path("b"), &path("c")).unwrap();
    disk.remove(&path("a")).unwrap();
    for seed in 0..64 {
        let mut names = disk.image(Survival::Prefix, seed).list(Path::new("/d")).unwrap();
        names.sort();
        let names: Vec<_> = names.iter().map(|name| name.to_str().unwrap()).collect();
        assert!([&["a"][..], &["a", "b"], &["a", "c"], &["c"]].contains(&&*names), "{names:?}");
    }
    assert!(disk.create(&path("c")).is_err() && disk.open(&path("a"), true).is_err());
}

#[test]
fn a_lock_is_held_by_one() {
    let (disk, _) = disk();
    let held = disk.lock(&path("LOCK")).unwrap();
    assert!(held.is_some() && disk.lock(&path("LOCK")).unwrap().is_none());
    drop(held);
    assert!(disk.lock(&path("LOCK")).unwrap().is_some());
}

/// How many calls a write of these bytes is with this seed.
fn short_write(seed: u64, bytes: &[u8]) -> (SimVfs, u64) {
    let (disk, file) = disk();
    disk.sync_dir(Path::new("/d")).unwrap();
    disk.write_short(seed);
    let before = disk.calls();
    file.write_all_at(bytes, 3).unwrap();
    assert_eq!(disk.bytes(&path("a")).unwrap()[3..], *bytes, "seed {seed}");
    let calls = disk.calls() - before;
    (disk, calls)
}

#[test]
fn a_write_that_takes_some_of_the_bytes_is_gone_on_with() {
    let bytes: Vec<u8> = (1..=255).collect();
    let calls: BTreeSet<_> = (0..64).map(|seed| short_write(seed, &bytes).1).collect();
    assert!(calls.contains(&1) && calls.contains(&2) && calls.contains(&3), "{calls:?}");
}

#[test]
fn the_rest_of_a_short_write_can_fail() {
    let bytes: Vec<u8> = (1..=255).collect();
    let seed = (0..).find(|seed| short_write(*seed, &bytes).1 > 1).unwrap();
    for fault in [Some(SimulatedFault::NoSpace), None] {
        let (disk, file) = disk();
        disk.write_short(seed);
        match fault {
            Some(fault) => disk.fail_at(disk.calls() + 2, fault),
            None => disk.crash_at(disk.calls() + 2),
        }
        file.write_all_at(&bytes, 0).unwrap_err();
        let written = disk.bytes(&path("a")).unwrap();
        assert!(!written.is_empty() && bytes.starts_with(&written), "{fault:?}: {written:?}");
        assert!(fault.is_none() || written.len() < bytes.len(), "{fault:?}: {written:?}");
    }
}

#[test]
fn a_slow_sync_covers_what_was_written_before_it() {
    let (disk, file) = disk();
    disk.sync_dir(Path::new("/d")).unwrap();
    file.write_all_at(b"one", 0).unwrap();
    let durable = |disk: &SimVfs| disk.image(Survival::Nothing, 1).bytes(&path("a")).unwrap();
    let (during, seen) = (disk.clone(), Arc::new(Mutex::new(Vec::new())));
    disk.sync_slowly({
        let seen = Arc::clone(&seen);
        move |path| {
            seen.lock().push(durable(&during));
            during.open(path, true).unwrap().write_all_at(b"two", 3).unwrap();
        }
    });
    file.sync_data().unwrap();
    assert_eq!(*seen.lock(), [b""], "nothing is durable before the end");
    assert_eq!((durable(&disk), disk.bytes(&path("a")).unwrap()), (b"one".to_vec(), b"onetwo".to_vec()));
    file.sync_data().unwrap();
    assert_eq!(durable(&disk), b"onetwo");
}

#[test]
fn a_slow_sync_without_power_at_its_end_makes_nothing_durable() {
    let (disk, file) = disk();
    disk.sync_dir(Path::new("/d")).unwrap();
    file.write_all_at(b"one", 0).unwrap();
    let during = disk.clone();
    disk.sync_slowly(move |path| {
        during.crash_at(during.calls() + 1);
        during.remove(path).unwrap_err();
    });
    file.sync_data().unwrap_err();
    assert_eq!(disk.image(Survival::Nothing, 1).bytes(&path("a")).unwrap(), b"");
}

#[test]
fn who_called_is_known_and_may_be_held_up() {
    let (disk, file) = disk();
    let (seen, held) = (Arc::new(Mutex::new(Vec::new())), disk.clone());
    disk.before_calls({
        let seen = Arc::clone(&seen);
        move |call| seen.lock().push((call.to_owned(), held.calls()))
    });
    let other = std::thread::Builder::new().name("other".into());
    other.spawn(move || file.sync_data().unwrap()).unwrap().join().unwrap();
    disk.sync_dir(Path::new("/d")).unwrap();
    let calls = [("sync in /d/a".to_owned(), 1), ("sync directory /d".to_owned(), 2)];
    assert_eq!(*seen.lock(), calls, "before each call, and not after it");
    assert_eq!(disk.callers()[1], "other");
    assert_eq!((disk.callers().len(), disk.history().len()), (3, 3));
    disk.heal();
    disk.sync_dir(Path::new("/d")).unwrap();
    assert_eq!(seen.lock().len(), 2);
}
