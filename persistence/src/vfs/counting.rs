//! A file system that notes every call that changes something, and fails the calls it is told to.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{RealVfs, Vfs, VfsFile, VfsLock};

/// A call that was made, in the words of [`Vfs`] and [`VfsFile`]. A failed call is noted as well.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum VfsCall {
    /// A file was created.
    Create(PathBuf),
    /// A file was removed.
    Remove(PathBuf),
    /// A file got this other name.
    Rename(PathBuf, PathBuf),
    /// A directory's entries were synced.
    SyncDir(PathBuf),
    /// Bytes were written.
    Write {
        /// The file.
        file: PathBuf,
        /// Where in it, in bytes.
        offset: u64,
        /// How many bytes.
        bytes: usize,
    },
    /// A file's content was synced.
    SyncData(PathBuf),
    /// A file was cut or filled up to this length.
    SetLen(PathBuf, u64),
    /// Space was reserved up to this length.
    Reserve(PathBuf, u64),
}

/// Wraps a file system to note what is called, in order, and to fail chosen calls: for tests that assert when
/// something became durable, or what follows a failed disk.
///
/// ```
/// use annals_persistence::{CountingVfs, RealVfs, Vfs, VfsCall};
///
/// let dir = tempfile::tempdir()?;
/// let vfs = CountingVfs::new(RealVfs);
/// let file = vfs.create(&dir.path().join("a"))?;
/// vfs.fail_sync(1, std::io::Error::other("the disk is gone"));
/// assert!(file.sync_data().is_err());
/// assert_eq!((vfs.writes(), vfs.syncs()), (0, 1));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct CountingVfs {
    inner: Arc<dyn Vfs>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    calls: Vec<VfsCall>,
    writes: u64,
    syncs: u64,
    write_fault: Option<Fault>,
    sync_fault: Option<Fault>,
    no_space: bool,
    unsynced: bool,
}

/// A call to fail: this many from now on, counted down as they come.
#[derive(Debug)]
struct Fault {
    countdown: u64,
    error: io::Error,
}

impl Default for CountingVfs {
    fn default() -> Self {
        Self::new(RealVfs)
    }
}

impl CountingVfs {
    /// Wraps a file system.
    #[must_use]
    pub fn new(inner: impl Vfs) -> Self {
        Self { inner: Arc::new(inner), state: Arc::default() }
    }

    /// Notes syncs without making them: a test that crashes no machine has no use for them, and they take most of its
    /// time.
    #[must_use]
    pub fn without_syncing(self) -> Self {
        self.state.lock().unsynced = true;
        self
    }

    /// Every call so far, in order.
    #[must_use]
    pub fn calls(&self) -> Vec<VfsCall> {
        self.state.lock().calls.clone()
    }

    /// How many writes there have been.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.state.lock().writes
    }

    /// How many times a file's content was synced.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.state.lock().syncs
    }

    /// Fails the `nth` write from now on (1 is the next), once, with the first half of its bytes written.
    pub fn fail_write(&self, nth: u64, error: io::Error) {
        self.state.lock().write_fault = Some(Fault { countdown: nth, error });
    }

    /// Fails the `nth` sync of a file's content from now on (1 is the next), once, without syncing.
    pub fn fail_sync(&self, nth: u64, error: io::Error) {
        self.state.lock().sync_fault = Some(Fault { countdown: nth, error });
    }

    /// Whether every reservation fails with [`io::ErrorKind::StorageFull`] from now on.
    pub fn set_no_space(&self, no_space: bool) {
        self.state.lock().no_space = no_space;
    }

    fn note(&self, call: VfsCall) {
        self.state.lock().calls.push(call);
    }

    fn wrap(&self, path: &Path, inner: Box<dyn VfsFile>) -> Box<dyn VfsFile> {
        Box::new(CountingFile { inner, path: path.to_owned(), state: Arc::clone(&self.state) })
    }
}

impl Vfs for CountingVfs {
    fn open(&self, path: &Path, writable: bool) -> io::Result<Box<dyn VfsFile>> {
        Ok(self.wrap(path, self.inner.open(path, writable)?))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        self.note(VfsCall::Create(path.to_owned()));
        Ok(self.wrap(path, self.inner.create(path)?))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.inner.list(dir)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.note(VfsCall::Remove(path.to_owned()));
        self.inner.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.note(VfsCall::Rename(from.to_owned(), to.to_owned()));
        self.inner.rename(from, to)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.inner.create_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.note(VfsCall::SyncDir(dir.to_owned()));
        if self.state.lock().unsynced { Ok(()) } else { self.inner.sync_dir(dir) }
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn VfsLock>>> {
        self.inner.lock(path)
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<Option<u64>> {
        self.inner.free_bytes(dir)
    }
}

impl State {
    /// Takes the fault whose turn it is.
    fn due(fault: &mut Option<Fault>) -> Option<io::Error> {
        let waiting = fault.as_mut()?;
        waiting.countdown = waiting.countdown.saturating_sub(1);
        if waiting.countdown > 0 {
            return None;
        }
        fault.take().map(|due| due.error)
    }
}

#[derive(Debug)]
struct CountingFile {
    inner: Box<dyn VfsFile>,
    path: PathBuf,
    state: Arc<Mutex<State>>,
}

impl CountingFile {
    fn note_write(&self, offset: u64, bytes: usize) -> Option<io::Error> {
        let mut state = self.state.lock();
        state.calls.push(VfsCall::Write { file: self.path.clone(), offset, bytes });
        state.writes += 1;
        State::due(&mut state.write_fault)
    }

    fn note_sync(&self) -> Option<io::Error> {
        let mut state = self.state.lock();
        state.calls.push(VfsCall::SyncData(self.path.clone()));
        state.syncs += 1;
        State::due(&mut state.sync_fault)
    }

    fn note_reserve(&self, len: u64) -> bool {
        let mut state = self.state.lock();
        state.calls.push(VfsCall::Reserve(self.path.clone(), len));
        state.no_space
    }
}

impl VfsFile for CountingFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        match self.note_write(offset, bytes.len()) {
            None => self.inner.write_all_at(bytes, offset),
            Some(error) => {
                self.inner.write_all_at(&bytes[..bytes.len() / 2], offset)?;
                Err(error)
            }
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        match self.note_sync() {
            Some(error) => Err(error),
            None if self.state.lock().unsynced => Ok(()),
            None => self.inner.sync_data(),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.state.lock().calls.push(VfsCall::SetLen(self.path.clone(), len));
        self.inner.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        if self.note_reserve(len) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.inner.reserve(len)
    }
}
