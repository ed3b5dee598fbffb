//! Segments that are filled with zeros before they are used.

use std::io;
use std::ops::Range;

use parking_lot::{Condvar, Mutex};

use super::*;
use crate::{VfsFile, VfsLock};

const MIB: u64 = 1 << 20;

/// Segments of eight MiB, written on the test's own thread.
fn driven(vfs: &CountingVfs) -> EmbeddedOptions {
    EmbeddedOptions { segment_bytes: 8 * MIB, driver: Driver::Manual, ..watched(vfs) }
}

/// What was written to a file, one write behind the other.
fn written(calls: &[VfsCall], to: &Path) -> Range<u64> {
    let mut range = 0..0;
    for call in calls {
        match call {
            VfsCall::Write { file, offset, bytes } if file == to => {
                assert_eq!(*offset, range.end, "it is written in order");
                range.end += *bytes as u64;
            }
            _ => {}
        }
    }
    range
}

async fn append_mib(journal: &Arc<EmbeddedJournal>, count: usize) {
    for _ in 0..count {
        let shared: Arc<dyn Journal> = Arc::clone(journal) as _;
        let ticket = append(&shared, "1", Expected::Any, &vec![b'x'; 1 << 20]);
        while journal.drive() {}
        ticket.await.unwrap();
    }
}

#[tokio::test]
async fn a_segment_made_ahead_is_written_and_synced_before_it_is_used() {
    let (dir, vfs) = (tempfile::tempdir().unwrap(), CountingVfs::default().without_syncing());
    let journal = Arc::new(EmbeddedJournal::open(dir.path(), driven(&vfs)).unwrap());
    append_mib(&journal, 1).await;
    let spare = dir.path().join("spare");
    let calls = vfs.calls();
    assert_eq!(written(&calls, &spare), 0..8 * MIB);
    let last = calls.iter().rposition(|call| matches!(call, VfsCall::Write { file, .. } if *file == spare));
    assert_eq!(calls[last.unwrap() + 1], VfsCall::SyncData(spare.clone()));

    let second = log_file(dir.path(), 2);
    let named = [VfsCall::Rename(spare.clone(), second.clone()), VfsCall::SyncDir(dir.path().to_owned())];
    assert_eq!(calls[last.unwrap() + 2..][..2], named);

    append_mib(&journal, 4).await;
    let begun = vfs.calls()[calls.len()..].iter().position(|call| {
        // It is still called what it was when it was made.
        matches!(call, VfsCall::Write { file, offset: 0, .. } if *file == spare)
    });
    let until_begun = vfs.calls()[calls.len()..][..begun.unwrap()].to_vec();
    let is_of_names =
        |call: &VfsCall| matches!(call, VfsCall::Create(_) | VfsCall::Rename(..) | VfsCall::SyncDir(_));
    assert!(!until_begun.iter().any(is_of_names), "nothing is waited for but data: {until_begun:?}");
    assert_eq!(fs::metadata(second).unwrap().len(), 8 * MIB);
}

#[tokio::test]
async fn a_segment_made_ahead_serves_the_next_start() {
    let (dir, vfs) = (tempfile::tempdir().unwrap(), CountingVfs::default().without_syncing());
    let journal = Arc::new(EmbeddedJournal::open(dir.path(), driven(&vfs)).unwrap());
    append_mib(&journal, 1).await;
    journal.close().await;
    let before = vfs.calls().len();
    let journal = Arc::new(EmbeddedJournal::open(dir.path(), driven(&vfs)).unwrap());
    append_mib(&journal, 6).await;
    let (calls, second) = (vfs.calls().split_off(before), log_file(dir.path(), 2));
    assert!(calls.iter().any(|call| matches!(call, VfsCall::Write { file, .. } if *file == second)));
    assert!(!calls.contains(&VfsCall::Remove(second.clone())) && !calls.contains(&VfsCall::Create(second)));
    let events = everything(&(journal as Arc<dyn Journal>)).await;
    assert_eq!(events.len(), 7);
}

#[tokio::test]
async fn a_group_that_the_segment_made_ahead_is_too_short_for_makes_it_longer() {
    let (dir, vfs) = (tempfile::tempdir().unwrap(), CountingVfs::default().without_syncing());
    let journal = Arc::new(EmbeddedJournal::open(dir.path(), driven(&vfs)).unwrap());
    append_mib(&journal, 1).await;
    let shared: Arc<dyn Journal> = Arc::clone(&journal) as _;
    let ticket = append(&shared, "1", Expected::Any, &vec![b'x'; 12 << 20]);
    while journal.drive() {}
    ticket.await.unwrap();
    let second = log_file(dir.path(), 2);
    assert!(fs::metadata(&second).unwrap().len() > 12 * MIB);
    journal.close().await;
    let again = open(dir.path(), driven(&vfs));
    assert_eq!(everything(&again).await.len(), 2);
}

