//! The format, byte for byte: a change here is a new format version. The bytes below were made by a program of its
//! own, from `docs/log-format.md`.

use super::*;
use crate::CommandId;
use format::{Commit, Gap, Kind, Seal};
use record::{Base, Place, StreamForm};

const SALT: u64 = 0x1122_3344_5566_7788;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn header() -> Header {
    Header {
        number: 2,
        base: Position(41),
        base_group: 7,
        salt: SALT,
        previous_salt: 0x99,
        journal: JournalId::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
        created: Timestamp(1_700_000_000_000_000),
        secret: NameSecret(*b" !\"#$%&'()*+,-./"),
        generation: 3,
        forked_from: Some(JournalId::from_u128(0x4041_4243_4445_4647_4849_4a4b_4c4d_4e4f)),
    }
}

fn full_event() -> NewEvent {
    NewEvent {
        id: EventId::from_u128(0xE1),
        type_name: "order-placed".into(),
        schema_version: 300,
        codec: CodecId::Json,
        payload: b"{}".to_vec().into(),
        command: CommandMetadata {
            time: Timestamp(1_700_000_000_000_100),
            command_id: CommandId::from_u128(0xC1),
            command_hash: 0x0807_0605_0403_0201,
            correlation_id: CommandId::from_u128(0xC2).into(),
            causation_id: CommandId::from_u128(0xC3).into(),
            actor: Some("alice".into()),
            trace: Some(TraceContext { trace_id: 0xA1, span_id: 0xA2, flags: 1 }),
        },
        tags: vec!["red".into()],
    }
}

fn record_frame(stream: &str, event: &NewEvent) -> Vec<u8> {
    let header = header();
    let stream = StreamId::parse(stream).unwrap();
    let base = Base { position: header.base, time: header.created };
    let mut buffer = Vec::new();
    let start = format::begin_frame(&mut buffer);
    let (mut head, mut tail) = (Vec::new(), Vec::new());
    record::encode_head(&mut head, &StreamForm::of(&stream), event);
    record::encode_tail(&mut tail, event);
    let place = Place { position: Position(241), version: Version(3), time: event.command.time };
    record::put(&mut buffer, base, place, (&head, &tail));
    let seed = format::checksum_seed(SALT, 0);
    format::finish_frame(&mut buffer, start, Kind::Record, 8, seed, 4096);
    buffer
}

#[test]
fn a_segment_header() {
    let bytes = header().encode();
    assert_eq!(bytes.len(), 4096);
    assert_eq!(hex(&bytes[..120]), HEADER);
    assert!(bytes[120..4092].iter().all(|byte| *byte == 0));
    assert_eq!(hex(&bytes[4092..]), HEADER_CRC);
    assert_eq!(Header::decode(&bytes).unwrap(), header());
}

#[test]
fn a_record_with_everything() {
    let frame = record_frame("order-0190e6a0-7b7c-7000-8000-00000000abcd", &full_event());
    assert_eq!(hex(&frame), FULL_RECORD);
}

#[test]
fn a_record_with_little() {
    let mut event = full_event();
    event.command.correlation_id = event.command.command_id.into();
    event.command.causation_id = event.command.command_id.into();
    event.command.actor = None;
    event.command.trace = None;
    event.tags.clear();
    assert_eq!(hex(&record_frame("$cursor", &event)), SMALL_RECORD);
}

#[test]
fn a_commit_marker_and_a_seal() {
    let seed = format::checksum_seed(SALT, 0);
    let mut buffer = Vec::new();
    let commit = Commit { group: 8, first: Position(241), count: 2, durable: Position(240) };
    commit.append_to(&mut buffer, seed, 4352);
    assert_eq!(hex(&buffer), COMMIT);
    let last = crate::Durable { position: Position(242), external: Position(240) };
    let seal = Seal { next: 3, last, group: 8, count: 202, latest: Timestamp(1_700_000_000_000_100) };
    assert_eq!(hex(&seal.encode(seed, 4400)), SEAL);
}

#[test]
fn a_gap_in_a_segment_written_anew() {
    let mut buffer = Vec::new();
    let start = format::begin_frame(&mut buffer);
    Gap { first: Position(241), count: 5, group: 9 }.put(&mut buffer);
    input::put_bytes(&mut buffer, b"order-1");
    format::finish_frame(&mut buffer, start, Kind::Gap, 8, format::checksum_seed(SALT, 3), 4352);
    assert_eq!(hex(&buffer), GAP);
    let body = &buffer[format::FRAME_HEADER_BYTES..][..Gap::BYTES];
    assert_eq!(Gap::decode(body), Some(Gap { first: Position(241), count: 5, group: 9 }));
}

#[test]
fn a_retention() {
    let retention = crate::Retention {
        truncate_before: Version(7),
        max_count: Some(100),
        max_age: Some(std::time::Duration::from_secs(3600)),
        tombstone: true,
    };
    let mut buffer = Vec::new();
    let start = format::begin_frame(&mut buffer);
    let key = hash::StreamKey::from_bytes(std::array::from_fn(|at| at as u8));
    buffer.extend_from_slice(&retention::kept_bytes(key, retention));
    let bytes = buffer[format::FRAME_HEADER_BYTES..].try_into().unwrap();
    assert_eq!(retention::kept_from(bytes), (key, retention));
    format::finish_frame(&mut buffer, start, Kind::Retention, 8, format::checksum_seed(SALT, 0), 4352);
    assert_eq!(hex(&buffer), RETENTION);
}

const HEADER: &str = "\
    414e4e414c534c4701000000001000000200000000000000290000000000000007000000000000008877665544332211\
    99000000000000000102030405060708090a0b0c0d0e0f1000401e18240a0600202122232425262728292a2b2c2d2e2f\
    0300000000000000404142434445464748494a4b4c4d4e4f";
const HEADER_CRC: &str = "a645cfd8";
const FULL_RECORD: &str = "\
    e1a701009a000000ac394a1b080000003901c80103056f726465720190e6a07b7c7000800000000000abcd0000000000\
    00000000000000000000e10c6f726465722d706c61636564ac02c801000000000000000000000000000000c101020304\
    05060708000000000000000000000000000000c2000000000000000000000000000000c305616c696365a10000000000\
    00000000000000000000a2000000000000000101037265647b7d000000000000";
const SMALL_RECORD: &str = "\
    e1a7010048000000058132ff080000000601c801030724637572736f72000000000000000000000000000000e10c6f72\
    6465722d706c61636564ac02c801000000000000000000000000000000c101020304050607087b7d";
const COMMIT: &str = "\
    e1a702002000000040022d51080000000800000000000000f1000000000000000200000000000000f000000000000000";
const SEAL: &str = "\
    e1a70300300000001bd39ed3090000000300000000000000f2000000000000000800000000000000ca00000000000000\
    f00000000000000064401e18240a0600";
const GAP: &str = "\
    e1a7040020000000ee3f9c6308000000f10000000000000005000000000000000900000000000000076f726465722d31";
const RETENTION: &str = "\
    e1a7050030000000f74a105c08000000000102030405060708090a0b0c0d0e0f07000000000000006400000000000000\
    00a493d6000000000100000000000000";
