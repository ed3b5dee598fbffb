//! Checkpoints and truncation of streams that are published: nothing is missed, and the order of what follows holds.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use annals_actors::{Checkpoint, CheckpointError, Node};
use annals_bus::{Bus, Envelope, InProcessBroker, Publications};
use annals_persistence::{
    Direction, Journal, JournalExt, MemoryJournal, Position, StreamId, Version, cursors,
};
use futures_util::TryStreamExt;
use tokio::sync::mpsc::UnboundedReceiver;

use support::sink::Sink;
use support::{
    Customer, CustomerAddressUpdated, CustomerCommand, caught_up, customer_publications, customer_service,
    follow, move_customer, node, node_over, quick, streets, until,
};

async fn publishing(node: &Node) -> (Bus, UnboundedReceiver<Arc<Envelope>>) {
    let (sink, taken) = Sink::new();
    let bus =
        Bus::builder(node.clone(), "customer").publications(customer_publications()).broker(Arc::new(sink));
    (bus.start().await.unwrap(), taken)
}

async fn published(bus: &Bus) {
    until("all is published", || async {
        bus.relays().iter().all(|relay| relay.lag() == 0 && relay.in_flight == 0)
    })
    .await;
}

async fn sequences(
    taken: &mut UnboundedReceiver<Arc<Envelope>>,
    count: usize,
) -> Vec<(Option<u64>, Option<u64>)> {
    let mut all = Vec::new();
    for _ in 0..count {
        let envelope = taken.recv().await.unwrap();
        all.push((envelope.previous, envelope.sequence));
    }
    all
}

async fn rename(node: &Node, id: &str) {
    node.aggregate::<Customer>(id).send(CustomerCommand::Rename).await.unwrap();
}

#[tokio::test]
async fn what_was_published_last_is_known_when_its_event_is_gone() {
    let journal = Arc::new(MemoryJournal::new());
    let first = node(&journal).await;
    let (bus, mut taken) = publishing(&first).await;
    for street in ["Elm Street", "Oak Street"] {
        move_customer(&first, "7", street).await;
        rename(&first, "7").await;
    }
    published(&bus).await;
    let customer = first.aggregate::<Customer>("7");
    let receipt = customer.checkpoint().and_truncate().await.unwrap();
    assert_eq!((receipt.version, receipt.kept_from, receipt.held), (Version(5), Version(5), None));
    rename(&first, "7").await;
    // And once more, with nothing published between.
    published(&bus).await;
    assert_eq!(customer.checkpoint().and_truncate().await.unwrap().kept_from, Version(7));
    assert_eq!(sequences(&mut taken, 2).await, [(Some(0), Some(1)), (Some(1), Some(3))]);
    published(&bus).await;
    bus.shutdown().await;
    first.shutdown().await;

    // A relay that remembers nothing.
    let second = node(&journal).await;
    let (bus, mut taken) = publishing(&second).await;
    move_customer(&second, "7", "Ash Street").await;
    move_customer(&second, "7", "Fir Street").await;
    assert_eq!(sequences(&mut taken, 2).await, [(Some(3), Some(8)), (Some(8), Some(9))]);
    published(&bus).await;
    assert!(taken.try_recv().is_err(), "a checkpoint is nothing to publish");
}

