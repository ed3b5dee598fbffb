//! Events that come before the one in front of them are kept in the journal, and hold no place in the broker's window.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "a random test prints its seed")]

mod support;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use annals_actors::{Clock, Node, SystemClock, VirtualClock};
use annals_bus::{
    Bus, BusStartError, DeliveryError, Envelope, Inlet, SubscriptionOptions, Topic, TopicArguments,
};
use annals_persistence::{AppendError, Direction, Journal, JournalExt, MemoryJournal, StreamId, Version};
use futures_util::StreamExt;
use futures_util::future::join_all;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use support::{Customer, CustomerAddressUpdated, Order, follow, quick, streets, stubborn, until};

/// Orders that follow customers, and nobody who brings events but the test.
struct Orders {
    journal: Arc<MemoryJournal>,
    clock: Arc<dyn Clock>,
    options: SubscriptionOptions,
    node: Node,
    bus: Bus,
}

/// Early events are kept at once.
fn at_once() -> SubscriptionOptions {
    SubscriptionOptions { reorder_timeout: Duration::ZERO, ..quick() }
}

impl Orders {
    async fn start(options: SubscriptionOptions) -> Self {
        Self::on(Arc::new(MemoryJournal::new()), Arc::new(SystemClock), options).await.unwrap()
    }

    async fn on(
        journal: Arc<MemoryJournal>,
        clock: Arc<dyn Clock>,
        options: SubscriptionOptions,
    ) -> Result<Self, BusStartError> {
        let node =
            Node::builder().journal(Arc::clone(&journal) as Arc<dyn Journal>).clock(Arc::clone(&clock));
        let node = node.aggregate::<Customer>().aggregate::<Order>().start().await.unwrap();
        let bus = Bus::builder(node.clone(), "order")
            .subscribe_with::<CustomerAddressUpdated>("address", options.clone(), follow)
            .start()
            .await?;
        Ok(Self { journal, clock, options, node, bus })
    }

    /// As after a kill: what is durable is there, nothing else.
    async fn killed(self) -> Self {
        let Self { journal, clock, options, node, bus } = self;
        let after = Arc::new(journal.reopened());
        drop((bus, node));
        Self::on(after, clock, options).await.unwrap()
    }

    fn inlet(&self) -> &Arc<Inlet> {
        self.bus.inlet("address").unwrap()
    }

    async fn deliver(&self, key: &str, sequence: u64) -> Result<(), DeliveryError> {
        self.inlet().deliver(event(key, sequence)).await
    }

    /// What the order has got, by the sequences of the events.
    async fn got(&self, key: &str) -> Vec<u64> {
        streets(&self.node, key).await.iter().map(|street| street.parse().unwrap()).collect()
    }

    async fn until_got(&self, key: &str, sequences: &[u64]) {
        until(&format!("{key} got {sequences:?}"), || async { self.got(key).await == sequences }).await;
    }

    /// How many records of early events the journal has.
    async fn records(&self) -> usize {
        let journal = Arc::clone(&self.journal) as Arc<dyn Journal>;
        let stream = StreamId::internal("early-address").unwrap();
        journal.read_stream(&stream, Version(1), Direction::Forward).count().await
    }
}

/// The event of a key that has this place in its order.
fn event(key: &str, sequence: u64) -> Arc<Envelope> {
    let body = json!({
        "specversion": "1.0", "id": format!("{key}-{sequence}"), "source": "customer",
        "type": "CustomerAddressUpdated.v1", "subject": key, "sequence": sequence.to_string(),
        "prevsequence": (sequence - 1).to_string(), "tenant": "7", "time": "2025-01-01T00:00:00.000001Z",
        "data": {"customerId": key, "street": sequence.to_string()},
    });
    let topic = Topic::of::<CustomerAddressUpdated>();
    Arc::new(Envelope::from_json(body.to_string().as_bytes(), &topic).unwrap())
}

/// A broker that has no more than so many deliveries without an answer. What is sent back comes again at once, before all
/// that waits.
#[derive(Clone, Default)]
struct Window(Arc<Mutex<VecDeque<Arc<Envelope>>>>);

impl Window {
    fn publish(&self, event: Arc<Envelope>) {
        self.0.lock().push_back(event);
    }

