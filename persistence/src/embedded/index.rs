//! What is where: derived from the log when it is opened, kept up with every group, held in memory only.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::Mutex;
use smallvec::SmallVec;

use super::hash::SeededState;
use super::segment::Segment;
use crate::{Durable, Position, StreamId, StreamInfo, Timestamp, Version};

/// Every so many records of a segment, the offset of one is remembered.
pub(super) const MARK_EVERY: u64 = 64;

/// Where a record is: the segment's number, and the offset in units of eight bytes in the lower 28 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Location(u64);

impl Location {
    pub(super) const fn new(segment: u64, offset: u64) -> Self {
        Self(segment << 28 | offset >> 3)
    }

    pub(super) const fn segment(self) -> u64 {
        self.0 >> 28
    }

    pub(super) const fn offset(self) -> u64 {
        (self.0 & ((1 << 28) - 1)) << 3
    }
}

/// A segment and what is durable in it.
#[derive(Debug, Clone)]
pub(super) struct SegmentEntry {
    pub(super) segment: Arc<Segment>,
    /// The offset of every [`MARK_EVERY`]th record, in units of eight bytes.
    marks: Vec<u32>,
    pub(super) records: u64,
    /// Where the last durable group ends.
    pub(super) end: u64,
}

impl SegmentEntry {
    pub(super) const fn new(segment: Arc<Segment>, end: u64) -> Self {
        Self { segment, marks: Vec::new(), records: 0, end }
    }

    /// The last offset known to lie at or before a position that the segment has.
    pub(super) fn mark_before(&self, position: Position) -> u64 {
        let record = position.0.saturating_sub(self.segment.header.base.0);
        let mark = usize::try_from(record / MARK_EVERY).ok().and_then(|at| self.marks.get(at));
        mark.map_or(self.end, |units| u64::from(*units) << 3)
    }

    fn add(&mut self, offset: u64) {
        if self.records.is_multiple_of(MARK_EVERY) {
            self.marks.push((offset >> 3) as u32);
        }
        self.records += 1;
    }
}

/// A stream's records.
#[derive(Debug, Default)]
struct StreamEntry {
    /// One for each version, from 1.
    locations: SmallVec<[Location; 2]>,
    last_time: Timestamp,
}

/// The names in order. New ones are put in their place only when somebody asks, so that appending never sorts.
#[derive(Debug, Default)]
struct Names {
    sorted: BTreeSet<StreamId>,
    fresh: Vec<StreamId>,
}

/// Everything durable.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// In order, without gaps.
    pub(super) segments: Vec<SegmentEntry>,
    slots: HashMap<StreamId, u32, SeededState>,
    entries: Vec<StreamEntry>,
    names: Mutex<Names>,
    pub(super) durable: Durable,
}

impl Index {
    pub(super) fn stream_count(&self) -> usize {
        self.entries.len()
    }

    /// The name as the index has it, to be shared instead of copied.
    pub(super) fn shared_name(&self, stream: &str) -> Option<&StreamId> {
        self.slots.get_key_value(stream).map(|(name, _)| name)
    }

    fn entry(&self, stream: &str) -> Option<&StreamEntry> {
        self.slots.get(stream).and_then(|slot| self.entries.get(*slot as usize))
    }

    pub(super) fn locations(&self, stream: &StreamId) -> &[Location] {
        self.entry(stream.as_str()).map_or(&[], |entry| &entry.locations)
    }

    pub(super) fn segment(&self, location: Location) -> Option<&SegmentEntry> {
        let first = self.segments.first()?.segment.header.number;
        self.segments.get(usize::try_from(location.segment().checked_sub(first)?).ok()?)
    }

    /// The segment that has this position.
    pub(super) fn segment_of(&self, position: Position) -> Option<&SegmentEntry> {
        let after = self.segments.partition_point(|entry| entry.segment.header.base <= position);
        self.segments.get(after.checked_sub(1)?)
    }

    pub(super) fn info(&self, stream: &StreamId) -> Option<StreamInfo> {
        self.entry(stream.as_str()).map(|entry| entry.info(stream))
    }

    /// See [`crate::Journal::streams_page`].
    pub(super) fn page(&self, prefix: &str, after: Option<&StreamId>, limit: usize) -> Vec<StreamInfo> {
        let mut names = self.names.lock();
        names.sort();
        let from = match after {
            Some(after) if after.as_str() >= prefix => Bound::Excluded(after.as_str()),
            _ => Bound::Included(prefix),
        };
        names
            .sorted
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(|name| name.as_str().starts_with(prefix))
            .filter_map(|name| self.info(name))
            .take(limit)
            .collect()
    }

