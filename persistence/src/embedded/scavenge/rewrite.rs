//! A segment, frame by frame, without what goes.

use std::io;
use std::time::Instant;

use super::Scavenging;
use crate::embedded::format::{self, Commit, Gap, HEADER_BYTES, Header, Kind, Seal};
use crate::embedded::index::Sealed;
use crate::embedded::input::{Input, put_bytes};
use crate::embedded::record::Record;
use crate::embedded::retention::kept_from;
use crate::embedded::scan::FrameReader;
use crate::embedded::segment::Segment;
use crate::planted::{Fault, planted, unless};
use crate::{Position, ReadError, Version, VfsFile};

/// So much is written with one call, and synced, so that nobody waits long for the disk behind it.
const WRITE_BYTES: usize = 1 << 20;

/// Why it could not be written to its end.
pub(super) enum Stopped {
    /// Somebody asked for it.
    Asked,
    Io(io::Error),
    Read(ReadError),
}

/// A segment that was written anew.
pub(super) struct Written {
    /// Where it ends, the seal included.
    pub(super) end: u64,
    /// How many records are gone.
    pub(super) gone: u64,
}

/// Records that went, one behind the other, and the names of streams that began with one of them.
#[derive(Debug, Default)]
struct Gone {
    first: Position,
    count: u64,
    /// The last group whose commit marker went too, 0 where none did.
    group: u64,
    names: Vec<u8>,
    any: bool,
}

/// What is left of a group.
#[derive(Debug, Default)]
struct Left {
    pieces: Vec<Piece>,
    /// The gap that is growing behind them.
    gap: Gone,
    /// Whether anything but gaps is among them.
    any: bool,
}

#[derive(Debug)]
enum Piece {
    Frame(Kind, Vec<u8>),
    Gone(Gone),
}

/// Writes one segment anew.
pub(super) struct Rewrite<'a, 'b> {
    scavenging: &'a mut Scavenging<'b>,
    sealed: &'a Sealed,
    file: &'a dyn VfsFile,
    seed: u32,
    buffer: Vec<u8>,
    /// Where in the file the buffer begins.
    buffer_at: u64,
    /// The last group written, or gone.
    group: u64,
    /// The position of the next record.
    next: Position,
    /// Whole groups that went and are not written yet.
    pending: Gone,
    left: Left,
    records: u64,
    gone: u64,
    since: Instant,
    scratch: String,
}

impl<'a, 'b> Rewrite<'a, 'b> {
    pub(super) fn new(
        scavenging: &'a mut Scavenging<'b>,
        sealed: &'a Sealed,
        file: &'a dyn VfsFile,
        header: &Header,
    ) -> Self {
        Self {
            scavenging,
            sealed,
            file,
            seed: header.checksum_seed(),
            buffer: header.encode(),
            buffer_at: 0,
            group: header.base_group,
            next: header.base,
            pending: Gone::default(),
            left: Left::default(),
            records: 0,
            gone: 0,
            since: Instant::now(),
            scratch: String::new(),
        }
    }

    pub(super) fn run(mut self) -> Result<Written, Stopped> {
        let segment = &*self.sealed.segment;
        let mut frames = FrameReader::new(segment, self.sealed.end);
        let mut at = HEADER_BYTES as u64;
        loop {
            let (frame, body) = frames
                .frame(at)
                .map_err(|source| {
                    let file = segment.path.clone();
                    Stopped::Read(ReadError::Io { file, source: std::sync::Arc::new(source) })
                })?
                .map_err(|reason| Stopped::Read(segment.read_damaged(at, reason)))?;
            let taken = match frame.kind {
                Kind::Record => self.record(segment, body),
                Kind::Gap => self.gap(body),
                Kind::Retention => self.retention(body),
                Kind::Commit => self.commit(body),
                Kind::Seal => return self.seal(body).map_err(|halt| halt.at(segment, at)),
            };
            taken.map_err(|halt| halt.at(segment, at))?;
            at += frame.bytes as u64;
        }
    }

    fn record(&mut self, segment: &Segment, body: &[u8]) -> Result<(), Halt> {
        let record = Record::decode(body, segment.base()).map_err(Halt::Malformed)?;
        let name = record.stream(&mut self.scratch).map_err(Halt::Malformed)?;
        let key = self.scavenging.key(name);
        if !self.scavenging.goes(key, record.version, record.time)? {
            self.records += 1;
            self.left.push(Kind::Record, body);
        } else {
            self.gone += 1;
            let is_first = record.version == Version(1);
            let stays = self.scavenging.stays(key);
            self.left.gone(self.next, 1).name((is_first && stays).then_some(name));
        }
        self.next = self.next.next();
        Ok(())
    }

    /// What went before stays gone.
    fn gap(&mut self, body: &[u8]) -> Result<(), Halt> {
        let malformed = Halt::Malformed("the frame's body is no gap");
        let Some(gap) = body.get(..Gap::BYTES).and_then(Gap::decode) else { return Err(malformed) };
        let mut names = Input::new(&body[Gap::BYTES..]);
        let gone = self.left.gone(gap.first, gap.count);
        while let Some(name) = names.text() {
            let key = self.scavenging.key(name);
            let stays = self.scavenging.stays(key);
            gone.name(stays.then_some(name));
        }
        self.next = gap.first.plus(gap.count);
        if gap.group != 0 {
            self.end_group(gap.group, &[])?;
        }
        Ok(())
    }

