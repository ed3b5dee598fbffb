use std::collections::BTreeMap;
use std::time::Duration;

use annals_persistence::Version;
use tokio::sync::Semaphore;

use super::*;
use crate::Topic;
use crate::identity::event_key;

mod early;

const LIMITS: Limits = Limits {
    reorder_capacity: 2,
    reorder_timeout: Duration::from_millis(1),
    room: Room { events: 0, bytes: usize::MAX },
    unseen_timeout: Duration::from_secs(9),
    gap_timeout: Duration::from_secs(90),
};

type Answer = oneshot::Receiver<Result<(), DeliveryError>>;

struct Bench {
    desk: Desk,
    room: Arc<Semaphore>,
}

fn envelope(id: &str, place: Option<(u64, u64)>) -> Arc<Envelope> {
    Arc::new(Envelope {
        id: id.into(),
        source: "s".into(),
        event_type: "t".into(),
        topic: Topic::named("t"),
        subject: Some("key".into()),
        partition_key: None,
        sequence: place.map(|(_, sequence)| sequence),
        previous: place.map(|(previous, _)| previous),
        position: None,
        time: None,
        data_schema: None,
        trace: None,
        correlation_id: None,
        causation_id: None,
        data: None,
        extensions: BTreeMap::new(),
    })
}

impl Bench {
    /// With a desk that keeps nothing, so that what is early goes back.
    fn new() -> Self {
        Self::with(LIMITS)
    }

    fn with(limits: Limits) -> Self {
        let index = Index::new(Duration::from_secs(60), 1000);
        Self { desk: Desk::new(index, limits), room: Arc::new(Semaphore::new(100)) }
    }

    fn admit_as(&mut self, envelope: Arc<Envelope>, manner: Manner) -> (Steps, Answer) {
        self.admit_at(envelope, manner, Timestamp(0))
    }

    fn admit_at(&mut self, envelope: Arc<Envelope>, manner: Manner, now: Timestamp) -> (Steps, Answer) {
        let (sender, answer) = oneshot::channel();
        let permit = Arc::clone(&self.room).try_acquire_owned().unwrap();
        let arrival = Arrival {
            event: event_key(&envelope.source, &envelope.id),
            lane: OrderKey::of(&envelope),
            envelope,
            manner,
            reply: Reply { to: ReplyTo::Caller(sender), _permit: permit },
        };
        (self.desk.admit(arrival, now), answer)
    }

    /// Events are called by their sequence.
    fn admit(&mut self, previous: u64, sequence: u64) -> (Steps, Answer) {
        self.admit_as(envelope(&sequence.to_string(), Some((previous, sequence))), Manner::default())
    }

    fn finish(&mut self, job: &Job, outcome: Outcome) -> Steps {
        self.desk.finish(job, outcome, Timestamp(0))
    }

    fn handle(&mut self, job: &Job) -> Steps {
        self.finish(job, Outcome::Handled)
    }
}

/// The job that is to run, of steps that are exactly that.
fn run(steps: Steps) -> Job {
    match <[Step; 1]>::try_from(steps.into_vec()) {
        Ok([Step::Run(job)]) => job,
        other => panic!("one run was expected: {other:?}"),
    }
}

fn watch(steps: &[Step]) -> (OrderKey, u64) {
    match steps {
        [Step::Watch { lane, watch }] => (*lane, *watch),
        other => panic!("one watch was expected: {other:?}"),
    }
}

fn postponed() -> Outcome {
    Outcome::Postponed { error: DeliveryError::Stopping, plan: None }
}

#[test]
fn events_of_a_key_run_one_after_the_other() {
    let mut bench = Bench::new();
    let first = run(bench.admit(0, 1).0);
    let (nothing, mut second_answer) = bench.admit(1, 2);
    assert!(nothing.is_empty());
    let second = run(bench.handle(&first));
    assert_eq!(&*second.envelope.id, "2");
    assert!(second_answer.try_recv().is_err());
    assert!(bench.handle(&second).is_empty());
    assert_eq!(second_answer.try_recv().unwrap(), Ok(()));
    assert_eq!(bench.room.available_permits(), 100);
    assert!(bench.desk.lanes.is_empty() && bench.desk.replies.is_empty());
}