#[tokio::test]
async fn a_segment_that_somebody_waits_for_is_short_and_filled() {
    let (dir, vfs) = (tempfile::tempdir().unwrap(), CountingVfs::default().without_syncing());
    let journal = EmbeddedJournal::open(dir.path(), driven(&vfs)).unwrap();
    let first = log_file(dir.path(), 1);
    let len = fs::metadata(&first).unwrap().len();
    assert_eq!(len, 4 * MIB + HEADER_BYTES as u64);
    let filled = |call: &&VfsCall| matches!(call, VfsCall::Write { file, offset, .. } if *file == first && *offset > 0);
    assert_eq!(vfs.calls().iter().filter(filled).count(), 64, "the rest of it, 64 KiB at a time");
    journal.close().await;
    EmbeddedJournal::open(dir.path(), driven(&vfs)).unwrap().close().await;
    assert_eq!(fs::metadata(&first).unwrap().len(), len, "it does not grow by being opened");
}

#[tokio::test]
async fn nothing_is_filled_that_is_not_to_be() {
    let (dir, vfs) = (tempfile::tempdir().unwrap(), CountingVfs::default().without_syncing());
    let options = EmbeddedOptions { zero_fill: false, ..driven(&vfs) };
    let journal = Arc::new(EmbeddedJournal::open(dir.path(), options).unwrap());
    assert_eq!(written(&vfs.calls(), &log_file(dir.path(), 1)), 0..HEADER_BYTES as u64);
    append_mib(&journal, 6).await;
    let spare = dir.path().join("spare");
    assert_eq!(written(&vfs.calls(), &spare), 0..0);
    assert!(vfs.calls().contains(&VfsCall::Reserve(spare, 8 * MIB)));
}

#[derive(Debug, Default)]
struct Gate {
    shut: Mutex<bool>,
    moved: Condvar,
}

impl Gate {
    fn set(&self, shut: bool) {
        *self.shut.lock() = shut;
        self.moved.notify_all();
    }

    fn pass(&self) {
        self.moved.wait_while(&mut self.shut.lock(), |shut| *shut);
    }
}

/// Nothing is written to the next segment while the gate is shut.
#[derive(Debug, Clone, Default)]
struct Gated {
    inner: CountingVfs,
    gate: Arc<Gate>,
}

#[derive(Debug)]
struct GatedFile(Box<dyn VfsFile>, Arc<Gate>);

impl Vfs for Gated {
    fn create(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        let file = self.inner.create(path)?;
        let gated = path.ends_with("spare");
        Ok(if gated { Box::new(GatedFile(file, Arc::clone(&self.gate))) } else { file })
    }
    fn open(&self, path: &Path, writable: bool) -> io::Result<Box<dyn VfsFile>> {
        self.inner.open(path, writable)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.inner.list(dir)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.inner.create_dir_all(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.sync_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn VfsLock>>> {
        self.inner.lock(path)
    }
}

impl VfsFile for GatedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.1.pass();
        self.0.write_all_at(bytes, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn reserve(&self, len: u64) -> io::Result<()> {
        self.0.reserve(len)
    }
}

#[tokio::test]
async fn nobody_waits_while_the_next_segment_is_filled() {
    let (dir, vfs) = (tempfile::tempdir().unwrap(), Gated::default());
    let journal = open(dir.path(), EmbeddedOptions { vfs: Arc::new(vfs.clone()), ..small() });
    vfs.gate.set(true);
    while !is_begun(dir.path(), 4) {
        append_groups(&journal, "1", 1).await;
    }
    vfs.gate.set(false);
    journal.close().await;
    let events = everything(&open(dir.path(), small())).await;
    assert!(events.len() > 20);
}

#[tokio::test]
async fn closing_does_not_wait_until_the_next_segment_is_filled() {
    let (dir, vfs) = (tempfile::tempdir().unwrap(), Gated::default());
    let options = EmbeddedOptions { segment_bytes: 64 * MIB, vfs: Arc::new(vfs.clone()), ..small() };
    let journal = open(dir.path(), options);
    vfs.gate.set(true);
    append(&journal, "1", Expected::Any, &vec![b'x'; 2 << 20]).await.unwrap();
    let begun = VfsCall::Create(dir.path().join("spare"));
    while !vfs.inner.calls().contains(&begun) {
        tokio::task::yield_now().await;
    }
    let closed = journal.close();
    vfs.gate.set(false);
    closed.await;
    let filled = written(&vfs.inner.calls(), &dir.path().join("spare")).end;
    assert!(filled < 64 * MIB, "all of it was filled");
    assert!(!dir.path().join("spare").exists() && !log_file(dir.path(), 2).exists());
}
