//! Subscriptions that operators write.

use super::fake::{Deliverer, Served};
use super::{node, options, some_events, subscriber, until};
use crate::broker::dapr::{AppChannel, DaprBroker, DaprOptions, Reception};
use crate::{Bus, SubscriptionOptions};

/// A service that handles `v1.counted` and tells its sidecar nothing.
fn declarative(sidecar: &Served) -> DaprOptions {
    DaprOptions { programmatic: false, ..options(sidecar) }
}

#[tokio::test]
async fn the_sidecar_is_told_nothing_and_its_deliveries_are_taken() {
    let sidecar = Served::start("1.17.0").await;
    let events = some_events(1, 1).await;
    let (node, bus, address) = subscriber(declarative(&sidecar), SubscriptionOptions::default()).await;
    until("it is ready", async || bus.health().is_ready()).await;
    assert_eq!(bus.health().degraded, [""; 0]);
    let deliverer = Deliverer::to(address, None);
    assert_eq!(deliverer.subscriptions().await, [""; 0]);
    deliverer.deliver_until_taken(&events[0]).await;
    drop(node);
    bus.shutdown().await;
}

#[tokio::test]
async fn a_topic_without_a_subscription_shows_until_there_is_one() {
    let sidecar = Served::start("1.17.0").await;
    sidecar.script().subscriptions = Some(vec![("v1.other", "/dapr/events/v1.other")]);
    let (node, bus, _) = subscriber(declarative(&sidecar), SubscriptionOptions::default()).await;
    let says = async |part: &str| bus.health().degraded.iter().any(|one| one.contains(part));
    until("it shows", async || says("no Subscription resource").await).await;
    assert!(says("does not bring \"v1.counted\"").await && says("\"v1.other\", which nothing").await);
    assert!(bus.health().is_ready(), "who reads what is the operators' to say: {:?}", bus.health());
    sidecar.script().subscriptions = None;
    until("it clears", async || bus.health().degraded.is_empty()).await;
    drop(node);
    bus.shutdown().await;
}

#[tokio::test]
async fn without_the_service_being_asked_a_missing_topic_is_not_ready() {
    let sidecar = Served::start("1.17.0").await;
    sidecar.script().subscriptions = Some(Vec::new());
    let (node, bus, _) = subscriber(options(&sidecar), SubscriptionOptions::default()).await;
    let says = async || bus.health().reasons.iter().any(|one| one.contains("does not subscribe to"));
    until("it is not ready", says).await;
    drop(node);
    bus.shutdown().await;
}

#[tokio::test]
async fn over_http_a_route_that_is_none_shows() {
    let sidecar = Served::start("1.17.0").await;
    sidecar.script().subscriptions = Some(vec![("v1.counted", "/counted")]);
    for (channel, shows) in
        [(AppChannel::Http, true), (AppChannel::Grpc("127.0.0.1:0".parse().unwrap()), false)]
    {
        let options = DaprOptions { app_channel: channel, ..declarative(&sidecar) };
        let broker = DaprBroker::new(options);
        let node = node().await;
        let builder = Bus::builder(node.clone(), "hearing").broker(std::sync::Arc::new(broker.clone()));
        let bus = builder.subscribe::<super::Counted>("hear", super::hear).start().await.unwrap();
        until("it is ready", async || bus.health().is_ready()).await;
        let said = bus.health().degraded;
        assert_eq!(
            said.iter().any(|one| one.contains("its route is /dapr/events/v1.counted")),
            shows,
            "{said:?}"
        );
        bus.shutdown().await;
        assert_eq!(broker.app().reception("v1.counted"), Reception::NotSubscribed, "it is gone");
    }
}

#[tokio::test]
async fn what_nothing_subscribes_to_is_not_worth_reading() {
    let sidecar = Served::start("1.17.0").await;
    let broker = DaprBroker::new(DaprOptions { app_channel: AppChannel::Http, ..declarative(&sidecar) });
    let builder = Bus::builder(node().await, "hearing").broker(std::sync::Arc::new(broker.clone()));
    let bus = builder.subscribe::<super::Counted>("hear", super::hear).start().await.unwrap();
    assert_eq!(broker.app().reception("v1.counted"), Reception::Welcome);
    assert_eq!(broker.app().reception("v2.counted"), Reception::NotSubscribed);
    sidecar.script().version = "1.18.1".to_owned();
    until("such a sidecar is not used", async || broker.app().reception("v1.counted") == Reception::Later)
        .await;
    bus.shutdown().await;
}
