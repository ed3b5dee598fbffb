//! Time: never backwards in a stream, one per command, and a way to travel.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use annals_actors::{Clock, Current, Node};
use annals_persistence::{MemoryJournal, Timestamp, Version};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, pending};
use rand::Rng;

use crate::support::{Command, Ledger, cases, events_of, ledger, start};

/// A clock that shows what it is told to.
#[derive(Debug, Default)]
struct Erratic(AtomicI64);

impl Clock for Erratic {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }

    fn sleep(&self, _duration: Duration) -> BoxFuture<'static, ()> {
        pending().boxed()
    }
}

#[tokio::test]
async fn time_never_runs_backwards_in_a_stream_even_when_the_clock_does() {
    let (journal, clock) = (Arc::new(MemoryJournal::new()), Arc::new(Erratic::default()));
    let start =
        || Node::builder().journal(journal.clone()).clock(clock.clone()).aggregate::<Ledger>().start();
    for (shown, expected) in [(1000, 1000), (400, 1000), (1000, 1000), (1001, 1001), (-5, 1001), (2000, 2000)]
    {
        clock.0.store(shown, Ordering::SeqCst);
        // A new node each time: the last time must come from the events.
        let node = start().await.unwrap();
        node.aggregate::<Ledger>("a").send(Command::Add(1)).await.unwrap();
        node.aggregate::<Ledger>("a").send(Command::AddMany(vec![1, 2])).await.unwrap();
        let events = events_of(&*journal, "a").await;
        assert!(events.iter().rev().take(3).all(|event| event.command.time == Timestamp(expected)));
        assert!(events.is_sorted_by_key(|event| event.command.time));
        node.shutdown().await;
    }
}

#[tokio::test]
async fn all_events_of_a_command_share_its_time_and_ids() {
    let node = start().await;
    ledger(&node, "a").send(Command::AddMany(vec![1, 2, 3])).by("anna").await.unwrap();
    let events = events_of(&*node.journal, "a").await;
    assert_eq!(events.len(), 3);
    assert!(events.iter().all(|event| event.command == events[0].command));
    assert_eq!(events[0].command.actor.as_deref(), Some("anna"));
    assert!(events[0].id != events[1].id && events[1].id != events[2].id);
}

#[tokio::test]
async fn before_the_first_event_and_above_the_last_there_is_nothing() {
    let node = start().await;
    let one = ledger(&node, "a");
    assert_eq!(one.state_at(Version(0)).await.unwrap(), None);
    assert_eq!(one.state_at(Version(1)).await.unwrap(), None);
    assert_eq!(one.state_at(node.clock.now()).await.unwrap(), None);
    let before = node.clock.now();
    node.clock.advance(Duration::from_secs(1));
    one.send(Command::Add(1)).await.unwrap();
    assert_eq!(one.state_at(Version(0)).await.unwrap(), None);
    assert_eq!(one.state_at(Version(2)).await.unwrap(), None);
    assert_eq!(one.state_at(before).await.unwrap(), None);
    let late = node.clock.now().plus(Duration::from_secs(1_000_000));
    assert_eq!(one.state_at(late).await.unwrap().unwrap().version, Version(1), "a time to come is now");
}

#[tokio::test]
async fn a_time_is_inclusive_and_never_half_a_command() {
    let node = start().await;
    let one = ledger(&node, "a");
    one.send(Command::AddMany(vec![1, 2])).await.unwrap();
    one.send(Command::AddMany(vec![3, 4])).await.unwrap();
    let at = node.clock.now();
    node.clock.advance(Duration::from_micros(1));
    one.send(Command::AddMany(vec![5, 6])).await.unwrap();
    assert_eq!(one.state_at(at).await.unwrap().unwrap().version, Version(4));
    assert_eq!(one.state_at(at.plus(Duration::from_micros(1))).await.unwrap().unwrap().version, Version(6));
    assert_eq!(
        one.state_at(Version(3)).await.unwrap().unwrap().state.sum,
        6,
        "a version may be in the middle"
    );
}

#[tokio::test]
async fn the_state_at_a_moment_is_what_it_was_at_that_moment() {
    cases(20, async |mut random| {
        let node = start().await;
        let one = ledger(&node, "a");
        let mut seen: Vec<Current<Ledger>> = Vec::new();
        for _ in 0..random.random_range(1..150) {
            node.clock.advance(Duration::from_micros(random.random_range(0..3)));
            let amounts = (0..random.random_range(1..4)).map(|_| random.random_range(-9..9)).collect();
            one.send(Command::AddMany(amounts)).await.unwrap();
            seen.push(one.state().await.unwrap());
        }
        for then in &seen {
            assert_eq!(one.state_at(then.version).await.unwrap().as_ref(), Some(then));
            let last_of_then = seen.iter().rfind(|other| other.time == then.time);
            assert_eq!(one.state_at(then.time).await.unwrap().as_ref(), last_of_then);
        }
    })
    .await;
}
