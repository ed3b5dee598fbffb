//! The table of all streams as it was when a segment was sealed, in a file: so that opening does not have to go through
//! the index files of all segments. `docs/log-format.md` says the same in words; keep them equal.

use std::io;
use std::path::{Path, PathBuf};

use parking_lot::RwLock;

use super::part::Link;
use super::table::StreamEntry;
use super::{Index, Sealed, SealedPart};
use crate::embedded::format::{self, Header, array_at, u32_at, u64_at};
use crate::embedded::hash::StreamKey;
use crate::embedded::paged::{PAGE_BYTES, PageFault, PagedFile, PagedWriter, PutPages, Section};
use crate::embedded::retention::{KEPT_BYTES, kept_bytes, kept_from};
use crate::embedded::segment::{Segment, numbered};
use crate::{Timestamp, Version, VfsFile};

const MAGIC: [u8; 8] = *b"ANNALSTB";
const FORMAT_VERSION: u32 = 1;
const ENTRY_BYTES: usize = 36;
const UNSOUND: &str = "a page does not match its checksum";

pub(in crate::embedded) fn table_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:010}.tbl"))
}

/// The segment after which the table with this file name was written; `None` for every other file.
pub(in crate::embedded) fn table_number(name: &Path) -> Option<u64> {
    numbered(name, ".tbl")
}

/// A table as it was.
#[derive(Debug)]
pub(in crate::embedded) struct TableFile {
    pages: PagedFile,
    entries: Section,
    retention: Section,
    /// How often segments up to the one that it was written after had been written anew. Where that has happened since,
    /// it may name streams that are there no more.
    generations: u64,
}

/// Writes the table as it was when this segment was sealed; `false` where a segment behind it is not in memory any more,
/// and it cannot be told. It is copied piece by piece, as it is written: there is no room for it twice.
pub(in crate::embedded) fn write_table(
    index: &RwLock<Index>,
    segment: &Segment,
    put: &mut PutPages<'_>,
) -> io::Result<bool> {
    let number = segment.header.number;
    let mut writer = PagedWriter::new(seed(segment), put);
    let mut entries = writer.begin(ENTRY_BYTES)?;
    for chunk in 0.. {
        let copied = match index.read().entries_as_of(number, chunk) {
            Copied::Some(copied) => copied,
            Copied::All => break,
            Copied::Unknown => return Ok(false),
        };
        writer.add(&mut entries, copied.iter().map(entry_bytes))?;
    }
    // A setting that is too new does no harm: it is durable, and read again from where it stands.
    let mut retention = writer.begin(KEPT_BYTES)?;
    for chunk in 0.. {
        let copied: Vec<_> = index.read().retention().chunk(chunk).collect();
        if copied.is_empty() {
            break;
        }
        writer.add(&mut retention, copied.iter().map(|(key, kept)| kept_bytes(*key, *kept)))?;
    }
    let generations = generations(index.read().sealed.iter().map(|sealed| &sealed.segment.header), number);
    writer.finish(&header(segment, entries, retention, generations))?;
    Ok(true)
}

#[cfg(test)]
pub(in crate::embedded) fn table_bytes(index: &RwLock<Index>, segment: &Segment) -> Vec<u8> {
    let write = |put: &mut PutPages<'_>| write_table(index, segment, put).map(|whole| assert!(whole));
    crate::embedded::paged::bytes_of(write).unwrap()
}

fn header(segment: &Segment, entries: Section, retention: Section, generations: u64) -> Vec<u8> {
    let mut header = Vec::with_capacity(128);
    header.extend_from_slice(&MAGIC);
    header.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    header.extend_from_slice(&(PAGE_BYTES as u32).to_le_bytes());
    header.extend_from_slice(&segment.header.number.to_le_bytes());
    header.extend_from_slice(&segment.header.salt.to_le_bytes());
    entries.put(&mut header);
    retention.put(&mut header);
    header.extend_from_slice(&generations.to_le_bytes());
    header
}

impl TableFile {
    /// Looks at a table's header; `Err` with a reason where it is not the one of this segment.
    pub(in crate::embedded) fn open(
        path: PathBuf,
        file: Box<dyn VfsFile>,
        segment: &Segment,
    ) -> io::Result<Result<Self, &'static str>> {
        let pages = PagedFile::new(path, file, seed(segment));
        let header = match pages.header() {
            Ok(header) => header,
            Err(PageFault::Io(error)) => return Err(error),
            Err(PageFault::Damaged(_)) => return Ok(Err(UNSOUND)),
        };
        let is_it = header[..8] == MAGIC
            && u32_at(&header, 8) == FORMAT_VERSION
            && u64_at(&header, 16) == segment.header.number
            && u64_at(&header, 24) == segment.header.salt;
        let mut at = 32;
        let entries = Section::take(&header, &mut at, ENTRY_BYTES);
        let retention = Section::take(&header, &mut at, KEPT_BYTES);
        let (true, Some(entries), Some(retention)) = (is_it, entries, retention) else {
            return Ok(Err("it is not this segment's, or of another format"));
        };
        if retention.end() != pages.pages()? {
            return Ok(Err("it has another length than it should"));
        }
        let generations = u64_at(&header, at);
        Ok(Ok(Self { pages, entries, retention, generations }))
    }

    /// Whether no segment was written anew since, of those up to the one that it was written after.
    pub(in crate::embedded) fn is_of<'a>(
        &self,
        headers: impl Iterator<Item = &'a Header>,
        number: u64,
    ) -> bool {
        self.generations == generations(headers, number)
    }

    /// Has the index begin with it; `Err` with a reason where it is not what was written, and the index then begins with
    /// nothing.
    pub(in crate::embedded) fn into_index(self, index: &mut Index) -> io::Result<Result<(), &'static str>> {
        index.forget_streams();
        match self.put_into(index) {
            Ok(()) => Ok(Ok(())),
            Err(PageFault::Io(error)) => Err(error),
            Err(PageFault::Damaged(_)) => {
                // Half of it would be worse than none.
                index.forget_streams();
                Ok(Err(UNSOUND))
            }
        }
    }

    fn put_into(&self, index: &mut Index) -> Result<(), PageFault> {
        index.streams.reserve(self.entries.count as usize);
        let entry = |bytes| index.streams.set(entry_from(&bytes));
        self.pages.each(self.entries, 0..self.entries.count, entry)?;
        self.pages.each(self.retention, 0..self.retention.count, |bytes| {
            let (key, kept) = kept_from(&bytes);
            index.set_kept(key, kept);
        })
    }
}

