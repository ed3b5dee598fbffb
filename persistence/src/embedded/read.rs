//! Reading what is durable: pages of a stream, pages of everything.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;

use super::Unread;
use super::format::{self, FRAME_HEADER_BYTES, Flaw, Frame, Gap, Kind};
use super::index::{Chain, Index, IndexFault, Mark, Place, Stretch};
use super::interner::{Streams, Types};
use super::record::{Record, StreamForm};
use super::segment::Segment;
use crate::planted::Fault;
use crate::view::Located;
use crate::{
    AllPage, Direction, Filter, Position, ReadError, RecordedEvent, StreamId, StreamPage, Version, ViewPage,
};

/// Records of one stream this near to each other are read with one call.
const GAP_BYTES: u64 = 4096;
/// The most bytes read with one call for a stream.
const WINDOW_BYTES: u64 = 128 * 1024;
/// A page with no more reads than this is read where it is asked for: to have it read elsewhere takes longer.
const SHORT_WINDOWS: usize = 8;
/// The same for the records of one, all in the active segment.
const SHORT_PAGE: u64 = 256;
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
    from: u64,
    limit: u64,
    /// The first version that is kept, and the last there is.
    kept: u64,
    last: u64,
    chain: Option<Chain>,
}

impl Plan {
    pub(super) fn new(
        index: &Index,
        stream: &StreamId,
        from: Version,
        direction: Direction,
        limit: usize,
    ) -> Self {
        let key = index.key(stream.as_str());
        let entry = index.streams.get(key);
        let last = entry.map_or(Version::NONE, |entry| entry.version);
        let kept = index.kept(key).map_or(Version(1), |kept| kept.first_kept(last));
        let mut plan =
            Self { direction, from: from.0, limit: limit as u64, kept: kept.0, last: last.0, chain: None };
        if let (Some(entry), (low, high)) = (entry, plan.range())
            && low <= high
            && limit > 0
        {
            plan.chain = Some(Chain::new(index, key, entry.last, low, limit));
        }
        plan
    }

    /// The versions wanted, if all are there.
    fn range(&self) -> (u64, u64) {
        match self.direction {
            Direction::Forward => {
                let low = self.from.max(self.kept);
                (low, self.last.min(low.saturating_add(self.limit).saturating_sub(1)))
            }
            Direction::Backward => {
                let high = self.from.min(self.last);
                (high.saturating_sub(self.limit.saturating_sub(1)).max(self.kept), high)
            }
        }
    }

    /// Whether it is soon read, wherever it lies.
    pub(super) fn is_short(&self) -> bool {
        let (low, high) = self.range();
        let few = high.saturating_sub(low) < SHORT_WINDOWS as u64;
        let is_new = self.chain.as_ref().is_none_or(Chain::is_in_memory);
        few || is_new && self.limit <= SHORT_PAGE
    }

    pub(super) fn read(mut self, stream: &StreamId) -> Result<StreamPage, Unread> {
        let Some(chain) = self.chain.take() else { return Ok(StreamPage::default()) };
        let (events, more): (WholeEvents, _) = match self.direction {
            Direction::Forward => self.forward(chain, stream)?,
            Direction::Backward => self.backward(chain, stream)?,
        };
        Ok(StreamPage::new(events.events, self.direction, more))
    }

    /// Forward, as far as a replay needs it.
    pub(super) fn view(mut self, stream: &StreamId) -> Result<ViewPage, Unread> {
        let Some(chain) = self.chain.take() else { return Ok(ViewPage::default()) };
        let (events, more) = self.forward(chain, stream)?;
        Ok(ViewPage::located(events, more))
    }

    /// The events, and whether there are more behind them.
    fn forward<E: Taken>(&self, mut chain: Chain, stream: &StreamId) -> Result<(E, bool), Unread> {
        let (mut low, _) = self.range();
        let mut stretches = Vec::new();
        while let Some(stretch) = chain.next()? {
            let is_first = stretch.before < low;
            stretches.push(stretch);
            if is_first {
                break;
            }
        }
        // What is in front of the oldest is not there any more.
        low = low.max(stretches.last().map_or(low, |oldest| oldest.before + 1));
        let high = self.last.min(low.saturating_add(self.limit).saturating_sub(1));
        let mut page: Page<'_, E> = Page::new(stream);
        for stretch in stretches.iter().rev().filter(|stretch| stretch.before < high) {
            if page.read(windows(stretch, &stretch.offsets(low, high)?))? {
                break;
            }
        }
        let more = page.events.last_version().is_some_and(|last| last.0 < self.last);
        Ok((page.events, more))
    }

