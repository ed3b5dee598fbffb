//! Which event runs when: duplicates, the order of each key, the reorder buffer. No I/O, no time of its own.

mod early;
mod queue;
mod shelf;
mod waiting;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use annals_persistence::planted::{Fault, planted};
use annals_persistence::{Timestamp, Version};
use smallvec::{SmallVec, smallvec};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use queue::Queue;
pub(super) use shelf::Room;
use shelf::Shelf;
use waiting::Waiting;

use super::{DeliveryError, Manner};
use crate::identity::KeyMap;
use crate::inbox::{Index, OrderKey, Plan, Seen};
use crate::relay::Answer;
use crate::{Envelope, PublishError};

/// An event at the door.
pub(super) struct Arrival {
    pub(super) event: u128,
    pub(super) lane: OrderKey,
    pub(super) envelope: Arc<Envelope>,
    pub(super) manner: Manner,
    pub(super) reply: Reply,
}

/// Who waits for what becomes of an event; it takes up room until then.
pub(super) struct Reply {
    pub(super) to: ReplyTo,
    pub(super) _permit: OwnedSemaphorePermit,
}

/// Who it is.
pub(super) enum ReplyTo {
    /// Somebody who waits for it.
    Caller(oneshot::Sender<Result<(), DeliveryError>>),
    /// A relay, which goes on meanwhile.
    Relay(Answer),
}

impl Reply {
    /// Whether nobody waits for it any more.
    fn is_given_up(&self) -> bool {
        matches!(&self.to, ReplyTo::Caller(sender) if sender.is_closed())
    }

    fn give(self, answer: Result<(), DeliveryError>) {
        match self.to {
            // A broker that no longer waits will deliver it again.
            ReplyTo::Caller(sender) => drop(sender.send(answer)),
            ReplyTo::Relay(relay) => {
                relay.give(answer.map_err(|error| PublishError::unavailable(error.to_string())));
            }
        }
    }
}

/// An event to run now.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) event: u128,
    pub(super) lane: OrderKey,
    pub(super) envelope: Arc<Envelope>,
    pub(super) manner: Manner,
    /// What an earlier run has written down to be done about it, if one has, and what of that is done.
    pub(super) plan: Option<Plan>,
    /// The sequence behind which events of its key are missing, where it was not waited for them any longer.
    pub(super) gap_after: Option<u64>,
}

/// What became of a run.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The effect is durable.
    Handled,
    /// It is a dead letter. A plan that was written down is resumed when it is replayed.
    DeadLettered { plan: Option<Plan> },
    /// Not now. A plan that was written down is resumed next time.
    Postponed { error: DeliveryError, plan: Option<Plan> },
    /// A replay failed; the dead letter stays.
    ReplayFailed { reason: String, plan: Option<Plan> },
}

/// What the actor has to do next.
#[derive(Debug)]
pub(super) enum Step {
    Run(Job),
    /// Run one that is kept, for which nobody takes up room yet.
    RunKept(Job),
    /// Give it back to the desk after the pause that follows so many failures.
    RunLater {
        job: Job,
        failures: u32,
    },
    /// Tell the desk when the lane's reorder buffer has waited long enough.
    Watch {
        lane: OrderKey,
        watch: u64,
    },
    /// Tell the desk after this long, so that it looks at all that is kept.
    Look {
        look: u64,
        after: Duration,
    },
}

#[derive(Default)]
struct Lane {
    running: bool,
    queue: Queue,
    /// The sequence of the last event that was queued or runs.
    tail: Option<u64>,
    /// Events that came before their predecessor, by sequence and id.
    early: BTreeMap<(u64, u128), Job>,
    /// The timer that counts; older ones are void.
    watch: u64,
    watched: bool,
}

/// What there is to do after a look at the desk: as a rule one thing, or nothing.
pub(super) type Steps = SmallVec<[Step; 1]>;

