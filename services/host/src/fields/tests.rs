use annals_persistence::Timestamp;
use uuid::Uuid;

use super::{Fields, FromFields, boolean, etag, integer, list, money, object, text, time, uuid};
use crate::{ETag, Money, Problem, parse_body};

#[derive(Debug, PartialEq)]
struct Inner {
    street: String,
}

impl FromFields for Inner {
    fn from_fields(fields: &mut Fields<'_, '_>) -> Option<Self> {
        let street = fields.required("street", text());
        Some(Self { street: street? })
    }
}

#[derive(Debug, PartialEq)]
struct Outer {
    id: Option<Uuid>,
    name: String,
    price: Money,
    at: Option<Timestamp>,
    count: Option<i64>,
    open: Option<bool>,
    tag: Option<ETag>,
    addresses: Vec<Inner>,
}

impl FromFields for Outer {
    fn from_fields(fields: &mut Fields<'_, '_>) -> Option<Self> {
        let id = fields.optional("id", uuid());
        let name = fields.required("name", text());
        let price = fields.required("price", money());
        let at = fields.optional("at", time());
        let count = fields.optional("count", integer(0..=10));
        let open = fields.optional("open", boolean());
        let tag = fields.optional("eTag", etag());
        let addresses = fields.required("addresses", list(object(), 1..=3));
        Some(Self {
            id: id?,
            name: name?,
            price: price?,
            at: at?,
            count: count?,
            open: open?,
            tag: tag?,
            addresses: addresses?,
        })
    }
}

fn wrong(problem: &Problem) -> Vec<(&str, &str)> {
    problem.errors().iter().map(|e| (e.path.as_str(), e.code)).collect()
}

#[test]
fn a_good_body_is_read_whole() {
    let body = r#" {"id":"67e55044-10b1-426f-9247-bb680e5fe0c8","name":"a\u00e9\n","name":"Z\u00fcrich","price":12.3456,
        "at":"1970-01-01T00:00:01Z","count":3.0,"open":true,"eTag":"3","unknown":{"x":[1]},
        "addresses":[{"street":"s"}]} "#;
    let outer: Outer = parse_body(body.as_bytes()).unwrap();
    assert_eq!(outer.name, "Zürich");
    assert_eq!(outer.price, Money::from_units(123_456));
    assert_eq!(outer.at, Some(Timestamp(1_000_000)));
    assert_eq!((outer.count, outer.open), (Some(3), Some(true)));
    assert_eq!(outer.tag, Some(ETag::parse("3")));
    assert_eq!(outer.addresses, [Inner { street: "s".into() }]);
}

#[test]
fn every_wrong_field_is_named() {
    let body = r#"{"id":"x","name":"","price":-1,"at":"today","count":11,"open":"yes","eTag":3,
        "addresses":[{"street":"s"},{},{"street":"a\tb"}]}"#;
    let problem = parse_body::<Outer>(body.as_bytes()).unwrap_err();
    assert_eq!(problem.status(), 422);
    assert_eq!(
        wrong(&problem),
        [
            ("/id", "not_a_uuid"),
            ("/name", "too_short"),
            ("/price", "negative"),
            ("/at", "not_a_time"),
            ("/count", "out_of_range"),
            ("/open", "not_a_boolean"),
            ("/eTag", "not_a_string"),
            ("/addresses/1/street", "required"),
            ("/addresses/2/street", "control_characters"),
        ]
    );
}

#[test]
fn missing_and_null_are_the_same() {
    let problem = parse_body::<Outer>(br#"{"name":null,"id":null}"#).unwrap_err();
    assert_eq!(wrong(&problem), [("/name", "required"), ("/price", "required"), ("/addresses", "required")]);
}

#[test]
fn lengths_count_characters() {
    let body = |name: &str| format!(r#"{{"street":"{name}"}}"#);
    assert!(parse_body::<Inner>(body(&"é".repeat(200)).as_bytes()).is_ok());
    let problem = parse_body::<Inner>(body(&"é".repeat(201)).as_bytes()).unwrap_err();
    assert_eq!(wrong(&problem), [("/street", "too_long")]);
}

#[test]
fn lists_have_limits() {
    let body = |items: &str| format!(r#"{{"name":"n","price":0,"addresses":{items}}}"#);
    for (items, code) in
        [("[]", "too_few"), ("[{},{},{},{}]", "too_many"), ("{}", "not_a_list"), ("3", "not_a_list")]
    {
        let problem = parse_body::<Outer>(body(items).as_bytes()).unwrap_err();
        assert_eq!(wrong(&problem), [("/addresses", code)], "{items}");
    }
    let problem = parse_body::<Outer>(body("[3]").as_bytes()).unwrap_err();
    assert_eq!(wrong(&problem), [("/addresses/0", "not_an_object")]);
}

#[test]
fn a_body_that_is_no_object_is_wrong_as_a_whole() {
    for body in ["3", "[]", "null", "\"x\""] {
        let problem = parse_body::<Inner>(body.as_bytes()).unwrap_err();
        assert_eq!(wrong(&problem), [("", "not_an_object")], "{body}");
    }
}

#[test]
fn what_is_no_json_is_malformed() {
    for body in [
        &b""[..],
        b"{",
        b"{]",
        b"{\"a\":1,}",
        b"{} {}",
        b"\xff",
        b"{\"street\":\"\xff\"}",
        b"{\"street\":01}",
    ] {
        let problem = parse_body::<Inner>(body).unwrap_err();
        assert_eq!((problem.status().as_u16(), problem.code()), (400, "malformed_json"));
    }
}

#[test]
fn a_lone_surrogate_is_no_text() {
    let problem = parse_body::<Inner>(br#"{"street":"\ud800"}"#).unwrap_err();
    assert_eq!(wrong(&problem), [("/street", "not_unicode")]);
}

#[test]
fn names_are_escaped_in_pointers() {
    #[derive(Debug)]
    struct Odd;
    impl FromFields for Odd {
        fn from_fields(fields: &mut Fields<'_, '_>) -> Option<Self> {
            fields.required("a/b~c", text()).map(|_| Self)
        }
    }
    let problem = parse_body::<Odd>(b"{}").unwrap_err();
    assert_eq!(wrong(&problem), [("/a~1b~0c", "required")]);
}

#[test]
fn deep_nesting_is_no_danger() {
    let depth = 200_000;
    let body = format!("{{\"street\":\"s\",\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse_body::<Inner>(body.as_bytes()).is_ok());
}
