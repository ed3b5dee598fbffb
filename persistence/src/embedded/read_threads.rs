//! Threads for reads that may wait for the disk, so that nobody else does. Of those that are free the one that was free last is
//! taken: what reads page after page stays on one thread, and with it on one processor, while the pages are used on another.

use std::collections::VecDeque;
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

/// The threads of one journal. They end when it is dropped: nobody waits for a read of it any more.
pub(super) struct ReadThreads(Arc<Crew>);

struct Crew {
    state: Mutex<State>,
    limits: Limits,
}

struct Limits {
    threads_max: usize,
    kept_for: Duration,
    /// Starts a thread.
    start: fn(Arc<Crew>) -> io::Result<()>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { threads_max: THREADS_MAX, kept_for: KEPT_FOR, start }
    }
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

impl ReadThreads {
    pub(super) fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        Self(Arc::new(Crew { state: Mutex::default(), limits }))
    }

    /// Has it done on one of the threads; `None` where it panicked.
    pub(super) async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Option<R> {
        let (done, result) = oneshot::channel();
        let job = move || {
            // Whoever is not waiting any more does not want it.
            if !done.is_closed() {
                drop(done.send(work()));
            }
        };
        Crew::take(&self.0, Box::new(job));
        result.await.ok()
    }
}

impl Drop for ReadThreads {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.is_over = true;
        state.free.drain(..).for_each(|hand| hand.give(Handed::End));
        let unwanted = std::mem::take(&mut state.waiting);
        drop(state);
        drop(unwanted);
    }
}

impl Crew {
    fn take(self: &Arc<Self>, job: Job) {
        let mut state = self.state.lock();
        if let Some(hand) = state.free.pop() {
            return hand.give(Handed::Job(job));
        }
        state.waiting.push_back(job);
        if state.threads == self.limits.threads_max {
            return;
        }
        state.threads += 1;
        drop(state);
        if let Err(error) = (self.limits.start)(Arc::clone(self)) {
            tracing::warn!(%error, "the journal gets no other thread to read on");
            self.state.lock().threads -= 1;
            while let Some(job) = self.left_alone() {
                do_one(job);
            }
        }
    }

    /// What waits although there is no thread, and none to be had: whoever asked does it himself, and what others asked for.
    fn left_alone(&self) -> Option<Job> {
        let mut state = self.state.lock();
        if state.threads == 0 { state.waiting.pop_front() } else { None }
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
        hand.wait(self.limits.kept_for).or_else(|| self.dismiss(hand))
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

fn start(crew: Arc<Crew>) -> io::Result<()> {
    thread::Builder::new().name("annals-reader".into()).spawn(move || crew.work()).map(drop)
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
        // What it said was told by the panic's own hook.
        tracing::error!("a read of the journal panicked");
    }
}

#[cfg(test)]
mod tests;
