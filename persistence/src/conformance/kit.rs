//! What the cases share: events to append, and calls that fail loudly instead of waiting for ever.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};

use crate::{
    AppendError, Appended, Batch, CodecId, CommandMetadata, Direction, EventId, EventStream, EventView,
    Expected, Filter, Journal, JournalExt, NewEvent, Position, ReadError, RecordedEvent, StreamId, Timestamp,
    TypeName, Version,
};

/// How long one answer may take: generous, for machines that do much else.
const ANSWER_DURATION_MAX: Duration = Duration::from_secs(60);

/// Awaits something that must come.
pub(super) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(ANSWER_DURATION_MAX, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not come within {} s", ANSWER_DURATION_MAX.as_secs()),
    }
}

/// A stream of the aggregate type `order`.
pub(super) fn order(id: &str) -> StreamId {
    StreamId::aggregate("order", id).expect("a valid id")
}

/// An event of this type, with its name as payload.
pub(super) fn event(name: impl Into<TypeName>) -> NewEvent {
    let name = name.into();
    NewEvent {
        id: EventId::generate(),
        payload: Bytes::from(format!("\"{name}\"")),
        type_name: name,
        schema_version: 1,
        codec: CodecId::Json,
        command: CommandMetadata::internal(Timestamp(1_700_000_000_000_000)),
        tags: Vec::new(),
    }
}

/// A batch of one event for one stream.
pub(super) fn one(stream: &StreamId, expected: Expected) -> Batch {
    Batch::of(stream.clone(), expected, [event("noted")])
}

/// A batch of `count` events for one stream, whatever is there.
pub(super) fn many(stream: &StreamId, count: usize) -> Batch {
    Batch::of(stream.clone(), Expected::Any, (0..count).map(|n| event(format!("noted-{n}"))))
}

/// Appends what must be taken.
pub(super) async fn append(journal: &Arc<dyn Journal>, batch: Batch) -> Appended {
    soon("an append's answer", journal.append(batch)).await.expect("the append is taken")
}

/// Appends what must be refused.
pub(super) async fn refuse(journal: &Arc<dyn Journal>, batch: Batch) -> AppendError {
    soon("an append's answer", journal.append(batch)).await.expect_err("the append is refused")
}

/// Every event there is.
pub(super) async fn everything(journal: &Arc<dyn Journal>) -> Vec<RecordedEvent> {
    wanted(journal, Filter::everything()).await
}

/// Every event that a filter wants.
pub(super) async fn wanted(journal: &Arc<dyn Journal>, filter: Filter) -> Vec<RecordedEvent> {
    rest(journal.read_all(Position::START, filter)).await
}

/// What is left in a stream of events that ends.
pub(super) async fn rest(events: EventStream) -> Vec<RecordedEvent> {
    let collected: Vec<_> = soon("the end of a read", events.collect()).await;
    collected.into_iter().map(|event: Result<_, ReadError>| event.expect("the event can be read")).collect()
}

/// The next event of a subscription.
pub(super) async fn next(
    events: &mut (impl Stream<Item = Result<RecordedEvent, ReadError>> + Unpin),
) -> RecordedEvent {
    soon("the next event", events.next()).await.expect("the subscription goes on").expect("readable")
}

/// The versions of events, as plain numbers.
pub(super) fn versions(events: &[RecordedEvent]) -> Vec<u64> {
    events.iter().map(|event| event.version.0).collect()
}

/// The positions of events, as plain numbers.
pub(super) fn positions(events: &[RecordedEvent]) -> Vec<u64> {
    events.iter().map(|event| event.position.0).collect()
}

/// The last version of the only stream of an append.
pub(super) fn only_version(appended: &Appended) -> Version {
    assert_eq!(appended.versions.len(), 1, "one stream, one version");
    appended.versions[0]
}

/// What a replay of the stream from this version on looks at is what is there.
pub(super) async fn views_are_events(journal: &Arc<dyn Journal>, stream: &StreamId, from: Version) {
    let events = rest(journal.read_stream(stream, from, Direction::Forward)).await;
    let (mut pages, mut viewed) = (journal.view_stream(stream, from), 0);
    while let Some(page) = soon("a page", pages.next()).await {
        let page = page.expect("the stream can be read");
        for view in page.iter() {
            assert_eq!(view, EventView::from(&events[viewed]));
            viewed += 1;
        }
    }
    assert_eq!(viewed, events.len(), "as many are viewed as are read");
}