#[test]
fn what_was_passed_is_a_duplicate() {
    let mut bench = Bench::new();
    let fifth = run(bench.admit(0, 5).0);
    bench.handle(&fifth);
    for (previous, sequence) in [(0, 5), (0, 4), (0, 1)] {
        let (steps, mut answer) = bench.admit(previous, sequence);
        assert!(steps.is_empty());
        assert_eq!(answer.try_recv().unwrap(), Ok(()));
    }
}

#[test]
fn a_concurrent_duplicate_waits_for_the_first() {
    let mut bench = Bench::new();
    let first = run(bench.admit(0, 1).0);
    let (nothing, mut duplicate) = bench.admit(0, 1);
    assert!(nothing.is_empty());
    assert!(duplicate.try_recv().is_err());
    bench.handle(&first);
    assert_eq!(duplicate.try_recv().unwrap(), Ok(()));
}

#[test]
fn an_early_event_waits_for_its_predecessor() {
    let mut bench = Bench::new();
    let first = run(bench.admit(0, 1).0);
    bench.handle(&first);
    let (steps, _third) = bench.admit(2, 3);
    watch(&steps);
    let second = run(bench.admit(1, 2).0);
    let third = run(bench.handle(&second));
    assert_eq!(&*third.envelope.id, "3");
}

#[test]
fn an_early_event_goes_back_when_nothing_comes() {
    let mut bench = Bench::new();
    let first = run(bench.admit(0, 1).0);
    bench.handle(&first);
    let (steps, mut third) = bench.admit(2, 3);
    let (lane, number) = watch(&steps);
    assert!(bench.desk.overdue(lane, number, Timestamp(0)).is_empty());
    assert!(matches!(third.try_recv().unwrap(), Err(DeliveryError::Again { .. })));
    assert!(bench.desk.lanes.is_empty());
}

#[test]
fn a_subject_never_seen_is_accepted_when_no_broker_would_bring_more() {
    let mut bench = Bench::new();
    let late = Timestamp(9_000_000);
    // Its first delivery goes back, since the one before it may only be late.
    let (steps, mut refused) = bench.admit(7, 8);
    let (lane, number) = watch(&steps);
    assert!(bench.desk.overdue(lane, number, Timestamp(late.0 - 1)).is_empty());
    assert!(matches!(refused.try_recv().unwrap(), Err(DeliveryError::Again { .. })));
    // Its next one is taken, after all that time.
    let (steps, _answer) = bench.admit(7, 8);
    let (lane, number) = watch(&steps);
    let (nothing, _later) = bench.admit(8, 9);
    assert!(nothing.is_empty());
    let eighth = run(bench.desk.overdue(lane, number, late));
    assert_eq!(&*eighth.envelope.id, "8");
    assert_eq!(&*run(bench.handle(&eighth)).envelope.id, "9");
    assert!(bench.desk.waiting.is_empty());
}

#[test]
fn the_event_that_was_waited_for_in_vain_is_not_lost_without_a_word() {
    let mut bench = Bench::new();
    let (steps, _) = bench.admit(7, 8);
    let (lane, number) = watch(&steps);
    assert!(bench.desk.overdue(lane, number, Timestamp(1)).is_empty());
    let (steps, _answer) = bench.admit(7, 8);
    let (lane, number) = watch(&steps);
    let eighth = run(bench.desk.overdue(lane, number, Timestamp(9_000_000)));
    assert_eq!((eighth.gap_after, bench.desk.stalled()), (Some(0), 0));
    bench.handle(&eighth);
    // What is missing in front of it comes after all: somebody has to look at it.
    let (steps, mut answer) = bench.admit(6, 7);
    let late = run(steps);
    assert!(late.manner.fault.as_deref().is_some_and(|reason| reason.contains("later event")), "{late:?}");
    assert!(bench.finish(&late, Outcome::DeadLettered { plan: None }).is_empty());
    assert_eq!(answer.try_recv().unwrap(), Ok(()));
    // It moves nothing back, and its redelivery is a duplicate, as is that of what was handled.
    let (nothing, mut again) = bench.admit(6, 7);
    assert!(nothing.is_empty());
    assert_eq!(again.try_recv().unwrap(), Ok(()));
    assert_eq!(&*run(bench.admit(8, 9).0).envelope.id, "9");
}