/// A table held against what the segments say: it takes one look for each entry of either.
pub(in crate::embedded) struct Comparison<'a> {
    /// Made from the table.
    table: &'a Index,
    /// Made from the segments.
    index: &'a Index,
    /// Whether records were scavenged since: the table may then say more than the segments.
    scavenged: bool,
    /// How many looks it took.
    looks: usize,
}

impl<'a> Comparison<'a> {
    pub(in crate::embedded) const fn new(table: &'a Index, index: &'a Index, scavenged: bool) -> Self {
        Self { table, index, scavenged, looks: 0 }
    }

    /// Whether the table says what the segments say.
    pub(in crate::embedded) fn agrees(&mut self) -> bool {
        let (table, index) = (self.table, self.index);
        index.streams.entries().all(|entry| self.knows(entry))
            && (self.scavenged || table.streams.entries().all(|entry| self.is_there(entry.key)))
            && index.retention().iter().all(|(key, _)| self.keeps(key))
    }

    fn knows(&mut self, entry: &StreamEntry) -> bool {
        self.looks += 1;
        self.table.streams.get(entry.key).is_some_and(|known| {
            entry_bytes(known) == entry_bytes(entry) || self.scavenged && known.version > entry.version
        })
    }

    fn is_there(&mut self, key: StreamKey) -> bool {
        self.looks += 1;
        self.index.streams.get(key).is_some()
    }

    fn keeps(&mut self, key: StreamKey) -> bool {
        self.looks += 1;
        self.table.kept(key).is_some()
    }
}

fn seed(segment: &Segment) -> u32 {
    format::checksum_seed(segment.header.salt, 0)
}

/// How often the segments up to this one were written anew.
fn generations<'a>(headers: impl Iterator<Item = &'a Header>, number: u64) -> u64 {
    headers.filter(|header| header.number <= number).map(|header| header.generation).sum()
}

fn entry_bytes(entry: &StreamEntry) -> [u8; ENTRY_BYTES] {
    let mut bytes = [0; ENTRY_BYTES];
    bytes[..16].copy_from_slice(&entry.key.to_bytes());
    bytes[16..24].copy_from_slice(&entry.version.0.to_le_bytes());
    bytes[24..32].copy_from_slice(&entry.last_time.0.to_le_bytes());
    bytes[32..].copy_from_slice(&entry.last.segment.to_le_bytes());
    bytes
}

fn entry_from(bytes: &[u8; ENTRY_BYTES]) -> StreamEntry {
    StreamEntry {
        key: StreamKey::from_bytes(array_at(bytes, 0)),
        version: Version(u64_at(bytes, 16)),
        last_time: Timestamp(i64::from_le_bytes(array_at(bytes, 24))),
        last: Link { segment: u32_at(bytes, 32), at: u32::MAX },
    }
}

/// Streams of a table that is being written.
enum Copied {
    /// More may follow.
    Some(Vec<StreamEntry>),
    /// There are no more.
    All,
    /// They were in a segment that is not in memory any more.
    Unknown,
}

impl Index {
    /// The streams of one chunk, as they were when this segment was sealed.
    fn entries_as_of(&self, number: u64, chunk: usize) -> Copied {
        let entries = self.streams.slots().chunk(chunk);
        if entries.is_empty() {
            return Copied::All;
        }
        let mut copied = Vec::with_capacity(entries.len());
        for entry in entries {
            let Some(entry) = self.as_of(*entry, number) else { return Copied::Unknown };
            copied.extend(entry);
        }
        Copied::Some(copied)
    }

    /// A stream as it was when this segment was sealed, if it was there then; `None` where that is not in memory.
    fn as_of(&self, mut entry: StreamEntry, number: u64) -> Option<Option<StreamEntry>> {
        while u64::from(entry.last.segment) > number {
            let stream = self.part_in_memory(entry.last)?.find(entry.key, entry.last.at)?;
            entry.version = stream.before;
            entry.last_time = stream.before_time;
            entry.last = stream.previous;
        }
        Some((entry.last.segment != 0).then_some(entry))
    }

    fn part_in_memory(&self, link: Link) -> Option<&super::MemoryPart> {
        let number = u64::from(link.segment);
        if let Some(active) = &self.active
            && active.segment.header.number == number
        {
            return Some(&active.part);
        }
        match &self.sealed.get(Self::sealed_at(&self.sealed, number)?)? {
            Sealed { part: SealedPart::Memory(part), .. } => Some(part),
            Sealed { part: SealedPart::File(_), .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
