//! Reading what is durable: pages of a stream, pages of everything.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;

use super::format::{self, FRAME_HEADER_BYTES, Flaw, Frame, Kind};
use super::index::{Index, Location};
use super::record::Record;
use super::segment::Segment;
use crate::{AllPage, Direction, Filter, Position, ReadError, RecordedEvent, StreamId, StreamPage, Version};

/// Records of one stream this near to each other are read with one call.
const GAP_BYTES: u64 = 4096;
/// The most bytes read with one call for a stream.
const WINDOW_BYTES: u64 = 128 * 1024;
/// A page with no more reads than this is read where it is asked for: to have it read elsewhere takes longer.
const SHORT_WINDOWS: usize = 8;
/// What the last record of a read is thought to take; a longer one costs a second call.
const RECORD_GUESS_BYTES: u64 = 1024;
/// A page ends when it holds this many bytes, however few its events.
const PAGE_BYTES: usize = 8 << 20;
/// How much of the log is read with one call.
const CHUNK_BYTES: u64 = 256 * 1024;
/// A page of everything ends after this many bytes of the log, whatever was found in them.
const SCAN_BYTES: u64 = 2 << 20;

/// Records of a stream that are read together.
struct Window {
    segment: Arc<Segment>,
    /// Where what is durable in the segment ends.
    end: u64,
    /// The offsets of the records, from low to high.
    offsets: Vec<u64>,
}

/// What to read for a page of a stream, see [`crate::Journal::stream_page`].
pub(super) struct Plan {
    direction: Direction,
    /// In the direction of reading.
    windows: Vec<Window>,
    /// Whether the stream goes on behind them.
    more: bool,
}

impl Plan {
    /// Whether it is soon read, wherever it lies.
    pub(super) fn is_short(&self) -> bool {
        self.windows.len() <= SHORT_WINDOWS
    }

    pub(super) fn read(self, stream: &StreamId) -> Result<StreamPage, ReadError> {
        let mut windows = self.windows.into_iter();
        let mut events = Vec::new();
        let mut bytes = 0;
        for window in windows.by_ref() {
            bytes += window.read(stream, &mut events)?;
            if bytes >= PAGE_BYTES {
                break;
            }
        }
        let more = self.more || windows.len() > 0;
        Ok(StreamPage::new(events, self.direction, more))
    }

    pub(super) fn new(
        index: &Index,
        stream: &StreamId,
        from: Version,
        direction: Direction,
        limit: usize,
    ) -> Self {
        let all = index.locations(stream);
        let from = usize::try_from(from.0).unwrap_or(usize::MAX);
        match direction {
            Direction::Forward => {
                let first = from.saturating_sub(1).min(all.len());
                let end = first.saturating_add(limit).min(all.len());
                Self { direction, windows: windows(index, &all[first..end]), more: end < all.len() }
            }
            Direction::Backward => {
                let end = from.min(all.len());
                let first = end.saturating_sub(limit);
                let mut windows = windows(index, &all[first..end]);
                windows.reverse();
                windows.iter_mut().for_each(|window| window.offsets.reverse());
                Self { direction, windows, more: first > 0 }
            }
        }
    }
}

fn windows(index: &Index, wanted: &[Location]) -> Vec<Window> {
    let mut windows: Vec<Window> = Vec::new();
    let mut last_segment = 0;
    for location in wanted {
        let offset = location.offset();
        match windows.last_mut() {
            Some(window) if last_segment == location.segment() && window.reaches(offset) => {
                window.offsets.push(offset);
            }
            _ => windows.extend(index.segment(*location).map(|entry| Window {
                segment: Arc::clone(&entry.segment),
                end: entry.end,
                offsets: vec![offset],
            })),
        }
        last_segment = location.segment();
    }
    windows
}

impl Window {
    fn reaches(&self, offset: u64) -> bool {
        let (first, last) = (self.offsets[0], self.offsets[self.offsets.len() - 1]);
        offset - last <= GAP_BYTES && offset - first <= WINDOW_BYTES
    }

    /// Reads the records in the order of the offsets; answers how many bytes they have.
    fn read(&self, stream: &StreamId, events: &mut Vec<RecordedEvent>) -> Result<usize, ReadError> {
        let (one, other) = (self.offsets[0], self.offsets[self.offsets.len() - 1]);
        let (first, last) = (one.min(other), one.max(other));
        let wanted = (last + RECORD_GUESS_BYTES).min(self.end) - first;
        let bytes = Bytes::from(self.segment.read(first, wanted as usize)?);
        let mut total = 0;
        for offset in &self.offsets {
            let at = ((offset - first) as usize).min(bytes.len());
            let (frame, bytes) = self.frame(*offset, bytes.slice(at..))?;
            events.push(self.event(stream, *offset, &bytes.slice(frame.body))?);
            total += frame.bytes;
        }
        Ok(total)
    }

    /// The frame at the offset, and the bytes it is in: read anew if these were too few.
    fn frame(&self, offset: u64, bytes: Bytes) -> Result<(Frame, Bytes), ReadError> {
        match format::parse_frame(&bytes, offset, self.segment.seed, self.end - offset) {
            Ok(frame) => Ok((frame, bytes)),
            Err(Flaw::Bad(reason)) => Err(self.segment.read_damaged(offset, reason)),
            Err(Flaw::Short(needed)) if needed > bytes.len() => {
                let longer = self.segment.read(offset, needed)?;
                if longer.len() < needed {
                    return Err(self.segment.read_damaged(offset, "the file ends inside the frame"));
                }
                self.frame(offset, longer.into())
            }
            Err(Flaw::Short(_)) => Err(self.segment.read_damaged(offset, "the frame is cut short")),
        }
    }

