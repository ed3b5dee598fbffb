//! A service and what its next release publishes, or subscribes to.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use annals_actors::Node;
use annals_bus::{
    Bus, BusStartError, Delivery, Envelope, HandlerError, InProcessBroker, IntegrationEvent, Outgoing,
    Publications, Reaction, SubscriptionOptions, Topic,
};
use annals_persistence::MemoryJournal;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::UnboundedReceiver;

use support::sink::Sink;
use support::{
    Customer, CustomerAddressUpdated, CustomerCommand, CustomerEvent, Order, SetAddress, caught_up,
    customer_publications, follow, move_customer, node, quick, streets,
};

/// The same event in its next version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, IntegrationEvent)]
#[integration_event(name = "CustomerAddressUpdated", version = 2)]
struct AddressUpdated2 {
    customer_id: String,
    street: String,
}

/// What the next release publishes: the old version and the new one, the old one also of what was not told before.
fn next_publications() -> Publications {
    Publications::new("customer").translate::<Customer>(|event, recorded| {
        let customer_id = recorded.stream.instance().to_owned();
        match event {
            CustomerEvent::Moved { street } => {
                let (one, street) = (customer_id.clone(), street.clone());
                let v1 = CustomerAddressUpdated { customer_id: one, street: street.clone() };
                vec![Outgoing::event(&v1), Outgoing::event(&AddressUpdated2 { customer_id, street })]
            }
            CustomerEvent::Renamed => {
                let v1 = CustomerAddressUpdated { customer_id, street: "renamed".into() };
                vec![Outgoing::event(&v1)]
            }
        }
    })
}

async fn release(customers: &Node, publications: Publications, sink: &Sink) -> Bus {
    let builder = Bus::builder(customers.clone(), "customer").publications(publications);
    builder.broker(Arc::new(sink.clone())).start().await.unwrap()
}

async fn rename(customers: &Node) {
    customers.aggregate::<Customer>("1").send(CustomerCommand::Rename).await.unwrap();
}

/// The version of the topic, the sequence and the one before it, of the next events.
async fn places(taken: &mut UnboundedReceiver<Arc<Envelope>>, count: usize) -> Vec<(&'static str, u64, u64)> {
    let mut places = Vec::new();
    for _ in 0..count {
        let envelope = taken.recv().await.unwrap();
        let version = if envelope.topic == Topic::of::<AddressUpdated2>() { "v2" } else { "v1" };
        places.push((version, envelope.sequence.unwrap(), envelope.previous.unwrap()));
    }
    places.sort_unstable();
    places
}

#[tokio::test]
async fn no_event_names_one_before_it_that_was_never_published() {
    let customers = node(&Arc::new(MemoryJournal::new())).await;
    let (sink, mut taken) = Sink::new();
    let bus = release(&customers, customer_publications(), &sink).await;
    move_customer(&customers, "1", "a").await;
    rename(&customers).await;
    assert_eq!(places(&mut taken, 1).await, [("v1", 1, 0)]);
    support::until("the cursor has passed what is not told", || async { bus.relays()[0].lag() == 0 }).await;
    bus.shutdown().await;
    let bus = release(&customers, next_publications(), &sink).await;
    move_customer(&customers, "1", "b").await;
    assert_eq!(places(&mut taken, 2).await, [("v1", 3, 1), ("v2", 3, 0)]);
    rename(&customers).await;
    assert_eq!(places(&mut taken, 1).await, [("v1", 4, 3)]);
    bus.shutdown().await;
    // What it publishes since when is known after a restart too.
    let _bus = release(&customers, next_publications(), &sink).await;
    move_customer(&customers, "1", "c").await;
    assert_eq!(places(&mut taken, 2).await, [("v1", 5, 4), ("v2", 5, 3)]);
}

#[tokio::test]
async fn a_checkpoint_says_of_nothing_that_it_was_published_that_never_was() {
    let customers = node(&Arc::new(MemoryJournal::new())).await;
    let (sink, mut taken) = Sink::new();
    let bus = release(&customers, customer_publications(), &sink).await;
    move_customer(&customers, "1", "a").await;
    rename(&customers).await;
    assert_eq!(places(&mut taken, 1).await, [("v1", 1, 0)]);
    support::until("the cursor has passed what is not told", || async { bus.relays()[0].lag() == 0 }).await;
    bus.shutdown().await;
    let _bus = release(&customers, next_publications(), &sink).await;
    let customer = customers.aggregate::<Customer>("1");
    let kept_from = customer.checkpoint().and_truncate().await.unwrap().kept_from;
    assert_eq!(kept_from.0, 3, "what both versions would be told of is given up");
    move_customer(&customers, "1", "b").await;
    assert_eq!(places(&mut taken, 2).await, [("v1", 4, 1), ("v2", 4, 0)]);
}

async fn follow2(event: AddressUpdated2, _: Delivery) -> Result<Reaction, HandlerError> {
    Ok(Reaction::none().command::<Order>(&event.customer_id, SetAddress { street: event.street }))
}

async fn on_version_2(
    orders: &Node,
    broker: &InProcessBroker,
    continues: Option<Topic>,
) -> Result<Bus, BusStartError> {
    let options = SubscriptionOptions { continues, ..quick() };
    let builder = Bus::builder(orders.clone(), "order").in_process(broker);
    builder.subscribe_with::<AddressUpdated2>("address", options, follow2).start().await
}

#[tokio::test]
async fn a_subscription_does_not_take_up_another_topic_unsaid() {
    let broker = InProcessBroker::new();
    let customers = node(&Arc::new(MemoryJournal::new())).await;
    let builder = Bus::builder(customers.clone(), "customer").publications(next_publications());
    let _publisher = builder.in_process(&broker).start().await.unwrap();
    let orders = node(&Arc::new(MemoryJournal::new())).await;
    let builder = Bus::builder(orders.clone(), "order").in_process(&broker);
    let bus =
        builder.subscribe_with::<CustomerAddressUpdated>("address", quick(), follow).start().await.unwrap();
    move_customer(&customers, "1", "a").await;
    caught_up(&bus).await;
    bus.shutdown().await;
    let refused = on_version_2(&orders, &broker, None).await.unwrap_err();
    assert_eq!(refused.code(), "subscription_topic_changed");
    for part in ["\"address\"", "v1.CustomerAddressUpdated", "v2.CustomerAddressUpdated"] {
        assert!(refused.to_string().contains(part), "{refused}");
    }
    // Said, it goes on where it was: nothing again, nothing left out.
    move_customer(&customers, "1", "b").await;
    for _restart in 0..2 {
        let before = Some(Topic::of::<CustomerAddressUpdated>());
        let bus = on_version_2(&orders, &broker, before).await.unwrap();
        caught_up(&bus).await;
        assert_eq!(streets(&orders, "1").await, ["a", "b"]);
        bus.shutdown().await;
    }
    let bus = on_version_2(&orders, &broker, None).await.unwrap();
    move_customer(&customers, "1", "c").await;
    caught_up(&bus).await;
    assert_eq!(streets(&orders, "1").await, ["a", "b", "c"]);
}