    fn opens(&self, places: usize, inlet: &Arc<Inlet>) {
        for _ in 0..places {
            let (queue, inlet) = (self.clone(), Arc::clone(inlet));
            tokio::spawn(async move {
                while Arc::strong_count(&queue.0) > 1 {
                    let Some(event) = queue.take() else {
                        tokio::task::yield_now().await;
                        continue;
                    };
                    if inlet.deliver(Arc::clone(&event)).await.is_err() {
                        queue.0.lock().push_front(event);
                    }
                }
            });
        }
    }

    fn take(&self) -> Option<Arc<Envelope>> {
        self.0.lock().pop_front()
    }
}

#[tokio::test]
async fn more_keys_that_wait_than_the_window_has_places_stop_nobody_else() {
    let (window, places) = (Window::default(), 8);
    let orders =
        Orders::start(SubscriptionOptions { reorder_timeout: Duration::from_millis(5), ..quick() }).await;
    let waiting: Vec<_> = (0..4 * places).map(|key| format!("waiting-{key}")).collect();
    let others: Vec<_> = (0..4 * places).map(|key| format!("other-{key}")).collect();
    for sequence in [3, 2] {
        waiting.iter().for_each(|key| window.publish(event(key, sequence)));
    }
    for sequence in [1, 2] {
        others.iter().for_each(|key| window.publish(event(key, sequence)));
    }
    window.opens(places, orders.inlet());
    for key in &others {
        orders.until_got(key, &[1, 2]).await;
    }
    until("they are kept", || async { orders.inlet().kept() == 2 * waiting.len() }).await;
    assert!(orders.got(&waiting[0]).await.is_empty());
    waiting.iter().for_each(|key| window.publish(event(key, 1)));
    for key in &waiting {
        orders.until_got(key, &[1, 2, 3]).await;
    }
    until("nothing is kept", || async { orders.inlet().kept() == 0 && orders.inlet().in_flight() == 0 })
        .await;
}

#[tokio::test]
async fn what_is_kept_survives_a_kill_and_comes_in_its_turn() {
    let orders = Orders::start(at_once()).await;
    for sequence in [4, 2, 3] {
        orders.deliver("1", sequence).await.unwrap();
    }
    let orders = orders.killed().await;
    until("it is read back", || async { orders.inlet().kept() == 3 }).await;
    orders.deliver("1", 2).await.unwrap();
    assert_eq!((orders.records().await, orders.got("1").await), (3, vec![]), "it is not kept twice");
    orders.deliver("1", 1).await.unwrap();
    orders.until_got("1", &[1, 2, 3, 4]).await;
    let orders = orders.killed().await;
    orders.deliver("1", 5).await.unwrap();
    assert_eq!((orders.got("1").await, orders.inlet().kept()), (vec![1, 2, 3, 4, 5], 0));
}

/// Brings three events in the wrong order, and the process is killed after so many appends. Whether there were that many.
async fn killed_after(steps: usize) -> bool {
    let orders = Orders::start(at_once()).await;
    orders.journal.hold();
    let unanswered = Arc::new(Mutex::new(vec![3, 2, 1]));
    let deliveries = [3, 2, 1].map(|sequence| {
        let (inlet, unanswered) = (Arc::clone(orders.inlet()), Arc::clone(&unanswered));
        tokio::spawn(async move {
            if inlet.deliver(event("1", sequence)).await.is_ok() {
                unanswered.lock().retain(|open| *open != sequence);
            }
        })
    });
    let mut released = 0;
    let mut idle = 0;
    while released < steps && idle < 1000 {
        tokio::task::yield_now().await;
        idle += 1;
        if orders.journal.held() > 0 {
            orders.journal.release_next(1);
            (released, idle) = (released + 1, 0);
        }
    }
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    deliveries.iter().for_each(tokio::task::JoinHandle::abort);
    // What was acknowledged does not come again, all else does.
    let unanswered = unanswered.lock().clone();
    let orders = orders.killed().await;
    for sequence in unanswered {
        orders.deliver("1", sequence).await.unwrap();
    }
    orders.until_got("1", &[1, 2, 3]).await;
    until("nothing is kept", || async { orders.inlet().kept() == 0 }).await;
    released == steps
}

