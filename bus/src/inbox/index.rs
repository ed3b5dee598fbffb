//! The inbox in memory.

use std::collections::VecDeque;
use std::time::Duration;

use annals_persistence::planted::{Fault, planted};
use annals_persistence::{CommandId, Timestamp, Version};

use super::{Plan, Rejection};
use crate::identity::{KeyMap, in_memory};
use crate::{Envelope, Topic};

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    Handled,
    DeadLettered,
}

/// What events must share to be kept in order: their source and key. A subscription has one topic, for good.
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
    /// The plans that are not carried out.
    plans: KeyMap<u128, Plan>,
    remember: Duration,
    remember_max: usize,
    forgot_early: u64,
    /// Of what was settled up to here the ids may be forgotten.
    forgotten: Timestamp,
    /// The subscription's topic now.
    own_topic: Option<Topic>,
    /// The topic that the last event was handled on, and when, as far as that is known.
    topic: Option<(Topic, Timestamp)>,
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
            forgotten: Timestamp(i64::MIN),
            own_topic: None,
            topic: None,
        }
    }

    pub(crate) fn seen(&self, event: u128) -> Option<Seen> {
        self.seen.get(&event).map(|settled| settled.seen)
    }

    /// The index of a subscription that has this topic now.
    pub(crate) fn of(self, topic: &Topic) -> Self {
        Self { own_topic: Some(topic.clone()), ..self }
    }

    /// The topic that the last event was handled on.
    pub(crate) fn topic(&self) -> Option<&Topic> {
        self.topic.as_ref().map(|(topic, _)| topic)
    }

    /// The topic that the last event was handled on, where no record that is younger than this says so.
    pub(crate) fn topic_unless_after(&self, time: Timestamp) -> Option<&Topic> {
        self.topic.as_ref().filter(|(_, said)| *said <= time).map(|(topic, _)| topic)
    }

    /// Takes note of the topic that an event was handled on, and when.
    pub(crate) fn handled_on(&mut self, topic: Topic, time: Timestamp) {
        self.topic = Some((topic, time));
    }

    /// Takes note that an event was handled on the topic that the subscription has now.
    pub(crate) fn handled_here(&mut self, time: Timestamp) {
        match (&mut self.topic, &self.own_topic) {
            (Some((topic, said)), Some(own)) if topic == own => *said = time,
            (topic, Some(own)) => *topic = Some((own.clone(), time)),
            (_, None) => {}
        }
    }

    /// Takes note that records up to this time may be given up: of what was settled until then it does not know all ids.
    pub(crate) fn cut_at(&mut self, time: Timestamp) {
        self.forgotten = self.forgotten.max(time);
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

    /// Whether an event from this time, if it is not known by its id, was never settled: the id would not be forgotten yet.
    pub(crate) fn would_know(&self, time: Option<Timestamp>) -> bool {
        time.is_some_and(|time| self.forgotten < time)
    }

    /// What is to be done about an event, if it is written down and not done.
    pub(crate) fn open_plan(&self, event: u128) -> Option<Plan> {
        self.plans.get(&event).cloned()
    }

    /// Takes note of where a plan is. What was answered of an earlier list of the same event stays so.
    pub(crate) fn plan(&mut self, event: u128, version: Version) {
        self.plans.entry(event).or_insert_with(|| Plan::new(version)).at = version;
    }

    /// Takes note of a plan as an attempt has left it.
    pub(crate) fn keep_plan(&mut self, event: u128, plan: Plan) {
        self.plans.insert(event, plan);
    }

    /// Takes note that a command of a plan was answered for good, and where that is said: the plan may have been carried on
    /// to behind it.
    pub(crate) fn answered(
        &mut self,
        event: u128,
        command: CommandId,
        rejection: Option<Rejection>,
        at: Version,
    ) {
        self.plans.entry(event).or_insert_with(|| Plan::new(at)).answered.insert(command, rejection);
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
        let remember = i64::try_from(self.remember.as_micros()).unwrap_or(i64::MAX);
        self.forgotten = self.forgotten.max(Timestamp(now.0.saturating_sub(remember)));
        while let Some((time, event)) = self.ages.front().copied() {
            if planted(Fault::IdsKeptForEver) {
                return;
            }
            let young = now.since(time) <= self.remember;
            if young && self.ages.len() <= self.remember_max {
                return;
            }
            self.ages.pop_front();
            self.forgotten = self.forgotten.max(time);
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
