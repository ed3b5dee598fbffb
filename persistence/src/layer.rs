//! A journal in front of another.

use std::fmt;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::{
    AllPage, Batch, Completion, Direction, Durable, Filter, Journal, JournalHealth, JournalId, Position,
    ReadError, Readers, StreamId, StreamInfo, StreamPage, Version, ViewPage,
};

/// A journal in front of another: it does itself what it is there for, as counting, or failing where a test wants it, and hands
/// on everything else. Whatever implements it is a [`Journal`].
///
/// A page for a replay ([`JournalLayer::view_page`]) is made of [`JournalLayer::stream_page`], so that nothing is read past the
/// layer. Its id and its readers are always those of the journal behind it.
///
/// Its methods have the names of the journal's: where both traits are in scope, they are called on the `dyn Journal` that it is
/// used as, or with the trait's name (`Journal::health(&layer)`).
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

    /// See [`Journal::view_page`]. Made of [`JournalLayer::stream_page`]; a layer that does nothing to pages may hand it on.
    fn view_page<'a>(
        &'a self,
        stream: &'a StreamId,
        from: Version,
        limit: usize,
    ) -> BoxFuture<'a, Result<ViewPage, ReadError>> {
        let page = JournalLayer::stream_page(self, stream, from, Direction::Forward, limit);
        Box::pin(async move { page.await.map(ViewPage::from) })
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

    /// See [`Journal::streams_page`].
    fn streams_page<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a StreamId>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<StreamInfo>, ReadError>> {
        self.inner().streams_page(prefix, after, limit)
    }

    /// See [`Journal::durable`].
    fn durable(&self) -> watch::Receiver<Durable> {
        self.inner().durable()
    }

    /// See [`Journal::health`].
    fn health(&self) -> JournalHealth {
        self.inner().health()
    }

    /// See [`Journal::close`].
    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner().close()
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

    fn view_page<'a>(
        &'a self,
        stream: &'a StreamId,
        from: Version,
        limit: usize,
    ) -> BoxFuture<'a, Result<ViewPage, ReadError>> {
        JournalLayer::view_page(self, stream, from, limit)
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
        JournalLayer::streams_page(self, prefix, after, limit)
    }

    fn durable(&self) -> watch::Receiver<Durable> {
        JournalLayer::durable(self)
    }

    fn health(&self) -> JournalHealth {
        JournalLayer::health(self)
    }

    fn readers(&self) -> &Readers {
        self.inner().readers()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        JournalLayer::close(self)
    }
}
