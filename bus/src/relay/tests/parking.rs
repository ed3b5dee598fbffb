//! What is parked, and how long it shows.

use std::sync::atomic::AtomicBool;

use annals_persistence::{AllPage, Filter, JournalLayer, ReadError};
use metrics::{Counter, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use super::*;

/// Where one event is refused once.
async fn with_one_refused() -> Bench {
    let bench = Bench::new();
    bench.publisher.fail(1, &PublishError::configuration("no such topic"), 1);
    bench.draw("a", 1).await;
    bench
}

#[tokio::test]
async fn a_configuration_error_parks_until_somebody_mends_it() {
    let bench = with_one_refused().await;
    let relay = bench.relay();
    until("it is parked", || relay.status().parked.is_some_and(|reason| reason.contains("no such topic")))
        .await;
    bench.draw("b", 2).await;
    until("other keys go on", || bench.publisher.taken() == [(key("b"), 2)]).await;
    relay.resume();
    until("it goes on", || bench.publisher.taken().len() == 2).await;
    until("the alarm is over", || relay.status().parked.is_none()).await;
}

#[tokio::test]
async fn however_much_is_parked_other_keys_go_on() {
    let bench = Bench::new();
    bench.publisher.fail(1, &PublishError::configuration("no such topic"), usize::from(u8::MAX));
    bench.draw("a", 1).await;
    for number in 2..=10 {
        bench.draw("a", number).await;
    }
    let relay = bench.relay_with(RelayOptions { in_flight: 3, parked_max: 15, ..RelayOptions::default() });
    until("all of the key wait", || relay.status().in_flight == 10).await;
    for number in 11..=14 {
        bench.draw("b", number).await;
    }
    until("other keys go on", || bench.publisher.taken().len() == 4).await;
    // Beyond what may be parked nothing more is read.
    for number in 15..=40 {
        bench.draw("a", number).await;
    }
    until("no more may wait", || relay.status().in_flight >= 16).await;
    bench.draw("b", 41).await;
    bench.publisher.failures.lock().clear();
    relay.resume();
    until("all are published", || bench.publisher.taken().len() == 41).await;
    let of_a: Vec<_> = bench.publisher.taken().into_iter().filter(|(of, _)| *of == key("a")).collect();
    assert!(of_a.is_sorted_by_key(|(_, number)| *number), "{of_a:?}");
    until("nothing is under way", || relay.status().in_flight == 0).await;
}

#[tokio::test]
async fn what_cannot_be_translated_parks_the_relay() {
    let bench = Bench::new();
    let mut event = record::record(&DotEvent::Drawn { number: 1 }, Timestamp(0)).unwrap();
    event.type_name = "dot-unheard-of".into();
    let stream = StreamId::aggregate("dot", "a").unwrap();
    bench.dynamic().append(Batch::of(stream, Expected::Any, [event])).await.unwrap();
    bench.draw("b", 2).await;
    let relay = bench.relay();
    until("it is parked", || relay.status().parked.is_some_and(|reason| reason.contains("dot-unheard-of")))
        .await;
    assert!(bench.publisher.taken().is_empty());
    relay.stop().await;
    assert_eq!(bench.cursors().await, 0);
}

#[tokio::test]
async fn what_is_parked_shows_until_the_last_of_it_goes_on() {
    let gauges = Gauges::default();
    let _recording = metrics::set_default_local_recorder(&gauges);
    let bench = Bench::new();
    for (key, number) in [("a", 1), ("b", 2)] {
        bench.publisher.fail(number, &PublishError::configuration(format!("topic {number} is closed")), 1);
        bench.draw(key, number).await;
    }
    let relay = bench.relay();
    until("both are parked", || bench.publisher.attempts.lock().len() == 2).await;
    until("the alarm sounds", || gauges.parked() == Some(1.0)).await;
    // The first goes on and is taken, the second is refused again.
    bench.publisher.fail(2, &PublishError::configuration("topic 2 is closed for good"), 1);
    relay.resume();
    until("the first is published", || bench.publisher.taken() == [(key("a"), 1)]).await;
    until("the second is refused again", || {
        relay.status().parked.is_some_and(|reason| reason.contains("topic 2 is closed for good"))
    })
    .await;
    assert_eq!(gauges.parked(), Some(1.0));
    relay.resume();
    until("the second is published", || bench.publisher.taken().len() == 2).await;
    until("the alarm is over", || relay.status().parked.is_none()).await;
    assert_eq!(gauges.parked(), Some(0.0));
}

#[tokio::test]
async fn what_is_refused_for_another_reason_is_parked_all_along() {
    let gauges = Gauges::default();
    let _recording = metrics::set_default_local_recorder(&gauges);
    let bench = with_one_refused().await;
    let relay = bench.relay();
    let is_parked_for = |words| relay.status().parked.is_some_and(|reason| reason.contains(words));
    until("it is parked", || is_parked_for("no such topic")).await;
    bench.publisher.fail(1, &PublishError::unavailable("the broker is gone"), usize::from(u16::MAX));
    relay.resume();
    until("it is parked for the other reason", || is_parked_for("the broker is gone")).await;
    assert_eq!((gauges.freed(), relay.status().parked_keys), (0, 1));
    bench.publisher.failures.lock().clear();
    until("it goes on", || bench.publisher.taken().len() == 1).await;
    until("the alarm is over", || gauges.freed() == 1).await;
}

#[tokio::test]
async fn a_read_error_parks_until_the_journal_can_be_read() {
    let gauges = Gauges::default();
    let _recording = metrics::set_default_local_recorder(&gauges);
    let bench = Bench::new();
    bench.draw("a", 1).await;
    let journal = Arc::new(Unreadable { inner: bench.dynamic(), failing: AtomicBool::new(true) });
    let retry = RetryPolicy { longest_pause: Duration::from_secs(3600), ..RetryPolicy::default() };
    let options = RelayOptions { retry, ..RelayOptions::default() };
    let relay = bench.relay_over(Arc::clone(&journal) as Arc<dyn Journal>, options);
    until("it is parked", || relay.status().parked.is_some_and(|reason| reason.contains("is damaged"))).await;
    assert_eq!(gauges.parked(), Some(1.0));
    journal.failing.store(false, Ordering::Relaxed);
    relay.resume();
    until("it goes on", || bench.publisher.taken() == [(key("a"), 1)]).await;
    assert_eq!((relay.status().parked, gauges.parked()), (None, Some(0.0)));
}

#[tokio::test]
async fn a_relay_that_is_gone_is_not_parked() {
    let gauges = Gauges::default();
    let _recording = metrics::set_default_local_recorder(&gauges);
    let bench = with_one_refused().await;
    let relay = bench.relay();
    until("it is parked", || gauges.parked() == Some(1.0)).await;
    drop(relay);
    until("the gauge follows", || gauges.parked() == Some(0.0)).await;
}

/// A journal whose events cannot be read for a while.
#[derive(Debug)]
struct Unreadable {
    inner: Arc<dyn Journal>,
    failing: AtomicBool,
}

impl JournalLayer for Unreadable {
    fn inner(&self) -> &dyn Journal {
        &*self.inner
    }

    fn all_page<'a>(
        &'a self,
        from: Position,
        filter: &'a Filter,
        limit: usize,
    ) -> BoxFuture<'a, Result<AllPage, ReadError>> {
        if self.failing.load(Ordering::Relaxed) {
            let error = ReadError::Damaged { file: "1.log".into(), offset: 0, reason: "as told".into() };
            return async { Err(error) }.boxed();
        }
        self.inner.all_page(from, filter, limit)
    }
}

/// All that each gauge has shown.
type History = Arc<Mutex<HashMap<String, Vec<f64>>>>;

/// What the gauges of the test's thread show.
#[derive(Debug, Default)]
pub(super) struct Gauges(History);

impl Gauges {
    pub(super) fn get(&self, name: &str) -> Option<f64> {
        self.0.lock().get(name)?.last().copied()
    }

    pub(super) fn parked(&self) -> Option<f64> {
        self.get("annals_bus_relay_parked")
    }

    /// How often it was said that all is free, after it had not been.
    fn freed(&self) -> usize {
        let history = self.0.lock();
        let shown = history.get("annals_bus_relay_parked").map_or(&[][..], Vec::as_slice);
        shown.windows(2).filter(|pair| *pair == [1.0, 0.0]).count()
    }
}

struct Shown {
    gauges: History,
    name: String,
}

impl GaugeFn for Shown {
    fn increment(&self, _: f64) {}

    fn decrement(&self, _: f64) {}

    fn set(&self, value: f64) {
        self.gauges.lock().entry(self.name.clone()).or_default().push(value);
    }
}

impl Recorder for Gauges {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Arc::new(Shown { gauges: Arc::clone(&self.0), name: key.name().to_owned() }))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
