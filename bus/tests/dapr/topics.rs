//! A service that handles several topics.

use annals_bus::dapr::DaprOptions;
use annals_bus::{Bus, SubscriptionOptions, Topic, TopicArguments};
use annals_parts::{Broker, Nats, PubSub, Rabbit, Redis, Resources, Sidecar, SidecarOptions};
use serde_json::json;

use crate::pair::{PUBSUB, Party, stage, topic, until_ready};
use crate::support::{CustomerAddressUpdated, follow, quick, streets, until};

/// The component for the second topic.
const OTHER: &str = "other";

fn other_topic() -> TopicArguments {
    TopicArguments::default().prefix("v1").topic("other-address")
}

pub(crate) fn other() -> Topic {
    Topic::with::<CustomerAddressUpdated>(&other_topic())
}

/// An order service that handles both topics.
async fn orders(components: &[PubSub], change: impl FnOnce(&mut DaprOptions)) -> Party {
    orders_with(components.iter().fold(Resources::default(), Resources::pubsub), change).await
}

/// The same, with these resources.
pub(crate) async fn orders_with(resources: Resources, change: impl FnOnce(&mut DaprOptions)) -> Party {
    let sidecar = |app| Sidecar::start(SidecarOptions::new("order", app, resources));
    let (node, broker, sidecar) = stage(sidecar, change).await;
    let second = SubscriptionOptions { topic: other_topic(), ..quick() };
    let bus = Bus::builder(node.clone(), "order")
        .subscribe_with::<CustomerAddressUpdated>("address", quick(), follow)
        .subscribe_with::<CustomerAddressUpdated>("other", second, follow)
        .broker(broker)
        .start()
        .await
        .unwrap();
    until_ready(&bus).await;
    Party { node, bus, sidecar }
}

/// A component for each topic; only a JetStream consumer needs them.
fn two_components(broker: &dyn Broker) -> [PubSub; 2] {
    let first = broker.component(PUBSUB, "order", &[topic().as_str()]);
    let second = broker.component(OTHER, "order-other", &[other().as_str()]);
    [first, second]
}

pub(crate) fn publish(orders: &Party, (pubsub, topic): (&str, &Topic), key: &str) {
    let body = json!({
        "specversion": "1.0", "id": key, "source": "customer", "type": "CustomerAddressUpdated.v1",
        "datacontenttype": "application/json", "data": {"customerId": key, "street": "Elm"},
    });
    let kind = "application/cloudevents+json";
    let status = orders.sidecar.publish(pubsub, topic.as_str(), kind, body.to_string().as_bytes());
    assert_eq!(status, 204, "{}", orders.sidecar.said());
}

pub(crate) async fn arrives(orders: &Party, key: &str) {
    until("it is handled", || async { streets(&orders.node, key).await == ["Elm"] }).await;
}

async fn each_topic_comes_by_its_own_component(broker: &dyn Broker) {
    let orders = orders(&two_components(broker), |options| {
        options.topic_pubsubs.insert(other(), OTHER.into());
    })
    .await;
    assert_eq!(orders.bus.health().degraded, [""; 0], "{}", broker.name());
    for key in ["1", "2"] {
        publish(&orders, (PUBSUB, &topic()), &format!("first-{key}"));
        publish(&orders, (OTHER, &other()), &format!("second-{key}"));
        arrives(&orders, &format!("first-{key}")).await;
        arrives(&orders, &format!("second-{key}")).await;
    }
    orders.bus.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_topic_comes_by_a_component_of_its_own_over_jetstream() {
    each_topic_comes_by_its_own_component(&Nats::start()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_topic_comes_by_a_component_of_its_own_over_redis() {
    each_topic_comes_by_its_own_component(&Redis::start()).await;
}

/// The others' consumers take any number of topics.
#[tokio::test(flavor = "multi_thread")]
async fn both_topics_come_by_one_component_over_rabbitmq() {
    let broker = Rabbit::start();
    let component = broker.component(PUBSUB, "order", &[topic().as_str(), other().as_str()]);
    let orders = orders(&[component], |_| {}).await;
    publish(&orders, (PUBSUB, &topic()), "1");
    publish(&orders, (PUBSUB, &other()), "2");
    arrives(&orders, "1").await;
    arrives(&orders, "2").await;
    orders.bus.shutdown().await;
}

/// The sidecar tells of it in its log alone.
#[tokio::test(flavor = "multi_thread")]
async fn topics_that_share_a_consumer_of_jetstream_show() {
    let broker = Nats::start();
    let component = broker.component(PUBSUB, "order", &[topic().as_str(), other().as_str()]);
    let orders = orders(&[component], |_| {}).await;
    let said = orders.bus.health().degraded;
    assert!(said.iter().any(|one| one.contains("consumer takes one topic")), "{said:?}");
    let told = "subject does not match consumer";
    until("the sidecar says so in its log", || async { orders.sidecar.said().contains(told) }).await;
    orders.bus.shutdown().await;
}
