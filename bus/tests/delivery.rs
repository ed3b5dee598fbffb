//! From one service's commit to another's, in order, once.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use annals_bus::{
    Bus, BusStartError, Delivery, HandlerError, InProcessBroker, Reaction, StartFrom, SubscriptionOptions,
};
use annals_persistence::{Direction, Journal, JournalExt, MemoryJournal, StreamId, Version};
use futures_util::TryStreamExt;
use futures_util::future::join_all;

use support::{
    Customer, CustomerAddressUpdated, CustomerCommand, Order, SetAddress, caught_up, customer_service,
    follow, move_customer, node, quick, streets, stubborn,
};

async fn order_service(journal: &Arc<MemoryJournal>, broker: &InProcessBroker) -> (annals_actors::Node, Bus) {
    let node = node(journal).await;
    let builder = Bus::builder(node.clone(), "order").in_process(broker);
    let bus = builder
        .subscribe_with::<CustomerAddressUpdated>("order-address", quick(), follow)
        .start()
        .await
        .unwrap();
    (node, bus)
}

fn journal() -> Arc<MemoryJournal> {
    Arc::new(MemoryJournal::new())
}

#[tokio::test]
async fn a_commit_in_one_service_reaches_the_other() {
    let broker = InProcessBroker::new();
    let (customers, _customer_bus) = customer_service(&journal(), &broker).await;
    let (orders, bus) = order_service(&journal(), &broker).await;
    move_customer(&customers, "1", "Elm Street").await;
    caught_up(&bus).await;
    assert_eq!(streets(&orders, "1").await, ["Elm Street"]);
}

#[tokio::test]
async fn the_order_of_service_starts_does_not_matter() {
    let broker = InProcessBroker::new();
    let (orders, bus) = order_service(&journal(), &broker).await;
    assert_eq!(bus.subscriptions()[0].source, None);
    let (customers, _customer_bus) = customer_service(&journal(), &broker).await;
    move_customer(&customers, "1", "Elm Street").await;
    caught_up(&bus).await;
    assert_eq!(streets(&orders, "1").await, ["Elm Street"]);
}

#[tokio::test]
async fn correlation_and_causation_go_along() {
    let broker = InProcessBroker::new();
    let (customer_journal, order_journal) = (journal(), journal());
    let (customers, _customer_bus) = customer_service(&customer_journal, &broker).await;
    let (_orders, bus) = order_service(&order_journal, &broker).await;
    move_customer(&customers, "1", "Elm Street").await;
    caught_up(&bus).await;
    let cause = first_event(&customer_journal, "customer-1").await;
    let effect = first_event(&order_journal, "order-1").await;
    assert_eq!(effect.command.correlation_id, cause.command.correlation_id);
    assert_eq!(effect.command.causation_id.as_uuid(), cause.id.as_uuid());
    assert_eq!(effect.command.actor.as_deref(), Some("subscription:order-address"));
}

async fn first_event(journal: &Arc<MemoryJournal>, stream: &str) -> annals_persistence::RecordedEvent {
    let journal = Arc::clone(journal) as Arc<dyn Journal>;
    let stream = StreamId::parse(stream).unwrap();
    journal.read_stream(&stream, Version(1), Direction::Forward).try_next().await.unwrap().unwrap()
}

