//! What waits in a lane: as a rule nothing, or one event for a moment.

use std::collections::VecDeque;

use super::Job;

/// A queue whose first event costs no memory elsewhere.
#[derive(Default)]
pub(super) struct Queue {
    /// `None` only when `rest` is empty.
    first: Option<Job>,
    rest: VecDeque<Job>,
}

impl Queue {
    pub(super) fn push_back(&mut self, job: Job) {
        if self.first.is_none() {
            self.first = Some(job);
        } else {
            self.rest.push_back(job);
        }
    }

    pub(super) fn pop_front(&mut self) -> Option<Job> {
        std::mem::replace(&mut self.first, self.rest.pop_front())
    }

    /// Takes everything out, in its order.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Job> + use<> {
        let Self { first, rest } = std::mem::take(self);
        first.into_iter().chain(rest)
    }
}
