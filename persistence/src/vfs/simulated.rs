//! A disk in memory that can lose power: between any two system calls, with whatever of the unsynced a real one might
//! have kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{Vfs, VfsFile, VfsLock};

mod file;

use file::{Change, Content};

/// What a disk keeps, when the power goes, of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survival {
    /// Nothing.
    Nothing,
    /// All of it.
    Everything,
    /// What was done first, up to some call, which may have been half done.
    Prefix,
    /// Some sectors of this many bytes and not others, in whatever order: what disks and their caches really do.
    Sectors(usize),
}

/// What to fail a call with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SimulatedFault {
    /// An input or output error. A write is done by half; a sync makes some of it durable, says so of none, and the rest
    /// reads well until the power goes and is then lost for good, however often it is synced: as Linux does it.
    Io,
    /// No space.
    NoSpace,
}

/// A file system in memory, which tells what was synced from what was not. Calls that change something are counted; at
/// any of them the power can go ([`SimVfs::crash_at`]), and then [`SimVfs::image`] says what a disk might hold.
///
/// ```
/// use std::path::Path;
/// use annals_persistence::{SimVfs, Survival, Vfs, VfsFile};
///
/// let disk = SimVfs::new();
/// let dir = Path::new("/data");
/// disk.create_dir_all(dir)?;
/// let file = disk.create(&dir.join("a"))?;
/// file.write_all_at(b"synced", 0)?;
/// file.sync_data()?;
/// disk.sync_dir(dir)?;
/// file.write_all_at(b"not yet", 0)?;
///
/// let after = disk.image(Survival::Nothing, 1);
/// let mut bytes = [0; 6];
/// after.open(&dir.join("a"), false)?.read_at(&mut bytes, 0)?;
/// assert_eq!(&bytes, b"synced");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct SimVfs(Arc<Mutex<Disk>>);

#[derive(Default)]
struct Disk {
    files: BTreeMap<u64, Content>,
    names: BTreeMap<PathBuf, u64>,
    /// The names as they were last synced, and what was done to them since, in order.
    durable_names: BTreeMap<PathBuf, u64>,
    renamings: Vec<Renaming>,
    dirs: BTreeSet<PathBuf>,
    locked: BTreeSet<PathBuf>,
    next_file: u64,
    calls: u64,
    crash_at: Option<u64>,
    crashed: bool,
    faults: BTreeMap<u64, SimulatedFault>,
    /// Every change, by the words of [`Vfs`]: what a failed test shows.
    history: Vec<String>,
    /// Whose they were.
    callers: Vec<String>,
    openings: Vec<u64>,
    /// What decides how much a write takes, where that may be less than all.
    short_writes: Option<StdRng>,
    /// What is done while a file's content is synced.
    meanwhile: Option<Meanwhile>,
    /// What is done before a call.
    before: Option<Before>,
}

type Meanwhile = Arc<dyn Fn(&Path) + Send + Sync>;
type Before = Arc<dyn Fn(&str) + Send + Sync>;

/// What was done to the names in a directory.
#[derive(Debug, Clone)]
enum Renaming {
    Gave(PathBuf, u64),
    Took(PathBuf),
    Moved(PathBuf, PathBuf),
}

impl Renaming {
    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Gave(path, file) => drop(names.insert(path.clone(), *file)),
            Self::Took(path) => drop(names.remove(path)),
            Self::Moved(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
        }
    }

    fn is_in(&self, dir: &Path) -> bool {
        match self {
            Self::Gave(path, _) | Self::Took(path) | Self::Moved(_, path) => path.parent() == Some(dir),
        }
    }
}

impl fmt::Debug for SimVfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let disk = self.0.lock();
        f.debug_struct("SimVfs")
            .field("calls", &disk.calls)
            .field("crashed", &disk.crashed)
            .finish_non_exhaustive()
    }
}

