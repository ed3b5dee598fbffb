//! A journal whose files beside the segments are made of bytes: indexes, tables, the watermark.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals_persistence::{
    Batch, Direction, Driver, EmbeddedJournal, EmbeddedOptions, Expected, Filter, Journal, JournalExt,
    OpenError, Position, ReadError, RecordedEvent, SimVfs, StreamId, Version, Vfs,
};
use futures_util::FutureExt;

use crate::event_of;

const DIR: &str = "/journal";
const PAGE_BYTES: usize = 4096;
/// Where in a segment's header its salt is.
const SALT_AT: usize = 40;

/// A file that an input takes the place of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Derived {
    /// The index of the first segment.
    Index,
    /// The latest table of all streams.
    Table,
    /// How far the log went.
    Watermark,
}

/// A journal of several segments, closed, and what it serves.
pub struct Closed {
    files: Vec<(PathBuf, Vec<u8>)>,
    served: Vec<RecordedEvent>,
}

impl Default for Closed {
    fn default() -> Self {
        Self::new()
    }
}

impl Closed {
    pub fn new() -> Self {
        let disk = SimVfs::new();
        let journal = Arc::new(open(&disk).expect("an empty directory"));
        for group in 0..60 {
            let order = StreamId::aggregate("order", &(group % 7).to_string()).expect("a valid name");
            let batch = Batch::of(order, Expected::Any, [event_of(group), event_of(group + 1)]);
            let appended = (Arc::clone(&journal) as Arc<dyn Journal>).append(batch);
            while journal.drive() {}
            appended.now_or_never().expect("an answer").expect("appended");
        }
        let served = all(&journal).expect("it can be read");
        journal.close().now_or_never().expect("without a thread it closes at once");
        let names = disk.list(Path::new(DIR)).expect("its files").into_iter();
        let files = names.filter_map(|name| {
            let path = Path::new(DIR).join(name);
            disk.bytes(&path).map(|bytes| (path, bytes))
        });
        let closed = Self { files: files.collect(), served };
        assert!(
            closed.path(Derived::Table).exists_in(&closed.files),
            "the journal has segments enough for a table"
        );
        closed
    }

    /// What the file really holds.
    pub fn right(&self, file: Derived) -> &[u8] {
        let path = self.path(file);
        self.files.iter().find(|(name, _)| *name == path.0).map_or(&[], |(_, bytes)| bytes)
    }

    /// Opens the journal with these bytes as that file, and reads it every way there is. What is served must be what
    /// is in the log, but where the bytes were given checksums that match: then it need only end.
    pub fn open_with(&self, file: Derived, bytes: &[u8], is_mended: bool) {
        let bytes = if is_mended { self.mended(file, bytes) } else { bytes.to_vec() };
        let disk = self.disk_with(file, &bytes);
        let journal = match open(&disk) {
            Ok(journal) => journal,
            // A watermark may say that the log was longer; nothing else keeps a journal from opening.
            Err(OpenError::Damaged { .. }) if is_mended => return,
            Err(error) => panic!("the journal does not open: {error:?}"),
        };
        let read = all(&journal).and_then(|served| by_stream(&journal).map(|()| served));
        match read {
            Ok(served) => assert!(is_mended || served == self.served, "something else is served"),
            Err(error) => assert!(is_mended, "the log is whole and cannot be read: {error}"),
        }
        journal.close().now_or_never().expect("without a thread it closes at once");
    }

    fn disk_with(&self, file: Derived, bytes: &[u8]) -> SimVfs {
        let (disk, path) = (SimVfs::new(), self.path(file).0);
        disk.create_dir_all(Path::new(DIR)).expect("an empty disk");
        for (name, own) in &self.files {
            let content = if *name == path { bytes } else { own };
            let made = disk
                .create(name)
                .and_then(|made| made.write_all_at(content, 0).and_then(|()| made.sync_data()));
            made.expect("a disk that works");
        }
        disk
    }

    fn path(&self, file: Derived) -> Name {
        Name(match file {
            Derived::Index => Path::new(DIR).join("0000000001.idx"),
            Derived::Watermark => Path::new(DIR).join("watermark"),
            Derived::Table => {
                let tables = self.files.iter().map(|(name, _)| name);
                tables
                    .filter(|name| name.extension().is_some_and(|e| e == "tbl"))
                    .max()
                    .cloned()
                    .unwrap_or_default()
            }
        })
    }

    /// The bytes, with the checksums that they should have: without them no mutation would get past those.
    fn mended(&self, file: Derived, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        match file {
            Derived::Watermark => mend_slots(&mut bytes),
            Derived::Index | Derived::Table => {
                let segment = self.path(file).0.with_extension("log");
                let header =
                    self.files.iter().find(|(name, _)| *name == segment).map(|(_, header)| &header[..]);
                let salt = header.map_or(&[][..], |header| &header[SALT_AT..SALT_AT + 8]);
                mend_pages(&mut bytes, crc32c::crc32c(salt));
            }
        }
        bytes
    }
}

/// A file's name.
struct Name(PathBuf);

impl Name {
    fn exists_in(&self, files: &[(PathBuf, Vec<u8>)]) -> bool {
        files.iter().any(|(name, _)| *name == self.0)
    }
}

fn mend_pages(bytes: &mut [u8], seed: u32) {
    for (page, number) in bytes.chunks_exact_mut(PAGE_BYTES).zip(0_u64..) {
        let (data, checksum) = page.split_at_mut(PAGE_BYTES - 4);
        let sum = crc32c::crc32c_append(crc32c::crc32c_append(seed, &number.to_le_bytes()), data);
        checksum.copy_from_slice(&sum.to_le_bytes());
    }
}

fn mend_slots(bytes: &mut [u8]) {
    for at in [0, PAGE_BYTES] {
        if let Some(slot) = bytes.get_mut(at..at + 64) {
            let sum = crc32c::crc32c(&slot[..60]);
            slot[60..].copy_from_slice(&sum.to_le_bytes());
        }
    }
}

fn open(disk: &SimVfs) -> Result<EmbeddedJournal, OpenError> {
    let options = EmbeddedOptions {
        segment_bytes: 8192,
        vfs: Arc::new(disk.clone()),
        driver: Driver::Manual,
        ..EmbeddedOptions::default()
    };
    EmbeddedJournal::open(DIR, options)
}

fn all(journal: &EmbeddedJournal) -> Result<Vec<RecordedEvent>, ReadError> {
    let durable = journal.durable().borrow().position;
    let (mut from, mut events, everything) = (Position(1), Vec::new(), Filter::everything());
    while from <= durable {
        let page = journal.all_page(from, &everything, 50).now_or_never().expect("read in place")?;
        events.extend(page.events);
        assert!(page.next > from, "reading goes on");
        from = page.next;
    }
    Ok(events)
}

fn by_stream(journal: &EmbeddedJournal) -> Result<(), ReadError> {
    let streams = journal.streams_page("", None, usize::MAX).now_or_never().expect("read in place")?;
    for info in &streams {
        for (from, direction) in [(Version(1), Direction::Forward), (Version(u64::MAX), Direction::Backward)]
        {
            let page = journal.stream_page(&info.stream, from, direction, 50);
            page.now_or_never().expect("read in place")?;
        }
    }
    Ok(())
}