    fn event(&self, stream: &StreamId, offset: u64, body: &Bytes) -> Result<RecordedEvent, ReadError> {
        let record = Record::decode(body, self.segment.base())
            .map_err(|reason| self.segment.read_damaged(offset, reason))?;
        if record.stream(&mut String::new()) != stream.as_str() {
            return Err(self.segment.read_damaged(offset, "the record is of another stream"));
        }
        Ok(record.to_event(stream.clone(), body))
    }
}

/// What is left to read of a segment.
struct Span {
    segment: Arc<Segment>,
    at: u64,
    end: u64,
}

/// Whether a page of everything from here is soon read: the newest records, most likely still in memory.
pub(super) fn is_short(index: &Index, from: Position) -> bool {
    let is_last = |span: &Span| {
        index.segments.last().is_some_and(|last| last.segment.header.number == span.segment.header.number)
    };
    span(index, from).is_none_or(|span| is_last(&span) && span.end - span.at <= CHUNK_BYTES)
}

/// Where to look for this position; `None` when it is not durable.
fn span(index: &Index, from: Position) -> Option<Span> {
    if from > index.durable.position {
        return None;
    }
    let entry = index.segment_of(from)?;
    Some(Span { segment: Arc::clone(&entry.segment), at: entry.mark_before(from), end: entry.end })
}

/// See [`crate::Journal::all_page`].
pub(super) fn all_page(
    index: &RwLock<Index>,
    from: Position,
    filter: &Filter,
    limit: usize,
) -> Result<AllPage, ReadError> {
    let mut scan = Scan::new(index, from, filter, limit);
    let mut budget = SCAN_BYTES;
    while budget > 0 && scan.page.events.len() < limit {
        let Some(mut span) = span(&index.read(), scan.page.next) else { break };
        let before = scan.page.next;
        while span.at < span.end && budget > 0 && scan.page.events.len() < limit {
            let read = scan.read_chunk(&mut span)?;
            budget = budget.saturating_sub(read);
        }
        if span.at >= span.end && scan.page.next == before {
            return Err(span.segment.read_damaged(span.at, "a record is missing here"));
        }
    }
    Ok(scan.page)
}

/// Reads frames into a page.
struct Scan<'a> {
    index: &'a RwLock<Index>,
    filter: &'a Filter,
    limit: usize,
    page: AllPage,
    scratch: String,
}

impl<'a> Scan<'a> {
    fn new(index: &'a RwLock<Index>, from: Position, filter: &'a Filter, limit: usize) -> Self {
        let page = AllPage { events: Vec::new(), next: from.max(Position(1)) };
        Self { index, filter, limit, page, scratch: String::new() }
    }

    /// Reads the frames that lie whole in the next chunk, at least one; answers how many bytes they have.
    fn read_chunk(&mut self, span: &mut Span) -> Result<u64, ReadError> {
        let chunk = self.chunk(span, CHUNK_BYTES.min(span.end - span.at))?;
        let start = span.at;
        let mut at = 0;
        while at < chunk.len() && self.page.events.len() < self.limit {
            let available = span.end - span.at;
            match format::parse_frame(&chunk[at..], span.at, span.segment.seed, available) {
                Ok(frame) => {
                    self.take(span, &frame, &chunk.slice(at..at + frame.bytes))?;
                    at += frame.bytes;
                    span.at += frame.bytes as u64;
                }
                Err(Flaw::Short(_)) if at > 0 => break,
                Err(Flaw::Short(_)) => return Err(span.damaged("the file ends inside the frame")),
                Err(Flaw::Bad(reason)) => return Err(span.damaged(reason)),
            }
        }
        Ok(span.at - start)
    }

    /// This many bytes, or as many as the first frame in them needs.
    fn chunk(&self, span: &Span, bytes: u64) -> Result<Bytes, ReadError> {
        let chunk = span.segment.read(span.at, bytes as usize)?;
        let available = span.end - span.at;
        if chunk.len() < FRAME_HEADER_BYTES {
            return Err(span.damaged("the file ends where a frame should be"));
        }
        match format::parse_frame(&chunk, span.at, span.segment.seed, available) {
            Err(Flaw::Short(needed)) => Ok(span.segment.read(span.at, needed)?.into()),
            _ => Ok(chunk.into()),
        }
    }

    fn take(&mut self, span: &Span, frame: &Frame, bytes: &Bytes) -> Result<(), ReadError> {
        if frame.kind != Kind::Record {
            return Ok(());
        }
        let body = bytes.slice(frame.body.clone());
        let record = Record::decode(&body, span.segment.base()).map_err(|reason| span.damaged(reason))?;
        if record.position < self.page.next {
            return Ok(());
        }
        self.page.next = record.position.next();
        let name = record.stream(&mut self.scratch);
        if self.filter.wants(name, record.type_name, record.tags()) {
            let stream =
                stream_id(self.index, name).ok_or_else(|| span.damaged("the record names no stream"))?;
            self.page.events.push(record.to_event(stream, &body));
        }
        Ok(())
    }
}

/// The stream's name, shared with the index.
fn stream_id(index: &RwLock<Index>, name: &str) -> Option<StreamId> {
    let shared = index.read().shared_name(name).cloned();
    shared.or_else(|| StreamId::parse(name).ok())
}

impl Span {
    fn damaged(&self, reason: &'static str) -> ReadError {
        self.segment.read_damaged(self.at, reason)
    }
}