impl SimVfs {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many calls there have been that change something.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.0.lock().calls
    }

    /// What those calls were, in order, for a person to read.
    #[must_use]
    pub fn history(&self) -> Vec<String> {
        self.0.lock().history.clone()
    }

    /// Which thread made each of those calls, by its name.
    #[must_use]
    pub fn callers(&self) -> Vec<String> {
        self.0.lock().callers.clone()
    }

    /// How many calls there were when a lock was taken, each time: from there on somebody else calls.
    #[must_use]
    pub fn openings(&self) -> Vec<u64> {
        self.0.lock().openings.clone()
    }

    /// Takes the power away at this call (1 is the first), which may be half done: it and every later one fail.
    pub fn crash_at(&self, call: u64) {
        self.0.lock().crash_at = Some(call);
    }

    /// Whether the power has gone.
    #[must_use]
    pub fn crashed(&self) -> bool {
        self.0.lock().crashed
    }

    /// Fails this call (1 is the first) with this fault.
    pub fn fail_at(&self, call: u64, fault: SimulatedFault) {
        self.0.lock().faults.insert(call, fault);
    }

    /// Has writes take only some of their bytes now and then, as this seed decides. Whoever writes goes on behind them, as
    /// [`VfsFile::write_all_at`] says, but that is another call: the power can go in between, and the rest can fail.
    pub fn write_short(&self, seed: u64) {
        self.0.lock().short_writes = Some(StdRng::seed_from_u64(seed));
    }

    /// Has every sync of a file's content take as long as this does, which is given the file's path, also for those that
    /// sync other files meanwhile. What is written while it lasts is not made durable by it, and nothing is before it is
    /// over. It may call the disk.
    pub fn sync_slowly(&self, meanwhile: impl Fn(&Path) + Send + Sync + 'static) {
        self.0.lock().meanwhile = Some(Arc::new(meanwhile));
    }

    /// Has this be done before every call that changes something, on the thread that makes it, with the words for the call:
    /// a thread that is held up there lets the others pass. It may call the disk only where that does not lead here again;
    /// what has the disk is kept, and the disk with it, until [`SimVfs::heal`].
    pub fn before_calls(&self, before: impl Fn(&str) + Send + Sync + 'static) {
        self.0.lock().before = Some(Arc::new(before));
    }

    /// Fails no call any more, writes and syncs as a good disk does, and keeps the power where it has not gone.
    pub fn heal(&self) {
        let mut disk = self.0.lock();
        disk.faults.clear();
        disk.crash_at = None;
        disk.short_writes = None;
        disk.meanwhile = None;
        disk.before = None;
    }

    /// A disk as it might be found after the power went now; the same seed finds the same.
    #[must_use]
    pub fn image(&self, survival: Survival, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let disk = self.0.lock();
        let mut names = disk.durable_names.clone();
        // A journaling file system keeps the order of what is done to names, so that a prefix survives.
        let kept = match survival {
            Survival::Nothing => 0,
            Survival::Everything => disk.renamings.len(),
            Survival::Prefix | Survival::Sectors(_) => random.random_range(0..=disk.renamings.len()),
        };
        disk.renamings[..kept].iter().for_each(|renaming| renaming.apply(&mut names));
        let files = names.values().filter_map(|id| disk.files.get_key_value(id));
        let files = files.map(|(id, content)| (*id, content.after_crash(survival, &mut random))).collect();
        Self(Arc::new(Mutex::new(Disk {
            files,
            durable_names: names.clone(),
            names,
            dirs: disk.dirs.clone(),
            next_file: disk.next_file,
            ..Disk::default()
        })))
    }

    /// A file's bytes as they read now; `None` where there is no such file.
    #[must_use]
    pub fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let disk = self.0.lock();
        disk.names.get(path).and_then(|id| disk.files.get(id)).map(|content| content.bytes().to_vec())
    }

    /// Changes a file's bytes behind everybody's back, durably: what a disk does that goes bad. Nothing happens where
    /// there is no such file.
    pub fn spoil(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut disk = self.0.lock();
        let id = disk.names.get(path).copied();
        if let Some(content) = id.and_then(|id| disk.files.get_mut(&id)) {
            content.spoil(change);
        }
    }

    /// Counts a call that changes something, and says how it is to fail.
    fn begin(&self, what: impl FnOnce() -> String) -> Result<(), Failing> {
        let what = what();
        let before = self.0.lock().before.clone();
        if let Some(before) = before {
            before(&what);
        }
        let mut disk = self.0.lock();
        if disk.crashed {
            return Err(Failing::NoPower);
        }
        disk.calls += 1;
        let call = disk.calls;
        disk.history.push(what);
        disk.callers.push(std::thread::current().name().unwrap_or_default().to_owned());
        if disk.crash_at.is_some_and(|at| call >= at) {
            disk.crashed = true;
            return Err(Failing::Crash);
        }
        match disk.faults.remove(&call) {
            Some(fault) => Err(Failing::Fault(fault)),
            None => Ok(()),
        }
    }

    /// How many bytes of so many a write takes: at least one.
    fn taken(&self, bytes: usize) -> usize {
        let mut disk = self.0.lock();
        let some = disk.short_writes.as_mut();
        some.map_or(bytes, |random| if random.random() { bytes } else { random.random_range(1..=bytes) })
    }

    /// A change to names: done also where the power goes over it, since it may have been.
    fn rename_by(&self, what: impl FnOnce() -> String, renaming: Renaming) -> io::Result<()> {
        let begun = self.begin(what);
        if matches!(begun, Ok(()) | Err(Failing::Crash)) {
            let mut disk = self.0.lock();
            renaming.apply(&mut disk.names);
            disk.renamings.push(renaming);
        }
        begun.map_err(Failing::into_error)
    }

    fn reading(&self) -> io::Result<()> {
        if self.0.lock().crashed { Err(Failing::NoPower.into_error()) } else { Ok(()) }
    }
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failing {
    /// The power goes over it.
    Crash,
    /// It is gone.
    NoPower,
    Fault(SimulatedFault),
}

