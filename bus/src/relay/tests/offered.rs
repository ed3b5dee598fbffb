//! A publisher that takes events without being waited for.

use super::*;

/// Keeps what it is offered until somebody answers; what is not offered it takes at once.
#[derive(Default)]
pub(super) struct Taking {
    offered: Mutex<Vec<(Attempt, Answer)>>,
    waited_for: Mutex<Vec<(Attempt, String)>>,
    /// Whether there is no room for what is offered.
    full: std::sync::atomic::AtomicBool,
}

fn attempt(envelope: &Envelope) -> Attempt {
    (envelope.key().to_owned(), envelope.decode::<DotDrawn>().unwrap().number)
}

impl Publisher for Taking {
    fn publish<'a>(&'a self, envelope: &'a Arc<Envelope>) -> BoxFuture<'a, Result<(), PublishError>> {
        self.waited_for.lock().push((attempt(envelope), envelope.id.to_string()));
        std::future::ready(Ok(())).boxed()
    }

    fn takes_offers(&self) -> bool {
        true
    }

    fn offer(&self, envelope: Arc<Envelope>, answer: Answer) -> Option<Answer> {
        if self.full.load(Ordering::Relaxed) {
            return Some(answer);
        }
        self.offered.lock().push((attempt(&envelope), answer));
        None
    }
}

impl Taking {
    pub(super) fn offered(&self) -> Vec<Attempt> {
        self.offered.lock().iter().map(|(attempt, _)| attempt.clone()).collect()
    }

    fn waited_for(&self) -> Vec<Attempt> {
        self.waited_for.lock().iter().map(|(attempt, _)| attempt.clone()).collect()
    }

    pub(super) fn answer(&self, number: u32, result: Result<(), PublishError>) {
        let place = self.offered().iter().position(|(_, of)| *of == number).unwrap();
        let (_, answer) = self.offered.lock().remove(place);
        answer.give(result);
    }
}

fn relay(bench: &Bench, publisher: &Arc<Taking>) -> Relay {
    let publisher = Arc::clone(publisher) as Arc<dyn Publisher>;
    let retry = RetryPolicy { first_pause: Duration::from_millis(1), ..RetryPolicy::default() };
    bench.relay_of(bench.dynamic(), publisher, RelayOptions { retry, ..RelayOptions::default() })
}

#[tokio::test]
async fn the_next_of_a_key_is_offered_when_the_one_before_it_was_answered() {
    let (bench, publisher) = (Bench::new(), Arc::new(Taking::default()));
    for (key, number) in [("a", 1), ("a", 2), ("b", 3)] {
        bench.draw(key, number).await;
    }
    let relay = relay(&bench, &publisher);
    until("both keys are offered", || publisher.offered() == [(key("a"), 1), (key("b"), 3)]).await;
    publisher.answer(3, Ok(()));
    until("it counts as published", || relay.status().published == 1).await;
    assert_eq!((relay.status().cursor, relay.status().in_flight), (Position(0), 2));
    publisher.answer(1, Ok(()));
    until("the next is offered", || publisher.offered() == [(key("a"), 2)]).await;
    publisher.answer(2, Ok(()));
    until("the cursor follows", || relay.status().cursor == Position(3)).await;
    assert!(publisher.waited_for().is_empty());
}

#[tokio::test]
async fn what_is_refused_or_given_up_is_tried_again_under_the_same_id() {
    let (bench, publisher) = (Bench::new(), Arc::new(Taking::default()));
    bench.draw("a", 1).await;
    bench.draw("b", 2).await;
    let relay = relay(&bench, &publisher);
    until("both are offered", || publisher.offered().len() == 2).await;
    publisher.answer(1, Err(PublishError::unavailable("down")));
    until("the refused one is tried again", || publisher.waited_for() == [(key("a"), 1)]).await;
    publisher.offered.lock().clear();
    until("so is the other", || publisher.waited_for().len() == 2).await;
    until("the cursor follows", || relay.status().cursor == Position(2)).await;
    assert_eq!(relay.status().retrying, 0);
}

#[tokio::test]
async fn what_there_is_no_room_for_is_waited_for() {
    let (bench, publisher) = (Bench::new(), Arc::new(Taking::default()));
    publisher.full.store(true, Ordering::Relaxed);
    bench.draw("a", 1).await;
    let relay = relay(&bench, &publisher);
    until("it is published", || relay.status().published == 1).await;
    assert_eq!(publisher.waited_for(), [(key("a"), 1)]);
}

#[tokio::test]
async fn a_relay_that_stops_waits_for_what_was_taken() {
    let (bench, publisher) = (Bench::new(), Arc::new(Taking::default()));
    bench.draw("a", 1).await;
    let relay = Arc::new(relay(&bench, &publisher));
    until("it is offered", || publisher.offered().len() == 1).await;
    let stopping = Arc::clone(&relay);
    let stopped = tokio::spawn(async move { stopping.stop().await });
    publisher.answer(1, Ok(()));
    stopped.await.unwrap();
    assert_eq!((relay.status().cursor, bench.cursors().await), (Position(1), 1));
}

#[tokio::test]
async fn what_is_parked_is_offered_again_when_somebody_says_so() {
    let (bench, publisher) = (Bench::new(), Arc::new(Taking::default()));
    for (key, number) in [("a", 1), ("a", 2), ("b", 3)] {
        bench.draw(key, number).await;
    }
    let relay = relay(&bench, &publisher);
    until("both keys are offered", || publisher.offered().len() == 2).await;
    publisher.answer(1, Err(PublishError::configuration("no such topic")));
    publisher.answer(3, Err(PublishError::configuration("no such topic")));
    until("both are parked", || relay.status().parked_keys == 2).await;
    relay.resume();
    until("both are offered again", || publisher.offered().len() == 2).await;
    // Somebody mends it, and says so, while the publisher still goes by what was before.
    relay.resume();
    publisher.answer(1, Err(PublishError::unavailable("not yet")));
    until("it is offered again", || publisher.offered() == [(key("b"), 3), (key("a"), 1)]).await;
    publisher.answer(1, Ok(()));
    publisher.answer(3, Ok(()));
    until("the next of the key is offered", || publisher.offered() == [(key("a"), 2)]).await;
    publisher.answer(2, Ok(()));
    until("nothing is parked", || relay.status().parked.is_none()).await;
    assert!(publisher.waited_for().is_empty());
}
