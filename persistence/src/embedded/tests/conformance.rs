use super::*;
use crate::conformance::JournalFactory;

/// Journals in directories of their own; the last one's can be opened anew.
#[derive(Default)]
struct OnDisk(Mutex<Option<TempDir>>);

impl JournalFactory for OnDisk {
    async fn open(&self) -> Arc<dyn Journal> {
        let dir = tempfile::tempdir().unwrap();
        let journal = open(dir.path(), EmbeddedOptions { segment_bytes: 64 * 1024, ..small() });
        *self.0.lock() = Some(dir);
        journal
    }

    async fn reopen(&self) -> Option<Arc<dyn Journal>> {
        self.0.lock().as_ref().map(|dir| open(dir.path(), small()))
    }
}

crate::journal_conformance!(OnDisk::default());
