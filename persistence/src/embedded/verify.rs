//! Looking a whole log through without changing it.

use std::path::PathBuf;
use std::sync::Arc;

use super::files::Files;
use super::index::{Comparison, Index, IndexFault, MemoryPart, Sealed, SealedPart, index_path, table_path};
use super::lock;
use super::open::check_mark;
use super::paged::PageFault;
use super::recover::{Found, Recovery, Torn, unreadable};
use super::segment::Segment;
use super::walk::{End, Versions};
use super::watermark::Watermark;
use crate::OpenError;
use crate::planted::{Fault, planted};

/// How often progress is told, in bytes.
const PROGRESS_BYTES: u64 = 4 << 20;

/// How far a verification is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyProgress {
    /// Segments begun.
    pub segments: usize,
    /// Segments in all.
    pub segments_total: usize,
    /// Bytes looked at.
    pub bytes: u64,
    /// Bytes in all; unused space at the end is not looked at one by one, so the end may come sooner.
    pub bytes_total: u64,
    /// Events found so far.
    pub events: u64,
}

/// What a verification has found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Segments looked at.
    pub segments: usize,
    /// Events in order, up to the damage if there is any.
    pub events: u64,
    /// Streams that have any of these events.
    pub streams: usize,
    /// How long the files are.
    pub bytes: u64,
    /// A last group that is not whole; the next open cuts it off.
    pub torn_tail: Option<TornTail>,
    /// Where bytes that were once durable are not what was written, the first such place of every segment.
    pub damage: Vec<LogDamage>,
    /// Index files that do not say what the log says. No event is concerned: they are made anew when the journal is
    /// opened without them.
    pub index_faults: Vec<LogDamage>,
    /// Whether there are events, and it is not noted how far they go: in the first second of a journal, or since the note was
    /// lost. That the log has lost its end would not be noticed.
    pub unmarked: bool,
}

/// A last group that is not whole: what a crash leaves of one that was never acknowledged. Damage since to what was
/// written in the last second before a crash looks the same.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TornTail {
    /// The file.
    pub file: PathBuf,
    /// Where they begin, in bytes.
    pub offset: u64,
    /// How far they reach at most, in bytes.
    pub bytes: u64,
    /// Why they do not count.
    pub reason: &'static str,
}

/// Bytes that were once durable and are not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogDamage {
    /// The file.
    pub file: PathBuf,
    /// Where in it, in bytes.
    pub offset: u64,
    /// What is wrong there.
    pub reason: String,
}

/// See [`crate::EmbeddedJournal::verify`].
pub(super) fn verify(
    files: &Files,
    progress: &mut dyn FnMut(VerifyProgress),
) -> Result<VerifyReport, OpenError> {
    // Listed before the lock is taken, so that a mistyped directory is an error instead of a new lock file.
    files.list()?;
    let _lock = lock(&*files.vfs, &files.dir)?;
    let mut recovery = Recovery::new(files, false, Versions::Whole { scavenged: 0 });
    let mut verification = Verification {
        files,
        progress,
        told: VerifyProgress::default(),
        damage: Vec::new(),
        index_faults: Vec::new(),
        scavenged: false,
    };
    match verification.run(&mut recovery) {
        Ok(()) => {}
        Err(OpenError::Damaged { file, offset, reason }) => {
            verification.damage.push(LogDamage { file, offset, reason });
        }
        Err(error) => return Err(error),
    }
    let mark = Watermark::read(files).map_err(|source| unreadable(&Watermark::path(&files.dir), source))?;
    Ok(VerifyReport {
        unmarked: verification.told.events > 0 && mark.is_none(),
        segments: verification.told.segments,
        events: verification.told.events,
        streams: recovery.walk.index.streams.len(),
        bytes: recovery.bytes,
        torn_tail: recovery.torn.as_ref().map(TornTail::from),
        damage: verification.damage,
        index_faults: verification.index_faults,
    })
}

/// A verification under way.
struct Verification<'a> {
    files: &'a Files,
    progress: &'a mut dyn FnMut(VerifyProgress),
    told: VerifyProgress,
    damage: Vec<LogDamage>,
    index_faults: Vec<LogDamage>,
    /// Whether any segment so far was written anew without some of its records.
    scavenged: bool,
}

