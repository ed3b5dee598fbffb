use std::collections::BTreeMap;

use annals_actors::VirtualClock;
use annals_persistence::{MemoryJournal, Timestamp};
use serde_json::json;

use super::*;

pub(super) fn envelope(id: &str, sequence: u64) -> Envelope {
    Envelope {
        id: id.into(),
        source: "s".into(),
        event_type: "t".into(),
        topic: Topic::named("t"),
        subject: Some("key".into()),
        partition_key: None,
        sequence: Some(sequence),
        previous: Some(0),
        position: None,
        time: None,
        data_schema: None,
        trace: None,
        correlation_id: None,
        causation_id: None,
        data: None,
        extensions: BTreeMap::new(),
    }
}

fn inbox(clock: &VirtualClock) -> Inbox {
    Inbox::new("sub", &Topic::named("t"), Arc::new(MemoryJournal::new()), Arc::new(clock.clone())).unwrap()
}

pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) fn target() -> Target {
    Target { type_name: "order".into(), id: "1".into(), command: json!({"Ship": 1}) }
}

#[tokio::test]
async fn everything_is_read_back() {
    let inbox = inbox(&VirtualClock::default());
    let (done, open, dead) = (envelope("1", 4), envelope("2", 5), envelope("3", 6));
    inbox.write([inbox.planned(&done, vec![target()]).unwrap()]).await.unwrap();
    inbox.write([inbox.planned(&open, vec![target(), target()]).unwrap()]).await.unwrap();
    inbox.write([inbox.handled(&done, None, Vec::new()).unwrap()]).await.unwrap();
    inbox.write([inbox.dead_lettered(&dead, None).unwrap()]).await.unwrap();
    let index = inbox.load(DAY, 100).await.unwrap();
    let key = |envelope: &Envelope| event_key(&envelope.source, &envelope.id);
    assert_eq!(index.seen(key(&done)), Some(Seen::Handled));
    assert_eq!(index.seen(key(&dead)), Some(Seen::DeadLettered));
    assert_eq!(index.seen(key(&open)), None);
    assert!(index.open_plan(key(&done)).is_none());
    let plan = index.open_plan(key(&open)).unwrap();
    assert!(plan.answered.is_empty());
    assert_eq!(inbox.plan_of(&open, plan.at).await.unwrap(), [target(), target()]);
    assert!(matches!(inbox.plan_of(&open, Version(3)).await, Err(InboxError::NoPlan { .. })));
    assert!(matches!(inbox.plan_of(&dead, Version(1)).await, Err(InboxError::NoPlan { .. })));
    assert_eq!(index.last(OrderKey::of(&done)), Some(6));
}

#[tokio::test]
async fn what_was_answered_of_a_list_is_read_back() {
    let inbox = inbox(&VirtualClock::default());
    let (open, done) = (envelope("1", 1), envelope("2", 2));
    let (one, two) = (CommandId::from_u128(1), CommandId::from_u128(2));
    let no = Rejection { type_name: "order".into(), id: "1".into(), reason: "no".into() };
    for event in [&open, &done] {
        inbox.write([inbox.planned(event, vec![target(), target()]).unwrap()]).await.unwrap();
        inbox.write([inbox.answered(event, one, None).unwrap()]).await.unwrap();
        inbox.write([inbox.answered(event, two, Some(no.clone())).unwrap()]).await.unwrap();
    }
    inbox.write([inbox.handled(&done, None, Vec::new()).unwrap()]).await.unwrap();
    let index = inbox.load(DAY, 100).await.unwrap();
    let plan = |event: &Envelope| index.open_plan(event_key(&event.source, &event.id));
    assert_eq!(plan(&done), None);
    assert_eq!(plan(&open), Some(Plan { at: Version(1), answered: [(one, None), (two, Some(no))].into() }));
}

#[tokio::test]
async fn what_is_missing_is_still_known_after_a_restart() {
    let inbox = inbox(&VirtualClock::default());
    let over_a_gap = envelope("1", 8);
    inbox.write([inbox.handled(&over_a_gap, Some(4), Vec::new()).unwrap()]).await.unwrap();
    let index = inbox.load(DAY, 100).await.unwrap();
    let missing: Vec<_> = (1..10).filter(|of| index.is_missing(OrderKey::of(&over_a_gap), *of)).collect();
    assert_eq!(missing, [5, 6, 7]);
    assert_eq!(index.last(OrderKey::of(&over_a_gap)), Some(8));
}

#[tokio::test]
async fn ids_are_forgotten_in_time_but_not_the_last_sequence() {
    let clock = VirtualClock::default();
    let inbox = inbox(&clock);
    let old = envelope("1", 4);
    inbox.write([inbox.handled(&old, None, Vec::new()).unwrap()]).await.unwrap();
    clock.advance(DAY * 2);
    let index = inbox.load(DAY, 100).await.unwrap();
    assert_eq!(index.seen(event_key(&old.source, &old.id)), None);
    assert_eq!(index.last(OrderKey::of(&old)), Some(4));
}

#[tokio::test]
async fn what_is_too_old_takes_no_room_when_it_is_read() {
    let clock = VirtualClock::default();
    let inbox = inbox(&clock);
    let mut foreign = envelope("1", 1);
    foreign.sequence = None;
    for id in 0..100 {
        foreign.id = id.to_string().into();
        inbox.write([inbox.handled(&foreign, None, Vec::new()).unwrap()]).await.unwrap();
    }
    clock.advance(DAY * 2);
    // Nothing is pushed out by what need not be remembered.
    assert_eq!(inbox.load(DAY, 10).await.unwrap().take_forgot_early(), 0);
    assert_eq!(inbox.load(DAY * 3, 10).await.unwrap().take_forgot_early(), 90);
}

#[test]
fn an_id_that_is_settled_again_is_young_again() {
    let mut index = Index::new(DAY, 10);
    let day = |n: i64| Timestamp(n * 24 * 60 * 60 * 1_000_000);
    index.settle(1, Seen::DeadLettered, None, day(0));
    index.settle(1, Seen::Handled, None, day(1));
    index.forget_old(day(2));
    assert_eq!(index.seen(1), Some(Seen::Handled));
    index.forget_old(day(3));
    assert_eq!(index.seen(1), None);
}

#[test]
fn no_more_ids_are_kept_than_may_be() {
    let mut index = Index::new(DAY, 10);
    for event in 0..100 {
        index.settle(event, Seen::Handled, None, Timestamp(0));
        index.forget_old(Timestamp(0));
    }
    let kept = (0..100).filter(|event| index.seen(*event).is_some()).count();
    assert_eq!((kept, index.seen(99)), (10, Some(Seen::Handled)));
}
