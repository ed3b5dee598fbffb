//! The subscription's actor: owns the desk, starts runs, takes their outcomes. It never waits for anything itself.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::FutureExt;
use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::desk::{Arrival, Desk, Job, Limits, Outcome, Step};
use super::run::run;
use super::{Core, DeliveryError, SubscriptionOptions};
use crate::inbox::{Index, OrderKey};

pub(super) enum Message {
    Arrived(Box<Arrival>),
    Finished(Box<(Job, Outcome)>),
    Overdue {
        lane: OrderKey,
        watch: u64,
    },
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
            Message::Refuse => {
                state.desk.refuse();
                Vec::new()
            }
        };
        let stalled = state.desk.stalled();
        if state.core.stalled.swap(stalled, Ordering::Relaxed) != stalled {
            #[expect(
                clippy::cast_precision_loss,
                reason = "a gauge is a float; no more than 65,536 keys are waited with"
            )]
            metrics::gauge!("annals_bus_keys_stalled", "subscription" => state.core.name.to_string())
                .set(stalled as f64);
        }
        for step in steps {
            state.take(step, myself.clone());
        }
        Ok(())
    }
}

impl State {
    /// Says once that duplicates are not sure to be known any more.
    fn report_forgotten(&mut self) {
        if self.desk.take_forgot_early() && !std::mem::replace(&mut self.forgets, true) {
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
