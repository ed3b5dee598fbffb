use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use serde_json::json;

use super::write;

fn content<T: Serialize>(value: T) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&value, &mut bytes).unwrap();
    bytes
}

#[derive(Serialize)]
enum Before {
    Ship,
    Move { street: String, city: Option<String> },
    Rename(String),
    Pair(u8, u8),
}

#[derive(Serialize)]
enum After {
    Cancel,
    Pair(u64, i16),
    Rename(String),
    Move { street: &'static str, city: String },
    Ship,
}

#[test]
fn the_same_command_of_a_later_release_has_the_same_content() {
    let (street, city) = ("Elm".to_owned(), Some("Ulm".to_owned()));
    assert_eq!(
        content(Before::Move { street, city }),
        content(After::Move { street: "Elm", city: "Ulm".into() })
    );
    assert_eq!(content(Before::Ship), content(After::Ship));
    assert_eq!(content(Before::Rename("a".into())), content(After::Rename("a".into())));
    assert_eq!(content(Before::Pair(1, 2)), content(After::Pair(1, 2)));
    assert_ne!(content(After::Cancel), content(After::Ship));
}

#[test]
fn contents_that_differ_look_different() {
    let all = [
        json!(null),
        json!(false),
        json!(true),
        json!(0),
        json!(1),
        json!(-1),
        json!(1.0),
        json!(""),
        json!("1"),
        json!([]),
        json!([[]]),
        json!([[], []]),
        json!(["a", "b"]),
        json!(["ab"]),
        json!([["a"], "b"]),
        json!(["a", ["b"]]),
        json!({}),
        json!({"a": "b"}),
        json!({"a": ["b"]}),
        json!({"a": {"b": null}}),
        json!({"a": null, "b": null}),
        json!("a\u{0}b"),
        json!(u64::MAX),
        json!(i64::MIN),
    ];
    let contents: Vec<_> = all.iter().map(content).collect();
    for (at, one) in contents.iter().enumerate() {
        for (other, another) in contents.iter().enumerate().skip(at + 1) {
            assert_ne!(one, another, "{} and {}", all[at], all[other]);
        }
    }
}

#[test]
fn what_json_cannot_write_has_a_content() {
    let map: BTreeMap<(u8, u8), &[u8]> = [((1, 2), &b"x"[..])].into();
    assert!(!content(map).is_empty());
    assert_ne!(content(f32::NAN), content(f64::INFINITY));
    assert_ne!(content('a'), content('b'));
    assert_eq!(content(7_i128), content(7_u128));
}

#[test]
fn a_refusal_says_what_the_value_said() {
    struct Unwritable;
    impl Serialize for Unwritable {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("not today"))
        }
    }
    let list: Vec<HashMap<&str, Unwritable>> = vec![[("a", Unwritable)].into()];
    assert_eq!(write(&list, &mut Vec::new()).unwrap_err().to_string(), "not today");
}

#[test]
fn a_map_has_the_same_content_in_whatever_order_its_entries_come() {
    let pairs: Vec<_> = (0..50).map(|n| (format!("key {n}"), vec![n; 3])).collect();
    let ordered: BTreeMap<_, _> = pairs.iter().cloned().collect();
    // Each hash map goes through its entries in an order of its own.
    for _ in 0..10 {
        let hashed: HashMap<_, _> = pairs.iter().cloned().collect();
        assert_eq!(content(hashed), content(ordered.clone()));
    }
    let nested =
        |maps: [Vec<(String, Vec<i32>)>; 2]| maps.map(|map| map.into_iter().collect::<HashMap<_, _>>());
    let (one, two) = (pairs[..5].to_vec(), pairs[5..9].to_vec());
    assert_eq!(content(nested([one.clone(), two.clone()])), content(nested([one.clone(), two.clone()])));
    assert_ne!(
        content(nested([one.clone(), two.clone()])),
        content(nested([two, one])),
        "a list keeps its order"
    );
}