#[test]
fn a_key_that_waits_for_long_shows_and_goes_on_in_the_end() {
    let mut bench = Bench::new();
    let first = run(bench.admit(0, 1).0);
    bench.handle(&first);
    let wait = |bench: &mut Bench, now: i64| {
        let (steps, answer) = bench.admit(2, 3);
        let (lane, number) = watch(&steps);
        (bench.desk.overdue(lane, number, Timestamp(now)), answer)
    };
    for (now, stalled) in [(1, 0), (8_000_000, 0), (9_000_000, 1), (89_999_999, 1)] {
        let (nothing, mut answer) = wait(&mut bench, now);
        assert!(nothing.is_empty());
        assert!(matches!(answer.try_recv().unwrap(), Err(DeliveryError::Again { .. })));
        assert_eq!(bench.desk.stalled(), stalled, "at {now}");
    }
    let (steps, _answer) = wait(&mut bench, 90_000_000);
    let third = run(steps);
    assert_eq!((third.gap_after, bench.desk.stalled()), (Some(1), 0));
    bench.handle(&third);
    assert!(run(bench.admit(1, 2).0).manner.fault.is_some(), "what was missing is late now");
}

#[test]
fn a_key_that_waits_is_known_by_when_it_began_however_many_others_do() {
    let mut waiting = Waiting::default();
    let key = |number: usize| OrderKey::new("s", &number.to_string());
    waiting.begin(key(0), Timestamp(5));
    for number in 1..70_000 {
        waiting.forget(Duration::from_secs(1), Timestamp(5));
        waiting.begin(key(number), Timestamp(5));
    }
    assert_eq!(waiting.lasts(key(0), Timestamp(1_000_005)), Duration::from_secs(1));
    // Those that never came back make room in the end.
    waiting.forget(Duration::from_secs(1), Timestamp(1_000_006));
    assert!(waiting.is_empty());
}

#[test]
fn the_event_before_the_first_that_came_is_not_lost() {
    let mut bench = Bench::new();
    let (steps, mut second) = bench.admit(1, 2);
    let (lane, number) = watch(&steps);
    assert!(bench.desk.overdue(lane, number, Timestamp(1)).is_empty());
    assert!(second.try_recv().unwrap().is_err());
    let first = run(bench.admit(0, 1).0);
    assert!(bench.handle(&first).is_empty());
    run(bench.admit(1, 2).0);
}

#[test]
fn the_reorder_buffer_is_bounded() {
    let mut bench = Bench::new();
    let first = run(bench.admit(0, 1).0);
    bench.handle(&first);
    let _kept = [bench.admit(2, 3), bench.admit(3, 4)];
    let (_, mut refused) = bench.admit(4, 5);
    assert!(matches!(refused.try_recv().unwrap(), Err(DeliveryError::Again { .. })));
}

#[test]
fn brokers_that_keep_the_order_need_not_wait() {
    let mut bench = Bench::new();
    let manner = Manner { in_order: true, ..Manner::default() };
    let (steps, _answer) = bench.admit_as(envelope("9", Some((7, 9))), manner);
    run(steps);
}

#[test]
fn what_follows_a_postponed_event_goes_back_too() {
    let mut bench = Bench::new();
    let first = run(bench.admit(0, 1).0);
    let (_, mut second) = bench.admit(1, 2);
    assert!(bench.finish(&first, postponed()).is_empty());
    assert!(matches!(second.try_recv().unwrap(), Err(DeliveryError::Again { .. })));
    // Delivered again, both run in order.
    let first = run(bench.admit(0, 1).0);
    let _second = bench.admit(1, 2);
    assert_eq!(&*run(bench.handle(&first)).envelope.id, "2");
}

