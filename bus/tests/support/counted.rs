//! A journal that counts what is read of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use annals_persistence::{Direction, Journal, JournalLayer, ReadError, StreamId, StreamPage, Version};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

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

impl JournalLayer for Counted {
    fn inner(&self) -> &dyn Journal {
        &*self.inner
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
}