    /// Makes a durable group visible; `end` is where it ends in the last segment.
    pub(super) fn publish(&mut self, staged: &mut Staging, end: u64) {
        let Some(segment) = self.segments.last_mut() else { return };
        segment.end = end;
        for (_, location) in &staged.records {
            segment.add(location.offset());
        }
        for stream in staged.streams.iter_mut().filter(|stream| stream.grown) {
            let slot = match stream.slot {
                Some(slot) => slot,
                None => self.add_stream(&stream.name),
            };
            stream.slot = Some(slot);
            self.entries[slot as usize].last_time = stream.last_time;
        }
        for (at, location) in &staged.records {
            if let Some(slot) = staged.streams[*at as usize].slot {
                self.entries[slot as usize].locations.push(*location);
            }
        }
        self.durable = staged.durable(self.durable);
    }

    fn add_stream(&mut self, name: &StreamId) -> u32 {
        // More than four thousand million streams do not fit in memory.
        let slot = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        self.entries.push(StreamEntry::default());
        self.slots.insert(name.clone(), slot);
        self.names.get_mut().fresh.push(name.clone());
        slot
    }
}

impl StreamEntry {
    fn info(&self, stream: &StreamId) -> StreamInfo {
        StreamInfo {
            stream: stream.clone(),
            version: Version(self.locations.len() as u64),
            last_time: self.last_time,
        }
    }
}

impl Names {
    fn sort(&mut self) {
        self.sorted.extend(self.fresh.drain(..));
    }
}

/// What a group that is not yet durable will add to the index.
#[derive(Debug, Default)]
pub(super) struct Staging {
    by_name: HashMap<StreamId, u32, SeededState>,
    streams: Vec<StagedStream>,
    /// In order: which of the streams, and where.
    records: Vec<(u32, Location)>,
    /// How many of the records, from the first, it takes to reach the last of a stream that is not internal.
    external: usize,
}

#[derive(Debug)]
struct StagedStream {
    name: StreamId,
    slot: Option<u32>,
    version: Version,
    last_time: Timestamp,
    grown: bool,
    internal: bool,
}

impl Staging {
    /// The stream as the group leaves it so far.
    pub(super) fn stream(&mut self, index: &Index, name: &StreamId) -> u32 {
        match self.by_name.get(name) {
            Some(at) => *at,
            None => self.add(index, name.clone()),
        }
    }

    /// As [`Staging::stream`], for a name that is only text as yet; `None` when it cannot name a stream.
    pub(super) fn stream_by_text(&mut self, index: &Index, name: &str) -> Option<u32> {
        if let Some(at) = self.by_name.get(name) {
            return Some(*at);
        }
        let shared = index.shared_name(name).cloned();
        let name = shared.or_else(|| StreamId::parse(name).ok())?;
        Some(self.add(index, name))
    }

    fn add(&mut self, index: &Index, name: StreamId) -> u32 {
        let slot = index.slots.get(&name).copied();
        let entry = slot.and_then(|slot| index.entries.get(slot as usize));
        let at = u32::try_from(self.streams.len()).unwrap_or(u32::MAX);
        self.streams.push(StagedStream {
            name: name.clone(),
            slot,
            version: Version(entry.map_or(0, |entry| entry.locations.len() as u64)),
            last_time: entry.map_or_else(Timestamp::default, |entry| entry.last_time),
            grown: false,
            internal: name.is_internal(),
        });
        self.by_name.insert(name, at);
        at
    }

    pub(super) fn version(&self, stream: u32) -> Version {
        self.streams[stream as usize].version
    }

    /// Adds a record to the stream; answers the record's version.
    pub(super) fn record(&mut self, stream: u32, location: Location, time: Timestamp) -> Version {
        let staged = &mut self.streams[stream as usize];
        staged.version = staged.version.next();
        staged.last_time = time;
        staged.grown = true;
        self.records.push((stream, location));
        if !staged.internal {
            self.external = self.records.len();
        }
        staged.version
    }

    pub(super) fn record_count(&self) -> u64 {
        self.records.len() as u64
    }

    /// How far the journal is durable once the group is.
    fn durable(&self, before: Durable) -> Durable {
        let external =
            if self.external == 0 { before.external } else { before.position.plus(self.external as u64) };
        Durable { position: before.position.plus(self.record_count()), external }
    }

    pub(super) fn clear(&mut self) {
        self.by_name.clear();
        self.streams.clear();
        self.records.clear();
        self.external = 0;
    }
}