#[tokio::test]
async fn a_kill_after_any_append_loses_nothing_and_repeats_nothing() {
    let mut steps = 0;
    while killed_after(steps).await {
        steps += 1;
    }
    assert!(steps >= 4, "only {steps} appends: what is kept, and three effects");
}

#[tokio::test]
async fn an_event_whose_predecessor_never_comes_is_taken_in_the_end_also_after_a_kill() {
    let clock = VirtualClock::default();
    let timeouts = SubscriptionOptions { reorder_timeout: Duration::from_millis(100), ..quick() };
    let orders = Orders::on(Arc::new(MemoryJournal::new()), Arc::new(clock.clone()), timeouts).await.unwrap();
    orders.deliver("1", 1).await.unwrap();
    let inlet = Arc::clone(orders.inlet());
    let early = tokio::spawn(async move { inlet.deliver(event("1", 3)).await });
    until("it is under way", || async { orders.inlet().in_flight() == 1 }).await;
    settle().await;
    clock.advance(Duration::from_millis(100));
    early.await.unwrap().unwrap();
    clock.advance(Duration::from_secs(20 * 60));
    until("the key shows", || async { orders.inlet().stalled() == 1 }).await;
    let trouble = orders.bus.subscriptions()[0].troubles().remove(0);
    assert!(trouble.contains("1 keys wait") && trouble.contains("1 events are kept"), "{trouble}");

    let orders = orders.killed().await;
    until("it is read back and shows", || async { orders.inlet().stalled() == 1 }).await;
    clock.advance(Duration::from_secs(9 * 60));
    settle().await;
    assert_eq!(orders.got("1").await, [1]);
    clock.advance(Duration::from_secs(60));
    orders.until_got("1", &[1, 3]).await;
    orders.deliver("1", 2).await.unwrap();
    let letters = orders.bus.dead_letters().list().await.unwrap();
    assert_eq!((letters.len(), letters[0].event_id.as_str()), (1, "1-2"));
    assert_eq!((orders.inlet().kept(), orders.inlet().stalled()), (0, 0));
}

