//! One stream of dead letters as far as it was read.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use annals_persistence::{Direction, Journal, JournalExt, ReadError, RecordedEvent, StreamId, Version};
use futures_util::StreamExt;

use super::ledger::Place;
use super::{DeadLetterError, DeadLetterId, Discarded, LetterEvent};
use crate::record;

/// Which letters of a stream are unresolved. A record that cannot be read is passed over, and remembered.
#[derive(Debug)]
pub(super) struct Fold {
    pub(super) next: Version,
    /// Everything below is given up. After a start nothing is said to be, until it is read.
    pub(super) given_up_to: Version,
    pub(super) places: HashMap<DeadLetterId, Place>,
    /// Oldest first.
    pub(super) order: BTreeMap<Version, DeadLetterId>,
    pub(super) unreadable: BTreeSet<Version>,
}

impl Default for Fold {
    fn default() -> Self {
        Self {
            next: Version(1),
            given_up_to: Version(1),
            places: HashMap::new(),
            order: BTreeMap::new(),
            unreadable: BTreeSet::new(),
        }
    }
}

impl Fold {
    /// Asks first whether there is anything new, which costs no read.
    pub(super) async fn refresh(
        &mut self,
        journal: &Arc<dyn Journal>,
        stream: &StreamId,
    ) -> Result<(), DeadLetterError> {
        match journal.stream_info(stream).await? {
            Some(info) if info.version >= self.next => self.catch_up(journal, stream).await,
            _ => Ok(()),
        }
    }

    /// Reads to the end; an error says that the rest cannot be read now.
    pub(super) async fn catch_up(
        &mut self,
        journal: &Arc<dyn Journal>,
        stream: &StreamId,
    ) -> Result<(), DeadLetterError> {
        loop {
            match self.read_on(journal, stream).await {
                Err(ReadError::Damaged { .. }) => self.pass_damage(journal, stream).await?,
                read => return Ok(read?),
            }
        }
    }

    async fn read_on(&mut self, journal: &Arc<dyn Journal>, stream: &StreamId) -> Result<(), ReadError> {
        let mut records = journal.read_stream(stream, self.next, Direction::Forward);
        while let Some(recorded) = records.next().await {
            self.take_recorded(&recorded?);
        }
        Ok(())
    }

    /// A page with a damaged record in it is none at all: reads record by record until that one is passed.
    async fn pass_damage(
        &mut self,
        journal: &Arc<dyn Journal>,
        stream: &StreamId,
    ) -> Result<(), DeadLetterError> {
        let last = journal.stream_info(stream).await?.map_or(Version::NONE, |info| info.version);
        let mut damage = None;
        while self.next <= last {
            match journal.stream_page(stream, self.next, Direction::Forward, 1).await {
                Ok(_) if damage.is_some() => return Ok(()),
                Ok(page) => match page.events.first() {
                    Some(recorded) => self.take_recorded(recorded),
                    None => return Ok(()),
                },
                Err(ReadError::Damaged { file, offset, .. }) => self.pass(&mut damage, (file, offset)),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Asked for versions that were given up, a journal answers with the first that it has: where that is damaged, the
    /// same damage stands at each of them, and is its own at the last.
    fn pass(&mut self, before: &mut Option<(PathBuf, u64)>, damage: (PathBuf, u64)) {
        if before.as_ref() == Some(&damage) {
            self.unreadable.pop_last();
        }
        *before = Some(damage);
        self.unreadable.insert(self.next);
        self.next = self.next.next();
    }

    fn take_recorded(&mut self, recorded: &RecordedEvent) {
        if self.next == Version(1) {
            self.given_up_to = recorded.version;
        }
        match decode(recorded) {
            Ok(event) => self.take(&event, recorded.version),
            Err(_) => drop(self.unreadable.insert(recorded.version)),
        }
        // After each event, so that giving up half-way leaves the fold right for as far as it came.
        self.next = recorded.version.next();
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

    pub(super) fn give_up_on(&mut self, version: Version) {
        if let Some(id) = self.order.remove(&version) {
            self.places.remove(&id);
        }
        self.unreadable.insert(version);
    }

    /// The first record behind a letter that may be its end and cannot be read, of those up to a version.
    pub(super) fn doubt(&self, written: Version, until: Version) -> Option<Version> {
        let unreadable = self.unreadable.range(written..=until.max(written)).next().copied();
        unreadable.or_else(|| (self.next <= until).then_some(self.next))
    }

    /// Why a record could not be read; `None` where it can be by now. Then all is read anew: those behind it may be about what it
    /// says.
    pub(super) async fn why_unreadable(
        &mut self,
        journal: &Arc<dyn Journal>,
        stream: &StreamId,
        version: Version,
    ) -> Option<DeadLetterError> {
        match event(journal, stream, version).await {
            Err(error) => Some(error),
            Ok(_) => self.read_anew(journal, stream).await.err(),
        }
    }

    async fn read_anew(
        &mut self,
        journal: &Arc<dyn Journal>,
        stream: &StreamId,
    ) -> Result<(), DeadLetterError> {
        let mut anew = Self::default();
        // What is known stays until there is more.
        anew.catch_up(journal, stream).await?;
        *self = anew;
        Ok(())
    }

    /// What was not read yet is needed.
    pub(super) fn first_needed(&self) -> Version {
        let unresolved = self.order.first_key_value().map(|(version, _)| version);
        let first = unresolved.into_iter().chain(self.unreadable.first()).min();
        first.copied().unwrap_or(self.next)
    }
}

/// A record, if it is there.
pub(super) async fn event(
    journal: &Arc<dyn Journal>,
    stream: &StreamId,
    version: Version,
) -> Result<Option<(RecordedEvent, LetterEvent)>, DeadLetterError> {
    let page = journal.stream_page(stream, version, Direction::Forward, 1).await;
    let page = page.map_err(|source| DeadLetterError::Unread { stream: stream.clone(), version, source })?;
    let Some(recorded) = page.events.into_iter().find(|recorded| recorded.version == version) else {
        return Ok(None);
    };
    let event = decode(&recorded)?;
    Ok(Some((recorded, event)))
}

/// How a letter of a stream ended; what cannot be read says nothing of it.
pub(super) async fn end_in(
    journal: &Arc<dyn Journal>,
    stream: &StreamId,
    id: DeadLetterId,
) -> Option<Discarded> {
    let mut records = journal.read_stream(stream, Version(u64::MAX), Direction::Backward);
    while let Some(Ok(recorded)) = records.next().await {
        match decode(&recorded) {
            Ok(LetterEvent::Discarded { id: of, .. }) if of == id => return Some(Discarded::Before),
            Ok(LetterEvent::Replayed { id: of, error: None }) if of == id => return Some(Discarded::Handled),
            _ => {}
        }
    }
    None
}

fn decode(recorded: &RecordedEvent) -> Result<LetterEvent, DeadLetterError> {
    record::read(recorded).map_err(|source| DeadLetterError::Record {
        stream: recorded.stream.clone(),
        version: recorded.version,
        position: recorded.position,
        source,
    })
}
