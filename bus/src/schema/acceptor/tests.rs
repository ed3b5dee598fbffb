use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use schemars::{JsonSchema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::*;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Order {
    order_id: String,
    lines: Vec<Line>,
    note: Option<String>,
    paid_by: Option<Card>,
    state: State,
    ratio: f64,
    labels: BTreeMap<String, u16>,
    previous: Option<Box<Order>>,
    balance: i64,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Line {
    product: String,
    quantity: u32,
    is_gift: bool,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Card {
    number: String,
}

#[derive(Serialize, Deserialize, JsonSchema)]
enum State {
    /// Nobody has paid.
    Open,
    Paid,
}

fn order() -> Order {
    let line = |quantity| Line { product: "a pen \"blue\"\n".into(), quantity, is_gift: true };
    Order {
        order_id: "one".into(),
        lines: vec![line(0), line(u32::MAX)],
        note: None,
        paid_by: Some(Card { number: "4".into() }),
        state: State::Open,
        ratio: 0.5,
        labels: BTreeMap::from([("a".into(), 1), ("b".into(), u16::MAX)]),
        previous: None,
        balance: -3,
    }
}

#[test]
fn what_types_write_is_accepted_by_the_schemas_that_they_make() {
    let mut two = order();
    two.previous = Some(Box::new(order()));
    let schema = schema_for!(Order).to_value();
    let acceptor = Acceptor::new(&schema).unwrap_or_else(|| panic!("not all of it is known: {schema}"));
    for order in [order(), two] {
        let text = serde_json::to_string(&order).unwrap();
        assert!(acceptor.accepts(&text), "{text}");
    }
}

#[test]
fn what_no_type_writes_is_not() {
    let acceptor = Acceptor::new(&schema_for!(Order).to_value()).unwrap();
    let right = serde_json::to_value(order()).unwrap();
    for (pointer, wrong) in [
        ("/orderId", json!(1)),
        ("/lines/1/quantity", json!(-1)),
        ("/lines/0", json!({"product": "a", "quantity": 1})),
        ("/paidBy", json!({})),
        ("/state", json!("open")),
        ("/labels/a", json!("1")),
        ("/note", json!([])),
        ("/ratio", json!("0.5")),
    ] {
        let mut order = right.clone();
        *order.pointer_mut(pointer).unwrap() = wrong;
        assert!(!acceptor.accepts(&order.to_string()), "{pointer}: {order}");
    }
    assert!(!acceptor.accepts(""));
    assert!(!acceptor.accepts(&format!("{right} 1")));
}

#[test]
fn what_is_not_known_here_is_left_to_the_validator() {
    for schema in [
        json!(true),
        json!({"$id": "urn:a", "type": "string"}),
        json!({"$schema": "http://json-schema.org/draft-07/schema#"}),
        json!({"type": "string", "pattern": "^a"}),
        json!({"allOf": [{"type": "string"}]}),
        json!({"oneOf": [{"type": "string"}, {"type": "integer"}]}),
        json!({"anyOf": [{"type": "string"}, {"type": "null"}], "minLength": 3}),
        json!({"enum": ["a", "a"]}),
        json!({"oneOf": [{"const": "a"}, {"const": "a"}]}),
        json!({"properties": {"a": false}}),
        json!({"required": ["a"]}),
        json!({"items": {"$ref": "#/$defs/a/items"}, "$defs": {"a": {"items": true}}}),
        json!({"prefixItems": [{"type": "string"}], "items": {"type": "null"}}),
        json!({"minimum": 0.5}),
    ] {
        assert!(Acceptor::new(&schema).is_none(), "{schema}");
    }
}

/// On the stack of a thread that a runtime has for what blocks.
#[test]
fn a_chain_of_references_of_any_length_is_left_to_the_validator() {
    const LENGTH: usize = 100_000;
    let next = |at: usize| json!({"items": {"$ref": format!("#/$defs/a{}", at + 1)}});
    let mut defs: serde_json::Map<_, _> = (0..LENGTH).map(|at| (format!("a{at}"), next(at))).collect();
    defs.insert(format!("a{LENGTH}"), json!({"type": "string"}));
    let schema = json!({"$defs": defs, "items": {"$ref": "#/$defs/a0"}});
    let compiled =
        std::thread::Builder::new().stack_size(2 << 20).spawn(move || compile::compile(&schema).is_some());
    assert!(!compiled.unwrap().join().unwrap());
}

/// Whatever is accepted is valid; and what is valid is accepted, but for what is left to the validator on purpose.
#[test]
fn what_is_accepted_is_valid() {
    let seed =
        std::env::var("ANNALS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    let cases = std::env::var("ANNALS_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(2000);
    let (mut random, mut accepted, mut valid) = (StdRng::seed_from_u64(seed), 0, 0);
    for case in 0..cases {
        let schema = schema(&mut random, 3);
        let (acceptor, validator) = (Acceptor::new(&schema), jsonschema::draft202012::new(&schema).unwrap());
        let acceptor = acceptor.unwrap_or_else(|| panic!("ANNALS_SEED={seed}, case {case}: {schema}"));
        for _ in 0..20 {
            let text = text(&mut random, &schema);
            let is_valid = serde_json::from_str(&text).is_ok_and(|value: Value| validator.is_valid(&value));
            let is_accepted = acceptor.accepts(&text);
            assert!(is_valid || !is_accepted, "ANNALS_SEED={seed}, case {case}: {schema} and {text}");
            accepted += usize::from(is_accepted);
            valid += usize::from(is_valid);
        }
    }
    assert!(valid > cases * 2, "{valid} of {cases}");
    assert!(accepted * 10 > valid * 9, "{accepted} of {valid}");
}

fn schema(random: &mut impl Rng, depth: usize) -> Value {
    let kinds = if depth == 0 { 7 } else { 10 };
    let mut schema = match random.random_range(0..kinds) {
        0 => json!({"type": "null"}),
        1 => json!({"type": "boolean", "title": "a"}),
        2 => {
            json!({"type": "integer", "minimum": random.random_range(-3..2), "maximum": random.random_range(2..9)})
        }
        3 => json!({"type": ["number", "null"], "format": "double"}),
        4 => {
            json!({"type": "string", "minLength": random.random_range(0..2), "maxLength": 3, "format": "uuid"})
        }
        5 => json!({"enum": ["a", "é"], "type": "string"}),
        6 => json!({"oneOf": [{"const": "a", "type": "string"}, {"const": "b", "description": "c"}]}),
        7 => {
            json!({"type": "array", "items": self::schema(random, depth - 1), "minItems": random.random_range(0..2),
            "maxItems": 3})
        }
        8 => json!({"anyOf": [self::schema(random, depth - 1), {"type": "null"}]}),
        _ => object(random, depth - 1),
    };
    if random.random_range(0..20) == 0 {
        schema.as_object_mut().unwrap().remove("type");
    }
    schema
}

fn object(random: &mut impl Rng, depth: usize) -> Value {
    let (a, b) = (schema(random, depth), schema(random, depth));
    let mut object = json!({"type": "object", "properties": {"a": a, "b": b, "é": true}, "required": ["a"]});
    match random.random_range(0..3) {
        0 => object["additionalProperties"] = json!(false),
        1 => object["additionalProperties"] = schema(random, depth),
        _ => {}
    }
    object
}

/// JSON that is mostly near to what a schema says, as text of all kinds.
fn text(random: &mut impl Rng, schema: &Value) -> String {
    if random.random_range(0..10) == 0 {
        return odd(random).to_owned();
    }
    if let Some(either) = schema["anyOf"].as_array() {
        let one = random.random_range(0..either.len());
        return text(random, &either[one]);
    }
    match schema["type"].as_str() {
        Some("null") => "null".to_owned(),
        Some("boolean") => "true".to_owned(),
        Some("integer") => random.random_range(-4..10).to_string(),
        Some("array") => {
            let items: Vec<_> =
                (0..random.random_range(0..4)).map(|_| text(random, &schema["items"])).collect();
            format!("[{}]", items.join(", "))
        }
        Some("object") => members(random, schema),
        _ => odd(random).to_owned(),
    }
}

fn members(random: &mut impl Rng, schema: &Value) -> String {
    let mut members = Vec::new();
    for _ in 0..random.random_range(0..5) {
        let name = ["a", "b", "\\u0061", "é", "c"][random.random_range(0..5)];
        let said = schema["properties"].get(name.replace("\\u0061", "a"));
        let value = text(random, said.unwrap_or(&schema["additionalProperties"]));
        members.push(format!("\"{name}\": {value}"));
    }
    let first = text(random, &schema["properties"]["a"]);
    if random.random_range(0..8) > 0 {
        members.insert(0, format!("\"a\":{first}"));
    }
    format!("{{{}}}", members.join(","))
}

fn odd(random: &mut impl Rng) -> &'static str {
    let all = [
        "\"a\"",
        "\"b\"",
        "\"\\u00e9\"",
        "\"\"",
        "\"abcd\"",
        "1",
        "1.0",
        "-0",
        "1e2",
        "2.5",
        "1e400",
        "18446744073709551616",
        "null",
        "true",
        "[]",
        "{}",
        "\"\\ud800\"",
        "[1",
        "01",
        "{\"a\":1,}",
        " null ",
        "\"\t\"",
        "9223372036854775808",
        "-1",
    ];
    all[random.random_range(0..all.len())]
}
