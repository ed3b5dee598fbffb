//! Snapshots on sled: a cache that may fail in any way it likes.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sled::Db;

use super::envelope::{Envelope, EnvelopeError};
use super::{Snapshot, SnapshotStore};
use crate::StreamId;

mod database;
mod quarantine;

use database::OpenFailure;

/// What a [`SledSnapshots`] may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SledOptions {
    /// The most memory that sled's page cache takes, in bytes.
    pub cache_bytes: u64,
    /// How often a save also flushes what was saved before. Nothing is flushed while nothing is saved, and closing
    /// flushes the rest: what a crash takes is replayed from the journal.
    pub flush_interval: Duration,
    /// How long to wait for a directory that is still in use: sled lets go of it a moment after it was closed.
    pub lock_wait: Duration,
}

impl Default for SledOptions {
    /// 8 MiB, a second, two seconds.
    fn default() -> Self {
        Self {
            cache_bytes: 8 * 1024 * 1024,
            flush_interval: Duration::from_secs(1),
            lock_wait: Duration::from_secs(2),
        }
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

/// Keeps snapshots in a sled database, as a cache: whatever is wrong with it, it answers with fewer snapshots.
///
/// A snapshot that cannot be trusted is not loaded. When sled itself fails, the directory is renamed to
/// `<dir>.quarantine-<microseconds since 1970>` (an earlier one of this kind is removed) and an empty database takes its
/// place; when that happens a second time, the store goes on without keeping anything. What happened is in the log.
pub struct SledSnapshots {
    dir: PathBuf,
    options: SledOptions,
    state: Mutex<State>,
}

struct State {
    /// `None` after closing, or after sled failed twice.
    db: Option<Db>,
    /// Counts the databases, so that a failure of an old one is not held against the new one.
    generation: u32,
    flushed: Instant,
}

impl SledSnapshots {
    /// Opens the store in a directory, which is made when it is not there. Blocks for as long as sled needs.
    ///
    /// # Errors
    /// [`SnapshotOpenError::InUse`] when another has it open; it is then left as it is.
    pub fn open(dir: impl Into<PathBuf>, options: SledOptions) -> Result<Self, SnapshotOpenError> {
        let dir = dir.into();
        let state = match database::open(&dir, &options) {
            Ok(db) => State { db: Some(db), generation: 0, flushed: Instant::now() },
            Err(OpenFailure::InUse) => return Err(SnapshotOpenError::InUse { path: dir }),
            Err(OpenFailure::Broken(reason)) => {
                let db = start_anew(&dir, &options, &reason);
                State { db, generation: 1, flushed: Instant::now() }
            }
        };
        Ok(Self { dir, options, state: Mutex::new(state) })
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether snapshots are kept: not after closing, nor after sled failed twice.
    #[must_use]
    pub fn is_working(&self) -> bool {
        self.state.lock().db.is_some()
    }

    /// Runs something on the database; `None` when there is none, or it fails.
    fn on_db<T>(&self, run: impl FnOnce(&Db) -> sled::Result<T>) -> Option<T> {
        let (db, generation) = self.current()?;
        match database::guarded(|| run(&db)) {
            Ok(value) => Some(value),
            Err(reason) => {
                // Dropping a database whose inside is in doubt may hang; leaking one or two per process costs less.
                std::mem::forget(db);
                self.replace(generation, &reason);
                None
            }
        }
    }

    fn current(&self) -> Option<(Db, u32)> {
        let state = self.state.lock();
        Some((state.db.clone()?, state.generation))
    }

    /// Puts a database that failed aside: the first one for a new one, the second one for good.
    fn replace(&self, generation: u32, reason: &str) {
        let mut state = self.state.lock();
        // One that was closed meanwhile stays closed.
        if state.generation != generation || state.db.is_none() {
            return;
        }
        std::mem::forget(state.db.take());
        state.generation += 1;
        if generation == 0 {
            state.db = start_anew(&self.dir, &self.options, reason);
        } else {
            log_given_up(&self.dir, reason);
        }
    }

    fn flush_if_due(&self) {
        let mut state = self.state.lock();
        if state.flushed.elapsed() < self.options.flush_interval {
            return;
        }
        state.flushed = Instant::now();
        drop(state);
        self.on_db(|db| db.flush());
    }

    /// What lies in the two slots of a stream.
    fn slots(&self, stream: &StreamId) -> Option<[Option<Envelope>; 2]> {
        let values = self.on_db(|db| Ok([db.get(slot_key(stream, 0))?, db.get(slot_key(stream, 1))?]))?;
        Some(values.map(|value| trusted(stream, &value?)))
    }
}

/// Quarantines a directory and opens a new database in its place; `None`, once and for all, when that fails too.
fn start_anew(dir: &Path, options: &SledOptions, reason: &str) -> Option<Db> {
    let opened = quarantine::put_aside(dir).map_err(|error| error.to_string()).and_then(|aside| {
        tracing::warn!(dir = %dir.display(), aside = %aside.display(), reason, "snapshots put aside");
        database::open(dir, options).map_err(|failure| failure.to_string())
    });
    opened.inspect_err(|second| log_given_up(dir, &format!("{reason}; then {second}"))).ok()
}

fn log_given_up(dir: &Path, reason: &str) {
    tracing::error!(
        dir = %dir.display(),
        code = "snapshots_given_up",
        reason,
        "no snapshots are kept until the next start; every activation replays its whole stream"
    );
}

/// A stream has two slots, so that a save overwrites one snapshot and leaves the other.
fn slot_key(stream: &StreamId, slot: u8) -> Vec<u8> {
    // No stream's name contains a zero byte.
    [stream.as_str().as_bytes(), &[0, slot]].concat()
}

fn trusted(stream: &StreamId, value: &[u8]) -> Option<Envelope> {
    let doubt = |error: &EnvelopeError| {
        tracing::warn!(stream = stream.as_str(), %error, "snapshot discarded");
    };
    Envelope::decode(stream, value).inspect_err(doubt).ok()
}

/// The slot to overwrite and the serial number to write there: an empty slot first, then that of the same version as
/// the last one, then the older one.
fn next_slot(slots: &[Option<Envelope>; 2], snapshot: &Snapshot) -> (u8, u64) {
    let last = slots.iter().flatten().max_by_key(|envelope| envelope.serial);
    let serial = last.map_or(1, |last| last.serial.saturating_add(1));
    let same =
        |slot: &Option<Envelope>| slot.as_ref().is_some_and(|e| e.snapshot.version == snapshot.version);
    let slot = match slots {
        [first, _] if same(first) => 0,
        [_, second] if same(second) => 1,
        [None, _] => 0,
        [_, None] => 1,
        [Some(first), Some(second)] => u8::from(second.serial < first.serial),
    };
    (slot, serial)
}

impl SnapshotStore for SledSnapshots {
    fn load(&self, stream: &StreamId) -> Vec<Snapshot> {
        let mut found: Vec<_> = self.slots(stream).into_iter().flatten().flatten().collect();
        found.sort_by_key(|envelope| std::cmp::Reverse(envelope.serial));
        found.into_iter().map(|envelope| envelope.snapshot).collect()
    }

    fn save(&self, stream: &StreamId, snapshot: &Snapshot) {
        let Some(slots) = self.slots(stream) else { return };
        let (slot, serial) = next_slot(&slots, snapshot);
        match (Envelope { serial, snapshot: snapshot.clone() }).encode(stream) {
            Ok(value) => {
                self.on_db(|db| db.insert(slot_key(stream, slot), value));
                self.flush_if_due();
            }
            Err(error) => tracing::warn!(stream = stream.as_str(), %error, "snapshot not saved"),
        }
    }

    fn remove(&self, stream: &StreamId) {
        self.on_db(|db| {
            db.remove(slot_key(stream, 0))?;
            db.remove(slot_key(stream, 1))
        });
    }

    fn close(&self) {
        let Some(db) = self.state.lock().db.take() else { return };
        if let Err(reason) = database::close(db) {
            tracing::warn!(dir = %self.dir.display(), reason, "snapshots were not closed cleanly");
        }
    }
}

impl Drop for SledSnapshots {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for SledSnapshots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledSnapshots").field("dir", &self.dir).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
