//! Snapshots on sled.

use std::io;
use std::path::{Path, PathBuf};

use sled::{Db, IVec};

use super::cache::Cache;
use super::engine::{Broken, Engine, OpenFailure};
use super::{Snapshot, SnapshotOpenError, SnapshotOptions, SnapshotStore};
use crate::StreamId;

/// Keeps snapshots in a sled database, as a cache: whatever is wrong with it, it answers with fewer snapshots.
///
/// A snapshot that cannot be trusted is not loaded. When sled itself fails, the directory is renamed to
/// `<dir>.quarantine-<microseconds since 1970>` (an earlier one of this kind is removed) and an empty database takes its
/// place; when that happens a second time, the store goes on without keeping anything. What happened is in the log.
#[derive(Debug)]
pub struct SledSnapshots(Cache<Db>);

impl SledSnapshots {
    /// Opens the store in a directory, which is made when it is not there. Blocks for as long as sled needs.
    ///
    /// # Errors
    /// [`SnapshotOpenError::InUse`] when another has it open; it is then left as it is.
    pub fn open(dir: impl Into<PathBuf>, options: SnapshotOptions) -> Result<Self, SnapshotOpenError> {
        Cache::open(dir.into(), options).map(Self)
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.0.dir()
    }

    /// Whether snapshots are kept: not after closing, nor after sled failed twice.
    #[must_use]
    pub fn is_working(&self) -> bool {
        self.0.is_working()
    }
}

impl SnapshotStore for SledSnapshots {
    fn load(&self, stream: &StreamId) -> Vec<Snapshot> {
        self.0.load(stream)
    }

    fn load_latest(&self, stream: &StreamId) -> Option<Snapshot> {
        self.0.load_latest(stream)
    }

    fn save(&self, stream: &StreamId, snapshot: &Snapshot) {
        self.0.save(stream, snapshot);
    }

    fn remove(&self, stream: &StreamId) {
        self.0.remove(stream);
    }

    fn close(&self) {
        self.0.close();
    }
}

impl From<sled::Error> for Broken {
    fn from(error: sled::Error) -> Self {
        Self(error.to_string())
    }
}

impl Engine for Db {
    type Value = IVec;

    fn open(dir: &Path, options: &SnapshotOptions) -> Result<Self, OpenFailure> {
        // sled's own flusher thread is off: it wakes while there is nothing to do, and a database whose flusher died
        // waits for it for ever when it is dropped.
        let cache = options.generation_cache_bytes();
        let config = sled::Config::new().path(dir).cache_capacity(cache).flush_every_ms(None);
        config.open().map_err(|error| match error {
            error if is_lock_error(&error) => OpenFailure::InUse,
            error => Broken::from(error).into(),
        })
    }

    fn get(&self, key: &[u8]) -> Result<Option<IVec>, Broken> {
        Ok(sled::Tree::get(self, key)?)
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), Broken> {
        Ok(self.insert(key, value).map(drop)?)
    }

    fn remove(&self, key: &[u8]) -> Result<(), Broken> {
        Ok(sled::Tree::remove(self, key).map(drop)?)
    }

    fn flush(&self) -> Result<(), Broken> {
        Ok(sled::Tree::flush(self).map(drop)?)
    }
}

/// sled has no error of its own for a lock that another holds, only these words.
fn is_lock_error(error: &sled::Error) -> bool {
    let sled::Error::Io(error) = error else { return false };
    error.kind() == io::ErrorKind::Other && error.to_string().starts_with("could not acquire lock")
}
