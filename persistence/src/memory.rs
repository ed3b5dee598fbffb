//! A journal in memory: for tests, with switches for everything that can go wrong with a real one.

use std::fmt;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{
    AllPage, AppendError, AppendResult, Batch, Completion, Direction, Durable, Filter, Journal,
    JournalHealth, JournalId, Position, ReadError, Readers, StreamId, StreamInfo, StreamPage, Version,
};

mod log;

use log::Log;

/// A journal in memory. Everything is durable at once, and forgotten with it.
///
/// Appends are answered on the caller's thread, in the order in which they were decided, and while no lock is held,
/// so an answer may append again. For tests it can hold answers back ([`MemoryJournal::hold`]), fail
/// ([`MemoryJournal::fail_append`], [`MemoryJournal::lose_answer`], [`MemoryJournal::poison`]) and restart
/// ([`MemoryJournal::reopened`]).
pub struct MemoryJournal {
    id: JournalId,
    log: Mutex<Log>,
    durable: watch::Receiver<Durable>,
    readers: Readers,
}

impl MemoryJournal {
    /// A journal without events.
    #[must_use]
    pub fn new() -> Self {
        Self::with(JournalId::generate(), Log::new(Vec::new()))
    }

    fn with(id: JournalId, log: Log) -> Self {
        let durable = log.watch();
        Self { id, log: Mutex::new(log), durable, readers: Readers::default() }
    }

    /// What opening this journal anew after a crash finds: the same history as far as it is durable, healthy, with
    /// no switch set. This one stays as it is.
    #[must_use]
    pub fn reopened(&self) -> Self {
        Self::with(self.id, self.log.lock().reopened())
    }

    /// From now on appends are decided but not answered, and what they append is not durable, so that no read
    /// delivers it: a disk that takes its time.
    pub fn hold(&self) {
        self.log.lock().hold();
    }

    /// Makes durable and answers the oldest `count` of the appends held back, and goes on holding.
    pub fn release_next(&self, count: usize) {
        self.log.lock().release(count);
        self.answer();
    }

    /// Makes durable and answers everything held back, and ends the holding.
    pub fn release(&self) {
        self.log.lock().release_all();
        self.answer();
    }

    /// How many appends are held back.
    #[must_use]
    pub fn held(&self) -> usize {
        self.log.lock().held()
    }

    /// Fails the `nth` append from now (1 is the next) with this error; nothing of it is appended.
    pub fn fail_append(&self, nth: usize, error: AppendError) {
        self.log.lock().fail(nth, log::Fault::Refuse(error));
    }

    /// Takes the `nth` append from now (1 is the next) and answers that its outcome is unknown.
    pub fn lose_answer(&self, nth: usize) {
        self.log.lock().fail(nth, log::Fault::LoseAnswer);
    }

    /// As if a write had failed: what is held back and every later append gets "outcome unknown", and reads go on
    /// serving what is durable.
    pub fn poison(&self, reason: impl Into<String>) {
        self.log.lock().poison(reason.into());
        self.answer();
    }

    /// Gives the answers that are due, oldest first, with the lock released. Only one thread at a time does it (an
    /// answer that appends again only queues), so answers keep their order and never nest.
    fn answer(&self) {
        while let Some((done, result)) = self.begin_answer() {
            let _answering = Answering(&self.log);
            done.complete(result);
        }
    }

    /// A function of its own so that the lock is released before the answer is given.
    fn begin_answer(&self) -> Option<(Completion, AppendResult)> {
        self.log.lock().begin_answer()
    }

    fn read<T>(&self, read: impl FnOnce(&Log) -> T) -> Result<T, ReadError> {
        let log = self.log.lock();
        if log.is_closed() { Err(ReadError::Closed) } else { Ok(read(&log)) }
    }
}

/// An answer being given; ended by dropping, so that an answer that panics does not silence the later ones.
struct Answering<'a>(&'a Mutex<Log>);

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        self.0.lock().end_answer();
    }
}

impl Default for MemoryJournal {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let durable = *self.durable.borrow();
        f.debug_struct("MemoryJournal")
            .field("id", &self.id)
            .field("durable", &durable)
            .finish_non_exhaustive()
    }
}

impl Journal for MemoryJournal {
    fn id(&self) -> JournalId {
        self.id
    }

    fn submit(&self, batch: Batch, done: Completion) {
        self.log.lock().submit(&batch, done);
        self.answer();
    }

    fn stream_page<'a>(
        &'a self,
        stream: &'a StreamId,
        from: Version,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'a, Result<StreamPage, ReadError>> {
        ready(self.read(|log| log.stream_page(stream, from, direction, limit))).boxed()
    }

    fn all_page<'a>(
        &'a self,
        from: Position,
        filter: &'a Filter,
        limit: usize,
    ) -> BoxFuture<'a, Result<AllPage, ReadError>> {
        ready(self.read(|log| log.all_page(from, filter, limit))).boxed()
    }

    fn stream_info<'a>(
        &'a self,
        stream: &'a StreamId,
    ) -> BoxFuture<'a, Result<Option<StreamInfo>, ReadError>> {
        ready(self.read(|log| log.stream_info(stream))).boxed()
    }

    fn streams_page<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a StreamId>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<StreamInfo>, ReadError>> {
        ready(self.read(|log| log.streams_page(prefix, after, limit))).boxed()
    }

    fn durable(&self) -> watch::Receiver<Durable> {
        self.durable.clone()
    }

    fn health(&self) -> JournalHealth {
        self.log.lock().health()
    }

    fn readers(&self) -> &Readers {
        &self.readers
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.log.lock().close();
        self.answer();
        ready(()).boxed()
    }
}

impl From<MemoryJournal> for Arc<dyn Journal> {
    fn from(journal: MemoryJournal) -> Self {
        Arc::new(journal)
    }
}

#[cfg(test)]
mod tests;
