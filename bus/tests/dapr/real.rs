//! Over real sidecars and real brokers.

use annals_parts::{Broker, Nats, Rabbit, Redis};

use crate::pair::{customers, orders};
use crate::support::{follow, move_customer, quick, streets, until};

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
