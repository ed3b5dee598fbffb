//! Invariant 1: acknowledged means durable, whatever the answer.

use annals_actors::{Current, SendError};
use annals_persistence::Version;

use crate::support::{Command, Ledger, amounts_of, answer, id, ledger, let_run, placed, sent, start};

#[tokio::test]
async fn acknowledged_means_durable() {
    let node = start().await;
    let one = ledger(&node, "a");
    one.send(Command::Add(1)).command_id(id(1)).await.unwrap();
    node.journal.hold();

    let receipt = sent(one.send(Command::Add(2)).command_id(id(2)));
    let rejection = sent(one.send(Command::Refuse));
    let conflict = sent(one.send(Command::Add(9)).expecting(Version(1)));
    let no_op = sent(one.send(Command::Nothing));
    let duplicate_in_flight = sent(one.send(Command::Add(2)).command_id(id(2)));
    let duplicate_of_durable = sent(one.send(Command::Add(1)).command_id(id(1)));
    let reused = sent(one.send(Command::Add(7)).command_id(id(1)));
    let read = tokio::spawn({
        let one = one.clone();
        async move { one.state().await }
    });
    let_run().await;
    // A later command has reached the journal: everything before it has been decided.
    let last = sent(one.send(Command::Add(3)));
    let_run().await;
    assert_eq!(node.journal.held(), 2);
    for waits in [&receipt, &rejection, &conflict, &no_op, &duplicate_in_flight, &duplicate_of_durable] {
        assert!(!waits.is_finished(), "an answer left before what it was decided on was durable");
    }
    assert!(!reused.is_finished() && !read.is_finished() && !last.is_finished());
    assert_eq!(amounts_of(&*node.journal, "a").await, [1]);

    node.journal.release_next(1);
    let first = answer(receipt).await.unwrap();
    assert_eq!((first.version, first.position, first.duplicate), (Version(2), Some(placed(2)), false));
    assert!(matches!(answer(rejection).await, Err(SendError::Rejected(no)) if no.sum == 3));
    let conflict = answer(conflict).await;
    assert!(matches!(conflict, Err(SendError::Conflict { expected: Version(1), actual: Version(2) })));
    let no_op = answer(no_op).await.unwrap();
    assert_eq!((no_op.version, no_op.position, no_op.events), (Version(2), None, 0));
    let again = answer(duplicate_in_flight).await.unwrap();
    assert_eq!((again.version, again.position, again.duplicate), (Version(2), Some(placed(2)), true));
    let again = answer(duplicate_of_durable).await.unwrap();
    assert_eq!((again.version, again.position, again.duplicate), (Version(1), Some(placed(1)), true));
    assert!(matches!(answer(reused).await, Err(SendError::CommandIdReused { .. })));
    let Current { state, version, .. } = answer(read).await.unwrap();
    assert_eq!((state.sum, version), (3, Version(2)));
    assert!(!last.is_finished(), "its own append is still held");

    node.journal.release();
    assert_eq!(answer(last).await.unwrap().version, Version(3));
}

#[tokio::test]
async fn a_panic_is_told_only_when_what_it_was_decided_on_is_durable() {
    let node = start().await;
    let one = ledger(&node, "a");
    node.journal.hold();
    let stands = sent(one.send(Command::Add(1)));
    let panicked = sent(one.send(Command::PanicInHandle));
    let_run().await;
    assert_eq!(node.journal.held(), 1);
    assert!(!panicked.is_finished());
    node.journal.release();
    answer(stands).await.unwrap();
    assert!(matches!(answer(panicked).await, Err(SendError::Panicked { .. })));
}

#[tokio::test]
async fn pipelined_commands_are_all_submitted_before_any_is_durable_and_answered_in_order() {
    let node = start().await;
    let one = ledger(&node, "a");
    node.journal.hold();
    let commands: Vec<_> = (1..=500).map(|amount| sent(one.send(Command::Add(amount)))).collect();
    crate::support::eventually("all are submitted", || node.journal.held() == 500).await;
    assert!(commands.iter().all(|command| !command.is_finished()));

    for (at, command) in commands.into_iter().enumerate() {
        node.journal.release_next(1);
        assert_eq!(answer(command).await.unwrap().version, Version(at as u64 + 1));
        assert_eq!(node.journal.held(), 499 - at, "the rest waits on");
    }
    let expected: Vec<i64> = (1..=500).collect();
    assert_eq!(amounts_of(&*node.journal, "a").await, expected);
}

#[tokio::test]
async fn time_travel_sees_nothing_that_is_not_durable() {
    let node = start().await;
    let one = ledger(&node, "a");
    one.send(Command::Add(1)).await.unwrap();
    node.journal.hold();
    let waits = sent(one.send(Command::Add(2)));
    let_run().await;
    assert_eq!(node.journal.held(), 1);
    assert_eq!(one.state_at(Version(2)).await.unwrap(), None);
    assert_eq!(one.state_at(Version(1)).await.unwrap().unwrap().state.sum, 1);
    node.journal.release();
    answer(waits).await.unwrap();
    assert_eq!(one.state_at(Version(2)).await.unwrap().unwrap().state.sum, 3);
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_crash_and_nothing_else_does() {
    let node = start().await;
    let one = ledger(&node, "a");
    one.send(Command::Add(1)).await.unwrap();
    node.journal.hold();
    let never = sent(one.send(Command::Add(2)));
    let_run().await;
    assert_eq!(node.journal.held(), 1);
    let after = node.crashed().aggregate::<Ledger>().start().await.unwrap();
    assert_eq!(ledger(&after, "a").state().await.unwrap().state.sum, 1);
    assert!(!never.is_finished());
}
