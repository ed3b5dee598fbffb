//! Exactly one effect, whatever append a crash or a failing disk meets.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use annals_actors::Node;
use annals_bus::{Bus, Delivery, HandlerError, InProcessBroker, Reaction};
use annals_persistence::{AppendError, MemoryJournal};

use support::{
    CustomerAddressUpdated, Order, SetAddress, caught_up, customer_service, move_customer, node, streets,
    stubborn,
};

/// How many orders an event goes to, and how often its handler ran.
#[derive(Clone)]
struct FanOut {
    width: usize,
    calls: Arc<AtomicU32>,
}

impl FanOut {
    fn new(width: usize) -> Self {
        Self { width, calls: Arc::default() }
    }

    /// Answers differently each time it is asked, so that computing a list anew would show.
    fn react(&self, event: &CustomerAddressUpdated) -> Reaction {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        (0..self.width).fold(Reaction::none(), |reaction, n| {
            let street = format!("{} in call {call}", event.street);
            reaction.command::<Order>(n.to_string(), SetAddress { street })
        })
    }

    async fn start(&self, node: &Node, broker: &InProcessBroker) -> Bus {
        let this = self.clone();
        let handler = move |event: CustomerAddressUpdated, _: Delivery| {
            let reaction = this.react(&event);
            async move { Ok::<_, HandlerError>(reaction) }
        };
        let builder = Bus::builder(node.clone(), "order").in_process(broker);
        builder
            .subscribe_with::<CustomerAddressUpdated>("address", stubborn(), handler)
            .start()
            .await
            .unwrap()
    }

    /// Every order has both events once, in order, and all orders have them from one call each.
    async fn check(&self, orders: &Node, what: &str) {
        let first = streets(orders, "0").await;
        assert_eq!(first.len(), 2, "{what}: {first:?}");
        assert!(first[0].starts_with("one") && first[1].starts_with("two"), "{what}: {first:?}");
        for n in 1..self.width {
            assert_eq!(streets(orders, &n.to_string()).await, first, "{what}: order {n}");
        }
    }
}

async fn publisher(broker: &InProcessBroker) -> (Node, Bus) {
    let (customers, bus) = customer_service(&Arc::new(MemoryJournal::new()), broker).await;
    for street in ["one", "two"] {
        move_customer(&customers, "1", street).await;
    }
    (customers, bus)
}

/// Lets `steps` appends through one by one, then crashes. Whether there were that many.
async fn crash_after(width: usize, steps: usize) -> bool {
    let (broker, journal) = (InProcessBroker::new(), Arc::new(MemoryJournal::new()));
    let _publisher = publisher(&broker).await;
    let fan_out = FanOut::new(width);
    let orders = node(&journal).await;
    journal.hold();
    let bus = fan_out.start(&orders, &broker).await;
    let mut reached = true;
    for _ in 0..steps {
        let held = async {
            support::until("an append or the end", || async { journal.held() > 0 || is_done(&bus) }).await
        };
        held.await;
        reached = journal.held() > 0;
        journal.release_next(1);
    }
    drop(bus);
    let after = Arc::new(journal.reopened());
    // What the crashed process still does to its own journal is nobody's any more.
    drop(orders);
    let orders = node(&after).await;
    let bus = fan_out.start(&orders, &broker).await;
    caught_up(&bus).await;
    fan_out.check(&orders, &format!("width {width}, crashed after {steps} appends")).await;
    reached
}

fn is_done(bus: &Bus) -> bool {
    bus.subscriptions().iter().all(|status| status.source.is_some() && status.lag() == 0)
}

#[tokio::test]
async fn a_crash_after_any_append_leaves_one_effect() {
    for width in [1, 3] {
        let mut steps = 0;
        while crash_after(width, steps).await {
            steps += 1;
        }
        assert!(steps > 2 * width, "width {width}: only {steps} appends");
    }
}

