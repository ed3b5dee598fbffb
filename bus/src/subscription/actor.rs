//! The subscription's actor: owns the desk, starts runs, takes their outcomes. It never waits for anything itself.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use annals_persistence::Version;
use futures_util::FutureExt;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;

use super::desk::{Arrival, Desk, Job, Limits, Outcome, Step};
use super::run::run;
use super::{Core, DeliveryError, SubscriptionOptions};
use crate::inbox::{Index, Old, OrderKey};

pub(super) enum Message {
    Arrived(Box<Arrival>),
    Finished(Box<(Job, Outcome)>),
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

pub(super) struct SubscriptionActor;

pub(super) struct State {
    core: Arc<Core>,
    desk: Desk,
    /// Whether it was said that ids are forgotten before their time.
    forgets: bool,
}

impl Actor for SubscriptionActor {
    type Msg = Message;
    type State = State;
    type Arguments = (Arc<Core>, Index);

    async fn pre_start(
        &self,
        _myself: ActorRef<Message>,
        (core, index): Self::Arguments,
    ) -> Result<State, ActorProcessingErr> {
        let SubscriptionOptions { reorder_capacity, unseen_timeout, gap_timeout, .. } = core.options;
        let desk = Desk::new(index, Limits { reorder_capacity, unseen_timeout, gap_timeout });
        Ok(State { core, desk, forgets: false })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let steps = match message {
            Message::Arrived(arrival) => state.desk.admit(*arrival, state.core.clock.now()),
            Message::Finished(finished) => {
                let (job, outcome) = *finished;
                let steps = state.desk.finish(&job, outcome, state.core.clock.now());
                state.report_forgotten();
                steps
            }
            Message::Overdue { lane, watch } => state.desk.overdue(lane, watch, state.core.clock.now()),
            Message::Weigh(asked) => {
                let (mut old, reply) = *asked;
                old.keep_only(state.desk.index_at(state.core.clock.now()));
                state.report_forgotten();
                // Whoever has asked may be gone.
                drop(reply.send(old));
                Vec::new()
            }
            Message::PlansMoved(plans) => {
                state.desk.plans_moved(plans);
                Vec::new()
            }
            Message::Refuse => {
                state.desk.refuse();
                Vec::new()
            }
        };
        state.core.stalled.store(state.desk.stalled(), Ordering::Relaxed);
        for step in steps {
            state.take(step, myself.clone());
        }
        Ok(())
    }
}

impl State {
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

    fn take(&self, step: Step, actor: ActorRef<Message>) {
        match step {
            Step::Run(job) => {
                tokio::spawn(run_and_report(Arc::clone(&self.core), job, actor));
            }
            Step::Watch { lane, watch } => {
                let patience = self.core.clock.sleep(self.core.options.reorder_timeout);
                tokio::spawn(async move {
                    patience.await;
                    // A subscription that is gone has nothing early.
                    drop(actor.send_message(Message::Overdue { lane, watch }));
                });
            }
        }
    }
}

async fn run_and_report(core: Arc<Core>, job: Job, actor: ActorRef<Message>) {
    let outcome = AssertUnwindSafe(run(&core, &job)).catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!(subscription = %core.name, event = %job.envelope.id, "the subscription panicked over an event");
        Outcome::Postponed { error: DeliveryError::Again { reason: "the subscription panicked".into() }, plan: None }
    });
    // A subscription that is gone has told its broker by dropping the reply.
    drop(actor.send_message(Message::Finished(Box::new((job, outcome)))));
}
