use super::files::remove_if_there;
use super::*;

/// Three groups; answers the last one's place in the file.
async fn three_groups() -> (TempDir, Vec<RecordedEvent>, std::ops::Range<usize>) {
    let (dir, events) = prepared(small(), 3).await;
    unmark(dir.path());
    let all = frames(&log_file(dir.path(), 1));
    let start = all[all.len() - 2].0 as usize;
    let (at, kind, bytes) = all[all.len() - 1];
    assert_eq!(kind, format::Kind::Commit);
    (dir, events, start..at as usize + bytes)
}

/// What is left must be the first two groups, or all three if nothing was changed; and appending must go on.
async fn recovers(dir: &Path, events: &[RecordedEvent], whole: bool, case: &str) {
    let report = EmbeddedJournal::verify(dir, Arc::new(RealVfs), |_| {}).unwrap();
    assert_eq!(report.damage, [], "{case}");
    let wanted = if whole { events } else { &events[..2] };
    let journal = open(dir, small());
    assert_eq!(everything(&journal).await, wanted, "{case}");
    append(&journal, "1", Expected::Version(Version(wanted.len() as u64)), b"next").await.unwrap();
    let after = everything(&journal).await;
    journal.close().await;
    let journal = open(dir, small());
    assert_eq!(everything(&journal).await, after, "{case}");
    journal.close().await;
    let report = EmbeddedJournal::verify(dir, Arc::new(RealVfs), |_| {}).unwrap();
    assert_eq!((report.damage, report.index_faults, report.torn_tail), (vec![], vec![], None), "{case}");
}

#[tokio::test]
async fn a_last_group_torn_at_any_byte_is_cut_off() {
    let (dir, events, group) = three_groups().await;
    let original = fs::read(log_file(dir.path(), 1)).unwrap();
    let file = log_file(dir.path(), 1);
    for at in group.clone() {
        let mut zeroed = original.clone();
        zeroed[at..group.end].fill(0);
        let mut garbage = original.clone();
        garbage[at..group.end].fill(0xA5);
        let mut hole = original.clone();
        hole[at] ^= 0x10;
        let truncated = original[..at].to_vec();
        for (bytes, what) in
            [(zeroed, "zeroed"), (garbage, "garbage"), (hole, "flipped"), (truncated, "truncated")]
        {
            fs::write(&file, &bytes).unwrap();
            let _ = fs::remove_file(watermark::Watermark::path(dir.path()));
            let whole = bytes.len() >= group.end && bytes[group.clone()] == original[group.clone()];
            recovers(dir.path(), &events, whole, &format!("{what} at {at}")).await;
        }
    }
}

#[tokio::test]
async fn records_without_a_commit_marker_do_not_count() {
    let (dir, events, group) = three_groups().await;
    let marker = group.end - format::COMMIT_BYTES;
    spoil(&log_file(dir.path(), 1), |bytes| bytes[marker..group.end].fill(0));
    let report = EmbeddedJournal::verify(dir.path(), Arc::new(RealVfs), |_| {}).unwrap();
    let torn = report.torn_tail.unwrap();
    assert_eq!((torn.offset, torn.reason), (group.start as u64, "the group has no commit marker"));
    recovers(dir.path(), &events, false, "no marker").await;
}

/// An event whose record takes as many bytes as its payload has, and always as many more.
fn timeless(payload: usize) -> NewEvent {
    NewEvent { command: CommandMetadata::internal(Timestamp(1)), ..event(&vec![b'x'; payload]) }
}

/// The group that is written over a torn one ends exactly where a whole frame of that began.
#[tokio::test]
async fn a_later_group_never_meets_the_remains_of_a_torn_one() {
    let (dir, _) = prepared(small(), 1).await;
    let journal = open(dir.path(), small());
    let three = [timeless(100), timeless(100), timeless(100)];
    journal.append(Batch::of(stream("1"), Expected::Any, three)).await.unwrap();
    journal.close().await;
    unmark(dir.path());
    let file = log_file(dir.path(), 1);
    let all = frames(&file);
    let [.., first, second, third, marker] = all[..] else { panic!("{all:?}") };
    spoil(&file, |bytes| bytes[marker.0 as usize..].fill(0));
    let journal = open(dir.path(), small());
    let larger = timeless(100 + second.2 - format::COMMIT_BYTES);
    journal.append(Batch::of(stream("1"), Expected::Any, [larger])).await.unwrap();
    let ends_there = |(at, _, bytes): &(u64, _, usize)| *at > first.0 && at + *bytes as u64 == third.0;
    assert!(frames(&file).iter().any(ends_there), "{:?} over {all:?}", frames(&file));
    // As the end of the process alone leaves it.
    let copy = copy_of(dir.path());
    let again = open(copy.path(), small());
    assert_eq!(everything(&again).await, everything(&journal).await);
}

