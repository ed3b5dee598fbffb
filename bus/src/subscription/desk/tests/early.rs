//! Early events that are kept.

use super::*;
use crate::inbox::{Early, Restored, Writing};

const SECOND: i64 = 1_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp(seconds * SECOND)
}

/// A desk that keeps so many events, and what stands in its stream.
struct Shelved {
    bench: Bench,
    last: Version,
}

impl Shelved {
    fn new(events: usize) -> Self {
        Self::with(Room { events, bytes: usize::MAX })
    }

    fn with(room: Room) -> Self {
        Self { bench: Bench::with(Limits { room, ..LIMITS }), last: Version::NONE }
    }

    fn admit_in(&mut self, key: &str, previous: u64, sequence: u64, now: Timestamp) -> (Steps, Answer) {
        self.bench.admit_at(in_key(key, previous, sequence), Manner::default(), now)
    }

    fn admit(&mut self, previous: u64, sequence: u64) -> (Steps, Answer) {
        self.admit_in("key", previous, sequence, at(0))
    }

    /// An early event that has waited for as long as the broker is to.
    fn overdue(&mut self, previous: u64, sequence: u64) -> Answer {
        self.overdue_in("key", previous, sequence, at(0))
    }

    fn overdue_in(&mut self, key: &str, previous: u64, sequence: u64, now: Timestamp) -> Answer {
        let (steps, answer) = self.admit_in(key, previous, sequence, now);
        let (lane, number) = watch(&steps);
        self.bench.desk.overdue(lane, number, now);
        answer
    }

    /// Has what is to be written written.
    fn write(&mut self) -> Steps {
        let Some(writing) = self.bench.desk.next_write() else { return Steps::new() };
        self.written(writing, at(0))
    }

    fn written(&mut self, writing: Writing, now: Timestamp) -> Steps {
        self.last = Version(self.last.0 + writing.events.len() as u64);
        self.bench.desk.written(writing, Ok(self.last), now)
    }

    fn keep(&mut self, previous: u64, sequence: u64) {
        let mut answer = self.overdue(previous, sequence);
        assert!(answer.try_recv().is_err(), "nothing is acknowledged before it is durable");
        self.write();
        assert_eq!(answer.try_recv().unwrap(), Ok(()));
    }

    fn desk(&mut self) -> &mut Desk {
        &mut self.bench.desk
    }
}

fn in_key(key: &str, previous: u64, sequence: u64) -> Arc<Envelope> {
    let plain = envelope(&format!("{key} {sequence}"), Some((previous, sequence)));
    Arc::new(Envelope { subject: Some(key.into()), ..Envelope::clone(&plain) })
}

/// The job that is kept and to run, of steps of which that is one.
fn run_kept(steps: &Steps) -> Job {
    let mut jobs = steps.iter().filter_map(|step| match step {
        Step::RunKept(job) => Some(job.clone()),
        _ => None,
    });
    let job = jobs.next().unwrap_or_else(|| panic!("a run was expected: {steps:?}"));
    assert!(jobs.next().is_none(), "one run was expected: {steps:?}");
    job
}

fn look(steps: &[Step]) -> (u64, Duration) {
    match steps {
        [Step::Look { look, after }] => (*look, *after),
        other => panic!("one look was expected: {other:?}"),
    }
}

fn early(previous: u64, sequence: u64, since: Timestamp) -> Early {
    Early { envelope: in_key("key", previous, sequence), fault: None, since }
}

fn restored(events: impl IntoIterator<Item = Early>) -> Restored {
    let records = events.into_iter().zip(1..);
    let records = records.map(|(early, version)| (Version(version), early.weight(), Some(early)));
    Restored { topic: None, records: records.collect() }
}

#[test]
fn an_early_event_is_acknowledged_when_it_is_kept_and_runs_after_the_one_before_it() {
    let mut it = Shelved::new(9);
    it.keep(1, 2);
    assert_eq!((it.desk().kept(), it.bench.room.available_permits()), (1, 100));
    let (steps, _first) = it.admit(0, 1);
    let second = run_kept(&it.bench.handle(&run(steps)));
    assert_eq!(second.envelope.sequence, Some(2));
    assert!(it.bench.handle(&second).is_empty());
    assert_eq!(it.desk().kept(), 0);
    assert!(it.desk().lanes.is_empty() && it.desk().replies.is_empty() && it.desk().waiting.is_empty());
}