/// A subscription's events between arrival and answer.
pub(super) struct Desk {
    index: Index,
    lanes: KeyMap<OrderKey, Lane>,
    replies: KeyMap<u128, SmallVec<[Reply; 1]>>,
    limits: Limits,
    waiting: Waiting,
    shelf: Shelf,
    /// When all that is kept is looked at next, and which look that is; older ones are void.
    look: (Option<Timestamp>, u64),
    /// Whether nothing is run any more.
    refuses: bool,
}

/// What the desk goes by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// How many events of one key may wait for an earlier one.
    pub(super) reorder_capacity: usize,
    /// How long they wait before they are kept; what is kept is looked at no more often either.
    pub(super) reorder_timeout: Duration,
    /// How many may be kept.
    pub(super) room: Room,
    /// How long the first of a key that was never seen waits for the one before it.
    pub(super) unseen_timeout: Duration,
    /// How long an event waits for the one before it where its key was seen.
    pub(super) gap_timeout: Duration,
}

/// Where an event stands in its lane.
enum Standing {
    Next,
    /// It was handled, as far as its key's sequence tells: so long ago that its id is forgotten.
    Passed,
    Early,
    /// It was waited for in vain, and later ones were handled since.
    Late,
    /// It was never seen, and its key's sequence is past it.
    Taken,
}

/// Why an event that was waited for in vain is not handled any more.
const LATE: &str = "it came when a later event of its key had been handled, which had waited for it as long as may be; \
                    whether its effect is still wanted, only somebody who looks at it can tell";

/// Why an event is not replayed.
const KEPT: &str = "it is kept, and is handled after the event before it";

/// Why an event whose place in its key was given to another is not handled.
const TAKEN: &str = "another event has its sequence, or a later one was handled before it, and it was never handled itself: \
                     its publisher may have been restored from a backup; whether its effect is wanted, only somebody who \
                     looks at it can tell";

impl Desk {
    pub(super) fn new(index: Index, limits: Limits) -> Self {
        Self {
            index,
            lanes: KeyMap::default(),
            replies: KeyMap::default(),
            limits,
            waiting: Waiting::default(),
            shelf: Shelf::new(limits.room),
            look: (None, 0),
            refuses: false,
        }
    }

    /// Takes an event in.
    pub(super) fn admit(&mut self, arrival: Arrival, now: Timestamp) -> Steps {
        let Arrival { event, lane, envelope, manner, reply } = arrival;
        if planted(Fault::DuplicatesRun) {
            self.replies.entry(event).or_default().push(reply);
            return smallvec![Step::Run(Job { event, lane, envelope, manner, plan: None, gap_after: None })];
        }
        if let Some(waiting) = self.replies.get_mut(&event) {
            // A duplicate of one under way waits for what becomes of the first. Who has given up makes room for it, or one
            // event that is brought again and again would take up all there is.
            waiting.retain(|waiting| !waiting.is_given_up());
            waiting.push(reply);
            return Steps::new();
        }
        if self.shelf.holds(event) {
            reply.give(if manner.replay { Err(again(KEPT)) } else { Ok(()) });
            return Steps::new();
        }
        if self.is_done(event, &manner) {
            reply.give(Ok(()));
            return Steps::new();
        }
        if planted(Fault::AcknowledgedBeforeEffect) {
            reply.give(Ok(()));
        } else {
            self.replies.insert(event, smallvec![reply]);
        }
        let plan = self.index.open_plan(event);
        self.place(Job { event, lane, envelope, manner, plan, gap_after: None }, now)
    }

    /// How many keys wait for an event for so long that somebody should know.
    pub(super) fn stalled(&self) -> usize {
        self.waiting.stalled()
    }

    fn is_done(&self, event: u128, manner: &Manner) -> bool {
        match self.index.seen(event) {
            Some(Seen::Handled) => true,
            Some(Seen::DeadLettered) => !manner.replay,
            None => false,
        }
    }

