//! What a journal takes on its disk.

use super::{EmbeddedJournal, Shared};

/// What a journal takes on its disk, as far as that costs nothing to know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiskUsage {
    /// Segments, the one that is written to included.
    pub segments: usize,
    /// Bytes of the log, without what is reserved for what comes and without what is derived from it.
    pub log_bytes: u64,
    /// About how many of them could go and were left when it was scavenged last (see
    /// [`ScavengeProgress::left_bytes`](crate::ScavengeProgress::left_bytes)); 0 before.
    pub garbage_bytes: u64,
    /// Bytes that may still be written to the file system that it is on; `None` where that is not known.
    pub free_bytes: Option<u64>,
}

impl EmbeddedJournal {
    /// What the journal takes on its disk.
    #[must_use]
    pub fn disk_usage(&self) -> DiskUsage {
        self.shared.disk_usage()
    }
}

impl Shared {
    fn disk_usage(&self) -> DiskUsage {
        let (segments, log_bytes) = {
            let index = self.index.read();
            let sealed: u64 = index.sealed.iter().map(|sealed| sealed.end).sum();
            let active = index.active.as_ref().map_or(0, |active| active.end);
            (index.sealed.len() + usize::from(index.active.is_some()), sealed + active)
        };
        let garbage_bytes = self.garbage.load(std::sync::atomic::Ordering::Relaxed);
        // What the system does not say is not known.
        let free_bytes = self.files.vfs.free_bytes(&self.files.dir).ok().flatten();
        DiskUsage { segments, log_bytes, garbage_bytes, free_bytes }
    }
}
