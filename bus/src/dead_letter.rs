//! Dead letters: events that could not be handled, kept in the journal, to be looked at and replayed.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use annals_actors::Clock;
use annals_macros::{Event, Shape};
use annals_persistence::{
    Batch, EventError, Expected, InvalidStreamId, Journal, JournalExt, Position, ReadError, StreamAppend,
    StreamId, Timestamp, Version,
};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::envelope::time_text;
use crate::subscription::{DeliveryError, letter_id};
use crate::{Envelope, Topic, record};

mod fold;
mod ledger;
mod replay;
mod tidy;
mod unresolved;
mod walk;

pub use replay::{DeadLetters, Discarded, ReplayStream, ReplaySummary, Replayed};
pub use walk::{DeadLetterStream, dead_letters, stream_dead_letters};

/// What the streams of dead letters are called: this and the subscription's name.
const STREAM_PREFIX: &str = "dlq-";

/// Identifies a dead letter: derived from its subscription and event, so the same event has the same id each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Shape)]
#[serde(transparent)]
pub struct DeadLetterId(Uuid);

impl fmt::Display for DeadLetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for DeadLetterId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::from_str(text).map(Self)
    }
}

/// An event that a subscription could not handle.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Its id.
    pub id: DeadLetterId,
    /// The subscription.
    pub subscription: String,
    /// The topic that it came from.
    pub topic: Topic,
    /// The event's id.
    pub event_id: String,
    /// Why the last attempt failed.
    pub reason: String,
    /// How often it was tried, replays included.
    pub attempts: u32,
    /// When it was tried first.
    #[serde(serialize_with = "as_text")]
    pub first_time: Timestamp,
    /// When it was tried last.
    #[serde(serialize_with = "as_text")]
    pub last_time: Timestamp,
    /// The first record behind it, by its version, that cannot be read and may say that it is done with. It is left out where
    /// all are replayed; who names its id has it run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_doubt: Option<Version>,
    /// The event, as it arrived.
    pub event: Box<RawValue>,
}

fn as_text<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time_text(*time))
}

#[derive(Debug, Event)]
#[serde(rename_all_fields = "camelCase")]
pub(crate) enum LetterEvent {
    #[event("dead-letter")]
    Written {
        id: DeadLetterId,
        subscription: String,
        topic: Topic,
        event_id: String,
        reason: String,
        attempts: u32,
        first_time: Timestamp,
        last_time: Timestamp,
        event: Box<RawValue>,
    },
    /// Somebody replayed it; without an error it is done with.
    #[event("dead-letter-replayed")]
    Replayed {
        id: DeadLetterId,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        error: Option<String>,
    },
    /// Somebody has decided that it is never to be handled.
    #[event("dead-letter-discarded")]
    Discarded {
        id: DeadLetterId,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        reason: Option<String>,
    },
}

/// How an event came to be a dead letter.
#[derive(Debug, Clone)]
pub(crate) struct Fate {
    pub(crate) reason: String,
    pub(crate) attempts: u32,
    pub(crate) first_time: Timestamp,
    pub(crate) last_time: Timestamp,
}

/// Why dead letters could not be listed, replayed or put away.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeadLetterError {
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
        /// Its position.
        position: Position,
        /// What is wrong with it.
        #[source]
        source: EventError,
    },
    /// A record cannot be read from the disk.
    #[error("event {version} of \"{stream}\" cannot be read")]
    Unread {
        /// The stream.
        stream: StreamId,
        /// The event's version.
        version: Version,
        /// Why not.
        #[source]
        source: ReadError,
    },
    /// There is no such dead letter, or it is done with.
    #[error("there is no dead letter {id}")]
    NotFound {
        /// The id.
        id: DeadLetterId,
    },
    /// A record behind it cannot be read, and may say that it was handled or put away.
    #[error(
        "it may be done with: record {version} of the dead letters of \"{subscription}\", behind it, cannot be read; replay it by \
         its id if it is to be handled all the same"
    )]
    InDoubt {
        /// The id.
        id: DeadLetterId,
        /// Its subscription.
        subscription: String,
        /// The record's version.
        version: Version,
    },
    /// The service does not have the subscription any more.
    #[error("this service has no subscription \"{subscription}\"")]
    NoSubscription {
        /// Its name.
        subscription: String,
    },
    /// It was replayed and has failed again; it stays a dead letter.
    #[error("the replay failed: {0}")]
    Delivery(DeliveryError),
    /// It was replayed or discarded, but that could not be written down.
    #[error("what became of the dead letter could not be recorded: {reason}")]
    NotRecorded {
        /// Why.
        reason: String,
    },
}

