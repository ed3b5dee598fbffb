//! What closing and opening anew must hold.

use std::sync::Arc;

use futures_util::StreamExt;

use super::JournalFactory;
use super::kit::{append, event, everything, many, next, one, only_version, order, refuse, soon};
use crate::{
    AppendError, Direction, Durable, Expected, Filter, Journal, JournalExt, JournalHealth, Position,
    ReadError, StreamId, Version,
};

/// A closed journal says so to every call, and closing it again does nothing.
pub async fn closed_journals_refuse(factory: &impl JournalFactory) {
    let journal = factory.open().await;
    append(&journal, one(&order("1"), Expected::Any)).await;
    assert_eq!(journal.health(), JournalHealth::Healthy);
    close(&journal).await;
    assert_eq!(journal.health(), JournalHealth::Closed);
    let error = refuse(&journal, one(&order("1"), Expected::Any)).await;
    assert!(matches!(error, AppendError::Closed), "{error}");
    let stream = order("1");
    let page = journal.stream_page(&stream, Version(1), Direction::Forward, 1).await;
    assert!(matches!(page, Err(ReadError::Closed)), "{page:?}");
    let page = journal.all_page(Position(1), &Filter::default(), 1).await;
    assert!(matches!(page, Err(ReadError::Closed)), "{page:?}");
    let info = journal.stream_info(&stream).await;
    assert!(matches!(info, Err(ReadError::Closed)), "{info:?}");
    let streams = journal.streams_page("", None, 1).await;
    assert!(matches!(streams, Err(ReadError::Closed)), "{streams:?}");
    close(&journal).await;
}

async fn close(journal: &Arc<dyn Journal>) {
    soon("the end of closing", journal.close()).await;
}

/// Whoever submitted before closing is answered, one way or the other, and what was answered with success is there.
pub async fn closing_answers_what_was_submitted(factory: &impl JournalFactory) {
    let journal = factory.open().await;
    let stream = order("1");
    let tickets: Vec<_> = (0..200).map(|_| journal.append(one(&stream, Expected::Any))).collect();
    close(&journal).await;
    let mut taken = 0;
    for ticket in tickets {
        match soon("an append's answer", ticket).await {
            Ok(appended) => taken = only_version(&appended).0,
            Err(error) => assert!(matches!(error, AppendError::Closed), "{error}"),
        }
    }
    let Some(reopened) = reopen(factory, journal).await else { return };
    let info = reopened.stream_info(&stream).await.expect("readable");
    assert_eq!(info.map_or(0, |info| info.version.0), taken);
}

async fn reopen(factory: &impl JournalFactory, journal: Arc<dyn Journal>) -> Option<Arc<dyn Journal>> {
    close(&journal).await;
    drop(journal);
    factory.reopen().await
}

/// A subscription that waits learns that the journal was closed.
pub async fn closing_ends_subscriptions(factory: &impl JournalFactory) {
    let journal = factory.open().await;
    append(&journal, one(&order("1"), Expected::Any)).await;
    let mut events = journal.subscribe(Position::START, Filter::default());
    next(&mut events).await;
    let waiting = tokio::spawn(async move { (events.next().await, events.next().await) });
    close(&journal).await;
    let (error, end) = soon("the subscription's end", waiting).await.expect("it does not panic");
    assert!(matches!(error, Some(Err(ReadError::Closed))), "{error:?}");
    assert!(end.is_none(), "a stream of events ends at its first error");
}

/// Opened anew a journal is the same history, and goes on where it ended.
pub async fn reopening_keeps_everything(factory: &impl JournalFactory) {
    let journal = factory.open().await;
    let id = journal.id();
    let own = StreamId::internal("own").expect("a valid name");
    append(&journal, many(&order("1"), 40)).await;
    append(&journal, many(&order("2"), 1).and(own.clone(), Expected::NoStream, [event("kept")])).await;
    let (events, durable) = (everything(&journal).await, *journal.durable().borrow());
    assert_eq!(durable, Durable { position: Position(42), external: Position(41) });
    let Some(journal) = reopen(factory, journal).await else { return };
    assert_eq!((journal.id(), journal.health()), (id, JournalHealth::Healthy));
    assert_eq!(*journal.durable().borrow(), durable);
    assert!(everything(&journal).await == events, "the events differ after opening anew");
    refuse(&journal, one(&order("1"), Expected::Version(Version(39)))).await;
    let appended = append(&journal, one(&order("1"), Expected::Version(Version(40)))).await;
    assert_eq!((appended.first, only_version(&appended)), (Position(43), Version(41)));
}
