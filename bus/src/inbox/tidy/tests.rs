use std::sync::Arc;
use std::time::Instant;

use annals_actors::VirtualClock;
use annals_persistence::{CountingVfs, EmbeddedJournal, EmbeddedOptions, Journal, MemoryJournal};
use futures_util::StreamExt;

use super::super::tests::{DAY, envelope, target};
use super::*;
use crate::Envelope;
use crate::inbox::Seen;

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
        let inbox = Inbox::new("sub", dynamic, Arc::new(clock.clone())).unwrap();
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
        inbox: Inbox::new("sub", Arc::clone(&journal), Arc::new(clock.clone())).unwrap(),
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
    assert_eq!((index.open_plan(event), index.open_plan(id_of(&done))), (Some(now), None));
    // Who has still the old place finds it, and nobody else's.
    for place in [first, now] {
        assert_eq!(&*it.inbox.plan_of(&open, place).await.unwrap(), &[target(), target()]);
    }
    assert!(it.inbox.plan_of(&done, first).await.is_err());
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
        let plan = index.open_plan(id_of(&event_of("open", 1))).unwrap();
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
