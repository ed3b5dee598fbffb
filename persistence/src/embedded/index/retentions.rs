//! What is kept of the streams of which not everything is. As a rule most of them are gone for good, and there may be as
//! many as there are streams: for each of those it holds 24 bytes and a place in the hash table.

use hashbrown::HashTable;

use super::chunked::Chunked;
use crate::Retention;
use crate::embedded::hash::StreamKey;

#[derive(Debug, Default)]
pub(in crate::embedded) struct Retentions {
    slots: HashTable<u32>,
    entries: Chunked<Entry>,
    /// What is kept of streams that are not just gone.
    others: Chunked<Retention>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    key: StreamKey,
    /// Where among the others it is, or [`GONE`].
    at: u32,
}

/// It is [`Retention::gone`].
const GONE: u32 = u32::MAX;

impl Retentions {
    pub(in crate::embedded) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(in crate::embedded) fn get(&self, key: StreamKey) -> Option<Retention> {
        // Most journals have none, and need no look.
        if self.entries.len() == 0 { None } else { self.find(key).map(|slot| self.kept(&self.entries[slot])) }
    }

    pub(in crate::embedded) fn set(&mut self, key: StreamKey, kept: Retention) {
        let known = self.find(key);
        match known.map(|slot| self.entries[slot].at) {
            Some(at) if at != GONE => self.others[at as usize] = kept,
            _ => {
                let at = self.place(kept);
                match known {
                    Some(slot) => self.entries[slot].at = at,
                    None => self.add(Entry { key, at }),
                }
            }
        }
    }

    /// All of them, in the order in which the streams were first set.
    pub(in crate::embedded) fn iter(&self) -> impl Iterator<Item = (StreamKey, Retention)> {
        self.entries.iter().map(|entry| (entry.key, self.kept(entry)))
    }

    /// Some of them, the same ones for a number whatever is added; none behind the last.
    pub(super) fn chunk(&self, number: usize) -> impl Iterator<Item = (StreamKey, Retention)> {
        self.entries.chunk(number).iter().map(|entry| (entry.key, self.kept(entry)))
    }

    fn find(&self, key: StreamKey) -> Option<usize> {
        let slot = self.slots.find(key.table_hash(), |slot| self.entries[*slot as usize].key == key);
        slot.map(|slot| *slot as usize)
    }

    fn kept(&self, entry: &Entry) -> Retention {
        self.others.get(entry.at as usize).copied().unwrap_or_else(Retention::gone)
    }

    fn place(&mut self, kept: Retention) -> u32 {
        if kept == Retention::gone() {
            return GONE;
        }
        self.others.push(kept);
        place_of_last(self.others.len())
    }

    fn add(&mut self, entry: Entry) {
        self.entries.push(entry);
        let entries = &self.entries;
        let hash = |slot: &u32| entries[*slot as usize].key.table_hash();
        self.slots.insert_unique(entry.key.table_hash(), place_of_last(entries.len()), hash);
    }
}

/// More than four thousand million streams do not fit in memory.
fn place_of_last(len: usize) -> u32 {
    u32::try_from(len - 1).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
