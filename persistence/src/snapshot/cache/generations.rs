//! The two databases of a store: one is written, and the one before it is read where the first has nothing.
//!
//! A database hardly ever gives space back to the disk, so what is written longest ago leaves together with its
//! database: when the one that is written has its half of the budget, the one before is deleted and takes its place.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::engine::{Broken, Engine, OpenFailure, guarded};
use super::super::slots::{Slots, latest, slot_key, trusted};
use super::{Snapshot, SnapshotOptions};
use crate::StreamId;

/// A database and the number that its directory is called.
pub(super) struct Generation<E: Engine> {
    number: u64,
    dir: PathBuf,
    /// Gone only while it is dropped.
    db: Option<E>,
}

impl<E: Engine> Drop for Generation<E> {
    fn drop(&mut self) {
        let db = self.db.take();
        let dropped = guarded(|| {
            drop(db);
            Ok::<_, Broken>(())
        });
        if let Err(reason) = dropped {
            tracing::warn!(%reason, "a database of snapshots was not let go of cleanly");
        }
    }
}

impl<E: Engine> Generation<E> {
    fn open(dir: &Path, number: u64, options: &SnapshotOptions) -> Result<Arc<Self>, OpenFailure> {
        let own = dir.join(number.to_string());
        fs::create_dir_all(&own).map_err(|error| Broken(format!("\"{}\": {error}", own.display())))?;
        let db = guarded(|| E::open(&own, options))?;
        Ok(Arc::new(Self { number, dir: own, db: Some(db) }))
    }

    fn db(&self) -> Result<&E, Broken> {
        self.db.as_ref().ok_or_else(|| Broken("it is being closed".to_owned()))
    }

    fn slots(&self, stream: &StreamId) -> Result<Slots, Broken> {
        Ok(self.values(stream)?.map(|value| value.and_then(|value| trusted(stream, value.as_ref()))))
    }

    fn latest(&self, stream: &StreamId) -> Result<Option<Snapshot>, Broken> {
        Ok(latest(stream, self.values(stream)?))
    }

    fn values(&self, stream: &StreamId) -> Result<[Option<E::Value>; 2], Broken> {
        let value = |slot| self.db()?.get(&slot_key(stream, slot));
        Ok([value(0)?, value(1)?])
    }
}

/// The databases of a store. Cloning is cheap, and keeps them open.
pub(super) struct Generations<E: Engine> {
    current: Arc<Generation<E>>,
    previous: Option<Arc<Generation<E>>>,
}

impl<E: Engine> Clone for Generations<E> {
    fn clone(&self) -> Self {
        Self { current: Arc::clone(&self.current), previous: self.previous.clone() }
    }
}

impl<E: Engine> Generations<E> {
    /// Opens what is in a directory; begins where there is nothing.
    pub(super) fn open(dir: &Path, options: &SnapshotOptions) -> Result<Self, OpenFailure> {
        let numbers = numbers(dir).map_err(|error| Broken(error.to_string()))?;
        let current = Generation::open(dir, numbers.first().copied().unwrap_or(1), options)?;
        let previous = numbers.get(1).map(|number| Generation::open(dir, *number, options)).transpose()?;
        let mut opened = Self { current, previous };
        // The budget may be smaller than it was.
        if bytes_on_disk(dir).map_err(|error| Broken(error.to_string()))? > 2 * options.generation_bytes_max()
        {
            opened.previous = None;
        }
        opened.remove_others(dir);
        Ok(opened)
    }

    /// Begins a new database; the one before the current is let go of.
    pub(super) fn next(&self, dir: &Path, options: &SnapshotOptions) -> Result<Self, OpenFailure> {
        let current = Generation::open(dir, self.current.number + 1, options)?;
        guarded(|| self.flush())?;
        Ok(Self { current, previous: Some(Arc::clone(&self.current)) })
    }

    /// Removes every database of the directory but these.
    pub(super) fn remove_others(&self, dir: &Path) {
        let own = |number: &u64| {
            *number == self.current.number || self.previous.as_ref().is_some_and(|p| *number == p.number)
        };
        for number in numbers(dir).unwrap_or_default().iter().filter(|number| !own(number)) {
            let path = dir.join(number.to_string());
            if let Err(error) = fs::remove_dir_all(&path) {
                // It is tried again with the next database.
                tracing::warn!(path = %path.display(), %error, "an old database of snapshots was not removed");
            }
        }
    }

    /// What the two databases have of a stream.
    pub(super) fn slots(&self, stream: &StreamId) -> Result<[Slots; 2], Broken> {
        let previous = self.previous.as_ref().map(|previous| previous.slots(stream)).transpose()?;
        Ok([self.current.slots(stream)?, previous.unwrap_or_default()])
    }

    /// The snapshot of a stream that was saved last: whatever the database before has is older than what the current one has.
    pub(super) fn latest(&self, stream: &StreamId) -> Result<Option<Snapshot>, Broken> {
        match (self.current.latest(stream)?, &self.previous) {
            (None, Some(previous)) => previous.latest(stream),
            (latest, _) => Ok(latest),
        }
    }

    pub(super) fn put(&self, key: &[u8], value: &[u8]) -> Result<(), Broken> {
        self.current.db()?.put(key, value)
    }

    pub(super) fn remove(&self, stream: &StreamId) -> Result<(), Broken> {
        for generation in std::iter::once(&self.current).chain(&self.previous) {
            for slot in 0..2 {
                generation.db()?.remove(&slot_key(stream, slot))?;
            }
        }
        Ok(())
    }

    pub(super) fn flush(&self) -> Result<(), Broken> {
        self.current.db()?.flush()
    }

    /// How many bytes of disk the database takes that is written.
    pub(super) fn current_bytes(&self) -> Result<u64, Broken> {
        self.flush()?;
        bytes_on_disk(&self.current.dir).map_err(|error| Broken(error.to_string()))
    }

    /// Leaves the databases open for ever: dropping one whose inside is in doubt may hang, and leaking one or two per
    /// process costs less.
    pub(super) fn leak(self) {
        std::mem::forget(self);
    }
}

/// The numbers of the databases in a directory, the last first.
fn numbers(dir: &Path) -> io::Result<Vec<u64>> {
    let names = fs::read_dir(dir)?.map(|entry| entry.map(|entry| PathBuf::from(entry.file_name())));
    let names = names.collect::<io::Result<Vec<_>>>()?;
    let mut numbers: Vec<u64> =
        names.iter().filter_map(|name| name.to_str().and_then(|text| text.parse().ok())).collect();
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    Ok(numbers)
}

/// How many bytes of disk the files in a directory take. A file may be longer than that, where much of it was never
/// written.
fn bytes_on_disk(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        bytes += match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_on_disk(&entry.path())?,
            Ok(metadata) => metadata.blocks() * 512,
            // Databases remove files whenever they like.
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
    }
    Ok(bytes)
}