/// Lets all tasks come as far as they do by themselves.
async fn settle() {
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_there_is_no_room_for_goes_back() {
    let orders = Orders::start(SubscriptionOptions { kept_max: 2, ..at_once() }).await;
    orders.deliver("1", 2).await.unwrap();
    orders.deliver("2", 2).await.unwrap();
    let refused = orders.deliver("3", 2).await.unwrap_err();
    assert_eq!(refused.code(), "delivery_postponed");
    assert!(refused.to_string().contains("as many events as may be are kept"), "{refused}");
    orders.deliver("2", 1).await.unwrap();
    orders.until_got("2", &[1, 2]).await;
    until("there is room again", || async { orders.inlet().kept() == 1 }).await;
    orders.deliver("3", 2).await.unwrap();
    assert_eq!(orders.inlet().in_flight(), 0);
}

#[tokio::test]
async fn nothing_is_acknowledged_before_it_is_durable() {
    let orders = Orders::start(at_once()).await;
    orders.journal.fail_append(1, AppendError::Closed);
    assert_eq!(orders.deliver("1", 2).await.unwrap_err().code(), "delivery_postponed");
    assert_eq!(orders.inlet().kept(), 0);
    orders.journal.hold();
    let inlet = Arc::clone(orders.inlet());
    let delivery = tokio::spawn(async move { inlet.deliver(event("1", 2)).await });
    until("it is written", || async { orders.journal.held() == 1 }).await;
    settle().await;
    assert!(!delivery.is_finished());
    orders.journal.release();
    delivery.await.unwrap().unwrap();
}

/// There is nobody to send it back to.
#[tokio::test]
async fn a_kept_event_that_the_journal_does_not_take_is_tried_again_without_the_broker() {
    let orders = Orders::start(at_once()).await;
    orders.deliver("1", 2).await.unwrap();
    // The first event's effect is appended; then the second's is not, in any attempt, nor its dead letter.
    for nth in 2..=5 {
        orders.journal.fail_append(nth, AppendError::Busy { bytes: 1 });
    }
    orders.deliver("1", 1).await.unwrap();
    orders.until_got("1", &[1, 2]).await;
    assert!(orders.bus.dead_letters().list().await.unwrap().is_empty());
    assert!(orders.inlet().last_error().is_some(), "it has failed before");
}

#[tokio::test]
async fn a_kept_event_gives_its_place_back_when_it_is_tried_again_in_the_only_one() {
    let orders = Orders::start(SubscriptionOptions { in_flight: 1, ..at_once() }).await;
    for sequence in [3, 2] {
        orders.deliver("1", sequence).await.unwrap();
    }
    // The effects of both that were kept fail at first.
    for nth in 3..=6 {
        orders.journal.fail_append(nth, AppendError::Busy { bytes: 1 });
    }
    orders.deliver("1", 1).await.unwrap();
    orders.until_got("1", &[1, 2, 3]).await;
    assert!(orders.inlet().last_error().is_some(), "they have failed before");
    until("no place is taken", || async { orders.inlet().in_flight() == 0 }).await;
    orders.deliver("2", 1).await.unwrap();
    orders.until_got("2", &[1]).await;
}

#[tokio::test]
async fn the_journal_has_no_more_of_early_events_than_it_needs() {
    let orders = Orders::start(at_once()).await;
    orders.deliver("waits", 2).await.unwrap();
    let mut most = 0;
    for key in 0..600 {
        let key = key.to_string();
        orders.deliver(&key, 2).await.unwrap();
        orders.deliver(&key, 1).await.unwrap();
        most = most.max(orders.records().await);
    }
    until("only one is kept", || async { orders.inlet().kept() == 1 }).await;
    assert!((100..300).contains(&most), "{most} records");
    let orders = orders.killed().await;
    orders.deliver("waits", 1).await.unwrap();
    orders.until_got("waits", &[1, 2]).await;
}

#[tokio::test]
async fn the_caretaker_gives_up_what_nobody_needs() {
    let clock = VirtualClock::default();
    let orders =
        Orders::on(Arc::new(MemoryJournal::new()), Arc::new(clock.clone()), at_once()).await.unwrap();
    for key in 0..50 {
        let key = key.to_string();
        orders.deliver(&key, 3).await.unwrap();
        orders.deliver(&key, 2).await.unwrap();
        orders.deliver(&key, 1).await.unwrap();
    }
    until("nothing is kept", || async { orders.inlet().kept() == 0 }).await;
    assert_eq!(orders.records().await, 100);
    clock.advance(Duration::from_secs(60));
    until("only the last record is left", || async { orders.records().await == 1 }).await;
    let orders = orders.killed().await;
    orders.deliver("49", 4).await.unwrap();
    assert_eq!(orders.got("49").await, [1, 2, 3, 4]);
}

#[tokio::test]
async fn what_was_kept_for_one_topic_is_not_taken_for_another() {
    let orders = Orders::start(at_once()).await;
    orders.deliver("1", 2).await.unwrap();
    let Orders { journal, clock, options, .. } = orders;
    let other = SubscriptionOptions { topic: TopicArguments::default().topic("another"), ..options };
    let started = Orders::on(Arc::new(journal.reopened()), Arc::clone(&clock), other.clone()).await;
    assert_eq!(started.err().unwrap().code(), "subscription_topic_changed");
    let continues = Some(Topic::of::<CustomerAddressUpdated>());
    let other = SubscriptionOptions { continues, ..other };
    let orders = Orders::on(Arc::new(journal.reopened()), clock, other).await.unwrap();
    orders.deliver("1", 1).await.unwrap();
    orders.until_got("1", &[1, 2]).await;
}

#[tokio::test]
async fn an_unwanted_event_that_came_early_becomes_a_dead_letter_in_its_turn() {
    let orders = Orders::start(at_once()).await;
    orders.inlet().deliver_unwanted(event("1", 2), "nobody wants it".into()).await.unwrap();
    orders.deliver("1", 3).await.unwrap();
    let orders = orders.killed().await;
    orders.deliver("1", 1).await.unwrap();
    orders.until_got("1", &[1, 3]).await;
    let letters = orders.bus.dead_letters().list().await.unwrap();
    assert_eq!((letters.len(), letters[0].reason.as_str()), (1, "nobody wants it"));
    assert!(letters[0].event.get().contains(r#""tenant":"7""#), "as it came: {}", letters[0].event);
}

#[tokio::test]
async fn stopping_finishes_what_runs_and_leaves_what_is_kept() {
    let orders = Orders::start(at_once()).await;
    for sequence in [3, 5] {
        orders.deliver("1", sequence).await.unwrap();
    }
    orders.bus.shutdown().await;
    let orders = orders.killed().await;
    for sequence in [1, 2] {
        orders.deliver("1", sequence).await.unwrap();
    }
    orders.until_got("1", &[1, 2, 3]).await;
    orders.deliver("1", 4).await.unwrap();
    orders.until_got("1", &[1, 2, 3, 4, 5]).await;
}

/// What a broker has that keeps no order, and what of it was acknowledged.
#[derive(Default)]
struct Chaos {
    queue: Vec<(String, u64)>,
    acknowledged: Vec<(String, u64)>,
}

impl Chaos {
    fn answered(&mut self, event: (String, u64), is_acknowledged: bool, comes_again: bool) {
        if !is_acknowledged || comes_again {
            self.queue.push(event.clone());
        }
        if is_acknowledged {
            self.acknowledged.push(event);
        }
    }
}

/// Brings events in any order, what is not acknowledged again, and some of what is.
async fn bring(chaos: Arc<Mutex<Chaos>>, inlet: Arc<Inlet>, mut rng: StdRng) {
    loop {
        let taken = {
            let mut chaos = chaos.lock();
            let left = chaos.queue.len();
            (left > 0).then(|| chaos.queue.swap_remove(rng.random_range(0..left)))
        };
        let Some((key, sequence)) = taken else { return };
        let delivered = inlet.deliver(event(&key, sequence)).await;
        chaos.lock().answered((key, sequence), delivered.is_ok(), rng.random_bool(0.1));
        tokio::task::yield_now().await;
    }
}

async fn story(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let options = SubscriptionOptions {
        reorder_timeout: Duration::from_micros(rng.random_range(0..2000)),
        kept_max: rng.random_range(0..40),
        ..stubborn()
    };
    let all: Vec<_> =
        (0..6).flat_map(|key| (1..=12).map(move |sequence| (key.to_string(), sequence))).collect();
    let chaos = Arc::new(Mutex::new(Chaos { queue: all.clone(), ..Chaos::default() }));
    let mut orders = Orders::start(options).await;
    for kills_left in (0..4).rev() {
        let bringing = (0..8).map(|_| {
            let rng = StdRng::seed_from_u64(rng.random());
            tokio::spawn(bring(Arc::clone(&chaos), Arc::clone(orders.inlet()), rng))
        });
        let bringing: Vec<_> = bringing.collect();
        for _ in 0..5 {
            orders.journal.fail_append(rng.random_range(1..40), AppendError::Busy { bytes: 1 });
        }
        if kills_left == 0 {
            join_all(bringing).await.into_iter().for_each(|brought| brought.unwrap());
            break;
        }
        tokio::time::sleep(Duration::from_micros(rng.random_range(0..8000))).await;
        bringing.iter().for_each(tokio::task::JoinHandle::abort);
        // Nobody may be told of anything that happens after what the next start finds.
        join_all(bringing).await;
        orders = orders.killed().await;
        let mut chaos = chaos.lock();
        let missing = all.iter().filter(|event| !chaos.acknowledged.contains(event));
        chaos.queue = missing.cloned().collect();
    }
    for key in 0..6 {
        orders.until_got(&key.to_string(), &(1..=12).collect::<Vec<_>>()).await;
    }
    until("nothing is kept", || async { orders.inlet().kept() == 0 }).await;
    assert!(orders.bus.dead_letters().list().await.unwrap().is_empty());
}

/// `ANNALS_CASES` stories, or the one of `ANNALS_SEED`; what comes when is the machine's to say.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_order_a_broker_brings_events_in_each_has_its_effect_once_and_in_order() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seeds = match number("ANNALS_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("ANNALS_CASES").unwrap_or(20)).map(|_| rand::rng().random()).collect(),
    };
    for seed in seeds {
        println!("ANNALS_SEED={seed}");
        story(seed).await;
    }
}
