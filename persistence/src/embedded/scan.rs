//! Reading a segment from front to back, and telling what its tail is.

use std::io;

use super::format::{self, FRAME_HEADER_BYTES, FRAME_MAGIC, Flaw, Frame, SEGMENT_BYTES_MAX};
use super::segment::{Segment, read_up_to};
use crate::planted::{Fault, planted};

const CHUNK_BYTES: usize = 1 << 20;
const PAGE: [u8; 4096] = [0; 4096];

/// Finds the frames of a segment, one after the other.
#[derive(Debug)]
pub(super) struct FrameReader<'a> {
    segment: &'a Segment,
    len: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl<'a> FrameReader<'a> {
    pub(super) fn new(segment: &'a Segment, len: u64) -> Self {
        Self { segment, len: len.min(SEGMENT_BYTES_MAX), window: Vec::new(), window_at: 0 }
    }

    /// The frame at this offset with its body; or what is wrong there.
    pub(super) fn frame(&mut self, at: u64) -> io::Result<Result<(Frame, &[u8]), &'static str>> {
        match self.find(at)? {
            Ok(frame) => {
                let body = &self.window[self.within(at)..][frame.body.clone()];
                Ok(Ok((frame, body)))
            }
            Err(reason) => Ok(Err(reason)),
        }
    }

    /// The group and the size that the header at this offset says, if there may be a frame.
    pub(super) fn header(&mut self, at: u64) -> io::Result<Option<(u32, usize)>> {
        self.fill(at, FRAME_HEADER_BYTES)?;
        let available = self.len.saturating_sub(at);
        Ok(format::parse_header(&self.window[self.within(at)..], available))
    }

    fn find(&mut self, at: u64) -> io::Result<Result<Frame, &'static str>> {
        let mut wanted = FRAME_HEADER_BYTES;
        loop {
            self.fill(at, wanted)?;
            let bytes = &self.window[self.within(at)..];
            let available = self.len.saturating_sub(at);
            let frame = format::parse_frame(bytes, at, self.segment.seed, available);
            match frame.or_else(|flaw| flaw.unless_planted(Fault::FramesUncheckedInRecovery, bytes)) {
                Ok(frame) => return Ok(Ok(frame)),
                Err(Flaw::Bad(reason)) => return Ok(Err(reason)),
                Err(Flaw::Short(needed)) if needed > wanted || bytes.len() >= wanted => wanted = needed,
                Err(Flaw::Short(_)) => return Ok(Err("the file ends inside the frame")),
            }
        }
    }

    fn within(&self, at: u64) -> usize {
        (at - self.window_at) as usize
    }

    /// Has this many bytes at this offset in the window, as far as the file has them.
    fn fill(&mut self, at: u64, wanted: usize) -> io::Result<()> {
        let end = self.window_at + self.window.len() as u64;
        if at < self.window_at || at + wanted as u64 > end {
            self.window = read_up_to(&*self.segment.file, at, wanted.max(CHUNK_BYTES))?;
            self.window_at = at;
        }
        Ok(())
    }
}

/// What follows the last whole group of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    /// Nothing but zeros.
    Clean,
    /// The beginnings of one group that was never acknowledged; these many bytes from where it begins are not zero.
    Torn(u64),
    /// A frame of a later group, at this offset: it was written after the group in front of it was durable, so what
    /// is in front of it has been lost since.
    Followed(u64),
}

/// Looks at all that lies behind `from`, where the group with number `torn` should begin.
pub(super) fn look_at_tail(segment: &Segment, from: u64, len: u64, torn: u64) -> io::Result<Tail> {
    let mut search = Search::new(segment, from, len, torn);
    let mut used = 0;
    let mut at = from;
    while at < len {
        let chunk = read_up_to(&*segment.file, at, CHUNK_BYTES)?;
        if chunk.is_empty() {
            break;
        }
        for (page, page_at) in chunk.chunks(PAGE.len()).zip((at..).step_by(PAGE.len())) {
            if page == &PAGE[..page.len()] {
                continue;
            }
            if let Some(offset) = search.later_frame(page, page_at)? {
                return Ok(Tail::Followed(offset));
            }
            used = page_at + page.len() as u64 - from;
        }
        at += chunk.len() as u64;
    }
    Ok(if used == 0 { Tail::Clean } else { Tail::Torn(used) })
}

/// How many times the bytes of a tail are hashed at most, all look-alikes of frames in it together.
pub(super) const HASHES_OF_TAIL: u64 = 16;

/// The search for a frame of a later group in a tail.
struct Search<'a> {
    frames: FrameReader<'a>,
    torn: u64,
    /// How many groups fit into the tail: no frame in it is of a later one.
    groups: u64,
    /// How many bytes may still be hashed. Payloads may be made of nothing but look-alikes, each as long as the rest of the
    /// tail. When it is used up, the next one counts as a frame: a torn tail may be taken for damage, which somebody then
    /// looks at, never damage for a torn tail.
    budget: u64,
}

impl<'a> Search<'a> {
    fn new(segment: &'a Segment, from: u64, len: u64, torn: u64) -> Self {
        let tail = len.saturating_sub(from);
        let groups = tail / format::COMMIT_BYTES as u64;
        Self {
            frames: FrameReader::new(segment, len),
            torn,
            groups,
            budget: tail.saturating_mul(HASHES_OF_TAIL),
        }
    }

    fn later_frame(&mut self, page: &[u8], page_at: u64) -> io::Result<Option<u64>> {
        for (bytes, at) in page.chunks(8).zip((page_at..).step_by(8)) {
            if bytes.starts_with(&FRAME_MAGIC.to_le_bytes()) && self.is_later_frame(at)? {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    fn is_later_frame(&mut self, at: u64) -> io::Result<bool> {
        let Some((group, bytes)) = self.frames.header(at)? else { return Ok(false) };
        // What is cheap to see comes first.
        if !self.is_later(group) {
            return Ok(false);
        }
        match self.budget.checked_sub(bytes as u64) {
            Some(left) => self.budget = left,
            None => return Ok(true),
        }
        Ok(self.frames.frame(at)?.is_ok() && !planted(Fault::DamageTakenForTornTail))
    }

    /// Whether the lower half of a group's number is that of a group after the torn one, that this tail has room for.
    const fn is_later(&self, group: u32) -> bool {
        let ahead = group.wrapping_sub(self.torn as u32) as i32;
        ahead > 0 && ahead as u64 <= self.groups
    }
}

/// Whether there is nothing but zeros from an offset on.
pub(super) fn is_blank(segment_file: &dyn crate::VfsFile, mut at: u64) -> io::Result<bool> {
    loop {
        let chunk = read_up_to(segment_file, at, CHUNK_BYTES)?;
        if chunk.is_empty() {
            return Ok(true);
        }
        if chunk.chunks(PAGE.len()).any(|page| page != &PAGE[..page.len()]) {
            return Ok(false);
        }
        at += chunk.len() as u64;
    }
}
