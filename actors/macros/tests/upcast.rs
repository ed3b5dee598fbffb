//! How records of earlier versions, of former names and of retired types are read.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use annals_macros::{Event, Shape};
use annals_persistence::{
    CodecId, Event, EventError, EventSchema, EventType, SchemaRole, Upcast, fingerprint,
};
use proptest::prelude::{Just, any, prop_assert_eq, prop_oneof, proptest};
use proptest::test_runner::Config;
use serde::{Deserialize, Serialize};

/// The account as its first release wrote it.
mod first {
    #[derive(Debug, annals_macros::Event)]
    #[serde(rename_all_fields = "camelCase")]
    pub(super) enum AccountEvent {
        #[event("opened")]
        Opened { owner_name: String },
        #[event("deposited")]
        Deposited(String),
        #[event("moved-house")]
        MovedHouse { street: String, city: String },
        #[event("greeted")]
        Greeted,
    }
}

/// As it is now.
#[derive(Debug, Clone, PartialEq, Event)]
#[event(retired("moved-house", 1 = MovedHouseV1))]
#[event(retired("greeted", 1 = GreetedV1))]
enum AccountEvent {
    #[event("account-opened", was = "opened")]
    #[serde(rename_all = "camelCase")]
    Opened { owner_name: String },
    #[event("deposited", version = 3, codec = bincode, upcast(1 = DepositedV1, 2 = DepositedV2))]
    Deposited { cents: i64, currency: String },
    #[event("street-changed")]
    StreetChanged(String),
    #[event("city-changed")]
    CityChanged(String),
}

#[derive(Serialize, Deserialize, Shape)]
struct DepositedV1(String);

impl Upcast for DepositedV1 {
    type Next = DepositedV2;

    fn upcast(self) -> DepositedV2 {
        DepositedV2 { cents: self.0.parse().unwrap_or_default() }
    }
}

#[derive(Serialize, Deserialize, Shape)]
struct DepositedV2 {
    cents: i64,
}

impl Upcast for DepositedV2 {
    type Next = AccountEvent;

    fn upcast(self) -> AccountEvent {
        AccountEvent::Deposited { cents: self.cents, currency: "EUR".into() }
    }
}

#[derive(Serialize, Deserialize, Shape)]
struct MovedHouseV1 {
    street: String,
    city: String,
}

impl Upcast for MovedHouseV1 {
    type Next = [AccountEvent; 2];

    fn upcast(self) -> [AccountEvent; 2] {
        [AccountEvent::StreetChanged(self.street), AccountEvent::CityChanged(self.city)]
    }
}

#[derive(Serialize, Deserialize, Shape)]
struct GreetedV1;

impl Upcast for GreetedV1 {
    type Next = Vec<AccountEvent>;

    fn upcast(self) -> Vec<AccountEvent> {
        Vec::new()
    }
}

/// What an event of the first release is read as.
fn today(event: &first::AccountEvent) -> Vec<AccountEvent> {
    let EventType { name, version } = event.event_type();
    AccountEvent::decode(name, version, event.codec(), &event.encode().unwrap()).unwrap().into_vec()
}

fn deposited(cents: i64) -> AccountEvent {
    AccountEvent::Deposited { cents, currency: "EUR".into() }
}

#[test]
fn a_chain_is_walked_from_where_the_record_stands() {
    assert_eq!(today(&first::AccountEvent::Deposited("100".into())), [deposited(100)]);
    for codec in [CodecId::Json, CodecId::Bincode] {
        let second = codec.encode(&DepositedV2 { cents: 7 }).unwrap();
        assert_eq!(AccountEvent::decode("deposited", 2, codec, &second).unwrap()[..], [deposited(7)]);
    }
    let now = deposited(8).encode_as(CodecId::Json).unwrap();
    assert_eq!(AccountEvent::decode("deposited", 3, CodecId::Json, &now).unwrap()[..], [deposited(8)]);
}

#[test]
fn a_former_name_is_read_and_the_new_one_written() {
    let opened = AccountEvent::Opened { owner_name: "Ann".into() };
    assert_eq!(
        today(&first::AccountEvent::Opened { owner_name: "Ann".into() }),
        std::slice::from_ref(&opened)
    );
    assert_eq!(opened.event_type(), EventType { name: "account-opened", version: 1 });
}

#[test]
fn a_retired_event_is_several_or_nothing() {
    let moved = first::AccountEvent::MovedHouse { street: "Elm".into(), city: "Ely".into() };
    let expected = [AccountEvent::StreetChanged("Elm".into()), AccountEvent::CityChanged("Ely".into())];
    assert_eq!(today(&moved), expected);
    assert_eq!(today(&first::AccountEvent::Greeted), []);
}

