//! The subscription's actor: owns the desk, starts runs, takes their outcomes. It never waits for anything itself.
//!
//! ractor gives it its task and its end. What there is to do it learns from the mailbox, all of it at once, so that events
//! that come together are started together.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use annals_persistence::{Timestamp, Version};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::{Semaphore, oneshot};

use super::desk::{Arrival, Desk, Job, Limits, Outcome, Room, Step, Steps};
use super::run::run;
use super::{Core, DeliveryError, SubscriptionOptions};
use crate::inbox::{Index, KeepError, Old, OrderKey, Restored, Writing};
use crate::mailbox::Mailbox;

/// How many runs share a task, at most. One that holds up its thread holds up the others of its task.
const RUNS_TOGETHER: usize = 32;

/// How many messages are taken before the tasks beside this one get a turn.
const REST_AFTER: usize = 64;

pub(super) enum Message {
    Arrived(Arrival),
    Finished(Job, Outcome),
    Overdue {
        lane: OrderKey,
        watch: u64,
    },
    /// It is time to look at all that is kept.
    Look(u64),
    /// One that is kept has paused after a failure.
    Again(Job),
    /// What became of a write of early events.
    Written(Writing, Result<Version, KeepError>),
    /// Nothing of early events is to stay in the journal that is not needed.
    Tidy,
    /// Answers with what of old records still counts.
    Weigh(Box<(Old, oneshot::Sender<Old>)>),
    /// Plans stand elsewhere now.
    PlansMoved(Vec<(u128, Version)>),
    /// The subscription is to stop.
    Refuse,
}

/// What the actor is told when it starts, and nothing after it.
pub(super) struct Serve;

pub(super) struct SubscriptionActor;

/// What the actor begins with.
pub(super) struct Arguments {
    pub(super) core: Arc<Core>,
    pub(super) mailbox: Arc<Mailbox<Message>>,
    /// The places of kept events that run.
    pub(super) room: Arc<Semaphore>,
    pub(super) index: Index,
    pub(super) restored: Restored,
}

pub(super) struct State {
    core: Arc<Core>,
    mailbox: Arc<Mailbox<Message>>,
    room: Arc<Semaphore>,
    desk: Desk,
    /// What an earlier run has kept, until the first turn.
    restored: Restored,
    /// What was taken from the mailbox; empty between two turns, and kept for its room.
    taken: Vec<Message>,
    /// The events to run after this turn, likewise.
    jobs: Vec<Job>,
    /// Whether it was said that ids are forgotten before their time.
    forgets: bool,
}

impl Drop for State {
    fn drop(&mut self) {
        // However it ended: nobody may wait for an actor that is gone.
        self.mailbox.close();
    }
}

impl Actor for SubscriptionActor {
    type Msg = Serve;
    type State = State;
    type Arguments = Arguments;

    async fn pre_start(
        &self,
        _myself: ActorRef<Serve>,
        Arguments { core, mailbox, room, index, restored }: Arguments,
    ) -> Result<State, ActorProcessingErr> {
        let desk = Desk::new(index, Limits::of(&core.options));
        let (taken, jobs) = (Vec::new(), Vec::new());
        Ok(State { core, mailbox, room, desk, restored, taken, jobs, forgets: false })
    }

    async fn handle(
        &self,
        myself: ActorRef<Serve>,
        Serve: Serve,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        state.restore();
        let mut since_rest = 0;
        while state.mailbox.take(&mut state.taken).await {
            since_rest += state.taken.len();
            state.turn();
            if since_rest >= REST_AFTER {
                // Those whom it has given something to do get their turn.
                since_rest = 0;
                tokio::task::yield_now().await;
            }
        }
        myself.stop(None);
        Ok(())
    }
}

impl State {
    /// Goes on with what an earlier run has kept.
    fn restore(&mut self) {
        let restored = std::mem::take(&mut self.restored);
        let steps = self.desk.restore(restored, self.core.clock.now());
        steps.into_iter().for_each(|step| self.take(step));
        self.turn();
    }

    /// Does what was taken from the mailbox.
    fn turn(&mut self) {
        let mut taken = std::mem::take(&mut self.taken);
        for message in taken.drain(..) {
            for step in self.step(message) {
                self.take(step);
            }
        }
        self.taken = taken;
        self.write();
        self.report_waiting();
        self.report_forgotten();
        self.start_runs();
    }

    /// Writes what is to be kept, together what came together.
    fn write(&mut self) {
        let Some(writing) = self.desk.next_write() else { return };
        let (core, mailbox) = (Arc::clone(&self.core), Arc::clone(&self.mailbox));
        tokio::spawn(async move {
            let written = core.early.write(&writing).await;
            // A subscription that is gone reads what is there at its next start.
            drop(mailbox.put(Message::Written(writing, written)));
        });
    }

    fn step(&mut self, message: Message) -> Steps {
        let now = self.core.clock.now();
        match message {
            Message::Arrived(arrival) => return self.desk.admit(arrival, now),
            Message::Finished(job, outcome) => return self.desk.finish(&job, outcome, now),
            Message::Overdue { lane, watch } => return self.desk.overdue(lane, watch, now),
            Message::Look(look) => return self.desk.look(look, now),
            Message::Again(job) => return self.desk.again(job),
            Message::Written(writing, written) => {
                return self.desk.written(writing, written.map_err(|error| error.to_string()), now);
            }
            Message::Tidy => self.desk.tidy(),
            Message::Weigh(asked) => self.weigh(*asked, now),
            Message::PlansMoved(plans) => self.desk.plans_moved(plans),
            Message::Refuse => self.desk.refuse(),
        }
        Steps::new()
    }

