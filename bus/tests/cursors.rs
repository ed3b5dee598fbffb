//! Whoever has still to come to events keeps them in the journal.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use annals_bus::{Bus, InProcessBroker, JournalCursors};
use annals_persistence::{DurableCursors, Journal, MemoryJournal, Position, ReaderPosition};

use support::{
    CustomerAddressUpdated, customer_publications, customer_service, follow, move_customer, node, until,
};

fn lowest(journal: &Arc<MemoryJournal>) -> Option<ReaderPosition> {
    journal.readers().lowest()
}

async fn durable(journal: &Arc<MemoryJournal>) -> Option<ReaderPosition> {
    JournalCursors::of(&(Arc::clone(journal) as Arc<dyn Journal>)).lowest().await.unwrap()
}

/// A subscription that keeps no pace: its cursor is durable only after a second, or when it stops.
async fn order_service(broker: &InProcessBroker) -> Bus {
    let node = node(&Arc::new(MemoryJournal::new())).await;
    let builder = Bus::builder(node, "order").in_process(broker);
    builder.subscribe::<CustomerAddressUpdated>("address", follow).start().await.unwrap()
}

#[tokio::test]
async fn a_subscription_keeps_what_it_has_still_to_come_to_also_while_it_does_not_run() {
    let (broker, journal) = (InProcessBroker::new(), Arc::new(MemoryJournal::new()));
    let (customers, _bus) = customer_service(&journal, &broker).await;
    assert_eq!(lowest(&journal), None);
    let orders = order_service(&broker).await;
    let begun = lowest(&journal).unwrap();
    assert_eq!((&*begun.name, begun.position), ("relay customer to order address", Position::START));
    move_customer(&customers, "1", "Elm Street").await;
    support::caught_up(&orders).await;
    orders.shutdown().await;
    drop(orders);
    // What it has not come to while it was away stays for it.
    move_customer(&customers, "1", "Oak Street").await;
    until("the relay has gone", || async { lowest(&journal).is_none() }).await;
    let left = durable(&journal).await.unwrap();
    assert_eq!(&*left.name, "$cursor-order-address");
    assert!(left.position > Position::START && left.position < journal.durable().borrow().external);
    let orders = order_service(&broker).await;
    support::caught_up(&orders).await;
    until("the cursor is durable", || async { lowest(&journal).unwrap().position > left.position }).await;
    assert_eq!(durable(&journal).await.unwrap().position, lowest(&journal).unwrap().position);
}

#[tokio::test]
async fn who_publishes_and_has_no_broker_keeps_everything() {
    let journal = Arc::new(MemoryJournal::new());
    let node = node(&journal).await;
    let silent = Bus::builder(node.clone(), "silent").start().await.unwrap();
    assert_eq!(lowest(&journal), None);
    drop(silent);
    let builder = Bus::builder(node.clone(), "customer").publications(customer_publications());
    let bus = builder.start().await.unwrap();
    move_customer(&node, "1", "Elm Street").await;
    assert_eq!(lowest(&journal).map(|reader| reader.position), Some(Position::START));
    bus.shutdown().await;
    drop(bus);
    assert_eq!(lowest(&journal), None);
}
