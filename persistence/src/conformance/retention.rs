//! What is kept of streams.

use std::sync::Arc;

use super::JournalFactory;
use super::kit::{append, event, everything, one, order, refuse, rest, versions};
use crate::{
    Batch, CHECKPOINT_EVENT_TYPE, Direction, Expected, Journal, JournalExt, Retention, StreamId, Version,
};

fn internal(name: &str) -> StreamId {
    StreamId::internal(name).expect("a valid name")
}

async fn with_events(journal: &Arc<dyn Journal>, stream: &StreamId, count: usize) {
    for _ in 0..count {
        append(journal, one(stream, Expected::Any)).await;
    }
}

async fn set(journal: &Arc<dyn Journal>, stream: &StreamId, retention: Retention) {
    append(journal, Batch::default().retaining(stream.clone(), retention)).await;
}

async fn kept(journal: &Arc<dyn Journal>, stream: &StreamId) -> Vec<u64> {
    let forward = versions(&rest(journal.read_stream(stream, Version(1), Direction::Forward)).await);
    let mut backward =
        versions(&rest(journal.read_stream(stream, Version(u64::MAX), Direction::Backward)).await);
    backward.reverse();
    assert_eq!(forward, backward, "both ways the same");
    forward
}

/// What is not kept of a stream is not read from it; versions, expectations and the order of all events stay.
///
/// # Panics
/// When the journal does not hold it.
pub async fn what_is_not_kept_is_not_read(factory: &impl JournalFactory) {
    let mut journal = factory.open().await;
    let (counted, truncated) = (internal("counted"), internal("truncated"));
    with_events(&journal, &counted, 7).await;
    with_events(&journal, &truncated, 7).await;
    set(&journal, &counted, Retention { max_count: Some(3), ..Retention::default() }).await;
    set(&journal, &truncated, Retention { truncate_before: Version(6), ..Retention::default() }).await;
    set(&journal, &truncated, Retention { truncate_before: Version(2), ..Retention::default() }).await;
    for round in 0..3 {
        let added = round.min(1);
        assert_eq!(kept(&journal, &counted).await, [5 + added, 6 + added, 7 + added]);
        assert_eq!(
            kept(&journal, &truncated).await,
            (6..=7 + added).collect::<Vec<_>>(),
            "it never goes back"
        );
        assert_eq!(journal.stream_info(&counted).await.unwrap().unwrap().version, Version(7 + added));
        assert_eq!(everything(&journal).await.len() as u64, 14 + 2 * added, "nothing is scavenged yet");
        if round == 0 {
            append(&journal, one(&counted, Expected::Version(Version(7)))).await;
            append(&journal, one(&truncated, Expected::Version(Version(7)))).await;
        } else if round == 1 {
            journal.close().await;
            drop(journal);
            let Some(opened) = factory.reopen().await else { return };
            journal = opened;
        }
    }
}

/// The last event is kept whatever is set: it says how far the stream goes.
///
/// # Panics
/// When the journal does not hold it.
pub async fn the_last_event_is_always_kept(factory: &impl JournalFactory) {
    let journal = factory.open().await;
    let stream = internal("last");
    with_events(&journal, &stream, 4).await;
    for retention in [
        Retention { max_count: Some(0), ..Retention::default() },
        Retention { truncate_before: Version(1_000), ..Retention::default() },
    ] {
        set(&journal, &stream, retention).await;
        assert_eq!(kept(&journal, &stream).await, [4]);
    }
    append(&journal, one(&stream, Expected::Version(Version(4)))).await;
    assert_eq!(kept(&journal, &stream).await, [5]);
}

