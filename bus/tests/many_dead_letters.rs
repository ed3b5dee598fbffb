//! Many dead letters: found, listed and replayed one by one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use annals_actors::Node;
use annals_bus::{
    Bus, DeadLetterError, DeadLetterId, Delivery, Envelope, HandlerError, Reaction, Topic,
    stream_dead_letters,
};
use annals_persistence::{AppendError, Journal, MemoryJournal, Version};
use futures_util::{StreamExt, TryStreamExt};
use serde_json::json;
use tokio::sync::Semaphore;

use support::counted::Counted;
use support::{CustomerAddressUpdated, quick};

const LETTERS: usize = 300;

/// A service whose handler takes no event until it is mended, and then only as many as it is let.
struct Service {
    memory: Arc<MemoryJournal>,
    journal: Arc<Counted>,
    _node: Node,
    bus: Bus,
    mended: Arc<AtomicBool>,
    gate: Arc<Semaphore>,
}

impl Service {
    async fn start() -> Self {
        Self::over(MemoryJournal::new(), &[]).await
    }

    /// With damage in the stream of dead letters from the start on.
    async fn over(memory: MemoryJournal, damaged: &[u64]) -> Self {
        let memory = Arc::new(memory);
        let journal = Arc::new(Counted::new(Arc::clone(&memory) as Arc<dyn Journal>, "$dlq-"));
        damaged.iter().for_each(|version| journal.damage("$dlq-address", *version));
        let node = Node::builder().journal(Arc::clone(&journal) as Arc<dyn Journal>).start().await.unwrap();
        let (mended, gate) = (Arc::new(AtomicBool::new(false)), Arc::new(Semaphore::new(0)));
        let (is_mended, wait) = (Arc::clone(&mended), Arc::clone(&gate));
        let handler = move |_: CustomerAddressUpdated, _: Delivery| {
            let (is_mended, wait) = (Arc::clone(&is_mended), Arc::clone(&wait));
            async move {
                if !is_mended.load(Ordering::Relaxed) {
                    return Err(HandlerError::poison("not yet"));
                }
                wait.acquire().await.unwrap().forget();
                Ok(Reaction::none())
            }
        };
        let builder = Bus::builder(node.clone(), "order");
        let bus = builder
            .subscribe_with::<CustomerAddressUpdated>("address", quick(), handler)
            .start()
            .await
            .unwrap();
        Self { memory, journal, _node: node, bus, mended, gate }
    }

    async fn with_letters() -> Self {
        let service = Self::start().await;
        service.deliver(LETTERS).await;
        service
    }

    async fn deliver(&self, letters: usize) {
        for number in 0..letters {
            self.bus.inlet("address").unwrap().deliver(event(number)).await.unwrap();
        }
    }

    /// Another process over the same journal, in which these records cannot be read.
    async fn damaged(self, versions: &[u64]) -> Self {
        self.bus.shutdown().await;
        Self::over(self.memory.reopened(), versions).await
    }

    fn mend(&self, permits: usize) {
        self.mended.store(true, Ordering::Relaxed);
        self.gate.add_permits(permits);
    }

    async fn numbers(&self) -> Vec<String> {
        let letters = self.bus.dead_letters().stream();
        letters.map_ok(|letter| letter.event_id).try_collect().await.unwrap()
    }

    async fn id_of(&self, number: usize) -> DeadLetterId {
        let letters = self.bus.dead_letters().list().await.unwrap();
        letters.iter().find(|letter| letter.event_id == number.to_string()).unwrap().id
    }
}

