//! Telling somebody of what the writer does, for metrics.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// A group of appends that has become durable with one sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommittedGroup {
    /// How many events it has.
    pub events: u64,
    /// How many bytes were written for them, frames and marker included.
    pub bytes: usize,
    /// How long writing them took.
    pub write_time: Duration,
    /// How long the sync took.
    pub sync_time: Duration,
}

/// Is told of every group that a journal has written. It is called by the journal's one writer, before the group is
/// answered: whatever it does for long, every append waits for. A panic of it is caught and logged.
pub trait JournalObserver: fmt::Debug + Send + Sync + 'static {
    /// A group is durable.
    fn group_committed(&self, group: CommittedGroup);
}

/// Writes and syncs a group, and tells the observer, where there is one; without one nobody asks for the time.
pub(super) fn observed(
    observer: Option<&dyn JournalObserver>,
    events: u64,
    bytes: usize,
    write: impl FnOnce() -> io::Result<()>,
    sync: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    let Some(observer) = observer else { return write().and_then(|()| sync()) };
    let began = Instant::now();
    write()?;
    let written = Instant::now();
    sync()?;
    let sync_time = written.elapsed();
    let group = CommittedGroup { events, bytes, write_time: written - began, sync_time };
    if catch_unwind(AssertUnwindSafe(|| observer.group_committed(group))).is_err() {
        tracing::error!(?observer, "the journal's observer panicked");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
