use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::timeout;

use super::*;
use crate::{
    AppendError, CodecId, CommandMetadata, EventId, Expected, MemoryJournal, NewEvent, Outcome, Timestamp,
};

fn event() -> NewEvent {
    NewEvent {
        id: EventId::generate(),
        type_name: "noted".into(),
        schema_version: 1,
        codec: CodecId::Json,
        payload: bytes::Bytes::from_static(b"{}"),
        command: CommandMetadata::internal(Timestamp(0)),
        tags: Vec::new(),
    }
}

fn batch(stream: &StreamId, count: usize) -> Batch {
    Batch::of(stream.clone(), Expected::Any, (0..count).map(|_| event()))
}

fn journal() -> (Arc<MemoryJournal>, Arc<dyn Journal>, StreamId) {
    let memory = Arc::new(MemoryJournal::new());
    let journal: Arc<dyn Journal> = Arc::clone(&memory) as _;
    (memory, journal, StreamId::aggregate("order", "1").unwrap())
}

/// What a stream of events delivers without waiting.
fn at_once(events: &mut EventStream) -> Vec<u64> {
    std::iter::from_fn(|| events.next().now_or_never().flatten())
        .map(|event| event.unwrap().position.0)
        .collect()
}

#[tokio::test]
async fn streams_longer_than_a_page_read_whole_both_ways() {
    let (_, journal, stream) = journal();
    for count in [*PAGE_EVENTS.start() - 1, 1, 1] {
        journal.append(batch(&stream, count)).await.unwrap();
        let end = journal.durable().borrow().position.0;
        let mut forward = journal.read_stream(&stream, Version::NONE, Direction::Forward);
        assert_eq!(at_once(&mut forward), (1..=end).collect::<Vec<_>>());
        let mut backward = journal.read_stream(&stream, Version(end), Direction::Backward);
        assert_eq!(at_once(&mut backward), (1..=end).rev().collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_read_ends_after_its_first_error() {
    let (_, journal, stream) = journal();
    journal.append(batch(&stream, 1)).await.unwrap();
    journal.close().await;
    for mut events in [
        journal.read_stream(&stream, Version(1), Direction::Forward),
        journal.read_all(Position(1), Filter::default()),
        journal.subscribe(Position(1), Filter::default()),
    ] {
        assert!(matches!(events.next().await, Some(Err(ReadError::Closed))));
        assert!(events.next().await.is_none());
    }
}

#[tokio::test]
async fn what_is_not_durable_is_not_read() {
    let (memory, journal, stream) = journal();
    journal.append(batch(&stream, 2)).await.unwrap();
    memory.hold();
    let ticket = journal.append(batch(&stream, 2));
    let mut live = journal.subscribe(Position(1), Filter::default());
    assert_eq!(at_once(&mut live), [1, 2]);
    assert_eq!(at_once(&mut journal.read_all(Position(1), Filter::default())), [1, 2]);
    assert_eq!(at_once(&mut journal.read_stream(&stream, Version(1), Direction::Forward)), [1, 2]);
    memory.release();
    ticket.await.unwrap();
    assert_eq!(at_once(&mut live), [3, 4]);
}

#[tokio::test]
async fn a_subscription_wakes_whoever_waits_for_it() {
    let (_, journal, stream) = journal();
    let mut live = journal.subscribe(Position(1), Filter::default());
    let waiting = tokio::spawn(async move { live.next().await });
    tokio::task::yield_now().await;
    journal.append(batch(&stream, 1)).await.unwrap();
    let event = timeout(Duration::from_secs(30), waiting).await.unwrap().unwrap().unwrap().unwrap();
    assert_eq!(event.position, Position(1));
}

#[tokio::test]
async fn a_completion_dropped_uncalled_tells_whoever_waits() {
    let (completion, ticket) = ticket();
    drop(completion);
    let error = ticket.await.unwrap_err();
    assert_eq!((error.outcome(), error.code()), (Outcome::Unknown, "outcome_unknown"));
    assert!(matches!(error, AppendError::OutcomeUnknown { source: None, .. }));
}
