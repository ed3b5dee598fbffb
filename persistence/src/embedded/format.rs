//! The log's bytes: segment headers and frames. `docs/log-format.md` says the same in words; keep them equal.

use std::ops::Range;

use uuid::Uuid;

use super::hash::NameSecret;
use crate::planted::{Fault, planted};
use crate::{Durable, JournalId, Position, Timestamp};

/// The first eight bytes of a segment.
pub(super) const SEGMENT_MAGIC: [u8; 8] = *b"ANNALSLG";
/// The format that this release reads and writes.
pub(super) const FORMAT_VERSION: u32 = 1;
/// The bytes of a segment's header; the first frame follows.
pub(super) const HEADER_BYTES: usize = 4096;
/// The first two bytes of a frame.
pub(super) const FRAME_MAGIC: u16 = 0xA7E1;
/// The bytes of a frame's header.
pub(super) const FRAME_HEADER_BYTES: usize = 16;
/// A frame is padded to a multiple of eight bytes.
pub(super) const FRAME_PADDING_MAX: usize = 7;
/// The bytes of a commit marker: header and body.
pub(super) const COMMIT_BYTES: usize = FRAME_HEADER_BYTES + 32;
/// The bytes of a seal: header and body.
pub(super) const SEAL_BYTES: usize = FRAME_HEADER_BYTES + 48;
/// What a segment needs behind its last record.
pub(super) const CLOSING_BYTES: usize = COMMIT_BYTES + SEAL_BYTES;
/// No segment is longer: an offset is kept in 32 bits, in units of eight bytes, with room to spare.
pub(super) const SEGMENT_BYTES_MAX: u64 = 1 << 31;

const HEADER_CRC_AT: usize = HEADER_BYTES - 4;

/// What the header of a segment says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) number: u64,
    /// The position of the segment's first record.
    pub(super) base: Position,
    /// The last group before this segment.
    pub(super) base_group: u64,
    pub(super) salt: u64,
    /// The salt of the segment before this one; 0 in the first.
    pub(super) previous_salt: u64,
    pub(super) journal: JournalId,
    /// When the segment was made; the times of its records are counted from here.
    pub(super) created: Timestamp,
    /// What the names of streams are hashed with; the same in all segments.
    pub(super) secret: NameSecret,
    /// How often the segment was written anew to be rid of records.
    pub(super) generation: u64,
    /// The journal that this one went on from, where a repair made it another one with this segment.
    pub(super) forked_from: Option<JournalId>,
}

/// Why bytes are no segment header.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeaderFault {
    /// They belong to something else, or to another release.
    Foreign(String),
    /// They were begun and never finished, or were changed later: what is around them tells which.
    Broken(&'static str),
}

impl Header {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(&SEGMENT_MAGIC);
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&(HEADER_BYTES as u32).to_le_bytes());
        for number in [self.number, self.base.0, self.base_group, self.salt, self.previous_salt] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(self.journal.as_bytes());
        bytes.extend_from_slice(&self.created.0.to_le_bytes());
        bytes.extend_from_slice(&self.secret.0);
        bytes.extend_from_slice(&self.generation.to_le_bytes());
        bytes.extend_from_slice(&self.forked_from.map_or([0; 16], |journal| *journal.as_bytes()));
        bytes.resize(HEADER_CRC_AT, 0);
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a header. The magic and the version are looked at before the checksum, because another release may
    /// check its headers in another way.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, HeaderFault> {
        if bytes.len() < HEADER_BYTES || is_begun(&bytes[..8]) {
            return Err(HeaderFault::Broken("the segment's header is incomplete"));
        }
        if bytes[..8] != SEGMENT_MAGIC {
            return Err(HeaderFault::Foreign(
                "it does not begin as a segment of an Annals journal does".into(),
            ));
        }
        match u32_at(bytes, 8) {
            0 => Err(HeaderFault::Broken(
                "the segment's header has no format version: it is incomplete, or was changed",
            )),
            FORMAT_VERSION => Self::decode_checked(bytes),
            other => Err(HeaderFault::Foreign(format!("format version {other}, known is {FORMAT_VERSION}"))),
        }
    }

    fn decode_checked(bytes: &[u8]) -> Result<Self, HeaderFault> {
        if crc32c::crc32c(&bytes[..HEADER_CRC_AT]) != u32_at(bytes, HEADER_CRC_AT) {
            return Err(HeaderFault::Broken("the segment's header does not match its checksum"));
        }
        Ok(Self {
            number: u64_at(bytes, 16),
            base: Position(u64_at(bytes, 24)),
            base_group: u64_at(bytes, 32),
            salt: u64_at(bytes, 40),
            previous_salt: u64_at(bytes, 48),
            journal: JournalId::from(Uuid::from_bytes(array_at(bytes, 56))),
            created: Timestamp(i64::from_le_bytes(array_at(bytes, 72))),
            secret: NameSecret(array_at(bytes, 80)),
            generation: u64_at(bytes, 96),
            forked_from: forked_from(array_at(bytes, 104)),
        })
    }

    /// What the checksums of the segment's frames begin with.
    pub(super) fn checksum_seed(&self) -> u32 {
        checksum_seed(self.salt, self.generation)
    }
}