#[tokio::test]
async fn opening_syncs_what_it_builds_on_and_what_it_cuts() {
    let (dir, _, group) = three_groups().await;
    let file = log_file(dir.path(), 1);
    let second = frames(&file)[2].0;
    let before = (second, group.start - second as usize);
    spoil(&file, |bytes| bytes[group.start + 20] ^= 1);
    // Whether room was made for another segment before it was closed, nobody knows.
    remove_if_there(&RealVfs, &log_file(dir.path(), 2)).unwrap();
    let vfs = CountingVfs::default();
    let journal = open(dir.path(), watched(&vfs));
    let wanted = [
        VfsCall::SyncData(file.clone()),
        VfsCall::SyncDir(dir.path().to_owned()),
        VfsCall::Remove(dir.path().join("spare")),
        VfsCall::Write { file: file.clone(), offset: before.0, bytes: before.1 },
        VfsCall::SyncData(file.clone()),
        VfsCall::SetLen(file.clone(), group.start as u64),
        VfsCall::SyncData(file.clone()),
        VfsCall::Reserve(file.clone(), 8192),
        VfsCall::Write { file: file.clone(), offset: group.start as u64, bytes: 8192 - group.start },
        VfsCall::SyncData(file),
        VfsCall::Create(dir.path().join("watermark")),
        VfsCall::Reserve(dir.path().join("watermark"), 8192),
        VfsCall::SyncDir(dir.path().to_owned()),
    ];
    assert_eq!(vfs.calls(), wanted);
    drop(journal);
}

#[tokio::test]
async fn a_tail_that_is_lost_after_it_was_noted_is_damage() {
    let (dir, _) = prepared(small(), 3).await;
    let file = log_file(dir.path(), 1);
    let original = fs::read(&file).unwrap();
    let last = frames(&file)[4].0 as usize;
    let (mut zeroed, mut flipped) = (original.clone(), original.clone());
    zeroed[last..].fill(0);
    flipped[last + 20] ^= 1;
    for bytes in [zeroed, flipped, original[..last].to_vec()] {
        fs::write(&file, &bytes).unwrap();
        let OpenError::Damaged { file: named, offset, reason } = refused(dir.path()) else {
            panic!("no damage")
        };
        assert_eq!((named, offset), (file.clone(), last as u64));
        assert!(reason.contains("position 3 (group 3) was durable"), "{reason}");
        assert_eq!(fs::read(&file).unwrap(), bytes, "nothing is changed");
        let report = EmbeddedJournal::verify(dir.path(), Arc::new(RealVfs), |_| {}).unwrap();
        assert_eq!(report.damage.len(), 1);
    }
    fs::remove_file(&file).unwrap();
    assert_eq!(refused(dir.path()).code(), "journal_damaged");
}

#[tokio::test]
async fn either_mark_may_be_torn() {
    let (dir, events) = prepared(small(), 3).await;
    let journal = open(dir.path(), small());
    append_groups(&journal, "1", 1).await;
    let events = [events, whole_stream(&journal, "1").await.split_off(3)].concat();
    journal.close().await;
    let path = watermark::Watermark::path(dir.path());
    let original = fs::read(&path).unwrap();
    assert!(original.len() > 4096, "both slots are in use");
    for slot in [0, 4096] {
        for at in slot..slot + 64 {
            let mut flipped = original.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(&path, &flipped).unwrap();
            let journal = open(dir.path(), EmbeddedOptions { read_only: true, ..small() });
            assert_eq!(everything(&journal).await, events, "byte {at}");
        }
    }
}

/// As many headers of frames of later groups as are asked for, each of a frame that goes on to the tail's end.
fn look_alikes(group: u32, count: usize, tail: usize) -> Vec<u8> {
    let mut bytes = vec![0xA5; tail];
    for (index, header) in bytes.chunks_exact_mut(format::FRAME_HEADER_BYTES).take(count).enumerate() {
        let rest = tail - (index + 1) * format::FRAME_HEADER_BYTES;
        header[..2].copy_from_slice(&format::FRAME_MAGIC.to_le_bytes());
        header[2] = format::Kind::Commit as u8;
        header[4..8].copy_from_slice(&(rest as u32).to_le_bytes());
        header[12..16].copy_from_slice(&(group + 1 + index as u32 % 500).to_le_bytes());
    }
    bytes
}

/// A payload may be made of nothing but beginnings of frames; to hash each of them to its end would take for ever.
#[tokio::test]
async fn a_torn_tail_of_look_alikes_is_judged_with_bounded_work() {
    const TAIL: usize = 2 << 20;
    let options = EmbeddedOptions { segment_bytes: 4 << 20, ..small() };
    for (count, opens) in [(8, true), (TAIL / format::FRAME_HEADER_BYTES, false)] {
        let (dir, events) = prepared(options.clone(), 3).await;
        unmark(dir.path());
        let file = log_file(dir.path(), 1);
        let all = frames(&file);
        let start = all[all.len() - 2].0 as usize;
        spoil(&file, |bytes| {
            bytes.resize(bytes.len().max(start + TAIL), 0);
            bytes[start..start + TAIL].copy_from_slice(&look_alikes(3, count, TAIL));
        });
        match EmbeddedJournal::open(dir.path(), options.clone()) {
            Ok(journal) => {
                assert!(opens, "more was hashed than there should be");
                let journal: Arc<dyn Journal> = Arc::new(journal);
                assert_eq!(everything(&journal).await, events[..2]);
                journal.close().await;
            }
            // Never the other way round: damage is not taken for a torn tail.
            Err(error) => {
                assert!(!opens && error.code() == "journal_damaged", "{count}: {error}");
                let plan = EmbeddedJournal::repair(dir.path(), Arc::new(RealVfs), false).unwrap().unwrap();
                assert_eq!(plan.cut[0].events, None, "nor is it counted what of it is whole");
            }
        }
    }
}
