use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use parking_lot::Condvar;

use super::*;

/// Counts the threads that load at a time, holds them while it is shut, and panics over one stream.
#[derive(Debug, Default)]
struct Gate {
    shut: Mutex<bool>,
    opened: Condvar,
    now: AtomicUsize,
    most: AtomicUsize,
    /// How long each takes.
    pause: Mutex<Duration>,
    /// Who has loaded last.
    by: Mutex<Option<ThreadId>>,
}

impl Gate {
    fn pause(&self, pause: Duration) {
        *self.pause.lock() = pause;
    }

    fn set(&self, shut: bool) {
        *self.shut.lock() = shut;
        self.opened.notify_all();
    }
}

impl SnapshotStore for Gate {
    fn load(&self, stream: &StreamId) -> Vec<Snapshot> {
        assert_ne!(stream.as_str(), "order-bad", "planted");
        let now = 1 + self.now.fetch_add(1, Ordering::SeqCst);
        self.most.fetch_max(now, Ordering::SeqCst);
        self.opened.wait_while(&mut self.shut.lock(), |shut| *shut);
        *self.by.lock() = Some(std::thread::current().id());
        std::thread::sleep(*self.pause.lock());
        self.now.fetch_sub(1, Ordering::SeqCst);
        Vec::new()
    }
    fn save(&self, _: &StreamId, _: &Snapshot) {}
    fn remove(&self, _: &StreamId) {}
    fn close(&self) {}
}

fn stream(id: usize) -> StreamId {
    StreamId::aggregate("order", &id.to_string()).unwrap()
}

#[tokio::test]
async fn everybody_gets_an_answer_and_there_are_few_threads() {
    let gate = Arc::<Gate>::default();
    let loader = Loader::new(Arc::clone(&gate) as _);
    gate.set(true);
    let streams: Vec<_> = (0..1000).map(stream).collect();
    let all = join_all(streams.iter().map(|stream| loader.load(stream, Wanted::All)));
    let open = async {
        while gate.now.load(Ordering::SeqCst) < THREADS_MAX {
            tokio::task::yield_now().await;
        }
        gate.set(false);
    };
    let (loaded, ()) = tokio::join!(all, open);
    assert!(loaded.iter().all(Result::is_ok));
    assert_eq!(gate.most.load(Ordering::SeqCst), THREADS_MAX);
    assert_eq!(loader.state.lock().threads, 0);
}

#[tokio::test]
async fn a_few_loads_share_a_thread() {
    let gate = Arc::<Gate>::default();
    let loader = Loader::new(Arc::clone(&gate) as _);
    let streams: Vec<_> = (0..WAITING_EACH).map(stream).collect();
    // None is so quick that it would be loaded in place.
    gate.pause(Duration::from_micros(200));
    let mut soon_done = 0;
    for _ in 0..200 {
        // Whoever was called in a slow round may be at work yet, and would count in this one.
        while loader.state.lock().threads > 0 {
            tokio::task::yield_now().await;
        }
        gate.most.store(0, Ordering::SeqCst);
        let begun = Instant::now();
        join_all(streams.iter().map(|stream| loader.load(stream, Wanted::All))).await;
        // Where the machine is busy with something else, somebody may have lost patience.
        if begun.elapsed() < PATIENCE {
            assert_eq!(gate.most.load(Ordering::SeqCst), 1);
            soon_done += 1;
        }
    }
    assert!(soon_done > 0);
}

/// The load that finds out is the last in place.
#[tokio::test]
async fn a_quick_store_is_asked_in_place_until_it_is_slow() {
    let gate = Arc::<Gate>::default();
    let loader = Loader::new(Arc::clone(&gate) as _);
    let own = std::thread::current().id();
    while *gate.by.lock() != Some(own) {
        loader.load(&stream(1), Wanted::All).await.unwrap();
    }
    gate.pause(Duration::from_millis(1));
    while *gate.by.lock() == Some(own) {
        loader.load(&stream(1), Wanted::All).await.unwrap();
    }
    for _ in 0..100 {
        loader.load(&stream(1), Wanted::All).await.unwrap();
        assert_ne!(*gate.by.lock(), Some(own));
    }
}

