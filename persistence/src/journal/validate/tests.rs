use smallvec::smallvec;

use super::*;
use crate::{CodecId, CommandMetadata, EventId, Expected, Retention, Timestamp};

fn event(name: &'static str, payload_bytes: usize) -> NewEvent {
    NewEvent {
        id: EventId::generate(),
        type_name: name.into(),
        schema_version: 1,
        codec: CodecId::Json,
        payload: vec![b'1'; payload_bytes].into(),
        command: CommandMetadata::internal(Timestamp(0)),
        tags: Vec::new(),
    }
}

fn order(id: &str) -> StreamId {
    StreamId::aggregate("order", id).unwrap()
}

fn reason(batch: &Batch) -> String {
    match validate_batch(batch) {
        Err(AppendError::Invalid { reason }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn reasons_say_what_is_wrong() {
    assert_eq!(reason(&Batch::default()), "it has no streams");
    let empty = StreamAppend { stream: order("1"), expected: Expected::Any, events: smallvec![] };
    assert_eq!(
        reason(&Batch { streams: smallvec![empty], ..Batch::default() }),
        "it has no events for stream \"order-1\""
    );
    let twice = Batch::of(order("1"), Expected::Any, [event("a", 0)]);
    let twice = twice.and(order("1"), Expected::Any, [event("b", 0)]);
    assert_eq!(reason(&twice), "stream \"order-1\" stands in it twice");
    let unnamed = Batch::of(order("1"), Expected::Any, [event("", 0)]);
    assert_eq!(reason(&unnamed), "the name of an event type is empty");
    let zero = NewEvent { schema_version: 0, ..event("a", 0) };
    assert_eq!(reason(&Batch::of(order("1"), Expected::Any, [zero])), "event \"a\" has schema version 0");
    let big = Batch::of(order("1"), Expected::Any, [event("a", BATCH_BYTES_MAX)]);
    let bytes = batch_bytes(&big);
    assert_eq!(reason(&big), format!("it takes {bytes} bytes, the most is {BATCH_BYTES_MAX}"));
}

#[test]
fn the_number_of_events_is_bounded() {
    let of = |count| Batch::of(order("1"), Expected::Any, (0..count).map(|_| event("a", 0)));
    assert!(validate_batch(&of(BATCH_EVENTS_MAX)).is_ok());
    assert_eq!(reason(&of(BATCH_EVENTS_MAX + 1)), "it has 65536 events, the most is 65535");
}

#[test]
fn every_part_of_an_event_counts() {
    let bytes = |event: NewEvent| batch_bytes(&Batch::of(order("1"), Expected::Any, [event]));
    let bare = bytes(event("a", 0));
    assert_eq!(bytes(event("ab", 0)), bare + 1);
    assert_eq!(bytes(event("a", 10)), bare + 10);
    assert_eq!(bytes(NewEvent { tags: vec!["eu".into()], ..event("a", 0) }), bare + 4);
    let mut known = event("a", 0);
    known.command.actor = Some("me".into());
    assert_eq!(bytes(known), bare + 2);
}

#[test]
fn what_is_to_be_kept_of_streams_counts_and_is_bounded() {
    let gone = Retention { tombstone: true, ..Retention::default() };
    let of = |count: usize| {
        (0..count).fold(Batch::default(), |batch, id| batch.retaining(order(&id.to_string()), gone))
    };
    assert!(batch_bytes(&of(2)) > batch_bytes(&of(1)));
    assert!(validate_batch(&of(BATCH_EVENTS_MAX)).is_ok());
    let many = reason(&of(BATCH_EVENTS_MAX + 1));
    assert_eq!(many, "it sets what is kept of 65536 streams, the most is 65535");
}
