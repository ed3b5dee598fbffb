//! From files to an index: what opening a journal does, and what `log verify` does without changing anything.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::format::{Commit, Frame, HEADER_BYTES, Header, HeaderFault, Kind, Seal};
use super::index::{Index, Location, SegmentEntry, Staging};
use super::record::Record;
use super::scan::{FrameReader, Tail, is_blank, look_at_tail};
use super::segment::{Segment, read_up_to, segment_number, segment_path};
use super::verify::VerifyProgress;
use crate::{OpenError, Vfs, VfsFile};

/// How often progress is told, in bytes.
const PROGRESS_BYTES: u64 = 4 << 20;

/// The remains of a group that was never acknowledged.
#[derive(Debug, Clone)]
pub(super) struct Torn {
    pub(super) segment: Arc<Segment>,
    pub(super) offset: u64,
    pub(super) bytes: u64,
    /// Why the group does not count.
    pub(super) reason: &'static str,
}

/// Reads a directory's segments into an index. It changes nothing: what should be changed is in its fields.
pub(super) struct Recovery<'a> {
    vfs: &'a dyn Vfs,
    dir: &'a Path,
    writable: bool,
    progress: &'a mut dyn FnMut(VerifyProgress),
    told: VerifyProgress,
    staged: Staging,
    scratch: String,
    pub(super) index: Index,
    /// The last group.
    pub(super) group: u64,
    pub(super) torn: Option<Torn>,
    /// A segment that was begun and never needed.
    pub(super) unfinished: Option<PathBuf>,
    /// The last group with what follows it: the only part whose sync may have failed.
    pub(super) last_written: Option<LastWritten>,
    /// How long the files are.
    pub(super) bytes: u64,
}

/// Part of a segment.
#[derive(Debug)]
pub(super) struct LastWritten {
    pub(super) segment: Arc<Segment>,
    pub(super) start: u64,
    pub(super) end: u64,
}

/// A segment's file before its header is known to be good.
struct Candidate {
    number: u64,
    path: PathBuf,
    file: Box<dyn VfsFile>,
    len: u64,
}

/// How a segment ends.
enum End {
    Sealed,
    /// No frame is where the next should be.
    Open {
        at: u64,
        reason: &'static str,
    },
}

impl<'a> Recovery<'a> {
    pub(super) fn new(
        vfs: &'a dyn Vfs,
        dir: &'a Path,
        writable: bool,
        progress: &'a mut dyn FnMut(VerifyProgress),
    ) -> Self {
        Self {
            vfs,
            dir,
            writable,
            progress,
            told: VerifyProgress::default(),
            staged: Staging::default(),
            scratch: String::new(),
            index: Index::default(),
            group: 0,
            torn: None,
            unfinished: None,
            last_written: None,
            bytes: 0,
        }
    }

    /// Reads everything. Afterwards the index has the segments; none when there was no finished one.
    pub(super) fn run(&mut self) -> Result<(), OpenError> {
        let mut candidates = self.candidates()?;
        self.sync(&candidates)?;
        self.set_unfinished_aside(&mut candidates)?;
        let segments = candidates.into_iter().map(checked).collect::<Result<Vec<_>, _>>()?;
        self.told.bytes_total = segments.iter().map(|(_, len)| len).sum();
        self.told.segments_total = segments.len();
        for (at, (segment, len)) in segments.iter().enumerate() {
            self.enter(segment, *len)?;
            if let End::Open { at: bad, reason } = self.walk(segment, *len)? {
                return self.end_at(&segments[at..], bad, reason);
            }
        }
        self.end_sealed()
    }

