//! The faults of the system that this one takes after, each as a test that it does not have it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use annals_actors::Node;
use annals_bus::{
    Bus, Delivery, DeliveryError, Envelope, HandlerError, InProcessBroker, Inlet, Reaction,
    SubscriptionOptions, Topic,
};
use annals_persistence::{AppendError, MemoryJournal};
use futures_util::future::join_all;
use serde_json::json;
use tokio::sync::Semaphore;

use support::{
    CustomerAddressUpdated, caught_up, customer_service, follow, move_customer, node, quick, streets,
};

fn topic() -> Topic {
    Topic::of::<CustomerAddressUpdated>()
}

/// An event as our own relay publishes it, about customer 1.
fn event(id: &str, previous: u64, sequence: u64) -> Arc<Envelope> {
    let body = json!({
        "specversion": "1.0", "id": id, "source": "customer", "type": "CustomerAddressUpdated.v1", "subject": "1",
        "sequence": sequence.to_string(), "prevsequence": previous.to_string(),
        "data": {"customerId": "1", "street": id},
    });
    Arc::new(Envelope::from_json(body.to_string().as_bytes(), &topic()).unwrap())
}

struct Orders {
    journal: Arc<MemoryJournal>,
    node: Node,
    bus: Bus,
    /// How often the handler was called since the start.
    calls: Arc<AtomicUsize>,
}

impl Orders {
    async fn start() -> Self {
        Self::on(Arc::new(MemoryJournal::new()), quick()).await
    }

