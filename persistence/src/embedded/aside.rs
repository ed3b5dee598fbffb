//! Threads for reads that may wait for the disk, so that nobody else does. Of those that are free the one that was free last is
//! taken: what reads page after page stays on one thread, and with it on one processor, while the pages are used on another.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

/// More reads than this at a time wait for one another: a disk does not serve more at once any faster.
const THREADS_MAX: usize = 64;
/// How long a thread stays that has nothing to do.
const KEPT_FOR: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce() + Send>;

/// The threads of one journal. They end when it is dropped, after what was asked of them.
pub(super) struct Aside(Arc<Crew>);

struct Crew {
    state: Mutex<State>,
    threads_max: usize,
    kept_for: Duration,
}

#[derive(Default)]
struct State {
    /// Those with nothing to do, the one that was busy last at the end.
    free: Vec<Arc<Hand>>,
    /// What nobody is free for.
    waiting: VecDeque<Job>,
    threads: usize,
    is_over: bool,
}

/// A thread that can be handed a job.
#[derive(Default)]
struct Hand {
    handed: Mutex<Handed>,
    changed: Condvar,
}

#[derive(Default)]
enum Handed {
    #[default]
    Nothing,
    Job(Job),
    /// There will be nothing more.
    End,
}

impl Aside {
    pub(super) fn new() -> Self {
        Self::with(THREADS_MAX, KEPT_FOR)
    }

    fn with(threads_max: usize, kept_for: Duration) -> Self {
        Self(Arc::new(Crew { state: Mutex::default(), threads_max, kept_for }))
    }

    /// Has it done on one of the threads; `None` where it panicked.
    pub(super) async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Option<R> {
        let (done, result) = oneshot::channel();
        // Whoever is not waiting any more does not want it.
        Crew::take(&self.0, Box::new(move || drop(done.send(work()))));
        result.await.ok()
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.is_over = true;
        state.free.drain(..).for_each(|hand| hand.give(Handed::End));
    }
}

impl fmt::Debug for Aside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aside").field("threads", &self.0.state.lock().threads).finish_non_exhaustive()
    }
}

impl Crew {
    fn take(self: &Arc<Self>, job: Job) {
        let mut state = self.state.lock();
        if let Some(hand) = state.free.pop() {
            return hand.give(Handed::Job(job));
        }
        state.waiting.push_back(job);
        if state.threads == self.threads_max {
            return;
        }
        state.threads += 1;
        drop(state);
        if let Err(error) = self.start() {
            self.go_without(&error);
        }
    }

    fn start(self: &Arc<Self>) -> io::Result<()> {
        let crew = Arc::clone(self);
        thread::Builder::new().name("annals-reader".into()).spawn(move || crew.work()).map(drop)
    }

    /// There is no thread to be had: others do it when they can, and where there are none whoever asked does it himself.
    fn go_without(&self, error: &io::Error) {
        tracing::warn!(%error, "the journal gets no other thread to read on");
        let mut state = self.state.lock();
        state.threads -= 1;
        let own = if state.threads == 0 { state.waiting.pop_front() } else { None };
        drop(state);
        own.into_iter().for_each(do_one);
    }

    fn work(&self) {
        let hand = Arc::new(Hand::default());
        while let Some(job) = self.next(&hand) {
            do_one(job);
        }
    }

    /// The next job of a thread, `None` where it is to end.
    fn next(&self, hand: &Arc<Hand>) -> Option<Job> {
        {
            let mut state = self.state.lock();
            if let Some(job) = state.waiting.pop_front() {
                return Some(job);
            }
            if state.is_over {
                return state.leave();
            }
            state.free.push(Arc::clone(hand));
        }
        hand.wait(self.kept_for).or_else(|| self.dismiss(hand))
    }

    /// Lets a thread go that nobody handed anything, unless somebody is just about to.
    fn dismiss(&self, hand: &Arc<Hand>) -> Option<Job> {
        let mut state = self.state.lock();
        state.free.retain(|free| !Arc::ptr_eq(free, hand));
        // Whoever takes it off the list hands it something before the list is free again.
        match std::mem::take(&mut *hand.handed.lock()) {
            Handed::Job(job) => Some(job),
            Handed::Nothing | Handed::End => state.leave(),
        }
    }
}

impl State {
    fn leave(&mut self) -> Option<Job> {
        self.threads -= 1;
        None
    }
}

impl Hand {
    fn give(&self, handed: Handed) {
        *self.handed.lock() = handed;
        self.changed.notify_one();
    }

    /// Waits for a job; `None` where none came in time, or none will.
    fn wait(&self, time: Duration) -> Option<Job> {
        let (mut handed, until) = (self.handed.lock(), Instant::now() + time);
        while matches!(*handed, Handed::Nothing) {
            if self.changed.wait_until(&mut handed, until).timed_out() {
                return None;
            }
        }
        match std::mem::take(&mut *handed) {
            Handed::Job(job) => Some(job),
            Handed::Nothing | Handed::End => None,
        }
    }
}

/// A job that panics does not take the thread along; whoever waits for it is told.
fn do_one(job: Job) {
    if catch_unwind(AssertUnwindSafe(job)).is_err() {
        tracing::error!("a read of the journal panicked");
    }
}

#[cfg(test)]
mod tests;
