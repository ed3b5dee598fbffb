//! What a group that is not yet durable will add to the index.

use std::collections::HashMap;

use hashbrown::HashTable;

use super::Index;
use crate::embedded::hash::StreamKey;
use crate::{Durable, Position, Retention, StreamId, Timestamp, Version};

#[derive(Debug, Default)]
pub(in crate::embedded) struct Staging {
    /// By key: where in `streams`.
    by_key: HashTable<u32>,
    pub(super) streams: Vec<StagedStream>,
    /// Records and gaps, in order.
    pub(super) records: Vec<StagedRecord>,
    pub(super) retention: Vec<(StreamKey, Retention)>,
    /// The last setting of each stream: a group may have many.
    kept: HashMap<StreamKey, Retention>,
    /// Streams that began in a gap.
    pub(super) created: Vec<StreamId>,
    count: u64,
    /// Positions in gaps.
    skipped: u64,
    /// The last record of a stream that is not internal.
    external: Option<Position>,
}

/// A record, or a gap, where `stream` is [`GAP`].
#[derive(Debug, Clone, Copy)]
pub(super) struct StagedRecord {
    pub(super) stream: u32,
    /// In units of eight bytes.
    pub(super) offset: u32,
    pub(super) position: Position,
}

pub(super) const GAP: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct StagedStream {
    pub(super) key: StreamKey,
    /// Until it is taken by the active segment, which has to know it.
    pub(super) name: Option<StreamId>,
    pub(super) slot: Option<u32>,
    /// The version in front of its first record in the group.
    pub(super) base: Version,
    pub(super) version: Version,
    pub(super) last_time: Timestamp,
    pub(super) grown: bool,
    /// Where in the active segment's part it is, once it is published.
    pub(super) at: u32,
    internal: bool,
}

impl Staging {
    /// The stream as the group leaves it so far.
    pub(in crate::embedded) fn stream(&mut self, index: &Index, name: &StreamId, key: StreamKey) -> u32 {
        self.find(key).unwrap_or_else(|| self.add(index, name.clone(), key))
    }

    /// As [`Staging::stream`], for a name that is only text as yet; `None` when it cannot name a stream.
    pub(in crate::embedded) fn stream_by_text(&mut self, index: &Index, name: &str) -> Option<u32> {
        let key = index.key(name);
        if let Some(at) = self.find(key) {
            return Some(at);
        }
        let known = index.known_name(key).cloned();
        let name = known.or_else(|| StreamId::parse(name).ok())?;
        Some(self.add(index, name, key))
    }

    fn find(&self, key: StreamKey) -> Option<u32> {
        self.by_key.find(key.table_hash(), |at| self.streams[*at as usize].key == key).copied()
    }

    fn add(&mut self, index: &Index, name: StreamId, key: StreamKey) -> u32 {
        let at = u32::try_from(self.streams.len()).unwrap_or(u32::MAX);
        let slot = index.streams.slot(key);
        let entry = slot.and_then(|slot| index.streams.at(slot));
        let version = entry.map_or(Version::NONE, |entry| entry.version);
        self.streams.push(StagedStream {
            key,
            internal: name.is_internal(),
            name: Some(name),
            slot,
            base: version,
            version,
            last_time: entry.map_or(Timestamp::default(), |entry| entry.last_time),
            grown: false,
            at: 0,
        });
        let streams = &self.streams;
        self.by_key.insert_unique(key.table_hash(), at, |at| streams[*at as usize].key.table_hash());
        at
    }

    pub(in crate::embedded) fn version(&self, stream: u32) -> Version {
        self.streams[stream as usize].version
    }

    /// Has the stream go on from this version, whatever its own was: what lay between was scavenged.
    pub(in crate::embedded) fn skip_to(&mut self, stream: u32, version: Version) {
        let staged = &mut self.streams[stream as usize];
        staged.version = version;
        if !staged.grown {
            staged.base = version;
        }
    }

    /// Adds a record to the stream; answers the record's version.
    pub(in crate::embedded) fn record(
        &mut self,
        index: &Index,
        stream: u32,
        offset: u64,
        time: Timestamp,
    ) -> Version {
        let position = self.next_position(index);
        let staged = &mut self.streams[stream as usize];
        staged.version = staged.version.next();
        staged.last_time = time;
        staged.grown = true;
        if !staged.internal {
            self.external = Some(position);
        }
        let version = staged.version;
        self.records.push(StagedRecord { stream, offset: (offset >> 3) as u32, position });
        self.count += 1;
        version
    }

    /// Adds records that were scavenged.
    pub(in crate::embedded) fn gap(&mut self, index: &Index, offset: u64, count: u64) {
        let position = self.next_position(index);
        self.records.push(StagedRecord { stream: GAP, offset: (offset >> 3) as u32, position });
        self.skipped += count;
    }

    /// Adds a stream whose first record was scavenged.
    pub(in crate::embedded) fn created(&mut self, stream: StreamId) {
        self.created.push(stream);
    }

    pub(in crate::embedded) fn retain(&mut self, key: StreamKey, kept: Retention) {
        self.retention.push((key, kept));
        self.kept.insert(key, kept);
    }

    /// What is kept of the stream, once the group is durable.
    pub(in crate::embedded) fn kept(&self, index: &Index, key: StreamKey) -> Option<Retention> {
        // Most groups set nothing, and need no hash of the key.
        let staged = if self.kept.is_empty() { None } else { self.kept.get(&key) };
        staged.copied().or_else(|| index.kept(key))
    }

    pub(in crate::embedded) const fn record_count(&self) -> u64 {
        self.count
    }

    /// How many positions the group takes.
    pub(in crate::embedded) const fn position_count(&self) -> u64 {
        self.count + self.skipped
    }

    /// Whether there is nothing to write.
    pub(in crate::embedded) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.retention.is_empty()
    }

    /// How far the journal is durable once the group is.
    pub(super) fn durable(&self, before: Durable) -> Durable {
        let position = before.position.plus(self.position_count());
        Durable { position, external: self.external.unwrap_or(before.external) }
    }

    /// The position of the next record.
    pub(in crate::embedded) const fn next_position(&self, index: &Index) -> Position {
        index.durable.position.plus(self.position_count() + 1)
    }

    pub(in crate::embedded) fn clear(&mut self) {
        self.by_key.clear();
        self.streams.clear();
        self.records.clear();
        self.retention.clear();
        self.kept.clear();
        self.created.clear();
        self.count = 0;
        self.skipped = 0;
        self.external = None;
    }
}