/// Hangs over some streams until it is let go.
#[derive(Debug, Default)]
struct Hanging {
    goes_on: Mutex<bool>,
    told: Condvar,
}

impl SnapshotStore for Hanging {
    fn load(&self, stream: &StreamId) -> Vec<Snapshot> {
        if stream.as_str().starts_with("hung-") {
            self.told.wait_while(&mut self.goes_on.lock(), |goes_on| !*goes_on);
        }
        Vec::new()
    }
    fn save(&self, _: &StreamId, _: &Snapshot) {}
    fn remove(&self, _: &StreamId) {}
    fn close(&self) {}
}

impl Hanging {
    fn let_go(&self) {
        *self.goes_on.lock() = true;
        self.told.notify_all();
    }
}

/// Lets go at the end, also where the test fails: its runtime waits for what hangs.
struct LetGo(Arc<Hanging>);

impl Drop for LetGo {
    fn drop(&mut self) {
        self.0.let_go();
    }
}

#[tokio::test]
async fn loads_that_hang_hold_up_the_others_for_a_moment_as_long_as_there_is_a_thread_for_these() {
    let store = Arc::<Hanging>::default();
    let (loader, _let_go) = (Loader::new(Arc::clone(&store) as _), LetGo(Arc::clone(&store)));
    // So that none is loaded in place, where it would hold up this test.
    let slow = || loader.pace.of(|| std::thread::sleep(Duration::from_millis(1)));
    slow();
    let load = |kind: &str, id: usize| {
        let (loader, stream) = (Arc::clone(&loader), StreamId::aggregate(kind, &id.to_string()).unwrap());
        tokio::spawn(async move { loader.load(&stream, Wanted::All).await })
    };
    let mut hung: Vec<_> = (1..THREADS_MAX).map(|id| load("hung", id)).collect();
    let others = join_all((0..2 * WAITING_EACH).map(|id| load("order", id)));
    let others = timeout(Duration::from_secs(30), others).await.expect("they are loaded");
    assert!(others.into_iter().all(|loaded| loaded.unwrap().is_ok()));
    slow();
    hung.push(load("hung", THREADS_MAX));
    while loader.state.lock().threads < THREADS_MAX || !loader.state.lock().waiting.is_empty() {
        tokio::task::yield_now().await;
    }
    let mut last = load("order", 0);
    assert!(timeout(3 * PATIENCE, &mut last).await.is_err(), "there is no thread for it");
    store.let_go();
    hung.push(last);
    assert!(join_all(hung).await.into_iter().all(|loaded| loaded.unwrap().is_ok()));
}

#[tokio::test]
async fn a_store_that_panics_over_one_stream_loads_the_others() {
    let loader = Loader::new(Arc::<Gate>::default());
    let bad = StreamId::aggregate("order", "bad").unwrap();
    let (bad, good) = (loader.load(&bad, Wanted::All), stream(1));
    let (bad, good) = tokio::join!(bad, loader.load(&good, Wanted::All));
    assert!(bad.unwrap_err().contains("planted"));
    assert_eq!(good.unwrap().len(), 0);
}

#[test]
fn a_hand_that_goes_with_its_runtime_leaves_nobody_waiting() {
    let loader = Loader::new(Arc::<Gate>::default());
    let (loaded, mut answer) = oneshot::channel();
    let hand = loader.ask(Load { stream: stream(1), wanted: Wanted::All, loaded });
    assert!(hand.is_some());
    drop(hand);
    assert!(answer.try_recv().is_err());
    let (loaded, _answer) = oneshot::channel();
    assert!(
        loader.ask(Load { stream: stream(2), wanted: Wanted::All, loaded }).is_some(),
        "the next has one again"
    );
}
