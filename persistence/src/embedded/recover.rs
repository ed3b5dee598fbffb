//! Opening a log: finding its segments, taking the sealed ones at their footers' word, reading what is behind them frame
//! by frame, and saying what a crash has left to be cut off.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::Files;
use super::format::{self, HEADER_BYTES, Header, HeaderFault, Kind, SEAL_BYTES, Seal};
use super::index::{IndexFault, IndexFile, MemoryPart, Sealed, SealedPart};
use super::scan::{Tail, is_blank, look_at_tail};
use super::segment::{Segment, read_up_to, segment_number, segment_path};
use super::verify::LogDamage;
use super::walk::{End, LastWritten, Versions, Walk};
use crate::planted::{Fault, any_is, planted, unless};
use crate::{OpenError, VfsFile};

const MISSING: &str = "the segment is missing";

/// The remains of a group that was never acknowledged.
#[derive(Debug, Clone)]
pub(super) struct Torn {
    pub(super) segment: Arc<Segment>,
    pub(super) offset: u64,
    pub(super) bytes: u64,
    /// Why the group does not count.
    pub(super) reason: &'static str,
}

/// A segment's file before its header is known to be good.
struct Candidate {
    number: u64,
    path: PathBuf,
    file: Box<dyn VfsFile>,
    len: u64,
}

/// The file of a segment that was begun and never needed, or made ahead.
pub(super) struct Unfinished {
    pub(super) path: PathBuf,
    /// The file and how long it is, where its header is not whole.
    pub(super) blank: Option<(Box<dyn VfsFile>, u64)>,
}

/// A segment's file, as it was found.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) segment: Arc<Segment>,
    pub(super) len: u64,
}

/// Reads a directory's segments into an index. Of the log it changes nothing: what should be changed is in its fields.
pub(super) struct Recovery<'a> {
    files: &'a Files,
    writable: bool,
    pub(super) walk: Walk,
    pub(super) torn: Option<Torn>,
    /// A segment that was begun and never needed, or made ahead.
    pub(super) unfinished: Option<Unfinished>,
    /// Sealed segments whose files go on behind their seals, and where these end.
    pub(super) untrimmed: Vec<(Arc<Segment>, u64)>,
    /// How long the segments are.
    pub(super) bytes: u64,
    /// How many streams the segments behind the last table have, each counted for itself.
    pub(super) touched: usize,
}

impl<'a> Recovery<'a> {
    pub(super) fn new(files: &'a Files, writable: bool, versions: Versions) -> Self {
        Self {
            files,
            writable,
            walk: Walk::new(versions),
            torn: None,
            unfinished: None,
            untrimmed: Vec::new(),
            bytes: 0,
            touched: 0,
        }
    }

    /// Reads what is needed to go on. Afterwards the index has the segments; none when there was no finished one.
    pub(super) fn open(&mut self) -> Result<(), OpenError> {
        let found = self.segments()?;
        if self.writable {
            self.files.remove_unfinished().map_err(|source| unreadable(&self.files.dir, source))?;
        }
        let sealed = self.footers(&found)?;
        let known = self.known_streams(&sealed)?;
        for ((found, seal), at) in sealed.iter().zip(0..) {
            self.take_sealed(found, seal, at < known)?;
        }
        self.read_on(&found, sealed.len())
    }

    /// Reads segments frame by frame, from the one at this place on.
    fn read_on(&mut self, found: &[Found], from: usize) -> Result<(), OpenError> {
        for at in from..found.len() {
            let Found { segment, len } = &found[at];
            self.walk.enter(segment, *len)?;
            match self.walk.through(segment, *len, &mut |_, _| ())? {
                End::Sealed(end) => {
                    if end < *len {
                        self.untrimmed.push((Arc::clone(segment), end));
                    }
                    self.settle_last()?;
                }
                End::Open { at: bad, reason } => return self.end_at(&found[at..], bad, reason),
            }
        }
        self.end_sealed()
    }

    /// The segments, by their numbers, each with a header that is in order.
    pub(super) fn segments(&mut self) -> Result<Vec<Found>, OpenError> {
        let mut candidates = self.candidates()?;
        self.sync(&candidates)?;
        self.set_unfinished_aside(&mut candidates)?;
        candidates.into_iter().map(checked).collect()
    }

    fn candidates(&mut self) -> Result<Vec<Candidate>, OpenError> {
        match self.candidates_in_front()? {
            (candidates, None) => Ok(candidates),
            (_, Some(missing)) => Err(missing_segment(&self.files.dir, missing)),
        }
    }

