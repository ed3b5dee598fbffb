use std::path::Path;

use super::*;
use crate::{
    Batch, CodecId, CommandMetadata, CountingVfs, EmbeddedOptions, EventId, Expected, JournalExt, NewEvent,
    Position, Retention, StreamId,
};

fn event() -> NewEvent {
    NewEvent {
        id: EventId::generate(),
        type_name: "noted".into(),
        schema_version: 1,
        codec: CodecId::Json,
        payload: vec![b' '; 200].into(),
        command: CommandMetadata::internal(Timestamp(0)),
        tags: Vec::new(),
    }
}

/// A journal of many segments, of nearly all of which nothing is kept.
async fn full_of_garbage(dir: &Path) -> Arc<EmbeddedJournal> {
    let vfs = Arc::new(CountingVfs::default().without_syncing());
    let options = EmbeddedOptions { segment_bytes: 8192, vfs, ..EmbeddedOptions::default() };
    let journal = Arc::new(EmbeddedJournal::open(dir, options).unwrap());
    let dynamic: Arc<dyn Journal> = Arc::clone(&journal) as Arc<dyn Journal>;
    let cursor = StreamId::internal("cursor-x").unwrap();
    let last = Retention { max_count: Some(1), ..Retention::default() };
    dynamic.append(Batch::default().retaining(cursor.clone(), last)).await.unwrap();
    for _ in 0..500 {
        dynamic.append(Batch::of(cursor.clone(), Expected::Any, [event()])).await.unwrap();
    }
    journal
}

/// A scavenger that runs only when it is told to.
fn by_hand(journal: &Arc<EmbeddedJournal>, cursors: Option<Arc<dyn DurableCursors>>) -> Scavenger {
    let never = Duration::from_secs(1 << 20);
    let options = ScavengerOptions { first_after: never, every: never, ..ScavengerOptions::default() };
    Scavenger::start(Arc::clone(journal), cursors, options)
}

/// Runs until something is given back: segments are settled beside the appends.
async fn eventually_gives_back(scavenger: &Scavenger) -> ScavengeProgress {
    for _ in 0..1000 {
        let done = scavenger.run_now().await.unwrap();
        if done.bytes > 0 {
            return done;
        }
        tokio::task::yield_now().await;
    }
    panic!("nothing was ever given back");
}

#[tokio::test]
async fn a_journal_is_scavenged_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let journal = full_of_garbage(dir.path()).await;
    let soon = Duration::from_millis(1);
    let options = ScavengerOptions { first_after: soon, every: soon, ..ScavengerOptions::default() };
    let scavenger = Scavenger::start(Arc::clone(&journal), None, options);
    tokio::time::timeout(Duration::from_secs(30), async {
        while scavenger.status().bytes == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    scavenger.stop().await;
    let status = scavenger.status();
    assert!(status.runs > 0 && status.events > 0 && status.segments > 0, "{status:?}");
    assert!(status.last_run.is_some() && status.failures == 0, "{status:?}");
    assert_eq!(scavenger.trouble(), None);
    journal.close().await;
}

/// Cursors that are where they are told to be, or cannot be read.
#[derive(Debug)]
struct Told(Option<Position>);

impl DurableCursors for Told {
    fn lowest(&self) -> BoxFuture<'_, Result<Option<ReaderPosition>, CursorsError>> {
        let lowest = self.0.map(|position| ReaderPosition { name: "told".into(), position });
        let unreadable = || Arc::new(std::io::Error::other("no cursor")) as CursorsError;
        Box::pin(std::future::ready(lowest.map(Some).ok_or_else(unreadable)))
    }
}

fn below(scavenger: &Scavenger, lowest: Option<&ReaderPosition>) -> (Position, Position) {
    let options = scavenger.0.shared.options_with(lowest);
    (options.below, options.own_below)
}

#[tokio::test]
async fn no_reader_is_passed_whether_it_runs_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let journal = full_of_garbage(dir.path()).await;
    let end = journal.durable().borrow().position.next();
    let scavenger = by_hand(&journal, Some(Arc::new(Told(Some(Position(300))))));
    let lowest = async || scavenger.0.shared.lowest().await.unwrap();
    assert_eq!(below(&scavenger, lowest().await.as_ref()), (Position(301), end));
    let running = journal.readers().register("running", false, Position(200));
    assert_eq!(below(&scavenger, lowest().await.as_ref()), (Position(201), end));
    let reads_all = journal.readers().register("model", true, Position(100));
    assert_eq!(below(&scavenger, lowest().await.as_ref()), (Position(101), Position(101)));
    drop(reads_all);
    running.moved_to(Position(400));
    assert_eq!(below(&scavenger, lowest().await.as_ref()), (Position(301), end));
    eventually_gives_back(&scavenger).await;
    let held_by = scavenger.status().held_by.unwrap();
    assert_eq!((&*held_by.name, held_by.position), ("told", Position(300)));
    scavenger.stop().await;
    journal.close().await;
}

#[tokio::test]
async fn failing_again_and_again_shows_and_passes() {
    let dir = tempfile::tempdir().unwrap();
    let journal = full_of_garbage(dir.path()).await;
    let scavenger = by_hand(&journal, Some(Arc::new(Told(None))));
    for run in 1..=FAILURES_SHOWN {
        assert_eq!(scavenger.trouble(), None, "run {run}");
        assert_eq!(scavenger.run_now().await.unwrap_err().code(), "cursors_unreadable");
    }
    let trouble = scavenger.trouble().unwrap();
    assert!(trouble.contains("cursors_unreadable") && trouble.contains('3'), "{trouble}");
    assert_eq!(scavenger.status().bytes, 0, "nothing goes that somebody may have still to see");
    scavenger.0.shared.status.lock().succeeded(&ScavengeProgress::default());
    assert_eq!(scavenger.trouble(), None);
    scavenger.stop().await;
    journal.close().await;
}

#[tokio::test]
async fn stopping_does_not_wait_for_a_run_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let journal = full_of_garbage(dir.path()).await;
    let options = ScavengerOptions { first_after: Duration::ZERO, ..ScavengerOptions::default() };
    let scavenger = Scavenger::start(Arc::clone(&journal), None, options);
    scavenger.stop().await;
    assert!(scavenger.0.shared.stop.is_asked());
    // Whatever it had begun, the log is whole and can be closed and opened anew.
    journal.close().await;
    drop((scavenger, journal));
    let report = EmbeddedJournal::verify(dir.path(), Arc::new(crate::RealVfs), |_| {}).unwrap();
    assert_eq!((report.damage, report.index_faults), (vec![], vec![]));
    let journal = Arc::new(EmbeddedJournal::open(dir.path(), EmbeddedOptions::default()).unwrap());
    let scavenger = by_hand(&journal, None);
    let done = scavenger.run_now().await.unwrap();
    let events = journal.durable().borrow().position.0;
    assert!(events - done.events < 20, "what was left is found by the next: {done:?}");
}
