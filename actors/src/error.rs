//! What can go wrong, and whether trying again is safe.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use annals_persistence::{
    AppendError, CodecError, CommandId, EventError, InvalidStreamId, Outcome, ReadError, Version,
};

use crate::{Aggregate, CheckpointFault};

/// Whether a failed command may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It was not carried out: send it again as you like.
    Safe,
    /// It may have been carried out: send it again under the same command id only.
    SameCommandId,
    /// Sending the same again will fail the same way.
    Never,
}

/// Why a request was not taken in at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no room in the instance's mailbox.
    MailboxFull {
        /// How many may wait.
        capacity: usize,
    },
    /// The node is stopping.
    Stopping,
}

/// Why a command was not accepted. Where it was not taken at all, it comes back inside.
#[non_exhaustive]
pub enum SendError<A: Aggregate> {
    /// A business rule said no.
    Rejected(A::Rejection),
    /// The instance is not at the version that the sender expected.
    Conflict {
        /// What was expected.
        expected: Version,
        /// What is there.
        actual: Version,
    },
    /// The command id was used before, for another command.
    CommandIdReused {
        /// The id.
        command_id: CommandId,
    },
    /// The instance has as many commands waiting as it may have.
    MailboxFull {
        /// The command, not taken.
        command: A::Command,
        /// How many may wait.
        capacity: usize,
    },
    /// The node is stopping.
    Stopping {
        /// The command, not taken.
        command: A::Command,
    },
    /// Commands that were to be carried out all or not at all were not taken.
    AllRefused {
        /// The commands, not taken.
        commands: Vec<A::Command>,
        /// Why.
        reason: Refusal,
    },
    /// Of commands that were to be carried out all or not at all, this one could not be; none was.
    At {
        /// Which, counted from 0.
        index: usize,
        /// Why.
        error: Box<Self>,
    },
    /// Its events were not appended.
    NotCommitted(AppendError),
    /// Whether its events were appended is not known.
    OutcomeUnknown {
        /// What happened.
        reason: String,
    },
    /// The aggregate's code panicked over it; nothing was appended.
    Panicked {
        /// The panic's message.
        message: String,
    },
    /// The instance cannot be brought up from its events.
    Parked {
        /// Why.
        reason: String,
        /// The code of the cause.
        code: &'static str,
    },
    /// The id cannot name an instance.
    InvalidId(InvalidStreamId),
    /// The node does not have this aggregate type.
    NotRegistered {
        /// The type.
        type_name: &'static str,
    },
    /// The sender's time is over; the command may still be carried out.
    TimedOut,
    /// The command or one of its events cannot be encoded; nothing was appended.
    Codec(CodecError),
}

impl<A: Aggregate> SendError<A> {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Rejected(_) => "rejected",
            Self::Conflict { .. } => "version_conflict",
            Self::CommandIdReused { .. } => "command_id_reused",
            Self::MailboxFull { .. } => "mailbox_full",
            Self::Stopping { .. } => "stopping",
            Self::AllRefused { reason: Refusal::MailboxFull { .. }, .. } => "mailbox_full",
            Self::AllRefused { reason: Refusal::Stopping, .. } => "stopping",
            Self::At { error, .. } => error.code(),
            Self::NotCommitted(error) => error.code(),
            Self::OutcomeUnknown { .. } => "outcome_unknown",
            Self::Panicked { .. } => "handler_panicked",
            Self::Parked { .. } => "instance_parked",
            Self::InvalidId(error) => error.code(),
            Self::NotRegistered { .. } => "aggregate_not_registered",
            Self::TimedOut => "timed_out",
            Self::Codec(_) => "command_not_encodable",
        }
    }

    /// Whether the command may be sent again.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::MailboxFull { .. }
            | Self::Stopping { .. }
            | Self::AllRefused { .. }
            | Self::Parked { .. } => Retry::Safe,
            Self::At { error, .. } => error.retry(),
            Self::NotCommitted(error) => retry_of(error),
            Self::OutcomeUnknown { .. } | Self::TimedOut => Retry::SameCommandId,
            Self::Rejected(_)
            | Self::Conflict { .. }
            | Self::CommandIdReused { .. }
            | Self::Panicked { .. }
            | Self::InvalidId(_)
            | Self::NotRegistered { .. }
            | Self::Codec(_) => Retry::Never,
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