    /// The segments in front of the first that is missing, and which that is.
    fn candidates_in_front(&mut self) -> Result<(Vec<Candidate>, Option<u64>), OpenError> {
        let numbers = self.numbers()?;
        let missing = numbers.iter().zip(1..).find(|(number, expected)| **number != *expected);
        let missing = missing.map(|(_, missing)| missing);
        let in_front =
            numbers.into_iter().take_while(|number| missing.is_none_or(|missing| *number < missing));
        let candidates = in_front.map(|number| self.candidate(number)).collect::<Result<_, _>>()?;
        Ok((candidates, missing))
    }

    /// The segments in front of the first that is missing or has a damaged header, and what is wrong with that.
    pub(super) fn segments_in_front(&mut self) -> Result<(Vec<Found>, Option<LogDamage>), OpenError> {
        let (mut candidates, missing) = self.candidates_in_front()?;
        self.sync(&candidates)?;
        if missing.is_none() {
            self.set_unfinished_aside(&mut candidates)?;
        }
        let mut found = Vec::new();
        for candidate in candidates {
            match checked(candidate) {
                Ok(segment) => found.push(segment),
                Err(OpenError::Damaged { file, offset, reason }) => {
                    return Ok((found, Some(LogDamage { file, offset, reason })));
                }
                Err(error) => return Err(error),
            }
        }
        Ok((found, missing.map(|number| self.missing(number))))
    }

    /// All segments whose headers are in order, and what is wrong where there is none: a header, or that it is missing.
    pub(super) fn all_segments(&mut self) -> Result<(Vec<Found>, Vec<LogDamage>), OpenError> {
        let numbers = self.numbers()?;
        let candidates = numbers.into_iter().map(|number| self.candidate(number));
        let mut candidates = candidates.collect::<Result<Vec<_>, _>>()?;
        self.sync(&candidates)?;
        self.set_unfinished_aside(&mut candidates)?;
        let (mut found, mut damage, mut next) = (Vec::new(), Vec::new(), 1);
        for candidate in candidates {
            if candidate.number > next {
                damage.push(self.missing(next));
            }
            next = candidate.number + 1;
            match checked(candidate) {
                Ok(segment) => found.push(segment),
                Err(OpenError::Damaged { file, offset, reason }) => {
                    damage.push(LogDamage { file, offset, reason });
                }
                Err(error) => return Err(error),
            }
        }
        Ok((found, damage))
    }

    fn missing(&self, number: u64) -> LogDamage {
        LogDamage { file: segment_path(&self.files.dir, number), offset: 0, reason: MISSING.into() }
    }

