//! An actor that is ended from outside, which no user of the crate can do.

use std::future::IntoFuture;
use std::time::{Duration, Instant};

use annals_persistence::{StreamId, Version};
use ractor::ActorStatus;

use super::*;
use crate::doc::{Account, AccountCommand};
use crate::testing::TestNode;
use crate::{AggregateRef, Receipt, SendError};

type Sent = tokio::task::JoinHandle<Result<Receipt, SendError<Account>>>;

async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "it never came to be that {what}");
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
}

fn deposit(account: &AggregateRef<Account>) -> Sent {
    tokio::spawn(account.send(AccountCommand::Deposit { amount: 1 }).into_future())
}

/// The live instance behind a reference, as the registry has it.
fn live(node: &TestNode) -> Arc<Instance<Account>> {
    let kind = node.node.aggregate::<Account>("a").kind_of_tests();
    let stream = StreamId::aggregate("account", "a").unwrap();
    kind.registry.all().into_iter().find(|instance| instance.stream == stream).unwrap()
}

/// Ends the actor of the only live instance.
async fn kill(instance: &Instance<Account>) {
    let actor = instance.kind.supervisor.cell().get_children().pop().unwrap();
    actor.kill();
    eventually("it is dead", || actor.get_status() == ActorStatus::Stopped).await;
}

async fn start() -> (TestNode, AggregateRef<Account>) {
    let node = TestNode::builder().aggregate::<Account>().start().await.unwrap();
    let account = node.node.aggregate::<Account>("a");
    (node, account)
}

/// Moves the clock until the supervisor has replaced the actor and this is answered.
async fn answered(node: &TestNode, sent: Sent) -> Receipt {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !sent.is_finished() {
        assert!(Instant::now() < deadline, "no answer came");
        node.clock.advance(Duration::from_millis(10));
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    sent.await.unwrap().unwrap()
}

#[tokio::test]
async fn a_killed_actor_is_replaced_and_what_was_queued_is_answered() {
    let (node, account) = start().await;
    account.send(AccountCommand::Deposit { amount: 1 }).await.unwrap();
    node.journal.hold();
    let under_way = deposit(&account);
    eventually("it is submitted", || node.journal.held() == 1).await;
    kill(&live(&node)).await;
    let queued: Vec<_> = (0..10).map(|_| deposit(&account)).collect();
    for _ in 0..100 {
        node.clock.advance(Duration::from_millis(10));
        tokio::task::yield_now().await;
    }
    assert_eq!(node.journal.held(), 1, "the new actor begins only when the old one's appends are answered");
    node.journal.release();
    assert_eq!(answered(&node, under_way).await.version, Version(2));
    for (at, command) in queued.into_iter().enumerate() {
        assert_eq!(answered(&node, command).await.version, Version(at as u64 + 3));
    }
    assert_eq!(account.state().await.unwrap().state.balance, 12);
}

#[tokio::test]
async fn a_killed_actor_is_not_replaced_twice_and_passivates_as_any_other() {
    let (node, account) = start().await;
    for round in 1..=5 {
        let first = deposit(&account);
        assert_eq!(answered(&node, first).await.version, Version(round));
        kill(&live(&node)).await;
    }
    let last = deposit(&account);
    answered(&node, last).await;
    let kind = node.node.kind("account").unwrap();
    eventually("it passivates", || {
        node.clock.advance(Duration::from_secs(60));
        kind.live_instances() == 0
    })
    .await;
}

#[tokio::test]
async fn a_node_stops_although_the_word_to_drain_met_a_dead_actor() {
    let (node, account) = start().await;
    account.send(AccountCommand::Deposit { amount: 1 }).await.unwrap();
    let instance = live(&node);
    kill(&instance).await;
    let queued = deposit(&account);
    tokio::task::yield_now().await;
    let stopping = tokio::spawn({
        let node = node.node.clone();
        async move { node.shutdown().await }
    });
    assert_eq!(answered(&node, queued).await.version, Version(2));
    tokio::time::timeout(Duration::from_secs(30), stopping).await.expect("it never stopped").unwrap();
}