impl<A: Aggregate> fmt::Display for SendError<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(rejection) => write!(f, "{}: {rejection}", A::TYPE),
            Self::Conflict { expected, actual } => {
                write!(f, "the {} is at version {actual}, expected was {expected}", A::TYPE)
            }
            Self::CommandIdReused { command_id } => {
                write!(f, "command id {command_id} was used before for another command")
            }
            Self::MailboxFull { capacity, .. } => {
                write!(f, "{capacity} commands wait for this {} already; try again later", A::TYPE)
            }
            Self::Stopping { .. } => f.write_str("the node is stopping"),
            Self::AllRefused { commands, reason: Refusal::MailboxFull { capacity } } => {
                let count = commands.len();
                write!(f, "this {} takes {capacity} commands at once, and has no room for {count}", A::TYPE)
            }
            Self::AllRefused { reason: Refusal::Stopping, .. } => f.write_str("the node is stopping"),
            Self::At { index, error } => write!(f, "command {index} of the list: {error}"),
            Self::NotCommitted(error) => write!(f, "the command was not committed{}", again(error)),
            Self::OutcomeUnknown { reason } => {
                write!(
                    f,
                    "whether the command was committed is not known ({reason}); try again with the same id"
                )
            }
            Self::Panicked { message } => write!(f, "the {} panicked over the command: {message}", A::TYPE),
            Self::Parked { reason, .. } => write!(f, "the {} cannot be brought up: {reason}", A::TYPE),
            Self::InvalidId(error) => error.fmt(f),
            Self::NotRegistered { type_name } => {
                write!(
                    f,
                    "this node has no aggregate \"{type_name}\"; register it with `NodeBuilder::aggregate`"
                )
            }
            Self::TimedOut => f.write_str("no answer in time; the command may still be carried out"),
            Self::Codec(_) => f.write_str("the command or one of its events cannot be encoded"),
        }
    }
}

// The command need not be `Debug`, and often must not be printed; so this names the error and no more.
impl<A: Aggregate> fmt::Debug for SendError<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SendError({}: {self})", self.code())
    }
}

impl<A: Aggregate> std::error::Error for SendError<A> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Rejected(rejection) => Some(rejection),
            Self::At { error, .. } => error.source(),
            Self::NotCommitted(error) => Some(error),
            Self::InvalidId(error) => Some(error),
            Self::Codec(error) => Some(error),
            _ => None,
        }
    }
}

/// A [`SendError`] without the aggregate's types.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ErasedSendError {
    /// The stable code.
    pub code: &'static str,
    /// Whether the command may be sent again.
    pub retry: Retry,
    /// Whether a business rule said no.
    pub rejected: bool,
    /// What happened.
    pub message: String,
}

impl<A: Aggregate> From<&SendError<A>> for ErasedSendError {
    fn from(error: &SendError<A>) -> Self {
        Self {
            code: error.code(),
            retry: error.retry(),
            rejected: matches!(error, SendError::Rejected(_)),
            message: with_sources(error),
        }
    }
}

/// Why an instance's state could not be told.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The instance has as many requests waiting as it may have.
    #[error("{capacity} requests wait for this instance already; try again later")]
    MailboxFull {
        /// How many may wait.
        capacity: usize,
    },
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
    /// What the state was built on was not committed, or it is not known whether it was.
    #[error("the state is not known to be durable: {reason}")]
    Doubtful {
        /// What happened.
        reason: String,
    },
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
    /// A recorded event cannot be understood.
    #[error("event {version} of \"{stream}\" cannot be understood")]
    Event {
        /// The stream.
        stream: String,
        /// Which of its events.
        version: Version,
        /// What is wrong with it.
        #[source]
        source: EventError,
    },
    /// The events up to the stream's beginning were given up, and the checkpoint in their place cannot be read.
    #[error("the checkpoint at version {version} of \"{stream}\" cannot be used")]
    Checkpoint {
        /// The stream.
        stream: String,
        /// The checkpoint's version.
        version: Version,
        /// What is wrong with it.
        #[source]
        source: CheckpointFault,
    },
    /// The stream does not begin with its first event, and there is no checkpoint to go on from.
    #[error("\"{stream}\" begins with event {first}, and has no checkpoint to go on from")]
    NoCheckpoint {
        /// The stream.
        stream: String,
        /// The first event that is there.
        first: Version,
    },
    /// The events up to this moment were given up: only later states can be told.
    #[error(
        "the events of \"{stream}\" up to then were given up; its states can be told from version {available} on"
    )]
    Truncated {
        /// The stream.
        stream: String,
        /// The first version whose state can be told.
        available: Version,
    },
    /// The aggregate's `apply` panicked over a recorded event.
    #[error("`apply` panicked over event {version} of \"{stream}\": {message}")]
    ApplyPanicked {
        /// The stream.
        stream: String,
        /// Which of its events.
        version: Version,
        /// The panic's message.
        message: String,
    },
    /// The code that was to look at the state panicked; the instance goes on.
    #[error("looking at the state panicked: {message}")]
    ReadPanicked {
        /// The panic's message.
        message: String,
    },
    /// The state cannot be written down.
    #[error("the state cannot be encoded")]
    Codec(#[from] CodecError),
}