#[test]
fn a_duplicate_of_what_is_kept_is_acknowledged_and_not_kept_again() {
    let mut it = Shelved::new(9);
    it.keep(1, 2);
    let (steps, mut duplicate) = it.admit(1, 2);
    assert!(steps.is_empty());
    assert_eq!(duplicate.try_recv().unwrap(), Ok(()));
    assert!(it.desk().next_write().is_none());
    // Nor does an operator's replay count as done while it waits.
    let manner = Manner { replay: true, ..Manner::default() };
    let (steps, mut replay) = it.bench.admit_as(in_key("key", 1, 2), manner);
    assert!(steps.is_empty());
    assert!(matches!(replay.try_recv().unwrap(), Err(DeliveryError::Again { .. })));
    // Also while it runs.
    let (steps, _first) = it.admit(0, 1);
    let second = run_kept(&it.bench.handle(&run(steps)));
    assert_eq!(it.admit(1, 2).1.try_recv().unwrap(), Ok(()));
    it.bench.handle(&second);
    assert_eq!(it.admit(1, 2).1.try_recv().unwrap(), Ok(()));
}

#[test]
fn a_duplicate_that_comes_while_it_is_written_waits_for_that() {
    let mut it = Shelved::new(9);
    let mut first = it.overdue(1, 2);
    let writing = it.desk().next_write().unwrap();
    assert!(it.desk().next_write().is_none(), "one write at a time");
    let (steps, mut duplicate) = it.admit(1, 2);
    assert!(steps.is_empty() && duplicate.try_recv().is_err());
    it.written(writing, at(0));
    assert_eq!((first.try_recv().unwrap(), duplicate.try_recv().unwrap()), (Ok(()), Ok(())));
}

#[test]
fn what_comes_to_a_key_that_is_known_to_wait_is_kept_at_once() {
    let mut it = Shelved::new(9);
    it.keep(1, 2);
    let (steps, mut third) = it.admit(2, 3);
    assert!(steps.is_empty(), "nothing is waited for: {steps:?}");
    it.write();
    assert_eq!(third.try_recv().unwrap(), Ok(()));
    let (_, mut fourth) = it.admit(3, 4);
    assert!(fourth.try_recv().unwrap().is_err(), "no more of a key than may be");
}

#[test]
fn no_more_is_kept_than_there_is_room_for() {
    let mut it = Shelved::new(2);
    let answers = ["a", "b", "c"].map(|key| it.overdue_in(key, 1, 2, at(0)));
    it.write();
    let answers = answers.map(|mut answer| answer.try_recv().unwrap().is_ok());
    assert_eq!((answers, it.desk().kept()), ([true, true, false], 2));
    // Nor more bytes.
    let weight = early(1, 2, at(0)).weight();
    let mut it = Shelved::with(Room { events: 9, bytes: 2 * weight });
    let answers = ["a", "b", "c"].map(|key| it.overdue_in(key, 1, 2, at(0)));
    it.write();
    let answers = answers.map(|mut answer| answer.try_recv().unwrap().is_ok());
    assert_eq!(answers, [true, true, false]);
    // What is done with makes room.
    let first = run(it.admit_in("a", 0, 1, at(0)).0);
    let second = run_kept(&it.bench.handle(&first));
    it.bench.handle(&second);
    let mut third = it.overdue_in("c", 1, 2, at(0));
    it.write();
    assert_eq!(third.try_recv().unwrap(), Ok(()));
}

#[test]
fn what_cannot_be_written_goes_back() {
    let mut it = Shelved::new(9);
    let mut answer = it.overdue(1, 2);
    let writing = it.desk().next_write().unwrap();
    it.desk().written(writing, Err("the disk is full".into()), at(0));
    assert!(matches!(answer.try_recv().unwrap(), Err(DeliveryError::Again { .. })));
    assert!(it.desk().lanes.is_empty() && it.desk().kept() == 0);
    it.keep(1, 2);
}

