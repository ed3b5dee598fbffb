//! What must be true of a journal after whatever happened to its disk.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use annals_persistence::{
    Batch, Direction, EmbeddedJournal, EventId, Expected, FileSnapshots, Filter, Journal, JournalExt,
    Position, RecordedEvent, SimVfs, SnapshotStore, StreamId, Survival, Version, Vfs,
};
use futures_util::TryStreamExt;

use crate::states::{Folded, Found, Stream, snapshots};
use crate::support::{DIR, append, dynamic, event, open};
use crate::workload::{Known, Submitted};

/// Where versions of a stream may follow each other with a gap that what is set to be kept of it allows. Within a segment never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gaps {
    /// Nowhere: whenever scavenging is begun it looks at all of the log in front of where it ends.
    Nowhere,
    /// Where something was set while segments were scavenged one after the other, less of an earlier one has gone.
    BetweenSegments,
}

/// Opens the journal on this disk (after the power went, if it is an image, else after the process alone ended), and
/// holds what is in it and its snapshots against what was submitted; then goes on with both, and takes the power away once
/// more: what was read must be there again. Answers what snapshots there were.
pub(crate) async fn holds(disk: &SimVfs, submitted: &[Submitted], case: &str) -> Found {
    holds_with(disk, submitted, Gaps::Nowhere, case).await
}

/// The same, where versions may have such gaps.
pub(crate) async fn holds_with(disk: &SimVfs, submitted: &[Submitted], gaps: Gaps, case: &str) -> Found {
    let journal = open(disk).unwrap_or_else(|error| panic!("{case}: it does not open: {error}"));
    let events = everything(&journal).await;
    let end = journal.durable().borrow().position;
    let may_go = MayGo::of(submitted, &events);
    let segments = Segments::on(disk);
    in_order(&events, &may_go, (gaps, &segments), case);
    nothing_is_lost(&events, submitted, (&may_go, &segments), end, case);
    nothing_is_invented(&events, submitted, &may_go, case);
    let histories = histories(&events, submitted, case);
    let found = streams_are_whole(&journal, &snapshots(disk), (&events, &histories), &may_go, case).await;
    assert_eq!(found.doubted, 0, "{case}: a snapshot that the log does not bear out");
    let after = disk.image(Survival::Nothing, 1);
    drop(journal);
    let again = open(&after).unwrap_or_else(|error| panic!("{case}: it does not open again: {error}"));
    assert_eq!(everything(&again).await, events, "{case}: what was read once is not there again");
    // What is written behind a torn tail may be shorter than the tail was.
    let went_on = goes_on(&again, &snapshots(&after), end.0, case).await;
    let last_disk = after.image(Survival::Nothing, 1);
    let last = open(&last_disk);
    let last = last.unwrap_or_else(|error| panic!("{case}: it does not open after going on: {error}"));
    assert_eq!(everything(&last).await.len(), events.len() + 1, "{case}: what it went on with");
    let version = snapshots(&last_disk).load(&went_on).first().map(|saved| saved.version);
    assert_eq!(version, Some(Version(1)), "{case}: the snapshot it went on with");
    found
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

    fn kept_from(&self, stream: &StreamId) -> Version {
        self.kept.get(stream).copied().unwrap_or(Version(1))
    }

    fn takes(&self, stream: &StreamId, version: u64) -> bool {
        Version(version) < self.kept_from(stream)
    }

    /// The same for an event that is not there, of which no more is known than where it would stand: its version is below
    /// that of the next event of its stream, and behind that of the last.
    fn takes_at(&self, stream: &StreamId, position: Position, events: &[RecordedEvent]) -> bool {
        let mut own = events.iter().filter(|event| event.stream == *stream);
        let next = own.clone().find(|event| event.position > position).map(|event| event.version.0 - 1);
        let behind = || own.next_back().map_or(1, |event| event.version.0 + 1);
        self.takes(stream, next.unwrap_or_else(behind))
    }
}

pub(crate) async fn everything(journal: &Arc<EmbeddedJournal>) -> Vec<RecordedEvent> {
    let read = dynamic(journal).read_all(Position::START, Filter::everything()).try_collect();
    read.await.expect("what is there can be read")
}