/// A stream with a tombstone is gone for good.
///
/// # Panics
/// When the journal does not hold it.
pub async fn a_tombstone_is_for_good(factory: &impl JournalFactory) {
    let journal = factory.open().await;
    let (gone, stays) = (order("gone"), order("stays"));
    with_events(&journal, &gone, 2).await;
    with_events(&journal, &stays, 2).await;
    set(&journal, &gone, Retention::gone()).await;
    set(&journal, &gone, Retention::default()).await;
    assert_eq!(kept(&journal, &gone).await, Vec::<u64>::new());
    assert_eq!(journal.stream_info(&gone).await.unwrap(), None);
    let listed = journal.streams_page("order-", None, 10).await.unwrap();
    assert!(listed.iter().map(|info| &info.stream).eq([&stays]), "{listed:?}");
    for expected in [Expected::Any, Expected::NoStream, Expected::Version(Version(2))] {
        let both = one(&gone, expected).and(stays.clone(), Expected::Any, [event("noted")]);
        assert_eq!(refuse(&journal, both).await.code(), "stream_gone");
    }
    assert_eq!(kept(&journal, &stays).await, [1, 2]);
    // A batch that sets the tombstone may append what is last said of the stream.
    let last = one(&stays, Expected::Version(Version(2))).retaining(stays.clone(), Retention::gone());
    assert_eq!(append(&journal, last).await.versions[0], Version(3));
    assert_eq!(refuse(&journal, one(&stays, Expected::Any)).await.code(), "stream_gone");
}

/// What is set goes with its batch: where the batch is refused, nothing is set.
///
/// # Panics
/// When the journal does not hold it.
pub async fn retention_goes_with_its_batch(factory: &impl JournalFactory) {
    let journal = factory.open().await;
    let stream = internal("kept");
    with_events(&journal, &stream, 3).await;
    let last = Retention { max_count: Some(1), ..Retention::default() };
    let wrong = one(&stream, Expected::NoStream).retaining(stream.clone(), last);
    assert_eq!(refuse(&journal, wrong).await.code(), "version_conflict");
    assert_eq!(kept(&journal, &stream).await, [1, 2, 3]);
    append(&journal, one(&stream, Expected::Version(Version(3))).retaining(stream.clone(), last)).await;
    assert_eq!(kept(&journal, &stream).await, [4]);
}

/// Of an aggregate's stream everything is kept since a checkpoint, and nothing is truncated without one.
///
/// # Panics
/// When the journal does not hold it.
pub async fn aggregates_are_truncated_at_a_checkpoint_only(factory: &impl JournalFactory) {
    let journal = factory.open().await;
    let stream = order("1");
    with_events(&journal, &stream, 3).await;
    let before = |version| Retention { truncate_before: Version(version), ..Retention::default() };
    let checkpoint = |expected| Batch::of(stream.clone(), expected, [event(CHECKPOINT_EVENT_TYPE)]);
    let refused = [
        Batch::default().retaining(stream.clone(), before(3)),
        one(&stream, Expected::Version(Version(3))).retaining(stream.clone(), before(4)),
        checkpoint(Expected::Any).retaining(stream.clone(), before(4)),
        checkpoint(Expected::Any).retaining(stream.clone(), before(2)),
        checkpoint(Expected::Version(Version(3))).retaining(stream.clone(), before(5)),
        Batch::default().retaining(stream.clone(), Retention { max_count: Some(2), ..Retention::default() }),
        Batch::default().retaining(
            stream.clone(),
            Retention { max_age: Some(std::time::Duration::from_secs(1)), ..Retention::default() },
        ),
    ];
    for batch in refused {
        assert_eq!(refuse(&journal, batch).await.code(), "invalid_batch");
    }
    assert_eq!(kept(&journal, &stream).await, [1, 2, 3]);
    append(&journal, checkpoint(Expected::Version(Version(3))).retaining(stream.clone(), before(4))).await;
    append(&journal, one(&stream, Expected::Version(Version(4)))).await;
    assert_eq!(kept(&journal, &stream).await, [4, 5]);
    // Some of what is in front of a checkpoint may stay.
    append(&journal, one(&stream, Expected::Version(Version(5)))).await;
    append(&journal, checkpoint(Expected::Version(Version(6))).retaining(stream.clone(), before(6))).await;
    assert_eq!(kept(&journal, &stream).await, [6, 7]);
}