#[test]
fn a_replay_runs_though_its_place_is_passed() {
    let mut bench = Bench::new();
    let first = run(bench.admit(0, 1).0);
    bench.finish(&first, Outcome::DeadLettered { plan: None });
    let second = run(bench.admit(1, 2).0);
    bench.handle(&second);
    let manner = Manner { replay: true, ..Manner::default() };
    let replayed = run(bench.admit_as(Arc::clone(&first.envelope), manner.clone()).0);
    bench.finish(&replayed, Outcome::ReplayFailed { reason: "no".into(), plan: None });
    let replayed = run(bench.admit_as(Arc::clone(&first.envelope), manner.clone()).0);
    bench.handle(&replayed);
    let (steps, mut done) = bench.admit_as(first.envelope, manner);
    assert!(steps.is_empty());
    assert_eq!(done.try_recv().unwrap(), Ok(()));
    // The replay of an old event does not move its key back.
    assert_eq!(bench.admit(1, 2).1.try_recv().unwrap(), Ok(()));
}

#[test]
fn foreign_events_run_as_they_come() {
    let mut bench = Bench::new();
    let first = run(bench.admit_as(envelope("b", None), Manner::default()).0);
    let _waiting = bench.admit_as(envelope("a", None), Manner::default());
    let second = run(bench.handle(&first));
    assert_eq!(&*second.envelope.id, "a");
    bench.handle(&second);
    let (steps, mut duplicate) = bench.admit_as(envelope("b", None), Manner::default());
    assert!(steps.is_empty());
    assert_eq!(duplicate.try_recv().unwrap(), Ok(()));
}

#[test]
fn a_plan_is_given_to_the_next_run() {
    let mut bench = Bench::new();
    let first = run(bench.admit(0, 1).0);
    assert!(first.plan.is_none());
    let outcome = Outcome::Postponed { error: DeliveryError::Stopping, plan: Some(Plan::new(Version(7))) };
    bench.finish(&first, outcome);
    assert_eq!(run(bench.admit(0, 1).0).plan, Some(Plan::new(Version(7))));
}

#[test]
fn stopping_sends_back_what_does_not_run() {
    let mut bench = Bench::new();
    let first = run(bench.admit(0, 1).0);
    let (_, mut queued) = bench.admit(1, 2);
    let (_, mut early) = bench.admit(3, 4);
    bench.desk.refuse();
    assert_eq!(queued.try_recv().unwrap(), Err(DeliveryError::Stopping));
    assert_eq!(early.try_recv().unwrap(), Err(DeliveryError::Stopping));
    assert!(bench.handle(&first).is_empty());
    assert_eq!(bench.room.available_permits(), 100);
}

#[test]
fn another_event_at_a_taken_sequence_does_not_move_its_key_back() {
    let mut bench = Bench::new();
    for sequence in 1..=3 {
        let job = run(bench.admit(sequence - 1, sequence).0);
        bench.handle(&job);
    }
    let other = Envelope { time: Some(Timestamp(1)), ..Envelope::clone(&envelope("other", Some((1, 2)))) };
    let (steps, _answer) = bench.admit_as(Arc::new(other), Manner::default());
    let other = run(steps);
    assert!(other.manner.fault.is_some());
    let (steps, _next) = bench.admit(3, 4);
    assert!(steps.is_empty());
    let next = run(bench.finish(&other, Outcome::DeadLettered { plan: None }));
    assert_eq!(next.envelope.sequence, Some(4));
}

#[test]
fn who_has_given_up_waiting_takes_up_no_room() {
    let mut bench = Bench::new();
    let (steps, first) = bench.admit(0, 1);
    drop(first);
    for _ in 0..10 {
        let (duplicate, answer) = bench.admit(0, 1);
        assert!(duplicate.is_empty());
        assert_eq!(bench.room.available_permits(), 99);
        drop(answer);
    }
    let (_, mut waiting) = bench.admit(0, 1);
    let [Step::Run(job)] = &steps[..] else { panic!("{steps:?}") };
    bench.handle(job);
    assert_eq!(waiting.try_recv(), Ok(Ok(())));
    assert_eq!(bench.room.available_permits(), 100);
}