    fn weigh(&mut self, (mut old, reply): (Old, oneshot::Sender<Old>), now: Timestamp) {
        old.keep_only(self.desk.index_at(now));
        // Whoever has asked may be gone.
        drop(reply.send(old));
    }

    fn report_waiting(&self) {
        self.report(&self.core.stalled, self.desk.stalled(), "annals_bus_keys_stalled");
        self.report(&self.core.kept, self.desk.kept(), "annals_bus_events_kept");
    }

    fn report(&self, shown: &AtomicUsize, now: usize, gauge: &'static str) {
        if shown.swap(now, Ordering::Relaxed) != now {
            #[expect(clippy::cast_precision_loss, reason = "a gauge is a float; both are bounded")]
            metrics::gauge!(gauge, "subscription" => self.core.name.to_string()).set(now as f64);
        }
    }

    /// Counts what was forgotten too early, and says once that duplicates are not sure to be known any more.
    fn report_forgotten(&mut self) {
        let forgotten = self.desk.take_forgot_early();
        if forgotten == 0 {
            return;
        }
        let name = self.core.name.to_string();
        metrics::counter!("annals_bus_ids_forgotten_early_total", "subscription" => name)
            .increment(forgotten);
        if !std::mem::replace(&mut self.forgets, true) {
            let SubscriptionOptions { remember, remember_max, .. } = self.core.options;
            tracing::warn!(
                subscription = %self.core.name, remember_max, ?remember,
                "more events without a sequence are handled than ids may be remembered; a later duplicate runs again"
            );
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Run(job) => self.jobs.push(job),
            Step::RunKept(job) => {
                let (core, room) = (Arc::clone(&self.core), Arc::clone(&self.room));
                tokio::spawn(run_kept(core, room, job, Arc::clone(&self.mailbox)));
            }
            Step::RunLater { job, failures } => {
                tokio::spawn(run_later(Arc::clone(&self.core), job, failures, Arc::clone(&self.mailbox)));
            }
            Step::Watch { lane, watch } => {
                self.remind(self.core.options.reorder_timeout, Message::Overdue { lane, watch });
            }
            Step::Look { look, after } => self.remind(after, Message::Look(look)),
        }
    }

    fn remind(&self, after: Duration, message: Message) {
        let (patience, mailbox) = (self.core.clock.sleep(after), Arc::clone(&self.mailbox));
        tokio::spawn(async move {
            patience.await;
            // A subscription that is gone has nothing early.
            drop(mailbox.put(message));
        });
    }

    /// Starts the runs of this turn: shared out, so that every thread of the runtime gets some, and together where there
    /// are many, which costs less than a task for each.
    fn start_runs(&mut self) {
        let threads = tokio::runtime::Handle::current().metrics().num_workers().max(1);
        let share = self.jobs.len().div_ceil(threads).clamp(1, RUNS_TOGETHER);
        while !self.jobs.is_empty() {
            let together = self.jobs.drain(..share.min(self.jobs.len())).collect();
            tokio::spawn(run_all(Arc::clone(&self.core), together, Arc::clone(&self.mailbox)));
        }
    }
}

impl Limits {
    fn of(options: &SubscriptionOptions) -> Self {
        Self {
            reorder_capacity: options.reorder_capacity,
            reorder_timeout: options.reorder_timeout,
            room: Room { events: options.kept_max, bytes: options.kept_bytes_max },
            unseen_timeout: options.unseen_timeout,
            gap_timeout: options.gap_timeout,
        }
    }
}

/// Runs events of different keys beside one another, and reports each as it ends.
async fn run_all(core: Arc<Core>, jobs: Vec<Job>, mailbox: Arc<Mailbox<Message>>) {
    let mut running: FuturesUnordered<_> = jobs.into_iter().map(|job| run_one(&core, job)).collect();
    while let Some((job, outcome)) = running.next().await {
        // A subscription that is gone has told its broker by dropping the reply.
        drop(mailbox.put(Message::Finished(job, outcome)));
    }
}

/// Runs an event that is kept. Nobody who has brought it holds a place for it, so it takes one of those that are for them.
async fn run_kept(core: Arc<Core>, room: Arc<Semaphore>, job: Job, mailbox: Arc<Mailbox<Message>>) {
    let place = room.acquire().await;
    let (job, outcome) = if place.is_err() || core.is_stopping() {
        (job, Outcome::Postponed { error: DeliveryError::Stopping, plan: None })
    } else {
        run_one(&core, job).await
    };
    // A subscription that is gone finds it in the journal at its next start.
    drop(mailbox.put(Message::Finished(job, outcome)));
}

/// Gives an event that is kept back after a pause.
async fn run_later(core: Arc<Core>, job: Job, failures: u32, mailbox: Arc<Mailbox<Message>>) {
    let (subscription, event) = (&core.name, &job.envelope.id);
    tracing::warn!(%subscription, %event, failures, "an event that is kept could not be handled; it is tried again");
    if !core.pause(core.options.retry.pause(failures)).await {
        drop(mailbox.put(Message::Again(job)));
    }
}

async fn run_one(core: &Core, job: Job) -> (Job, Outcome) {
    let outcome = AssertUnwindSafe(run(core, &job)).catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!(subscription = %core.name, event = %job.envelope.id, "the subscription panicked over an event");
        Outcome::Postponed { error: DeliveryError::Again { reason: "the subscription panicked".into() }, plan: None }
    });
    (job, outcome)
}
