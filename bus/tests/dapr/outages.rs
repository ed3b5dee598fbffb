//! What is gone for a while, forbidden or missing: nothing is lost, it shows, and it goes on by itself.
//!
//! `ANNALS_OUTAGE_SECONDS` says how long something is gone.

use annals_parts::{App, Broker, Redis, Resources, Sidecar};

use crate::pair::{self, PUBSUB, Party, until_ready};
use crate::support::{follow, move_customer, quick, streets, until};

/// How many customers move during an outage.
const CUSTOMERS: usize = 50;

async fn outage() {
    // The outage itself is what takes the time.
    tokio::time::sleep(annals_parts::outage(2)).await;
}

async fn move_all(customers: &Party, street: &str) {
    for customer in 0..CUSTOMERS {
        move_customer(&customers.node, &customer.to_string(), street).await;
    }
}

/// Has all move once more: behind that, what was handled twice or came too late would be seen.
async fn all_have(customers: &Party, orders: &Party, expected: &[&str]) {
    let last = format!("the end of {}", expected.len());
    move_all(customers, &last).await;
    for customer in 0..CUSTOMERS {
        let id = customer.to_string();
        until("the order has the last address", || async {
            streets(&orders.node, &id).await.last().is_some_and(|street| *street == last)
        })
        .await;
        let expected: Vec<_> = expected.iter().copied().chain([last.as_str()]).collect();
        assert_eq!(streets(&orders.node, &id).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_that_is_gone_costs_nothing_but_time() {
    let redis = Redis::start();
    let orders = pair::orders(&redis, quick(), follow).await;
    let mut customers = pair::customers(&redis).await;
    until_ready(&customers.bus).await;
    move_all(&customers, "1 Elm").await;
    customers.sidecar.kill();
    move_all(&customers, "2 Oak").await;
    until("it shows", || async {
        let health = customers.bus.health();
        health.reasons.iter().any(|reason| reason.contains("does not answer"))
            && health.degraded.iter().any(|trouble| trouble.contains("tries"))
    })
    .await;
    outage().await;
    customers.sidecar.restart();
    until_ready(&customers.bus).await;
    all_have(&customers, &orders, &["1 Elm", "2 Oak"]).await;
    until("nothing is wrong any more", || async { customers.bus.health().degraded.is_empty() }).await;
    assert_eq!(
        customers.bus.health().version.as_deref().map(|version| version.starts_with("1.")),
        Some(true)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_gone_costs_nothing_but_time() {
    let mut redis = Redis::start();
    let orders = pair::orders(&redis, quick(), follow).await;
    let customers = pair::customers(&redis).await;
    until_ready(&customers.bus).await;
    move_all(&customers, "1 Elm").await;
    all_have(&customers, &orders, &["1 Elm"]).await;
    redis.kill();
    move_all(&customers, "2 Oak").await;
    until("it shows", || async {
        customers.bus.health().degraded.iter().any(|trouble| trouble.contains("Internal"))
    })
    .await;
    outage().await;
    redis.restart();
    all_have(&customers, &orders, &["1 Elm", "the end of 1", "2 Oak"]).await;
    until("nothing is wrong any more", || async { customers.bus.health().degraded.is_empty() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forbidden_topic_parks_events_until_it_is_allowed() {
    let redis = Redis::start();
    let orders = pair::orders(&redis, quick(), follow).await;
    let allowed = redis.component(PUBSUB, "customer", &[]);
    let forbidden = Resources::default().pubsub(&allowed.clone().with("publishingScopes", "customer="));
    let mut customers = pair::customers_with(|app: App| {
        Sidecar::start(annals_parts::SidecarOptions::new("customer", app, forbidden))
    })
    .await;
    move_all(&customers, "1 Elm").await;
    until("it shows", || async {
        let health = customers.bus.health();
        health.is_ready() && health.degraded.iter().any(|trouble| trouble.contains("PermissionDenied"))
    })
    .await;
    customers.sidecar.restart_with(Resources::default().pubsub(&allowed));
    all_have(&customers, &orders, &["1 Elm"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_component_shows_and_parks_events_until_it_is_there() {
    let redis = Redis::start();
    let orders = pair::orders(&redis, quick(), follow).await;
    let mut customers = pair::customers_with(|app: App| {
        Sidecar::start(annals_parts::SidecarOptions::new("customer", app, Resources::default()))
    })
    .await;
    move_all(&customers, "1 Elm").await;
    until("it shows", || async {
        customers.bus.health().reasons.iter().any(|reason| reason.contains("no component \"bus\""))
    })
    .await;
    let component = redis.component(PUBSUB, "customer", &[]);
    customers.sidecar.restart_with(Resources::default().pubsub(&component));
    until_ready(&customers.bus).await;
    all_have(&customers, &orders, &["1 Elm"]).await;
}