/// Whether the magic ends early, and zeros follow: what a crash leaves of a header of which hardly anything was written.
fn is_begun(magic: &[u8]) -> bool {
    let written = magic.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    written < SEGMENT_MAGIC.len() && SEGMENT_MAGIC.starts_with(&magic[..written])
}

fn forked_from(bytes: [u8; 16]) -> Option<JournalId> {
    (bytes != [0; 16]).then(|| JournalId::from(Uuid::from_bytes(bytes)))
}

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Record = 1,
    Commit = 2,
    Seal = 3,
    /// Records that were scavenged.
    Gap = 4,
    /// What is to be kept of a stream.
    Retention = 5,
}

impl Kind {
    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Record),
            2 => Some(Self::Commit),
            3 => Some(Self::Seal),
            4 => Some(Self::Gap),
            5 => Some(Self::Retention),
            _ => None,
        }
    }
}

/// A frame whose checksum is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    /// The lower half of the number of the group that it belongs to.
    pub(super) group: u32,
    /// Where in the bytes looked at its body is.
    pub(super) body: Range<usize>,
    /// How many bytes it takes, padding included.
    pub(super) bytes: usize,
}

/// Why bytes are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// They may be one, but it takes this many of them to tell.
    Short(usize),
    /// They are none.
    Bad(&'static str),
}

impl Flaw {
    const MISMATCH: Self = Self::Bad("the frame does not match its checksum");

    /// The flaw; with the fault what the bytes say all the same, where only their checksum is wrong.
    pub(super) fn unless_planted(self, fault: Fault, bytes: &[u8]) -> Result<Frame, Self> {
        match frame_bytes(bytes, bytes.len() as u64) {
            Ok(total) if planted(fault) && self == Self::MISMATCH => frame_in(&bytes[..total]),
            _ => Err(self),
        }
    }
}

/// What the checksums begin with of the frames of a segment with this salt, written this often anew: what was there
/// before the last time never passes for what is there now.
pub(super) fn checksum_seed(salt: u64, generation: u64) -> u32 {
    let seed = crc32c::crc32c(&salt.to_le_bytes());
    if generation == 0 { seed } else { crc32c::crc32c_append(seed, &generation.to_le_bytes()) }
}

/// The checksum of a frame: the salt, the offset, and all of its bytes but those of the checksum itself. With salt
/// and offset in it, bytes left over from elsewhere never pass for a frame.
fn checksum(seed: u32, offset: u64, frame: &[u8]) -> u32 {
    let mut head = [0; 16];
    head[..8].copy_from_slice(&offset.to_le_bytes());
    head[8..].copy_from_slice(&frame[..8]);
    crc32c::crc32c_append(crc32c::crc32c_append(seed, &head), &frame[12..])
}

/// Leaves room for a frame's header; answers where the frame begins in the buffer.
pub(super) fn begin_frame(buffer: &mut Vec<u8>) -> usize {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; FRAME_HEADER_BYTES]);
    start
}

/// Fills the header of the frame that begins at `start` and ends with the buffer. `offset` is where in the segment
/// the frame will be.
pub(super) fn finish_frame(
    buffer: &mut Vec<u8>,
    start: usize,
    kind: Kind,
    group: u64,
    seed: u32,
    offset: u64,
) {
    let body = buffer.len() - start - FRAME_HEADER_BYTES;
    buffer.resize(start + FRAME_HEADER_BYTES + padded(body), 0);
    let frame = &mut buffer[start..];
    frame[..2].copy_from_slice(&FRAME_MAGIC.to_le_bytes());
    frame[2] = kind as u8;
    // The journal takes no batch that comes near this.
    frame[4..8].copy_from_slice(&u32::try_from(body).unwrap_or(u32::MAX).to_le_bytes());
    frame[12..16].copy_from_slice(&(group as u32).to_le_bytes());
    let crc = checksum(seed, offset, frame);
    frame[8..12].copy_from_slice(&crc.to_le_bytes());
}

/// Looks at the frame that these bytes begin with. `offset` is where in the segment they are, `available` how many
/// bytes the segment has from there on, at most those of the segment: no length beyond it is believed.
pub(super) fn parse_frame(bytes: &[u8], offset: u64, seed: u32, available: u64) -> Result<Frame, Flaw> {
    let total = frame_bytes(bytes, available)?;
    if bytes.len() < total {
        return Err(Flaw::Short(total));
    }
    let frame = &bytes[..total];
    if checksum(seed, offset, frame) != u32_at(frame, 8) {
        return Err(Flaw::MISMATCH);
    }
    frame_in(frame)
}

