//! What fails for ever, or with many others, and what it keeps up.

use std::sync::atomic::AtomicBool;

use super::offered::Taking;
use super::parking::Gauges;
use super::*;

type Refuses = dyn Fn(&str) -> Option<PublishError> + Send + Sync;

/// Refuses what it is told to, and remembers what it took.
struct Refusing {
    refused: Box<Refuses>,
    is_mended: AtomicBool,
    attempts: AtomicUsize,
    taken: Mutex<HashMap<String, Vec<u32>>>,
}

impl Refusing {
    fn new(refused: impl Fn(&str) -> Option<PublishError> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            refused: Box::new(refused),
            is_mended: AtomicBool::new(false),
            attempts: AtomicUsize::new(0),
            taken: Mutex::default(),
        })
    }

    fn mend(&self) {
        self.is_mended.store(true, Ordering::Relaxed);
    }

    fn attempts(&self) -> usize {
        self.attempts.load(Ordering::Relaxed)
    }

    fn taken_of(&self, id: &str) -> Vec<u32> {
        self.taken.lock().get(&key(id)).cloned().unwrap_or_default()
    }

    fn taken_all(&self) -> usize {
        self.taken.lock().values().map(Vec::len).sum()
    }
}

impl Publisher for Refusing {
    fn publish<'a>(&'a self, envelope: &'a Arc<Envelope>) -> BoxFuture<'a, Result<(), PublishError>> {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        let refused = (self.refused)(envelope.key()).filter(|_| !self.is_mended.load(Ordering::Relaxed));
        let result = refused.map_or(Ok(()), Err).inspect(|()| {
            let number = envelope.decode::<DotDrawn>().unwrap().number;
            self.taken.lock().entry(envelope.key().to_owned()).or_default().push(number);
        });
        std::future::ready(result).boxed()
    }
}

fn broken(refused: &'static str) -> Arc<Refusing> {
    Refusing::new(move |of| (of == key(refused)).then(|| PublishError::unavailable("Internal: no")))
}

fn options() -> RelayOptions {
    let pauses = (Duration::from_millis(1), Duration::from_millis(5));
    let retry = RetryPolicy { attempts: 1, first_pause: pauses.0, longest_pause: pauses.1 };
    RelayOptions { retry, ..RelayOptions::default() }
}

fn start(bench: &Bench, publisher: &Arc<Refusing>, options: RelayOptions) -> Relay {
    bench.relay_of(bench.dynamic(), Arc::clone(publisher) as Arc<dyn Publisher>, options)
}

#[tokio::test]
async fn one_key_that_fails_for_ever_stops_nothing_else() {
    let gauges = Gauges::default();
    let _recording = metrics::set_default_local_recorder(&gauges);
    let (bench, publisher) = (Bench::new(), broken("broken"));
    // At first there is nothing else to be seen, in more events than may be in flight.
    bench.draw_all("broken", 0..10_000).await;
    for part in 1..10 {
        bench.draw_all(&format!("other{part}"), 0..50).await;
        bench.draw_all("broken", part * 10_000..(part + 1) * 10_000).await;
    }
    bench.draw_all("last", 0..50).await;
    let relay = start(&bench, &publisher, options());
    until("all others arrive", || publisher.taken_all() == 500).await;
    until("it shows", || relay.status().parked_keys == 1).await;
    until("all wait", || relay.status().parked_events == 100_000).await;
    let trouble = relay.status().trouble().unwrap();
    assert!(trouble.contains("100000 events of 1 keys") && trouble.contains("Internal: no"), "{trouble}");
    assert!(trouble.contains(&key("broken")), "{trouble}");
    assert_eq!((gauges.get("annals_bus_relay_parked_keys"), gauges.parked()), (Some(1.0), Some(1.0)));
    let bytes = gauges.get("annals_bus_relay_parked_bytes").unwrap();
    assert!((0.0..128.0 * 1024.0 * 1024.0).contains(&bytes), "{bytes}");
    assert_eq!((relay.status().cursor, relay.status().retrying), (Position(0), 1));
    publisher.mend();
    until("it goes on by itself", || publisher.taken_all() == 100_500).await;
    assert_eq!(publisher.taken_of("broken"), (0..100_000).collect::<Vec<_>>());
    until("nothing shows any more", || relay.status().trouble().is_none()).await;
    until("the cursor follows", || relay.status().cursor == Position(100_500)).await;
    assert_eq!((gauges.get("annals_bus_relay_parked_bytes"), gauges.parked()), (Some(0.0), Some(0.0)));
}

