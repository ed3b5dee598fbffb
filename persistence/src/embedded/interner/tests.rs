use bytes::Bytes;

use super::*;
use crate::embedded::record::{self, Base, Place, StreamForm};
use crate::{CodecId, CommandMetadata, EventId, NewEvent, Position, Timestamp, Version};

const BASE: Base = Base { position: Position(1), time: Timestamp(0) };

/// A record's body, of an event of this type in this stream.
fn body(stream: &str, type_name: &str) -> Vec<u8> {
    let stream = StreamId::parse(stream).unwrap();
    let event = NewEvent {
        id: EventId::generate(),
        type_name: type_name.to_owned().into(),
        schema_version: 1,
        codec: CodecId::Json,
        payload: Bytes::from_static(b"{}"),
        command: CommandMetadata::internal(Timestamp(0)),
        tags: Vec::new(),
    };
    let (mut head, mut tail, mut body) = (Vec::new(), Vec::new(), Vec::new());
    record::encode_head(&mut head, &StreamForm::of(&stream), &event);
    record::encode_tail(&mut tail, &event);
    let place = Place { position: Position(1), version: Version(1), time: Timestamp(0) };
    record::put(&mut body, BASE, place, (&head, &tail));
    body
}

#[test]
fn every_record_gets_its_own_names_however_many_there_are() {
    let (mut types, mut streams) = (Types::default(), Streams::default());
    // More than are remembered, each met twice, and names that differ only in front or only in their form.
    let ids = |n: u32| {
        let uuid = uuid::Uuid::from_u64_pair(u64::from(n), u64::from(n % 7)).to_string();
        [format!("order-{uuid}"), format!("orders-{uuid}"), format!("order-{n}"), format!("$order-{uuid}")]
    };
    for n in (0..600).chain(0..600) {
        for name in ids(n) {
            let type_name = format!("type-{}", n % 40);
            let body = body(&name, &type_name);
            let record = Record::decode(&body, BASE).unwrap();
            assert_eq!(streams.of(&record).unwrap().as_str(), name);
            assert_eq!(types.of(&record).unwrap(), *type_name);
        }
    }
}

#[test]
fn names_met_again_are_shared() {
    let (mut types, mut streams) = (Types::default(), Streams::default());
    let body = body("order-0f8fad5b-d9cb-469f-a165-70867728950e", "noted");
    let record = Record::decode(&body, BASE).unwrap();
    let stream = streams.of(&record).unwrap();
    assert!(std::ptr::eq(stream.as_str(), streams.of(&record).unwrap().as_str()));
    let type_name = types.of(&record).unwrap();
    assert!(std::ptr::eq(type_name.as_str(), types.of(&record).unwrap().as_str()));
}

#[test]
fn bytes_that_are_no_text_name_nothing() {
    let (mut types, mut streams) = (Types::default(), Streams::default());
    let mut body = body("order-a", "noted");
    for name in ["order", "noted"] {
        let at = body.windows(name.len()).position(|window| window == name.as_bytes()).unwrap();
        body[at] = 0xFF;
    }
    let record = Record::decode(&body, BASE).unwrap();
    assert_eq!(streams.of(&record).unwrap_err(), "the frame's body is no record");
    assert_eq!(types.of(&record).unwrap_err(), "the frame's body is no record");
}
