//! The derived files, byte for byte, as `golden.rs` has it for the segments: made by a program of its own, from
//! `docs/log-format.md`.

use smallvec::SmallVec;

use super::*;
use crate::Retention;
use hash::NameSecret;
use index::{Link, MemoryPart, PartStream};

const SALT: u64 = 0x1122_3344_5566_7788;
const BEGAN: i64 = 1_700_000_000_000_000;

fn secret() -> NameSecret {
    NameSecret(*b" !\"#$%&'()*+,-./")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes, of which only those are told that are not zero.
fn whole((len, parts): (usize, &[(usize, &str)])) -> Vec<u8> {
    let mut bytes = vec![0; len];
    for (at, hex) in parts {
        let part: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        bytes[*at..*at + part.len()].copy_from_slice(&part);
    }
    bytes
}

/// Segment 2, written anew three times.
fn segment() -> Segment {
    let header = Header {
        number: 2,
        base: Position(41),
        base_group: 7,
        salt: SALT,
        previous_salt: 0x99,
        journal: JournalId::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
        created: Timestamp(BEGAN),
        secret: secret(),
        generation: 3,
        forked_from: None,
    };
    let disk = crate::SimVfs::new();
    let path = PathBuf::from("/2.log");
    let file = disk.create(&path).unwrap();
    Segment::new(path, header, file)
}

fn part_stream(name: &str, before: u64, time: i64, previous: Link, offsets: &[u32]) -> PartStream {
    PartStream {
        key: secret().key(name),
        name: StreamId::parse(name).unwrap(),
        before: Version(before),
        before_time: Timestamp::default(),
        previous,
        last_time: Timestamp(BEGAN + time),
        offsets: SmallVec::from_slice(offsets),
    }
}

fn retention() -> Retention {
    Retention {
        truncate_before: Version(7),
        max_count: Some(100),
        max_age: Some(std::time::Duration::from_secs(3600)),
        tombstone: true,
    }
}

fn part() -> MemoryPart {
    let mut part = MemoryPart::default();
    let first = Link { segment: 1, at: 9 };
    part.add_stream(part_stream("order-1", 4, 200, first, &[512, 537]));
    part.add_stream(part_stream("order-2", 0, 300, Link::NONE, &[562]));
    part.marks.add(Position(41), Position(41), 4096);
    part.retention.push((secret().key("order-1"), retention()));
    part
}

#[test]
fn a_streams_key() {
    assert_eq!(hex(&secret().key("order-1").to_bytes()), KEY);
}

#[test]
fn an_index_file() {
    assert_eq!(index::index_bytes(&segment(), &part()).unwrap(), whole(INDEX));
}

#[test]
fn a_table() {
    let index = RwLock::new(Index::new(secret()));
    for (name, version, time) in [("order-1", 6, 200), ("order-2", 1, 300)] {
        index.write().streams.add(index::StreamEntry {
            key: secret().key(name),
            version: Version(version),
            last_time: Timestamp(BEGAN + time),
            last: Link { segment: 2, at: 0 },
        });
    }
    index.write().set_kept(secret().key("order-1"), retention());
    assert_eq!(index::table_bytes(&index, &segment()), whole(TABLE));
}

#[test]
fn a_mark() {
    let mark = watermark::Mark { journal: segment().header.journal, position: Position(242), group: 8 };
    assert_eq!(hex(&watermark::slot(5, mark)), MARK);
}
const KEY: &str = "a728326c216eb8db6d66cc5a1a302940";
const INDEX: (usize, &[(usize, &str)]) = (
    28672,
    &[
        (
            0,
            "\
        414e4e414c5349580100000000100000020000000000000003000000000000008877665544332211010000000000\
        00002c00000002000000000000000200000000000000040000000300000000000000030000000000000004000000\
        01000000000000000400000000000000080000000100000000000000050000000000000001000000070000000000\
        000006000000000000003000000001",
        ),
        (
            4092,
            "\
        124fb8e2a728326c216eb8db6d66cc5a1a3029400400000000000000c8401e18240a060001000000020000000000\
        0000e786a1d09fbaac196da89d2a4dfd3ad100000000000000002c411e18240a0600000000000100000002",
        ),
        (8188, "0ae6972b00020000190200003202"),
        (12284, "c401505a0002"),
        (16380, "24a94aeb0000000007"),
        (20476, "22a1fb356f726465722d32"),
        (24572, "1cd9837aa728326c216eb8db6d66cc5a1a3029400700000000000000640000000000000000a493d60000000001"),
        (28668, "57ea4812"),
    ],
);

const TABLE: (usize, &[(usize, &str)]) = (
    12288,
    &[
        (
            0,
            "\
        414e4e414c5354420100000000100000020000000000000088776655443322110100000000000000240000000200\
        00000000000002000000000000003000000001",
        ),
        (
            4092,
            "\
        72c4f97da728326c216eb8db6d66cc5a1a3029400600000000000000c8401e18240a060002000000e786a1d09fba\
        ac196da89d2a4dfd3ad101000000000000002c411e18240a060002",
        ),
        (8188, "f9870d98a728326c216eb8db6d66cc5a1a3029400700000000000000640000000000000000a493d60000000001"),
        (12284, "f525ec68"),
    ],
);

const MARK: &str = "\
        414e4e414c53574d010000000000000005000000000000000102030405060708090a0b0c0d0e0f10f20000000000\
        0000080000000000000000000000d8055fb8";