    /// Of what was set for a stream, only what counts is left.
    fn retention(&mut self, body: &[u8]) -> Result<(), Halt> {
        let bytes = body.try_into().map_err(|_| Halt::Malformed("the frame's body is no retention"))?;
        let (key, kept) = kept_from(bytes);
        if self.scavenging.kept(key) == Some(kept) {
            self.left.push(Kind::Retention, body);
        }
        Ok(())
    }

    fn commit(&mut self, body: &[u8]) -> Result<(), Halt> {
        let commit = Commit::decode(body).ok_or(Halt::Malformed("the commit marker has a wrong length"))?;
        self.end_group(commit.group, body)
    }

    /// A group ends, with this commit marker if any of it is left.
    fn end_group(&mut self, group: u64, commit: &[u8]) -> Result<(), Halt> {
        let mut left = std::mem::take(&mut self.left);
        left.end_gap();
        if !left.any {
            for piece in left.pieces {
                if let Piece::Gone(gone) = piece {
                    self.pending.add(gone);
                }
            }
            if !self.pending.any {
                self.pending = Gone { first: self.next, any: true, ..Gone::default() };
            }
            self.pending.group = group;
            return Ok(());
        }
        self.write_pending()?;
        for piece in left.pieces {
            match piece {
                Piece::Frame(kind, body) => self.frame(kind, self.group + 1, &body)?,
                Piece::Gone(gone) => self.frame(Kind::Gap, self.group + 1, &gone.body())?,
            }
        }
        self.frame(Kind::Commit, group, commit)?;
        self.group = group;
        Ok(())
    }

    fn write_pending(&mut self) -> Result<(), Halt> {
        let pending = std::mem::take(&mut self.pending);
        if !pending.any {
            return Ok(());
        }
        self.frame(Kind::Gap, self.group + 1, &pending.body())?;
        self.group = pending.group;
        Ok(())
    }

    fn seal(mut self, body: &[u8]) -> Result<Written, Halt> {
        let seal = Seal::decode(body).ok_or(Halt::Malformed("the seal has a wrong length"))?;
        self.write_pending()?;
        let at = self.buffer_at + self.buffer.len() as u64;
        let bytes = Seal { count: self.records, ..seal }.encode(self.seed, at);
        self.buffer.extend_from_slice(&bytes);
        self.flush()?;
        Ok(Written { end: self.buffer_at, gone: self.gone })
    }

    fn frame(&mut self, kind: Kind, group: u64, body: &[u8]) -> Result<(), Halt> {
        if kind == Kind::Gap && planted(Fault::GapsNotWritten) {
            return Ok(());
        }
        let start = format::begin_frame(&mut self.buffer);
        let offset = self.buffer_at + start as u64;
        self.buffer.extend_from_slice(body);
        format::finish_frame(&mut self.buffer, start, kind, group, self.seed, offset);
        if self.buffer.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Halt> {
        self.file.write_all_at(&self.buffer, self.buffer_at).map_err(Halt::Io)?;
        unless(Fault::ScavengedNotSynced, || self.file.sync_data()).map_err(Halt::Io)?;
        self.buffer_at += self.buffer.len() as u64;
        self.buffer.clear();
        self.scavenging.rest(self.since);
        if self.scavenging.is_stopped() {
            return Err(Halt::Asked);
        }
        self.since = Instant::now();
        Ok(())
    }
}

/// Why a frame could not be taken.
enum Halt {
    Asked,
    Malformed(&'static str),
    Io(io::Error),
    Read(ReadError),
}

impl Halt {
    fn at(self, segment: &Segment, offset: u64) -> Stopped {
        match self {
            Self::Asked => Stopped::Asked,
            Self::Malformed(reason) => Stopped::Read(segment.read_damaged(offset, reason)),
            Self::Io(error) => Stopped::Io(error),
            Self::Read(error) => Stopped::Read(error),
        }
    }
}

impl From<ReadError> for Halt {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl Left {
    fn push(&mut self, kind: Kind, body: &[u8]) {
        self.end_gap();
        self.any = true;
        self.pieces.push(Piece::Frame(kind, body.to_vec()));
    }

    /// The gap that is grown by so many records.
    fn gone(&mut self, first: Position, count: u64) -> &mut Gone {
        self.gap.add(Gone { first, count, any: true, ..Gone::default() });
        &mut self.gap
    }

    fn end_gap(&mut self) {
        let gap = std::mem::take(&mut self.gap);
        self.pieces.extend(gap.any.then_some(Piece::Gone(gap)));
    }
}

impl Gone {
    fn add(&mut self, other: Self) {
        if !self.any {
            *self = other;
            return;
        }
        self.count += other.count;
        self.group = self.group.max(other.group);
        self.names.extend_from_slice(&other.names);
    }

    fn name(&mut self, name: Option<&str>) {
        if let Some(name) = name {
            put_bytes(&mut self.names, name.as_bytes());
        }
    }

    fn body(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(Gap::BYTES + self.names.len());
        Gap { first: self.first, count: self.count, group: self.group }.put(&mut body);
        body.extend_from_slice(&self.names);
        body
    }
}
