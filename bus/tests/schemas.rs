//! Schemas on the way: what is published and what arrives is held against them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use annals_bus::{
    Bus, BusStartError, Compatibility, Envelope, InProcessBroker, IntegrationEvent, Outgoing, Publications,
    SchemaOptions, SchemaRegistry, Topic, TopicArguments,
};
use annals_persistence::{Journal, MemoryJournal};
use serde::{Deserialize, Serialize};
use serde_json::json;

use support::counted::Counted;
use support::sink::Sink;
use support::{
    Customer, CustomerAddressUpdated, CustomerEvent, customer_publications, follow, move_customer, node,
    node_over, quick, streets, until,
};

fn topic() -> Topic {
    Topic::of::<CustomerAddressUpdated>()
}

/// What the order service understands: as the customers' event, and the street has at most eight characters.
#[derive(Debug, Clone, Serialize, Deserialize, IntegrationEvent)]
#[integration_event(name = "CustomerAddressUpdated", version = 1)]
#[serde(rename_all = "camelCase")]
struct Understood {
    customer_id: String,
    #[schemars(length(max = 8))]
    street: String,
}

async fn customers(
    journal: &Arc<MemoryJournal>,
    broker: &InProcessBroker,
    publications: Publications,
) -> (annals_actors::Node, Result<Bus, BusStartError>) {
    let node = node(journal).await;
    let builder = Bus::builder(node.clone(), "customer").publications(publications);
    let bus = builder.schemas(SchemaOptions::default()).in_process(broker).start().await;
    (node, bus)
}

#[tokio::test]
async fn declared_events_are_registered_and_named_by_their_schema() {
    let broker = InProcessBroker::new();
    let (customers, bus) = customers(&Arc::new(MemoryJournal::new()), &broker, customer_publications()).await;
    let bus = bus.unwrap();
    let listed = bus.schemas().unwrap().list().await.unwrap();
    assert_eq!((listed[0].topic.clone(), listed[0].version), (topic(), 1));
    let orders = node(&Arc::new(MemoryJournal::new())).await;
    let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let order_bus = Bus::builder(orders, "order")
        .subscribe::<CustomerAddressUpdated>("address", move |_, delivery: annals_bus::Delivery| {
            sender.send(delivery.envelope().data_schema.clone()).unwrap();
            async { Ok(annals_bus::Reaction::none()) }
        })
        .in_process(&broker)
        .start()
        .await
        .unwrap();
    move_customer(&customers, "1", "1 Elm").await;
    let name = format!("urn:annals:schema:{}:1", topic());
    assert_eq!(seen.recv().await.unwrap().as_deref(), Some(name.as_str()));
    order_bus.shutdown().await;
    bus.shutdown().await;
}

#[tokio::test]
async fn w23_what_does_not_satisfy_its_schema_is_not_published_and_others_of_the_topic_flow_on() {
    let (broker, journal) = (InProcessBroker::new(), Arc::new(MemoryJournal::new()));
    let (customers, bus) = customers(&journal, &broker, customer_publications()).await;
    let bus = bus.unwrap();
    let registry = bus.schemas().unwrap();
    // Stricter than the type, as an operator may want it.
    let strict = json!({
        "type": "object", "required": ["customerId", "street"],
        "properties": {"customerId": {"type": "string"}, "street": {"type": "string", "maxLength": 8}},
    });
    registry.set_compatibility(&topic(), Compatibility::None).await.unwrap();
    registry.register(&topic(), &strict).await.unwrap();
    let orders = node(&Arc::new(MemoryJournal::new())).await;
    let builder = Bus::builder(orders.clone(), "order").in_process(&broker);
    let order_bus = builder.subscribe::<CustomerAddressUpdated>("address", follow).start().await.unwrap();
    move_customer(&customers, "1", "a street that is long").await;
    move_customer(&customers, "2", "2 Oak").await;
    until("the other key flows on", || async { streets(&orders, "2").await == ["2 Oak"] }).await;
    let parked = bus.relays()[0].parked.clone().unwrap();
    assert!(parked.contains("schema_mismatch") && parked.contains("/street"), "{parked}");
    assert!(streets(&orders, "1").await.is_empty());

    registry.remove(&topic()).await.unwrap();
    // The relay looks again by itself; a restart looks at once, and finds nothing lost.
    bus.shutdown().await;
    order_bus.shutdown().await;
    let builder = Bus::builder(orders.clone(), "order").in_process(&broker);
    let order_bus = builder.subscribe::<CustomerAddressUpdated>("address", follow).start().await.unwrap();
    let again = Bus::builder(customers, "customer").publications(customer_publications()).in_process(&broker);
    let bus = again.start().await.unwrap();
    until("it is published", || async { streets(&orders, "1").await == ["a street that is long"] }).await;
    assert_eq!(streets(&orders, "2").await, ["2 Oak"]);
    order_bus.shutdown().await;
    bus.shutdown().await;
}

