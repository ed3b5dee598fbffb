//! What `#[derive(Event)]` writes and reads.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use annals_macros::{Event, Shape};
use annals_persistence::{CodecId, Event, EventError, EventType};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Shape)]
struct Address {
    street: String,
}

#[derive(Debug, Clone, PartialEq, Event)]
enum AccountEvent {
    #[event("account-opened")]
    Opened {
        owner: String,
        #[serde(rename = "homeAddress")]
        address: Address,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        limit: Option<u32>,
    },
    #[event("money-deposited", version = 2)]
    Deposited(u64),
    #[event("moved", codec = bincode)]
    Moved(Address),
    #[event("split")]
    Split(u8, String),
    #[event("renamed")]
    #[serde(rename_all = "camelCase")]
    Renamed { new_name: String },
    #[event("empty")]
    Empty {},
    #[event("account-closed")]
    Closed,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, Event)]
#[event("ticked", version = 3)]
struct Ticked {
    count: u32,
}

fn round_trip(event: &AccountEvent, bytes: Option<&str>) {
    let EventType { name, version } = event.event_type();
    let payload = event.encode().unwrap();
    if let Some(expected) = bytes {
        assert_eq!(std::str::from_utf8(&payload).unwrap(), expected);
    }
    assert_eq!(
        &*AccountEvent::decode(name, version, event.codec(), &payload).unwrap(),
        std::slice::from_ref(event)
    );
}

#[test]
fn named_fields_are_an_object_with_serde_attributes() {
    let address = Address { street: "Main".into() };
    let opened = AccountEvent::Opened { owner: "Ann".into(), address, limit: None };
    round_trip(&opened, Some(r#"{"owner":"Ann","homeAddress":{"street":"Main"}}"#));
    round_trip(&AccountEvent::Renamed { new_name: "x".into() }, Some(r#"{"newName":"x"}"#));
    round_trip(&AccountEvent::Empty {}, Some("{}"));
}

#[test]
fn unnamed_fields_are_the_value_or_an_array() {
    round_trip(&AccountEvent::Deposited(7), Some("7"));
    round_trip(&AccountEvent::Split(1, "a".into()), Some(r#"[1,"a"]"#));
    round_trip(&AccountEvent::Closed, Some("null"));
}

#[test]
fn a_codec_holds_for_its_variant_only() {
    let moved = AccountEvent::Moved(Address { street: "Elm".into() });
    assert_eq!((moved.codec(), AccountEvent::Closed.codec()), (CodecId::Bincode, CodecId::Json));
    round_trip(&moved, None);
}

#[test]
fn a_struct_is_one_event_type() {
    assert_eq!(Ticked::TYPES, &[EventType { name: "ticked", version: 3 }]);
    let ticked = Ticked { count: 4 };
    assert_eq!(ticked.encode().unwrap(), br#"{"count":4}"#);
    assert_eq!(Ticked::decode("ticked", 3, CodecId::Json, br#"{"count":4}"#).unwrap()[..], [ticked]);
}

#[test]
fn what_is_not_known_says_why() {
    let json = CodecId::Json;
    let decode = |name, version| AccountEvent::decode(name, version, json, b"1").unwrap_err();
    assert!(matches!(decode("nothing", 1), EventError::UnknownType { .. }));
    assert!(matches!(decode("money-deposited", 9), EventError::NewerVersion { known: 2, .. }));
    assert!(matches!(decode("money-deposited", 1), EventError::OlderVersion { oldest: 2, .. }));
    assert!(matches!(decode("account-opened", 1), EventError::Codec { .. }));
    assert_eq!(AccountEvent::TYPES.len(), 7);
}
