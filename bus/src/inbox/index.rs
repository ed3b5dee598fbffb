//! The inbox in memory.

use std::collections::VecDeque;
use std::time::Duration;

use annals_persistence::planted::{Fault, planted};
use annals_persistence::{Timestamp, Version};

use crate::Envelope;
use crate::identity::{KeyMap, in_memory};

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    Handled,
    DeadLettered,
}

/// What events must share to be kept in order: their source and key. A subscription has one topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct OrderKey(u128);

impl OrderKey {
    pub(crate) fn new(source: &str, key: &str) -> Self {
        Self(in_memory(&[source, key]))
    }

    pub(crate) fn of(envelope: &Envelope) -> Self {
        Self::new(&envelope.source, envelope.key())
    }
}

/// What became of an event, and when.
#[derive(Debug, Clone, Copy)]
struct Settled {
    seen: Seen,
    time: Timestamp,
    /// Whether its sequence tells of it too, once its id is forgotten.
    has_place: bool,
}

/// Which events were handled, and how far each key is: a few numbers for each.
#[derive(Debug)]
pub(crate) struct Index {
    seen: KeyMap<u128, Settled>,
    /// In the order in which they were handled, for forgetting. One that was settled again stands in it twice.
    ages: VecDeque<(Timestamp, u128)>,
    last: KeyMap<OrderKey, u64>,
    /// Between which sequences of a key events may be missing: they were not waited for any longer.
    gaps: KeyMap<OrderKey, (u64, u64)>,
    /// Where in the inbox the plans stand that are not carried out.
    plans: KeyMap<u128, Version>,
    remember: Duration,
    remember_max: usize,
    forgot_early: u64,
}

impl Index {
    pub(crate) fn new(remember: Duration, remember_max: usize) -> Self {
        Self {
            seen: KeyMap::default(),
            ages: VecDeque::new(),
            last: KeyMap::default(),
            gaps: KeyMap::default(),
            plans: KeyMap::default(),
            remember,
            remember_max,
            forgot_early: 0,
        }
    }

    pub(crate) fn seen(&self, event: u128) -> Option<Seen> {
        self.seen.get(&event).map(|settled| settled.seen)
    }

    /// The last sequence of a key that was handled or became a dead letter.
    pub(crate) fn last(&self, key: OrderKey) -> Option<u64> {
        self.last.get(&key).copied()
    }

    /// Takes note that an event was taken without those between `after` and its own sequence.
    pub(crate) fn gap(&mut self, key: OrderKey, after: u64, sequence: u64) {
        let (from, to) = self.gaps.entry(key).or_insert((after, sequence));
        (*from, *to) = (after.min(*from), sequence.max(*to));
    }

    /// Whether an event with this sequence, if it is not known by its id, may never have been handled.
    pub(crate) fn is_missing(&self, key: OrderKey, sequence: u64) -> bool {
        self.gaps.get(&key).is_some_and(|(from, to)| *from < sequence && sequence < *to)
    }

    /// Where it is written down what is to be done about an event, if it is and that is not done.
    pub(crate) fn open_plan(&self, event: u128) -> Option<Version> {
        self.plans.get(&event).copied()
    }

    pub(crate) fn plan(&mut self, event: u128, version: Version) {
        self.plans.insert(event, version);
    }

    /// Takes note of what became of an event, and when.
    pub(crate) fn settle(
        &mut self,
        event: u128,
        seen: Seen,
        place: Option<(OrderKey, u64)>,
        time: Timestamp,
    ) {
        if seen == Seen::Handled && !self.plans.is_empty() {
            // A dead letter keeps its plan: a replay goes on where it stopped.
            self.plans.remove(&event);
        }
        self.seen.insert(event, Settled { seen, time, has_place: place.is_some() });
        self.ages.push_back((time, event));
        if let Some((key, sequence)) = place {
            self.reached(key, sequence);
        }
    }

    /// Takes note of how far a key is at the least.
    pub(crate) fn reached(&mut self, key: OrderKey, sequence: u64) {
        let last = self.last.entry(key).or_default();
        *last = sequence.max(*last);
    }

    /// Forgets ids that are too old or too many, the oldest first. The last sequences stay.
    pub(crate) fn forget_old(&mut self, now: Timestamp) {
        while let Some((time, event)) = self.ages.front().copied() {
            if planted(Fault::IdsKeptForEver) {
                return;
            }
            let young = now.since(time) <= self.remember;
            if young && self.ages.len() <= self.remember_max {
                return;
            }
            self.ages.pop_front();
            let settled = self.seen.get(&event).copied().filter(|settled| settled.time == time);
            if let Some(settled) = settled {
                self.seen.remove(&event);
                if planted(Fault::SequencesForgotten) {
                    self.last.clear();
                }
                self.forgot_early += u64::from(young && !settled.has_place);
            }
        }
    }

    /// How many ids that nothing else tells of were forgotten before their time since it was asked last.
    pub(crate) fn take_forgot_early(&mut self) -> u64 {
        std::mem::take(&mut self.forgot_early)
    }
}
