//! The index file of a sealed segment. `docs/log-format.md` says the same in words; keep them equal.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::part::{Link, Marks, MemoryPart, PartStream};
use super::table::StreamEntry;
use super::{Sealed, SealedPart};
use crate::embedded::format::{array_at, u32_at, u64_at};
use crate::embedded::hash::StreamKey;
use crate::embedded::paged::{PAGE_BYTES, PageFault, PagedFile, PagedWriter, PutPages, Section, bytes_of};
use crate::embedded::retention::{KEPT_BYTES, kept_bytes, kept_from};
use crate::embedded::segment::Segment;
use crate::planted::{Fault, off_by};
use crate::{Position, Retention, StreamId, Timestamp, Version, VfsFile};

const MAGIC: [u8; 8] = *b"ANNALSIX";
const FORMAT_VERSION: u32 = 1;
const STREAM_BYTES: usize = 44;
const NAME_BYTES: usize = 8;

/// An index file that cannot be used as it is.
#[derive(Debug)]
pub(in crate::embedded) struct IndexFault {
    /// The segment that it belongs to.
    pub(in crate::embedded) segment: u64,
    pub(in crate::embedded) path: PathBuf,
    pub(in crate::embedded) fault: PageFault,
    /// Which file it was, of all that had this name.
    id: u64,
}

/// Where everything of a sealed segment is.
#[derive(Debug)]
pub(in crate::embedded) struct IndexFile {
    pages: PagedFile,
    segment: u64,
    sections: Sections,
    id: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sections {
    streams: Section,
    offsets: Section,
    marks: Section,
    names: Section,
    text: Section,
    retention: Section,
}

/// A stream's records in the segment.
#[derive(Debug, Clone, Copy)]
pub(in crate::embedded) struct FileStream {
    pub(in crate::embedded) key: StreamKey,
    pub(in crate::embedded) before: Version,
    pub(in crate::embedded) last_time: Timestamp,
    pub(in crate::embedded) previous: Link,
    pub(in crate::embedded) count: u32,
    /// Where among the offsets its own begin.
    first_offset: u32,
}

impl FileStream {
    fn new(stream: &PartStream, first_offset: u32) -> Self {
        Self {
            key: stream.key,
            before: stream.before,
            last_time: stream.last_time,
            previous: stream.previous,
            count: stream.offsets.len() as u32,
            first_offset,
        }
    }

    fn to_bytes(self) -> [u8; STREAM_BYTES] {
        let mut bytes = [0; STREAM_BYTES];
        bytes[..16].copy_from_slice(&self.key.to_bytes());
        bytes[16..24].copy_from_slice(&self.before.0.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.last_time.0.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.previous.segment.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.count.to_le_bytes());
        bytes[40..].copy_from_slice(&self.first_offset.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; STREAM_BYTES]) -> Self {
        Self {
            key: StreamKey::from_bytes(array_at(bytes, 0)),
            before: Version(u64_at(bytes, 16)),
            last_time: Timestamp(i64::from_le_bytes(array_at(bytes, 24))),
            previous: Link { segment: u32_at(bytes, 32), at: u32::MAX },
            count: u32_at(bytes, 36),
            first_offset: u32_at(bytes, 40),
        }
    }

    /// The stream's last version in the segment.
    pub(in crate::embedded) const fn last(self) -> Version {
        self.before.plus(self.count as u64)
    }

    /// What the table of all streams holds for it, if this is its last segment.
    pub(in crate::embedded) fn entry(self, segment: u64) -> StreamEntry {
        let last = Link { segment: u32::try_from(segment).unwrap_or(u32::MAX), at: u32::MAX };
        StreamEntry { key: self.key, version: self.last(), last_time: self.last_time, last }
    }
}

pub(in crate::embedded) fn index_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:010}.idx"))
}

/// Writes the index file of a segment.
pub(in crate::embedded) fn write_index(
    segment: &Segment,
    part: &MemoryPart,
    put: &mut PutPages<'_>,
) -> io::Result<()> {
    let mut sorted: Vec<&PartStream> = part.streams.iter().collect();
    sorted.sort_unstable_by_key(|stream| stream.key);
    let mut first_offset = off_by(Fault::IndexEntryOff) as u32;
    let streams = sorted.iter().map(|stream| {
        let entry = FileStream::new(stream, first_offset);
        first_offset += entry.count;
        entry.to_bytes()
    });
    let offsets = sorted.iter().flat_map(|stream| &stream.offsets).map(|units| units.to_le_bytes());
    let marks = part.marks.0.iter().map(|units| units.to_le_bytes());
    let retention = part.retention.iter().map(|(key, kept)| kept_bytes(*key, *kept));
    let mut created = part.created.lock();
    let mut writer = PagedWriter::new(segment.seed, put);
    let sections = Sections {
        streams: writer.section(streams)?,
        offsets: writer.section(offsets)?,
        marks: writer.section(marks)?,
        names: writer.section(places(created.sorted()))?,
        text: writer.text(created.sorted().map(StreamId::as_str))?,
        retention: writer.section(retention)?,
    };
    writer.finish(&header(segment, &sections))
}