#[tokio::test]
async fn order_per_key_holds_while_attempts_fail() {
    let broker = InProcessBroker::new();
    let (customers, _customer_bus) = customer_service(&journal(), &broker).await;
    let orders = node(&journal()).await;
    let calls = Arc::new(AtomicUsize::new(0));
    let handler = move |event: CustomerAddressUpdated, delivery: Delivery| {
        let calls = Arc::clone(&calls);
        async move {
            // Every third call fails, whatever it is about.
            if calls.fetch_add(1, Ordering::Relaxed).is_multiple_of(3) {
                return Err(HandlerError::retry("not this time"));
            }
            follow(event, delivery).await
        }
    };
    let builder = Bus::builder(orders.clone(), "order").in_process(&broker);
    let bus = builder
        .subscribe_with::<CustomerAddressUpdated>("order-address", stubborn(), handler)
        .start()
        .await
        .unwrap();
    for round in 0..20 {
        join_all((0..10).map(|id| {
            let customers = customers.clone();
            async move { move_customer(&customers, &id.to_string(), &format!("{round}")).await }
        }))
        .await;
    }
    caught_up(&bus).await;
    let expected: Vec<_> = (0..20).map(|round| round.to_string()).collect();
    for id in 0..10 {
        assert_eq!(streets(&orders, &id.to_string()).await, expected, "order {id}");
    }
}

#[tokio::test]
async fn several_handlers_on_a_topic_are_independent() {
    let broker = InProcessBroker::new();
    let (customers, _customer_bus) = customer_service(&journal(), &broker).await;
    let orders = node(&journal()).await;
    let counted = Arc::new(AtomicUsize::new(0));
    let (counter, failing) = (Arc::clone(&counted), |_: CustomerAddressUpdated, _: Delivery| async {
        Err(HandlerError::poison("never"))
    });
    let counting = move |_: CustomerAddressUpdated, _: Delivery| {
        counter.fetch_add(1, Ordering::Relaxed);
        async { Ok(Reaction::none()) }
    };
    let bus = Bus::builder(orders.clone(), "order")
        .subscribe_with::<CustomerAddressUpdated>("failing", quick(), failing)
        .subscribe_with::<CustomerAddressUpdated>("counting", quick(), counting)
        .subscribe_with::<CustomerAddressUpdated>("following", quick(), follow)
        .in_process(&broker)
        .start()
        .await
        .unwrap();
    for round in 0..5 {
        move_customer(&customers, "1", &round.to_string()).await;
    }
    caught_up(&bus).await;
    assert_eq!(counted.load(Ordering::Relaxed), 5);
    assert_eq!(streets(&orders, "1").await.len(), 5);
    let letters = bus.dead_letters().list().await.unwrap();
    assert_eq!(letters.iter().filter(|letter| letter.subscription == "failing").count(), 5);
    assert_eq!(letters.len(), 5);
}

#[tokio::test]
async fn a_subscription_may_begin_now() {
    let broker = InProcessBroker::new();
    let (customer_journal, order_journal) = (journal(), journal());
    let (customers, _customer_bus) = customer_service(&customer_journal, &broker).await;
    move_customer(&customers, "1", "before").await;
    let orders = node(&order_journal).await;
    let options = SubscriptionOptions { start: StartFrom::Now, ..quick() };
    let start = async |broker: &InProcessBroker| {
        let builder = Bus::builder(orders.clone(), "order").in_process(broker);
        builder
            .subscribe_with::<CustomerAddressUpdated>("late", options.clone(), follow)
            .start()
            .await
            .unwrap()
    };
    let bus = start(&broker).await;
    support::until("the cursor is written", || async {
        bus.subscriptions()[0].cursor > annals_persistence::Position::START
    })
    .await;
    bus.shutdown().await;
    // "Now" is the first start, not each.
    move_customer(&customers, "1", "between").await;
    let bus = start(&broker).await;
    move_customer(&customers, "1", "after").await;
    caught_up(&bus).await;
    assert_eq!(streets(&orders, "1").await, ["between", "after"]);
}

