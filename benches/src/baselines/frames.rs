//! The frames of a log's first segment, checked and decoded from memory: what reading it costs at least. Written
//! from the description of the format, apart from the code that it is compared with.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::Failure;

const HEADER_BYTES: usize = 4096;
const FRAME_HEADER_BYTES: usize = 16;
const FRAME_MAGIC: u16 = 0xA7E1;
const RECORD: u8 = 1;

/// A segment in memory.
#[derive(Debug)]
pub struct Segment {
    bytes: Bytes,
    seed: u32,
}

/// What decoding a record gives: its names as text of their own, its payload shared.
#[derive(Debug)]
pub struct Decoded {
    /// The stream's name.
    pub stream: String,
    /// The event type's name.
    pub type_name: String,
    /// The event.
    pub payload: Bytes,
}

/// What is in a segment, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Extent {
    /// All of it, but the zeros at its end.
    pub log: u64,
    /// Its records, without the frames around them.
    pub records: u64,
    /// The events in the records.
    pub payloads: u64,
    /// How many records there are.
    pub count: u64,
}

impl Segment {
    /// Reads the first segment in a journal's directory.
    ///
    /// # Errors
    /// When there is none.
    pub fn first(dir: &Path) -> Result<Self, Failure> {
        let mut files: Vec<_> =
            std::fs::read_dir(dir)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
        files.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
        files.sort();
        let bytes = Bytes::from(std::fs::read(files.first().ok_or("the journal has no segment")?)?);
        let seed = crc32c::crc32c(&bytes[40..48]);
        Ok(Self { bytes, seed })
    }

    /// The bytes of the first record's frame: what one event takes in the log.
    ///
    /// # Errors
    /// When the segment has none.
    pub fn first_frame(&self) -> Result<Arc<[u8]>, Failure> {
        let length = self.frame(HEADER_BYTES).ok_or("the segment has no frame")?;
        Ok(self.bytes[HEADER_BYTES..HEADER_BYTES + length].into())
    }

    /// How much of what is in it.
    ///
    /// # Errors
    /// When a record is damaged.
    pub fn extent(&self) -> Result<Extent, Failure> {
        let (mut at, mut extent) = (HEADER_BYTES, Extent::default());
        while let Some(length) = self.frame(at) {
            if self.bytes[at + 2] == RECORD {
                let record = self.decode(at).ok_or("the frame's body is no record")?;
                extent.records += self.body_bytes(at) as u64;
                extent.payloads += record.payload.len() as u64;
                extent.count += 1;
            }
            at += length;
        }
        Ok(Extent { log: at as u64, ..extent })
    }

    /// Checks every frame and hands on every record, decoded; answers how many.
    ///
    /// # Errors
    /// When a frame is damaged, or no record.
    pub fn for_each(&self, mut each: impl FnMut(Decoded)) -> Result<u64, Failure> {
        let (mut at, mut count) = (HEADER_BYTES, 0);
        while let Some(length) = self.frame(at) {
            if !self.is_sound(at, length) {
                return Err(format!("the frame at {at} does not match its checksum").into());
            }
            if self.bytes[at + 2] == RECORD {
                each(self.decode(at).ok_or("the frame's body is no record")?);
                count += 1;
            }
            at += length;
        }
        Ok(count)
    }

    /// How long the frame here is, if there is one.
    fn frame(&self, at: usize) -> Option<usize> {
        let header = self.bytes.get(at..at + FRAME_HEADER_BYTES)?;
        (header[..2] == FRAME_MAGIC.to_le_bytes()).then_some(())?;
        let length = FRAME_HEADER_BYTES + self.body_bytes(at).next_multiple_of(8);
        (at + length <= self.bytes.len()).then_some(length)
    }

    fn body_bytes(&self, at: usize) -> usize {
        let mut length = [0; 4];
        length.copy_from_slice(&self.bytes[at + 4..at + 8]);
        u32::from_le_bytes(length) as usize
    }

    fn is_sound(&self, at: usize, length: usize) -> bool {
        let frame = &self.bytes[at..at + length];
        let mut head = [0; 16];
        head[..8].copy_from_slice(&(at as u64).to_le_bytes());
        head[8..].copy_from_slice(&frame[..8]);
        let crc = crc32c::crc32c_append(crc32c::crc32c_append(self.seed, &head), &frame[12..]);
        frame[8..12] == crc.to_le_bytes()
    }

    fn decode(&self, at: usize) -> Option<Decoded> {
        let start = at + FRAME_HEADER_BYTES;
        let mut input = Input { bytes: &self.bytes[start..start + self.body_bytes(at)], at: 2 };
        let flags = *input.bytes.first()?;
        let (_position, _version) = (input.number()?, input.number()?);
        let mut stream = input.text()?.to_owned();
        if flags & 1 != 0 {
            stream.push('-');
            let id = uuid::Uuid::from_slice(input.take(16)?).ok()?;
            stream.push_str(id.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()));
        }
        let _event_id = input.take(16)?;
        let type_name = input.text()?.to_owned();
        let (_schema, _time) = (input.number()?, input.number()?);
        // The command's id and hash, and its correlation and causation where they differ.
        let own = [flags & 2, flags & 4].into_iter().filter(|own| *own == 0).count();
        input.take(24 + 16 * own)?;
        input.skip_rest(flags)?;
        Some(Decoded {
            stream,
            type_name,
            payload: self.bytes.slice(start + input.at..start + input.bytes.len()),
        })
    }
}

struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    /// Goes over what few records have: the sender, the trace, tags.
    fn skip_rest(&mut self, flags: u8) -> Option<()> {
        if flags & 8 != 0 {
            self.text()?;
        }
        if flags & 16 != 0 {
            self.take(25)?;
        }
        let tags = if flags & 32 != 0 { self.number()? } else { 0 };
        (0..tags).try_for_each(|_| self.text().map(drop))?;
        (flags < 64).then_some(())
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at + count)?;
        self.at += count;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.number()?).ok()?;
        std::str::from_utf8(self.take(length)?).ok()
    }
}
