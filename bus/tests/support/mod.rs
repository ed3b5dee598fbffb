//! Two services to publish and to subscribe: customers move, orders follow.

#![allow(unreachable_pub, reason = "shared by test files")]
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

pub mod counted;
pub mod log;
pub mod sink;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use annals_actors::{Aggregate, Context, Event, Node, Shape};
use annals_bus::{
    Bus, Delivery, HandlerError, InProcessBroker, IntegrationEvent, Outgoing, Publications, Reaction,
    RetryPolicy, SubscriptionOptions,
};
use annals_persistence::{Journal, MemoryJournal};
use serde::{Deserialize, Serialize};

#[derive(Debug, Default, Clone, Serialize, Deserialize, Shape)]
pub struct Customer {
    pub street: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum CustomerCommand {
    Move { street: String },
    Rename,
}

#[derive(Debug, Clone, Event)]
pub enum CustomerEvent {
    #[event("customer-moved")]
    Moved { street: String },
    #[event("customer-renamed")]
    Renamed,
}

#[derive(Debug, thiserror::Error)]
#[error("the rule says no")]
pub struct No;

impl Aggregate for Customer {
    const TYPE: &'static str = "customer";
    type Command = CustomerCommand;
    type Event = CustomerEvent;
    type Rejection = No;

    fn handle(&self, command: CustomerCommand, _: &Context) -> Result<Vec<CustomerEvent>, No> {
        Ok(vec![match command {
            CustomerCommand::Move { street } => CustomerEvent::Moved { street },
            CustomerCommand::Rename => CustomerEvent::Renamed,
        }])
    }

    fn apply(&mut self, event: CustomerEvent) {
        if let CustomerEvent::Moved { street } = event {
            self.street = street;
        }
    }
}

/// Every address an order ever got, in order.
#[derive(Debug, Default, Clone, Serialize, Deserialize, Shape)]
pub struct Order {
    pub streets: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SetAddress {
    pub street: String,
}

#[derive(Debug, Clone, Event)]
pub enum OrderEvent {
    #[event("order-address-set")]
    AddressSet { street: String },
}

impl Aggregate for Order {
    const TYPE: &'static str = "order";
    type Command = SetAddress;
    type Event = OrderEvent;
    type Rejection = No;

    fn handle(&self, command: SetAddress, _: &Context) -> Result<Vec<OrderEvent>, No> {
        match command.street.as_str() {
            "forbidden" => Err(No),
            "nothing" => Ok(Vec::new()),
            "panic" => panic!("as told"),
            _ => Ok(vec![OrderEvent::AddressSet { street: command.street }]),
        }
    }

    fn apply(&mut self, event: OrderEvent) {
        let OrderEvent::AddressSet { street } = event;
        self.streets.push(street);
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, IntegrationEvent)]
#[integration_event(name = "CustomerAddressUpdated", version = 1)]
#[serde(rename_all = "camelCase")]
pub struct CustomerAddressUpdated {
    pub customer_id: String,
    pub street: String,
}

pub fn customer_publications() -> Publications {
    Publications::new("customer").publishes::<CustomerAddressUpdated>().translate::<Customer>(
        |event, recorded| match event {
            CustomerEvent::Moved { street } => vec![Outgoing::event(&CustomerAddressUpdated {
                customer_id: recorded.stream.instance().to_owned(),
                street: street.clone(),
            })],
            CustomerEvent::Renamed => Vec::new(),
        },
    )
}

pub async fn node(journal: &Arc<MemoryJournal>) -> Node {
    node_over(Arc::clone(journal) as Arc<dyn Journal>).await
}

pub async fn node_over(journal: Arc<dyn Journal>) -> Node {
    Node::builder().journal(journal).aggregate::<Customer>().aggregate::<Order>().start().await.unwrap()
}

/// The customer service.
pub async fn customer_service(journal: &Arc<MemoryJournal>, broker: &InProcessBroker) -> (Node, Bus) {
    let node = node(journal).await;
    let bus = Bus::builder(node.clone(), "customer")
        .publications(customer_publications())
        .in_process(broker)
        .start()
        .await
        .unwrap();
    (node, bus)
}

/// Pauses that a test need not wait for.
pub fn quick() -> SubscriptionOptions {
    let retry = RetryPolicy {
        attempts: 3,
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(2),
    };
    SubscriptionOptions { retry, ..SubscriptionOptions::default() }
}

/// As [`quick`], and never gives up.
pub fn stubborn() -> SubscriptionOptions {
    let quick = quick();
    SubscriptionOptions { retry: RetryPolicy { attempts: u32::MAX, ..quick.retry }, ..quick }
}

/// Gives the order called as the customer the same address.
pub async fn follow(event: CustomerAddressUpdated, _: Delivery) -> Result<Reaction, HandlerError> {
    Ok(Reaction::none().command::<Order>(&event.customer_id, SetAddress { street: event.street }))
}

pub async fn move_customer(node: &Node, id: &str, street: &str) {
    let command = CustomerCommand::Move { street: street.to_owned() };
    node.aggregate::<Customer>(id).send(command).await.unwrap();
}

pub async fn streets(node: &Node, order: &str) -> Vec<String> {
    node.aggregate::<Order>(order).state().await.unwrap().state.streets
}

/// Waits for a condition; fails after ten seconds.
pub async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Waits until every subscription of the bus has caught up.
pub async fn caught_up(bus: &Bus) {
    until("the subscriptions have caught up", || async {
        bus.subscriptions().iter().all(|status| status.source.is_some() && status.lag() == 0)
    })
    .await;
}