#[tokio::test]
async fn rejections_and_no_ops_count_as_handled() {
    let broker = InProcessBroker::new();
    let (customers, _customer_bus) = customer_service(&journal(), &broker).await;
    let order_journal = journal();
    let (orders, bus) = order_service(&order_journal, &broker).await;
    for street in ["one", "forbidden", "nothing", "two"] {
        move_customer(&customers, "1", street).await;
    }
    caught_up(&bus).await;
    assert_eq!(streets(&orders, "1").await, ["one", "two"]);
    assert!(bus.dead_letters().list().await.unwrap().is_empty());
    let journal = Arc::clone(&order_journal) as Arc<dyn Journal>;
    let inbox = StreamId::internal("inbox-order-address").unwrap();
    let records: Vec<_> =
        journal.read_stream(&inbox, Version(1), Direction::Forward).try_collect().await.unwrap();
    assert_eq!(records.len(), 4);
    let rejected = String::from_utf8(records[1].payload.to_vec()).unwrap();
    assert!(rejected.contains("the rule says no"), "{rejected}");
}

#[tokio::test]
async fn shutting_down_finishes_and_starting_again_repeats_nothing() {
    let broker = InProcessBroker::new();
    let (customers, _customer_bus) = customer_service(&journal(), &broker).await;
    let order_journal = journal();
    let (orders, bus) = order_service(&order_journal, &broker).await;
    for round in 0..50 {
        move_customer(&customers, "1", &round.to_string()).await;
    }
    bus.shutdown().await;
    orders.shutdown().await;
    let (orders, bus) = order_service(&order_journal, &broker).await;
    caught_up(&bus).await;
    let expected: Vec<_> = (0..50).map(|round| round.to_string()).collect();
    assert_eq!(streets(&orders, "1").await, expected);
}

#[tokio::test]
async fn a_bus_that_was_shut_down_has_no_hold_on_the_next_of_its_name() {
    let broker = InProcessBroker::new();
    let customer_journal = journal();
    let (customers, customer_bus) = customer_service(&customer_journal, &broker).await;
    let order_journal = journal();
    let (_, order_bus) = order_service(&order_journal, &broker).await;
    for bus in [&customer_bus, &order_bus] {
        bus.shutdown().await;
    }
    let (_, customer_bus_again) = customer_service(&customer_journal, &broker).await;
    let (orders, order_bus_again) = order_service(&order_journal, &broker).await;
    // What is left of the first attachments tells of nothing, and ends nothing when it goes.
    assert!(customer_bus.relays().is_empty());
    customer_bus.shutdown().await;
    drop((customer_bus, order_bus));
    assert_eq!((customer_bus_again.relays().len(), broker.services().len()), (1, 2));
    move_customer(&customers, "1", "Elm Street").await;
    caught_up(&order_bus_again).await;
    assert_eq!(streets(&orders, "1").await, ["Elm Street"]);
}

#[tokio::test]
async fn mistakes_are_refused_at_the_start() {
    let broker = InProcessBroker::new();
    let orders = node(&journal()).await;
    let twice = Bus::builder(orders.clone(), "order")
        .subscribe::<CustomerAddressUpdated>("a", follow)
        .subscribe::<CustomerAddressUpdated>("a", follow);
    assert!(matches!(twice.start().await, Err(BusStartError::SubscriptionTwice { .. })));
    let spaced = Bus::builder(orders.clone(), "order").subscribe::<CustomerAddressUpdated>("a b", follow);
    assert!(matches!(spaced.start().await, Err(BusStartError::InvalidName { .. })));
    let none = SubscriptionOptions { in_flight: 0, ..quick() };
    let full =
        Bus::builder(orders.clone(), "order").subscribe_with::<CustomerAddressUpdated>("a", none, follow);
    assert!(matches!(full.start().await, Err(BusStartError::InvalidLimit { .. })));
    let _first = Bus::builder(orders.clone(), "order").in_process(&broker).start().await.unwrap();
    let second = Bus::builder(orders, "order").in_process(&broker).start().await;
    assert!(matches!(second, Err(BusStartError::ServiceTaken { .. })));
}