    fn candidates(&mut self) -> Result<Vec<Candidate>, OpenError> {
        let names = self.vfs.list(self.dir).map_err(|source| unreadable(self.dir, source))?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment_number(name)).collect();
        numbers.sort_unstable();
        if let Some((_, missing)) = numbers.iter().zip(1..).find(|(number, expected)| **number != *expected) {
            return Err(missing_segment(self.dir, missing));
        }
        numbers.into_iter().map(|number| self.candidate(number)).collect()
    }

    fn candidate(&mut self, number: u64) -> Result<Candidate, OpenError> {
        let path = segment_path(self.dir, number);
        let file = self.vfs.open(&path, self.writable).map_err(|source| unreadable(&path, source))?;
        let len = file.len().map_err(|source| unreadable(&path, source))?;
        self.bytes += len;
        Ok(Candidate { number, path, file, len })
    }

    /// After a crash of the process alone, what is read may not be on the disk yet, and a decision taken on it would
    /// not survive a loss of power: so sync first. Only the last two segments can have anything unsynced.
    fn sync(&self, candidates: &[Candidate]) -> Result<(), OpenError> {
        for candidate in candidates.iter().rev().take(2) {
            candidate.file.sync_data().map_err(|source| unreadable(&candidate.path, source))?;
        }
        self.vfs.sync_dir(self.dir).map_err(|source| unreadable(self.dir, source))
    }

    /// A crash while a segment is made leaves the last file with a header that is not whole, and nothing behind it.
    fn set_unfinished_aside(&mut self, candidates: &mut Vec<Candidate>) -> Result<(), OpenError> {
        let Some(last) = candidates.last() else { return Ok(()) };
        if !matches!(header_of(last)?, Err(HeaderFault::Broken(_))) {
            return Ok(());
        }
        let blank = is_blank(&*last.file, HEADER_BYTES as u64);
        if blank.map_err(|source| unreadable(&last.path, source))? {
            self.unfinished = candidates.pop().map(|unfinished| unfinished.path);
        }
        Ok(())
    }

    /// Begins with a segment, which must follow the one before it.
    fn enter(&mut self, segment: &Arc<Segment>, len: u64) -> Result<(), OpenError> {
        let header = &segment.header;
        let previous = self.index.segments.last().map(|entry| &entry.segment.header);
        let follows = header.base == self.index.durable.position.next()
            && header.base_group == self.group
            && header.previous_salt == previous.map_or(0, |previous| previous.salt)
            && previous.is_none_or(|previous| previous.journal == header.journal);
        if !follows {
            return Err(segment.damaged(0, "the segment does not follow the one before it"));
        }
        self.told.segments += 1;
        self.index.segments.push(SegmentEntry::new(Arc::clone(segment), (HEADER_BYTES as u64).min(len)));
        Ok(())
    }

    fn walk(&mut self, segment: &Arc<Segment>, len: u64) -> Result<End, OpenError> {
        let mut frames = FrameReader::new(segment, len);
        let mut at = HEADER_BYTES as u64;
        let before = self.told.bytes;
        loop {
            match frames.frame(at).map_err(|source| segment.unreadable(source))? {
                Err(reason) => return Ok(End::Open { at, reason: self.why_open(reason) }),
                Ok((frame, body)) => {
                    self.take(segment, at, &frame, body)?;
                    at += frame.bytes as u64;
                    self.tell(before + at);
                    if frame.kind == Kind::Seal {
                        return Ok(End::Sealed);
                    }
                }
            }
        }
    }

    fn why_open(&self, reason: &'static str) -> &'static str {
        match self.staged.record_count() {
            0 => reason,
            _ if reason == "no frame begins here" => "the group has no commit marker",
            _ => reason,
        }
    }

    fn tell(&mut self, bytes: u64) {
        if bytes >= self.told.bytes + PROGRESS_BYTES {
            self.told.bytes = bytes;
            self.told.events = self.index.durable.position.0;
            (self.progress)(self.told);
        }
    }

    fn take(&mut self, segment: &Arc<Segment>, at: u64, frame: &Frame, body: &[u8]) -> Result<(), OpenError> {
        let end = at + frame.bytes as u64;
        let right_group = frame.group == (self.group + 1) as u32;
        let taken = if !right_group {
            Err("the frame is not of the group that follows")
        } else {
            match frame.kind {
                Kind::Record => self.take_record(segment, at, body),
                Kind::Commit => self.take_commit(segment, end, body),
                Kind::Seal => self.take_seal(segment, end, body),
            }
        };
        taken.map_err(|reason| segment.damaged(at, reason))
    }

    fn take_record(&mut self, segment: &Segment, at: u64, body: &[u8]) -> Result<(), &'static str> {
        let record = Record::decode(body, segment.base())?;
        let expected = self.index.durable.position.plus(self.staged.record_count() + 1);
        if record.position != expected {
            return Err("the record's position does not follow the one before it");
        }
        let name = record.stream(&mut self.scratch);
        let stream = self.staged.stream_by_text(&self.index, name).ok_or("the record names no stream")?;
        let location = Location::new(segment.header.number, at);
        if self.staged.record(stream, location, record.time) != record.version {
            return Err("the record's version does not follow the one before it");
        }
        Ok(())
    }

    fn take_commit(&mut self, segment: &Arc<Segment>, end: u64, body: &[u8]) -> Result<(), &'static str> {
        let commit = Commit::decode(body).ok_or("the commit marker has a wrong length")?;
        let durable = self.index.durable.position;
        let expected = Commit {
            group: self.group + 1,
            first: durable.next(),
            count: self.staged.record_count(),
            durable,
        };
        if commit != expected || commit.count == 0 {
            return Err("the commit marker does not match its group");
        }
        let start = self.index.segments.last().map_or(end, |entry| entry.end);
        self.last_written = Some(LastWritten { segment: Arc::clone(segment), start, end });
        self.index.publish(&mut self.staged, end);
        self.staged.clear();
        self.group += 1;
        Ok(())
    }

    fn take_seal(&mut self, segment: &Arc<Segment>, end: u64, body: &[u8]) -> Result<(), &'static str> {
        let seal = Seal::decode(body).ok_or("the seal has a wrong length")?;
        let expected = Seal {
            next: segment.header.number + 1,
            last: self.index.durable.position,
            group: self.group,
            count: self.index.segments.last().map_or(0, |entry| entry.records),
        };
        if self.staged.record_count() != 0 || seal != expected {
            return Err("the seal does not match its segment");
        }
        let start = self.index.segments.last().map_or(end, |entry| entry.end);
        let before = self.last_written.take().filter(|last| last.segment.header.number + 1 == seal.next);
        let start = before.map_or(start, |last| last.start);
        self.last_written = Some(LastWritten { segment: Arc::clone(segment), start, end });
        Ok(())
    }

    /// No frame where one should be: the log's end, if this is the last segment, or the next was made and not used.
    fn end_at(
        &mut self,
        rest: &[(Arc<Segment>, u64)],
        bad: u64,
        reason: &'static str,
    ) -> Result<(), OpenError> {
        let (segment, len) = &rest[0];
        match &rest[1..] {
            [] => self.end_open(segment, *len, bad, reason),
            [(next, _)] if self.unused_after(segment, next)? => {
                self.unfinished = Some(next.path.clone());
                self.end_open(segment, *len, bad, reason)
            }
            _ => Err(segment.damaged(bad, reason)),
        }
    }

    /// Whether the next segment is one that was made, but not yet when this one was sealed.
    fn unused_after(&self, segment: &Segment, next: &Segment) -> Result<bool, OpenError> {
        let header = &next.header;
        let follows = self.staged.record_count() == 0
            && header.base == self.index.durable.position.next()
            && header.base_group == self.group
            && header.previous_salt == segment.header.salt;
        if !follows || self.unfinished.is_some() {
            return Ok(false);
        }
        is_blank(&*next.file, HEADER_BYTES as u64).map_err(|source| next.unreadable(source))
    }

    fn end_open(
        &mut self,
        segment: &Arc<Segment>,
        len: u64,
        bad: u64,
        reason: &'static str,
    ) -> Result<(), OpenError> {
        self.staged.clear();
        let offset = self.index.segments.last().map_or(HEADER_BYTES as u64, |entry| entry.end);
        let tail = look_at_tail(segment, offset, len, self.group + 1);
        match tail.map_err(|source| segment.unreadable(source))? {
            Tail::Clean => {}
            Tail::Torn(bytes) => {
                self.torn = Some(Torn { segment: Arc::clone(segment), offset, bytes, reason });
            }
            Tail::Followed(later) => {
                let reason = format!("{reason}, and a later group's frame is at offset {later}");
                return Err(segment.damaged(bad, reason));
            }
        }
        Ok(())
    }

    /// The last segment is sealed, and before a segment is sealed the next is made, durably.
    fn end_sealed(&self) -> Result<(), OpenError> {
        match (self.index.segments.last(), &self.unfinished) {
            (None, _) => Ok(()),
            (Some(_), Some(path)) => Err(OpenError::Damaged {
                file: path.clone(),
                offset: 0,
                reason: "the segment's header was whole once and is not any more".into(),
            }),
            (Some(last), None) => Err(missing_segment(self.dir, last.segment.header.number + 1)),
        }
    }
}