fn event(number: usize) -> Arc<Envelope> {
    let body = json!({
        "specversion": "1.0", "id": number.to_string(), "source": "elsewhere", "type": "moved",
        "data": {"customerId": "1", "street": "Elm Street"},
    });
    let topic = Topic::of::<CustomerAddressUpdated>();
    Arc::new(Envelope::from_json(body.to_string().as_bytes(), &topic).unwrap())
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[tokio::test]
async fn one_is_replayed_without_a_look_at_the_others() {
    let service = Service::with_letters().await;
    let id = service.id_of(LETTERS / 2).await;
    service.journal.take();
    let failed = service.bus.dead_letters().replay(id).await;
    assert!(matches!(failed, Err(DeadLetterError::Delivery(_))), "{failed:?}");
    service.mend(1);
    service.bus.dead_letters().replay(id).await.unwrap();
    let gone = service.bus.dead_letters().replay(id).await;
    assert!(matches!(gone, Err(DeadLetterError::NotFound { .. })), "{gone:?}");
    // Twice the letter, its failed replay, and what the replays themselves wrote.
    let read = service.journal.take();
    assert!(read <= 6, "{read} events were read for one dead letter");
    assert_eq!(service.numbers().await.len(), LETTERS - 1);
}

#[tokio::test]
async fn the_first_of_a_list_are_there_before_the_last_are_read() {
    let service = Service::with_letters().await;
    assert_eq!(service.numbers().await, numbers(0..LETTERS));
    service.journal.take();
    let first: Vec<_> = service.bus.dead_letters().stream().take(3).try_collect().await.unwrap();
    assert_eq!((first.len(), service.journal.take()), (3, 3));
    let journal = Arc::clone(&service.journal) as Arc<dyn Journal>;
    let of_the_journal: Vec<_> =
        stream_dead_letters(&journal).map_ok(|letter| letter.event_id).try_collect().await.unwrap();
    assert_eq!(of_the_journal, numbers(0..LETTERS));
}

#[tokio::test]
async fn each_has_its_outcome_and_the_rest_stays_when_nobody_asks_further() {
    let service = Service::with_letters().await;
    let mut outcomes = service.bus.dead_letters().replay_each();
    for _ in 0..5 {
        let replayed = outcomes.try_next().await.unwrap().unwrap();
        assert!(matches!(replayed.outcome, Err(DeadLetterError::Delivery(_))), "{replayed:?}");
    }
    service.mend(10);
    let fifth = service.id_of(5).await;
    for n in 0..10 {
        let replayed = outcomes.try_next().await.unwrap().unwrap();
        assert!(replayed.outcome.is_ok(), "{replayed:?}");
        assert_eq!((n == 0, &*replayed.subscription), (replayed.id == fifth, "address"));
    }
    drop(outcomes);
    assert_eq!(service.numbers().await, [numbers(0..5), numbers(15..LETTERS)].concat());
    assert_eq!(service.bus.dead_letters().list().await.unwrap()[0].attempts, 2);
}

#[tokio::test]
async fn a_replay_under_way_is_recorded_though_nobody_waits_for_it() {
    let service = Service::with_letters().await;
    service.mend(0);
    let mut outcomes = service.bus.dead_letters().replay_each();
    let inlet = service.bus.inlet("address").unwrap();
    tokio::select! {
        outcome = outcomes.next() => panic!("it waits at the gate: {outcome:?}"),
        () = support::until("the first is under way", || async { inlet.in_flight() == 1 }) => {}
    }
    drop(outcomes);
    service.gate.add_permits(LETTERS);
    support::until("it is recorded", || async { service.numbers().await == numbers(1..LETTERS) }).await;
}

#[tokio::test]
async fn replaying_ends_where_an_outcome_cannot_be_recorded() {
    let service = Service::with_letters().await;
    service.mend(LETTERS);
    let mut outcomes = service.bus.dead_letters().replay_each();
    // The first append is the inbox's, the second the outcome.
    service.memory.fail_append(2, AppendError::Busy { bytes: 1 });
    let broken = outcomes.next().await.unwrap();
    assert!(matches!(broken, Err(DeadLetterError::NotRecorded { .. })), "{broken:?}");
    assert!(outcomes.next().await.is_none());
    let summary = service.bus.dead_letters().replay_all().await.unwrap();
    assert_eq!((summary.handled, summary.failed), (LETTERS, 0));
}

#[tokio::test]
async fn damage_hides_no_letter_but_those_that_it_is_in() {
    let service = Service::with_letters().await;
    let service = service.damaged(&[3, 200, 201]).await;
    let journal = Arc::clone(&service.journal) as Arc<dyn Journal>;
    let (letters, faults): (Vec<_>, Vec<_>) =
        stream_dead_letters(&journal).collect::<Vec<_>>().await.into_iter().partition(Result::is_ok);
    let found: Vec<_> = letters.into_iter().map(|letter| letter.unwrap().event_id).collect();
    assert_eq!(found, [numbers(0..2), numbers(3..199), numbers(201..LETTERS)].concat());
    let versions: Vec<_> = faults
        .into_iter()
        .map(|fault| match fault.unwrap_err() {
            error @ DeadLetterError::Unread { version, .. } => (version.0, error.code()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(versions, [3, 200, 201].map(|version| (version, "journal_damaged")));

    // What was written behind it is replayed; of the others nobody knows whether they are done with.
    service.mend(LETTERS);
    let summary = service.bus.dead_letters().replay_all().await.unwrap();
    assert_eq!((summary.handled, summary.failed, summary.in_doubt), (LETTERS - 201, 0, 198));
    assert_eq!(summary.unread.len(), 3, "{:?}", summary.unread);
}

#[tokio::test]
async fn what_may_have_been_put_away_is_handled_again_by_its_id_alone() {
    let service = Service::start().await;
    service.deliver(2).await;
    let (put_away, open) = (service.id_of(0).await, service.id_of(1).await);
    service.bus.dead_letters().discard(put_away, None).await.unwrap();
    let service = service.damaged(&[3]).await;
    service.mend(LETTERS);

    let listed: Vec<_> = service.bus.dead_letters().stream().collect().await;
    let doubts: Vec<_> = listed.iter().flatten().map(|letter| letter.in_doubt).collect();
    assert_eq!(doubts, [Some(Version(3)); 2]);
    let mut outcomes = service.bus.dead_letters().replay_each();
    for id in [put_away, open] {
        let replayed = outcomes.next().await.unwrap().unwrap();
        assert_eq!((replayed.id, replayed.outcome.unwrap_err().code()), (id, "dead_letter_in_doubt"));
    }
    assert!(outcomes.next().await.unwrap().unwrap_err().is_unread());
    service.bus.dead_letters().replay(open).await.unwrap();
    let summary = service.bus.dead_letters().replay_all().await.unwrap();
    assert_eq!((summary.handled, summary.in_doubt), (0, 1), "the one that was put away");
}

#[tokio::test]
async fn what_can_be_read_again_is_taken_in_again() {
    let service = Service::start().await;
    service.deliver(3).await;
    service.bus.dead_letters().discard(service.id_of(0).await, None).await.unwrap();
    // The second letter, and the end of the first.
    let service = service.damaged(&[2, 4]).await;
    let listed = async || service.bus.dead_letters().stream().collect::<Vec<_>>().await;
    let first = listed().await;
    assert_eq!((first.iter().flatten().count(), first.len()), (2, 4));
    service.journal.heal();
    let mut healed: Vec<_> = listed().await.into_iter().map(|letter| letter.unwrap().event_id).collect();
    healed.sort();
    healed.dedup();
    assert_eq!(healed, ["0", "1", "2"], "the first is told before its end is looked at");
    assert_eq!(service.numbers().await, ["1", "2"]);
    assert!(listed().await.into_iter().flatten().all(|letter| letter.in_doubt.is_none()));
}
