//! What can go wrong with a journal, one enum per kind of call.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{Expected, StreamId, Version};

/// Whether a failed append may have happened all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was appended: trying again is safe.
    NotCommitted,
    /// It may or may not have been appended: try again under the same command id only.
    Unknown,
}

/// Why an append was not acknowledged.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The stream is not as expected. Nothing was appended.
    #[error("stream \"{stream}\" is at version {actual}, expected was {expected}")]
    Conflict {
        /// The stream.
        stream: StreamId,
        /// What the append named.
        expected: Expected,
        /// What is there.
        actual: Version,
    },
    /// A batch that this one was decided on was refused. Nothing was appended.
    #[error("what the append was decided on was not appended")]
    Superseded,
    /// The batch can never be taken as it is. Nothing was appended.
    #[error("the batch cannot be appended: {reason}")]
    Invalid {
        /// What is wrong with it.
        reason: String,
    },
    /// There is no space left; appends are refused until there is. Nothing was appended.
    #[error("no space left for the journal in \"{}\"", path.display())]
    DiskFull {
        /// The journal's directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// The stream has a tombstone: nothing is appended to it any more. Nothing was appended.
    #[error("stream \"{stream}\" is gone for good")]
    StreamGone {
        /// The stream.
        stream: StreamId,
    },
    /// More is waiting to be written than the journal is willing to hold. Nothing was appended.
    #[error("the journal's queue is full ({bytes} bytes wait to be written)")]
    Busy {
        /// How much waits.
        bytes: usize,
    },
    /// The journal is closed. Nothing was appended.
    #[error("the journal is closed")]
    Closed,
    /// A write or an fsync failed, now or before, so what is on the disk is not known.
    #[error("the outcome of the append is unknown: {reason}")]
    OutcomeUnknown {
        /// What failed.
        reason: String,
        /// What the system said.
        #[source]
        source: Option<Arc<io::Error>>,
    },
}

impl AppendError {
    /// An unknown outcome without a system error behind it.
    pub(crate) fn unknown(reason: impl Into<String>) -> Self {
        Self::OutcomeUnknown { reason: reason.into(), source: None }
    }

    /// Whether the batch may have been appended all the same.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::OutcomeUnknown { .. } => Outcome::Unknown,
            _ => Outcome::NotCommitted,
        }
    }

    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Conflict { .. } => "version_conflict",
            Self::Superseded => "append_superseded",
            Self::Invalid { .. } => "invalid_batch",
            Self::DiskFull { .. } => "disk_full",
            Self::StreamGone { .. } => "stream_gone",
            Self::Busy { .. } => "journal_busy",
            Self::Closed => "journal_closed",
            Self::OutcomeUnknown { .. } => "outcome_unknown",
        }
    }
}

/// Why events could not be read.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Bytes on the disk are not what was written.
    #[error("\"{}\" is damaged at offset {offset}: {reason}", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where in it, in bytes.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// The system refused.
    #[error("cannot read \"{}\"", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// The journal is closed.
    #[error("the journal is closed")]
    Closed,
}

impl ReadError {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Damaged { .. } => "journal_damaged",
            Self::Io { .. } => "journal_unreadable",
            Self::Closed => "journal_closed",
        }
    }
}

/// The directory that a lock file locks.
fn dir_of(lock: &Path) -> &Path {
    lock.parent().unwrap_or(lock)
}

/// Why a journal could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or another journal in this one, has the directory.
    #[error("the journal in \"{}\" is in use; stop the process that has it, or name another directory", dir_of(path).display())]
    InUse {
        /// The lock file.
        path: PathBuf,
    },
    /// The file is of a format that this release cannot read.
    #[error("\"{}\" is of another format, or its first bytes are damaged: {reason}; open it with the release that wrote it, or restore \
             the directory from a backup", file.display())]
    Format {
        /// The file.
        file: PathBuf,
        /// What was found.
        reason: String,
    },
    /// Bytes that were once durable are not what was written.
    #[error(
        "\"{}\" is damaged at offset {offset}: {reason}; nothing was changed; restore the directory from a backup, \
         or look at the damage with `log verify` and at what could be saved with `log repair`",
        file.display()
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where in it, in bytes.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// The system refused.
    #[error("cannot open \"{}\"", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl OpenError {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::InUse { .. } => "journal_in_use",
            Self::Format { .. } => "journal_format",
            Self::Damaged { .. } => "journal_damaged",
            Self::Io { .. } => "journal_unreadable",
        }
    }
}
