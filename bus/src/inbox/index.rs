//! The inbox in memory.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use annals_persistence::Timestamp;

use super::Plans;
use crate::Envelope;
use crate::identity::derived;
use crate::reaction::Target;

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
        Self(derived(&[source, key]).as_u128())
    }

    pub(crate) fn of(envelope: &Envelope) -> Self {
        Self::new(&envelope.source, envelope.key())
    }
}

/// Which events were handled, and how far each key is.
#[derive(Debug)]
pub(crate) struct Index {
    seen: HashMap<u128, Seen>,
    /// In the order in which they were handled, for forgetting.
    ages: VecDeque<(Timestamp, u128)>,
    last: HashMap<OrderKey, u64>,
    plans: Plans,
    remember: Duration,
    remember_max: usize,
}

impl Index {
    pub(crate) fn new(remember: Duration, remember_max: usize) -> Self {
        Self {
            seen: HashMap::new(),
            ages: VecDeque::new(),
            last: HashMap::new(),
            plans: HashMap::new(),
            remember,
            remember_max,
        }
    }

    pub(crate) fn seen(&self, event: u128) -> Option<Seen> {
        self.seen.get(&event).copied()
    }

    /// The last sequence of a key that was handled or became a dead letter.
    pub(crate) fn last(&self, key: OrderKey) -> Option<u64> {
        self.last.get(&key).copied()
    }

    /// What is to be done about an event, if that is written down and not done.
    pub(crate) fn open_plan(&self, event: u128) -> Option<Arc<[Target]>> {
        self.plans.get(&event).cloned()
    }

    pub(crate) fn plan(&mut self, event: u128, targets: Arc<[Target]>) {
        self.plans.insert(event, targets);
    }

    /// Takes note of what became of an event.
    pub(crate) fn settle(&mut self, event: u128, seen: Seen, place: Option<(OrderKey, u64)>, now: Timestamp) {
        if seen == Seen::Handled {
            // A dead letter keeps its plan: a replay goes on where it stopped.
            self.plans.remove(&event);
        }
        if self.seen.insert(event, seen).is_none() {
            self.ages.push_back((now, event));
        }
        if let Some((key, sequence)) = place {
            let last = self.last.entry(key).or_default();
            *last = sequence.max(*last);
        }
        self.forget_old(now);
    }

    /// Forgets ids that are too old or too many. The last sequences stay.
    pub(crate) fn forget_old(&mut self, now: Timestamp) {
        while let Some((time, event)) = self.ages.front().copied() {
            if self.ages.len() <= self.remember_max && now.since(time) <= self.remember {
                return;
            }
            self.ages.pop_front();
            self.seen.remove(&event);
        }
    }
}
