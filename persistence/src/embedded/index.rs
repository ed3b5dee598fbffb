//! What is where: derived from the log when it is opened, kept up with every group, held in memory only.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use hashbrown::HashTable;
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::hash::NameSeed;
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
#[derive(Debug)]
struct StreamEntry {
    name: StreamId,
    internal: bool,
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
    seed: NameSeed,
    /// By name: where in `entries`.
    slots: HashTable<u32>,
    entries: Vec<StreamEntry>,
    names: Mutex<Names>,
    pub(super) durable: Durable,
}

impl Index {
    pub(super) fn stream_count(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn seed(&self) -> NameSeed {
        self.seed
    }

    /// The name as the index has it, to be shared instead of copied.
    pub(super) fn shared_name(&self, stream: &str) -> Option<&StreamId> {
        self.entry(stream).map(|entry| &entry.name)
    }

    fn entry(&self, stream: &str) -> Option<&StreamEntry> {
        let slot = self.slot(self.seed.hash(stream), |name| name.as_str() == stream)?;
        self.entries.get(slot as usize)
    }

    fn slot(&self, hash: u64, is_it: impl Fn(&StreamId) -> bool) -> Option<u32> {
        self.slots.find(hash, |slot| is_it(&self.entries[*slot as usize].name)).copied()
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
        self.entry(stream.as_str()).map(StreamEntry::info)
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
            let new = stream.new_name.take().map(|name| self.add_stream(name, stream.hash));
            stream.slot = stream.slot.or(new);
            if let Some(entry) = stream.slot.and_then(|slot| self.entries.get_mut(slot as usize)) {
                entry.last_time = stream.last_time;
            }
        }
        for (at, location) in &staged.records {
            if let Some(slot) = staged.streams[*at as usize].slot {
                self.entries[slot as usize].locations.push(*location);
            }
        }
        self.durable = staged.durable(self.durable);
    }

    fn add_stream(&mut self, name: StreamId, hash: u64) -> u32 {
        // More than four thousand million streams do not fit in memory.
        let slot = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        self.names.get_mut().fresh.push(name.clone());
        self.entries.push(StreamEntry {
            internal: name.is_internal(),
            name,
            locations: SmallVec::new(),
            last_time: Timestamp::default(),
        });
        let (entries, seed) = (&self.entries, self.seed);
        self.slots.insert_unique(hash, slot, |slot| seed.hash(entries[*slot as usize].name.as_str()));
        slot
    }
}

impl StreamEntry {
    fn version(&self) -> Version {
        Version(self.locations.len() as u64)
    }

    fn info(&self) -> StreamInfo {
        StreamInfo { stream: self.name.clone(), version: self.version(), last_time: self.last_time }
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
    /// By name: where in `streams`.
    by_name: HashTable<u32>,
    streams: Vec<StagedStream>,
    /// In order: which of the streams, and where.
    records: Vec<(u32, Location)>,
    /// How many of the records, from the first, it takes to reach the last of a stream that is not internal.
    external: usize,
}

#[derive(Debug)]
struct StagedStream {
    /// Of a stream that the index does not have yet.
    new_name: Option<StreamId>,
    hash: u64,
    slot: Option<u32>,
    version: Version,
    last_time: Timestamp,
    grown: bool,
    internal: bool,
}

impl Staging {
    /// The stream as the group leaves it so far; `hash` is its name's by the index's seed.
    pub(super) fn stream(&mut self, index: &Index, name: &StreamId, hash: u64) -> u32 {
        let slot = index.slot(hash, |known| known == name);
        let found = match slot {
            Some(_) => self.find(hash, |staged| staged.slot == slot),
            None => self.find(hash, |staged| staged.new_name.as_ref() == Some(name)),
        };
        found.unwrap_or_else(|| self.add(index, slot, name, hash))
    }

    /// As [`Staging::stream`], for a name that is only text as yet; `None` when it cannot name a stream.
    pub(super) fn stream_by_text(&mut self, index: &Index, name: &str) -> Option<u32> {
        let hash = index.seed.hash(name);
        if let Some(at) =
            self.find(hash, |staged| staged.new_name.as_ref().is_some_and(|n| n.as_str() == name))
        {
            return Some(at);
        }
        let shared = index.shared_name(name).cloned();
        let name = shared.or_else(|| StreamId::parse(name).ok())?;
        Some(self.stream(index, &name, hash))
    }

    fn find(&self, hash: u64, is_it: impl Fn(&StagedStream) -> bool) -> Option<u32> {
        self.by_name.find(hash, |at| is_it(&self.streams[*at as usize])).copied()
    }

    fn add(&mut self, index: &Index, slot: Option<u32>, name: &StreamId, hash: u64) -> u32 {
        let at = u32::try_from(self.streams.len()).unwrap_or(u32::MAX);
        let staged = match slot.and_then(|slot| index.entries.get(slot as usize)) {
            Some(entry) => StagedStream {
                new_name: None,
                hash,
                slot,
                version: entry.version(),
                last_time: entry.last_time,
                grown: false,
                internal: entry.internal,
            },
            None => StagedStream {
                new_name: Some(name.clone()),
                hash,
                slot: None,
                version: Version::NONE,
                last_time: Timestamp::default(),
                grown: false,
                internal: name.is_internal(),
            },
        };
        self.streams.push(staged);
        let streams = &self.streams;
        self.by_name.insert_unique(hash, at, |at| streams[*at as usize].hash);
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
