//! A journal in front of another.

use std::fmt;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::{
    AllPage, Batch, Completion, Direction, Durable, Filter, Journal, JournalHealth, JournalId, Position,
    ReadError, Readers, StreamId, StreamInfo, StreamPage, Version,
};

/// A journal in front of another: it does itself what it is there for, as counting, or failing where a test wants it, and hands
/// on everything else. Whatever implements it is a [`Journal`].
///
/// A page for a replay ([`Journal::view_page`]) is made of [`JournalLayer::stream_page`], so that nothing is read past the layer.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// use annals_persistence::{Batch, Completion, Journal, JournalLayer, MemoryJournal};
///
/// /// Counts the events that are handed over.
/// #[derive(Debug)]
/// struct Counting {
///     inner: MemoryJournal,
///     events: AtomicUsize,
/// }
///
/// impl JournalLayer for Counting {
///     fn inner(&self) -> &dyn Journal {
///         &self.inner
///     }
///
///     fn submit(&self, batch: Batch, done: Completion) {
///         let events = batch.streams.iter().map(|stream| stream.events.len()).sum();
///         self.events.fetch_add(events, Ordering::Relaxed);
///         self.inner.submit(batch, done);
///     }
/// }
///
/// let counting = Counting { inner: MemoryJournal::new(), events: AtomicUsize::new(0) };
/// let journal: Arc<dyn Journal> = Arc::new(counting);
/// ```
pub trait JournalLayer: fmt::Debug + Send + Sync + 'static {
    /// The journal behind it.
    fn inner(&self) -> &dyn Journal;

    /// See [`Journal::submit`].
    fn submit(&self, batch: Batch, done: Completion) {
        self.inner().submit(batch, done);
    }

    /// See [`Journal::stream_page`].
    fn stream_page<'a>(
        &'a self,
        stream: &'a StreamId,
        from: Version,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'a, Result<StreamPage, ReadError>> {
        self.inner().stream_page(stream, from, direction, limit)
    }

    /// See [`Journal::all_page`].
    fn all_page<'a>(
        &'a self,
        from: Position,
        filter: &'a Filter,
        limit: usize,
    ) -> BoxFuture<'a, Result<AllPage, ReadError>> {
        self.inner().all_page(from, filter, limit)
    }

    /// See [`Journal::stream_info`].
    fn stream_info<'a>(
        &'a self,
        stream: &'a StreamId,
    ) -> BoxFuture<'a, Result<Option<StreamInfo>, ReadError>> {
        self.inner().stream_info(stream)
    }
}

impl<L: JournalLayer> Journal for L {
    fn id(&self) -> JournalId {
        self.inner().id()
    }

    fn submit(&self, batch: Batch, done: Completion) {
        JournalLayer::submit(self, batch, done);
    }

    fn stream_page<'a>(
        &'a self,
        stream: &'a StreamId,
        from: Version,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'a, Result<StreamPage, ReadError>> {
        JournalLayer::stream_page(self, stream, from, direction, limit)
    }

    fn all_page<'a>(
        &'a self,
        from: Position,
        filter: &'a Filter,
        limit: usize,
    ) -> BoxFuture<'a, Result<AllPage, ReadError>> {
        JournalLayer::all_page(self, from, filter, limit)
    }

    fn stream_info<'a>(
        &'a self,
        stream: &'a StreamId,
    ) -> BoxFuture<'a, Result<Option<StreamInfo>, ReadError>> {
        JournalLayer::stream_info(self, stream)
    }

    fn streams_page<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a StreamId>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<StreamInfo>, ReadError>> {
        self.inner().streams_page(prefix, after, limit)
    }

    fn durable(&self) -> watch::Receiver<Durable> {
        self.inner().durable()
    }

    fn health(&self) -> JournalHealth {
        self.inner().health()
    }

    fn readers(&self) -> &Readers {
        self.inner().readers()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner().close()
    }
}