#[tokio::test]
async fn what_arrives_and_is_not_what_its_handler_takes_becomes_a_dead_letter_with_every_wrong_path() {
    let orders = node(&Arc::new(MemoryJournal::new())).await;
    let handler = async |event: Understood, delivery| {
        let event = CustomerAddressUpdated { customer_id: event.customer_id, street: event.street };
        follow(event, delivery).await
    };
    let builder = Bus::builder(orders.clone(), "order").schemas(SchemaOptions::default());
    let bus = builder.subscribe_with::<Understood>("address", quick(), handler).start().await.unwrap();
    let deliver = async |id: &str, data: serde_json::Value| {
        let body = json!({"specversion": "1.0", "id": id, "source": "s", "type": "t", "data": data});
        let envelope = Envelope::from_json(body.to_string().as_bytes(), &topic()).unwrap();
        bus.inlet("address").unwrap().deliver(Arc::new(envelope)).await.unwrap();
    };
    deliver("1", json!({"customerId": 5, "street": "much too long"})).await;
    deliver("2", json!({"customerId": "2", "street": "2 Oak"})).await;
    let letters = bus.dead_letters().list().await.unwrap();
    let reason = &letters[0].reason;
    assert_eq!(letters.len(), 1);
    assert!(
        ["schema_mismatch", "/customerId", "/street"].iter().all(|part| reason.contains(part)),
        "{reason}"
    );
    assert_eq!(streets(&orders, "2").await, ["2 Oak"]);
    bus.shutdown().await;
}

#[tokio::test]
async fn what_its_publisher_lets_through_is_held_against_another_schema_of_its_handler() {
    let broker = InProcessBroker::new();
    let (customers, customer_bus) =
        customers(&Arc::new(MemoryJournal::new()), &broker, customer_publications()).await;
    let orders = node(&Arc::new(MemoryJournal::new())).await;
    let handler = async |event: Understood, delivery| {
        let event = CustomerAddressUpdated { customer_id: event.customer_id, street: event.street };
        follow(event, delivery).await
    };
    let builder = Bus::builder(orders.clone(), "order").schemas(SchemaOptions::default()).in_process(&broker);
    let bus = builder.subscribe_with::<Understood>("address", quick(), handler).start().await.unwrap();
    move_customer(&customers, "1", "much too long").await;
    move_customer(&customers, "2", "2 Oak").await;
    until("the other is handled", || async { streets(&orders, "2").await == ["2 Oak"] }).await;
    until("it is a dead letter", || async { bus.dead_letters().list().await.unwrap().len() == 1 }).await;
    let letters = bus.dead_letters().list().await.unwrap();
    assert!(letters[0].reason.contains("/street"), "{}", letters[0].reason);
    bus.shutdown().await;
    customer_bus.unwrap().shutdown().await;
}

#[tokio::test]
async fn w23_a_changed_event_that_may_not_follow_keeps_the_service_from_starting() {
    let (broker, journal) = (InProcessBroker::new(), Arc::new(MemoryJournal::new()));
    let registry = SchemaRegistry::new(
        Arc::clone(&journal) as Arc<dyn Journal>,
        Arc::new(annals_actors::SystemClock),
        Compatibility::Full,
    );
    let before = json!({
        "type": "object", "required": ["customerId", "street"],
        "properties": {"customerId": {"type": "integer"}, "street": {"type": "string"}},
    });
    registry.register(&topic(), &before).await.unwrap();
    let (_node, refused) = customers(&journal, &broker, customer_publications()).await;
    let error = refused.unwrap_err();
    assert_eq!(error.code(), "schema_incompatible");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("/customerId"), "{source}");
    assert_eq!(broker.services(), Vec::<Arc<str>>::new());
}

#[tokio::test]
async fn a_service_starts_whatever_was_registered_since_its_own_schema() {
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let (sink, mut taken) = Sink::new();
    let (_, bus) = customers_to(&sink, &journal).await;
    // It takes whatever is an object, and what the service knows may not follow that.
    bus.schemas().unwrap().register(&topic(), &json!({"type": "object"})).await.unwrap();
    bus.shutdown().await;
    let (customers, bus) = customers_to(&sink, &journal).await;
    assert_eq!(bus.schemas().unwrap().get(&topic(), None).await.unwrap().version, 2);
    move_customer(&customers, "1", "1 Elm").await;
    assert_eq!(taken.recv().await.unwrap().data_schema.as_deref(), Some(name(":2").as_str()));
    bus.shutdown().await;
}

