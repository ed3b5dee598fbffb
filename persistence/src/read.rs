//! Reading and appending by the friendlier calls: streams of events made from an engine's pages.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::journal::ticket;
use crate::{
    AllPage, Batch, Direction, Durable, Filter, Journal, Position, ReadError, RecordedEvent, StreamId,
    Ticket, Version, ViewPage,
};

/// How many events are read at a time: few first, since many who read want few, then more and more.
const PAGE_EVENTS: std::ops::RangeInclusive<usize> = 128..=2048;

/// How large the next page is.
struct PageSize(usize);

impl PageSize {
    const fn first() -> Self {
        Self(*PAGE_EVENTS.start())
    }

    fn next(&mut self) -> usize {
        let size = self.0;
        self.0 = (4 * size).min(*PAGE_EVENTS.end());
        size
    }

    /// Whether so much was read already that more will be.
    const fn has_grown(&self) -> bool {
        self.0 == *PAGE_EVENTS.end()
    }
}

/// A stream of events, in order, ending at the first error.
pub type EventStream = BoxStream<'static, Result<RecordedEvent, ReadError>>;

/// A stream of pages of a stream's events, in order, ending at the first error. A page may be empty.
pub type ViewStream = BoxStream<'static, Result<ViewPage, ReadError>>;

/// The calls that a journal's users make.
pub trait JournalExt {
    /// Appends a batch: at once a ticket, later the outcome.
    fn append(&self, batch: Batch) -> Ticket;

    /// The durable events of a stream from a version on, this version included.
    fn read_stream(&self, stream: &StreamId, from: Version, direction: Direction) -> EventStream;

    /// As [`JournalExt::read_stream`] forward, by the page and as far as a replay needs the events: while a page is used,
    /// the next is read.
    fn view_stream(&self, stream: &StreamId, from: Version) -> ViewStream;

    /// The durable events of all streams from a position on, this position included, to the end as it is when
    /// reading begins.
    fn read_all(&self, from: Position, filter: Filter) -> EventStream;

    /// As [`JournalExt::read_all`], then every later event as it becomes durable: no gap, no duplicate, and no
    /// faster than it is read. What is scavenged before it is read is passed over. It never ends of itself.
    fn subscribe(&self, from: Position, filter: Filter) -> EventStream;
}

impl JournalExt for Arc<dyn Journal> {
    fn append(&self, batch: Batch) -> Ticket {
        let (completion, ticket) = ticket();
        self.submit(batch, completion);
        ticket
    }

    fn read_stream(&self, stream: &StreamId, from: Version, direction: Direction) -> EventStream {
        Events::stream(StreamReader::new(self, stream, from, direction))
    }

    fn view_stream(&self, stream: &StreamId, from: Version) -> ViewStream {
        Pages::of(Viewer(StreamReader::new(self, stream, from, Direction::Forward))).boxed()
    }

    fn read_all(&self, from: Position, filter: Filter) -> EventStream {
        let end = self.durable().borrow().position;
        Events::stream(AllReader::new(self, from, filter, Some(end)))
    }

    fn subscribe(&self, from: Position, filter: Filter) -> EventStream {
        Events::stream(AllReader::new(self, from, filter, None))
    }
}

/// Something that yields pages until the end.
trait Reader: Send + 'static {
    type Page: Send + Unpin + 'static;

    /// The next page, `None` at the end. It may be empty.
    fn next_page(&mut self) -> impl Future<Output = Result<Option<Self::Page>, ReadError>> + Send;

    /// Whether there is another page already, so that it is worth being read while this one is used.
    fn has_more(&self) -> bool;
}

/// A page that is being read, and its reader back.
type Reading<R> = BoxFuture<'static, (R, Result<Option<<R as Reader>::Page>, ReadError>)>;
type Page = Vec<RecordedEvent>;

/// The pages of a reader, ending at the end or after the first error. The next page is begun to be read as soon as there
/// is one.
struct Pages<R: Reader> {
    reading: Option<Reading<R>>,
    /// Between two pages, when there is no other yet.
    idle: Option<R>,
}

impl<R: Reader + Unpin> Pages<R> {
    const fn of(reader: R) -> Self {
        Self { reading: None, idle: Some(reader) }
    }

    /// Begins with the next page, if nobody does.
    fn begin(&mut self) {
        if let Some(mut reader) = self.idle.take() {
            self.reading = Some(Box::pin(async move {
                let page = reader.next_page().await;
                (reader, page)
            }));
        }
    }

    /// A page is there: its reader goes on with the next, if there is one already.
    fn go_on(&mut self, cx: &mut Context<'_>, reader: R) {
        let has_more = reader.has_more();
        self.idle = Some(reader);
        if has_more {
            self.begin();
            self.poll_ahead(cx);
        }
    }

    /// Gets the reading under way; what comes of it is looked at when it is needed.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) {
        let Some(reading) = &mut self.reading else { return };
        if let Poll::Ready((reader, page)) = reading.as_mut().poll(cx) {
            self.reading = Some(Box::pin(std::future::ready((reader, page))));
        }
    }
}

