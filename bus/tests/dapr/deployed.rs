//! The components of deploy/dapr, as they stand there, with the address of the broker that this test has started.

use std::path::Path;

use annals_bus::dapr::DaprOptions;
use annals_parts::{App, Nats, Rabbit, Redis, Resources, Sidecar, SidecarOptions};

use crate::pair::{self, until_ready};
use crate::support::{follow, move_customer, quick, streets, until};

/// A sidecar with these files.
fn sidecar(app_id: &str, app: App, resources: &Resources) -> Sidecar {
    Sidecar::start(SidecarOptions::new(app_id, app, resources.clone()))
}

fn resources(broker: &str, address: &str, port: u16) -> Resources {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/dapr").join(broker).join("bus.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(address), "{} does not name {address}", file.display());
    let (host, _) = address.rsplit_once(':').unwrap();
    Resources::default().file(
        "bus.yaml",
        &text.replace(address, &format!("{}:{port}", host.replace("localhost", "127.0.0.1"))),
    )
}

async fn an_address_follows(resources: Resources) {
    let orders = pair::orders_on(|app| sidecar("order", app, &resources), quick(), follow, |_| {}).await;
    let customers = pair::customers_with(|app| sidecar("customer", app, &resources)).await;
    until_ready(&customers.bus).await;
    move_customer(&customers.node, "1", "1 Elm").await;
    until("the address has arrived", || async { streets(&orders.node, "1").await == ["1 Elm"] }).await;
    orders.bus.shutdown().await;
    customers.bus.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_subscription_of_deploy_stands_in_for_the_service_s_own() {
    let redis = Redis::start();
    let component = resources("redis", "localhost:6379", redis.port());
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/dapr/subscription.yaml");
    let with_it = component.clone().file("subscription.yaml", &std::fs::read_to_string(file).unwrap());
    let declarative = |options: &mut DaprOptions| options.programmatic = false;
    let mut orders =
        pair::orders_on(|app| sidecar("order", app, &component), quick(), follow, declarative).await;
    let says = |part: &str| orders.bus.health().degraded.iter().any(|one| one.contains(part));
    until("it shows that it is missing", || async { says("no Subscription resource") }).await;
    orders.sidecar.restart_with(with_it.clone());
    until("it is there", || async { orders.bus.health().is_ready() && !says("Subscription") }).await;
    let customers = pair::customers_with(|app| sidecar("customer", app, &with_it)).await;
    until_ready(&customers.bus).await;
    // It is for the order service alone.
    assert_eq!(customers.bus.health().degraded, [""; 0]);
    move_customer(&customers.node, "1", "1 Elm").await;
    until("the address has arrived", || async { streets(&orders.node, "1").await == ["1 Elm"] }).await;
    orders.bus.shutdown().await;
    customers.bus.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_redis_component_of_deploy_works() {
    let redis = Redis::start();
    an_address_follows(resources("redis", "localhost:6379", redis.port())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_redis_component_for_later_sidecars_works() {
    let redis = Redis::start();
    an_address_follows(resources("redis-1.17", "localhost:6379", redis.port())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_jetstream_component_of_deploy_works() {
    let nats = Nats::start();
    an_address_follows(resources("jetstream", "localhost:4222", nats.port())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rabbitmq_component_of_deploy_works() {
    let rabbit = Rabbit::start();
    an_address_follows(resources("rabbitmq", "localhost:5672", rabbit.port())).await;
}
