//! A journal without a thread of its own.

use futures_util::FutureExt;

use super::*;

fn manual(vfs: &CountingVfs) -> EmbeddedOptions {
    EmbeddedOptions { driver: Driver::Manual, ..watched(vfs) }
}

fn open_manual(dir: &TempDir, vfs: &CountingVfs) -> (Arc<EmbeddedJournal>, Arc<dyn Journal>) {
    let journal = Arc::new(EmbeddedJournal::open(dir.path(), manual(vfs)).unwrap());
    (Arc::clone(&journal), journal)
}

#[tokio::test]
async fn nothing_is_written_until_driven_and_then_one_group_at_a_time() {
    let (dir, vfs) = (tempfile::tempdir().unwrap(), CountingVfs::default().without_syncing());
    let (driven, journal) = open_manual(&dir, &vfs);
    assert!(!driven.drive(), "nothing waits");
    let calls = vfs.calls().len();
    let large = vec![b'x'; 3 << 20];
    let mut tickets =
        [b"small", &*large, &large].map(|payload| append(&journal, "1", Expected::Any, payload));
    assert_eq!(vfs.calls().len(), calls);
    assert!((&mut tickets[0]).now_or_never().is_none());

    let [first, second, third] = &mut tickets;
    assert!(driven.drive());
    assert!(matches!(first.now_or_never(), Some(Ok(_))));
    assert!(matches!(second.now_or_never(), Some(Ok(_))), "both go into one group");
    assert!(third.now_or_never().is_none());
    assert!(driven.drive());
    assert!(matches!(third.now_or_never(), Some(Ok(_))));
    assert!(!driven.drive());
}

#[tokio::test]
async fn closing_writes_the_rest() {
    let (dir, vfs) = (tempfile::tempdir().unwrap(), CountingVfs::default().without_syncing());
    let (driven, journal) = open_manual(&dir, &vfs);
    let ticket = append(&journal, "1", Expected::NoStream, b"one");
    journal.close().await;
    ticket.await.unwrap();
    assert!(!driven.drive());
    assert_eq!(journal.health(), JournalHealth::Closed);
    drop((driven, journal));

    let (driven, journal) = open_manual(&dir, &vfs);
    let ticket = append(&journal, "1", Expected::Version(Version(1)), b"two");
    drop((driven, journal));
    ticket.await.unwrap();
    assert_eq!(everything(&open(dir.path(), small())).await.len(), 2);
}

#[tokio::test]
async fn a_failure_ends_it_and_everybody_is_told() {
    let (dir, vfs) = (tempfile::tempdir().unwrap(), CountingVfs::default().without_syncing());
    let (driven, journal) = open_manual(&dir, &vfs);
    let tickets = ["one", "two"].map(|payload| append(&journal, "1", Expected::Any, payload.as_bytes()));
    vfs.fail_sync(1, io::Error::other("broken"));
    assert!(driven.drive());
    for ticket in tickets {
        assert_eq!(ticket.await.unwrap_err().code(), "outcome_unknown");
    }
    assert!(!driven.drive());
    assert_eq!(append(&journal, "1", Expected::Any, b"late").await.unwrap_err().code(), "outcome_unknown");
    assert!(matches!(journal.health(), JournalHealth::Poisoned { .. }));
    journal.close().await;
}

#[tokio::test]
async fn space_is_looked_for_when_driven() {
    let (dir, vfs) = (tempfile::tempdir().unwrap(), CountingVfs::default().without_syncing());
    let (driven, journal) = open_manual(&dir, &vfs);
    vfs.set_no_space(true);
    let ticket = append(&journal, "1", Expected::Any, &[b'x'; 10_000]);
    assert!(driven.drive());
    assert_eq!(ticket.await.unwrap_err().code(), "disk_full");
    driven.drive();
    assert_eq!(journal.health(), JournalHealth::DiskFull);
    vfs.set_no_space(false);
    assert!(!driven.drive());
    assert_eq!(journal.health(), JournalHealth::Healthy);
}
