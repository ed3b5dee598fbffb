//! The machine's file system for those who only look: nothing is made, changed or removed, not even a lock's file.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use annals_persistence::{RealVfs, Vfs, VfsFile, VfsLock};

/// Reads files; everything else is refused.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ReadOnlyVfs;

fn refused<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Vfs for ReadOnlyVfs {
    fn open(&self, path: &Path, _writable: bool) -> io::Result<Box<dyn VfsFile>> {
        Ok(Box::new(ReadOnlyFile(RealVfs.open(path, false)?)))
    }

    fn create(&self, _path: &Path) -> io::Result<Box<dyn VfsFile>> {
        refused()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        RealVfs.list(dir)
    }

    fn remove(&self, _path: &Path) -> io::Result<()> {
        refused()
    }

    fn rename(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        refused()
    }

    fn create_dir_all(&self, _dir: &Path) -> io::Result<()> {
        refused()
    }

    /// Nothing hangs on it: who only looks decides nothing on what it sees, and not every medium can.
    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    /// Shares the lock with others who only look. Where there is no file, nobody can have it: a copy has none.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn VfsLock>>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(Box::new(Shared(None)))),
            Err(error) => return Err(error),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(Some(Box::new(Shared(Some(file))))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<Option<u64>> {
        RealVfs.free_bytes(dir)
    }
}

#[derive(Debug)]
struct ReadOnlyFile(Box<dyn VfsFile>);

impl VfsFile for ReadOnlyFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn write_all_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<()> {
        refused()
    }

    /// As [`ReadOnlyVfs::sync_dir`].
    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        refused()
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn reserve(&self, _len: u64) -> io::Result<()> {
        refused()
    }
}

/// Closing the file gives the lock back.
#[derive(Debug)]
struct Shared(#[expect(dead_code, reason = "it is held, not used")] Option<File>);

impl VfsLock for Shared {}
