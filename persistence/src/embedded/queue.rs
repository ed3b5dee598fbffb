//! What waits to be written: bounded by bytes, closed for good when the journal is closed or poisoned.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::prepared::Prepared;
use crate::{AppendError, Completion};

/// A batch on its way to the writer.
#[derive(Debug)]
pub(super) struct Submission {
    pub(super) batch: Prepared,
    pub(super) done: Completion,
    /// At least as many bytes as it takes in the log.
    pub(super) bytes: usize,
    /// Why it can never be appended. It waits its turn all the same: answers leave in order.
    pub(super) invalid: Option<Box<AppendError>>,
}

/// Submissions in their order.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    pub(super) submissions: VecDeque<Submission>,
    /// The encoded records of all of them, one behind the other.
    pub(super) encoded: Vec<u8>,
}

/// Room kept for submissions when the queue has run empty; more is given back.
const IDLE_CAPACITY: usize = 4096;
/// The same for their bytes.
const IDLE_BYTES: usize = 4 << 20;

/// What waiting for submissions came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    Submissions,
    /// None came in time.
    Nothing,
    /// There will never be any more.
    Closed,
}

#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct State {
    waiting: Backlog,
    /// Bytes that wait or are being written.
    bytes: usize,
    /// What every later submission is answered.
    closed: Option<AppendError>,
}

impl Queue {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { state: Mutex::default(), filled: Condvar::new(), bytes_max }
    }

    /// Takes a submission in, with its encoded records; or gives its completion back with the answer.
    pub(super) fn push(&self, submission: Submission, encoded: &[u8]) -> Option<(Completion, AppendError)> {
        let mut state = self.state.lock();
        if let Some(error) = state.refusal(submission.bytes, self.bytes_max) {
            return Some((submission.done, error));
        }
        state.bytes += submission.bytes;
        state.waiting.encoded.extend_from_slice(encoded);
        state.waiting.submissions.push_back(submission);
        let first = state.waiting.submissions.len() == 1;
        drop(state);
        if first {
            self.filled.notify_one();
        }
        None
    }

    /// Waits for submissions, no longer than `patience`, and takes all of them, in the place of those before, which are
    /// done with.
    pub(super) fn take(&self, into: &mut Backlog, patience: Option<Duration>) -> Taken {
        into.reset();
        let mut state = self.state.lock();
        while state.waiting.submissions.is_empty() {
            if state.closed.is_some() {
                return Taken::Closed;
            }
            match patience {
                None => self.filled.wait(&mut state),
                Some(patience) if self.filled.wait_for(&mut state, patience).timed_out() => {
                    return Taken::Nothing;
                }
                Some(_) => {}
            }
        }
        std::mem::swap(&mut state.waiting, into);
        Taken::Submissions
    }

    /// Makes room again for as many bytes.
    pub(super) fn release(&self, bytes: usize) {
        self.state.lock().bytes -= bytes;
    }

    /// Answers every later submission with this error; what is waiting is still taken. The first error stays.
    pub(super) fn close(&self, error: AppendError) {
        self.state.lock().closed.get_or_insert(error);
        self.filled.notify_all();
    }

    /// Takes what is waiting without waiting for more.
    pub(super) fn drain(&self) -> VecDeque<Submission> {
        std::mem::take(&mut self.state.lock().waiting.submissions)
    }
}

impl Backlog {
    fn reset(&mut self) {
        self.submissions.clear();
        self.submissions.shrink_to(IDLE_CAPACITY);
        self.encoded.clear();
        self.encoded.shrink_to(IDLE_BYTES);
    }
}

impl State {
    /// A batch larger than the whole queue is let in when it is alone.
    fn refusal(&self, bytes: usize, bytes_max: usize) -> Option<AppendError> {
        if let Some(error) = &self.closed {
            return Some(error.clone());
        }
        let full = self.bytes > 0 && self.bytes + bytes > bytes_max;
        full.then_some(AppendError::Busy { bytes: self.bytes })
    }
}