#[tokio::test]
async fn what_is_not_published_yet_does_not_go() {
    let journal = Arc::new(MemoryJournal::new());
    let first = node(&journal).await;
    let (bus, taken) = publishing(&first).await;
    move_customer(&first, "7", "Elm Street").await;
    published(&bus).await;
    // From now on nobody takes anything.
    drop(taken);
    for street in ["Oak Street", "Ash Street"] {
        move_customer(&first, "7", street).await;
    }
    let customer = first.aggregate::<Customer>("7");
    let receipt = customer.checkpoint().and_truncate().await.unwrap();
    assert_eq!((receipt.version, receipt.kept_from), (Version(4), Version(2)));
    // The cursor is durable before anything goes.
    let dynamic = journal.clone() as Arc<dyn Journal>;
    let (cursor, stream) =
        (cursors(&dynamic).await.unwrap()[0].position, StreamId::aggregate("customer", "7").unwrap());
    let left = dynamic.stream_page(&stream, Version(1), Direction::Forward, 1).await.unwrap().events;
    assert!(Position(2) <= cursor && cursor < left[0].position, "{cursor:?}");
    let refused = customer.checkpoint().and_truncate().await.unwrap_err();
    assert_eq!(refused.code(), "truncation_held");
    drop(bus);
    first.shutdown().await;

    // Where the bus does not run, nobody knows what was published.
    let alone = node(&journal).await;
    let refused = alone.aggregate::<Customer>("7").checkpoint().and_truncate().await.unwrap_err();
    assert!(matches!(&refused, CheckpointError::Held(held) if held.by == "$cursor-sink"), "{refused:?}");

    let (_bus, mut taken) = publishing(&alone).await;
    assert_eq!(sequences(&mut taken, 2).await, [(Some(1), Some(2)), (Some(2), Some(3))]);
}

#[tokio::test]
async fn without_a_broker_nothing_goes_that_may_be_published_one_day() {
    let node = node(&Arc::new(MemoryJournal::new())).await;
    let bus =
        Bus::builder(node.clone(), "customer").publications(customer_publications()).start().await.unwrap();
    move_customer(&node, "7", "Elm Street").await;
    let refused = node.aggregate::<Customer>("7").checkpoint().and_truncate().await.unwrap_err();
    assert_eq!(refused.code(), "truncation_held");
    assert!(refused.to_string().contains("publications of customer"), "{refused}");
    drop(bus);
    assert!(node.aggregate::<Customer>("7").checkpoint().and_truncate().await.is_ok());
}

#[tokio::test]
async fn a_subscriber_sees_every_event_in_order_whatever_goes_behind_it() {
    let broker = InProcessBroker::new();
    let (journal, orders) = (Arc::new(MemoryJournal::new()), Arc::new(MemoryJournal::new()));
    let mut expected = Vec::new();
    for life in 0..4 {
        let (customers, customer_bus) = customer_service(&journal, &broker).await;
        let order_node = node(&orders).await;
        let subscriber = Bus::builder(order_node.clone(), "order").in_process(&broker);
        let bus = subscriber
            .subscribe_with::<CustomerAddressUpdated>("address", quick(), follow)
            .start()
            .await
            .unwrap();
        for turn in 0..3 {
            let street = format!("{life} {turn}");
            move_customer(&customers, "7", &street).await;
            rename(&customers, "7").await;
            expected.push(street);
            caught_up(&bus).await;
            let receipt = customers.aggregate::<Customer>("7").checkpoint().and_truncate().await.unwrap();
            assert_eq!(receipt.held, None, "{receipt:?}");
            // The subscriber's own instance gives its events up as well.
            order_node.aggregate::<support::Order>("7").checkpoint().and_truncate().await.unwrap();
        }
        caught_up(&bus).await;
        assert_eq!(streets(&order_node, "7").await, expected);
        let (dynamic, stream) =
            (journal.clone() as Arc<dyn Journal>, StreamId::aggregate("customer", "7").unwrap());
        let events: Vec<_> =
            dynamic.read_stream(&stream, Version(1), Direction::Forward).try_collect().await.unwrap();
        assert_eq!(events.len(), 1);
        let marks = Checkpoint::of(&events[0]).unwrap().unwrap().marks;
        assert_eq!(marks["v1.CustomerAddressUpdated"], Version(events[0].version.0 - 2));
        bus.shutdown().await;
        customer_bus.shutdown().await;
        customers.shutdown().await;
        order_node.shutdown().await;
    }
}

#[tokio::test]
async fn a_node_that_publishes_nothing_gives_up_what_it_likes() {
    let node = node_over(Arc::new(MemoryJournal::new())).await;
    let bus =
        Bus::builder(node.clone(), "customer").publications(Publications::new("customer")).start().await;
    move_customer(&node, "7", "Elm Street").await;
    assert!(node.aggregate::<Customer>("7").checkpoint().and_truncate().await.is_ok());
    drop(bus);
}
