//! One file of the log.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::format::{self, HEADER_BYTES, Header};
use super::record::Base;
use crate::planted::{Fault, unless};
use crate::{OpenError, ReadError, Vfs, VfsFile};

/// What the file that is to be the next segment is called until it is whole.
pub(super) const SPARE: &str = "spare";

/// An open segment whose header is in order.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) header: Header,
    /// What the checksums of its frames begin with.
    pub(super) seed: u32,
    pub(super) file: Box<dyn VfsFile>,
}

impl Segment {
    pub(super) fn new(path: PathBuf, header: Header, file: Box<dyn VfsFile>) -> Self {
        let seed = header.checksum_seed();
        Self { path, header, seed, file }
    }

    /// Makes a new segment of `bytes` bytes, the first so many of which are written once: when this returns, it is
    /// durable and ready for frames.
    pub(super) fn create(
        vfs: &dyn Vfs,
        dir: &Path,
        header: Header,
        Room { bytes, filled }: Room,
    ) -> io::Result<Arc<Self>> {
        let path = segment_path(dir, header.number);
        let file = vfs.create(&path)?;
        let made = file
            .reserve(bytes)
            .and_then(|()| fill(&*file, 0..filled))
            .and_then(|()| begin(&*file, &header))
            .and_then(|()| sync_name(vfs, dir));
        match made {
            Ok(()) => Ok(Arc::new(Self::new(path, header, file))),
            Err(error) => {
                drop(file);
                Err(discard(vfs, dir, &path).err().unwrap_or(error))
            }
        }
    }

    /// The same from a file that was made ahead, and has its name.
    pub(super) fn from_spare(dir: &Path, header: Header, spare: Box<dyn VfsFile>) -> io::Result<Arc<Self>> {
        begin(&*spare, &header)?;
        Ok(Arc::new(Self::new(segment_path(dir, header.number), header, spare)))
    }

    pub(super) const fn base(&self) -> Base {
        Base { position: self.header.base, time: self.header.created }
    }

    pub(super) fn damaged(&self, offset: u64, reason: impl Into<String>) -> OpenError {
        OpenError::Damaged { file: self.path.clone(), offset, reason: reason.into() }
    }

    pub(super) fn unreadable(&self, source: io::Error) -> OpenError {
        OpenError::Io { file: self.path.clone(), source }
    }

    pub(super) fn read_damaged(&self, offset: u64, reason: impl Into<String>) -> ReadError {
        ReadError::Damaged { file: self.path.clone(), offset, reason: reason.into() }
    }

    /// Reads this many bytes, fewer where the file ends.
    pub(super) fn read(&self, offset: u64, bytes: usize) -> Result<Vec<u8>, ReadError> {
        read_up_to(&*self.file, offset, bytes)
            .map_err(|source| ReadError::Io { file: self.path.clone(), source: Arc::new(source) })
    }
}

/// How much is written at a time of what is filled, so that a group's sync is never behind much of it.
const FILL_BYTES: u64 = 256 << 10;

/// How long a new segment is, and how much of it is filled with zeros.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) bytes: u64,
    pub(super) filled: u64,
}

/// Writes zeros, durably: what is written there later changes nothing that the file system has to note.
pub(super) fn fill(file: &dyn VfsFile, range: Range<u64>) -> io::Result<()> {
    fill_while(file, range, || true).map(|_whole| ())
}

/// The same, for as long as it is wanted; answers whether it was to the end.
pub(super) fn fill_while(
    file: &dyn VfsFile,
    range: Range<u64>,
    mut wanted: impl FnMut() -> bool,
) -> io::Result<bool> {
    for start in range.clone().step_by(FILL_BYTES as usize) {
        if !wanted() {
            return Ok(false);
        }
        write_zeros(file, start..range.end.min(start + FILL_BYTES))?;
        file.sync_data()?;
    }
    Ok(true)
}

fn write_zeros(file: &dyn VfsFile, range: Range<u64>) -> io::Result<()> {
    // Not made at run time: the system's allocator would keep the room.
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    range.clone().step_by(ZEROS.len()).try_for_each(|start| {
        let bytes = ZEROS.len().min((range.end - start) as usize);
        file.write_all_at(&ZEROS[..bytes], start)
    })
}

fn begin(file: &dyn VfsFile, header: &Header) -> io::Result<()> {
    file.write_all_at(&header.encode(), 0)?;
    unless(Fault::SegmentHeaderNotSynced, || file.sync_data())
}

/// Gives the file that was made ahead the name of the segment that it is to be, durably. Long before it is needed: the file
/// system has its own order to keep for that, and whoever waits for it waits for everything in front of it.
pub(super) fn name_spare(vfs: &dyn Vfs, dir: &Path, number: u64) -> io::Result<()> {
    vfs.rename(&dir.join(SPARE), &segment_path(dir, number))?;
    sync_name(vfs, dir)
}

/// Makes the name durable that a segment was given.
fn sync_name(vfs: &dyn Vfs, dir: &Path) -> io::Result<()> {
    unless(Fault::SegmentNameNotSynced, || vfs.sync_dir(dir))
}

/// Removes a segment that could not be made, durably: groups that are written to the one before it would otherwise be
/// damage, should it be there again after a loss of power. The next open removes one without a finished header, but this
/// one may have it.
fn discard(vfs: &dyn Vfs, dir: &Path, path: &Path) -> io::Result<()> {
    vfs.remove(path).and_then(|()| vfs.sync_dir(dir)).map_err(|source| {
        // Never taken for want of space, after which writing would go on.
        let file = path.display();
        io::Error::other(format!("\"{file}\" could not be made, and cannot be removed: {source}"))
    })
}

/// How many bytes are asked for behind a read that came short.
const PROBE_BYTES: usize = 64 * 1024;

/// Reads this many bytes, fewer where the file ends.
pub(super) fn read_up_to(file: &dyn VfsFile, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
    // Room is made where it is read: here it would be there twice.
    let mut buffer = Vec::new();
    while buffer.len() < bytes {
        let filled = buffer.len();
        // Behind a read that came short there is hardly ever more: the file has ended.
        let wanted = if filled == 0 { bytes } else { (bytes - filled).min(PROBE_BYTES) };
        match file.read_behind(&mut buffer, wanted, offset + filled as u64) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(buffer)
}

/// How long a new segment is: as configured, or what its first group needs, in whole pages.
pub(super) fn segment_bytes(configured: u64, first_group: usize) -> u64 {
    let needed = (HEADER_BYTES + first_group + format::CLOSING_BYTES) as u64;
    configured.max(needed).next_multiple_of(4096)
}

/// How much of a segment of this length is used when the next one is made ahead: little, since that takes its time.
pub(super) fn next_wanted_from(bytes: u64) -> u64 {
    bytes / 64
}

pub(super) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:010}.log"))
}

/// The number of the segment with this file name; `None` for every other file.
pub(super) fn segment_number(name: &Path) -> Option<u64> {
    numbered(name, ".log")
}

/// The number in a file name that is ten digits and this suffix.
pub(super) fn numbered(name: &Path, suffix: &str) -> Option<u64> {
    let digits = name.to_str()?.strip_suffix(suffix)?;
    if digits.len() != 10 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}
