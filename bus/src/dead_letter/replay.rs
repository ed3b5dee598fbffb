//! Replaying dead letters through their subscription.

use std::sync::Arc;

use super::{DeadLetter, DeadLetterError, DeadLetterId};
use crate::Envelope;
use crate::subscription::{DeliveryError, Inlet};

/// A running service's dead letters.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    inlets: Arc<[Arc<Inlet>]>,
    journal: Arc<dyn annals_persistence::Journal>,
}

/// What came of replaying several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReplaySummary {
    /// How many were handled.
    pub handled: usize,
    /// How many failed again and stay dead letters.
    pub failed: usize,
}

impl DeadLetters {
    pub(crate) fn new(inlets: Arc<[Arc<Inlet>]>, journal: Arc<dyn annals_persistence::Journal>) -> Self {
        Self { inlets, journal }
    }

    /// Every unresolved dead letter, by subscription, oldest first.
    ///
    /// # Errors
    /// [`DeadLetterError`] when the journal cannot be read.
    pub async fn list(&self) -> Result<Vec<DeadLetter>, DeadLetterError> {
        super::dead_letters(&self.journal).await
    }

    /// Runs a dead letter's event again, once, though later events of its key may have been handled. Handled, it is
    /// a dead letter no more; failed, it stays one with the new reason.
    ///
    /// # Errors
    /// [`DeadLetterError`] when it is not there, cannot be run, or fails again.
    pub async fn replay(&self, id: DeadLetterId) -> Result<(), DeadLetterError> {
        let found = self.list().await?.into_iter().find(|letter| letter.id == id);
        self.run(found.ok_or(DeadLetterError::NotFound { id })?).await
    }

    /// Runs every dead letter's event again, oldest first in each subscription.
    ///
    /// # Errors
    /// [`DeadLetterError`] when the list cannot be read or an outcome cannot be recorded; events that fail again
    /// are counted instead.
    pub async fn replay_all(&self) -> Result<ReplaySummary, DeadLetterError> {
        let mut summary = ReplaySummary::default();
        for letter in self.list().await? {
            match self.run(letter).await {
                Ok(()) => summary.handled += 1,
                Err(DeadLetterError::Delivery(_) | DeadLetterError::NoSubscription { .. }) => {
                    summary.failed += 1
                }
                Err(error) => return Err(error),
            }
        }
        Ok(summary)
    }

    async fn run(&self, letter: DeadLetter) -> Result<(), DeadLetterError> {
        let inlet = self.inlets.iter().find(|inlet| **inlet.name() == *letter.subscription).cloned();
        let Some(inlet) = inlet else {
            return Err(DeadLetterError::NoSubscription { subscription: letter.subscription });
        };
        // A task of its own, so that the outcome is recorded also when the caller goes away meanwhile.
        let running = tokio::spawn(run_and_record(inlet, letter));
        running.await.unwrap_or_else(|error| Err(DeadLetterError::NotRecorded { reason: error.to_string() }))
    }
}

async fn run_and_record(inlet: Arc<Inlet>, letter: DeadLetter) -> Result<(), DeadLetterError> {
    let delivered = match Envelope::from_json(letter.event.get().as_bytes(), &letter.topic) {
        Ok(envelope) => inlet.replay(Arc::new(envelope)).await,
        Err(error) => Err(DeliveryError::Failed { reason: error.to_string() }),
    };
    match delivered {
        Ok(()) => inlet.letters().replayed(letter.id, None).await,
        Err(DeliveryError::Failed { reason }) => {
            inlet.letters().replayed(letter.id, Some(reason.clone())).await?;
            Err(DeadLetterError::Delivery(DeliveryError::Failed { reason }))
        }
        // It was not tried, so there is nothing to record.
        Err(error) => Err(DeadLetterError::Delivery(error)),
    }
}
