//! The subscription's actor: owns the desk, starts runs, takes their outcomes. It never waits for anything itself.
//!
//! ractor gives it its task and its end. What there is to do it learns from the mailbox, all of it at once, so that events
//! that come together are started together.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use annals_persistence::{Timestamp, Version};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;

use super::desk::{Arrival, Desk, Job, Limits, Outcome, Step, Steps};
use super::run::run;
use super::{Core, DeliveryError, SubscriptionOptions};
use crate::inbox::{Index, Old, OrderKey};
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

pub(super) struct State {
    core: Arc<Core>,
    mailbox: Arc<Mailbox<Message>>,
    desk: Desk,
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
    type Arguments = (Arc<Core>, Arc<Mailbox<Message>>, Index);

    async fn pre_start(
        &self,
        _myself: ActorRef<Serve>,
        (core, mailbox, index): Self::Arguments,
    ) -> Result<State, ActorProcessingErr> {
        let SubscriptionOptions { reorder_capacity, unseen_timeout, gap_timeout, .. } = core.options;
        let desk = Desk::new(index, Limits { reorder_capacity, unseen_timeout, gap_timeout });
        Ok(State { core, mailbox, desk, taken: Vec::new(), jobs: Vec::new(), forgets: false })
    }

    async fn handle(
        &self,
        myself: ActorRef<Serve>,
        Serve: Serve,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
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
    /// Does what was taken from the mailbox.
    fn turn(&mut self) {
        let mut taken = std::mem::take(&mut self.taken);
        for message in taken.drain(..) {
            for step in self.step(message) {
                self.take(step);
            }
        }
        self.taken = taken;
        self.report_stalled();
        self.report_forgotten();
        self.start_runs();
    }

    fn step(&mut self, message: Message) -> Steps {
        let now = self.core.clock.now();
        match message {
            Message::Arrived(arrival) => return self.desk.admit(arrival, now),
            Message::Finished(job, outcome) => return self.desk.finish(&job, outcome, now),
            Message::Overdue { lane, watch } => return self.desk.overdue(lane, watch, now),
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

    fn report_stalled(&self) {
        let stalled = self.desk.stalled();
        if self.core.stalled.swap(stalled, Ordering::Relaxed) != stalled {
            #[expect(
                clippy::cast_precision_loss,
                reason = "a gauge is a float; no more than 65,536 keys are waited with"
            )]
            metrics::gauge!("annals_bus_keys_stalled", "subscription" => self.core.name.to_string())
                .set(stalled as f64);
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
            Step::Watch { lane, watch } => {
                let patience = self.core.clock.sleep(self.core.options.reorder_timeout);
                let mailbox = Arc::clone(&self.mailbox);
                tokio::spawn(async move {
                    patience.await;
                    // A subscription that is gone has nothing early.
                    drop(mailbox.put(Message::Overdue { lane, watch }));
                });
            }
        }
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

/// Runs events of different keys beside one another, and reports each as it ends.
async fn run_all(core: Arc<Core>, jobs: Vec<Job>, mailbox: Arc<Mailbox<Message>>) {
    let mut running: FuturesUnordered<_> = jobs.into_iter().map(|job| run_one(&core, job)).collect();
    while let Some((job, outcome)) = running.next().await {
        // A subscription that is gone has told its broker by dropping the reply.
        drop(mailbox.put(Message::Finished(job, outcome)));
    }
}

async fn run_one(core: &Core, job: Job) -> (Job, Outcome) {
    let outcome = AssertUnwindSafe(run(core, &job)).catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!(subscription = %core.name, event = %job.envelope.id, "the subscription panicked over an event");
        Outcome::Postponed { error: DeliveryError::Again { reason: "the subscription panicked".into() }, plan: None }
    });
    (job, outcome)
}