/// The bytes of the index file of a segment.
pub(in crate::embedded) fn index_bytes(segment: &Segment, part: &MemoryPart) -> io::Result<Vec<u8>> {
    bytes_of(|put| write_index(segment, part, put))
}

/// Where each of the names is in the text that they make.
fn places<'a>(names: impl Iterator<Item = &'a StreamId>) -> impl Iterator<Item = [u8; NAME_BYTES]> {
    let mut at = 0;
    names.map(move |name| {
        let mut place = [0; NAME_BYTES];
        let bytes = name.as_str().len() as u32;
        place[..4].copy_from_slice(&u32::to_le_bytes(at));
        place[4..].copy_from_slice(&bytes.to_le_bytes());
        at += bytes;
        place
    })
}

fn header(segment: &Segment, sections: &Sections) -> Vec<u8> {
    let mut header = Vec::with_capacity(256);
    header.extend_from_slice(&MAGIC);
    header.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    header.extend_from_slice(&(PAGE_BYTES as u32).to_le_bytes());
    for number in [segment.header.number, segment.header.generation, segment.header.salt] {
        header.extend_from_slice(&number.to_le_bytes());
    }
    let Sections { streams, offsets, marks, names, text, retention } = *sections;
    for section in [streams, offsets, marks, names, text, retention] {
        section.put(&mut header);
    }
    header
}

/// The sections that a header names, if it is the one of this segment's index.
fn sections(header: &[u8], segment: &Segment) -> Option<Sections> {
    let own = &segment.header;
    let is_it = header[..8] == MAGIC
        && u32_at(header, 8) == FORMAT_VERSION
        && [u64_at(header, 16), u64_at(header, 24), u64_at(header, 32)]
            == [own.number, own.generation, own.salt];
    let mut at = 40;
    let mut take = |item_bytes| Section::take(header, &mut at, item_bytes);
    let sections = Sections {
        streams: take(STREAM_BYTES)?,
        offsets: take(4)?,
        marks: take(4)?,
        names: take(NAME_BYTES)?,
        text: take(1)?,
        retention: take(KEPT_BYTES)?,
    };
    is_it.then_some(sections)
}

