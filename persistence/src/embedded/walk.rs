//! Going through a segment frame by frame, and holding each against what must be there.

use std::sync::Arc;

use super::format::{Commit, Frame, Gap, HEADER_BYTES, Kind, Seal};
use super::index::{Index, Staging};
use super::input::Input;
use super::record::Record;
use super::retention::kept_from;
use super::scan::FrameReader;
use super::segment::Segment;
use crate::{OpenError, StreamId, Version};

/// How a segment ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With its seal, behind which it ends.
    Sealed(u64),
    /// No frame is where the next should be.
    Open { at: u64, reason: &'static str },
}

/// How far the versions of records must follow those before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Versions {
    /// Each follows the one before it, but where as many were scavenged.
    Whole {
        /// How many were scavenged, and are not missed yet.
        scavenged: u64,
    },
    /// A stream may begin anywhere: what is in front of the segment is not known.
    Alone,
    /// They go up. Something in front is missing: scavenged, or damaged.
    Missing,
}

/// Part of a segment.
#[derive(Debug)]
pub(super) struct LastWritten {
    pub(super) segment: Arc<Segment>,
    pub(super) start: u64,
    pub(super) end: u64,
}

/// Builds an index from frames.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) index: Index,
    pub(super) versions: Versions,
    /// The last group with what follows it: the only part whose sync may have failed.
    pub(super) last_written: Option<LastWritten>,
    pub(super) staged: Staging,
    /// Whether the segment in front of the next is missing, so that nothing can be said of how they are linked.
    apart: bool,
    scratch: String,
}

impl Walk {
    pub(super) fn new(versions: Versions) -> Self {
        Self {
            index: Index::default(),
            versions,
            last_written: None,
            staged: Staging::default(),
            apart: false,
            scratch: String::new(),
        }
    }

    /// Begins with a segment, which must follow the one before it.
    pub(super) fn enter(&mut self, segment: &Arc<Segment>, len: u64) -> Result<(), OpenError> {
        if !std::mem::take(&mut self.apart) {
            self.follow(segment)?;
        }
        self.index.begin(Arc::clone(segment), (HEADER_BYTES as u64).min(len));
        Ok(())
    }

    /// Whether the segment follows what was gone through.
    pub(super) fn follow(&mut self, segment: &Segment) -> Result<(), OpenError> {
        let header = &segment.header;
        if self.index.last_segment().is_none() {
            self.index.set_secret(header.secret);
        }
        let previous = self.index.last_segment().map(|previous| &previous.header);
        let follows = header.base == self.index.durable.position.next()
            && header.base_group == self.index.group
            && header.previous_salt == previous.map_or(0, |previous| previous.salt)
            && header.secret == self.index.secret()
            && previous.is_none_or(|previous| {
                previous.journal == header.journal || Some(previous.journal) == header.forked_from
            });
        if follows {
            return Ok(());
        }
        Err(segment.damaged(0, "the segment does not follow the one before it"))
    }

    /// Has the segment follow, whatever is in front of it.
    pub(super) fn jump_to(&mut self, segment: &Segment) {
        let header = &segment.header;
        self.index.durable.position.0 = header.base.0.saturating_sub(1);
        self.index.group = header.base_group;
        self.index.set_secret(header.secret);
    }

    /// Gives up what was begun, and has this segment follow.
    pub(super) fn go_on_at(&mut self, segment: &Segment) {
        self.staged.clear();
        self.versions = Versions::Missing;
        self.jump_to(segment);
    }

    /// Has this segment follow, in front of which at least one is missing.
    pub(super) fn go_on_apart(&mut self, segment: &Segment) {
        self.go_on_at(segment);
        self.apart = true;
    }

    /// Goes through a segment that was entered.
    pub(super) fn through(
        &mut self,
        segment: &Arc<Segment>,
        len: u64,
        progress: &mut dyn FnMut(u64, &Index),
    ) -> Result<End, OpenError> {
        let mut frames = FrameReader::new(segment, len);
        let mut at = HEADER_BYTES as u64;
        loop {
            match frames.frame(at).map_err(|source| segment.unreadable(source))? {
                Err(reason) => return Ok(End::Open { at, reason: self.why_open(reason) }),
                Ok((frame, body)) => {
                    self.take(segment, at, &frame, body)?;
                    at += frame.bytes as u64;
                    progress(at, &self.index);
                    if frame.kind == Kind::Seal {
                        self.index.seal(at);
                        return Ok(End::Sealed(at));
                    }
                }
            }
        }
    }

    fn why_open(&self, reason: &'static str) -> &'static str {
        match self.staged.is_empty() {
            false if reason == "no frame begins here" => "the group has no commit marker",
            _ => reason,
        }
    }

    fn take(&mut self, segment: &Arc<Segment>, at: u64, frame: &Frame, body: &[u8]) -> Result<(), OpenError> {
        let end = at + frame.bytes as u64;
        let right_group = frame.group == (self.index.group + 1) as u32;
        let taken = if !right_group {
            Err("the frame is not of the group that follows")
        } else {
            match frame.kind {
                Kind::Record => self.take_record(segment, at, body),
                Kind::Commit => self.take_commit(segment, end, body),
                Kind::Seal => self.take_seal(segment, end, body),
                Kind::Gap => self.take_gap(segment, at, end, body),
                Kind::Retention => self.take_retention(body),
            }
        };
        taken.map_err(|reason| segment.damaged(at, reason))
    }

    fn take_record(&mut self, segment: &Segment, at: u64, body: &[u8]) -> Result<(), &'static str> {
        let record = Record::decode(body, segment.base())?;
        if record.position != self.staged.next_position(&self.index) {
            return Err("the record's position does not follow the one before it");
        }
        record.type_text()?;
        let name = record.stream(&mut self.scratch)?;
        let stream = self.staged.stream_by_text(&self.index, name).ok_or("the record names no stream")?;
        let before = self.staged.version(stream);
        if record.version != before.next() {
            self.versions.pass_over(before, record.version)?;
            self.staged.skip_to(stream, Version(record.version.0 - 1));
        }
        self.staged.record(&self.index, stream, at, record.time);
        Ok(())
    }

