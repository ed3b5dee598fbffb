//! A service and what its next release publishes, or subscribes to.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use annals_actors::Node;
use annals_bus::{
    Bus, BusStartError, Delivery, HandlerError, InProcessBroker, IntegrationEvent, Outgoing, Publications,
    Reaction, SubscriptionOptions, Topic,
};
use annals_persistence::MemoryJournal;
use serde::{Deserialize, Serialize};

use support::{
    Customer, CustomerAddressUpdated, CustomerEvent, Order, SetAddress, caught_up, follow, move_customer,
    node, quick, streets,
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
