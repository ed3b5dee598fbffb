//! The embedded journal holds what every journal must, tested the way a user's own engine would be.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use annals_persistence::conformance::JournalFactory;
use annals_persistence::{EmbeddedJournal, EmbeddedOptions, Journal, JournalHealth, ScavengeOptions, SimVfs};
use tempfile::TempDir;

/// The journal that was opened last.
#[derive(Default)]
struct Latest(Mutex<Option<Arc<EmbeddedJournal>>>);

impl Latest {
    fn open(&self, dir: &Path, options: EmbeddedOptions) -> Arc<dyn Journal> {
        let mut latest = self.0.lock().expect("nobody panicked");
        // Let go of before the next is there: it may be of the same directory.
        drop(latest.take());
        let journal = Arc::new(EmbeddedJournal::open(dir, options).expect("the journal opens"));
        Arc::clone(latest.insert(journal)) as Arc<dyn Journal>
    }

    fn is_closed(&self) -> bool {
        let latest = self.0.lock().expect("nobody panicked");
        latest.as_ref().is_some_and(|latest| latest.health() == JournalHealth::Closed)
    }

    fn scavenge(&self, options: &ScavengeOptions) -> Option<u64> {
        let latest = self.0.lock().expect("nobody panicked").clone()?;
        let done = latest.scavenge(options, |_| ControlFlow::Continue(()));
        Some(done.expect("the journal can be scavenged").events)
    }
}

/// Each journal has a directory of its own; segments are short, so that the cases cross from one to the next, and shorter where
/// it is opened anew.
struct Embedded {
    home: TempDir,
    opened: AtomicU32,
    latest: Latest,
}

impl Embedded {
    fn new() -> Self {
        let home = TempDir::new().expect("a directory");
        Self { home, opened: AtomicU32::new(0), latest: Latest::default() }
    }

    fn dir(&self) -> PathBuf {
        self.home.path().join(self.opened.load(Ordering::Relaxed).to_string())
    }

    fn open_latest(&self, segment_bytes: u64) -> Arc<dyn Journal> {
        let options = EmbeddedOptions { segment_bytes, ..EmbeddedOptions::default() };
        self.latest.open(&self.dir(), options)
    }
}

impl JournalFactory for Embedded {
    async fn open(&self) -> Arc<dyn Journal> {
        // Thousands of histories are as many journals, and only those that went wrong are worth their space.
        if self.latest.is_closed() {
            fs::remove_dir_all(self.dir()).expect("the directory can be removed");
        }
        self.opened.fetch_add(1, Ordering::Relaxed);
        self.open_latest(32 * 1024)
    }

    async fn reopen(&self) -> Option<Arc<dyn Journal>> {
        Some(self.open_latest(8192))
    }

    async fn scavenge(&self, options: &ScavengeOptions) -> Option<u64> {
        self.latest.scavenge(options)
    }
}

annals_persistence::journal_conformance!(Embedded::new());

/// On a disk in memory, which syncs at once, with segments so short that everything crosses from one to the next.
#[derive(Default)]
struct OnSimulatedDisk {
    disk: Mutex<SimVfs>,
    latest: Latest,
}

impl OnSimulatedDisk {
    fn open_latest(&self) -> Arc<dyn Journal> {
        let vfs = Arc::new(self.disk.lock().expect("nobody panicked").clone());
        let options = EmbeddedOptions { segment_bytes: 8192, vfs, ..EmbeddedOptions::default() };
        self.latest.open(Path::new("/journal"), options)
    }
}

impl JournalFactory for OnSimulatedDisk {
    async fn open(&self) -> Arc<dyn Journal> {
        *self.disk.lock().expect("nobody panicked") = SimVfs::new();
        self.open_latest()
    }

    async fn reopen(&self) -> Option<Arc<dyn Journal>> {
        Some(self.open_latest())
    }

    async fn scavenge(&self, options: &ScavengeOptions) -> Option<u64> {
        self.latest.scavenge(options)
    }
}

mod on_a_simulated_disk {
    annals_persistence::journal_conformance!(super::OnSimulatedDisk::default());
}
