//! Going through the unresolved dead letters, one at a time.

use std::collections::VecDeque;
use std::sync::Arc;

use annals_persistence::{Journal, StreamId, Version};
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::ledger::{Ledger, Listing};
use super::{DeadLetter, DeadLetterError};

/// Unresolved dead letters, by subscription, oldest first, then an error for each record or stream that cannot be read: it
/// goes on behind those. Letters in front of such a record are told as being in doubt: it may be the end of any of them. Each is
/// read when it is asked for, so a long list takes no memory, and the stream can be dropped at
/// any time.
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
/// [`DeadLetterError`] when some of the journal cannot be read; [`stream_dead_letters`] has the others all the same.
pub async fn dead_letters(journal: &Arc<dyn Journal>) -> Result<Vec<DeadLetter>, DeadLetterError> {
    stream_dead_letters(journal).try_collect().await
}

/// The letters that are there when it is asked for the first; one that is known to be resolved before its turn is left
/// out.
pub(super) fn walk(ledger: Arc<Ledger>) -> DeadLetterStream {
    stream::once(Walk::begin(ledger)).flat_map(|walk| stream::unfold(walk, Walk::step)).boxed()
}

struct Walk {
    ledger: Arc<Ledger>,
    /// The streams whose letters are left, each with the last version that counts.
    streams: VecDeque<(StreamId, Version)>,
    /// Those that were gone through; the records in them that cannot be read are told of last.
    passed: VecDeque<(StreamId, Version)>,
    /// What was told last of the first stream.
    after: Version,
    /// What cannot be read beside single records.
    faults: VecDeque<DeadLetterError>,
}

type Told = Result<DeadLetter, DeadLetterError>;

impl Walk {
    async fn begin(ledger: Arc<Ledger>) -> Self {
        let Listing { streams, faults } = ledger.catch_up().await;
        let (streams, faults) = (streams.into(), faults.into());
        Self { ledger, streams, passed: VecDeque::new(), after: Version::NONE, faults }
    }

    async fn step(mut self) -> Option<(Told, Self)> {
        if let Some(letter) = self.next_letter().await {
            return Some((Ok(letter), self));
        }
        let told = match self.next_unreadable().await {
            Some(told) => told,
            None => Err(self.faults.pop_front()?),
        };
        Some((told, self))
    }

    async fn with_doubt(&self, letter: DeadLetter, stream: &StreamId, until: Version) -> DeadLetter {
        let in_doubt = self.ledger.doubt(stream, self.after, until).await;
        DeadLetter { in_doubt, ..letter }
    }

    async fn next_letter(&mut self) -> Option<DeadLetter> {
        while let Some((stream, until)) = self.streams.front().cloned() {
            let Some(place) = self.ledger.next(&stream, self.after, until).await else {
                self.pass();
                continue;
            };
            self.after = place.written();
            match self.ledger.read(&stream, place).await {
                Ok(Some(letter)) => return Some(self.with_doubt(letter, &stream, until).await),
                Ok(None) => {}
                Err(error) if error.is_of_one_record() => {
                    self.ledger.give_up_on(&stream, place.written()).await;
                }
                Err(error) => {
                    self.faults.push_back(error);
                    self.pass();
                }
            }
        }
        None
    }

    fn pass(&mut self) {
        self.passed.extend(self.streams.pop_front());
        self.after = Version::NONE;
    }

    /// A record that could not be read, or the letter that it is by now.
    async fn next_unreadable(&mut self) -> Option<Told> {
        while let Some((stream, until)) = self.passed.front().cloned() {
            let Some(version) = self.ledger.next_unreadable(&stream, self.after, until).await else {
                self.passed.pop_front();
                self.after = Version::NONE;
                continue;
            };
            self.after = version;
            if let Some(fault) = self.ledger.why_unreadable(&stream, version).await {
                return Some(Err(fault));
            }
            if let Some(letter) = self.found_again(&stream, version, until).await {
                return Some(letter);
            }
        }
        None
    }

    async fn found_again(&self, stream: &StreamId, version: Version, until: Version) -> Option<Told> {
        let place = self.ledger.next(stream, Version(version.0 - 1), version).await?;
        match self.ledger.read(stream, place).await.transpose()? {
            Ok(letter) => Some(Ok(self.with_doubt(letter, stream, until).await)),
            Err(error) => Some(Err(error)),
        }
    }
}