    fn backward<E: Taken>(&self, mut chain: Chain, stream: &StreamId) -> Result<(E, bool), Unread> {
        let (low, high) = self.range();
        let mut page: Page<'_, E> = Page::new(stream);
        while let Some(stretch) = chain.next()? {
            if stretch.before >= high {
                continue;
            }
            let mut windows = windows(&stretch, &stretch.offsets(low, high)?);
            windows.reverse();
            windows.iter_mut().for_each(|window| window.offsets.reverse());
            if page.read(windows)? || stretch.before < low {
                break;
            }
        }
        let more = page.events.last_version().is_some_and(|last| last.0 > self.kept);
        Ok((page.events, more))
    }
}

/// What takes in the records of a page.
trait Taken: Default {
    fn reserve(&mut self, more: usize);

    /// Takes in a record of the stream, whose body is at `body` of the bytes.
    fn take(
        &mut self,
        record: &Record<'_>,
        stream: &StreamId,
        place: (&Bytes, usize),
    ) -> Result<(), &'static str>;

    fn last_version(&self) -> Option<Version>;
}

/// Events with everything that there is to them.
#[derive(Default)]
struct WholeEvents {
    types: Types,
    events: Vec<RecordedEvent>,
}

impl Taken for WholeEvents {
    fn reserve(&mut self, more: usize) {
        self.events.reserve(more);
    }

    fn take(
        &mut self,
        record: &Record<'_>,
        stream: &StreamId,
        place: (&Bytes, usize),
    ) -> Result<(), &'static str> {
        let type_name = self.types.of(record)?;
        self.events.push(record.to_event(stream.clone(), type_name, place));
        Ok(())
    }

    fn last_version(&self) -> Option<Version> {
        self.events.last().map(|event| event.version)
    }
}

impl Taken for Located {
    fn reserve(&mut self, more: usize) {
        self.reserve(more);
    }

    fn take(
        &mut self,
        record: &Record<'_>,
        _: &StreamId,
        (bytes, body): (&Bytes, usize),
    ) -> Result<(), &'static str> {
        record.locate(self, bytes, body)
    }

    fn last_version(&self) -> Option<Version> {
        self.last_version()
    }
}

/// A page being read.
struct Page<'a, E> {
    stream: &'a StreamId,
    form: StreamForm<'a>,
    events: E,
    bytes: usize,
}

impl<'a, E: Taken> Page<'a, E> {
    fn new(stream: &'a StreamId) -> Self {
        Self { stream, form: StreamForm::of(stream), events: E::default(), bytes: 0 }
    }

