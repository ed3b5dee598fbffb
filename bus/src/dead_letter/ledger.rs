//! Which dead letters are unresolved, and where in the journal each is written.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use annals_persistence::{Journal, StreamId, Version};
use tokio::sync::Mutex;

use super::fold::{self, Fold, event};
use super::{DeadLetter, DeadLetterError, DeadLetterId, Discarded, LetterEvent};

/// What the full names of the streams of dead letters begin with.
const STREAM_NAMES: &str = "$dlq-";

/// How many streams are listed at a time.
const PAGE_STREAMS: usize = 256;

/// The unresolved dead letters of a journal: folded from it once and kept up from there, a few numbers for each. What
/// a letter says stays in the journal until somebody asks.
#[derive(Debug)]
pub(super) struct Ledger {
    journal: Arc<dyn Journal>,
    folds: Mutex<BTreeMap<StreamId, Fold>>,
}

/// Where a letter's last writing and its last failed replay are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) written: Version,
    pub(super) failed: Option<Version>,
    pub(super) failures: u32,
}

/// The streams there are and the last version of each, and what of them cannot be read or not even be listed. Single
/// records that cannot be read are no part of it: they are known by their versions.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) streams: Vec<(StreamId, Version)>,
    pub(super) faults: Vec<DeadLetterError>,
}

impl Ledger {
    pub(super) fn new(journal: Arc<dyn Journal>) -> Self {
        Self { journal, folds: Mutex::default() }
    }

    /// Reads what was written since of the streams that are known and of these; a stream that cannot be read keeps none of the
    /// others up. Answers why the first of such cannot.
    pub(super) async fn refresh(&self, streams: impl Iterator<Item = &StreamId>) -> Option<DeadLetterError> {
        let mut folds = self.folds.lock().await;
        for stream in streams {
            if !folds.contains_key(stream) {
                folds.insert(stream.clone(), Fold::default());
            }
        }
        let mut fault = None;
        for (stream, fold) in &mut *folds {
            fault = fault.or(fold.refresh(&self.journal, stream).await.err());
            if let (None, Some(version)) = (&fault, fold.unreadable.first().copied()) {
                fault = fold.why_unreadable(&self.journal, stream, version).await;
            }
        }
        fault
    }

    /// The streams there are, and the last version of each.
    pub(super) async fn streams(&self) -> Listing {
        let (mut listing, mut after) = (Listing::default(), None);
        loop {
            match self.journal.streams_page(STREAM_NAMES, after.as_ref(), PAGE_STREAMS).await {
                Ok(page) => {
                    let Some(last) = page.last() else { return listing };
                    after = Some(last.stream.clone());
                    listing.streams.extend(page.into_iter().map(|info| (info.stream, info.version)));
                }
                Err(error) => {
                    listing.faults.push(error.into());
                    return listing;
                }
            }
        }
    }

    /// Reads what was written since it was read last; what cannot be read keeps nothing else up.
    pub(super) async fn catch_up(&self) -> Listing {
        let mut folds = self.folds.lock().await;
        let mut listing = self.streams().await;
        for (stream, version) in &listing.streams {
            let fold = folds.entry(stream.clone()).or_default();
            if *version >= fold.next {
                listing.faults.extend(fold.catch_up(&self.journal, stream).await.err());
            }
        }
        listing
    }

    /// The stream and place of an unresolved letter, as far as was read.
    pub(super) async fn find(&self, id: DeadLetterId) -> Option<(StreamId, Place)> {
        let folds = self.folds.lock().await;
        folds.iter().find_map(|(stream, fold)| Some((stream.clone(), *fold.places.get(&id)?)))
    }

    /// The stream's first unresolved letter written after a version and not after another.
    pub(super) async fn next(&self, stream: &StreamId, after: Version, until: Version) -> Option<Place> {
        if after >= until {
            return None;
        }
        let folds = self.folds.lock().await;
        let fold = folds.get(stream)?;
        let (_, id) = fold.order.range((Bound::Excluded(after), Bound::Included(until))).next()?;
        fold.places.get(id).copied()
    }

