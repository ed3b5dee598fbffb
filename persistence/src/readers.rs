//! Who reads a journal in its order, and how far each has come for good: the one place that knows what may go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::Position;

/// Who reads a journal in its order. Whoever would read it again from an earlier position when it is started anew, and
/// must find there what it found before, registers here and says how far it has come for good: a relay as far as its
/// cursor is durable; a read model that is rebuilt at every start, nowhere. Cloning is cheap; all clones are the same.
///
/// ```
/// use annals_persistence::{Journal, MemoryJournal, Position};
///
/// let journal = MemoryJournal::new();
/// let place = journal.readers().register("relay", false, Position::START);
/// place.moved_to(Position(7));
/// assert_eq!(journal.readers().lowest().map(|lowest| lowest.position), Some(Position(7)));
/// drop(place);
/// assert_eq!(journal.readers().lowest(), None);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Readers(Arc<Mutex<Registered>>);

#[derive(Debug, Default)]
struct Registered {
    last: u64,
    readers: BTreeMap<u64, Reader>,
}

#[derive(Debug)]
struct Reader {
    name: Arc<str>,
    wants_internal: bool,
    position: Arc<AtomicU64>,
}

/// A reader, and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReaderPosition {
    /// What it is called.
    pub name: Arc<str>,
    /// Everything up to this position is done with for good.
    pub position: Position,
}

/// A reader's place in the register. Dropping it gives the place up.
#[derive(Debug)]
pub struct ReaderPlace {
    readers: Readers,
    number: u64,
    position: Arc<AtomicU64>,
}

impl Readers {
    /// Registers a reader that is done for good with everything up to a position; `wants_internal` where it reads the
    /// runtime's own streams too.
    pub fn register(
        &self,
        name: impl Into<Arc<str>>,
        wants_internal: bool,
        position: Position,
    ) -> ReaderPlace {
        let position = Arc::new(AtomicU64::new(position.0));
        let reader = Reader { name: name.into(), wants_internal, position: Arc::clone(&position) };
        let mut registered = self.0.lock();
        registered.last += 1;
        let number = registered.last;
        registered.readers.insert(number, reader);
        ReaderPlace { readers: self.clone(), number, position }
    }

    /// The reader that has come least far; `None` where there is none.
    #[must_use]
    pub fn lowest(&self) -> Option<ReaderPosition> {
        self.lowest_of(|_| true)
    }

    /// The same of those that read the runtime's own streams too.
    #[must_use]
    pub fn lowest_of_internal(&self) -> Option<ReaderPosition> {
        self.lowest_of(|reader| reader.wants_internal)
    }

    fn lowest_of(&self, counts: impl Fn(&Reader) -> bool) -> Option<ReaderPosition> {
        let registered = self.0.lock();
        let positions = registered.readers.values().filter(|reader| counts(reader)).map(|reader| {
            let position = Position(reader.position.load(Ordering::Acquire));
            ReaderPosition { name: Arc::clone(&reader.name), position }
        });
        positions.min_by_key(|reader| reader.position)
    }
}

impl ReaderPlace {
    /// Everything up to here is done with for good.
    pub fn moved_to(&self, position: Position) {
        self.position.store(position.0, Ordering::Release);
    }
}

impl Drop for ReaderPlace {
    fn drop(&mut self) {
        self.readers.0.lock().readers.remove(&self.number);
    }
}

#[cfg(test)]
mod tests;
