//! A journal that counts what is read of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use annals_persistence::{
    AllPage, Batch, Completion, Direction, Durable, Filter, Journal, JournalHealth, JournalId, Position,
    ReadError, Readers, StreamId, StreamInfo, StreamPage, Version,
};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

/// Counts the events that are read from streams whose names begin with a prefix.
#[derive(Debug)]
pub struct Counted {
    inner: Arc<dyn Journal>,
    prefix: &'static str,
    read: AtomicUsize,
}

impl Counted {
    pub fn new(inner: Arc<dyn Journal>, prefix: &'static str) -> Self {
        Self { inner, prefix, read: AtomicUsize::new(0) }
    }

    /// How many were read since it was asked last.
    pub fn take(&self) -> usize {
        self.read.swap(0, Ordering::Relaxed)
    }
}

impl Journal for Counted {
    fn id(&self) -> JournalId {
        self.inner.id()
    }

    fn submit(&self, batch: Batch, done: Completion) {
        self.inner.submit(batch, done);
    }

    fn stream_page<'a>(
        &'a self,
        stream: &'a StreamId,
        from: Version,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'a, Result<StreamPage, ReadError>> {
        async move {
            let page = self.inner.stream_page(stream, from, direction, limit).await?;
            if stream.to_string().starts_with(self.prefix) {
                self.read.fetch_add(page.events.len(), Ordering::Relaxed);
            }
            Ok(page)
        }
        .boxed()
    }

    fn all_page<'a>(
        &'a self,
        from: Position,
        filter: &'a Filter,
        limit: usize,
    ) -> BoxFuture<'a, Result<AllPage, ReadError>> {
        self.inner.all_page(from, filter, limit)
    }

    fn stream_info<'a>(
        &'a self,
        stream: &'a StreamId,
    ) -> BoxFuture<'a, Result<Option<StreamInfo>, ReadError>> {
        self.inner.stream_info(stream)
    }

    fn streams_page<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a StreamId>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<StreamInfo>, ReadError>> {
        self.inner.streams_page(prefix, after, limit)
    }

    fn durable(&self) -> watch::Receiver<Durable> {
        self.inner.durable()
    }

    fn health(&self) -> JournalHealth {
        self.inner.health()
    }

    fn readers(&self) -> &Readers {
        self.inner.readers()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }
}
