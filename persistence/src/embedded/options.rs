//! How an embedded journal works.

use std::sync::Arc;

use super::format::SEGMENT_BYTES_MAX;
use super::observe::JournalObserver;
use crate::journal::BATCH_BYTES_MAX;
use crate::{RealVfs, Vfs};

/// The shortest segment that makes sense: a header and a page.
const SEGMENT_BYTES_MIN: u64 = 8192;

/// How an [`EmbeddedJournal`](super::EmbeddedJournal) works.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// How long a segment is, in bytes; space for all of it is reserved when it is made. A batch that does not fit
    /// gets a longer one. Kept between 8 KiB and 1 GiB.
    pub segment_bytes: u64,
    /// Whether a segment is filled with zeros before it is used, beside the writing. It is then written twice, but no
    /// sync of a group waits for what the file system has to note about blocks that were never written, which takes
    /// many times as long where others write to the same disk. Nothing is gained on a file system that never writes a
    /// block in place, as btrfs and ZFS.
    pub zero_fill: bool,
    /// The most bytes that one batch may take, metadata included; never more than
    /// [`BATCH_BYTES_MAX`](crate::BATCH_BYTES_MAX). A larger one is refused with [`AppendError::Invalid`](crate::AppendError::Invalid).
    pub batch_bytes_max: usize,
    /// The most bytes that may wait to be written. More is refused with [`AppendError::Busy`](crate::AppendError::Busy).
    pub queue_bytes_max: usize,
    /// The file system.
    pub vfs: Arc<dyn Vfs>,
    /// Whether nothing on the disk may change: appends are refused, torn tails stay, and a directory without a
    /// journal is an error.
    pub read_only: bool,
    /// Who writes.
    pub driver: Driver,
    /// Who is told of every group that was written.
    pub observer: Option<Arc<dyn JournalObserver>>,
}

/// Who writes what is appended to an [`EmbeddedJournal`](super::EmbeddedJournal).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Driver {
    /// A thread of the journal's own, as soon as there is anything.
    #[default]
    Thread,
    /// Whoever calls [`EmbeddedJournal::drive`](super::EmbeddedJournal::drive), and nobody before; closing the journal writes the rest. Reads wait for
    /// the disk on the thread that reads. With all of it on one thread every system call comes in an order that can
    /// be had again, which is what deterministic tests need.
    Manual,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            zero_fill: true,
            batch_bytes_max: BATCH_BYTES_MAX,
            queue_bytes_max: 64 << 20,
            vfs: Arc::new(RealVfs),
            read_only: false,
            driver: Driver::Thread,
            observer: None,
        }
    }
}

impl EmbeddedOptions {
    pub(super) fn within_bounds(mut self) -> Self {
        self.segment_bytes = self.segment_bytes.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX / 2);
        self.batch_bytes_max = self.batch_bytes_max.min(BATCH_BYTES_MAX);
        self
    }
}
