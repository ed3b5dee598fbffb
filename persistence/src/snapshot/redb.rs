//! Snapshots on redb.

use std::path::{Path, PathBuf};

use redb::{
    Database, DatabaseError, Durability, ReadableDatabase, StorageError, Table, TableDefinition, TableError,
    WriteTransaction,
};

use super::cache::Cache;
use super::engine::{Broken, Engine, OpenFailure};
use super::{Snapshot, SnapshotOpenError, SnapshotOptions, SnapshotStore};
use crate::StreamId;

const SNAPSHOTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("snapshots");
const FILE: &str = "snapshots.redb";

/// Keeps snapshots in a redb database (feature `redb`), as a cache that behaves as
/// [`SledSnapshots`](super::SledSnapshots) does in every way that can be seen: the same doubts, the same quarantine, the
/// same budget.
///
/// redb is maintained, keeps one file in a documented format, and has after a crash all that was flushed before it; the
/// last release of sled 0.34 is from 2021. Choose redb where that counts; sled where the default build is to do, or
/// where many snapshots are written, each of which costs redb a transaction of its own. Both are caches: going over from
/// one to the other, in another directory, costs one replay for each instance.
#[derive(Debug)]
pub struct RedbSnapshots(Cache<Redb>);

impl RedbSnapshots {
    /// Opens the store in a directory, which is made when it is not there. Blocks for as long as redb needs: after a
    /// crash it looks through the whole file.
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

    /// Whether snapshots are kept: not after closing, nor after redb failed twice.
    #[must_use]
    pub fn is_working(&self) -> bool {
        self.0.is_working()
    }
}

impl SnapshotStore for RedbSnapshots {
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

#[derive(Debug)]
struct Redb(Database);

fn broken(error: impl Into<redb::Error>) -> Broken {
    Broken(error.into().to_string())
}

impl Redb {
    /// A change that the next flush makes durable; a crash before it loses it, and nothing else.
    fn change(
        &self,
        change: impl FnOnce(&mut Table<'_, &'static [u8], &'static [u8]>) -> Result<(), StorageError>,
    ) -> Result<(), Broken> {
        self.transaction(Durability::None, |transaction| {
            change(&mut transaction.open_table(SNAPSHOTS).map_err(broken)?).map_err(broken)
        })
    }

    fn transaction(
        &self,
        durability: Durability,
        change: impl FnOnce(&WriteTransaction) -> Result<(), Broken>,
    ) -> Result<(), Broken> {
        let mut transaction = self.0.begin_write().map_err(broken)?;
        transaction.set_durability(durability).map_err(broken)?;
        change(&transaction)?;
        transaction.commit().map_err(broken)
    }
}

impl Engine for Redb {
    type Value = Vec<u8>;

    fn open(dir: &Path, options: &SnapshotOptions) -> Result<Self, OpenFailure> {
        let cache = usize::try_from(options.generation_cache_bytes()).unwrap_or(usize::MAX);
        match Database::builder().set_cache_size(cache).create(dir.join(FILE)) {
            Ok(db) => Ok(Self(db)),
            Err(DatabaseError::DatabaseAlreadyOpen) => Err(OpenFailure::InUse),
            Err(error) => Err(broken(error).into()),
        }
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Broken> {
        let table = match self.0.begin_read().map_err(broken)?.open_table(SNAPSHOTS) {
            // Nothing was ever saved.
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            table => table.map_err(broken)?,
        };
        Ok(table.get(key).map_err(broken)?.map(|value| value.value().to_vec()))
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), Broken> {
        self.change(|table| table.insert(key, value).map(drop))
    }

    fn remove(&self, key: &[u8]) -> Result<(), Broken> {
        self.change(|table| table.remove(key).map(drop))
    }

    fn flush(&self) -> Result<(), Broken> {
        self.transaction(Durability::Immediate, |_| Ok(()))
    }
}

#[cfg(test)]
mod tests;
