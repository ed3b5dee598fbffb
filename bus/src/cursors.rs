//! The cursors that stand in a journal: how far it is published, also for relays that do not run now.

use std::fmt;
use std::sync::Arc;

use annals_persistence::{DurableCursors, EventError, Journal, ReadError, ReaderPosition, StreamId};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::relay::last_position;

/// What the full names of the streams of cursors begin with.
const STREAM_NAMES: &str = "$cursor-";
/// How many streams are listed at a time.
const PAGE_STREAMS: usize = 256;

/// The cursors of relays that stand in a journal, for whoever scavenges it: nothing may go that one of them has still to
/// come to, whether its relay runs or not.
///
/// ```
/// use std::sync::Arc;
/// use annals_bus::JournalCursors;
/// use annals_persistence::{DurableCursors, Journal, MemoryJournal};
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
/// assert_eq!(JournalCursors::of(&journal).lowest().await?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct JournalCursors(Arc<dyn Journal>);

impl fmt::Debug for JournalCursors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JournalCursors")
    }
}

/// Why a cursor cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CursorError {
    /// The journal cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A record is none that this release knows.
    #[error("the last event of \"{stream}\" is no cursor of this release")]
    Record {
        /// The stream.
        stream: StreamId,
        /// What is wrong with it.
        #[source]
        source: EventError,
    },
}

impl CursorError {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Read(error) => error.code(),
            Self::Record { source, .. } => source.code(),
        }
    }
}

impl JournalCursors {
    /// Those in this journal.
    #[must_use]
    pub fn of(journal: &Arc<dyn Journal>) -> Self {
        Self(Arc::clone(journal))
    }

    /// All of them, by name.
    ///
    /// # Errors
    /// [`CursorError`] when one cannot be read.
    pub async fn all(&self) -> Result<Vec<ReaderPosition>, CursorError> {
        let (mut cursors, mut after) = (Vec::new(), None);
        loop {
            let page = self.0.streams_page(STREAM_NAMES, after.as_ref(), PAGE_STREAMS).await?;
            let Some(last) = page.last() else { return Ok(cursors) };
            after = Some(last.stream.clone());
            for info in page {
                let position = last_position(&self.0, &info.stream).await?;
                let name = info.stream.as_str().into();
                cursors.extend(position.map(|position| ReaderPosition { name, position }));
            }
        }
    }
}

impl DurableCursors for JournalCursors {
    fn lowest(
        &self,
    ) -> BoxFuture<'_, Result<Option<ReaderPosition>, Arc<dyn std::error::Error + Send + Sync>>> {
        async move {
            match self.all().await {
                Ok(cursors) => Ok(cursors.into_iter().min_by_key(|cursor| cursor.position)),
                Err(error) => Err(Arc::new(error) as Arc<dyn std::error::Error + Send + Sync>),
            }
        }
        .boxed()
    }
}
