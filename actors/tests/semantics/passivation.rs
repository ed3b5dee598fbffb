//! Passivation: instances come and go, and no command notices.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use annals_actors::{AggregateKind, Node, NodeOptions};
use annals_persistence::{
    Direction, Journal, JournalLayer, MemoryJournal, ReadError, StreamId, StreamPage, Version,
};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

use crate::support::{
    Command, Ledger, amounts_of, answer, calm, eventually, ledger, let_run, passivate_all, raw_event, sent,
    start, test_node, write_past,
};

fn live(node: &Node) -> usize {
    node.kind("ledger").map_or(0, |kind: Arc<dyn AggregateKind>| kind.live_instances())
}

#[tokio::test]
async fn an_idle_instance_goes_and_comes_back_as_it_was() {
    let node = start().await;
    let one = ledger(&node, "a");
    one.send(Command::AddMany(vec![1, 2])).await.unwrap();
    assert_eq!(live(&node.node), 1);
    passivate_all(&node).await;
    let now = one.state().await.unwrap();
    assert_eq!((now.state.sum, now.state.count, now.version), (3, 2, Version(2)));
}

#[tokio::test]
async fn an_instance_in_use_stays() {
    let options = NodeOptions { passivate_after: Duration::from_secs(100), ..calm() };
    let node = test_node().options(options).start().await.unwrap();
    let_run().await;
    ledger(&node, "used").send(Command::Add(1)).await.unwrap();
    ledger(&node, "idle").send(Command::Add(1)).await.unwrap();
    for _ in 0..8 {
        node.clock.advance(Duration::from_secs(25));
        ledger(&node, "used").send(Command::Add(1)).await.unwrap();
        let_run().await;
    }
    eventually("the idle one is gone", || live(&node.node) == 1).await;
    // Were it brought up again, what another has written in between would be in its state.
    write_past(&node, "used", raw_event("added", 1, r#"{"amount":100}"#)).await;
    assert_eq!(
        ledger(&node, "used").state().await.unwrap().state.sum,
        9,
        "it is the incarnation that it was"
    );
}

#[tokio::test]
async fn an_instance_with_answers_under_way_stays() {
    let node = start().await;
    let_run().await;
    let one = ledger(&node, "a");
    node.journal.hold();
    let waits = sent(one.send(Command::Add(1)));
    eventually("it is submitted", || node.journal.held() == 1).await;
    for _ in 0..20 {
        node.clock.advance(Duration::from_secs(700));
        let_run().await;
    }
    assert_eq!(live(&node.node), 1);
    node.journal.release();
    answer(waits).await.unwrap();
    passivate_all(&node).await;
}

#[tokio::test]
async fn an_instance_without_events_goes_at_once() {
    let node = start().await;
    assert_eq!(ledger(&node, "a").state().await.unwrap().version, Version(0));
    assert!(ledger(&node, "b").send(Command::Refuse).await.is_err());
    ledger(&node, "c").send(Command::Nothing).await.unwrap();
    eventually("none is left", || live(&node.node) == 0).await;
}

#[tokio::test]
async fn everything_is_bounded_the_least_recently_used_go_beyond_the_cap() {
    let options = NodeOptions { live_instances_max: 10, ..calm() };
    let node = test_node().options(options).start().await.unwrap();
    for number in 0..40 {
        ledger(&node, &number.to_string()).send(Command::Add(1)).await.unwrap();
        node.clock.advance(Duration::from_millis(1));
        let_run().await;
    }
    eventually("the cap is kept", || live(&node.node) <= 10).await;
    for number in 0..40 {
        let receipt = ledger(&node, &number.to_string()).send(Command::Add(1)).await.unwrap();
        assert_eq!(receipt.version, Version(2));
    }
}

/// Every command is answered exactly once while instances come and go all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_storm_of_commands_survives_constant_passivation() {
    let journal = Arc::new(MemoryJournal::new());
    let options = NodeOptions {
        passivate_after: Duration::ZERO,
        live_instances_max: 2,
        mailbox_capacity: 100_000,
        ..NodeOptions::default()
    };
    let node = Node::builder()
        .journal(journal.clone())
        .options(options)
        .aggregate::<Ledger>()
        .start()
        .await
        .unwrap();
    let tasks = (0..8_i64).map(|task| {
        let node = node.clone();
        tokio::spawn(async move {
            let mut versions = Vec::new();
            for number in 0..750_i64 {
                let name = ((task + number) % 5).to_string();
                let receipt =
                    node.aggregate::<Ledger>(&name).send(Command::Add(task * 1000 + number)).await.unwrap();
                versions.push((name, receipt.version, task * 1000 + number));
                if number % 7 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            versions
        })
    });
    let mut answers: HashMap<String, Vec<(Version, i64)>> = HashMap::new();
    for task in tasks.collect::<Vec<_>>() {
        for (name, version, amount) in answer(task).await {
            answers.entry(name).or_default().push((version, amount));
        }
    }
    for (name, mut told) in answers {
        told.sort_unstable();
        let recorded = amounts_of(&*journal, &name).await;
        let expected: Vec<_> =
            recorded.iter().enumerate().map(|(at, amount)| (Version(at as u64 + 1), *amount)).collect();
        assert_eq!(told, expected, "every answer is in the stream, and the stream has nothing else");
    }
    node.shutdown().await;
}

/// A journal whose reads wait for permits, and that counts who waits.
#[derive(Debug)]
struct Slow {
    inner: MemoryJournal,
    reading: AtomicUsize,
    most: AtomicUsize,
    permits: Semaphore,
}

impl JournalLayer for Slow {
    fn inner(&self) -> &dyn Journal {
        &self.inner
    }

    fn stream_page<'a>(
        &'a self,
        stream: &'a StreamId,
        from: Version,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'a, Result<StreamPage, ReadError>> {
        async move {
            let now = self.reading.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(now, Ordering::SeqCst);
            self.permits.acquire().await.unwrap().forget();
            self.reading.fetch_sub(1, Ordering::SeqCst);
            self.inner.stream_page(stream, from, direction, limit).await
        }
        .boxed()
    }
}

#[tokio::test]
async fn everything_is_bounded_recoveries_at_once_are_capped() {
    let journal = Arc::new(Slow {
        inner: MemoryJournal::new(),
        reading: AtomicUsize::new(0),
        most: AtomicUsize::new(0),
        // One for the start, which reads what the journal has on record.
        permits: Semaphore::new(1),
    });
    let options = NodeOptions { recoveries_max: 3, ..calm() };
    let node = Node::builder()
        .journal(journal.clone())
        .options(options)
        .aggregate::<Ledger>()
        .start()
        .await
        .unwrap();
    journal.permits.forget_permits(1);
    let sends: Vec<_> = (0..20)
        .map(|number| sent(node.aggregate::<Ledger>(number.to_string()).send(Command::Add(1))))
        .collect();
    eventually("three are being brought up", || journal.reading.load(Ordering::SeqCst) == 3).await;
    let_run().await;
    assert_eq!(journal.reading.load(Ordering::SeqCst), 3);
    journal.permits.add_permits(1000);
    for command in sends {
        answer(command).await.unwrap();
    }
    assert_eq!(journal.most.load(Ordering::SeqCst), 3);
}