impl IndexFile {
    /// Looks at an index file's header; `Err` with a reason where it is not the segment's.
    pub(in crate::embedded) fn open(
        path: PathBuf,
        file: Box<dyn VfsFile>,
        segment: &Segment,
    ) -> io::Result<Result<Self, &'static str>> {
        let pages = PagedFile::new(path, file, segment.seed);
        let header = match pages.header() {
            Ok(header) => header,
            Err(PageFault::Io(error)) => return Err(error),
            Err(PageFault::Damaged(_)) => return Ok(Err("its header does not match its checksum")),
        };
        let Some(sections) = sections(&header, segment) else {
            return Ok(Err("it is not this segment's, or of another format"));
        };
        if sections.retention.end() != pages.pages()? {
            return Ok(Err("it has another length than it should"));
        }
        static OPENED: AtomicU64 = AtomicU64::new(0);
        let id = OPENED.fetch_add(1, Ordering::Relaxed);
        Ok(Ok(Self { pages, segment: segment.header.number, sections, id }))
    }

    /// Whether the fault is one of this file.
    pub(in crate::embedded) fn is(&self, fault: &IndexFault) -> bool {
        self.id == fault.id
    }

    fn fault(&self, fault: PageFault) -> IndexFault {
        IndexFault { segment: self.segment, path: self.pages.path.clone(), fault, id: self.id }
    }

    /// The stream with this key, if the segment has any of it.
    pub(in crate::embedded) fn find(&self, key: StreamKey) -> Result<Option<FileStream>, IndexFault> {
        let section = self.sections.streams;
        let (mut low, mut high) = (0, section.pages());
        // Keys are spread evenly, so the first guess is right or next to it.
        let mut page = key.guess(high);
        while low < high {
            let found = self.pages.page_items::<STREAM_BYTES>(section, page).map_err(|e| self.fault(e))?;
            let key_at = |at: usize| found.get(at).map(|bytes| StreamKey::from_bytes(array_at(bytes, 0)));
            if key_at(0).is_some_and(|first| key < first) {
                high = page;
                page = page.saturating_sub(1).max(low);
            } else if key_at(found.len().saturating_sub(1)).is_some_and(|last| key > last) {
                low = page + 1;
                page = low;
            } else {
                let streams = found.iter().map(FileStream::from_bytes);
                return Ok(streams.into_iter().find(|stream| stream.key == key));
            }
        }
        Ok(None)
    }

    /// The offsets of some of a stream's records, in units of eight bytes; `skip` of them are passed over.
    pub(in crate::embedded) fn offsets(
        &self,
        stream: FileStream,
        skip: u64,
        count: u64,
    ) -> Result<Vec<u32>, IndexFault> {
        let first = u64::from(stream.first_offset) + skip;
        let end = (first + count).min(u64::from(stream.first_offset) + u64::from(stream.count));
        let items = self.pages.items(self.sections.offsets, first..end.max(first));
        items.map(|items| items.into_iter().map(u32::from_le_bytes).collect()).map_err(|e| self.fault(e))
    }

    /// The last offset known to lie at or in front of a position.
    pub(in crate::embedded) fn mark(&self, base: Position, position: Position) -> Result<u64, IndexFault> {
        let section = self.sections.marks;
        let slot = Marks::slot(base, position).min(section.count.saturating_sub(1));
        let units = self.pages.item(section, slot).map(u32::from_le_bytes).map_err(|e| self.fault(e))?;
        Ok(u64::from(units) << 3)
    }

    pub(in crate::embedded) fn each_stream(
        &self,
        mut each: impl FnMut(FileStream),
    ) -> Result<(), IndexFault> {
        let section = self.sections.streams;
        let take = |bytes: [u8; STREAM_BYTES]| each(FileStream::from_bytes(&bytes));
        self.pages.each(section, 0..section.count, take).map_err(|e| self.fault(e))
    }

    pub(in crate::embedded) fn retention(&self) -> Result<Vec<(StreamKey, Retention)>, IndexFault> {
        let section = self.sections.retention;
        let items = self.pages.items(section, 0..section.count).map_err(|e| self.fault(e))?;
        Ok(items.iter().map(kept_from).collect())
    }

    /// How many streams begin in the segment.
    pub(in crate::embedded) const fn name_count(&self) -> u64 {
        self.sections.names.count
    }

    /// The name at this place in their order.
    pub(in crate::embedded) fn name(&self, at: u64) -> Result<String, IndexFault> {
        let place: [u8; NAME_BYTES] = self.pages.item(self.sections.names, at).map_err(|e| self.fault(e))?;
        let start = u64::from(u32_at(&place, 0));
        let end = start + u64::from(u32_at(&place, 4));
        let text = self.pages.text(self.sections.text, start..end.min(self.sections.text.count));
        text.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).map_err(|e| self.fault(e))
    }

    /// Whether it says what is said of the segment in memory; links apart, which only spare a search.
    pub(in crate::embedded) fn agrees(
        &self,
        segment: &Segment,
        part: &MemoryPart,
    ) -> Result<bool, IndexFault> {
        let bytes = index_bytes(segment, part).map_err(|error| self.fault(PageFault::Io(error)))?;
        let header = &bytes[..PAGE_BYTES];
        if sections(header, segment) != Some(self.sections) {
            return Ok(false);
        }
        let unlinked = |stream: FileStream| FileStream { previous: Link::NONE, ..stream }.to_bytes();
        let mut found = Vec::new();
        self.each_stream(|stream| found.push(unlinked(stream)))?;
        let mut expected: Vec<_> = part.streams.iter().map(|stream| FileStream::new(stream, 0)).collect();
        expected.sort_unstable_by_key(|stream| stream.key);
        let mut first_offset = 0;
        let expected = expected.into_iter().map(|stream| {
            let bytes = unlinked(FileStream { first_offset, ..stream });
            first_offset += stream.count;
            bytes
        });
        let expected: Vec<_> = expected.collect();
        Ok(found == expected && self.rest_agrees(&bytes)?)
    }

    /// Whether all behind the streams is the same.
    fn rest_agrees(&self, bytes: &[u8]) -> Result<bool, IndexFault> {
        let first = self.sections.streams.end();
        let pages = self.sections.retention.end();
        let all = Section::of_pages(first, pages - first);
        let mut expected = bytes[first as usize * PAGE_BYTES..].chunks(PAGE_BYTES);
        let mut same = true;
        let each = |page: [u8; Section::PAGE_ITEM_BYTES]| {
            same &= expected.next().is_some_and(|expected| expected[..page.len()] == page);
        };
        self.pages.each(all, 0..all.count, each).map_err(|e| self.fault(e))?;
        Ok(same)
    }
}

impl Sealed {
    /// With its index file in the place of what is in memory.
    pub(in crate::embedded) fn with_file(&self, file: IndexFile) -> Self {
        Self { part: SealedPart::File(Arc::new(file)), ..self.clone() }
    }
}

/// The name, for good.
pub(in crate::embedded) fn stream_id(text: &str) -> Option<StreamId> {
    StreamId::parse(text).ok()
}
