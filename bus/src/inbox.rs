//! The inbox: what a subscription has handled, as events of its own stream, so that nothing is handled twice.

use std::sync::Arc;
use std::time::Duration;

use annals_actors::Clock;
use annals_macros::{Event, Shape};
use annals_persistence::planted::{Fault, planted};
use annals_persistence::{
    AppendError, Batch, CodecError, CommandId, Direction, EventError, Expected, InvalidStreamId, Journal,
    JournalExt, ReadError, RecordedEvent, StreamAppend, StreamId, Timestamp, Version,
};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

use crate::identity::event_key;
use crate::reaction::Target;
use crate::record;
use crate::{Envelope, EnvelopeError, Topic};

mod early;
mod index;
mod plan;
mod tidy;

#[cfg(test)]
pub(crate) use early::EarlyEvent;
pub(crate) use early::{Early, EarlyBox, KeepError, Restored, Writing};
pub(crate) use index::{Index, OrderKey, Seen};
pub(crate) use plan::Plan;
pub(crate) use tidy::{Old, Tidied, TidyError};

/// A command that a business rule said no to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Shape)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rejection {
    #[serde(rename = "type")]
    pub(crate) type_name: String,
    pub(crate) id: String,
    pub(crate) reason: String,
}

#[derive(Debug, Event)]
#[serde(rename_all_fields = "camelCase")]
pub(crate) enum InboxEvent {
    /// What is to be done about an event, when that is more than one command: kept, never computed again.
    #[event("inbox-planned")]
    Planned { source: Arc<str>, event_id: Arc<str>, targets: Vec<Target> },
    /// A command of such a list was answered for good.
    #[event("inbox-answered")]
    Answered {
        source: Arc<str>,
        event_id: Arc<str>,
        command_id: CommandId,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        rejection: Option<Rejection>,
    },
    /// Everything that was to be done is done.
    #[event("inbox-handled")]
    Handled {
        source: Arc<str>,
        event_id: Arc<str>,
        #[serde(flatten)]
        place: Place,
        #[serde(skip_serializing_if = "Vec::is_empty", default)]
        rejections: Vec<Rejection>,
    },
    /// It became a dead letter.
    #[event("inbox-dead-lettered")]
    DeadLettered {
        source: Arc<str>,
        event_id: Arc<str>,
        #[serde(flatten)]
        place: Place,
    },
    /// How far keys were when the records that said so were given up, and the topic: nothing younger says it.
    #[event("inbox-carried")]
    Carried {
        #[serde(skip_serializing_if = "Option::is_none", default)]
        topic: Option<Topic>,
        keys: Vec<CarriedKey>,
    },
}

/// How far a key was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Shape)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CarriedKey {
    pub(crate) source: Arc<str>,
    pub(crate) key: Arc<str>,
    pub(crate) sequence: u64,
    /// Between which sequences events may be missing, where any may.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) gap: Option<Gap>,
}

/// The sequences between which events may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Shape)]
pub(crate) struct Gap {
    pub(crate) after: u64,
    pub(crate) before: u64,
}

/// The topic that an event was handled on, and its place in the order of its key, where it has one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Shape)]
pub(crate) struct Place {
    /// The subscription's topic then, whatever topic a dead letter came on that is replayed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) topic: Option<Topic>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) key: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) sequence: Option<u64>,
    /// The sequence behind which events are missing, where it was handled without those between.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) gap_after: Option<u64>,
}

impl Place {
    fn of(envelope: &Envelope, gap_after: Option<u64>, topic: &Topic) -> Self {
        let nowhere = Self { topic: Some(topic.clone()), ..Self::default() };
        match envelope.sequence.filter(|_| envelope.is_ours()) {
            Some(sequence) => {
                let key = Some(Arc::clone(envelope.shared_key()));
                Self { key, sequence: Some(sequence), gap_after, ..nowhere }
            }
            None => nowhere,
        }
    }
}

/// Writes and reads one subscription's inbox.
#[derive(Debug)]
pub(crate) struct Inbox {
    stream: StreamId,
    topic: Topic,
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
}

