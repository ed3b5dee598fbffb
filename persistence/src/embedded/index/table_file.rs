//! The table of all streams as it was when a segment was sealed, in a file: so that opening does not have to go through
//! the index files of all segments. `docs/log-format.md` says the same in words; keep them equal.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use super::part::Link;
use super::table::StreamEntry;
use super::{Index, Sealed, SealedPart, StreamTable};
use crate::embedded::format::{self, Header, array_at, u32_at, u64_at};
use crate::embedded::hash::StreamKey;
use crate::embedded::paged::{PAGE_BYTES, PageFault, PagedFile, PagedWriter, Section};
use crate::embedded::retention::{KEPT_BYTES, kept_bytes, kept_from};
use crate::embedded::segment::{Segment, numbered};
use crate::{Retention, Timestamp, Version, VfsFile};

const MAGIC: [u8; 8] = *b"ANNALSTB";
const FORMAT_VERSION: u32 = 1;
const ENTRY_BYTES: usize = 36;
/// How many entries are copied without letting others at the index in between.
const COPIED_AT_ONCE: usize = 16 * 1024;

pub(in crate::embedded) fn table_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:010}.tbl"))
}

/// The segment after which the table with this file name was written; `None` for every other file.
pub(in crate::embedded) fn table_number(name: &Path) -> Option<u64> {
    numbered(name, ".tbl")
}

/// A table as it was.
#[derive(Debug, Default)]
pub(in crate::embedded) struct TableFile {
    entries: Vec<StreamEntry>,
    retention: Vec<(StreamKey, Retention)>,
    /// How often segments up to the one that it was written after had been written anew. Where that has happened since,
    /// it may name streams that are there no more.
    generations: u64,
}

impl TableFile {
    /// The table as it was when this segment was sealed; `None` where a segment behind it is not in memory any more.
    pub(in crate::embedded) fn as_of(index: &parking_lot::RwLock<Index>, number: u64) -> Option<Self> {
        let mut table = Self::default();
        let (mut at, mut more) = (0, true);
        while more {
            let index = index.read();
            let entries = index.streams.slots();
            let end = entries.len().min(at + COPIED_AT_ONCE);
            for entry in &entries[at..end] {
                table.entries.extend(index.as_of(*entry, number)?);
            }
            more = end < entries.len();
            at = end;
        }
        // A setting that is too new does no harm: it is durable, and read again from where it stands.
        let retention = index.read();
        table.retention = retention.retention().iter().map(|(key, kept)| (*key, *kept)).collect();
        let sealed = retention.sealed.iter().map(|sealed| &sealed.segment.header);
        table.generations = generations(sealed, number);
        Some(table)
    }

    /// Whether no segment was written anew since, of those up to the one that it was written after.
    pub(in crate::embedded) fn is_of<'a>(
        &self,
        headers: impl Iterator<Item = &'a Header>,
        number: u64,
    ) -> bool {
        self.generations == generations(headers, number)
    }

    pub(in crate::embedded) fn to_bytes(&self, segment: &Segment) -> Vec<u8> {
        let mut writer = PagedWriter::new();
        let entries = writer.section(self.entries.iter().map(entry_bytes));
        let kept = self.retention.iter().map(|(key, kept)| kept_bytes(*key, *kept));
        let retention = writer.section(kept);
        let mut header = Vec::with_capacity(128);
        header.extend_from_slice(&MAGIC);
        header.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        header.extend_from_slice(&(PAGE_BYTES as u32).to_le_bytes());
        header.extend_from_slice(&segment.header.number.to_le_bytes());
        header.extend_from_slice(&segment.header.salt.to_le_bytes());
        entries.put(&mut header);
        retention.put(&mut header);
        header.extend_from_slice(&self.generations.to_le_bytes());
        writer.finish(&header, seed(segment))
    }

    /// Reads a table; `Err` with a reason where it is not the one of this segment, or not what was written.
    pub(in crate::embedded) fn read(
        path: PathBuf,
        file: Box<dyn VfsFile>,
        segment: &Segment,
    ) -> io::Result<Result<Self, &'static str>> {
        match Self::try_read(&PagedFile::new(path, file, seed(segment)), segment) {
            Ok(read) => Ok(read),
            Err(PageFault::Io(error)) => Err(error),
            Err(PageFault::Damaged(_)) => Ok(Err("a page does not match its checksum")),
        }
    }

    fn try_read(pages: &PagedFile, segment: &Segment) -> Result<Result<Self, &'static str>, PageFault> {
        let header = pages.header()?;
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
        if retention.end() != pages.pages().map_err(PageFault::Io)? {
            return Ok(Err("it has another length than it should"));
        }
        let generations = u64_at(&header, at);
        let entries_there = Vec::with_capacity(entries.count as usize);
        let mut table = Self { entries: entries_there, retention: Vec::new(), generations };
        pages.each(entries, 0..entries.count, |bytes| table.entries.push(entry_from(&bytes)))?;
        let take = |bytes: [u8; KEPT_BYTES]| table.retention.push(kept_from(&bytes));
        pages.each(retention, 0..retention.count, take)?;
        Ok(Ok(table))
    }

    /// Whether it says what the segments say, which `index` was made from. Where records were `scavenged` since, it may say
    /// more than these.
    pub(in crate::embedded) fn agrees(&self, index: &Index, scavenged: bool) -> bool {
        Comparison::new(self).agrees(self, index, scavenged)
    }

    /// Has the index begin with it.
    pub(in crate::embedded) fn into_index(self, index: &mut Index) {
        index.streams = StreamTable::default();
        index.streams.reserve(self.entries.len());
        self.entries.into_iter().for_each(|entry| index.streams.set(entry));
        self.retention.into_iter().for_each(|(key, kept)| index.set_kept(key, kept));
    }
}

/// A table's entries by key, so that holding it against an index takes one look for each entry of either.
struct Comparison<'a> {
    entries: HashMap<StreamKey, &'a StreamEntry>,
    retention: HashSet<StreamKey>,
    /// How many looks it took.
    looks: usize,
}

impl<'a> Comparison<'a> {
    fn new(table: &'a TableFile) -> Self {
        Self {
            entries: table.entries.iter().map(|entry| (entry.key, entry)).collect(),
            retention: table.retention.iter().map(|(key, _)| *key).collect(),
            looks: 0,
        }
    }

    fn agrees(&mut self, table: &TableFile, index: &Index, scavenged: bool) -> bool {
        index.streams.entries().all(|entry| self.knows(entry, scavenged))
            && (scavenged || table.entries.iter().all(|entry| self.is_there(index, entry.key)))
            && index.retention().keys().all(|key| self.keeps(*key))
    }

    fn knows(&mut self, entry: &StreamEntry, scavenged: bool) -> bool {
        self.looks += 1;
        self.entries.get(&entry.key).is_some_and(|known| {
            entry_bytes(known) == entry_bytes(entry) || scavenged && known.version > entry.version
        })
    }

    fn is_there(&mut self, index: &Index, key: StreamKey) -> bool {
        self.looks += 1;
        index.streams.get(key).is_some()
    }

    fn keeps(&mut self, key: StreamKey) -> bool {
        self.looks += 1;
        self.retention.contains(&key)
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

impl Index {
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
