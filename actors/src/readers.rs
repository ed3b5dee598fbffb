//! Who reads a journal's events beside its aggregates, and must not miss any that are given up.

use std::fmt;
use std::sync::{Arc, Weak};

use annals_persistence::{
    CURSOR_CATEGORY, Cursor, CursorError, Journal, Position, StreamId, Version, cursors,
};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use crate::error::with_sources;
use crate::{CheckpointError, Held, Marks};

/// Somebody who reads events: a relay, a subscription, a projection, a read model.
pub trait Reader: Send + Sync + 'static {
    /// What it is called, where somebody has to be told who needs events.
    fn name(&self) -> String;

    /// How far it has come: it needs the stream's events behind this position, and none up to it, whatever happens to it
    /// from now on. `None` when it needs none of the stream.
    ///
    /// # Errors
    /// Why that cannot be said. Nothing goes then.
    fn needs_behind<'a>(&'a self, stream: &'a StreamId) -> BoxFuture<'a, Result<Option<Position>, String>>;

    /// Whether it knows what was published of the journal's events, and says so as [`Reader::marks`].
    fn knows_published(&self) -> bool {
        false
    }

    /// What it wants to have remembered of the stream's events below a version, which are about to go. Names are shared by
    /// all readers.
    ///
    /// # Errors
    /// Why that cannot be said. Nothing goes then.
    fn marks<'a>(&'a self, _stream: &'a StreamId, _below: Version) -> BoxFuture<'a, Result<Marks, String>> {
        std::future::ready(Ok(Marks::new())).boxed()
    }
}

/// The readers of a node's journal that run. Cloning is cheap; all clones are the same.
///
/// Those that do not run at the moment are known by the cursors that they have written down in the journal.
#[derive(Clone, Default)]
pub struct Readers(Arc<Mutex<Vec<Weak<dyn Reader>>>>);

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.running().iter().map(|reader| reader.name())).finish()
    }
}

impl Readers {
    /// Asks this one too before events are given up, for as long as somebody else holds it.
    pub fn add(&self, reader: &Arc<dyn Reader>) {
        let mut readers = self.0.lock();
        readers.retain(|reader| reader.strong_count() > 0);
        readers.push(Arc::downgrade(reader));
    }

    fn running(&self) -> Vec<Arc<dyn Reader>> {
        self.0.lock().iter().filter_map(Weak::upgrade).collect()
    }

    /// Who needs the most of a stream, if anybody needs any of it.
    pub(crate) async fn lowest(
        &self,
        journal: &Arc<dyn Journal>,
        stream: &StreamId,
    ) -> Result<Option<Held>, CheckpointError> {
        let running = self.running();
        let knows_published = running.iter().any(|reader| reader.knows_published());
        let mut all = Vec::new();
        for reader in &running {
            let position = reader.needs_behind(stream).await.map_err(|reason| unclear(reader, reason))?;
            all.extend(position.map(|position| Held { by: reader.name(), position }));
        }
        // Written down by the running ones just now, and by those that will go on from there.
        for Cursor { stream, position } in cursors(journal).await.map_err(unreadable)? {
            // Where nobody knows what was published, nobody can have it remembered.
            let position = if knows_published { position } else { Position::START };
            all.push(Held { by: stream.to_string(), position });
        }
        Ok(all.into_iter().min_by_key(|held| held.position))
    }

    pub(crate) async fn marks(&self, stream: &StreamId, below: Version) -> Result<Marks, CheckpointError> {
        let mut all = Marks::new();
        for reader in self.running() {
            let marks = reader.marks(stream, below).await.map_err(|reason| unclear(&reader, reason))?;
            all.extend(marks);
        }
        Ok(all)
    }
}

fn unreadable(error: CursorError) -> CheckpointError {
    match error {
        CursorError::Read(error) => error.into(),
        CursorError::Record { stream, source } => {
            CheckpointError::ReaderUnclear { reader: stream.to_string(), reason: with_sources(&source) }
        }
        other => {
            CheckpointError::ReaderUnclear { reader: CURSOR_CATEGORY.into(), reason: with_sources(&other) }
        }
    }
}

fn unclear(reader: &Arc<dyn Reader>, reason: String) -> CheckpointError {
    CheckpointError::ReaderUnclear { reader: reader.name(), reason }
}