impl Verification<'_> {
    fn run(&mut self, recovery: &mut Recovery<'_>) -> Result<(), OpenError> {
        let (found, damage) = recovery.all_segments()?;
        self.damage = damage;
        self.told.bytes_total = found.iter().map(|found| found.len).sum();
        self.told.segments_total = found.len();
        let (mut ended_open, mut expected) = (false, 1);
        for at in 0..found.len() {
            let segment = &found[at].segment;
            // What is in front of it is missing, or has a damaged header.
            if segment.header.number != expected {
                recovery.walk.go_on_apart(segment);
            }
            expected = segment.header.number + 1;
            match self.segment(recovery, &found[at..]) {
                Ok(End::Sealed(_)) => {}
                Ok(End::Open { .. }) => {
                    ended_open = true;
                    break;
                }
                Err(OpenError::Damaged { file, offset, reason }) => {
                    self.damage.push(LogDamage { file, offset, reason });
                    let Some(next) = found.get(at + 1) else { return Ok(()) };
                    recovery.walk.go_on_at(&next.segment);
                }
                Err(error) => return Err(error),
            }
        }
        if !ended_open {
            recovery.end_sealed()?;
        }
        check_mark(recovery, self.files)
    }

    fn segment(&mut self, recovery: &mut Recovery<'_>, rest: &[Found]) -> Result<End, OpenError> {
        let Found { segment, len } = &rest[0];
        self.told.segments += 1;
        let (bytes, events) = (self.told.bytes, self.told.events);
        recovery.walk.enter(segment, *len)?;
        let through = recovery.walk.through(segment, *len, &mut |at, index| {
            self.told.events = events + index.active.as_ref().map_or(0, |active| active.part.records);
            if bytes + at >= self.told.bytes + PROGRESS_BYTES {
                self.told.bytes = bytes + at;
                (self.progress)(self.told);
            }
        });
        self.told.bytes = bytes + len;
        let end = through?;
        match end {
            End::Sealed(_) => self.told.events = events + self.sealed(recovery)?,
            End::Open { at, reason } => recovery.end_at(rest, at, reason)?,
        }
        Ok(end)
    }

    /// Holds the index file of the segment that was just gone through against it; answers how many records it has.
    fn sealed(&mut self, recovery: &mut Recovery<'_>) -> Result<u64, OpenError> {
        let sealed = Arc::make_mut(&mut recovery.walk.index.sealed);
        let Some(Sealed { segment, part: SealedPart::Memory(part), end }) = sealed.pop() else {
            return Ok(0);
        };
        let records = part.records;
        self.scavenged |= segment.header.generation > 0;
        self.index_faults.extend(self.index_fault(&segment, &part)?);
        // Of those that are done with, only what leads to the next is kept.
        sealed.clear();
        sealed.push(Sealed { segment: Arc::clone(&segment), end, part: SealedPart::Memory(Arc::default()) });
        self.index_faults.extend(self.table_fault(&segment, &recovery.walk.index)?);
        Ok(records)
    }

    /// Holds the table that was written after a segment against all that was gone through.
    fn table_fault(&self, segment: &Segment, index: &Index) -> Result<Option<LogDamage>, OpenError> {
        let file = table_path(&self.files.dir, segment.header.number);
        let Some(opened) = self.files.open_table(segment)? else { return Ok(None) };
        let mut told = Index::default();
        let read = match opened {
            Ok(table) => table.into_index(&mut told).map_err(|source| unreadable(&file, source))?,
            Err(reason) => Err(reason),
        };
        let reason = match read {
            Ok(()) if Comparison::new(&told, index, self.scavenged).agrees() => return Ok(None),
            Ok(()) if planted(Fault::TableUnchecked) => return Ok(None),
            Ok(()) => "it does not say what the segments say",
            Err(reason) => reason,
        };
        Ok(Some(LogDamage { file, offset: 0, reason: reason.to_owned() }))
    }

    fn index_fault(&self, segment: &Segment, part: &MemoryPart) -> Result<Option<LogDamage>, OpenError> {
        let file = index_path(&self.files.dir, segment.header.number);
        let fault = |offset, reason: &str| {
            let reason = reason.to_owned();
            Ok(Some(LogDamage { file: file.clone(), offset, reason }))
        };
        let index = match self.files.open_index(segment)? {
            None => return Ok(None),
            Some(Err(reason)) => return fault(0, reason),
            Some(Ok(index)) => index,
        };
        match index.agrees(segment, part) {
            Ok(true) => Ok(None),
            Ok(false) => fault(0, "it does not say what the segment says"),
            Err(IndexFault { fault: PageFault::Damaged(offset), .. }) => {
                fault(offset, "a page does not match its checksum")
            }
            Err(IndexFault { fault: PageFault::Io(source), path, .. }) => Err(unreadable(&path, source)),
        }
    }
}

impl From<&Torn> for TornTail {
    fn from(torn: &Torn) -> Self {
        Self { file: torn.segment.path.clone(), offset: torn.offset, bytes: torn.bytes, reason: torn.reason }
    }
}
