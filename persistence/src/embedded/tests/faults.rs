use std::ops::RangeInclusive;

use super::*;
use crate::conformance::number;

/// A disk that does not answer any more.
fn broken() -> io::Error {
    io::Error::from_raw_os_error(5)
}

/// Appends until told that an outcome is unknown, and some more; answers what was acknowledged.
async fn append_until_poisoned(journal: &Arc<dyn Journal>, count: usize) -> Vec<AppendResult> {
    let mut results = Vec::new();
    for number in 0..count {
        let pair: Vec<_> =
            (0..2).map(|_| append(journal, "1", Expected::Any, format!("{number}").as_bytes())).collect();
        for ticket in pair {
            results.push(ticket.await);
        }
    }
    results
}

/// The calls to fail, one at a time: the first `ANNALS_FAILURES`.
fn failing() -> RangeInclusive<u64> {
    1..=number("ANNALS_FAILURES").unwrap_or(60)
}

/// Has the `nth` call of a kind fail.
async fn check_poisoned(kind: &str, nth: u64, fail: fn(&CountingVfs, u64, io::Error)) {
    let case = format!("{kind} {nth}");
    let (dir, vfs) = (tempfile::tempdir().unwrap(), CountingVfs::default().without_syncing());
    let (dir, vfs) = (dir.path(), &vfs);
    let concrete = Arc::new(EmbeddedJournal::open(dir, watched(vfs)).unwrap());
    let journal: Arc<dyn Journal> = concrete.clone();
    fail(vfs, nth, broken());
    // Each pair is written and synced at least once.
    let results = append_until_poisoned(&journal, nth as usize + 10).await;
    let acknowledged = results.iter().take_while(|result| result.is_ok()).count();
    for result in &results[acknowledged..] {
        let error = result.as_ref().unwrap_err();
        assert_eq!(error.code(), "outcome_unknown", "{case}");
        assert!(error.to_string().contains("failed"), "{case}: {error}");
    }
    assert!(acknowledged < results.len(), "{case}: the fault must have come");
    assert!(matches!(journal.health(), JournalHealth::Poisoned { .. }), "{case}");
    // What is done beside the writing may be under way; it ends with the writer.
    eventually("the writer has ended", || concrete.shared.writer.running.lock().is_none()).await;
    let calls = vfs.calls().len();
    append(&journal, "1", Expected::Any, b"late").await.unwrap_err();
    assert_eq!(vfs.calls().len(), calls, "{case}: nothing is called on a broken disk again");
    let durable = everything(&journal).await;
    assert_eq!(durable.len(), acknowledged, "{case}: reads serve the last durable state");
    journal.close().await;
    drop((journal, concrete));
    let journal = open(dir, small());
    let events = everything(&journal).await;
    assert_eq!(&events[..acknowledged], durable, "{case}: nothing acknowledged is missing");
    assert_eq!(whole_stream(&journal, "1").await, events, "{case}");
    append(&journal, "1", Expected::Version(Version(events.len() as u64)), b"on").await.unwrap();
}

#[tokio::test]
async fn a_failed_write_poisons() {
    for nth in failing() {
        check_poisoned("write", nth, CountingVfs::fail_write).await;
    }
}

#[tokio::test]
async fn a_failed_sync_poisons_and_is_not_tried_again() {
    for nth in failing() {
        check_poisoned("sync", nth, CountingVfs::fail_sync).await;
    }
}

