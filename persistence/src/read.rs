//! Reading and appending by the friendlier calls: streams of events made from an engine's pages.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use tokio::sync::watch;

use crate::journal::ticket;
use crate::{
    AllPage, Batch, Direction, Durable, Filter, Journal, Position, ReadError, RecordedEvent, StreamId,
    Ticket, Version,
};

/// How many events are read at a time.
const PAGE_EVENTS: usize = 256;

/// A stream of events, in order, ending at the first error.
pub type EventStream = BoxStream<'static, Result<RecordedEvent, ReadError>>;

/// The calls that a journal's users make.
pub trait JournalExt {
    /// Appends a batch: at once a ticket, later the outcome.
    fn append(&self, batch: Batch) -> Ticket;

    /// The durable events of a stream from a version on, this version included.
    fn read_stream(&self, stream: &StreamId, from: Version, direction: Direction) -> EventStream;

    /// The durable events of all streams from a position on, this position included, to the end as it is when
    /// reading begins.
    fn read_all(&self, from: Position, filter: Filter) -> EventStream;

    /// As [`JournalExt::read_all`], then every later event as it becomes durable: no gap, no duplicate, and no
    /// faster than it is read. It never ends of itself.
    fn subscribe(&self, from: Position, filter: Filter) -> EventStream;
}

impl JournalExt for Arc<dyn Journal> {
    fn append(&self, batch: Batch) -> Ticket {
        let (completion, ticket) = ticket();
        self.submit(batch, completion);
        ticket
    }

    fn read_stream(&self, stream: &StreamId, from: Version, direction: Direction) -> EventStream {
        let reader = StreamReader {
            journal: Arc::clone(self),
            stream: stream.clone(),
            next: Some(from),
            direction,
            page: VecDeque::new(),
        };
        unfold(reader)
    }

    fn read_all(&self, from: Position, filter: Filter) -> EventStream {
        let end = self.durable().borrow().position;
        unfold(AllReader::new(self, from, filter, Some(end)))
    }

    fn subscribe(&self, from: Position, filter: Filter) -> EventStream {
        unfold(AllReader::new(self, from, filter, None))
    }
}

/// Something that yields events until the end.
trait Reader: Send + 'static {
    fn next(&mut self) -> impl Future<Output = Result<Option<RecordedEvent>, ReadError>> + Send;
}

/// Turns a reader into a stream that ends at the end or after the first error.
fn unfold(reader: impl Reader) -> EventStream {
    futures_util::stream::unfold(Some(reader), |reader| async {
        let mut reader = reader?;
        match reader.next().await {
            Ok(Some(event)) => Some((Ok(event), Some(reader))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}

struct StreamReader {
    journal: Arc<dyn Journal>,
    stream: StreamId,
    /// `None` once the last page was read.
    next: Option<Version>,
    direction: Direction,
    page: VecDeque<RecordedEvent>,
}

impl Reader for StreamReader {
    async fn next(&mut self) -> Result<Option<RecordedEvent>, ReadError> {
        if self.page.is_empty() {
            let Some(from) = self.next else { return Ok(None) };
            let page = self.journal.stream_page(&self.stream, from, self.direction, PAGE_EVENTS).await?;
            (self.page, self.next) = (page.events.into(), page.next);
        }
        Ok(self.page.pop_front())
    }
}

struct AllReader {
    journal: Arc<dyn Journal>,
    durable: watch::Receiver<Durable>,
    filter: Filter,
    next: Position,
    /// Where to end; `None` goes on for ever.
    end: Option<Position>,
    page: VecDeque<RecordedEvent>,
}

impl Reader for AllReader {
    async fn next(&mut self) -> Result<Option<RecordedEvent>, ReadError> {
        while self.page.is_empty() {
            let durable = *self.durable.borrow_and_update();
            if self.next <= self.end.unwrap_or_else(|| self.wanted_end(durable)) {
                self.read_page().await?;
            } else if self.end.is_some() {
                return Ok(None);
            } else if self.durable.changed().await.is_err() {
                return Err(ReadError::Closed);
            }
        }
        Ok(self.page.pop_front().filter(|event| self.end.is_none_or(|end| event.position <= end)))
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
            page: VecDeque::new(),
        }
    }

    /// What an append must move before it is worth reading on.
    fn wanted_end(&self, durable: Durable) -> Position {
        if self.filter.wants_internal() { durable.position } else { durable.external }
    }

    async fn read_page(&mut self) -> Result<(), ReadError> {
        let AllPage { events, next } = self.journal.all_page(self.next, &self.filter, PAGE_EVENTS).await?;
        self.next = next;
        self.page = events.into();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
