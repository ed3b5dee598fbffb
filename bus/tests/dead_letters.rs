//! Retry, then dead letter, then replay.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use annals_actors::Node;
use annals_bus::{
    Bus, DeadLetterError, Delivery, Discarded, Handler, HandlerError, InProcessBroker, Reaction, dead_letters,
};
use annals_persistence::{Journal, MemoryJournal};
use parking_lot::Mutex;

use support::{
    CustomerAddressUpdated, Order, SetAddress, caught_up, customer_service, follow, move_customer, node,
    quick, streets, until,
};

/// Fails over the street "bad" until it is mended.
#[derive(Clone, Default)]
struct Picky {
    mended: Arc<AtomicBool>,
    calls: Arc<AtomicU32>,
    replays: Arc<Mutex<Vec<bool>>>,
}

impl Handler<CustomerAddressUpdated> for Picky {
    async fn handle(
        &self,
        event: CustomerAddressUpdated,
        delivery: &Delivery,
    ) -> Result<Reaction, HandlerError> {
        if event.street == "bad" {
            assert_eq!(
                self.calls.fetch_add(1, Ordering::Relaxed) % 3 + 1,
                if delivery.is_replay() { 1 } else { delivery.attempt() }
            );
            self.replays.lock().push(delivery.is_replay());
            if !self.mended.load(Ordering::Relaxed) {
                return Err(HandlerError::retry("the street is bad"));
            }
        }
        follow(event, delivery.clone()).await
    }
}

struct World {
    customers: Node,
    _customer_bus: Bus,
    orders: Node,
    journal: Arc<MemoryJournal>,
    bus: Bus,
}

async fn world(handler: impl Handler<CustomerAddressUpdated>) -> World {
    let (broker, journal) = (InProcessBroker::new(), Arc::new(MemoryJournal::new()));
    let (customers, customer_bus) = customer_service(&Arc::new(MemoryJournal::new()), &broker).await;
    let orders = node(&journal).await;
    let builder = Bus::builder(orders.clone(), "order").in_process(&broker);
    let bus =
        builder.subscribe_with::<CustomerAddressUpdated>("address", quick(), handler).start().await.unwrap();
    World { customers, _customer_bus: customer_bus, orders, journal, bus }
}

#[tokio::test]
async fn a_dead_letter_can_be_replayed_while_its_key_flows_on() {
    let picky = Picky::default();
    let world = world(picky.clone()).await;
    for street in ["one", "bad", "two"] {
        move_customer(&world.customers, "1", street).await;
    }
    caught_up(&world.bus).await;
    assert_eq!(streets(&world.orders, "1").await, ["one", "two"]);
    let journal = Arc::clone(&world.journal) as Arc<dyn Journal>;
    let letter = dead_letters(&journal).await.unwrap().remove(0);
    assert_eq!((letter.attempts, letter.reason.as_str()), (3, "the street is bad"));
    assert!(letter.first_time <= letter.last_time);

    let failed = world.bus.dead_letters().replay(letter.id).await;
    assert!(matches!(failed, Err(DeadLetterError::Delivery(_))), "{failed:?}");
    assert_eq!(dead_letters(&journal).await.unwrap()[0].attempts, 4);

    picky.mended.store(true, Ordering::Relaxed);
    picky.calls.store(0, Ordering::Relaxed);
    world.bus.dead_letters().replay(letter.id).await.unwrap();
    assert_eq!(streets(&world.orders, "1").await, ["one", "two", "bad"]);
    assert_eq!(world.bus.dead_letters().discard(letter.id, None).await.unwrap(), Discarded::Handled);
    assert!(dead_letters(&journal).await.unwrap().is_empty());
    assert_eq!(*picky.replays.lock(), [false, false, false, true, true]);
    let gone = world.bus.dead_letters().replay(letter.id).await;
    assert!(matches!(gone, Err(DeadLetterError::NotFound { .. })));
}