#[tokio::test]
async fn nothing_is_parked_while_nothing_leaves_at_all() {
    let bench = Bench::new();
    let publisher = Refusing::new(|_| Some(PublishError::unavailable("the broker is gone")));
    for number in 0..20 {
        bench.draw_all(&format!("{number}"), 0..5).await;
    }
    let relay = start(&bench, &publisher, RelayOptions { aside_after: 2, in_flight: 10, ..options() });
    until("each was tried often", || publisher.attempts() > 200).await;
    assert_eq!((relay.status().parked, relay.status().parked_keys), (None, 0));
    assert_eq!(relay.status().retrying, 10);
    publisher.mend();
    until("all arrive", || publisher.taken_all() == 100).await;
    until("nothing shows any more", || relay.status().trouble().is_none()).await;
}

#[tokio::test]
async fn nothing_is_parked_when_a_broker_goes_while_an_event_is_tried_again() {
    let (bench, tried) = (Bench::new(), AtomicUsize::new(0));
    // The others leave behind its first failure, and from its second on nothing does.
    let publisher = Refusing::new(move |of| {
        let is_first = of == key("0");
        let before = tried.fetch_add(usize::from(is_first), Ordering::Relaxed);
        (is_first || before > 1).then(|| PublishError::unavailable("the broker goes"))
    });
    for number in 0..200 {
        bench.draw(&format!("{number}"), 0).await;
    }
    let relay = start(&bench, &publisher, RelayOptions { aside_after: 4, in_flight: 10, ..options() });
    until("each was tried often", || publisher.attempts() > 500).await;
    assert!(publisher.taken_all() > 0, "nothing left before");
    assert_eq!((relay.status().parked, relay.status().parked_keys), (None, 0));
    publisher.mend();
    until("all arrive", || publisher.taken_all() == 200).await;
    until("nothing shows any more", || relay.status().trouble().is_none()).await;
}

#[tokio::test]
async fn what_is_parked_is_bounded_by_its_memory_too() {
    let bench = Bench::new();
    let publisher =
        Refusing::new(|of| (of == key("a")).then(|| PublishError::configuration("no such topic")));
    bench.draw_all("a", 0..1000).await;
    bench.draw("b", 0).await;
    let relay = start(&bench, &publisher, RelayOptions { parked_bytes_max: 50_000, ..options() });
    until("no more may wait", || relay.status().parked_events > 50).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(relay.status().parked_events < 200, "{}", relay.status().parked_events);
    assert!(publisher.taken_of("b").is_empty());
    publisher.mend();
    relay.resume();
    until("all arrive", || publisher.taken_all() == 1001).await;
    assert!(publisher.taken_of("a").is_sorted());
}

#[tokio::test]
async fn of_many_keys_that_wait_for_the_same_a_few_are_tried_and_one_that_succeeds_lets_all_go() {
    let clock = VirtualClock::default();
    let bench = Bench { clock: Arc::new(clock.clone()), ..Bench::new() };
    // Each with words of its own.
    let publisher = Refusing::new(|of| Some(PublishError::configuration(format!("{of} is refused"))));
    for number in 0..5000 {
        bench.draw_all(&format!("{number}"), 0..2).await;
    }
    let relay = start(&bench, &publisher, options());
    until("all are parked", || relay.status().parked_keys == 5000).await;
    assert_eq!((publisher.attempts(), relay.status().retrying), (5000, 5000));
    let parked = relay.status().parked.unwrap();
    assert!(parked.contains("dot-0 is refused") && parked.contains("4999 others"), "{parked}");
    for turn in 1..=3 {
        clock.advance(Duration::from_secs(60));
        until("a few are tried", || publisher.attempts() == 5000 + turn * 5000 / 64).await;
    }
    relay.resume();
    until("all are tried where somebody says so", || publisher.attempts() >= 10_000 + 3 * 78).await;
    until("they are parked again", || relay.status().parked_keys == 5000).await;
    publisher.mend();
    clock.advance(Duration::from_secs(60));
    until("all leave", || publisher.taken_all() == 10_000).await;
    assert!(publisher.taken.lock().values().all(|numbers| *numbers == [0, 1]));
    until("nothing shows any more", || relay.status().trouble().is_none()).await;
}

