use super::*;

/// Three groups; answers the last one's place in the file.
async fn three_groups() -> (TempDir, Vec<RecordedEvent>, std::ops::Range<usize>) {
    let (dir, events) = prepared(small(), 3).await;
    let all = frames(&log_file(dir.path(), 1));
    let start = all[all.len() - 2].0 as usize;
    let (at, kind, bytes) = all[all.len() - 1];
    assert_eq!(kind, format::Kind::Commit);
    (dir, events, start..at as usize + bytes)
}

/// What is left must be the first two groups, or all three if nothing was changed; and appending must go on.
async fn recovers(dir: &Path, events: &[RecordedEvent], whole: bool, case: &str) {
    let report = EmbeddedJournal::verify(dir, &RealVfs, |_| {}).unwrap();
    assert_eq!(report.damage, None, "{case}");
    let wanted = if whole { events } else { &events[..2] };
    let journal = open(dir, small());
    assert_eq!(everything(&journal).await, wanted, "{case}");
    append(&journal, "1", Expected::Version(Version(wanted.len() as u64)), b"next").await.unwrap();
    let after = everything(&journal).await;
    journal.close().await;
    let journal = open(dir, small());
    assert_eq!(everything(&journal).await, after, "{case}");
    journal.close().await;
    let report = EmbeddedJournal::verify(dir, &RealVfs, |_| {}).unwrap();
    assert_eq!((report.damage, report.torn_tail), (None, None), "{case}");
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
            let whole = bytes.len() >= group.end && bytes[group.clone()] == original[group.clone()];
            recovers(dir.path(), &events, whole, &format!("{what} at {at}")).await;
        }
    }
}

#[tokio::test]
async fn records_without_a_commit_marker_do_not_count() {
    let (dir, events, group) = three_groups().await;
    let marker = group.end - format::MARKER_BYTES;
    spoil(&log_file(dir.path(), 1), |bytes| bytes[marker..group.end].fill(0));
    let report = EmbeddedJournal::verify(dir.path(), &RealVfs, |_| {}).unwrap();
    let torn = report.torn_tail.unwrap();
    assert_eq!((torn.offset, torn.reason), (group.start as u64, "the group has no commit marker"));
    recovers(dir.path(), &events, false, "no marker").await;
}

#[tokio::test]
async fn opening_syncs_what_it_builds_on_and_what_it_cuts() {
    let (dir, _, group) = three_groups().await;
    let file = log_file(dir.path(), 1);
    let second = frames(&file)[2].0;
    let before = (second, group.start - second as usize);
    spoil(&file, |bytes| bytes[group.start + 20] ^= 1);
    let vfs = CountingVfs::default();
    let journal = open(dir.path(), watched(&vfs));
    let wanted = [
        VfsCall::SyncData(file.clone()),
        VfsCall::SyncDir(dir.path().to_owned()),
        VfsCall::Write { file: file.clone(), offset: before.0, bytes: before.1 },
        VfsCall::SyncData(file.clone()),
        VfsCall::SetLen(file.clone(), group.start as u64),
        VfsCall::SyncData(file.clone()),
        VfsCall::Reserve(file.clone(), 8192),
        VfsCall::SyncData(file),
    ];
    assert_eq!(vfs.calls(), wanted);
    drop(journal);
}
