//! What is kept of streams.

use std::sync::Arc;

use std::time::Duration;

use super::JournalFactory;
use super::kit::{append, event, everything, one, order, refuse, rest, soon, versions};
use crate::{
    Batch, CHECKPOINT_EVENT_TYPE, Direction, Expected, Journal, JournalExt, Position, Retention,
    ScavengeOptions, StreamId, Timestamp, Version,
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

/// What is older than it may be, by the times of its commands, is read until it is scavenged, and then goes: from the
/// first event on, and never the last. Nothing else goes. An engine that cannot scavenge has it read for ever.
///
/// # Panics
/// When the journal does not hold it.
pub async fn what_is_too_old_goes_when_it_is_scavenged(factory: &impl JournalFactory) {
    let mut journal = factory.open().await;
    let (aged, mixed) = (internal("aged"), internal("mixed"));
    with_times(&journal, &aged, &[0, 1, 2, 3, 4, 5]).await;
    with_times(&journal, &mixed, &[20, 1, 2, 3]).await;
    for stream in [&aged, &mixed] {
        set(&journal, stream, Retention { max_age: Some(Duration::from_secs(5)), ..Retention::default() })
            .await;
    }
    with_megabyte(&journal).await;
    with_times(&journal, &aged, &[6]).await;
    with_times(&journal, &mixed, &[21]).await;
    let (before, end) = (everything(&journal).await, journal.durable().borrow().position);
    assert_eq!(kept(&journal, &aged).await, [1, 2, 3, 4, 5, 6, 7], "nothing is scavenged yet");
    let Some(gone) = factory.scavenge(&as_of(5, end)).await else { return };
    assert_eq!((gone, everything(&journal).await == before), (0, true), "none is older than it may be");
    // Of those that are, an engine may leave some until more go with them; the sixth is just as old as it may be.
    let gone = factory.scavenge(&as_of(10, end)).await.expect("it can be scavenged");
    assert!(gone <= 5, "{gone} are gone, and 5 are older than they may be");
    assert_eq!(kept(&journal, &aged).await, (gone + 1..=7).collect::<Vec<_>>());
    assert_eq!(
        kept(&journal, &mixed).await,
        [1, 2, 3, 4, 5],
        "in front of what is old there is something younger"
    );
    assert!(everything(&journal).await == before[gone as usize..], "all else is there");
    goes(factory, &as_of(1000, end), 6 + 4 - gone).await;
    for round in 0..2 {
        assert_eq!((kept(&journal, &aged).await, kept(&journal, &mixed).await), (vec![7], vec![5]));
        assert_eq!(journal.stream_info(&aged).await.unwrap().map(|info| info.version), Some(Version(7)));
        assert!(everything(&journal).await == before[10..], "all else is there");
        if round == 0 {
            journal.close().await;
            drop(journal);
            let Some(opened) = factory.reopen().await else { return };
            journal = opened;
        }
    }
    append(&journal, one(&aged, Expected::Version(Version(7)))).await;
}

/// An event for each of these seconds.
async fn with_times(journal: &Arc<dyn Journal>, stream: &StreamId, seconds: &[u64]) {
    for second in seconds {
        let mut event = event("noted");
        event.command.time = Timestamp::default().plus(Duration::from_secs(*second));
        append(journal, Batch::of(stream.clone(), Expected::Any, [event])).await;
    }
}

/// So much is behind the rest that no engine has a reason to leave that alone.
async fn with_megabyte(journal: &Arc<dyn Journal>) {
    for _ in 0..64 {
        let mut large = event("large");
        large.payload = vec![7; 16 * 1024].into();
        append(journal, Batch::of(order("large"), Expected::Any, [large])).await;
    }
}

/// Everything may go that is not kept, at this second.
fn as_of(second: u64, end: Position) -> ScavengeOptions {
    let now = Timestamp::default().plus(Duration::from_secs(second));
    ScavengeOptions { now, percent_min: 0, duty_percent: 100, ..ScavengeOptions::below(end.next()) }
}

/// Scavenges until so many events are gone: an engine may have something to do before it can.
async fn goes(factory: &impl JournalFactory, options: &ScavengeOptions, count: u64) {
    let all_gone = async {
        let mut gone = 0;
        while gone < count {
            gone += factory.scavenge(options).await.expect("it can be scavenged");
            tokio::task::yield_now().await;
        }
        gone
    };
    assert_eq!(soon("what is not kept to go", all_gone).await, count);
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
            Retention { max_age: Some(Duration::from_secs(1)), ..Retention::default() },
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
