//! The system calls that the log makes, as traits: what runs in production is [`RealVfs`]; tests put themselves in
//! between to see every call and to make any of them fail.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

mod counting;
mod real;
#[cfg(any(test, feature = "conformance"))]
mod simulated;
mod urgency;

pub use counting::{CountingVfs, VfsCall};
pub use real::RealVfs;
#[cfg(any(test, feature = "conformance"))]
pub use simulated::{SimVfs, SimulatedFault, Survival};
pub(crate) use urgency::step_back;

/// A file system.
pub trait Vfs: fmt::Debug + Send + Sync + 'static {
    /// Opens a file that exists; for reading only when `writable` is false.
    ///
    /// # Errors
    /// What the system said, such as [`io::ErrorKind::NotFound`].
    fn open(&self, path: &Path, writable: bool) -> io::Result<Box<dyn VfsFile>>;

    /// Creates a file that does not exist, for reading and writing.
    ///
    /// # Errors
    /// What the system said, such as [`io::ErrorKind::AlreadyExists`].
    fn create(&self, path: &Path) -> io::Result<Box<dyn VfsFile>>;

    /// The names of all that is in a directory, in no particular order.
    ///
    /// # Errors
    /// What the system said.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;

    /// Removes a file.
    ///
    /// # Errors
    /// What the system said.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Gives a file another name, in place of whatever had it.
    ///
    /// # Errors
    /// What the system said.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Creates a directory and those above it, durably.
    ///
    /// # Errors
    /// What the system said.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Makes the entries of a directory durable: files created in it, removed from it, renamed.
    ///
    /// # Errors
    /// What the system said.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Takes the lock of this file, which is created if need be; `None` when somebody else has it, in this process
    /// or another. It is given back when the answer is dropped, and when the process ends.
    ///
    /// # Errors
    /// What the system said.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn VfsLock>>>;

    /// How many bytes may still be written to the file system that a directory is on; `None` where that is not known.
    ///
    /// # Errors
    /// What the system said.
    fn free_bytes(&self, dir: &Path) -> io::Result<Option<u64>> {
        let _ = dir;
        Ok(None)
    }
}

/// An open file.
pub trait VfsFile: fmt::Debug + Send + Sync + 'static {
    /// Reads at an offset; fewer bytes than asked for near the end, none behind it.
    ///
    /// # Errors
    /// What the system said.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// As [`VfsFile::read_at`], but behind what the buffer holds, and at most `count` bytes. Where the system can, the
    /// buffer is not filled with zeros first.
    ///
    /// # Errors
    /// What the system said; the buffer then holds what it held.
    fn read_behind(&self, buffer: &mut Vec<u8>, count: usize, offset: u64) -> io::Result<usize> {
        // Zeros that the system hands out cost less than zeros that are written.
        let mut more = vec![0; count];
        let read = self.read_at(&mut more, offset)?;
        more.truncate(read);
        if buffer.is_empty() {
            *buffer = more;
        } else {
            buffer.extend_from_slice(&more);
        }
        Ok(read)
    }

    /// Writes at an offset, all of it.
    ///
    /// # Errors
    /// What the system said; some of the bytes may have been written.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes the file's content durable, with as much of its metadata as reading it back needs (fdatasync).
    ///
    /// # Errors
    /// What the system said; whether anything is durable is then not known, and trying again does not tell.
    fn sync_data(&self) -> io::Result<()>;

    /// Cuts the file to this length, or fills it up to it with zeros.
    ///
    /// # Errors
    /// What the system said.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// The file's length in bytes.
    ///
    /// # Errors
    /// What the system said.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    ///
    /// # Errors
    /// What the system said.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Makes the file this long with disk space for all of it, so that later writes neither run out of space nor
    /// change its metadata. What it holds stays.
    ///
    /// # Errors
    /// What the system said; [`io::ErrorKind::StorageFull`] or [`io::ErrorKind::QuotaExceeded`] when there is no space.
    fn reserve(&self, len: u64) -> io::Result<()>;
}

/// A lock that is held.
pub trait VfsLock: fmt::Debug + Send + Sync + 'static {}
