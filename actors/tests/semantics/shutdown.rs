//! Stopping: what was accepted is answered, what comes later comes back.

use std::sync::Arc;

use annals_actors::testing::TestNode;
use annals_actors::{NodeOptions, Retry, SendError, StateError};
use annals_persistence::{AppendError, Version};
use tokio::task::JoinHandle;

use crate::support::{
    Command, Kept, Ledger, amounts_of, answer, calm, eventually, ledger, let_run, placed, sent, start,
    test_node,
};

fn shutdown(node: &TestNode) -> JoinHandle<()> {
    let node = node.node.clone();
    tokio::spawn(async move { node.shutdown().await })
}

#[tokio::test]
async fn accepted_commands_are_answered_and_later_ones_come_back() {
    let node = start().await;
    let (one, other) = (ledger(&node, "a"), ledger(&node, "b"));
    node.journal.hold();
    let accepted: Vec<_> = (1..=100).map(|amount| sent(one.send(Command::Add(amount)))).collect();
    let beside = sent(other.send(Command::Add(1)));
    eventually("all are submitted", || node.journal.held() == 101).await;
    let stopping = shutdown(&node);
    let_run().await;
    assert!(!stopping.is_finished(), "it waits for the disk");

    // Also the live instance takes nothing more: senders that go on sending do not keep it from ending.
    for reference in [&one, &ledger(&node, "new")] {
        let error = reference.send(Command::Add(7)).await.unwrap_err();
        assert_eq!((error.code(), error.retry()), ("stopping", Retry::Safe));
        assert!(matches!(error, SendError::Stopping { command: Command::Add(7) }));
        assert!(matches!(reference.state().await, Err(StateError::Stopping)));
    }
    node.journal.release();
    for (at, command) in accepted.into_iter().enumerate() {
        assert_eq!(answer(command).await.unwrap().version, Version(at as u64 + 1));
    }
    answer(beside).await.unwrap();
    answer(stopping).await;
    assert_eq!(amounts_of(&*node.journal, "a").await.len(), 100);
    assert_eq!(node.node.kind("ledger").unwrap().live_instances(), 0);
}

#[tokio::test]
async fn commands_behind_a_failed_append_are_answered_before_the_end() {
    let node = start().await;
    let one = ledger(&node, "a");
    node.journal.hold();
    node.journal.fail_append(3, AppendError::Busy { bytes: 1 });
    let accepted: Vec<_> = (1..=20).map(|amount| sent(one.send(Command::Add(amount)))).collect();
    eventually("all are submitted", || node.journal.held() == 20).await;
    let stopping = shutdown(&node);
    let_run().await;
    node.journal.release();
    for (nth, command) in accepted.into_iter().enumerate() {
        let answered = answer(command).await;
        assert_eq!(answered.is_ok(), nth < 2, "{nth}: {answered:?}");
    }
    answer(stopping).await;
    assert_eq!(amounts_of(&*node.journal, "a").await, [1, 2]);
}

#[tokio::test]
async fn commands_behind_a_panic_are_answered_before_the_end() {
    let node = start().await;
    let one = ledger(&node, "a");
    let accepted: Vec<_> = (0..50).map(|_| sent(one.send(Command::PanicInHandle))).collect();
    let last = sent(one.send(Command::Add(1)));
    tokio::task::yield_now().await;
    let stopping = shutdown(&node);
    for command in accepted {
        assert!(matches!(
            answer(command).await,
            Err(SendError::Panicked { .. } | SendError::Stopping { .. })
        ));
    }
    assert!(matches!(answer(last).await, Ok(_) | Err(SendError::Stopping { .. })));
    answer(stopping).await;
}

#[tokio::test]
async fn a_node_that_nobody_has_any_more_stops_by_itself() {
    let kept = Arc::new(Kept::default());
    let options = NodeOptions { snapshot_on_passivation_events: 1, ..calm() };
    let TestNode { node, journal, .. } =
        test_node().snapshots(kept.clone()).options(options).start().await.unwrap();
    let one = node.aggregate::<Ledger>("a");
    one.send(Command::Add(1)).await.unwrap();
    let clone = node.clone();
    drop(node);
    one.send(Command::Add(2)).await.unwrap();
    drop(clone);
    eventually("its instances have left", || kept.versions("a") == [2]).await;
    assert!(matches!(one.send(Command::Add(3)).await, Err(SendError::Stopping { .. })));
    drop(one);
    eventually("nothing of it is left", || Arc::strong_count(&journal) == 1).await;
}

#[tokio::test]
async fn stopping_twice_is_no_error_and_state_at_still_works() {
    let node = start().await;
    let one = ledger(&node, "a");
    one.send(Command::Add(1)).await.unwrap();
    node.node.shutdown().await;
    node.node.shutdown().await;
    assert_eq!(one.state_at(Version(1)).await.unwrap().unwrap().state.sum, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_stops_under_load_without_losing_an_answer() {
    let node = start().await;
    let senders: Vec<_> = (0..8)
        .map(|task| {
            let one = ledger(&node, &(task % 3).to_string());
            tokio::spawn(async move {
                let mut accepted = 0_u64;
                loop {
                    match one.send(Command::Add(1)).await {
                        Ok(_) => accepted += 1,
                        Err(SendError::Stopping { .. }) => return accepted,
                        Err(other) => panic!("{other:?}"),
                    }
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    eventually("there is load", || node.node.journal().durable().borrow().position.0 > 1000).await;
    answer(shutdown(&node)).await;
    let mut accepted = 0;
    for sender in senders {
        accepted += answer(sender).await;
    }
    assert_eq!(node.node.journal().durable().borrow().position, placed(accepted));
}
