//! How long a subscription remembers what it has handled.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use annals_actors::{Clock, Node, VirtualClock};
use annals_bus::{Bus, Delivery, Envelope, Reaction, SubscriptionOptions, Topic};
use annals_persistence::{Direction, Journal, JournalExt, MemoryJournal, StreamId, Timestamp, Version};
use futures_util::StreamExt;
use serde_json::json;

use support::log::Log;
use support::{CustomerAddressUpdated, quick};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A subscription that counts what its handler is given.
struct Subscriber {
    journal: Arc<MemoryJournal>,
    clock: VirtualClock,
    calls: Arc<AtomicUsize>,
    bus: Bus,
}

impl Subscriber {
    async fn start(options: SubscriptionOptions) -> Self {
        Self::on(Arc::new(MemoryJournal::new()), VirtualClock::default(), Arc::default(), options).await
    }

    async fn on(
        journal: Arc<MemoryJournal>,
        clock: VirtualClock,
        calls: Arc<AtomicUsize>,
        options: SubscriptionOptions,
    ) -> Self {
        let node = Node::builder().journal(Arc::clone(&journal) as Arc<dyn Journal>);
        let node = node.clock(Arc::new(clock.clone())).start().await.unwrap();
        let counter = Arc::clone(&calls);
        let handler = move |_: CustomerAddressUpdated, _: Delivery| {
            counter.fetch_add(1, Ordering::Relaxed);
            async { Ok(Reaction::none()) }
        };
        let builder = Bus::builder(node, "order");
        let bus = builder
            .subscribe_with::<CustomerAddressUpdated>("address", options, handler)
            .start()
            .await
            .unwrap();
        Self { journal, clock, calls, bus }
    }

    async fn restart(self) -> Self {
        Self::on(Arc::new(self.journal.reopened()), self.clock, self.calls, quick()).await
    }

    /// Delivers events; how often the handler was called over them.
    async fn deliver(&self, events: impl IntoIterator<Item = Arc<Envelope>>) -> usize {
        let before = self.calls.load(Ordering::Relaxed);
        for event in events {
            self.bus.inlet("address").unwrap().deliver(event).await.unwrap();
        }
        self.calls.load(Ordering::Relaxed) - before
    }
}

fn envelope(mut body: serde_json::Value) -> Arc<Envelope> {
    body["specversion"] = json!("1.0");
    body["data"] = json!({"customerId": "1", "street": "Elm Street"});
    let topic = Topic::of::<CustomerAddressUpdated>();
    Arc::new(Envelope::from_json(body.to_string().as_bytes(), &topic).unwrap())
}

/// An event of another platform: only its id tells whether it was handled.
fn foreign(id: usize) -> Arc<Envelope> {
    envelope(json!({"id": id.to_string(), "source": "elsewhere", "type": "moved"}))
}

/// An event of ours, with its place in the order of its key.
fn ours(sequence: usize) -> Arc<Envelope> {
    let (previous, sequence) = ((sequence - 1).to_string(), sequence.to_string());
    envelope(json!({
        "id": sequence, "source": "customer", "type": "CustomerAddressUpdated.v1", "subject": "1",
        "sequence": sequence, "prevsequence": previous,
    }))
}

/// An event of ours under an id and with a time of its own.
fn ours_at(id: &str, sequence: usize, time: Timestamp) -> Arc<Envelope> {
    let ours = Envelope::clone(&ours(sequence));
    Arc::new(Envelope { id: id.into(), time: Some(time), ..ours })
}

