//! Data directories: NAME/journal and NAME/snapshots for each service.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals_persistence::{
    EmbeddedJournal, EmbeddedOptions, Journal, OpenError, SledSnapshots, SnapshotOpenError, SnapshotOptions,
    SnapshotStore,
};
use tempfile::TempDir;

use crate::read_only::ReadOnlyVfs;

/// Why a service's data could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The journal could not be opened.
    #[error(transparent)]
    Journal(#[from] OpenError),
    /// The snapshots could not be opened.
    #[error(transparent)]
    Snapshots(#[from] SnapshotOpenError),
    /// No temporary directory could be made.
    #[error("cannot make a temporary directory")]
    Temporary(#[source] std::io::Error),
    /// The directory has no data of any service of this program.
    #[error("\"{}\" has no data of {wanted}; name the directory that `--data` named when it ran", path.display())]
    NoService {
        /// The directory.
        path: PathBuf,
        /// What was looked for.
        wanted: String,
    },
    /// A thread ended early.
    #[error("opening the data was interrupted")]
    Interrupted,
}

impl DataError {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Journal(error) => error.code(),
            Self::Snapshots(error) => error.code(),
            Self::Temporary(_) => "no_temporary_directory",
            Self::NoService { .. } => "no_data",
            Self::Interrupted => "internal_error",
        }
    }

    /// Whether the data itself is the trouble: in use, damaged, or of another format.
    #[must_use]
    pub const fn is_about_data(&self) -> bool {
        matches!(
            self,
            Self::Journal(OpenError::InUse { .. } | OpenError::Format { .. } | OpenError::Damaged { .. })
                | Self::Snapshots(SnapshotOpenError::InUse { .. })
        )
    }
}

/// Where the data of all services is.
#[derive(Debug)]
pub(crate) enum DataDir {
    /// To be kept.
    Kept(PathBuf),
    /// Removed when this is dropped.
    Temporary(TempDir),
}

impl DataDir {
    pub(crate) fn new(path: Option<PathBuf>) -> Result<Self, DataError> {
        match path {
            // A path that means the same wherever it is printed.
            Some(path) => Ok(Self::Kept(std::path::absolute(&path).unwrap_or(path))),
            None => tempfile::Builder::new()
                .prefix("annals-dev-")
                .tempdir()
                .map(Self::Temporary)
                .map_err(DataError::Temporary),
        }
    }

    pub(crate) fn of_service(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(dir) => dir.path(),
        }
    }

    /// Removes what is temporary. What cannot be removed is named in the log.
    pub(crate) fn end(self) {
        let Self::Temporary(dir) = self else { return };
        let path = dir.path().to_owned();
        if let Err(error) = dir.close() {
            tracing::warn!(%error, path = %path.display(), "a temporary directory could not be removed");
        }
    }
}

/// A service's open data.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) journal: Arc<dyn Journal>,
    /// The same, by its own name.
    pub(crate) embedded: Arc<EmbeddedJournal>,
    pub(crate) snapshots: Arc<dyn SnapshotStore>,
}

/// The directory of a service's journal.
pub(crate) fn journal_dir(service_dir: &Path) -> PathBuf {
    service_dir.join("journal")
}

/// Opens a service's journal, then its snapshots: the journal's lock also guards sled, which tells "in use" from
/// damage badly.
pub(crate) async fn open(
    service_dir: PathBuf,
    journal: EmbeddedOptions,
    snapshots: SnapshotOptions,
) -> Result<Opened, DataError> {
    let opening = tokio::task::spawn_blocking(move || {
        let journal = EmbeddedJournal::open(journal_dir(&service_dir), journal)?;
        let snapshots = SledSnapshots::open(service_dir.join("snapshots"), snapshots)?;
        let embedded = Arc::new(journal);
        let journal = Arc::clone(&embedded) as Arc<dyn Journal>;
        Ok(Opened { journal, embedded, snapshots: Arc::new(snapshots) })
    });
    opening.await.unwrap_or(Err(DataError::Interrupted))
}

/// Opens a stopped service's journal for reading, a copy on a medium that cannot be written too. sled is left alone.
pub(crate) fn open_read_only(service_dir: &Path) -> Result<Arc<dyn Journal>, DataError> {
    let vfs = Arc::new(ReadOnlyVfs);
    let options = EmbeddedOptions { read_only: true, vfs, ..EmbeddedOptions::default() };
    Ok(Arc::new(EmbeddedJournal::open(journal_dir(service_dir), options)?))
}

impl Opened {
    /// Closes snapshots and journal.
    pub(crate) async fn close(self) {
        let snapshots = self.snapshots;
        if tokio::task::spawn_blocking(move || snapshots.close()).await.is_err() {
            tracing::warn!("closing the snapshots was interrupted");
        }
        self.journal.close().await;
    }
}
