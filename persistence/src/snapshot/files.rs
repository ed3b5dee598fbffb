//! Snapshots in plain files, on any file system that a journal can be on.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::envelope::Envelope;
use super::slots::{Slots, newest, next_serial, next_slot, trusted};
use super::{Snapshot, SnapshotOpenError, SnapshotStore, log_given_up};
use crate::planted::{Fault, unless};
use crate::{RealVfs, StreamId, Vfs, VfsLock};

mod names;

use names::Name;

/// How a [`FileSnapshots`] works.
#[derive(Debug, Clone)]
pub struct FileSnapshotOptions {
    /// How many bytes the snapshots may take, as the sum of the files' lengths. Where there are more, those of the
    /// instances go whose last snapshot was written longest ago, about half of all at once. A snapshot of more than
    /// half of it is not kept.
    pub budget_bytes: u64,
    /// The file system.
    pub vfs: Arc<dyn Vfs>,
}

impl Default for FileSnapshotOptions {
    /// 256 MiB, on the machine's own file system.
    fn default() -> Self {
        Self { budget_bytes: 256 * 1024 * 1024, vfs: Arc::new(RealVfs) }
    }
}

/// Keeps snapshots in plain files, two for an instance: the reference among the stores, which needs nothing but a
/// [`Vfs`], so that it also works on a simulated disk.
///
/// A file is written under another name, synced, renamed, and the directory synced: after a crash there is the old
/// snapshot or the new one. Each save costs two syncs and each instance up to two files, so for many instances a
/// database such as [`SledSnapshots`](super::SledSnapshots) costs less. What cannot be read or trusted is not loaded;
/// what cannot be written is not kept, and said in the log.
///
/// ```
/// use annals_persistence::{
///     EventId, FileSnapshotOptions, FileSnapshots, JournalId, Snapshot, SnapshotStore, StreamId, Version,
/// };
/// # let dir = tempfile::tempdir()?;
/// let store = FileSnapshots::open(dir.path(), FileSnapshotOptions::default())?;
/// let stream = StreamId::aggregate("order", "1")?;
/// let snapshot = Snapshot {
///     journal: JournalId::generate(),
///     version: Version(100),
///     event_id: EventId::generate(),
///     fingerprint: 0,
///     state: b"what it looked like".to_vec(),
/// };
/// store.save(&stream, &snapshot);
/// assert_eq!(store.load(&stream), [snapshot]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct FileSnapshots {
    dir: PathBuf,
    options: FileSnapshotOptions,
    /// `None` after closing, or where the directory cannot be used.
    state: Mutex<Option<State>>,
    /// Whether the last save failed, so that a disk that is full is told of once.
    failing: AtomicBool,
}

struct State {
    /// Snapshots are saved in this generation, and read from it and the one before.
    generation: u64,
    /// How many bytes were saved in this generation.
    bytes: u64,
    _lock: Box<dyn VfsLock>,
}

impl FileSnapshots {
    /// Opens the store in a directory, which is made when it is not there. Where it cannot be used the store works on
    /// without keeping anything, and says so in the log.
    ///
    /// # Errors
    /// [`SnapshotOpenError::InUse`] when another has it open.
    pub fn open(dir: impl Into<PathBuf>, options: FileSnapshotOptions) -> Result<Self, SnapshotOpenError> {
        let dir = dir.into();
        let state = match open_dir(&dir, &options) {
            Ok(Some(state)) => Some(state),
            Ok(None) => return Err(SnapshotOpenError::InUse { path: dir }),
            Err(error) => {
                log_given_up(&dir, &error.to_string());
                None
            }
        };
        Ok(Self { dir, options, state: Mutex::new(state), failing: AtomicBool::new(false) })
    }

    /// Whether snapshots are kept: not after closing, nor where the directory cannot be used.
    #[must_use]
    pub fn is_working(&self) -> bool {
        self.state.lock().is_some()
    }

    fn generation(&self) -> Option<u64> {
        self.state.lock().as_ref().map(|state| state.generation)
    }

    fn slots(&self, stream: &StreamId, generation: u64) -> Slots {
        [0, 1].map(|slot| self.read(&Name::of(stream, generation, slot)).and_then(|v| trusted(stream, &v)))
    }

