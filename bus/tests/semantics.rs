//! What the bus promises, against crashes, failures and deliveries again at random moments. `ANNALS_CASES` says how
//! many cases there are, `ANNALS_SEED` runs one again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "a random test prints its seed")]

mod support;

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use annals_actors::{Node, SystemClock};
use annals_bus::{
    Bus, Delivery, Envelope, HandlerError, InProcessBroker, PublishError, Publisher, Reaction, Relay,
    RelayOptions, RelayParts, RetryPolicy,
};
use annals_persistence::{
    Direction, EmbeddedJournal, EmbeddedOptions, Journal, JournalExt, StreamId, Version,
};
use futures_util::future::{BoxFuture, join_all};
use futures_util::{FutureExt, TryStreamExt};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

use support::{
    Customer, CustomerAddressUpdated, CustomerCommand, Order, SetAddress, caught_up, customer_publications,
    move_customer, node_over, streets, stubborn,
};

const CUSTOMERS: [&str; 4] = ["1", "2", "3", "4"];
/// How many things happen in a case.
const STEPS: usize = 60;

/// Runs random cases: as many as `ANNALS_CASES` says, or the one of `ANNALS_SEED`.
async fn cases<F: Future<Output = ()>>(default: u64, run: impl Fn(StdRng) -> F) {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seeds = match number("ANNALS_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("ANNALS_CASES").unwrap_or(default)).map(|_| rand::rng().random()).collect(),
    };
    for seed in seeds {
        println!("ANNALS_SEED={seed}");
        run(StdRng::seed_from_u64(seed)).await;
    }
}

/// Lets the others run for a random while.
async fn a_while(rng: &mut StdRng) {
    match rng.random_range(0..3) {
        0 => {}
        1 => tokio::task::yield_now().await,
        _ => tokio::time::sleep(Duration::from_micros(rng.random_range(0..5000))).await,
    }
}

fn open(dir: &TempDir) -> Arc<dyn Journal> {
    let options = EmbeddedOptions { segment_bytes: 64 << 10, ..EmbeddedOptions::default() };
    Arc::new(EmbeddedJournal::open(dir.path(), options).unwrap())
}

/// Takes, refuses, or takes and says nothing of it; keeps what it took.
struct Moody {
    rng: Mutex<StdRng>,
    taken: Mutex<Vec<Arc<Envelope>>>,
}

impl Publisher for Moody {
    fn publish<'a>(&'a self, envelope: &'a Arc<Envelope>) -> BoxFuture<'a, Result<(), PublishError>> {
        async move {
            let (mood, pause) = {
                let mut rng = self.rng.lock();
                (rng.random_range(0..10), Duration::from_micros(rng.random_range(0..2000)))
            };
            if mood == 0 {
                return Err(PublishError::configuration("not in the mood"));
            }
            if mood == 1 {
                return Err(PublishError::unavailable("down"));
            }
            self.taken.lock().push(Arc::clone(envelope));
            // In these pauses relays die between what was taken and what is acknowledged.
            tokio::time::sleep(pause).await;
            if mood == 2 { Err(PublishError::unavailable("the answer is lost")) } else { Ok(()) }
        }
        .boxed()
    }
}

fn relay(journal: &Arc<dyn Journal>, publisher: &Arc<Moody>, rng: &mut StdRng) -> Relay {
    let (short, long) = (Duration::from_millis(1), Duration::from_millis(2));
    Relay::start(RelayParts {
        name: "all".into(),
        cursor: StreamId::internal("relay-all").unwrap(),
        journal: Arc::clone(journal),
        readers: annals_actors::Readers::default(),
        publications: Arc::new(customer_publications()),
        topic: None,
        publisher: Arc::clone(publisher) as Arc<dyn Publisher>,
        clock: Arc::new(SystemClock),
        options: RelayOptions {
            in_flight: rng.random_range(1..20),
            cursor_every: Duration::from_millis(rng.random_range(0..20)),
            retry: RetryPolicy { attempts: 1, first_pause: short, longest_pause: long },
            parked_retry: long,
            sequences: rng.random_range(1..10),
            ..RelayOptions::default()
        },
    })
}

