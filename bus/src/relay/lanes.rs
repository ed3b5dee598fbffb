//! What is on its way: in order for each key, and how far everything is acknowledged.

use std::collections::VecDeque;
use std::sync::Arc;

use annals_persistence::Position;
use annals_persistence::planted::{Fault, planted};

use crate::Envelope;
use crate::identity::{KeyMap, in_memory};

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

    /// About what it takes in memory.
    fn bytes(&self) -> usize {
        let envelope = &self.envelope;
        EVENT_BYTES + envelope.key().len() * 2 + envelope.data.as_ref().map_or(0, |data| data.get().len())
    }
}

/// About how many bytes of memory an event takes beside its content and its names.
const EVENT_BYTES: usize = size_of::<Envelope>() + 256;

/// The keys with something on its way.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: KeyMap<LaneKey, Lane>,
    outstanding: Outstanding,
    count: usize,
    /// What takes none of the room for what is in flight.
    beside: Beside,
}

/// A key with an event under way, and what waits behind it.
#[derive(Debug, Default)]
struct Lane {
    standing: Standing,
    waiting: VecDeque<Job>,
    /// What all of it takes in memory, the event under way included.
    bytes: usize,
}

/// How a key's event under way is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Standing {
    /// As it should.
    #[default]
    Flowing,
    /// It fails again and again, and nobody knows yet whether others do not; or it is one of those that waited behind such.
    Failing,
    /// It is set aside.
    Aside,
}

/// Events that keep nothing else up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Beside {
    /// How many.
    pub(super) events: usize,
    /// What they take in memory.
    pub(super) bytes: usize,
}

impl Lane {
    fn beside(&self) -> Beside {
        let events = match self.standing {
            Standing::Flowing => return Beside::default(),
            Standing::Failing => self.waiting.len(),
            Standing::Aside => 1 + self.waiting.len(),
        };
        Beside { events, bytes: self.bytes }
    }
}

impl Lanes {
    /// Takes an event in; gives it back with its key if it may leave at once. Positions come in their order.
    pub(super) fn admit(&mut self, job: Job) -> Option<(LaneKey, Job)> {
        self.outstanding.add(job.position);
        self.count += 1;
        let (key, bytes) = (job.key(), job.bytes());
        if self.lanes.contains_key(&key) {
            self.change(key, |lane| {
                lane.waiting.push_back(job);
                lane.bytes += bytes;
            });
            return None;
        }
        self.lanes.insert(key, Lane { bytes, ..Lane::default() });
        Some((key, job))
    }

    /// Takes note that the key's event under way was acknowledged; the next of the key, if any, may leave.
    pub(super) fn acknowledge(&mut self, key: LaneKey, job: &Job) -> Option<Job> {
        self.count -= 1;
        self.outstanding.remove(job.position);
        let next = self.change(key, |lane| {
            if lane.standing == Standing::Aside {
                lane.standing = Standing::Failing;
            }
            lane.bytes -= job.bytes();
            lane.waiting.pop_front()
        });
        if next.as_ref().is_some_and(Option::is_none) {
            self.lanes.remove(&key);
        }
        next.flatten()
    }

    /// Takes note that a key's event under way fails again and again: what waits behind it keeps nothing up.
    pub(super) fn failing(&mut self, key: LaneKey) {
        self.change(key, |lane| {
            if lane.standing == Standing::Flowing {
                lane.standing = Standing::Failing;
            }
        });
    }

    /// Takes note that a key is set aside.
    pub(super) fn set_aside(&mut self, key: LaneKey) {
        self.change(key, |lane| lane.standing = Standing::Aside);
    }

    /// Changes a key that has something on its way, and with it what keeps nothing up.
    fn change<T>(&mut self, key: LaneKey, change: impl FnOnce(&mut Lane) -> T) -> Option<T> {
        let lane = self.lanes.get_mut(&key)?;
        let before = lane.beside();
        let changed = change(lane);
        let after = lane.beside();
        self.beside.events = self.beside.events + after.events - before.events;
        self.beside.bytes = self.beside.bytes + after.bytes - before.bytes;
        Some(changed)
    }

    /// How many are on their way.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// What of it is set aside, or waits behind what fails.
    pub(super) fn beside(&self) -> Beside {
        self.beside
    }

    /// The highest position below which all is acknowledged, when everything up to `read` was looked at.
    pub(super) fn floor(&self, read: Position) -> Position {
        if planted(Fault::ParkedPassed) && self.count == self.beside.events {
            return read;
        }
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