/// A journal may take no batch as large as these are together.
#[test]
fn what_cannot_be_written_together_is_written_alone() {
    let mut it = Shelved::new(100);
    let sizes = [(); 2].map(|()| {
        let _answers: Vec<_> = (0..8).map(|key| it.overdue_in(&key.to_string(), 1, 2, at(0))).collect();
        let mut sizes = Vec::new();
        while let Some(writing) = it.desk().next_write() {
            sizes.push(writing.events.len());
            it.desk().written(writing, Err("too long".into()), at(0));
        }
        sizes
    });
    assert_eq!(sizes, [vec![8], vec![4, 2, 1, 1]]);
    it.keep(1, 2);
    let [mut one, mut two] = ["a", "b"].map(|key| it.overdue_in(key, 1, 2, at(0)));
    it.write();
    assert_eq!((one.try_recv().unwrap(), two.try_recv().unwrap()), (Ok(()), Ok(())));
}

#[test]
fn an_event_whose_turn_comes_before_it_is_written_is_not_written() {
    let mut it = Shelved::new(9);
    let mut answer = it.overdue(1, 2);
    let first = run(it.admit(0, 1).0);
    assert!(it.desk().next_write().is_none());
    let second = run(it.bench.handle(&first));
    it.bench.handle(&second);
    assert_eq!(answer.try_recv().unwrap(), Ok(()));
}

#[test]
fn an_event_that_is_handled_while_it_is_written_is_not_kept() {
    let mut it = Shelved::new(9);
    let _answer = it.overdue(1, 2);
    let writing = it.desk().next_write().unwrap();
    let first = run(it.admit(0, 1).0);
    let second = run(it.bench.handle(&first));
    it.bench.handle(&second);
    assert!(it.written(writing, at(0)).is_empty());
    assert_eq!((it.desk().kept(), it.desk().lanes.len()), (0, 0));
}

#[test]
fn an_event_that_was_sent_back_while_it_was_written_is_kept_all_the_same() {
    let mut it = Shelved::new(9);
    let first = run(it.admit(0, 1).0);
    let (steps, mut third) = it.admit(2, 3);
    let (lane, number) = watch(&steps);
    it.desk().overdue(lane, number, at(0));
    let writing = it.desk().next_write().unwrap();
    it.bench.finish(&first, postponed());
    assert!(third.try_recv().unwrap().is_err());
    it.written(writing, at(0));
    assert_eq!(it.admit(2, 3).1.try_recv().unwrap(), Ok(()), "it need not come again");
    let first = run(it.admit(0, 1).0);
    it.bench.handle(&first);
    let second = run(it.admit(1, 2).0);
    run_kept(&it.bench.handle(&second));
}

#[test]
fn a_kept_event_that_cannot_be_handled_is_tried_again_and_its_key_waits() {
    let mut it = Shelved::new(9);
    it.keep(1, 2);
    let (_, mut third) = it.admit(2, 3);
    it.write();
    assert_eq!(third.try_recv().unwrap(), Ok(()));
    let first = run(it.admit(0, 1).0);
    let mut second = run_kept(&it.bench.handle(&first));
    for expected in 1..4 {
        let error = DeliveryError::Again { reason: "no".into() };
        let steps = it.bench.finish(&second, Outcome::Postponed { error, plan: Some(Plan::new(Version(7))) });
        let [Step::RunLater { job, failures }] = &steps[..] else { panic!("{steps:?}") };
        assert_eq!(*failures, expected);
        assert_eq!(it.admit(1, 2).1.try_recv().unwrap(), Ok(()), "it is here and stays here");
        second = run_kept(&it.desk().again(job.clone()));
        assert_eq!(second.plan, Some(Plan::new(Version(7))));
    }
    let third = run_kept(&it.bench.handle(&second));
    assert_eq!(third.envelope.sequence, Some(3));
    it.bench.handle(&third);
    assert!(it.desk().lanes.is_empty() && it.desk().kept() == 0);
}

#[test]
fn what_is_kept_waits_for_an_event_that_goes_back() {
    let mut it = Shelved::new(9);
    it.keep(1, 2);
    let first = run(it.admit(0, 1).0);
    let (_, mut third) = it.admit(2, 3);
    let steps = it.bench.finish(&first, postponed());
    assert!(third.try_recv().unwrap().is_err(), "the broker has it still");
    assert!(steps.iter().all(|step| matches!(step, Step::Look { .. })), "{steps:?}");
    assert_eq!(it.desk().kept(), 1);
    let first = run(it.admit(0, 1).0);
    let second = run_kept(&it.bench.handle(&first));
    assert_eq!(second.envelope.sequence, Some(2));
}

