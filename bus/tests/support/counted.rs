//! A journal that counts what is read of it, and may have damage.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use annals_persistence::{
    Direction, Journal, JournalLayer, ReadError, RecordedEvent, StreamId, StreamPage, Version,
};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;

/// Counts the events that are read from streams whose names begin with a prefix.
#[derive(Debug)]
pub struct Counted {
    inner: Arc<dyn Journal>,
    prefix: &'static str,
    read: AtomicUsize,
    damaged: Mutex<Vec<(StreamId, Version)>>,
}

impl Counted {
    pub fn new(inner: Arc<dyn Journal>, prefix: &'static str) -> Self {
        Self { inner, prefix, read: AtomicUsize::new(0), damaged: Mutex::default() }
    }

    /// From now on no page can be read that has this event in it.
    pub fn damage(&self, stream: &str, version: u64) {
        self.damaged.lock().push((StreamId::parse(stream).unwrap(), Version(version)));
    }

    /// All can be read again.
    pub fn heal(&self) {
        self.damaged.lock().clear();
    }

    fn check(&self, page: &StreamPage) -> Result<(), ReadError> {
        let damaged = self.damaged.lock();
        let is_damaged = |event: &RecordedEvent| damaged.contains(&(event.stream.clone(), event.version));
        match page.events.iter().find(|event| is_damaged(event)) {
            None => Ok(()),
            Some(event) => Err(ReadError::Damaged {
                file: "log".into(),
                offset: event.position.0,
                reason: "its checksum is wrong".into(),
            }),
        }
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
            self.check(&page)?;
            if stream.to_string().starts_with(self.prefix) {
                self.read.fetch_add(page.events.len(), Ordering::Relaxed);
            }
            Ok(page)
        }
        .boxed()
    }
}
