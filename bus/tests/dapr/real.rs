//! Over real sidecars and real brokers.

use annals_actors::Aggregate;
use annals_parts::{Broker, Nats, Rabbit, Redis};
use annals_persistence::{Direction, JournalExt, StreamId, TraceContext, Version};
use futures_util::TryStreamExt;
use serde_json::json;

use crate::pair::{PUBSUB, customers, orders, topic};
use crate::support::{Customer, CustomerCommand, Order, follow, move_customer, quick, streets, until};

async fn addresses_follow(broker: &dyn Broker) {
    let orders = orders(broker, quick(), follow).await;
    let customers = customers(broker).await;
    for round in 0..5 {
        for customer in 0..20 {
            move_customer(&customers.node, &customer.to_string(), &format!("{round} Elm")).await;
        }
    }
    // Behind the last, what was handled twice or came too late would be seen.
    for customer in 0..20 {
        move_customer(&customers.node, &customer.to_string(), "the end").await;
    }
    let expected: Vec<_> = (0..5).map(|round| format!("{round} Elm")).chain(["the end".to_owned()]).collect();
    for customer in 0..20 {
        let id = customer.to_string();
        until("the end has arrived", || async {
            streets(&orders.node, &id).await.last().is_some_and(|street| street == "the end")
        })
        .await;
        assert_eq!(streets(&orders.node, &id).await, expected, "{}: in order, each once", broker.name());
    }
    customers.bus.shutdown().await;
    orders.bus.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_handled_once_and_in_order_over_redis() {
    addresses_follow(&Redis::start()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_handled_once_and_in_order_over_jetstream() {
    addresses_follow(&Nats::start()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_handled_once_and_in_order_over_rabbitmq() {
    addresses_follow(&Rabbit::start()).await;
}

/// The trace of a command goes with what comes of it, as W3C's trace context, whatever the sidecars put on top.
async fn a_trace_goes_along(broker: &dyn Broker) {
    let orders = orders(broker, quick(), follow).await;
    let customers = customers(broker).await;
    let trace = TraceContext { trace_id: 0x4bf9_2f35_77b3_4da6, span_id: 0x00f0_67aa, flags: 1 };
    let command = CustomerCommand::Move { street: "Elm".into() };
    customers.node.aggregate::<Customer>("1").send(command).trace(trace).await.unwrap();
    until("it is handled", || async { streets(&orders.node, "1").await == ["Elm"] }).await;
    let order = StreamId::aggregate(Order::TYPE, "1").unwrap();
    let effect = orders.node.journal().read_stream(&order, Version(1), Direction::Forward).try_next().await;
    let found = effect.unwrap().unwrap().command.trace;
    assert_eq!(found.map(|found| found.trace_id), Some(trace.trace_id), "{}", broker.name());
    customers.bus.shutdown().await;
    orders.bus.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_along_over_redis() {
    a_trace_goes_along(&Redis::start()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_along_over_rabbitmq() {
    a_trace_goes_along(&Rabbit::start()).await;
}

/// More keys wait for an earlier event than the broker has deliveries without an answer.
async fn keys_that_wait_stop_nobody_else(broker: &dyn Broker) {
    let orders = orders(broker, quick(), follow).await;
    let publish = |key: &str, sequence: u64| {
        let body = json!({
            "specversion": "1.0", "id": format!("{key}-{sequence}"), "source": "customer",
            "type": "CustomerAddressUpdated.v1", "subject": key, "sequence": sequence.to_string(),
            "prevsequence": (sequence - 1).to_string(), "datacontenttype": "application/json",
            "data": {"customerId": key, "street": sequence.to_string()},
        });
        let (body, kind) = (body.to_string(), "application/cloudevents+json");
        assert_eq!(orders.sidecar.publish(PUBSUB, topic().as_str(), kind, body.as_bytes()), 204);
    };
    let keys = |name: &str| (0..2 * 64).map(|key| format!("{name}-{key}")).collect::<Vec<_>>();
    let (waiting, others) = (keys("waiting"), keys("other"));
    waiting.iter().for_each(|key| publish(key, 2));
    others.iter().for_each(|key| publish(key, 1));
    for key in &others {
        until("others are handled", || async { streets(&orders.node, key).await == ["1"] }).await;
    }
    let inlet = orders.bus.inlet("address").unwrap();
    until("all that wait are kept", || async { inlet.kept() == waiting.len() }).await;
    waiting.iter().for_each(|key| publish(key, 1));
    for key in &waiting {
        until("all is handled in order", || async { streets(&orders.node, key).await == ["1", "2"] }).await;
    }
    until("nothing is kept any more", || async { inlet.kept() == 0 }).await;
    orders.bus.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_wait_hold_no_place_in_the_window_of_rabbitmq() {
    keys_that_wait_stop_nobody_else(&Rabbit::start()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_wait_hold_no_place_in_the_window_of_jetstream() {
    keys_that_wait_stop_nobody_else(&Nats::start()).await;
}
