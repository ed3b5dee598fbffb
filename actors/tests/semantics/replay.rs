//! Invariants 2 and 4: one at a time, and replay is truth.

use std::sync::Arc;

use annals_actors::{Aggregate, Current, Node, NodeOptions, inspector};
use annals_persistence::{EmbeddedJournal, EmbeddedOptions, Journal, Version};
use rand::Rng;
use rand::rngs::StdRng;

use crate::support::{
    Command, Happened, Kept, Ledger, answer, calm, cases, events_of, id, ledger, passivate_all, sent,
    test_node,
};

fn any_command(random: &mut StdRng) -> Command {
    match random.random_range(0..10) {
        0 => Command::Nothing,
        1 => Command::Refuse,
        2 => Command::PanicInHandle,
        3..6 => {
            Command::AddMany((0..random.random_range(0..5)).map(|_| random.random_range(-99..99)).collect())
        }
        _ => Command::Add(random.random_range(-99..99)),
    }
}

async fn folded(journal: &impl Journal) -> Ledger {
    let mut state = Ledger::default();
    for event in events_of(journal, "a").await {
        state.apply(event.decode::<Happened>().unwrap().remove(0));
    }
    state
}

/// Live, replayed, and snapshot plus tail are equal, for any history of commands, passivations and failures.
#[tokio::test]
async fn replay_is_truth() {
    cases(60, async |mut random| {
        let kept = Arc::new(Kept::default());
        let options = NodeOptions {
            snapshot_every_events: random.random_range(1..20),
            snapshot_on_passivation_events: random.random_range(1..10),
            command_ids_max: random.random_range(1..10),
            ..calm()
        };
        let node = test_node().snapshots(kept.clone()).options(options.clone()).start().await.unwrap();
        let one = ledger(&node, "a");
        let mut first_receipts = Vec::new();
        for number in 0..random.random_range(1..80_u128) {
            if random.random_ratio(1, 15) {
                passivate_all(&node).await;
            }
            if random.random_ratio(1, 15) {
                node.journal.fail_append(1, annals_persistence::AppendError::Busy { bytes: 0 });
            }
            let command = any_command(&mut random);
            // Whatever the answer is: what counts is that the states agree.
            if let Ok(receipt) = one.send(command.clone()).command_id(id(number)).await
                && receipt.events > 0
            {
                first_receipts.push((number, command, receipt));
            }
        }
        let live: Current<Ledger> = one.state().await.unwrap();
        assert_eq!(live.state, folded(&*node.journal).await);
        node.node.shutdown().await;

        let replaying = node.crashed().aggregate::<Ledger>().options(options.clone()).start().await.unwrap();
        assert_eq!(ledger(&replaying, "a").state().await.unwrap(), live);
        let from_snapshot =
            node.crashed().aggregate::<Ledger>().snapshots(kept).options(options).start().await.unwrap();
        assert_eq!(ledger(&from_snapshot, "a").state().await.unwrap(), live);

        // And they remember the same commands, with the same receipts.
        for (number, command, first) in first_receipts {
            let ask = async |node| {
                ledger(node, "a")
                    .send(command.clone())
                    .command_id(id(number))
                    .expecting(Version(1 << 40))
                    .await
                    .ok()
            };
            let (replayed, snapshot) = (ask(&replaying).await, ask(&from_snapshot).await);
            assert_eq!(replayed, snapshot);
            if let Some(again) = replayed {
                assert_eq!(
                    (again.version, again.position, again.events),
                    (first.version, first.position, first.events)
                );
            }
        }
    })
    .await;
}

/// Every command sees exactly the events of those before it: with an expected version each, one of many wins.
#[tokio::test]
async fn one_at_a_time() {
    let node = test_node().start().await.unwrap();
    let one = ledger(&node, "a");
    for round in 0..50 {
        let rivals: Vec<_> =
            (0..20).map(|n| sent(one.send(Command::Add(n)).expecting(Version(round)))).collect();
        let mut won = 0;
        for rival in rivals {
            won += usize::from(answer(rival).await.is_ok());
        }
        assert_eq!(won, 1);
    }
    assert_eq!(one.state().await.unwrap().version, Version(50));
    assert_eq!(one.state().await.unwrap().state, folded(&*node.journal).await);
}

#[tokio::test]
async fn a_long_stream_is_replayed_whole() {
    let node = test_node().start().await.unwrap();
    let one = ledger(&node, "a");
    for _ in 0..8 {
        one.send(Command::AddMany(vec![1; 128])).await.unwrap();
    }
    let live = one.state().await.unwrap();
    passivate_all(&node).await;
    assert_eq!(one.state().await.unwrap(), live);
    one.send(Command::Add(1)).await.unwrap();
    assert_eq!(one.state_at(Version(1025)).await.unwrap().unwrap().state.sum, 1025);
    assert_eq!(one.state_at(Version(256)).await.unwrap().unwrap().state.sum, 256);
    assert_eq!(one.state_at(Version(257)).await.unwrap().unwrap().state.sum, 257);
}

#[tokio::test]
async fn an_inspector_sees_the_same_without_a_node() {
    let node = test_node().start().await.unwrap();
    let one = ledger(&node, "a");
    one.send(Command::AddMany(vec![1, 2])).await.unwrap();
    let live = one.state().await.unwrap();
    let found = inspector::<Ledger>().state_json(node.node.journal(), "a", None).await.unwrap().unwrap();
    assert_eq!((found.version, found.time), (live.version, live.time));
    assert_eq!(serde_json::from_str::<Ledger>(found.state.get()).unwrap(), live.state);
    let then = inspector::<Ledger>().state_json(node.node.journal(), "a", Some(Version(1).into())).await;
    assert_eq!(serde_json::from_str::<Ledger>(then.unwrap().unwrap().state.get()).unwrap().sum, 1);
    assert!(inspector::<Ledger>().state_json(node.node.journal(), "b", None).await.unwrap().is_none());
    let event = &events_of(&*node.journal, "a").await[1];
    assert_eq!(inspector::<Ledger>().event_json(event).unwrap()["amount"], 2);
}

/// A page of a stream ends early where its events are large; the stream goes on all the same.
#[tokio::test]
async fn a_stream_of_large_events_is_replayed_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let journal: Arc<dyn Journal> =
        Arc::new(EmbeddedJournal::open(dir.path(), EmbeddedOptions::default()).unwrap());
    let start = || Node::builder().journal(Arc::clone(&journal)).aggregate::<Ledger>().start();
    let node = start().await.unwrap();
    let one = node.aggregate::<Ledger>("a");
    for _ in 0..12 {
        one.send(Command::Fragile("x".repeat(1 << 20))).await.unwrap();
    }
    let live = one.state().await.unwrap();
    node.shutdown().await;

    let node = start().await.unwrap();
    let one = node.aggregate::<Ledger>("a");
    assert_eq!(one.state().await.unwrap(), live);
    assert_eq!(one.state_at(Version(11)).await.unwrap().unwrap().version, Version(11));
    one.send(Command::Add(1)).expecting(Version(12)).await.unwrap();
    node.shutdown().await;
    journal.close().await;
}