impl Failing {
    fn into_error(self) -> io::Error {
        match self {
            Self::Crash | Self::NoPower => io::Error::other("the power is gone"),
            Self::Fault(SimulatedFault::Io) => io::Error::other("input/output error"),
            Self::Fault(SimulatedFault::NoSpace) => io::ErrorKind::StorageFull.into(),
        }
    }
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("there is no \"{}\"", path.display()))
}

impl Vfs for SimVfs {
    fn open(&self, path: &Path, _writable: bool) -> io::Result<Box<dyn VfsFile>> {
        self.reading()?;
        let id = self.0.lock().names.get(path).copied().ok_or_else(|| not_found(path))?;
        Ok(Box::new(SimFile { disk: self.clone(), id, path: path.to_owned() }))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        if self.0.lock().names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let id = {
            let mut disk = self.0.lock();
            disk.next_file += 1;
            let id = disk.next_file;
            disk.files.insert(id, Content::default());
            id
        };
        self.rename_by(|| format!("create {}", path.display()), Renaming::Gave(path.to_owned(), id))?;
        Ok(Box::new(SimFile { disk: self.clone(), id, path: path.to_owned() }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.reading()?;
        let disk = self.0.lock();
        if !disk.dirs.contains(dir) {
            return Err(not_found(dir));
        }
        let names = disk.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(names.filter_map(|path| path.file_name().map(PathBuf::from)).collect())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if !self.0.lock().names.contains_key(path) {
            return Err(not_found(path));
        }
        self.rename_by(|| format!("remove {}", path.display()), Renaming::Took(path.to_owned()))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if !self.0.lock().names.contains_key(from) {
            return Err(not_found(from));
        }
        let what = || format!("rename {} to {}", from.display(), to.display());
        self.rename_by(what, Renaming::Moved(from.to_owned(), to.to_owned()))
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.reading()?;
        self.0.lock().dirs.extend(dir.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.begin(|| format!("sync directory {}", dir.display())).map_err(Failing::into_error)?;
        let mut disk = self.0.lock();
        let (synced, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut disk.renamings).into_iter().partition(|r| r.is_in(dir));
        synced.iter().for_each(|renaming| renaming.apply(&mut disk.durable_names));
        disk.renamings = rest;
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn VfsLock>>> {
        self.reading()?;
        let mut state = self.0.lock();
        let taken = state.locked.insert(path.to_owned());
        let calls = state.history.len() as u64;
        state.openings.extend(taken.then_some(calls));
        drop(state);
        Ok(taken.then(|| Box::new(SimLock { disk: self.clone(), path: path.to_owned() }) as _))
    }
}

struct SimLock {
    disk: SimVfs,
    path: PathBuf,
}

impl fmt::Debug for SimLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SimLock").field(&self.path).finish()
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.0.lock().locked.remove(&self.path);
    }
}

impl VfsLock for SimLock {}

struct SimFile {
    disk: SimVfs,
    id: u64,
    path: PathBuf,
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SimFile").field(&self.path).finish()
    }
}

impl SimFile {
    fn with<R>(&self, run: impl FnOnce(&mut Content) -> R) -> io::Result<R> {
        let mut disk = self.disk.0.lock();
        disk.files.get_mut(&self.id).map(run).ok_or_else(|| not_found(&self.path))
    }

