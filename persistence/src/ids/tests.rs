use proptest::prelude::*;

use super::*;

proptest! {
    /// A name that is taken reads one way: its parts make it again, and so does its text.
    #[test]
    fn aggregate_names_read_one_way(type_name in "[a-z][a-z0-9_]{0,20}", id in "[^\\s\\p{C}]{1,40}") {
        let stream = StreamId::aggregate(&type_name, &id).unwrap();
        prop_assert_eq!((stream.category(), stream.instance()), (&*type_name, &*id));
        prop_assert!(!stream.is_internal());
        prop_assert_eq!(&stream.as_str().parse::<StreamId>().unwrap(), &stream);
        let json = serde_json::to_string(&stream).unwrap();
        prop_assert_eq!(serde_json::from_str::<StreamId>(&json).unwrap(), stream);
    }

    /// Whatever the text, it is a stream with this very name, or none.
    #[test]
    fn any_text_is_answered(text in any::<String>()) {
        match StreamId::parse(&text) {
            Ok(stream) => prop_assert_eq!(stream.as_str(), text),
            Err(error) => prop_assert!(error.text.chars().count() <= 80),
        }
    }
}

#[test]
fn names_of_types_are_narrow() {
    for name in ["a", "order", "order_line", "o2"] {
        assert!(check_type_name(name).is_ok(), "{name}");
    }
    for name in ["", "Order", "2o", "_o", "order-line", "größe", "o ", "o\0", "$own"] {
        assert_eq!(check_type_name(name).unwrap_err().text, name);
    }
}

#[test]
fn ids_of_instances_are_wide() {
    for id in ["1", "a-b", "-", "日本", "a/b", "$"] {
        assert!(StreamId::aggregate("order", id).is_ok(), "{id}");
    }
    for id in ["", " ", "a b", "a\tb", "a\n", "a\0b", "\u{7f}", "\u{2003}"] {
        assert!(StreamId::aggregate("order", id).is_err(), "{id:?}");
    }
}

#[test]
fn names_have_a_greatest_length() {
    let id = "é".repeat((STREAM_NAME_BYTES_MAX - "order-".len()) / 2);
    let longest = StreamId::aggregate("order", &format!("{id}x")).unwrap();
    assert_eq!(longest.as_str().len(), STREAM_NAME_BYTES_MAX);
    let error = StreamId::aggregate("order", &format!("{id}xy")).unwrap_err();
    assert_eq!((error.reason, error.code()), ("it is longer than 255 bytes", "invalid_stream_name"));
}

#[test]
fn internal_names_begin_with_a_dollar() {
    let stream = StreamId::internal("timers-7-a").unwrap();
    assert_eq!(stream.as_str(), "$timers-7-a");
    assert_eq!((stream.category(), stream.instance()), ("$timers", "7-a"));
    assert!(stream.is_internal());
    let plain = StreamId::parse("$node").unwrap();
    assert_eq!((plain.category(), plain.instance()), ("$node", ""));
    assert!(StreamId::internal("").is_err());
    assert!(StreamId::parse("nohyphen").is_err());
}

#[test]
fn ids_are_ordered_by_time_and_read_back() {
    for micros in [0, 1, 999, 1000, 1_785_000_000_000_999] {
        let (first, second) = (Timestamp(micros), Timestamp(micros + 1));
        assert!(EventId::generate_at(first) < EventId::generate_at(second), "{micros}");
    }
    let (before, first) = (Timestamp::now(), EventId::generate());
    let (seconds, nanos) = first.as_uuid().get_timestamp().unwrap().to_unix();
    assert!(i128::from(seconds) * 1000 + i128::from(nanos / 1_000_000) >= i128::from(before.0 / 1000));
    assert_eq!(
        (first.as_uuid().get_version_num(), first.as_uuid().get_variant()),
        (7, uuid::Variant::RFC4122)
    );
    assert_ne!(EventId::generate_at(before), EventId::generate_at(before));
    assert_eq!(first.to_string().parse::<EventId>().unwrap(), first);
    assert_eq!(EventId::from(first.as_uuid()), first);
    assert_eq!(EventId::from_u128(7).as_bytes()[15], 7);
}

#[test]
fn derived_ids_depend_on_all_they_are_derived_from() {
    let namespace = Uuid::from_u128(1);
    let id = CommandId::derive(namespace, "ship");
    assert_eq!(id, CommandId::derive(namespace, "ship"));
    assert_ne!(id, CommandId::derive(namespace, "shop"));
    assert_ne!(id, CommandId::derive(Uuid::from_u128(2), "ship"));
    assert_eq!(CausationId::from(id).as_uuid(), CorrelationId::from(id).as_uuid());
}
