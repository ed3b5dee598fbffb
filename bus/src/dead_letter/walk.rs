//! Going through the unresolved dead letters, one at a time.

use std::collections::VecDeque;
use std::sync::Arc;

use annals_persistence::{Journal, StreamId, Version};
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::ledger::Ledger;
use super::{DeadLetter, DeadLetterError};

/// Unresolved dead letters, by subscription, oldest first; it ends at the first error. Each is read when it is asked
/// for, so a long list takes no memory, and the stream can be dropped at any time.
pub type DeadLetterStream = BoxStream<'static, Result<DeadLetter, DeadLetterError>>;

/// Every unresolved dead letter in a journal, one by one. Needs nothing but the journal, so it works on a stopped
/// service's too.
#[must_use]
pub fn stream_dead_letters(journal: &Arc<dyn Journal>) -> DeadLetterStream {
    walk(Arc::new(Ledger::new(Arc::clone(journal))))
}

/// Every unresolved dead letter in a journal, by subscription, oldest first, in memory all at once;
/// [`stream_dead_letters`] has room for any number.
///
/// # Errors
/// [`DeadLetterError`] when the journal cannot be read.
pub async fn dead_letters(journal: &Arc<dyn Journal>) -> Result<Vec<DeadLetter>, DeadLetterError> {
    stream_dead_letters(journal).try_collect().await
}

/// The letters that are there when it is asked for the first; one that is known to be resolved before its turn is left
/// out.
pub(super) fn walk(ledger: Arc<Ledger>) -> DeadLetterStream {
    stream::once(Walk::begin(ledger))
        .map_ok(|walk| stream::try_unfold(walk, Walk::step))
        .try_flatten()
        .boxed()
}

struct Walk {
    ledger: Arc<Ledger>,
    /// The streams left, each with the last version that counts.
    streams: VecDeque<(StreamId, Version)>,
    /// Where the last letter of the first stream was written.
    after: Version,
}

impl Walk {
    async fn begin(ledger: Arc<Ledger>) -> Result<Self, DeadLetterError> {
        let streams = ledger.catch_up().await?.into();
        Ok(Self { ledger, streams, after: Version::NONE })
    }

    async fn step(mut self) -> Result<Option<(DeadLetter, Self)>, DeadLetterError> {
        while let Some((stream, until)) = self.streams.front() {
            let Some(place) = self.ledger.next(stream, self.after, *until).await else {
                self.streams.pop_front();
                self.after = Version::NONE;
                continue;
            };
            self.after = place.written();
            if let Some(letter) = self.ledger.read(stream, place).await? {
                return Ok(Some((letter, self)));
            }
        }
        Ok(None)
    }
}
