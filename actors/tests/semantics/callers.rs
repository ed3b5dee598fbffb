//! Callers that leave, that ask for what there is not, and nodes that cannot start.

use std::time::Duration;

use annals_actors::testing::TestNode;
use annals_actors::{
    Aggregate, Context, Event, Node, Retry, SendError, SendOptions, Shape, StartError, StateError,
};
use annals_persistence::{MemoryJournal, Version};
use serde::{Deserialize, Serialize};

use crate::support::{Command, Ledger, answer, eventually, ledger, let_run, sent, start};

/// Registered nowhere, or under a name that is taken or not allowed.
macro_rules! other {
    ($name:ident, $type:literal) => {
        #[derive(Debug, Clone, Default, Serialize, Deserialize, Shape)]
        struct $name {}

        impl Aggregate for $name {
            const TYPE: &'static str = $type;
            type Command = ();
            type Event = Never;
            type Rejection = std::convert::Infallible;

            fn handle(&self, (): (), _context: &Context) -> Result<Vec<Never>, Self::Rejection> {
                Ok(vec![])
            }

            fn apply(&mut self, _event: Never) {}
        }
    };
}

#[derive(Debug, Clone, PartialEq, Event)]
enum Never {
    #[event("never")]
    Never,
}

other!(Stranger, "stranger");
other!(Twin, "ledger");
other!(Misnamed, "Not-A-Name");

#[tokio::test]
async fn a_caller_that_leaves_takes_nothing_with_it() {
    let node = start().await;
    let one = ledger(&node, "a");
    node.journal.hold();
    let leaves = sent(one.send(Command::Add(1)));
    let stays = sent(one.send(Command::Add(2)));
    eventually("both are submitted", || node.journal.held() == 2).await;
    leaves.abort();
    assert!(leaves.await.is_err());
    node.journal.release();
    assert_eq!(answer(stays).await.unwrap().version, Version(2));
    assert_eq!(one.state().await.unwrap().state.sum, 3);
}

#[tokio::test]
async fn a_request_that_is_not_awaited_does_nothing() {
    let node = start().await;
    drop(ledger(&node, "a").send(Command::Add(1)));
    let_run().await;
    assert_eq!(ledger(&node, "a").state().await.unwrap().version, Version(0));
}

#[tokio::test]
async fn a_deadline_that_passes_is_no_failure_of_the_command() {
    let node = start().await;
    let one = ledger(&node, "a");
    node.journal.hold();
    let id = crate::support::id(1);
    let late = sent(one.send(Command::Add(1)).command_id(id).timeout(Duration::from_secs(5)));
    eventually("it is submitted", || node.journal.held() == 1).await;
    node.clock.advance(Duration::from_millis(4999));
    let_run().await;
    assert!(!late.is_finished());
    node.clock.advance(Duration::from_millis(1));
    let error = answer(late).await.unwrap_err();
    assert!(matches!(error, SendError::TimedOut));
    assert_eq!((error.code(), error.retry()), ("timed_out", Retry::SameCommandId));
    node.journal.release();
    let again = one.send(Command::Add(1)).command_id(id).await.unwrap();
    assert_eq!((again.version, again.duplicate), (Version(1), true));
}

#[tokio::test]
async fn an_aggregate_that_is_not_registered_is_an_error() {
    let node = start().await;
    let stranger = node.node.aggregate::<Stranger>("a");
    let error = stranger.send(()).await.unwrap_err();
    assert_eq!((error.code(), error.retry()), ("aggregate_not_registered", Retry::Never));
    assert!(matches!(stranger.state().await, Err(StateError::NotRegistered { type_name: "stranger" })));
    assert!(stranger.state_at(Version(1)).await.is_err() && stranger.history(Version(1)).is_err());
    assert!(node.node.kind("stranger").is_none());
}

#[tokio::test]
async fn an_id_that_cannot_name_an_instance_is_an_error() {
    let node = start().await;
    for id in ["", "with space", "tab\t", &"long".repeat(100)] {
        let one = ledger(&node, id);
        let error = one.send(Command::Add(1)).await.unwrap_err();
        assert!(matches!(error, SendError::InvalidId(_)) && error.retry() == Retry::Never, "{id}: {error}");
        assert!(matches!(one.state().await, Err(StateError::InvalidId(_))));
        assert!(one.stream().is_err());
    }
}

#[tokio::test]
async fn a_node_that_cannot_work_does_not_start() {
    let none = Node::builder().aggregate::<Ledger>().start().await.unwrap_err();
    assert!(matches!(none, StartError::NoJournal) && none.code() == "no_journal");
    let journal = || Node::builder().journal(MemoryJournal::new().into());
    let twins = journal().aggregate::<Ledger>().aggregate::<Twin>().start().await.unwrap_err();
    assert!(matches!(twins, StartError::DuplicateType { type_name: "ledger" }), "{twins:?}");
    let twice = journal().aggregate::<Ledger>().aggregate::<Ledger>().start().await.unwrap_err();
    assert_eq!(twice.code(), "duplicate_aggregate_type");
    let misnamed = journal().aggregate::<Misnamed>().start().await.unwrap_err();
    assert!(matches!(misnamed, StartError::TypeName(_)), "{misnamed:?}");
}

#[tokio::test]
async fn commands_can_be_sent_as_json() {
    let node: TestNode = start().await;
    let kind = node.node.kind("ledger").unwrap();
    let send = |command: serde_json::Value, options| {
        let kind = kind.clone();
        async move { kind.send_json("a", command, options).await }
    };
    let receipt = send(serde_json::json!({"Add": 5}), SendOptions::default()).await.unwrap();
    assert_eq!(receipt.version, Version(1));
    let refused = send("Refuse".into(), SendOptions::default()).await.unwrap_err();
    assert_eq!((refused.code, refused.rejected), ("rejected", true));
    assert!(refused.message.contains("refused at 5"), "{}", refused.message);
    let stale = SendOptions { expecting: Some(Version(7)), ..SendOptions::default() };
    let conflict = send(serde_json::json!({"Add": 5}), stale).await.unwrap_err();
    assert_eq!((conflict.code, conflict.rejected, conflict.retry), ("version_conflict", false, Retry::Never));
    let nonsense = send("Dance".into(), SendOptions::default()).await.unwrap_err();
    assert_eq!((nonsense.code, nonsense.retry), ("undecodable_command", Retry::Never));
}
