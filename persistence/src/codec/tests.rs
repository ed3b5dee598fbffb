use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Line {
    name: String,
    count: u32,
    note: Option<i64>,
    kind: Kind,
    parts: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Kind {
    Plain,
    Sized { width: u16 },
    Pair(u8, bool),
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Plain),
        any::<u16>().prop_map(|width| Kind::Sized { width }),
        any::<(u8, bool)>().prop_map(|(a, b)| Kind::Pair(a, b)),
    ]
}

prop_compose! {
    fn line()(
        name in any::<String>(),
        count in any::<u32>(),
        note in any::<Option<i64>>(),
        kind in kind(),
        parts in any::<Vec<u8>>(),
    ) -> Line {
        Line { name, count, note, kind, parts }
    }
}

proptest! {
    /// Both codecs read back what they wrote, and refuse it when bytes follow or are missing.
    #[test]
    fn what_was_encoded_is_decoded(line in line()) {
        for codec in [CodecId::Json, CodecId::Bincode] {
            let mut bytes = codec.encode(&line).unwrap();
            prop_assert_eq!(&codec.decode::<Line>(&bytes).unwrap(), &line);
            prop_assert!(codec.decode::<Line>(&bytes[..bytes.len() - 1]).is_err());
            bytes.push(0);
            prop_assert!(codec.decode::<Line>(&bytes).is_err(), "a byte too many");
        }
    }

    /// Whatever the bytes, decoding answers: no panic, no allocation that the bytes merely claim.
    #[test]
    fn any_bytes_are_answered(bytes in any::<Vec<u8>>()) {
        for codec in [CodecId::Json, CodecId::Bincode] {
            let _ = codec.decode::<Line>(&bytes);
            let _ = codec.decode::<Vec<String>>(&bytes);
        }
    }
}

#[test]
fn bincode_has_the_layout_of_bincode_1() {
    let line =
        Line { name: "ab".into(), count: 1, note: Some(-2), kind: Kind::Sized { width: 3 }, parts: vec![4] };
    let expected: &[&[u8]] = &[
        &[2, 0, 0, 0, 0, 0, 0, 0, b'a', b'b'],
        &[1, 0, 0, 0],
        &[1, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[1, 0, 0, 0, 3, 0],
        &[1, 0, 0, 0, 0, 0, 0, 0, 4],
    ];
    assert_eq!(CodecId::Bincode.encode(&line).unwrap(), expected.concat());
}

#[test]
fn a_length_beyond_the_limit_is_refused_without_allocating() {
    for claimed in [BINCODE_BYTES_MAX as u64 + 1, u64::MAX, 1 << 40] {
        let mut bytes = claimed.to_le_bytes().to_vec();
        bytes.extend_from_slice(b"abc");
        for error in [
            CodecId::Bincode.decode::<String>(&bytes).unwrap_err(),
            CodecId::Bincode.decode::<Vec<u64>>(&bytes).unwrap_err(),
        ] {
            assert!(matches!(error, CodecError::Decode { codec: CodecId::Bincode, .. }), "{error}");
        }
    }
}

/// Each found by fuzzing: room for a text is made before its bytes are looked for.
#[test]
fn a_few_bytes_that_claim_much_are_refused_without_allocating() {
    let mut bytes = (48_u64 << 20).to_le_bytes().to_vec();
    bytes.extend_from_slice(b"abc");
    let error = CodecId::Bincode.decode::<String>(&bytes).unwrap_err();
    assert!(error.to_string().contains("LimitExceeded"), "{error}");
    for len in [1 << 10, (1 << 20) - 8, 1 << 20, 17 << 20] {
        let text = "x".repeat(len);
        assert!(
            CodecId::Bincode.encode(&text).and_then(|b| CodecId::Bincode.decode::<String>(&b)) == Ok(text)
        );
    }
}

#[test]
fn a_value_that_refuses_is_an_error() {
    let keyed = std::collections::BTreeMap::from([((1, 2), 3)]);
    let error = CodecId::Json.encode(&keyed).unwrap_err();
    assert!(matches!(error, CodecError::Encode { codec: CodecId::Json, .. }), "{error}");
    assert!(CodecId::Bincode.encode(&keyed).is_ok());
}

#[test]
fn codecs_have_stable_numbers() {
    assert_eq!((CodecId::Json as u8, CodecId::Bincode as u8), (1, 2));
    for codec in [CodecId::Json, CodecId::Bincode] {
        assert_eq!(CodecId::try_from(codec as u8), Ok(codec));
    }
    for id in [0, 3, 255] {
        assert_eq!(CodecId::try_from(id), Err(CodecError::UnknownCodec { id }));
    }
}
