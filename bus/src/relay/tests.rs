use std::collections::HashMap;
use std::time::Duration;

use annals_actors::{SystemClock, VirtualClock};
use annals_persistence::{Batch, Direction, Expected, JournalExt, MemoryJournal, Timestamp, Version};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use super::*;
use crate::broker::PublishError;
use crate::{Envelope, Outgoing, record};

mod aside;
mod offered;
mod parking;

#[derive(Debug, annals_macros::Event)]
enum DotEvent {
    #[event("dot-drawn")]
    Drawn { number: u32 },
}

#[derive(Debug, Default, Clone, Serialize, Deserialize, annals_macros::Shape)]
struct Dot;

#[derive(Debug, thiserror::Error)]
#[error("no")]
struct No;

impl annals_actors::Aggregate for Dot {
    const TYPE: &'static str = "dot";
    type Command = ();
    type Event = DotEvent;
    type Rejection = No;

    fn handle(&self, (): (), _: &annals_actors::Context) -> Result<Vec<DotEvent>, No> {
        Ok(Vec::new())
    }

    fn apply(&mut self, _: DotEvent) {}
}

#[derive(Serialize, Deserialize, crate::IntegrationEvent)]
struct DotDrawn {
    number: u32,
}

type Attempt = (String, u32);

/// Takes events as it is told to, and remembers every attempt.
#[derive(Default)]
struct Scripted {
    attempts: Mutex<Vec<(Attempt, String)>>,
    taken: Mutex<Vec<Attempt>>,
    /// What the next attempts at a number get.
    failures: Mutex<HashMap<u32, Vec<PublishError>>>,
    held: watch::Sender<Option<u32>>,
}

impl Scripted {
    fn fail(&self, number: u32, error: &PublishError, times: usize) {
        self.failures.lock().insert(number, vec![error.clone(); times]);
    }

    fn taken(&self) -> Vec<Attempt> {
        self.taken.lock().clone()
    }
}

impl Publisher for Scripted {
    fn publish<'a>(&'a self, envelope: &'a Arc<Envelope>) -> BoxFuture<'a, Result<(), PublishError>> {
        async move {
            let number = envelope.decode::<DotDrawn>().unwrap().number;
            let attempt = (envelope.key().to_owned(), number);
            self.attempts.lock().push((attempt.clone(), envelope.id.to_string()));
            let failure = self.failures.lock().get_mut(&number).and_then(Vec::pop);
            if let Some(error) = failure {
                return Err(error);
            }
            self.held.subscribe().wait_for(|held| *held != Some(number)).await.unwrap();
            self.taken.lock().push(attempt);
            Ok(())
        }
        .boxed()
    }
}

struct Bench {
    journal: Arc<MemoryJournal>,
    publisher: Arc<Scripted>,
    clock: Arc<dyn Clock>,
}

impl Bench {
    fn new() -> Self {
        Self {
            journal: Arc::new(MemoryJournal::new()),
            publisher: Arc::default(),
            clock: Arc::new(SystemClock),
        }
    }

    fn dynamic(&self) -> Arc<dyn Journal> {
        Arc::clone(&self.journal) as Arc<dyn Journal>
    }

    async fn draw(&self, key: &str, number: u32) {
        let event = record::record(&DotEvent::Drawn { number }, Timestamp(0)).unwrap();
        let stream = StreamId::aggregate("dot", key).unwrap();
        self.dynamic().append(Batch::of(stream, Expected::Any, [event])).await.unwrap();
    }

    /// Many events of one key, with the numbers in this range.
    async fn draw_all(&self, key: &str, numbers: std::ops::Range<u32>) {
        let event = |number| record::record(&DotEvent::Drawn { number }, Timestamp(0)).unwrap();
        let events: Vec<_> = numbers.map(event).collect();
        let stream = StreamId::aggregate("dot", key).unwrap();
        self.dynamic().append(Batch::of(stream, Expected::Any, events)).await.unwrap();
    }

    fn relay(&self) -> Relay {
        self.relay_with(RelayOptions {
            retry: RetryPolicy {
                attempts: 1,
                first_pause: Duration::from_millis(1),
                longest_pause: Duration::from_millis(2),
            },
            ..RelayOptions::default()
        })
    }

