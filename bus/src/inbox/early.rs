//! Events that came before the one in front of them: kept in a stream of the subscription's own beside the inbox, so that
//! the broker need not keep them.

use std::sync::Arc;

use annals_actors::Clock;
use annals_macros::Event;
use annals_persistence::{
    Batch, Direction, Expected, InvalidStreamId, Journal, JournalExt, RecordedEvent, Retention, StreamId,
    Timestamp, Version,
};
use futures_util::StreamExt;
use serde_json::value::RawValue;

use super::{InboxError, Index, OrderKey, RecordError};
use crate::identity::event_key;
use crate::{Envelope, EnvelopeError, Topic, record};

/// What an event takes in memory beside its content, in bytes, as far as it is counted.
const OVERHEAD: usize = 1024;

/// An event that waits for the one before it.
#[derive(Debug, Clone)]
pub(crate) struct Early {
    pub(crate) envelope: Arc<Envelope>,
    /// Why it is to become a dead letter in its turn, where it cannot be handled.
    pub(crate) fault: Option<String>,
    /// Since when its key waits.
    pub(crate) since: Timestamp,
}

impl Early {
    pub(crate) fn event(&self) -> u128 {
        event_key(&self.envelope.source, &self.envelope.id)
    }

    pub(crate) fn lane(&self) -> OrderKey {
        OrderKey::of(&self.envelope)
    }

    /// Its place in its lane: its sequence, and what tells it from another event that has the same.
    pub(crate) fn place(&self) -> (u64, u128) {
        (self.envelope.sequence.unwrap_or_default(), self.event())
    }

    /// What it takes, in bytes: in memory, and about the same on the disk.
    pub(crate) fn weight(&self) -> usize {
        let data = self.envelope.data.as_ref().map_or(0, |data| data.get().len());
        let extensions = self.envelope.extensions.iter().map(|(name, value)| name.len() + value.get().len());
        OVERHEAD + data + extensions.sum::<usize>() + self.fault.as_ref().map_or(0, String::len)
    }

    /// Whether it is done with, though nobody has said so in its own stream.
    fn is_done(&self, index: &Index) -> bool {
        let sequence = self.envelope.sequence.unwrap_or_default();
        let passed = index.last(self.lane()).is_some_and(|last| sequence <= last);
        // It was settled after it was kept, if ever, by the same clock.
        index.seen(self.event()).is_some() || (passed && !index.would_know(Some(self.since)))
    }
}

#[derive(Debug, Event)]
#[serde(rename_all_fields = "camelCase")]
pub(crate) enum EarlyEvent {
    /// An event is kept until the one before it was handled.
    #[event("early-kept")]
    Kept {
        /// The subscription's topic.
        topic: Topic,
        /// Since when its key waits.
        since: Timestamp,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        fault: Option<String>,
        /// The event, as it arrived.
        event: Box<RawValue>,
    },
}

/// What is to be written with one append.
#[derive(Debug, Clone)]
pub(crate) struct Writing {
    pub(crate) events: Vec<Early>,
    /// What stands before this is given up; the events are those of it that still wait then, written once more.
    pub(crate) truncate_before: Option<Version>,
}

/// What is read back.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    /// The topic that the subscription had when it kept an event last.
    pub(crate) topic: Option<Topic>,
    /// What the records take that are there, by version; those of events that still wait, with them.
    pub(crate) records: Vec<(Version, usize, Option<Early>)>,
}

/// Writes and reads the events that one subscription keeps.
#[derive(Debug)]
pub(crate) struct EarlyBox {
    stream: StreamId,
    topic: Topic,
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
}

/// Why an event is not kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeepError {
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl EarlyBox {
    pub(crate) fn new(
        subscription: &str,
        topic: &Topic,
        journal: Arc<dyn Journal>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, InvalidStreamId> {
        let stream = StreamId::internal(&format!("early-{subscription}"))?;
        Ok(Self { stream, topic: topic.clone(), journal, clock })
    }

    /// Reads back what waits still, by what the inbox says.
    pub(crate) async fn load(&self, index: &Index) -> Result<Restored, InboxError> {
        let mut restored = Restored::default();
        let mut records = self.journal.read_stream(&self.stream, Version(1), Direction::Forward);
        while let Some(recorded) = records.next().await {
            let recorded = recorded?;
            let (topic, early) = self.decode(&recorded)?;
            let weight = early.weight();
            let waits = Some(early).filter(|early| !early.is_done(index));
            restored.topic = topic.into();
            restored.records.push((recorded.version, weight, waits));
        }
        Ok(restored)
    }

    fn decode(&self, recorded: &RecordedEvent) -> Result<(Topic, Early), InboxError> {
        let of = || (recorded.stream.clone(), recorded.version);
        let read = record::read(recorded).map_err(|source| {
            let (stream, version) = of();
            InboxError::Record { stream, version, source }
        })?;
        let EarlyEvent::Kept { topic, since, fault, event } = read;
        let envelope = Envelope::from_json(event.get().as_bytes(), &self.topic).map_err(|source| {
            let (stream, version) = of();
            InboxError::Envelope { stream, version, source }
        })?;
        Ok((topic, Early { envelope: Arc::new(envelope), fault, since }))
    }

    /// Writes events down, all or none, or gives up what stands before them; answers the last version of the stream, where
    /// something was written.
    pub(crate) async fn write(&self, writing: &Writing) -> Result<Version, KeepError> {
        let now = self.clock.now();
        let events = writing.events.iter().map(|early| self.record(early));
        let events = events.collect::<Result<Vec<_>, EnvelopeError>>()?;
        let events = events.iter().map(|event| record::record(event, now)).collect::<Result<Vec<_>, _>>();
        let events = events.map_err(RecordError::from)?;
        let mut batch = Batch::default();
        if let Some(truncate_before) = writing.truncate_before {
            // The count never bites; it says that the stream is the runtime's own, as an inbox's does.
            let kept = Retention { truncate_before, max_count: Some(u64::MAX), ..Retention::default() };
            batch = batch.retaining(self.stream.clone(), kept);
        }
        if !events.is_empty() {
            batch = batch.and(self.stream.clone(), Expected::Any, events);
        }
        let appended = self.journal.append(batch).await.map_err(RecordError::from)?;
        Ok(appended.versions.first().copied().unwrap_or(Version::NONE))
    }

    fn record(&self, early: &Early) -> Result<EarlyEvent, EnvelopeError> {
        let Early { envelope, fault, since } = early;
        let (topic, event) = (self.topic.clone(), envelope.to_json()?);
        Ok(EarlyEvent::Kept { topic, since: *since, fault: fault.clone(), event })
    }
}