#[tokio::test]
async fn no_space_refuses_and_recovers_by_itself() {
    let (dir, vfs) = (tempfile::tempdir().unwrap(), CountingVfs::default().without_syncing());
    let journal = open(dir.path(), watched(&vfs));
    vfs.set_no_space(true);
    let mut taken = 0;
    let error = loop {
        match append(&journal, "1", Expected::Version(Version(taken)), &[b'x'; 300]).await {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((error.code(), error.outcome()), ("disk_full", crate::Outcome::NotCommitted));
    assert_eq!(journal.health(), JournalHealth::DiskFull);
    assert!(!is_begun(dir.path(), 2), "the segment that could not be made is gone");
    assert_eq!(everything(&journal).await.len() as u64, taken);
    append(&journal, "1", Expected::Any, &[b'x'; 300]).await.unwrap_err();
    vfs.set_no_space(false);
    append(&journal, "1", Expected::Version(Version(taken)), &[b'x'; 300]).await.unwrap();
    assert_eq!(journal.health(), JournalHealth::Healthy);
    let events = everything(&journal).await;
    journal.close().await;
    assert_eq!(everything(&open(dir.path(), small())).await, events);
}

#[tokio::test]
async fn space_that_is_there_again_is_noticed_without_an_append() {
    let (dir, vfs) = (tempfile::tempdir().unwrap(), CountingVfs::default().without_syncing());
    let probe = dir.path().join("space-probe");
    fs::write(&probe, "left behind by a crash").unwrap();
    let journal = open(dir.path(), watched(&vfs));
    assert!(!probe.exists());
    vfs.set_no_space(true);
    while append(&journal, "1", Expected::Any, &[b'x'; 300]).await.is_ok() {}
    let looked = || vfs.calls().iter().filter(|call| **call == VfsCall::Create(probe.clone())).count();
    eventually("it has looked in vain", || looked() > 0).await;
    assert_eq!(journal.health(), JournalHealth::DiskFull);
    vfs.set_no_space(false);
    eventually("it is healthy", || journal.health() == JournalHealth::Healthy).await;
    assert!(!probe.exists());
    append(&journal, "1", Expected::Any, &[b'x'; 300]).await.unwrap();
}

pub(super) async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !is_so() {
        assert!(std::time::Instant::now() < deadline, "it never came to be that {what}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// The calls that make the log; what is written beside it is waited for by nobody.
fn of_the_log(calls: Vec<VfsCall>) -> Vec<VfsCall> {
    let is_beside =
        |file: &Path| file.ends_with("watermark") || file.extension().is_some_and(|end| end == "new");
    // Only what fills a file begins it with more than a header.
    let fills = |offset, bytes| offset == 0 && bytes > HEADER_BYTES;
    let is_of_the_log = |call: &VfsCall| !matches!(call, VfsCall::Write { file, offset, bytes } if is_beside(file) || fills(*offset, *bytes));
    calls.into_iter().filter(is_of_the_log).collect()
}

/// Looks for a write, and for its sync behind it.
fn assert_written_and_synced(calls: &[VfsCall]) {
    let last_write = calls.iter().rposition(|call| matches!(call, VfsCall::Write { .. }));
    let last_write = last_write.expect("answered before the write");
    let VfsCall::Write { file, .. } = &calls[last_write] else { unreachable!() };
    assert!(calls[last_write..].contains(&VfsCall::SyncData(file.clone())), "answered before the sync");
}

/// Every answer, good or bad, leaves only when all it was decided on is durable.
#[tokio::test]
async fn a_sync_lies_between_every_write_and_its_answers() {
    let (dir, vfs) = (tempfile::tempdir().unwrap(), CountingVfs::default().without_syncing());
    let journal = open(dir.path(), watched(&vfs));
    // Each of these is a group of its own, so that a write is its own.
    for _ in 0..50 {
        let before = of_the_log(vfs.calls()).len();
        let (answered, answer) = std::sync::mpsc::channel();
        let calls = vfs.clone();
        let done = Completion::new(move |_| answered.send(of_the_log(calls.calls())).unwrap());
        journal.submit(Batch::of(stream("1"), Expected::Any, [event(b"1")]), done);
        assert_written_and_synced(&answer.recv().unwrap()[before..]);
    }
    let seen = Arc::new(Mutex::new(Vec::new()));
    for number in 0..300_u64 {
        let wrong = number % 4 == 3;
        let expected = if wrong { Expected::NoStream } else { Expected::Any };
        let (seen, vfs) = (Arc::clone(&seen), vfs.clone());
        let done = Completion::new(move |result: AppendResult| {
            assert_eq!(result.is_err(), wrong);
            seen.lock().push(of_the_log(vfs.calls()));
        });
        journal.submit(Batch::of(stream("1"), expected, [event(b"1")]), done);
    }
    journal.close().await;
    let seen = seen.lock();
    assert_eq!(seen.len(), 300);
    seen.iter().for_each(|calls| assert_written_and_synced(calls));
}

#[tokio::test]
async fn what_waits_is_written_as_one_group() {
    let (dir, vfs) = (tempfile::tempdir().unwrap(), CountingVfs::default().without_syncing());
    let options = EmbeddedOptions { segment_bytes: 1 << 20, ..watched(&vfs) };
    let journal = open(dir.path(), options);
    let sync = VfsCall::SyncData(log_file(dir.path(), 1));
    let syncs = || vfs.calls().iter().filter(|call| **call == sync).count();
    let before = syncs();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    // The first one's callback holds the writer up while the others queue.
    let hold = Completion::new(move |_| wait.recv().unwrap());
    journal.submit(Batch::of(stream("1"), Expected::Any, [event(b"1")]), hold);
    let tickets: Vec<_> = (0..500).map(|_| append(&journal, "1", Expected::Any, b"1")).collect();
    go.send(()).unwrap();
    for ticket in tickets {
        ticket.await.unwrap();
    }
    assert!(syncs() - before <= 3, "{} syncs", syncs() - before);
}

/// A disk on which making an index file ends in a panic.
#[derive(Debug)]
struct Panicking;

impl Vfs for Panicking {
    fn open(&self, path: &Path, writable: bool) -> io::Result<Box<dyn crate::VfsFile>> {
        RealVfs.open(path, writable)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn crate::VfsFile>> {
        assert!(!path.to_string_lossy().ends_with(".idx.new"), "no index files here");
        RealVfs.create(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        RealVfs.list(dir)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealVfs.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealVfs.rename(from, to)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        RealVfs.create_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        RealVfs.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn crate::VfsLock>>> {
        RealVfs.lock(path)
    }
}

#[tokio::test]
async fn a_panic_beside_the_log_is_an_error_of_later_appends_and_of_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let vfs = Arc::new(CountingVfs::new(Panicking).without_syncing());
    let journal = open(dir.path(), EmbeddedOptions { vfs, ..small() });
    let mut acknowledged = 0;
    let error = loop {
        assert!(acknowledged < 100_000, "the journal never noticed");
        match append(&journal, "1", Expected::Any, b"1").await {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), "outcome_unknown");
    assert!(error.to_string().contains("keeper panicked"), "{error}");
    assert_eq!(everything(&journal).await.len(), acknowledged);
    journal.close().await;
    drop(journal);
    assert!(everything(&open(dir.path(), small())).await.len() >= acknowledged);
}