/// The order in which a subject's events were taken: each relay goes on where an earlier one was, or before that.
fn check_order(taken: &[Arc<Envelope>], key: &str, wanted: &[(String, u64)]) {
    let mut furthest = 0;
    for envelope in taken.iter().filter(|envelope| envelope.key() == key) {
        let place = wanted.iter().position(|(id, _)| *id == *envelope.id);
        let place = place.unwrap_or_else(|| panic!("{key}: nobody appended {}", envelope.id));
        assert!(place <= furthest, "{key}: {place} was taken before {furthest}");
        furthest = furthest.max(place + 1);
        let before = place.checked_sub(1).map_or(0, |before| wanted[before].1);
        assert_eq!(envelope.sequence, Some(wanted[place].1), "{key}: {place}");
        assert_eq!(envelope.previous, Some(before), "{key}: {place}");
    }
    assert_eq!(furthest, wanted.len(), "{key}: not all was taken");
}

/// The ids and versions of a customer's events that are published.
async fn moves(journal: &Arc<dyn Journal>, customer: &str) -> Vec<(String, u64)> {
    let stream = StreamId::aggregate("customer", customer).unwrap();
    let events = journal.read_stream(&stream, Version(1), Direction::Forward);
    let events: Vec<_> = events.try_collect().await.unwrap();
    let moved = events.iter().filter(|event| *event.type_name == *"customer-moved");
    moved.map(|event| (event.id.to_string(), event.version.0)).collect()
}

async fn change_customer(customers: &Node, rng: &mut StdRng, number: usize) {
    let id = CUSTOMERS[rng.random_range(0..CUSTOMERS.len())];
    let command = match rng.random_range(0..3) {
        0 => CustomerCommand::Rename,
        _ => CustomerCommand::Move { street: number.to_string() },
    };
    customers.aggregate::<Customer>(id).send(command).await.unwrap();
}

#[tokio::test]
async fn published_at_least_once_in_order_per_subject_under_one_id() {
    cases(10, |mut rng| async move {
        let dir = TempDir::new().unwrap();
        let moody = Moody { rng: Mutex::new(StdRng::seed_from_u64(rng.random())), taken: Mutex::default() };
        let publisher = Arc::new(moody);
        let mut journal = open(&dir);
        let mut customers = node_over(Arc::clone(&journal)).await;
        let mut running = relay(&journal, &publisher, &mut rng);
        for step in 0..STEPS {
            match rng.random_range(0..10) {
                0 => {
                    // The process dies: nothing is finished, nothing more is appended.
                    drop(running);
                    journal.close().await;
                    journal = open(&dir);
                    customers = node_over(Arc::clone(&journal)).await;
                    running = relay(&journal, &publisher, &mut rng);
                }
                1 => {
                    running.stop().await;
                    running = relay(&journal, &publisher, &mut rng);
                }
                _ => change_customer(&customers, &mut rng, step).await,
            }
            a_while(&mut rng).await;
        }
        support::until("all is published", || async { running.status().lag() == 0 }).await;
        let taken = publisher.taken.lock().clone();
        for customer in CUSTOMERS {
            check_order(&taken, &format!("customer-{customer}"), &moves(&journal, customer).await);
        }
    })
    .await;
}

/// A service that can die and come back.
struct Service {
    dir: TempDir,
    life: Option<Life>,
}

struct Life {
    journal: Arc<dyn Journal>,
    node: Node,
    bus: Bus,
}

impl Service {
    fn new() -> Self {
        Self { dir: TempDir::new().unwrap(), life: None }
    }

    async fn start(&mut self, name: &str, broker: &InProcessBroker, handler: Option<&Arc<Fickle>>) {
        let journal = open(&self.dir);
        let node = node_over(Arc::clone(&journal)).await;
        let mut builder = Bus::builder(node.clone(), name).in_process(broker);
        builder = match handler {
            None => builder.publications(customer_publications()),
            Some(fickle) => {
                let fickle = Arc::clone(fickle);
                let handler = move |event, delivery| {
                    let reaction = fickle.react(&event, &delivery);
                    async move { reaction }
                };
                builder.subscribe_with::<CustomerAddressUpdated>("address", stubborn(), handler)
            }
        };
        let bus = builder.start().await.unwrap();
        self.life = Some(Life { journal, node, bus });
    }

    /// Whatever is under way is never finished: the bus is gone, and the journal takes nothing more.
    async fn die(&mut self, rng: &mut StdRng) {
        let Life { journal, node, bus } = self.life.take().unwrap();
        if rng.random() {
            drop(bus);
            journal.close().await;
        } else {
            journal.close().await;
            drop(bus);
        }
        drop(node);
    }