#[test]
fn a_kept_event_is_taken_without_the_one_before_it_in_the_end() {
    let mut it = Shelved::new(9);
    let first = run(it.admit(0, 1).0);
    it.bench.handle(&first);
    let (steps, _) = it.admit(2, 3);
    let (lane, number) = watch(&steps);
    let (first, after) = look(&it.desk().overdue(lane, number, at(0)));
    assert_eq!(after, Duration::from_secs(9), "somebody should know then");
    it.write();
    let (second, after) = look(&it.desk().look(first, at(9)));
    assert_eq!((after, it.desk().stalled()), (Duration::from_secs(81), 1));
    assert!(it.desk().look(first, at(90)).is_empty(), "it is void");
    let third = run_kept(&it.desk().look(second, at(90)));
    assert_eq!((third.gap_after, it.desk().stalled()), (Some(1), 0));
    it.bench.handle(&third);
    assert!(run(it.admit(1, 2).0).manner.fault.is_some(), "what was missing is late now");
}

#[test]
fn the_first_of_a_key_that_was_never_seen_is_taken_sooner() {
    let mut it = Shelved::new(9);
    let (steps, _answer) = it.admit(7, 8);
    let (lane, number) = watch(&steps);
    let (number, after) = look(&it.desk().overdue(lane, number, at(0)));
    assert_eq!(after, Duration::from_secs(9));
    it.write();
    assert_eq!(run_kept(&it.desk().look(number, at(9))).envelope.sequence, Some(8));
}

#[test]
fn one_look_is_for_all_keys() {
    let mut it = Shelved::new(100);
    let mut looks = Steps::new();
    for key in 0..50 {
        let first = in_key(&key.to_string(), 0, 1);
        it.desk().index.reached(OrderKey::of(&first), 1);
        let (steps, _) = it.admit_in(&key.to_string(), 2, 3, at(key));
        let (lane, number) = watch(&steps);
        looks.extend(it.desk().overdue(lane, number, at(key)));
        it.write();
    }
    // The next one too, which is for whichever is due first.
    let (first, after) = look(&looks);
    assert_eq!(after, Duration::from_secs(9));
    let (_, after) = look(&it.desk().look(first, at(80)));
    assert_eq!(after, Duration::from_secs(10));
}

#[test]
fn what_was_kept_goes_on_after_a_start() {
    let mut it = Shelved::new(9);
    let fault = Some("unwanted".to_owned());
    let events = [early(5, 6, at(0)), early(0, 1, at(0)), early(2, 3, at(0)), early(1, 2, at(0))];
    let [sixth, first, third, second] = events;
    let first = Early { fault, ..first };
    let steps = it.desk().restore(restored([sixth, first, third, second]), at(10));
    let first = run_kept(&steps);
    assert_eq!((first.envelope.sequence, first.manner.fault.as_deref()), (Some(1), Some("unwanted")));
    let second = run_kept(&it.bench.finish(&first, Outcome::DeadLettered { plan: None }));
    let third = run_kept(&it.bench.handle(&second));
    assert_eq!(third.envelope.sequence, Some(3));
    it.bench.handle(&third);
    assert_eq!((it.desk().kept(), it.desk().lanes.len()), (1, 1));
    assert_eq!(it.admit(5, 6).1.try_recv().unwrap(), Ok(()), "it is here");
}

#[test]
fn a_wait_goes_on_after_a_start_but_the_broker_has_its_time() {
    let mut it = Shelved::new(9);
    it.desk().index.reached(OrderKey::of(&in_key("key", 0, 1)), 1);
    let steps = it.desk().restore(restored([early(2, 3, at(0))]), at(20));
    let (first, after) = look(&steps);
    assert_eq!((after, it.desk().stalled()), (Duration::from_secs(70), 1));
    assert!(it.desk().look(first, at(89)).iter().all(|step| matches!(step, Step::Look { .. })));

    let mut it = Shelved::new(9);
    it.desk().index.reached(OrderKey::of(&in_key("key", 0, 1)), 1);
    let (number, after) = look(&it.desk().restore(restored([early(2, 3, at(0))]), at(1000)));
    assert_eq!(after, Duration::from_secs(9), "what it waits for may be with the broker");
    assert_eq!(run_kept(&it.desk().look(number, at(1009))).gap_after, Some(1));
}

