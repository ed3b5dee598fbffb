//! A store of snapshots in plain files, one of which is made of bytes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals_persistence::{
    EventId, FileSnapshotOptions, FileSnapshots, JournalId, SimVfs, Snapshot, SnapshotStore, StreamId,
    Version, Vfs,
};

const DIR: &str = "/snapshots";

/// A store with one snapshot in it.
pub struct Stored {
    stream: StreamId,
    right: Snapshot,
    name: PathBuf,
    bytes: Vec<u8>,
}

impl Default for Stored {
    fn default() -> Self {
        Self::new()
    }
}

impl Stored {
    pub fn new() -> Self {
        let stream = StreamId::aggregate("order", "1").expect("a valid name");
        let right = Snapshot {
            journal: JournalId::from_u128(1),
            version: Version(100),
            event_id: EventId::from_u128(2),
            fingerprint: 3,
            state: b"what it looked like".to_vec(),
        };
        let disk = SimVfs::new();
        open(&disk).save(&stream, &right);
        let is_snapshot = |name: &PathBuf| name.extension().is_some_and(|extension| extension == "snapshot");
        let name = disk
            .list(Path::new(DIR))
            .expect("its files")
            .into_iter()
            .find(is_snapshot)
            .expect("the snapshot's");
        let name = Path::new(DIR).join(name);
        let bytes = disk.bytes(&name).expect("the snapshot's file");
        Self { stream, right, name, bytes }
    }

    /// What the file really holds.
    pub fn right(&self) -> &[u8] {
        &self.bytes
    }

    /// Loads from, saves into, and loads again from a store whose file has these bytes. Without a checksum that
    /// matches, there is the right snapshot or none.
    pub fn load(&self, bytes: &[u8], is_mended: bool) {
        let mut bytes = bytes.to_vec();
        if is_mended && let Some((body, checksum)) = bytes.split_last_chunk_mut() {
            let sum = crc32c::crc32c_append(crc32c::crc32c(self.stream.as_str().as_bytes()), body);
            *checksum = sum.to_le_bytes();
        }
        let disk = SimVfs::new();
        disk.create_dir_all(Path::new(DIR)).expect("an empty disk");
        let made = disk
            .create(&self.name)
            .and_then(|file| file.write_all_at(&bytes, 0).and_then(|()| file.sync_data()));
        made.expect("a disk that works");
        let store = open(&disk);
        let loaded = store.load(&self.stream);
        assert!(
            is_mended || loaded.iter().all(|snapshot| *snapshot == self.right),
            "another snapshot is loaded"
        );
        let next = Snapshot { version: Version(101), ..self.right.clone() };
        store.save(&self.stream, &next);
        assert!(store.load(&self.stream).contains(&next), "what was saved is there");
    }
}

fn open(disk: &SimVfs) -> FileSnapshots {
    let options = FileSnapshotOptions { vfs: Arc::new(disk.clone()), ..FileSnapshotOptions::default() };
    FileSnapshots::open(DIR, options).expect("the directory is nobody else's")
}
