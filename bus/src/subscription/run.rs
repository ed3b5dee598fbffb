//! One event: its attempts, and the dead letter that it becomes when all have failed.

use std::sync::Arc;

use annals_persistence::planted::{Fault, planted};
use annals_persistence::{AppendError, Timestamp};
use metrics::Counter;
use tracing::Instrument;

use super::desk::{Job, Outcome};
use super::effect::Effect;
use super::{Core, DeliveryError};
use crate::dead_letter::Fate;
use crate::handler::Delivery;
use crate::inbox::{Plan, RecordError};
use crate::{Envelope, HandlerError, Reaction};

/// Why an attempt failed.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// Another attempt may succeed.
    Again(String),
    /// None ever will.
    Never(String),
    /// The service is going down: no fault of the event's.
    Stopping,
}

impl From<HandlerError> for Failure {
    fn from(error: HandlerError) -> Self {
        match error {
            HandlerError::Retry { reason } => Self::Again(reason),
            HandlerError::Poison { reason } => Self::Never(reason),
        }
    }
}

/// Runs an event to its end.
pub(super) async fn run(core: &Core, job: &Job) -> Outcome {
    let envelope = &job.envelope;
    let span = tracing::info_span!(
        "handle_event",
        subscription = %core.name,
        topic = %envelope.topic,
        event_id = %envelope.id,
        source = %envelope.source,
        subject = envelope.subject.as_deref(),
        sequence = envelope.sequence,
        position = envelope.position.map(|position| position.0),
        correlation_id = %envelope.correlation(),
        // The id of the trace that the event came with; the commands that it causes carry it on.
        trace_id = envelope.trace_id(),
    );
    let handled = async {
        let outcome = Run::new(core, job).finish().await;
        core.counted.count(&outcome);
        outcome
    };
    handled.instrument(span).await
}

/// How many events became what, for whoever watches.
pub(crate) struct Counted {
    handled: Counter,
    dead_lettered: Counter,
    postponed: Counter,
    replay_failed: Counter,
}

impl Counted {
    pub(crate) fn new(subscription: &str) -> Self {
        let of = |word: &'static str| {
            let subscription = subscription.to_owned();
            metrics::counter!("annals_bus_handled_total", "subscription" => subscription, "outcome" => word)
        };
        Self {
            handled: of("handled"),
            dead_lettered: of("dead_letter"),
            postponed: of("postponed"),
            replay_failed: of("replay_failed"),
        }
    }

    fn count(&self, outcome: &Outcome) {
        let (word, counter) = match outcome {
            Outcome::Handled => ("handled", &self.handled),
            Outcome::DeadLettered { .. } => ("dead_letter", &self.dead_lettered),
            Outcome::Postponed { .. } => ("postponed", &self.postponed),
            Outcome::ReplayFailed { .. } => ("replay_failed", &self.replay_failed),
        };
        tracing::debug!(outcome = word, "the event was run");
        counter.increment(1);
    }
}

struct Run<'a> {
    core: &'a Core,
    job: &'a Job,
    first_time: Timestamp,
    attempts: u32,
    effect: Option<Effect<'a>>,
}

impl<'a> Run<'a> {
    fn new(core: &'a Core, job: &'a Job) -> Self {
        Self { core, job, first_time: core.clock.now(), attempts: 0, effect: None }
    }

    async fn finish(mut self) -> Outcome {
        loop {
            self.attempts += 1;
            match self.attempt().await {
                Ok(()) => return Outcome::Handled,
                Err(_) if planted(Fault::FailedTakenForHandled) => return Outcome::Handled,
                Err(Failure::Stopping) => return self.postponed(DeliveryError::Stopping),
                Err(Failure::Never(reason)) => return self.failed(reason).await,
                Err(Failure::Again(reason)) => {
                    *self.core.last_error.lock() = Some(reason.clone());
                    if self.job.manner.replay || self.attempts >= self.core.options.retry.attempts {
                        return self.failed(reason).await;
                    }
                    if self.wait(&reason).await {
                        return self.postponed(DeliveryError::Stopping);
                    }
                }
            }
        }
    }

    async fn attempt(&mut self) -> Result<(), Failure> {
        if let Some(fault) = &self.job.manner.fault {
            return Err(Failure::Never(fault.clone()));
        }
        if self.effect.is_none() {
            self.effect = Some(self.effect().await?);
        }
        match &mut self.effect {
            Some(effect) => effect.carry_out().await,
            None => Ok(()),
        }
    }

