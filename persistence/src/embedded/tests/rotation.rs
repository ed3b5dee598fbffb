use super::files::remove_if_there;
use super::*;

#[tokio::test]
async fn a_log_of_many_segments_opens_to_what_it_was() {
    let (dir, events) = prepared(small(), 300).await;
    assert!(is_begun(dir.path(), 5), "it takes several segments");
    let journal = open(dir.path(), small());
    assert_eq!(everything(&journal).await, events);
    assert_eq!(whole_stream(&journal, "1").await, events);
    append_groups(&journal, "1", 100).await;
    let more = everything(&journal).await;
    assert_eq!((&more[..300], more.len()), (&events[..], 400));
    journal.close().await;
    let report = EmbeddedJournal::verify(dir.path(), Arc::new(RealVfs), |_| {}).unwrap();
    assert_eq!((report.events, report.streams), (400, 1));
    assert_eq!((report.damage, report.index_faults, report.torn_tail), (vec![], vec![], None));
}

#[tokio::test]
async fn a_group_longer_than_a_segment_gets_a_longer_one() {
    let (dir, mut events) = prepared(small(), 1).await;
    let journal = open(dir.path(), small());
    append(&journal, "1", Expected::Any, &vec![b'x'; 100_000]).await.unwrap();
    append(&journal, "1", Expected::Any, b"small again").await.unwrap();
    events.extend(whole_stream(&journal, "1").await.into_iter().skip(1));
    journal.close().await;
    let journal = open(dir.path(), small());
    assert_eq!(everything(&journal).await, events);
}

/// Two segments, the first sealed, and no room made for a third. Answers the directory, all events, and how many are in the first.
async fn two_segments() -> (TempDir, Vec<RecordedEvent>, usize) {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), small());
    while !is_begun(dir.path(), 2) {
        append_groups(&journal, "1", 1).await;
    }
    append_groups(&journal, "1", 2).await;
    let events = everything(&journal).await;
    journal.close().await;
    remove_if_there(&RealVfs, &log_file(dir.path(), 3)).unwrap();
    let first = frames(&log_file(dir.path(), 1));
    let count = first.iter().filter(|(_, kind, _)| *kind == format::Kind::Record).count();
    (dir, events, count)
}

fn unseal(dir: &Path) -> u64 {
    let file = log_file(dir, 1);
    let (at, kind, bytes) = *frames(&file).last().unwrap();
    assert_eq!(kind, format::Kind::Seal);
    spoil(&file, |all| all[at as usize..at as usize + bytes].fill(0));
    at
}

fn blank(file: &Path, from: usize) {
    spoil(file, |bytes| bytes[from..].fill(0));
}

/// Opens, appends, and opens again.
async fn goes_on_with(dir: &Path, events: &[RecordedEvent]) {
    let journal = open(dir, small());
    assert_eq!(everything(&journal).await, events);
    append_groups(&journal, "1", 60).await;
    let more = everything(&journal).await;
    assert_eq!(&more[..events.len()], events);
    journal.close().await;
    assert_eq!(everything(&open(dir, small())).await, more);
}

#[tokio::test]
async fn a_crash_while_the_next_segment_is_made_loses_nothing() {
    let (dir, events, first) = two_segments().await;
    unmark(dir.path());
    unseal(dir.path());
    let second = log_file(dir.path(), 2);
    for header_bytes in [0, 1, 7, 8, 40, 512, 4095] {
        let copy = copy_of(dir.path());
        blank(&log_file(copy.path(), 2), header_bytes);
        goes_on_with(copy.path(), &events[..first]).await;
    }
    for len in [0, 100, 4096] {
        let copy = copy_of(dir.path());
        fs::write(log_file(copy.path(), 2), vec![0; len]).unwrap();
        goes_on_with(copy.path(), &events[..first]).await;
    }
    blank(&second, HEADER_BYTES);
    goes_on_with(dir.path(), &events[..first]).await;
}

#[tokio::test]
async fn a_crash_after_the_seal_loses_nothing() {
    let (dir, events, first) = two_segments().await;
    unmark(dir.path());
    blank(&log_file(dir.path(), 2), HEADER_BYTES);
    goes_on_with(dir.path(), &events[..first]).await;
}

