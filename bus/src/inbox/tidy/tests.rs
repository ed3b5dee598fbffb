use std::sync::Arc;
use std::time::Instant;

use annals_actors::{Clock, VirtualClock};
use annals_persistence::{CountingVfs, EmbeddedJournal, EmbeddedOptions, Journal, MemoryJournal};
use futures_util::StreamExt;

use super::super::planned_for;
use super::super::tests::{DAY, envelope, target};
use super::*;
use crate::Envelope;
use crate::inbox::{Plan, Seen};

struct Fixture {
    journal: Arc<MemoryJournal>,
    clock: VirtualClock,
    inbox: Inbox,
}

impl Fixture {
    fn new() -> Self {
        Self::over(Arc::new(MemoryJournal::new()), VirtualClock::default())
    }

    fn over(journal: Arc<MemoryJournal>, clock: VirtualClock) -> Self {
        let dynamic = Arc::clone(&journal) as Arc<dyn Journal>;
        let inbox = Inbox::new("sub", &Topic::named("t"), dynamic, Arc::new(clock.clone())).unwrap();
        Self { journal, clock, inbox }
    }

    /// As after a crash.
    fn reopened(&self) -> Self {
        Self::over(Arc::new(self.journal.reopened()), self.clock.clone())
    }

    async fn handle(&self, key: &str, sequence: u64) -> Envelope {
        let event = event_of(key, sequence);
        self.inbox.write([self.inbox.handled(&event, None, Vec::new()).unwrap()]).await.unwrap();
        event
    }

    async fn load(&self) -> Index {
        self.inbox.load(DAY * 7, 1_000_000).await.unwrap()
    }

    async fn tidy(&self) -> Tidied {
        self.tidy_with(&self.load().await).await
    }

    async fn tidy_with(&self, index: &Index) -> Tidied {
        let mut old = self.inbox.old(DAY * 7).await.unwrap();
        old.keep_only(index);
        if old.is_empty() { Tidied::default() } else { self.inbox.give_up(old).await.unwrap() }
    }

    async fn records(&self) -> usize {
        let dynamic = Arc::clone(&self.journal) as Arc<dyn Journal>;
        dynamic.read_stream(&self.inbox.stream, Version(1), Direction::Forward).count().await
    }
}

fn event_of(key: &str, sequence: u64) -> Envelope {
    let mut event = envelope(&format!("{key}-{sequence}"), sequence);
    event.subject = Some(key.into());
    event
}

fn id_of(event: &Envelope) -> u128 {
    event_key(&event.source, &event.id)
}

#[tokio::test]
async fn old_records_leave_and_what_still_counts_stays() {
    let it = Fixture::new();
    for sequence in 1..=100 {
        it.handle("busy", sequence).await;
        it.handle("idle", sequence).await;
    }
    it.clock.advance(DAY * 8);
    let young = it.handle("busy", 101).await;
    assert_eq!(it.tidy().await.records, 200);
    assert_eq!(it.records().await, 2, "the young one, and how far the idle key is");
    let index = it.load().await;
    assert_eq!(index.last(OrderKey::of(&young)), Some(101));
    assert_eq!(index.last(OrderKey::of(&event_of("idle", 1))), Some(100));
    assert_eq!(index.seen(id_of(&young)), Some(Seen::Handled));
    assert_eq!(it.tidy().await.records, 0, "there is nothing left to do");
    it.clock.advance(DAY * 8);
    assert_eq!(it.tidy().await.records, 2);
    assert_eq!(it.records().await, 1, "both keys in one record");
    it.clock.advance(DAY * 800);
    for _ in 0..3 {
        it.tidy().await;
        let index = it.load().await;
        assert_eq!(index.last(OrderKey::of(&young)), Some(101), "for good");
        assert_eq!(index.last(OrderKey::of(&event_of("idle", 1))), Some(100), "for good");
    }
}

