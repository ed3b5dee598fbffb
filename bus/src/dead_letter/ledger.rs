//! Which dead letters are unresolved, and where in the journal each is written.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use annals_persistence::{Direction, Journal, JournalExt, RecordedEvent, StreamId, Version};
use futures_util::StreamExt;
use tokio::sync::Mutex;

use super::{DeadLetter, DeadLetterError, DeadLetterId, LetterEvent};
use crate::record;

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
    written: Version,
    failed: Option<Version>,
    failures: u32,
}

/// One stream as far as it was read.
#[derive(Debug)]
struct Fold {
    next: Version,
    /// Everything below is given up. After a start nothing is said to be, until it is read.
    given_up_to: Version,
    places: HashMap<DeadLetterId, Place>,
    /// Oldest first.
    order: BTreeMap<Version, DeadLetterId>,
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
        }
        fault
    }

    /// The streams there are, and the last version of each.
    pub(super) async fn streams(&self) -> Result<Vec<(StreamId, Version)>, DeadLetterError> {
        let (mut streams, mut after) = (Vec::new(), None);
        loop {
            let page = self.journal.streams_page(STREAM_NAMES, after.as_ref(), PAGE_STREAMS).await?;
            let Some(last) = page.last() else { return Ok(streams) };
            after = Some(last.stream.clone());
            streams.extend(page.into_iter().map(|info| (info.stream, info.version)));
        }
    }

    /// Reads what was written since it was read last; the streams, and the last version of each.
    pub(super) async fn catch_up(&self) -> Result<Vec<(StreamId, Version)>, DeadLetterError> {
        let mut folds = self.folds.lock().await;
        let streams = self.streams().await?;
        for (stream, version) in &streams {
            let fold = folds.entry(stream.clone()).or_default();
            if *version >= fold.next {
                fold.catch_up(&self.journal, stream).await?;
            }
        }
        Ok(streams)
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

    /// What a letter says; `None` where the journal has it no more.
    pub(super) async fn read(
        &self,
        stream: &StreamId,
        place: Place,
    ) -> Result<Option<DeadLetter>, DeadLetterError> {
        let mut letter = match self.event(stream, place.written).await? {
            Some((_, event)) => event.into_letter(),
            None => None,
        };
        if let (Some(letter), Some(failed)) = (&mut letter, place.failed) {
            letter.attempts = letter.attempts.saturating_add(place.failures);
            if let Some((recorded, LetterEvent::Replayed { error: Some(reason), .. })) =
                self.event(stream, failed).await?
            {
                (letter.reason, letter.last_time) = (reason, recorded.command.time);
            }
        }
        Ok(letter)
    }

    /// How many letters of each subscription are unresolved, as far as was read.
    pub(super) async fn unresolved(&self) -> BTreeMap<String, usize> {
        let folds = self.folds.lock().await;
        folds.iter().map(|(stream, fold)| (stream.instance().to_owned(), fold.places.len())).collect()
    }

    /// The stream's first version that an unresolved letter needs; behind its last where none does.
    pub(super) async fn first_needed(&self, stream: &StreamId, last: Version) -> Version {
        let folds = self.folds.lock().await;
        let first = folds.get(stream).and_then(|fold| fold.order.first_key_value());
        first.map_or(last, |(version, _)| *version)
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

    async fn event(
        &self,
        stream: &StreamId,
        version: Version,
    ) -> Result<Option<(RecordedEvent, LetterEvent)>, DeadLetterError> {
        let page = self.journal.stream_page(stream, version, Direction::Forward, 1).await?;
        let Some(recorded) = page.events.into_iter().find(|recorded| recorded.version == version) else {
            return Ok(None);
        };
        let event = decode(&recorded)?;
        Ok(Some((recorded, event)))
    }
}

impl Place {
    pub(super) fn written(self) -> Version {
        self.written
    }
}

impl Default for Fold {
    fn default() -> Self {
        Self { next: Version(1), given_up_to: Version(1), places: HashMap::new(), order: BTreeMap::new() }
    }
}

impl Fold {
    /// Asks first whether there is anything new, which costs no read.
    async fn refresh(
        &mut self,
        journal: &Arc<dyn Journal>,
        stream: &StreamId,
    ) -> Result<(), DeadLetterError> {
        match journal.stream_info(stream).await? {
            Some(info) if info.version >= self.next => self.catch_up(journal, stream).await,
            _ => Ok(()),
        }
    }

    async fn catch_up(
        &mut self,
        journal: &Arc<dyn Journal>,
        stream: &StreamId,
    ) -> Result<(), DeadLetterError> {
        let mut records = journal.read_stream(stream, self.next, Direction::Forward);
        while let Some(recorded) = records.next().await {
            let recorded = recorded?;
            if self.next == Version(1) {
                self.given_up_to = recorded.version;
            }
            self.take(&decode(&recorded)?, recorded.version);
            // After each event, so that giving up half-way leaves the fold right for as far as it came.
            self.next = recorded.version.next();
        }
        Ok(())
    }

    fn take(&mut self, event: &LetterEvent, version: Version) {
        match *event {
            LetterEvent::Written { id, .. } => {
                self.remove(id);
                self.places.insert(id, Place { written: version, failed: None, failures: 0 });
                self.order.insert(version, id);
            }
            LetterEvent::Replayed { id, error: None } | LetterEvent::Discarded { id, .. } => self.remove(id),
            LetterEvent::Replayed { id, error: Some(_) } => {
                if let Some(place) = self.places.get_mut(&id) {
                    place.failed = Some(version);
                    place.failures = place.failures.saturating_add(1);
                }
            }
        }
    }

    fn remove(&mut self, id: DeadLetterId) {
        if let Some(place) = self.places.remove(&id) {
            self.order.remove(&place.written);
        }
    }
}

fn decode(recorded: &RecordedEvent) -> Result<LetterEvent, DeadLetterError> {
    record::read(recorded).map_err(|source| DeadLetterError::Record {
        stream: recorded.stream.clone(),
        version: recorded.version,
        source,
    })
}