#[tokio::test]
async fn what_is_never_to_be_handled_is_put_away() {
    let mended = Arc::new(AtomicBool::new(false));
    let world = world(until_mended(&mended)).await;
    for customer in ["1", "2"] {
        move_customer(&world.customers, customer, "Elm").await;
    }
    caught_up(&world.bus).await;
    let inlet = world.bus.inlet("address").unwrap();
    inlet.deliver_body("text/plain", b"hello").await.unwrap();
    let letters = world.bus.dead_letters().list().await.unwrap();
    assert_eq!(letters.len(), 3);
    let unreadable = letters.iter().find(|letter| letter.reason.contains("text/plain")).unwrap();
    let discard = async |id| world.bus.dead_letters().discard(id, Some("spam".to_owned())).await;
    assert_eq!(discard(unreadable.id).await.unwrap(), Discarded::Now);
    assert_eq!(discard(unreadable.id).await.unwrap(), Discarded::Before);
    let never_there = "67e55044-10b1-426f-9247-bb680e5fe0c8".parse().unwrap();
    assert_eq!(discard(never_there).await.unwrap_err().code(), "dead_letter_not_found");
    let again = world.bus.dead_letters().replay(unreadable.id).await;
    assert_eq!(again.unwrap_err().code(), "dead_letter_not_found");
    until("two are counted", || async { inlet.dead_letters() == 2 }).await;
    world.bus.shutdown().await;

    // Also where nobody could replay it any more.
    let later = Bus::builder(world.orders.clone(), "order").start().await.unwrap();
    let says =
        async || later.health().degraded.iter().any(|one| one.contains("`dlq discard` puts them away"));
    until("those of nobody show", says).await;
    for letter in later.dead_letters().list().await.unwrap() {
        assert_eq!(
            later.dead_letters().replay(letter.id).await.unwrap_err().code(),
            "subscription_not_found"
        );
        later.dead_letters().discard(letter.id, None).await.unwrap();
    }
    until("nothing shows", || async { later.health().degraded.is_empty() }).await;
    let journal = Arc::clone(&world.journal) as Arc<dyn Journal>;
    assert!(dead_letters(&journal).await.unwrap().is_empty());
}

/// Fails over every event until it is mended.
fn until_mended(mended: &Arc<AtomicBool>) -> impl Handler<CustomerAddressUpdated> {
    let mended = Arc::clone(mended);
    move |event: CustomerAddressUpdated, delivery: Delivery| {
        let mended = mended.load(Ordering::Relaxed);
        async move { if mended { follow(event, delivery).await } else { Err(HandlerError::retry("not yet")) } }
    }
}

#[tokio::test]
async fn dead_letters_show_in_health_until_they_are_replayed() {
    let mended = Arc::new(AtomicBool::new(false));
    let world = world(until_mended(&mended)).await;
    assert_eq!(world.bus.health().degraded, [""; 0]);
    for customer in ["1", "2"] {
        move_customer(&world.customers, customer, "Elm").await;
    }
    let says = async |part: &str| world.bus.health().degraded.iter().any(|one| one.contains(part));
    until("they show", || says("\"address\": 2 of its events could not be handled")).await;
    assert!(world.bus.health().is_ready(), "other events flow: {:?}", world.bus.health());
    world.bus.shutdown().await;

    // Whoever starts later sees them too; those of a subscription that is gone, by its name.
    let later = Bus::builder(world.orders.clone(), "order").start().await.unwrap();
    let says = async |part: &str| later.health().degraded.iter().any(|one| one.contains(part));
    until("they show again", || says("\"address\" is none any more, and has 2 dead letters")).await;
    later.shutdown().await;
    drop(later);
    let builder = Bus::builder(world.orders.clone(), "order");
    let again = builder.subscribe_with::<CustomerAddressUpdated>("address", quick(), until_mended(&mended));
    let again = again.start().await.unwrap();
    let count = async |wanted| again.inlet("address").unwrap().dead_letters() == wanted;
    until("they are counted again", || count(2)).await;
    mended.store(true, Ordering::Relaxed);
    let letter = again.dead_letters().list().await.unwrap().remove(0);
    again.dead_letters().replay(letter.id).await.unwrap();
    until("one is done with", || count(1)).await;
    again.dead_letters().replay_all().await.unwrap();
    until("all are", async || count(0).await && again.health().degraded.is_empty()).await;
}

#[tokio::test]
async fn all_can_be_replayed() {
    let picky = Picky::default();
    let world = world(picky.clone()).await;
    for (customer, street) in [("1", "bad"), ("2", "good")] {
        move_customer(&world.customers, customer, street).await;
    }
    caught_up(&world.bus).await;
    let summary = world.bus.dead_letters().replay_all().await.unwrap();
    assert_eq!((summary.handled, summary.failed), (0, 1));
    picky.mended.store(true, Ordering::Relaxed);
    picky.calls.store(0, Ordering::Relaxed);
    let summary = world.bus.dead_letters().replay_all().await.unwrap();
    assert_eq!((summary.handled, summary.failed), (1, 0));
    assert_eq!(streets(&world.orders, "1").await, ["bad"]);
}

