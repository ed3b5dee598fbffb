//! What is on its way: in order for each key, and how far everything is acknowledged.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use annals_persistence::Position;

use crate::{Envelope, Topic};

/// Events with the same key leave one after the other.
pub(super) type LaneKey = (Topic, Arc<str>);

/// An event on its way, and the domain event it came from.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) envelope: Arc<Envelope>,
    pub(super) position: Position,
}

impl Job {
    fn key(&self) -> LaneKey {
        (self.envelope.topic.clone(), self.envelope.key().into())
    }
}

/// The keys with something on its way.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    /// What waits behind the event under way, for each key that has one.
    waiting: HashMap<LaneKey, VecDeque<Job>>,
    /// How many events of each position are not acknowledged.
    outstanding: BTreeMap<Position, usize>,
    count: usize,
    /// Keys whose event under way waits until somebody mends something.
    parked: HashSet<LaneKey>,
    /// How many events of these there are.
    parked_count: usize,
}

impl Lanes {
    /// Takes an event in; gives it back with its key if it may leave at once.
    pub(super) fn admit(&mut self, job: Job) -> Option<(LaneKey, Job)> {
        *self.outstanding.entry(job.position).or_default() += 1;
        self.count += 1;
        let key = job.key();
        if let Some(queue) = self.waiting.get_mut(&key) {
            queue.push_back(job);
            self.parked_count += usize::from(self.parked.contains(&key));
            return None;
        }
        self.waiting.insert(key.clone(), VecDeque::new());
        Some((key, job))
    }

    /// Takes note that the key's event under way was acknowledged; the next of the key, if any, may leave.
    pub(super) fn acknowledge(&mut self, key: &LaneKey, position: Position) -> Option<Job> {
        self.unpark(key);
        self.count -= 1;
        if let Some(left) = self.outstanding.get_mut(&position) {
            *left -= 1;
            if *left == 0 {
                self.outstanding.remove(&position);
            }
        }
        let next = self.waiting.get_mut(key).and_then(VecDeque::pop_front);
        if next.is_none() {
            self.waiting.remove(key);
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

    fn unpark(&mut self, key: &LaneKey) {
        if self.parked.remove(key) {
            self.parked_count -= 1 + self.waiting.get(key).map_or(0, VecDeque::len);
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
        self.outstanding.first_key_value().map_or(read, |(first, _)| Position(first.0.saturating_sub(1)))
    }
}