    fn take_commit(&mut self, segment: &Arc<Segment>, end: u64, body: &[u8]) -> Result<(), &'static str> {
        let commit = Commit::decode(body).ok_or("the commit marker has a wrong length")?;
        let durable = self.index.durable.position;
        let expected = Commit {
            group: self.index.group + 1,
            first: durable.next(),
            count: self.staged.position_count(),
            durable,
        };
        if commit != expected || self.staged.is_empty() {
            return Err("the commit marker does not match its group");
        }
        self.publish(segment, end, self.index.group + 1);
        Ok(())
    }

    fn publish(&mut self, segment: &Arc<Segment>, end: u64, group: u64) {
        let start = self.group_start().unwrap_or(end);
        self.last_written = Some(LastWritten { segment: Arc::clone(segment), start, end });
        self.index.publish(&mut self.staged, end, group);
        self.staged.clear();
    }

    /// Where the group begins that is gone through.
    pub(super) fn group_start(&self) -> Option<u64> {
        self.index.active.as_ref().map(|active| active.end)
    }

    fn take_gap(
        &mut self,
        segment: &Arc<Segment>,
        at: u64,
        end: u64,
        body: &[u8],
    ) -> Result<(), &'static str> {
        const MALFORMED: &str = "the frame's body is no gap";
        let gap = body.get(..Gap::BYTES).and_then(Gap::decode).ok_or(MALFORMED)?;
        let whole_groups = gap.group != 0;
        if segment.header.generation == 0 || gap.first != self.staged.next_position(&self.index) {
            return Err("the gap does not follow the record before it");
        }
        if whole_groups && (gap.group <= self.index.group || !self.staged.is_empty()) {
            return Err("the gap's group does not follow the one before it");
        }
        let mut names = Input::new(&body[Gap::BYTES..]);
        while !names.remaining().is_empty() {
            let name = names.text().ok_or(MALFORMED)?;
            self.staged.created(StreamId::parse(name).map_err(|_| "the gap names no stream")?);
        }
        self.staged.gap(&self.index, at, gap.count);
        if let Versions::Whole { scavenged } = &mut self.versions {
            *scavenged += gap.count;
        }
        if whole_groups {
            self.publish(segment, end, gap.group);
        }
        Ok(())
    }

    fn take_retention(&mut self, body: &[u8]) -> Result<(), &'static str> {
        let bytes = body.try_into().map_err(|_| "the frame's body is no retention")?;
        let (key, kept) = kept_from(bytes);
        self.staged.retain(key, kept);
        Ok(())
    }

    fn take_seal(&mut self, segment: &Arc<Segment>, end: u64, body: &[u8]) -> Result<(), &'static str> {
        let seal = Seal::decode(body).ok_or("the seal has a wrong length")?;
        if !self.staged.is_empty() || !self.is_of(&seal, segment) {
            return Err("the seal does not match its segment");
        }
        self.index.durable = seal.last;
        let start = self.group_start().unwrap_or(end);
        let before = self.last_written.take().filter(|last| last.segment.header.number + 1 == seal.next);
        let start = before.map_or(start, |last| last.start);
        self.last_written = Some(LastWritten { segment: Arc::clone(segment), start, end });
        Ok(())
    }

    /// Whether the seal says what was found. Of records that were scavenged it says more than can be found.
    fn is_of(&self, seal: &Seal, segment: &Segment) -> bool {
        let durable = self.index.durable;
        let (count, latest) = self
            .index
            .active
            .as_ref()
            .map(|active| (active.part.records, active.part.latest))
            .unwrap_or_default();
        let scavenged = segment.header.generation > 0 || !matches!(self.versions, Versions::Whole { .. });
        let times = if scavenged { seal.latest >= latest } else { seal.latest == latest };
        let external = seal.last.external == durable.external
            || scavenged && seal.last.external >= durable.external && seal.last.external <= durable.position;
        seal.next == segment.header.number + 1
            && seal.last.position == durable.position
            && seal.group == self.index.group
            && seal.count == count
            && times
            && external
    }
}

impl Versions {
    /// Lets a stream go on from further ahead, if it may.
    fn pass_over(&mut self, before: Version, found: Version) -> Result<(), &'static str> {
        const UNEXPECTED: &str = "the record's version does not follow the one before it";
        let missing = found.0.checked_sub(before.0 + 1).ok_or(UNEXPECTED)?;
        match self {
            Self::Whole { scavenged } => {
                *scavenged = scavenged.checked_sub(missing).ok_or(UNEXPECTED)?;
                Ok(())
            }
            Self::Alone if before == Version::NONE => Ok(()),
            Self::Alone => Err(UNEXPECTED),
            Self::Missing => Ok(()),
        }
    }
}