    fn relay_with(&self, options: RelayOptions) -> Relay {
        self.relay_over(self.dynamic(), options)
    }

    fn relay_to(&self, publisher: Arc<dyn Publisher>) -> Relay {
        let retry = RetryPolicy { first_pause: Duration::from_millis(1), ..RetryPolicy::default() };
        Relay::start(self.parts(self.dynamic(), publisher, RelayOptions { retry, ..RelayOptions::default() }))
    }

    fn relay_over(&self, journal: Arc<dyn Journal>, options: RelayOptions) -> Relay {
        Relay::start(self.parts(journal, Arc::clone(&self.publisher) as Arc<dyn Publisher>, options))
    }

    fn relay_of(
        &self,
        journal: Arc<dyn Journal>,
        publisher: Arc<dyn Publisher>,
        options: RelayOptions,
    ) -> Relay {
        Relay::start(self.parts(journal, publisher, options))
    }

    fn parts(
        &self,
        journal: Arc<dyn Journal>,
        publisher: Arc<dyn Publisher>,
        options: RelayOptions,
    ) -> RelayParts {
        let publications = Publications::new("dots").translate::<Dot>(|event, _| {
            let DotEvent::Drawn { number } = event;
            vec![Outgoing::event(&DotDrawn { number: *number })]
        });
        RelayParts {
            name: "dots".into(),
            cursor: StreamId::internal("relay-dots").unwrap(),
            journal,
            readers: Readers::default(),
            publications: Arc::new(publications),
            topic: None,
            publisher,
            clock: Arc::clone(&self.clock),
            options,
        }
    }