#[tokio::test]
async fn a_key_that_is_parked_among_others_that_are_not_mended_has_its_turn() {
    let clock = VirtualClock::default();
    let bench = Bench { clock: Arc::new(clock.clone()), ..Bench::new() };
    let is_mended = Arc::new(AtomicBool::new(false));
    let mended = Arc::clone(&is_mended);
    let publisher = Refusing::new(move |of| {
        let leaves = mended.load(Ordering::Relaxed) && of == key("77");
        (!leaves).then(|| PublishError::configuration("no"))
    });
    for number in 0..100 {
        bench.draw(&format!("{number}"), number).await;
    }
    let relay = start(&bench, &publisher, options());
    until("all are parked", || relay.status().parked_keys == 100).await;
    is_mended.store(true, Ordering::Relaxed);
    for turn in 1..=5 {
        clock.advance(Duration::from_secs(60));
        until("some are tried", || publisher.attempts() >= 100 + turn * 16).await;
    }
    until("it has left", || publisher.taken_of("77") == [77]).await;
    until("the others wait", || relay.status().parked_keys == 99).await;
}

#[tokio::test]
async fn a_key_that_has_left_is_not_named_any_more() {
    let (bench, held) = (Bench::new(), Arc::new(Taking::default()));
    for number in 0..40 {
        bench.draw(&format!("{number}"), number).await;
    }
    let relay = bench.relay_to(Arc::clone(&held) as Arc<dyn Publisher>);
    until("all are offered", || held.offered().len() == 40).await;
    for number in 0..40 {
        held.answer(number, Err(PublishError::configuration("no such topic")));
    }
    until("all are parked", || relay.status().parked_keys == 40).await;
    relay.resume();
    until("all are offered again", || held.offered().len() == 40).await;
    // More leave than those of whom it is known why they failed, and of the others nothing is heard.
    for number in 0..24 {
        held.answer(number, Ok(()));
    }
    until("they have left", || relay.status().parked_keys == 16).await;
    assert_eq!(relay.status().parked.unwrap(), "the broker refuses the event: no such topic (of 16 keys)");
    held.answer(30, Err(PublishError::configuration("no such topic")));
    let named = format!("(key \"{}\", as 15 others)", key("30"));
    until("one of them is named", || relay.status().parked.is_some_and(|parked| parked.ends_with(&named)))
        .await;
}

#[tokio::test]
async fn what_waited_behind_a_parked_key_keeps_nothing_up_while_it_leaves() {
    let (bench, held) = (Bench::new(), Arc::new(Taking::default()));
    bench.draw_all("a", 0..1000).await;
    bench.draw("b", 2000).await;
    let publisher = Arc::clone(&held) as Arc<dyn Publisher>;
    let relay = bench.relay_of(bench.dynamic(), publisher, RelayOptions { in_flight: 10, ..options() });
    until("it is offered", || held.offered() == [(key("a"), 0)]).await;
    held.answer(0, Err(PublishError::configuration("no such topic")));
    until("the other is offered", || held.offered() == [(key("b"), 2000)]).await;
    relay.resume();
    until("it is offered again", || held.offered().len() == 2).await;
    held.answer(0, Ok(()));
    held.answer(2000, Ok(()));
    until("the next of the key is offered", || held.offered() == [(key("a"), 1)]).await;
    bench.draw("c", 3000).await;
    until("another key is", || held.offered() == [(key("a"), 1), (key("c"), 3000)]).await;
    assert_eq!(relay.status().parked, None);
}
