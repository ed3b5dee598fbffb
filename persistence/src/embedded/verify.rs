//! Looking a whole log through without changing it.

use std::path::{Path, PathBuf};

use super::lock;
use super::recover::{Recovery, Torn, unreadable};
use crate::{OpenError, Vfs};

/// How far a verification is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyProgress {
    /// Segments begun.
    pub segments: usize,
    /// Segments in all.
    pub segments_total: usize,
    /// Bytes looked at.
    pub bytes: u64,
    /// Bytes in all; unused space at the end is not looked at one by one, so the end may come sooner.
    pub bytes_total: u64,
    /// Events found so far.
    pub events: u64,
}

/// What a verification has found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Segments looked at.
    pub segments: usize,
    /// Events in order, up to the damage if there is any.
    pub events: u64,
    /// Streams that have any of these events.
    pub streams: usize,
    /// How long the files are.
    pub bytes: u64,
    /// A last group that is not whole; the next open cuts it off.
    pub torn_tail: Option<TornTail>,
    /// Where bytes that were once durable are not what was written.
    pub damage: Option<LogDamage>,
}

/// A last group that is not whole: what a crash leaves of one that was never acknowledged. Damage since to nothing but
/// the last group looks the same.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TornTail {
    /// The file.
    pub file: PathBuf,
    /// Where they begin, in bytes.
    pub offset: u64,
    /// How far they reach at most, in bytes.
    pub bytes: u64,
    /// Why they do not count.
    pub reason: &'static str,
}

/// Bytes that were once durable and are not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogDamage {
    /// The file.
    pub file: PathBuf,
    /// Where in it, in bytes.
    pub offset: u64,
    /// What is wrong there.
    pub reason: String,
}

/// See [`crate::EmbeddedJournal::verify`].
pub(super) fn verify(
    vfs: &dyn Vfs,
    dir: &Path,
    progress: &mut dyn FnMut(VerifyProgress),
) -> Result<VerifyReport, OpenError> {
    // Listed before the lock is taken, so that a mistyped directory is an error instead of a new lock file.
    vfs.list(dir).map_err(|source| unreadable(dir, source))?;
    let _lock = lock(vfs, dir)?;
    let mut recovery = Recovery::new(vfs, dir, false, progress);
    let damage = match recovery.run() {
        Ok(()) => None,
        Err(OpenError::Damaged { file, offset, reason }) => Some(LogDamage { file, offset, reason }),
        Err(error) => return Err(error),
    };
    Ok(VerifyReport {
        segments: recovery.index.segments.len(),
        events: recovery.index.durable.position.0,
        streams: recovery.index.stream_count(),
        bytes: recovery.bytes,
        torn_tail: recovery.torn.as_ref().map(TornTail::from),
        damage,
    })
}

impl From<&Torn> for TornTail {
    fn from(torn: &Torn) -> Self {
        Self { file: torn.segment.path.clone(), offset: torn.offset, bytes: torn.bytes, reason: torn.reason }
    }
}
