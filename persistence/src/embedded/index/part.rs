//! What is in one segment, held in memory: while the segment is written, and until its index file is there.

use std::sync::OnceLock;

use hashbrown::HashTable;
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::names::Names;
use crate::embedded::hash::StreamKey;
use crate::{Position, Retention, StreamId, Timestamp, Version};

/// Every so many positions of a segment, the offset of a frame is remembered.
pub(in crate::embedded) const MARK_EVERY: u64 = 64;

/// In which segment, and where in what is in memory of it, a stream's records are.
#[derive(Debug, Clone, Copy)]
pub(in crate::embedded) struct Link {
    pub(in crate::embedded) segment: u32,
    /// A hint: of use only while the segment's part is in memory.
    pub(in crate::embedded) at: u32,
}

impl Link {
    /// No records.
    pub(in crate::embedded) const NONE: Self = Self { segment: 0, at: 0 };
    /// In the nearest segment in front that has any.
    pub(in crate::embedded) const UNKNOWN: Self = Self { segment: u32::MAX, at: 0 };

    pub(in crate::embedded) const fn is_none(self) -> bool {
        self.segment == Self::NONE.segment
    }

    pub(in crate::embedded) const fn is_unknown(self) -> bool {
        self.segment == Self::UNKNOWN.segment
    }
}

/// Offsets in units of eight bytes, at every [`MARK_EVERY`]th position.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(in crate::embedded) struct Marks(pub(in crate::embedded) Vec<u32>);

impl Marks {
    /// Notes the frame at `offset`, the first that has anything of `position` or behind it.
    pub(in crate::embedded) fn add(&mut self, base: Position, position: Position, offset: u64) {
        while self.0.len() as u64 * MARK_EVERY <= position.0.saturating_sub(base.0) {
            self.0.push((offset >> 3) as u32);
        }
    }

    pub(in crate::embedded) const fn slot(base: Position, position: Position) -> u64 {
        position.0.saturating_sub(base.0) / MARK_EVERY
    }
}

/// A stream's records in the segment.
#[derive(Debug, Clone)]
pub(in crate::embedded) struct PartStream {
    pub(in crate::embedded) key: StreamKey,
    pub(in crate::embedded) name: StreamId,
    /// The stream's version and time in front of the segment.
    pub(in crate::embedded) before: Version,
    pub(in crate::embedded) before_time: Timestamp,
    /// Where its records in front of the segment are.
    pub(in crate::embedded) previous: Link,
    pub(in crate::embedded) last_time: Timestamp,
    /// One for each version from the one after `before`, in units of eight bytes.
    pub(in crate::embedded) offsets: SmallVec<[u32; 2]>,
}

/// What is in one segment.
#[derive(Debug, Default)]
pub(in crate::embedded) struct MemoryPart {
    pub(in crate::embedded) streams: Vec<PartStream>,
    pub(in crate::embedded) marks: Marks,
    pub(in crate::embedded) records: u64,
    pub(in crate::embedded) latest: Timestamp,
    /// Streams whose first record is here.
    pub(in crate::embedded) created: Mutex<Names>,
    /// In order.
    pub(in crate::embedded) retention: Vec<(StreamKey, Retention)>,
    by_key: OnceLock<HashTable<u32>>,
}

impl MemoryPart {
    pub(in crate::embedded) fn add_stream(&mut self, stream: PartStream) -> u32 {
        // A segment has far fewer records than that.
        let at = u32::try_from(self.streams.len()).unwrap_or(u32::MAX);
        if stream.before == Version::NONE {
            self.created.get_mut().add(stream.name.clone());
        }
        self.streams.push(stream);
        at
    }

    /// The stream with this key; `hint` is where it is looked for first.
    pub(in crate::embedded) fn find(&self, key: StreamKey, hint: u32) -> Option<&PartStream> {
        match self.streams.get(hint as usize) {
            Some(stream) if stream.key == key => Some(stream),
            _ => self.search(key),
        }
    }

    fn search(&self, key: StreamKey) -> Option<&PartStream> {
        let table = self.by_key.get_or_init(|| self.table());
        let at = table.find(key.table_hash(), |at| self.streams[*at as usize].key == key)?;
        self.streams.get(*at as usize)
    }

    fn table(&self) -> HashTable<u32> {
        let mut table = HashTable::with_capacity(self.streams.len());
        for (stream, at) in self.streams.iter().zip(0..) {
            let hash = |at: &u32| self.streams[*at as usize].key.table_hash();
            table.insert_unique(stream.key.table_hash(), at, hash);
        }
        table
    }
}
