use std::fs;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::super::tests::{
    a_directory_stays_within_its_budget, damaged_files_never_stop, order, quarantined, snapshot_of,
};
use super::*;
use crate::conformance::SnapshotFactory;

fn open(dir: &Path) -> Arc<RedbSnapshots> {
    Arc::new(RedbSnapshots::open(dir, SnapshotOptions::default()).unwrap())
}

struct OnRedb(TempDir);

impl SnapshotFactory for OnRedb {
    fn open(&self) -> Arc<dyn SnapshotStore> {
        open(&self.0.path().join("snapshots"))
    }

    fn reopen(&self) -> Option<Arc<dyn SnapshotStore>> {
        Some(self.open())
    }
}

crate::snapshot_conformance!(OnRedb(TempDir::new().unwrap()));

#[test]
fn redb_stays_within_its_budget() {
    a_directory_stays_within_its_budget(|dir, options| Arc::new(RedbSnapshots::open(dir, options).unwrap()));
}

#[test]
fn damaged_files_never_stop_redb() {
    damaged_files_never_stop(open, |store| store.is_working());
}

#[test]
fn what_redb_cannot_open_is_put_aside() {
    let home = TempDir::new().unwrap();
    let (dir, stream) = (home.path().join("snapshots"), order("1"));
    fs::create_dir_all(dir.join("1")).unwrap();
    fs::write(dir.join("1").join(FILE), b"not a database").unwrap();
    let store = open(&dir);
    assert_eq!(quarantined(&dir).len(), 1);
    store.save(&stream, &snapshot_of(&stream, 1));
    assert_eq!(store.load(&stream), [snapshot_of(&stream, 1)]);
}

#[test]
fn a_directory_in_use_is_refused() {
    let home = TempDir::new().unwrap();
    let dir = home.path().join("snapshots");
    let first = open(&dir);
    let at_once = SnapshotOptions { lock_wait: Duration::ZERO, ..SnapshotOptions::default() };
    let second = RedbSnapshots::open(&dir, at_once);
    assert_eq!(second.err(), Some(SnapshotOpenError::InUse { path: dir.clone() }));
    drop(first);
    assert!(open(&dir).is_working());
}
