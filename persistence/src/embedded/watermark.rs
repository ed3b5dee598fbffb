//! How far the log was durable some time ago, kept beside it: so that a log which ends before that is known to have lost
//! something, however whole what is left of it looks.

use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::files::Files;
use super::format::{array_at, u32_at, u64_at};
use super::segment::read_up_to;
use super::writer::is_no_space;
use crate::{JournalId, Position, VfsFile};

const MAGIC: [u8; 8] = *b"ANNALSWM";
const FORMAT_VERSION: u32 = 1;
const SLOT_BYTES: usize = 64;
/// Two slots, far enough apart that no write touches both.
const SLOT_AT: [u64; 2] = [0, 4096];
const CRC_AT: usize = 60;

/// A place in the log that was durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) journal: JournalId,
    pub(super) position: Position,
    pub(super) group: u64,
}

/// The file that the mark is kept in. Each mark is written over the one before the last.
#[derive(Debug)]
pub(super) struct Watermark {
    file: Box<dyn VfsFile>,
    sequence: u64,
    last: Option<Mark>,
}

impl Watermark {
    pub(super) fn path(dir: &Path) -> PathBuf {
        dir.join("watermark")
    }

    /// The last mark there is; `None` where there is none, or none that can be trusted.
    pub(super) fn read(files: &Files) -> io::Result<Option<Mark>> {
        match files.vfs.open(&Self::path(&files.dir), false) {
            Ok(file) => Ok(newest(&*file)?.map(|(_, mark)| mark)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn open(files: &Files) -> io::Result<Self> {
        let path = Self::path(&files.dir);
        let file = match files.vfs.open(&path, true) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = files.vfs.create(&path)?;
                match file.reserve(SLOT_AT[1] + 4096) {
                    // It is tried again with every mark.
                    Err(error) if is_no_space(&error) => {}
                    reserved => reserved?,
                }
                files.vfs.sync_dir(&files.dir)?;
                file
            }
            opened => opened?,
        };
        let (sequence, last) = newest(&*file)?.map_or((0, None), |(sequence, mark)| (sequence, Some(mark)));
        Ok(Self { file, sequence, last })
    }

    /// Writes a mark, durably, unless it is the last one.
    pub(super) fn write(&mut self, mark: Mark) -> io::Result<()> {
        if self.last == Some(mark) {
            return Ok(());
        }
        self.sequence += 1;
        let at = SLOT_AT[(self.sequence % 2) as usize];
        self.file.write_all_at(&slot(self.sequence, mark), at)?;
        self.file.sync_data()?;
        self.last = Some(mark);
        Ok(())
    }
}

pub(super) fn slot(sequence: u64, mark: Mark) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(SLOT_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&sequence.to_le_bytes());
    bytes.extend_from_slice(mark.journal.as_bytes());
    bytes.extend_from_slice(&mark.position.0.to_le_bytes());
    bytes.extend_from_slice(&mark.group.to_le_bytes());
    bytes.resize(CRC_AT, 0);
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

fn newest(file: &dyn VfsFile) -> io::Result<Option<(u64, Mark)>> {
    let mut newest: Option<(u64, Mark)> = None;
    for at in SLOT_AT {
        let found = read_slot(&read_up_to(file, at, SLOT_BYTES)?);
        newest = newest.into_iter().chain(found).max_by_key(|(sequence, _)| *sequence);
    }
    Ok(newest)
}

fn read_slot(bytes: &[u8]) -> Option<(u64, Mark)> {
    let is_whole = bytes.len() == SLOT_BYTES
        && bytes[..8] == MAGIC
        && u32_at(bytes, 8) == FORMAT_VERSION
        // One has to follow it.
        && u64_at(bytes, 16) < u64::MAX
        && u32_at(bytes, CRC_AT) == crc32c::crc32c(&bytes[..CRC_AT]);
    is_whole.then(|| {
        let journal = JournalId::from(Uuid::from_bytes(array_at(bytes, 24)));
        let mark = Mark { journal, position: Position(u64_at(bytes, 40)), group: u64_at(bytes, 48) };
        (u64_at(bytes, 16), mark)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_that_nothing_could_follow_is_not_believed() {
        let mark = Mark { journal: JournalId::from_u128(1), position: Position(2), group: 3 };
        assert_eq!(read_slot(&slot(7, mark)), Some((7, mark)));
        assert_eq!(read_slot(&slot(u64::MAX, mark)), None);
    }
}
