//! Replaying dead letters through their subscription.

use std::sync::Arc;

use annals_actors::Clock;
use annals_persistence::{Batch, Expected, Journal, JournalExt, StreamId};
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;

use super::ledger::{Ledger, Place};
use super::tidy::Tidied;
use super::unresolved::Unresolved;
use super::walk::{DeadLetterStream, walk};
use super::{DeadLetter, DeadLetterError, DeadLetterId, LetterEvent};
use crate::subscription::{DeliveryError, Inlet, unreadable};
use crate::{Envelope, record};

/// A running service's dead letters. Cloning is cheap; all clones share what they know of the journal.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    pub(super) inlets: Arc<[Arc<Inlet>]>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) unresolved: Arc<Mutex<Unresolved>>,
    clock: Arc<dyn Clock>,
}

/// What came of replaying several.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ReplaySummary {
    /// How many were handled.
    pub handled: usize,
    /// How many failed again and stay dead letters.
    pub failed: usize,
    /// How many were left out, since they may be done with ([`DeadLetterError::InDoubt`]).
    pub in_doubt: usize,
    /// What could not be read: there may be more of them.
    pub unread: Vec<DeadLetterError>,
}

impl ReplaySummary {
    /// With one more outcome.
    #[must_use]
    pub fn and(self, replayed: &Replayed) -> Self {
        match replayed.outcome {
            Ok(()) => Self { handled: self.handled + 1, ..self },
            Err(DeadLetterError::InDoubt { .. }) => Self { in_doubt: self.in_doubt + 1, ..self },
            Err(_) => Self { failed: self.failed + 1, ..self },
        }
    }
}

/// What putting a dead letter away found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Discarded {
    /// It was unresolved, and is put away now.
    Now,
    /// It was put away before.
    Before,
    /// It was handled before, by a replay.
    Handled,
}

/// What came of replaying one of several.
#[derive(Debug)]
#[non_exhaustive]
pub struct Replayed {
    /// The dead letter.
    pub id: DeadLetterId,
    /// Its subscription.
    pub subscription: String,
    /// Whether it was handled. With an error it stays a dead letter: it failed again, could not be tried, was not since it may
    /// be done with, or the service does not have its subscription any more.
    pub outcome: Result<(), DeadLetterError>,
}

/// Outcomes of replays, as they come, then an error for each record or stream that cannot be read. An outcome that cannot be
/// recorded ends it at once. Nothing is replayed faster than it is asked for, and the stream can be dropped at any time: the
/// replay under way is finished and recorded, no other is begun.
pub type ReplayStream = BoxStream<'static, Result<Replayed, DeadLetterError>>;

impl DeadLetters {
    pub(crate) fn new(inlets: Arc<[Arc<Inlet>]>, journal: Arc<dyn Journal>, clock: Arc<dyn Clock>) -> Self {
        let (ledger, unresolved) = (Arc::new(Ledger::new(journal)), Arc::default());
        Self { inlets, ledger, unresolved, clock }
    }

    /// Every unresolved dead letter, by subscription, oldest first, in memory all at once.
    ///
    /// # Errors
    /// [`DeadLetterError`] when some of the journal cannot be read; [`DeadLetters::stream`] has the others all the same.
    pub async fn list(&self) -> Result<Vec<DeadLetter>, DeadLetterError> {
        self.stream().try_collect().await
    }

    /// Every unresolved dead letter, one by one. What was read of the journal before is not read again to find them.
    #[must_use]
    pub fn stream(&self) -> DeadLetterStream {
        walk(Arc::clone(&self.ledger))
    }

    /// Runs a dead letter's event again, once, though later events of its key may have been handled. Handled, it is
    /// a dead letter no more; failed, it stays one with the new reason.
    ///
    /// # Errors
    /// [`DeadLetterError`] when it is not there, cannot be run, or fails again.
    pub async fn replay(&self, id: DeadLetterId) -> Result<(), DeadLetterError> {
        let (stream, place) = self.find(id).await?;
        let found = self.ledger.read(&stream, place).await?;
        self.run(found.ok_or(DeadLetterError::NotFound { id })?).await
    }