    fn place(&mut self, job: Job, now: Timestamp) -> Steps {
        let key = job.lane;
        match self.standing(&job) {
            Standing::Next => self.line_up(job),
            Standing::Passed => self.pass(&job),
            Standing::Late => self.line_up(unwanted(job, LATE)),
            Standing::Taken => self.line_up(unwanted(job, TAKEN)),
            Standing::Early if self.shelf.holds(job.event) => self.set_early(job),
            Standing::Early => return self.take_early(job, now),
        }
        self.advance(key, now)
    }

    /// The order rule: an event runs when its predecessor is handled and itself is not.
    fn standing(&self, job: &Job) -> Standing {
        let Some((previous, sequence)) = place_of(&job.envelope).filter(|_| !job.manner.replay) else {
            return Standing::Next;
        };
        if planted(Fault::OrderUnchecked) {
            return Standing::Next;
        }
        match self.tail(job.lane) {
            Some(tail) if sequence <= tail && self.index.is_missing(job.lane, sequence) => Standing::Late,
            Some(tail) if sequence <= tail && self.index.would_know(job.envelope.time) => Standing::Taken,
            Some(tail) if sequence <= tail => Standing::Passed,
            tail if previous <= tail.unwrap_or(0) => Standing::Next,
            // A broker that keeps the order would not bring the predecessor later.
            tail if job.manner.in_order => {
                if tail.is_some() {
                    tracing::warn!(event = %job.envelope.id, previous, ?tail, "an event before this one never came");
                }
                Standing::Next
            }
            _ => Standing::Early,
        }
    }

    fn tail(&self, key: OrderKey) -> Option<u64> {
        self.lanes.get(&key).and_then(|lane| lane.tail).or_else(|| self.index.last(key))
    }

    /// Takes an event for a duplicate by its sequence alone.
    fn pass(&mut self, job: &Job) {
        let Envelope { id, source, sequence, .. } = &*job.envelope;
        metrics::counter!("annals_bus_passed_total").increment(1);
        tracing::debug!(%id, %source, sequence, "the event is older than ids are remembered, and its sequence has passed");
        self.shelf.done(job.event);
        self.answer(job.event, &Ok(()));
    }

    fn line_up(&mut self, job: Job) {
        let tail = self.tail(job.lane);
        let lane = self.lanes.entry(job.lane).or_default();
        if let Some((_, sequence)) = place_of(&job.envelope).filter(|_| !job.manner.replay) {
            // One that comes late does not move it back.
            if tail.is_none_or(|tail| tail < sequence) {
                lane.tail = Some(sequence);
                self.waiting.end(job.lane);
            }
        }
        lane.queue.push_back(job);
    }

    /// Lines up what is no longer early, and starts the lane's next event.
    fn advance(&mut self, key: OrderKey, now: Timestamp) -> Steps {
        self.release_early(key);
        let Some(lane) = self.lanes.get_mut(&key) else { return Steps::new() };
        let mut steps = Steps::new();
        if !lane.running {
            if let Some(job) = lane.queue.pop_front() {
                lane.running = true;
                steps.push(if self.shelf.holds(job.event) { Step::RunKept(job) } else { Step::Run(job) });
            } else if lane.early.is_empty() {
                self.lanes.remove(&key);
                return steps;
            }
        }
        steps.extend(self.watch(key, now));
        steps
    }

    /// Sends back everything that does not run yet.
    pub(super) fn refuse(&mut self) {
        self.refuses = true;
        self.shelf.refuse();
        let mut waiting = Vec::new();
        for lane in self.lanes.values_mut() {
            waiting.extend(lane.queue.take_all().chain(std::mem::take(&mut lane.early).into_values()));
        }
        for job in waiting {
            // What is kept is there again at the next start.
            self.answer(job.event, &Err(DeliveryError::Stopping));
        }
    }

    /// How many ids of events without a sequence were forgotten before their time.
    pub(super) fn take_forgot_early(&mut self) -> u64 {
        self.index.take_forgot_early()
    }

