//! What many put in and one takes out, all of it at once. The taker is woken once for each time that it waits, so that
//! what comes in numbers costs no more than to be put down.

use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// Room kept while nothing is in it; more is given back.
const IDLE_CAPACITY: usize = 256;

/// A queue with one taker. What bounds it is whoever lets things in.
#[derive(Debug)]
pub(crate) struct Mailbox<T>(Mutex<State<T>>);

#[derive(Debug)]
struct State<T> {
    waiting: Vec<T>,
    /// What wakes the taker, while it waits.
    taker: Option<Waker>,
    closed: bool,
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self(Mutex::new(State { waiting: Vec::new(), taker: None, closed: false }))
    }
}

impl<T> Mailbox<T> {
    /// Puts something in; it comes back where nobody takes anything any more.
    pub(crate) fn put(&self, one: T) -> Result<(), T> {
        let mut state = self.0.lock();
        if state.closed {
            return Err(one);
        }
        state.waiting.push(one);
        let taker = state.taker.take();
        drop(state);
        if let Some(taker) = taker {
            taker.wake();
        }
        Ok(())
    }

    /// Waits until something is there and takes all of it, to `into`, which must be empty; `false` when there will never
    /// be anything any more. Nothing is lost where the waiting is given up.
    pub(crate) async fn take(&self, into: &mut Vec<T>) -> bool {
        poll_fn(|cx| self.poll_take(cx, into)).await
    }

    fn poll_take(&self, cx: &Context<'_>, into: &mut Vec<T>) -> Poll<bool> {
        into.shrink_to(IDLE_CAPACITY);
        let mut state = self.0.lock();
        if state.waiting.is_empty() {
            if state.closed {
                return Poll::Ready(false);
            }
            state.taker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        std::mem::swap(&mut state.waiting, into);
        Poll::Ready(true)
    }

    /// Refuses what comes from now on, and drops what is there.
    pub(crate) fn close(&self) {
        let (waiting, taker) = {
            let mut state = self.0.lock();
            state.closed = true;
            (std::mem::take(&mut state.waiting), state.taker.take())
        };
        // Dropped without the lock: what is in it may tell others so.
        drop(waiting);
        if let Some(taker) = taker {
            taker.wake();
        }
    }
}

#[cfg(test)]
mod tests;
