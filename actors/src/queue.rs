//! A queue for what is mostly empty or short: there are as many of them as live instances, and hardly ever is one of
//! them in the processor's cache when it is used.

use std::collections::VecDeque;

/// A queue whose first entry lies in the queue itself, so that one entry alone costs no memory elsewhere.
pub(crate) struct ShortQueue<T> {
    /// `None` only when `rest` is empty.
    first: Option<T>,
    rest: VecDeque<T>,
}

impl<T> ShortQueue<T> {
    pub(crate) const fn new() -> Self {
        Self { first: None, rest: VecDeque::new() }
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(crate) fn front(&self) -> Option<&T> {
        self.first.as_ref()
    }

    pub(crate) fn push_back(&mut self, entry: T) {
        if self.first.is_none() {
            self.first = Some(entry);
        } else {
            self.rest.push_back(entry);
        }
    }

    pub(crate) fn push_front(&mut self, entry: T) {
        if let Some(second) = self.first.replace(entry) {
            self.rest.push_front(second);
        }
    }

    pub(crate) fn pop_front(&mut self) -> Option<T> {
        std::mem::replace(&mut self.first, self.rest.pop_front())
    }

    /// Takes the first entry, and at most `limit` in all: the others are put into `more`, which must be empty.
    pub(crate) fn take(&mut self, limit: usize, more: &mut VecDeque<T>) -> Option<T> {
        let first = self.first.take();
        if self.rest.len() < limit {
            if !self.rest.is_empty() {
                std::mem::swap(&mut self.rest, more);
            }
        } else {
            more.extend(self.rest.drain(..limit.saturating_sub(1)));
            self.first = self.rest.pop_front();
        }
        first
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.first.iter().chain(&self.rest)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.first.iter_mut().chain(&mut self.rest)
    }
}

#[cfg(test)]
mod tests;