#[tokio::test]
async fn an_event_that_nobody_declared_is_registered_by_its_first_publication() {
    let (broker, journal) = (InProcessBroker::new(), Arc::new(MemoryJournal::new()));
    let elsewhere = TopicArguments::default().topic("elsewhere");
    let publications =
        Publications::new("customer").translate::<Customer>(move |event, recorded| match event {
            CustomerEvent::Moved { street } => {
                let customer_id = recorded.stream.instance().to_owned();
                vec![Outgoing::on(
                    &CustomerAddressUpdated { customer_id, street: street.clone() },
                    &elsewhere,
                )]
            }
            CustomerEvent::Renamed => Vec::new(),
        });
    let (customers, bus) = customers(&journal, &broker, publications).await;
    let bus = bus.unwrap();
    let options = annals_bus::SubscriptionOptions {
        topic: TopicArguments::default().topic("elsewhere"),
        ..annals_bus::SubscriptionOptions::default()
    };
    let orders = node(&Arc::new(MemoryJournal::new())).await;
    let builder = Bus::builder(orders.clone(), "order").in_process(&broker);
    let order_bus =
        builder.subscribe_with::<CustomerAddressUpdated>("address", options, follow).start().await.unwrap();
    move_customer(&customers, "1", "1 Elm").await;
    until("it has arrived", || async { streets(&orders, "1").await == ["1 Elm"] }).await;
    let registered = bus.schemas().unwrap().get(&Topic::named("elsewhere"), None).await.unwrap();
    assert_eq!(registered.schema, CustomerAddressUpdated::schema().to_value());
    order_bus.shutdown().await;
    bus.shutdown().await;
}

/// Customers with the schemas of a journal, over a broker that hands over what it is given.
async fn customers_to(sink: &Sink, journal: &Arc<dyn Journal>) -> (annals_actors::Node, Bus) {
    let node = node_over(Arc::clone(journal)).await;
    let builder = Bus::builder(node.clone(), "customer").publications(customer_publications());
    let builder = builder.schemas(SchemaOptions::default()).broker(Arc::new(sink.clone()));
    (node, builder.start().await.unwrap())
}

fn name(rest: &str) -> String {
    format!("urn:annals:schema:{}{rest}", topic())
}

#[tokio::test]
async fn an_event_that_was_parked_is_named_by_the_schema_that_it_satisfies() {
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let (sink, mut taken) = Sink::new();
    let (customers, bus) = customers_to(&sink, &journal).await;
    let registry = bus.schemas().unwrap();
    let at_most = |length: u32| json!({"properties": {"street": {"type": "string", "maxLength": length}}});
    registry.set_compatibility(&topic(), Compatibility::None).await.unwrap();
    registry.register(&topic(), &at_most(3)).await.unwrap();
    move_customer(&customers, "1", "1 Elm").await;
    until("it is parked", || async { bus.relays()[0].parked.is_some() }).await;
    registry.register(&topic(), &at_most(9)).await.unwrap();
    assert_eq!(taken.recv().await.unwrap().data_schema.as_deref(), Some(name(":3").as_str()));

    move_customer(&customers, "2", "2 Oak or so").await;
    until("it is parked", || async { bus.relays()[0].parked.is_some() }).await;
    registry.remove(&topic()).await.unwrap();
    assert_eq!(taken.recv().await.unwrap().data_schema.as_deref(), Some(name("").as_str()));
    bus.shutdown().await;
}

#[tokio::test]
async fn a_schema_that_was_removed_stays_so_through_a_restart_and_costs_no_reads() {
    let counted = Arc::new(Counted::new(Arc::new(MemoryJournal::new()), "$schema-"));
    let journal = Arc::clone(&counted) as Arc<dyn Journal>;
    let (sink, mut taken) = Sink::new();
    let (_customers, bus) = customers_to(&sink, &journal).await;
    bus.schemas().unwrap().remove(&topic()).await.unwrap();
    bus.shutdown().await;

    let (customers, bus) = customers_to(&sink, &journal).await;
    assert_eq!(bus.schemas().unwrap().list().await.unwrap(), []);
    counted.take();
    for at in ["1 Elm", "2 Oak", "3 Ash"] {
        move_customer(&customers, "1", at).await;
        assert_eq!(taken.recv().await.unwrap().data_schema.as_deref(), Some(name("").as_str()));
    }
    assert_eq!(counted.take(), 0, "what is known is not read for every event");
    bus.shutdown().await;
}