#[tokio::test]
async fn a_handlers_panic_is_a_failed_attempt() {
    let calls = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&calls);
    let world = world(move |event: CustomerAddressUpdated, delivery: Delivery| {
        let call = counter.fetch_add(1, Ordering::Relaxed);
        async move {
            assert!(call > 0, "the first call panics");
            follow(event, delivery).await
        }
    })
    .await;
    move_customer(&world.customers, "1", "street").await;
    caught_up(&world.bus).await;
    assert_eq!(
        (calls.load(Ordering::Relaxed), streets(&world.orders, "1").await),
        (2, vec!["street".to_owned()])
    );
}

#[tokio::test]
async fn a_command_that_never_succeeds_is_not_tried_again() {
    let world = world(|_: CustomerAddressUpdated, _: Delivery| async {
        Ok(Reaction::none()
            .command::<Order>("1", SetAddress { street: "fine".into() })
            .command::<Order>("2", SetAddress { street: "panic".into() }))
    })
    .await;
    move_customer(&world.customers, "1", "street").await;
    caught_up(&world.bus).await;
    let letters = world.bus.dead_letters().list().await.unwrap();
    assert_eq!((letters.len(), letters[0].attempts), (1, 1));
    assert!(letters[0].reason.contains("order 2"), "{}", letters[0].reason);
    assert_eq!(streets(&world.orders, "1").await, ["fine"]);
    // A replay goes on with the list as it was written down: what was done is not done again.
    world.bus.dead_letters().replay(letters[0].id).await.unwrap_err();
    assert_eq!(streets(&world.orders, "1").await, ["fine"]);
}

/// Two commands, of which the second is never carried out.
fn half_done(calls: &Arc<AtomicU32>) -> impl Handler<CustomerAddressUpdated> + use<> {
    let calls = Arc::clone(calls);
    move |_: CustomerAddressUpdated, _: Delivery| {
        let call = calls.fetch_add(1, Ordering::Relaxed);
        async move {
            Ok(Reaction::none()
                .command::<Order>("1", SetAddress { street: format!("call {call}") })
                .command::<Order>("2", SetAddress { street: "panic".into() }))
        }
    }
}

#[tokio::test]
async fn a_replay_goes_on_with_the_list_as_it_was_written_down() {
    let calls = Arc::new(AtomicU32::new(0));
    let world = world(half_done(&calls)).await;
    move_customer(&world.customers, "1", "street").await;
    caught_up(&world.bus).await;
    let letter = world.bus.dead_letters().list().await.unwrap().remove(0);
    for _ in 0..2 {
        world.bus.dead_letters().replay(letter.id).await.unwrap_err();
    }
    let orders = node(&Arc::new(world.journal.reopened())).await;
    let builder = Bus::builder(orders.clone(), "order");
    let handler = half_done(&calls);
    let bus =
        builder.subscribe_with::<CustomerAddressUpdated>("address", quick(), handler).start().await.unwrap();
    bus.dead_letters().replay(letter.id).await.unwrap_err();
    assert_eq!((calls.load(Ordering::Relaxed), streets(&orders, "1").await), (1, vec!["call 0".to_owned()]));
    assert_eq!(bus.dead_letters().list().await.unwrap()[0].attempts, letter.attempts + 3);
}

#[tokio::test]
async fn dead_letters_survive_a_restart() {
    let picky = Picky::default();
    let world = world(picky.clone()).await;
    move_customer(&world.customers, "1", "bad").await;
    caught_up(&world.bus).await;
    let journal = Arc::new(world.journal.reopened());
    let orders = node(&journal).await;
    picky.mended.store(true, Ordering::Relaxed);
    picky.calls.store(0, Ordering::Relaxed);
    let builder = Bus::builder(orders.clone(), "order");
    let bus =
        builder.subscribe_with::<CustomerAddressUpdated>("address", quick(), picky).start().await.unwrap();
    assert_eq!(bus.dead_letters().replay_all().await.unwrap().handled, 1);
    assert_eq!(streets(&orders, "1").await, ["bad"]);
}
