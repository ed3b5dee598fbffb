//! Topics that another component carries.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::fake::Served;
use super::{all_published, count_up, hear, node, options, publisher, until};
use crate::broker::dapr::{DaprBroker, DaprOptions, ForeignTopics};
use crate::{Bus, Topic};

/// `v1.counted` goes by the component "own".
fn by_its_own(sidecar: &Served) -> DaprOptions {
    let mut options = options(sidecar);
    options.topic_pubsubs.insert(Topic::named("v1.counted"), "own".into());
    options
}

#[tokio::test]
async fn events_are_published_through_the_component_of_their_topic() {
    let sidecar = Served::start("1.14.4").await;
    let node = node().await;
    let bus = publisher(&node, by_its_own(&sidecar)).await;
    let says = async |part: &str| bus.health().reasons.iter().any(|reason| reason.contains(part));
    until("what is missing shows", async || says("no component \"own\"").await).await;
    sidecar.script().second = Some("own");
    until("it is there", async || bus.health().is_ready()).await;
    count_up(&node, 20, 5).await;
    all_published(&sidecar, 20, 5).await;
    assert_eq!(sidecar.script().pubsubs, BTreeSet::from(["own".to_owned()]));
    bus.shutdown().await;
}

#[tokio::test]
async fn the_sidecar_is_told_to_bring_a_topic_by_its_component() {
    let sidecar = Served::start("1.14.4").await;
    let broker = DaprBroker::new(by_its_own(&sidecar));
    let builder = Bus::builder(node().await, "hearing").subscribe::<super::Counted>("hear", hear);
    let bus = builder.broker(Arc::new(broker.clone())).start().await.unwrap();
    assert_eq!(*broker.app().subscriptions().await[0].pubsubname, *"own");
    sidecar.script().second = Some("own");
    // The fake says that it brings the topic by "bus", which is none of its own.
    let says = async || bus.health().reasons.iter().any(|one| one.contains("does not subscribe to"));
    until("it is not brought by that", says).await;
    bus.shutdown().await;
}

#[tokio::test]
async fn a_component_that_carries_nothing_of_the_service_is_not_noted() {
    let sidecar = Served::start("1.17.0").await;
    sidecar.script().second = Some("nats");
    for (component, is_noted) in [("bus", true), ("nats", false)] {
        let mut options = options(&sidecar);
        options.topic_pubsubs.insert(Topic::named("v1.counted"), component.into());
        let bus = publisher(&node().await, options).await;
        until("the sidecar is ready", async || bus.health().is_ready()).await;
        let notes = bus.health().notes;
        assert_eq!(notes.iter().any(|note| note.contains("redis-1.17")), is_noted, "{component}: {notes:?}");
        bus.shutdown().await;
    }
}

#[tokio::test]
async fn a_component_for_a_topic_that_the_service_does_not_have_is_refused() {
    let sidecar = Served::start("1.14.4").await;
    let mut misspelt = options(&sidecar);
    misspelt.topic_pubsubs.insert(Topic::named("v1.conted"), "own".into());
    let start = async |options| {
        let builder = Bus::builder(node().await, "hearing").subscribe::<super::Counted>("hear", hear);
        builder.broker(Arc::new(DaprBroker::new(options))).start().await
    };
    let refused = start(misspelt.clone()).await.unwrap_err();
    assert_eq!(refused.code(), "component_of_no_topic");
    assert!(refused.to_string().ends_with("its topics are: v1.counted"), "{refused}");
    // Of several services, another may have it.
    start(DaprOptions { foreign_topics: ForeignTopics::Warn, ..misspelt }).await.unwrap().shutdown().await;
}
