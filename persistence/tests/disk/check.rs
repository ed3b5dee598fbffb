//! What must be true of a journal after whatever happened to its disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use annals_persistence::{
    Batch, Direction, Expected, Filter, Journal, JournalExt, Position, RecordedEvent, SimVfs, StreamId,
    Survival, Version,
};
use futures_util::TryStreamExt;

use crate::support::open;
use crate::workload::{Known, Submitted};

/// Opens the journal on this disk (after the power went, if it is an image, else after the process alone ended), and holds what is in it against what was submitted; then goes on with it, and takes
/// the power away once more: what was read must be there again.
pub(crate) async fn holds(disk: &SimVfs, submitted: &[Submitted], case: &str) {
    let journal = open(disk).unwrap_or_else(|error| panic!("{case}: it does not open: {error}"));
    let events = everything(&journal).await;
    dense(&events, case);
    nothing_is_lost(&events, submitted, case);
    nothing_is_invented(&events, submitted, case);
    streams_are_whole(&journal, &events, case).await;
    let after = disk.image(Survival::Nothing, 1);
    drop(journal);
    let again = open(&after).unwrap_or_else(|error| panic!("{case}: it does not open again: {error}"));
    assert_eq!(everything(&again).await, events, "{case}: what was read once is not there again");
    // What is written behind a torn tail may be shorter than the tail was.
    goes_on(&again, events.len() as u64, case).await;
    let last = open(&after.image(Survival::Nothing, 1));
    let last = last.unwrap_or_else(|error| panic!("{case}: it does not open after going on: {error}"));
    assert_eq!(everything(&last).await.len(), events.len() + 1, "{case}: what it went on with");
}

pub(crate) async fn everything(journal: &Arc<dyn Journal>) -> Vec<RecordedEvent> {
    let read = journal.read_all(Position::START, Filter::everything()).try_collect();
    read.await.expect("what is there can be read")
}

fn dense(events: &[RecordedEvent], case: &str) {
    let mut versions: BTreeMap<&StreamId, u64> = BTreeMap::new();
    for (event, position) in events.iter().zip(1..) {
        assert_eq!(event.position, Position(position), "{case}: a gap in the positions");
        let version = versions.entry(&event.stream).or_default();
        *version += 1;
        assert_eq!(event.version, Version(*version), "{case}: a gap in the versions of {}", event.stream);
    }
}

fn nothing_is_lost(events: &[RecordedEvent], submitted: &[Submitted], case: &str) {
    for batch in submitted {
        let Known::Appended(appended) = &batch.outcome else { continue };
        for ((stream, id), position) in batch.events.iter().zip(appended.first.0..) {
            let found = events.get(position as usize - 1);
            let same = found.is_some_and(|event| event.id == *id && event.stream == *stream);
            assert!(
                same,
                "{case}: acknowledged event {id} of {stream} is not at position {position}: {found:?}"
            );
        }
    }
}

fn nothing_is_invented(events: &[RecordedEvent], submitted: &[Submitted], case: &str) {
    let places: BTreeMap<_, _> = events.iter().map(|event| (event.id, event.position.0)).collect();
    assert_eq!(places.len(), events.len(), "{case}: an event is there twice");
    let mut explained = 0;
    for batch in submitted {
        let found: Vec<u64> = batch.events.iter().filter_map(|(_, id)| places.get(id).copied()).collect();
        if batch.outcome == Known::NotAppended {
            assert!(found.is_empty(), "{case}: a refused batch is there: {batch:?}");
        }
        let whole = found.len() == batch.events.len() && found.windows(2).all(|two| two[0] + 1 == two[1]);
        assert!(found.is_empty() || whole, "{case}: a batch is torn: {batch:?}, {found:?}");
        explained += found.len();
    }
    assert_eq!(explained, events.len(), "{case}: an event is there that nobody submitted");
}

async fn streams_are_whole(journal: &Arc<dyn Journal>, events: &[RecordedEvent], case: &str) {
    let streams: std::collections::BTreeSet<_> = events.iter().map(|event| &event.stream).collect();
    for stream in streams {
        let read = journal.read_stream(stream, Version(1), Direction::Forward).try_collect::<Vec<_>>();
        let expected: Vec<_> = events.iter().filter(|event| event.stream == *stream).cloned().collect();
        assert_eq!(read.await.unwrap(), expected, "{case}: the index of {stream}");
    }
}

async fn goes_on(journal: &Arc<dyn Journal>, before: u64, case: &str) {
    let stream = StreamId::aggregate("after", "1").unwrap();
    let event = annals_persistence::NewEvent {
        id: annals_persistence::EventId::from_u128(1),
        type_name: "went-on".into(),
        schema_version: 1,
        codec: annals_persistence::CodecId::Json,
        payload: b"{}".to_vec().into(),
        command: annals_persistence::CommandMetadata::internal(annals_persistence::Timestamp(0)),
        tags: Vec::new(),
    };
    let appended = journal.append(Batch::of(stream, Expected::NoStream, [event])).await;
    assert_eq!(appended.expect("it goes on").first, Position(before + 1), "{case}");
    journal.close().await;
}