#[tokio::test]
async fn without_a_broker_nothing_leaves_the_journal() {
    let orders = node(&journal()).await;
    let bus =
        Bus::builder(orders, "order").subscribe::<CustomerAddressUpdated>("a", follow).start().await.unwrap();
    assert_eq!((bus.broker(), bus.relays().len(), bus.subscriptions().len()), ("none", 0, 1));
    assert!(
        bus.health().is_ready() && bus.health().notes[0].contains("there is no broker"),
        "{:?}",
        bus.health()
    );
    bus.shutdown().await;
}

/// Ten commands each for a thousand events take about as long as ten thousand commands.
#[tokio::test(flavor = "multi_thread")]
async fn fan_out_costs_little_more_than_its_commands() {
    let broker = InProcessBroker::new();
    let (customers, _customer_bus) = customer_service(&journal(), &broker).await;
    for id in 0..1000 {
        let command = CustomerCommand::Move { street: "x".into() };
        customers.aggregate::<Customer>(id.to_string()).send(command).await.unwrap();
    }
    let alone = node(&journal()).await;
    let began = Instant::now();
    for chunk in 0..10 {
        join_all((0..1000).map(|n| {
            let order = alone.aggregate::<Order>(format!("{n}-{chunk}"));
            async move { order.send(SetAddress { street: "x".into() }).await.unwrap() }
        }))
        .await;
    }
    let commands = began.elapsed();
    let orders = node(&journal()).await;
    let fan_out = |event: CustomerAddressUpdated, _: Delivery| async move {
        Ok((0..10).fold(Reaction::none(), |reaction, n| {
            let id = format!("{}-{n}", event.customer_id);
            reaction.command::<Order>(id, SetAddress { street: event.street.clone() })
        }))
    };
    let began = Instant::now();
    let builder = Bus::builder(orders.clone(), "order").in_process(&broker);
    let bus = builder.subscribe::<CustomerAddressUpdated>("fan-out", fan_out).start().await.unwrap();
    caught_up(&bus).await;
    let fanned = began.elapsed();
    println!("10,000 commands alone {commands:?}, from 1,000 events {fanned:?}");
    assert_eq!(streets(&orders, "999-9").await, ["x"]);
    assert!(fanned < commands * 10 + Duration::from_secs(2), "alone {commands:?}, fanned out {fanned:?}");
}

/// Thousands of events over many keys arrive about as fast as they were made.
#[tokio::test(flavor = "multi_thread")]
async fn many_events_over_many_keys_are_quick() {
    let broker = InProcessBroker::new();
    let (customers, _customer_bus) = customer_service(&journal(), &broker).await;
    let began = Instant::now();
    for round in 0..10 {
        join_all((0..500).map(|id| {
            let customers = customers.clone();
            async move { move_customer(&customers, &id.to_string(), &round.to_string()).await }
        }))
        .await;
    }
    let made = began.elapsed();
    let began = Instant::now();
    let (orders, bus) = order_service(&journal(), &broker).await;
    caught_up(&bus).await;
    let handled = began.elapsed();
    println!("5,000 events made in {made:?}, handled in {handled:?}");
    assert_eq!(streets(&orders, "499").await.len(), 10);
    assert!(handled < made * 10 + Duration::from_secs(2), "made in {made:?}, handled in {handled:?}");
}

#[tokio::test]
async fn subscriptions_whose_names_look_alike_together_have_a_cursor_each() {
    let broker = InProcessBroker::new();
    let (customers, _customer_bus) = customer_service(&journal(), &broker).await;
    move_customer(&customers, "1", "Elm Street").await;
    for (service, subscription) in [("order", "archive-x"), ("order-archive", "x"), ("8-order-a", "x")] {
        let orders = node(&journal()).await;
        let builder = Bus::builder(orders.clone(), service).in_process(&broker);
        let builder = builder.subscribe_with::<CustomerAddressUpdated>(subscription, quick(), follow);
        let bus = builder.start().await.unwrap();
        caught_up(&bus).await;
        assert_eq!(streets(&orders, "1").await, ["Elm Street"], "{service} {subscription}");
        // The cursor is written down.
        bus.shutdown().await;
    }
}