impl StateError {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::MailboxFull { .. } => "mailbox_full",
            Self::Stopping => "stopping",
            Self::Doubtful { .. } => "outcome_unknown",
            Self::Parked { .. } => "instance_parked",
            Self::InvalidId(error) => error.code(),
            Self::NotRegistered { .. } => "aggregate_not_registered",
            Self::Read(error) => error.code(),
            Self::Event { source, .. } => source.code(),
            Self::Checkpoint { source, .. } => source.code(),
            Self::NoCheckpoint { .. } => "checkpoint_missing",
            Self::Truncated { .. } => "state_truncated",
            Self::ApplyPanicked { .. } => "apply_panicked",
            Self::ReadPanicked { .. } => "read_panicked",
            Self::Codec(_) => "state_not_encodable",
        }
    }

    pub(crate) fn from_failure(failure: Failure) -> Self {
        match failure {
            Failure::NotCommitted(error) => Self::Doubtful { reason: with_sources(&error) },
            Failure::Unknown(reason) => Self::Doubtful { reason },
            Failure::Parked { reason, code } => Self::Parked { reason, code },
        }
    }
}

/// Why a node could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// No journal was given.
    #[error("a node needs a journal; give it one with `NodeBuilder::journal`")]
    NoJournal,
    /// Two aggregates have the same type name.
    #[error("two aggregates are called \"{type_name}\"")]
    DuplicateType {
        /// The name.
        type_name: &'static str,
    },
    /// An aggregate's type name cannot begin a stream's name.
    #[error("an aggregate's type name cannot be used")]
    TypeName(#[from] InvalidStreamId),
    /// An event type looks otherwise than the journal has it on record, under the same version.
    #[error(
        "event \"{event}\" version {version} of aggregate \"{aggregate}\" has changed: the journal has it as \
         {recorded}, this release as {now}"
    )]
    SchemaChanged {
        /// The aggregate's type.
        aggregate: String,
        /// The event's name.
        event: String,
        /// Its schema version.
        version: u16,
        /// The shape on record.
        recorded: String,
        /// The shape that it has in this release.
        now: String,
    },
    /// An event type is written in bincode, which cannot read back what its attributes leave out.
    #[error(
        "event \"{event}\" version {version} of aggregate \"{aggregate}\" is written in bincode and has `{attribute}` in \
         it, which bincode cannot read back; leave it out, or write the event in JSON"
    )]
    NotForBincode {
        /// The aggregate's type.
        aggregate: &'static str,
        /// The event's name.
        event: &'static str,
        /// Its schema version.
        version: u16,
        /// The attribute of serde.
        attribute: String,
    },
    /// The journal cannot be read.
    #[error("what the journal has on record cannot be read")]
    Read(#[from] ReadError),
    /// The record of the events' schemas is none that this release knows.
    #[error("the journal's record of event schemas cannot be understood")]
    SchemasUnreadable {
        /// Why.
        #[source]
        source: EventError,
    },
    /// The schemas of this release's events could not be recorded, so none of them may be written.
    #[error("the schemas of the events could not be recorded in the journal")]
    SchemasNotRecorded {
        /// What the journal said.
        #[source]
        source: AppendError,
    },
    /// The node's own actor could not be started.
    #[error("the node's supervisor could not be started: {reason}")]
    Supervisor {
        /// What ractor said.
        reason: String,
    },
}

impl StartError {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoJournal => "no_journal",
            Self::DuplicateType { .. } => "duplicate_aggregate_type",
            Self::TypeName(error) => error.code(),
            Self::SchemaChanged { .. } => "event_schema_changed",
            Self::NotForBincode { .. } => "event_not_for_bincode",
            Self::Read(error) => error.code(),
            Self::SchemasUnreadable { source } => source.code(),
            Self::SchemasNotRecorded { source } => source.code(),
            Self::Supervisor { .. } => "supervisor_failed",
        }
    }
}

/// Why what was decided cannot be answered as decided.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    NotCommitted(AppendError),
    Unknown(String),
    Parked { reason: String, code: &'static str },
}

impl Failure {
    /// What is told to those whose answers were decided on what failed. Why an append of another's was refused is not
    /// about them, where it is about more than the journal as a whole.
    pub(crate) fn of_those_behind(&self) -> Self {
        match self {
            Self::NotCommitted(
                AppendError::Conflict { .. } | AppendError::Invalid { .. } | AppendError::StreamGone { .. },
            ) => Self::NotCommitted(AppendError::Superseded),
            other => other.clone(),
        }
    }
}

impl From<AppendError> for Failure {
    fn from(error: AppendError) -> Self {
        match error.outcome() {
            Outcome::NotCommitted => Self::NotCommitted(error),
            Outcome::Unknown => Self::Unknown(with_sources(&error)),
        }
    }
}

/// Whether what was not committed may be sent again.
const fn retry_of(error: &AppendError) -> Retry {
    match error {
        AppendError::Invalid { .. } | AppendError::StreamGone { .. } => Retry::Never,
        _ => Retry::Safe,
    }
}

/// What is said behind "not committed", where it is of any use.
pub(crate) const fn again(error: &AppendError) -> &'static str {
    match retry_of(error) {
        Retry::Safe => "; trying again is safe",
        _ => "",
    }
}

/// An error and everything behind it, in one line.
pub(crate) fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

/// Runs code of the aggregate's author; a panic in it becomes its message.
pub(crate) fn catch<R>(run: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| panic_message(&*panic))
}

/// What a panic said.
fn panic_message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}
