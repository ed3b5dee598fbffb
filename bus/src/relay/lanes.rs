//! What is on its way: in order for each key, and how far everything is acknowledged.

use std::collections::{HashSet, VecDeque};
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use annals_persistence::Position;

use crate::Envelope;
use crate::identity::{AsItIs, KeyMap, in_memory};

/// How many acknowledged positions lie behind one that is not, before they are cleared away.
const CLEARED_AT_ONCE: usize = 1024;

/// Events with the same key, which is that of their topic and theirs on it, leave one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct LaneKey(u128);

/// An event on its way, and the domain event it came from.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) envelope: Arc<Envelope>,
    pub(super) position: Position,
}

impl Job {
    fn key(&self) -> LaneKey {
        LaneKey(in_memory(&[self.envelope.topic.as_str(), self.envelope.key()]))
    }
}

/// The keys with something on its way.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    /// What waits behind the event under way, for each key that has one.
    waiting: KeyMap<LaneKey, VecDeque<Job>>,
    outstanding: Outstanding,
    count: usize,
    /// Keys whose event under way waits until somebody mends something.
    parked: HashSet<LaneKey, BuildHasherDefault<AsItIs>>,
    /// How many events of these there are.
    parked_count: usize,
}

impl Lanes {
    /// Takes an event in; gives it back with its key if it may leave at once. Positions come in their order.
    pub(super) fn admit(&mut self, job: Job) -> Option<(LaneKey, Job)> {
        self.outstanding.add(job.position);
        self.count += 1;
        let key = job.key();
        if let Some(queue) = self.waiting.get_mut(&key) {
            queue.push_back(job);
            self.parked_count += usize::from(self.parked.contains(&key));
            return None;
        }
        self.waiting.insert(key, VecDeque::new());
        Some((key, job))
    }

    /// Takes note that the key's event under way was acknowledged; the next of the key, if any, may leave.
    pub(super) fn acknowledge(&mut self, key: LaneKey, position: Position) -> Option<Job> {
        self.unpark(key);
        self.count -= 1;
        self.outstanding.remove(position);
        let next = self.waiting.get_mut(&key).and_then(VecDeque::pop_front);
        if next.is_none() {
            self.waiting.remove(&key);
        }
        next
    }

    /// Takes note that a key waits until somebody mends something.
    pub(super) fn park(&mut self, key: LaneKey) {
        if let Some(queue) = self.waiting.get(&key) {
            let events = 1 + queue.len();
            self.parked_count += if self.parked.insert(key) { events } else { 0 };
        }
    }

    fn unpark(&mut self, key: LaneKey) {
        if self.parked.remove(&key) {
            self.parked_count -= 1 + self.waiting.get(&key).map_or(0, VecDeque::len);
        }
    }

    /// How many are on their way.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// How many of them wait until somebody mends something.
    pub(super) fn parked(&self) -> usize {
        self.parked_count
    }

    /// The highest position below which all is acknowledged, when everything up to `read` was looked at.
    pub(super) fn floor(&self, read: Position) -> Position {
        self.outstanding.first().map_or(read, |first| Position(first.0.saturating_sub(1)))
    }
}

/// How many events of each position are not acknowledged: from the first that has any, in their order. What lies behind
/// it and is acknowledged is cleared away now and then.
#[derive(Debug, Default)]
struct Outstanding {
    positions: VecDeque<(Position, usize)>,
    /// How many of the positions have none any more.
    done: usize,
}

impl Outstanding {
    fn first(&self) -> Option<Position> {
        self.positions.front().map(|(first, _)| *first)
    }

    fn add(&mut self, of: Position) {
        match self.positions.back_mut() {
            Some((position, events)) if *position == of => {
                self.done -= usize::from(*events == 0);
                *events += 1;
            }
            _ => self.positions.push_back((of, 1)),
        }
    }

    fn remove(&mut self, of: Position) {
        let Ok(place) = self.positions.binary_search_by_key(&of, |(position, _)| *position) else { return };
        self.positions[place].1 -= 1;
        self.done += usize::from(self.positions[place].1 == 0);
        while self.positions.front().is_some_and(|(_, events)| *events == 0) {
            self.positions.pop_front();
            self.done -= 1;
        }
        if self.done > CLEARED_AT_ONCE && self.done * 2 > self.positions.len() {
            self.positions.retain(|(_, events)| *events > 0);
            self.done = 0;
        }
    }
}

#[cfg(test)]
mod tests;