    /// What is to be done: what was written down by an earlier run, or else what the handler says.
    async fn effect(&self) -> Result<Effect<'a>, Failure> {
        if let Some(plan) = &self.job.plan {
            return Effect::resumed(self.core, self.job, plan).await;
        }
        Ok(Effect::new(self.core, self.job, self.react().await?.into_errands()?))
    }

    async fn react(&self) -> Result<Reaction, Failure> {
        let delivery = Delivery {
            envelope: Arc::clone(&self.job.envelope),
            subscription: Arc::clone(&self.core.name),
            attempt: self.attempts,
            replay: self.job.manner.replay,
            proven: self.job.manner.proven,
        };
        let limit = self.core.options.handler_timeout;
        tokio::select! {
            biased;
            reaction = self.core.handler.run(&delivery) => Ok(reaction?),
            // Not even begun where the handler answers at once.
            () = async { self.core.clock.sleep(limit).await } => Err(Failure::Again(format!("the handler took longer than {limit:?}"))),
        }
    }

    /// Waits for the next attempt; whether the subscription is to stop instead.
    async fn wait(&self, reason: &str) -> bool {
        metrics::counter!("annals_bus_retries_total", "subscription" => self.core.name.to_string())
            .increment(1);
        tracing::warn!(attempt = self.attempts, reason, "the event is tried again later");
        self.core.pause(self.core.options.retry.pause(self.attempts)).await
    }

    fn postponed(&self, error: DeliveryError) -> Outcome {
        Outcome::Postponed { error, plan: self.durable_plan() }
    }

    /// The plan that is not carried out, so that the next run goes on with it.
    fn durable_plan(&self) -> Option<Plan> {
        self.effect.as_ref().map_or_else(|| self.job.plan.clone(), Effect::durable_plan)
    }

    /// All attempts are used up, or none can help.
    async fn failed(self, reason: String) -> Outcome {
        *self.core.last_error.lock() = Some(reason.clone());
        let plan = self.durable_plan();
        if self.job.manner.replay {
            return Outcome::ReplayFailed { reason, plan };
        }
        if planted(Fault::PoisonDropped) {
            return Outcome::DeadLettered { plan };
        }
        let dead_letter = self.core.letters.id_of(&self.job.envelope);
        tracing::error!(%dead_letter, attempts = self.attempts, reason, "the event becomes a dead letter");
        match self.bury(reason).await {
            Ok(()) => Outcome::DeadLettered { plan },
            Err(reason) => self.postponed(DeliveryError::Again { reason }),
        }
    }

    /// Writes the dead letter and the inbox record, both or neither.
    async fn bury(&self, reason: String) -> Result<(), String> {
        let fate = Fate {
            reason,
            attempts: self.attempts,
            first_time: self.first_time,
            last_time: self.core.clock.now(),
        };
        match self.write_letter(&self.job.envelope, fate.clone()).await {
            // No journal takes it, today or later: what is known of it is kept, or it would keep its key up for ever.
            Err(LetterError::Record(RecordError::Append(AppendError::Invalid { reason: limit }))) => {
                let reason = format!("{}; its content is not kept: {limit}", fate.reason);
                let shell = Envelope { data: None, ..Envelope::clone(&self.job.envelope) };
                self.write_letter(&shell, Fate { reason, ..fate }).await
            }
            written => written,
        }
        .map_err(|error| error.to_string())?;
        metrics::counter!("annals_bus_dead_letters_total", "subscription" => self.core.name.to_string())
            .increment(1);
        Ok(())
    }

    async fn write_letter(&self, envelope: &Envelope, fate: Fate) -> Result<(), LetterError> {
        let letter = self.core.letters.append_of(envelope, fate).map_err(LetterError::Letter)?;
        let record =
            self.core.inbox.dead_lettered(envelope, self.job.gap_after).map_err(RecordError::from)?;
        self.core.inbox.write([letter, record]).await?;
        Ok(())
    }
}

/// Why a dead letter was not written.
#[derive(Debug, thiserror::Error)]
enum LetterError {
    #[error("{0}")]
    Letter(String),
    #[error(transparent)]
    Record(#[from] RecordError),
}