/// Positions go up, and the versions of a stream one by one, but where they may have gaps.
fn in_order(events: &[RecordedEvent], may_go: &MayGo, (gaps, segments): (Gaps, &Segments), case: &str) {
    let mut last = Position::START;
    let mut before: BTreeMap<&StreamId, &RecordedEvent> = BTreeMap::new();
    for event in events {
        assert!(event.position > last || last == Position::START, "{case}: positions do not go up");
        last = event.position;
        let (stream, version) = (&event.stream, event.version.0);
        // Of a stream the first events may have gone.
        let Some(before) = before.insert(stream, event) else { continue };
        let next = before.version.0 + 1;
        let is_between = || gaps == Gaps::BetweenSegments && segments.of(before.position) < segments.of(last);
        let may_be = || is_between() && (next..version).all(|gone| may_go.takes(stream, gone));
        let follows = version == next || version > next && may_be();
        assert!(follows, "{case}: a gap in the versions of {stream} between {} and {version}", next - 1);
    }
}

/// Where segments begin.
struct Segments {
    /// The position of each one's first record, in order.
    bases: Vec<Position>,
}

impl Segments {
    fn on(disk: &SimVfs) -> Self {
        let dir = Path::new(DIR);
        let names = disk.list(dir).expect("it was opened");
        let logs = names.iter().filter(|name| name.extension().is_some_and(|extension| extension == "log"));
        let logs = logs.filter_map(|name| disk.bytes(&dir.join(name)));
        // One that was made ahead has no header yet.
        let used = logs.filter(|log| log.starts_with(b"ANNALSLG"));
        let bases = used.map(|log| Position(u64::from_le_bytes(log[24..32].try_into().unwrap()))).collect();
        Self { bases }
    }

    /// The number of the one that a position is in.
    fn of(&self, position: Position) -> usize {
        self.bases.partition_point(|base| *base <= position)
    }
}

fn nothing_is_lost(
    events: &[RecordedEvent],
    submitted: &[Submitted],
    (may_go, segments): (&MayGo, &Segments),
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
                    let segment = segments.of(Position(position));
                    let before = |event: &&RecordedEvent| {
                        event.stream == *stream
                            && event.position.0 < position
                            && segments.of(event.position) == segment
                    };
                    let before = events.iter().find(before);
                    assert!(
                        before.is_none(),
                        "{case}: {stream} version {version} is gone, and not {before:?}"
                    );
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

/// The ids of all events that streams ever had, in their order: what was acknowledged, and what is there besides.
fn histories(
    events: &[RecordedEvent],
    submitted: &[Submitted],
    case: &str,
) -> BTreeMap<StreamId, Vec<EventId>> {
    let mut known: BTreeMap<(&StreamId, u64), EventId> = BTreeMap::new();
    known.extend(events.iter().map(|event| ((&event.stream, event.version.0), event.id)));
    for batch in submitted {
        let acknowledged = batch.events.iter().zip(batch.versions());
        known.extend(acknowledged.map(|((stream, id), version)| ((stream, version), *id)));
    }
    let mut histories: BTreeMap<StreamId, Vec<EventId>> = BTreeMap::new();
    for ((stream, version), id) in known {
        let history = histories.entry(stream.clone()).or_default();
        history.push(id);
        assert_eq!(history.len() as u64, version, "{case}: nobody knows what was in {stream} before it");
    }
    histories
}

async fn streams_are_whole(
    journal: &Arc<EmbeddedJournal>,
    store: &FileSnapshots,
    (events, histories): (&[RecordedEvent], &BTreeMap<StreamId, Vec<EventId>>),
    may_go: &MayGo,
    case: &str,
) -> Found {
    let mut found = Found::default();
    for (id, history) in histories {
        let read = dynamic(journal).read_stream(id, Version(1), Direction::Forward).try_collect::<Vec<_>>();
        let read = read.await.unwrap();
        let own = events.iter().filter(|event| event.stream == *id);
        assert!(own.rev().take(read.len()).eq(read.iter().rev()), "{case}: the index of {id}");
        let given_up = history.len() - read.len();
        let kept_from = may_go.kept_from(id);
        assert!(Version(given_up as u64) < kept_from, "{case}: {id} is read from behind {given_up}");
        let stream = Stream { journal: journal.id(), id, history, read: &read, kept_from };
        found += stream.states_hold(store, case);
    }
    found
}

/// Appends to a stream of its own, and saves its state.
async fn goes_on(journal: &Arc<EmbeddedJournal>, store: &FileSnapshots, before: u64, case: &str) -> StreamId {
    let (stream, id) = (StreamId::aggregate("after", "1").unwrap(), EventId::from_u128(1));
    let event = event(id, "went-on", b"{}".to_vec());
    let appended = append(journal, Batch::of(stream.clone(), Expected::NoStream, [event])).await;
    assert_eq!(appended.expect("it goes on").first, Position(before + 1), "{case}");
    store.save(&stream, &Folded::of(&[id]).snapshot(journal.id()).unwrap());
    journal.close().await;
    stream
}