    fn begin(&self, what: impl fmt::Display) -> Result<(), Failing> {
        self.disk.begin(|| format!("{what} in {}", self.path.display()))
    }

    /// The system's write, which says how many of the bytes it took.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let taken = self.disk.taken(bytes.len());
        let what = format!("write {taken} bytes at {offset}");
        self.change(what, Change::Write { offset, bytes: bytes[..taken].to_vec() })?;
        Ok(taken)
    }

    /// A sync that goes well, if the power stays.
    fn sync_slowly(&self) -> io::Result<()> {
        let covered = self.with(|content| content.changes())?;
        let meanwhile = self.disk.0.lock().meanwhile.clone();
        if let Some(meanwhile) = meanwhile {
            meanwhile(&self.path);
            self.disk.reading()?;
        }
        self.with(|content| content.sync(covered))
    }

    /// A change to the content: done also where the power goes over it, since it may have been.
    fn change(&self, what: impl fmt::Display, change: Change) -> io::Result<()> {
        let begun = self.begin(what);
        match begun {
            Ok(()) | Err(Failing::Crash) => self.with(|content| content.change(change))?,
            Err(Failing::Fault(SimulatedFault::Io)) => self.with(|content| content.change(change.half()))?,
            Err(Failing::Fault(SimulatedFault::NoSpace) | Failing::NoPower) => {}
        }
        begun.map_err(Failing::into_error)
    }
}

impl VfsFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.reading()?;
        self.with(|content| content.read_at(buffer, offset))
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut written = 0;
        while written < bytes.len() {
            written += self.write_at(&bytes[written..], offset + written as u64)?;
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let begun = self.begin("sync");
        match begun {
            Ok(()) => self.sync_slowly()?,
            Err(Failing::Fault(_)) => {
                let seed = self.disk.calls();
                self.with(|content| content.sync_in_vain(&mut StdRng::seed_from_u64(seed)))?;
            }
            Err(Failing::Crash | Failing::NoPower) => {}
        }
        begun.map_err(Failing::into_error)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(format!("set length {len}"), Change::SetLen(len))
    }

    fn len(&self) -> io::Result<u64> {
        self.disk.reading()?;
        self.with(|content| content.bytes().len() as u64)
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        let longer = len.max(self.len()?);
        self.change(format!("reserve {len}"), Change::SetLen(longer))
    }
}

#[cfg(test)]
mod tests;
