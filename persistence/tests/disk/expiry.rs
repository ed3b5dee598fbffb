//! The power goes while streams expire.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use annals_persistence::{
    Batch, CodecId, CommandMetadata, Direction, EmbeddedJournal, EventId, Expected, ExpiringStreams, Journal,
    NewEvent, Position, ScavengeOptions, SimVfs, StreamId, Timestamp, Version,
};

use crate::support::{self, DIR, SURVIVALS, block_on, open};

const KEYS: i64 = 36;
/// The first of the keys that is too young to go.
const YOUNG: i64 = 24;

fn key(number: i64) -> StreamId {
    StreamId::internal(&format!("key-{number:03}")).unwrap()
}

fn remembered(number: i64) -> NewEvent {
    NewEvent {
        id: EventId::generate(),
        type_name: "remembered".into(),
        schema_version: 1,
        codec: CodecId::Json,
        payload: vec![b' '; 400].into(),
        command: CommandMetadata::internal(Timestamp(1_000_000 * number)),
        tags: Vec::new(),
    }
}

fn append(journal: &Arc<EmbeddedJournal>, number: i64) -> bool {
    let batch = Batch::of(key(number), Expected::NoStream, [remembered(number)]);
    block_on(support::append(journal, batch)).is_ok()
}

fn options() -> ScavengeOptions {
    let expiring = ExpiringStreams { prefix: "$key-".into(), after: Duration::from_secs(60) };
    ScavengeOptions {
        own_below: Position(u64::MAX),
        expiring: vec![expiring],
        now: Timestamp(1_000_000 * (YOUNG + 60)),
        percent_min: 0,
        duty_percent: 100,
        ..ScavengeOptions::below(Position(1))
    }
}

/// Remembers keys, scavenges, and remembers those that went once more; answers how many calls the first part made.
fn remember_and_expire(disk: &SimVfs, crash_after: Option<u64>) -> u64 {
    let journal = open(disk).unwrap();
    assert!((0..KEYS).all(|number| append(&journal, number)));
    let before = disk.calls();
    if let Some(after) = crash_after {
        disk.crash_at(before + after);
    }
    if journal.scavenge(&options(), |_| ControlFlow::Continue(())).is_ok() {
        // Once the power is gone none is remembered any more.
        let again = (0..KEYS / 2).filter(|number| append(&journal, *number)).count();
        assert!(crash_after.is_some() || again > 0);
    }
    before
}

/// Every key is there with its one event, or not at all; those that are not can be remembered.
fn holds(disk: &SimVfs, case: &str) {
    let journal = open(disk).unwrap_or_else(|error| panic!("{case}: {error}"));
    for number in 0..KEYS {
        let info = block_on(journal.stream_info(&key(number))).unwrap();
        let page = block_on(journal.stream_page(&key(number), Version(1), Direction::Forward, 9)).unwrap();
        assert_eq!(page.events.len(), usize::from(info.is_some()), "{case}: key {number}");
        assert!(info.is_some() || number < YOUNG, "{case}: key {number} is too young to go");
        assert_eq!(append(&journal, number), info.is_none(), "{case}: key {number}");
    }
    drop(journal);
    let report = EmbeddedJournal::verify(Path::new(DIR), Arc::new(disk.clone()), |_| {}).unwrap();
    assert_eq!((report.damage, report.index_faults), (vec![], vec![]), "{case}");
    let journal = open(disk).unwrap_or_else(|error| panic!("{case}, again: {error}"));
    for number in 0..KEYS {
        let page = block_on(journal.stream_page(&key(number), Version(1), Direction::Forward, 9)).unwrap();
        assert_eq!(page.events.len(), 1, "{case}: key {number}");
    }
}

#[test]
fn power_lost_while_streams_expire_leaves_each_there_or_gone() {
    let whole = SimVfs::new();
    let before = remember_and_expire(&whole, None);
    let calls = whole.calls() - before;
    assert!(calls > 20, "{calls} calls");
    holds(&whole, "no crash");
    for call in 1..=calls {
        let disk = SimVfs::new();
        remember_and_expire(&disk, Some(call));
        for (survival, nth) in SURVIVALS.into_iter().zip(0..) {
            holds(
                &disk.image(survival, nth),
                &format!("crash at call {call} of {calls}, {survival:?} ({nth})"),
            );
        }
    }
}
