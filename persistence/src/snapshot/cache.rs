//! A store of snapshots in a database: a cache that may fail in any way it likes.

use std::fmt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::engine::{Broken, Engine, OpenFailure, guarded};
use super::envelope::Envelope;
use super::slots::{newest, next_serial, next_slot, slot_key};
use super::{Snapshot, SnapshotOpenError, SnapshotOptions, SnapshotStore, log_given_up};
use crate::{RealVfs, StreamId, Vfs, VfsLock};

mod generations;
mod quarantine;

use generations::Generations;

/// How long to wait between two attempts to open what is in use.
const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(20);
/// How many bytes are saved, in parts of what a database may have, before it is looked how large it is.
const LOOK_EVERY: u64 = 16;

/// Keeps snapshots in a database, as a cache: whatever is wrong with it, it answers with fewer snapshots.
///
/// When the database itself fails, the directory is put aside and an empty one takes its place; when that happens a
/// second time, the store goes on without keeping anything.
pub(super) struct Cache<E: Engine> {
    dir: PathBuf,
    options: SnapshotOptions,
    state: Mutex<State<E>>,
}

struct State<E: Engine> {
    /// `None` after closing, or after the database failed twice.
    open: Option<Generations<E>>,
    /// Held as long as the databases are open.
    lock: Option<Box<dyn VfsLock>>,
    /// Counts what was opened, so that a failure of an old database is not held against the new one.
    epoch: u64,
    /// Whether a directory was put aside already.
    failed_once: bool,
    flushed: Instant,
    /// How many bytes were saved since it was looked how large the database is.
    saved_bytes: u64,
}

/// What is opened with a directory.
type OpenedDir<E> = (Generations<E>, Box<dyn VfsLock>);