    fn numbers(&self) -> Result<Vec<u64>, OpenError> {
        let mut numbers: Vec<u64> =
            self.files.list()?.iter().filter_map(|name| segment_number(name)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn candidate(&mut self, number: u64) -> Result<Candidate, OpenError> {
        let path = segment_path(&self.files.dir, number);
        let file = self.files.vfs.open(&path, self.writable).map_err(|source| unreadable(&path, source))?;
        let len = file.len().map_err(|source| unreadable(&path, source))?;
        self.bytes += len;
        Ok(Candidate { number, path, file, len })
    }

    /// After a crash of the process alone, what is read may not be on the disk yet, and a decision taken on it would
    /// not survive a loss of power: so sync first. Only the last two segments can have anything unsynced, and the file that
    /// was made ahead of them.
    fn sync(&self, candidates: &[Candidate]) -> Result<(), OpenError> {
        for candidate in candidates.iter().rev().take(3) {
            let synced = unless(Fault::OpenedUnsynced, || candidate.file.sync_data());
            synced.map_err(|source| unreadable(&candidate.path, source))?;
        }
        let Files { vfs, dir } = self.files;
        vfs.sync_dir(dir).map_err(|source| unreadable(dir, source))
    }

    /// A segment that was made ahead has no header yet, and a crash while one is begun leaves a header that is not whole;
    /// neither has anything behind it.
    fn set_unfinished_aside(&mut self, candidates: &mut Vec<Candidate>) -> Result<(), OpenError> {
        let Some(last) = candidates.last() else { return Ok(()) };
        if !matches!(header_of(last)?, Err(HeaderFault::Broken(_))) {
            return Ok(());
        }
        let blank = any_is(Fault::SpareNotLookedAt, || is_blank(&*last.file, HEADER_BYTES as u64));
        if blank.map_err(|source| unreadable(&last.path, source))?
            && let Some(Candidate { path, file, len, .. }) = candidates.pop()
        {
            self.bytes -= len;
            self.unfinished = Some(Unfinished { path, blank: Some((file, len)) });
        }
        Ok(())
    }

    /// The segments from the first that end with their footers, with these; never the last one.
    fn footers(&self, found: &[Found]) -> Result<Vec<(Found, Seal)>, OpenError> {
        let mut sealed = Vec::new();
        for found in &found[..found.len().saturating_sub(1)] {
            match footer(found)? {
                Some(seal) => sealed.push((found.clone(), seal)),
                None => break,
            }
        }
        Ok(sealed)
    }

    /// Has the index begin with the newest table there is of the streams; answers how many segments are in it.
    fn known_streams(&mut self, sealed: &[(Found, Seal)]) -> Result<usize, OpenError> {
        for number in self.files.tables()?.into_iter().rev() {
            let Some(at) = sealed.iter().position(|(found, _)| found.segment.header.number == number) else {
                continue;
            };
            let (segment, headers) =
                (&sealed[at].0.segment, sealed.iter().map(|(found, _)| &found.segment.header));
            if let Some(table) = self.files.table(segment)?
                && (planted(Fault::StaleTable) || table.is_of(headers, number))
                && self.files.begin_with(&mut self.walk.index, table, segment)?
            {
                return Ok(at + 1);
            }
        }
        Ok(0)
    }

    /// Goes over a sealed segment at its footer's word, where it has an index file; the streams of one that is `known`
    /// are in the table.
    fn take_sealed(&mut self, found: &Found, seal: &Seal, known: bool) -> Result<(), OpenError> {
        let segment = &found.segment;
        self.walk.follow(segment)?;
        let follows = seal.next == segment.header.number + 1
            && seal.group >= self.walk.index.group
            && seal.last.position >= self.walk.index.durable.position;
        if !follows {
            return Err(segment.damaged(found.len - SEAL_BYTES as u64, "the seal does not match its segment"));
        }
        if segment.header.generation > 0 {
            self.walk.versions = Versions::Missing;
        }
        let Some(file) = self.files.index(segment)? else { return self.without_index(found, known) };
        if !known && let Err(fault) = self.add_streams(segment, &file) {
            self.files.distrust(&fault)?;
            return self.without_index(found, known);
        }
        self.go_over(found, seal, SealedPart::File(Arc::new(file)));
        Ok(())
    }

    fn go_over(&mut self, found: &Found, seal: &Seal, part: SealedPart) {
        let segment = Arc::clone(&found.segment);
        let (start, end) = (found.len - SEAL_BYTES as u64, found.len);
        self.walk.last_written = Some(LastWritten { segment: Arc::clone(&segment), start, end });
        self.walk.index.push_sealed(Sealed { segment, end, part });
        self.walk.index.durable = seal.last;
        self.walk.index.group = seal.group;
    }

    fn add_streams(&mut self, segment: &Segment, file: &IndexFile) -> Result<(), IndexFault> {
        let (index, number) = (&mut self.walk.index, segment.header.number);
        // Looked through first: half of it would be worse than none.
        let mut entries = Vec::new();
        file.each_stream(|stream| entries.push(stream.entry(number)))?;
        let retention = file.retention()?;
        self.touched += entries.len();
        entries.into_iter().for_each(|entry| index.streams.set(entry));
        retention.into_iter().for_each(|(key, kept)| index.set_kept(key, kept));
        Ok(())
    }

    /// A sealed segment whose index file is not there, or not to be trusted, is read.
    fn without_index(&mut self, found: &Found, known: bool) -> Result<(), OpenError> {
        let Found { segment, len } = found;
        if known {
            let part = part_of(segment, *len)?;
            let seal = footer(found)?.ok_or_else(|| segment.damaged(*len, "the segment has no seal"))?;
            self.go_over(found, &seal, SealedPart::Memory(Arc::new(part)));
        } else {
            self.walk.enter(segment, *len)?;
            if let End::Open { at, reason } = self.walk.through(segment, *len, &mut |_, _| ())? {
                return Err(segment.damaged(at, reason));
            }
        }
        self.settle_last()
    }

    /// Writes the index file of the last sealed segment, so that it is not in memory for long.
    fn settle_last(&mut self) -> Result<(), OpenError> {
        let Some(last) = self.walk.index.sealed.last().cloned() else { return Ok(()) };
        if let (true, SealedPart::Memory(part)) = (self.writable, &last.part) {
            self.touched += part.streams.len();
            let written = self.files.write_index(&last.segment, part);
            if let Some(file) = written.map_err(|source| unreadable(&self.files.dir, source))? {
                self.walk.index.replace_sealed(last.with_file(file));
            }
        }
        Ok(())
    }

    /// No frame where one should be: the log's end, if this is the last segment, or the next was made and not used.
    pub(super) fn end_at(&mut self, rest: &[Found], bad: u64, reason: &'static str) -> Result<(), OpenError> {
        let Found { segment, len } = &rest[0];
        match &rest[1..] {
            [] => self.end_open(segment, *len, bad, reason),
            [next] if self.unused_after(segment, &next.segment)? => {
                self.unfinished = Some(Unfinished { path: next.segment.path.clone(), blank: None });
                self.end_open(segment, *len, bad, reason)
            }
            _ => Err(segment.damaged(bad, reason)),
        }
    }

    /// Whether the next segment is one that was made, but not yet when this one was sealed.
    fn unused_after(&self, segment: &Segment, next: &Segment) -> Result<bool, OpenError> {
        let header = &next.header;
        let follows = self.walk.staged.is_empty()
            && header.base == self.walk.index.durable.position.next()
            && header.base_group == self.walk.index.group
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
        self.walk.staged.clear();
        let offset = self.walk.group_start().unwrap_or(HEADER_BYTES as u64);
        let tail = look_at_tail(segment, offset, len, self.walk.index.group + 1);
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
    pub(super) fn end_sealed(&self) -> Result<(), OpenError> {
        match (self.walk.index.last_segment(), &self.unfinished) {
            (None, _) => Ok(()),
            (Some(_), Some(unfinished)) => Err(OpenError::Damaged {
                file: unfinished.path.clone(),
                offset: 0,
                reason: "the segment's header was whole once and is not any more".into(),
            }),
            (Some(last), None) => Err(missing_segment(&self.files.dir, last.header.number + 1)),
        }
    }
}

/// The seal that a file ends with, if it does.
pub(super) fn footer(found: &Found) -> Result<Option<Seal>, OpenError> {
    let Found { segment, len } = found;
    let Some(at) = len.checked_sub(SEAL_BYTES as u64).filter(|at| *at >= HEADER_BYTES as u64) else {
        return Ok(None);
    };
    let bytes = read_up_to(&*segment.file, at, SEAL_BYTES).map_err(|source| segment.unreadable(source))?;
    let frame = format::parse_frame(&bytes, at, segment.seed, SEAL_BYTES as u64)
        .or_else(|flaw| flaw.unless_planted(Fault::FooterUnchecked, &bytes))
        .ok();
    let seal =
        frame.filter(|frame| frame.kind == Kind::Seal).and_then(|frame| Seal::decode(&bytes[frame.body]));
    Ok(seal)
}

/// What is in a sealed segment, read from it alone.
pub(super) fn part_of(segment: &Arc<Segment>, len: u64) -> Result<MemoryPart, OpenError> {
    let mut walk = Walk::new(Versions::Alone);
    walk.jump_to(segment);
    walk.index.begin(Arc::clone(segment), HEADER_BYTES as u64);
    if let End::Open { at, reason } = walk.through(segment, len, &mut |_, _| ())? {
        return Err(segment.damaged(at, reason));
    }
    let sealed = Arc::unwrap_or_clone(walk.index.sealed).pop();
    match sealed.map(|sealed| sealed.part) {
        Some(SealedPart::Memory(part)) => Ok(Arc::into_inner(part).unwrap_or_default()),
        _ => Ok(MemoryPart::default()),
    }
}

fn checked(candidate: Candidate) -> Result<Found, OpenError> {
    let damaged = |reason: &str| OpenError::Damaged {
        file: candidate.path.clone(),
        offset: 0,
        reason: reason.to_owned(),
    };
    match header_of(&candidate)? {
        Ok(header) if header.number == candidate.number => {
            let segment = Segment::new(candidate.path, header, candidate.file);
            Ok(Found { segment: Arc::new(segment), len: candidate.len })
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

pub(super) fn missing_segment(dir: &Path, number: u64) -> OpenError {
    OpenError::Damaged { file: segment_path(dir, number), offset: 0, reason: MISSING.into() }
}

pub(super) fn unreadable(path: &Path, source: io::Error) -> OpenError {
    OpenError::Io { file: path.to_owned(), source }
}