    async fn on(journal: Arc<MemoryJournal>, options: SubscriptionOptions) -> Self {
        let node = node(&journal).await;
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let handler = move |event: CustomerAddressUpdated, delivery: Delivery| {
            counted.fetch_add(1, Ordering::Relaxed);
            follow(event, delivery)
        };
        let builder = Bus::builder(node.clone(), "order");
        let bus = builder
            .subscribe_with::<CustomerAddressUpdated>("address", options, handler)
            .start()
            .await
            .unwrap();
        Self { journal, node, bus, calls }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// As after a crash: what is durable is there, nothing else.
    async fn restart(self) -> Self {
        Self::on(Arc::new(self.journal.reopened()), quick()).await
    }

    fn inlet(&self) -> &Arc<Inlet> {
        self.bus.inlet("address").unwrap()
    }

    async fn streets(&self) -> Vec<String> {
        streets(&self.node, "1").await
    }
}

#[tokio::test]
async fn w1_a_failed_event_is_not_taken_for_handled() {
    let orders = Orders::start().await;
    // As many failures as there are appends to make: the command's, three times, and the dead letter's.
    for nth in 1..=4 {
        orders.journal.fail_append(nth, AppendError::Closed);
    }
    let refused = orders.inlet().deliver(event("a", 0, 1)).await;
    assert!(matches!(refused, Err(DeliveryError::Again { .. } | DeliveryError::Stopping)), "{refused:?}");
    let mut again = orders.inlet().deliver(event("a", 0, 1)).await;
    for _ in 0..4 {
        if again.is_ok() {
            break;
        }
        again = orders.inlet().deliver(event("a", 0, 1)).await;
    }
    assert_eq!(again, Ok(()));
    assert_eq!(orders.streets().await, ["a"]);
    assert!(orders.inlet().last_error().is_some());
}

#[tokio::test]
async fn w2_what_was_handled_is_read_back_as_handled() {
    let orders = Orders::start().await;
    orders.inlet().deliver(event("a", 0, 1)).await.unwrap();
    let orders = orders.restart().await;
    orders.inlet().deliver(event("a", 0, 1)).await.unwrap();
    assert_eq!(orders.calls(), 0, "that its command is known is another matter");
    orders.inlet().deliver(event("b", 1, 2)).await.unwrap();
    assert_eq!(orders.streets().await, ["a", "b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn w3_concurrent_duplicates_run_once_for_each_handler() {
    let orders = node(&Arc::new(MemoryJournal::new())).await;
    let counts = [Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0))];
    let handler = |count: &Arc<AtomicUsize>| {
        let count = Arc::clone(count);
        move |_: CustomerAddressUpdated, _: Delivery| {
            count.fetch_add(1, Ordering::Relaxed);
            async { Ok(Reaction::none()) }
        }
    };
    let bus = Bus::builder(orders, "order")
        .subscribe::<CustomerAddressUpdated>("first", handler(&counts[0]))
        .subscribe::<CustomerAddressUpdated>("second", handler(&counts[1]))
        .start()
        .await
        .unwrap();
    let deliveries = (0..200).map(|n| {
        let inlet = Arc::clone(bus.inlet(if n % 2 == 0 { "first" } else { "second" }).unwrap());
        tokio::spawn(async move { inlet.deliver(event("a", 0, 1)).await })
    });
    for delivered in join_all(deliveries).await {
        delivered.unwrap().unwrap();
    }
    assert_eq!(counts.map(|count| count.load(Ordering::Relaxed)), [1, 1]);
}

#[tokio::test]
async fn w4_forgetting_is_bounded_and_forgets_nothing_that_counts() {
    let options = SubscriptionOptions { remember_max: 10, ..quick() };
    let orders = Orders::on(Arc::new(MemoryJournal::new()), options).await;
    for sequence in 1..=100 {
        orders.inlet().deliver(event(&sequence.to_string(), sequence - 1, sequence)).await.unwrap();
    }
    for sequence in 1..=100 {
        orders.inlet().deliver(event(&sequence.to_string(), sequence - 1, sequence)).await.unwrap();
    }
    assert_eq!((orders.calls(), orders.streets().await.len()), (100, 100));
}

#[tokio::test]
async fn w5_only_what_was_handled_counts_as_handled() {
    let orders = Orders::start().await;
    orders.inlet().deliver(event("a", 0, 1)).await.unwrap();
    // Another event of the same subscription, and the same id from another source, are other events.
    orders.inlet().deliver(event("b", 1, 2)).await.unwrap();
    let mut other = Envelope::clone(&event("a", 0, 1));
    other.source = "another".into();
    orders.inlet().deliver(Arc::new(other)).await.unwrap();
    assert_eq!(orders.streets().await, ["a", "b", "a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn w6_two_replicas_have_one_effect() {
    let orders = node(&Arc::new(MemoryJournal::new())).await;
    let replica = async || {
        let builder = Bus::builder(orders.clone(), "order");
        builder.subscribe_with::<CustomerAddressUpdated>("address", quick(), follow).start().await.unwrap()
    };
    let (one, two) = (replica().await, replica().await);
    for round in 1..=50 {
        let deliver = |bus: &Bus| {
            let inlet = Arc::clone(bus.inlet("address").unwrap());
            tokio::spawn(
                async move { inlet.deliver_in_order(event(&round.to_string(), round - 1, round)).await },
            )
        };
        let (first, second) = (deliver(&one), deliver(&two));
        first.await.unwrap().unwrap();
        second.await.unwrap().unwrap();
    }
    assert_eq!(streets(&orders, "1").await.len(), 50);
}

#[tokio::test]
async fn w7_a_crash_while_handling_loses_nothing() {
    let journal = Arc::new(MemoryJournal::new());
    let orders = node(&journal).await;
    let (started, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (tell, wait) = (Arc::clone(&started), Arc::clone(&gate));
    let handler = move |event: CustomerAddressUpdated, delivery: Delivery| {
        let (tell, wait) = (Arc::clone(&tell), Arc::clone(&wait));
        async move {
            tell.add_permits(1);
            wait.acquire().await.unwrap().forget();
            follow(event, delivery).await
        }
    };
    let builder = Bus::builder(orders, "order");
    let bus = builder.subscribe::<CustomerAddressUpdated>("address", handler).start().await.unwrap();
    let inlet = Arc::clone(bus.inlet("address").unwrap());
    let delivery = tokio::spawn(async move { inlet.deliver(event("a", 0, 1)).await });
    started.acquire().await.unwrap().forget();
    drop(bus);
    let restarted = Orders::on(Arc::new(journal.reopened()), quick()).await;
    assert_eq!(delivery.await.unwrap(), Err(DeliveryError::Stopping));
    // At once, not after some time in which it would count as handled.
    restarted.inlet().deliver(event("a", 0, 1)).await.unwrap();
    assert_eq!(restarted.streets().await, ["a"]);
}

#[tokio::test]
async fn w8_poison_becomes_a_dead_letter_and_others_flow_on() {
    let orders = Orders::start().await;
    let good = event("good", 0, 1).to_json().unwrap();
    orders.inlet().deliver_body("application/json; charset=utf-8", good.get().as_bytes()).await.unwrap();
    for _redelivery in 0..2 {
        orders.inlet().deliver_body("application/json", b"{not json").await.unwrap();
        orders.inlet().deliver_body("text/plain", b"hello").await.unwrap();
    }
    let mut wrong = Envelope::clone(&event("wrong", 1, 2));
    wrong.event_type = "SomethingElse.v1".into();
    orders.inlet().deliver(Arc::new(wrong)).await.unwrap();
    let mut broken = Envelope::clone(&event("broken", 2, 3));
    broken.data = None;
    orders.inlet().deliver(Arc::new(broken)).await.unwrap();
    orders.inlet().deliver(event("later", 3, 4)).await.unwrap();
    assert_eq!(orders.streets().await, ["good", "later"]);
    let letters = orders.bus.dead_letters().list().await.unwrap();
    let reasons: Vec<_> = letters.iter().map(|letter| letter.reason.as_str()).collect();
    assert_eq!(letters.len(), 4, "{reasons:?}");
    for (reason, part) in
        reasons.iter().zip(["not a CloudEvents", "text/plain", "SomethingElse.v1", "no JSON data"])
    {
        assert!(reason.contains(part), "{reason}");
    }
    assert!(letters[0].event.get().contains("not json"));
}

#[tokio::test]
async fn w8_what_is_larger_than_any_dead_letter_keeps_its_key_not_up() {
    let orders = Orders::start().await;
    let mut huge = Envelope::clone(&event("huge", 0, 1));
    let data = json!({"customerId": 1, "street": "x".repeat(20 << 20)});
    huge.data = Some(serde_json::value::to_raw_value(&data).unwrap().into());
    orders.inlet().deliver(Arc::new(huge)).await.unwrap();
    orders.inlet().deliver(event("later", 1, 2)).await.unwrap();
    assert_eq!(orders.streets().await, ["later"]);
    let letters = orders.bus.dead_letters().list().await.unwrap();
    assert_eq!((letters.len(), &*letters[0].event_id), (1, "huge"));
    assert!(letters[0].reason.contains("its content is not kept"), "{}", letters[0].reason);
}

/// The commit is there and the publisher dies before it has published, again and again.
#[tokio::test]
async fn w9_what_is_committed_is_published() {
    let broker = InProcessBroker::new();
    let customer_journal = Arc::new(MemoryJournal::new());
    let orders = node(&Arc::new(MemoryJournal::new())).await;
    let builder = Bus::builder(orders.clone(), "order").in_process(&broker);
    let bus =
        builder.subscribe_with::<CustomerAddressUpdated>("address", quick(), follow).start().await.unwrap();
    let expected: Vec<_> = (0..50).map(|round| round.to_string()).collect();
    for round in &expected {
        let (customers, customer_bus) = customer_service(&customer_journal, &broker).await;
        // A crash somewhere between the commit and the end of its publication, or before this has begun.
        let (before, after) = if round.ends_with(['1', '4', '7']) {
            (Some(customer_bus), None)
        } else {
            (None, Some(customer_bus))
        };
        drop(before);
        move_customer(&customers, "1", round).await;
        drop(after);
    }
    let _running = customer_service(&customer_journal, &broker).await;
    caught_up(&bus).await;
    assert_eq!(streets(&orders, "1").await, expected);
}

#[tokio::test]
async fn an_event_of_another_platform_is_handled() {
    let orders = Orders::start().await;
    let body = json!({
        "specversion": "1.0", "id": "1", "source": "elsewhere", "type": "com.dapr.event.sent",
        "data": {"customerId": "1", "street": "Elm Street", "unknown": true},
    });
    for _redelivery in 0..2 {
        let delivered =
            orders.inlet().deliver_body("application/cloudevents+json", body.to_string().as_bytes()).await;
        delivered.unwrap();
    }
    assert_eq!(orders.streets().await, ["Elm Street"]);
}

#[tokio::test]
async fn more_than_may_be_in_flight_is_refused() {
    let orders = node(&Arc::new(MemoryJournal::new())).await;
    let gate = Arc::new(Semaphore::new(0));
    let wait = Arc::clone(&gate);
    let handler = move |_: CustomerAddressUpdated, _: Delivery| {
        let wait = Arc::clone(&wait);
        async move {
            wait.acquire().await.unwrap().forget();
            Ok::<_, HandlerError>(Reaction::none())
        }
    };
    let options = SubscriptionOptions { in_flight: 1, ..quick() };
    let builder = Bus::builder(orders, "order");
    let bus =
        builder.subscribe_with::<CustomerAddressUpdated>("address", options, handler).start().await.unwrap();
    let inlet = Arc::clone(bus.inlet("address").unwrap());
    let first = tokio::spawn({
        let inlet = Arc::clone(&inlet);
        async move { inlet.deliver(event("a", 0, 1)).await }
    });
    support::until("the first is under way", || async { inlet.in_flight() == 1 }).await;
    assert_eq!(inlet.deliver(event("b", 1, 2)).await, Err(DeliveryError::Busy { capacity: 1 }));
    gate.add_permits(2);
    first.await.unwrap().unwrap();
    inlet.deliver(event("b", 1, 2)).await.unwrap();
}
