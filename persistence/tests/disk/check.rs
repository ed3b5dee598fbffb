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

/// Opens the journal on this disk (after the power went, if it is an image, else after the process alone ended), and
/// holds what is in it against what was submitted; then goes on with it, and takes the power away once more: what was
/// read must be there again.
pub(crate) async fn holds(disk: &SimVfs, submitted: &[Submitted], case: &str) {
    let journal = open(disk).unwrap_or_else(|error| panic!("{case}: it does not open: {error}"));
    let events = everything(&journal).await;
    let end = journal.durable().borrow().position;
    let may_go = MayGo::of(submitted, &events);
    in_order(&events, case);
    nothing_is_lost(&events, submitted, &may_go, end, case);
    nothing_is_invented(&events, submitted, &may_go, case);
    streams_are_whole(&journal, &events, &may_go, case).await;
    let after = disk.image(Survival::Nothing, 1);
    drop(journal);
    let again = open(&after).unwrap_or_else(|error| panic!("{case}: it does not open again: {error}"));
    assert_eq!(everything(&again).await, events, "{case}: what was read once is not there again");
    // What is written behind a torn tail may be shorter than the tail was.
    goes_on(&again, end.0, case).await;
    let last = open(&after.image(Survival::Nothing, 1));
    let last = last.unwrap_or_else(|error| panic!("{case}: it does not open after going on: {error}"));
    assert_eq!(everything(&last).await.len(), events.len() + 1, "{case}: what it went on with");
}

/// What a scavenging may have taken.
struct MayGo {
    /// Of every stream of which not everything is to be kept: the first version that is, whatever was taken of what was
    /// set, and whether it may be gone altogether.
    kept: BTreeMap<StreamId, Version>,
}

impl MayGo {
    fn of(submitted: &[Submitted], events: &[RecordedEvent]) -> Self {
        let mut last: BTreeMap<&StreamId, u64> = BTreeMap::new();
        for batch in submitted {
            for ((stream, _), version) in batch.events.iter().zip(batch.versions()) {
                last.insert(stream, version);
            }
        }
        events.iter().for_each(|event| {
            let known = last.entry(&event.stream).or_default();
            *known = (*known).max(event.version.0);
        });
        let set = submitted.iter().filter(|batch| batch.outcome != Known::NotAppended);
        let mut kept: BTreeMap<StreamId, Version> = BTreeMap::new();
        for set in set.flat_map(|batch| &batch.retention) {
            let last = Version(last.get(&set.stream).copied().unwrap_or(0));
            let first = kept.entry(set.stream.clone()).or_default();
            *first = (*first).max(set.retention.first_kept(last));
        }
        Self { kept }
    }

    fn takes(&self, stream: &StreamId, version: u64) -> bool {
        self.kept.get(stream).is_some_and(|first| version < first.0)
    }

    /// The same for an event that is not there, of which no more is known than where it would stand: of a stream only the
    /// first events ever go.
    fn takes_at(&self, stream: &StreamId, position: Position, events: &[RecordedEvent]) -> bool {
        match events.iter().find(|event| event.stream == *stream) {
            Some(first) => position < first.position && self.takes(stream, first.version.0 - 1),
            None => self.takes(stream, 1),
        }
    }
}

pub(crate) async fn everything(journal: &Arc<dyn Journal>) -> Vec<RecordedEvent> {
    let read = journal.read_all(Position::START, Filter::everything()).try_collect();
    read.await.expect("what is there can be read")
}

fn in_order(events: &[RecordedEvent], case: &str) {
    let mut last = Position::START;
    let mut versions: BTreeMap<&StreamId, u64> = BTreeMap::new();
    for event in events {
        assert!(event.position > last || last == Position::START, "{case}: positions do not go up");
        last = event.position;
        // Of a stream only the first events ever go.
        let follows = match versions.insert(&event.stream, event.version.0) {
            None => event.version.0 >= 1,
            Some(before) => event.version.0 == before + 1,
        };
        assert!(follows, "{case}: a gap in the versions of {}", event.stream);
    }
}

fn nothing_is_lost(
    events: &[RecordedEvent],
    submitted: &[Submitted],
    may_go: &MayGo,
    end: Position,
    case: &str,
) {
    let places: BTreeMap<_, _> = events.iter().map(|event| (event.position, event)).collect();
    let mut gone = 0;
    for batch in submitted {
        let Known::Appended(appended) = &batch.outcome else { continue };
        let versions = batch.versions();
        for (((stream, id), position), version) in batch.events.iter().zip(appended.first.0..).zip(versions) {
            match places.get(&Position(position)) {
                Some(event) => {
                    assert!(
                        event.id == *id && event.stream == *stream && event.version == Version(version),
                        "{case}: acknowledged event {id} of {stream} is not at position {position}: {event:?}"
                    );
                }
                None => {
                    let goes = may_go.takes(stream, version);
                    assert!(goes, "{case}: acknowledged event {id}, {stream} version {version}, is lost");
                    gone += 1;
                }
            }
        }
    }
    assert_eq!(events.len() + gone, end.0 as usize, "{case}: a gap in the positions");
}

fn nothing_is_invented(events: &[RecordedEvent], submitted: &[Submitted], may_go: &MayGo, case: &str) {
    let places: BTreeMap<_, _> = events.iter().map(|event| (event.id, event)).collect();
    assert_eq!(places.len(), events.len(), "{case}: an event is there twice");
    let mut explained = 0;
    for batch in submitted {
        let found: Vec<_> = batch.events.iter().map(|(_, id)| places.get(id)).collect();
        let Some(at) = found.iter().position(Option::is_some) else { continue };
        assert!(batch.outcome != Known::NotAppended, "{case}: a refused batch is there: {batch:?}");
        let first = found[at].map_or(0, |event| event.position.0 - at as u64);
        for (((stream, _), event), position) in batch.events.iter().zip(&found).zip(first..) {
            let position = Position(position);
            let whole = match event {
                Some(event) => event.position == position,
                None => may_go.takes_at(stream, position, events),
            };
            assert!(whole, "{case}: a batch is torn at {position}: {batch:?}, {found:?}");
        }
        explained += found.into_iter().flatten().count();
    }
    assert_eq!(explained, events.len(), "{case}: an event is there that nobody submitted");
}

async fn streams_are_whole(journal: &Arc<dyn Journal>, events: &[RecordedEvent], may_go: &MayGo, case: &str) {
    let streams: std::collections::BTreeSet<_> = events.iter().map(|event| &event.stream).collect();
    for stream in streams {
        let read = journal.read_stream(stream, Version(1), Direction::Forward).try_collect::<Vec<_>>();
        let read = read.await.unwrap();
        let own: Vec<_> = events.iter().filter(|event| event.stream == *stream).cloned().collect();
        assert!(own.ends_with(&read), "{case}: the index of {stream}");
        let must = own.iter().find(|event| !may_go.takes(stream, event.version.0));
        let first = read.first().map(|event| event.version);
        assert!(must.is_none_or(|must| first.is_some_and(|first| first <= must.version)), "{case}: {stream}");
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
