//! What the fuzz targets share: a limit on what an input may make a decoder claim, and journals made of bytes.

use std::alloc::System;
use std::path::Path;
use std::sync::Arc;

use annals_persistence::{
    CHECKPOINT_EVENT_TYPE, CodecId, CommandMetadata, Direction, Driver, EmbeddedJournal, EmbeddedOptions,
    EventId, Filter, Journal, NewEvent, Position, RecordedEvent, SimVfs, StreamId, Timestamp, Version, Vfs,
};
use cap::Cap;
use futures_util::FutureExt;

pub mod derived;
pub mod event;
pub mod segment;
pub mod snapshot;
pub mod stored;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// What a decoder may claim for each byte of its input, and beside: logs are read a megabyte at a time.
const BYTES_PER_BYTE: usize = 16;
const BYTES_BESIDE: usize = 4 << 20;

/// Runs what an input is given to. Memory that is in use at once and is more than a small multiple of the input is
/// refused, which ends the process.
pub fn bounded(input: &[u8], run: impl FnOnce()) {
    let most = ALLOCATOR.allocated() + BYTES_PER_BYTE * input.len() + BYTES_BESIDE;
    ALLOCATOR.set_limit(most).expect("more than is in use");
    run();
    ALLOCATOR.set_limit(usize::MAX).expect("no limit at all");
}

/// Opens a journal whose only segment has these bytes, reads it to the end every way there is, and opens it again: what
/// can be read once can be read twice.
pub fn open(segment: &[u8]) {
    let dir = Path::new("/journal");
    let disk = SimVfs::new();
    let file = disk.create_dir_all(dir).and_then(|()| disk.create(&dir.join("0000000001.log")));
    let file = file.expect("an empty disk");
    file.write_all_at(segment, 0).and_then(|()| file.sync_data()).expect("a disk that works");
    let report = EmbeddedJournal::verify(dir, Arc::new(disk.clone()), |_| {});
    let options = EmbeddedOptions {
        segment_bytes: 8192,
        vfs: Arc::new(disk.clone()),
        driver: Driver::Manual,
        ..EmbeddedOptions::default()
    };
    let Ok(journal) = EmbeddedJournal::open(dir, options.clone()) else { return };
    let report = report.expect("what can be opened can be verified");
    assert!(report.damage.is_empty(), "what is opened has no damage: {report:?}");
    let events = read_all(&journal);
    assert_eq!(events, report.events, "what is verified can be read");
    journal.close().now_or_never().expect("without a thread it closes at once");
    let again = EmbeddedJournal::open(dir, options).expect("what was opened once opens again");
    assert_eq!(read_all(&again), events);
    again.close().now_or_never().expect("without a thread it closes at once");
}

/// How many events there are, by position and by stream.
fn read_all(journal: &EmbeddedJournal) -> u64 {
    let durable = journal.durable().borrow().position;
    let (mut from, mut events) = (Position(1), 0);
    while from <= durable {
        let everything = Filter::everything();
        let page = journal.all_page(from, &everything, 100).now_or_never().expect("read in place");
        let page = page.expect("what was verified can be read");
        events += page.events.len() as u64;
        from = page.next;
    }
    let streams = journal.streams_page("", None, usize::MAX).now_or_never().expect("in place").expect("open");
    for info in &streams {
        let end = journal.stream_page(&info.stream, Version(u64::MAX), Direction::Backward, 1);
        let end = end.now_or_never().expect("read in place").expect("a stream's end can be read");
        assert_eq!(end.events[0].version, info.version);
    }
    events
}

/// A checkpoint with this payload.
pub fn checkpoint_of(payload: &[u8]) -> RecordedEvent {
    let event =
        NewEvent { type_name: CHECKPOINT_EVENT_TYPE.into(), payload: payload.to_vec().into(), ..event_of(1) };
    let stream = StreamId::aggregate("account", "a").expect("a valid id");
    RecordedEvent { position: Position(7), stream, version: Version(7), event }
}

/// The event with this number, the same every time.
pub fn event_of(number: u64) -> NewEvent {
    let mut command = CommandMetadata::internal(Timestamp(1_700_000_000_000_000));
    command.actor = (number % 2 == 0).then(|| "anna".into());
    NewEvent {
        id: EventId::from_u128(u128::from(number)),
        type_name: "noted".into(),
        schema_version: 1,
        codec: CodecId::Json,
        payload: format!("{{\"number\":{number}}}").into(),
        command,
        tags: vec!["eu".into(); usize::from(number % 3 == 0)],
    }
}