/// A publisher that was restored from a backup numbers its new events as it had numbered others.
#[tokio::test]
async fn another_event_at_a_taken_sequence_becomes_a_dead_letter() {
    let subscriber = Subscriber::start(quick()).await;
    assert_eq!(subscriber.deliver((1..=3).map(ours)).await, 3);
    let restored = || ours_at("restored", 2, subscriber.clock.now());
    assert_eq!(subscriber.deliver([restored(), restored(), ours(2)]).await, 0);
    let letters = subscriber.bus.dead_letters().list().await.unwrap();
    let told: Vec<_> =
        letters.iter().map(|letter| (letter.event_id.as_str(), letter.reason.as_str())).collect();
    let [("restored", reason)] = told.as_slice() else { panic!("{told:?}") };
    assert!(reason.contains("another event has its sequence"), "{reason}");
    assert_eq!(subscriber.deliver([ours(4)]).await, 1);
    subscriber.bus.dead_letters().replay(letters[0].id).await.unwrap();
    assert!(subscriber.bus.dead_letters().list().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_duplicate_whose_id_is_forgotten_is_no_dead_letter() {
    let subscriber = Subscriber::start(SubscriptionOptions { remember_max: 2, ..quick() }).await;
    let began = subscriber.clock.now();
    for sequence in 1..=4 {
        let event = ours_at(&sequence.to_string(), sequence, subscriber.clock.now());
        assert_eq!(subscriber.deliver([event]).await, 1);
        subscriber.clock.advance(Duration::from_secs(1));
    }
    assert_eq!(subscriber.deliver([ours_at("1", 1, began)]).await, 0);
    let subscriber = subscriber.restart().await;
    subscriber.clock.advance(DAY * 8);
    assert_eq!(subscriber.deliver([ours_at("5", 5, subscriber.clock.now())]).await, 1);
    assert_eq!(subscriber.deliver([ours_at("1", 1, began)]).await, 0);
    assert!(subscriber.bus.dead_letters().list().await.unwrap().is_empty());
}

#[tokio::test]
async fn ids_are_remembered_for_a_week_and_sequences_for_good() {
    let subscriber = Subscriber::start(quick()).await;
    assert_eq!(subscriber.deliver([foreign(1), ours(1)]).await, 2);
    subscriber.clock.advance(DAY * 6);
    assert_eq!(subscriber.deliver([foreign(2), foreign(1), ours(1)]).await, 1);
    let subscriber = subscriber.restart().await;
    assert_eq!(subscriber.deliver([foreign(2), foreign(1), ours(1)]).await, 0);
    subscriber.clock.advance(DAY * 2);
    // Of the eighth day only the third is new, and the first has no sequence that tells of it.
    assert_eq!(subscriber.deliver([foreign(3), foreign(2), ours(1)]).await, 1);
    assert_eq!(subscriber.deliver([foreign(1)]).await, 1);
    let subscriber = subscriber.restart().await;
    assert_eq!(subscriber.deliver([foreign(1), foreign(2), foreign(3), ours(1)]).await, 0);
    subscriber.clock.advance(DAY * 365);
    let subscriber = subscriber.restart().await;
    assert_eq!(subscriber.deliver([ours(1)]).await, 0);
    assert_eq!(subscriber.deliver([foreign(1)]).await, 1);
}

/// How many records of the inbox the journal keeps.
async fn kept(journal: &Arc<MemoryJournal>) -> usize {
    let (journal, inbox) =
        (Arc::clone(journal) as Arc<dyn Journal>, StreamId::internal("inbox-address").unwrap());
    journal.read_stream(&inbox, Version(1), Direction::Forward).count().await
}

#[tokio::test]
async fn what_is_old_leaves_the_journal_while_the_service_runs() {
    let subscriber = Subscriber::start(quick()).await;
    assert_eq!(subscriber.deliver((1..=50).map(ours)).await, 50);
    assert_eq!(subscriber.deliver((1..=50).map(foreign)).await, 50);
    subscriber.clock.advance(DAY * 8);
    support::until("the old records are gone", || async {
        subscriber.clock.advance(Duration::from_secs(60 * 60));
        kept(&subscriber.journal).await <= 2
    })
    .await;
    assert_eq!(subscriber.deliver((1..=50).map(ours)).await, 0);
    let subscriber = subscriber.restart().await;
    assert_eq!(subscriber.deliver((1..=51).map(ours)).await, 1);
}

#[tokio::test]
async fn too_many_ids_push_out_the_oldest_and_it_is_said_once() {
    let log = Log::default();
    let _logging = log.keep();
    let said = || log.lines_with(&["\"WARN\"", "a later duplicate runs again", "\"address\""]).len();
    let subscriber = Subscriber::start(SubscriptionOptions { remember_max: 10, ..quick() }).await;
    // A sequence needs no id.
    assert_eq!(subscriber.deliver((1..=50).map(ours)).await, 50);
    assert_eq!(subscriber.deliver((1..=50).map(ours)).await, 0);
    assert_eq!(said(), 0);
    assert_eq!(subscriber.deliver((1..=50).map(foreign)).await, 50);
    assert_eq!(subscriber.deliver((41..=50).map(foreign)).await, 0);
    assert_eq!(subscriber.deliver([foreign(40)]).await, 1);
    assert_eq!(said(), 1);
}
