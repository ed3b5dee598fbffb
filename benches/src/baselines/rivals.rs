//! Embedded stores that services use for the same job, with the same bytes under a key of stream and version.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fjall::{Config, Keyspace, PartitionCreateOptions, PartitionHandle, PersistMode};

use crate::Failure;

/// The key of the next event of an instance.
fn key(instance: usize, version: &AtomicU64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&(instance as u64).to_be_bytes());
    key[8..].copy_from_slice(&version.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    key
}

/// sled 0.34: an insert and a flush for each command. Its flush does not survive a loss of power.
#[derive(Debug)]
pub struct Sled {
    database: sled::Db,
    version: AtomicU64,
    bytes: Arc<[u8]>,
}

impl Sled {
    /// Opens a store.
    ///
    /// # Errors
    /// What sled said.
    pub fn open(dir: &Path, bytes: &Arc<[u8]>) -> Result<Self, Failure> {
        let database = sled::Config::new().path(dir).flush_every_ms(None).open()?;
        Ok(Self { database, version: AtomicU64::new(0), bytes: Arc::clone(bytes) })
    }

    /// One command.
    ///
    /// # Errors
    /// What sled said.
    pub fn append(&self, instance: usize) -> Result<(), Failure> {
        self.database.insert(key(instance, &self.version), &*self.bytes)?;
        self.database.flush()?;
        Ok(())
    }
}

/// fjall: a batch with a sync for each command.
pub struct Fjall {
    keyspace: Keyspace,
    events: PartitionHandle,
    version: AtomicU64,
    bytes: Arc<[u8]>,
}

impl std::fmt::Debug for Fjall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fjall")
    }
}

impl Fjall {
    /// Opens a store.
    ///
    /// # Errors
    /// What fjall said.
    pub fn open(dir: &Path, bytes: &Arc<[u8]>) -> Result<Self, Failure> {
        let keyspace = Config::new(dir).open()?;
        let events = keyspace.open_partition("events", PartitionCreateOptions::default())?;
        Ok(Self { keyspace, events, version: AtomicU64::new(0), bytes: Arc::clone(bytes) })
    }

    /// One command.
    ///
    /// # Errors
    /// What fjall said.
    pub fn append(&self, instance: usize) -> Result<(), Failure> {
        let mut batch = self.keyspace.batch().durability(Some(PersistMode::SyncData));
        batch.insert(&self.events, key(instance, &self.version), &*self.bytes);
        Ok(batch.commit()?)
    }
}
