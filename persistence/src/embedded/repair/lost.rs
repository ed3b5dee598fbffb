//! What goes with a piece of the log that is cut off, as far as it can still be told.

use std::io;
use std::path::Path;

use crate::OpenError;
use crate::embedded::files::Files;
use crate::embedded::format::{HEADER_BYTES, Header, Kind};
use crate::embedded::recover::unreadable;
use crate::embedded::scan::{FrameReader, HASHES_OF_TAIL};
use crate::embedded::segment::{Segment, read_up_to};

/// Frames begin at multiples of it.
const ALIGNMENT: u64 = 8;
const CHUNK_BYTES: usize = 1 << 20;

/// What a segment has from an offset on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost {
    /// How many bytes, the zeros at its end apart.
    pub(super) used: u64,
    /// How many events that are whole; `None` where that cannot be told.
    pub(super) events: Option<u64>,
}

/// Looks through a segment's file from this offset on.
pub(super) fn lost(files: &Files, path: &Path, offset: u64) -> Result<Lost, OpenError> {
    look(files, path, offset).map_err(|source| unreadable(path, source))
}

fn look(files: &Files, path: &Path, offset: u64) -> io::Result<Lost> {
    let file = files.vfs.open(path, false)?;
    let header = Header::decode(&read_up_to(&*file, 0, HEADER_BYTES)?);
    let end = end_of_use(&*file, offset)?;
    let events = match header {
        Ok(header) => whole_events(&Segment::new(path.to_owned(), header, file), offset, end)?,
        // It may as well be blank.
        Err(_damaged) => (end == offset).then_some(0),
    };
    Ok(Lost { used: end - offset, events })
}

/// Where the last byte ends that is not zero.
fn end_of_use(file: &dyn crate::VfsFile, from: u64) -> io::Result<u64> {
    let (mut at, mut end) = (from, from);
    loop {
        let chunk = read_up_to(file, at, CHUNK_BYTES)?;
        if chunk.is_empty() {
            return Ok(end);
        }
        if let Some(last) = chunk.iter().rposition(|byte| *byte != 0) {
            end = at + last as u64 + 1;
        }
        at += chunk.len() as u64;
    }
}

/// Counts the events that match their checksums, whatever lies between them; `None` where so much looks like frames that
/// this would take too long.
fn whole_events(segment: &Segment, from: u64, end: u64) -> io::Result<Option<u64>> {
    let mut frames = FrameReader::new(segment, segment.file.len()?);
    let mut budget = (end - from).saturating_mul(HASHES_OF_TAIL);
    let (mut at, mut count) = (from.max(HEADER_BYTES as u64).next_multiple_of(ALIGNMENT), 0);
    while at < end {
        let Some((_, bytes)) = frames.header(at)? else {
            at += ALIGNMENT;
            continue;
        };
        let Some(left) = budget.checked_sub(bytes as u64) else { return Ok(None) };
        budget = left;
        at += match frames.frame(at)? {
            Ok((frame, _)) => {
                count += u64::from(frame.kind == Kind::Record);
                frame.bytes as u64
            }
            Err(_no_frame) => ALIGNMENT,
        };
    }
    Ok(Some(count))
}
