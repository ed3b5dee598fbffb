use super::*;
use crate::conformance::JournalFactory;

/// Journals in directories of their own; the last one's can be opened anew.
#[derive(Default)]
struct OnDisk {
    dir: Mutex<Option<TempDir>>,
    latest: Mutex<Option<Arc<EmbeddedJournal>>>,
}

impl OnDisk {
    fn open_latest(&self, dir: &Path, options: EmbeddedOptions) -> Arc<dyn Journal> {
        let mut latest = self.latest.lock();
        drop(latest.take());
        Arc::clone(latest.insert(Arc::new(EmbeddedJournal::open(dir, options).unwrap()))) as Arc<dyn Journal>
    }
}

impl JournalFactory for OnDisk {
    async fn open(&self) -> Arc<dyn Journal> {
        let dir = tempfile::tempdir().unwrap();
        let options = EmbeddedOptions { segment_bytes: 64 * 1024, ..small() };
        let journal = self.open_latest(dir.path(), options);
        *self.dir.lock() = Some(dir);
        journal
    }

    async fn reopen(&self) -> Option<Arc<dyn Journal>> {
        self.dir.lock().as_ref().map(|dir| self.open_latest(dir.path(), small()))
    }

    async fn scavenge(&self, options: &ScavengeOptions) -> Option<u64> {
        let latest = self.latest.lock().clone()?;
        Some(latest.scavenge(options, |_| ControlFlow::Continue(())).unwrap().events)
    }
}

crate::journal_conformance!(OnDisk::default());
