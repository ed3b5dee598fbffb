//! What a store of snapshots in a database may use.

use std::path::PathBuf;
use std::time::Duration;

/// The least that is sensible: a database takes about a megabyte before anything is in it.
const BUDGET_BYTES_MIN: u64 = 8 * 1024 * 1024;

/// What a store of snapshots in a database may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotOptions {
    /// How many bytes of disk the snapshots may take; less than 8 MiB is taken for 8 MiB. Where there are more, those
    /// of the instances go whose last snapshot was written longest ago, about half of all at once. The directory stays
    /// within one and a quarter times this number; one that was put aside as damaged lies beside it.
    pub budget_bytes: u64,
    /// The most memory that the database's page cache takes, in bytes.
    pub cache_bytes: u64,
    /// How often a save also flushes what was saved before. Nothing is flushed while nothing is saved, and closing
    /// flushes the rest: what a crash takes is replayed from the journal.
    pub flush_interval: Duration,
    /// How long to wait for a directory that is still in use: sled lets go of it a moment after it was closed.
    pub lock_wait: Duration,
}

impl Default for SnapshotOptions {
    /// 256 MiB on disk, 8 MiB of memory, a second, two seconds.
    fn default() -> Self {
        Self {
            budget_bytes: 256 * 1024 * 1024,
            cache_bytes: 8 * 1024 * 1024,
            flush_interval: Duration::from_secs(1),
            lock_wait: Duration::from_secs(2),
        }
    }
}

impl SnapshotOptions {
    /// How large one of the two databases may grow.
    pub(super) fn generation_bytes_max(&self) -> u64 {
        self.budget_bytes.max(BUDGET_BYTES_MIN) / 2
    }

    /// The page cache of one of the two databases.
    pub(super) const fn generation_cache_bytes(&self) -> u64 {
        self.cache_bytes / 2
    }
}

/// Why a store of snapshots could not be opened. Damage is no reason: it is put aside, and a new store begun.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotOpenError {
    /// Another process, or another store in this one, has the directory.
    #[error(
        "the snapshots in \"{}\" are in use; stop the process that has them, or name another directory",
        path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
}

impl SnapshotOpenError {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::InUse { .. } => "snapshots_in_use",
        }
    }
}
