//! Loading snapshots where it may wait for a disk, and nobody's turn waits with it; of a store that has what is looked for in
//! memory, where it is asked for: to have it loaded elsewhere takes several times as long.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use annals_persistence::{Snapshot, SnapshotStore, StreamId};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::error::catch;

mod pace;

use pace::Pace;

/// How many threads load at a time.
const THREADS_MAX: usize = 4;
/// So many loads wait for each of them before there is another: most find what they look for in memory, and one after the
/// other on one thread is sooner done than another thread is woken.
const WAITING_EACH: usize = 16;
/// Who has waited for longer has another thread: those there are may hang, each over one load. With as many as there may be
/// hanging, everybody waits.
const PATIENCE: Duration = Duration::from_millis(50);

/// What is loaded of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The snapshot saved last.
    Latest,
    /// This one and those before it.
    All,
}

impl Wanted {
    pub(crate) fn of(self, store: &dyn SnapshotStore, stream: &StreamId) -> Vec<Snapshot> {
        match self {
            Self::Latest => store.load_latest(stream).into_iter().collect(),
            Self::All => store.load(stream),
        }
    }
}

/// Loads from one store, for all who ask.
#[derive(Debug)]
pub(crate) struct Loader {
    store: Arc<dyn SnapshotStore>,
    pace: Pace,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Load>,
    threads: usize,
}

#[derive(Debug)]
struct Load {
    stream: StreamId,
    wanted: Wanted,
    loaded: oneshot::Sender<Result<Vec<Snapshot>, String>>,
}

impl Loader {
    pub(crate) fn new(store: Arc<dyn SnapshotStore>) -> Arc<Self> {
        Arc::new(Self { store, pace: Pace::new(), state: Mutex::default() })
    }

    /// The snapshots of a stream, the latest first, or why the store has none to give.
    pub(crate) async fn load(
        self: &Arc<Self>,
        stream: &StreamId,
        wanted: Wanted,
    ) -> Result<Vec<Snapshot>, String> {
        if let Some(_alone) = self.pace.may_load_here() {
            return self.load_here(stream, wanted);
        }
        let (loaded, mut answer) = oneshot::channel();
        start(self.ask(Load { stream: stream.clone(), wanted, loaded }));
        let answered = match timeout(PATIENCE, &mut answer).await {
            Ok(answered) => answered,
            Err(_) => {
                start(self.hurry());
                answer.await
            }
        };
        answered.unwrap_or_else(|_| Err("the runtime that was to load them has ended".to_owned()))
    }

    fn load_here(&self, stream: &StreamId, wanted: Wanted) -> Result<Vec<Snapshot>, String> {
        self.pace.of(|| catch(|| wanted.of(&*self.store, stream)))
    }

    /// Has a load wait for its turn; answers with another hand, where there is to be one for it.
    fn ask(self: &Arc<Self>, load: Load) -> Option<Hand> {
        let mut state = self.state.lock();
        state.waiting.push_back(load);
        let wanted = state.waiting.len() > state.threads * WAITING_EACH;
        self.hand(&mut state, wanted)
    }

    /// Another hand, where anybody still waits.
    fn hurry(self: &Arc<Self>) -> Option<Hand> {
        let mut state = self.state.lock();
        let wanted = !state.waiting.is_empty();
        self.hand(&mut state, wanted)
    }

    fn hand(self: &Arc<Self>, state: &mut State, wanted: bool) -> Option<Hand> {
        let more = wanted && state.threads < THREADS_MAX;
        state.threads += usize::from(more);
        more.then(|| Hand { loader: Arc::clone(self), is_done: false })
    }
}

fn start(hand: Option<Hand>) {
    if let Some(hand) = hand {
        drop(tokio::task::spawn_blocking(move || hand.work()));
    }
}

/// Who loads, on a thread of the runtime's. Dropped before it was done, with the runtime, it leaves nobody waiting.
struct Hand {
    loader: Arc<Loader>,
    is_done: bool,
}

impl Hand {
    /// Loads until nobody waits.
    fn work(mut self) {
        while let Some(Load { stream, wanted, loaded }) = self.next() {
            // Whoever no longer waits does not get it.
            drop(loaded.send(self.loader.load_here(&stream, wanted)));
        }
    }

    fn next(&mut self) -> Option<Load> {
        let mut state = self.loader.state.lock();
        let next = state.waiting.pop_front();
        if next.is_none() {
            // Under the same lock, or who comes now would wait for one that has gone.
            self.is_done = true;
            state.threads -= 1;
        }
        next
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        if !self.is_done {
            let mut state = self.loader.state.lock();
            state.threads -= 1;
            state.waiting.clear();
        }
    }
}

#[cfg(test)]
mod tests;
