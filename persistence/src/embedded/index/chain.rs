//! A stream's records from the newest segment that has any back to the oldest.

use std::sync::Arc;

use super::file::{FileStream, IndexFault};
use super::part::{Link, MemoryPart};
use super::{Index, IndexFile, Sealed, SealedPart};
use crate::Version;
use crate::embedded::hash::StreamKey;
use crate::embedded::segment::Segment;

/// A stream's records in one segment, or some of them.
pub(in crate::embedded) struct Stretch {
    pub(in crate::embedded) segment: Arc<Segment>,
    /// Where what is durable in the segment ends.
    pub(in crate::embedded) end: u64,
    /// The version in front of the first.
    pub(in crate::embedded) before: u64,
    pub(in crate::embedded) count: u64,
    offsets: Offsets,
}

enum Offsets {
    Here(Vec<u32>),
    Memory(Arc<MemoryPart>, StreamKey, u32),
    File(Arc<IndexFile>, FileStream),
}

impl Stretch {
    pub(in crate::embedded) const fn last(&self) -> u64 {
        self.before + self.count
    }

    /// The offsets of the records with versions from `low` to `high`, as far as they are here.
    pub(in crate::embedded) fn offsets(&self, low: u64, high: u64) -> Result<Vec<u64>, IndexFault> {
        let skip = low.saturating_sub(self.before + 1);
        let count = high.min(self.last()).saturating_sub(self.before + skip);
        let units = match &self.offsets {
            Offsets::Here(all) => slice(all, skip, count),
            Offsets::Memory(part, key, hint) => {
                part.find(*key, *hint).map_or_else(Vec::new, |stream| slice(&stream.offsets, skip, count))
            }
            Offsets::File(file, stream) => file.offsets(*stream, skip, count)?,
        };
        Ok(units.into_iter().map(|units| u64::from(units) << 3).collect())
    }
}

fn slice(all: &[u32], skip: u64, count: u64) -> Vec<u32> {
    all.iter().skip(skip as usize).take(count as usize).copied().collect()
}

/// Walks from a stream's last segment to its first.
pub(in crate::embedded) struct Chain {
    key: StreamKey,
    sealed: Arc<Vec<Sealed>>,
    /// The active segment's, until it is taken.
    active: Option<Stretch>,
    next: Link,
    /// Segments with this number and above are behind.
    below: u64,
    /// The version in front of the last stretch handed out.
    front: Option<u64>,
}

impl Chain {
    /// Of the active segment only offsets of versions from `low` on are kept, at most `limit` of them.
    pub(in crate::embedded) fn new(
        index: &Index,
        key: StreamKey,
        last: Link,
        low: u64,
        limit: usize,
    ) -> Self {
        let sealed = Arc::clone(&index.sealed);
        let mut chain = Self { key, sealed, active: None, next: last, below: u64::MAX, front: None };
        let Some(active) = &index.active else { return chain };
        let number = active.segment.header.number;
        if u64::from(last.segment) != number {
            return chain;
        }
        let stream = &active.part.streams[last.at as usize];
        let skip = low.saturating_sub(stream.before.0 + 1);
        let offsets: Vec<u32> = stream.offsets.iter().skip(skip as usize).take(limit).copied().collect();
        let before = stream.before.0 + skip;
        // Where older versions were passed over, nothing in front of this is wanted either.
        chain.next = if skip > 0 { Link::NONE } else { stream.previous };
        chain.below = number;
        chain.active = Some(Stretch {
            segment: Arc::clone(&active.segment),
            end: active.end,
            before,
            count: offsets.len() as u64,
            offsets: Offsets::Here(offsets),
        });
        chain
    }

    /// Whether all that is left is in memory already.
    pub(in crate::embedded) fn is_in_memory(&self) -> bool {
        self.next.is_none()
    }

    /// The stretch in front of the last one handed out.
    pub(in crate::embedded) fn next(&mut self) -> Result<Option<Stretch>, IndexFault> {
        if let Some(active) = self.active.take() {
            self.front = Some(active.before);
            return Ok(Some(active));
        }
        while let Some(sealed) = self.candidate() {
            self.below = sealed.segment.header.number;
            if let Some((stretch, previous)) = stretch(&sealed, self.key, self.next.at)? {
                // What lies in front of a gap is no longer kept, and only not scavenged yet.
                if self.front.is_some_and(|front| stretch.last() != front) {
                    self.next = Link::NONE;
                    return Ok(None);
                }
                self.front = Some(stretch.before);
                self.next = if stretch.before == 0 { Link::NONE } else { previous };
                return Ok(Some(stretch));
            }
            // Everything of the stream was scavenged there, and so was all in front of it; but a link that is not
            // known has to be looked for.
            if !self.next.is_unknown() {
                self.next = Link::NONE;
            }
        }
        Ok(None)
    }

    fn candidate(&self) -> Option<Sealed> {
        let number = match self.next {
            link if link.is_none() => return None,
            link if link.is_unknown() => self.highest()?,
            link => u64::from(link.segment),
        };
        Index::sealed_at(&self.sealed, number).map(|at| self.sealed[at].clone())
    }

    fn highest(&self) -> Option<u64> {
        let last = self.sealed.last()?.segment.header.number;
        Some(last.min(self.below.checked_sub(1)?))
    }
}

fn stretch(sealed: &Sealed, key: StreamKey, hint: u32) -> Result<Option<(Stretch, Link)>, IndexFault> {
    let of = |before: Version, count: u64, offsets| Stretch {
        segment: Arc::clone(&sealed.segment),
        end: sealed.end,
        before: before.0,
        count,
        offsets,
    };
    Ok(match &sealed.part {
        SealedPart::Memory(part) => part.find(key, hint).map(|stream| {
            let offsets = Offsets::Memory(Arc::clone(part), key, hint);
            (of(stream.before, stream.offsets.len() as u64, offsets), stream.previous)
        }),
        SealedPart::File(file) => file.find(key)?.map(|stream| {
            let offsets = Offsets::File(Arc::clone(file), stream);
            (of(stream.before, stream.count.into(), offsets), stream.previous)
        }),
    })
}