    /// Runs every dead letter's event again that is there when the first outcome is asked for, oldest first in each
    /// subscription: one outcome for each. One that is in doubt ([`DeadLetter::in_doubt`]) is not run: what was handled or put
    /// away would be handled again. What cannot be read comes last, as an error each; an outcome that cannot be recorded
    /// ends it early.
    #[must_use]
    pub fn replay_each(&self) -> ReplayStream {
        let begun = Some((self.clone(), self.stream()));
        stream::unfold(begun, async |state| {
            let (this, mut letters) = state?;
            match letters.next().await? {
                Err(unread) => Some((Err(unread), Some((this, letters)))),
                Ok(letter) => {
                    let replayed = this.run_one(letter).await;
                    let goes_on = replayed.is_ok();
                    Some((replayed, goes_on.then_some((this, letters))))
                }
            }
        })
        .boxed()
    }

    /// As [`DeadLetters::replay_each`], to its end.
    ///
    /// # Errors
    /// [`DeadLetterError`] when an outcome cannot be recorded. Events that fail again are counted instead, and what cannot be read
    /// is in the summary.
    pub async fn replay_all(&self) -> Result<ReplaySummary, DeadLetterError> {
        let (mut outcomes, mut summary) = (self.replay_each(), ReplaySummary::default());
        while let Some(replayed) = outcomes.next().await {
            match replayed {
                Ok(replayed) => summary = summary.and(&replayed),
                Err(error) if error.is_unread() => summary.unread.push(error),
                Err(error) => return Err(error),
            }
        }
        Ok(summary)
    }

    /// Puts a dead letter away that is never to be handled, such as one that cannot be read or whose subscription is no more.
    /// It is not handled from then on, but for a replay of it that is under way. The reason is kept as long as the letter: as
    /// all that is done with, they may go when the journal is tidied. One that is done with already stays as it is.
    ///
    /// # Errors
    /// [`DeadLetterError`] when there never was such a letter or nothing is left of it, or this could not be written down.
    pub async fn discard(
        &self,
        id: DeadLetterId,
        reason: Option<String>,
    ) -> Result<Discarded, DeadLetterError> {
        match self.find(id).await {
            Ok((stream, _)) => self.discard_in(stream, id, reason).await.map(|()| Discarded::Now),
            Err(error) => self.ledger.end_of(id).await.ok_or(error),
        }
    }

    async fn discard_in(
        &self,
        stream: StreamId,
        id: DeadLetterId,
        reason: Option<String>,
    ) -> Result<(), DeadLetterError> {
        let not_recorded = |reason| DeadLetterError::NotRecorded { reason };
        let discarded = record::record(&LetterEvent::Discarded { id, reason }, self.clock.now());
        let discarded = discarded.map_err(|error| not_recorded(error.to_string()))?;
        let batch = Batch::of(stream.clone(), Expected::Any, [discarded]);
        let appended = self.ledger.journal().append(batch).await;
        appended.map_err(|error| not_recorded(error.to_string()))?;
        // A replay of all that is under way must not come to it any more. Who looks next reads what cannot be read now.
        drop(self.ledger.refresh(std::iter::once(&stream)).await);
        Ok(())
    }

    /// Where a letter is; what cannot be read of other streams is no matter.
    async fn find(&self, id: DeadLetterId) -> Result<(StreamId, Place), DeadLetterError> {
        let listing = self.ledger.streams().await;
        let own = self.inlets.iter().map(|inlet| inlet.letters().stream());
        let unread = self.ledger.refresh(listing.streams.iter().map(|(stream, _)| stream).chain(own)).await;
        let unlisted = listing.faults.into_iter().next();
        match (self.ledger.find(id).await, unread.or(unlisted)) {
            (Some(found), _) => Ok(found),
            (None, Some(fault)) => Err(fault),
            (None, None) => Err(DeadLetterError::NotFound { id }),
        }
    }

    /// Gives up what is said of letters that are done with.
    pub(crate) async fn tidy(&self) -> Tidied {
        self.ledger.tidy().await
    }

    async fn run_one(&self, letter: DeadLetter) -> Result<Replayed, DeadLetterError> {
        let (id, subscription) = (letter.id, letter.subscription.clone());
        if let Some(version) = letter.in_doubt {
            let outcome = Err(DeadLetterError::InDoubt { id, subscription: subscription.clone(), version });
            return Ok(Replayed { id, subscription, outcome });
        }
        let outcome = match self.run(letter).await {
            // The next would have its effect and no record of it either.
            Err(error @ DeadLetterError::NotRecorded { .. }) => return Err(error),
            outcome => outcome,
        };
        Ok(Replayed { id, subscription, outcome })
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
    let kept = Envelope::from_json(letter.event.get().as_bytes(), &letter.topic);
    let delivered = match kept.and_then(unreadable::read_again) {
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