    /// Reads windows one after the other; `true` once the page is full.
    fn read(&mut self, windows: Vec<Window>) -> Result<bool, ReadError> {
        self.events.reserve(windows.iter().map(|window| window.offsets.len()).sum());
        for window in windows {
            self.read_window(&window)?;
            if self.bytes >= PAGE_BYTES {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads the records of a window in the order of the offsets.
    fn read_window(&mut self, window: &Window) -> Result<(), ReadError> {
        let first = window.first();
        let bytes = Bytes::from_owner(window.segment.read(first, window.wanted())?);
        for offset in &window.offsets {
            let at = ((offset - first) as usize).min(bytes.len());
            match window.frame(*offset, &bytes[at..])? {
                Found::Here(frame) => self.take(window, *offset, &frame, (&bytes, at))?,
                Found::Apart(frame, bytes) => self.take(window, *offset, &frame, (&bytes, 0))?,
            }
        }
        Ok(())
    }

    /// Takes in a record whose frame is at `at` of the bytes.
    fn take(
        &mut self,
        window: &Window,
        offset: u64,
        frame: &Frame,
        (bytes, at): (&Bytes, usize),
    ) -> Result<(), ReadError> {
        let damaged = |reason| window.segment.read_damaged(offset, reason);
        let body = at + frame.body.start;
        let record =
            Record::decode(&bytes[body..at + frame.body.end], window.segment.base()).map_err(damaged)?;
        if !record.is_of(&self.form) {
            return Err(damaged("the record is of another stream"));
        }
        self.events.take(&record, self.stream, (bytes, body)).map_err(damaged)?;
        self.bytes += frame.bytes;
        Ok(())
    }
}

/// Makes room for a page once there is something in it: to move what is there again and again, as it grows, costs more.
fn make_room(events: &mut Vec<RecordedEvent>, limit: usize) {
    const PAGE_EVENTS: usize = 2048;
    if events.is_empty() {
        events.reserve(limit.min(PAGE_EVENTS));
    }
}

/// Where a frame was found: in the bytes that were looked at, or in others that were read since those were too few.
enum Found {
    Here(Frame),
    Apart(Frame, Bytes),
}

fn windows(stretch: &Stretch, offsets: &[u64]) -> Vec<Window> {
    let mut windows: Vec<Window> = Vec::new();
    for offset in offsets {
        match windows.last_mut() {
            Some(window) if window.reaches(*offset) => window.offsets.push(*offset),
            _ => windows.push(Window {
                segment: Arc::clone(&stretch.segment),
                end: stretch.end,
                offsets: vec![*offset],
            }),
        }
    }
    windows
}

impl Window {
    fn reaches(&self, offset: u64) -> bool {
        let (first, last) = (self.offsets[0], self.offsets[self.offsets.len() - 1]);
        offset - last <= GAP_BYTES && offset - first <= WINDOW_BYTES
    }

    /// The offset of the record that lies in front of the others.
    fn first(&self) -> u64 {
        self.offsets[0].min(self.offsets[self.offsets.len() - 1])
    }

    /// How many bytes from there on most likely hold all of them.
    fn wanted(&self) -> usize {
        let last = self.offsets[0].max(self.offsets[self.offsets.len() - 1]);
        ((last + RECORD_GUESS_BYTES).min(self.end) - self.first()) as usize
    }

    /// The frame at the offset, of which these bytes are the beginning.
    fn frame(&self, offset: u64, bytes: &[u8]) -> Result<Found, ReadError> {
        match self.parse(offset, bytes) {
            Ok(frame) => Ok(Found::Here(frame)),
            Err(Flaw::Bad(reason)) => Err(self.segment.read_damaged(offset, reason)),
            Err(Flaw::Short(needed)) if needed > bytes.len() => self.read_apart(offset, needed),
            Err(Flaw::Short(_)) => Err(self.segment.read_damaged(offset, "the frame is cut short")),
        }
    }

    fn parse(&self, offset: u64, bytes: &[u8]) -> Result<Frame, Flaw> {
        parse_frame(bytes, offset, self.segment.seed, self.end - offset)
    }

    /// Reads the frame at the offset with as many bytes as it needs, first of all those that say how many.
    fn read_apart(&self, offset: u64, needed: usize) -> Result<Found, ReadError> {
        let bytes = Bytes::from(self.segment.read(offset, needed)?);
        if bytes.len() < needed {
            return Err(self.segment.read_damaged(offset, "the file ends inside the frame"));
        }
        match self.parse(offset, &bytes) {
            Ok(frame) => Ok(Found::Apart(frame, bytes)),
            Err(Flaw::Bad(reason)) => Err(self.segment.read_damaged(offset, reason)),
            Err(Flaw::Short(more)) if more > needed => self.read_apart(offset, more),
            Err(Flaw::Short(_)) => Err(self.segment.read_damaged(offset, "the frame is cut short")),
        }
    }
}

fn parse_frame(bytes: &[u8], offset: u64, seed: u32, available: u64) -> Result<Frame, Flaw> {
    let frame = format::parse_frame(bytes, offset, seed, available);
    frame.or_else(|flaw| flaw.unless_planted(Fault::FramesUncheckedInReads, bytes))
}

/// What is left to read of a segment.
struct Span {
    segment: Arc<Segment>,
    at: u64,
    end: u64,
}

/// Whether a page of everything from here is soon read: the newest records, most likely still in memory.
pub(super) fn is_short(index: &Index, from: Position) -> bool {
    let Some(active) = &index.active else { return false };
    let near = |place: Place| match place.mark {
        Mark::At(at) => {
            place.segment.header.number == active.segment.header.number && place.end - at <= CHUNK_BYTES
        }
        Mark::File(_) => false,
    };
    from > index.durable.position || index.place(from).is_none_or(near)
}

/// Where to look for this position; `None` when it is not durable.
fn span(index: &RwLock<Index>, from: Position) -> Result<Option<Span>, IndexFault> {
    let place = {
        let index = index.read();
        if from > index.durable.position { None } else { index.place(from) }
    };
    let Some(Place { segment, end, mark }) = place else { return Ok(None) };
    let at = match mark {
        Mark::At(at) => at,
        Mark::File(file) => file.mark(segment.header.base, from)?,
    };
    Ok(Some(Span { segment, at, end }))
}

/// See [`crate::Journal::all_page`].
pub(super) fn all_page(
    index: &RwLock<Index>,
    from: Position,
    filter: &Filter,
    limit: usize,
) -> Result<AllPage, Unread> {
    let mut scan = Scan::new(from, filter, limit);
    let mut budget = SCAN_BYTES;
    while budget > 0 && scan.page.events.len() < limit {
        let Some(mut span) = span(index, scan.page.next)? else { break };
        let before = scan.page.next;
        while span.at < span.end && budget > 0 && scan.page.events.len() < limit {
            let read = scan.read_chunk(&mut span)?;
            // What lies in front of the place asked for counts for nothing, or large events there would end every page.
            if scan.page.next > from {
                budget = budget.saturating_sub(read);
            }
        }
        if span.at >= span.end && scan.page.next == before {
            return Err(span.segment.read_damaged(span.at, "a record is missing here").into());
        }
    }
    Ok(scan.page)
}

/// Reads frames into a page.
struct Scan<'a> {
    filter: &'a Filter,
    limit: usize,
    page: AllPage,
    streams: Streams,
    types: Types,
}

impl<'a> Scan<'a> {
    fn new(from: Position, filter: &'a Filter, limit: usize) -> Self {
        let page = AllPage { events: Vec::new(), next: from.max(Position(1)) };
        Self { filter, limit, page, streams: Streams::default(), types: Types::default() }
    }

    /// Reads the frames that lie whole in the next chunk, at least one; answers how many bytes they have.
    fn read_chunk(&mut self, span: &mut Span) -> Result<u64, ReadError> {
        let chunk = self.chunk(span, CHUNK_BYTES.min(span.end - span.at))?;
        let start = span.at;
        let mut at = 0;
        while at < chunk.len() && self.page.events.len() < self.limit {
            let available = span.end - span.at;
            match parse_frame(&chunk[at..], span.at, span.segment.seed, available) {
                Ok(frame) => {
                    self.take(span, &frame, (&chunk, at))?;
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
        match parse_frame(&chunk, span.at, span.segment.seed, available) {
            Err(Flaw::Short(needed)) => Ok(Bytes::from_owner(span.segment.read(span.at, needed)?)),
            _ => Ok(Bytes::from_owner(chunk)),
        }
    }

    /// Takes in what is in a frame, which is at `at` of the bytes.
    fn take(&mut self, span: &Span, frame: &Frame, (bytes, at): (&Bytes, usize)) -> Result<(), ReadError> {
        let body = at + frame.body.start..at + frame.body.end;
        match frame.kind {
            Kind::Record => self.take_record(span, (bytes, body)),
            Kind::Gap => self.take_gap(span, &bytes[body]),
            Kind::Commit | Kind::Seal | Kind::Retention => Ok(()),
        }
    }

    fn take_record(&mut self, span: &Span, (bytes, body): (&Bytes, Range<usize>)) -> Result<(), ReadError> {
        let damaged = |reason| span.damaged(reason);
        let record = Record::decode(&bytes[body.clone()], span.segment.base()).map_err(damaged)?;
        if record.position < self.page.next {
            return Ok(());
        }
        self.page.next = record.position.next();
        let stream = self.streams.of(&record).map_err(damaged)?;
        let type_name = self.types.of(&record).map_err(damaged)?;
        if self.filter.wants(stream.as_str(), &type_name, record.tags()) {
            make_room(&mut self.page.events, self.limit);
            self.page.events.push(record.to_event(stream, type_name, (bytes, body.start)));
        }
        Ok(())
    }

    /// Goes over records that were scavenged.
    fn take_gap(&mut self, span: &Span, body: &[u8]) -> Result<(), ReadError> {
        let gap = body.get(..Gap::BYTES).and_then(Gap::decode);
        let gap = gap.ok_or_else(|| span.damaged("the frame's body is no gap"))?;
        self.page.next = self.page.next.max(gap.first.plus(gap.count));
        Ok(())
    }
}

impl Span {
    fn damaged(&self, reason: &'static str) -> ReadError {
        self.segment.read_damaged(self.at, reason)
    }
}