/// The disk fails one append, in one of two ways, and goes on.
async fn fail_append(width: usize, nth: usize, lose: bool) {
    let (broker, journal) = (InProcessBroker::new(), Arc::new(MemoryJournal::new()));
    let _publisher = publisher(&broker).await;
    let orders = node(&journal).await;
    if lose {
        journal.lose_answer(nth);
    } else {
        journal.fail_append(nth, AppendError::Busy { bytes: 1 });
    }
    let fan_out = FanOut::new(width);
    let bus = fan_out.start(&orders, &broker).await;
    caught_up(&bus).await;
    fan_out.check(&orders, &format!("width {width}, append {nth} failed, answer lost: {lose}")).await;
    assert!(bus.dead_letters().list().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_failed_append_is_made_up_for() {
    for width in [1, 3] {
        for nth in 1..=12 {
            fail_append(width, nth, false).await;
            fail_append(width, nth, true).await;
        }
    }
}

#[tokio::test]
async fn a_list_of_targets_is_resumed_never_computed_again() {
    let (broker, journal) = (InProcessBroker::new(), Arc::new(MemoryJournal::new()));
    let _publisher = publisher(&broker).await;
    let fan_out = FanOut::new(5);
    let orders = node(&journal).await;
    journal.hold();
    let bus = fan_out.start(&orders, &broker).await;
    support::until("the list is on its way", || async { journal.held() == 1 }).await;
    journal.release_next(1);
    support::until("the commands are on their way", || async { journal.held() == 5 }).await;
    journal.release_next(2);
    drop(bus);
    assert_eq!(fan_out.calls.load(Ordering::Relaxed), 1);
    let orders = node(&Arc::new(journal.reopened())).await;
    let bus = fan_out.start(&orders, &broker).await;
    caught_up(&bus).await;
    // Once for each event, though the first was resumed.
    assert_eq!(fan_out.calls.load(Ordering::Relaxed), 2);
    fan_out.check(&orders, "resumed").await;
}

/// Sends an order other commands. It remembers the ids of the last 256, and of its first.
async fn keep_busy(orders: &Node, order: &str, commands: usize) {
    for _ in 0..commands {
        let command = SetAddress { street: "another".into() };
        orders.aggregate::<Order>(order).send(command).await.unwrap();
    }
}

/// How often an order got the address that the event told of.
async fn times_told(orders: &Node, order: &str) -> usize {
    streets(orders, order).await.iter().filter(|street| street.starts_with("one")).count()
}

/// Two orders do as they are told, a third says no, a fourth fails.
async fn one_of_four_fails(event: CustomerAddressUpdated, _: Delivery) -> Result<Reaction, HandlerError> {
    let told =
        [("0", event.street.as_str()), ("1", event.street.as_str()), ("2", "forbidden"), ("3", "panic")];
    Ok(told.into_iter().fold(Reaction::none(), |reaction, (order, street)| {
        reaction.command::<Order>(order, SetAddress { street: street.to_owned() })
    }))
}

#[tokio::test]
async fn a_replayed_list_leaves_out_what_was_done() {
    for restarted in [false, true] {
        let (broker, mut journal) = (InProcessBroker::new(), Arc::new(MemoryJournal::new()));
        let (customers, _publisher) = customer_service(&Arc::new(MemoryJournal::new()), &broker).await;
        move_customer(&customers, "1", "one").await;
        let start = async |orders: &Node| {
            let builder = Bus::builder(orders.clone(), "order").in_process(&broker);
            let builder =
                builder.subscribe_with::<CustomerAddressUpdated>("address", stubborn(), one_of_four_fails);
            builder.start().await.unwrap()
        };
        let mut orders = node(&journal).await;
        keep_busy(&orders, "0", 1).await;
        let mut bus = start(&orders).await;
        caught_up(&bus).await;
        keep_busy(&orders, "0", 300).await;
        if restarted {
            drop(bus);
            journal = Arc::new(journal.reopened());
            orders = node(&journal).await;
            bus = start(&orders).await;
        }
        let letters = bus.dead_letters().list().await.unwrap();
        assert_eq!(letters.len(), 1);
        bus.dead_letters().replay(letters[0].id).await.unwrap_err();
        let told = (times_told(&orders, "0").await, times_told(&orders, "1").await);
        assert_eq!(told, (1, 1), "restarted: {restarted}");
    }
}

#[tokio::test]
async fn a_list_that_a_crash_broke_off_leaves_out_what_was_done() {
    let (broker, journal) = (InProcessBroker::new(), Arc::new(MemoryJournal::new()));
    let _publisher = publisher(&broker).await;
    let fan_out = FanOut::new(2);
    let orders = node(&journal).await;
    for order in ["0", "1"] {
        keep_busy(&orders, order, 1).await;
    }
    journal.hold();
    let bus = fan_out.start(&orders, &broker).await;
    support::until("the list is on its way", || async { journal.held() == 1 }).await;
    journal.release_next(1);
    support::until("the commands are on their way", || async { journal.held() == 2 }).await;
    journal.release_next(1);
    drop(bus);
    let orders = node(&Arc::new(journal.reopened())).await;
    for order in ["0", "1"] {
        keep_busy(&orders, order, 300).await;
    }
    let bus = fan_out.start(&orders, &broker).await;
    caught_up(&bus).await;
    assert_eq!((times_told(&orders, "0").await, times_told(&orders, "1").await), (1, 1));
}

#[tokio::test]
async fn a_poisoned_journal_acknowledges_nothing() {
    let (broker, journal) = (InProcessBroker::new(), Arc::new(MemoryJournal::new()));
    let _publisher = publisher(&broker).await;
    let orders = node(&journal).await;
    journal.poison("as told");
    let fan_out = FanOut::new(1);
    let bus = fan_out.start(&orders, &broker).await;
    let failed = || async { bus.subscriptions()[0].last_error.is_some() };
    support::until("the failure shows", failed).await;
    // The first event is at position 2, behind the publisher's record of what its events look like.
    assert!(bus.subscriptions()[0].cursor < annals_persistence::Position(2));
    tokio::time::timeout(Duration::from_secs(5), bus.shutdown()).await.unwrap();
    let orders = node(&Arc::new(journal.reopened())).await;
    let bus = fan_out.start(&orders, &broker).await;
    caught_up(&bus).await;
    fan_out.check(&orders, "after the journal was opened anew").await;
}