#[test]
fn what_cannot_be_read_says_why() {
    let decode = |name, version| AccountEvent::decode(name, version, CodecId::Json, b"1").unwrap_err();
    assert!(matches!(decode("deposited", 4), EventError::NewerVersion { known: 3, .. }));
    assert!(matches!(decode("greeted", 2), EventError::NewerVersion { known: 1, .. }));
    assert!(matches!(decode("opened", 2), EventError::NewerVersion { known: 1, .. }));
    assert!(matches!(decode("closed", 1), EventError::UnknownType { .. }));
    assert!(matches!(decode("deposited", 2), EventError::Codec { version: 2, .. }));
}

#[test]
fn bytes_left_over_are_refused_in_every_version() {
    let mut second = CodecId::Bincode.encode(&DepositedV2 { cents: 7 }).unwrap();
    second.push(0);
    let error = AccountEvent::decode("deposited", 2, CodecId::Bincode, &second).unwrap_err();
    assert_eq!(error.code(), "undecodable_event");
    let mut now = deposited(8).encode().unwrap();
    now.push(0);
    let error = AccountEvent::decode("deposited", 3, CodecId::Bincode, &now).unwrap_err();
    assert_eq!(error.code(), "undecodable_event");
}

#[test]
fn history_shows_what_was_recorded() {
    let second = CodecId::Bincode.encode(&DepositedV2 { cents: 7 }).unwrap();
    let shown = AccountEvent::payload_json("deposited", 2, CodecId::Bincode, &second).unwrap();
    assert_eq!(shown, serde_json::json!({ "cents": 7 }));
    let third = deposited(7).encode().unwrap();
    let shown = AccountEvent::payload_json("deposited", 3, CodecId::Bincode, &third).unwrap();
    assert_eq!(shown, serde_json::json!({ "cents": 7, "currency": "EUR" }));
}

fn schema<'a>(all: &'a [EventSchema], name: &str, version: u16) -> &'a EventSchema {
    all.iter().find(|schema| (schema.name, schema.version) == (name, version)).unwrap()
}

#[test]
fn a_variant_that_becomes_an_old_struct_keeps_its_fingerprint() {
    let before = first::AccountEvent::SCHEMAS;
    for schema_before in before {
        let now = schema(AccountEvent::SCHEMAS, schema_before.name, schema_before.version);
        assert_eq!(now.shape(), schema_before.shape(), "{}", now.name);
        assert_eq!((schema_before.written(), now.role), (Some(CodecId::Json), SchemaRole::Read));
    }
    assert_eq!(schema(before, "deposited", 1).fingerprint(), fingerprint::<String>());
    let now = schema(AccountEvent::SCHEMAS, "deposited", 3);
    assert_eq!(now.role, SchemaRole::Written(CodecId::Bincode));
    assert_eq!(now.shape(), "struct{cents:i64;currency:string;}");
    assert_eq!(schema(before, "opened", 1).shape(), "struct{ownerName:string;}");
    assert_eq!(AccountEvent::SCHEMAS.len(), 9);
}

fn config() -> Config {
    let cases = std::env::var("ANNALS_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(256);
    Config { cases, failure_persistence: None, ..Config::default() }
}

proptest! {
    #![proptest_config(config())]

    /// Through whichever version and codec a deposit was recorded: it is the same deposit today.
    #[test]
    fn every_way_up_the_chain_ends_at_the_same_event(
        cents in any::<i64>(),
        version in 1..=3_u16,
        codec in prop_oneof![Just(CodecId::Json), Just(CodecId::Bincode)],
    ) {
        let recorded = match version {
            1 => codec.encode(&DepositedV1(cents.to_string())),
            2 => codec.encode(&DepositedV2 { cents }),
            _ => deposited(cents).encode_as(codec),
        };
        let read = AccountEvent::decode("deposited", version, codec, &recorded.unwrap()).unwrap();
        prop_assert_eq!(&read[..], &[deposited(cents)]);
    }

    /// Whatever the bytes are: an event or an error, and no panic.
    #[test]
    fn no_bytes_are_too_strange(
        bytes in proptest::collection::vec(any::<u8>(), 0..64),
        version in 0..5_u16,
        codec in prop_oneof![Just(CodecId::Json), Just(CodecId::Bincode)],
    ) {
        for name in ["deposited", "opened", "moved-house", "greeted"] {
            drop(AccountEvent::decode(name, version, codec, &bytes));
        }
    }
}
