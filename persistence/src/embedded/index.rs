//! What is where: derived from the log, and kept up with every group. Of the segment that is written everything is in
//! memory, of the sealed ones only what leads to their index files.

use std::sync::Arc;

use super::hash::{NameSecret, StreamKey};
use super::segment::Segment;
use crate::{Durable, Position, Retention, StreamId, StreamInfo, Version};

mod chain;
mod chunked;
mod file;
mod list;
mod names;
mod part;
mod retentions;
mod staging;
mod table;
mod table_file;

pub(super) use chain::{Chain, Stretch};
pub(super) use file::{FileStream, IndexFault, IndexFile, index_path, write_index};
pub(super) use list::page;
pub(super) use part::{Link, Marks, MemoryPart, PartStream};
pub(super) use retentions::Retentions;
pub(super) use staging::Staging;
pub(super) use table::{StreamEntry, StreamTable};
pub(super) use table_file::{Comparison, TableFile, table_number, table_path, write_table};
#[cfg(test)]
pub(super) use {file::index_bytes, table_file::table_bytes};

use staging::GAP;

/// A segment that is no longer written to.
#[derive(Debug, Clone)]
pub(super) struct Sealed {
    pub(super) segment: Arc<Segment>,
    /// Where its frames end, the seal included.
    pub(super) end: u64,
    pub(super) part: SealedPart,
}

/// What is in a sealed segment.
#[derive(Debug, Clone)]
pub(super) enum SealedPart {
    /// Until its index file is there.
    Memory(Arc<MemoryPart>),
    File(Arc<IndexFile>),
}

/// The segment that is written to.
#[derive(Debug)]
pub(super) struct ActivePart {
    pub(super) segment: Arc<Segment>,
    /// Where the last durable group ends.
    pub(super) end: u64,
    pub(super) part: MemoryPart,
}

/// Where to look for a position.
pub(super) struct Place {
    pub(super) segment: Arc<Segment>,
    pub(super) end: u64,
    pub(super) mark: Mark,
}

/// The last offset known to lie at or in front of a position.
pub(super) enum Mark {
    At(u64),
    File(Arc<IndexFile>),
}

/// Everything durable.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// In order, without gaps. Shared with whoever reads; replaced where it changes.
    pub(super) sealed: Arc<Vec<Sealed>>,
    pub(super) active: Option<ActivePart>,
    pub(super) streams: StreamTable,
    secret: NameSecret,
    /// Of the streams that not everything is kept of.
    retention: Retentions,
    pub(super) durable: Durable,
    /// The last durable group.
    pub(super) group: u64,
}

impl Index {
    pub(super) fn new(secret: NameSecret) -> Self {
        Self { secret, ..Self::default() }
    }

    pub(super) const fn secret(&self) -> NameSecret {
        self.secret
    }

    pub(super) fn set_secret(&mut self, secret: NameSecret) {
        self.secret = secret;
    }

    pub(super) fn key(&self, stream: &str) -> StreamKey {
        self.secret.key(stream)
    }

    /// The stream's name, where the active segment has it, to be shared instead of copied.
    pub(super) fn known_name(&self, key: StreamKey) -> Option<&StreamId> {
        let active = self.active.as_ref()?;
        let entry = self.streams.get(key)?;
        let is_active = u64::from(entry.last.segment) == active.segment.header.number;
        is_active.then(|| &active.part.streams[entry.last.at as usize].name)
    }

    pub(super) fn kept(&self, key: StreamKey) -> Option<Retention> {
        self.retention.get(key)
    }

    pub(super) const fn retention(&self) -> &Retentions {
        &self.retention
    }

    pub(super) fn set_kept(&mut self, key: StreamKey, kept: Retention) {
        self.retention.set(key, kept);
    }

    /// The last segment there is.
    pub(super) fn last_segment(&self) -> Option<&Arc<Segment>> {
        let sealed = self.sealed.last().map(|sealed| &sealed.segment);
        self.active.as_ref().map(|active| &active.segment).or(sealed)
    }

    /// Where in `sealed` the segment with this number is.
    pub(super) fn sealed_at(sealed: &[Sealed], number: u64) -> Option<usize> {
        let first = sealed.first()?.segment.header.number;
        usize::try_from(number.checked_sub(first)?).ok().filter(|at| *at < sealed.len())
    }

    /// Where to look for this position.
    pub(super) fn place(&self, position: Position) -> Option<Place> {
        if let Some(active) = &self.active
            && active.segment.header.base <= position
        {
            return Some(active.place(position));
        }
        let after = self.sealed.partition_point(|sealed| sealed.segment.header.base <= position);
        self.sealed.get(after.checked_sub(1)?).map(|sealed| sealed.place(position))
    }

    pub(super) fn info(&self, stream: &StreamId) -> Option<StreamInfo> {
        let key = self.key(stream.as_str());
        let entry = self.streams.get(key)?;
        if self.kept(key).is_some_and(|kept| kept.tombstone) {
            return None;
        }
        Some(StreamInfo { stream: stream.clone(), version: entry.version, last_time: entry.last_time })
    }

    /// Goes on in a new segment.
    pub(super) fn begin(&mut self, segment: Arc<Segment>, end: u64) {
        self.active = Some(ActivePart { segment, end, part: MemoryPart::default() });
    }

