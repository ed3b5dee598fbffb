//! The embedded journal holds what every journal must, tested the way a user's own engine would be.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use annals_persistence::conformance::JournalFactory;
use annals_persistence::{EmbeddedJournal, EmbeddedOptions, Journal, SimVfs};
use tempfile::TempDir;

/// Each journal has a directory of its own; segments are short, so that the cases cross from one to the next.
struct Embedded {
    home: TempDir,
    opened: AtomicU32,
}

impl Embedded {
    fn new() -> Self {
        Self { home: TempDir::new().expect("a directory"), opened: AtomicU32::new(0) }
    }

    fn latest(&self) -> PathBuf {
        self.home.path().join(self.opened.load(Ordering::Relaxed).to_string())
    }

    fn open_latest(&self) -> Arc<dyn Journal> {
        let options = EmbeddedOptions { segment_bytes: 256 * 1024, ..EmbeddedOptions::default() };
        Arc::new(EmbeddedJournal::open(self.latest(), options).expect("the journal opens"))
    }
}

impl JournalFactory for Embedded {
    async fn open(&self) -> Arc<dyn Journal> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        self.open_latest()
    }

    async fn reopen(&self) -> Option<Arc<dyn Journal>> {
        Some(self.open_latest())
    }
}

annals_persistence::journal_conformance!(Embedded::new());

/// On a disk in memory, which syncs at once, with segments so short that everything crosses from one to the next.
#[derive(Default)]
struct OnSimulatedDisk(Mutex<SimVfs>);

impl OnSimulatedDisk {
    fn open_latest(&self) -> Arc<dyn Journal> {
        let vfs = Arc::new(self.0.lock().expect("nobody panicked").clone());
        let options = EmbeddedOptions { segment_bytes: 8192, vfs, ..EmbeddedOptions::default() };
        Arc::new(EmbeddedJournal::open("/journal", options).expect("the journal opens"))
    }
}

impl JournalFactory for OnSimulatedDisk {
    async fn open(&self) -> Arc<dyn Journal> {
        *self.0.lock().expect("nobody panicked") = SimVfs::new();
        self.open_latest()
    }

    async fn reopen(&self) -> Option<Arc<dyn Journal>> {
        Some(self.open_latest())
    }
}

mod on_a_simulated_disk {
    annals_persistence::journal_conformance!(super::OnSimulatedDisk::default());
}