#[test]
fn stopping_leaves_what_is_kept_to_the_next_start() {
    let mut it = Shelved::new(9);
    it.keep(1, 2);
    let first = run(it.admit(0, 1).0);
    let second = run_kept(&it.bench.handle(&first));
    let mut unwritten = it.overdue_in("other", 1, 2, at(0));
    it.desk().refuse();
    assert_eq!(unwritten.try_recv().unwrap(), Err(DeliveryError::Stopping));
    assert!(it.desk().next_write().is_none());
    assert!(it.bench.finish(&second, postponed()).is_empty());
    assert!(it.desk().again(second).is_empty());
    assert_eq!(it.desk().kept(), 1);
}

#[test]
fn another_event_at_the_same_sequence_is_not_lost() {
    let mut it = Shelved::new(9);
    let twins = ["one", "other"].map(|id| {
        let plain = envelope(id, Some((1, 2)));
        let envelope = Envelope { time: Some(at(1)), ..Envelope::clone(&plain) };
        Early { envelope: Arc::new(envelope), ..early(1, 2, at(0)) }
    });
    it.desk().restore(restored(twins), at(0));
    let mut last = run(it.admit(0, 1).0);
    let mut kept = [1, 2].map(|_| {
        last = run_kept(&it.bench.handle(&last));
        last.manner.fault.is_some()
    });
    it.bench.finish(&last, Outcome::DeadLettered { plan: None });
    kept.sort_unstable();
    assert_eq!((kept, it.desk().kept()), ([false, true], 0), "one is handled, one is to be looked at");
}

#[test]
fn the_stream_is_tidied_up_and_what_waits_stays_in_it() {
    let mut it = Shelved::new(1000);
    let mut waits = it.overdue_in("waits", 1, 2, at(0));
    it.write();
    assert_eq!(waits.try_recv().unwrap(), Ok(()));
    let mut most = 0;
    for key in 0..1000 {
        let key = key.to_string();
        let _answer = it.overdue_in(&key, 1, 2, at(0));
        it.write();
        let first = run(it.admit_in(&key, 0, 1, at(0)).0);
        let second = run_kept(&it.bench.handle(&first));
        it.bench.handle(&second);
        it.write();
        most = most.max(it.desk().shelf.records());
    }
    assert!(most < 300, "{most} records");
    assert_eq!(it.desk().kept(), 1);
    it.desk().tidy();
    it.write();
    assert_eq!(it.desk().shelf.records(), 1, "the one that waits");
    it.desk().tidy();
    assert!(it.desk().next_write().is_none(), "there is nothing left to do");
    let first = run(it.admit_in("waits", 0, 1, at(0)).0);
    run_kept(&it.bench.handle(&first));
}

#[test]
fn nothing_is_given_up_where_somebody_else_writes() {
    let mut it = Shelved::new(9);
    it.last = Version(3);
    it.keep(1, 2);
    let first = run(it.admit(0, 1).0);
    let second = run_kept(&it.bench.handle(&first));
    it.bench.handle(&second);
    it.keep(3, 4);
    it.desk().tidy();
    assert!(it.desk().next_write().is_none());
}

#[test]
fn tidying_up_that_fails_is_not_tried_again_at_once() {
    let mut it = Shelved::new(9);
    it.keep(1, 2);
    it.keep_in("other");
    let first = run(it.admit(0, 1).0);
    let second = run_kept(&it.bench.handle(&first));
    it.bench.handle(&second);
    it.desk().tidy();
    let writing = it.desk().next_write().unwrap();
    assert!(writing.truncate_before.is_some());
    it.desk().written(writing, Err("no".into()), at(0));
    assert!(it.desk().next_write().is_none());
    assert_eq!((it.desk().kept(), it.desk().shelf.records()), (1, 2));
}

impl Shelved {
    fn keep_in(&mut self, key: &str) {
        let mut answer = self.overdue_in(key, 1, 2, at(0));
        self.write();
        assert_eq!(answer.try_recv().unwrap(), Ok(()));
    }
}