    /// Forgets ids that are too old, also where nothing happens; gives what it knows to whoever tidies the inbox up.
    pub(super) fn index_at(&mut self, now: Timestamp) -> &Index {
        self.index.forget_old(now);
        &self.index
    }

    /// Where plans stand that were carried on, of those that are still open.
    pub(super) fn plans_moved(&mut self, plans: Vec<(u128, Version)>) {
        for (event, version) in plans {
            if self.index.open_plan(event).is_some() {
                self.index.plan(event, version);
            }
        }
    }

    /// Takes note of what became of a run.
    pub(super) fn finish(&mut self, job: &Job, outcome: Outcome, now: Timestamp) -> Steps {
        if let Outcome::Postponed { plan, .. } = &outcome
            && self.shelf.holds(job.event)
        {
            self.keep_plan(job.event, plan.clone());
            return self.put_off(job);
        }
        if let Some(lane) = self.lanes.get_mut(&job.lane) {
            lane.running = false;
        }
        match outcome {
            Outcome::Handled => self.settle(job, Seen::Handled, now),
            Outcome::DeadLettered { plan } => {
                self.keep_plan(job.event, plan);
                self.settle(job, Seen::DeadLettered, now);
            }
            Outcome::ReplayFailed { reason, plan } => {
                self.keep_plan(job.event, plan);
                self.answer(job.event, &Err(DeliveryError::Failed { reason }));
            }
            Outcome::Postponed { error, plan } => {
                self.keep_plan(job.event, plan);
                self.answer(job.event, &Err(error));
                self.clear(job.lane);
            }
        }
        self.advance(job.lane, now)
    }

    fn settle(&mut self, job: &Job, seen: Seen, now: Timestamp) {
        let place = place_of(&job.envelope).map(|(_, sequence)| (job.lane, sequence));
        self.index.settle(job.event, seen, place, now);
        self.index.handled_here(now);
        self.index.forget_old(now);
        self.shelf.done(job.event);
        self.answer(job.event, &Ok(()));
    }

    fn keep_plan(&mut self, event: u128, plan: Option<Plan>) {
        if let Some(plan) = plan {
            self.index.keep_plan(event, plan);
        }
    }

    /// Sends back what follows an event that was not handled, and must not overtake it. What is kept waits for it.
    fn clear(&mut self, key: OrderKey) {
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        lane.tail = None;
        let waiting = lane.queue.take_all().chain(std::mem::take(&mut lane.early).into_values());
        let (kept, others): (Vec<_>, Vec<_>) = waiting.partition(|job| self.shelf.holds(job.event));
        for job in kept {
            self.answer(job.event, &Ok(()));
            self.set_early(Job { gap_after: None, ..job });
        }
        self.send_back(others, "the event before it could not be handled yet");
    }

    fn send_back(&mut self, jobs: impl IntoIterator<Item = Job>, reason: &str) {
        for job in jobs {
            self.answer(job.event, &Err(again(reason)));
        }
    }

    fn answer(&mut self, event: u128, answer: &Result<(), DeliveryError>) {
        for reply in self.replies.remove(&event).into_iter().flatten() {
            reply.give(answer.clone());
        }
    }
}

impl Limits {
    fn longest_wait(&self) -> Duration {
        2 * self.gap_timeout.max(self.unseen_timeout)
    }
}

fn again(reason: &str) -> DeliveryError {
    DeliveryError::Again { reason: reason.into() }
}

/// One that is not handled any more, but kept for somebody to look at.
fn unwanted(job: Job, reason: &str) -> Job {
    Job { manner: Manner { fault: Some(reason.to_owned()), ..job.manner }, ..job }
}

/// The predecessor's sequence and its own, for events that have both.
fn place_of(envelope: &Envelope) -> Option<(u64, u64)> {
    Some((envelope.previous?, envelope.sequence?))
}

#[cfg(test)]
mod tests;
