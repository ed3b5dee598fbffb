//! What is gone for a while, forbidden or missing, as whoever runs the services sees it: on the health page, in the metrics,
//! and by the command line. Nothing is lost, and nothing is started again but what was gone.
//!
//! `ANNALS_OUTAGE_SECONDS` says how long something stays gone after it has shown.

use std::time::Instant;

use annals_parts::{App, Broker, Redis, Resources, Sidecar, free_port, outage};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bodies::{CUSTOMER, ORDER, address, created_customer, created_order, id, with};
use crate::client::Client;
use crate::pair::{Member, PUBSUB, TOPIC, sidecar_options};
use crate::process::{PATIENCE, eventually, run};

/// A customer who moves, an order of theirs, and the services that know them.
struct World {
    redis: Redis,
    data: TempDir,
    order: Member,
}

impl World {
    fn new() -> Self {
        let (redis, data) = (Redis::start(), TempDir::new().unwrap());
        let order = Member::start("order", &redis, false, data.path());
        Self { redis, data, order }
    }

    fn resources(&self) -> Resources {
        Resources::default().pubsub(&self.redis.component(PUBSUB, "customer", &[TOPIC]))
    }

    /// The Customer service behind a sidecar with these resources.
    fn customer(&self, resources: Resources) -> Member {
        let port = free_port();
        let sidecar = Sidecar::start(sidecar_options("customer", App::Grpc(port), resources));
        Member::over(sidecar, "customer", port, false, self.data.path(), &[])
    }

    /// Has a new customer move, and says where to look for their order.
    async fn moves(&self, customer: &Member) -> String {
        let (mut customers, mut orders) = (Client::new(customer.address), Client::new(self.order.address));
        let one = created_customer(&mut customers, "1 Elm").await;
        let order = created_order(&mut orders, id(&one), "1 Elm").await;
        let moved = with(&one, &json!({"shippingAddress": address("9 Yew")}));
        customers.put(CUSTOMER, &moved).await.expect(200);
        format!("{ORDER}/{}", id(&order))
    }

    async fn has_arrived(&self, order: &str) {
        let mut orders = Client::new(self.order.address);
        eventually("the order has the customer's address", async || {
            let now = orders.get(order.to_owned()).await.expect(200).json();
            (now["shippingAddress"] == address("9 Yew")).then_some(())
        })
        .await;
    }
}

/// What somebody sees who looks at a service.
struct Seen {
    status: u16,
    health: Value,
    metrics: String,
    /// A line of JSON for each service, relay and subscription.
    flow: String,
}

impl Seen {
    async fn of(member: &Member) -> Self {
        let mut client = Client::new(member.address);
        let (health, metrics) = (client.get("/readyz").await, client.get("/metrics").await.body);
        let url = format!("http://{}", member.address);
        let said = tokio::task::spawn_blocking(move || run(&["bus", "--json", "--url", &url])).await.unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        let flow = String::from_utf8(said.stdout).unwrap();
        Self { status: health.status, health: health.json(), metrics, flow }
    }

    /// Whether all three say so: health and command line with these words, metrics with this line.
    fn says(&self, words: &str, metric: &str) -> bool {
        self.health.to_string().contains(words) && self.flow.contains(words) && self.metrics.contains(metric)
    }
}

async fn shows(member: &Member, ready: bool, words: &str, metric: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = Seen::of(member).await;
        if (seen.status == 200) == ready && seen.says(words, metric) {
            return;
        }
        let Seen { status, health, metrics, flow } = seen;
        assert!(Instant::now() < deadline, "{status} {health:#}\n{metrics}\n{flow}");
    }
}

/// Nothing is said of any trouble any more.
async fn all_is_well(member: &Member) {
    eventually("nothing is wrong any more", async || {
        let seen = Seen::of(member).await;
        let well = seen.status == 200 && seen.health["services"]["customer"]["degraded"] == json!(null);
        (well && seen.metrics.contains("annals_bus_sidecar_ready{service=\"customer\"} 1")).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_that_is_gone_shows_everywhere_and_costs_nothing_but_time() {
    let world = World::new();
    let mut customer = world.customer(world.resources());
    all_is_well(&customer).await;
    customer.sidecar.kill();
    let order = world.moves(&customer).await;
    shows(&customer, false, "does not answer", "annals_bus_sidecar_ready{service=\"customer\"} 0").await;
    tokio::time::sleep(outage(0)).await;
    customer.sidecar.restart();
    world.has_arrived(&order).await;
    all_is_well(&customer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_gone_shows_everywhere_and_costs_nothing_but_time() {
    let mut world = World::new();
    let customer = world.customer(world.resources());
    all_is_well(&customer).await;
    world.redis.kill();
    let order = world.moves(&customer).await;
    shows(&customer, true, "events again", "annals_bus_publish_failures_total{").await;
    tokio::time::sleep(outage(0)).await;
    world.redis.restart();
    world.has_arrived(&order).await;
    all_is_well(&customer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forbidden_topic_shows_everywhere_until_it_is_allowed() {
    let world = World::new();
    let component = world.redis.component(PUBSUB, "customer", &[TOPIC]);
    let forbidden = Resources::default().pubsub(&component.with("publishingScopes", "customer="));
    let mut customer = world.customer(forbidden);
    let order = world.moves(&customer).await;
    shows(&customer, true, "PermissionDenied", "annals_bus_relay_parked{relay=\"customer to bus\"} 1").await;
    customer.sidecar.restart_with(world.resources());
    world.has_arrived(&order).await;
    all_is_well(&customer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_component_shows_everywhere_until_it_is_there() {
    let world = World::new();
    let mut customer = world.customer(Resources::default());
    let order = world.moves(&customer).await;
    shows(&customer, false, "no component \\\"bus\\\"", "annals_bus_sidecar_ready{service=\"customer\"} 0")
        .await;
    customer.sidecar.restart_with(world.resources());
    world.has_arrived(&order).await;
    all_is_well(&customer).await;
}