    async fn cursors(&self) -> usize {
        let stream = StreamId::internal("relay-dots").unwrap();
        let read = self.dynamic().read_stream(&stream, Version(1), Direction::Forward);
        read.try_collect::<Vec<_>>().await.unwrap().len()
    }
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn key(id: &str) -> String {
    format!("dot-{id}")
}

#[tokio::test]
async fn a_key_keeps_its_order_and_others_go_on() {
    let bench = Bench::new();
    bench.publisher.held.send_replace(Some(1));
    let relay = bench.relay();
    for number in [1, 2, 3] {
        bench.draw("a", number).await;
    }
    bench.draw("b", 4).await;
    until("b is published", || bench.publisher.taken() == [(key("b"), 4)]).await;
    // Nothing of the other key's later event lets the cursor pass what is not acknowledged.
    assert_eq!((relay.status().cursor, relay.status().in_flight), (Position(0), 3));
    bench.publisher.held.send_replace(None);
    until("a is published", || bench.publisher.taken().len() == 4).await;
    assert_eq!(bench.publisher.taken()[1..], [(key("a"), 1), (key("a"), 2), (key("a"), 3)]);
    until("the cursor follows", || relay.status().cursor == Position(4)).await;
}

#[tokio::test]
async fn a_failure_is_tried_again_under_the_same_id() {
    let bench = Bench::new();
    bench.publisher.fail(1, &PublishError::unavailable("down"), 3);
    bench.draw("a", 1).await;
    bench.draw("a", 2).await;
    let relay = bench.relay();
    until("both are published", || bench.publisher.taken() == [(key("a"), 1), (key("a"), 2)]).await;
    let attempts = bench.publisher.attempts.lock().clone();
    assert_eq!(attempts.len(), 5);
    assert!(attempts[..4].iter().all(|(_, id)| *id == attempts[0].1));
    assert!(relay.status().last_error.unwrap().contains("down"));
}

#[tokio::test]
async fn a_relay_goes_on_where_it_stopped() {
    let bench = Bench::new();
    bench.draw("a", 1).await;
    let relay = bench.relay();
    until("it is published", || bench.publisher.taken().len() == 1).await;
    relay.stop().await;
    assert_eq!(bench.cursors().await, 1);
    bench.draw("a", 2).await;
    let relay = bench.relay();
    until("the next is published", || bench.publisher.taken() == [(key("a"), 1), (key("a"), 2)]).await;
    drop(relay);
    // After a crash, what came after the last cursor is published again, under the same id.
    let relay = bench.relay();
    until("it is published again", || bench.publisher.taken().len() == 3).await;
    let attempts = bench.publisher.attempts.lock().clone();
    assert_eq!(attempts[1], attempts[2]);
    relay.stop().await;
}

#[tokio::test]
async fn the_cursor_stays_below_what_is_not_acknowledged() {
    let bench = Bench::new();
    bench.publisher.held.send_replace(Some(1));
    bench.draw("a", 1).await;
    bench.draw("b", 2).await;
    let relay = bench.relay_with(RelayOptions { drain: Duration::from_millis(1), ..RelayOptions::default() });
    until("the second is published", || bench.publisher.taken() == [(key("b"), 2)]).await;
    relay.stop().await;
    bench.publisher.held.send_replace(None);
    let relay = bench.relay();
    until("the first is published", || bench.publisher.taken().contains(&(key("a"), 1))).await;
    relay.stop().await;
}

#[tokio::test]
async fn the_cursor_is_written_at_most_once_in_a_while() {
    let clock = VirtualClock::default();
    let bench = Bench { clock: Arc::new(clock.clone()), ..Bench::new() };
    let relay = bench.relay();
    for number in 0..100 {
        bench.draw("a", number).await;
    }
    until("all are published", || bench.publisher.taken().len() == 100).await;
    assert_eq!(bench.cursors().await, 0);
    clock.advance(Duration::from_secs(1));
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while bench.cursors().await == 0 {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    // Nothing was published since, so nothing is written.
    clock.advance(Duration::from_secs(100));
    relay.stop().await;
    assert_eq!(bench.cursors().await, 1);
}

#[tokio::test]
async fn in_flight_is_bounded() {
    let bench = Bench::new();
    bench.publisher.held.send_replace(Some(0));
    for _ in 0..10 {
        bench.draw("a", 0).await;
    }
    let relay = bench.relay_with(RelayOptions { in_flight: 3, ..RelayOptions::default() });
    until("the room is used", || relay.status().in_flight == 3).await;
    bench.publisher.held.send_replace(None);
    until("all are published", || bench.publisher.taken().len() == 10).await;
}

#[tokio::test]
async fn the_cursor_is_written_down_now_and_again_where_nothing_is_published() {
    let bench = Bench::new();
    let event = || record::record(&DotEvent::Drawn { number: 1 }, Timestamp(0)).unwrap();
    let other = StreamId::aggregate("other", "1").unwrap();
    for _ in 0..5 {
        let events: Vec<_> = (0..1000).map(|_| event()).collect();
        bench.dynamic().append(Batch::of(other.clone(), Expected::Any, events)).await.unwrap();
    }
    let relay = bench.relay_with(RelayOptions { cursor_every: Duration::ZERO, ..RelayOptions::default() });
    while bench.journal.readers().lowest().unwrap().position < Position(4096) {
        tokio::task::yield_now().await;
    }
    relay.stop().await;
    assert!(bench.publisher.taken().is_empty());
    assert!(bench.cursors().await > 0);
}

struct Panicking(AtomicUsize, Arc<Scripted>);

impl Publisher for Panicking {
    fn publish<'a>(&'a self, envelope: &'a Arc<Envelope>) -> BoxFuture<'a, Result<(), PublishError>> {
        assert!(self.0.fetch_add(1, Ordering::Relaxed) > 1, "a publisher's own fault");
        self.1.publish(envelope)
    }
}

#[tokio::test]
async fn a_publisher_that_panics_is_tried_again() {
    let bench = Bench::new();
    bench.draw("a", 1).await;
    let relay = bench.relay_to(Arc::new(Panicking(AtomicUsize::new(0), Arc::clone(&bench.publisher))));
    until("it is published", || bench.publisher.taken() == [(key("a"), 1)]).await;
    assert!(!relay.status().ended);
    relay.stop().await;
}

#[tokio::test]
async fn a_relay_that_has_ended_by_itself_says_so() {
    let bench = Bench::new();
    bench.draw("a", 1).await;
    let relay = bench.relay();
    until("it runs", || relay.status().published == 1).await;
    bench.dynamic().close().await;
    until("it shows", || relay.status().fault().is_some()).await;
    relay.stop().await;
}