impl<R: Reader + Unpin> Stream for Pages<R> {
    type Item = Result<R::Page, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.begin();
        let Some(reading) = &mut self.reading else { return Poll::Ready(None) };
        let (reader, page) = ready!(reading.as_mut().poll(cx));
        self.reading = None;
        if let Ok(Some(_)) = page {
            self.go_on(cx, reader);
        }
        Poll::Ready(page.transpose())
    }
}

/// The events of pages, one by one.
struct Events<R: Reader> {
    page: std::vec::IntoIter<RecordedEvent>,
    pages: Pages<R>,
}

impl<R: Reader<Page = Page> + Unpin> Events<R> {
    fn stream(reader: R) -> EventStream {
        Self { page: Vec::new().into_iter(), pages: Pages::of(reader) }.boxed()
    }
}

impl<R: Reader<Page = Page> + Unpin> Stream for Events<R> {
    type Item = Result<RecordedEvent, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(event) = self.page.next() {
                return Poll::Ready(Some(Ok(event)));
            }
            match ready!(self.pages.poll_next_unpin(cx)).transpose()? {
                Some(page) => self.page = page.into_iter(),
                None => return Poll::Ready(None),
            }
        }
    }
}

struct StreamReader {
    journal: Arc<dyn Journal>,
    stream: StreamId,
    /// `None` once the last page was read.
    next: Option<Version>,
    direction: Direction,
    size: PageSize,
}

impl StreamReader {
    fn new(journal: &Arc<dyn Journal>, stream: &StreamId, from: Version, direction: Direction) -> Self {
        Self {
            journal: Arc::clone(journal),
            stream: stream.clone(),
            next: Some(from),
            direction,
            size: PageSize::first(),
        }
    }
}

impl StreamReader {
    fn has_more(&self) -> bool {
        self.next.is_some() && self.size.has_grown()
    }
}

impl Reader for StreamReader {
    type Page = Page;

    async fn next_page(&mut self) -> Result<Option<Page>, ReadError> {
        let Some(from) = self.next else { return Ok(None) };
        let limit = self.size.next();
        let page = self.journal.stream_page(&self.stream, from, self.direction, limit).await?;
        self.next = page.next;
        Ok(Some(page.events))
    }

    fn has_more(&self) -> bool {
        self.has_more()
    }
}

/// Reads a stream as far as a replay needs it.
struct Viewer(StreamReader);

impl Reader for Viewer {
    type Page = ViewPage;

    async fn next_page(&mut self) -> Result<Option<ViewPage>, ReadError> {
        let reader = &mut self.0;
        let Some(from) = reader.next else { return Ok(None) };
        let limit = reader.size.next();
        let page = reader.journal.view_page(&reader.stream, from, limit).await?;
        reader.next = page.next;
        Ok(Some(page))
    }

    /// A replay goes on to the end, however little was read already.
    fn has_more(&self) -> bool {
        self.0.next.is_some()
    }
}

struct AllReader {
    journal: Arc<dyn Journal>,
    durable: watch::Receiver<Durable>,
    filter: Filter,
    next: Position,
    /// Where to end; `None` goes on for ever.
    end: Option<Position>,
    size: PageSize,
}

impl Reader for AllReader {
    type Page = Page;

    async fn next_page(&mut self) -> Result<Option<Page>, ReadError> {
        loop {
            let durable = *self.durable.borrow_and_update();
            if self.next <= self.end.unwrap_or_else(|| self.wanted_end(durable)) {
                return self.read_page().await.map(Some);
            }
            if self.end.is_some() {
                return Ok(None);
            }
            if self.durable.changed().await.is_err() {
                return Err(ReadError::Closed);
            }
        }
    }

    fn has_more(&self) -> bool {
        let durable = *self.durable.borrow();
        self.size.has_grown() && self.next <= self.end.unwrap_or_else(|| self.wanted_end(durable))
    }
}

impl AllReader {
    fn new(journal: &Arc<dyn Journal>, from: Position, filter: Filter, end: Option<Position>) -> Self {
        Self {
            journal: Arc::clone(journal),
            durable: journal.durable(),
            filter,
            next: from.max(Position(1)),
            end,
            size: PageSize::first(),
        }
    }

    /// What an append must move before it is worth reading on.
    fn wanted_end(&self, durable: Durable) -> Position {
        if self.filter.wants_internal() { durable.position } else { durable.external }
    }

    async fn read_page(&mut self) -> Result<Page, ReadError> {
        let limit = self.size.next();
        let AllPage { mut events, next } = self.journal.all_page(self.next, &self.filter, limit).await?;
        self.next = next;
        if let Some(end) = self.end {
            events.truncate(events.partition_point(|event| event.position <= end));
        }
        Ok(events)
    }
}

#[cfg(test)]
mod tests;