#[tokio::test]
async fn a_torn_seal_is_no_damage() {
    let (dir, events, first) = two_segments().await;
    unmark(dir.path());
    let (at, _, _) = *frames(&log_file(dir.path(), 1)).last().unwrap();
    blank(&log_file(dir.path(), 2), HEADER_BYTES);
    blank(&log_file(dir.path(), 1), at as usize + 20);
    goes_on_with(dir.path(), &events[..first]).await;
}

#[tokio::test]
async fn a_broken_header_in_front_of_groups_is_damage() {
    let (dir, _, _) = two_segments().await;
    unmark(dir.path());
    unseal(dir.path());
    let second = log_file(dir.path(), 2);
    let mut bytes = fs::read(&second).unwrap();
    bytes[..HEADER_BYTES].fill(0);
    fs::write(&second, bytes).unwrap();
    let OpenError::Damaged { file, .. } = refused(dir.path()) else { panic!("no damage") };
    assert_eq!(file, second);
}

#[tokio::test]
async fn a_missing_seal_in_front_of_groups_is_damage() {
    let (dir, _, _) = two_segments().await;
    let at = unseal(dir.path());
    let OpenError::Damaged { file, offset, .. } = refused(dir.path()) else { panic!("no damage") };
    assert_eq!((file, offset), (log_file(dir.path(), 1), at));
}

#[tokio::test]
async fn a_group_missing_in_front_of_an_unused_segment_is_damage() {
    let (dir, _, _) = two_segments().await;
    blank(&log_file(dir.path(), 2), HEADER_BYTES);
    let all = frames(&log_file(dir.path(), 1));
    let (at, _, _) = all[all.len() - 3];
    blank(&log_file(dir.path(), 1), at as usize);
    let OpenError::Damaged { file, offset, .. } = refused(dir.path()) else { panic!("no damage") };
    assert_eq!((file, offset), (log_file(dir.path(), 1), at));
}

#[tokio::test]
async fn a_segment_that_is_gone_is_damage() {
    let (dir, _) = prepared(small(), 200).await;
    let last = (1..).take_while(|number| is_begun(dir.path(), *number)).last().unwrap();
    for gone in [1, 2, last] {
        let copy = copy_of(dir.path());
        fs::remove_file(log_file(copy.path(), gone)).unwrap();
        let OpenError::Damaged { file, .. } = refused(copy.path()) else { panic!("no damage") };
        assert_eq!(file, log_file(copy.path(), gone));
    }
}

#[tokio::test]
async fn a_lost_header_behind_a_seal_is_damage() {
    let (dir, _, _) = two_segments().await;
    fs::write(log_file(dir.path(), 2), vec![0; 8192]).unwrap();
    let OpenError::Damaged { file, offset, .. } = refused(dir.path()) else { panic!("no damage") };
    assert_eq!((file, offset), (log_file(dir.path(), 2), 0));
}

#[tokio::test]
async fn a_segment_of_another_journal_is_damage() {
    let (dir, _, _) = two_segments().await;
    let (other, _, _) = two_segments().await;
    fs::copy(log_file(other.path(), 2), log_file(dir.path(), 2)).unwrap();
    let OpenError::Damaged { file, offset, .. } = refused(dir.path()) else { panic!("no damage") };
    assert_eq!((file, offset), (log_file(dir.path(), 2), 0));
}

#[tokio::test]
async fn a_first_segment_that_was_never_finished_is_made_anew() {
    for len in [0, 10, 4096, 8192] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(log_file(dir.path(), 1), vec![0; len]).unwrap();
        goes_on_with(dir.path(), &[]).await;
    }
}

/// A crash between the seal and what is done beside the log.
#[tokio::test]
async fn a_sealed_segment_that_was_not_trimmed_is_when_opened() {
    let (dir, events, _) = two_segments().await;
    let first = log_file(dir.path(), 1);
    let len = fs::metadata(&first).unwrap().len();
    spoil(&first, |bytes| bytes.resize(8192, 0));
    fs::remove_file(dir.path().join("0000000001.idx")).unwrap();
    let journal = open(dir.path(), small());
    assert_eq!(everything(&journal).await, events);
    assert_eq!(fs::metadata(&first).unwrap().len(), len, "else every opening would read it");
    assert!(dir.path().join("0000000001.idx").exists());
}
