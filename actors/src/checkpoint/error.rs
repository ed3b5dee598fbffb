//! What can be wrong with a checkpoint, and why none could be made.

use std::fmt;

use annals_persistence::{
    AppendError, CodecError, EventError, InvalidStreamId, Position, ReadError, StreamId,
};

use crate::Retry;
use crate::error::{Failure, again};

/// Why an instance cannot go on from a checkpoint.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointFault {
    /// The event cannot be understood.
    #[error(transparent)]
    Event(#[from] EventError),
    /// It was written under another [`Aggregate::STATE_VERSION`](crate::Aggregate::STATE_VERSION).
    #[error(
        "the checkpoint has state version {recorded}, this release has {known}; teach `Aggregate::upcast_state` to make \
         the one of the other"
    )]
    OtherStateVersion {
        /// The version it has.
        recorded: u16,
        /// The version of this release.
        known: u16,
    },
    /// What it holds is no state of the aggregate.
    #[error("the state in the checkpoint cannot be read: {reason}")]
    State {
        /// What serde said.
        reason: String,
    },
    /// The aggregate's code panicked over the state.
    #[error("reading the state in the checkpoint panicked: {message}")]
    Panicked {
        /// The panic's message.
        message: String,
    },
}

impl CheckpointFault {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Event(EventError::Codec { .. }) | Self::State { .. } | Self::Panicked { .. } => {
                "undecodable_checkpoint"
            }
            Self::Event(error) => error.code(),
            Self::OtherStateVersion { .. } => "checkpoint_of_other_version",
        }
    }
}

/// Who still needs events that were to be given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The reader, or the stream of its cursor where it does not run here.
    pub by: String,
    /// It needs everything behind this position.
    pub position: Position,
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { by, position } = self;
        if *position == Position::START {
            // Whether it is only late, or begins at the first event at every start, only it knows.
            write!(f, "\"{by}\" needs the events from the first on: they cannot go as long as it does")
        } else {
            write!(f, "\"{by}\" has still to read the events behind position {position}: they cannot go yet")
        }
    }
}

/// Why no checkpoint was made.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The instance has no events.
    #[error("there is no \"{stream}\": it has no events")]
    NotFound {
        /// The stream.
        stream: StreamId,
    },
    /// The state cannot be written as JSON.
    #[error("the state cannot be written as JSON")]
    Codec(#[source] CodecError),
    /// The state can be written as JSON, and is read back as another or not at all.
    #[error("the state does not survive being written as JSON and read again: {reason}")]
    NotReadBack {
        /// What is wrong.
        reason: String,
    },
    /// The aggregate's code panicked over its state.
    #[error("writing the state panicked: {message}")]
    Panicked {
        /// The panic's message.
        message: String,
    },
    /// It is larger than what the journal takes.
    #[error("the checkpoint takes {bytes} bytes, the most is {most}")]
    TooLarge {
        /// What it takes.
        bytes: usize,
        /// The most that one append may take.
        most: usize,
    },
    /// Nothing of the stream may go, since somebody has still to read it. No checkpoint was made either.
    #[error("{0}")]
    Held(Held),
    /// Somebody who reads the events cannot say how far it is.
    #[error("\"{reader}\" cannot say which events it still needs: {reason}")]
    ReaderUnclear {
        /// The reader.
        reader: String,
        /// Why.
        reason: String,
    },
    /// The instance has as many requests waiting as it may have.
    #[error("{capacity} requests wait for this instance already; try again later")]
    MailboxFull {
        /// How many may wait.
        capacity: usize,
    },
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
    /// The instance cannot be brought up from its events.
    #[error("the instance cannot be brought up: {reason}")]
    Parked {
        /// Why.
        reason: String,
        /// The code of the cause.
        code: &'static str,
    },
    /// The id cannot name an instance.
    #[error(transparent)]
    InvalidId(#[from] InvalidStreamId),
    /// The node does not have this aggregate type.
    #[error("this node has no aggregate \"{type_name}\"; register it with `NodeBuilder::aggregate`")]
    NotRegistered {
        /// The type.
        type_name: &'static str,
    },
    /// The journal cannot be read.
    #[error("the events cannot be read")]
    Read(#[from] ReadError),
    /// It was not appended.
    #[error("the checkpoint was not committed{}", again(.0))]
    NotCommitted(#[source] AppendError),
    /// Whether it was appended is not known. There is no harm in another one.
    #[error("whether the checkpoint was committed is not known ({reason})")]
    OutcomeUnknown {
        /// What happened.
        reason: String,
    },
    /// The caller's time is over; the checkpoint may still be made.
    #[error("no answer in time; the checkpoint may still be made")]
    TimedOut,
}

impl CheckpointError {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "instance_not_found",
            Self::Codec(_) => "state_not_encodable",
            Self::NotReadBack { .. } => "state_not_read_back",
            Self::Panicked { .. } => "handler_panicked",
            Self::TooLarge { .. } => "checkpoint_too_large",
            Self::Held(_) => "truncation_held",
            Self::ReaderUnclear { .. } => "reader_unclear",
            Self::MailboxFull { .. } => "mailbox_full",
            Self::Stopping => "stopping",
            Self::Parked { .. } => "instance_parked",
            Self::InvalidId(error) => error.code(),
            Self::NotRegistered { .. } => "aggregate_not_registered",
            Self::Read(error) => error.code(),
            Self::NotCommitted(error) => error.code(),
            Self::OutcomeUnknown { .. } => "outcome_unknown",
            Self::TimedOut => "timed_out",
        }
    }

    /// Whether trying again may help. A checkpoint changes no state, so it never does harm.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::NotCommitted(AppendError::Invalid { .. } | AppendError::StreamGone { .. })
            | Self::NotFound { .. }
            | Self::Codec(_)
            | Self::NotReadBack { .. }
            | Self::Panicked { .. }
            | Self::TooLarge { .. }
            | Self::InvalidId(_)
            | Self::NotRegistered { .. } => Retry::Never,
            _ => Retry::Safe,
        }
    }

    pub(crate) fn from_failure(failure: Failure) -> Self {
        match failure {
            Failure::NotCommitted(error) => Self::NotCommitted(error),
            Failure::Unknown(reason) => Self::OutcomeUnknown { reason },
            Failure::Parked { reason, code } => Self::Parked { reason, code },
        }
    }
}