fn checked(candidate: Candidate) -> Result<(Arc<Segment>, u64), OpenError> {
    let damaged = |reason: &str| OpenError::Damaged {
        file: candidate.path.clone(),
        offset: 0,
        reason: reason.to_owned(),
    };
    match header_of(&candidate)? {
        Ok(header) if header.number == candidate.number => {
            let segment = Segment::new(candidate.path, header, candidate.file);
            Ok((Arc::new(segment), candidate.len))
        }
        Ok(_) => Err(damaged("the segment's header has another number than its name")),
        Err(HeaderFault::Broken(reason)) => Err(damaged(reason)),
        Err(HeaderFault::Foreign(reason)) => Err(OpenError::Format { file: candidate.path, reason }),
    }
}

fn header_of(candidate: &Candidate) -> Result<Result<Header, HeaderFault>, OpenError> {
    let bytes = read_up_to(&*candidate.file, 0, HEADER_BYTES);
    Ok(Header::decode(&bytes.map_err(|source| unreadable(&candidate.path, source))?))
}

fn missing_segment(dir: &Path, number: u64) -> OpenError {
    OpenError::Damaged { file: segment_path(dir, number), offset: 0, reason: "the segment is missing".into() }
}

pub(super) fn unreadable(path: &Path, source: io::Error) -> OpenError {
    OpenError::Io { file: path.to_owned(), source }
}
