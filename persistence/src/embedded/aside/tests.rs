use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;

use futures_util::FutureExt;
use futures_util::future::join_all;

use super::*;

impl Aside {
    fn threads(&self) -> usize {
        self.0.state.lock().threads
    }
}

/// Which thread this is.
fn this_thread() -> thread::ThreadId {
    thread::current().id()
}

/// Until no thread is busy.
async fn until_free(aside: &Aside, threads: usize) {
    while aside.0.state.lock().free.len() != threads {
        tokio::task::yield_now().await;
    }
}

/// Has as many threads at work at the same time.
async fn busy(aside: &Aside, threads: usize) -> Vec<thread::ThreadId> {
    let all_there = Arc::new(std::sync::Barrier::new(threads));
    let work = |_| {
        let all_there = Arc::clone(&all_there);
        aside.run(move || (all_there.wait(), this_thread()).1)
    };
    join_all((0..threads).map(work)).await.into_iter().map(Option::unwrap).collect()
}

#[tokio::test]
async fn the_one_that_was_busy_last_goes_on() {
    let aside = Aside::new();
    let ids = busy(&aside, 3).await;
    until_free(&aside, 3).await;
    let first = aside.run(this_thread).await.unwrap();
    assert!(ids.contains(&first));
    for _ in 0..20 {
        until_free(&aside, 3).await;
        assert_eq!(aside.run(this_thread).await, Some(first));
    }
    assert_eq!(aside.threads(), 3);
}

#[tokio::test]
async fn no_more_threads_than_are_allowed_do_all_of_it() {
    let aside = Aside::with(2, KEPT_FOR);
    let (at_once, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let work = |nth: usize| {
        let (at_once, most) = (Arc::clone(&at_once), Arc::clone(&most));
        aside.run(move || {
            most.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            thread::yield_now();
            at_once.fetch_sub(1, Ordering::SeqCst);
            nth
        })
    };
    let done = join_all((0..500).map(work)).await;
    assert!(done.into_iter().eq((0..500).map(Some)));
    assert!((1..=2).contains(&most.load(Ordering::SeqCst)));
}

#[tokio::test]
async fn a_panic_is_told_and_takes_no_thread_along() {
    let aside = Aside::with(1, KEPT_FOR);
    assert_eq!(aside.run(|| panic!("as told")).await.map(|()| 0), None);
    assert_eq!(aside.run(|| 1).await, Some(1));
    assert_eq!(aside.threads(), 1);
}

#[tokio::test]
async fn a_thread_with_nothing_to_do_leaves_and_another_comes_when_there_is() {
    let aside = Aside::with(4, Duration::ZERO);
    for round in 0..200 {
        assert_eq!(aside.run(move || round).await, Some(round));
    }
    while aside.threads() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(aside.run(|| 1).await, Some(1));
}

#[tokio::test]
async fn what_was_asked_is_done_when_it_is_dropped_and_its_threads_end() {
    let aside = Aside::with(1, KEPT_FOR);
    let crew = Arc::downgrade(&aside.0);
    let (go, wait) = channel::<()>();
    let mut first = Box::pin(aside.run(move || wait.recv().is_ok()));
    let mut second = Box::pin(aside.run(|| 2));
    assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
    drop((first, second));
    let (told, done) = oneshot::channel();
    let mut third = Box::pin(aside.run(move || told.send(3)));
    assert!(third.as_mut().now_or_never().is_none());
    drop(third);
    drop(aside);
    go.send(()).unwrap();
    assert_eq!(done.await, Ok(3));
    while crew.strong_count() > 0 {
        tokio::task::yield_now().await;
    }
}
