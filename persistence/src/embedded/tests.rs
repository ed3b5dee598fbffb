//! Tests of the embedded journal, against the real file system.

use std::fs;

use smallvec::smallvec;
use tempfile::TempDir;

use super::format::{HEADER_BYTES, Header};
use super::segment::Segment;
use super::*;
use std::path::PathBuf;

use crate::{
    AppendResult, CodecId, CommandMetadata, CountingVfs, EventId, Expected, JournalExt, NewEvent, RealVfs,
    RecordedEvent, Ticket, Timestamp, TraceContext, VfsCall,
};

mod basics;
mod damage;
mod driven;
mod faults;
mod filled;
mod golden;
mod golden_derived;
mod indexes;
#[cfg(target_os = "linux")]
mod keeper;
mod repair;
mod rotation;
mod scavenge;
mod subscribe;
mod torn;

/// Small segments, so that a test sees many.
fn small() -> EmbeddedOptions {
    let vfs = Arc::new(CountingVfs::default().without_syncing());
    EmbeddedOptions { segment_bytes: 8192, vfs, ..EmbeddedOptions::default() }
}

fn watched(vfs: &CountingVfs) -> EmbeddedOptions {
    EmbeddedOptions { vfs: Arc::new(vfs.clone()), ..small() }
}

fn open(dir: &Path, options: EmbeddedOptions) -> Arc<dyn Journal> {
    Arc::new(EmbeddedJournal::open(dir, options).unwrap())
}

fn refused(dir: &Path) -> OpenError {
    EmbeddedJournal::open(dir, small()).unwrap_err()
}

fn stream(id: &str) -> StreamId {
    StreamId::aggregate("order", id).unwrap()
}

fn event(payload: &[u8]) -> NewEvent {
    NewEvent {
        id: EventId::generate(),
        type_name: "order-placed".into(),
        schema_version: 1,
        codec: CodecId::Json,
        payload: payload.to_vec().into(),
        command: CommandMetadata::internal(Timestamp::now()),
        tags: Vec::new(),
    }
}

fn append(journal: &Arc<dyn Journal>, id: &str, expected: Expected, payload: &[u8]) -> Ticket {
    journal.append(Batch::of(stream(id), expected, [event(payload)]))
}

/// Appends events one after the other: each is a group of its own.
async fn append_groups(journal: &Arc<dyn Journal>, id: &str, count: usize) {
    for number in 0..count {
        append(journal, id, Expected::Any, format!("{number}").as_bytes()).await.unwrap();
    }
}

async fn everything(journal: &Arc<dyn Journal>) -> Vec<RecordedEvent> {
    let (mut events, mut next) = (Vec::new(), Position(1));
    while next <= journal.durable().borrow().position {
        let page = journal.all_page(next, &Filter::everything(), 100).await.unwrap();
        assert!(page.next > next, "a page must go on");
        next = page.next;
        events.extend(page.events);
    }
    let positions: Vec<u64> = events.iter().map(|event| event.position.0).collect();
    assert_eq!(positions, (1..=events.len() as u64).collect::<Vec<_>>(), "positions have no gap");
    events
}

async fn whole_stream(journal: &Arc<dyn Journal>, id: &str) -> Vec<RecordedEvent> {
    journal.stream_page(&stream(id), Version(1), Direction::Forward, usize::MAX).await.unwrap().events
}

/// A directory with this many groups of one event each, closed again, and what is in it.
async fn prepared(options: EmbeddedOptions, groups: usize) -> (TempDir, Vec<RecordedEvent>) {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), options);
    append_groups(&journal, "1", groups).await;
    let events = everything(&journal).await;
    journal.close().await;
    (dir, events)
}

/// As a crash leaves a directory in the second in which its log has grown: without a mark of how far it went.
fn unmark(dir: &Path) {
    fs::remove_file(watermark::Watermark::path(dir)).unwrap();
}

fn log_file(dir: &Path, number: u64) -> PathBuf {
    segment::segment_path(dir, number)
}

/// Whether there is a segment of this number, and more of it than the room that was made ahead.
fn is_begun(dir: &Path, number: u64) -> bool {
    fs::read(log_file(dir, number)).is_ok_and(|bytes| bytes.iter().any(|byte| *byte != 0))
}

/// A copy of a directory, to be spoilt.
fn copy_of(dir: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    copy
}

fn spoil(file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(file).unwrap();
    change(&mut bytes);
    fs::write(file, bytes).unwrap();
}

/// The frames of a segment: offset, kind and bytes of each.
fn frames(file: &Path) -> Vec<(u64, format::Kind, usize)> {
    let opened = RealVfs.open(file, false).unwrap();
    let header = Header::decode(&fs::read(file).unwrap()).unwrap();
    let len = opened.len().unwrap();
    let segment = Segment::new(file.to_owned(), header, opened);
    let mut reader = scan::FrameReader::new(&segment, len);
    let (mut at, mut found) = (HEADER_BYTES as u64, Vec::new());
    while let Ok((frame, _)) = reader.frame(at).unwrap() {
        found.push((at, frame.kind, frame.bytes));
        at += frame.bytes as u64;
    }
    found
}
