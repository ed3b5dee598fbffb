//! All streams: for each how far it goes, and which segment has its last record. The only thing that grows with their
//! number, so it holds little for each: 40 bytes and its place in the hash table.

use hashbrown::HashTable;

use super::chunked::Chunked;
use super::part::Link;
use crate::embedded::hash::StreamKey;
use crate::{Timestamp, Version};

/// A stream.
#[derive(Debug, Clone, Copy)]
pub(in crate::embedded) struct StreamEntry {
    pub(in crate::embedded) key: StreamKey,
    pub(in crate::embedded) version: Version,
    pub(in crate::embedded) last_time: Timestamp,
    pub(in crate::embedded) last: Link,
}

impl StreamEntry {
    /// Whether it is this stream's, and the stream is there.
    pub(in crate::embedded) fn is_of(&self, key: StreamKey) -> bool {
        self.key == key && self.last.segment != 0
    }
}

#[derive(Debug, Default)]
pub(in crate::embedded) struct StreamTable {
    slots: HashTable<u32>,
    entries: Chunked<StreamEntry>,
    /// Entries of streams that are there no more, to be used again. They are in no segment.
    vacant: Vec<u32>,
}

impl StreamTable {
    pub(in crate::embedded) fn len(&self) -> usize {
        self.entries.len() - self.vacant.len()
    }

    /// Every stream's entry.
    pub(in crate::embedded) fn entries(&self) -> impl Iterator<Item = &StreamEntry> {
        self.entries.iter().filter(|entry| entry.last.segment != 0)
    }

    /// All entries as they lie, those too that are in no segment since their stream is there no more.
    pub(in crate::embedded) const fn slots(&self) -> &Chunked<StreamEntry> {
        &self.entries
    }

    pub(in crate::embedded) fn slot(&self, key: StreamKey) -> Option<u32> {
        self.slots.find(key.table_hash(), |slot| self.entries[*slot as usize].key == key).copied()
    }

    pub(in crate::embedded) fn get(&self, key: StreamKey) -> Option<&StreamEntry> {
        self.slot(key).and_then(|slot| self.entries.get(slot as usize))
    }

    pub(in crate::embedded) fn at(&self, slot: u32) -> Option<&StreamEntry> {
        self.entries.get(slot as usize)
    }

    pub(in crate::embedded) fn at_mut(&mut self, slot: u32) -> Option<&mut StreamEntry> {
        self.entries.get_mut(slot as usize)
    }

    /// Adds a stream that is not there yet.
    pub(in crate::embedded) fn add(&mut self, entry: StreamEntry) -> u32 {
        let slot = match self.vacant.pop() {
            Some(slot) => {
                self.entries[slot as usize] = entry;
                slot
            }
            None => {
                self.entries.push(entry);
                // More than four thousand million streams do not fit in memory.
                u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
            }
        };
        let entries = &self.entries;
        let hash = |slot: &u32| entries[*slot as usize].key.table_hash();
        self.slots.insert_unique(entry.key.table_hash(), slot, hash);
        slot
    }

    /// Has the stream no more.
    pub(in crate::embedded) fn remove(&mut self, key: StreamKey) {
        let entries = &self.entries;
        let is_it = |slot: &u32| entries[*slot as usize].key == key;
        let Ok(found) = self.slots.find_entry(key.table_hash(), is_it) else { return };
        let (slot, _) = found.remove();
        self.entries[slot as usize].last = Link::NONE;
        self.vacant.push(slot);
    }

    /// Has this entry for its stream, whatever was there.
    pub(in crate::embedded) fn set(&mut self, entry: StreamEntry) {
        match self.slot(entry.key) {
            Some(slot) => self.entries[slot as usize] = entry,
            None => drop(self.add(entry)),
        }
    }

    pub(in crate::embedded) fn reserve(&mut self, more: usize) {
        let entries = &self.entries;
        self.slots.reserve(more, |slot| entries[*slot as usize].key.table_hash());
    }
}
