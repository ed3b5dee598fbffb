//! Invariant 9: everything is bounded. What is refused comes back, what is accepted is answered.

use annals_actors::{NodeOptions, Retry, SendError, StateError};
use annals_persistence::Version;

use crate::support::{Command, answer, calm, eventually, ledger, let_run, sent, test_node};

#[tokio::test]
async fn everything_is_bounded_and_excess_comes_back_intact() {
    let options = NodeOptions { mailbox_capacity: 10, ..calm() };
    let node = test_node().options(options).start().await.unwrap();
    let one = ledger(&node, "a");
    node.journal.hold();
    let accepted: Vec<_> = (1..=10).map(|amount| sent(one.send(Command::Add(amount)))).collect();
    eventually("all are submitted", || node.journal.held() == 10).await;

    // The disk stands still: neither commands nor answers may pile up behind it.
    for amount in 11..=30 {
        let error = one.send(Command::Add(amount)).await.unwrap_err();
        assert_eq!((error.code(), error.retry()), ("mailbox_full", Retry::Safe));
        let SendError::MailboxFull { command, capacity: 10 } = error else { panic!("{error:?}") };
        assert_eq!(command, Command::Add(amount));
    }
    assert!(matches!(one.state().await, Err(StateError::MailboxFull { capacity: 10 })));
    assert!(matches!(one.send(Command::Nothing).await, Err(SendError::MailboxFull { .. })));
    let beside = sent(ledger(&node, "b").send(Command::Add(1)));
    eventually("another instance is not in the way", || node.journal.held() == 11).await;

    node.journal.release();
    for command in accepted {
        answer(command).await.unwrap();
    }
    answer(beside).await.unwrap();
    assert_eq!(one.send(Command::Add(1)).await.unwrap().version, Version(11), "there is room again");
}

#[tokio::test]
async fn a_burst_is_refused_at_the_door_and_nothing_accepted_is_lost() {
    let options = NodeOptions { mailbox_capacity: 5, ..calm() };
    let node = test_node().options(options).start().await.unwrap();
    let one = ledger(&node, "a");
    let burst: Vec<_> = (0..100).map(|_| sent(one.send(Command::Add(1)))).collect();
    let (mut accepted, mut refused) = (0, 0);
    for command in burst {
        match answer(command).await {
            Ok(_) => accepted += 1,
            Err(SendError::MailboxFull { .. }) => refused += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(accepted >= 5 && refused > 0, "{accepted} accepted, {refused} refused");
    assert_eq!(one.state().await.unwrap().version, Version(accepted));
}

#[tokio::test]
async fn control_is_never_refused() {
    let options = NodeOptions { mailbox_capacity: 1, ..calm() };
    let node = test_node().options(options).start().await.unwrap();
    let one = ledger(&node, "a");
    node.journal.hold();
    let accepted = sent(one.send(Command::Add(1)));
    eventually("it is submitted", || node.journal.held() == 1).await;
    assert!(matches!(one.send(Command::Add(2)).await, Err(SendError::MailboxFull { .. })));
    let stopping = tokio::spawn({
        let node = node.node.clone();
        async move { node.shutdown().await }
    });
    let_run().await;
    node.journal.release();
    answer(accepted).await.unwrap();
    answer(stopping).await;
}