impl<E: Engine> Cache<E> {
    pub(super) fn open(dir: PathBuf, options: SnapshotOptions) -> Result<Self, SnapshotOpenError> {
        let (opened, failed_once) = match open_in_time(&dir, &options) {
            Ok(opened) => (Some(opened), false),
            Err(OpenFailure::InUse) => return Err(SnapshotOpenError::InUse { path: dir }),
            Err(OpenFailure::Broken(reason)) => (start_anew(&dir, &options, &reason), true),
        };
        let (open, lock) = opened.unzip();
        let state = State { open, lock, epoch: 0, failed_once, flushed: Instant::now(), saved_bytes: 0 };
        Ok(Self { dir, options, state: Mutex::new(state) })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn is_working(&self) -> bool {
        self.state.lock().open.is_some()
    }

    /// Runs something on the databases; `None` when there are none, or they fail.
    fn on_open<T>(&self, run: impl FnOnce(&Generations<E>) -> Result<T, Broken>) -> Option<T> {
        let (open, epoch) = self.current()?;
        match guarded(|| run(&open)) {
            Ok(value) => Some(value),
            Err(reason) => {
                open.leak();
                self.replace(epoch, &reason);
                None
            }
        }
    }

    fn current(&self) -> Option<(Generations<E>, u64)> {
        let state = self.state.lock();
        Some((state.open.clone()?, state.epoch))
    }

    /// Puts a database that failed aside: the first time for a new one, the second time for good.
    fn replace(&self, epoch: u64, reason: &Broken) {
        let mut state = self.state.lock();
        // One that was closed meanwhile stays closed.
        if state.epoch != epoch {
            return;
        }
        let Some(open) = state.open.take() else { return };
        open.leak();
        state.epoch += 1;
        if std::mem::replace(&mut state.failed_once, true) {
            return log_given_up(&self.dir, &reason.to_string());
        }
        let (open, lock) = start_anew(&self.dir, &self.options, reason).unzip();
        (state.open, state.lock) = (open, lock);
    }

    /// Notes that something was saved; flushes and makes room where it is time to.
    fn saved(&self, bytes: usize) {
        let (flush, look) = {
            let mut state = self.state.lock();
            state.saved_bytes += bytes as u64;
            let flush = state.flushed.elapsed() >= self.options.flush_interval;
            let look = state.saved_bytes >= self.options.generation_bytes_max() / LOOK_EVERY;
            if flush {
                state.flushed = Instant::now();
            }
            if look {
                state.saved_bytes = 0;
            }
            (flush, look)
        };
        if flush {
            self.on_open(Generations::flush);
        }
        if look {
            self.make_room_if_full();
        }
    }

    fn make_room_if_full(&self) {
        let max = self.options.generation_bytes_max();
        if self.on_open(Generations::current_bytes).is_none_or(|bytes| bytes < max) {
            return;
        }
        let Some((full, epoch)) = self.current() else { return };
        match full.next(&self.dir, &self.options) {
            Ok(next) => self.turn_over(epoch, &next),
            Err(failure) => self.replace(epoch, &Broken(failure.to_string())),
        }
    }

    fn turn_over(&self, epoch: u64, next: &Generations<E>) {
        let mut state = self.state.lock();
        // Another may have been as quick, or the store was closed.
        if state.epoch != epoch || state.open.is_none() {
            return;
        }
        state.epoch += 1;
        let before = state.open.replace(next.clone());
        drop(state);
        drop(before);
        next.remove_others(&self.dir);
        tracing::debug!(dir = %self.dir.display(), "the oldest snapshots made room");
    }
}

/// Opens what is in a directory, waiting as long as the options say while it is in use.
fn open_in_time<E: Engine>(dir: &Path, options: &SnapshotOptions) -> Result<OpenedDir<E>, OpenFailure> {
    let deadline = Instant::now() + options.lock_wait;
    loop {
        match open_once(dir, options) {
            Err(OpenFailure::InUse) if Instant::now() < deadline => thread::sleep(LOCK_RETRY_INTERVAL),
            opened => return opened,
        }
    }
}

fn open_once<E: Engine>(dir: &Path, options: &SnapshotOptions) -> Result<OpenedDir<E>, OpenFailure> {
    let unusable = |error: std::io::Error| Broken(error.to_string());
    std::fs::create_dir_all(dir).map_err(unusable)?;
    let lock = RealVfs.lock(&dir.join("LOCK")).map_err(unusable)?.ok_or(OpenFailure::InUse)?;
    Ok((Generations::open(dir, options)?, lock))
}

/// Quarantines a directory and begins anew in its place; `None`, once and for all, when that fails too.
fn start_anew<E: Engine>(dir: &Path, options: &SnapshotOptions, reason: &Broken) -> Option<OpenedDir<E>> {
    let opened = quarantine::put_aside(dir).map_err(|error| error.to_string()).and_then(|aside| {
        tracing::warn!(dir = %dir.display(), aside = %aside.display(), %reason, "snapshots put aside");
        open_in_time(dir, options).map_err(|failure| failure.to_string())
    });
    opened.inspect_err(|second| log_given_up(dir, &format!("{reason}; then {second}"))).ok()
}

impl<E: Engine> SnapshotStore for Cache<E> {
    fn load(&self, stream: &StreamId) -> Vec<Snapshot> {
        let found = self.on_open(|open| open.slots(stream));
        newest(found.into_iter().flatten().flatten().flatten())
    }

    fn load_latest(&self, stream: &StreamId) -> Option<Snapshot> {
        self.on_open(|open| open.latest(stream)).flatten()
    }

    fn save(&self, stream: &StreamId, snapshot: &Snapshot) {
        let Some([current, previous]) = self.on_open(|open| open.slots(stream)) else { return };
        let slot = next_slot(&current, snapshot.version);
        let serial = next_serial(current.iter().chain(&previous).flatten());
        match (Envelope { serial, snapshot: snapshot.clone() }).encode(stream) {
            Ok(value) => {
                self.on_open(|open| open.put(&slot_key(stream, slot), &value));
                self.saved(value.len());
            }
            Err(error) => tracing::warn!(stream = stream.as_str(), %error, "snapshot not saved"),
        }
    }

    fn remove(&self, stream: &StreamId) {
        self.on_open(|open| open.remove(stream));
    }

    fn close(&self) {
        let mut state = self.state.lock();
        if let Some(open) = state.open.take()
            && let Err(reason) = guarded(|| open.flush())
        {
            tracing::warn!(dir = %self.dir.display(), %reason, "snapshots were not closed cleanly");
        }
        state.lock = None;
    }
}

impl<E: Engine> Drop for Cache<E> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<E: Engine> fmt::Debug for Cache<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("dir", &self.dir).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