/// So many events of a thousand keys are written down, one after the other.
async fn handle_many(it: &Fixture, records: u64) {
    for first in (1..=records).step_by(1000) {
        let events = (first..first + 1000).map(|number| {
            let event = event_of(&format!("key-{}", number % 1000), number);
            it.inbox.handled(&event, None, Vec::new()).unwrap().events.remove(0)
        });
        let append = Batch::of(it.inbox.stream.clone(), Expected::Any, events);
        it.inbox.journal.append(append).await.unwrap();
    }
}

/// `ANNALS_INBOX_RECORDS` old records.
#[tokio::test]
async fn a_start_reads_no_more_than_is_remembered() {
    let records = std::env::var("ANNALS_INBOX_RECORDS").map_or(20_000, |number| number.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions {
        vfs: Arc::new(CountingVfs::default().without_syncing()),
        ..EmbeddedOptions::default()
    };
    let (journal, clock) = (EmbeddedJournal::open(dir.path(), options).unwrap(), VirtualClock::default());
    let journal: Arc<dyn Journal> = Arc::new(journal);
    let it = Fixture {
        inbox: Inbox::new("sub", &Topic::named("t"), Arc::clone(&journal), Arc::new(clock.clone())).unwrap(),
        journal: Arc::default(),
        clock,
    };
    handle_many(&it, records).await;
    it.clock.advance(DAY * 8);
    let began = Instant::now();
    let last = |index: &Index| index.last(OrderKey::of(&event_of("key-7", 1)));
    let index = it.load().await;
    let (before, all) = (last(&index), began.elapsed());
    let began = Instant::now();
    let mut given_up = 0;
    while let records @ 1.. = it.tidy_with(&index).await.records {
        given_up += records;
    }
    let tidying = began.elapsed();
    assert_eq!(given_up as u64, records);
    let left = journal.read_stream(&it.inbox.stream, Version(1), Direction::Forward).count().await;
    assert!(left <= 4, "{left} records");
    let began = Instant::now();
    assert_eq!(last(&it.load().await), before);
    println!(
        "{records} records: read in {all:?}, given up in {tidying:?}; {left} left, read in {:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_gap_outlives_the_record_that_tells_of_it() {
    let it = Fixture::new();
    let over_a_gap = event_of("gappy", 8);
    it.inbox.write([it.inbox.handled(&over_a_gap, Some(4), Vec::new()).unwrap()]).await.unwrap();
    it.clock.advance(DAY * 8);
    it.handle("gappy", 9).await;
    assert_eq!(it.tidy().await.records, 1);
    let index = it.load().await;
    let missing: Vec<_> = (1..12).filter(|of| index.is_missing(OrderKey::of(&over_a_gap), *of)).collect();
    assert_eq!((missing, index.last(OrderKey::of(&over_a_gap))), (vec![5, 6, 7], Some(9)));
}

#[tokio::test]
async fn a_plan_that_is_not_carried_out_is_carried_on() {
    let it = Fixture::new();
    let (open, done) = (event_of("open", 1), event_of("done", 1));
    let first = it.inbox.write([it.inbox.planned(&open, vec![target(), target()]).unwrap()]).await.unwrap();
    it.inbox.write([it.inbox.planned(&done, vec![target()]).unwrap()]).await.unwrap();
    it.inbox.write([it.inbox.handled(&done, None, Vec::new()).unwrap()]).await.unwrap();
    it.inbox.write([it.inbox.dead_lettered(&open, None).unwrap()]).await.unwrap();
    it.clock.advance(DAY * 8);
    it.handle("young", 1).await;
    let tidied = it.tidy().await;
    let [(event, now)] = tidied.plans[..] else { panic!("one plan: {tidied:?}") };
    assert_eq!(event, id_of(&open));
    let index = it.load().await;
    assert_eq!((index.open_plan(event), index.open_plan(id_of(&done))), (Some(Plan::new(now)), None));
    // Who has still the old place finds it, and nobody else's.
    for place in [first, now] {
        assert_eq!(&*it.inbox.plan_of(&open, place).await.unwrap(), &[target(), target()]);
    }
    assert!(it.inbox.plan_of(&done, first).await.is_err());
}

#[tokio::test]
async fn what_is_answered_of_a_plan_goes_along_with_it() {
    let it = Fixture::new();
    let open = [event_of("a", 1), event_of("b", 1)];
    let rejection = Rejection { type_name: "order".into(), id: "1".into(), reason: "no".into() };
    let answered = BTreeMap::from([1, 2].map(|id| (CommandId::from_u128(id), None)));
    let answered = answered.into_iter().chain([(CommandId::from_u128(3), Some(rejection))]);
    let answered: BTreeMap<_, _> = answered.collect();
    for event in &open {
        it.inbox.write([it.inbox.planned(event, vec![target(); 4]).unwrap()]).await.unwrap();
        for (id, rejection) in answered.clone() {
            it.inbox.write([it.inbox.answered(event, id, rejection).unwrap()]).await.unwrap();
        }
    }
    for _ in 0..3 {
        it.clock.advance(DAY * 8);
        it.handle("young", 1).await;
        let tidied = it.tidy().await;
        let index = it.load().await;
        for (event, at) in tidied.plans {
            assert_eq!(index.open_plan(event), Some(Plan { at, answered: answered.clone() }));
            let exactly =
                it.inbox.journal.stream_page(&it.inbox.stream, at, Direction::Forward, 1).await.unwrap();
            let of = open.iter().find(|of| id_of(of) == event).unwrap();
            assert!(planned_for(of, &exactly.events[0]).unwrap().is_some());
        }
    }
    for event in &open {
        it.inbox.write([it.inbox.handled(event, None, Vec::new()).unwrap()]).await.unwrap();
    }
    it.clock.advance(DAY * 8);
    it.handle("young", 2).await;
    it.tidy().await;
    assert_eq!(it.records().await, 2, "the young one, and how far the others are");
}

#[tokio::test]
async fn an_answer_counts_also_where_its_plan_was_carried_on_to_behind_it() {
    let it = Fixture::new();
    let event = event_of("open", 1);
    let answered = BTreeMap::from([(CommandId::from_u128(1), None)]);
    it.inbox.write([it.inbox.planned(&event, vec![target(), target()]).unwrap()]).await.unwrap();
    it.clock.advance(DAY * 5);
    let (id, rejection) = (CommandId::from_u128(1), None);
    it.inbox.write([it.inbox.answered(&event, id, rejection).unwrap()]).await.unwrap();
    for _ in 0..2 {
        it.clock.advance(DAY * 5 - DAY);
        assert_eq!(it.tidy().await.records, 1, "first the plan alone, then the answer alone");
        let plan = it.load().await.open_plan(id_of(&event)).unwrap();
        assert_eq!(plan.answered, answered);
        assert_eq!(it.inbox.plan_of(&event, plan.at).await.unwrap(), [target(), target()]);
    }
}

#[tokio::test]
async fn the_topic_outlives_the_records_that_tell_it() {
    let it = Fixture::new();
    // An event without a sequence, of which nothing else is carried on.
    let mut event = envelope("alone", 1);
    event.sequence = None;
    it.inbox.write([it.inbox.handled(&event, None, Vec::new()).unwrap()]).await.unwrap();
    it.inbox.write([it.inbox.handled(&event, None, Vec::new()).unwrap()]).await.unwrap();
    for _ in 0..3 {
        it.clock.advance(DAY * 8);
        it.tidy().await;
        let index = it.load().await;
        assert_eq!((index.topic(), it.records().await), (Some(&Topic::named("t")), 1));
    }
}

#[tokio::test]
async fn the_topic_that_is_carried_on_is_the_youngest() {
    let it = Fixture::new();
    it.handle("key", 1).await;
    let mut live = it.load().await;
    it.clock.advance(DAY * 8);
    let dynamic = Arc::clone(&it.journal) as Arc<dyn Journal>;
    let clock = Arc::new(it.clock.clone());
    let other = Fixture {
        inbox: Inbox::new("sub", &Topic::named("u"), dynamic, clock).unwrap(),
        journal: Arc::clone(&it.journal),
        clock: it.clock.clone(),
    };
    other.handle("key", 2).await;
    live.handled_on(Topic::named("u"), it.clock.now());
    assert_eq!(other.tidy_with(&live).await.records, 1);
    assert_eq!(other.load().await.topic(), Some(&Topic::named("u")));
}

#[tokio::test]
async fn what_was_settled_before_the_cut_is_not_known_by_its_id_however_long_ids_are_remembered_now() {
    let it = Fixture::new();
    it.handle("key", 1).await;
    it.handle("key", 2).await;
    let settled = it.clock.now();
    it.clock.advance(DAY * 8);
    it.handle("key", 3).await;
    assert!(it.inbox.load(DAY * 30, 1_000_000).await.unwrap().would_know(Some(settled)));
    assert_eq!(it.tidy().await.records, 2);
    let index = it.inbox.load(DAY * 30, 1_000_000).await.unwrap();
    assert!(!index.would_know(Some(settled)), "a duplicate of it must not become a dead letter");
    it.clock.advance(DAY);
    assert!(index.would_know(Some(it.clock.now())));
}

#[tokio::test]
async fn a_plan_that_was_carried_out_meanwhile_is_not_open_again() {
    let it = Fixture::new();
    let event = event_of("key", 1);
    it.inbox.write([it.inbox.planned(&event, vec![target()]).unwrap()]).await.unwrap();
    it.handle("other", 1).await;
    it.clock.advance(DAY * 8);
    let mut old = it.inbox.old(DAY * 7).await.unwrap();
    old.keep_only(&it.load().await);
    it.inbox.write([it.inbox.handled(&event, None, Vec::new()).unwrap()]).await.unwrap();
    it.inbox.give_up(old).await.unwrap();
    let index = it.load().await;
    assert_eq!((index.open_plan(id_of(&event)), index.seen(id_of(&event))), (None, Some(Seen::Handled)));
}

#[tokio::test]
async fn a_crash_at_any_point_forgets_nothing_that_counts() {
    for durable in [false, true] {
        let it = Fixture::new();
        for sequence in 1..=9 {
            it.handle("key", sequence).await;
        }
        it.inbox.write([it.inbox.planned(&event_of("open", 1), vec![target()]).unwrap()]).await.unwrap();
        it.clock.advance(DAY * 8);
        it.journal.hold();
        let tidying = tokio::spawn({
            let it = Fixture::over(Arc::clone(&it.journal), it.clock.clone());
            async move { drop(it.tidy().await) }
        });
        while it.journal.held() == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(it.journal.held(), 1, "what is given up and what is carried on are one append");
        if durable {
            it.journal.release_next(1);
        }
        let after = it.reopened();
        tidying.abort();
        let index = after.load().await;
        assert_eq!(index.last(OrderKey::of(&event_of("key", 1))), Some(9), "durable: {durable}");
        let plan = index.open_plan(id_of(&event_of("open", 1))).unwrap().at;
        assert_eq!(&*after.inbox.plan_of(&event_of("open", 1), plan).await.unwrap(), &[target()]);
        assert_eq!(after.records().await, if durable { 2 } else { 10 });
        // And it goes on.
        after.clock.advance(DAY * 8);
        after.tidy().await;
        assert_eq!(after.load().await.last(OrderKey::of(&event_of("key", 1))), Some(9));
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_gives_nothing_up() {
    let it = Fixture::new();
    it.clock.advance(DAY * 30);
    let event = it.handle("key", 1).await;
    it.handle("key", 2).await;
    let back = Fixture::over(Arc::clone(&it.journal), VirtualClock::default());
    assert_eq!(back.tidy().await.records, 0);
    assert_eq!(back.load().await.seen(id_of(&event)), Some(Seen::Handled));
    back.handle("key", 3).await;
    back.clock.advance(DAY * 20);
    assert_eq!(back.tidy().await.records, 0, "it is young until the clock has passed it");
    back.clock.advance(DAY * 20);
    assert_eq!(back.tidy().await.records, 3);
}