/// The group and the size that a frame's header says, if these bytes may be one; its checksum is not looked at.
pub(super) fn parse_header(bytes: &[u8], available: u64) -> Option<(u32, usize)> {
    let total = frame_bytes(bytes, available).ok()?;
    Kind::from_byte(bytes[2])?;
    Some((u32_at(bytes, 12), total))
}

/// What these bytes, a frame's, say.
fn frame_in(frame: &[u8]) -> Result<Frame, Flaw> {
    let kind = Kind::from_byte(frame[2]).ok_or(Flaw::Bad("the frame is of no known kind"))?;
    let body = FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + u32_at(frame, 4) as usize;
    Ok(Frame { kind, group: u32_at(frame, 12), body, bytes: frame.len() })
}

/// How many bytes the frame takes, if there is one.
fn frame_bytes(bytes: &[u8], available: u64) -> Result<usize, Flaw> {
    if available < FRAME_HEADER_BYTES as u64 {
        return Err(Flaw::Bad("the file ends where a frame should be"));
    }
    if bytes.len() < FRAME_HEADER_BYTES {
        return Err(Flaw::Short(FRAME_HEADER_BYTES));
    }
    if bytes[..2] != FRAME_MAGIC.to_le_bytes() {
        return Err(Flaw::Bad("no frame begins here"));
    }
    let total = FRAME_HEADER_BYTES + padded(u32_at(bytes, 4) as usize);
    if total as u64 > available {
        return Err(Flaw::Bad("the frame is longer than the file"));
    }
    Ok(total)
}

/// What a commit marker says of its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Commit {
    pub(super) group: u64,
    pub(super) first: Position,
    pub(super) count: u64,
    /// The last durable position before the group.
    pub(super) durable: Position,
}

/// What a seal, the footer of a segment, says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seal {
    /// The segment that follows.
    pub(super) next: u64,
    /// How far the log goes in this segment or before.
    pub(super) last: Durable,
    /// The last group in this segment or before.
    pub(super) group: u64,
    /// How many records the segment has.
    pub(super) count: u64,
    /// The latest time of any of them; 0 where there is none.
    pub(super) latest: Timestamp,
}

/// What stands in the place of records that were scavenged; the names follow of streams that began with one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gap {
    /// The position of the first of them.
    pub(super) first: Position,
    /// How many there were, one behind the other.
    pub(super) count: u64,
    /// The last group whose commit marker went with them; 0 where none did.
    pub(super) group: u64,
}

impl Commit {
    pub(super) fn append_to(&self, buffer: &mut Vec<u8>, seed: u32, buffer_offset: u64) {
        let body = [self.group, self.first.0, self.count, self.durable.0];
        append_marker(buffer, Kind::Commit, self.group, body, seed, buffer_offset);
    }

    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let [group, first, count, durable] = marker(body)?;
        Some(Self { group, first: Position(first), count, durable: Position(durable) })
    }
}

impl Seal {
    /// The seal's frame. It is written only after the segment's last group is durable, so it counts as one later.
    pub(super) fn encode(&self, seed: u32, offset: u64) -> Vec<u8> {
        let mut buffer = Vec::with_capacity(SEAL_BYTES);
        let last = self.last;
        let latest = self.latest.0.cast_unsigned();
        let body = [self.next, last.position.0, self.group, self.count, last.external.0, latest];
        append_marker(&mut buffer, Kind::Seal, self.group + 1, body, seed, offset);
        buffer
    }

    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let [next, position, group, count, external, latest] = marker(body)?;
        let last = Durable { position: Position(position), external: Position(external) };
        Some(Self { next, last, group, count, latest: Timestamp(latest.cast_signed()) })
    }
}

impl Gap {
    /// How many bytes of the body are not names.
    pub(super) const BYTES: usize = 24;

    /// Writes what is not names.
    pub(super) fn put(&self, body: &mut Vec<u8>) {
        for number in [self.first.0, self.count, self.group] {
            body.extend_from_slice(&number.to_le_bytes());
        }
    }

    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let [first, count, group] = marker(body)?;
        Some(Self { first: Position(first), count, group })
    }
}

fn append_marker<const N: usize>(
    buffer: &mut Vec<u8>,
    kind: Kind,
    group: u64,
    body: [u64; N],
    seed: u32,
    buffer_offset: u64,
) {
    let start = begin_frame(buffer);
    for number in body {
        buffer.extend_from_slice(&number.to_le_bytes());
    }
    finish_frame(buffer, start, kind, group, seed, buffer_offset + start as u64);
}

fn marker<const N: usize>(body: &[u8]) -> Option<[u64; N]> {
    (body.len() == 8 * N).then(|| std::array::from_fn(|at| u64_at(body, 8 * at)))
}

/// A length, with what it takes to the next multiple of eight.
pub(super) const fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(8)
}

pub(super) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}
