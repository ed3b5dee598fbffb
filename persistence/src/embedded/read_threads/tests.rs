use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;

use futures_util::FutureExt;
use futures_util::future::join_all;

use super::*;

/// So long that a thread leaves in no test.
const FOR_EVER: Duration = Duration::from_secs(3600);
const PATIENCE: Duration = Duration::from_secs(60);

fn threads(threads_max: usize) -> ReadThreads {
    ReadThreads::with(Limits { threads_max, kept_for: FOR_EVER, ..Limits::default() })
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::task::yield_now().await;
    }
}

async fn until_free(threads: &ReadThreads, count: usize) {
    until("they are free", || threads.0.state.lock().free.len() == count).await;
}

fn this_thread() -> thread::ThreadId {
    thread::current().id()
}

/// Has as many threads at work at the same time.
async fn busy(threads: &ReadThreads, count: usize) -> Vec<thread::ThreadId> {
    let all_there = Arc::new(Barrier::new(count));
    let work = |_| {
        let all_there = Arc::clone(&all_there);
        threads.run(move || (all_there.wait(), this_thread()).1)
    };
    let all = tokio::time::timeout(PATIENCE, join_all((0..count).map(work)));
    all.await.expect("as many at once").into_iter().map(Option::unwrap).collect()
}

#[tokio::test]
async fn the_one_that_was_busy_last_goes_on() {
    let threads = threads(8);
    let ids = busy(&threads, 3).await;
    until_free(&threads, 3).await;
    let first = threads.run(this_thread).await.unwrap();
    assert!(ids.contains(&first));
    for _ in 0..20 {
        until_free(&threads, 3).await;
        assert_eq!(threads.run(this_thread).await, Some(first));
    }
    assert_eq!(threads.0.state.lock().threads, 3);
}

#[tokio::test]
async fn no_more_threads_than_are_allowed_do_all_of_it() {
    let threads = threads(2);
    let (at_once, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let work = |nth: usize| {
        let (at_once, most) = (Arc::clone(&at_once), Arc::clone(&most));
        threads.run(move || {
            most.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            thread::yield_now();
            at_once.fetch_sub(1, Ordering::SeqCst);
            nth
        })
    };
    let done = join_all((0..500).map(work)).await;
    assert!(done.into_iter().eq((0..500).map(Some)));
    assert!((1..=2).contains(&most.load(Ordering::SeqCst)));
    assert!((1..=2).contains(&threads.0.state.lock().threads));
}

#[tokio::test]
async fn a_panic_is_told_and_takes_no_thread_along() {
    let threads = threads(1);
    assert_eq!(threads.run(|| panic!("as told")).await.map(|()| 0), None);
    assert_eq!(threads.run(|| 1).await, Some(1));
    assert_eq!(threads.0.state.lock().threads, 1);
}

#[tokio::test]
async fn a_thread_with_nothing_to_do_leaves_and_another_comes_when_there_is() {
    let limits = Limits { threads_max: 4, kept_for: Duration::ZERO, ..Limits::default() };
    let threads = ReadThreads::with(limits);
    for round in 0..200 {
        assert_eq!(threads.run(move || round).await, Some(round));
    }
    until("all have left", || threads.0.state.lock().threads == 0).await;
    assert_eq!(threads.run(|| 1).await, Some(1));
}

#[tokio::test]
async fn where_no_thread_is_to_be_had_whoever_asks_reads() {
    let start = |_| Err(io::Error::from(io::ErrorKind::WouldBlock));
    let threads = ReadThreads::with(Limits { start, ..Limits::default() });
    // As where another was refused a thread at the same moment.
    let (told, done) = oneshot::channel();
    threads.0.state.lock().waiting.push_back(Box::new(move || told.send(1).unwrap()));
    assert_eq!(threads.run(this_thread).now_or_never(), Some(Some(this_thread())));
    assert_eq!(done.now_or_never(), Some(Ok(1)));
}

#[tokio::test]
async fn what_nobody_waits_for_is_not_read() {
    let threads = threads(1);
    let (go, wait) = channel::<()>();
    let mut first = Box::pin(threads.run(move || wait.recv().is_ok()));
    let reads = Arc::new(AtomicUsize::new(0));
    let read = || {
        let reads = Arc::clone(&reads);
        threads.run(move || reads.fetch_add(1, Ordering::SeqCst))
    };
    let (mut given_up, mut waited_for) = (Box::pin(read()), Box::pin(read()));
    for asked in [first.as_mut().now_or_never().is_none(), given_up.as_mut().now_or_never().is_none()] {
        assert!(asked);
    }
    assert!(waited_for.as_mut().now_or_never().is_none());
    drop(given_up);
    go.send(()).unwrap();
    assert_eq!((first.await, waited_for.await), (Some(true), Some(0)));
}

#[tokio::test]
async fn its_threads_end_when_it_is_dropped() {
    let threads = threads(4);
    let crew = Arc::downgrade(&threads.0);
    busy(&threads, 2).await;
    let (go, wait) = channel::<()>();
    let mut under_way = Box::pin(threads.run(move || wait.recv().is_ok()));
    assert!(under_way.as_mut().now_or_never().is_none());
    drop(under_way);
    drop(threads);
    go.send(()).unwrap_or_default();
    until("all have ended", || crew.strong_count() == 0).await;
}