    /// The active segment is sealed, and its frames end here.
    pub(super) fn seal(&mut self, end: u64) {
        if let Some(ActivePart { segment, part, .. }) = self.active.take() {
            self.push_sealed(Sealed { segment, end, part: SealedPart::Memory(Arc::new(part)) });
        }
    }

    pub(super) fn push_sealed(&mut self, sealed: Sealed) {
        Arc::make_mut(&mut self.sealed).push(sealed);
    }

    /// Has this segment in the place of the one with its number.
    pub(super) fn replace_sealed(&mut self, by: Sealed) {
        if let Some(at) = Self::sealed_at(&self.sealed, by.segment.header.number) {
            Arc::make_mut(&mut self.sealed)[at] = by;
        }
    }

    /// Forgets a stream that was in no segment but this one, and is in that no more.
    pub(super) fn forget(&mut self, key: StreamKey, segment: u64) {
        let is_there = |entry: &StreamEntry| u64::from(entry.last.segment) == segment;
        if self.streams.get(key).is_some_and(is_there) {
            self.streams.remove(key);
        }
    }

    /// Knows no stream any more.
    pub(super) fn forget_streams(&mut self) {
        self.streams = StreamTable::default();
        self.retention = Retentions::default();
    }

    /// Makes a durable group visible, which has this number; `end` is where it ends in the active segment.
    pub(super) fn publish(&mut self, staged: &mut Staging, end: u64, group: u64) {
        let Some(active) = &mut self.active else { return };
        active.end = end;
        for stream in staged.streams.iter_mut().filter(|stream| stream.grown) {
            stream.at = active.grow(&mut self.streams, stream);
        }
        active.add_records(staged);
        for (key, kept) in &staged.retention {
            self.retention.set(*key, *kept);
        }
        self.durable = staged.durable(self.durable);
        self.group = group;
    }

    /// Lets go of every file.
    pub(super) fn release(&mut self) {
        self.sealed = Arc::default();
        self.active = None;
    }
}

impl Sealed {
    fn place(&self, position: Position) -> Place {
        let mark = match &self.part {
            SealedPart::Memory(part) => Mark::At(mark(part, self.segment.header.base, position, self.end)),
            SealedPart::File(file) => Mark::File(Arc::clone(file)),
        };
        Place { segment: Arc::clone(&self.segment), end: self.end, mark }
    }
}

fn mark(part: &MemoryPart, base: Position, position: Position, end: u64) -> u64 {
    let slot = usize::try_from(Marks::slot(base, position)).ok();
    // Behind the last mark there is at most a gap, which the last mark leads to.
    let mark = slot.and_then(|slot| part.marks.0.get(slot)).or(part.marks.0.last());
    mark.map_or(end, |units| u64::from(*units) << 3)
}

impl ActivePart {
    fn place(&self, position: Position) -> Place {
        let base = self.segment.header.base;
        let mark = Mark::At(mark(&self.part, base, position, self.end));
        Place { segment: Arc::clone(&self.segment), end: self.end, mark }
    }

    /// Has the stream as the group leaves it; answers where in the part it is.
    fn grow(&mut self, table: &mut StreamTable, stream: &mut staging::StagedStream) -> u32 {
        let segment = u32::try_from(self.segment.header.number).unwrap_or(u32::MAX);
        // Scavenging may have forgotten the stream since the group was begun.
        stream.slot = stream.slot.filter(|slot| table.at(*slot).is_some_and(|entry| entry.is_of(stream.key)));
        let known = stream.slot.and_then(|slot| table.at(slot)).copied();
        let at = match known {
            Some(entry) if entry.last.segment == segment => entry.last.at,
            _ => stream.name.take().map_or(0, |name| self.add_stream(name, stream, known)),
        };
        let (key, version, last_time) = (stream.key, stream.version, stream.last_time);
        let entry = StreamEntry { key, version, last_time, last: Link { segment, at } };
        match stream.slot.and_then(|slot| table.at_mut(slot)) {
            Some(place) => *place = entry,
            None => stream.slot = Some(table.add(entry)),
        }
        self.part.streams[at as usize].last_time = last_time;
        at
    }

    fn add_stream(
        &mut self,
        name: StreamId,
        stream: &staging::StagedStream,
        known: Option<StreamEntry>,
    ) -> u32 {
        let nowhere = if stream.base == Version::NONE { Link::NONE } else { Link::UNKNOWN };
        self.part.add_stream(PartStream {
            key: stream.key,
            name,
            before: stream.base,
            before_time: known.map_or_else(Default::default, |entry| entry.last_time),
            previous: known.map_or(nowhere, |entry| entry.last),
            last_time: stream.last_time,
            offsets: smallvec::SmallVec::new(),
        })
    }

    fn add_records(&mut self, staged: &mut Staging) {
        let base = self.segment.header.base;
        for record in &staged.records {
            self.part.marks.add(base, record.position, u64::from(record.offset) << 3);
            if record.stream != GAP {
                let stream = &staged.streams[record.stream as usize];
                let place = &mut self.part.streams[stream.at as usize];
                place.offsets.push(record.offset);
                self.part.latest = self.part.latest.max(stream.last_time);
            }
        }
        self.part.records += staged.record_count();
        self.part.retention.extend_from_slice(&staged.retention);
        let created = self.part.created.get_mut();
        staged.created.drain(..).for_each(|name| created.add(name));
    }
}