    fn life(&self) -> &Life {
        self.life.as_ref().unwrap()
    }
}

/// Fails and panics at random, keeps what it was given, and answers for one order or for three.
struct Fickle {
    rng: Mutex<StdRng>,
    seen: Mutex<Vec<Arc<Envelope>>>,
}

impl Fickle {
    fn react(&self, event: &CustomerAddressUpdated, delivery: &Delivery) -> Result<Reaction, HandlerError> {
        self.seen.lock().push(Arc::new(delivery.envelope().clone()));
        let mood = self.rng.lock().random_range(0..8);
        assert!(mood != 0, "as told");
        if mood == 1 {
            return Err(HandlerError::retry("not this time"));
        }
        let orders = orders_of(&event.customer_id).into_iter();
        Ok(orders.fold(Reaction::none(), |reaction, order| {
            reaction.command::<Order>(order, SetAddress { street: event.street.clone() })
        }))
    }
}

/// The orders that follow a customer.
fn orders_of(customer: &str) -> Vec<String> {
    let width = if customer == "1" || customer == "2" { 1 } else { 3 };
    (0..width).map(|n| format!("{customer}-{n}")).collect()
}

/// Delivers something again that was delivered before, in whatever way; what becomes of it is the broker's affair.
fn deliver_again(life: &Life, fickle: &Fickle, rng: &mut StdRng) {
    let seen = fickle.seen.lock();
    if seen.is_empty() {
        return;
    }
    let envelope = Arc::clone(&seen[rng.random_range(0..seen.len())]);
    let (inlet, in_order) = (Arc::clone(life.bus.inlet("address").unwrap()), rng.random());
    tokio::spawn(async move {
        if in_order { inlet.deliver_in_order(envelope).await } else { inlet.deliver(envelope).await }
    });
}

/// Each event is on record as handled, and none twice: what would be handled again has another safeguard in the ids of
/// its commands, so that this is where it would show.
async fn check_inbox(journal: &Arc<dyn Journal>, wanted: usize) {
    let inbox = StreamId::internal("inbox-address").unwrap();
    let records = journal.read_stream(&inbox, Version(1), Direction::Forward);
    let records: Vec<_> = records.try_collect().await.unwrap();
    let handled = records.iter().filter(|record| *record.type_name == *"inbox-handled");
    let mut ids: Vec<_> = handled
        .map(|record| serde_json::from_slice::<serde_json::Value>(&record.payload).unwrap()["eventId"].take())
        .map(|id| id.to_string())
        .collect();
    assert_eq!(ids.len(), wanted);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), wanted, "an event was handled twice");
}

#[tokio::test]
async fn handled_once() {
    cases(10, |mut rng| async move {
        let broker = InProcessBroker::new();
        let (mut customers, mut orders) = (Service::new(), Service::new());
        let seed = rng.random();
        let fickle =
            Arc::new(Fickle { rng: Mutex::new(StdRng::seed_from_u64(seed)), seen: Mutex::default() });
        customers.start("customer", &broker, None).await;
        orders.start("order", &broker, Some(&fickle)).await;
        let mut wanted: HashMap<&str, Vec<String>> = HashMap::new();
        for step in 0..STEPS {
            match rng.random_range(0..20) {
                0 => {
                    customers.die(&mut rng).await;
                    customers.start("customer", &broker, None).await;
                }
                1..3 => {
                    orders.die(&mut rng).await;
                    orders.start("order", &broker, Some(&fickle)).await;
                }
                3..8 => deliver_again(orders.life(), &fickle, &mut rng),
                _ => {
                    let (node, street) = (&customers.life().node, step.to_string());
                    let moving: Vec<_> = CUSTOMERS.into_iter().filter(|_| rng.random()).collect();
                    join_all(moving.iter().map(|id| move_customer(node, id, &street))).await;
                    moving.iter().for_each(|id| wanted.entry(id).or_default().push(street.clone()));
                }
            }
            a_while(&mut rng).await;
        }
        let Life { node, bus, journal } = orders.life();
        caught_up(bus).await;
        check_inbox(journal, wanted.values().map(Vec::len).sum()).await;
        for (customer, wanted) in wanted {
            for order in orders_of(customer) {
                assert_eq!(streets(node, &order).await, wanted, "order {order}");
            }
        }
        assert!(bus.dead_letters().list().await.unwrap().is_empty());
    })
    .await;
}