impl DeadLetterError {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Read(error) | Self::Unread { source: error, .. } => error.code(),
            Self::Record { source, .. } => source.code(),
            Self::NotFound { .. } => "dead_letter_not_found",
            Self::InDoubt { .. } => "dead_letter_in_doubt",
            Self::NoSubscription { .. } => "subscription_not_found",
            Self::Delivery(error) => error.code(),
            Self::NotRecorded { .. } => "replay_not_recorded",
        }
    }
}

impl DeadLetterError {
    /// Whether it says that some of the journal cannot be read: what was asked for may be in that.
    #[must_use]
    pub const fn is_unread(&self) -> bool {
        matches!(self, Self::Read(_) | Self::Record { .. } | Self::Unread { .. })
    }

    /// Whether it is about one record alone: the others may be read.
    fn is_of_one_record(&self) -> bool {
        matches!(self, Self::Record { .. } | Self::Unread { source: ReadError::Damaged { .. }, .. })
    }
}

impl LetterEvent {
    /// The letter as it was written; `None` for what is said of one later.
    fn into_letter(self) -> Option<DeadLetter> {
        let Self::Written {
            id,
            subscription,
            topic,
            event_id,
            reason,
            attempts,
            first_time,
            last_time,
            event,
        } = self
        else {
            return None;
        };
        let in_doubt = None;
        Some(DeadLetter {
            id,
            subscription,
            topic,
            event_id,
            reason,
            attempts,
            first_time,
            last_time,
            in_doubt,
            event,
        })
    }
}

/// Writes one subscription's dead letters.
#[derive(Debug)]
pub(crate) struct LetterBox {
    subscription: Arc<str>,
    stream: StreamId,
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
}

impl LetterBox {
    pub(crate) fn new(
        subscription: &Arc<str>,
        journal: Arc<dyn Journal>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, InvalidStreamId> {
        let stream = StreamId::internal(&format!("{STREAM_PREFIX}{subscription}"))?;
        Ok(Self { subscription: Arc::clone(subscription), stream, journal, clock })
    }

    /// Where they are.
    pub(crate) fn stream(&self) -> &StreamId {
        &self.stream
    }

    /// The id that a letter of this event has.
    pub(crate) fn id_of(&self, envelope: &Envelope) -> DeadLetterId {
        DeadLetterId(letter_id(&self.subscription, envelope))
    }

    /// The record of a dead letter, ready to append.
    pub(crate) fn append_of(&self, envelope: &Envelope, fate: Fate) -> Result<StreamAppend, String> {
        let written = LetterEvent::Written {
            id: self.id_of(envelope),
            subscription: self.subscription.to_string(),
            topic: envelope.topic.clone(),
            event_id: envelope.id.to_string(),
            reason: fate.reason,
            attempts: fate.attempts,
            first_time: fate.first_time,
            last_time: fate.last_time,
            event: envelope.to_json().map_err(|error| error.to_string())?,
        };
        self.append(&written)
    }

    fn append(&self, event: &LetterEvent) -> Result<StreamAppend, String> {
        let event = record::record(event, self.clock.now()).map_err(|error| error.to_string())?;
        Ok(StreamAppend {
            stream: self.stream.clone(),
            expected: Expected::Any,
            events: [event].into_iter().collect(),
        })
    }

    async fn replayed(&self, id: DeadLetterId, error: Option<String>) -> Result<(), DeadLetterError> {
        let not_recorded = |reason| DeadLetterError::NotRecorded { reason };
        let append = self.append(&LetterEvent::Replayed { id, error }).map_err(not_recorded)?;
        let batch = Batch::of_all([append]);
        self.journal.append(batch).await.map(drop).map_err(|error| not_recorded(error.to_string()))
    }
}

#[cfg(test)]
mod tests;
