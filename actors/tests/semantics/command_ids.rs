//! Idempotent commands: one id, one effect.

use std::sync::Arc;

use annals_actors::testing::TestNode;
use annals_actors::{NodeOptions, Receipt, Retry, SendError};
use annals_persistence::Version;

use crate::support::{
    Command, Kept, Ledger, amounts_of, answer, calm, id, ledger, let_run, passivate_all, placed, sent, start,
    test_node,
};

fn is_repeated(again: Receipt, first: Receipt) {
    assert!(again.duplicate && !first.duplicate);
    assert_eq!(Receipt { duplicate: false, ..again }, first);
}

#[tokio::test]
async fn an_id_is_looked_up_before_the_expected_version() {
    let node = start().await;
    let one = ledger(&node, "a");
    let first = one.send(Command::Add(1)).command_id(id(1)).expecting(Version(0)).await.unwrap();
    one.send(Command::Add(2)).await.unwrap();
    let again = one.send(Command::Add(1)).command_id(id(1)).expecting(Version(0)).await.unwrap();
    is_repeated(again, first);
}

#[tokio::test]
async fn a_repetition_gets_the_first_receipt_wherever_the_instance_has_been_since() {
    let node = start().await;
    let many = || Command::AddMany(vec![1, 2, 3]);
    let one = ledger(&node, "a");
    one.send(Command::Add(9)).await.unwrap();
    let first = one.send(many()).command_id(id(1)).await.unwrap();
    assert_eq!((first.version, first.position, first.events), (Version(4), Some(placed(4)), 3));
    is_repeated(one.send(many()).command_id(id(1)).await.unwrap(), first);

    passivate_all(&node).await;
    is_repeated(one.send(many()).command_id(id(1)).await.unwrap(), first);

    let after = node.crashed().aggregate::<Ledger>().start().await.unwrap();
    is_repeated(ledger(&after, "a").send(many()).command_id(id(1)).await.unwrap(), first);
    assert_eq!(amounts_of(&*after.journal, "a").await, [9, 1, 2, 3]);
}

#[tokio::test]
async fn a_repetition_is_known_from_a_snapshot() {
    let kept = Arc::new(Kept::default());
    let options = || NodeOptions { snapshot_every_events: 10, ..calm() };
    let node = test_node().snapshots(kept.clone()).options(options()).start().await.unwrap();
    let one = ledger(&node, "a");
    let first = one.send(Command::Add(5)).command_id(id(1)).await.unwrap();
    for _ in 0..12 {
        one.send(Command::Add(1)).await.unwrap();
    }
    node.node.shutdown().await;
    assert_eq!(kept.versions("a"), [10]);
    let after =
        node.crashed().snapshots(kept).options(options()).aggregate::<Ledger>().start().await.unwrap();
    is_repeated(ledger(&after, "a").send(Command::Add(5)).command_id(id(1)).await.unwrap(), first);
}

#[tokio::test]
async fn one_id_with_two_contents_is_an_error() {
    let node = start().await;
    let one = ledger(&node, "a");
    one.send(Command::Add(1)).command_id(id(1)).await.unwrap();
    let error = one.send(Command::Add(2)).command_id(id(1)).await.unwrap_err();
    assert!(matches!(error, SendError::CommandIdReused { command_id } if command_id == id(1)));
    assert_eq!((error.code(), error.retry()), ("command_id_reused", Retry::Never));
    // Another instance knows nothing of it.
    assert!(!ledger(&node, "b").send(Command::Add(2)).command_id(id(1)).await.unwrap().duplicate);
}

#[tokio::test]
async fn only_commands_that_appended_are_remembered() {
    let node = start().await;
    let one = ledger(&node, "a");
    assert!(one.send(Command::Refuse).command_id(id(1)).await.is_err());
    assert_eq!(one.send(Command::Nothing).command_id(id(2)).await.unwrap().events, 0);
    assert!(one.send(Command::Add(1)).command_id(id(3)).expecting(Version(7)).await.is_err());
    assert!(one.send(Command::PanicInHandle).command_id(id(4)).await.is_err());
    for number in 1..=4 {
        let receipt = one.send(Command::Add(1)).command_id(id(number)).await.unwrap();
        assert!(!receipt.duplicate, "{number} had no effect before");
    }
}

async fn remembering(count: usize) -> TestNode {
    let options = NodeOptions { command_ids_max: count, ..calm() };
    test_node().options(options).start().await.unwrap()
}

#[tokio::test]
async fn everything_is_bounded_the_last_ids_and_the_creating_one_are_remembered() {
    let node = remembering(3).await;
    let one = ledger(&node, "a");
    for number in 1..=6 {
        one.send(Command::Add(1)).command_id(id(number)).await.unwrap();
    }
    let assert_remembered = async || {
        for number in [1, 4, 5, 6] {
            let receipt = one.send(Command::Add(1)).command_id(id(number)).await.unwrap();
            assert!(receipt.duplicate, "{number} is among the last, or the creating one");
        }
    };
    assert_remembered().await;
    passivate_all(&node).await;
    assert_remembered().await;
    for number in [2, 3] {
        assert!(!one.send(Command::Add(1)).command_id(id(number)).await.unwrap().duplicate);
    }
}

#[tokio::test]
async fn a_duplicate_in_flight_gets_the_first_receipt_even_if_forgotten_meanwhile() {
    let node = remembering(1).await;
    let one = ledger(&node, "a");
    one.send(Command::Add(1)).await.unwrap();
    node.journal.hold();
    let first = sent(one.send(Command::Add(2)).command_id(id(2)));
    let again = sent(one.send(Command::Add(2)).command_id(id(2)));
    let pushes_it_out = sent(one.send(Command::Add(3)).command_id(id(3)));
    let_run().await;
    assert_eq!(node.journal.held(), 2);
    node.journal.release();
    is_repeated(answer(again).await.unwrap(), answer(first).await.unwrap());
    answer(pushes_it_out).await.unwrap();
    assert!(!one.send(Command::Add(2)).command_id(id(2)).await.unwrap().duplicate, "now it is forgotten");
}

#[tokio::test]
async fn what_is_in_flight_counts_among_the_last() {
    let node = remembering(2).await;
    let one = ledger(&node, "a");
    node.journal.hold();
    let sends: Vec<_> = (1..=4).map(|n| sent(one.send(Command::Add(1)).command_id(id(n)))).collect();
    let_run().await;
    let repeated: Vec<_> = [1, 3, 4].map(|n| sent(one.send(Command::Add(1)).command_id(id(n)))).into();
    let forgotten = sent(one.send(Command::Add(1)).command_id(id(2)));
    let_run().await;
    assert_eq!(node.journal.held(), 5, "only the forgotten one is carried out again");
    node.journal.release();
    for command in sends.into_iter().chain([forgotten]) {
        assert!(!answer(command).await.unwrap().duplicate);
    }
    for command in repeated {
        assert!(answer(command).await.unwrap().duplicate);
    }
}
