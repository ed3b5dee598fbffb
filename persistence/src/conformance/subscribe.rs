//! What subscribing must hold.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::StreamExt;

use super::JournalFactory;
use super::kit::{append, event, many, next, one, order, soon};
use crate::{Batch, Expected, Filter, Journal, JournalExt, Position, StreamId};

/// A subscription that begins among the past delivers every event once, in order, while writers go on.
pub async fn subscriptions_have_no_gap_and_no_duplicate(factory: &impl JournalFactory) {
    const WRITERS: u64 = 4;
    const EVENTS: u64 = 300;
    let journal = factory.open().await;
    append(&journal, many(&order("past"), 500)).await;
    let writers: Vec<_> =
        (0..WRITERS).map(|n| tokio::spawn(write(Arc::clone(&journal), n, EVENTS))).collect();
    let mut events = journal.subscribe(Position::START, Filter::default());
    for expected in 1..=500 + WRITERS * EVENTS {
        assert_eq!(next(&mut events).await.position, Position(expected));
    }
    for writer in writers {
        soon("a writer's end", writer).await.expect("the writer does not panic");
    }
    assert!(events.next().now_or_never().is_none(), "nothing more is there, and the subscription waits");
}

/// Appends to a stream of its own, some of it without waiting.
async fn write(journal: Arc<dyn Journal>, writer: u64, count: u64) {
    let stream = order(&format!("writer-{writer}"));
    let mut tickets = Vec::new();
    for n in 0..count {
        tickets.push(journal.append(one(&stream, Expected::Any)));
        if n % 7 == 0 {
            for ticket in tickets.drain(..) {
                ticket.await.expect("the append is taken");
            }
        }
    }
    for ticket in tickets {
        ticket.await.expect("the append is taken");
    }
}

/// A subscription begins at any position: in the past, at the end, or above it.
pub async fn subscriptions_begin_anywhere(factory: &impl JournalFactory) {
    let journal = factory.open().await;
    append(&journal, many(&order("1"), 10)).await;
    let mut past = journal.subscribe(Position(4), Filter::default());
    let mut end = journal.subscribe(Position(11), Filter::default());
    let mut above = journal.subscribe(Position(13), Filter::default());
    for expected in 4..=10 {
        assert_eq!(next(&mut past).await.position, Position(expected));
    }
    assert!(end.next().now_or_never().is_none());
    for _ in 0..4 {
        append(&journal, one(&order("1"), Expected::Any)).await;
    }
    for expected in 11..=14 {
        assert_eq!(next(&mut past).await.position, Position(expected));
        assert_eq!(next(&mut end).await.position, Position(expected));
    }
    for expected in 13..=14 {
        assert_eq!(next(&mut above).await.position, Position(expected));
    }
}

/// A subscription with a filter passes over what it does not want, and wakes for what it does.
pub async fn subscriptions_wait_for_what_they_want(factory: &impl JournalFactory) {
    let journal = factory.open().await;
    let mut closed = journal.subscribe(Position::START, Filter::default().event_type("closed"));
    for round in 1..=5_u64 {
        append(&journal, many(&order("1"), 300)).await;
        assert!(closed.next().now_or_never().is_none());
        let wanted = Batch::of(order("2"), Expected::Any, [event("closed")]);
        let appended = append(&journal, wanted).await;
        let delivered = next(&mut closed).await;
        assert_eq!((delivered.position, delivered.version.0), (appended.last, round));
    }
}

/// Appends to the runtime's own streams move the durable position, but not the external one; a subscription that
/// wants them gets them.
pub async fn internal_streams_wake_no_relay(factory: &impl JournalFactory) {
    let journal = factory.open().await;
    let own = StreamId::internal("cursors").expect("a valid name");
    let durable = journal.durable();
    append(&journal, many(&order("1"), 2)).await;
    assert_eq!(durable.borrow().external, Position(2));
    append(&journal, many(&own, 3)).await;
    assert_eq!((durable.borrow().position, durable.borrow().external), (Position(5), Position(2)));
    let mixed = many(&own, 1).and(order("2"), Expected::Any, [event("noted")]);
    append(&journal, mixed.and(StreamId::internal("other").expect("valid"), Expected::Any, [event("x")]))
        .await;
    assert_eq!((durable.borrow().position, durable.borrow().external), (Position(8), Position(7)));
    let mut external = journal.subscribe(Position(3), Filter::default());
    let mut all = journal.subscribe(Position(3), Filter::everything());
    assert_eq!(next(&mut external).await.position, Position(7));
    for expected in 3..=8 {
        assert_eq!(next(&mut all).await.position, Position(expected));
    }
    append(&journal, one(&own, Expected::Any)).await;
    assert_eq!(next(&mut all).await.position, Position(9));
    assert!(external.next().now_or_never().is_none());
}