    fn read(&self, name: &Name) -> Option<Vec<u8>> {
        match self.bytes_of(name) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(file = %name, %error, "snapshot not read");
                None
            }
        }
    }

    fn bytes_of(&self, name: &Name) -> io::Result<Vec<u8>> {
        let file = self.options.vfs.open(&self.dir.join(name.file()), false)?;
        let len = usize::try_from(file.len()?).map_err(io::Error::other)?;
        let mut bytes = vec![0; len];
        let mut read = 0;
        while read < bytes.len() {
            match file.read_at(&mut bytes[read..], read as u64)? {
                0 => break,
                count => read += count,
            }
        }
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Says in which generation so many bytes go; begins another where this one is full.
    fn place_for(&self, bytes: u64) -> io::Result<Option<u64>> {
        let mut state = self.state.lock();
        let Some(state) = state.as_mut() else { return Ok(None) };
        let max = self.options.budget_bytes / 2;
        if bytes > max {
            return Ok(None);
        }
        if state.bytes + bytes > max {
            state.generation += 1;
            state.bytes = 0;
            let generation = state.generation;
            remove(&*self.options.vfs, &self.dir, |name| name.generation + 1 < generation)?;
        }
        state.bytes += bytes;
        Ok(Some(state.generation))
    }

    fn keep(&self, stream: &StreamId, snapshot: &Snapshot) -> io::Result<()> {
        let Some(before) = self.generation() else { return Ok(()) };
        let (current, previous) = (self.slots(stream, before), self.slots(stream, before.saturating_sub(1)));
        let serial = next_serial(current.iter().chain(&previous).flatten());
        let envelope = Envelope { serial, snapshot: snapshot.clone() };
        let value = envelope.encode(stream).map_err(io::Error::other)?;
        let Some(generation) = self.place_for(value.len() as u64)? else { return Ok(()) };
        // A new generation has nothing of this stream.
        let slot = if generation == before { next_slot(&current, snapshot.version) } else { 0 };
        self.write(&Name::of(stream, generation, slot), &value)
    }

    /// Puts bytes in a file's place, all of them or none.
    fn write(&self, name: &Name, bytes: &[u8]) -> io::Result<()> {
        let vfs = &*self.options.vfs;
        let (unfinished, path) = (self.dir.join(name.unfinished()), self.dir.join(name.file()));
        let written = put(vfs, &unfinished, bytes).and_then(|()| vfs.rename(&unfinished, &path));
        if let Err(error) = written {
            // What is left of it is removed when the store is opened next, if it cannot be now.
            drop(vfs.remove(&unfinished));
            return Err(error);
        }
        vfs.sync_dir(&self.dir)
    }
}

fn put(vfs: &dyn Vfs, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = match vfs.create(path) {
        // An earlier save failed, and what it left could not be removed.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            vfs.remove(path)?;
            vfs.create(path)
        }
        created => created,
    }?;
    file.write_all_at(bytes, 0)?;
    unless(Fault::SnapshotNotSynced, || file.sync_data())
}

/// `None` when it is in use.
fn open_dir(dir: &Path, options: &FileSnapshotOptions) -> io::Result<Option<State>> {
    let vfs = &*options.vfs;
    vfs.create_dir_all(dir)?;
    let Some(lock) = vfs.lock(&dir.join("LOCK"))? else { return Ok(None) };
    let names = names_in(vfs, dir)?;
    let generation = names.iter().map(|name| name.generation).max().unwrap_or(1);
    remove(vfs, dir, |name| !name.is_whole || name.generation + 1 < generation)?;
    let bytes_of = |wanted: u64| -> io::Result<u64> {
        let wanted = names.iter().filter(|name| name.is_whole && name.generation == wanted);
        wanted.map(|name| vfs.open(&dir.join(name.file()), false)?.len()).sum()
    };
    let (bytes, before) = (bytes_of(generation)?, bytes_of(generation.saturating_sub(1))?);
    let mut state = State { generation, bytes, _lock: lock };
    // The budget may be smaller than it was.
    if bytes + before > options.budget_bytes {
        state.generation += if bytes > options.budget_bytes / 2 { 2 } else { 1 };
        state.bytes = 0;
        remove(vfs, dir, |name| name.generation + 1 < state.generation)?;
    }
    Ok(Some(state))
}

fn names_in(vfs: &dyn Vfs, dir: &Path) -> io::Result<Vec<Name>> {
    Ok(vfs.list(dir)?.iter().filter_map(|name| Name::parse(name)).collect())
}

/// Removes files, durably.
fn remove(vfs: &dyn Vfs, dir: &Path, which: impl Fn(&Name) -> bool) -> io::Result<()> {
    let names: Vec<_> = names_in(vfs, dir)?.into_iter().filter(which).collect();
    for name in &names {
        vfs.remove(&dir.join(if name.is_whole { name.file() } else { name.unfinished() }))?;
    }
    if names.is_empty() { Ok(()) } else { vfs.sync_dir(dir) }
}

impl SnapshotStore for FileSnapshots {
    fn load(&self, stream: &StreamId) -> Vec<Snapshot> {
        let Some(generation) = self.generation() else { return Vec::new() };
        let generations = [generation, generation.saturating_sub(1)];
        newest(generations.into_iter().flat_map(|generation| self.slots(stream, generation)).flatten())
    }

    fn save(&self, stream: &StreamId, snapshot: &Snapshot) {
        match self.keep(stream, snapshot) {
            Ok(()) => self.failing.store(false, Ordering::Relaxed),
            Err(error) => {
                if !self.failing.swap(true, Ordering::Relaxed) {
                    tracing::warn!(stream = stream.as_str(), %error, "snapshots are not saved");
                }
            }
        }
    }

    // One that is there again after a crash is a snapshot like any other, so the directory is not synced.
    fn remove(&self, stream: &StreamId) {
        let Some(generation) = self.generation() else { return };
        for generation in [generation, generation.saturating_sub(1)] {
            for slot in 0..2 {
                let name = Name::of(stream, generation, slot);
                match self.options.vfs.remove(&self.dir.join(name.file())) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        tracing::warn!(file = %name, %error, "snapshot not removed");
                    }
                    _ => {}
                }
            }
        }
    }

    fn close(&self) {
        self.state.lock().take();
    }
}

impl fmt::Debug for FileSnapshots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSnapshots").field("dir", &self.dir).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