/// Why a record was not written.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum RecordError {
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// Why an inbox cannot be read back.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum InboxError {
    /// The journal cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A record is none that this release knows.
    #[error("event {version} of \"{stream}\" is no record of this release")]
    Record {
        /// The stream.
        stream: StreamId,
        /// The event's version.
        version: Version,
        /// What is wrong with it.
        #[source]
        source: EventError,
    },
    /// A list of commands is not where it was written down.
    #[error("event {version} of \"{stream}\" is no list of commands")]
    NoPlan {
        /// The stream.
        stream: StreamId,
        /// The version where it was.
        version: Version,
    },
    /// An event that is kept until the one before it comes cannot be read.
    #[error("event {version} of \"{stream}\" keeps nothing that can be read")]
    Envelope {
        /// The stream.
        stream: StreamId,
        /// The event's version.
        version: Version,
        /// What is wrong with it.
        #[source]
        source: EnvelopeError,
    },
}

impl InboxError {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Read(error) => error.code(),
            Self::Record { source, .. } => source.code(),
            Self::NoPlan { .. } | Self::Envelope { .. } => "undecodable_event",
        }
    }
}

impl Inbox {
    pub(crate) fn new(
        subscription: &str,
        topic: &Topic,
        journal: Arc<dyn Journal>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, InvalidStreamId> {
        let stream = StreamId::internal(&format!("inbox-{subscription}"))?;
        Ok(Self { stream, topic: topic.clone(), journal, clock })
    }

    /// Reads back what the journal keeps of it: what was handled in the last while, the last sequence of every key, where
    /// open plans are. Ids that are too old are forgotten as they are read.
    pub(crate) async fn load(&self, remember: Duration, remember_max: usize) -> Result<Index, InboxError> {
        let (mut index, now) = (Index::new(remember, remember_max).of(&self.topic), self.clock.now());
        if planted(Fault::HandledNotReadBack) {
            return Ok(index);
        }
        let mut began = false;
        let mut records = self.journal.read_stream(&self.stream, Version(1), Direction::Forward);
        while let Some(recorded) = records.next().await {
            let recorded = recorded?;
            if !began && recorded.version > Version(1) {
                // What stood before it is given up, and was no younger, whatever was to be remembered then.
                index.cut_at(recorded.command.time);
            }
            began = true;
            apply(&mut index, decode(&recorded)?, &recorded);
            index.forget_old(now);
        }
        // Also where there was nothing: what is older than it remembers it would not know.
        index.forget_old(now);
        Ok(index)
    }

    /// What is to be done about an event, as it was written down there; where it stands elsewhere by now, it is looked
    /// for.
    pub(crate) async fn plan_of(
        &self,
        envelope: &Envelope,
        version: Version,
    ) -> Result<Vec<Target>, InboxError> {
        let page = self.journal.stream_page(&self.stream, version, Direction::Forward, 1).await?;
        // Where it was carried on from there, the page begins behind it.
        if let Some(targets) =
            page.events.first().map(|found| planned_for(envelope, found)).transpose()?.flatten()
        {
            return Ok(targets);
        }
        let mut records = self.journal.read_stream(&self.stream, version, Direction::Forward);
        while let Some(recorded) = records.next().await {
            if let Some(targets) = planned_for(envelope, &recorded?)? {
                return Ok(targets);
            }
        }
        Err(InboxError::NoPlan { stream: self.stream.clone(), version })
    }

    /// The record that an event is handled, to go along with a command's own events.
    pub(crate) fn handled(
        &self,
        envelope: &Envelope,
        gap_after: Option<u64>,
        rejections: Vec<Rejection>,
    ) -> Result<StreamAppend, CodecError> {
        self.append_of(&InboxEvent::Handled {
            source: Arc::clone(&envelope.source),
            event_id: Arc::clone(&envelope.id),
            place: Place::of(envelope, gap_after, &self.topic),
            rejections,
        })
    }

    /// The record that an event is a dead letter.
    pub(crate) fn dead_lettered(
        &self,
        envelope: &Envelope,
        gap_after: Option<u64>,
    ) -> Result<StreamAppend, CodecError> {
        self.append_of(&InboxEvent::DeadLettered {
            source: Arc::clone(&envelope.source),
            event_id: Arc::clone(&envelope.id),
            place: Place::of(envelope, gap_after, &self.topic),
        })
    }

    /// The record of what is to be done about an event.
    pub(crate) fn planned(
        &self,
        envelope: &Envelope,
        targets: Vec<Target>,
    ) -> Result<StreamAppend, CodecError> {
        self.append_of(&InboxEvent::Planned {
            source: Arc::clone(&envelope.source),
            event_id: Arc::clone(&envelope.id),
            targets,
        })
    }

    /// The record that a command was answered for good, to go along with its own events if it has any.
    pub(crate) fn answered(
        &self,
        envelope: &Envelope,
        command_id: CommandId,
        rejection: Option<Rejection>,
    ) -> Result<StreamAppend, CodecError> {
        self.append_of(&InboxEvent::Answered {
            source: Arc::clone(&envelope.source),
            event_id: Arc::clone(&envelope.id),
            command_id,
            rejection,
        })
    }

    fn append_of(&self, event: &InboxEvent) -> Result<StreamAppend, CodecError> {
        let event = record::record(event, self.clock.now())?;
        Ok(StreamAppend {
            stream: self.stream.clone(),
            expected: Expected::Any,
            events: [event].into_iter().collect(),
        })
    }

    /// Appends records, all or none; answers the last version of the first's stream.
    pub(crate) async fn write(
        &self,
        appends: impl IntoIterator<Item = StreamAppend>,
    ) -> Result<Version, RecordError> {
        let batch = Batch::of_all(appends);
        let appended = self.journal.append(batch).await?;
        Ok(appended.versions.first().copied().unwrap_or(Version::NONE))
    }
}

fn decode(recorded: &RecordedEvent) -> Result<InboxEvent, InboxError> {
    record::read(recorded).map_err(|source| InboxError::Record {
        stream: recorded.stream.clone(),
        version: recorded.version,
        source,
    })
}

/// What is to be done about the event, if that is what the record says.
fn planned_for(envelope: &Envelope, recorded: &RecordedEvent) -> Result<Option<Vec<Target>>, InboxError> {
    match decode(recorded)? {
        InboxEvent::Planned { source, event_id, targets }
            if *source == *envelope.source && *event_id == *envelope.id =>
        {
            Ok(Some(targets))
        }
        _ => Ok(None),
    }
}

fn apply(index: &mut Index, event: InboxEvent, recorded: &RecordedEvent) {
    let time = recorded.command.time;
    match event {
        InboxEvent::Planned { source, event_id, .. } => {
            let event = event_key(&source, &event_id);
            // One that was carried on is done with where it was handled meanwhile.
            if index.seen(event) != Some(Seen::Handled) {
                index.plan(event, recorded.version);
            }
        }
        InboxEvent::Answered { source, event_id, command_id, rejection } => {
            let event = event_key(&source, &event_id);
            if index.seen(event) != Some(Seen::Handled) {
                index.answered(event, command_id, rejection, recorded.version);
            }
        }
        InboxEvent::Handled { source, event_id, place, .. } => {
            let key = event_key(&source, &event_id);
            let place = placed(index, &source, place, time);
            index.settle(key, Seen::Handled, place, time);
        }
        InboxEvent::DeadLettered { source, event_id, place } => {
            let key = event_key(&source, &event_id);
            let place = placed(index, &source, place, time);
            index.settle(key, Seen::DeadLettered, place, time);
        }
        InboxEvent::Carried { topic, keys } => {
            if let Some(topic) = topic {
                index.handled_on(topic, time);
            }
            keys.iter().for_each(|carried| carried.apply(index));
        }
    }
}

impl CarriedKey {
    fn apply(&self, index: &mut Index) {
        let key = OrderKey::new(&self.source, &self.key);
        index.reached(key, self.sequence);
        if let Some(Gap { after, before }) = self.gap {
            index.gap(key, after, before);
        }
    }
}

/// Where an event stands, and whether others are missing before it.
fn placed(index: &mut Index, source: &str, place: Place, time: Timestamp) -> Option<(OrderKey, u64)> {
    if let Some(topic) = place.topic {
        index.handled_on(topic, time);
    }
    let (key, sequence) = (OrderKey::new(source, &place.key?), place.sequence?);
    if let Some(after) = place.gap_after {
        index.gap(key, after, sequence);
    }
    Some((key, sequence))
}

#[cfg(test)]
mod tests;
