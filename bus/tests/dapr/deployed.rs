//! The components of deploy/dapr, as they stand there, with the address of the broker that this test has started.

use std::path::Path;

use annals_bus::dapr::DaprOptions;
use annals_parts::{App, Nats, Rabbit, Redis, Resources, Sidecar, SidecarOptions};

use crate::pair::{self, until_ready};
use crate::support::{follow, move_customer, quick, streets, until};
use crate::topics;

/// A sidecar with these files.
fn sidecar(app_id: &str, app: App, resources: &Resources) -> Sidecar {
    Sidecar::start(SidecarOptions::new(app_id, app, resources.clone()))
}

fn resources(broker: &str, address: &str, port: u16) -> Resources {
    Resources::default().file("bus.yaml", &deployed(broker, "bus.yaml", address, port))
}

/// A file of a broker's directory, for the broker at this port.
fn deployed(broker: &str, name: &str, address: &str, port: u16) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/dapr").join(broker).join(name);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(address), "{} does not name {address}", file.display());
    let (host, _) = address.rsplit_once(':').unwrap();
    text.replace(address, &format!("{}:{port}", host.replace("localhost", "127.0.0.1")))
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

/// As two topics by two components do, with the files as they stand there.
#[tokio::test(flavor = "multi_thread")]
async fn the_second_jetstream_component_of_deploy_brings_a_second_topic() {
    let nats = Nats::start();
    let own = deployed("jetstream", "bus-own.yaml", "localhost:4222", nats.port());
    let both = resources("jetstream", "localhost:4222", nats.port()).file("bus-own.yaml", &own);
    let orders = topics::orders_with(both, |options| {
        options.topic_pubsubs.insert(topics::other(), "bus-own".into());
    })
    .await;
    assert_eq!(orders.bus.health().degraded, [""; 0]);
    topics::publish(&orders, (pair::PUBSUB, &pair::topic()), "1");
    // Whichever of them it is published by: both are for one stream.
    topics::publish(&orders, (pair::PUBSUB, &topics::other()), "2");
    for key in ["1", "2"] {
        topics::arrives(&orders, key).await;
    }
    orders.bus.shutdown().await;
}

/// A component without a target is brought events without a limit to how long each may take.
#[test]
fn every_component_of_jetstream_has_its_own_target() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/dapr/jetstream");
    let mut files = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let name = text.lines().find_map(|line| line.strip_prefix("  name: ")).unwrap();
        let targets = text.split("components:\n").nth(1).unwrap();
        assert!(targets.contains(&format!("{name}:\n        inbound: {{ timeout: delivery }}")), "{name}");
        files += 1;
    }
    assert_eq!(files, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rabbitmq_component_of_deploy_works() {
    let rabbit = Rabbit::start();
    an_address_follows(resources("rabbitmq", "localhost:5672", rabbit.port())).await;
}