    /// The stream's first record that cannot be read behind a version and not behind another.
    pub(super) async fn next_unreadable(
        &self,
        stream: &StreamId,
        after: Version,
        until: Version,
    ) -> Option<Version> {
        if after >= until {
            return None;
        }
        let folds = self.folds.lock().await;
        folds.get(stream)?.unreadable.range((Bound::Excluded(after), Bound::Included(until))).next().copied()
    }

    /// The first record that cannot be read and may be the end of a letter written before it, of those up to a version.
    pub(super) async fn doubt(&self, stream: &StreamId, written: Version, until: Version) -> Option<Version> {
        self.folds.lock().await.get(stream)?.doubt(written, until)
    }

    /// Why a record cannot be read; `None` where it can be again, and is taken in.
    pub(super) async fn why_unreadable(
        &self,
        stream: &StreamId,
        version: Version,
    ) -> Option<DeadLetterError> {
        let mut folds = self.folds.lock().await;
        folds.get_mut(stream)?.why_unreadable(&self.journal, stream, version).await
    }

    /// A record that could be read before cannot be any more.
    pub(super) async fn give_up_on(&self, stream: &StreamId, version: Version) {
        if let Some(fold) = self.folds.lock().await.get_mut(stream) {
            fold.give_up_on(version);
        }
    }

    /// What a letter says; `None` where the journal has it no more.
    pub(super) async fn read(
        &self,
        stream: &StreamId,
        place: Place,
    ) -> Result<Option<DeadLetter>, DeadLetterError> {
        let mut letter = match event(&self.journal, stream, place.written).await? {
            Some((_, event)) => event.into_letter(),
            None => None,
        };
        if let (Some(letter), Some(failed)) = (&mut letter, place.failed) {
            letter.attempts = letter.attempts.saturating_add(place.failures);
            self.read_failure(stream, failed, letter).await?;
        }
        Ok(letter)
    }

    /// The letter is there without the record of its last failure too.
    async fn read_failure(
        &self,
        stream: &StreamId,
        failed: Version,
        letter: &mut DeadLetter,
    ) -> Result<(), DeadLetterError> {
        match event(&self.journal, stream, failed).await {
            Ok(Some((recorded, LetterEvent::Replayed { error: Some(reason), .. }))) => {
                (letter.reason, letter.last_time) = (reason, recorded.command.time);
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(error) if error.is_of_one_record() => {
                self.give_up_on(stream, failed).await;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// How a letter ended that is done with, as long as the journal has that: reads all streams for it.
    pub(super) async fn end_of(&self, id: DeadLetterId) -> Option<Discarded> {
        for (stream, _) in self.streams().await.streams {
            if let Some(end) = fold::end_in(&self.journal, &stream, id).await {
                return Some(end);
            }
        }
        None
    }

    /// How many letters of each subscription are unresolved, as far as was read.
    pub(super) async fn unresolved(&self) -> BTreeMap<String, usize> {
        let folds = self.folds.lock().await;
        folds.iter().map(|(stream, fold)| (stream.instance().to_owned(), fold.places.len())).collect()
    }

    /// The stream's first version that is still needed: by an unresolved letter, since it cannot be read and nobody knows what
    /// it says, or since it was not read yet. Its last where there is none.
    pub(super) async fn first_needed(&self, stream: &StreamId, last: Version) -> Version {
        let folds = self.folds.lock().await;
        folds.get(stream).map_or(Version::NONE, |fold| fold.first_needed().min(last))
    }

    pub(super) async fn given_up_to(&self, stream: &StreamId) -> Version {
        self.folds.lock().await.get(stream).map_or(Version(1), |fold| fold.given_up_to)
    }

    pub(super) async fn note_given_up(&self, stream: &StreamId, until: Version) {
        if let Some(fold) = self.folds.lock().await.get_mut(stream) {
            fold.given_up_to = until;
        }
    }

    pub(super) fn journal(&self) -> &Arc<dyn Journal> {
        &self.journal
    }
}

impl Place {
    pub(super) fn written(self) -> Version {
        self.written
    }
}
